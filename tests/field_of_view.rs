//! The field's circle is found again, within 1 % of its radius, however the photograph is cut, exposed or written on.

use std::path::{Path, PathBuf};

use diaret::fundus::{FieldOfView, Identity, Listing, Photograph, read};
use image::{Rgb, RgbImage, imageops};

fn photograph(pixels: RgbImage) -> Photograph {
    Photograph {
        path: PathBuf::from("generated"),
        sha256: [0; 32],
        identity: Identity::default(),
        size: pixels.dimensions().into(),
        scale: 1,
        pixels,
    }
}

/// The sharp samples at a quarter of their size, each with its uncut fit.
fn samples() -> Vec<(String, RgbImage, FieldOfView)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
    files.retain(|path| !path.to_string_lossy().contains("blurred"));
    files.sort();
    assert_eq!(files.len(), 14);
    let read_one = |path: PathBuf| {
        let full = read(&path, &mut Listing::default()).unwrap();
        let pixels = imageops::thumbnail(&full.pixels, full.pixels.width() / 4, full.pixels.height() / 4);
        let field = FieldOfView::find(&photograph(pixels.clone())).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), pixels, field)
    };
    files.into_iter().map(read_one).collect()
}

/// Fits what `change` makes of every sample; `change` gives the picture and where its upper left corner was.
fn found_again(what: &str, change: impl Fn(&RgbImage, &FieldOfView) -> (RgbImage, [u32; 2])) {
    for (name, pixels, uncut) in samples() {
        let (changed, corner) = change(&pixels, &uncut);
        let field = FieldOfView::find(&photograph(changed)).unwrap_or_else(|error| panic!("{what}, {name}: {error}"));
        let [x, y] = [0, 1].map(|axis| field.centre[axis] + f64::from(corner[axis]) - uncut.centre[axis]);
        let (moved, grown) = (x.hypot(y) / uncut.radius, (field.radius / uncut.radius - 1.0).abs());
        assert!(moved <= 0.01 && grown <= 0.01, "{what}, {name}: centre off by {moved:.4}, radius by {grown:.4} of it");
    }
}

/// What lies within these shares of the radius around the centre.
fn crop(pixels: &RgbImage, field: &FieldOfView, across: f64, down: f64) -> (RgbImage, [u32; 2]) {
    let from = |axis: usize, share: f64| (field.centre[axis] - share * field.radius).max(0.0) as u32;
    let to = |axis: usize, share: f64| (field.centre[axis] + share * field.radius) as u32;
    let (left, top) = (from(0, across), from(1, down));
    let (right, bottom) = (to(0, across).min(pixels.width()), to(1, down).min(pixels.height()));
    (imageops::crop_imm(pixels, left, top, right - left, bottom - top).to_image(), [left, top])
}

#[test]
fn cut_at_top_and_bottom() {
    found_again("cut at top and bottom", |pixels, field| crop(pixels, field, 2.0, 0.6));
}

#[test]
fn cut_at_the_sides() {
    found_again("cut at the sides", |pixels, field| crop(pixels, field, 0.7, 2.0));
}

#[test]
fn filling_the_frame_but_for_its_corners() {
    found_again("full frame", |pixels, field| crop(pixels, field, 0.79, 0.79));
}

#[test]
fn two_stops_darker() {
    let linear = |value: f64| if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
    let encoded = |value: f64| if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
    found_again("-2 EV", |pixels, _| {
        let mut dark = pixels.clone();
        for value in dark.iter_mut() {
            *value = (255.0 * encoded(linear(f64::from(*value) / 255.0) / 4.0)).round() as u8;
        }
        (dark, [0, 0])
    });
}

#[test]
fn on_a_bright_background() {
    found_again("bright background", |pixels, field| {
        let mut bright = pixels.clone();
        for (x, y, pixel) in bright.enumerate_pixels_mut() {
            if !field.contains(f64::from(x) + 0.5, f64::from(y) + 0.5) {
                *pixel = Rgb([232, 230, 226]);
            }
        }
        (bright, [0, 0])
    });
}

#[test]
fn with_a_label_burnt_in() {
    found_again("label", |pixels, _| {
        let mut labelled = pixels.clone();
        // Lines of letters in the upper left corner and a bright box at the lower right.
        for line in 0..3 {
            for letter in (8..150).step_by(10) {
                for (x, y) in (letter..letter + 6).flat_map(|x| (0..14).map(move |y| (x, y))) {
                    labelled.put_pixel(x, 8 + 20 * line + y, Rgb([255; 3]));
                }
            }
        }
        let (right, bottom) = (labelled.width(), labelled.height());
        for (x, y) in (right - 110..right - 10).flat_map(|x| (bottom - 60..bottom - 12).map(move |y| (x, y))) {
            labelled.put_pixel(x, y, Rgb([250, 240, 90]));
        }
        (labelled, [0, 0])
    });
}

#[test]
fn a_copy_cropped_to_its_field_is_its_whole_square() {
    for (name, pixels, field) in samples() {
        let side = (2.0 * field.radius).round() as u32;
        let corner = [0, 1].map(|axis| (field.centre[axis] - field.radius).round() as i64);
        let mut square = RgbImage::new(side, side);
        imageops::replace(&mut square, &pixels, -corner[0], -corner[1]);
        let copy = imageops::thumbnail(&square, 320, 320);
        let found = FieldOfView::find(&photograph(copy)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((found.centre, found.radius), ([160.0, 160.0], 160.0), "{name}");
    }
}
