//! A viewpoint and a photograph's geometry come in; where the photograph lies in a pane goes out. Pure.
//!
//! A viewpoint is kept in units of the field (its centre and radius), so that the same part of the retina stays in view when
//! the next photograph comes from another camera.

use crate::fundus::FieldOfView;

/// Most physical pixels per pixel of the original.
const CLOSEST: f64 = 32.0;
/// Furthest out, as a share of the fit.
const FURTHEST: f64 = 0.5;

/// What of a photograph its placement depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scene {
    /// Width and height of the original.
    pub size: [u32; 2],
    /// Its field.
    pub field: FieldOfView,
}

/// A pane's picture area, in physical pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Width and height.
    pub size: [f64; 2],
    /// Height of the title, which a fitted field leaves free.
    pub title: f64,
}

/// How close.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Zoom {
    /// The visible part of the field fills the pane.
    #[default]
    Fit,
    /// Physical pixels per radius of the field, looking at a point.
    At {
        /// The magnification.
        per_radius: f64,
        /// The point at the pane's middle: radii from the field's centre, x then y.
        centre: [f64; 2],
    },
}

/// Where a pane looks and how close.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Viewpoint(pub Zoom);

/// Where a photograph lies in a pane: `pane = origin + scale * original`, in physical pixels from the pane's upper left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Where the original's corner lies.
    pub origin: [f64; 2],
    /// Physical pixels per pixel of the original.
    pub scale: f64,
}

impl Placement {
    /// A point of the original in the pane.
    pub fn to_pane(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.origin[0] + self.scale * x, self.origin[1] + self.scale * y]
    }

    /// A point of the pane in the original.
    pub fn to_original(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [(x - self.origin[0]) / self.scale, (y - self.origin[1]) / self.scale]
    }

    /// The placement drawn: its origin on a grid of sixteenths of a pixel, which f32 holds exactly wherever a pane lies on a
    /// screen, so that two panes draw the same pixels; on whole pixels at 1:1, where pixels are drawn as they are.
    #[must_use]
    pub fn snapped(self) -> Self {
        let grid = if (self.scale - 1.0).abs() < 1e-9 { 1.0 } else { 16.0 };
        Self { origin: self.origin.map(|v| (v * grid).round() / grid), ..self }
    }
}

impl Scene {
    /// The part of the field's bounding square that lies inside the photograph: upper left, lower right. The whole photograph
    /// if the two do not meet.
    pub fn visible_field(&self) -> [[f64; 2]; 2] {
        let whole = [[0.0; 2], self.size.map(f64::from)];
        let FieldOfView { centre, radius } = self.field;
        let low = [0, 1].map(|i| (centre[i] - radius).max(0.0));
        let high = [0, 1].map(|i| (centre[i] + radius).min(whole[1][i]));
        if (0..2).all(|i| high[i] - low[i] >= 1.0) { [low, high] } else { whole }
    }

    /// The scale at which the visible field fills a pane.
    fn fit_scale(&self, frame: &Frame) -> f64 {
        let [low, high] = self.visible_field();
        let across = frame.size[0] / (high[0] - low[0]);
        let down = (frame.size[1] - frame.title).max(1.0) / (high[1] - low[1]);
        across.min(down)
    }

    /// The field in the middle of the pane, or just under the title where it is too high for that.
    fn fit(&self, frame: &Frame) -> Placement {
        let scale = self.fit_scale(frame);
        let [low, high] = self.visible_field();
        let left = (frame.size[0] - scale * (high[0] - low[0])) / 2.0;
        let top = ((frame.size[1] - scale * (high[1] - low[1])) / 2.0).max(frame.title);
        Placement { origin: [left - scale * low[0], top - scale * low[1]], scale }
    }

    /// The scales that a pane allows, from furthest to closest.
    fn scales(&self, frame: &Frame) -> [f64; 2] {
        let fit = self.fit_scale(frame);
        [(fit * FURTHEST).min(1.0), fit.max(CLOSEST)]
    }
}

impl Viewpoint {
    /// The visible part of the field fills the pane.
    pub const FIT: Self = Self(Zoom::Fit);

