//! The model comes in; the line at the bottom goes out: what is computing, how far, how long, and the keys worth knowing.

use std::time::Duration;

use egui::{Painter, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use super::model::Model;
use super::tokens::{Palette, STEP, bar};
use super::{theme, widgets};
use crate::session::Progress;

/// What takes less is not worth a word.
const WORTH_SAYING: Duration = Duration::from_millis(500);
/// What this program is not; always there.
const RESEARCH: &str = "Research use, not a medical device";
/// Keys and what they do, in the order of use.
const HINTS: [&str; 6] = ["← → case", "Space overlay", "N network", "F fit", "Z 1:1", "Ctrl+K all commands"];
/// Which of them goes first, second, ... where there is no room.
const DROPPED: [usize; 6] = [4, 3, 2, 1, 0, 5];

/// Draws it into `rect`.
pub fn show(ui: &mut Ui, rect: Rect, model: &Model) {
    let palette = theme::palette(ui.ctx());
    let painter = ui.painter().clone();
    let right = words_to_the_left(&painter, rect.right() - bar::MARGIN, rect, RESEARCH, palette) - bar::GAP;
    let left = work(ui, rect, model, palette);
    let left = notice(ui, left, right, rect, model, palette);
    hints(&painter, left + bar::GAP, right, rect, palette);
}

fn words_to_the_left(painter: &Painter, right: f32, rect: Rect, words: &str, palette: &Palette) -> f32 {
    let galley = theme::line(painter, words, theme::small(), palette.dim);
    let left = right - galley.size().x;
    painter.galley(pos2(left, rect.center().y - galley.size().y / 2.0), galley, palette.dim);
    left
}

/// What is under way, else how the map on screen was made. Gives its right edge.
fn work(ui: &mut Ui, rect: Rect, model: &Model, palette: &Palette) -> f32 {
    let painter = ui.painter().clone();
    let mut x = rect.left() + bar::MARGIN;
    let mut spoken = Vec::new();
    let mut say = |words: String, font: egui::FontId, x: &mut f32| {
        let galley = theme::line(&painter, words.as_str(), font, palette.dim);
        let width = galley.size().x;
        painter.galley(pos2(*x, rect.center().y - galley.size().y / 2.0), galley, palette.dim);
        *x += width;
        spoken.push(words);
    };
    let under_way: Vec<_> = model.progress.iter().filter(|work| work.elapsed >= WORTH_SAYING).collect();
    for (place, work) in under_way.iter().take(2).enumerate() {
        x += if place > 0 { bar::GAP } else { 0.0 };
        say(work.label.clone(), theme::small(), &mut x);
        x += bar::WORD;
        if work.total > 0 {
            let [width, height] = bar::PROGRESS;
            let place = Rect::from_min_size(pos2(x, rect.center().y - height / 2.0), vec2(width, height));
            widgets::progress_bar(&painter, place, work.done as f32 / work.total as f32, palette);
            x += width + bar::WORD;
        }
        say(how_far(work), theme::small_medium(), &mut x);
    }
    let made = model.map.as_ref().filter(|map| map.finished && under_way.is_empty()).map(made);
    if let Some(words) = made {
        say("Map".to_owned(), theme::small(), &mut x);
        x += bar::WORD;
        say(words, theme::small_medium(), &mut x);
    }
    if !spoken.is_empty() {
        let area = Rect::from_min_max(pos2(rect.left(), rect.top()), pos2(x, rect.bottom()));
        let response = ui.interact(area, ui.scope_id().with("work"), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Status, true, spoken.join(" ")));
    }
    x
}

/// `40 gradients in 6.2 s`, `12 of 400 in 31 s`.
fn how_far(work: &Progress) -> String {
    let seconds = seconds(work.elapsed.as_secs_f64());
    match (work.label.as_str(), work.done, work.total) {
        ("Map", 0, _) => format!("first gradients, {seconds}"),
        ("Map", 1, _) => format!("1 gradient in {seconds}"),
        ("Map", done, _) => format!("{done} gradients in {seconds}"),
        (_, _, 0) => seconds,
        (_, done, total) => format!("{done} of {total} in {seconds}"),
    }
}

fn made(map: &crate::session::Map) -> String {
    let attribution = &map.attribution;
    let gradients = match attribution.gradient_evaluations {
        1 => "1 gradient".to_owned(),
        count => format!("{count} gradients"),
    };
    format!("{gradients} in {}", seconds(attribution.seconds))
}

fn seconds(seconds: f64) -> String {
    if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if seconds < 119.5 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}

/// What went otherwise than asked. Gives its right edge.
fn notice(ui: &mut Ui, left: f32, right: f32, rect: Rect, model: &Model, palette: &Palette) -> f32 {
    let Some(notice) = model.notice.as_deref().or(nothing_runs(model)) else { return left };
    let painter = ui.painter();
    let place = left + bar::GAP;
    let width = (right - place - bar::GAP).max(0.0);
    let galley = theme::line_within(painter, notice, theme::small(), palette.warn, width);
    let area = Rect::from_min_size(pos2(place, rect.center().y - galley.size().y / 2.0), galley.size());
    painter.galley(area.min, galley, palette.warn);
    let response = ui.interact(area.expand(STEP), ui.scope_id().with("notice"), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Status, true, notice));
    response.on_hover_text(notice);
    area.right()
}

fn nothing_runs(model: &Model) -> Option<&'static str> {
    model.nothing_runs().then_some("No network is available: photographs are shown, but nothing is graded")
}

/// As many hints as there is room for; they end where the research notice begins.
fn hints(painter: &Painter, left: f32, right: f32, rect: Rect, palette: &Palette) {
    let galleys = HINTS.map(|hint| theme::line(painter, hint, theme::small(), palette.dim));
    let mut width: f32 = galleys.iter().map(|galley| galley.size().x + bar::GAP).sum();
    let mut kept = [true; HINTS.len()];
    for hint in DROPPED {
        if width <= right + bar::GAP - left {
            break;
        }
        kept[hint] = false;
        width -= galleys[hint].size().x + bar::GAP;
    }
    let mut x = right + bar::GAP - width;
    for (galley, _) in galleys.into_iter().zip(kept).filter(|(_, kept)| *kept) {
        let advance = galley.size().x + bar::GAP;
        painter.galley(pos2(x, rect.center().y - galley.size().y / 2.0), galley, palette.dim);
        x += advance;
    }
}
