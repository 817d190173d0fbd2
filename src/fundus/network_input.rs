//! A photograph and its field come in; what a network sees goes out, with the mapping back to the original's pixels.
//!
//! The circle's bounding square (laid on whole pixels, so that a photograph of at most [`CAP`] pixels is not resampled
//! twice) is averaged by area to at most [`CAP`] pixels and then resampled bilinearly with half-pixel centres. Everything
//! outside the circle or outside the photograph is black before the average is taken and black after it.

use std::ops::Range;

use image::RgbImage;
use sha2::{Digest, Sha256};

use super::{FieldOfView, Photograph};

/// Longest side, in pixels, of the area-averaged square between original and network.
pub const CAP: usize = 320;

/// Network pixels to pixels of the original: `original = origin + scale * network`, both with half-pixel centres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelMap {
    /// The original's coordinates, x then y, of the network square's upper left corner.
    pub origin: [f64; 2],
    /// Pixels of the original per network pixel.
    pub scale: f64,
}

impl PixelMap {
    /// A point of the network's square in the original's coordinates.
    pub fn to_original(&self, x: f64, y: f64) -> [f64; 2] {
        [self.origin[0] + self.scale * x, self.origin[1] + self.scale * y]
    }

    /// A point of the original in the network square's coordinates.
    pub fn to_network(&self, x: f64, y: f64) -> [f64; 2] {
        [(x - self.origin[0]) / self.scale, (y - self.origin[1]) / self.scale]
    }
}

/// What a network sees: RGB in [0, 1], `[side, side, 3]`, black outside the field.
#[derive(Clone, Debug)]
pub struct NetworkInput {
    /// Pixels of a side; the field's diameter fills it.
    pub side: usize,
    /// `[side, side, 3]`, row by row.
    pub pixels: Vec<f32>,
    /// `[side, side]`: whether a pixel's centre lies inside the field (circle and photograph).
    pub mask: Vec<bool>,
    /// Back to the original.
    pub map: PixelMap,
}

impl NetworkInput {
    /// Cuts, averages and resamples as the module of this room says. `side` is at least 1.
    pub fn new(photograph: &Photograph, field: &FieldOfView, side: usize) -> Self {
        let square = Square::around(field);
        let map = PixelMap { origin: [square.left as f64, square.top as f64], scale: square.side as f64 / side as f64 };
        let averaged_side = square.side.min(CAP);
        let averaged = average_by_area(photograph, field, square, averaged_side);
        let mut pixels = resample_bilinearly(&averaged, averaged_side, side);

        let [width, height] = photograph.size.map(f64::from);
        let mut mask = Vec::with_capacity(side * side);
        for row in 0..side {
            for column in 0..side {
                let [x, y] = map.to_original(column as f64 + 0.5, row as f64 + 0.5);
                mask.push(field.contains(x, y) && (0.0..width).contains(&x) && (0.0..height).contains(&y));
            }
        }
        for (pixel, inside) in pixels.chunks_exact_mut(3).zip(&mask) {
            if !inside {
                pixel.fill(0.0);
            }
        }
        Self { side, pixels, mask, map }
    }
}

impl NetworkInput {
    /// SHA-256 of the pixels, f32 in little-endian order: the key of what takes long to compute from them.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.pixels.iter().for_each(|value| hash.update(value.to_le_bytes()));
        hash.finalize().into()
    }
}

/// A square of whole pixels of the original; may reach beyond it.
#[derive(Clone, Copy)]
struct Square {
    left: i64,
    top: i64,
    side: usize,
}

impl Square {
    fn around(field: &FieldOfView) -> Self {
        Self {
            left: (field.centre[0] - field.radius).round() as i64,
            top: (field.centre[1] - field.radius).round() as i64,
            side: ((2.0 * field.radius).round() as usize).max(1),
        }
    }
}

/// A side of the square on decoded pixels, each `scale` of the original wide, cut into equal parts.
struct Axis {
    /// The decoded pixel in which the square begins, and one past that in which it ends.
    decoded: Range<i64>,
    /// How far into the first it begins, in decoded pixels.
    offset: f64,
    /// Decoded pixels of a part.
    step: f64,
}

impl Axis {
    fn new(from: i64, side: usize, scale: u32, parts: usize) -> Self {
        let scale = i64::from(scale);
        let first = from.div_euclid(scale);
        let end = (from + side as i64 - 1).div_euclid(scale) + 1;
        Self {
            decoded: first..end,
            offset: (from - first * scale) as f64 / scale as f64,
            step: side as f64 / parts as f64 / scale as f64,
        }
    }

