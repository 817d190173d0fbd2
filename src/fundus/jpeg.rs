//! A JPEG file's bytes come in; whether it is whole, and its pixels reduced, go out.
//!
//! A block of 8 x 8 pixels is coded as frequencies: from the lowest 4 x 4, 2 x 2 or the mean alone a decoder makes a picture of a
//! half, a quarter or an eighth of the size without ever making the others' pixels.

use std::panic::catch_unwind;

use image::RgbImage;
use jpeg_decoder::{Decoder, PixelFormat};

use super::read::MOST_ALLOCATED;

/// What a decoder can reduce by.
const SCALES: [u32; 3] = [8, 4, 2];

/// The most that a picture can be reduced by, so that its shorter side keeps `least` pixels.
pub(super) fn scale([width, height]: [u32; 2], least: u32) -> u32 {
    SCALES.into_iter().find(|scale| width.min(height) / scale >= least).unwrap_or(1)
}

/// The picture at 1 / `scale`, as stored: each pixel stands for `scale` x `scale` of the original, the last of a row or column
/// perhaps for fewer. `None` where it is not in colour, or the decoder stumbles.
pub(super) fn reduced(bytes: &[u8], size: [u32; 2], scale: u32) -> Option<RgbImage> {
    // Even if it panics there is the other decoder.
    catch_unwind(|| decode(bytes, size, scale)).ok().flatten()
}

fn decode(bytes: &[u8], size: [u32; 2], scale: u32) -> Option<RgbImage> {
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(usize::try_from(MOST_ALLOCATED).unwrap_or(usize::MAX));
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    let [width, height] = size.map(|side| side.div_ceil(scale));
    if info.pixel_format != PixelFormat::RGB24 || [info.width, info.height].map(u32::from) != size {
        return None;
    }
    let given = decoder.scale(u16::try_from(width).ok()?, u16::try_from(height).ok()?).ok()?;
    if (u32::from(given.0), u32::from(given.1)) != (width, height) {
        return None;
    }
    RgbImage::from_raw(width, height, decoder.decode().ok()?)
}

/// Whether a JPEG reaches its end marker. The decoder fills what is missing with grey and says nothing; in an entropy-coded
/// scan 0xFF is followed by 0 or by a restart marker, so that the end marker cannot be mistaken.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // To the next marker: the end of a scan, or the byte after a segment.
        let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xFF)) else {
            return false;
        };
        at += found + 1;
        match bytes.get(at) {
            None => return false,
            Some(0xD9) => return true,
            // Stuffed zero, restart markers, fill bytes, markers without a segment.
            Some(0x00 | 0x01 | 0xD0..=0xD8) => at += 1,
            Some(0xFF) => {}
            Some(_) => {
                let (Some(&high), Some(&low)) = (bytes.get(at + 1), bytes.get(at + 2)) else { return false };
                at += 1 + usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;

    use super::*;

    #[test]
    fn a_picture_is_reduced_as_far_as_its_shorter_side_allows() {
        assert_eq!(scale([4288, 2848], 640), 4);
        assert_eq!(scale([2048, 1536], 640), 2);
        assert_eq!(scale([1024, 680], 640), 1);
        assert_eq!(scale([640 * 8, 640 * 8], 640), 8);
        assert_eq!(scale([640 * 80, 640 * 80], 640), 8, "a decoder cannot reduce further");
        assert_eq!(scale([0, 0], 640), 1);
    }

    /// Slow waves of colour, whose mean over a block is their value in its middle, nearly.
    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let wave = |frequency: f32, phase: f32| {
                (127.0 + 90.0 * (frequency * x as f32 + 0.03 * y as f32 + phase).sin()) as u8
            };
            image::Rgb([wave(0.02, 0.0), wave(0.03, 1.0), wave(0.01, 2.0)])
        })
    }

    #[test]
    fn a_reduced_pixel_is_the_mean_of_its_block() {
        for (width, height) in [(640, 400), (645, 403)] {
            let original = picture(width, height);
            let mut bytes = Vec::new();
            JpegEncoder::new_with_quality(&mut bytes, 98).encode_image(&original).expect("it is encoded");
            for scale in SCALES {
                let reduced = reduced(&bytes, [width, height], scale).expect("it is reduced");
                assert_eq!(reduced.dimensions(), (width.div_ceil(scale), height.div_ceil(scale)));
                // Whole blocks alone: beyond the last pixel an encoder may code anything.
                for (x, y, pixel) in reduced
                    .enumerate_pixels()
                    .filter(|&(x, y, _)| (x + 1) * scale <= width && (y + 1) * scale <= height)
                {
                    for channel in 0..3 {
                        let of_block =
                            |at: u32| original.get_pixel(x * scale + at % scale, y * scale + at / scale)[channel];
                        let sum: u32 = (0..scale * scale).map(|at| u32::from(of_block(at))).sum();
                        let mean = f64::from(sum) / f64::from(scale * scale);
                        assert!(
                            (f64::from(pixel[channel]) - mean).abs() < 6.0,
                            "{scale}: {x}, {y}, {channel}: {pixel:?}, {mean}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_colour_jpeg_is_not_reduced() {
        assert!(reduced(b"\xFF\xD8\xFF", [640, 400], 2).is_none());
        let grey = image::GrayImage::new(640, 400);
        let mut bytes = Vec::new();
        JpegEncoder::new(&mut bytes).encode_image(&grey).expect("it is encoded");
        assert!(reduced(&bytes, [640, 400], 2).is_none());
    }
}
