//! Every file is read or refused with its name, a reason and a remedy. Tests are named after the danger.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use diaret::fundus::{
    FieldError, FieldOfView, Identity, Laterality, Listing, Photograph, ReadError, Source, is_candidate, read,
};
use dicom_core::value::{DataSetSequence, PixelFragmentSequence};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject, open_file};
use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

fn write(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn open(path: &Path) -> Result<Photograph, ReadError> {
    read(path, &mut Listing::default())
}

/// The refusal of a file, which must name it.
fn refused(path: &Path) -> (ReadError, String) {
    let error = open(path).err().unwrap_or_else(|| panic!("{} was read", path.display()));
    let message = error.to_string();
    assert!(message.starts_with(&path.display().to_string()), "{message}");
    assert!(message.contains(';'), "a remedy is missing: {message}");
    (error, message)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A picture whose pixels differ.
fn ramp(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(40 + 9 * x) as u8, (20 + 7 * y) as u8, (5 * (x + y)) as u8]))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn every_lossless_format_gives_the_same_pixels() {
    let folder = folder();
    let picture = ramp(21, 13);
    for (name, format) in [
        ("a.png", ImageFormat::Png),
        ("a.bmp", ImageFormat::Bmp),
        ("a.tif", ImageFormat::Tiff),
        ("a.webp", ImageFormat::WebP),
    ] {
        let path = write(&folder, name, &encoded(&picture.clone().into(), format));
        assert!(is_candidate(&path));
        assert_eq!(open(&path).unwrap().pixels, picture, "{name}");
    }
}

#[test]
fn content_counts_not_extension() {
    let folder = folder();
    let bytes = encoded(&ramp(21, 13).into(), ImageFormat::Png);
    for name in ["no_extension", "wrong.jpg"] {
        let path = write(&folder, name, &bytes);
        assert!(is_candidate(&path), "{name}");
        assert_eq!(open(&path).unwrap().pixels, ramp(21, 13), "{name}");
    }
    assert!(!is_candidate(&write(&folder, "notes.txt", b"left eye")));
    assert!(!is_candidate(&write(&folder, "empty", b"")));
}

#[test]
fn tiff_of_16_bit_is_scaled() {
    let folder = folder();
    let wide = ImageBuffer::from_fn(9, 5, |x, y| Rgb([(x * 7000) as u16, (y * 12_000) as u16, 65_535_u16]));
    let path = write(&folder, "wide.tif", &encoded(&DynamicImage::ImageRgb16(wide.clone()), ImageFormat::Tiff));
    for (narrow, wide) in open(&path).unwrap().pixels.pixels().zip(wide.pixels()) {
        for (&narrow, &wide) in narrow.0.iter().zip(&wide.0) {
            assert!((f64::from(narrow) - f64::from(wide) / 257.0).abs() <= 0.51, "{narrow} for {wide}");
        }
    }
}

#[test]
fn exif_orientation_turns_the_picture_upright() {
    let folder = folder();
    let mut upright = RgbImage::from_pixel(48, 32, Rgb([200, 90, 40]));
    (0..24).for_each(|x| (0..16).for_each(|y| upright.put_pixel(x, y, Rgb([20, 30, 60]))));
    let upright = DynamicImage::from(upright);
    // How a camera stores the picture that each orientation turns upright.
    let stored = [
        (1, upright.clone()),
        (2, upright.fliph()),
        (3, upright.rotate180()),
        (4, upright.flipv()),
        (5, upright.rotate90().fliph()),
        (6, upright.rotate270()),
        (7, upright.rotate270().fliph()),
        (8, upright.rotate90()),
    ];
    for (orientation, picture) in stored {
        let path = write(
            &folder,
            &format!("{orientation}.jpg"),
            &with_orientation(&encoded(&picture, ImageFormat::Jpeg), orientation),
        );
        let pixels = open(&path).unwrap().pixels;
        assert_eq!(pixels.dimensions(), (48, 32), "orientation {orientation}");
        let red = |x, y| pixels.get_pixel(x, y)[0];
        assert!(red(6, 6) < 60 && red(40, 6) > 160 && red(6, 26) > 160, "orientation {orientation}");
        let reduced = Source::open(&path, &mut Listing::default()).unwrap().reduced(16).unwrap();
        assert_eq!((reduced.size, reduced.scale), ([48, 32], 2), "orientation {orientation}");
        assert_eq!(reduced.pixels.dimensions(), (24, 16), "orientation {orientation}");
        let red = |x, y| reduced.pixels.get_pixel(x, y)[0];
        assert!(red(3, 3) < 60 && red(20, 3) > 160 && red(3, 13) > 160, "orientation {orientation}");
    }
}

