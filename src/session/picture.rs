//! A decoded photograph as a pyramid of levels, each half the former, so that a view draws what its zoom needs.

use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;

use crate::fundus::{FieldOfView, Photograph};

/// The pyramid ends with a level whose longer side is at most this many pixels.
const SMALLEST: u32 = 256;

/// One level of the pyramid.
#[derive(Clone, Debug)]
pub struct Level {
    /// Pixels of the original per pixel of this level: 1, 2, 4, ...
    pub scale: u32,
    /// sRGB.
    pub pixels: Arc<RgbImage>,
}

/// A photograph ready to be drawn.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Width and height of the original.
    pub size: [u32; 2],
    /// Its field.
    pub field: FieldOfView,
    /// From the original downwards.
    pub levels: Vec<Level>,
}

impl Picture {
    /// Builds the pyramid of a whole photograph.
    pub fn new(photograph: Photograph, field: FieldOfView) -> Self {
        let size = photograph.size;
        let mut pixels = Arc::new(photograph.pixels);
        let mut scale = 1;
        let mut levels = vec![Level { scale, pixels: Arc::clone(&pixels) }];
        while pixels.width().max(pixels.height()) > SMALLEST {
            pixels = Arc::new(half(&pixels));
            scale *= 2;
            levels.push(Level { scale, pixels: Arc::clone(&pixels) });
        }
        Self { size, field, levels }
    }

    /// Bytes of all levels.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.pixels.as_raw().len()).sum()
    }
}

/// Each pixel is the mean of four; an odd last row or column is averaged with itself, so that a pixel of level n covers
/// 2^n pixels of the original everywhere but there.
fn half(image: &RgbImage) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let source = image.as_raw();
    let mut pixels = vec![0u8; half_width * half_height * 3];
    pixels.par_chunks_exact_mut(half_width * 3).enumerate().for_each(|(row, out)| {
        let above = &source[2 * row * width * 3..][..width * 3];
        let below = &source[(2 * row + 1).min(height - 1) * width * 3..][..width * 3];
        let whole = out.chunks_exact_mut(3).zip(above.chunks(6)).zip(below.chunks(6));
        for ((pixel, above), below) in whole {
            let right = above.len() - 3;
            for channel in 0..3 {
                let sum = u16::from(above[channel])
                    + u16::from(above[right + channel])
                    + u16::from(below[channel])
                    + u16::from(below[right + channel]);
                pixel[channel] = ((sum + 2) / 4) as u8;
            }
        }
    });
    RgbImage::from_raw(half_width as u32, half_height as u32, pixels).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> Picture {
        let pixels = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x ^ y) as u8]));
        let photograph = Photograph {
            path: "generated".into(),
            sha256: [0; 32],
            identity: crate::fundus::Identity::default(),
            size: [width, height],
            scale: 1,
            pixels,
        };
        Picture::new(photograph, FieldOfView { centre: [1.0, 1.0], radius: 1.0 })
    }

    #[test]
    fn each_level_is_the_mean_of_four_pixels_of_the_former() {
        let picture = picture(1037, 611);
        assert_eq!(picture.size, [1037, 611]);
        for pair in picture.levels.windows(2) {
            let (fine, coarse) = (&pair[0].pixels, &pair[1].pixels);
            assert_eq!(pair[1].scale, 2 * pair[0].scale);
            assert_eq!(coarse.dimensions(), (fine.width().div_ceil(2), fine.height().div_ceil(2)));
            for (x, y, pixel) in coarse.enumerate_pixels() {
                let (x1, y1) = ((2 * x + 1).min(fine.width() - 1), (2 * y + 1).min(fine.height() - 1));
                for channel in 0..3 {
                    let sum: u32 = [(2 * x, 2 * y), (x1, 2 * y), (2 * x, y1), (x1, y1)]
                        .into_iter()
                        .map(|(x, y)| u32::from(fine.get_pixel(x, y)[channel]))
                        .sum();
                    assert_eq!(u32::from(pixel[channel]), (sum + 2) / 4, "{x}, {y}");
                }
            }
        }
        let last = &picture.levels.last().expect("a level").pixels;
        assert!(last.width().max(last.height()) <= SMALLEST);
    }

    #[test]
    fn one_pixel_is_a_picture() {
        assert_eq!(picture(1, 1).levels.len(), 1);
        assert_eq!(picture(1, 700).levels.last().expect("a level").pixels.dimensions(), (1, 175));
    }
}
