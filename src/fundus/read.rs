//! A file comes in; a [`Photograph`] goes out, whole or reduced, or an error that names file, reason and remedy.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use sha2::{Digest, Sha256};

use super::budget::{self, Share};
use super::{Identity, Listing, Photograph, dicom, jpeg};

/// Most pixels of a photograph.
pub(super) const MOST_PIXELS: u64 = 200_000_000;

/// Most bytes of a file: 200 megapixels of three uncompressed 16-bit channels, and a little for its head.
const MOST_BYTES: u64 = MOST_PIXELS * 6 + (16 << 20);

/// Most bytes that a decoder may allocate: 200 megapixels of four 16-bit channels.
pub(super) const MOST_ALLOCATED: u64 = MOST_PIXELS * 8;

/// Why a file gives no photograph. Each message names the file, the reason and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read ({reason}); check that it exists and that you may read it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// No bytes.
    #[error("{}: the file is empty; copy it again from where it came", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Neither an image nor DICOM, whatever its name says.
    #[error("{}: not an image; open a JPEG, PNG, TIFF, BMP, WebP or DICOM file", .path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
    },
    /// An image of a kind, or with a coding, that is not read.
    #[error("{}: {kind} is not read; export the photograph as JPEG, PNG or TIFF", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: String,
    },
    /// The file ends before the picture does.
    #[error("{}: truncated, the file ends before the picture does; copy or export it again", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// The decoder stumbled.
    #[error("{}: damaged ({reason}); copy or export it again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
    /// More pixels or bytes than are read.
    #[error("{}: {what}, more than the 200 megapixels that are read; export it smaller", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How large it is.
        what: String,
    },
    /// No pixel.
    #[error("{}: the picture is {width} x {height} pixels, so there is nothing in it; export it again", .path.display())]
    ZeroSized {
        /// The file.
        path: PathBuf,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// DICOM, but no ophthalmic photograph.
    #[error("{}: DICOM of another kind ({kind}); open an ophthalmic photograph", .path.display())]
    OtherDicom {
        /// The file.
        path: PathBuf,
        /// The name of its SOP class.
        kind: String,
    },
    /// One channel: an angiography or a red-free photograph.
    #[error(
        "{}: without colour, as angiographies and red-free photographs are; the networks were made for colour photographs",
        .path.display()
    )]
    WithoutColour {
        /// The file.
        path: PathBuf,
    },
}

/// Whether a file claims to be an image or DICOM by extension or signature. Others are counted, never errors.
pub fn is_candidate(path: &Path) -> bool {
    const EXTENSIONS: [&str; 14] =
        ["jpg", "jpeg", "jpe", "png", "tif", "tiff", "bmp", "webp", "dcm", "dicom", "gif", "heic", "avif", "jp2"];
    let named =
        path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)));
    named || head(path).is_ok_and(|head| is_dicom(&head) || signature(&head).is_some())
}

/// Reads a photograph whole, under limits (200 megapixels, bounded memory).
pub fn read(path: &Path, listing: &mut Listing) -> Result<Photograph, ReadError> {
    Source::open(path, listing)?.whole()
}

/// A file's bytes, not decoded yet.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    bytes: Vec<u8>,
    sha256: [u8; 32],
    /// What CSV and name say.
    listed: Identity,
}

