//! The dock: bars as long as their probabilities on the screen's pixels, every figure named, nothing said that is not known.

mod scene;

use std::time::Duration;

use diaret::attribution::{Method, Stop};
use diaret::grading::{Assessment, Verdict};
use diaret::nn::Network;
use diaret::session::Map;
use diaret::viewer::dock::{self, Graded, Input, Response};
use diaret::viewer::panes::MapState;
use diaret::viewer::{theme, tokens};
use egui::{Color32, Rect};
use egui_kittest::kittest::Queryable;
use egui_kittest::{Harness, SnapshotOptions, SnapshotResults};

/// What is shown, and what came of it.
struct Shown {
    graded: Result<Assessment, String>,
    map: Result<Map, String>,
    /// Why the map is not refined further.
    failure: Option<String>,
    response: Option<Response>,
}

impl Default for Shown {
    fn default() -> Self {
        let field = diaret::fundus::FieldOfView { centre: [50.0; 2], radius: 50.0 };
        Self { graded: Ok(scene::assessment()), map: Ok(scene::map(field, 1.0, false)), failure: None, response: None }
    }
}

impl Shown {
    fn show(&mut self, ui: &mut egui::Ui) {
        let networks = scene::networks();
        let input = Input {
            graded: match &self.graded {
                Ok(assessment) => Graded::Shown(assessment),
                Err(reason) => Graded::Skipped(reason),
            },
            networks: &networks,
            map: match &self.map {
                Ok(map) => MapState::Shown { map, failure: self.failure.as_deref() },
                Err(reason) => MapState::Failed(reason),
            },
            stop: Stop::default(),
            elapsed: Some(Duration::from_millis(6500)),
        };
        let area = ui.ctx().content_rect();
        let mut whole = ui.new_child(egui::UiBuilder::new().max_rect(area));
        self.response = Some(dock::show(&mut whole, &input));
    }
}

fn harness(shown: Shown, width: f32, theme_of: egui::Theme, pixels_per_point: f32) -> Harness<'static, Shown> {
    let mut harness = Harness::builder()
        .with_size([width, tokens::size::DOCK])
        .with_pixels_per_point(pixels_per_point)
        .with_theme(theme_of)
        .with_context_setup(theme::install)
        .build_ui_state(|ui, shown: &mut Shown| shown.show(ui), shown);
    harness.run();
    harness
}

/// Pixels from the left edge of `full`, along its middle, until the colour is no longer nearer to `bar` than to `track`.
fn length(image: &image::RgbaImage, full: Rect, bar: Color32, track: Color32, pixels_per_point: f32) -> f32 {
    let physical = full * pixels_per_point;
    let y = physical.center().y as u32;
    let distance = |[r, g, b, _]: [u8; 4], to: Color32| {
        [(r, to.r()), (g, to.g()), (b, to.b())].iter().map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>()
    };
    let (left, right) = (physical.left().round() as u32, physical.right().round() as u32);
    (left..right)
        .take_while(|&x| {
            let pixel = image.get_pixel(x, y).0;
            distance(pixel, bar) < distance(pixel, track)
        })
        .count() as f32
}

#[test]
fn bars_on_the_screen_are_as_long_as_their_probabilities() {
    for (theme_of, palette) in [(egui::Theme::Dark, &tokens::DARK), (egui::Theme::Light, &tokens::LIGHT)] {
        for (width, pixels_per_point) in [(1056.0, 1.0), (1376.0, 1.0), (1376.0, 1.5)] {
            let mut harness = harness(Shown::default(), width, theme_of, pixels_per_point);
            let image = harness.render().expect("it renders");
            let Response { bars, referable } = harness.state().response.clone().expect("shown once");
            let assessment = scene::assessment();
            let check = |full: Rect, colour: Color32, probability: f64| {
                let shown = length(&image, full, colour, palette.field, pixels_per_point);
                let expected = probability as f32 * full.width() * pixels_per_point;
                assert!((shown - expected).abs() <= 1.0, "{shown} pixels for {expected}");
            };
            check(referable, tokens::grade(diaret::grading::Grade::Severe), assessment.referable_probability);
            for (grade, geometry) in bars.iter().enumerate() {
                check(geometry.consensus, palette.consensus, assessment.probabilities[grade]);
                for (network, place) in [Network::ResNet50, Network::InceptionV3].into_iter().zip(&geometry.networks) {
                    let Some(Verdict::Graded(own)) = assessment.networks.get(&network) else { panic!("it spoke") };
                    check(*place, palette.network(network), own.probabilities[grade]);
                }
            }
        }
    }
}

