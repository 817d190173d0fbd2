//! A function with convolutional features comes in; a map of their weighted sum goes out.
//!
//! Grad-CAM (Selvaraju et al., arXiv 1610.02391, equations 1 and 2): each channel of the last convolutional block is weighted
//! by the mean of F's gradient by it. The raw map stays signed: the paper's ReLU is the heatmap's [`super::heatmap::Sign::Positive`],
//! and what speaks against F is kept for [`super::heatmap::Sign::Negative`]. It is enlarged bilinearly, scaled by the ratio of
//! the areas (so that it is in units of F: behind global average pooling and a dense layer it sums to F without its bias) and
//! shared equally by the three colours. It makes no claim of completeness or convergence.

use std::time::Instant;

use super::{Attribution, AttributionError, Cancel, Differentiable, Features, Method, mass_at_rim};

/// The Grad-CAM map of `input`, `[height, width, 3]`; 0 outside `mask`, `[height, width]` (the field).
pub fn grad_cam(
    function: &mut dyn Differentiable,
    input: &[f32],
    mask: &[bool],
    cancel: &Cancel,
) -> Result<Attribution, AttributionError> {
    let begun = Instant::now();
    let shape @ [height, width, channels] = function.shape();
    for (expected, given) in [(height * width * channels, input.len()), (height * width, mask.len())] {
        if expected != given {
            return Err(AttributionError::Shape { expected, given });
        }
    }
    cancel.check()?;
    let features = function.features(input)?;
    let coarse = weighted_sum(&features)?;
    let share = 1.0 / channels as f32;
    let map: Vec<f32> = enlarge(&coarse, [features.shape[0], features.shape[1]], [height, width])
        .into_iter()
        .zip(mask)
        .flat_map(|(value, &inside)| std::iter::repeat_n(if inside { share * value } else { 0.0 }, channels))
        .collect();
    Ok(Attribution {
        method: Method::GradCam,
        shape,
        mass_at_rim: mass_at_rim(&map, shape),
        map,
        f_input: features.value,
        f_baseline: None,
        completeness_error: None,
        completeness_gap: None,
        map_change: None,
        converged: true,
        gradient_evaluations: 1,
        next: None,
        history: Vec::new(),
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// The sum over channels, `[height, width]` of the features, each weighted by its mean gradient.
fn weighted_sum(features: &Features) -> Result<Vec<f32>, AttributionError> {
    let [height, width, channels] = features.shape;
    let expected = height * width * channels;
    for given in [features.activation.len(), features.gradient.len()] {
        if expected == 0 || given != expected {
            return Err(AttributionError::Shape { expected, given });
        }
    }
    let mut weights = vec![0.0f64; channels];
    for place in features.gradient.chunks_exact(channels) {
        for (weight, &gradient) in weights.iter_mut().zip(place) {
            *weight += f64::from(gradient) / (height * width) as f64;
        }
    }
    let at = |place: &[f32]| place.iter().zip(&weights).map(|(&a, w)| f64::from(a) * w).sum::<f64>() as f32;
    let sums: Vec<f32> = features.activation.chunks_exact(channels).map(at).collect();
    let finite = sums.iter().all(|sum| sum.is_finite());
    if finite { Ok(sums) } else { Err(AttributionError::Function("a gradient is not finite".into())) }
}

/// Bilinear with half-pixel centres and held edges; values shrink as pixels do, so that the sum stays.
fn enlarge(coarse: &[f32], [rows, columns]: [usize; 2], [height, width]: [usize; 2]) -> Vec<f32> {
    let down: Vec<_> = (0..height).map(|y| place(y, height, rows)).collect();
    let across: Vec<_> = (0..width).map(|x| place(x, width, columns)).collect();
    let area = (rows * columns) as f32 / (height * width) as f32;
    let mut fine = Vec::with_capacity(height * width);
    for &(top, bottom, low) in &down {
        for &(left, right, far) in &across {
            let upper = coarse[top * columns + left] * (1.0 - far) + coarse[top * columns + right] * far;
            let lower = coarse[bottom * columns + left] * (1.0 - far) + coarse[bottom * columns + right] * far;
            fine.push(area * (upper * (1.0 - low) + lower * low));
        }
    }
    fine
}

/// The two neighbours, of `count`, of place `index` of `of`, and the second one's share.
fn place(index: usize, of: usize, count: usize) -> (usize, usize, f32) {
    let centre = ((index as f32 + 0.5) * count as f32 / of as f32 - 0.5).clamp(0.0, (count - 1) as f32);
    let first = (centre as usize).min(count - 1);
    (first, (first + 1).min(count - 1), centre - first as f32)
}
