//! What each frame shows comes in; how long it took to get there goes out, line by line (`--timings`).
//!
//! Times are taken when the next frame begins: what the former drew is then on the screen.

use std::time::{Duration, Instant};

use super::model::Model;
use crate::session::CaseId;

/// What of the case on screen can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    case: Option<CaseId>,
    picture: bool,
    bars: bool,
    gradients: usize,
    finished: bool,
}

impl Seen {
    fn of(model: &Model) -> Self {
        Self {
            case: model.selected,
            picture: model.picture.is_some(),
            bars: model.assessment().is_some(),
            gradients: model.map.as_ref().map_or(0, |map| map.attribution.gradient_evaluations),
            finished: model.map.as_ref().is_some_and(|map| map.finished),
        }
    }

    /// What has come since `former`, in words.
    fn since(&self, former: &Self) -> Vec<String> {
        let mut news = Vec::new();
        if self.picture && !former.picture {
            news.push("photograph".to_owned());
        }
        if self.bars && !former.bars {
            news.push("bars".to_owned());
        }
        if self.gradients != former.gradients && self.gradients > 0 {
            news.push(format!("map of {} gradients", self.gradients));
        }
        if self.finished && !former.finished {
            news.push("map finished".to_owned());
        }
        news
    }
}

/// Runs from the start of the program, and again from each choice of a case.
#[derive(Debug)]
pub struct Stopwatch {
    tell: fn(&str),
    begun: Instant,
    /// When the frame that is being drawn began.
    frame: Option<Instant>,
    /// When the case on screen was chosen.
    chosen: Instant,
    first_frame_told: bool,
    told: Seen,
    drawn: Seen,
    name: String,
}

impl Stopwatch {
    /// `begun`: when the program started; `tell` takes the lines.
    pub fn new(begun: Instant, tell: fn(&str)) -> Self {
        let (told, drawn) = (Seen::default(), Seen::default());
        Self { tell, begun, frame: None, chosen: begun, first_frame_told: false, told, drawn, name: String::new() }
    }

    /// A frame begins: the former one is on the screen.
    pub(super) fn frame_begins(&mut self, now: Instant) {
        if self.frame.replace(now).is_some() && !self.first_frame_told {
            self.first_frame_told = true;
            (self.tell)(&format!("window: first frame after {}", seconds(now - self.begun)));
        }
        for what in self.drawn.since(&self.told) {
            (self.tell)(&format!("{}: {what} after {}", self.name, seconds(now - self.chosen)));
        }
        self.told = self.drawn.clone();
    }

    /// A frame was drawn from `model`. Says whether another shall follow at once, to tell of this one.
    pub(super) fn frame_drawn(&mut self, model: &Model) -> bool {
        self.drawn = Seen::of(model);
        if self.drawn.case != self.told.case {
            self.chosen = self.frame.unwrap_or(self.begun);
            self.told = Seen { case: self.drawn.case, ..Seen::default() };
            self.name = model.current().map(|entry| entry.name.clone()).unwrap_or_default();
        }
        !self.first_frame_told || self.drawn != self.told
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}
