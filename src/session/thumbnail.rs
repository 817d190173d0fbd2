//! What a network sees comes in; a small round picture for the list goes out.

use image::{Rgba, RgbaImage};

use crate::fundus::NetworkInput;

/// Pixels of a side: twice the list's 44 points.
pub const SIDE: u32 = 88;

/// The field at [`SIDE`] x [`SIDE`], averaged by area over the pixels inside it; opacity is the share of them.
pub fn of(input: &NetworkInput) -> RgbaImage {
    let spans: Vec<Vec<(usize, f32)>> = (0..SIDE).map(|index| span(index, input.side)).collect();
    RgbaImage::from_fn(SIDE, SIDE, |x, y| {
        let (mut colour, mut inside, mut all) = ([0.0f32; 3], 0.0f32, 0.0f32);
        for &(row, height) in &spans[y as usize] {
            for &(column, width) in &spans[x as usize] {
                let (pixel, weight) = (row * input.side + column, width * height);
                all += weight;
                if input.mask[pixel] {
                    inside += weight;
                    for (sum, value) in colour.iter_mut().zip(&input.pixels[3 * pixel..]) {
                        *sum += weight * value;
                    }
                }
            }
        }
        let [r, g, b] = colour.map(|sum| (255.0 * sum / inside.max(f32::MIN_POSITIVE)).round() as u8);
        Rgba([r, g, b, (255.0 * inside / all.max(f32::MIN_POSITIVE)).round() as u8])
    })
}

/// The pixels of a row of `side` that one thumbnail pixel covers, with how much of each.
fn span(index: u32, side: usize) -> Vec<(usize, f32)> {
    let scale = side as f32 / SIDE as f32;
    let (start, end) = (index as f32 * scale, (index + 1) as f32 * scale);
    (start.floor() as usize..(end.ceil() as usize).min(side))
        .map(|pixel| (pixel, (end.min((pixel + 1) as f32) - start.max(pixel as f32)).max(0.0)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fundus::PixelMap;

    /// A disc of one colour in a square of 299, cut at the top as many cameras do.
    fn disc() -> NetworkInput {
        let side = 299;
        let centre = side as f32 / 2.0;
        let mask: Vec<bool> = (0..side * side)
            .map(|i| {
                let (x, y) = ((i % side) as f32 + 0.5, (i / side) as f32 + 0.5);
                (x - centre).hypot(y - centre) <= centre && y > 40.0
            })
            .collect();
        let pixels = mask.iter().flat_map(|&inside| if inside { [0.8, 0.4, 0.2] } else { [0.0; 3] }).collect();
        NetworkInput { side, pixels, mask, map: PixelMap { origin: [0.0; 2], scale: 1.0 } }
    }

    #[test]
    fn the_field_keeps_its_colour_and_the_rest_is_transparent() {
        let thumbnail = of(&disc());
        assert_eq!(thumbnail.dimensions(), (SIDE, SIDE));
        assert_eq!(thumbnail.get_pixel(44, 44), &Rgba([204, 102, 51, 255]));
        assert_eq!(thumbnail.get_pixel(0, 0)[3], 0);
        assert_eq!(thumbnail.get_pixel(44, 4)[3], 0, "above the cut");
        for pixel in thumbnail.pixels().filter(|pixel| pixel[3] > 0) {
            assert_eq!([pixel[0], pixel[1], pixel[2]], [204, 102, 51], "the rim is not darkened by the black outside");
        }
    }

    #[test]
    fn opacity_sums_to_the_field() {
        let input = disc();
        let opaque: f64 = of(&input).pixels().map(|pixel| f64::from(pixel[3]) / 255.0).sum();
        let share = input.mask.iter().filter(|&&inside| inside).count() as f64 / (299.0 * 299.0);
        assert!((opaque / (88.0 * 88.0) - share).abs() < 1e-3);
    }
}