    /// Where the photograph lies.
    pub fn place(&self, scene: &Scene, frame: &Frame) -> Placement {
        match self.0 {
            Zoom::Fit => scene.fit(frame),
            Zoom::At { per_radius, centre } => {
                let FieldOfView { centre: middle, radius } = scene.field;
                let scale = per_radius / radius;
                let at = |i: usize| frame.size[i] / 2.0 - scale * (middle[i] + radius * centre[i]);
                Placement { origin: [at(0), at(1)], scale }
            }
        }
    }

    /// The viewpoint that gives a placement, as far as it keeps the pane's middle on the photograph.
    fn of(placement: Placement, scene: &Scene, frame: &Frame) -> Self {
        let FieldOfView { centre: middle, radius } = scene.field;
        let looked_at = placement.to_original(frame.size.map(|s| s / 2.0));
        let centre = [0, 1].map(|i| (looked_at[i].clamp(0.0, f64::from(scene.size[i])) - middle[i]) / radius);
        Self(Zoom::At { per_radius: placement.scale * radius, centre })
    }

    /// Moves the photograph by `delta` physical pixels.
    #[must_use]
    pub fn panned(&self, scene: &Scene, frame: &Frame, delta: [f64; 2]) -> Self {
        let Placement { origin, scale } = self.place(scene, frame);
        Self::of(Placement { origin: [origin[0] + delta[0], origin[1] + delta[1]], scale }, scene, frame)
    }

    /// Scales the photograph by `factor` with the point at `at` held fast; the factor is limited as [`Self::allowed`] says.
    #[must_use]
    pub fn zoomed(&self, scene: &Scene, frame: &Frame, at: [f64; 2], factor: f64) -> Self {
        let before = self.place(scene, frame);
        let held = before.to_original(at);
        let scale = before.scale * self.allowed(scene, frame, factor);
        Self::of(Placement { origin: [0, 1].map(|i| at[i] - scale * held[i]), scale }, scene, frame)
    }

    /// The factor nearest to `factor` that keeps the scale within its limits; 1 if it is outside them already and `factor`
    /// leads away.
    pub fn allowed(&self, scene: &Scene, frame: &Frame, factor: f64) -> f64 {
        let scale = self.place(scene, frame).scale;
        let [low, high] = scene.scales(frame);
        let wanted = (scale * factor).clamp(low.min(scale), high.max(scale));
        wanted / scale
    }
}

/// The viewpoints of the two panes and whether a gesture in one moves both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Viewpoints {
    views: [Viewpoint; 2],
    linked: bool,
}

impl Default for Viewpoints {
    fn default() -> Self {
        Self { views: [Viewpoint::FIT; 2], linked: true }
    }
}

impl Viewpoints {
    /// The viewpoint of a pane.
    pub fn of(&self, side: usize) -> Viewpoint {
        self.views[side % 2]
    }

    /// Whether the panes move together.
    pub fn linked(&self) -> bool {
        self.linked
    }

    /// Links or unlinks; either way each pane goes on looking where it looks, so that an offset made while unlinked is kept.
    pub fn set_linked(&mut self, linked: bool) {
        self.linked = linked;
    }

    /// Fits pane `side`, and the other if linked (which ends an offset).
    pub fn fit(&mut self, side: usize) {
        self.each(side, |_| Viewpoint::FIT);
    }

    /// Moves by `delta` physical pixels.
    pub fn pan(&mut self, side: usize, scene: &Scene, frame: &Frame, delta: [f64; 2]) {
        self.each(side, |view| view.panned(scene, frame, delta));
    }

    /// Scales by `factor` with the point at `at` held fast. Linked panes scale by the same factor: what is too much for one is
    /// done in neither.
    pub fn zoom(&mut self, side: usize, scene: &Scene, frame: &Frame, at: [f64; 2], factor: f64) {
        let mut limited = factor;
        self.each(side, |view| {
            limited = view.allowed(scene, frame, limited);
            view
        });
        self.each(side, |view| view.zoomed(scene, frame, at, limited));
    }

