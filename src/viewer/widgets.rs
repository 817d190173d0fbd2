//! The controls that the screen is made of, drawn from the tokens. Each has a name for people who do not see it.

use egui::{
    Align2, Color32, CornerRadius, FontId, Id, Painter, Pos2, Rect, Response, Role, Sense, Stroke, StrokeKind, Ui,
    WidgetInfo, pos2, vec2,
};

use super::theme;
use super::tokens::{self, Palette, STEP, control, key as cap, menu, pill, radius, size, stroke};
use crate::grading::Grade;

/// A grade's digit on its colour; a dash where there is no grade.
pub fn grade_chip(painter: &Painter, rect: Rect, grade: Option<Grade>, corner: u8, digit: FontId) {
    let (ground, ink, sign) = match grade {
        Some(grade) => (tokens::grade(grade), tokens::on_grade(grade), grade.digit().to_string()),
        None => (tokens::NO_GRADE, tokens::ON_NO_GRADE, "–".to_owned()),
    };
    painter.rect_filled(rect, CornerRadius::same(corner), ground);
    centred(painter, rect.center(), sign, digit, ink);
}

/// One line whose capitals and figures stand in the middle of `centre`.
pub fn centred(painter: &Painter, centre: Pos2, words: impl ToString, font: FontId, ink: Color32) -> Rect {
    painter.text(centre, Align2::CENTER_CENTER, words, font, ink)
}

/// A key as it stands on the keyboard. `right` is the middle of its right edge; gives its left edge.
pub fn key_cap(painter: &Painter, right: Pos2, key: &str, ink: Color32, line: Color32) -> f32 {
    let galley = theme::line(painter, key, theme::tiny(), ink);
    let width = key_cap_width(painter, key);
    let rect = Rect::from_center_size(pos2(right.x - width / 2.0, right.y), vec2(width, cap::SIZE));
    painter.rect_stroke(rect, cap::CORNER, Stroke::new(stroke::HAIR, line), StrokeKind::Inside);
    let place = rect.center() - galley.size() / 2.0;
    painter.galley(place, galley, ink);
    rect.left()
}

/// The width that [`key_cap`] takes.
pub fn key_cap_width(painter: &Painter, key: &str) -> f32 {
    (theme::line(painter, key, theme::tiny(), Color32::WHITE).size().x + 2.0 * cap::PADDING).max(cap::SIZE)
}

/// A ring around what the keyboard has.
pub fn focus_ring(ui: &Ui, response: &Response, corner: u8, palette: &Palette) {
    if response.has_focus() {
        let ring = Stroke::new(stroke::FOCUS, palette.accent);
        ui.painter().rect_stroke(response.rect, CornerRadius::same(corner), ring, StrokeKind::Outside);
    }
}

/// A pill with a word and a figure: filters, the device.
pub struct Pill<'a> {
    /// The word.
    pub label: &'a str,
    /// What stands behind it, heavier.
    pub figure: Option<String>,
    /// It is chosen.
    pub selected: bool,
    /// It can be clicked.
    pub clickable: bool,
}

impl Pill<'_> {
    /// The width it takes.
    pub fn width(&self, painter: &Painter) -> f32 {
        let width = |words: &str, font| theme::line(painter, words, font, Color32::WHITE).size().x;
        let figure = self.figure.as_ref().map_or(0.0, |figure| width(figure, theme::strong_small()) + pill::GAP);
        2.0 * pill::PADDING + width(self.label, theme::text_small()) + figure
    }

    /// Draws it with its left edge's middle at `left`.
    pub fn show(self, ui: &mut Ui, left: Pos2) -> Response {
        let palette = theme::palette(ui.ctx());
        let painter = ui.painter().clone();
        let ink = if self.selected { palette.accent } else { palette.dim };
        let word = theme::line(&painter, self.label, theme::text_small(), ink);
        let figure_ink = if self.selected { palette.accent } else { palette.text };
        let figure = self.figure.as_ref().map(|f| theme::line(&painter, f, theme::strong_small(), figure_ink));
        let width = self.width(&painter);
        let rect = Rect::from_min_size(pos2(left.x, left.y - pill::HEIGHT / 2.0), vec2(width, pill::HEIGHT));
        let sense = if self.clickable { Sense::click() } else { Sense::hover() };
        let response = ui.interact(rect, ui.scope_id().with(("pill", self.label)), sense);
        let name = self.figure.map_or(self.label.to_owned(), |figure| format!("{} {figure}", self.label));
        let (role, selected) = (if self.clickable { Role::Button } else { Role::Label }, self.selected);
        response.widget_info(|| {
            if self.clickable {
                WidgetInfo::selected(role, true, selected, &name)
            } else {
                WidgetInfo::labeled(role, true, &name)
            }
        });

        let hovered = self.clickable && response.hovered();
        let (fill, line) = match (self.selected, hovered) {
            (true, _) => (palette.accent_quiet, palette.accent_quiet),
            (false, true) => (palette.raised, palette.faint),
            (false, false) => (Color32::TRANSPARENT, palette.line),
        };
        let corner = CornerRadius::same(radius::PILL);
        painter.rect(rect, corner, fill, Stroke::new(stroke::HAIR, line), StrokeKind::Inside);
        let top = |height: f32| rect.center().y - height / 2.0;
        let start = rect.left() + pill::PADDING;
        painter.galley(pos2(start, top(word.size().y)), word.clone(), ink);
        if let Some(figure) = figure {
            painter.galley(pos2(start + word.size().x + pill::GAP, top(figure.size().y)), figure, figure_ink);
        }
        focus_ring(ui, &response, radius::PILL, palette);
        if self.clickable { response.on_hover_cursor(egui::CursorIcon::PointingHand) } else { response }
    }
}

