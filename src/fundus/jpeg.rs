//! A JPEG file's bytes come in; what its frame header states, whether it is whole, and its pixels reduced, go out.
//!
//! A block of 8 x 8 pixels is coded as frequencies: from the lowest 4 x 4, 2 x 2 or the mean alone a decoder makes a picture of a
//! half, a quarter or an eighth of the size without ever making the others' pixels.

use std::panic::catch_unwind;

use image::RgbImage;
use jpeg_decoder::{Decoder, PixelFormat};

use super::read::MOST_ALLOCATED;

/// What the first frame header of a stream states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Width and height.
    pub size: [u32; 2],
    /// Channels.
    pub channels: u8,
    /// Bits of a channel.
    pub bits: u8,
    /// Its marker's second byte: `0xC0` to `0xCF`.
    pub marker: u8,
}

/// The frame header that a decoder finds; `None` where it finds none. Only those segments stand before it over which every
/// decoder steps by their length, so that no stream states one size here and another there.
pub(super) fn frame(jpeg: &[u8]) -> Option<Frame> {
    let is_table = |marker: u8| matches!(marker, 0xC4 | 0xDB | 0xDD | 0xE0..=0xEF | 0xFE);
    let (marker, content) = segments(jpeg).find(|&(marker, _)| !is_table(marker))?;
    let is_frame = matches!(marker, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF);
    // Height and width have two bytes each.
    let (true, &[bits, h0, h1, w0, w1, channels, ..]) = (is_frame, content) else { return None };
    let size = [[w0, w1], [h0, h1]].map(|side| u32::from(u16::from_be_bytes(side)));
    Some(Frame { size, channels, bits, marker })
}

/// Whether a decoder keeps all coefficients until the last scan, two bytes a channel of a pixel: those of a progressive picture,
/// and of one whose channels come one after another.
pub(super) fn keeps_coefficients(jpeg: &[u8]) -> bool {
    let Some(frame) = frame(jpeg) else { return true };
    let first_scan = segments(jpeg).find(|&(marker, _)| marker == 0xDA).and_then(|(_, content)| content.first());
    frame.marker == 0xC2 || first_scan.is_none_or(|&channels| channels < frame.channels)
}

/// Markers with what stands in their segments, up to and with the first scan's header. A marker without a segment ends them:
/// none stands there.
fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = jpeg.strip_prefix(b"\xFF\xD8").unwrap_or_default();
    std::iter::from_fn(move || {
        let marker = loop {
            // To the next marker, over fill bytes.
            let at = rest.iter().position(|&byte| byte == 0xFF)?;
            rest = rest.get(at..)?;
            let at = rest.iter().position(|&byte| byte != 0xFF)?;
            let byte = *rest.get(at)?;
            rest = rest.get(at + 1..)?;
            if byte != 0 {
                break byte;
            }
        };
        if matches!(marker, 0x01 | 0xD0..=0xD9) {
            rest = &[];
            return None;
        }
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let content = rest.get(2..length)?;
        rest = if marker == 0xDA { &[] } else { rest.get(length..)? };
        Some((marker, content))
    })
}

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

    /// A segment with its marker and length.
    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u16 + 2).to_be_bytes();
        [&[0xFF, marker][..], &length, content].concat()
    }

    #[test]
    fn the_frame_header_is_the_one_that_a_decoder_finds() {
        let frame_of = |marker, width: u16, height: u16| {
            let [[h0, h1], [w0, w1]] = [height, width].map(u16::to_be_bytes);
            segment(marker, &[8, h0, h1, w0, w1, 3, 1, 17, 0, 2, 17, 0, 3, 17, 0])
        };
        // A header within an application's segment is none, nor is the second.
        let hidden = segment(0xE1, &frame_of(0xC0, 1, 1));
        let stream = [b"\xFF\xD8", &hidden[..], b"\xFF", &frame_of(0xC1, 700, 400), &frame_of(0xC0, 2, 2)].concat();
        assert_eq!(frame(&stream), Some(Frame { size: [700, 400], channels: 3, bits: 8, marker: 0xC1 }));
        for before in [&b"\xFF\xD8\xFF\xD8"[..], b"\xFF\xD8\xFF\xDA\x00\x02", b"\xFF\xD8\xFF\xC8\x00\x02", b""] {
            assert_eq!(frame(&[before, &frame_of(0xC0, 3, 3)[..]].concat()), None, "{before:?}");
        }
        let mut bytes = Vec::new();
        JpegEncoder::new(&mut bytes).encode_image(&picture(61, 35)).expect("it is encoded");
        assert_eq!(frame(&bytes).map(|frame| frame.size), Some([61, 35]));
        assert!((0..bytes.len() / 2).all(|length| frame(&bytes[..length]).is_none_or(|frame| frame.size == [61, 35])));
    }

    #[test]
    fn coefficients_are_kept_where_channels_come_apart() {
        let stream = |marker, channels| {
            let frame = segment(marker, &[8, 0, 4, 0, 6, 3, 1, 17, 0, 2, 17, 0, 3, 17, 0]);
            [b"\xFF\xD8", &frame[..], &segment(0xC4, &[0]), &segment(0xDA, &[channels, 1, 0])].concat()
        };
        assert!(!keeps_coefficients(&stream(0xC0, 3)));
        assert!(keeps_coefficients(&stream(0xC0, 1)));
        assert!(keeps_coefficients(&stream(0xC2, 3)), "progressive");
        assert!(keeps_coefficients(b"\xFF\xD8"), "unknown");
        let mut bytes = Vec::new();
        JpegEncoder::new(&mut bytes).encode_image(&picture(61, 35)).expect("it is encoded");
        assert!(!keeps_coefficients(&bytes));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_have_a_frame_or_none(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let stream = [b"\xFF\xD8\xFF", &bytes[..]].concat();
            let _ = (frame(&stream), keeps_coefficients(&stream));
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
