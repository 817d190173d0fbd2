//! The model comes in; the list of cases goes out: only the rows in view are drawn, only their thumbnails are asked for.

mod row;
mod thumbnails;

use egui::{Align2, Rect, Sense, Ui, UiBuilder, pos2, vec2};

use super::commands::{self, Command};
use super::model::{Model, OrderBy};
use super::tokens::{STEP, bar, control, list, menu, size};
use super::{theme, widgets};
use crate::session::CaseId;
use row::Row;
pub use thumbnails::Thumbnails;

/// Rows above and below the visible ones whose thumbnails are asked for as well.
const AHEAD: usize = 12;

/// What the list keeps between frames.
#[derive(Default)]
pub struct List {
    /// Its textures.
    pub thumbnails: Thumbnails,
    reveal: Option<CaseId>,
    wanted: Vec<CaseId>,
}

impl List {
    /// Scrolls to a row with the next frame.
    pub fn reveal(&mut self, case: CaseId) {
        self.reveal = Some(case);
    }

    /// Forgets the former list.
    pub fn clear(&mut self) {
        self.thumbnails.clear();
        self.wanted.clear();
    }

    /// Draws it into `rect`. Gives the thumbnails that are missing, when that has changed.
    pub fn show(&mut self, ui: &mut Ui, rect: Rect, model: &Model, commands: &mut Vec<Command>) -> Option<Vec<CaseId>> {
        header(ui, Rect::from_min_size(rect.min, vec2(rect.width(), list::HEADER)), model, commands);
        let rows = Rect::from_min_max(pos2(rect.left(), rect.top() + list::HEADER), rect.max);
        let shown = model.cases.shown();
        if shown.is_empty() {
            empty(ui, rows, model);
            return None;
        }
        let mut visible = 0..0;
        ui.scope_builder(UiBuilder::new().max_rect(rows), |ui| {
            ui.spacing_mut().item_spacing.y = 0.0;
            ui.shrink_clip_rect(rows);
            egui::ScrollArea::vertical().auto_shrink(false).show_viewport(ui, |ui, viewport| {
                ui.set_height(size::ROW * shown.len() as f32);
                let top = ui.max_rect().top();
                let row = |place: usize| {
                    let min = pos2(rows.left(), top + size::ROW * place as f32);
                    Rect::from_min_size(min, vec2(rows.width(), size::ROW))
                };
                if let Some(place) = self.reveal.take().and_then(|case| shown.iter().position(|&one| one == case)) {
                    ui.scroll_to_rect(row(place), None);
                }
                let first = (viewport.top() / size::ROW).max(0.0) as usize;
                let last = ((viewport.bottom() / size::ROW).ceil().max(0.0) as usize).min(shown.len());
                visible = first..last;
                for place in visible.clone() {
                    if let Some(&case) = shown.get(place) {
                        self.row(ui, row(place), case, model, commands);
                    }
                }
            });
        });
        self.want(shown, &visible)
    }

    fn row(&mut self, ui: &mut Ui, rect: Rect, case: CaseId, model: &Model, commands: &mut Vec<Command>) {
        let Some(entry) = model.cases.get(case) else { return };
        let response = ui.interact(rect, ui.scope_id().with(("row", case.0)), Sense::click());
        let palette = theme::palette(ui.ctx());
        let row = Row {
            entry,
            thumbnail: self.thumbnails.get(case),
            selected: model.selected == Some(case),
            ungraded: model.nothing_runs(),
        };
        row.describe(&response);
        row.paint(ui.painter(), rect, &response, palette);
        widgets::focus_ring(ui, &response, 0, palette);
        if response.clicked() {
            commands.push(Command::Select(case));
        }
        response.on_hover_text(row.tooltip());
    }

    /// The rows in view first, then those around them.
    fn want(&mut self, shown: &[CaseId], visible: &std::ops::Range<usize>) -> Option<Vec<CaseId>> {
        let around = visible.start.saturating_sub(AHEAD)..(visible.end + AHEAD).min(shown.len());
        let places = visible.clone().chain(visible.end..around.end).chain(around.start..visible.start);
        let missing = places.filter_map(|place| shown.get(place).copied());
        let missing: Vec<_> = missing.filter(|&case| !self.thumbnails.contains(case)).collect();
        // Fewer of those already asked for is no new wish.
        let news = missing.iter().any(|case| !self.wanted.contains(case));
        news.then(|| {
            self.wanted.clone_from(&missing);
            missing
        })
    }
}

fn header(ui: &mut Ui, rect: Rect, model: &Model, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui.ctx());
    let painter = ui.painter().clone();
    let shown = model.cases.shown();
    let place = model.selected.and_then(|case| shown.iter().position(|&one| one == case));
    let count = match place {
        Some(place) => format!("{} of {}", place + 1, shown.len()),
        None => shown.len().to_string(),
    };
    let right = pos2(rect.right() - list::MARGIN, rect.center().y);
    painter.text(right, Align2::RIGHT_CENTER, count, theme::small(), palette.dim);
    if rect.width() <= size::LIST_NARROW {
        return;
    }

    let label = match (model.cases.order_by(), model.cases.is_stale()) {
        (OrderBy::Name, _) => "By name",
        (OrderBy::Worst, false) => "Worst first",
        (OrderBy::Worst, true) => "Worst first, new results",
    };
    let galley = theme::line(&painter, label, theme::small(), palette.dim);
    let left = pos2(rect.left() + bar::MARGIN, rect.center().y - galley.size().y / 2.0);
    let area = Rect::from_min_size(left, galley.size() + vec2(4.0 * STEP, 0.0)).expand2(vec2(STEP, STEP));
    let response = ui.interact(area, ui.scope_id().with("order"), Sense::click());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Order: {label}")));
    let ink = if response.hovered() { palette.text } else { palette.dim };
    let chevron = pos2(left.x + galley.size().x + control::PADDING, rect.center().y);
    painter.galley_with_override_text_color(left, galley, ink);
    widgets::chevron(&painter, chevron, ink);
    if model.cases.is_stale() {
        painter.circle_filled(chevron + vec2(3.0 * STEP, 0.0), list::DOT, palette.accent);
    }
    egui::Popup::menu(&response).gap(STEP).show(|ui| {
        ui.set_width(menu::WIDTHS[0]);
        for order in [OrderBy::Name, OrderBy::Worst] {
            let Some(entry) = commands::entry(Command::Order(order)) else { continue };
            if widgets::menu_row(ui, entry.name, "", entry.key().as_deref(), model.cases.order_by() == order) {
                commands.push(entry.command);
            }
        }
    });
}

/// What stands where there are no rows.
fn empty(ui: &Ui, rect: Rect, model: &Model) {
    let words = if model.title.is_empty() {
        return;
    } else if model.cases.is_empty() {
        "No photographs here.\nOpen a folder (Ctrl+O) or drop photographs on the window."
    } else if model.cases.find().trim().is_empty() {
        "No case belongs to this filter."
    } else {
        "No case has such a name."
    };
    let palette = theme::palette(ui.ctx());
    let place = pos2(rect.left() + bar::MARGIN, rect.top() + 2.0 * STEP);
    let galley = theme::paragraph(ui.painter(), words, palette.dim, rect.width() - 2.0 * bar::MARGIN);
    ui.painter().galley(place, galley, palette.dim);
}
