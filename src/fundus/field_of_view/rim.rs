//! A reduced photograph comes in; the points that may lie on the field's edge go out.
//!
//! From every border of the photograph inwards, line by line, the first marked edge and the strongest one are kept, each
//! with the direction in which it brightens.

use super::reduced::Reduced;

/// A point where brightness changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct EdgePoint {
    /// Where, x then y.
    pub at: [f64; 2],
    /// Unit vector towards the brighter side.
    pub towards_bright: [f64; 2],
}

/// Least change of brightness, per pixel, that counts as an edge.
const LEAST_SLOPE: f32 = 5.0;

/// An edge is marked if it has this share of the strongest slope on its half of the line.
const MARKED: f32 = 0.3;

/// Collects the points.
pub(super) fn edge_points(reduced: &Reduced) -> Vec<EdgePoint> {
    let slopes = Slopes::new(reduced);
    let (width, height) = (reduced.width, reduced.height);
    let mut points = Vec::new();
    for y in 1..height.saturating_sub(1) {
        points.extend(slopes.along((1..width / 2).map(|x| (x, y))));
        points.extend(slopes.along((width / 2..width.saturating_sub(1)).rev().map(|x| (x, y))));
    }
    for x in 1..width.saturating_sub(1) {
        points.extend(slopes.along((1..height / 2).map(|y| (x, y))));
        points.extend(slopes.along((height / 2..height.saturating_sub(1)).rev().map(|y| (x, y))));
    }
    points
}

/// The gradient of brightness (Sobel).
struct Slopes {
    width: usize,
    gradients: Vec<[f32; 2]>,
}

impl Slopes {
    fn new(reduced: &Reduced) -> Self {
        let (width, height) = (reduced.width, reduced.height);
        let value = &reduced.brightness;
        let mut gradients = vec![[0.0; 2]; width * height];
        for y in 1..height.saturating_sub(1) {
            for x in 1..width.saturating_sub(1) {
                let at = |dx: usize, dy: usize| value[(y + dy - 1) * width + x + dx - 1];
                let across = at(2, 0) - at(0, 0) + 2.0 * (at(2, 1) - at(0, 1)) + at(2, 2) - at(0, 2);
                let down = at(0, 2) - at(0, 0) + 2.0 * (at(1, 2) - at(1, 0)) + at(2, 2) - at(2, 0);
                gradients[y * width + x] = [across / 8.0, down / 8.0];
            }
        }
        Self { width, gradients }
    }

    /// The first marked and the strongest edge along a line of pixels.
    fn along(&self, line: impl Iterator<Item = (usize, usize)>) -> Vec<EdgePoint> {
        let line: Vec<_> = line
            .map(|(x, y)| {
                let gradient = self.gradients[y * self.width + x];
                (x, y, gradient, gradient[0].hypot(gradient[1]))
            })
            .collect();
        let peaks: Vec<_> = line
            .windows(3)
            .filter(|window| window[1].3 >= window[0].3 && window[1].3 > window[2].3 && window[1].3 >= LEAST_SLOPE)
            .map(|window| window[1])
            .collect();
        let Some(strongest) = peaks.iter().copied().max_by(|a, b| a.3.total_cmp(&b.3)) else { return Vec::new() };
        let first = peaks.iter().copied().find(|peak| peak.3 >= MARKED * strongest.3);
        first
            .into_iter()
            .chain(first.filter(|first| (first.0, first.1) != (strongest.0, strongest.1)).map(|_| strongest))
            .map(|(x, y, gradient, slope)| EdgePoint {
                at: [x as f64 + 0.5, y as f64 + 0.5],
                towards_bright: gradient.map(|part| f64::from(part / slope)),
            })
            .collect()
    }
}
