//! An overlay lies exactly on the full-resolution original, whatever its aspect ratio and however its field is cut.

use std::path::PathBuf;

use diaret::fundus::{FieldOfView, Identity, NetworkInput, Photograph};
use image::{Rgb, RgbImage};
use proptest::prelude::*;

fn photograph(width: u32, height: u32, paint: impl Fn(f64, f64) -> Rgb<u8>) -> Photograph {
    let pixels = RgbImage::from_fn(width, height, |x, y| paint(f64::from(x) + 0.5, f64::from(y) + 0.5));
    Photograph {
        path: PathBuf::from("generated"),
        sha256: [0; 32],
        identity: Identity::default(),
        size: pixels.dimensions().into(),
        scale: 1,
        pixels,
    }
}

prop_compose! {
    /// A photograph's size and a field that reaches beyond it or does not.
    fn scene()(width in 200_u32..900, height in 200_u32..900, x in 0.3..0.7, y in 0.3..0.7, radius in 0.3..0.8)
        -> (u32, u32, FieldOfView) {
        let (w, h) = (f64::from(width), f64::from(height));
        (width, height, FieldOfView { centre: [x * w, y * h], radius: radius * w.min(h) })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_mark_on_the_original_is_seen_where_the_map_says(
        (width, height, field) in scene(), angle in 0.0..std::f64::consts::TAU, share in 0.0..0.8,
    ) {
        let mark = [field.centre[0] + share * field.radius * angle.cos(), field.centre[1] + share * field.radius * angle.sin()];
        let size = (0.06 * field.radius).max(4.0);
        let inside = |at: f64, limit: u32| at > size && at < f64::from(limit) - size;
        prop_assume!(inside(mark[0], width) && inside(mark[1], height));
        let photograph = photograph(width, height, |x, y| {
            if (x - mark[0]).abs() <= size && (y - mark[1]).abs() <= size { Rgb([255; 3]) } else { Rgb([0; 3]) }
        });
        let input = NetworkInput::new(&photograph, &field, 299);
        let (mut x, mut y, mut mass) = (0.0, 0.0, 0.0);
        for row in 0..299 {
            for column in 0..299 {
                let value = f64::from(input.pixels[(row * 299 + column) * 3]);
                let [left, top] = input.map.to_original(column as f64 + 0.5, row as f64 + 0.5);
                x += value * left;
                y += value * top;
                mass += value;
            }
        }
        let off = (x / mass - mark[0]).hypot(y / mass - mark[1]);
        // Painting on whole pixels moves the mark's own centre by up to half a pixel each way.
        prop_assert!(off <= 0.75 + 0.15 * input.map.scale, "off by {off} pixels at scale {}", input.map.scale);
    }

    #[test]
    fn there_and_back_is_the_same_point((width, height, field) in scene(), x in 0.0..299.0, y in 0.0..299.0) {
        let input = NetworkInput::new(&photograph(width, height, |_, _| Rgb([90, 50, 20])), &field, 299);
        let [left, top] = input.map.to_original(x, y);
        let back = input.map.to_network(left, top);
        prop_assert!((back[0] - x).abs() < 1e-9 && (back[1] - y).abs() < 1e-9);
        // The square is the circle's, to the pixel.
        prop_assert!((input.map.scale * 299.0 - 2.0 * field.radius).abs() <= 1.0);
        let centre = input.map.to_original(149.5, 149.5);
        prop_assert!((centre[0] - field.centre[0]).abs() <= 1.0 && (centre[1] - field.centre[1]).abs() <= 1.0);
    }

    #[test]
    fn outside_the_field_is_black_and_masked((width, height, field) in scene()) {
        let input = NetworkInput::new(&photograph(width, height, |_, _| Rgb([255; 3])), &field, 299);
        for (index, (pixel, &inside)) in input.pixels.chunks_exact(3).zip(&input.mask).enumerate() {
            let [x, y] = input.map.to_original((index % 299) as f64 + 0.5, (index / 299) as f64 + 0.5);
            let seen = field.contains(x, y) && x >= 0.0 && y >= 0.0 && x < f64::from(width) && y < f64::from(height);
            prop_assert_eq!(inside, seen);
            prop_assert!(inside || pixel == [0.0; 3]);
            prop_assert!(pixel.iter().all(|value| (0.0..=1.0001).contains(value)));
        }
    }
}
