//! A photograph, its map and how both are to be shown come in as plain data; two panes side by side go out: the original, and
//! the same with the map laid over it. Knows nothing of the app's state; keeps the view, the textures, and nothing else.
//!
//! Both panes draw the photograph by one path at the same place to a sixteenth of a physical pixel, so that they are equal
//! where no map is drawn.

mod adjustments;
mod legend;
mod overlay;
mod paint;
mod tiles;
mod viewpoint;
mod words;

use std::sync::Arc;

use egui::{CursorIcon, Id, Pos2, Rect, Role, Sense, Ui, Vec2, WidgetInfo, pos2};

pub use adjustments::Adjustments;
pub use legend::Legend;
pub use overlay::{Corner, shape};
pub use viewpoint::{Frame, Placement, Scene, Viewpoint, Viewpoints, Zoom};
pub use words::question;

use crate::attribution::Method;
use crate::attribution::colormap::Colormap;
use crate::attribution::heatmap::HeatmapSettings;
use crate::fundus::Identity;
use crate::grading::{Grade, Output};
use crate::nn::Network;
use crate::session::{Map, Picture};
use crate::viewer::theme;
use crate::viewer::tokens::pane;

/// Natural logarithm of the scale for each point that a wheel scrolls.
const WHEEL: f32 = 0.0028;
/// Waiting is shown when it has taken this long, in seconds.
const PATIENCE: f64 = 0.5;

/// The photograph of the case on screen.
#[derive(Clone, Copy, Debug)]
pub enum Photograph<'a> {
    /// No case is open.
    None,
    /// It is being read.
    Waiting,
    /// It was refused, and why.
    Skipped(&'a str),
    /// It is there.
    Shown(&'a Arc<Picture>),
}

/// The map of the case on screen.
#[derive(Clone, Copy, Debug)]
pub enum MapState<'a> {
    /// None will come, and why (no weights); quiet.
    None(&'a str),
    /// It is being computed.
    Waiting,
    /// It could not be made, and why.
    Failed(&'a str),
    /// The latest refinement.
    Shown {
        /// It.
        map: &'a Map,
        /// Why there is no finer one.
        failure: Option<&'a str>,
    },
}

/// What the map explains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// The network explained.
    pub network: Network,
    /// How.
    pub method: Method,
    /// What of it.
    pub output: Output,
    /// That network's own grade, once known: what `Target::Predicted` stands for.
    pub predicted: Option<Grade>,
}

/// How a map is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawing {
    /// From raw map to evidence.
    pub heatmap: HeatmapSettings,
    /// Its colours.
    pub colormap: Colormap,
    /// 0 (nothing) to 1.
    pub opacity: f32,
}

/// All that the panes show.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The case's name, as in the list: `IDRiD_048`. Another name is another case.
    pub name: &'a str,
    /// Whose eye.
    pub identity: &'a Identity,
    /// The photograph.
    pub photograph: Photograph<'a>,
    /// What the map explains.
    pub asked: Asked,
    /// The map.
    pub map: MapState<'a>,
    /// How it is drawn.
    pub drawing: Drawing,
    /// How the photograph is shown.
    pub adjustments: Adjustments,
}

/// What came of showing the panes.
#[derive(Clone, Copy, Debug)]
pub struct Response {
    /// The panes on screen, in points: the original, then the overlay.
    pub panes: [Rect; 2],
    /// Where the photograph lies in each, if it is shown.
    pub placements: Option<[Placement; 2]>,
    /// The map is drawn, and it is (nearly) zero.
    pub no_evidence: bool,
    /// A pane is closer than the picture's finest level is sharp.
    pub magnified: bool,
}

/// The panes' own state: where they look, and textures.
#[derive(Default)]
pub struct Panes {
    views: Viewpoints,
    tiles: tiles::Tiles,
    overlay: overlay::Overlay,
    /// The pane that commands by key go to: the one the pointer was in last.
    active: usize,
    /// What commands by key need to know of the frame before.
    last: Option<Last>,
    /// Since when the photograph is waited for, by egui's clock.
    waiting_since: Option<f64>,
}

#[derive(Clone, Copy)]
struct Last {
    scene: Scene,
    frame: Frame,
    pointer: Option<[f64; 2]>,
}

/// The two panes of an area: equally wide, on whole physical pixels, a hairline between them.
pub fn split(area: Rect, pixels_per_point: f32) -> [Rect; 2] {
    let [left, top] = [area.left(), area.top()].map(|edge| (edge * pixels_per_point).ceil());
    let [right, bottom] = [area.right(), area.bottom()].map(|edge| (edge * pixels_per_point).floor());
    let gap = (pane::GAP * pixels_per_point).round().max(1.0);
    let width = ((right - left - gap) / 2.0).floor().max(1.0);
    let at = |x: f32| {
        let corners = [pos2(x, top), pos2(x + width, bottom.max(top + 1.0))];
        Rect::from_min_max(corners[0] / pixels_per_point, corners[1] / pixels_per_point)
    };
    [at(left), at(right - width)]
}

