//! The two panes: equal where no map is drawn, maps inside the field only, pixels as they are at 1:1, one view for both.
//!
//! Rendered in software (lavapipe), so that the pixels are the same on every machine with a tolerance of one level of 255.

mod scene;

use std::sync::Arc;

use diaret::attribution::Method;
use diaret::attribution::colormap::Colormap;
use diaret::attribution::heatmap::HeatmapSettings;
use diaret::fundus::{Identity, Laterality};
use diaret::grading::Output;
use diaret::nn::Network;
use diaret::session::{Map, Picture};
use diaret::viewer::panes::{
    Adjustments, Asked, Drawing, Input, MapState, Panes, Photograph, Placement, Response, Viewpoint,
};
use diaret::viewer::theme;
use egui::{Event, Modifiers, MouseWheelUnit, PointerButton, Pos2, TouchPhase, Vec2, pos2, vec2};
use egui_kittest::kittest::Queryable;
use egui_kittest::{Harness, SnapshotOptions};

/// What is shown, and what came of it.
struct Shown {
    panes: Panes,
    picture: Result<Arc<Picture>, String>,
    map: Option<Map>,
    opacity: f32,
    adjustments: Adjustments,
    response: Option<Response>,
}

impl Shown {
    fn new(picture: Arc<Picture>) -> Self {
        let map = scene::map(picture.field, 1.0, true);
        Self {
            panes: Panes::default(),
            picture: Ok(picture),
            map: Some(map),
            opacity: 1.0,
            adjustments: Adjustments::default(),
            response: None,
        }
    }

    fn show(&mut self, ui: &mut egui::Ui) {
        let identity = Identity { eye: Some(Laterality::Left), ..Identity::default() };
        let input = Input {
            name: "painted",
            identity: &identity,
            photograph: match &self.picture {
                Ok(picture) => Photograph::Shown(picture),
                Err(reason) => Photograph::Skipped(reason),
            },
            asked: Asked {
                network: Network::ResNet50,
                method: Method::Ig,
                output: Output::LogOddsReferable,
                predicted: None,
            },
            map: self.map.as_ref().map_or(MapState::Waiting, |map| MapState::Shown { map, failure: None }),
            drawing: Drawing {
                heatmap: HeatmapSettings::default(),
                colormap: Colormap::default(),
                opacity: self.opacity,
            },
            adjustments: self.adjustments,
        };
        let area = ui.ctx().content_rect();
        let mut whole = ui.new_child(egui::UiBuilder::new().max_rect(area));
        self.response = Some(self.panes.show(&mut whole, &input));
    }
}

fn harness(shown: Shown, size: [f32; 2], pixels_per_point: f32) -> Harness<'static, Shown> {
    let mut harness = Harness::builder()
        .with_size(size)
        .with_pixels_per_point(pixels_per_point)
        .with_theme(egui::Theme::Dark)
        .with_step_dt(1.0 / 30.0)
        .with_max_steps(120)
        .with_context_setup(theme::install)
        .build_ui_state(|ui, shown: &mut Shown| shown.show(ui), shown);
    harness.run();
    harness
}

fn response(harness: &Harness<'_, Shown>) -> Response {
    harness.state().response.expect("shown once")
}

fn placements(harness: &Harness<'_, Shown>) -> [Placement; 2] {
    response(harness).placements.expect("a photograph is shown")
}

/// The panes' pixels on which only photograph and map are drawn: both panes' place of each, and the original's point there.
fn photograph_pixels(harness: &Harness<'_, Shown>, pixels_per_point: f32) -> Vec<([u32; 2], [u32; 2], [f64; 2])> {
    let Response { panes, .. } = response(harness);
    let placement = placements(harness)[0];
    let picture = harness.state().picture.clone().expect("a photograph is shown");
    let corners = panes.map(|pane| (pane.min.to_vec2() * pixels_per_point).round());
    let size = (panes[0].size() * pixels_per_point).round();
    // Titles and legend above, zoom and switch below.
    let [above, below] = [48.0, 40.0].map(|points: f32| (points * pixels_per_point).ceil() as u32);
    let mut pixels = Vec::new();
    for y in above..(size.y as u32).saturating_sub(below) {
        for x in 0..size.x as u32 {
            let point = placement.to_original([f64::from(x) + 0.5, f64::from(y) + 0.5]);
            if (0..2).all(|i| point[i] > 0.0 && point[i] < f64::from(picture.size[i])) {
                let at = corners.map(|corner| [corner.x as u32 + x, corner.y as u32 + y]);
                pixels.push((at[0], at[1], point));
            }
        }
    }
    assert!(pixels.len() > 1000, "the photograph is in view");
    pixels
}

fn difference(image: &image::RgbaImage, a: [u32; 2], b: [u32; 2]) -> u8 {
    let [a, b] = [a, b].map(|[x, y]| image.get_pixel(x, y).0);
    (0..3).map(|i| a[i].abs_diff(b[i])).max().unwrap_or_default()
}

