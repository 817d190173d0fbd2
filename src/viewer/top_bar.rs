//! The model comes in; the bar at the top goes out: what is open, find and filters, device and networks.

use egui::{Align2, Id, Rect, Role, Sense, Stroke, StrokeKind, Ui, UiBuilder, WidgetInfo, pos2, vec2};

use super::commands::{self, Command};
use super::model::{Filter, Model};
use super::theme;
use super::tokens::{STEP, bar, control, font, menu, radius, size, stroke};
use super::widgets::{self, Pill};
use crate::nn::Network;
use crate::session::NetworkState;

/// The id of the search field, for whoever gives it the cursor.
pub fn find_id() -> Id {
    Id::unique("find a case")
}

/// The search field's text while it is edited.
#[derive(Default)]
pub struct TopBar {
    find: String,
}

impl TopBar {
    /// Draws it into `rect`; gives the text looked for when it has changed.
    pub fn show(&mut self, ui: &mut Ui, rect: Rect, model: &Model, commands: &mut Vec<Command>) -> Option<String> {
        let left = title(ui, rect, model, commands) + 4.0 * STEP;
        let right = state(ui, rect, model, commands) - 2.0 * STEP;
        let pills = Filter::ALL.map(|filter| filter_pill(filter, model));
        let pills_width: f32 = pills.iter().map(|pill| pill.width(ui.painter()) + 2.0 * STEP).sum();
        let field = (right - left - pills_width).clamp(bar::FIND_LEAST, size::FIND);
        let width = field + pills_width;
        // In the middle of the window, unless what stands at the sides needs the room.
        let start = (rect.center().x - width / 2.0).min(right - width).max(left);
        let y = rect.center().y;
        let place = Rect::from_min_size(pos2(start, y - size::CONTROL / 2.0), vec2(field, size::CONTROL));
        let changed = self.find(ui, place, model, commands);
        let mut x = place.right() + 2.0 * STEP;
        for (filter, pill) in Filter::ALL.into_iter().zip(pills) {
            let response = pill.show(ui, pos2(x, y));
            x = response.rect.right() + 2.0 * STEP;
            if response.clicked() {
                commands.push(Command::Filter(filter));
            }
            response.on_hover_text(commands::tooltip(Command::Filter(filter)));
        }
        changed
    }

    fn find(&mut self, ui: &mut Ui, rect: Rect, model: &Model, commands: &mut Vec<Command>) -> Option<String> {
        let palette = theme::palette(ui.ctx());
        let focused = ui.memory(|memory| memory.has_focus(find_id()));
        let line = if focused { palette.accent } else { palette.line };
        ui.painter().rect(rect, radius::CONTROL, palette.field, Stroke::new(stroke::HAIR, line), StrokeKind::Inside);
        if !focused {
            model.cases.find().clone_into(&mut self.find);
        }
        let inner = rect.shrink2(vec2(control::PADDING, 0.0)).with_max_x(rect.right() - bar::FIND_END);
        let response = ui
            .scope_builder(UiBuilder::new().max_rect(inner), |ui| {
                let edit = egui::TextEdit::singleline(&mut self.find)
                    .id(find_id())
                    .frame(egui::Frame::NONE)
                    .font(theme::text_small())
                    .hint_text(egui::RichText::new("Find a case …").color(palette.faint))
                    .desired_width(inner.width())
                    .align(egui::Align2::LEFT_CENTER)
                    .min_size(vec2(inner.width(), rect.height()));
                ui.add(edit)
            })
            .inner
            .accessible_name("Find a case");
        if response.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter)) {
            commands.extend(model.cases.shown().first().map(|&case| Command::Select(case)));
        }
        let left = response.has_focus() || response.lost_focus();
        if left && ui.input(|input| input.key_pressed(egui::Key::Escape)) {
            self.find.clear();
            response.surrender_focus();
        }
        if !focused && self.find.is_empty() {
            let right = pos2(rect.right() - 2.0 * STEP, rect.center().y);
            widgets::key_cap(ui.painter(), right, "/", palette.dim, palette.line);
        } else if !self.find.is_empty() {
            self.clear_button(ui, rect);
        }
        (self.find != model.cases.find()).then(|| self.find.clone())
    }

    fn clear_button(&mut self, ui: &Ui, rect: Rect) {
        let palette = theme::palette(ui.ctx());
        let centre = pos2(rect.right() - bar::FIND_END / 2.0, rect.center().y);
        let area = Rect::from_center_size(centre, vec2(bar::FIND_END, size::CONTROL));
        let response = ui.interact(area, ui.scope_id().with("clear"), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Show all names again"));
        let ink = if response.hovered() { palette.text } else { palette.dim };
        for slope in [1.0, -1.0] {
            let reach = vec2(control::ARROW_REACH, control::ARROW_REACH * slope);
            let ends = [centre - reach, centre + reach];
            ui.painter().line_segment(ends, Stroke::new(stroke::SIGN, ink));
        }
        if response.clicked() {
            self.find.clear();
        }
    }
}

