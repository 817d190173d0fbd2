//! An overlay lies on the original's pixels exactly where the network saw them, and leaves the others as they were.

// Exact values are what is promised.
#![allow(clippy::float_cmp)]

use diaret::attribution::colormap::Colormap;
use diaret::attribution::heatmap::Heatmap;
use diaret::attribution::overlay::{compose, texture};
use image::{Rgb, RgbImage};
use proptest::prelude::*;

/// The affine mapping of a network square at `origin` with `scale` pixels of the original per network pixel.
fn to_network(origin: [f64; 2], scale: f64) -> impl Fn(f64, f64) -> [f64; 2] + Sync {
    move |x, y| [(x - origin[0]) / scale, (y - origin[1]) / scale]
}

fn heatmap(side: usize, value: impl Fn(usize, usize) -> f32) -> Heatmap {
    let values = (0..side * side).map(|i| value(i % side, i / side)).collect();
    Heatmap { side, values, no_evidence: false }
}

fn grey(width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb([90, 90, 90]))
}

fn everywhere(_: f64, _: f64) -> bool {
    true
}

/// How much a pixel differs from the grey original.
fn difference(image: &RgbImage, x: u32, y: u32) -> f64 {
    image.get_pixel(x, y).0.iter().map(|&v| (f64::from(v) - 90.0).abs()).sum()
}

#[test]
fn orientation_is_the_networks() {
    // Upper left quarter for, lower right against, the others empty.
    let map = heatmap(10, |x, y| match (x < 5, y < 5) {
        (true, true) => 1.0,
        (false, false) => -1.0,
        _ => 0.0,
    });
    let drawn = compose(&grey(100, 100), &map, Colormap::CyanMagenta, 1.0, &to_network([0.0, 0.0], 10.0), &everywhere);
    assert_eq!(drawn.get_pixel(20, 20).0, [0x28, 0xe1, 0xff]);
    assert_eq!(drawn.get_pixel(80, 80).0, [0xff, 0x50, 0xd2]);
    assert_eq!(drawn.get_pixel(80, 20).0, [90; 3]);
    assert_eq!(drawn.get_pixel(20, 80).0, [90; 3]);
    let texture = texture(&map, Colormap::CyanMagenta);
    assert_eq!(texture.get_pixel(1, 1).0, [0x28, 0xe1, 0xff, 255]);
    assert_eq!(texture.get_pixel(8, 8).0, [0xff, 0x50, 0xd2, 255]);
    assert_eq!(texture.get_pixel(8, 1).0[3], 0);
}

#[test]
fn at_scale_one_every_pixel_is_the_textures_own() {
    let map = heatmap(30, |x, y| ((x * 7 + y * 13) % 21) as f32 / 10.0 - 1.0);
    let black = RgbImage::new(50, 40);
    let drawn = compose(&black, &map, Colormap::Viridis, 1.0, &to_network([12.0, 5.0], 1.0), &everywhere);
    let texture = texture(&map, Colormap::Viridis);
    for (x, y, pixel) in drawn.enumerate_pixels() {
        let inside = (12..42).contains(&x) && (5..35).contains(&y);
        let [r, g, b, a] = if inside { texture.get_pixel(x - 12, y - 5).0 } else { [0; 4] };
        for (got, straight) in pixel.0.iter().zip([r, g, b]) {
            let expected = f32::from(straight) * f32::from(a) / 255.0;
            assert!((f32::from(*got) - expected).abs() <= 1.5, "({x}, {y}): {got} instead of {expected}");
        }
    }
}

#[test]
fn opacity_nought_and_no_evidence_change_nothing() {
    let map = heatmap(8, |_, _| 0.7);
    let original = RgbImage::from_fn(37, 23, |x, y| Rgb([x as u8, y as u8, 200]));
    let on = to_network([0.0, -7.0], 4.625);
    assert_eq!(compose(&original, &map, Colormap::default(), 0.0, &on, &everywhere), original);
    assert_ne!(compose(&original, &map, Colormap::default(), 0.5, &on, &everywhere), original);
    let none = Heatmap { no_evidence: true, ..map };
    assert_eq!(compose(&original, &none, Colormap::default(), 1.0, &on, &everywhere), original);
}

#[test]
fn nothing_is_drawn_outside_the_field() {
    let inside = |x: f64, y: f64| (x - 50.0).hypot(y - 50.0) < 30.0;
    let map = heatmap(10, |_, _| 1.0);
    let drawn = compose(&grey(100, 100), &map, Colormap::default(), 1.0, &to_network([0.0, 0.0], 10.0), &inside);
    for (x, y, _) in drawn.enumerate_pixels() {
        assert_eq!(difference(&drawn, x, y) > 0.0, inside(f64::from(x) + 0.5, f64::from(y) + 0.5));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// One network pixel is drawn as a tent around its own middle on the original, wherever the square lies.
    #[test]
    fn registration_is_exact(x in 2usize..18, y in 2usize..18, left in -60.0f64..60.0, top in -60.0f64..60.0, scale in 2.0f64..9.0) {
        let map = heatmap(20, |i, j| if (i, j) == (x, y) { 1.0 } else { 0.0 });
        let drawn = compose(&grey(300, 280), &map, Colormap::default(), 1.0, &to_network([left, top], scale), &everywhere);
        let middle = [left + scale * (x as f64 + 0.5), top + scale * (y as f64 + 0.5)];
        prop_assume!(middle[0] > scale && middle[1] > scale && middle[0] < 300.0 - scale && middle[1] < 280.0 - scale);
        let (mut sum, mut moment) = (0.0, [0.0, 0.0]);
        for (i, j, _) in drawn.enumerate_pixels() {
            let weight = difference(&drawn, i, j);
            prop_assert!(weight == 0.0 || ((f64::from(i) + 0.5 - middle[0]).abs() <= scale && (f64::from(j) + 0.5 - middle[1]).abs() <= scale));
            sum += weight;
            moment[0] += weight * (f64::from(i) + 0.5);
            moment[1] += weight * (f64::from(j) + 0.5);
        }
        prop_assert!((moment[0] / sum - middle[0]).abs() < 0.05 * scale, "{} instead of {}", moment[0] / sum, middle[0]);
        prop_assert!((moment[1] / sum - middle[1]).abs() < 0.05 * scale, "{} instead of {}", moment[1] / sum, middle[1]);
    }
}
