//! Evidence in [-1, 1] comes in; a colour and an opacity go out.

use serde::{Deserialize, Serialize};

/// The colours of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colormap {
    /// Cyan for, magenta against: no lesion has these colours.
    #[default]
    CyanMagenta,
    /// Viridis, by magnitude.
    Viridis,
    /// Cividis, by magnitude.
    Cividis,
}

impl Colormap {
    /// Straight (not premultiplied) sRGB and opacity, each in [0, 1]; opacity follows magnitude.
    pub fn rgba(self, _evidence: f32) -> [f32; 4] {
        todo!()
    }
}
