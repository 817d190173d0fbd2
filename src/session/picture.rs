//! A decoded photograph as a pyramid of levels, each half the former, so that a view draws what its zoom needs.

use std::sync::Arc;

use crate::fundus::{FieldOfView, Photograph};

/// One level of the pyramid.
#[derive(Clone, Debug)]
pub struct Level {
    /// Pixels of the original per pixel of this level: 1, 2, 4, ...
    pub scale: u32,
    /// sRGB.
    pub pixels: Arc<image::RgbImage>,
}

/// A photograph ready to be drawn.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Width and height of the original.
    pub size: [u32; 2],
    /// Its field.
    pub field: FieldOfView,
    /// From the original downwards.
    pub levels: Vec<Level>,
}

impl Picture {
    /// Builds the pyramid.
    pub fn new(_photograph: Photograph, _field: FieldOfView) -> Self {
        todo!()
    }
}
