//! What is wanted and what is done: the queue of a session, as plain data that the workers share.
//!
//! Three priorities: the case on screen (one worker is kept for it), the cases likely to come next and the rows in sight,
//! then the rest of the list.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::{Case, CaseId, Picture, View};
use crate::attribution::Cancel;

/// The open list. Results of a list that is not the board's any more are thrown away.
#[derive(Debug, Default)]
pub struct List {
    /// In order of name.
    pub cases: Vec<Case>,
    /// Set when another list is opened.
    pub cancel: Cancel,
}

/// The view on screen.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The list that it is of.
    pub list: Arc<List>,
    /// What is on screen.
    pub view: View,
    /// Counts how often another case came on screen: what was told of this case before it left and came back, the viewer may
    /// have let go of.
    pub visit: u64,
    /// Set when something else is shown.
    pub cancel: Cancel,
}

/// How far the case on screen is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is left to do.
    #[default]
    Idle,
    /// A person waits for picture, bars or the first map: all else waits too.
    Urgent,
    /// The map gets sharper: what comes next may be made ready, the list waits.
    Refining,
}

/// How far a case of the list is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing is known.
    #[default]
    Waiting,
    /// Every network that is available has spoken.
    Graded,
    /// It gives no picture.
    Skipped,
}

/// Work for the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Make everything ready that showing it needs.
    Prefetch,
    /// A thumbnail for a row in sight.
    Thumbnail,
    /// The next of the list.
    Grade,
}

/// A task on a case.
#[derive(Clone, Debug)]
pub struct Job {
    /// The list that it is of.
    pub list: Arc<List>,
    /// The case.
    pub case: CaseId,
    /// What to do.
    pub task: Task,
}

/// Everything that is wanted.
#[derive(Debug, Default)]
pub struct Board {
    /// The open list.
    pub list: Arc<List>,
    /// What is on screen.
    pub shown: Option<Shown>,
    /// Whether the worker of the screen has not taken it up yet.
    pub fresh: bool,
    /// How far it is.
    pub stage: Stage,
    /// The picture on screen, when a view is closer than it is sharp.
    pub reduced: Option<(CaseId, Arc<Picture>)>,
    /// Whether the workers shall end.
    pub stopping: bool,
    visits: u64,
    marks: Vec<Mark>,
    likely: VecDeque<CaseId>,
    rows: VecDeque<CaseId>,
    wanted: HashSet<CaseId>,
    first_waiting: usize,
    busy: HashSet<CaseId>,
}

impl Board {
    /// Puts up a new list; everything of the former is cancelled.
    pub fn put_up(&mut self, cases: Vec<Case>) -> Arc<List> {
        self.cancel();
        let list = Arc::new(List { cases, cancel: Cancel::default() });
        let marks = vec![Mark::Waiting; list.cases.len()];
        let (stopping, visits) = (self.stopping, self.visits);
        *self = Self { list: Arc::clone(&list), marks, stopping, visits, ..Self::default() };
        list
    }

    /// Cancels everything under way.
    pub fn cancel(&mut self) {
        self.list.cancel.cancel();
        if let Some(shown) = self.shown.take() {
            shown.cancel.cancel();
        }
    }

    /// Puts a view on screen, unless it is there already; cancels the former.
    pub fn show(&mut self, view: View) {
        if view.case.0 >= self.marks.len() || self.shown.as_ref().is_some_and(|shown| shown.view == view) {
            return;
        }
        let former = self.shown.take();
        if let Some(former) = &former {
            former.cancel.cancel();
        }
        if former.is_none_or(|former| former.view.case != view.case) {
            self.reduced = None;
            self.visits += 1;
            self.likely = [view.case.0.checked_add(1), view.case.0.checked_sub(1)]
                .into_iter()
                .flatten()
                .filter(|&index| index < self.marks.len())
                .map(CaseId)
                .collect();
        }
        let list = Arc::clone(&self.list);
        self.shown = Some(Shown { list, view, visit: self.visits, cancel: Cancel::default() });
        self.fresh = true;
        self.stage = Stage::Urgent;
    }

    /// Wants the original of a picture that is on screen. What is of a former list is not: a case's number may be another's now.
    pub fn sharpen(&mut self, case: CaseId, picture: Arc<Picture>) {
        let on_screen = self.shown.as_ref().is_some_and(|shown| shown.view.case == case);
        let file = self.list.cases.get(case.0).map(|case| case.path.as_path());
        if on_screen && picture.left_in().is_some_and(|left_in| Some(left_in) == file) {
            self.reduced = Some((case, picture));
        }
    }

    /// Which cases are likely to be shown next, the likeliest first.
    pub fn expect(&mut self, cases: &[CaseId]) {
        self.likely = cases.iter().copied().filter(|case| case.0 < self.marks.len()).collect();
    }

