//! A decoded photograph as a pyramid of levels, each half the former, so that a view draws what its zoom needs.
//!
//! Three quarters of a pyramid's bytes are the original's level, which few views need: a picture that is put by for later leaves
//! it in its file and has it decoded again when a view comes closer.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;

use crate::fundus::{FieldOfView, Photograph, ReadError, Source};

/// Bytes of an original that are worth to be decoded again: less is sharp at once.
const WORTH: usize = 8 << 20;
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

impl Level {
    fn bytes(&self) -> usize {
        self.pixels.as_raw().len()
    }
}

/// A photograph ready to be drawn.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Width and height of the original.
    pub size: [u32; 2],
    /// Its field.
    pub field: FieldOfView,
    /// From the original downwards, or from the next one where the original is left in its file.
    pub levels: Vec<Level>,
    /// The file in which the original's level is left.
    left_in: Option<Arc<Source>>,
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
        Self { size, field, levels, left_in: None }
    }

    /// The picture with its original's level left in `file`, where that is large and the file is not.
    #[must_use]
    pub fn put_by(&self, file: Source) -> Self {
        match self.levels.split_first() {
            Some((original, smaller)) if original.bytes() >= WORTH && 2 * file.length() < original.bytes() => {
                Self { levels: smaller.to_vec(), left_in: Some(Arc::new(file)), ..*self }
            }
            _ => self.clone(),
        }
    }

    /// The file in which the original's level is left, if it is.
    pub(super) fn left_in(&self) -> Option<&Path> {
        self.left_in.as_deref().map(Source::path)
    }

    /// The picture with its original's level, decoded again where it was left in its file; an error where that has to be and fails.
    pub fn whole(&self) -> Result<Self, ReadError> {
        let Some(file) = &self.left_in else { return Ok(self.clone()) };
        let original = Level { scale: 1, pixels: Arc::new(file.whole()?.pixels) };
        Ok(Self { levels: [&[original], &*self.levels].concat(), left_in: None, ..*self })
    }

    /// Whether there is more to see than its levels show.
    pub fn is_reduced(&self) -> bool {
        self.left_in.is_some()
    }

    /// Bytes of all levels and of the file.
    pub fn bytes(&self) -> usize {
        let file = self.left_in.as_deref().map_or(0, Source::length);
        self.levels.iter().map(Level::bytes).sum::<usize>() + file
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
pub(super) mod tests {
    use super::*;
    use crate::fundus::Listing;

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

    /// A picture and its file, which is written to `path`.
    pub fn stored(path: &Path, pixels: &RgbImage) -> (Picture, Source) {
        pixels.save(path).expect("it can be written");
        let file = Source::open(path, &mut Listing::default()).expect("it is a file");
        let photograph = file.whole().expect("it is a picture");
        (Picture::new(photograph, FieldOfView { centre: [1.0, 1.0], radius: 1.0 }), file)
    }

    #[test]
    fn what_is_put_by_comes_back_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let pixels = RgbImage::from_fn(2037, 1611, |x, y| image::Rgb([(x / 64) as u8, (y / 64) as u8, 9]));
        let (picture, file) = stored(&folder.path().join("generated.png"), &pixels);
        let kept = picture.put_by(file);
        assert!(kept.is_reduced() && 3 * kept.bytes() < picture.bytes(), "{} of {}", kept.bytes(), picture.bytes());
        assert_eq!((kept.size, kept.levels[0].scale), (picture.size, 2));
        // The file is not needed any more.
        drop(folder);
        let whole = kept.whole().expect("it was decoded before");
        assert!(!whole.is_reduced());
        let levels = |picture: &Picture| picture.levels.clone().into_iter().map(|level| (level.scale, level.pixels));
        assert!(levels(&whole).eq(levels(&picture)));
        // A view goes on with the tiles that it has.
        let shared = whole.levels[1..].iter().zip(&picture.levels[1..]);
        assert!(shared.into_iter().all(|(whole, former)| Arc::ptr_eq(&whole.pixels, &former.pixels)));
    }

    #[test]
    fn what_is_small_or_its_file_hardly_shrinks_stays_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut state = 1_u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let noise = RgbImage::from_fn(2000, 1500, |_, _| image::Rgb([byte(), byte(), byte()]));
        for pixels in [noise, RgbImage::new(1000, 900)] {
            let (picture, file) = stored(&folder.path().join("generated.png"), &pixels);
            assert!(!picture.put_by(file).is_reduced());
        }
    }

    #[test]
    fn one_pixel_is_a_picture() {
        assert_eq!(picture(1, 1).levels.len(), 1);
        assert_eq!(picture(1, 700).levels.last().expect("a level").pixels.dimensions(), (1, 175));
    }
}
