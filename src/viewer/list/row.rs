//! One row of the list: thumbnail, name, eye and grade, the mark where networks differ.

use egui::{Color32, CornerRadius, Painter, Pos2, Rect, Response, Role, Stroke, TextureId, WidgetInfo, pos2, vec2};

use crate::fundus::Laterality;
use crate::viewer::model::{Entry, Outcome};
use crate::viewer::tokens::{Palette, STEP, font, list, radius, size, stroke};
use crate::viewer::{theme, widgets};

/// Everything a row shows.
pub struct Row<'a> {
    /// The file.
    pub entry: &'a Entry,
    /// Its thumbnail, once there.
    pub thumbnail: Option<TextureId>,
    /// It is on screen.
    pub selected: bool,
    /// No network runs: what has no grade will have none.
    pub ungraded: bool,
}

impl Row<'_> {
    /// Draws it into `rect`, in a narrow list thumbnail and chip alone; `response` is that of the whole row.
    pub fn paint(&self, painter: &Painter, rect: Rect, response: &Response, palette: &Palette) {
        if self.selected {
            painter.rect_filled(rect, CornerRadius::ZERO, palette.raised);
            let bar = Rect::from_min_size(rect.min, vec2(list::BAR, rect.height()));
            painter.rect_filled(bar, CornerRadius::ZERO, palette.accent);
        } else if response.hovered() {
            painter.rect_filled(rect, CornerRadius::ZERO, palette.raised.gamma_multiply(0.55));
        }
        self.paint_thumbnail(painter, pos2(rect.left() + list::THUMBNAIL, rect.center().y), palette);
        let skipped = self.entry.skipped().is_some();
        let left = rect.left() + list::TEXT;
        let width = rect.right() - list::MARGIN - size::CHIP - 2.0 * STEP - left;
        self.paint_chip(painter, rect, palette);
        if width <= 0.0 {
            return;
        }
        let ink = if skipped { palette.dim } else { palette.text };
        let name_font = theme::font_id(font::TEXT, theme::Weight::Medium);
        let name = theme::line_within(painter, self.entry.name.as_str(), name_font, ink, width);
        painter.galley(pos2(left, rect.center().y + list::LINES[0] - name.size().y / 2.0), name, ink);
        let detail = theme::line_within(painter, self.detail(), theme::small(), palette.dim, width);
        painter.galley(pos2(left, rect.center().y + list::LINES[1] - detail.size().y / 2.0), detail, palette.dim);
    }

    /// `L · Moderate NPDR`.
    fn detail(&self) -> String {
        let eye = self.entry.case.identity.eye.map(|eye| match eye {
            Laterality::Right => "R",
            Laterality::Left => "L",
        });
        let outcome = match &self.entry.outcome {
            Outcome::Waiting if self.ungraded => "not graded",
            Outcome::Waiting => "…",
            Outcome::Assessed(assessment) => assessment.grade.name(),
            Outcome::Skipped(_) => "Skipped",
        };
        eye.into_iter().chain([outcome]).collect::<Vec<_>>().join(" · ")
    }

    fn paint_thumbnail(&self, painter: &Painter, centre: Pos2, palette: &Palette) {
        let radius = size::THUMBNAIL / 2.0;
        match self.thumbnail {
            Some(texture) => {
                // Cameras cut fields at top and bottom: what is missing is as dark as behind the photograph.
                painter.circle_filled(centre, radius - 0.5, palette.view);
                let rect = Rect::from_center_size(centre, vec2(size::THUMBNAIL, size::THUMBNAIL));
                let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
                painter.image(texture, rect, whole, Color32::WHITE);
            }
            None => {
                painter.circle(centre, radius - 0.5, palette.field, Stroke::new(stroke::HAIR, palette.line));
            }
        }
    }

    fn paint_chip(&self, painter: &Painter, rect: Rect, palette: &Palette) {
        let grade = match &self.entry.outcome {
            Outcome::Waiting => return,
            Outcome::Assessed(assessment) => Some(assessment.grade),
            Outcome::Skipped(_) => None,
        };
        let differ = self.entry.assessment().is_some_and(|assessment| assessment.networks_differ());
        let raise = if differ { list::MARK[0] } else { 0.0 };
        let centre = pos2(rect.right() - list::MARGIN - size::CHIP / 2.0, rect.center().y - raise);
        let chip = Rect::from_center_size(centre, vec2(size::CHIP, size::CHIP));
        widgets::grade_chip(painter, chip, grade, radius::CHIP, theme::strong());
        if differ {
            let mark = pos2(centre.x, chip.bottom() + list::MARK[1]);
            widgets::centred(painter, mark, "≠", theme::font_id(font::TEXT, theme::Weight::SemiBold), palette.warn);
        }
    }

    /// Name and role for people who do not see the row.
    pub fn describe(&self, response: &Response) {
        response.widget_info(|| {
            let mut words = vec![self.entry.name.clone()];
            words.extend(eye(self.entry).map(str::to_owned));
            words.push(match &self.entry.outcome {
                Outcome::Waiting => "not graded yet".to_owned(),
                Outcome::Assessed(assessment) => {
                    let differ = if assessment.networks_differ() { ", networks differ" } else { "" };
                    format!("grade {}, {}{differ}", assessment.grade.digit(), assessment.grade.name())
                }
                Outcome::Skipped(why) => format!("skipped: {why}"),
            });
            WidgetInfo::selected(Role::ListBoxOption, true, self.selected, words.join(", "))
        });
    }

    /// What a pointer that rests on the row is told.
    pub fn tooltip(&self) -> String {
        let path = self.entry.case.path.display();
        match &self.entry.outcome {
            Outcome::Skipped(why) => format!("Skipped: {why}"),
            Outcome::Assessed(assessment) if assessment.networks_differ() => {
                let words = assessment.networks.iter().filter_map(|(network, verdict)| match verdict {
                    crate::grading::Verdict::Graded(own) => {
                        Some(format!("{} says {}", network.label(), own.grade.name()))
                    }
                    crate::grading::Verdict::Unavailable { .. } => None,
                });
                format!("{path}\nNetworks differ: {}", words.collect::<Vec<_>>().join(", "))
            }
            _ => path.to_string(),
        }
    }
}

/// `left eye`.
fn eye(entry: &Entry) -> Option<&'static str> {
    entry.case.identity.eye.map(|eye| match eye {
        Laterality::Right => "right eye",
        Laterality::Left => "left eye",
    })
}
