//! A DICOM ophthalmic photograph comes in; pixels and identity go out (PS3.3 A.41, ophthalmic photography 8 and 16 bit).
//!
//! Uncompressed little endian, JPEG baseline, extended and lossless, JPEG 2000 and RLE are read; RGB, `YBR_FULL`,
//! `YBR_FULL_422` and what JPEG and JPEG 2000 make of them. Everything else is refused by its name: an object of another
//! kind, another coding, a palette, more than one frame (each frame is a photograph of its own, with an eye of its own).
//!
//! Decoders allocate for what a coded stream says of itself, and what it says must therefore be what the object's header says
//! ([`stated`]); only then is anything decoded.

mod stated;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, FileMetaTable, InMemDicomObject, OpenFileOptions, Tag};
use dicom_pixeldata::PixelDecoder;
use image::RgbImage;

use super::budget::{self, Share};
use super::identity::is_date;
use super::read::{ReadError, check_size};
use super::{Identity, Laterality};

/// Bytes that the JPEG 2000 decoder keeps of a tile, nearly: parameters for every resolution of each channel.
const TILE: u64 = 10_000;

/// Reads pixels, with their share of the memory, and what the tags say of patient, eye and date.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<(RgbImage, Share<'static>, Identity), ReadError> {
    // The decoders below are other people's; a slip of theirs on a damaged file must not end the program.
    catch_unwind(AssertUnwindSafe(|| read_object(path, bytes)))
        .unwrap_or_else(|_| Err(damaged(path, "its pixels contradict its header")))
}

fn read_object(path: &Path, bytes: &[u8]) -> Result<(RgbImage, Share<'static>, Identity), ReadError> {
    let after_preamble = bytes.get(128..).unwrap_or_default();
    let meta = FileMetaTable::from_reader(after_preamble).map_err(|error| damaged(path, &error.to_string()))?;
    let syntax = Syntax::of(trimmed(meta.transfer_syntax()))
        .map_err(|name| unsupported(path, format!("DICOM coded as {name}")))?;
    check_kind(path, trimmed(meta.media_storage_sop_class_uid()))?;
    let mut object = OpenFileOptions::new().from_reader(bytes).map_err(|error| damaged(path, &error.to_string()))?;
    let layout = Layout::of(path, &object)?;
    let needed = match syntax {
        // Decoded, as 16-bit values, narrowed, and planes made pixels.
        Syntax::Native => layout.bytes(18),
        _ => settle_stream(path, &mut object, &layout, syntax)?,
    };
    // The object and two copies that decoders make of what is coded.
    let mut share = budget::share(needed.saturating_add(3 * bytes.len() as u64));
    let pixels = decode(path, &object, &layout, syntax)?;
    share.keep(layout.bytes(3));
    Ok((pixels, share, identity(&object)))
}

/// How pixels are coded, as far as it matters here.
#[derive(Clone, Copy, PartialEq)]
enum Syntax {
    Native,
    Jpeg,
    Jpeg2000,
    Rle,
}

impl Syntax {
    /// The error is the name of a coding that is not read.
    fn of(uid: &str) -> Result<Self, String> {
        match uid {
            uids::IMPLICIT_VR_LITTLE_ENDIAN | uids::EXPLICIT_VR_LITTLE_ENDIAN => Ok(Self::Native),
            uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT | uids::JPEG_LOSSLESS | uids::JPEG_LOSSLESS_SV1 => {
                Ok(Self::Jpeg)
            }
            uids::JPEG2000 | uids::JPEG2000_LOSSLESS => Ok(Self::Jpeg2000),
            uids::RLE_LOSSLESS => Ok(Self::Rle),
            "1.2.840.10008.1.2.2" => Err("explicit VR big endian".to_owned()),
            uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => Err("deflated explicit VR little endian".to_owned()),
            uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => Err("JPEG-LS".to_owned()),
            uids::JPEGXL | uids::JPEGXL_LOSSLESS | uids::JPEGXLJPEG_RECOMPRESSION => Err("JPEG XL".to_owned()),
            uids::HTJ2K | uids::HTJ2K_LOSSLESS | uids::HTJ2K_LOSSLESS_RPCL => {
                Err("high-throughput JPEG 2000".to_owned())
            }
            other => Err(format!("transfer syntax {other}")),
        }
    }
}