    /// Which rows want a thumbnail, in this order.
    pub fn want(&mut self, cases: &[CaseId]) {
        self.rows = cases.iter().copied().filter(|case| case.0 < self.marks.len()).collect();
        self.wanted = self.rows.iter().copied().collect();
    }

    /// Takes a wish for a thumbnail back, now that it is fulfilled; says whether there was one.
    pub fn fulfil(&mut self, case: CaseId) -> bool {
        self.wanted.remove(&case)
    }

    /// Whether a list is still the open one.
    pub fn is_open(&self, list: &Arc<List>) -> bool {
        Arc::ptr_eq(&self.list, list)
    }

    /// Whether nobody works and nobody waits, but for a map that gets sharper.
    pub fn is_quiet(&self) -> bool {
        self.stage != Stage::Urgent && self.busy.is_empty()
    }

    /// Whether work on `case` must stand back now for what is on screen.
    pub fn stands_back(&self, case: CaseId) -> bool {
        self.stage == Stage::Urgent
            && !self.stopping
            && self.shown.as_ref().is_some_and(|shown| shown.view.case != case)
    }

    /// The next job of the background. `settled`: whether it is known which networks there are.
    pub fn next_job(&mut self, settled: bool) -> Option<Job> {
        if self.stage == Stage::Urgent {
            return None;
        }
        let (case, task) = self.next_task(settled)?;
        self.busy.insert(case);
        Some(Job { list: Arc::clone(&self.list), case, task })
    }

    fn next_task(&mut self, settled: bool) -> Option<(CaseId, Task)> {
        if settled && let Some(case) = take_free(&mut self.likely, &self.busy) {
            return Some((case, Task::Prefetch));
        }
        while let Some(case) = take_free(&mut self.rows, &self.busy) {
            if self.wanted.contains(&case) && self.mark(case) != Mark::Skipped {
                return Some((case, Task::Thumbnail));
            }
        }
        if !settled || self.stage != Stage::Idle {
            return None;
        }
        while self.marks.get(self.first_waiting).is_some_and(|&mark| mark != Mark::Waiting) {
            self.first_waiting += 1;
        }
        (self.first_waiting..self.marks.len())
            .map(CaseId)
            .find(|case| self.mark(*case) == Mark::Waiting && !self.busy.contains(case))
            .map(|case| (case, Task::Grade))
    }

    /// Whether somebody works on a case.
    pub fn is_busy(&self, case: CaseId) -> bool {
        self.busy.contains(&case)
    }

    /// Begins work on a case outside [`Board::next_job`].
    pub fn occupy(&mut self, case: CaseId) {
        self.busy.insert(case);
    }

    /// Ends work on a case.
    pub fn release(&mut self, list: &Arc<List>, case: CaseId) {
        if self.is_open(list) {
            self.busy.remove(&case);
        }
    }

    /// How far a case is.
    pub fn mark(&self, case: CaseId) -> Mark {
        self.marks.get(case.0).copied().unwrap_or_default()
    }

    /// Says how far a case is now.
    pub fn set_mark(&mut self, case: CaseId, mark: Mark) {
        if let Some(place) = self.marks.get_mut(case.0) {
            *place = mark;
        }
    }

    /// Cases done and cases in all.
    pub fn count(&self) -> (usize, usize) {
        (self.marks.iter().filter(|&&mark| mark != Mark::Waiting).count(), self.marks.len())
    }
}

