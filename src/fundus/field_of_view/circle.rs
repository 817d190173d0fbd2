//! Edge points come in; the circle they agree on goes out, with how well they do.
//!
//! Hypotheses are circles through three points (RANSAC: Fischler and Bolles 1981, with a fixed seed) and circles around the
//! photograph's centre. Each is judged by the contrast across its rim where the rim is visible; the best are fitted to the
//! steepest points of their radial profiles (weighted least squares, Tukey's biweight).

use super::reduced::Reduced;
use super::rim::{EdgePoint, edge_points};

/// A circle in pixels of the reduced photograph.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circle {
    pub centre: [f64; 2],
    pub radius: f64,
}

/// A fitted circle and its evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub circle: Circle,
    /// Share of the circumference that lies inside the photograph and is not black on both sides.
    pub visible: f64,
    /// Share of the visible circumference where the rim shows.
    pub supported: f64,
    /// Whether the outside is darker than the field.
    pub dark_outside: bool,
    /// Sum of what the rim gives, for comparing circles.
    pub score: f64,
}

/// Circles through three points that are tried.
const TRIALS: usize = 3000;

/// Directions in which a rim is looked at, for a hypothesis and for a fit.
const COARSE_DIRECTIONS: usize = 60;
const DIRECTIONS: usize = 180;

/// Contrast of brightness across a rim that counts in full.
const FULL_CONTRAST: f32 = 24.0;

/// Brightness below which there is nothing to see.
const BLACK: f32 = 50.0;

/// How far inside and outside a rim is looked at: in pixels, and, for fields that were stretched or are out of focus, as a
/// share of the radius.
const NEAR: f64 = 2.0;
const WIDE: f64 = 0.06;

/// Best hypotheses that are fitted.
const FINALISTS: usize = 8;

/// Fits the field's circle; the error says what is missing.
pub(super) fn fit(reduced: &Reduced) -> Result<Fit, String> {
    let points = edge_points(reduced);
    let mut hypotheses: Vec<Fit> = through_three_points(reduced, &points)
        .chain(around_the_centre(reduced))
        .filter(|(circle, _)| plausible(reduced, circle))
        .map(|(circle, dark_outside)| judge(reduced, circle, dark_outside, COARSE_DIRECTIONS))
        .collect();
    hypotheses.sort_by(|a, b| b.score.total_cmp(&a.score));
    let best = distinct(&hypotheses)
        .into_iter()
        .filter_map(|hypothesis| refine(reduced, hypothesis))
        .max_by(|a, b| a.score.total_cmp(&b.score))
        .ok_or_else(|| "nothing in it is bounded by a circle".to_owned())?;
    if best.visible * best.supported < 0.04 || best.supported < 0.65 {
        return Err(format!(
            "the best circle shows on {:.0} % of its circumference",
            100.0 * best.visible * best.supported
        ));
    }
    Ok(best)
}

/// A field is not much smaller than its photograph and not much larger; its centre lies in it.
fn plausible(reduced: &Reduced, circle: &Circle) -> bool {
    let (width, height) = (reduced.width as f64, reduced.height as f64);
    let [x, y] = circle.centre;
    (0.2 * width.min(height)..=0.75 * width.hypot(height)).contains(&circle.radius)
        && (0.15 * width..=0.85 * width).contains(&x)
        && (0.15 * height..=0.85 * height).contains(&y)
}

fn around_the_centre(reduced: &Reduced) -> impl Iterator<Item = (Circle, bool)> {
    let (width, height) = (reduced.width as f64, reduced.height as f64);
    let from = (0.25 * width.min(height)) as usize;
    let to = (0.72 * width.hypot(height)) as usize;
    (from..to).flat_map(move |radius| {
        let circle = Circle { centre: [width / 2.0, height / 2.0], radius: radius as f64 };
        [(circle, true), (circle, false)]
    })
}

fn through_three_points(reduced: &Reduced, points: &[EdgePoint]) -> impl Iterator<Item = (Circle, bool)> {
    let mut random = SplitMix(0x5EED);
    (0..if points.len() < 3 { 0 } else { TRIALS }).filter_map(move |_| {
        let pick = |random: &mut SplitMix| points[random.below(points.len())];
        let three = [pick(&mut random), pick(&mut random), pick(&mut random)];
        let circle = circle_through(three.map(|point| point.at))?;
        if !plausible(reduced, &circle) {
            return None;
        }
        Some((circle, brightens_inwards(&circle, &three)?))
    })
}