/// What is likely to lie beside fundus photographs, by the names of PS3.6; others are named by their UID.
const OTHER_KINDS: [(&str, &str); 20] = [
    (uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE, "computed radiography image"),
    (uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION, "digital X-ray image"),
    (uids::CT_IMAGE_STORAGE, "CT image"),
    (uids::ENHANCED_CT_IMAGE_STORAGE, "enhanced CT image"),
    (uids::MR_IMAGE_STORAGE, "MR image"),
    (uids::ENHANCED_MR_IMAGE_STORAGE, "enhanced MR image"),
    (uids::ULTRASOUND_IMAGE_STORAGE, "ultrasound image"),
    (uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE, "ultrasound multi-frame image"),
    (uids::SECONDARY_CAPTURE_IMAGE_STORAGE, "secondary capture image"),
    (uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE, "multi-frame true colour secondary capture image"),
    (uids::VL_PHOTOGRAPHIC_IMAGE_STORAGE, "visible light photographic image"),
    (uids::VL_ENDOSCOPIC_IMAGE_STORAGE, "visible light endoscopic image"),
    (uids::VL_MICROSCOPIC_IMAGE_STORAGE, "visible light microscopic image"),
    (uids::OPHTHALMIC_TOMOGRAPHY_IMAGE_STORAGE, "ophthalmic tomography image"),
    (
        uids::WIDE_FIELD_OPHTHALMIC_PHOTOGRAPHY_STEREOGRAPHIC_PROJECTION_IMAGE_STORAGE,
        "wide field ophthalmic photography, stereographic projection",
    ),
    (
        uids::WIDE_FIELD_OPHTHALMIC_PHOTOGRAPHY3_D_COORDINATES_IMAGE_STORAGE,
        "wide field ophthalmic photography, 3D coordinates",
    ),
    (uids::OPHTHALMIC_THICKNESS_MAP_STORAGE, "ophthalmic thickness map"),
    (uids::ENCAPSULATED_PDF_STORAGE, "encapsulated PDF"),
    (uids::BASIC_TEXT_SR_STORAGE, "basic text structured report"),
    (uids::MEDIA_STORAGE_DIRECTORY_STORAGE, "directory of a medium (DICOMDIR)"),
];

/// An object of another kind is refused by the name of its SOP class.
fn check_kind(path: &Path, uid: &str) -> Result<(), ReadError> {
    if [uids::OPHTHALMIC_PHOTOGRAPHY8_BIT_IMAGE_STORAGE, uids::OPHTHALMIC_PHOTOGRAPHY16_BIT_IMAGE_STORAGE]
        .contains(&uid)
    {
        return Ok(());
    }
    let named = OTHER_KINDS.iter().find(|(other, _)| *other == uid);
    let kind = named.map_or_else(|| format!("SOP class {uid}"), |(_, name)| (*name).to_owned());
    Err(ReadError::OtherDicom { path: path.to_path_buf(), kind })
}

/// Shape and meaning of the pixels.
struct Layout {
    width: u32,
    height: u32,
    photometric: String,
    wide: bool,
    stored: u32,
}

