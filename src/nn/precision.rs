//! What products are computed in.

use serde::{Deserialize, Serialize};

/// What products are computed in; their sums are in single precision at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision: of every map that is shown, and of every grade.
    #[default]
    F32,
    /// Numbers of 8 binary digits with the range of single precision: for training.
    Bf16,
}

impl Precision {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}