/// Whether the points brighten along the circle's radius inwards or outwards; nothing where they do not agree.
fn brightens_inwards(circle: &Circle, points: &[EdgePoint]) -> Option<bool> {
    let inwards = |point: &EdgePoint| {
        let [x, y] = [0, 1].map(|axis| (circle.centre[axis] - point.at[axis]) / circle.radius);
        x * point.towards_bright[0] + y * point.towards_bright[1]
    };
    if points.iter().all(|point| inwards(point) > 0.8) {
        Some(true)
    } else {
        points.iter().all(|point| inwards(point) < -0.8).then_some(false)
    }
}

fn circle_through([a, b, c]: [[f64; 2]; 3]) -> Option<Circle> {
    let (bx, by, cx, cy) = (b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]);
    let twice_area = 2.0 * (bx * cy - by * cx);
    if twice_area.abs() < 1e-6 {
        return None;
    }
    let (b2, c2) = (bx * bx + by * by, cx * cx + cy * cy);
    let (x, y) = ((cy * b2 - by * c2) / twice_area, (bx * c2 - cx * b2) / twice_area);
    Some(Circle { centre: [a[0] + x, a[1] + y], radius: x.hypot(y) })
}

/// What the rim gives in one direction.
#[derive(Clone, Copy, PartialEq)]
enum Rim {
    /// Outside the photograph, cut and filled with black, or too dark to tell.
    Unseen,
    /// None where one should be.
    Missing,
    /// Blurred or displaced: a stretched field, or one out of focus.
    Vague,
    /// There, with this share of the full contrast.
    Clear(f64),
}

/// Looks across the rim in every direction. A rim that shows counts for the circle, and twice as much if it shows on the
/// opposite side too: an arc alone fits many circles. A visible place where none shows counts against it.
fn judge(reduced: &Reduced, circle: Circle, dark_outside: bool, count: usize) -> Fit {
    let rims: Vec<Rim> = directions(count).map(|direction| rim(reduced, &circle, direction, dark_outside)).collect();
    let (near, far) = rims.split_at(count / 2);
    let (mut visible, mut supported, mut score) = (0, 0, 0.0);
    for (rim, opposite) in near.iter().zip(far).flat_map(|(a, b)| [(a, b), (b, a)]) {
        let worth = match rim {
            Rim::Unseen => continue,
            Rim::Missing => -1.0,
            Rim::Vague => 0.4,
            Rim::Clear(contrast) => *contrast,
        };
        let shows_opposite = matches!(opposite, Rim::Vague | Rim::Clear(_));
        visible += 1;
        supported += usize::from(worth > 0.0);
        score += if worth > 0.0 && !shows_opposite { 0.5 * worth } else { worth };
    }
    let share = |part: usize, all: usize| if all == 0 { 0.0 } else { part as f64 / all as f64 };
    Fit {
        circle,
        visible: share(visible, count),
        supported: share(supported, visible),
        dark_outside,
        score: score / count as f64,
    }
}

fn rim(reduced: &Reduced, circle: &Circle, direction: [f64; 2], dark_outside: bool) -> Rim {
    let sign = if dark_outside { 1.0 } else { -1.0 };
    let Some(near) = contrast_across(reduced, circle, direction, NEAR) else { return Rim::Unseen };
    let wide = contrast_across(reduced, circle, direction, WIDE * circle.radius).map(|contrast| sign * contrast);
    let near = sign * near;
    if near <= FULL_CONTRAST / 2.0 {
        return if wide.is_some_and(|wide| wide > 2.0 * FULL_CONTRAST) { Rim::Vague } else { Rim::Missing };
    }
    // Farther out it goes on as it is just outside; if it goes down a second step, this is a ring within the field.
    let at = |share: f64| brightness_along(reduced, circle, direction, share * circle.radius);
    let just_outside = at(1.0 + WIDE);
    let second_step = [1.12, 1.18, 1.25]
        .into_iter()
        .filter_map(|share| Some(sign * (just_outside? - at(share)?)))
        .fold(0.0, f32::max);
    if second_step > FULL_CONTRAST && second_step > 0.4 * wide.unwrap_or(near) {
        return Rim::Missing;
    }
    Rim::Clear(f64::from((near / FULL_CONTRAST).min(1.0)))
}

/// Brightness at a distance from the centre; nothing outside the photograph.
fn brightness_along(reduced: &Reduced, circle: &Circle, [x, y]: [f64; 2], distance: f64) -> Option<f32> {
    let [x, y] = [circle.centre[0] + x * distance, circle.centre[1] + y * distance];
    reduced.holds(x, y, 0.5).then(|| reduced.brightness_at(x, y))
}

/// Brightness `reach` pixels inside the rim minus that outside; nothing where the rim is not visible: outside the photograph,
/// or where it was cut and filled with black or is too dark to tell.
fn contrast_across(reduced: &Reduced, circle: &Circle, direction: [f64; 2], reach: f64) -> Option<f32> {
    let outer = brightness_along(reduced, circle, direction, circle.radius + reach)?;
    let inner = brightness_along(reduced, circle, direction, circle.radius - reach)?;
    (inner.max(outer) >= BLACK).then_some(inner - outer)
}