impl Source {
    /// Reads a file under limits.
    pub fn open(path: &Path, listing: &mut Listing) -> Result<Self, ReadError> {
        let bytes = read_bytes(path)?;
        let sha256 = Sha256::digest(&bytes).into();
        Ok(Self { path: path.to_path_buf(), bytes, sha256, listed: listing.identity(path) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The photograph with all its pixels.
    pub fn whole(&self) -> Result<Photograph, ReadError> {
        self.shared(None).map(|(photograph, _)| photograph)
    }

    /// The photograph reduced by its decoder, where the format allows that and its shorter side keeps `least` pixels.
    pub fn reduced(&self, least: u32) -> Result<Photograph, ReadError> {
        self.shared(Some(least)).map(|(photograph, _)| photograph)
    }

    /// The photograph and its share of the memory: whoever keeps both makes others wait until there is room for theirs.
    pub(super) fn shared(&self, least: Option<u32>) -> Result<(Photograph, Share<'static>), ReadError> {
        let decoded = if is_dicom(&self.bytes) {
            let (pixels, share, identity) = dicom::read(&self.path, &self.bytes)?;
            Decoded { identity, ..Decoded::whole(pixels, share) }
        } else {
            decode(&self.path, &self.bytes, least)?
        };
        let Decoded { size, scale, pixels, share, identity } = decoded;
        let identity = identity.or(self.listed.clone());
        Ok((Photograph { path: self.path.clone(), sha256: self.sha256, identity, size, scale, pixels }, share))
    }
}

/// What a decoder gives.
struct Decoded {
    size: [u32; 2],
    scale: u32,
    pixels: RgbImage,
    /// Of the memory, for the pixels.
    share: Share<'static>,
    /// What the file says.
    identity: Identity,
}

impl Decoded {
    /// What the decoder needed beside the pixels is given back.
    fn whole(pixels: RgbImage, mut share: Share<'static>) -> Self {
        share.keep(pixels.as_raw().len() as u64);
        Self { size: [pixels.width(), pixels.height()], scale: 1, pixels, share, identity: Identity::default() }
    }
}

/// The first bytes of a file, enough for every signature.
fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(132).read_to_end(&mut head)?;
    Ok(head)
}

fn is_dicom(head: &[u8]) -> bool {
    head.get(128..132) == Some(b"DICM")
}

/// The kind of picture that the first bytes announce.
fn signature(head: &[u8]) -> Option<ImageFormat> {
    image::guess_format(head).ok()
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, ReadError> {
    let unreadable = |reason| ReadError::Unreadable { path: path.to_path_buf(), reason };
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > MOST_BYTES {
        return Err(ReadError::TooLarge {
            path: path.to_path_buf(),
            what: format!("a file of {} MB", length / 1_000_000),
        });
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.is_empty() {
        return Err(ReadError::Empty { path: path.to_path_buf() });
    }
    Ok(bytes)
}

/// An image file's pixels, upright; reduced if its shorter side may, with `least` pixels left.
fn decode(path: &Path, bytes: &[u8], least: Option<u32>) -> Result<Decoded, ReadError> {
    let format = signature(bytes).ok_or_else(|| ReadError::NotAnImage { path: path.to_path_buf() })?;
    if format == ImageFormat::Jpeg && !jpeg::is_complete(bytes) {
        return Err(ReadError::Truncated { path: path.to_path_buf() });
    }
    if let Some((width, height)) = declared_size(format, bytes) {
        check_size(path, width, height)?;
    }
    let refuse = |error| refusal(path, format, error);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_ALLOCATED);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    let (width, height) = decoder.dimensions();
    check_size(path, width, height)?;
    if matches!(decoder.color_type(), ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16) {
        return Err(ReadError::WithoutColour { path: path.to_path_buf() });
    }
    let orientation = decoder.orientation().map_err(refuse)?;
    let upright = |mut image: DynamicImage| {
        image.apply_orientation(orientation);
        image.into_rgb8()
    };
    let scale = least.filter(|_| format == ImageFormat::Jpeg).map_or(1, |least| jpeg::scale([width, height], least));
    // What the reducing decoder does not take, the other one gives or names.
    if scale > 1 {
        let share = budget::share(needed_reduced(bytes, [width, height], scale));
        if let Some(pixels) = jpeg::reduced(bytes, [width, height], scale) {
            let size = if is_quarter_turn(orientation) { [height, width] } else { [width, height] };
            return Ok(Decoded { size, scale, ..Decoded::whole(upright(pixels.into()), share) });
        }
    }
    let share = budget::share(needed(format, bytes, &decoder, orientation));
    let image = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    Ok(Decoded::whole(upright(image), share))
}

/// Bytes of a whole decode at most: the picture, and beside it, one after the other, what its decoder keeps, its copy if it is
/// turned, and its 8-bit RGB if it is not that already.
fn needed(format: ImageFormat, bytes: &[u8], decoder: &impl ImageDecoder, orientation: Orientation) -> u64 {
    let (width, height) = decoder.dimensions();
    let (pixels, picture) = (u64::from(width) * u64::from(height), decoder.total_bytes());
    let kept = match format {
        ImageFormat::Jpeg if jpeg::keeps_coefficients(bytes) => 6 * pixels,
        // RGBA of a frame and of what it is drawn upon.
        ImageFormat::WebP => 8 * pixels,
        // The picture once more, perhaps as CMYK.
        ImageFormat::Tiff => picture + picture / 3,
        // Rows.
        _ => 0,
    };
    let turned = if is_quarter_turn(orientation) { picture } else { 0 };
    let narrowed = if decoder.color_type() == ColorType::Rgb8 { 0 } else { 3 * pixels };
    picture.saturating_add(kept.max(turned).max(narrowed))
}

/// Bytes of a reduced decode at most: coefficients, then planes and pixels, or pixels twice where they are turned.
fn needed_reduced(jpeg: &[u8], size: [u32; 2], scale: u32) -> u64 {
    let pixels = |sides: [u32; 2]| sides.into_iter().map(u64::from).product::<u64>();
    let coefficients = if jpeg::keeps_coefficients(jpeg) { 6 * pixels(size) } else { 0 };
    coefficients + 6 * pixels(size.map(|side| side.div_ceil(scale)))
}

fn is_quarter_turn(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// The size in the head of a PNG or BMP, whose decoders have other words for none and too much.
fn declared_size(format: ImageFormat, bytes: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok();
    match format {
        ImageFormat::Png => Some((u32::from_be_bytes(word(16)?), u32::from_be_bytes(word(20)?))),
        // A negative height stands for rows from the top.
        ImageFormat::Bmp if u32::from_le_bytes(word(14)?) >= 40 => {
            Some((u32::from_le_bytes(word(18)?), i32::from_le_bytes(word(22)?).unsigned_abs()))
        }
        _ => None,
    }
}

/// Zero-sized and oversized pictures are refused before anything is allocated for them.
pub(super) fn check_size(path: &Path, width: u32, height: u32) -> Result<(), ReadError> {
    if width == 0 || height == 0 {
        return Err(ReadError::ZeroSized { path: path.to_path_buf(), width, height });
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MOST_PIXELS {
        let what = format!("{width} x {height} pixels are {} megapixels", pixels / 1_000_000);
        return Err(ReadError::TooLarge { path: path.to_path_buf(), what });
    }
    Ok(())
}

fn refusal(path: &Path, format: ImageFormat, error: image::ImageError) -> ReadError {
    let path = path.to_path_buf();
    match error {
        image::ImageError::Unsupported(_) => ReadError::Unsupported { path, kind: format!("this kind of {format:?}") },
        image::ImageError::Limits(limit) => ReadError::TooLarge { path, what: limit.to_string() },
        image::ImageError::IoError(reason) if reason.kind() == std::io::ErrorKind::UnexpectedEof => {
            ReadError::Truncated { path }
        }
        error => ReadError::Damaged { path, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use image::codecs::jpeg::JpegEncoder;
    use image::{ImageBuffer, Rgba};

    use super::*;

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).expect("it is encoded");
        bytes.into_inner()
    }

    fn needed_for(format: ImageFormat, bytes: &[u8], orientation: Orientation) -> u64 {
        let decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().expect("it has a header");
        needed(format, bytes, &decoder, orientation)
    }

    #[test]
    fn what_a_decode_needs_follows_from_its_header() {
        let upright = Orientation::NoTransforms;
        let picture = DynamicImage::from(RgbImage::new(20, 10));
        let wide = DynamicImage::from(ImageBuffer::<Rgba<u16>, _>::new(20, 10));
        let png = encoded(&picture, ImageFormat::Png);
        assert_eq!(needed_for(ImageFormat::Png, &png, upright), 200 * 3);
        assert_eq!(needed_for(ImageFormat::Png, &png, Orientation::Rotate90), 200 * (3 + 3));
        assert_eq!(needed_for(ImageFormat::Png, &encoded(&wide, ImageFormat::Png), upright), 200 * (8 + 3));
        assert_eq!(needed_for(ImageFormat::Tiff, &encoded(&picture, ImageFormat::Tiff), upright), 200 * (3 + 4));
        let mut jpeg = encoded(&picture, ImageFormat::Jpeg);
        assert_eq!(needed_for(ImageFormat::Jpeg, &jpeg, upright), 200 * 3);
        assert_eq!(needed_reduced(&jpeg, [20, 10], 8), 3 * 2 * 6);
        let frame = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).expect("it has a frame");
        jpeg[frame + 1] = 0xC2;
        assert_eq!(needed_for(ImageFormat::Jpeg, &jpeg, upright), 200 * (3 + 6), "a progressive one");
        assert_eq!(needed_reduced(&jpeg, [20, 10], 8), 200 * 6 + 3 * 2 * 6);
    }

    /// While one decode may hold everything, no other begins.
    #[test]
    fn every_decode_waits_for_its_share() {
        let folder = tempfile::tempdir().expect("there is a folder");
        let mut jpeg = Vec::new();
        JpegEncoder::new(&mut jpeg).encode_image(&RgbImage::new(64, 48)).expect("it is encoded");
        let png = encoded(&RgbImage::new(9, 7).into(), ImageFormat::Png);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut sources = Vec::new();
        for (name, bytes) in [("a.png", png), ("a.jpg", jpeg)] {
            std::fs::write(folder.path().join(name), bytes).expect("it is written");
            sources.push(folder.path().join(name));
        }
        sources.extend(["jpeg_lossless.dcm", "jpeg2000_lossy.dcm"].map(|name| fixtures.join(name)));
        for path in sources {
            let source = Source::open(&path, &mut Listing::default()).expect("it is there");
            let everything = budget::share(budget::WHOLE);
            let (done, result) = channel();
            std::thread::scope(|scope| {
                scope.spawn(|| done.send(source.reduced(16).map(|photograph| photograph.scale)));
                assert!(result.recv_timeout(Duration::from_millis(50)).is_err(), "{}", path.display());
                drop(everything);
                let scale = result.recv().expect("it is decoded").expect("it is read");
                assert_eq!(scale == 2, path.extension().is_some_and(|extension| extension == "jpg"));
            });
        }
    }
}