    /// Scales pane `side` to `scale` physical pixels per pixel of the original, a linked other by the same factor.
    pub fn zoom_to(&mut self, side: usize, scene: &Scene, frame: &Frame, at: [f64; 2], scale: f64) {
        let factor = scale / self.of(side).place(scene, frame).scale;
        self.zoom(side, scene, frame, at, factor);
    }

    fn each(&mut self, side: usize, mut change: impl FnMut(Viewpoint) -> Viewpoint) {
        for (index, view) in self.views.iter_mut().enumerate() {
            if self.linked || index == side {
                *view = change(*view);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The camera of `IDRiD_048`: a field cut at top and bottom.
    const CUT: Scene = Scene { size: [4288, 2848], field: FieldOfView { centre: [2000.0, 1424.0], radius: 1725.0 } };
    const FRAME: Frame = Frame { size: [690.0, 656.0], title: 36.0 };

    fn scenes() -> impl Strategy<Value = Scene> {
        (300_u32..6000, 300_u32..6000, 0.3..0.7_f64, 0.3..0.7_f64, 0.3..0.8_f64).prop_map(|(w, h, x, y, r)| Scene {
            size: [w, h],
            field: FieldOfView { centre: [x * f64::from(w), y * f64::from(h)], radius: r * f64::from(w.min(h)) },
        })
    }

    fn frames() -> impl Strategy<Value = Frame> {
        (80.0..3000.0_f64, 80.0..3000.0_f64).prop_map(|(w, h)| Frame { size: [w.floor(), h.floor()], title: 36.0 })
    }

    fn close(a: [f64; 2], b: [f64; 2], within: f64) -> bool {
        (0..2).all(|i| (a[i] - b[i]).abs() <= within)
    }

    #[test]
    fn fit_fills_the_width_with_the_field() {
        let placed = Viewpoint::FIT.place(&CUT, &FRAME);
        assert!((placed.scale - 0.2).abs() < 1e-12);
        assert!(close(placed.to_pane([275.0, 0.0]), [0.0, 43.2], 1e-9));
        assert!(close(placed.to_pane([3725.0, 2848.0]), [690.0, 612.8], 1e-9));
    }

    #[test]
    fn a_high_field_leaves_the_title_free() {
        let whole = Scene { size: [1000, 1000], field: FieldOfView { centre: [500.0, 500.0], radius: 500.0 } };
        let placed = Viewpoint::FIT.place(&whole, &FRAME);
        assert!(close(placed.to_pane([500.0, 0.0]), [345.0, 36.0], 1e-9));
        assert!(close(placed.to_pane([500.0, 1000.0]), [345.0, 656.0], 1e-9));
    }

    #[test]
    fn one_to_one_lies_on_whole_pixels() {
        let mut views = Viewpoints::default();
        views.zoom_to(0, &CUT, &FRAME, [300.3, 211.7], 1.0);
        let placed = views.of(0).place(&CUT, &FRAME).snapped();
        assert!((placed.scale - 1.0).abs() < 1e-9);
        assert!(placed.origin.iter().all(|v| v.fract() == 0.0));
    }

    #[test]
    fn unlinked_panes_move_alone_and_keep_their_offset_when_linked_again() {
        let mut views = Viewpoints::default();
        views.zoom(0, &CUT, &FRAME, [345.0, 328.0], 4.0);
        views.set_linked(false);
        views.pan(1, &CUT, &FRAME, [37.0, -21.0]);
        views.set_linked(true);
        views.pan(0, &CUT, &FRAME, [11.0, 5.0]);
        let [left, right] = [0, 1].map(|side| views.of(side).place(&CUT, &FRAME));
        assert!(close([right.origin[0] - left.origin[0], right.origin[1] - left.origin[1]], [37.0, -21.0], 1e-9));
        views.fit(1);
        assert_eq!(views, Viewpoints::default());
    }

    #[test]
    fn a_viewpoint_shows_the_same_retina_of_another_camera() {
        let seen = Viewpoint::FIT.zoomed(&CUT, &FRAME, [500.0, 200.0], 3.0);
        let half = Scene { size: [2144, 1424], field: FieldOfView { centre: [1000.0, 712.0], radius: 862.5 } };
        let middle = FRAME.size.map(|s| s / 2.0);
        let [one, other] = [CUT, half].map(|scene| {
            let at = seen.place(&scene, &FRAME).to_original(middle);
            [0, 1].map(|i| (at[i] - scene.field.centre[i]) / scene.field.radius)
        });
        assert!(close(one, other, 1e-12));
    }

    proptest! {
        #[test]
        fn fit_shows_all_of_the_visible_field_and_touches_two_edges(scene in scenes(), frame in frames()) {
            let placed = Viewpoint::FIT.place(&scene, &frame);
            let [low, high] = scene.visible_field().map(|p| placed.to_pane(p));
            prop_assert!(low[0] >= -1e-6 && low[1] >= frame.title - 1e-6);
            prop_assert!(high[0] <= frame.size[0] + 1e-6 && high[1] <= frame.size[1] + 1e-6);
            let free = (frame.size[0] - (high[0] - low[0])).min(frame.size[1] - frame.title - (high[1] - low[1]));
            prop_assert!(free.abs() < 1e-6);
        }

        #[test]
        fn zoom_holds_the_point_under_the_pointer(
            scene in scenes(), frame in frames(), x in 0.0..1.0_f64, y in 0.0..1.0_f64, factor in 0.1..10.0_f64,
        ) {
            let at = [x * frame.size[0], y * frame.size[1]];
            let before = Viewpoint::FIT.place(&scene, &frame).to_original(at);
            let zoomed = Viewpoint::FIT.zoomed(&scene, &frame, at, factor);
            let placed = zoomed.place(&scene, &frame);
            let middle = placed.to_original(frame.size.map(|s| s / 2.0));
            // A pane's middle stays on the photograph; where that binds, the point may move.
            let free = (0..2).all(|i| middle[i] > 1e-6 && middle[i] < f64::from(scene.size[i]) - 1e-6);
            prop_assert!(!free || close(placed.to_pane(before), at, 1e-6));
        }

        #[test]
        fn a_pan_and_its_opposite_end_where_they_began(
            scene in scenes(), frame in frames(), dx in -40.0..40.0_f64, dy in -40.0..40.0_f64,
        ) {
            let start = Viewpoint::FIT.zoomed(&scene, &frame, frame.size.map(|s| s / 2.0), 8.0);
            let back = start.panned(&scene, &frame, [dx, dy]).panned(&scene, &frame, [-dx, -dy]);
            let [one, other] = [start, back].map(|view| view.place(&scene, &frame).origin);
            prop_assert!(close(one, other, 1e-6) || scene.visible_field()[0].contains(&0.0));
        }

        #[test]
        fn linked_panes_never_part(scene in scenes(), frame in frames(), gestures in prop::collection::vec(
            (0_usize..2, 0.0..1.0_f64, 0.0..1.0_f64, 0.2..5.0_f64, -300.0..300.0_f64), 1..12,
        )) {
            let mut views = Viewpoints::default();
            for (side, x, y, factor, delta) in gestures {
                views.zoom(side, &scene, &frame, [x * frame.size[0], y * frame.size[1]], factor);
                views.pan(side, &scene, &frame, [delta, -delta / 2.0]);
                prop_assert_eq!(views.of(0), views.of(1));
            }
        }

        #[test]
        fn linked_panes_keep_the_ratio_of_their_scales(
            scene in scenes(), frame in frames(), first in 0.5..4.0_f64, factors in prop::collection::vec(0.1..10.0_f64, 1..8),
        ) {
            let middle = frame.size.map(|s| s / 2.0);
            let mut views = Viewpoints::default();
            views.set_linked(false);
            views.zoom(1, &scene, &frame, middle, first);
            views.set_linked(true);
            let ratio = |v: &Viewpoints| v.of(1).place(&scene, &frame).scale / v.of(0).place(&scene, &frame).scale;
            let kept = ratio(&views);
            for factor in factors {
                views.zoom(0, &scene, &frame, middle, factor);
                prop_assert!((ratio(&views) / kept - 1.0).abs() < 1e-9);
            }
        }
    }
}