#[test]
fn every_figure_is_named() {
    let harness = harness(Shown::default(), 1376.0, egui::Theme::Dark, 1.0);
    for label in [
        "Grade 2: Moderate NPDR",
        "ResNet-50 and InceptionV3 agree",
        "Referable: 88 %",
        "Referable: retinopathy only, macular oedema not assessed",
        "Not calibrated yet. InceptionResNetV2: no weights yet.",
        "Moderate: consensus 71 %, ResNet-50 66 %, InceptionV3 76 %",
        "None: consensus 2 %, ResNet-50 3 %, InceptionV3 1 %",
        "next map in 5 s",
        "Estimated error of the map: 27 % at 4 gradients, 2.3 % at 40 gradients, 2 % asked",
    ] {
        harness.get_by_label(label);
    }
    for line in [
        "Estimated error of the map: 2.3 % of 2 % asked",
        "Sum against change of output: within 0.1 %",
        "Share at the rim: 8 %",
        "Gradients taken: 40 of at most 256, f32",
    ] {
        harness.get_by_value(line);
    }
}

#[test]
fn grad_cam_claims_no_completeness() {
    let mut shown = Shown::default();
    if let Ok(map) = &mut shown.map {
        let mut attribution = (*map.attribution).clone();
        attribution.method = Method::GradCam;
        (attribution.f_baseline, attribution.completeness_error, attribution.completeness_gap) = (None, None, None);
        (attribution.map_change, attribution.history) = (None, Vec::new());
        (attribution.gradient_evaluations, attribution.next) = (1, None);
        map.attribution = attribution.into();
    }
    let harness = harness(shown, 1376.0, egui::Theme::Dark, 1.0);
    harness.get_by_value("Sum against change of output: not defined");
    harness.get_by_value("Gradients taken: 1 f32");
    assert!(harness.query_by_label_contains("next map").is_none());
}

#[test]
fn a_map_that_is_not_refined_further_does_not_promise_another() {
    let shown = Shown { failure: Some("the card is out of memory".to_owned()), ..Shown::default() };
    let harness = harness(shown, 1376.0, egui::Theme::Dark, 1.0);
    harness.get_by_label("not refined further");
    assert!(harness.query_by_label_contains("next map").is_none());
}

#[test]
fn a_skipped_file_has_no_bars_but_a_reason() {
    let shown = Shown {
        graded: Err("cat.jpg is not a fundus photograph".to_owned()),
        map: Err("no map without a photograph".to_owned()),
        failure: None,
        response: None,
    };
    let mut harness = harness(shown, 1056.0, egui::Theme::Dark, 1.0);
    harness.get_by_label("Skipped");
    harness.get_by_label("no map without a photograph");
    assert!(harness.query_by_label_contains("consensus").is_none());
    let image = harness.render().expect("it renders");
    let bars = harness.state().response.clone().expect("shown once").bars;
    for geometry in bars {
        assert!(length(&image, geometry.consensus, tokens::DARK.consensus, tokens::DARK.field, 1.0) < 1.0);
    }
}

#[test]
fn the_dock_looks_as_it_did() {
    let mut results = SnapshotResults::new();
    for (theme_of, name) in [(egui::Theme::Dark, "dock_dark"), (egui::Theme::Light, "dock_light")] {
        let mut harness = harness(Shown::default(), 1200.0, theme_of, 1.0);
        harness.snapshot_options(name, &SnapshotOptions::new().threshold(1.5).max_failed_pixels(20));
        results.extend_harness(&mut harness);
    }
}