impl Layout {
    fn of(path: &Path, object: &InMemDicomObject) -> Result<Self, ReadError> {
        let number = |tag: Tag| object.get(tag).and_then(|element| element.to_int::<u32>().ok());
        let need = |tag: Tag, name: &str| number(tag).ok_or_else(|| damaged(path, &format!("{name} is missing")));
        let (width, height) = (need(tags::COLUMNS, "Columns")?, need(tags::ROWS, "Rows")?);
        check_size(path, width, height)?;
        let frames = number(tags::NUMBER_OF_FRAMES).unwrap_or(1);
        if frames > 1 {
            return Err(unsupported(path, format!("a DICOM object of {frames} frames")));
        }
        let photometric = text(object, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
        if photometric.starts_with("MONOCHROME") || number(tags::SAMPLES_PER_PIXEL) == Some(1) && photometric.is_empty()
        {
            return Err(ReadError::WithoutColour { path: path.to_path_buf() });
        }
        let known = ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"].contains(&photometric.as_str());
        if !known || number(tags::SAMPLES_PER_PIXEL) != Some(3) {
            return Err(unsupported(path, format!("DICOM of photometric interpretation {photometric}")));
        }
        let allocated = need(tags::BITS_ALLOCATED, "BitsAllocated")?;
        if allocated != 8 && allocated != 16 {
            return Err(unsupported(path, format!("DICOM of {allocated} bits a sample")));
        }
        let stored = number(tags::BITS_STORED).unwrap_or(allocated).clamp(8, allocated);
        Ok(Self { width, height, photometric, wide: allocated == 16, stored })
    }

    fn pixels(&self) -> usize {
        self.width as usize * self.height as usize
    }

    /// `each` bytes a pixel.
    fn bytes(&self, each: u64) -> u64 {
        each * self.pixels() as u64
    }
}

/// Leaves one stream of the object's fragments, whose decoder takes the one photograph of it and is not misled about its size;
/// gives the bytes that the decoder needs at most.
fn settle_stream(
    path: &Path,
    object: &mut DefaultDicomObject,
    layout: &Layout,
    syntax: Syntax,
) -> Result<u64, ReadError> {
    let missing = || damaged(path, "it has no pixels");
    let mut fragments = match object.take(tags::PIXEL_DATA).ok_or_else(missing)?.into_value() {
        Value::PixelSequence(sequence) => sequence.into_parts().1.into_vec(),
        Value::Primitive(value) => vec![value.to_bytes().into_owned()],
        Value::Sequence(_) => return Err(missing()),
    };
    // An RLE fragment is a frame; the pieces of a JPEG are one stream.
    fragments.truncate(if syntax == Syntax::Rle { 1 } else { usize::MAX });
    let mut stream = if fragments.len() == 1 { fragments.swap_remove(0) } else { fragments.concat() };
    if syntax == Syntax::Jpeg && layout.photometric == "RGB" {
        // Before the check: nothing changes the stream after it.
        rename_components(&mut stream);
    }
    let needed = match syntax {
        Syntax::Rle => check_runs(path, layout, &stream)?,
        _ => check_stated(path, layout, syntax, &stream)?,
    };
    let sequence = PixelFragmentSequence::new_fragments(vec![stream]);
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, sequence));
    Ok(needed)
}

/// Refuses a JPEG or JPEG 2000 stream that states another picture than the header; gives the bytes that its decoder needs.
fn check_stated(path: &Path, layout: &Layout, syntax: Syntax, stream: &[u8]) -> Result<u64, ReadError> {
    if syntax == Syntax::Jpeg2000 && stated::has_palette(stream) {
        return Err(unsupported(path, "JPEG 2000 with a palette".to_owned()));
    }
    let read = if syntax == Syntax::Jpeg2000 { stated::jpeg_2000 } else { stated::jpeg };
    let found = read(stream).ok_or_else(|| damaged(path, "its pixels do not say how large they are"))?;
    let ([width, height], channels, bits) = (found.size, found.channels, found.bits);
    let contradiction = |header: String, pixels: String| {
        Err(damaged(path, &format!("its header says {header}, its pixels say {pixels}")))
    };
    if (width, height) != (layout.width, layout.height) {
        let header = format!("{} x {}", layout.width, layout.height);
        return contradiction(header, format!("{width} x {height}"));
    }
    if channels != 3 {
        return contradiction("3 channels".to_owned(), channels.to_string());
    }
    // A JPEG is given out in one byte a sample where it has 8 bits, else in two; of JPEG 2000 as many are taken as fit.
    let fits = if syntax == Syntax::Jpeg2000 { bits <= 8 || layout.wide } else { (bits != 8) == layout.wide };
    if !fits {
        return contradiction(format!("{} bits", if layout.wide { 16 } else { 8 }), bits.to_string());
    }
    Ok(match syntax {
        // Samples and sums of wavelets, 32 bits each, and the result.
        Syntax::Jpeg2000 => layout.bytes(32).saturating_add(found.tiles.saturating_mul(TILE)),
        // Differences of 32 bits in growing lists, sums of 16, and the result.
        _ if found.lossless => layout.bytes(40),
        // Coefficients of 16 bits, planes, pixels, and the result.
        _ => layout.bytes(15),
    })
}