fn wheel(harness: &mut Harness<'_, Shown>, at: Pos2, points: f32) {
    harness.hover_at(at);
    harness.run();
    harness.event(Event::MouseWheel {
        unit: MouseWheelUnit::Point,
        delta: vec2(0.0, points),
        phase: TouchPhase::Move,
        source: egui::MouseWheelSource::Unknown,
        modifiers: Modifiers::NONE,
    });
    harness.run();
}

fn click(harness: &Harness<'_, Shown>, at: Pos2) {
    for pressed in [true, false] {
        harness.event(Event::PointerButton {
            pos: at,
            button: PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        });
    }
}

#[test]
fn panes_are_equal_at_opacity_0_and_differ_only_inside_the_field_at_1() {
    for (pixels_per_point, zooms) in [(1.0, vec![]), (1.0, vec![333.0, 77.0]), (1.25, vec![120.0]), (2.0, vec![-40.0])]
    {
        let mut harness = harness(Shown::new(scene::picture(1300, 900)), [733.0, 411.0], pixels_per_point);
        for points in zooms {
            wheel(&mut harness, pos2(201.0, 175.0), points);
        }
        harness.remove_cursor();
        harness.state_mut().opacity = 0.0;
        harness.run();
        let pixels = photograph_pixels(&harness, pixels_per_point);
        let image = harness.render().expect("it renders");
        let worst = pixels.iter().map(|&(left, right, _)| difference(&image, left, right)).max();
        // Each pane interpolates between the same pixels from another place on the screen: a rounding may differ.
        assert!(worst <= Some(1), "opacity 0: {worst:?} levels apart at {pixels_per_point} pixels per point");

        harness.state_mut().opacity = 1.0;
        harness.run();
        let field = harness.state().picture.as_ref().expect("it is shown").field;
        let image = harness.render().expect("it renders");
        let mut changed = 0;
        for (left, right, [x, y]) in photograph_pixels(&harness, pixels_per_point) {
            if difference(&image, left, right) > 1 {
                assert!(field.contains(x, y), "a pixel outside the field differs");
                changed += 1;
            }
        }
        assert!(changed > 200, "the map is seen: {changed} pixels");
    }
}

#[test]
fn at_1_to_1_a_pixel_of_the_photograph_is_a_pixel_of_the_screen() {
    let picture = scene::picture(1300, 900);
    let original = picture.levels[0].pixels.clone();
    let mut harness = harness(Shown::new(picture), [733.0, 411.0], 1.0);
    harness.state_mut().panes.one_to_one();
    harness.state_mut().opacity = 0.0;
    harness.run();
    let image = harness.render().expect("it renders");
    for ([x, y], _, point) in photograph_pixels(&harness, 1.0) {
        let expected = original.get_pixel(point[0] as u32, point[1] as u32).0;
        let shown = image.get_pixel(x, y).0;
        assert!((0..3).all(|i| shown[i].abs_diff(expected[i]) <= 1), "{shown:?} for {expected:?} at {x}, {y}");
    }
}

#[test]
fn photographs_wider_than_a_texture_are_drawn_to_their_end() {
    let width = 20_000;
    let pixels = image::RgbImage::from_fn(width, 64, |x, _| image::Rgb([(x / 79) as u8, 90, 30]));
    let mut wide = (*scene::picture(64, 64)).clone();
    wide.size = [width, 64];
    wide.field.centre = [f64::from(width) / 2.0, 32.0];
    wide.field.radius = f64::from(width) / 2.0;
    wide.levels = vec![diaret::session::Level { scale: 1, pixels: Arc::new(pixels) }];
    let mut shown = Shown::new(Arc::new(wide));
    shown.map = None;
    let mut harness = harness(shown, [640.0, 200.0], 1.0);
    harness.state_mut().panes.one_to_one();
    harness.run();
    harness.state_mut().panes.pan_by([100.0, 0.0]);
    harness.run();
    let image = harness.render().expect("it renders");
    let [x, y] = placements(&harness)[0].to_pane([f64::from(width) - 8.5, 32.0]);
    assert_eq!(image.get_pixel(x as u32, y as u32).0[..3], [((width - 9) / 79) as u8, 90, 30]);
}

