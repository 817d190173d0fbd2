//! A reduced photograph and its circle come in; whether what is inside looks like a retina goes out.
//!
//! A retina is mostly red, of one family of colours that nevertheless varies (disc, vessels, macula, a rim of stray light),
//! and smooth. A planet or a ball has one colour, a scene many; fur, print and tissue have more detail. The bounds are wide:
//! they let blue, pale and dark photographs of old cameras pass (`diaret check-fields` counts).

use super::circle::Fit;
use super::reduced::Reduced;

/// Channels differ by less than this share of the largest: an angiography or a red-free photograph.
const LEAST_CHROMA: f64 = 0.05;
/// Least share of pixels in which red is the largest channel.
const LEAST_RED: f64 = 0.25;
/// Colours vary as much as this and as little; deviation of the logarithm of red by green.
const COLOURS: std::ops::RangeInclusive<f64> = 0.03..=0.5;
/// Mean change of brightness from pixel to pixel.
const DETAIL: std::ops::RangeInclusive<f64> = 0.8..=21.0;
/// Most of the field that may be black.
const MOST_BLACK: f64 = 0.6;
/// A pixel whose largest channel is less than this is black.
const BLACK: f64 = 10.0;

/// What is wrong with a field.
pub(super) enum Unlike {
    /// No colour.
    Grey,
    /// Not a retina, and why.
    Other(&'static str),
}

/// Whether the field looks like a retina.
pub(super) fn check(reduced: &Reduced, fit: &Fit) -> Result<(), Unlike> {
    let seen = Appearance::of(reduced, fit);
    if seen.black > MOST_BLACK {
        return Err(Unlike::Other("the circle found in it is black"));
    }
    if seen.chroma < LEAST_CHROMA {
        return Err(Unlike::Grey);
    }
    if seen.red < LEAST_RED {
        return Err(Unlike::Other("what is in the circle is not red, as a retina is"));
    }
    if seen.colours > *COLOURS.end() {
        return Err(Unlike::Other("what is in the circle has more colours than a retina"));
    }
    if seen.colours < *COLOURS.start() {
        return Err(Unlike::Other("what is in the circle has one colour throughout, as no retina has"));
    }
    if seen.detail > *DETAIL.end() {
        return Err(Unlike::Other("what is in the circle has more detail than a retina"));
    }
    if seen.detail < *DETAIL.start() {
        return Err(Unlike::Other("there is nothing to see in the circle"));
    }
    Ok(())
}

/// What a field looks like, over its pixels that are not black and not at its rim.
struct Appearance {
    /// Mean difference of the largest and the smallest channel, as a share of the largest.
    chroma: f64,
    /// Share of pixels in which red is the largest channel.
    red: f64,
    /// Deviation of the logarithm of red by green.
    colours: f64,
    /// Mean change of brightness per pixel.
    detail: f64,
    /// Share of the field that is black.
    black: f64,
}

impl Appearance {
    fn of(reduced: &Reduced, fit: &Fit) -> Self {
        let mut sums = Sums::default();
        let inner = 0.92 * fit.circle.radius;
        for y in 0..reduced.height.saturating_sub(2) {
            for x in 0..reduced.width.saturating_sub(2) {
                let [dx, dy] = [x as f64 + 0.5 - fit.circle.centre[0], y as f64 + 0.5 - fit.circle.centre[1]];
                if dx.hypot(dy) <= inner {
                    sums.add(reduced, y * reduced.width + x);
                }
            }
        }
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let mean = share(sums.ratio, sums.lit);
        Self {
            chroma: share(sums.chroma, sums.level),
            red: share(sums.red, sums.lit),
            colours: (share(sums.ratio_squared, sums.lit) - mean * mean).max(0.0).sqrt(),
            detail: share(sums.slope, sums.lit),
            black: 1.0 - share(sums.lit, sums.all),
        }
    }
}

#[derive(Default)]
struct Sums {
    all: f64,
    lit: f64,
    red: f64,
    chroma: f64,
    level: f64,
    ratio: f64,
    ratio_squared: f64,
    slope: f64,
}

impl Sums {
    /// Adds the pixel at `at`, which has two more to its right and two below it.
    fn add(&mut self, reduced: &Reduced, at: usize) {
        self.all += 1.0;
        let [r, g, b] = reduced.rgb[at].map(f64::from);
        let level = r.max(g).max(b);
        if level < BLACK {
            return;
        }
        self.lit += 1.0;
        self.red += f64::from(u8::from(r >= g && r >= b));
        self.chroma += level - r.min(g).min(b);
        self.level += level;
        let ratio = ((r + 4.0) / (g + 4.0)).ln();
        self.ratio += ratio;
        self.ratio_squared += ratio * ratio;
        let here = reduced.brightness[at];
        let [across, down] = [at + 2, at + 2 * reduced.width].map(|other| reduced.brightness[other] - here);
        self.slope += f64::from(across.hypot(down)) / 2.0;
    }
}
