//! The colours of a map and what they mean, drawn at a pane's upper right corner.

use egui::{Align2, Color32, Mesh, Painter, Rect, pos2, vec2};

use crate::attribution::colormap::Colormap;
use crate::attribution::heatmap::Sign;
use crate::viewer::theme;
use crate::viewer::tokens::{self, Palette, pane};

/// Steps of the gradient.
const STEPS: usize = 48;

/// What a legend shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legend {
    /// The colours.
    pub colormap: Colormap,
    /// The evidence that is drawn.
    pub sign: Sign,
    /// The map is (nearly) zero.
    pub no_evidence: bool,
}

impl Legend {
    /// The evidence at the gradient's ends.
    fn ends(self) -> [f32; 2] {
        match self.sign {
            Sign::Both => [-1.0, 1.0],
            Sign::Positive => [0.0, 1.0],
            Sign::Negative => [-1.0, 0.0],
        }
    }

    /// The words under it, each with its place along the gradient.
    fn words(self) -> Vec<(f32, &'static str)> {
        if self.no_evidence {
            return vec![(1.0, "no evidence")];
        }
        match self.sign {
            Sign::Both => vec![(0.0, "against"), (0.5, "no evidence"), (1.0, "for")],
            Sign::Positive => vec![(0.0, "no evidence"), (1.0, "for")],
            Sign::Negative => vec![(0.0, "against"), (1.0, "no evidence")],
        }
    }

    /// For those who do not see it.
    pub fn description(self) -> String {
        let words: Vec<_> = self.words().into_iter().map(|(_, word)| word).collect();
        format!("Legend: {}", words.join(", "))
    }
}

/// Width of the legend in a pane.
pub fn width(pane_width: f32) -> f32 {
    (pane_width * pane::LEGEND_SHARE).clamp(pane::LEGEND_LEAST, pane::LEGEND_WIDTH).round()
}

/// Draws the legend, `width` wide, with its upper right corner at `corner` and gives the space it took.
pub fn paint(painter: &Painter, palette: &Palette, corner: egui::Pos2, width: f32, legend: Legend) -> Rect {
    let bar = Rect::from_min_size(corner - vec2(width, 0.0), vec2(width, pane::LEGEND_BAR));
    let baseline = bar.bottom() + tokens::STEP;
    let words = legend.words().into_iter().map(|(along, word)| {
        let galley = theme::line(painter, word, theme::tiny(), palette.on_view_dim);
        let x = bar.left() + along * (width - galley.size().x);
        (pos2(x, baseline), galley)
    });
    let mut words: Vec<_> = words.collect();
    // The middle's meaning is seen from the ends: it gives way where there is no room for all three.
    if words.windows(2).any(|pair| pair[0].0.x + pair[0].1.size().x + tokens::STEP > pair[1].0.x) {
        words.retain(|(at, galley)| at.x <= bar.left() || at.x + galley.size().x >= bar.right());
    }
    let ground = words
        .iter()
        .map(|(at, galley)| Rect::from_min_size(*at, galley.size()))
        .reduce(Rect::union)
        .map_or(bar, |text| if legend.no_evidence { text } else { text.union(bar) });
    painter.rect_filled(ground.expand(tokens::STEP), tokens::radius::CHIP, pane::plate(palette));
    if !legend.no_evidence {
        painter.add(gradient(bar, legend, palette.view));
    }
    for (at, galley) in words {
        painter.galley(at, galley, palette.on_view_dim);
    }
    ground
}

/// The colours as the overlay lays them over a dark ground.
fn gradient(bar: Rect, legend: Legend, ground: Color32) -> Mesh {
    let mut mesh = Mesh::default();
    let [low, high] = legend.ends();
    for step in 0..=STEPS {
        let along = step as f32 / STEPS as f32;
        let [r, g, b, a] = legend.colormap.rgba(low + along * (high - low)).map(|v| (v * 255.0).round() as u8);
        let colour = ground.blend(Color32::from_rgba_unmultiplied(r, g, b, a));
        let x = bar.left() + along * bar.width();
        mesh.colored_vertex(pos2(x, bar.top()), colour);
        mesh.colored_vertex(pos2(x, bar.bottom()), colour);
        if step > 0 {
            let corner = 2 * step as u32;
            mesh.add_triangle(corner - 2, corner - 1, corner);
            mesh.add_triangle(corner - 1, corner, corner + 1);
        }
    }
    mesh
}

/// A word with a plate behind it, so that it is read on any photograph.
pub fn plate(
    painter: &Painter,
    palette: &Palette,
    anchor: Align2,
    at: egui::Pos2,
    galley: std::sync::Arc<egui::Galley>,
) -> Rect {
    let place = anchor.anchor_size(at, galley.size());
    painter.rect_filled(place.expand2(pane::PLATE_MARGIN), tokens::radius::CHIP, pane::plate(palette));
    painter.galley(place.min, galley, palette.on_view);
    place
}
