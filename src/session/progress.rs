//! What is under way, told at a rate that a person can read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::{Progress, lock};

/// Twice a second is enough to see that work goes on. Each time the window is drawn anew: ten times a second took half of two
/// cores from the networks where no graphics card draws.
const INTERVAL: Duration = Duration::from_millis(500);

/// All work under way.
#[derive(Default)]
pub struct Reporter {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<u64, Task>,
    next: u64,
    stopping: bool,
}

/// One piece of work; it is under way as long as this lives.
pub struct Task {
    label: String,
    units: Arc<Units>,
    began: Instant,
}

/// How much of it there is.
#[derive(Default)]
struct Units {
    done: Arc<AtomicUsize>,
    /// 0 while unknown.
    total: AtomicUsize,
}

/// Ends its task when it is dropped.
pub struct Ticket {
    reporter: Arc<Reporter>,
    number: u64,
    units: Arc<Units>,
}

impl Ticket {
    /// Units done so far; may be counted up from anywhere.
    pub fn done(&self) -> &Arc<AtomicUsize> {
        &self.units.done
    }

    /// There are so many units, as is known now.
    pub fn expect(&self, total: usize) {
        self.units.total.store(total, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.reporter.state).tasks.remove(&self.number);
        self.reporter.changed.notify_all();
    }
}

impl Reporter {
    /// Begins a piece of work of `total` units, 0 if unknown.
    pub fn begin(self: &Arc<Self>, label: impl Into<String>, total: usize) -> Ticket {
        let units = Arc::new(Units { total: total.into(), ..Units::default() });
        let task = Task { label: label.into(), units: Arc::clone(&units), began: Instant::now() };
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.tasks.insert(number, task);
        self.changed.notify_all();
        Ticket { reporter: Arc::clone(self), number, units }
    }

    /// Ends [`Reporter::run`].
    pub fn stop(&self) {
        lock(&self.state).stopping = true;
        self.changed.notify_all();
    }

    /// Tells what is under way, once every [`INTERVAL`] while there is something and once when there is nothing more.
    pub fn run(&self, tell: impl Fn(Vec<Progress>)) {
        let mut told_nothing = true;
        let mut state = lock(&self.state);
        while !state.stopping {
            if state.tasks.is_empty() && told_nothing {
                state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            }
            let progress: Vec<Progress> = state.tasks.values().map(Task::progress).collect();
            told_nothing = progress.is_empty();
            drop(state);
            tell(progress);
            std::thread::sleep(INTERVAL);
            state = lock(&self.state);
        }
    }
}

impl Task {
    fn progress(&self) -> Progress {
        Progress {
            label: self.label.clone(),
            done: self.units.done.load(Ordering::Relaxed),
            total: self.units.total.load(Ordering::Relaxed),
            elapsed: self.began.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_told_while_it_lasts_and_its_end_once() {
        let reporter = Arc::new(Reporter::default());
        let told = Arc::new(Mutex::new(Vec::new()));
        let teller = std::thread::spawn({
            let (reporter, told) = (Arc::clone(&reporter), Arc::clone(&told));
            move || reporter.run(|progress| lock(&told).push(progress))
        });
        let ticket = reporter.begin("Map", 0);
        ticket.expect(40);
        ticket.done().store(5, Ordering::Relaxed);
        std::thread::sleep(INTERVAL * 7 / 2);
        drop(ticket);
        std::thread::sleep(INTERVAL * 7 / 2);
        reporter.stop();
        teller.join().expect("the teller ends");
        let told = lock(&told);
        assert!((3..=6).contains(&told.len()), "about one an interval and one at the end, not {}", told.len());
        assert_eq!(told.iter().filter(|progress| progress.is_empty()).count(), 1);
        assert!(told.last().is_some_and(Vec::is_empty));
        assert!(told.iter().flatten().all(|one| one.label == "Map" && one.total == 40 && one.done <= 5));
    }
}
