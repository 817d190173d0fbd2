//! Graded photographs and a frozen backbone come in; weights with a fitted head and the figures of their card go out.
//!
//! [`head_only`] is the way through the room: [`features`] runs the [`backbone`] once and keeps what it saw in a [`cache`]; [`selection`] fits heads by [`regression`] and
//! chooses one on `val`; [`card`] writes down what `test` and `external` then gave. [`outline`] is the classifier that a
//! network has to beat.

pub mod backbone;
pub mod cache;
pub mod card;
pub mod features;
pub mod head;
pub mod head_only;
pub mod lbfgs;
pub mod outline;
pub mod regression;
pub mod report;
pub mod selection;

/// What can end a training.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// There is nothing to fit to.
    #[error("labels.csv has no photographs to fit to (split train) or to choose by (split val)")]
    Empty,
    /// Features cannot be written.
    #[error("{key}: its features cannot be kept: {source}; free some space and start again, what was computed is kept")]
    Keep {
        /// The photograph.
        key: String,
        /// What the disk said.
        source: std::io::Error,
    },
    /// The cache is of no use.
    #[error(transparent)]
    Cache(#[from] cache::CacheError),
    /// The folder of full-size photographs cannot be listed.
    #[error("{}: {source}; name the folder of full-size photographs with --samples", folder.display())]
    Samples {
        /// The folder.
        folder: std::path::PathBuf,
        /// What the disk said.
        source: std::io::Error,
    },
    /// The labels are.
    #[error(transparent)]
    Labels(#[from] crate::evaluation::LabelsError),
    /// The network failed.
    #[error(transparent)]
    Network(#[from] crate::nn::NnError),
}