/// One choice of a row of segments.
pub struct Segment<'a> {
    /// What it says.
    pub label: &'a str,
    /// Its name for people who do not see where it stands.
    pub name: String,
    /// It is chosen.
    pub selected: bool,
    /// Struck through, with the reason as tooltip.
    pub unavailable: Option<&'a str>,
    /// The tooltip.
    pub tooltip: String,
}

/// The width that [`segments`] takes.
pub fn segments_width(painter: &Painter, segments: &[Segment]) -> f32 {
    segments.iter().map(|segment| segment_width(painter, segment.label)).sum()
}

fn segment_width(painter: &Painter, label: &str) -> f32 {
    theme::line(painter, label, theme::text_small(), Color32::WHITE).size().x + 2.0 * control::PADDING
}

/// Choices side by side, one of them chosen. Gives the place of the one that was clicked.
pub fn segments(ui: &mut Ui, left: Pos2, segments: &[Segment]) -> Option<usize> {
    let palette = theme::palette(ui.ctx());
    let painter = ui.painter().clone();
    let width = segments_width(&painter, segments);
    let whole = Rect::from_min_size(pos2(left.x, left.y - size::CONTROL / 2.0), vec2(width, size::CONTROL));
    let corner = CornerRadius::same(radius::CONTROL);
    painter.rect_filled(whole, corner, palette.field);

    let mut clicked = None;
    let mut x = whole.left();
    for (place, segment) in segments.iter().enumerate() {
        let rect = Rect::from_x_y_ranges(x..=x + segment_width(&painter, segment.label), whole.y_range());
        x = rect.right();
        let enabled = segment.unavailable.is_none();
        let sense = if enabled { Sense::click() } else { Sense::hover() };
        let response = ui.interact(rect, ui.scope_id().with(("segment", &segment.name)), sense);
        response.widget_info(|| WidgetInfo::selected(Role::RadioButton, enabled, segment.selected, &segment.name));
        if response.clicked() {
            clicked = Some(place);
        }
        draw_segment(&painter, rect, segment, response.hovered() && enabled, palette);
        if place > 0 {
            painter.vline(rect.left(), rect.y_range(), Stroke::new(stroke::HAIR, palette.line));
        }
        focus_ring(ui, &response, radius::CONTROL, palette);
        let tooltip = segment.unavailable.unwrap_or(&segment.tooltip);
        if !tooltip.is_empty() {
            response.on_hover_text(tooltip);
        }
    }
    painter.rect_stroke(whole, corner, Stroke::new(stroke::HAIR, palette.line), StrokeKind::Inside);
    clicked
}

fn draw_segment(painter: &Painter, rect: Rect, segment: &Segment, hovered: bool, palette: &Palette) {
    if segment.selected {
        painter.rect_filled(rect.shrink(1.0), CornerRadius::same(radius::CONTROL), palette.raised);
    }
    let ink = match (segment.unavailable.is_some(), segment.selected || hovered) {
        (true, _) => palette.faint,
        (false, true) => palette.text,
        (false, false) => palette.dim,
    };
    let words = centred(painter, rect.center(), segment.label, theme::text_small(), ink);
    if segment.unavailable.is_some() {
        painter.hline(words.x_range(), words.center().y + 0.5, Stroke::new(stroke::HAIR, ink));
    }
}

