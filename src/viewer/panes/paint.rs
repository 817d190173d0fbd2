//! Draws one pane: the photograph's pieces, the map, the other pane's cursor, and the words around them.

use egui::text::LayoutJob;
use egui::{
    Align2, Color32, CornerRadius, Id, Mesh, Painter, Pos2, Rect, Role, Sense, Shape, Stroke, StrokeKind, TextFormat,
    TextureId, Ui, WidgetInfo, pos2, vec2,
};

use super::legend::{self, Legend};
use super::overlay::Corner;
use super::tiles::Piece;
use super::{Asked, Input, MapState, Photograph, Placement, words};
use crate::viewer::tokens::{self, Palette, pane, radius};
use crate::viewer::{theme, widgets};

/// A pane's rectangle with what is needed to draw in it.
pub struct PanePainter<'a> {
    ui: &'a Ui,
    id: Id,
    painter: Painter,
    pane: Rect,
    palette: &'static Palette,
    pixels_per_point: f32,
}

impl<'a> PanePainter<'a> {
    /// Draws into `pane` and nowhere else.
    pub fn new(ui: &'a Ui, id: Id, pane: Rect) -> Self {
        Self {
            ui,
            id,
            painter: ui.painter_at(pane),
            pane,
            palette: theme::palette(ui.ctx()),
            pixels_per_point: ui.pixels_per_point(),
        }
    }

    /// What lies behind photographs.
    pub fn ground(&self) {
        self.painter.rect_filled(self.pane, CornerRadius::ZERO, self.palette.view);
    }

    /// The part of the original that is in view: upper left, lower right.
    pub fn view(&self, placement: &Placement) -> [[f64; 2]; 2] {
        let size = self.pane.size() * self.pixels_per_point;
        [placement.to_original([0.0, 0.0]), placement.to_original([f64::from(size.x), f64::from(size.y)])]
    }

    /// A point of the pane, in physical pixels, on the screen.
    fn on_screen(&self, [x, y]: [f64; 2]) -> Pos2 {
        let origin = self.pane.min * self.pixels_per_point;
        pos2(origin.x + x as f32, origin.y + y as f32) / self.pixels_per_point
    }

    /// The photograph.
    pub fn pieces(&self, placement: &Placement, pieces: &[Piece]) {
        for piece in pieces {
            let [low, high] = piece.part.map(|corner| {
                // Neighbouring tiles share this edge: both round it to the same sixteenth of a pixel.
                self.on_screen(placement.to_pane(corner).map(|v| (v * 16.0).round() / 16.0))
            });
            let uv = piece.uv.map(|[u, v]| pos2(u as f32, v as f32));
            let mut mesh = Mesh::with_texture(piece.texture);
            mesh.add_rect_with_uv(Rect::from_min_max(low, high), Rect::from_min_max(uv[0], uv[1]), Color32::WHITE);
            self.painter.add(Shape::mesh(mesh));
        }
    }

    /// The map, `opacity` in (0, 1].
    pub fn map(&self, placement: &Placement, texture: TextureId, shape: &[Corner], opacity: f32) {
        let tint = Color32::from_white_alpha((opacity * 255.0).round() as u8);
        let mut mesh = Mesh::with_texture(texture);
        for (point, uv) in shape {
            let pos = self.on_screen(placement.to_pane(*point));
            mesh.vertices.push(egui::epaint::Vertex { pos, uv: pos2(uv[0] as f32, uv[1] as f32), color: tint });
        }
        for corner in 2..shape.len() as u32 {
            mesh.add_triangle(0, corner - 1, corner);
        }
        self.painter.add(Shape::mesh(mesh));
    }

    /// Where the pointer of the other pane is.
    pub fn cursor(&self, at: [f64; 2]) {
        let middle = self.on_screen(at);
        let ring = |width: f32, colour: Color32| {
            self.painter.circle_stroke(middle, pane::CURSOR, Stroke::new(width, colour));
        };
        ring(pane::CURSOR_SHADOW, pane::plate(self.palette));
        ring(pane::CURSOR_LINE, self.palette.on_view);
        self.painter.circle_filled(middle, pane::CURSOR_DOT, self.palette.on_view);
    }

    /// The zoom, in the lower outer corner.
    pub fn zoom(&self, side: usize, words: &str) {
        let galley = theme::line(&self.painter, words, theme::small(), self.palette.on_view);
        let (anchor, at) = match side {
            0 => (Align2::LEFT_BOTTOM, self.pane.left_bottom() + vec2(pane::MARGIN, -pane::MARGIN)),
            _ => (Align2::RIGHT_BOTTOM, self.pane.right_bottom() - vec2(pane::MARGIN, pane::MARGIN)),
        };
        legend::plate(&self.painter, self.palette, anchor, at, galley);
    }

    /// The words of the first pane; `waited`: the photograph is long in coming.
    pub fn original(&self, input: &Input<'_>, waited: bool) {
        let size = match input.photograph {
            Photograph::None => {
                return self.note(Align2::CENTER_CENTER, None, "Open a folder or drop photographs here.");
            }
            Photograph::Waiting if waited => {
                self.note(Align2::CENTER_CENTER, None, "Reading the photograph …");
                None
            }
            Photograph::Waiting => None,
            Photograph::Skipped(reason) => {
                self.note(Align2::CENTER_CENTER, Some("Skipped"), reason);
                None
            }
            Photograph::Shown(picture) => Some(picture.size),
        };
        self.title(input.name, &words::identity(input.identity, size), 0.0);
    }