impl Panes {
    /// Fits the field: the pane the pointer was in last, and the other if linked.
    pub fn fit(&mut self) {
        self.views.fit(self.active);
    }

    /// One pixel of the photograph on one pixel of the screen, about the pointer if it is over a pane, else about the middle.
    pub fn one_to_one(&mut self) {
        if let Some(Last { scene, frame, pointer }) = self.last {
            let at = pointer.unwrap_or(frame.size.map(|s| s / 2.0));
            self.views.zoom_to(self.active, &scene, &frame, at, 1.0);
        }
    }

    /// Scales about the pointer if it is over a pane, else about the middle.
    pub fn zoom_by(&mut self, factor: f64) {
        if let Some(Last { scene, frame, pointer }) = self.last {
            let at = pointer.unwrap_or(frame.size.map(|s| s / 2.0));
            self.views.zoom(self.active, &scene, &frame, at, factor);
        }
    }

    /// Looks further in a direction, by a share of the pane: x to the right, y down.
    pub fn pan_by(&mut self, share: [f64; 2]) {
        if let Some(Last { scene, frame, .. }) = self.last {
            let delta = [0, 1].map(|i| -share[i] * frame.size[i]);
            self.views.pan(self.active, &scene, &frame, delta);
        }
    }

    /// Whether a gesture in one pane moves both.
    pub fn linked(&self) -> bool {
        self.views.linked()
    }

    /// Links or unlinks the panes; an offset between them is kept until the next fit.
    pub fn set_linked(&mut self, linked: bool) {
        self.views.set_linked(linked);
    }

    /// Draws both panes over all that is left of `ui` and follows the pointer.
    pub fn show(&mut self, ui: &mut Ui, input: &Input<'_>) -> Response {
        let area = ui.available_rect_before_wrap();
        let panes = split(area, ui.pixels_per_point());
        let id = ui.scope_id().with("panes");
        ui.advance_cursor_after_rect(area);
        self.wait(ui, input);
        ui.painter().rect_filled(area, 0.0, theme::palette(ui.ctx()).on_view_line);

        let scene = match input.photograph {
            Photograph::Shown(picture) => Some(Scene { size: picture.size, field: picture.field }),
            _ => None,
        };
        let responses = [0, 1].map(|side| {
            let response = ui.interact(panes[side], id.with(side), Sense::CLICK | Sense::DRAG);
            response.widget_info(|| WidgetInfo::labeled(Role::Image, true, description(input, side)));
            response
        });
        let frame = frame_of(panes[0], ui.pixels_per_point());
        if let Some(scene) = scene {
            for (side, response) in responses.iter().enumerate() {
                self.follow(ui, side, response, &scene, &frame);
            }
        }
        let pointer = responses.iter().enumerate().find_map(|(side, response)| {
            response.hover_pos().map(|at| (side, in_pane(at, panes[side], ui.pixels_per_point())))
        });
        self.last = scene.map(|scene| Last { scene, frame, pointer: pointer.map(|(_, at)| at) });

        let placements = scene.map(|scene| [0, 1].map(|side| self.views.of(side).place(&scene, &frame).snapped()));
        self.paint(ui, input, panes, placements, pointer);
        self.link_switch(ui, id.with("link"), panes);
        let no_evidence = matches!(input.map, MapState::Shown { .. }) && self.overlay.no_evidence();
        let magnified = match (input.photograph, placements) {
            (Photograph::Shown(picture), Some(placements)) => {
                placements.iter().any(|placement| tiles::magnified(picture, placement.scale))
            }
            _ => false,
        };
        Response { panes, placements, no_evidence, magnified }
    }

    /// Notes how long the photograph has been waited for.
    fn wait(&mut self, ui: &Ui, input: &Input<'_>) {
        let now = ui.input(|i| i.time);
        self.waiting_since = match input.photograph {
            Photograph::Waiting => {
                let since = self.waiting_since.unwrap_or(now);
                if now - since < PATIENCE {
                    ui.ctx().request_repaint_after_secs((PATIENCE - (now - since)) as f32);
                }
                Some(since)
            }
            _ => None,
        };
    }

    /// Zooms at the pointer, pans with it; a double click goes from fit to 1:1 and back.
    fn follow(&mut self, ui: &Ui, side: usize, response: &egui::Response, scene: &Scene, frame: &Frame) {
        let pixels_per_point = ui.pixels_per_point();
        if response.contains_pointer() || response.dragged() {
            self.active = side;
        }
        if response.dragged() {
            let delta = response.drag_delta() * pixels_per_point;
            if delta != Vec2::ZERO {
                self.views.pan(side, scene, frame, [f64::from(delta.x), f64::from(delta.y)]);
            }
            ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
        } else if response.hovered() {
            ui.ctx().set_cursor_icon(CursorIcon::Crosshair);
        }
        let Some(at) = response.hover_pos().map(|at| in_pane(at, response.rect, pixels_per_point)) else { return };
        let (scrolled, pinched) = ui.input(|i| (i.smooth_scroll_delta().y, i.zoom_delta()));
        let factor = f64::from((scrolled * WHEEL).exp() * pinched);
        if (factor - 1.0).abs() > f64::EPSILON {
            self.views.zoom(side, scene, frame, at, factor);
        }
        if response.double_clicked() {
            if self.views.of(side) == Viewpoint::FIT {
                self.views.zoom_to(side, scene, frame, at, 1.0);
            } else {
                self.views.fit(side);
            }
        }
    }

