//! The left section: the grade, whether it is referable, what is missing.

use egui::{Color32, CornerRadius, Mesh, Rect, Role, pos2, vec2};

use super::{Graded, Input, Section, bar, words};
use crate::grading::{Assessment, Grade};
use crate::viewer::theme::{self, Weight};
use crate::viewer::tokens::{self, dock, font, radius, size};
use crate::viewer::widgets;

/// Draws the section and gives the full width of the bar of referable.
pub fn show(section: &Section<'_>, input: &Input<'_>) -> Rect {
    let area = section.area;
    let chip = Rect::from_min_size(area.min, vec2(size::GRADE, size::GRADE));
    match input.graded {
        Graded::Shown(assessment) => graded(section, chip, assessment),
        Graded::Skipped(reason) => no_grade(section, chip, "Skipped", reason),
        Graded::Unavailable => no_grade(section, chip, "No grade", "no network is available"),
        Graded::Waiting => no_grade(section, chip, "Grading …", ""),
        Graded::None => no_grade(section, chip, "", ""),
    }
    let below = pos2(area.left(), chip.bottom() + 2.5 * tokens::STEP);
    let assessment = match input.graded {
        Graded::Shown(assessment) => Some(assessment),
        _ => None,
    };
    let track = referable(section, below, assessment);
    let caveat = section.lines(
        pos2(area.left(), track.bottom() + 1.5 * tokens::STEP),
        "retinopathy only, macular oedema not assessed",
        section.palette.dim,
        area.width(),
    );
    section.name(caveat, Role::Note, "Referable: retinopathy only, macular oedema not assessed");
    note(section, caveat.bottom() + 2.5 * tokens::STEP, &words::note(input.networks, assessment));
    track
}

/// Digit, name, and whether the networks agree.
fn graded(section: &Section<'_>, chip: Rect, assessment: &Assessment) {
    let grade = assessment.grade;
    let digit = theme::font_id(font::DIGIT, Weight::SemiBold);
    widgets::grade_chip(&section.painter, chip, Some(grade), radius::LARGE, digit);
    let colour = if assessment.networks_differ() { section.palette.warn } else { section.palette.dim };
    titles(section, chip, grade.name(), &words::agreement(assessment), colour);
    section.name(chip, Role::Heading, &format!("Grade {}: {}", grade.digit(), grade.name()));
}

/// An empty chip and why it is empty.
fn no_grade(section: &Section<'_>, chip: Rect, title: &str, reason: &str) {
    section.painter.rect_filled(chip, radius::LARGE, section.palette.field);
    titles(section, chip, title, reason, section.palette.dim);
    if !title.is_empty() {
        section.name(chip, Role::Heading, title);
    }
}

/// A line as large as the grade's name and a line that explains it, beside the chip; the whole explanation as tooltip.
fn titles(section: &Section<'_>, chip: Rect, title: &str, explains: &str, colour: Color32) {
    let left = chip.right() + 3.0 * tokens::STEP;
    let width = section.area.right() - left;
    let big = theme::font_id(font::TITLE, Weight::SemiBold);
    section.left(pos2(left, chip.top() + dock::TITLE_LINE), title, big, section.palette.text, width);
    let at = pos2(left, chip.bottom() - dock::AGREEMENT_LINE);
    section.left(at, explains, theme::small(), colour, width);
    if !explains.is_empty() {
        let place = Rect::from_min_max(pos2(left, chip.center().y), pos2(section.area.right(), chip.bottom()));
        section.name(place, Role::Label, explains).on_hover_text(explains);
    }
}

/// The bar of referable from `at` down; gives its full width.
fn referable(section: &Section<'_>, at: egui::Pos2, assessment: Option<&Assessment>) -> Rect {
    let palette = section.palette;
    let width = section.area.width().floor();
    let middle = at.y + dock::LINE / 2.0;
    section.left(pos2(at.x, middle), "Referable", theme::text(), palette.text, width);
    let top = (at.y + dock::LINE + tokens::STEP).round();
    let track = Rect::from_min_size(pos2(at.x.round(), top), vec2(width, dock::REFERABLE));
    section.painter.rect_filled(track, dock::BAR_CORNER, palette.field);
    let Some(probability) = assessment.map(|assessment| assessment.referable_probability) else { return track };
    let figure = format!("{} %", words::percent(probability));
    section.right(pos2(track.right(), middle), &figure, theme::strong(), palette.text);
    let filled = bar(track, probability);
    section.painter.add(gradient(filled));
    section.name(track, Role::Meter, &format!("Referable: {figure}"));
    track
}

/// From the colour of grade 2 to that of grade 3.
fn gradient(bar: Rect) -> Mesh {
    let [from, to] = [Grade::Moderate, Grade::Severe].map(tokens::grade);
    let mut mesh = Mesh::default();
    for (x, colour) in [(bar.left(), from), (bar.right(), to)] {
        mesh.colored_vertex(pos2(x, bar.top()), colour);
        mesh.colored_vertex(pos2(x, bar.bottom()), colour);
    }
    mesh.add_triangle(0, 1, 2);
    mesh.add_triangle(1, 2, 3);
    mesh
}

/// What is missing, quietly; cut to what fits, the whole as tooltip.
fn note(section: &Section<'_>, top: f32, words: &str) {
    let area = section.area;
    if words.is_empty() || top + dock::LINE > area.bottom() + dock::TOP {
        return;
    }
    let margin = 2.5 * tokens::STEP;
    let galley = theme::paragraph(&section.painter, words, section.palette.dim, area.width() - 2.0 * margin);
    let free = area.bottom() + dock::TOP - 2.0 * tokens::STEP - top;
    let height = (galley.size().y + 3.0 * tokens::STEP).min(free);
    let ground = Rect::from_min_size(pos2(area.left(), top), vec2(area.width(), height));
    section.painter.rect_filled(ground, CornerRadius::same(radius::CONTROL), section.palette.raised);
    let edge = Rect::from_min_size(ground.min, vec2(dock::NOTE_EDGE, height));
    section.painter.rect_filled(edge, CornerRadius { nw: 2, sw: 2, ne: 0, se: 0 }, section.palette.warn);
    let inside = ground.shrink2(vec2(0.0, 1.5 * tokens::STEP));
    let at = inside.min + vec2(margin, 0.0);
    section.painter.with_clip_rect(inside).galley(at, galley, section.palette.dim);
    section.name(ground, Role::Note, words).on_hover_text(words);
}