/// A button that shows a choice and opens a list of others.
pub struct Dropdown<'a> {
    /// What is chosen.
    pub label: &'a str,
    /// What is chosen here: `Output explained`.
    pub name: &'a str,
    /// The tooltip.
    pub tooltip: &'a str,
    /// Greyed, and the list does not open.
    pub enabled: bool,
}

/// The width that a [`Dropdown`] takes.
pub fn dropdown_width(painter: &Painter, label: &str) -> f32 {
    theme::line(painter, label, theme::text_small(), Color32::WHITE).size().x + control::PADDING + control::ARROW
}

impl Dropdown<'_> {
    /// Draws it with its left edge's middle at `left`; `list` draws the rows.
    pub fn show<R>(self, ui: &mut Ui, left: Pos2, list: impl FnOnce(&mut Ui) -> R) -> Option<R> {
        let palette = theme::palette(ui.ctx());
        let painter = ui.painter().clone();
        let width = dropdown_width(&painter, self.label);
        let rect = Rect::from_min_size(pos2(left.x, left.y - size::CONTROL / 2.0), vec2(width, size::CONTROL));
        let sense = if self.enabled { Sense::click() } else { Sense::hover() };
        let response = ui.interact(rect, ui.scope_id().with(("dropdown", self.name)), sense);
        let name = format!("{}: {}", self.name, self.label);
        response.widget_info(|| WidgetInfo::labeled(Role::Button, self.enabled, &name));
        let open = egui::Popup::is_id_open(ui.ctx(), egui::Popup::default_response_id(&response));
        let line = match (open, response.hovered() && self.enabled) {
            (true, _) => palette.accent,
            (false, true) => palette.faint,
            (false, false) => palette.line,
        };
        let corner = CornerRadius::same(radius::CONTROL);
        painter.rect(rect, corner, palette.field, Stroke::new(stroke::HAIR, line), StrokeKind::Inside);
        let ink = if self.enabled { palette.text } else { palette.faint };
        let galley = theme::line(&painter, self.label, theme::text_small(), ink);
        painter.galley(pos2(rect.left() + control::PADDING, rect.center().y - galley.size().y / 2.0), galley, ink);
        chevron(&painter, pos2(rect.right() - control::ARROW_MIDDLE, rect.center().y + 0.5), palette.dim);
        focus_ring(ui, &response, radius::CONTROL, palette);

        let popup = egui::Popup::menu(&response).gap(menu::GAP).show(list);
        if popup.is_none() && !self.tooltip.is_empty() {
            response.on_hover_text(self.tooltip);
        }
        popup.map(|popup| popup.inner)
    }
}

/// A small arrow that says: a list opens here.
pub fn chevron(painter: &Painter, centre: Pos2, ink: Color32) {
    let (x, y) = (control::ARROW_REACH, control::ARROW_REACH / 2.0);
    let points = vec![centre + vec2(-x, -y), centre + vec2(0.0, y), centre + vec2(x, -y)];
    painter.line(points, Stroke::new(stroke::SIGN, ink));
}

/// A row of a list that opens, as wide as the list: a tick, a name, what explains it, a key. Gives whether it was clicked.
pub fn menu_row(ui: &mut Ui, label: &str, explains: &str, key: Option<&str>, ticked: bool) -> bool {
    let palette = theme::palette(ui.ctx());
    let painter = ui.painter().clone();
    let name = theme::line(&painter, label, theme::text(), palette.text);
    let note = theme::line(&painter, explains, theme::small(), palette.dim);
    let height = if explains.is_empty() { menu::ROW } else { menu::TALL_ROW };
    let width = ui.available_width();
    let (rect, response) = ui.allocate_exact_size(vec2(width, height), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::MenuItemRadio, true, ticked, label));
    let painter = ui.painter();
    if response.hovered() || response.has_focus() {
        painter.rect_filled(rect, CornerRadius::same(radius::CHIP), palette.accent_quiet);
    }
    if ticked {
        tick(painter, pos2(rect.left() + menu::TICK, rect.center().y), palette.accent);
    }
    let text_left = rect.left() + menu::TEXT;
    if explains.is_empty() {
        painter.galley(pos2(text_left, rect.center().y - name.size().y / 2.0), name, palette.text);
    } else {
        painter.galley(pos2(text_left, rect.top() + menu::LINES[0]), name, palette.text);
        painter.galley(pos2(text_left, rect.top() + menu::LINES[1]), note, palette.dim);
    }
    if let Some(key) = key {
        key_cap(painter, pos2(rect.right() - 2.0 * STEP, rect.center().y), key, palette.dim, palette.line);
    }
    response.clicked()
}

