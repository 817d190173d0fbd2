//! A [`Session`](crate::session::Session) comes in; the window goes out. Sends requests and draws what has arrived; never
//! calls `nn`, never waits.

pub mod dock;
pub mod panes;
pub mod theme;
pub mod tokens;

use std::path::PathBuf;

use crate::home::Home;
use crate::nn::DeviceChoice;

/// Opens the window on `paths` (the bundled samples if empty) and returns when it is closed.
pub fn run(_home: Home, _device: DeviceChoice, _paths: Vec<PathBuf>) -> anyhow::Result<()> {
    todo!()
}
