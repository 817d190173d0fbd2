//! What the panes and the dock are shown in tests: a painted retina, a painted map, two networks' words.

// Each test file uses its own part.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use diaret::attribution::{Attribution, Baseline, Method, Refinement, Stop};
use diaret::fundus::{FieldOfView, Photograph, PixelMap};
use diaret::grading::{Assessment, NetworkGrade, Output, Verdict};
use diaret::nn::Network;
use diaret::session::{Map, MapRequest, NetworkState, Picture};

/// A painted retina: an orange disc cut at top and bottom, a bright optic disc, dark vessels, a fine chequered patch.
pub fn picture(width: u32, height: u32) -> Arc<Picture> {
    let field =
        FieldOfView { centre: [f64::from(width) * 0.48, f64::from(height) / 2.0], radius: f64::from(width) * 0.41 };
    let pixels = image::RgbImage::from_fn(width, height, |x, y| {
        let [dx, dy] = [
            (f64::from(x) + 0.5 - field.centre[0]) / field.radius,
            (f64::from(y) + 0.5 - field.centre[1]) / field.radius,
        ];
        let r = dx.hypot(dy);
        if r > 1.0 {
            return image::Rgb([0, 0, 0]);
        }
        let disc = (-((dx + 0.55).powi(2) + dy.powi(2)) / 0.02).exp();
        let vessel = (-((dy - 0.4 * (dx * 4.0).sin()).powi(2)) / 0.0008).exp() * (1.0 - disc);
        let chequered =
            if (0.2..0.4).contains(&dx) && (0.1..0.3).contains(&dy) && (x / 4 + y / 4) % 2 == 0 { 0.25 } else { 0.0 };
        let light = (1.0 - 0.45 * r * r) * (1.0 - 0.45 * vessel) + 0.6 * disc + chequered;
        image::Rgb([200.0, 110.0, 50.0].map(|v: f64| (v * light).clamp(0.0, 255.0) as u8))
    });
    let photograph = Photograph {
        path: "painted.png".into(),
        sha256: [0; 32],
        identity: diaret::fundus::Identity::default(),
        size: pixels.dimensions().into(),
        scale: 1,
        pixels,
    };
    Arc::new(Picture::new(photograph, field))
}

/// A map over `field` with a few blobs for and against, of `strength` in all.
pub fn map(field: FieldOfView, strength: f32, finished: bool) -> Map {
    const SIDE: usize = 99;
    let middle = SIDE as f32 / 2.0;
    let blobs = [(0.3_f32, 0.3_f32, 1.0_f32), (0.6, 0.35, -0.8), (0.7, 0.62, 0.9), (0.4, 0.7, -0.6), (0.5, 0.9, 0.7)];
    let inside = |x: usize, y: usize| (x as f32 + 0.5 - middle).hypot(y as f32 + 0.5 - middle) <= middle;
    let mut values = Vec::with_capacity(SIDE * SIDE * 3);
    let mut mask = Vec::with_capacity(SIDE * SIDE);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let value: f32 = blobs
                .iter()
                .map(|(bx, by, sign)| {
                    let d2 = (x as f32 / SIDE as f32 - bx).powi(2) + (y as f32 / SIDE as f32 - by).powi(2);
                    sign * (-d2 / 0.0012).exp()
                })
                .sum();
            let value = if inside(x, y) { strength * value } else { 0.0 };
            values.extend([value / 3.0; 3]);
            mask.push(inside(x, y));
        }
    }
    let refined = |gradient_evaluations, map_change| Refinement { gradient_evaluations, map_change };
    let attribution = Attribution {
        method: Method::Ig,
        shape: [SIDE, SIDE, 3],
        map: values,
        f_input: 1.9,
        f_baseline: Some(-0.4),
        completeness_error: Some(0.0012),
        completeness_gap: Some(-0.0028),
        map_change: Some(0.023),
        converged: finished,
        gradient_evaluations: 40,
        next: (!finished).then_some(72),
        history: vec![refined(4, 0.27), refined(40, 0.023)],
        mass_at_rim: 0.08,
        seconds: 6.2,
    };
    Map {
        request: MapRequest {
            network: Network::ResNet50,
            method: Method::Ig,
            output: Output::LogOddsReferable,
            baseline: Baseline::Blur,
            stop: Stop::default(),
        },
        attribution: Arc::new(attribution),
        mask: mask.into(),
        pixel_map: PixelMap { origin: field.centre.map(|c| c - field.radius), scale: 2.0 * field.radius / SIDE as f64 },
        precision: "f32",
        finished,
    }
}

/// Two networks that agree on moderate, the third without weights.
pub fn assessment() -> Assessment {
    let word = |p: [f64; 5]| Verdict::Graded(NetworkGrade::from_logits(&p.map(f64::ln)));
    let networks = BTreeMap::from([
        (Network::ResNet50, word([0.03, 0.12, 0.66, 0.15, 0.04])),
        (Network::InceptionV3, word([0.01, 0.08, 0.76, 0.13, 0.02])),
        (Network::InceptionResNetV2, Verdict::Unavailable { unavailable: "no weights yet".to_owned() }),
    ]);
    Assessment::consensus(networks).expect("two networks spoke")
}

/// How the networks of [`assessment`] stand.
pub fn networks() -> Vec<(Network, NetworkState)> {
    vec![
        (Network::ResNet50, NetworkState::Ready),
        (Network::InceptionV3, NetworkState::Ready),
        (Network::InceptionResNetV2, NetworkState::Unavailable("no weights yet".to_owned())),
    ]
}