/// The decoder expands the whole of a segment before it takes what the picture needs: refuses what expands to much more.
fn check_runs(path: &Path, layout: &Layout, fragment: &[u8]) -> Result<u64, ReadError> {
    let segments = if layout.wide { 6 } else { 3 };
    let expanded = stated::runs(fragment, segments).ok_or_else(|| damaged(path, "its runs have no header"))?;
    if expanded.iter().any(|&bytes| bytes < layout.pixels()) {
        return Err(ReadError::Truncated { path: path.to_path_buf() });
    }
    // Padding, and the rest of a last run.
    if let Some(bytes) = expanded.into_iter().find(|&bytes| bytes > 2 * layout.pixels() + 256) {
        let reason = format!("{bytes} samples in runs for {} x {} pixels", layout.width, layout.height);
        return Err(damaged(path, &reason));
    }
    Ok(layout.bytes(18))
}

fn decode(path: &Path, object: &DefaultDicomObject, layout: &Layout, syntax: Syntax) -> Result<RgbImage, ReadError> {
    let decoded = object.decode_pixel_data().map_err(|error| damaged(path, &error_chain(&error)))?;
    let planar = decoded.planar_configuration() == dicom_pixeldata::PlanarConfiguration::PixelFirst;
    let samples: Vec<u8> = if layout.wide {
        decoded.data_ow().into_iter().map(|value| (value >> (layout.stored - 8)).min(255) as u8).collect()
    } else {
        decoded.data().to_vec()
    };
    // JPEG and JPEG 2000 undo their colour transform; nobody else does.
    let luma_chroma = matches!(syntax, Syntax::Native | Syntax::Rle) && layout.photometric.starts_with("YBR_FULL");
    let subsampled = syntax == Syntax::Native && layout.photometric == "YBR_FULL_422";
    let samples = if subsampled { expand_422(&samples) } else { samples };
    let needed = layout.pixels() * 3;
    let mut rgb = if planar && !subsampled { interleave(&samples, layout.pixels()) } else { samples };
    if rgb.len() < needed {
        return Err(ReadError::Truncated { path: path.to_path_buf() });
    }
    rgb.truncate(needed);
    if luma_chroma {
        rgb.chunks_exact_mut(3).for_each(to_rgb);
    }
    RgbImage::from_raw(layout.width, layout.height, rgb)
        .ok_or_else(|| ReadError::Truncated { path: path.to_path_buf() })
}

/// Two luminances, then the chroma they share (PS3.3 C.7.6.3.1.2).
fn expand_422(samples: &[u8]) -> Vec<u8> {
    samples.chunks_exact(4).flat_map(|pair| [pair[0], pair[2], pair[3], pair[1], pair[2], pair[3]]).collect()
}

/// Three planes to pixels.
fn interleave(samples: &[u8], pixels: usize) -> Vec<u8> {
    let plane = |index: usize| samples.get(index * pixels..(index + 1) * pixels).unwrap_or_default();
    plane(0).iter().zip(plane(1)).zip(plane(2)).flat_map(|((&r, &g), &b)| [r, g, b]).collect()
}

