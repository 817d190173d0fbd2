//! Pairs of numbers come in; a scatter plot with logarithmic axes goes out, as SVG that needs no font and reads on white and black.

use std::fmt::Write as _;

/// Pixels across and down; the plot begins this far from the left and ends this far from the bottom.
const SIZE: [f64; 2] = [760.0, 560.0];
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 60.0;
/// Pixels above the plot and at its right, for names.
const TOP: f64 = 16.0;
const RIGHT: f64 = 90.0;
/// Pixels that names of series may take.
const LEGEND: f64 = 285.0;
/// Told apart with any eyes (Okabe and Ito): blue, vermilion, bluish green.
const COLOURS: [&str; 3] = ["#0072b2", "#d55e00", "#009e73"];
/// Lines and words.
const GREY: &str = "#808080";

/// Points of one kind.
#[derive(Clone, Debug)]
pub struct Series {
    /// What they are.
    pub name: String,
    /// Their colour and shape.
    pub kind: usize,
    /// Whether others matter more.
    pub faint: bool,
    /// Positive numbers, across and up.
    pub points: Vec<[f64; 2]>,
}

/// Decades that hold all points, and where points lie.
struct Frame {
    /// Exponents of the ends, the same on both axes.
    ends: [f64; 2],
}

impl Frame {
    fn around(series: &[Series]) -> Self {
        let logs = || series.iter().flat_map(|series| series.points.iter().flatten()).map(|value| value.log10());
        // Halves of a decade, so that little is empty.
        let (low, high) =
            logs().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| (low.min(log), high.max(log)));
        if low.is_finite() && high.is_finite() {
            Self { ends: [(2.0 * low - 0.1).floor() / 2.0, (2.0 * high + 0.1).ceil() / 2.0] }
        } else {
            Self { ends: [0.0, 1.0] }
        }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.share(value) * (SIZE[0] - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        SIZE[1] - BOTTOM - self.share(value) * (SIZE[1] - TOP - BOTTOM)
    }

    fn share(&self, value: f64) -> f64 {
        (value.log10() - self.ends[0]) / (self.ends[1] - self.ends[0])
    }

    /// 1, 2 and 5 of every decade, as far as they are inside.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let [low, high] = self.ends;
        let decades = low.floor() as i32..=high.ceil() as i32;
        let all = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|first| first * 10f64.powi(decade)));
        all.filter(move |tick| (low - 1e-9..=high + 1e-9).contains(&tick.log10()))
    }
}

/// Draws series on the same axes, with lines up = factor x across.
pub fn scatter([across, up]: [&str; 2], series: &[Series], lines: &[(f64, &str)]) -> String {
    let frame = Frame::around(series);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"{GREY}\">\n",
        SIZE[0], SIZE[1]
    );
    axes(&mut svg, &frame, [across, up]);
    for (factor, name) in lines {
        line(&mut svg, &frame, *factor, name);
    }
    for series in series.iter().filter(|series| series.faint).chain(series.iter().filter(|series| !series.faint)) {
        for &[x, y] in &series.points {
            mark(&mut svg, [frame.x(x), frame.y(y)], series);
        }
    }
    // At the lower right, where truth would be better than claimed.
    for (place, series) in series.iter().filter(|series| !series.points.is_empty()).rev().enumerate() {
        let at = [SIZE[0] - RIGHT - LEGEND, SIZE[1] - BOTTOM - 16.0 - 20.0 * place as f64];
        mark(&mut svg, at, series);
        text(&mut svg, [at[0] + 12.0, at[1] + 4.5], "start", &series.name);
    }
    svg + "</svg>\n"
}

fn axes(svg: &mut String, frame: &Frame, [across, up]: [&str; 2]) {
    let ([left, right], [top, bottom]) = ([LEFT, SIZE[0] - RIGHT], [TOP, SIZE[1] - BOTTOM]);
    writeln!(
        svg,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"{GREY}\"/>",
        right - left,
        bottom - top
    )
    .ok();
    for tick in frame.ticks() {
        let (x, y) = (frame.x(tick), frame.y(tick));
        writeln!(
            svg,
            "<path d=\"M{x:.1} {bottom}V{top}M{left} {y:.1}H{right}\" stroke=\"{GREY}\" stroke-opacity=\"0.25\"/>"
        )
        .ok();
        let name = format!("{tick}");
        text(svg, [x, bottom + 18.0], "middle", &name);
        text(svg, [left - 8.0, y + 4.5], "end", &name);
    }
    text(svg, [0.5 * (left + right), SIZE[1] - 14.0], "middle", across);
    let middle = 0.5 * (top + bottom);
    writeln!(svg, "<text transform=\"translate(18 {middle}) rotate(-90)\" text-anchor=\"middle\">{up}</text>").ok();
}

/// Up = factor x across, cut off at the frame.
fn line(svg: &mut String, frame: &Frame, factor: f64, name: &str) {
    let [low, high] = frame.ends.map(|end| 10f64.powf(end));
    let (from, to) = (low.max(low / factor), high.min(high / factor));
    let ends = [from, to].map(|x| [frame.x(x), frame.y(factor * x)]);
    let [[x1, y1], [x2, y2]] = ends;
    writeln!(svg, "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{GREY}\" stroke-dasharray=\"5 4\"/>").ok();
    if factor > 1.0 {
        text(svg, [x2, y2 - 4.0], "middle", name);
    } else {
        text(svg, [x2 + 6.0, y2 + 4.5], "start", name);
    }
}

fn mark(svg: &mut String, [x, y]: [f64; 2], series: &Series) {
    let colour = COLOURS[series.kind % COLOURS.len()];
    let fill = if series.faint {
        format!("fill=\"none\" stroke=\"{colour}\" stroke-opacity=\"0.6\"")
    } else {
        format!("fill=\"{colour}\"")
    };
    let shape = match series.kind % COLOURS.len() {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" {fill}/>"),
        1 => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\" {fill}/>", x - 3.5, y - 3.5),
        _ => format!("<path d=\"M{x:.1} {:.1}l4.6 8h-9.2z\" {fill}/>", y - 5.0),
    };
    writeln!(svg, "{shape}").ok();
}

fn text(svg: &mut String, [x, y]: [f64; 2], anchor: &str, words: &str) {
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_lies_inside_the_frame_and_larger_ones_farther_right_and_up() {
        let points = vec![[0.3, 0.2], [1.0, 1.1], [20.0, 31.0]];
        let series = [Series { name: "some".to_owned(), kind: 0, faint: false, points: points.clone() }];
        let frame = Frame::around(&series);
        let places: Vec<[f64; 2]> = points.iter().map(|&[x, y]| [frame.x(x), frame.y(y)]).collect();
        assert!(places.windows(2).all(|pair| pair[0][0] < pair[1][0] && pair[0][1] > pair[1][1]));
        for [x, y] in places {
            assert!((LEFT..=SIZE[0] - RIGHT).contains(&x) && (TOP..=SIZE[1] - BOTTOM).contains(&y));
        }
        let svg = scatter(["across", "up"], &series, &[(1.0, "equal"), (2.5, "more")]);
        assert_eq!(svg.matches("<circle").count(), points.len() + 1, "and one in the legend");
        assert!(svg.contains(">10<") && svg.contains(">0.5<") && svg.ends_with("</svg>\n"));
        assert!(!scatter(["across", "up"], &[], &[]).contains("NaN"));
    }
}
