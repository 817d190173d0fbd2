//! How the overlay is shown: display only, nothing here changes what is computed.

use serde::{Deserialize, Serialize};

use crate::attribution::colormap::Colormap;
use crate::attribution::heatmap::Sign;

/// So that as many steps back as forth end where they began.
fn rounded(value: f32) -> f32 {
    (value * 100.0).round() / 100.0
}

/// How the map lies over the photograph.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OverlayLook {
    /// Opacity that the slider shows, in [0, 1].
    pub opacity: f32,
    /// Taken away by key for the moment; the slider keeps its place.
    #[serde(skip)]
    pub hidden: bool,
    /// Which evidence.
    pub sign: Sign,
    /// In which colours.
    pub colormap: Colormap,
}

impl Default for OverlayLook {
    fn default() -> Self {
        Self { opacity: 0.6, hidden: false, sign: Sign::Both, colormap: Colormap::CyanMagenta }
    }
}

impl OverlayLook {
    /// What is drawn, in [0, 1].
    pub fn effective_opacity(&self) -> f32 {
        if self.hidden { 0.0 } else { self.opacity }
    }

    /// Sets the slider, which also brings a hidden overlay back.
    pub fn set_opacity(&mut self, opacity: f32) {
        self.opacity = rounded(opacity).clamp(0.0, 1.0);
        self.hidden = false;
    }

    /// Takes the overlay away or brings it back as it was. An overlay whose slider stands at 0 comes back visible.
    pub fn toggle(&mut self) {
        if self.opacity == 0.0 {
            self.set_opacity(Self::default().opacity);
        } else {
            self.hidden = !self.hidden;
        }
    }
}
