//! What the networks say and how far the map is to be trusted come in as plain data; the dock below the panes goes out: the
//! grade, the probability of each grade, the map's evidence. Knows nothing of the app's state and keeps none.

mod bars;
mod chart;
mod evidence;
mod grade;
mod words;

use std::time::Duration;

use egui::{Id, Painter, Pos2, Rect, Response as Widget, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

pub use bars::{Geometry, bar, geometry};

use crate::attribution::Stop;
use crate::grading::Assessment;
use crate::nn::Network;
use crate::session::NetworkState;
use crate::viewer::panes::MapState;
use crate::viewer::theme;
use crate::viewer::tokens::{self, Palette, dock};

/// What is known of the case's grade.
#[derive(Clone, Copy, Debug)]
pub enum Graded<'a> {
    /// No case is open.
    None,
    /// The networks are at work.
    Waiting,
    /// There is no photograph, and why.
    Skipped(&'a str),
    /// No network is available.
    Unavailable,
    /// The networks have spoken.
    Shown(&'a Assessment),
}

/// All that the dock shows.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The grade.
    pub graded: Graded<'a>,
    /// How each network stands, in the order of [`Network::ALL`].
    pub networks: &'a [(Network, NetworkState)],
    /// The map.
    pub map: MapState<'a>,
    /// When the map stops.
    pub stop: Stop,
    /// How long the map has been computed for, if it is now.
    pub elapsed: Option<Duration>,
}

/// Where things are on screen, in points.
#[derive(Clone, Debug)]
pub struct Response {
    /// The full width of the bar of referable: probability 1.
    pub referable: Rect,
    /// The bars of the five grades.
    pub bars: [Geometry; 5],
}

/// The three sections of the dock, from left to right.
pub fn sections(area: Rect) -> [Rect; 3] {
    let grade = (area.width() * dock::GRADE_SHARE).clamp(dock::GRADE_LEAST, tokens::size::DOCK_GRADE);
    let evidence = (area.width() * dock::EVIDENCE_SHARE).clamp(dock::EVIDENCE_LEAST, tokens::size::DOCK_EVIDENCE);
    let [left, right] = [area.left() + grade, (area.right() - evidence).max(area.left() + grade)].map(f32::round);
    let part = |from: f32, to: f32| Rect::from_min_max(pos2(from, area.top()), pos2(to, area.bottom()));
    [part(area.left(), left), part(left, right), part(right, area.right())]
}

/// Draws the dock over all that is left of `ui`.
pub fn show(ui: &mut Ui, input: &Input<'_>) -> Response {
    let area = ui.available_rect_before_wrap();
    ui.advance_cursor_after_rect(area);
    let sections = sections(area);
    let palette = theme::palette(ui.ctx());
    ui.painter().rect_filled(area, 0.0, palette.panel);
    for section in &sections[1..] {
        ui.painter().vline(section.left(), area.y_range(), Stroke::new(1.0, palette.line));
    }
    let [left, middle, right] = sections.map(|section| section.shrink2(vec2(dock::SIDE, dock::TOP)));
    let referable = grade::show(&Section::new(ui, left, "grade"), input);
    let bars = bars::show(&Section::new(ui, middle, "bars"), input);
    evidence::show(&Section::new(ui, right, "evidence"), input);
    Response { referable, bars }
}

/// A section with what is needed to draw in it.
struct Section<'a> {
    ui: &'a Ui,
    painter: Painter,
    area: Rect,
    id: Id,
    palette: &'static Palette,
}

impl<'a> Section<'a> {
    fn new(ui: &'a Ui, area: Rect, name: &str) -> Self {
        let painter = ui.painter_at(area.expand(dock::TOP));
        Self { ui, painter, area, id: ui.scope_id().with(("dock", name)), palette: theme::palette(ui.ctx()) }
    }

    /// Gives a part of the section a name for those who do not see it.
    fn name(&self, place: Rect, role: Role, words: &str) -> Widget {
        let response = self.ui.interact(place, self.id.with(words), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(role, true, words));
        response
    }

    /// A heading at the section's upper left; gives its place.
    fn heading(&self, words: &str) -> Rect {
        let galley = theme::line(&self.painter, words, theme::small_strong(), self.palette.text);
        let place = Rect::from_min_size(self.area.min, vec2(galley.size().x, dock::HEADING));
        let top = place.center().y - galley.size().y / 2.0;
        self.painter.galley(pos2(place.left(), top), galley, self.palette.text);
        self.name(place, Role::Heading, words);
        place
    }

    /// One line with its right end at `at`, `at.y` its middle; gives its left end.
    fn right(&self, at: Pos2, words: &str, font: egui::FontId, colour: egui::Color32) -> f32 {
        let galley = theme::line(&self.painter, words, font, colour);
        let place = pos2(at.x - galley.size().x, at.y - galley.size().y / 2.0);
        self.painter.galley(place, galley, colour);
        place.x
    }

    /// One line, cut at `width`, with its left end at `at`, `at.y` its middle; gives its right end.
    fn left(&self, at: Pos2, words: &str, font: egui::FontId, colour: egui::Color32, width: f32) -> f32 {
        let galley = theme::line_within(&self.painter, words, font, colour, width);
        let right = at.x + galley.size().x;
        self.painter.galley(pos2(at.x, at.y - galley.size().y / 2.0), galley, colour);
        right
    }

    /// Explaining lines from `at` down, at most `width` wide; gives their place.
    fn lines(&self, at: Pos2, words: &str, colour: egui::Color32, width: f32) -> Rect {
        let galley = theme::paragraph(&self.painter, words, colour, width);
        let place = Rect::from_min_size(at, galley.size());
        self.painter.galley(at, galley, colour);
        place
    }
}
