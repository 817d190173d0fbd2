//! The list of commands comes in; the command palette goes out: a few letters, Enter.

use egui::{Align2, Frame, Id, Key, Margin, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

use super::commands::{self, Command, Entry};
use super::tokens::{Palette as Colours, STEP, float, font, radius, stroke};
use super::{theme, widgets};

/// What a person has typed and where the choice stands.
#[derive(Default)]
pub struct Palette {
    words: String,
    chosen: usize,
    open: bool,
}

/// What came of showing it.
pub enum Answer {
    /// It stays.
    Open,
    /// It goes.
    Close,
    /// It goes, and this is done.
    Do(Command),
}

impl Palette {
    /// It is not on screen; it opens empty again.
    pub fn close(&mut self) {
        *self = Self::default();
    }

    /// Draws it over everything else.
    pub fn show(&mut self, ui: &Ui) -> Answer {
        let colours = theme::palette(ui.ctx());
        let found = matching(&self.words);
        let moved = ui.input_mut(|input| {
            let down = input.count_and_consume_key(egui::Modifiers::NONE, Key::ArrowDown) as isize;
            down - input.count_and_consume_key(egui::Modifiers::NONE, Key::ArrowUp) as isize
        });
        let last = found.len().saturating_sub(1);
        self.chosen = self.chosen.min(last).saturating_add_signed(moved).min(last);
        let entered = ui.input_mut(|input| input.consume_key(egui::Modifiers::NONE, Key::Enter));
        let mut answer = match found.get(self.chosen) {
            Some(entry) if entered => Answer::Do(entry.command),
            _ => Answer::Open,
        };
        let area = egui::Modal::default_area(Id::unique("command palette"))
            .anchor(Align2::CENTER_TOP, vec2(0.0, float::PALETTE_TOP));
        let modal =
            egui::Modal::new(Id::unique("command palette")).area(area).frame(frame(colours)).show(ui.ctx(), |ui| {
                ui.set_width(float::PALETTE);
                ui.spacing_mut().item_spacing.y = 0.0;
                self.field(ui, colours);
                if let Some(command) = self.rows(ui, &found, moved != 0, colours) {
                    answer = Answer::Do(command);
                }
            });
        if modal.should_close() && matches!(answer, Answer::Open) { Answer::Close } else { answer }
    }

    fn field(&mut self, ui: &mut Ui, colours: &Colours) {
        let before = self.words.clone();
        let edit = egui::TextEdit::singleline(&mut self.words)
            .frame(Frame::new().inner_margin(Margin::symmetric(float::PALETTE_MARGIN as i8, 3 * STEP as i8)))
            .font(theme::font_id(font::NAME, theme::Weight::Regular))
            .hint_text(egui::RichText::new("What would you like to do?").color(colours.faint))
            .desired_width(float::PALETTE);
        let response = ui.add(edit).accessible_name("Find a command");
        if !self.open {
            response.request_focus();
            self.open = true;
        }
        if self.words != before {
            self.chosen = 0;
        }
        let line = response.rect;
        widgets::hairline(ui.painter(), line.left_bottom(), line.right_bottom(), colours.line);
    }

    fn rows(&mut self, ui: &mut Ui, found: &[&'static Entry], reveal: bool, colours: &Colours) -> Option<Command> {
        if found.is_empty() {
            let (rect, _) = ui.allocate_exact_size(vec2(float::PALETTE, 1.5 * float::PALETTE_ROW), Sense::hover());
            widgets::centred(ui.painter(), rect.center(), "No command has these words", theme::text(), colours.dim);
            return None;
        }
        let mut clicked = None;
        let height = float::PALETTE_ROW * float::PALETTE_ROWS.min(found.len()) as f32 + 2.0 * STEP;
        egui::ScrollArea::vertical().max_height(height).auto_shrink([false, true]).show(ui, |ui| {
            ui.add_space(STEP);
            for (place, entry) in found.iter().enumerate() {
                let (rect, response) = ui.allocate_exact_size(vec2(float::PALETTE, float::PALETTE_ROW), Sense::click());
                let chosen = place == self.chosen;
                response.widget_info(|| WidgetInfo::selected(Role::ListBoxOption, true, chosen, entry.name));
                if response.hovered() && ui.input(|input| input.pointer.delta() != egui::Vec2::ZERO) {
                    self.chosen = place;
                }
                draw(ui, rect, entry, chosen, colours);
                if chosen && reveal {
                    response.scroll_to_me(None);
                }
                if response.clicked() {
                    clicked = Some(entry.command);
                }
            }
            ui.add_space(STEP);
        });
        clicked
    }
}

/// The frame of what floats over the screen.
pub fn frame(colours: &Colours) -> Frame {
    Frame::new()
        .fill(colours.panel)
        .stroke(Stroke::new(stroke::HAIR, colours.line))
        .corner_radius(radius::LARGE)
        .shadow(egui::Shadow { offset: [0, 16], blur: 48, spread: 0, color: colours.shadow })
}

fn draw(ui: &Ui, rect: Rect, entry: &Entry, chosen: bool, colours: &Colours) {
    let painter = ui.painter();
    if chosen {
        painter.rect_filled(rect.shrink2(vec2(STEP, stroke::HAIR)), radius::CONTROL, colours.accent_quiet);
    }
    let y = rect.center().y;
    let group = theme::line(painter, entry.group.label(), theme::small(), colours.faint);
    painter.galley(pos2(rect.left() + float::PALETTE_MARGIN, y - group.size().y / 2.0), group, colours.faint);
    let name = painter.text(
        pos2(rect.left() + float::PALETTE_NAME, y),
        Align2::LEFT_CENTER,
        entry.name,
        theme::text(),
        colours.text,
    );
    let mut right = rect.right() - float::PALETTE_MARGIN;
    if let Some(key) = entry.key() {
        right = widgets::key_cap(painter, pos2(right, y), &key, colours.dim, colours.line) - 3.0 * STEP;
    }
    let left = name.right() + 3.0 * STEP;
    let note = theme::line_within(painter, entry.explains, theme::small(), colours.dim, (right - left).max(0.0));
    painter.galley(pos2(left, y - note.size().y / 2.0), note, colours.dim);
}

/// The commands that have every word typed somewhere in name, explanation or heading; where a name begins with them, first.
fn matching(words: &str) -> Vec<&'static Entry> {
    let words = words.trim().to_lowercase();
    let has_all = |entry: &&Entry| {
        let text = format!("{} {} {}", entry.name, entry.explains, entry.group.label()).to_lowercase();
        words.split_whitespace().all(|word| text.contains(word))
    };
    let mut found: Vec<_> =
        commands::ALL.iter().filter(has_all).filter(|entry| entry.command != Command::Palette).collect();
    found.sort_by_key(|entry| !entry.name.to_lowercase().starts_with(&words));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_find_commands_in_any_order() {
        let first = |words| matching(words).first().map(|entry| entry.command);
        assert_eq!(first("worst"), Some(Command::Order(crate::viewer::model::OrderBy::Worst)));
        assert_eq!(first("baseline black"), Some(Command::Baseline(crate::attribution::Baseline::Black)));
        assert_eq!(first("one to"), Some(Command::ActualSize));
        assert_eq!(first("no such command"), None);
        assert!(matching("").len() > 40);
    }
}
