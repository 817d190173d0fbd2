//! What is remembered from one start to the next; the window's place and size are eframe's to keep.

use serde::{Deserialize, Serialize};

use super::model::OverlayLook;
use crate::attribution::{Baseline, Method};
use crate::grading::Output;
use crate::nn::Network;

/// Under which key it is stored.
pub const KEY: &str = "settings";

/// Dark or light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Theme {
    /// For the reading room.
    #[default]
    Dark,
    /// For the desk.
    Light,
}

/// A person's choices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Dark or light.
    pub theme: Theme,
    /// The list is unfolded.
    pub list: bool,
    /// Grade, bars and evidence are unfolded.
    pub dock: bool,
    /// How the map lies over the photograph.
    pub overlay: OverlayLook,
    /// The network explained.
    pub network: Network,
    /// How.
    pub method: Method,
    /// What.
    pub output: Output,
    /// From which baseline.
    pub baseline: Baseline,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: Theme::default(),
            list: true,
            dock: true,
            overlay: OverlayLook::default(),
            network: Network::ResNet50,
            method: Method::default(),
            output: Output::default(),
            baseline: Baseline::default(),
        }
    }
}
