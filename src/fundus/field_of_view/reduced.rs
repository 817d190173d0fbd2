//! A photograph comes in; a copy of at most [`LONGEST`] pixels goes out, with the brightness in which edges are sought.

use image::RgbImage;

/// Longest side of the copy.
const LONGEST: u32 = 384;

/// A reduced photograph; its pixel (x, y) is the mean of a square of `scale` pixels of the original.
pub(super) struct Reduced {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Pixels of the original per pixel.
    pub scale: u32,
    /// Mean RGB, 0 to 255.
    pub rgb: Vec<[f32; 3]>,
    /// Brightness: the sum of the channels' square roots, on which a dim rim against black counts as much as a bright one
    /// against grey. About 0 to 680.
    pub brightness: Vec<f32>,
}

impl Reduced {
    pub fn new(pixels: &RgbImage) -> Self {
        let scale = pixels.width().max(pixels.height()).div_ceil(LONGEST).max(1);
        let (width, height) = ((pixels.width() / scale).max(1) as usize, (pixels.height() / scale).max(1) as usize);
        let step = scale as usize;
        let stride = pixels.width() as usize * 3;
        let mut rgb = Vec::with_capacity(width * height);
        let mut band = vec![0_u32; width * step * 3];
        for row in 0..height {
            band.fill(0);
            for line in pixels.as_raw().chunks_exact(stride).skip(row * step).take(step) {
                band.iter_mut().zip(line).for_each(|(sum, &value)| *sum += u32::from(value));
            }
            let area = (step * step) as f32;
            rgb.extend(band.chunks_exact(step * 3).map(|block| {
                let mut sum = [0_u32; 3];
                for pixel in block.chunks_exact(3) {
                    sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
                }
                sum.map(|sum| sum as f32 / area)
            }));
        }
        // The offset keeps the noise of a black background from counting as edges.
        let root = |value: f32| 16.0 * ((value + 8.0).sqrt() - 8.0_f32.sqrt());
        let brightness = rgb.iter().map(|pixel: &[f32; 3]| pixel.iter().map(|&value| root(value)).sum()).collect();
        Self { width, height, scale, rgb, brightness }
    }

    /// Brightness at a point (half-pixel centres), bilinear; the border is repeated.
    pub fn brightness_at(&self, x: f64, y: f64) -> f32 {
        let x = (x - 0.5).clamp(0.0, (self.width - 1) as f64);
        let y = (y - 0.5).clamp(0.0, (self.height - 1) as f64);
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(self.width - 1), (top + 1).min(self.height - 1));
        let (across, down) = ((x - left as f64) as f32, (y - top as f64) as f32);
        let at = |x: usize, y: usize| self.brightness.get(y * self.width + x).copied().unwrap_or_default();
        let upper = at(left, top) + across * (at(right, top) - at(left, top));
        let lower = at(left, bottom) + across * (at(right, bottom) - at(left, bottom));
        upper + down * (lower - upper)
    }

    /// Whether a point lies at least `margin` pixels inside the copy.
    pub fn holds(&self, x: f64, y: f64, margin: f64) -> bool {
        x >= margin && y >= margin && x <= self.width as f64 - margin && y <= self.height as f64 - margin
    }
}
