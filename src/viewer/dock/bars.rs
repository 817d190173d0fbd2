//! The middle section: the probability of each grade, the consensus as a broad bar, each network as a thin one under it.

use egui::{Color32, Rect, Role, pos2, vec2};

use super::{Graded, Input, Section, words};
use crate::grading::{Assessment, Grade};
use crate::nn::Network;
use crate::viewer::theme::{self, Weight};
use crate::viewer::tokens::{self, dock, font, radius, size};
use crate::viewer::widgets;

/// The bars of one grade at full width, in points: a bar of probability p fills `p` of it from the left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// The empty part behind all of them.
    pub track: Rect,
    /// The consensus.
    pub consensus: Rect,
    /// Each network, in the order of [`Network::ALL`].
    pub networks: [Rect; 3],
}

impl Geometry {
    /// Bars on `track`; its left and right edges are theirs.
    pub fn new(track: Rect) -> Self {
        let slice = |top: f32, height: f32| {
            Rect::from_min_size(pos2(track.left(), track.top() + top), vec2(track.width(), height))
        };
        let thin = |place: usize| {
            let below = dock::BAR_TOP + dock::BROAD + dock::BAR_GAP;
            slice(below + place as f32 * (dock::THIN + dock::BAR_GAP), dock::THIN)
        };
        Self { track, consensus: slice(dock::BAR_TOP, dock::BROAD), networks: [thin(0), thin(1), thin(2)] }
    }
}

/// A bar of probability `probability` on its full width: exactly that share of it.
pub fn bar(full: Rect, probability: f64) -> Rect {
    Rect::from_min_size(full.min, vec2((f64::from(full.width()) * probability.clamp(0.0, 1.0)) as f32, full.height()))
}

/// The bars of the five grades in a section, the tracks on whole points.
pub fn geometry(area: Rect) -> [Geometry; 5] {
    let top = area.top() + dock::HEADING + dock::BARS_TOP;
    let pitch = ((area.bottom() - top) / 5.0).floor();
    let left = (area.left() + dock::LABELS).round();
    let right = (area.right() - dock::FIGURES).round().max(left + 1.0);
    std::array::from_fn(|row| {
        let middle = top + pitch * (row as f32 + 0.5);
        let height = dock::TRACK.min(pitch);
        let corner = pos2(left, (middle - height / 2.0).round());
        Geometry::new(Rect::from_min_size(corner, vec2(right - left, height)))
    })
}

/// Draws the section and gives where the bars are.
pub fn show(section: &Section<'_>, input: &Input<'_>) -> [Geometry; 5] {
    let whole = section.area.width() >= dock::BARS_ROOMY;
    let heading = section.heading(if whole { "Probability of each grade" } else { "Probability" });
    let assessment = match input.graded {
        Graded::Shown(assessment) => Some(assessment),
        _ => None,
    };
    let legend = legend(section, heading, assessment);
    let at = pos2(heading.right() + 1.5 * tokens::STEP, heading.center().y);
    let explains = theme::line(&section.painter, "%, uncalibrated", theme::small(), section.palette.faint);
    if at.x + explains.size().x + 2.0 * tokens::STEP <= legend {
        section.left(at, "%, uncalibrated", theme::small(), section.palette.faint, explains.size().x);
    }
    let rows = geometry(section.area);
    for (grade, bars) in Grade::ALL.into_iter().zip(&rows) {
        row(section, grade, bars, assessment);
    }
    rows
}

/// Which bar is which, at the heading's right; gives its left end. Only what is drawn is named.
fn legend(section: &Section<'_>, heading: Rect, assessment: Option<&Assessment>) -> f32 {
    let mut right = section.area.right();
    let short = section.area.width() < dock::BARS_NARROW;
    let label = |network: Network| if short { network.short_label() } else { network.label() };
    let drawn = spoken(assessment).into_iter().rev();
    let mut items: Vec<(&str, Color32)> =
        drawn.map(|network| (label(network), section.palette.network(network))).collect();
    if assessment.is_some() {
        items.push(("consensus", section.palette.consensus));
    }
    for (words, colour) in items {
        let y = heading.center().y;
        let left = section.right(pos2(right, y), words, theme::small(), section.palette.dim);
        let swatch = Rect::from_center_size(pos2(left - 2.5 * tokens::STEP, y), vec2(dock::SWATCH, dock::SWATCH));
        section.painter.rect_filled(swatch, dock::BAR_CORNER, colour);
        right = swatch.left() - 3.5 * tokens::STEP;
    }
    right
}

