//! A heatmap comes in; RGBA pixels go out: the overlay alone at the network's resolution, or laid over the original.
//!
//! Both draw the same: colours are mixed bilinearly, premultiplied, in sRGB, as a graphics card samples the texture.

use image::{RgbImage, Rgba, RgbaImage};
use rayon::prelude::*;

use super::colormap::Colormap;
use super::heatmap::Heatmap;

/// `[side, side, 4]`, straight alpha: what a view draws over the field's bounding square.
pub fn texture(heatmap: &Heatmap, colormap: Colormap) -> RgbaImage {
    let side = heatmap.side as u32;
    RgbaImage::from_fn(side, side, |x, y| {
        let value = heatmap.values.get((y * side + x) as usize).copied().unwrap_or_default();
        Rgba(colormap.rgba(value).map(|v| (255.0 * v).round() as u8))
    })
}

/// The original with the heatmap laid over it (bilinear), on the original's pixels.
///
/// `to_network` maps the original's coordinates, x then y, to the heatmap's (half-pixel centres: the first pixel's middle
/// is 0.5) and is affine, each axis by itself; nothing is drawn where `inside`, in the original's coordinates, is false.
/// `opacity` in [0, 1] scales the overlay's own.
pub fn compose(
    original: &RgbImage,
    heatmap: &Heatmap,
    colormap: Colormap,
    opacity: f32,
    to_network: &(dyn Fn(f64, f64) -> [f64; 2] + Sync),
    inside: &(dyn Fn(f64, f64) -> bool + Sync),
) -> RgbImage {
    let mut composed = original.clone();
    let (width, side) = (original.width() as usize, heatmap.side);
    if width == 0 || side == 0 || heatmap.values.len() != side * side || heatmap.no_evidence || opacity <= 0.0 {
        return composed;
    }
    let colours = premultiplied(heatmap, colormap, opacity.min(1.0));
    let columns: Vec<Option<Between>> =
        (0..width).map(|x| Between::pixels(to_network(x as f64 + 0.5, 0.5)[0], side)).collect();
    composed.as_flat_samples_mut().samples.par_chunks_exact_mut(3 * width).enumerate().for_each(|(y, row)| {
        let centre_y = y as f64 + 0.5;
        let Some(vertical) = Between::pixels(to_network(0.5, centre_y)[1], side) else { return };
        let upper = &colours[vertical.first * side..][..side];
        let lower = &colours[vertical.second * side..][..side];
        let line: Vec<[f32; 4]> = upper.iter().zip(lower).map(|(&upper, &lower)| vertical.mix(upper, lower)).collect();
        for (x, (pixel, horizontal)) in row.chunks_exact_mut(3).zip(&columns).enumerate() {
            let Some(horizontal) = horizontal else { continue };
            let (left, right) = (line[horizontal.first], line[horizontal.second]);
            if (left[3] > 0.0 || right[3] > 0.0) && inside(x as f64 + 0.5, centre_y) {
                let [red, green, blue, alpha] = horizontal.mix(left, right);
                for (value, over) in pixel.iter_mut().zip([red, green, blue]) {
                    *value = (over + f32::from(*value) * (1.0 - alpha) + 0.5) as u8;
                }
            }
        }
    });
    composed
}

/// Colours in [0, 255] times opacity, and the opacity.
fn premultiplied(heatmap: &Heatmap, colormap: Colormap, opacity: f32) -> Vec<[f32; 4]> {
    let colour = |&value: &f32| {
        let [red, green, blue, alpha] = colormap.rgba(value);
        let alpha = alpha * opacity;
        [255.0 * red * alpha, 255.0 * green * alpha, 255.0 * blue * alpha, alpha]
    };
    heatmap.values.iter().map(colour).collect()
}

/// A place between the middles of two neighbouring pixels.
#[derive(Clone, Copy)]
struct Between {
    first: usize,
    second: usize,
    share: f32,
}

impl Between {
    /// Where `coordinate` lies on a line of `side` pixels; `None` beyond its ends.
    fn pixels(coordinate: f64, side: usize) -> Option<Self> {
        if !(0.0..=side as f64).contains(&coordinate) {
            return None;
        }
        let from_middle = (coordinate - 0.5).clamp(0.0, (side - 1) as f64);
        let first = (from_middle as usize).min(side - 1);
        Some(Self { first, second: (first + 1).min(side - 1), share: (from_middle - first as f64) as f32 })
    }

    fn mix(self, first: [f32; 4], second: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|c| first[c] + self.share * (second[c] - first[c]))
    }
}
