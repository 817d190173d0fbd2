//! The list of commands comes in; the list of all keys goes out.

use egui::{Align2, Id, Rect, Sense, Ui, pos2, vec2};

use super::commands::{self, Entry, Group};
use super::palette;
use super::tokens::{Palette, STEP, float, font};
use super::{theme, widgets};

/// Draws it over everything else; false once it is to go.
pub fn show(ui: &Ui) -> bool {
    let colours = theme::palette(ui.ctx());
    let modal = egui::Modal::new(Id::unique("all keys")).frame(palette::frame(colours)).show(ui.ctx(), |ui| {
        let columns = [vec![Group::Cases], vec![Group::Map], vec![Group::View, Group::Window]];
        let height = columns.iter().map(|groups| column_height(groups)).fold(0.0, f32::max);
        let size = vec2(3.0 * float::KEYS + 4.0 * float::KEYS_MARGIN, height + 1.5 * float::KEYS_TITLE);
        let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
        let painter = ui.painter();
        let title_font = theme::font_id(font::TITLE, theme::Weight::SemiBold);
        painter.text(rect.min + vec2(float::KEYS_MARGIN, float::KEYS_TITLE / 2.0), Align2::LEFT_CENTER, "All keys", title_font, colours.text);
        let right = pos2(rect.right() - float::KEYS_MARGIN, rect.top() + float::KEYS_TITLE / 2.0);
        let left = widgets::key_cap(painter, right, "Esc", colours.dim, colours.line);
        painter.text(pos2(left - 2.0 * STEP, right.y), Align2::RIGHT_CENTER, "closes", theme::small(), colours.dim);
        for (place, groups) in columns.iter().enumerate() {
            let left = rect.left() + float::KEYS_MARGIN + place as f32 * (float::KEYS + float::KEYS_MARGIN);
            let mut top = rect.top() + float::KEYS_TITLE;
            for &group in groups {
                top = section(ui, pos2(left, top), group, colours) + 2.0 * STEP;
            }
        }
        let note = "0 to 4 and U are kept for the reader's own grade. The wheel zooms at the pointer, dragging pans, a double click fits.";
        let foot = pos2(rect.left() + float::KEYS_MARGIN, rect.bottom() - float::KEYS_MARGIN);
        ui.painter().text(foot, Align2::LEFT_CENTER, note, theme::small(), colours.dim);
    });
    !modal.should_close()
}

fn with_keys(group: Group) -> impl Iterator<Item = &'static Entry> {
    commands::ALL.iter().filter(move |entry| entry.group == group && !entry.chords.is_empty())
}

fn column_height(groups: &[Group]) -> f32 {
    groups
        .iter()
        .map(|&group| float::KEYS_HEADING + float::KEYS_ROW * with_keys(group).count() as f32 + 2.0 * STEP)
        .sum()
}

/// A heading and its keys. Gives the lower edge.
fn section(ui: &Ui, place: egui::Pos2, group: Group, colours: &Palette) -> f32 {
    let painter = ui.painter();
    let heading = pos2(place.x, place.y + float::KEYS_HEADING / 2.0 - STEP / 2.0);
    painter.text(heading, Align2::LEFT_CENTER, group.label(), theme::small_strong(), colours.dim);
    let mut top = place.y + float::KEYS_HEADING;
    widgets::hairline(painter, pos2(place.x, top - STEP), pos2(place.x + float::KEYS, top - STEP), colours.line);
    for entry in with_keys(group) {
        let row = Rect::from_min_size(pos2(place.x, top), vec2(float::KEYS, float::KEYS_ROW));
        let y = row.center().y;
        painter.text(pos2(row.left(), y), Align2::LEFT_CENTER, entry.name, theme::text_small(), colours.text);
        let mut right = row.right();
        for chord in entry.chords.iter().rev() {
            right = widgets::key_cap(painter, pos2(right, y), &chord.label(), colours.dim, colours.line) - STEP;
        }
        top = row.bottom();
    }
    top
}
