//! An image and its field come in; the images from which the paths of Integrated Gradients start go out.
//!
//! Every baseline is black outside the field, so nothing there can be given credit. Which one is best depends on what is
//! looked for: a black baseline (the paper's) gives dark lesions almost no credit, since there is little between them and
//! black; the blurred photograph keeps the fundus and takes away what is smaller than the blur.

use super::Baseline;
use super::gaussian;

/// Standard deviation of the blur as a share of the field's diameter, which is the side of the network's square.
pub const BLUR: f32 = 0.035;

impl Baseline {
    /// The start of each path: `[side, side, 3]` RGB in [0, 1] each; two for [`Baseline::BlackWhite`], one for the others.
    ///
    /// `pixels` is `[side, side, 3]`, `mask` `[side, side]` (the field).
    pub fn starts(self, pixels: &[f32], mask: &[bool], side: usize) -> Vec<Vec<f32>> {
        let black = || vec![0.0; pixels.len()];
        match self {
            Self::Blur => {
                let mut blurred = gaussian::inside(pixels, mask, [side, side, 3], BLUR * side as f32);
                for value in &mut blurred {
                    *value = value.clamp(0.0, 1.0);
                }
                vec![blurred]
            }
            Self::Black => vec![black()],
            Self::Mean => vec![filled(mask, mean_colour(pixels, mask))],
            Self::BlackWhite => vec![black(), filled(mask, [1.0; 3])],
        }
    }
}

/// The mean of the starts, pixel by pixel: what stands for the baseline where one image is shown or stored.
pub fn mean_of(starts: &[Vec<f32>]) -> Vec<f32> {
    let count = starts.len().max(1) as f32;
    let mut mean = starts.first().cloned().unwrap_or_default();
    for start in starts.iter().skip(1) {
        for (sum, value) in mean.iter_mut().zip(start) {
            *sum += value;
        }
    }
    for sum in &mut mean {
        *sum /= count;
    }
    mean
}

fn filled(mask: &[bool], colour: [f32; 3]) -> Vec<f32> {
    mask.iter().flat_map(|&inside| if inside { colour } else { [0.0; 3] }).collect()
}

fn mean_colour(pixels: &[f32], mask: &[bool]) -> [f32; 3] {
    let mut sum = [0.0f64; 3];
    let mut count = 0.0f64;
    for (pixel, _) in pixels.chunks_exact(3).zip(mask).filter(|&(_, &inside)| inside) {
        count += 1.0;
        for (total, &value) in sum.iter_mut().zip(pixel) {
            *total += f64::from(value);
        }
    }
    sum.map(|total| (total / count.max(1.0)) as f32)
}

#[cfg(test)]
// Exact values are what is promised.
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    /// A field of radius 18 in a square of 41, with a bright spot; white outside, as stray light would be.
    fn spot() -> (Vec<f32>, Vec<bool>) {
        let mask: Vec<bool> =
            (0..41 * 41).map(|i| ((i % 41) as f32 - 20.0).hypot((i / 41) as f32 - 20.0) < 18.0).collect();
        let mut pixels = filled(&mask, [0.6, 0.3, 0.1]);
        pixels[3 * (20 * 41 + 20)] = 1.0;
        (pixels, mask)
    }

    #[test]
    fn every_baseline_is_black_outside_the_field() {
        let (pixels, mask) = spot();
        for baseline in [Baseline::Blur, Baseline::Black, Baseline::Mean, Baseline::BlackWhite] {
            for start in baseline.starts(&pixels, &mask, 41) {
                let outside = start.chunks_exact(3).zip(&mask).filter(|&(_, &inside)| !inside);
                assert!(outside.flat_map(|(pixel, _)| pixel).all(|&v| v == 0.0), "{baseline:?}");
            }
        }
    }

    #[test]
    fn the_blur_removes_the_spot_and_keeps_the_rim() {
        let (pixels, mask) = spot();
        let blurred = &Baseline::Blur.starts(&pixels, &mask, 41)[0];
        let spot = blurred[3 * (20 * 41 + 20)];
        assert!((0.6..0.7).contains(&spot), "{spot}");
        let rim = blurred[3 * (20 * 41 + 3)];
        assert!((rim - 0.6).abs() < 1e-3, "{rim}");
    }

    #[test]
    fn black_and_white_have_grey_for_their_mean() {
        let (pixels, mask) = spot();
        let mean = mean_of(&Baseline::BlackWhite.starts(&pixels, &mask, 41));
        assert!(mean.chunks_exact(3).zip(&mask).all(|(p, &m)| p.iter().all(|&v| v == if m { 0.5 } else { 0.0 })));
    }
}