fn directions(count: usize) -> impl Iterator<Item = [f64; 2]> {
    (0..count).map(move |index| {
        let (y, x) = (std::f64::consts::TAU * index as f64 / count as f64).sin_cos();
        [x, y]
    })
}

/// The best hypotheses that differ from each other by more than a fit would mend.
fn distinct(hypotheses: &[Fit]) -> Vec<Fit> {
    let mut chosen: Vec<Fit> = Vec::new();
    for hypothesis in hypotheses {
        let near = |other: &Fit| {
            let [x, y] = [0, 1].map(|axis| hypothesis.circle.centre[axis] - other.circle.centre[axis]);
            x.hypot(y).max((hypothesis.circle.radius - other.circle.radius).abs()) < 3.0
                && hypothesis.dark_outside == other.dark_outside
        };
        if !chosen.iter().any(near) {
            chosen.push(*hypothesis);
        }
        if chosen.len() == FINALISTS {
            break;
        }
    }
    chosen
}

/// Fits the circle to the steepest points of its radial profiles, in ever narrower windows.
fn refine(reduced: &Reduced, hypothesis: Fit) -> Option<Fit> {
    let mut circle = hypothesis.circle;
    for window in [6.0, 4.0, 3.0, 2.0, 2.0] {
        let points = steepest_points(reduced, &circle, hypothesis.dark_outside, window);
        circle = least_squares(circle, &points, window / 2.0)?;
    }
    plausible(reduced, &circle).then(|| judge(reduced, circle, hypothesis.dark_outside, DIRECTIONS))
}

/// In each direction the point near the rim where brightness changes most in the right sense, with that slope as its weight.
fn steepest_points(reduced: &Reduced, circle: &Circle, dark_outside: bool, window: f64) -> Vec<([f64; 2], f64)> {
    const STEP: f64 = 0.5;
    let sign = if dark_outside { 1.0 } else { -1.0 };
    let steps = (window / STEP) as i32;
    directions(DIRECTIONS)
        .filter_map(|[x, y]| {
            let at = |distance: f64| [circle.centre[0] + x * distance, circle.centre[1] + y * distance];
            let value = |distance: f64| {
                let [x, y] = at(distance);
                reduced.brightness_at(x, y)
            };
            let (distance, slope) = (-steps..=steps)
                .map(|step| circle.radius + f64::from(step) * STEP)
                .filter(|&distance| {
                    let [x, y] = at(distance + 1.0);
                    reduced.holds(x, y, 0.5)
                })
                .map(|distance| (distance, sign * (value(distance - 1.0) - value(distance + 1.0)) / 2.0))
                .max_by(|a, b| a.1.total_cmp(&b.1))?;
            (slope > FULL_CONTRAST / 8.0).then(|| (at(distance), f64::from(slope.min(FULL_CONTRAST / 2.0))))
        })
        .collect()
}

/// One Gauss-Newton step for centre and radius; points farther from the rim than `reach` pixels count nothing.
fn least_squares(circle: Circle, points: &[([f64; 2], f64)], reach: f64) -> Option<Circle> {
    let mut circle = circle;
    for _ in 0..4 {
        let mut normal = [[0.0; 3]; 3];
        let mut right = [0.0; 3];
        for &(at, slope) in points {
            let [x, y] = [0, 1].map(|axis| at[axis] - circle.centre[axis]);
            let distance = x.hypot(y);
            let residual = distance - circle.radius;
            let inside = 1.0 - (residual / (2.0 * reach)).powi(2);
            if inside <= 0.0 || distance == 0.0 {
                continue;
            }
            let weight = slope * inside * inside;
            let row = [x / distance, y / distance, 1.0];
            for i in 0..3 {
                right[i] += weight * row[i] * residual;
                for j in 0..3 {
                    normal[i][j] += weight * row[i] * row[j];
                }
            }
        }
        let [dx, dy, dr] = solve(normal, right)?;
        circle.centre[0] += dx;
        circle.centre[1] += dy;
        circle.radius += dr;
    }
    Some(circle)
}

/// Cramer's rule; nothing for a singular system.
fn solve(m: [[f64; 3]; 3], right: [f64; 3]) -> Option<[f64; 3]> {
    let det = |m: &[[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = det(&m);
    if whole.abs() < 1e-9 {
        return None;
    }
    Some([0, 1, 2].map(|column| {
        let mut replaced = m;
        for (row, value) in replaced.iter_mut().zip(right) {
            row[column] = value;
        }
        det(&replaced) / whole
    }))
}

/// `SplitMix64` (Steele, Lea and Flood 2014): the same photograph gives the same circle every time.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}
