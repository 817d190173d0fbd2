//! Grad-CAM shows the weighted features where they lie, in units of F, and claims no completeness.

// Exact values are what is promised.
#![allow(clippy::float_cmp)]

use diaret::attribution::grad_cam::grad_cam;
use diaret::attribution::{AttributionError, Cancel, Differentiable, Features};

/// F = bias + dense(global average of features), with fixed features: what the networks' last layers are.
struct Pooled {
    features: [usize; 3],
    activation: Vec<f32>,
    dense: Vec<f32>,
}

impl Differentiable for Pooled {
    fn shape(&self) -> [usize; 3] {
        [60, 60, 3]
    }

    fn rows(&self) -> usize {
        1
    }

    fn precision(&self) -> f64 {
        0.0
    }

    fn values(&mut self, _: &[f32]) -> Result<Vec<f64>, AttributionError> {
        Err(AttributionError::Function("Grad-CAM needs no values".into()))
    }

    fn values_and_gradients(&mut self, _: &[f32]) -> Result<(Vec<f64>, Vec<f32>), AttributionError> {
        Err(AttributionError::Function("Grad-CAM needs no gradients by the input".into()))
    }

    fn secants(&mut self, _: [&[f32]; 2], _: &[f64], _: &Cancel) -> Result<(Vec<f64>, Vec<f64>), AttributionError> {
        Err(AttributionError::Function("Grad-CAM needs no secants".into()))
    }

    fn features(&mut self, _: &[f32]) -> Result<Features, AttributionError> {
        let [h, w, _] = self.features;
        let value =
            self.activation.iter().zip(self.dense.iter().cycle()).map(|(a, d)| f64::from(a * d) / (h * w) as f64).sum();
        let gradient = self.dense.iter().cycle().take(self.activation.len()).map(|d| d / (h * w) as f32).collect();
        Ok(Features { value, shape: self.features, activation: self.activation.clone(), gradient })
    }
}

/// Channel 0 speaks for F at row 1, column 4 of 6 x 6; channel 1 against it at row 4, column 0.
fn pooled() -> Pooled {
    let mut activation = vec![0.0; 6 * 6 * 2];
    activation[2 * (6 + 4)] = 36.0;
    activation[2 * (4 * 6) + 1] = 36.0;
    Pooled { features: [6, 6, 2], activation, dense: vec![2.0, -0.5] }
}

fn at(map: &[f32], row: usize, column: usize) -> f32 {
    map[3 * (60 * row + column)..][..3].iter().sum()
}

#[test]
fn evidence_stands_where_the_features_are() {
    let map = grad_cam(&mut pooled(), &[0.5; 10_800], &[true; 3600], &Cancel::default()).unwrap();
    let peak = (0..3600).max_by(|a, b| at(&map.map, a / 60, a % 60).total_cmp(&at(&map.map, b / 60, b % 60))).unwrap();
    assert!((14..=15).contains(&(peak / 60)) && (44..=45).contains(&(peak % 60)), "{peak}");
    assert!(at(&map.map, 45, 3) < 0.0 && at(&map.map, 30, 30) == 0.0);
    assert!((map.sum() - map.f_input).abs() < 1e-3, "{} instead of {}", map.sum(), map.f_input);
    assert_eq!(
        (map.completeness_error, map.completeness_gap, map.f_baseline, map.map_change),
        (None, None, None, None)
    );
    assert!(map.converged && map.gradient_evaluations == 1);
}

#[test]
fn outside_the_field_it_is_zero() {
    let mask: Vec<bool> = (0..3600).map(|i| i % 60 < 42).collect();
    let map = grad_cam(&mut pooled(), &[0.5; 10_800], &mask, &Cancel::default()).unwrap();
    assert!(map.map.chunks_exact(3).zip(&mask).all(|(a, &inside)| inside || a == [0.0; 3]));
    assert!(map.map.iter().any(|&a| a != 0.0));
}

#[test]
fn cancelled_before_it_begins() {
    let cancel = Cancel::default();
    cancel.cancel();
    let result = grad_cam(&mut pooled(), &[0.5; 10_800], &[true; 3600], &cancel);
    assert!(matches!(result, Err(AttributionError::Cancelled)));
}
