//! The list of commands comes in; the list of all keys goes out.

use egui::{Align2, Id, Rect, Sense, Ui, pos2, vec2};

use super::commands::{self, Entry, Group};
use super::palette;
use super::tokens::{Palette, STEP, font};
use super::{theme, widgets};

/// A column.
const COLUMN: f32 = 300.0;
/// A row.
const ROW: f32 = 24.0;
/// Between columns and at the edges.
const MARGIN: f32 = 24.0;

/// Draws it over everything else; false once it is to go.
pub fn show(ui: &Ui) -> bool {
    let colours = theme::palette(ui.ctx());
    let modal = egui::Modal::new(Id::unique("all keys")).frame(palette::frame(colours)).show(ui.ctx(), |ui| {
        let columns = [vec![Group::Cases], vec![Group::Map], vec![Group::View, Group::Window]];
        let height = columns.iter().map(|groups| column_height(groups)).fold(0.0, f32::max);
        let size = vec2(3.0 * COLUMN + 4.0 * MARGIN, height + 96.0);
        let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
        let painter = ui.painter();
        let title_font = theme::font_id(font::TITLE, theme::Weight::SemiBold);
        painter.text(rect.min + vec2(MARGIN, 34.0), Align2::LEFT_CENTER, "All keys", title_font, colours.text);
        let right = pos2(rect.right() - MARGIN, rect.top() + 34.0);
        let left = widgets::key_cap(painter, right, "Esc", colours.dim, colours.line);
        painter.text(pos2(left - 8.0, right.y), Align2::RIGHT_CENTER, "closes", theme::small(), colours.dim);
        for (place, groups) in columns.iter().enumerate() {
            let left = rect.left() + MARGIN + place as f32 * (COLUMN + MARGIN);
            let mut top = rect.top() + 60.0;
            for &group in groups {
                top = section(ui, pos2(left, top), group, colours) + 2.0 * STEP;
            }
        }
        let note = "0 to 4 and U are kept for the reader's own grade. The wheel zooms at the pointer, dragging pans, a double click fits.";
        let foot = pos2(rect.left() + MARGIN, rect.bottom() - 22.0);
        ui.painter().text(foot, Align2::LEFT_CENTER, note, theme::small(), colours.dim);
    });
    !modal.should_close()
}

fn with_keys(group: Group) -> impl Iterator<Item = &'static Entry> {
    commands::ALL.iter().filter(move |entry| entry.group == group && !entry.chords.is_empty())
}

fn column_height(groups: &[Group]) -> f32 {
    groups.iter().map(|&group| 30.0 + ROW * with_keys(group).count() as f32 + 2.0 * STEP).sum()
}

/// A heading and its keys. Gives the lower edge.
fn section(ui: &Ui, place: egui::Pos2, group: Group, colours: &Palette) -> f32 {
    let painter = ui.painter();
    let heading = pos2(place.x, place.y + 12.0);
    painter.text(heading, Align2::LEFT_CENTER, group.label(), theme::small_strong(), colours.dim);
    let mut top = place.y + 28.0;
    widgets::hairline(painter, pos2(place.x, top - 3.0), pos2(place.x + COLUMN, top - 3.0), colours.line);
    for entry in with_keys(group) {
        let row = Rect::from_min_size(pos2(place.x, top), vec2(COLUMN, ROW));
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