/// The first case that nobody works on.
fn take_free(queue: &mut VecDeque<CaseId>, busy: &HashSet<CaseId>) -> Option<CaseId> {
    let position = queue.iter().position(|case| !busy.contains(case))?;
    queue.remove(position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::{Baseline, Method, Stop};
    use crate::fundus::Identity;
    use crate::grading::Output;
    use crate::nn::Network;
    use crate::session::MapRequest;
    use crate::session::picture::tests::stored;

    fn board(cases: usize) -> Board {
        let mut board = Board::default();
        let case = |index| Case { path: format!("{index}.jpg").into(), identity: Identity::default() };
        board.put_up((0..cases).map(case).collect());
        board
    }

    fn view(case: usize) -> View {
        let map = MapRequest {
            network: Network::ResNet50,
            method: Method::Ig,
            output: Output::LogOddsReferable,
            baseline: Baseline::Blur,
            stop: Stop::default(),
        };
        View { case: CaseId(case), map }
    }

    fn jobs(board: &mut Board) -> Vec<(usize, Task)> {
        std::iter::from_fn(|| board.next_job(true)).map(|job| (job.case.0, job.task)).collect()
    }

    #[test]
    fn the_screen_comes_first_then_neighbours_then_rows_then_the_list() {
        let mut board = board(6);
        board.show(view(2));
        board.want(&[CaseId(0), CaseId(4)]);
        assert!(jobs(&mut board).is_empty(), "a person waits");
        board.stage = Stage::Refining;
        let ready = [(3, Task::Prefetch), (1, Task::Prefetch), (0, Task::Thumbnail), (4, Task::Thumbnail)];
        assert_eq!(jobs(&mut board), ready, "the list waits for the map");
        board.stage = Stage::Idle;
        assert_eq!(jobs(&mut board), [(2, Task::Grade), (5, Task::Grade)], "the others are being worked on");
    }

    #[test]
    fn nothing_is_graded_before_it_is_known_by_whom() {
        let mut board = board(2);
        board.want(&[CaseId(1)]);
        assert_eq!(board.next_job(false).map(|job| job.task), Some(Task::Thumbnail));
        assert!(board.next_job(false).is_none());
    }

    #[test]
    fn only_what_is_on_screen_is_sharpened() {
        let folder = tempfile::tempdir().expect("a folder");
        let reduced = |name: &str| {
            let path = folder.path().join(name);
            let (picture, file) = stored(&path, &image::RgbImage::new(2000, 1500));
            (Case { path, identity: Identity::default() }, Arc::new(picture.put_by(file)))
        };
        let [(first, picture), (second, other)] = ["first.png", "second.png"].map(reduced);
        let mut board = Board::default();
        board.put_up(vec![first, second.clone()]);
        board.sharpen(CaseId(0), Arc::clone(&picture));
        assert!(board.reduced.is_none(), "nothing is on screen");
        board.show(view(0));
        board.sharpen(CaseId(1), Arc::clone(&other));
        assert!(board.reduced.is_none(), "another case is on screen");
        board.sharpen(CaseId(0), Arc::clone(&picture));
        assert!(board.reduced.is_some());
        board.show(view(1));
        assert!(board.reduced.is_none(), "it left the screen");
        board.put_up(vec![second]);
        board.show(view(0));
        board.sharpen(CaseId(0), picture);
        assert!(board.reduced.is_none(), "of a former list: the number is another's now");
        board.sharpen(CaseId(0), other);
        assert!(board.reduced.is_some());
    }

    #[test]
    fn a_new_view_cancels_the_former_and_the_same_does_not() {
        let mut board = board(3);
        board.show(view(0));
        let first = board.shown.clone().expect("shown");
        board.show(view(0));
        assert!(!first.cancel.is_cancelled());
        board.show(view(1));
        assert!(first.cancel.is_cancelled());
        board.show(view(7));
        assert_eq!(board.shown.as_ref().map(|shown| shown.view.case), Some(CaseId(1)), "there is no seventh case");
    }

    #[test]
    fn another_map_is_the_same_visit_and_coming_back_is_another() {
        let mut board = board(3);
        board.show(view(0));
        let first = board.shown.clone().expect("shown").visit;
        let mut cam = view(0);
        cam.map.method = Method::GradCam;
        board.show(cam);
        assert_eq!(board.shown.clone().expect("shown").visit, first);
        board.show(view(1));
        board.show(view(0));
        assert_ne!(board.shown.clone().expect("shown").visit, first);
    }

    #[test]
    fn a_new_list_cancels_everything() {
        let mut board = board(3);
        board.show(view(0));
        let (list, shown) = (Arc::clone(&board.list), board.shown.clone().expect("shown"));
        board.put_up(Vec::new());
        assert!(list.cancel.is_cancelled() && shown.cancel.is_cancelled());
        assert!(!board.is_open(&list));
        assert!(jobs(&mut board).is_empty());
    }

    #[test]
    fn work_on_the_case_on_screen_never_stands_back() {
        let mut board = board(3);
        board.show(view(1));
        assert!(board.stands_back(CaseId(0)));
        assert!(!board.stands_back(CaseId(1)), "the screen may be waiting for just this");
        board.stage = Stage::Refining;
        assert!(!board.stands_back(CaseId(0)));
    }

    #[test]
    fn it_is_quiet_when_nobody_grades() {
        let mut board = board(3);
        assert!(board.is_quiet());
        board.show(view(0));
        assert!(!board.is_quiet(), "a person waits");
        board.stage = Stage::Refining;
        assert!(board.is_quiet());
        board.occupy(CaseId(1));
        assert!(!board.is_quiet(), "the next case is graded");
    }

    #[test]
    fn done_cases_are_not_done_again() {
        let mut board = board(3);
        board.set_mark(CaseId(0), Mark::Graded);
        board.set_mark(CaseId(1), Mark::Skipped);
        board.want(&[CaseId(1)]);
        assert_eq!(board.count(), (2, 3));
        assert_eq!(jobs(&mut board), [(2, Task::Grade)]);
        let list = Arc::clone(&board.list);
        board.release(&list, CaseId(2));
        assert_eq!(jobs(&mut board), [(2, Task::Grade)], "it was released without a mark");
    }
}