    fn len(&self) -> usize {
        (self.decoded.end - self.decoded.start) as usize
    }

    /// The decoded pixels under part `index`, counted from the first, each with the length of it that is covered.
    fn spans(&self, index: usize) -> impl Iterator<Item = (usize, f32)> + use<> {
        let (from, to) = (self.offset + index as f64 * self.step, self.offset + (index + 1) as f64 * self.step);
        let last = ((to - 1e-9).ceil() as usize).min(self.len());
        (from.floor() as usize..last).map(move |source| {
            let covered = to.min((source + 1) as f64) - from.max(source as f64);
            (source, covered as f32)
        })
    }
}

/// The square at `n` x `n`, each pixel the mean over its area: `[n, n, 3]` in [0, 1].
fn average_by_area(photograph: &Photograph, field: &FieldOfView, square: Square, n: usize) -> Vec<f32> {
    let [across, down] = [square.left, square.top].map(|from| Axis::new(from, square.side, photograph.scale, n));
    let scale = f64::from(photograph.scale);
    let decoded = FieldOfView { centre: field.centre.map(|at| at / scale), radius: field.radius / scale };
    let mut out = vec![0.0_f32; n * n * 3];
    let mut band = vec![0.0_f32; across.len() * 3];
    let norm = (1.0 / (255.0 * across.step * down.step)) as f32;
    for (row, out_row) in out.chunks_exact_mut(n * 3).enumerate() {
        band.fill(0.0);
        for (y, weight) in down.spans(row) {
            add_row(&photograph.pixels, &decoded, (&across.decoded, down.decoded.start + y as i64), weight, &mut band);
        }
        for (column, pixel) in out_row.chunks_exact_mut(3).enumerate() {
            let mut sum = [0.0_f32; 3];
            for (x, weight) in across.spans(column) {
                if let Some(source) = band.get(x * 3..x * 3 + 3) {
                    sum.iter_mut().zip(source).for_each(|(sum, value)| *sum += weight * value);
                }
            }
            pixel.iter_mut().zip(sum).for_each(|(pixel, sum)| *pixel = sum * norm);
        }
    }
    out
}

/// Adds `weight` times `columns` of row `y` to `band`, as far as they lie inside circle and photograph; all in decoded pixels.
fn add_row(pixels: &RgbImage, field: &FieldOfView, (columns, y): (&Range<i64>, i64), weight: f32, band: &mut [f32]) {
    if y < 0 || y >= i64::from(pixels.height()) {
        return;
    }
    let offset = y as f64 + 0.5 - field.centre[1];
    let half_chord = (field.radius * field.radius - offset * offset).max(0.0).sqrt();
    // Pixels whose centres lie on the chord.
    let first = (field.centre[0] - half_chord - 0.5).ceil().max(columns.start as f64).max(0.0) as i64;
    let end = ((field.centre[0] + half_chord - 0.5).floor() as i64 + 1).min(columns.end).min(i64::from(pixels.width()));
    if end <= first {
        return;
    }
    let start = y as usize * pixels.width() as usize;
    let source = pixels.as_raw().get((start + first as usize) * 3..(start + end as usize) * 3);
    let target = band.get_mut((first - columns.start) as usize * 3..(end - columns.start) as usize * 3);
    if let (Some(source), Some(target)) = (source, target) {
        target.iter_mut().zip(source).for_each(|(target, &value)| *target += weight * f32::from(value));
    }
}

/// `[from, from, 3]` to `[to, to, 3]`, half-pixel centres, the border repeated.
fn resample_bilinearly(source: &[f32], from: usize, to: usize) -> Vec<f32> {
    let taps: Vec<_> = (0..to)
        .map(|index| {
            let at = ((index as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
            let low = at.floor() as usize;
            (low, (low + 1).min(from - 1), (at - low as f64) as f32)
        })
        .collect();
    let mut out = Vec::with_capacity(to * to * 3);
    for &(top, bottom, down) in &taps {
        for &(left, right, across) in &taps {
            for channel in 0..3 {
                let at = |y: usize, x: usize| source[(y * from + x) * 3 + channel];
                let upper = at(top, left) + across * (at(top, right) - at(top, left));
                let lower = at(bottom, left) + across * (at(bottom, right) - at(bottom, left));
                out.push(upper + down * (lower - upper));
            }
        }
    }
    out
}
