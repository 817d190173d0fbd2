//! The right section: how far the map is to be trusted.

use egui::{Color32, Rect, Role, pos2, vec2};

use super::{Input, Section, chart, words};
use crate::attribution::{Attribution, Method, Stop};
use crate::session::Map;
use crate::viewer::panes::MapState;
use crate::viewer::theme;
use crate::viewer::tokens::{self, dock};

/// A completeness error up to this is shown as holding.
const COMPLETE: f64 = 0.05;

/// How a figure is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Holds,
    Quiet,
}

/// A line of evidence: what is measured, the figure, what explains the figure.
struct Line {
    what: &'static str,
    figure: String,
    rest: String,
    tone: Tone,
}

/// Draws the section.
pub fn show(section: &Section<'_>, input: &Input<'_>) {
    let heading = section.heading("How far to trust the map");
    let top = heading.bottom() + dock::EVIDENCE_TOP;
    match input.map {
        MapState::Shown { map, failure } => {
            let (words, tone) = match failure {
                Some(_) => ("not refined further".to_owned(), Tone::Plain),
                None => standing(map, input),
            };
            let at = pos2(section.area.right(), heading.center().y);
            let left = section.right(at, &words, theme::small(), colour(section, tone));
            let place = Rect::from_min_max(pos2(left, heading.top()), pos2(at.x, heading.bottom()));
            section.name(place, Role::Status, &words);
            let bottom = lines(section, top, &evidence(map, input.stop));
            below(section, bottom + tokens::STEP, &map.attribution, input.stop);
        }
        MapState::Waiting => quiet(section, top, "The first map comes in a few seconds."),
        MapState::None(reason) | MapState::Failed(reason) => quiet(section, top, reason),
    }
}

fn colour(section: &Section<'_>, tone: Tone) -> Color32 {
    match tone {
        Tone::Plain => section.palette.text,
        Tone::Holds => section.palette.ok,
        Tone::Quiet => section.palette.dim,
    }
}

/// Whether the map is still refined, and how it ended.
fn standing(map: &Map, input: &Input<'_>) -> (String, Tone) {
    let attribution = &map.attribution;
    if attribution.method == Method::GradCam {
        return ("one pass".to_owned(), Tone::Quiet);
    }
    if map.finished {
        let gradients = attribution.gradient_evaluations;
        return if attribution.converged {
            (format!("converged in {}", seconds(attribution.seconds)), Tone::Holds)
        } else {
            (format!("stopped at {gradients} gradients, not converged"), Tone::Plain)
        };
    }
    let left = input.elapsed.and_then(|elapsed| words::remaining(attribution, elapsed));
    let words = left.map_or("refining".to_owned(), |left| format!("next map in {}", words::duration(left)));
    (words, Tone::Quiet)
}

fn seconds(seconds: f64) -> String {
    if seconds < 9.95 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

/// The four figures.
fn evidence(map: &Map, stop: Stop) -> [Line; 4] {
    let attribution = &map.attribution;
    let rim = Line {
        what: "Share at the rim",
        figure: words::whole(attribution.mass_at_rim),
        rest: String::new(),
        tone: Tone::Plain,
    };
    let taken = Line {
        what: "Gradients taken",
        figure: attribution.gradient_evaluations.to_string(),
        rest: match attribution.method {
            Method::Ig => format!("of at most {}, {}", stop.max_steps, map.precision),
            Method::GradCam => map.precision.to_owned(),
        },
        tone: Tone::Plain,
    };
    [change(attribution, stop), completeness(attribution), rim, taken]
}

/// The finest share that is told apart from nought.
const FINEST: f64 = 0.001;

fn change(attribution: &Attribution, stop: Stop) -> Line {
    let what = "Estimated error of the map";
    let asked = format!("of {} asked", words::tolerance(stop.tolerance));
    match (attribution.method, attribution.map_change) {
        (Method::GradCam, _) => {
            Line { what, figure: "nothing to refine".to_owned(), rest: String::new(), tone: Tone::Quiet }
        }
        (Method::Ig, None) => Line { what, figure: "not known yet".to_owned(), rest: asked, tone: Tone::Quiet },
        (Method::Ig, Some(change)) => {
            let tone = if change <= stop.tolerance { Tone::Holds } else { Tone::Plain };
            Line { what, figure: words::share(change), rest: asked, tone }
        }
    }
}

fn completeness(attribution: &Attribution) -> Line {
    let what = "Sum against change of output";
    match attribution.completeness_error {
        None => Line { what, figure: "not defined".to_owned(), rest: String::new(), tone: Tone::Quiet },
        Some(error) => {
            let (word, tone) = if error <= COMPLETE { ("within", Tone::Holds) } else { ("off by", Tone::Plain) };
            Line { what, figure: format!("{word} {}", words::share(error.max(FINEST))), rest: String::new(), tone }
        }
    }
}

/// Draws the lines from `top` down and gives their lower end.
fn lines(section: &Section<'_>, top: f32, lines: &[Line]) -> f32 {
    let area = section.area;
    for (place, line) in lines.iter().enumerate() {
        let row = Rect::from_min_size(
            pos2(area.left(), top + place as f32 * dock::EVIDENCE_LINE),
            vec2(area.width(), dock::EVIDENCE_LINE),
        );
        let y = row.center().y;
        let mut right = area.right();
        if !line.rest.is_empty() {
            let left = section.right(pos2(right, y), &line.rest, theme::small(), section.palette.dim);
            right = left - tokens::STEP;
        }
        let left = section.right(pos2(right, y), &line.figure, theme::small_strong(), colour(section, line.tone));
        section.left(pos2(area.left(), y), line.what, theme::small(), section.palette.dim, left - area.left());
        section.name(row, Role::Label, format!("{}: {} {}", line.what, line.figure, line.rest).trim_end());
    }
    top + lines.len() as f32 * dock::EVIDENCE_LINE
}

/// How the change has fallen; for Grad-CAM, what it is.
fn below(section: &Section<'_>, top: f32, attribution: &Attribution, stop: Stop) {
    let area = section.area;
    if attribution.method == Method::GradCam {
        let words = "Grad-CAM weighs the features of the last convolutional block by their gradients: one coarse pass, whose \
                     sum answers to no change of output.";
        section.lines(pos2(area.left(), top + tokens::STEP), words, section.palette.dim, area.width());
        return;
    }
    let free = Rect::from_min_max(pos2(area.left(), top), pos2(area.right(), area.bottom() + tokens::STEP));
    if free.height() >= dock::CHART_LEAST {
        chart::show(section, free, &attribution.history, stop.tolerance);
    }
}

/// What stands in place of figures.
fn quiet(section: &Section<'_>, top: f32, words: &str) {
    let place = section.lines(pos2(section.area.left(), top), words, section.palette.dim, section.area.width());
    section.name(place, Role::Note, words);
}