/// A JPEG with an EXIF segment that holds nothing but an orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn empty() {
    let folder = folder();
    assert!(matches!(refused(&write(&folder, "empty.jpg", b"")).0, ReadError::Empty { .. }));
}

#[test]
fn missing() {
    assert!(matches!(refused(&folder().path().join("gone.jpg")).0, ReadError::Unreadable { .. }));
}

#[test]
fn text_called_an_image() {
    let folder = folder();
    assert!(matches!(refused(&write(&folder, "text.png", b"not an image")).0, ReadError::NotAnImage { .. }));
}

#[test]
fn a_kind_of_image_that_is_not_read() {
    let folder = folder();
    let (error, message) = refused(&write(&folder, "moving.gif", b"GIF89a\x01\0\x01\0\0\0\0;"));
    assert!(matches!(error, ReadError::Unsupported { .. }) && message.contains("Gif"), "{message}");
}

#[test]
fn truncated() {
    let folder = folder();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples/IDRiD_029.jpg");
    let jpeg = fs::read(sample).unwrap();
    for length in [4, 300, 9000, jpeg.len() / 2, jpeg.len() - 2] {
        let path = write(&folder, "cut.jpg", &jpeg[..length]);
        assert!(matches!(refused(&path).0, ReadError::Truncated { .. }), "{length} bytes");
    }
    let picture = DynamicImage::from(ramp(40, 30));
    for (name, format) in [
        ("cut.png", ImageFormat::Png),
        ("cut.bmp", ImageFormat::Bmp),
        ("cut.tif", ImageFormat::Tiff),
        ("cut.webp", ImageFormat::WebP),
    ] {
        let bytes = encoded(&picture, format);
        let (error, message) = refused(&write(&folder, name, &bytes[..bytes.len() / 2]));
        assert!(matches!(error, ReadError::Truncated { .. } | ReadError::Damaged { .. }), "{message}");
    }
}

