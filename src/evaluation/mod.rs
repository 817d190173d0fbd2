//! Predictions and references come in; the figures of the field go out: quadratic weighted kappa, accuracy, the confusion
//! matrix and the area under the ROC curve for referable retinopathy, by source, with bootstrap intervals.
//!
//! Knows no networks: a [`Graded`] photograph is what a reader said beside what something predicted.

mod bootstrap;
mod confusion;
mod figures;
mod labels;
mod roc;

pub use bootstrap::{Interval, bootstrap};
pub use confusion::Confusion;
pub use figures::{Figures, Graded, by_source};
pub use labels::{Colour, Labelled, LabelsError, Split, read_labels};
pub use roc::roc_auc;

/// Number of grades.
pub const GRADES: usize = crate::grading::Grade::ALL.len();
