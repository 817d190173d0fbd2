//! A photograph that its decoder reduces looks to a network as the whole one does.

use std::path::Path;

use diaret::fundus::{FieldOfView, Listing, NetworkInput, Seen, Source};
use diaret::nn::SIDE;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};

#[test]
fn field_and_input_are_those_of_the_whole_photograph() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples");
    let files = folder.read_dir().expect("the bundled photographs").map(|entry| entry.expect("an entry").path());
    let mut reduced = 0;
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "jpg")) {
        let name = path.display();
        let source = Source::open(&path, &mut Listing::default()).expect("it is read");
        let seen = Seen::new(&source, SIDE).expect("it is seen");
        if seen.photograph.scale == 1 {
            continue;
        }
        reduced += 1;
        let whole = source.whole().expect("it is decoded");
        assert_eq!(seen.photograph.size, whole.size, "{name}");
        let field = FieldOfView::find(&whole).expect("its field is found");
        let off = (field.centre[0] - seen.field.centre[0]).hypot(field.centre[1] - seen.field.centre[1]);
        let wider = (field.radius - seen.field.radius).abs();
        assert!(off < 0.002 * field.radius && wider < 0.001 * field.radius, "{name}: {off:.2} px, {wider:.2} px");
        let input = NetworkInput::new(&whole, &seen.field, SIDE);
        assert!(input.map == seen.input.map && input.mask == seen.input.mask, "{name}");
        let squares = input.pixels.iter().zip(&seen.input.pixels).map(|(a, b)| f64::from(a - b).powi(2));
        let off = 255.0 * (squares.sum::<f64>() / input.pixels.len() as f64).sqrt();
        assert!(off < 0.5, "{name}: {off:.2} of 255 levels in the middle");
    }
    assert!(reduced >= 10, "the bundled photographs have 12 megapixels");
}

#[test]
fn a_small_field_in_a_wide_frame_is_decoded_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    for (diameter, scale) in [(1400.0, 2), (700.0, 1)] {
        let field = |x: u32, y: u32| 2.0 * (f64::from(x) - 900.0).hypot(f64::from(y) - 700.0) < diameter;
        let pixels = RgbImage::from_fn(1800, 1400, |x, y| {
            let shade = 20 * (x / 90 % 2) as u8;
            if field(x, y) { Rgb([150 + shade, 70 + shade, 30]) } else { Rgb([0; 3]) }
        });
        let path = folder.path().join(format!("{diameter}.jpg"));
        let file = std::fs::File::create(&path).expect("a file");
        JpegEncoder::new_with_quality(file, 95).encode_image(&pixels).expect("it is encoded");
        let source = Source::open(&path, &mut Listing::default()).expect("it is read");
        let seen = Seen::new(&source, SIDE).expect("it is seen");
        assert_eq!(
            (seen.photograph.size, seen.photograph.scale),
            ([1800, 1400], scale),
            "a field of {diameter} pixels"
        );
        assert!((2.0 * seen.field.radius - diameter).abs() < 8.0, "{:?}", seen.field);
    }
}
