//! The main screen looks as it is meant to: dark and light, at three sizes, with a bundled photograph, stored grades and a stored
//! map (live ones differ by processor).
//!
//! Snapshots are drawn by a Vulkan driver in software (Debian and Ubuntu: mesa-vulkan-drivers), so that they are the same on
//! every machine but for rounding. `UPDATE_SNAPSHOTS=1` writes them anew. What they show was stored by
//! `tests/main_screen/record.py`.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use diaret::attribution::{Attribution, Method, Refinement};
use diaret::fundus::{self, FieldOfView, Laterality, Listing, NetworkInput};
use diaret::grading::{Assessment, Grade, Verdict};
use diaret::nn::{Network, SIDE};
use diaret::session::{Case, CaseId, Event, Map, NetworkState, Picture};
use diaret::viewer::commands::Command;
use diaret::viewer::model::Model;
use diaret::viewer::screen::Screen;
use diaret::viewer::settings::{Settings, Theme};
use diaret::viewer::theme;
use egui_kittest::{Harness, SnapshotOptions};
use serde::Deserialize;

/// The case on screen.
const SHOWN: &str = "IDRiD_048.jpg";
/// Pixels of a thumbnail's side.
const THUMBNAIL: u32 = 88;

/// A record of `diaret grade`.
#[derive(Deserialize)]
struct Record {
    file: PathBuf,
    reason: Option<String>,
    eye: Option<Laterality>,
    patient: Option<String>,
    grade: Option<Grade>,
    probabilities: Option<[f64; 5]>,
    referable_probability: Option<f64>,
    networks: Option<BTreeMap<Network, Verdict>>,
}

/// A report of `diaret explain`.
#[derive(Deserialize)]
struct Report {
    f_input: f64,
    f_baseline: Option<f64>,
    completeness_error: Option<f64>,
    completeness_gap: Option<f64>,
    map_change: Option<f64>,
    converged: bool,
    gradient_evaluations: usize,
    history: Vec<Refinement>,
    mass_at_rim: f64,
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn stored(name: &str) -> PathBuf {
    repository().join("tests/main_screen").join(name)
}

/// A window of `size` that has been told what was recorded.
fn window(size: [f32; 2], settings: &Settings) -> Harness<'static, Screen> {
    let screen = Screen::new(settings);
    let build = || {
        Harness::builder().with_size(size).with_step_dt(0.25).with_context_setup(theme::install).wgpu().build_ui_state(
            |ui, screen: &mut Screen| {
                let window = ui.ctx().content_rect();
                ui.scope_builder(egui::UiBuilder::new().max_rect(window), |ui| {
                    ui.set_clip_rect(window);
                    screen.show(ui);
                });
            },
            screen,
        )
    };
    let mut harness = catch_unwind(AssertUnwindSafe(build))
        .unwrap_or_else(|_| panic!("no Vulkan driver was found: on Debian or Ubuntu, install mesa-vulkan-drivers"));
    for event in events() {
        let context = harness.ctx.clone();
        harness.state_mut().apply(&context, event);
        if matches!(harness.state().model.selected, Some(CaseId(0))) {
            let shown = CaseId(place_of_shown());
            harness.state_mut().model.act(Command::Select(shown));
        }
    }
    harness.run_steps(12);
    harness
}

fn records() -> Vec<Record> {
    let text = std::fs::read_to_string(stored("grades.jsonl")).expect("grades.jsonl lies beside this test");
    text.lines().map(|line| serde_json::from_str(line).expect("a record of `diaret grade`")).collect()
}

fn place_of_shown() -> usize {
    records().iter().position(|record| record.file.ends_with(SHOWN)).expect("the case shown was graded")
}

/// What a session would say of the samples; made once, for decoding takes its time.
fn events() -> Vec<Event> {
    static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
        let mut events = vec![Event::Device { label: "CPU · AVX2".to_owned(), fallback: None }];
        events.extend(networks());
        events.extend(list());
        events.extend(shown());
        events
    });
    EVENTS.clone()
}

/// The networks that spoke are ready, the others are not, and why.
fn networks() -> Vec<Event> {
    let networks = records().into_iter().find_map(|record| record.networks).expect("a photograph was graded");
    let state = |verdict| match verdict {
        Verdict::Graded(_) => NetworkState::Ready,
        Verdict::Unavailable { .. } => NetworkState::Unavailable("no weights yet".to_owned()),
    };
    networks.into_iter().map(|(network, verdict)| Event::Network(network, state(verdict))).collect()
}

