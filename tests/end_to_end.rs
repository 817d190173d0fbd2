//! The real binary in a real window, driven by keys, judged by its pixels: bars agree with `diaret grade`, the panes are equal
//! without overlay and differ only inside the field with it, and another case changes all three.
//!
//! Needs Xvfb, xdotool and `ImageMagick`, which `packaging/test` installs; without them it fails and says so.

#[path = "end_to_end/desktop.rs"]
mod desktop;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use desktop::Desktop;
use diaret::fundus::{FieldOfView, Listing, read};
use diaret::viewer::dock::{Geometry, geometry, sections};
use diaret::viewer::panes::{self, Frame, Placement, Scene, Viewpoint};
use diaret::viewer::screen::Layout;
use diaret::viewer::tokens;
use egui::{Color32, Rect, pos2, vec2};
use image::RgbImage;

const WINDOW: [u32; 2] = [1600, 1000];
const CASES: [&str; 2] = ["IDRiD_048.jpg", "IDRiD_199.jpg"];
/// Most pixels by which a bar may be too long or too short.
const BAR_TOLERANCE: f64 = 2.0;
/// Networks and maps on a machine that others use as well.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_folder_is_graded_and_explained_on_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    for name in CASES {
        std::fs::copy(samples().join(name), folder.path().join(name)).unwrap();
    }
    let graded = grade(folder.path());
    let desktop = Desktop::open(WINDOW, &[folder.path()]);

    let first = wait(&desktop, "the bars of the first case", |shot| bars_agree(shot, &graded[CASES[0]]));
    let shown = wait(&desktop, "an overlay on the first case", |shot| differing(shot, |_, _| true) > 500);
    // The name of the file was read, not only something drawn: a wrong case would have other bars.
    assert!(!bars_agree(&first, &graded[CASES[1]]), "the two cases cannot be told apart by their bars");

    desktop.press("space", 1);
    let bare = wait(&desktop, "equal panes without overlay", |shot| differing(shot, |_, _| true) == 0);
    assert!(brightness(&bare) > 20.0, "the panes are equal because they are empty");

    desktop.press("space", 1);
    desktop.press("period", 10);
    let full =
        wait(&desktop, "a full overlay", |shot| differing(shot, |_, _| true) > differing(&shown, |_, _| true) / 4);
    let field = Field::of(&folder.path().join(CASES[0]));
    assert_eq!(differing(&full, |x, y| !field.holds(x, y)), 0, "the overlay leaves the field");

    desktop.press("Right", 1);
    let second = wait(&desktop, "the bars of the second case", |shot| bars_agree(shot, &graded[CASES[1]]));
    let second = if differing(&second, |_, _| true) > 0 {
        second
    } else {
        wait(&desktop, "an overlay on the second case", |shot| differing(shot, |_, _| true) > 0)
    };
    let [left, right] = pictures();
    assert!(changed(&full, &second, left) > 0.5, "the original is still that of the first case");
    assert!(changed(&full, &second, right) > 0.5, "the overlay is still that of the first case");
}

/// Probabilities by name of series: `consensus` and the networks.
type Series = BTreeMap<String, [f64; 5]>;