/// The networks that have spoken.
fn spoken(assessment: Option<&Assessment>) -> Vec<Network> {
    let all = Network::ALL.into_iter();
    all.filter(|network| assessment.is_some_and(|a| a.networks.get(network).is_some_and(|v| v.graded().is_some())))
        .collect()
}

fn row(section: &Section<'_>, grade: Grade, bars: &Geometry, assessment: Option<&Assessment>) {
    let (painter, palette) = (&section.painter, section.palette);
    let argmax = assessment.is_some_and(|assessment| assessment.grade == grade);
    let middle = bars.track.center().y;
    let chip = Rect::from_min_size(pos2(section.area.left(), middle - size::CHIP / 2.0), vec2(size::CHIP, size::CHIP));
    let digit = theme::font_id(font::SMALL, Weight::SemiBold);
    widgets::grade_chip(painter, chip, Some(grade), radius::CHIP, digit);
    let (font, colour) = if argmax { (theme::strong(), palette.text) } else { (theme::text(), palette.dim) };
    let label = pos2(chip.right() + 2.5 * tokens::STEP, middle);
    section.left(label, grade.short_name(), font.clone(), colour, bars.track.left() - label.x);
    painter.rect_filled(bars.track, dock::BAR_CORNER, palette.field);

    let name = grade.short_name();
    let Some(assessment) = assessment else { return };
    let Some(&probability) = assessment.probabilities.get(usize::from(grade.digit())) else { return };
    painter.rect_filled(bar(bars.consensus, probability), dock::BAR_END, palette.consensus);
    let mut said = vec![format!("{name}: consensus {} %", words::percent(probability))];
    for (network, place) in spoken(Some(assessment)).into_iter().zip(&bars.networks) {
        let verdict = assessment.networks.get(&network).and_then(|verdict| verdict.graded());
        let Some(&own) = verdict.and_then(|word| word.probabilities.get(usize::from(grade.digit()))) else { continue };
        painter.rect_filled(bar(*place, own), 0.0, palette.network(network));
        said.push(format!("{} {} %", network.label(), words::percent(own)));
    }
    let figure = words::percent(probability);
    section.right(pos2(section.area.right(), middle), &figure, font, colour);
    let whole = Rect::from_x_y_ranges(section.area.x_range(), bars.track.y_range());
    let said = said.join(", ");
    section.name(whole, Role::Meter, &said).on_hover_text(said);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bar_is_as_long_as_its_probability(left in 0.0..2000.0_f32, width in 1.0..2000.0_f32, p in 0.0..=1.0_f64) {
            let full = Rect::from_min_size(pos2(left, 10.0), vec2(width, 8.0));
            let drawn = bar(full, p);
            prop_assert!((f64::from(drawn.width()) - p * f64::from(width)).abs() < 1e-3);
            prop_assert_eq!(drawn.min, full.min);
        }

        #[test]
        fn all_bars_of_a_dock_have_the_same_full_width_and_do_not_overlap(
            x in 0.0..500.0_f32, y in 0.0..900.0_f32, w in 280.0..1500.0_f32,
        ) {
            let area = Rect::from_min_size(pos2(x, y), vec2(w, size::DOCK - 2.0 * dock::TOP));
            let rows = geometry(area);
            for pair in rows.windows(2) {
                prop_assert!(pair[0].track.bottom() <= pair[1].track.top());
            }
            for row in rows {
                prop_assert!(area.expand(1.0).contains_rect(row.track));
                let bars = [&[row.consensus], row.networks.as_slice()].concat();
                for bar in &bars {
                    prop_assert_eq!(bar.x_range(), rows[0].track.x_range());
                    prop_assert!(row.track.contains_rect(*bar));
                }
                for pair in bars.windows(2) {
                    prop_assert!(pair[0].bottom() <= pair[1].top());
                }
            }
        }
    }

    #[test]
    fn a_probability_outside_its_range_stays_on_the_track() {
        let full = Rect::from_min_size(pos2(3.0, 4.0), vec2(100.0, 8.0));
        assert!(bar(full, -0.2).width().abs() < 1e-6);
        assert!((bar(full, 1.7).width() - 100.0).abs() < 1e-4);
    }
}