#[test]
fn the_wheel_zooms_at_the_pointer_in_both_panes_and_a_drag_pans_both() {
    let mut harness = harness(Shown::new(scene::picture(1300, 900)), [733.0, 411.0], 1.0);
    let at = pos2(180.0, 220.0);
    let under = |harness: &Harness<'_, Shown>| placements(harness)[0].to_original([180.0, 220.0]);
    let before = under(&harness);
    wheel(&mut harness, at, 400.0);
    let after = under(&harness);
    assert!(placements(&harness)[0].scale > 1.5 * Viewpoint::FIT.place(&scene_of(&harness), &frame_of(&harness)).scale);
    assert!((0..2).all(|i| (after[i] - before[i]).abs() < 0.2), "{before:?} became {after:?}");

    let start = placements(&harness);
    harness.drag_at(at);
    harness.run();
    harness.hover_at(at + vec2(-31.0, 17.0));
    harness.run();
    harness.drop_at(at + vec2(-31.0, 17.0));
    harness.run();
    let moved = placements(&harness);
    for side in 0..2 {
        let delta = [0, 1].map(|i| moved[side].origin[i] - start[side].origin[i]);
        assert!((delta[0] + 31.0).abs() < 0.2 && (delta[1] - 17.0).abs() < 0.2, "{delta:?}");
    }
}

fn scene_of(harness: &Harness<'_, Shown>) -> diaret::viewer::panes::Scene {
    let picture = harness.state().picture.as_ref().expect("it is shown");
    diaret::viewer::panes::Scene { size: picture.size, field: picture.field }
}

fn frame_of(harness: &Harness<'_, Shown>) -> diaret::viewer::panes::Frame {
    let size = response(harness).panes[0].size();
    diaret::viewer::panes::Frame { size: [f64::from(size.x), f64::from(size.y)], title: 36.0 }
}

#[test]
fn the_switch_unlinks_and_a_double_click_goes_to_1_to_1_and_back() {
    let mut harness = harness(Shown::new(scene::picture(1300, 900)), [733.0, 411.0], 1.0);
    harness.get_by_label("Panes linked").click();
    harness.run();
    assert!(!harness.state().panes.linked());
    // So long that the next click does not count with this one.
    harness.run_steps(15);
    let right = response(&harness).panes[1].center() + Vec2::new(10.0, 5.0);
    harness.hover_at(right);
    click(&harness, right);
    click(&harness, right);
    harness.run();
    let [left, alone] = placements(&harness);
    assert!((alone.scale - 1.0).abs() < 1e-9 && left.scale < 0.5, "{left:?}, {alone:?}");
    harness.state_mut().panes.fit();
    harness.run();
    let [left, fitted] = placements(&harness);
    assert_eq!(left, fitted);
}

#[test]
fn red_free_shows_the_green_channel_in_both_panes() {
    let mut shown = Shown::new(scene::picture(1300, 900));
    shown.adjustments.red_free = true;
    shown.opacity = 0.0;
    let mut harness = harness(shown, [733.0, 411.0], 1.0);
    let image = harness.render().expect("it renders");
    for (left, right, _) in photograph_pixels(&harness, 1.0) {
        for [x, y] in [left, right] {
            let [r, g, b, _] = image.get_pixel(x, y).0;
            assert!(r == g && g == b);
        }
    }
    harness.state_mut().adjustments = Adjustments::default();
    harness.run();
    let image = harness.render().expect("it renders");
    let coloured = photograph_pixels(&harness, 1.0)
        .into_iter()
        .any(|([x, y], ..)| image.get_pixel(x, y).0[0] > image.get_pixel(x, y).0[1]);
    assert!(coloured, "tiles are made anew");
}

#[test]
fn a_nearly_zero_map_is_labelled_and_not_drawn() {
    let picture = scene::picture(650, 450);
    let mut shown = Shown::new(picture.clone());
    shown.map = Some(scene::map(picture.field, 1e-6, true));
    let mut harness = harness(shown, [500.0, 300.0], 1.0);
    assert!(response(&harness).no_evidence);
    let image = harness.render().expect("it renders");
    let worst = photograph_pixels(&harness, 1.0).iter().map(|&(a, b, _)| difference(&image, a, b)).max();
    assert!(worst <= Some(1), "{worst:?}");
}

#[test]
fn panes_have_names_for_those_who_do_not_see_them() {
    let mut harness = harness(Shown::new(scene::picture(650, 450)), [733.0, 411.0], 1.0);
    harness.get_by_label("Original: painted, left eye");
    harness.get_by_label("Map: Why referable? integrated gradients · ResNet-50");
    harness.get_by_label("Legend: against, no evidence, for");
    harness.state_mut().picture = Err("painted.png is not a fundus photograph".to_owned());
    harness.run();
    harness.get_by_label("Skipped: painted.png is not a fundus photograph");
}

#[test]
fn panes_look_as_they_did() {
    let mut shown = Shown::new(scene::picture(1300, 900));
    shown.opacity = 0.6;
    let mut harness = harness(shown, [900.0, 340.0], 1.0);
    // The other pane's cursor: the pointer itself is not rendered.
    harness.hover_at(pos2(300.0, 150.0));
    harness.run();
    harness.snapshot_options("panes", &SnapshotOptions::new().threshold(1.5).max_failed_pixels(20));
}
