//! Values over a field come in; their Gaussian average over the field's pixels alone goes out.
//!
//! A plain blur drags the black outside into the field. Normalised convolution (Knutsson and Westin, CVPR 1993) does not:
//! the Gaussian of `values x mask` is divided by the Gaussian of `mask`, so the field's rim stays where it is.

/// Reach of the kernel, in standard deviations.
const REACH: f32 = 4.0;

/// Averages `values`, `[height, width, channels]`, inside `mask`, `[height, width]`; outside it the result is 0.
///
/// `sigma` is in pixels. Where the mask is whole this is the Gaussian with black borders normalised by its own weight.
pub(super) fn inside(values: &[f32], mask: &[bool], [height, width, channels]: [usize; 3], sigma: f32) -> Vec<f32> {
    let kernel = kernel(sigma);
    let weights: Vec<f32> = mask.iter().map(|&inside| if inside { 1.0 } else { 0.0 }).collect();
    let covered: Vec<f32> = values
        .chunks_exact(channels)
        .zip(&weights)
        .flat_map(|(pixel, weight)| pixel.iter().map(move |v| v * weight))
        .collect();
    let blurred = separable(&covered, [height, width, channels], &kernel);
    let share = separable(&weights, [height, width, 1], &kernel);
    let mut result = blurred;
    for ((pixel, &inside), &share) in result.chunks_exact_mut(channels).zip(mask).zip(&share) {
        for value in pixel {
            *value = if inside && share > 0.0 { *value / share } else { 0.0 };
        }
    }
    result
}

/// The right half of a Gaussian, centre first, so that the whole sums to 1.
fn kernel(sigma: f32) -> Vec<f32> {
    let radius = (REACH * sigma).ceil() as usize;
    let bell = |i: usize| (-0.5 * (i as f32 / sigma.max(f32::MIN_POSITIVE)).powi(2)).exp();
    let half: Vec<f32> = (0..=radius).map(bell).collect();
    let whole = 2.0 * half.iter().sum::<f32>() - 1.0;
    half.into_iter().map(|weight| weight / whole).collect()
}

/// Rows, then columns; zero beyond the borders.
fn separable(values: &[f32], [height, width, channels]: [usize; 3], kernel: &[f32]) -> Vec<f32> {
    let stride = width * channels;
    let mut along_rows = vec![0.0; values.len()];
    for (source, target) in values.chunks_exact(stride).zip(along_rows.chunks_exact_mut(stride)) {
        for (distance, &weight) in kernel.iter().enumerate().take_while(|&(distance, _)| distance < width) {
            let shift = distance * channels;
            add_scaled(&mut target[shift..], &source[..stride - shift], weight);
            if distance > 0 {
                add_scaled(&mut target[..stride - shift], &source[shift..], weight);
            }
        }
    }
    let mut result = vec![0.0; values.len()];
    for (row, target) in result.chunks_exact_mut(stride).enumerate() {
        for (distance, &weight) in kernel.iter().enumerate() {
            if let Some(above) = row.checked_sub(distance) {
                add_scaled(target, &along_rows[above * stride..][..stride], weight);
            }
            if distance > 0 && row + distance < height {
                add_scaled(target, &along_rows[(row + distance) * stride..][..stride], weight);
            }
        }
    }
    result
}

fn add_scaled(target: &mut [f32], source: &[f32], weight: f32) {
    for (sum, value) in target.iter_mut().zip(source) {
        *sum += weight * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_field_keeps_its_value_up_to_the_rim() {
        let (side, sigma) = (41, 3.0);
        let mask: Vec<bool> = (0..side * side)
            .map(|i| (i % side) as f32 - 20.0)
            .zip((0..side * side).map(|i| (i / side) as f32 - 20.0))
            .map(|(x, y)| x * x + y * y < 18.0 * 18.0)
            .collect();
        let values: Vec<f32> = mask.iter().flat_map(|&m| if m { [0.2, 0.5, 0.9] } else { [7.0; 3] }).collect();
        let blurred = inside(&values, &mask, [side, side, 3], sigma);
        for (pixel, &inside) in blurred.chunks_exact(3).zip(&mask) {
            let expected = if inside { [0.2, 0.5, 0.9] } else { [0.0; 3] };
            assert!(pixel.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{pixel:?} instead of {expected:?}");
        }
    }

    #[test]
    fn a_point_becomes_a_gaussian_of_the_width_asked_for() {
        let (side, sigma) = (61, 4.0);
        let mut values = vec![0.0; side * side];
        values[30 * side + 30] = 1.0;
        let blurred = inside(&values, &vec![true; side * side], [side, side, 1], sigma);
        let variance: f32 =
            blurred.iter().enumerate().map(|(i, v)| v * ((i % side) as f32 - 30.0).powi(2)).sum::<f32>()
                / blurred.iter().sum::<f32>();
        assert!((variance.sqrt() - sigma).abs() < 0.02, "{}", variance.sqrt());
    }
}