    /// The words of the second pane.
    pub fn explained(&self, input: &Input<'_>, no_evidence: bool) {
        if !matches!(input.photograph, Photograph::Shown(_) | Photograph::Waiting) {
            return;
        }
        let Asked { network, method, output, predicted } = input.asked;
        let corner = self.pane.right_top() + vec2(-pane::MARGIN, pane::MARGIN);
        let width = legend::width(self.pane.width());
        match input.map {
            MapState::Shown { failure, .. } => {
                let drawing = input.drawing;
                let legend = Legend { colormap: drawing.colormap, sign: drawing.heatmap.sign, no_evidence };
                let place = legend::paint(&self.painter, self.palette, corner, width, legend);
                self.name(place, Role::Legend, &legend.description());
                if let Some(reason) = failure {
                    self.note(Align2::CENTER_BOTTOM, Some("No finer map"), reason);
                }
            }
            MapState::Waiting => self.quiet(corner, "first overlay in a few seconds"),
            MapState::None(reason) => self.quiet(corner, reason),
            MapState::Failed(reason) => self.note(Align2::CENTER_BOTTOM, Some("No map"), reason),
        }
        let question = words::question(output, predicted);
        self.title(&question, &words::manner(output, method, network), width + pane::MARGIN);
    }

    /// A word in the legend's place.
    fn quiet(&self, corner: Pos2, words: &str) {
        let width = self.pane.width() / 2.0 - 2.0 * pane::MARGIN;
        let galley = theme::line_within(&self.painter, words, theme::small(), self.palette.on_view_dim, width);
        let place = legend::plate(&self.painter, self.palette, Align2::RIGHT_TOP, corner, galley);
        self.name(place, Role::Note, words);
    }

    /// A name and what explains it, in the upper left corner; `kept` points at the right are left free.
    fn title(&self, name: &str, rest: &str, kept: f32) {
        let mut job = LayoutJob::default();
        job.append(name, 0.0, TextFormat::simple(theme::small_strong(), self.palette.on_view));
        job.append(rest, pane::TITLE_GAP, TextFormat::simple(theme::small(), self.palette.on_view_dim));
        let width = (self.pane.width() - 2.0 * pane::MARGIN - kept).max(pane::LEGEND_LEAST);
        job.wrap = egui::text::TextWrapping::truncate_at_width(width);
        let galley = self.painter.layout_job(job);
        let at = self.pane.left_top() + vec2(pane::MARGIN, pane::MARGIN);
        legend::plate(&self.painter, self.palette, Align2::LEFT_TOP, at, galley);
    }

    /// A few lines in the middle or at the bottom.
    fn note(&self, anchor: Align2, heading: Option<&str>, words: &str) {
        let mut job = LayoutJob::default();
        if let Some(heading) = heading {
            job.append(heading, 0.0, TextFormat::simple(theme::strong(), self.palette.on_view));
            job.append("\n", 0.0, TextFormat::simple(theme::strong(), self.palette.on_view));
        }
        job.append(words, 0.0, TextFormat::simple(theme::text(), self.palette.on_view_dim));
        job.wrap.max_width = pane::NOTE_WIDTH.min(self.pane.width() - 4.0 * pane::MARGIN);
        job.halign = egui::Align::Center;
        let galley = self.painter.layout_job(job);
        let free = self.pane.shrink2(vec2(pane::MARGIN, pane::NOTE_BOTTOM));
        let place = anchor.align_size_within_rect(galley.size(), free);
        self.painter.rect_filled(place.expand(pane::MARGIN), radius::CONTROL, pane::plate(self.palette));
        self.painter.galley(place.center_top(), galley, self.palette.on_view);
        let name = heading.map_or(words.to_owned(), |heading| format!("{heading}: {words}"));
        self.name(place, Role::Note, &name);
    }

    /// Gives a part of the pane a name for those who do not see it.
    fn name(&self, place: Rect, role: Role, words: &str) {
        let response = self.ui.interact(place, self.id.with(words), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(role, true, words));
    }
}

/// The switch that links the panes, its lower edge's middle at `at`. True if it was clicked.
pub fn link_switch(ui: &Ui, id: Id, at: Pos2, linked: bool) -> bool {
    const KEY: &str = "L";
    let palette = theme::palette(ui.ctx());
    let painter = ui.painter();
    let (word, ink) = if linked { ("linked", palette.on_view) } else { ("unlinked", palette.on_view_dim) };
    let word = theme::line(painter, word, theme::small(), ink);
    let key = widgets::key_cap_width(painter, KEY);
    let size = vec2(word.size().x + key + pane::SWITCH_MARGINS, pane::SWITCH);
    let place = Align2::CENTER_BOTTOM.anchor_size(at, size);
    let response = ui.interact(place, id, Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Switch, true, linked, "Panes linked"));

    let edge = if response.hovered() || response.has_focus() { palette.accent } else { palette.on_view_line };
    painter.rect(place, radius::PILL, palette.on_view_raised, Stroke::new(1.0, edge), StrokeKind::Inside);
    let left = place.left_center() + vec2(3.0 * tokens::STEP, -word.size().y / 2.0);
    painter.galley(left, word, ink);
    let right = place.right_center() - vec2(2.0 * tokens::STEP, 0.0);
    widgets::key_cap(painter, right, KEY, palette.on_view_dim, palette.on_view_line);
    response.on_hover_text("Pan and zoom both panes together (L)").clicked()
}
