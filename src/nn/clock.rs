//! Steps come in as they run; what a network's time goes to goes out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::steps::Operation;

/// Work that is timed on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Convolutions and dense layers, with all that their kernels do on the way: biases, ReLUs, sums.
    Convolution,
    /// Maxima and means over windows and over all pixels.
    Pool,
    /// Batch norm with live statistics, with the sums and ReLUs behind it.
    Norm,
    /// All of it, and what is none of these: preprocessing, copies, weights packed anew.
    Whole,
}

impl Work {
    /// That of a step; `None` for one that is not timed on its own.
    pub fn of<C>(operation: &Operation<C>) -> Option<Self> {
        match operation {
            Operation::Convolution(_) => Some(Self::Convolution),
            Operation::MaxPool(_) | Operation::AvgPool { .. } | Operation::GlobalAvgPool => Some(Self::Pool),
            Operation::Preprocess(_) | Operation::Concat => None,
        }
    }
}

/// Sums the time that all threads spend on a network since it was made: nanoseconds of each [`Work`].
#[derive(Debug, Default)]
pub struct Clock([AtomicU64; 4]);

/// Seconds of threads: where one thread works for all, and where all share the work, of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// On [`Work::Convolution`].
    pub convolutions: f64,
    /// On [`Work::Pool`].
    pub pools: f64,
    /// On [`Work::Norm`].
    pub norms: f64,
    /// On [`Work::Whole`].
    pub whole: f64,
}

impl Clock {
    /// Does some work, and notes how long it took.
    pub fn time<R>(&self, work: Option<Work>, run: impl FnOnce() -> R) -> R {
        let Some(work) = work else { return run() };
        let begun = Instant::now();
        let result = run();
        let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0[work as usize].fetch_add(nanoseconds, Ordering::Relaxed);
        result
    }

    /// What was spent until now.
    pub fn spent(&self) -> Spent {
        let seconds = |work: Work| self.0[work as usize].load(Ordering::Relaxed) as f64 * 1e-9;
        Spent {
            convolutions: seconds(Work::Convolution),
            pools: seconds(Work::Pool),
            norms: seconds(Work::Norm),
            whole: seconds(Work::Whole),
        }
    }
}

impl Spent {
    /// What was spent since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            convolutions: self.convolutions - before.convolutions,
            pools: self.pools - before.pools,
            norms: self.norms - before.norms,
            whole: self.whole - before.whole,
        }
    }

    /// What went to none of the others.
    pub fn rest(self) -> f64 {
        self.whole - self.convolutions - self.pools - self.norms
    }
}