/// A PNG that says it has these sides and holds nothing.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut crc = 0xFFFF_FFFF_u32;
    for &byte in &chunk {
        crc ^= u32::from(byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()));
    }
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(chunk);
    png.extend((!crc).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xaeB`\x82");
    png
}

#[test]
fn over_200_megapixels_and_decompression_bombs() {
    let folder = folder();
    for (width, height) in [(60_000, 60_000), (20_001, 10_000), (2_000_000_000, 1)] {
        let (error, message) = refused(&write(&folder, "bomb.png", &png_of(width, height)));
        assert!(matches!(error, ReadError::TooLarge { .. }), "{message}");
        assert!(message.contains("200 megapixels"), "{message}");
    }
}

#[test]
fn zero_sized() {
    let folder = folder();
    let mut bmp = encoded(&ramp(8, 8).into(), ImageFormat::Bmp);
    bmp[18..22].fill(0);
    for (name, bytes) in [("flat.png", png_of(0, 40)), ("flat.bmp", bmp)] {
        let (error, message) = refused(&write(&folder, name, &bytes));
        assert!(matches!(error, ReadError::ZeroSized { .. }), "{message}");
    }
}

#[test]
fn greyscale_angiography() {
    let folder = folder();
    let grey = DynamicImage::from(ramp(80, 80)).to_luma8();
    let path = write(&folder, "grey.png", &encoded(&grey.into(), ImageFormat::Png));
    assert!(matches!(refused(&path).0, ReadError::WithoutColour { .. }));
    // Stored as RGB, as red-free photographs often are: seen once the field is known.
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples/IDRiD_048.jpg");
    let mut photograph = open(&sample).unwrap();
    photograph.pixels =
        DynamicImage::from(DynamicImage::from(photograph.pixels).thumbnail(800, 800).to_luma8()).to_rgb8();
    assert!(matches!(FieldOfView::find(&photograph), Err(FieldError::WithoutColour { .. })));
}

#[test]
fn pictures_that_are_no_fundus_photograph() {
    // Fur: warm colours like a retina's, in stripes; and a ball of one colour in a round field.
    let fur = RgbImage::from_fn(450, 300, |x, y| {
        let stripe = ((f64::from(x) * 0.9 + f64::from(y) * 0.4).sin() * 40.0 + (f64::from(x * y % 97) - 48.0)) as i32;
        Rgb([(170 + stripe).clamp(0, 255) as u8, (110 + stripe).clamp(0, 255) as u8, (70 + stripe).clamp(0, 255) as u8])
    });
    let ball = RgbImage::from_fn(400, 400, |x, y| {
        let distance = (f64::from(x) - 200.0).hypot(f64::from(y) - 200.0) / 160.0;
        let shade = (1.0 - distance * distance).max(0.0).sqrt();
        Rgb([(230.0 * shade) as u8, (120.0 * shade) as u8, (40.0 * shade) as u8])
    });
    let black = RgbImage::new(256, 256);
    for (what, pixels) in [("fur", fur), ("ball", ball), ("black", black)] {
        let message = FieldOfView::find(&of_pixels(what, pixels)).expect_err(what).to_string();
        assert!(message.starts_with(what) && message.contains("not a fundus photograph"), "{message}");
    }
    let small = of_pixels("small", RgbImage::new(20, 20));
    assert!(matches!(FieldOfView::find(&small), Err(FieldError::TooSmall { .. })));
}

fn of_pixels(what: &str, pixels: RgbImage) -> Photograph {
    let (path, size) = (PathBuf::from(what), pixels.dimensions().into());
    Photograph { path, sha256: [0; 32], identity: Identity::default(), size, scale: 1, pixels }
}

/// A DICOM object of 6 x 4 pixels.
fn dicom(photometric: &str, bits: u16) -> InMemDicomObject {
    let number = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    InMemDicomObject::from_element_iter([
        number(tags::ROWS, 4),
        number(tags::COLUMNS, 6),
        number(tags::SAMPLES_PER_PIXEL, 3),
        number(tags::BITS_ALLOCATED, bits),
        number(tags::BITS_STORED, bits),
        number(tags::HIGH_BIT, bits - 1),
        number(tags::PIXEL_REPRESENTATION, 0),
        number(tags::PLANAR_CONFIGURATION, 0),
        DataElement::new(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric),
        DataElement::new(tags::PATIENT_ID, VR::LO, "P-17 "),
        DataElement::new(tags::IMAGE_LATERALITY, VR::CS, "L"),
        DataElement::new(tags::ACQUISITION_DATE_TIME, VR::DT, "20240229113000.5"),
    ])
}

fn save(folder: &TempDir, object: InMemDicomObject, syntax: &str, kind: &str) -> PathBuf {
    let path = folder.path().join("photograph.dcm");
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(syntax)
        .media_storage_sop_class_uid(kind)
        .media_storage_sop_instance_uid("1.2.3");
    object.with_meta(meta).unwrap().write_to_file(&path).unwrap();
    path
}

const NATIVE: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;
const PHOTOGRAPHY: &str = uids::OPHTHALMIC_PHOTOGRAPHY8_BIT_IMAGE_STORAGE;
const PHOTOGRAPHY_16: &str = uids::OPHTHALMIC_PHOTOGRAPHY16_BIT_IMAGE_STORAGE;

fn bytes(content: Vec<u8>) -> DataElement<InMemDicomObject, Vec<u8>> {
    DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(content))
}

fn fragment(content: Vec<u8>) -> DataElement<InMemDicomObject, Vec<u8>> {
    fragments(vec![content])
}

fn fragments(contents: Vec<Vec<u8>>) -> DataElement<InMemDicomObject, Vec<u8>> {
    DataElement::new(tags::PIXEL_DATA, VR::OB, PixelFragmentSequence::new_fragments(contents))
}

#[test]
fn dicom_pixels_and_tags() {
    let folder = folder();
    let mut object = dicom("RGB", 8);
    object.put(bytes(ramp(6, 4).into_raw()));
    let photograph = open(&save(&folder, object, NATIVE, PHOTOGRAPHY)).unwrap();
    assert_eq!(photograph.pixels, ramp(6, 4));
    let identity = Identity {
        patient: Some("P-17".to_owned()),
        patient_within: None,
        eye: Some(Laterality::Left),
        date: Some("2024-02-29".to_owned()),
    };
    assert_eq!(photograph.identity, identity);
}

#[test]
fn dicom_of_16_bit_of_which_12_are_used() {
    let folder = folder();
    let mut object = dicom("RGB", 16);
    object.put(DataElement::new(tags::BITS_STORED, VR::US, PrimitiveValue::from(12_u16)));
    let wide: Vec<u16> = ramp(6, 4).into_raw().into_iter().map(|value| u16::from(value) << 4).collect();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(wide.into())));
    assert_eq!(open(&save(&folder, object, NATIVE, PHOTOGRAPHY_16)).unwrap().pixels, ramp(6, 4));
}

#[test]
fn dicom_planes_and_luma_chroma() {
    let folder = folder();
    let picture = ramp(6, 4);
    let mut object = dicom("RGB", 8);
    object.put(DataElement::new(tags::PLANAR_CONFIGURATION, VR::US, PrimitiveValue::from(1_u16)));
    object.put(bytes((0..3).flat_map(|channel| picture.pixels().map(move |pixel| pixel[channel])).collect()));
    assert_eq!(open(&save(&folder, object, NATIVE, PHOTOGRAPHY)).unwrap().pixels, picture);

    // Orange in YCbCr; two pixels share their chroma in 4:2:2.
    let orange = |path: &Path| {
        for pixel in open(path).unwrap().pixels.pixels() {
            assert!(pixel.0.iter().zip([200_u8, 100, 50]).all(|(a, b)| a.abs_diff(b) <= 3), "{pixel:?}");
        }
    };
    let mut object = dicom("YBR_FULL", 8);
    object.put(bytes([124, 86, 182].repeat(24)));
    orange(&save(&folder, object, NATIVE, PHOTOGRAPHY));
    let mut object = dicom("YBR_FULL_422", 8);
    object.put(bytes([124, 124, 86, 182].repeat(12)));
    orange(&save(&folder, object, NATIVE, PHOTOGRAPHY));

    let mut object = dicom("YBR_FULL", 8);
    object.put(fragment(run_lengths([124, 86, 182], 24)));
    orange(&save(&folder, object, uids::RLE_LOSSLESS, PHOTOGRAPHY));
}

/// Three RLE segments, each one value repeated (PS3.5 annex G).
fn run_lengths(values: [u8; 3], count: u8) -> Vec<u8> {
    let mut out: Vec<u8> = [3_u32, 64, 66, 68].into_iter().flat_map(u32::to_le_bytes).collect();
    out.resize(64, 0);
    values.iter().for_each(|&value| out.extend([(257 - u16::from(count)) as u8, value]));
    out
}

#[test]
fn dicom_jpeg_says_in_its_header_whether_it_is_rgb() {
    let folder = folder();
    let orange = RgbImage::from_pixel(6, 4, Rgb([200, 100, 50]));
    let jpeg = encoded(&orange.into(), ImageFormat::Jpeg);
    for (photometric, expected) in [("YBR_FULL_422", [200_u8, 100, 50]), ("RGB", [124, 86, 182])] {
        let mut object = dicom(photometric, 8);
        object.put(fragment(jpeg.clone()));
        let path = save(&folder, object, uids::JPEG_BASELINE8_BIT, PHOTOGRAPHY);
        for pixel in open(&path).unwrap().pixels.pixels() {
            assert!(pixel.0.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 4), "{photometric}: {pixel:?}");
        }
    }
}

/// Files of other makers (`tests/fixtures/dicom.py`).
#[test]
fn dicom_of_jpeg_2000_and_jpeg_lossless() {
    let expected =
        RgbImage::from_fn(40, 36, |x, y| Rgb([40 + 5 * x, 20 + 6 * y, 3 * (x + y)].map(|value| value as u8)));
    for (name, tolerance) in [
        ("jpeg2000_lossless", 0),
        ("jpeg2000_lossless_16", 0),
        ("jpeg2000_lossy", 4),
        ("jpeg_lossless", 0),
        ("jpeg_lossless_sv1", 0),
        ("jpeg_lossless_16", 0),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.dcm"));
        let photograph = open(&path).unwrap();
        assert_eq!(photograph.pixels.dimensions(), expected.dimensions(), "{name}");
        let pairs = photograph.pixels.as_raw().iter().zip(expected.as_raw());
        assert!(pairs.clone().all(|(a, b)| a.abs_diff(*b) <= tolerance), "{name}");
        assert_eq!(photograph.identity.eye, Some(Laterality::Left), "{name}");
    }
}

/// A file of another maker: the object, its transfer syntax and the stream of its pixels.
fn fixture(name: &str) -> (InMemDicomObject, String, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.dcm"));
    let object = open_file(path).unwrap();
    let syntax = object.meta().transfer_syntax().to_owned();
    let stream = object.element(tags::PIXEL_DATA).unwrap().fragments().unwrap().concat();
    (object.into_inner(), syntax, stream)
}

#[test]
fn dicom_streams_in_several_fragments() {
    let folder = folder();
    let thirds = |stream: &[u8]| stream.chunks(stream.len().div_ceil(6) * 2).map(<[u8]>::to_vec).collect::<Vec<_>>();
    for name in ["jpeg2000_lossless", "jpeg_lossless", "jpeg_lossless_16"] {
        let (mut object, syntax, stream) = fixture(name);
        let kind = if name.ends_with("16") { PHOTOGRAPHY_16 } else { PHOTOGRAPHY };
        let whole = open(&save(&folder, object.clone(), &syntax, kind)).unwrap().pixels;
        let pieces = thirds(&stream);
        assert_eq!(pieces.len(), 3, "{name}");
        object.put(fragments(pieces));
        assert_eq!(open(&save(&folder, object, &syntax, kind)).unwrap().pixels, whole, "{name}");
    }
    let jpeg = encoded(&ramp(6, 4).into(), ImageFormat::Jpeg);
    for photometric in ["RGB", "YBR_FULL_422"] {
        let [whole, pieces] = [vec![jpeg.clone()], thirds(&jpeg)].map(|content| {
            let mut object = dicom(photometric, 8);
            object.put(fragments(content));
            open(&save(&folder, object, uids::JPEG_BASELINE8_BIT, PHOTOGRAPHY)).unwrap().pixels
        });
        assert_eq!(whole, pieces, "{photometric}");
    }
}

/// Decoders allocate for the size in the stream.
#[test]
fn dicom_streams_that_state_another_picture_than_their_header() {
    let folder = folder();
    let refusal = |content: Vec<u8>, bits: u16, syntax: &str| {
        let mut object = dicom("RGB", bits);
        object.put(fragment(content));
        let (error, message) = refused(&save(&folder, object, syntax, PHOTOGRAPHY));
        assert!(matches!(error, ReadError::Damaged { .. }), "{message}");
        message
    };
    let names = |message: String, both: [&str; 2]| assert!(both.iter().all(|one| message.contains(one)), "{message}");

    let mut jpeg = encoded(&ramp(6, 4).into(), ImageFormat::Jpeg);
    names(refusal(jpeg.clone(), 16, uids::JPEG_EXTENDED12_BIT), ["16 bits", "say 8"]);
    let frame = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[65_000_u16.to_be_bytes(), 65_000_u16.to_be_bytes()].concat());
    names(refusal(jpeg.clone(), 8, uids::JPEG_BASELINE8_BIT), ["6 x 4", "65000 x 65000"]);
    // As lossless JPEG, whose decoder allocates most.
    jpeg[frame + 1] = 0xC3;
    names(refusal(jpeg, 8, uids::JPEG_LOSSLESS_SV1), ["6 x 4", "65000 x 65000"]);
    let grey = encoded(&DynamicImage::from(ramp(6, 4)).to_luma8().into(), ImageFormat::Jpeg);
    names(refusal(grey, 8, uids::JPEG_BASELINE8_BIT), ["3 channels", "say 1"]);
    names(refusal(vec![0xFF, 0xD8, 0xFF, 0xD9], 8, uids::JPEG_BASELINE8_BIT), ["do not say", "how large"]);
    names(refusal(vec![0xFF; 64], 8, uids::JPEG2000), ["do not say", "how large"]);

    for (name, place, value, says) in
        [("jpeg2000_lossless", 4, 65_000_u32, "65000 x 36"), ("jpeg2000_lossy", 8, 4_000_000_000, "40 x 4000000000")]
    {
        let (mut object, syntax, mut stream) = fixture(name);
        let size = stream.windows(4).position(|markers| markers == [0xFF, 0x4F, 0xFF, 0x51]).unwrap() + 4;
        stream[size + place..size + place + 4].copy_from_slice(&value.to_be_bytes());
        object.put(fragment(stream));
        names(refused(&save(&folder, object, &syntax, PHOTOGRAPHY)).1, ["40 x 36", says]);
    }
}

/// A decoder that expands a segment before it takes what it needs must not be given one that expands for ever.
#[test]
fn dicom_runs_that_expand_to_more_than_the_picture() {
    let folder = folder();
    let read = |contents: Vec<Vec<u8>>| {
        let mut object = dicom("YBR_FULL", 8);
        object.put(fragments(contents));
        open(&save(&folder, object, uids::RLE_LOSSLESS, PHOTOGRAPHY)).map(|photograph| photograph.pixels)
    };
    let sound = run_lengths([124, 86, 182], 24);
    let expected = read(vec![sound.clone()]).unwrap();
    // Padding, as even lengths ask for it, and fragments of frames that the header does not count.
    assert_eq!(read(vec![[&sound[..], &[0, 0]].concat()]).unwrap(), expected);
    assert_eq!(read(vec![sound.clone(), sound.clone(), Vec::new()]).unwrap(), expected);

    let bomb = [&sound[..], &[129, 7].repeat(1000)].concat();
    let error = read(vec![bomb]).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }) && error.to_string().contains("128024 samples"), "{error}");
    let mut crowded = sound.clone();
    crowded[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read(vec![crowded]), Err(ReadError::Damaged { .. })));
    let short = run_lengths([124, 86, 182], 23);
    assert!(matches!(read(vec![short]), Err(ReadError::Truncated { .. })));
    assert!(matches!(read(Vec::new()), Err(ReadError::Damaged { .. })));
}

#[test]
fn dicom_laterality_of_the_frame() {
    let folder = folder();
    let mut object = dicom("RGB", 8);
    object.remove_element(tags::IMAGE_LATERALITY);
    object.remove_element(tags::ACQUISITION_DATE_TIME);
    object.put(DataElement::new(tags::ACQUISITION_DATE, VR::DA, "20231301"));
    let side = InMemDicomObject::from_element_iter([DataElement::new(tags::FRAME_LATERALITY, VR::CS, "R")]);
    let sequence = |tag, item| DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![item]));
    let shared = InMemDicomObject::from_element_iter([sequence(tags::FRAME_ANATOMY_SEQUENCE, side)]);
    object.put(sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, shared));
    object.put(bytes(ramp(6, 4).into_raw()));
    let identity = open(&save(&folder, object, NATIVE, PHOTOGRAPHY)).unwrap().identity;
    assert_eq!((identity.eye, identity.date), (Some(Laterality::Right), None), "there is no thirteenth month");
}

#[test]
fn dicom_of_another_kind() {
    let folder = folder();
    let refusal = |change: &dyn Fn(&mut InMemDicomObject), syntax: &str, kind: &str| {
        let mut object = dicom("RGB", 8);
        object.put(bytes(ramp(6, 4).into_raw()));
        change(&mut object);
        refused(&save(&folder, object, syntax, kind)).1
    };
    let nothing = |_: &mut InMemDicomObject| ();
    let names = |message: String, name: &str| assert!(message.contains(name), "{message}");
    names(refusal(&nothing, NATIVE, uids::CT_IMAGE_STORAGE), "CT image");
    names(refusal(&nothing, NATIVE, uids::OPHTHALMIC_TOMOGRAPHY_IMAGE_STORAGE), "ophthalmic tomography");
    names(refusal(&nothing, NATIVE, "1.2.3.4"), "1.2.3.4");
    let photometric = |name: &'static str| {
        move |object: &mut InMemDicomObject| {
            object.put(DataElement::new(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, name));
            object.put(DataElement::new(tags::SAMPLES_PER_PIXEL, VR::US, PrimitiveValue::from(1_u16)));
        }
    };
    names(refusal(&photometric("MONOCHROME2"), NATIVE, PHOTOGRAPHY), "without colour");
    names(refusal(&photometric("PALETTE COLOR"), NATIVE, PHOTOGRAPHY), "PALETTE COLOR");
    let frames = |object: &mut InMemDicomObject| {
        object.put(DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, "12"));
    };
    names(refusal(&frames, NATIVE, PHOTOGRAPHY), "12 frames");
    let short = |object: &mut InMemDicomObject| {
        object.put(bytes(vec![7; 30]));
    };
    names(refusal(&short, NATIVE, PHOTOGRAPHY), "truncated");
    let huge = |object: &mut InMemDicomObject| {
        object.put(DataElement::new(tags::ROWS, VR::US, PrimitiveValue::from(60_000_u16)));
        object.put(DataElement::new(tags::COLUMNS, VR::US, PrimitiveValue::from(60_000_u16)));
    };
    names(refusal(&huge, NATIVE, PHOTOGRAPHY), "200 megapixels");
}

#[test]
fn dicom_coded_in_a_way_that_is_not_read() {
    let folder = folder();
    let mut object = dicom("RGB", 8);
    object.put(fragment(vec![0; 64]));
    let path = save(&folder, object, uids::JPEGLS_LOSSLESS, PHOTOGRAPHY);
    assert!(refused(&path).1.contains("JPEG-LS"));
}

#[test]
fn damaged_dicom() {
    let folder = folder();
    let mut object = dicom("RGB", 8);
    object.put(bytes(ramp(6, 4).into_raw()));
    let whole = fs::read(save(&folder, object, NATIVE, PHOTOGRAPHY)).unwrap();
    for length in (132..whole.len() - 1).step_by(17) {
        refused(&write(&folder, "cut.dcm", &whole[..length]));
    }
    // A stream larger than its header says must not bring the program down.
    let jpeg = encoded(&ramp(20, 16).into(), ImageFormat::Jpeg);
    let mut object = dicom("YBR_FULL_422", 8);
    object.put(fragment(jpeg));
    refused(&save(&folder, object, uids::JPEG_BASELINE8_BIT, PHOTOGRAPHY));
}
