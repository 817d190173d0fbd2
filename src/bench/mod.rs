//! Networks, photographs and perhaps another program that can do the same come in; how long both take goes out, as plain data
//! (`diaret bench`; `benches/run` brings PyTorch and Captum as the other program).
//!
//! `speed`: one forward pass, one input gradient, against the processor's measured peak; `training`: one step. Runs of both programs
//! take turns, and a ratio is of a pair of neighbours, so that a machine that others use as well slows both alike. `maps` and
//! `goals`: Integrated Gradients of 50 steps, and time until a map is close enough; `throughput`: grades from files. These take
//! long: in a pair ours comes first.

pub mod beside;
pub mod chart;
mod exchange;
pub mod formula;
mod goals;
mod kept;
mod machine;
mod maps;
mod other;
mod report;
mod run;
mod speed;
pub mod statistics;
mod subject;
mod tables;
mod throughput;
mod training;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::report::Report;
pub use self::run::run;
use self::run::{Run, Sample};
pub use self::tables::tables;
use crate::attribution::AttributionError;
use crate::nn::weights::WeightsError;
use crate::nn::{Network, NnError, Precision};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Forward passes and input gradients.
    Speed,
    /// Integrated Gradients.
    Maps,
    /// Grades from files.
    Grading,
    /// Training steps.
    Training,
}

/// How it is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What.
    pub parts: Vec<Part>,
    /// Which networks.
    pub networks: Vec<Network>,
    /// What of all that can be asked for was not, in words.
    pub not_asked: Vec<String>,
    /// What products are computed in.
    pub precisions: Vec<Precision>,
    /// Images at once.
    pub batches: Vec<usize>,
    /// Pairs of runs in a row of speed and grading.
    pub runs: usize,
    /// Midpoints of a reference.
    pub reference_steps: usize,
    /// Whether to leave out what takes long.
    pub quick: bool,
    /// When to end: what would not end before is left out.
    pub within: Option<Duration>,
    /// Where references, rows and the other program's winners are kept.
    pub keep: Option<PathBuf>,
    /// Earlier reports: rows that would be measured under the same conditions again are taken from there, and a quick run takes the
    /// winners of a full one.
    pub former: Vec<Report>,
    /// What rows depend on of this program, if that is not every bit of it.
    pub program: Option<String>,
    /// Which state of the program it is, if that is known.
    pub revision: Option<String>,
}

/// What ends a bench.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A network cannot run.
    #[error(transparent)]
    Network(#[from] NnError),
    /// Weights cannot be read or made.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A map cannot be made.
    #[error(transparent)]
    Attribution(#[from] AttributionError),
    /// Threads cannot be started.
    #[error(transparent)]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A photograph cannot be used.
    #[error("{0}")]
    Photograph(String),
    /// The other program failed.
    #[error("the other program failed: {0}")]
    Beside(String),
    /// A file cannot be written or read.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl BenchError {
    #[expect(clippy::needless_pass_by_value, reason = "it is an error that ends here")]
    fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File { path: path.to_path_buf(), reason: reason.to_string() }
    }
}
