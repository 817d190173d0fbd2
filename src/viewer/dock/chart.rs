//! How the estimated error of the map has fallen with the gradients taken, on logarithmic axes, with the tolerance asked for.

use egui::{Align2, Pos2, Rect, Role, Shape, Stroke, pos2};

use super::{Section, words};
use crate::attribution::Refinement;
use crate::viewer::theme;
use crate::viewer::tokens::dock;

/// Logarithmic axes: gradients to the right, change upwards.
struct Axes {
    plot: Rect,
    x: [f64; 2],
    y: [f64; 2],
}

impl Axes {
    /// Axes that hold every refinement and the tolerance.
    fn new(plot: Rect, history: &[Refinement], tolerance: f64) -> Self {
        let changes = || history.iter().map(|refinement| refinement.map_change).chain([tolerance]);
        let range = |values: &mut dyn Iterator<Item = f64>, least: f64| {
            let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
            [low.ln(), high.max(low * least).ln()]
        };
        let mut gradients = history.iter().map(|refinement| refinement.gradient_evaluations as f64);
        // A decade and a half of change, two doublings of gradients at least: the line starts at the left and grows.
        Self { plot, x: range(&mut gradients, 4.0), y: range(&mut changes(), 30.0) }
    }

    fn at(&self, gradients: f64, change: f64) -> Pos2 {
        let along = |value: f64, [low, high]: [f64; 2]| ((value.ln() - low) / (high - low)) as f32;
        pos2(
            self.plot.left() + self.plot.width() * along(gradients, self.x),
            self.plot.bottom() - self.plot.height() * along(change, self.y),
        )
    }
}

/// Draws the chart into `area`.
pub fn show(section: &Section<'_>, area: Rect, history: &[Refinement], tolerance: f64) {
    let palette = section.palette;
    let history: Vec<Refinement> =
        history.iter().copied().filter(|r| r.map_change.is_finite() && r.map_change > 0.0).collect();
    let (Some(first), Some(last)) = (history.first(), history.last()) else { return };
    let plot = Rect::from_min_max(
        area.min + egui::vec2(dock::CHART_SIDE, dock::DOT + 1.0),
        area.max - egui::vec2(dock::CHART_RIGHT, dock::AXIS),
    );
    let axes = Axes::new(plot, &history, tolerance);

    let asked = axes.at(1.0, tolerance).y;
    let dashed = [pos2(area.left(), asked), pos2(area.right(), asked)];
    let stroke = Stroke::new(1.0, palette.ok);
    section.painter.extend(Shape::dashed_line(&dashed, stroke, dock::DASH, dock::DASH));
    let label = format!("{} asked", words::tolerance(tolerance));
    let label = theme::line(&section.painter, label, theme::tiny(), palette.ok);
    let top = asked + 2.0;
    section.painter.galley(pos2(area.right() - label.size().x, top), label.clone(), palette.ok);

    let points: Vec<Pos2> = history.iter().map(|r| axes.at(r.gradient_evaluations as f64, r.map_change)).collect();
    section.painter.line(points.clone(), Stroke::new(dock::CURVE, palette.accent));
    for point in &points {
        section.painter.circle_filled(*point, dock::DOT, palette.accent);
    }
    labels(section, &axes, &history, area.right() - label.size().x - dock::DASH);
    let description = format!(
        "Estimated error of the map: {} at {} gradients, {} at {} gradients, {} asked",
        words::share(first.map_change),
        first.gradient_evaluations,
        words::share(last.map_change),
        last.gradient_evaluations,
        words::tolerance(tolerance)
    );
    section.name(area, Role::GraphicsObject, &description).on_hover_text(description);
}

/// The gradients under the dots, from the last backwards as far as they do not touch; nothing beyond `right`.
fn labels(section: &Section<'_>, axes: &Axes, history: &[Refinement], right: f32) {
    let y = axes.plot.bottom() + dock::AXIS;
    let mut free = right;
    for (back, refinement) in history.iter().rev().enumerate() {
        let gradients = refinement.gradient_evaluations;
        let words = if back == 0 { format!("{gradients} gradients") } else { gradients.to_string() };
        let galley = theme::line(&section.painter, words, theme::tiny(), section.palette.faint);
        let x = axes.at(gradients as f64, 1.0).x;
        let at = Align2::CENTER_BOTTOM.anchor_size(pos2(x, y), galley.size());
        let left = at.left().min(free - galley.size().x);
        if left < section.area.left() {
            break;
        }
        free = left - dock::DASH;
        section.painter.galley(pos2(left, at.top()), galley, section.palette.faint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refinements_and_tolerance_lie_inside_the_plot() {
        let refined = |gradient_evaluations, map_change| Refinement { gradient_evaluations, map_change };
        let plot = Rect::from_min_max(pos2(10.0, 20.0), pos2(210.0, 60.0));
        for history in [vec![refined(5, 0.3)], vec![refined(5, 0.3), refined(9, 0.12), refined(257, 0.011)]] {
            let axes = Axes::new(plot, &history, 0.02);
            for r in &history {
                assert!(plot.expand(1e-3).contains(axes.at(r.gradient_evaluations as f64, r.map_change)));
            }
            assert!(plot.expand(1e-3).contains(axes.at(5.0, 0.02)));
        }
        let axes = Axes::new(plot, &[refined(5, 0.08), refined(10, 0.04), refined(20, 0.02)], 0.02);
        let [a, b, c] = [(5.0, 0.08), (10.0, 0.04), (20.0, 0.02)].map(|(x, y)| axes.at(x, y));
        assert!(((b - a) - (c - b)).length() < 1e-3, "halving is a straight line");
    }
}