fn list() -> Vec<Event> {
    let samples = repository().join("assets/samples");
    let cases = records().into_iter().map(|record| Case {
        path: samples.join(record.file.file_name().unwrap_or_default()),
        identity: fundus::Identity { patient: record.patient, eye: record.eye, ..Default::default() },
    });
    let cases: Vec<Case> = cases.collect();
    let thumbnails: Vec<Event> = cases.iter().enumerate().map(|(place, case)| thumbnail(place, case)).collect();
    let opened = Event::Opened { title: "samples".to_owned(), cases, unreadable: Vec::new() };
    let outcomes = records().into_iter().enumerate().map(|(place, record)| outcome(CaseId(place), record));
    std::iter::once(opened).chain(thumbnails).chain(outcomes).collect()
}

fn outcome(case: CaseId, record: Record) -> Event {
    match (record.grade, record.probabilities, record.referable_probability, record.networks) {
        (Some(grade), Some(probabilities), Some(referable_probability), Some(networks)) => {
            let assessment = Assessment { grade, probabilities, referable_probability, networks };
            Event::Assessed(case, Arc::new(assessment))
        }
        _ => Event::Skipped(case, record.reason.expect("what is not graded has a reason")),
    }
}

/// The middle of a photograph, round.
fn thumbnail(place: usize, case: &Case) -> Event {
    let pixels = image::open(&case.path).expect("the bundled photograph is read").to_rgb8();
    let (width, height) = pixels.dimensions();
    let side = width.min(height);
    let square = image::imageops::crop_imm(&pixels, (width - side) / 2, (height - side) / 2, side, side).to_image();
    let small = image::imageops::thumbnail(&square, THUMBNAIL, THUMBNAIL);
    let radius = THUMBNAIL as f32 / 2.0;
    let round = image::RgbaImage::from_fn(THUMBNAIL, THUMBNAIL, |x, y| {
        let [red, green, blue] = small.get_pixel(x, y).0;
        let distance = (x as f32 + 0.5 - radius).hypot(y as f32 + 0.5 - radius);
        image::Rgba([red, green, blue, (255.0 * (radius - distance).clamp(0.0, 1.0)) as u8])
    });
    Event::Thumbnail(CaseId(place), Arc::new(round))
}

/// Picture and map of the case on screen.
fn shown() -> [Event; 2] {
    let case = CaseId(place_of_shown());
    let file = repository().join("assets/samples").join(SHOWN);
    let photograph = fundus::read(&file, &mut Listing::default()).expect("the bundled photograph is read");
    let field = FieldOfView::find(&photograph).expect("its field is found");
    let input = NetworkInput::new(&photograph, &field, SIDE);
    let map = Map {
        request: Model::new(&Settings::default()).request,
        attribution: Arc::new(attribution()),
        mask: input.mask.into(),
        pixel_map: input.map,
        precision: "f32",
        finished: true,
    };
    [Event::Picture(case, Arc::new(Picture::new(photograph, field))), Event::Map(case, map)]
}

/// The stored map with its evidence; the time is invented, as it differs with every run.
fn attribution() -> Attribution {
    let text = std::fs::read(stored("explained.json")).expect("explained.json lies beside this test");
    let report: Report = serde_json::from_slice(&text).expect("the report of `diaret explain`");
    let sums = std::fs::read(stored("map.f16")).expect("map.f16 lies beside this test");
    let sums = sums.chunks_exact(2).map(|bytes| half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32());
    Attribution {
        method: Method::Ig,
        shape: [SIDE, SIDE, 3],
        map: sums.flat_map(|sum| [sum, 0.0, 0.0]).collect(),
        f_input: report.f_input,
        f_baseline: report.f_baseline,
        completeness_error: report.completeness_error,
        completeness_gap: report.completeness_gap,
        map_change: report.map_change,
        converged: report.converged,
        gradient_evaluations: report.gradient_evaluations,
        next: None,
        history: report.history,
        mass_at_rim: report.mass_at_rim,
        seconds: 9.4,
    }
}

/// Draws the screen and compares it: no channel may differ by more than rounding, but for a few pixels at edges of letters.
fn compare(name: &str, size: [f32; 2], theme: Theme) {
    let mut harness = window(size, &Settings { theme, ..Settings::default() });
    let options = SnapshotOptions::new().threshold(1.0).max_failed_pixels(100);
    harness.snapshot_options(name, &options);
}

#[test]
fn dark_1600() {
    compare("dark-1600x1000", [1600.0, 1000.0], Theme::Dark);
}

#[test]
fn light_1600() {
    compare("light-1600x1000", [1600.0, 1000.0], Theme::Light);
}

#[test]
fn dark_1280() {
    compare("dark-1280x800", [1280.0, 800.0], Theme::Dark);
}

#[test]
fn light_1280() {
    compare("light-1280x800", [1280.0, 800.0], Theme::Light);
}

#[test]
fn dark_1920() {
    compare("dark-1920x1080", [1920.0, 1080.0], Theme::Dark);
}

#[test]
fn light_1920() {
    compare("light-1920x1080", [1920.0, 1080.0], Theme::Light);
}
