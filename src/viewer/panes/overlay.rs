//! A map comes in; its texture and the shape it is drawn in go out: stretched over the field's square as its
//! [`PixelMap`] says, cut to the field's circle and to the photograph.

use std::sync::Arc;

use egui::{ColorImage, Context, TextureHandle, TextureId, TextureOptions};

use crate::attribution::colormap::Colormap;
use crate::attribution::heatmap::{Heatmap, HeatmapSettings};
use crate::attribution::{Attribution, overlay};
use crate::fundus::{FieldOfView, PixelMap};
use crate::session::Map;

/// Corners of the polygon that stands for the field's circle; it lies inside it, at most 1/3000 of the radius away.
const CORNERS: usize = 128;

/// What a texture was made of.
#[derive(Clone)]
struct Key {
    attribution: Arc<Attribution>,
    settings: HeatmapSettings,
    colormap: Colormap,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.attribution, &other.attribution)
            && self.settings == other.settings
            && self.colormap == other.colormap
    }
}

/// The map on screen as a texture; made anew only when the map or its settings change.
#[derive(Default)]
pub struct Overlay {
    key: Option<Key>,
    texture: Option<TextureHandle>,
    no_evidence: bool,
}

impl Overlay {
    /// The texture of `map`, `None` where nothing is to be drawn.
    pub fn texture(
        &mut self,
        context: &Context,
        map: &Map,
        settings: &HeatmapSettings,
        colormap: Colormap,
    ) -> Option<TextureId> {
        let key = Key { attribution: map.attribution.clone(), settings: *settings, colormap };
        if self.key.as_ref() != Some(&key) {
            self.make(context, map, &key);
            self.key = Some(key);
        }
        self.texture.as_ref().filter(|_| !self.no_evidence).map(TextureHandle::id)
    }

    /// Whether the map asked for last is (nearly) zero.
    pub fn no_evidence(&self) -> bool {
        self.no_evidence
    }

    fn make(&mut self, context: &Context, map: &Map, key: &Key) {
        let heatmap = Heatmap::new(&map.attribution, &map.mask, &key.settings);
        self.no_evidence = heatmap.no_evidence;
        let straight = overlay::texture(&heatmap, key.colormap);
        // egui blends premultiplied colours.
        let image = ColorImage::from_rgba_unmultiplied([heatmap.side; 2], straight.as_raw());
        match &mut self.texture {
            Some(texture) => texture.set(image, TextureOptions::LINEAR),
            None => self.texture = Some(context.load_texture("map", image, TextureOptions::LINEAR)),
        }
    }
}

/// A corner of the drawn shape: a point of the original and the same point in the texture, in [0, 1].
pub type Corner = ([f64; 2], [f64; 2]);

/// The convex shape that a map of `side` network pixels is drawn in: the field's circle inside the photograph. Empty where the
/// two do not meet.
pub fn shape(size: [u32; 2], field: &FieldOfView, map: &PixelMap, side: usize) -> Vec<Corner> {
    let circle = (0..CORNERS).map(|corner| {
        let (sin, cos) = (std::f64::consts::TAU * corner as f64 / CORNERS as f64).sin_cos();
        [field.centre[0] + field.radius * cos, field.centre[1] + field.radius * sin]
    });
    let mut polygon: Vec<[f64; 2]> = circle.collect();
    for axis in 0..2 {
        polygon = keep(&polygon, |point| point[axis]);
        polygon = keep(&polygon, |point| f64::from(size[axis]) - point[axis]);
    }
    let uv = |[x, y]: [f64; 2]| map.to_network(x, y).map(|v| v / side as f64);
    polygon.into_iter().map(|point| (point, uv(point))).collect()
}

/// The part of a convex polygon where `inside` (a linear function) is not negative (Sutherland and Hodgman, 1974).
fn keep(polygon: &[[f64; 2]], inside: impl Fn([f64; 2]) -> f64) -> Vec<[f64; 2]> {
    let mut kept = Vec::with_capacity(polygon.len() + 2);
    for (&from, &to) in polygon.iter().zip(polygon.iter().cycle().skip(1)) {
        let (a, b) = (inside(from), inside(to));
        if a >= 0.0 {
            kept.push(from);
        }
        if (a < 0.0) != (b < 0.0) {
            let t = a / (a - b);
            kept.push([from[0] + t * (to[0] - from[0]), from[1] + t * (to[1] - from[1])]);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn area(shape: &[Corner]) -> f64 {
        let next = shape.iter().cycle().skip(1);
        shape.iter().zip(next).map(|((a, _), (b, _))| a[0] * b[1] - b[0] * a[1]).sum::<f64>() / 2.0
    }

    #[test]
    fn an_uncut_field_is_drawn_whole() {
        let field = FieldOfView { centre: [500.0, 500.0], radius: 400.0 };
        let map = PixelMap { origin: [100.0, 100.0], scale: 800.0 / 299.0 };
        let drawn = shape([1000, 1000], &field, &map, 299);
        assert_eq!(drawn.len(), CORNERS);
        assert!((area(&drawn) / (std::f64::consts::PI * 400.0 * 400.0) - 1.0).abs() < 1e-3);
        let (_, first) = drawn[0];
        assert!((first[0] - 1.0).abs() < 1e-12 && (first[1] - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_field_outside_the_photograph_is_not_drawn() {
        let field = FieldOfView { centre: [-500.0, 500.0], radius: 400.0 };
        let map = PixelMap { origin: [-900.0, 100.0], scale: 800.0 / 299.0 };
        assert!(shape([1000, 1000], &field, &map, 299).is_empty());
    }

    proptest! {
        #[test]
        fn the_shape_lies_inside_field_and_photograph(
            w in 50_u32..5000, h in 50_u32..5000, x in -0.2..1.2_f64, y in -0.2..1.2_f64, r in 0.2..1.5_f64,
        ) {
            let centre = [x * f64::from(w), y * f64::from(h)];
            let field = FieldOfView { centre, radius: r * f64::from(w.min(h)) };
            let scale = 2.0 * field.radius / 299.0;
            let map = PixelMap { origin: centre.map(|c| c - field.radius), scale };
            for (point, uv) in shape([w, h], &field, &map, 299) {
                let within = 1e-6 * field.radius;
                prop_assert!((point[0] - centre[0]).hypot(point[1] - centre[1]) <= field.radius + within);
                prop_assert!(point[0] >= -within && point[0] <= f64::from(w) + within);
                prop_assert!(point[1] >= -within && point[1] <= f64::from(h) + within);
                prop_assert!(uv.iter().all(|v| (-1e-9..=1.0 + 1e-9).contains(v)));
            }
        }
    }
}