/// The program's name and what is open, a list of what else could be. Gives its right edge.
fn title(ui: &mut Ui, rect: Rect, model: &Model, commands: &mut Vec<Command>) -> f32 {
    let palette = theme::palette(ui.ctx());
    let painter = ui.painter().clone();
    let name_font = theme::font_id(font::NAME, theme::Weight::SemiBold);
    let left = pos2(rect.left() + bar::MARGIN, rect.center().y);
    let name = painter.text(left, Align2::LEFT_CENTER, "DiaRet", name_font, palette.text);

    let count = match model.cases.len() {
        1 => "1 photograph".to_owned(),
        count => format!("{count} photographs"),
    };
    let words = match (model.title.is_empty(), &model.notice) {
        (true, None) => "Opening …".to_owned(),
        (true, Some(_)) => "Nothing is open".to_owned(),
        (false, _) => format!("{} · {count}", capital(&model.title)),
    };
    let width = (rect.width() * bar::TITLE[0]).max(bar::TITLE[1]);
    let galley = theme::line_within(&painter, words.as_str(), theme::text_small(), palette.dim, width);
    let place = pos2(name.right() + bar::WORD, rect.center().y - galley.size().y / 2.0);
    let area = Rect::from_min_size(place, galley.size() + vec2(5.0 * STEP, 0.0)).expand2(vec2(STEP, STEP));
    let response = ui.interact(area, ui.scope_id().with("open"), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Open: {words}")));
    if response.hovered() {
        painter.rect_filled(area, radius::CONTROL, palette.raised);
    }
    let chevron = pos2(place.x + galley.size().x + bar::WORD, rect.center().y);
    painter.galley(place, galley, palette.dim);
    widgets::chevron(&painter, chevron, palette.dim);
    widgets::focus_ring(ui, &response, radius::CONTROL, palette);
    egui::Popup::menu(&response).gap(STEP).show(|ui| {
        ui.set_width(menu::WIDTHS[2]);
        for command in [Command::OpenFolder, Command::OpenFiles, Command::OpenSamples] {
            let Some(entry) = commands::entry(command) else { continue };
            if widgets::menu_row(ui, entry.name, entry.explains, entry.key().as_deref(), false) {
                commands.push(command);
            }
        }
    });
    area.right()
}

fn filter_pill(filter: Filter, model: &Model) -> Pill<'static> {
    Pill {
        label: filter.label(),
        figure: Some(model.cases.count(filter).to_string()),
        selected: model.cases.filter() == filter,
        clickable: true,
    }
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Device, networks, help. Gives its left edge.
fn state(ui: &mut Ui, rect: Rect, model: &Model, commands: &mut Vec<Command>) -> f32 {
    let right = pos2(rect.right() - bar::MARGIN, rect.center().y);
    let help = widgets::key_button(ui, right, "?", "All keys");
    if help.clicked() {
        commands.push(Command::Help);
    }
    let mut x = help.rect.left() - STEP;
    help.on_hover_text(commands::tooltip(Command::Help));

    let ready = model.ready().count();
    let figure = format!("{ready} of {}", Network::ALL.len());
    let networks = Pill { label: "Networks", figure: Some(figure), selected: false, clickable: false };
    x = pill_to_the_left(ui, x, rect.center().y, networks, &networks_in_words(model));
    if let Some(device) = &model.device {
        let device = Pill { label: device, figure: None, selected: false, clickable: false };
        x = pill_to_the_left(ui, x, rect.center().y, device, "Where the networks run");
    }
    x
}

fn pill_to_the_left(ui: &mut Ui, right: f32, y: f32, pill: Pill, tooltip: &str) -> f32 {
    let width = pill.width(ui.painter());
    let response = pill.show(ui, pos2(right - width, y));
    let left = response.rect.left() - 2.0 * STEP;
    response.on_hover_text(tooltip);
    left
}

fn networks_in_words(model: &Model) -> String {
    let words = Network::ALL.into_iter().map(|network| {
        let state = match model.networks.get(&network) {
            Some(NetworkState::Ready) => "ready",
            Some(NetworkState::Unavailable(why)) => why.as_str(),
            Some(NetworkState::Loading) | None => "reading its weights",
        };
        format!("{}: {state}", network.label())
    });
    words.collect::<Vec<_>>().join("\n")
}
