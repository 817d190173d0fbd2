//! A [`Session`] comes in; the window goes out. Sends requests and draws what has arrived; never calls `nn`, never waits.
//!
//! `model` is the state, pure; `commands` everything a person can do; `screen` draws the one and gathers the other; `app` ties
//! the screen to a session. `tokens` names every colour and size.

pub mod commands;
pub mod dock;
pub mod model;
pub mod panes;
pub mod screen;
pub mod settings;
pub mod theme;
pub mod tokens;

mod app;
mod controls;
mod dialog;
mod help;
mod inputs;
mod keys;
mod list;
mod palette;
mod status_line;
mod stopwatch;
mod top_bar;
mod widgets;

use std::path::PathBuf;

pub use stopwatch::Stopwatch;

use crate::home::Home;
use crate::nn::DeviceChoice;
use crate::session::{Options, Session};

/// Smallest window in which everything has its place.
const SMALLEST: [f32; 2] = [1024.0, 640.0];
/// The window of the first start.
const FIRST: [f32; 2] = [1600.0, 1000.0];

/// Opens the window on `paths` (the bundled samples if empty) and returns when it is closed. A `stopwatch` tells how long
/// everything took to appear.
pub fn run(home: Home, device: DeviceChoice, paths: Vec<PathBuf>, stopwatch: Option<Stopwatch>) -> anyhow::Result<()> {
    let viewport = egui::ViewportBuilder::default()
        .with_title("DiaRet")
        .with_app_id("diaret")
        .with_inner_size(FIRST)
        .with_min_inner_size(SMALLEST)
        .with_drag_and_drop(true)
        .with_icon(icon());
    // Dithering is noise by place on the screen: with it the two panes would differ where their photographs are equal.
    let options =
        eframe::NativeOptions { viewport, renderer: eframe::Renderer::Glow, dithering: false, ..Default::default() };
    let samples = home.samples();
    let create: eframe::AppCreator = Box::new(move |creation| {
        let context = creation.egui_ctx.clone();
        let session = Session::start(Options { home, device }, move || context.request_repaint());
        Ok(Box::new(app::App::new(creation, session, samples, paths).timed_by(stopwatch)))
    });
    eframe::run_native("diaret", options, create).map_err(|error| {
        anyhow::anyhow!("the window could not be opened: {error}; without a display, `diaret grade` works")
    })
}

/// The window's icon; none where its file is damaged.
fn icon() -> egui::IconData {
    let bytes = include_bytes!("../../assets/icon/diaret-256.png");
    image::load_from_memory(bytes).map_or_else(
        |_| egui::IconData::default(),
        |image| {
            let image = image.into_rgba8();
            egui::IconData { width: image.width(), height: image.height(), rgba: image.into_raw() }
        },
    )
}
