//! The bytes that a decode needs at most come in; a share of the memory that all decodes have together goes out.
//!
//! Each decode keeps a limit of its own, but several run at once: a few pictures that each stay below it would take the machine's
//! memory together. Whoever finds no room waits, in the order of coming, so that a large picture is not overtaken for ever;
//! one that needs more than there is runs alone.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that decodes hold together. Eight decoders with 50 megapixels of RGB each, the most that a batch runs on a processor and
/// a camera makes, do not wait; nor do the 32 beside a card with 12. Of the 4 GB that a machine needs, three networks (1.1 GB) and
/// the viewer's caches (0.5 GB) leave it.
pub(super) const WHOLE: u64 = 8 * 50_000_000 * 3;

static DECODES: Budget = Budget::new(WHOLE);

/// Waits until `bytes` more can be held.
pub(super) fn share(bytes: u64) -> Share<'static> {
    DECODES.share(bytes)
}

struct Budget {
    whole: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    held: u64,
    /// The number of the next who comes, and of the one whose turn it is.
    next: u64,
    turn: u64,
}

thread_local! {
    static SHARES_HERE: Cell<usize> = const { Cell::new(0) };
}

impl Budget {
    const fn new(whole: u64) -> Self {
        Self { whole, state: Mutex::new(State { held: 0, next: 0, turn: 0 }), changed: Condvar::new() }
    }

    /// A thread that holds a share does not wait for another: while it waits for rayon in a decoder, it may be given the next
    /// file to decode, and its own share would never come free.
    fn share(&self, bytes: u64) -> Share<'_> {
        let mut state = self.lock();
        if SHARES_HERE.get() == 0 {
            let number = state.next;
            state.next += 1;
            while state.turn != number || (state.held > 0 && state.held.saturating_add(bytes) > self.whole) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.turn += 1;
        }
        state.held = state.held.saturating_add(bytes);
        drop(state);
        // It is the next one's turn.
        self.changed.notify_all();
        SHARES_HERE.set(SHARES_HERE.get() + 1);
        Share { budget: self, bytes, here: PhantomData }
    }

    /// Every change under the lock is a whole one, so that a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, bytes: u64) {
        let mut state = self.lock();
        state.held = state.held.saturating_sub(bytes);
        drop(state);
        self.changed.notify_all();
    }
}

/// Bytes that its owner may hold, until it is dropped. It stays on its thread.
#[must_use]
pub(super) struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
    here: PhantomData<*const ()>,
}

impl Share<'_> {
    /// Gives back all but `bytes`.
    pub(super) fn keep(&mut self, bytes: u64) {
        if let Some(rest) = self.bytes.checked_sub(bytes) {
            self.bytes = bytes;
            self.budget.give_back(rest);
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        SHARES_HERE.set(SHARES_HERE.get() - 1);
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Long enough for a thread to go on that can.
    const MOMENT: Duration = Duration::from_millis(60);

    /// Until somebody waits for a share.
    fn until_waiting(budget: &Budget, waiting: u64) {
        while {
            let state = budget.lock();
            state.next - state.turn < waiting
        } {
            std::thread::yield_now();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_is_held_never_passes_the_whole_but_for_one_alone(
            threads in prop::collection::vec(prop::collection::vec(0_u64..160, 1..12), 2..7)
        ) {
            let budget = Budget::new(100);
            let (held, holders, passed) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for shares in &threads {
                    let (budget, held, holders, passed) = (&budget, &held, &holders, &passed);
                    scope.spawn(move || {
                        for &bytes in shares {
                            let share = budget.share(bytes);
                            let others = if bytes > 0 { holders.fetch_add(1, Ordering::SeqCst) } else { 0 };
                            let sum = held.fetch_add(bytes, Ordering::SeqCst) + bytes;
                            if sum > 100 && others > 0 {
                                passed.fetch_add(1, Ordering::SeqCst);
                            }
                            std::thread::yield_now();
                            held.fetch_sub(bytes, Ordering::SeqCst);
                            if bytes > 0 {
                                holders.fetch_sub(1, Ordering::SeqCst);
                            }
                            drop(share);
                        }
                    });
                }
            });
            prop_assert_eq!(passed.into_inner(), 0);
            prop_assert_eq!(budget.lock().held, 0, "everything was given back");
        }
    }

    #[test]
    fn a_large_one_is_not_overtaken_for_ever() {
        let budget = Budget::new(10);
        let (done, order) = channel();
        let first = budget.share(6);
        std::thread::scope(|scope| {
            let (budget, large, small) = (&budget, done.clone(), done);
            scope.spawn(move || {
                let _share = budget.share(50);
                large.send("large").unwrap();
            });
            until_waiting(budget, 1);
            scope.spawn(move || {
                // There would be room for it beside the first.
                let _share = budget.share(1);
                small.send("small").unwrap();
            });
            until_waiting(budget, 2);
            assert!(
                order.recv_timeout(MOMENT).is_err(),
                "the large one waits for the first, the small one for its turn"
            );
            drop(first);
            assert_eq!([order.recv().unwrap(), order.recv().unwrap()], ["large", "small"]);
        });
    }

    #[test]
    fn what_is_given_back_early_lets_the_next_in() {
        let budget = Budget::new(10);
        let (done, order) = channel();
        let mut first = budget.share(8);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _share = budget.share(5);
                done.send(()).unwrap();
            });
            assert!(order.recv_timeout(MOMENT).is_err());
            first.keep(5);
            order.recv().unwrap();
            first.keep(7);
            assert_eq!(first.bytes, 5, "no more can be kept than there is");
        });
    }

    #[test]
    fn a_panic_gives_back() {
        let budget = Budget::new(10);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _share = budget.share(10);
            std::panic::resume_unwind(Box::new("a decoder's slip"));
        }));
        assert!(panicked.is_err());
        drop(budget.share(10));
        assert_eq!(budget.lock().held, 0);
    }

    #[test]
    fn a_thread_does_not_wait_for_itself() {
        let budget = Budget::new(10);
        let outer = budget.share(8);
        let inner = budget.share(8);
        assert_eq!(budget.lock().held, 16);
        drop((inner, outer));
        assert_eq!(budget.lock().held, 0);
    }
}
