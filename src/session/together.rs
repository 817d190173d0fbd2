//! Inputs of many threads come in, each from a call that waits; results go out, made of several inputs at once.
//!
//! For work that costs little more for many than for one, a card's: whoever comes while nothing runs takes all that wait along.
//! So nobody waits for a batch to fill, and batches grow as long as more come in than go out.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};

use super::lock;

/// Work on up to so many inputs at once, which gives a result for each.
pub struct Together<I, R, W> {
    most: usize,
    work: W,
    state: Mutex<State<I, R>>,
    changed: Condvar,
}

struct State<I, R> {
    /// The number of the next call.
    next: u64,
    waiting: Vec<(u64, I)>,
    /// Results that nobody has fetched yet, by call.
    made: BTreeMap<u64, R>,
    is_running: bool,
}

impl<I, R, W: Fn(&[I]) -> Vec<R>> Together<I, R, W> {
    pub fn new(most: usize, work: W) -> Self {
        let state = State { next: 0, waiting: Vec::new(), made: BTreeMap::new(), is_running: false };
        Self { most: most.max(1), work, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The result of this input; waits until it is there. `None` if the work gave fewer results than it had inputs.
    pub fn result(&self, input: I) -> Option<R> {
        let mut state = lock(&self.state);
        let own = state.next;
        state.next += 1;
        state.waiting.push((own, input));
        loop {
            if let Some(result) = state.made.remove(&own) {
                return Some(result);
            }
            if state.is_running {
                state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            }
            // Nothing runs and there is no result: the input waits still, or its batch has lost it.
            if !state.waiting.iter().any(|(call, _)| *call == own) {
                return None;
            }
            let count = state.waiting.len().min(self.most);
            let (calls, inputs): (Vec<u64>, Vec<I>) = state.waiting.drain(..count).unzip();
            state.is_running = true;
            drop(state);
            let running = Running(self);
            let results = (self.work)(&inputs);
            lock(&self.state).made.extend(calls.into_iter().zip(results));
            drop(running);
            state = lock(&self.state);
        }
    }
}

/// Lets the next batch begin when it is dropped, also where work ends in a panic: nobody waits for ever.
struct Running<'a, I, R, W>(&'a Together<I, R, W>);

impl<I, R, W> Drop for Running<'_, I, R, W> {
    fn drop(&mut self) {
        lock(&self.0.state).is_running = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn everyone_gets_its_own_and_what_waits_goes_together() {
        const CALLERS: usize = 9;
        let (batches, first) = (Mutex::new(Vec::new()), Barrier::new(2));
        let begun = AtomicUsize::new(0);
        let together = Together::new(4, |inputs: &[usize]| {
            if begun.fetch_add(1, Ordering::SeqCst) == 0 {
                // Until all others wait.
                first.wait();
            }
            batches.lock().unwrap().push(inputs.len());
            inputs.iter().map(|input| 10 * input).collect()
        });
        std::thread::scope(|scope| {
            for caller in 0..CALLERS {
                let together = &together;
                scope.spawn(move || assert_eq!(together.result(caller), Some(10 * caller)));
            }
            while lock(&together.state).waiting.len() < CALLERS - 1 {
                std::thread::yield_now();
            }
            first.wait();
        });
        assert_eq!(*batches.lock().unwrap(), [1, 4, 4]);
    }

    #[test]
    fn a_result_that_is_missing_leaves_nobody_waiting() {
        let together = Together::new(2, |_: &[usize]| Vec::<usize>::new());
        assert_eq!(together.result(1), None);
        assert_eq!(together.result(2), None);
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let together = Together::new(2, |inputs: &[usize]| {
            assert!(inputs[0] != 1, "on purpose");
            inputs.to_vec()
        });
        std::thread::scope(|scope| assert!(scope.spawn(|| together.result(1)).join().is_err()));
        assert_eq!(together.result(2), Some(2));
    }
}