    /// The switch between the panes.
    fn link_switch(&mut self, ui: &Ui, id: Id, panes: [Rect; 2]) {
        let middle = pos2(panes[0].right().midpoint(panes[1].left()), panes[0].bottom() - pane::MARGIN);
        if paint::link_switch(ui, id, middle, self.linked()) {
            self.set_linked(!self.linked());
        }
    }

    fn paint(
        &mut self,
        ui: &Ui,
        input: &Input<'_>,
        panes: [Rect; 2],
        placements: Option<[Placement; 2]>,
        pointer: Option<(usize, [f64; 2])>,
    ) {
        let id = ui.scope_id().with("words");
        let painters = [0, 1].map(|side| paint::PanePainter::new(ui, id.with(side), panes[side]));
        for painter in &painters {
            painter.ground();
        }
        if let (Photograph::Shown(picture), Some(placements)) = (input.photograph, placements) {
            self.photograph(ui, &painters, input, picture, &placements);
            if let Some((side, at)) = pointer {
                let other = 1 - side;
                painters[other].cursor(placements[other].to_pane(placements[side].to_original(at)));
            }
            for (side, painter) in painters.iter().enumerate() {
                let fitted = self.views.of(side) == Viewpoint::FIT;
                painter.zoom(side, &words::zoom(fitted, placements[side].scale, &input.adjustments));
            }
        }
        let waited = self.waiting_since.is_some_and(|since| ui.input(|i| i.time) - since >= PATIENCE);
        painters[0].original(input, waited);
        painters[1].explained(input, self.overlay.no_evidence());
    }

    /// The photograph in both panes, the map over it in the second.
    fn photograph(
        &mut self,
        ui: &Ui,
        painters: &[paint::PanePainter<'_>; 2],
        input: &Input<'_>,
        picture: &Arc<Picture>,
        placements: &[Placement; 2],
    ) {
        let context = ui.ctx();
        self.tiles.begin();
        for (painter, placement) in painters.iter().zip(placements) {
            let view = painter.view(placement);
            let pieces = self.tiles.pieces(context, picture, input.adjustments, view, placement.scale);
            painter.pieces(placement, &pieces);
        }
        if self.tiles.end() {
            context.request_repaint();
        }
        if let MapState::Shown { map, .. } = input.map {
            let texture = self.overlay.texture(context, map, &input.drawing.heatmap, input.drawing.colormap);
            if let Some(texture) = texture.filter(|_| input.drawing.opacity > 0.0) {
                let side = map.attribution.shape.first().copied().unwrap_or(1);
                let shape = shape(picture.size, &picture.field, &map.pixel_map, side);
                painters[1].map(&placements[1], texture, &shape, input.drawing.opacity);
            }
        }
    }
}

/// What a pane shows, for those who do not see it.
fn description(input: &Input<'_>, side: usize) -> String {
    if side == 0 {
        format!("Original: {}, {}", input.name, words::identity(input.identity, None))
    } else {
        let Asked { network, method, output, predicted } = input.asked;
        format!("Map: {} {}", words::question(output, predicted), words::manner(output, method, network))
    }
}

/// A pane's picture area in physical pixels.
fn frame_of(pane: Rect, pixels_per_point: f32) -> Frame {
    let size = [pane.width(), pane.height()].map(|length| f64::from((length * pixels_per_point).round()));
    Frame { size, title: f64::from(pane::TITLE * pixels_per_point).min(size[1] / 4.0) }
}

/// A point of the screen in a pane's physical pixels.
fn in_pane(at: Pos2, pane: Rect, pixels_per_point: f32) -> [f64; 2] {
    let offset = (at - pane.min) * pixels_per_point;
    [f64::from(offset.x), f64::from(offset.y)]
}

#[cfg(test)]
mod tests {
    use egui::vec2;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn panes_are_equally_wide_and_on_whole_pixels(
            x in 0.0..500.0_f32, y in 0.0..100.0_f32, w in 100.0..3000.0_f32, h in 50.0..2000.0_f32, scale in 1_u32..9,
        ) {
            let pixels_per_point = scale as f32 / 4.0 + 0.75;
            let area = Rect::from_min_size(pos2(x, y), vec2(w, h));
            let [left, right] = split(area, pixels_per_point);
            for edge in [left.left(), left.right(), right.left(), right.right(), left.top(), left.bottom()] {
                let physical = edge * pixels_per_point;
                prop_assert!((physical - physical.round()).abs() < 2e-3, "{physical}");
            }
            let widths = [left, right].map(|pane| (pane.width() * pixels_per_point).round());
            prop_assert!((widths[0] - widths[1]).abs() < 0.5);
            prop_assert!(left.right() < right.left());
            prop_assert!(area.expand(1e-3).contains_rect(left.union(right)));
        }
    }
}