fn grade(folder: &Path) -> BTreeMap<&'static str, Series> {
    let run = Command::new(env!("CARGO_BIN_EXE_diaret"))
        .args(["grade", "--format", "jsonl", "--device", "cpu"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let records: Vec<serde_json::Value> =
        String::from_utf8(run.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let five = |value: &serde_json::Value| std::array::from_fn(|grade| value[grade].as_f64().unwrap());
    CASES
        .into_iter()
        .zip(records)
        .map(|(name, record)| {
            let mut series = Series::from([("consensus".to_owned(), five(&record["probabilities"]))]);
            for (network, verdict) in record["networks"].as_object().unwrap() {
                if verdict.get("probabilities").is_some() {
                    series.insert(network.clone(), five(&verdict["probabilities"]));
                }
            }
            assert!(series.len() > 1, "no network has weights");
            (name, series)
        })
        .collect()
}

fn samples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples")
}

/// Looks until `holds`; gives the picture in which it did.
fn wait(desktop: &Desktop, what: &str, holds: impl Fn(&RgbImage) -> bool) -> RgbImage {
    let begun = Instant::now();
    loop {
        let shot = desktop.shot();
        if holds(&shot) {
            return shot;
        }
        if begun.elapsed() > PATIENCE {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("end_to_end.png");
            shot.save(&kept).unwrap();
            panic!("not seen within {PATIENCE:?}: {what}; the screen is in {}", kept.display());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn layout() -> Layout {
    Layout::new(Rect::from_min_size(pos2(0.0, 0.0), vec2(WINDOW[0] as f32, WINDOW[1] as f32)), true, true)
}

/// The photographs' pixels of both panes: titles, legend, zoom label and link are left out.
fn pictures() -> [Rect; 2] {
    panes::split(layout().panes, 1.0).map(|pane| {
        Rect::from_min_max(
            pos2(pane.left(), pane.top() + 2.0 * tokens::pane::TITLE),
            pos2(pane.right(), pane.bottom() - tokens::pane::NOTE_BOTTOM),
        )
    })
}

/// How many pixels of the two panes differ among those that `asked` picks, by their place in the pane's picture area.
///
/// By more than one level of 255: each pane interpolates between the same pixels of the photograph from another place on the
/// screen, and a graphics driver's rounding may fall otherwise there.
fn differing(shot: &RgbImage, asked: impl Fn(u32, u32) -> bool) -> usize {
    let [left, right] = pictures();
    let size = left.size();
    let at = |rect: Rect, x: u32, y: u32| *shot.get_pixel(rect.left() as u32 + x, rect.top() as u32 + y);
    (0..size.y as u32)
        .flat_map(|y| (0..size.x as u32).map(move |x| (x, y)))
        .filter(|&(x, y)| {
            let (one, other) = (at(left, x, y).0, at(right, x, y).0);
            asked(x, y) && one.iter().zip(other).any(|(&a, b)| a.abs_diff(b) > 1)
        })
        .count()
}

fn brightness(shot: &RgbImage) -> f64 {
    let area = pictures()[0];
    let values = pixels(area).map(|(x, y)| f64::from(shot.get_pixel(x, y).0[0]));
    values.sum::<f64>() / f64::from(area.area())
}

/// The share of a rectangle's pixels that two pictures show differently.
fn changed(before: &RgbImage, after: &RgbImage, area: Rect) -> f64 {
    let differ = pixels(area).filter(|&(x, y)| before.get_pixel(x, y) != after.get_pixel(x, y)).count();
    differ as f64 / f64::from(area.area())
}

fn pixels(area: Rect) -> impl Iterator<Item = (u32, u32)> {
    let (left, right) = (area.left() as u32, area.right() as u32);
    (area.top() as u32..area.bottom() as u32).flat_map(move |y| (left..right).map(move |x| (x, y)))
}

/// Where the fitted field lies on the screen.
struct Field {
    placement: Placement,
    circle: FieldOfView,
    offset: [f64; 2],
}

impl Field {
    fn of(file: &Path) -> Self {
        let photograph = read(file, &mut Listing::default()).unwrap();
        let field = FieldOfView::find(&photograph).unwrap();
        let [pane, _] = panes::split(layout().panes, 1.0);
        let size = [photograph.pixels.width(), photograph.pixels.height()];
        let frame =
            Frame { size: [f64::from(pane.width()), f64::from(pane.height())], title: f64::from(tokens::pane::TITLE) };
        let placement = Viewpoint::FIT.place(&Scene { size, field }, &frame);
        let corner = pictures()[0].min - pane.min;
        Self { placement, circle: field, offset: [f64::from(corner.x), f64::from(corner.y)] }
    }

    /// Whether a pixel of the picture area touches the field: half a pixel of the screen and one of the network's map count
    /// as touching.
    fn holds(&self, x: u32, y: u32) -> bool {
        let at = [f64::from(x) + 0.5 + self.offset[0], f64::from(y) + 0.5 + self.offset[1]];
        let [x, y] = self.placement.to_original(at);
        let slack = 0.75 / self.placement.scale;
        (x - self.circle.centre[0]).hypot(y - self.circle.centre[1]) <= self.circle.radius + slack
    }
}

/// Whether every bar on the screen is as long as its probability.
fn bars_agree(shot: &RgbImage, expected: &Series) -> bool {
    let area = layout().dock;
    let area = area.with_min_y(area.top() + 1.0);
    let rows = geometry(sections(area)[1].shrink2(vec2(tokens::dock::SIDE, tokens::dock::TOP)));
    (0..5).all(|grade| row_agrees(shot, &rows[grade], grade, expected))
}

fn row_agrees(shot: &RgbImage, row: &Geometry, grade: usize, expected: &Series) -> bool {
    let palette = &tokens::DARK;
    let mut drawn = vec![("consensus", row.consensus, palette.consensus)];
    let networks = diaret::nn::Network::ALL.into_iter().filter(|network| expected.contains_key(network.name()));
    drawn.extend(networks.zip(row.networks).map(|(network, bar)| (network.name(), bar, palette.network(network))));
    drawn.into_iter().all(|(name, full, colour)| {
        let wanted = expected[name][grade] * f64::from(full.width());
        (length(shot, full, colour) - wanted).abs() <= BAR_TOLERANCE
    })
}

/// How far a bar's colour reaches from its left end, along its middle.
fn length(shot: &RgbImage, full: Rect, colour: Color32) -> f64 {
    let y = full.center().y.floor() as u32;
    let near = |x: u32| shot.get_pixel(x, y).0.iter().zip(colour.to_array()).all(|(&a, b)| a.abs_diff(b) < 48);
    let (left, right) = (full.left() as u32, full.right() as u32);
    f64::from((left..right).rev().find(|&x| near(x)).map_or(0, |last| last + 1 - left))
}
