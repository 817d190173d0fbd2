//! A photograph and its field come in; what a network sees goes out, with the mapping back to the original's pixels.

use super::{FieldOfView, Photograph};

/// Longest side, in pixels, of the area-averaged square between original and network.
pub const CAP: usize = 320;

/// Network pixels to pixels of the original: `original = origin + scale * network`, both with half-pixel centres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelMap {
    /// The original's coordinates, x then y, of the network square's upper left corner.
    pub origin: [f64; 2],
    /// Pixels of the original per network pixel.
    pub scale: f64,
}

impl PixelMap {
    /// A point of the network's square in the original's coordinates.
    pub fn to_original(&self, x: f64, y: f64) -> [f64; 2] {
        [self.origin[0] + self.scale * x, self.origin[1] + self.scale * y]
    }

    /// A point of the original in the network square's coordinates.
    pub fn to_network(&self, x: f64, y: f64) -> [f64; 2] {
        [(x - self.origin[0]) / self.scale, (y - self.origin[1]) / self.scale]
    }
}

/// What a network sees: RGB in [0, 1], `[side, side, 3]`, black outside the field.
#[derive(Clone, Debug)]
pub struct NetworkInput {
    /// Pixels of a side; the field's diameter fills it.
    pub side: usize,
    /// `[side, side, 3]`, row by row.
    pub pixels: Vec<f32>,
    /// `[side, side]`: whether a pixel lies inside the field (circle and photograph).
    pub mask: Vec<bool>,
    /// Back to the original.
    pub map: PixelMap,
}

impl NetworkInput {
    /// Cuts, averages and resamples as the module of this room says.
    pub fn new(_photograph: &Photograph, _field: &FieldOfView, _side: usize) -> Self {
        todo!()
    }
}
