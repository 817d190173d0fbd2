//! A heatmap comes in; RGBA pixels go out: the overlay alone at the network's resolution, or laid over the original.

use super::colormap::Colormap;
use super::heatmap::Heatmap;

/// `[side, side, 4]`, straight alpha: what a view draws over the field's bounding square.
pub fn texture(_heatmap: &Heatmap, _colormap: Colormap) -> image::RgbaImage {
    todo!()
}

/// The original with the heatmap laid over it (bilinear), on the original's pixels. `to_network` maps the original's
/// coordinates to the heatmap's (half-pixel centres); nothing is drawn where `inside` is false.
pub fn compose(
    _original: &image::RgbImage,
    _heatmap: &Heatmap,
    _colormap: Colormap,
    _opacity: f32,
    _to_network: &dyn Fn(f64, f64) -> [f64; 2],
    _inside: &dyn Fn(f64, f64) -> bool,
) -> image::RgbImage {
    todo!()
}
