//! A photograph comes in; the circle of its field of view goes out, or the reason why it is no fundus photograph.

use super::Photograph;

/// The field's circle in pixels of the original (half-pixel centres: the first pixel's centre is 0.5).
/// The field is what lies inside the circle and inside the photograph; cameras cut circles at top and bottom or at the sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FieldOfView {
    /// Centre, x then y; may lie outside the photograph.
    pub centre: [f64; 2],
    /// Radius.
    pub radius: f64,
}

/// Why no field was found. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {}

impl FieldOfView {
    /// Fits the field's circle.
    pub fn find(_photograph: &Photograph) -> Result<Self, FieldError> {
        todo!()
    }

    /// Whether a point of the original lies inside the circle.
    pub fn contains(&self, x: f64, y: f64) -> bool {
        (x - self.centre[0]).hypot(y - self.centre[1]) <= self.radius
    }
}