/// CCIR 601 at full range (PS3.3 C.7.6.3.1.2).
fn to_rgb(pixel: &mut [u8]) {
    if let [y, cb, cr] = pixel {
        let (luma, blue, red) = (f32::from(*y), f32::from(*cb) - 128.0, f32::from(*cr) - 128.0);
        let byte = |value: f32| value.round().clamp(0.0, 255.0) as u8;
        *y = byte(luma + 1.402 * red);
        *cb = byte(luma - 0.344_136 * blue - 0.714_136 * red);
        *cr = byte(luma + 1.772 * blue);
    }
}

/// A JPEG stream does not say whether it holds RGB unless its components are called so; otherwise decoders take it for
/// `YCbCr`. DICOM says it in the header, so three components get these names in the frame header and in the scan headers.
fn rename_components(jpeg: &mut [u8]) {
    let mut names: Option<[u8; 3]> = None;
    let mut at = 2;
    while let Some(&[0xFF, marker, high, low]) = jpeg.get(at..at + 4) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (count_at, stride) = match marker {
            0xC0..=0xC3 => (at + 9, 3),
            0xDA => (at + 4, 2),
            _ => {
                at += 2 + length;
                continue;
            }
        };
        let count = usize::from(jpeg.get(count_at).copied().unwrap_or_default());
        for index in 0..count {
            let Some(name) = jpeg.get_mut(count_at + 1 + index * stride) else { return };
            if stride == 3 && count == 3 {
                names.get_or_insert([0; 3])[index] = *name;
                *name = b"RGB"[index];
            } else if let Some(position) = names.and_then(|names| names.iter().position(|old| old == name)) {
                *name = b"RGB"[position];
            }
        }
        at += 2 + length;
        if marker == 0xDA {
            // Over the scan's data to the next header.
            while jpeg.get(at).is_some_and(|&byte| byte != 0xFF)
                || jpeg.get(at + 1).is_some_and(|&byte| matches!(byte, 0 | 0xFF | 0xD0..=0xD7))
            {
                at += 1;
            }
        }
    }
}

fn identity(object: &InMemDicomObject) -> Identity {
    let eye = |text: String| Laterality::parse(&text);
    Identity {
        patient: text(object, tags::PATIENT_ID),
        patient_within: None,
        eye: text(object, tags::IMAGE_LATERALITY)
            .and_then(eye)
            .or_else(|| text(object, tags::LATERALITY).and_then(eye))
            .or_else(|| frame_laterality(object).and_then(eye)),
        date: text(object, tags::ACQUISITION_DATE_TIME)
            .and_then(|text| day(&text))
            .or_else(|| text(object, tags::ACQUISITION_DATE).and_then(|text| day(&text))),
    }
}

/// The enhanced objects' place for the eye.
fn frame_laterality(object: &InMemDicomObject) -> Option<String> {
    let first = |object: &InMemDicomObject, tag: Tag| object.get(tag)?.items()?.first().cloned();
    let shared = first(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)?;
    let anatomy = first(&shared, tags::FRAME_ANATOMY_SEQUENCE)?;
    text(&anatomy, tags::FRAME_LATERALITY)
}

/// A tag's text; nothing where it is absent or blank.
fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let value = object.get(tag)?.to_str().ok()?;
    let value = trimmed(&value);
    (!value.is_empty()).then(|| value.to_owned())
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|character: char| character.is_whitespace() || character == '\0')
}

/// The day of a DICOM date or date and time, `YYYYMMDD...`, as `YYYY-MM-DD`.
fn day(text: &str) -> Option<String> {
    let date = format!("{}-{}-{}", text.get(0..4)?, text.get(4..6)?, text.get(6..8)?);
    is_date(&date).then_some(date)
}

fn damaged(path: &Path, reason: &str) -> ReadError {
    ReadError::Damaged { path: path.to_path_buf(), reason: reason.to_owned() }
}

fn unsupported(path: &Path, kind: String) -> ReadError {
    ReadError::Unsupported { path: path.to_path_buf(), kind }
}

/// An error with what lies beneath it.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    message
}