/// A tick.
pub fn tick(painter: &Painter, centre: Pos2, ink: Color32) {
    let points = vec![centre + vec2(-4.0, 0.0), centre + vec2(-1.2, 3.0), centre + vec2(4.2, -3.2)];
    painter.line(points, Stroke::new(stroke::TICK, ink));
}

/// A slider from 0 to 1, `width` wide, its left end's middle at `left`. Gives the value it was moved to.
pub fn slider(ui: &mut Ui, left: Pos2, width: f32, value: f32, name: &str) -> (Response, Option<f32>) {
    let palette = theme::palette(ui.ctx());
    let rect = Rect::from_min_size(pos2(left.x, left.y - size::CONTROL / 2.0), vec2(width, size::CONTROL));
    let mut response = ui.interact(rect, ui.scope_id().with(("slider", name)), Sense::click_and_drag());
    let rail = rect.shrink2(vec2(control::KNOB, 0.0));
    let mut moved = response
        .interact_pointer_pos()
        .filter(|_| response.dragged() || response.clicked() || response.is_pointer_button_down_on())
        .map(|pointer| ((pointer.x - rail.left()) / rail.width()).clamp(0.0, 1.0));
    moved = moved.or_else(|| slider_from_assistive(ui, response.id, value));
    if moved.is_some() {
        response.mark_changed();
    }
    response.widget_info(|| WidgetInfo::slider(true, f64::from(value), name));
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_min_numeric_value(0.0);
        node.set_max_numeric_value(1.0);
        node.set_numeric_value_step(0.1);
        node.add_action(egui::accesskit::Action::SetValue);
        node.add_action(egui::accesskit::Action::Increment);
        node.add_action(egui::accesskit::Action::Decrement);
    });

    let painter = ui.painter();
    let knob = pos2(rail.left() + rail.width() * moved.unwrap_or(value), rail.center().y);
    let bar = |from: f32, to: f32| {
        Rect::from_x_y_ranges(from..=to, knob.y - control::RAIL / 2.0..=knob.y + control::RAIL / 2.0)
    };
    painter.rect_filled(bar(rect.left(), rect.right()), CornerRadius::same(2), palette.line);
    painter.rect_filled(bar(rect.left(), knob.x), CornerRadius::same(2), palette.accent);
    let grown = if response.hovered() || response.dragged() { 1.0 } else { 0.0 };
    painter.circle(knob, control::KNOB + grown, palette.knob, Stroke::new(stroke::TICK, palette.panel));
    focus_ring(ui, &response, radius::CONTROL, palette);
    (response.on_hover_cursor(egui::CursorIcon::PointingHand), moved)
}

/// What a screen reader asks of a slider.
fn slider_from_assistive(ui: &Ui, id: Id, value: f32) -> Option<f32> {
    use egui::accesskit::{Action, ActionData};
    ui.input(|input| {
        let steps = input.num_accesskit_action_requests(id, Action::Increment) as f32
            - input.num_accesskit_action_requests(id, Action::Decrement) as f32;
        let set = input.accesskit_action_requests(id, Action::SetValue).find_map(|request| match request.data {
            Some(ActionData::NumericValue(value)) => Some(value as f32),
            _ => None,
        });
        set.or((steps != 0.0).then_some(value + 0.1 * steps)).map(|value| value.clamp(0.0, 1.0))
    })
}

/// A bar that fills.
pub fn progress_bar(painter: &Painter, rect: Rect, share: f32, palette: &Palette) {
    let corner = CornerRadius::same(2);
    painter.rect_filled(rect, corner, palette.line);
    let done = Rect::from_min_size(rect.min, vec2(rect.width() * share.clamp(0.0, 1.0), rect.height()));
    painter.rect_filled(done, corner, palette.accent);
}

/// A hairline along an edge.
pub fn hairline(painter: &Painter, from: Pos2, to: Pos2, ink: Color32) {
    painter.line_segment([from, to], Stroke::new(stroke::HAIR, ink));
}

/// A button that is only a key: `?`.
pub fn key_button(ui: &mut Ui, right: Pos2, key: &str, name: &str) -> Response {
    let palette = theme::palette(ui.ctx());
    let width = key_cap_width(ui.painter(), key);
    let rect = Rect::from_center_size(pos2(right.x - width / 2.0, right.y), vec2(width, cap::SIZE));
    let response = ui.interact(rect.expand(STEP), ui.scope_id().with(("key", key)), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
    let line = if response.hovered() { palette.faint } else { palette.line };
    key_cap(ui.painter(), right, key, palette.dim, line);
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}
