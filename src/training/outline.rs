//! A network's input comes in; the outline of its lit part goes out. And the other way: an input whose field is cut anew.
//!
//! In some data the outline alone gives the grade away (one camera for the healthy, another for the ill). What a
//! classifier makes of the outline is the figure that a network has to beat; how a network's grades change when only the
//! outline does is the figure that tells whether it uses it.

use crate::fundus::NetworkInput;

/// Number of values that describe an outline.
pub const OUTLINE: usize = 5;

/// Height of a field cut anew as a share of its diameter: the frame of a camera with an aspect of 3 : 2.
const CUT_HEIGHT: f64 = 2.0 / 3.0;

/// Dark above, below, at the left and at the right of the lit part, as shares of the field's diameter, and the lit share
/// of the square.
pub fn outline(input: &NetworkInput) -> [f32; OUTLINE] {
    let side = input.side;
    let lit = lit(input);
    // A row or column counts as lit if most of its middle third is: the middle of a circle's chord.
    let middle = side / 3..side - side / 3;
    let row = |y: usize| middle.clone().filter(|&x| lit[y * side + x]).count() * 2 > middle.len();
    let column = |x: usize| middle.clone().filter(|&y| lit[y * side + x]).count() * 2 > middle.len();
    let dark = |line: &dyn Fn(usize) -> bool, backwards: bool| {
        let at = |i: usize| if backwards { side - 1 - i } else { i };
        (0..side).take_while(|&i| !line(at(i))).count() as f32 / side as f32
    };
    let share = lit.iter().filter(|&&lit| lit).count() as f32 / (side * side) as f32;
    [dark(&row, false), dark(&row, true), dark(&column, false), dark(&column, true), share]
}

/// Which pixels are brighter than the black that photographs have around their field: relative to the photograph's own
/// median, so that a dark photograph keeps its outline.
fn lit(input: &NetworkInput) -> Vec<bool> {
    let brightness: Vec<f32> =
        input.pixels.as_chunks::<3>().0.iter().map(|rgb| rgb.iter().copied().fold(0.0, f32::max)).collect();
    let mut inside: Vec<f32> =
        brightness.iter().zip(&input.mask).filter(|(_, inside)| **inside).map(|(value, _)| *value).collect();
    inside.sort_by(f32::total_cmp);
    let median = inside.get(inside.len() / 2).copied().unwrap_or_default();
    let threshold = (0.2 * median).max(8.0 / 255.0);
    brightness.into_iter().zip(&input.mask).map(|(value, inside)| *inside && value > threshold).collect()
}

/// An outline and all products of its values: what the outline-only classifier is fitted to.
pub fn expanded(outline: &[f32]) -> Vec<f32> {
    let products = outline.iter().enumerate().flat_map(|(i, a)| outline.iter().skip(i).map(move |b| a * b));
    outline.iter().copied().chain(products).collect()
}

/// Whether a field still has what [`cut`] would take from it.
pub fn is_whole(outline: &[f32]) -> bool {
    outline.iter().take(2).all(|&dark| dark < 0.05)
}

/// The pixels of the same photograph if its camera had cut the field at top and bottom.
pub fn cut(input: &NetworkInput) -> Vec<f32> {
    let mut pixels = input.pixels.clone();
    let half = input.side as f64 / 2.0;
    for (y, row) in pixels.chunks_exact_mut(3 * input.side).enumerate() {
        if (y as f64 + 0.5 - half).abs() > half * CUT_HEIGHT {
            row.fill(0.0);
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fundus::PixelMap;

    fn disc(side: usize, brightness: f32) -> NetworkInput {
        let inside = |i: usize| {
            let at = |i: usize| i as f64 + 0.5 - side as f64 / 2.0;
            at(i % side).hypot(at(i / side)) <= side as f64 / 2.0
        };
        let mask: Vec<bool> = (0..side * side).map(inside).collect();
        let pixels = mask.iter().flat_map(|&inside| [if inside { brightness } else { 0.0 }; 3]).collect();
        NetworkInput { side, pixels, mask, map: PixelMap { origin: [0.0; 2], scale: 1.0 } }
    }

    #[test]
    fn a_whole_field_is_lit_to_its_rim_whether_bright_or_dark() {
        for brightness in [0.9, 0.1] {
            let outline = outline(&disc(120, brightness));
            assert!(is_whole(&outline), "{outline:?}");
            assert!((outline[4] - std::f32::consts::FRAC_PI_4).abs() < 0.01);
        }
    }

    #[test]
    fn a_cut_field_is_dark_where_it_was_cut() {
        let mut input = disc(120, 0.5);
        input.pixels = cut(&input);
        let [top, bottom, left, right, share] = outline(&input);
        for dark in [top, bottom] {
            assert!((dark - 1.0 / 6.0).abs() < 0.01, "{dark}");
        }
        assert!(left < 0.05 && right < 0.05 && share < 0.7);
        assert!(!is_whole(&[top, bottom, left, right, share]));
    }

    #[test]
    fn an_outline_is_expanded_by_all_products() {
        assert_eq!(expanded(&[2.0, 3.0]), [2.0, 3.0, 4.0, 6.0, 9.0]);
    }
}
