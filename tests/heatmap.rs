//! A heatmap shows the evidence in a raw map, at a scale that one bright pixel cannot take away, and never invents any.

// Exact values are what is promised.
#![allow(clippy::float_cmp)]

use diaret::attribution::heatmap::{Heatmap, HeatmapSettings, NO_EVIDENCE, Sign};
use diaret::attribution::{Attribution, Method, mass_at_rim};

const SIDE: usize = 40;
const PLAIN: HeatmapSettings = HeatmapSettings { sign: Sign::Both, percentile: 99.0, threshold: 0.1, smoothing: 0.0 };

fn attribution(map: Vec<f32>) -> Attribution {
    Attribution {
        method: Method::Ig,
        shape: [SIDE, SIDE, 3],
        mass_at_rim: mass_at_rim(&map, [SIDE, SIDE, 3]),
        map,
        f_input: 1.0,
        f_baseline: Some(0.0),
        completeness_error: Some(0.0),
        completeness_gap: Some(0.0),
        map_change: Some(0.01),
        converged: true,
        gradient_evaluations: 33,
        next: None,
        history: Vec::new(),
        seconds: 1.0,
    }
}

/// A ramp of channel sums from -1 (left) to 1 (right).
fn ramp() -> Attribution {
    let sum = |x: usize| 2.0 * x as f32 / (SIDE - 1) as f32 - 1.0;
    attribution(
        (0..SIDE * SIDE).flat_map(|i| [0.5 * sum(i % SIDE), 0.3 * sum(i % SIDE), 0.2 * sum(i % SIDE)]).collect(),
    )
}

fn whole() -> Vec<bool> {
    vec![true; SIDE * SIDE]
}

#[test]
fn values_are_channel_sums_over_the_percentile() {
    let heatmap = Heatmap::new(&ramp(), &whole(), &PLAIN);
    assert!(!heatmap.no_evidence);
    for (i, &value) in heatmap.values.iter().enumerate() {
        let sum = 2.0 * (i % SIDE) as f32 / (SIDE - 1) as f32 - 1.0;
        let expected = if sum.abs() < 0.1 { 0.0 } else { sum };
        assert!((value - expected).abs() < 1e-5, "{value} instead of {expected}");
    }
}

#[test]
fn one_bright_pixel_does_not_take_the_scale() {
    let mut bright = ramp();
    bright.map[0] = 1000.0;
    let (with, without) = (Heatmap::new(&bright, &whole(), &PLAIN), Heatmap::new(&ramp(), &whole(), &PLAIN));
    assert_eq!(with.values[0], 1.0);
    assert!(with.values[1..].iter().zip(&without.values[1..]).all(|(a, b)| (a - b).abs() < 0.05));
}

#[test]
fn signs_split_the_map_at_one_scale() {
    let of = |sign| Heatmap::new(&ramp(), &whole(), &HeatmapSettings { sign, ..PLAIN }).values;
    let (both, positive, negative) = (of(Sign::Both), of(Sign::Positive), of(Sign::Negative));
    assert!(both.iter().zip(positive.iter().zip(&negative)).all(|(b, (p, n))| *b == p + n && *p >= 0.0 && *n <= 0.0));
}

#[test]
fn below_the_threshold_nothing_is_drawn() {
    for threshold in [0.0, 0.3, 0.9] {
        let heatmap = Heatmap::new(&ramp(), &whole(), &HeatmapSettings { threshold, ..PLAIN });
        assert!(heatmap.values.iter().all(|v| *v == 0.0 || v.abs() >= threshold));
        assert!(heatmap.values.iter().any(|v| *v != 0.0));
    }
}

#[test]
fn outside_the_field_nothing_is_drawn_smoothed_or_not() {
    let mask: Vec<bool> =
        (0..SIDE * SIDE).map(|i| ((i % SIDE) as f32 - 19.5).hypot((i / SIDE) as f32 - 19.5) < 15.0).collect();
    for smoothing in [0.0, 2.0] {
        let heatmap = Heatmap::new(&ramp(), &mask, &HeatmapSettings { smoothing, ..PLAIN });
        assert!(heatmap.values.iter().zip(&mask).all(|(v, &inside)| inside || *v == 0.0));
    }
}

#[test]
fn a_nearly_empty_map_is_not_stretched() {
    let faint = |mass: f64| {
        let each = (mass / (SIDE * SIDE * 3) as f64) as f32;
        Heatmap::new(&attribution(vec![each; SIDE * SIDE * 3]), &whole(), &PLAIN)
    };
    for mass in [0.0, 1e-12, 0.9 * NO_EVIDENCE] {
        let heatmap = faint(mass);
        assert!(heatmap.no_evidence && heatmap.values.iter().all(|&v| v == 0.0), "{mass}");
    }
    assert!(!faint(1.1 * NO_EVIDENCE).no_evidence);
    let against = HeatmapSettings { sign: Sign::Negative, ..PLAIN };
    assert!(Heatmap::new(&attribution(vec![0.1; SIDE * SIDE * 3]), &whole(), &against).no_evidence);
}

#[test]
fn evidence_in_a_single_pixel_is_drawn() {
    let mut map = vec![0.0; SIDE * SIDE * 3];
    map[3 * 700] = -2.0;
    let heatmap = Heatmap::new(&attribution(map), &whole(), &PLAIN);
    assert!(!heatmap.no_evidence);
    assert!(heatmap.values.iter().enumerate().all(|(i, &v)| v == if i == 700 { -1.0 } else { 0.0 }));
}

#[test]
fn smoothing_spreads_and_keeps_the_place() {
    let mut map = vec![0.0; SIDE * SIDE * 3];
    map[3 * (20 * SIDE + 11)] = 2.0;
    let settings = HeatmapSettings { smoothing: 1.5, threshold: 0.0, percentile: 100.0, ..PLAIN };
    let heatmap = Heatmap::new(&attribution(map), &whole(), &settings);
    let total: f32 = heatmap.values.iter().sum();
    let centre = |axis: fn(usize) -> usize| {
        heatmap.values.iter().enumerate().map(|(i, v)| v * axis(i) as f32).sum::<f32>() / total
    };
    assert!((centre(|i| i % SIDE) - 11.0).abs() < 1e-3 && (centre(|i| i / SIDE) - 20.0).abs() < 1e-3);
    assert_eq!(heatmap.values[20 * SIDE + 11], 1.0);
    assert!(heatmap.values[20 * SIDE + 12] > 0.5);
}

#[test]
fn the_rim_is_a_ring_of_4_percent_of_the_diameter() {
    let side = 500;
    let at = |radius: f64| {
        let mut map = vec![0.0; side * side * 3];
        map[3 * (250 * side + (250.0 + radius) as usize)] = -1.0;
        mass_at_rim(&map, [side, side, 3])
    };
    assert_eq!((at(0.0), at(228.0), at(231.0), at(248.0)), (0.0, 0.0, 1.0, 1.0));
    let even = mass_at_rim(
        &(0..side * side)
            .flat_map(|i| [f32::from(((i % side) as f32 - 249.5).hypot((i / side) as f32 - 249.5) < 250.0); 3])
            .collect::<Vec<f32>>(),
        [side, side, 3],
    );
    assert!((even - (1.0 - 0.92f64.powi(2))).abs() < 1e-3, "{even}");
}
