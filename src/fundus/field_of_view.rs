//! A photograph comes in; the circle of its field of view goes out, or the reason why it is no fundus photograph.
//!
//! The work is done on a copy reduced by a whole number: [`rim`] collects what may be the field's edge, [`circle`] finds the
//! circle that the edge agrees with, [`retina`] asks whether what lies inside has the colours of a retina.

mod circle;
mod reduced;
mod retina;
mod rim;

use std::path::PathBuf;

use super::Photograph;
use reduced::Reduced;

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
pub enum FieldError {
    /// Too few pixels to see a field in.
    #[error(
        "{}: {width} x {height} pixels are too few to find a field of view in; export the photograph larger",
        .path.display()
    )]
    TooSmall {
        /// The file.
        path: PathBuf,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// No circle.
    #[error(
        "{}: not a fundus photograph, no field of view was found ({reason}); open a colour fundus photograph that shows the edge of its field",
        .path.display()
    )]
    NotFound {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// Grey inside the field: an angiography or a red-free photograph.
    #[error(
        "{}: without colour, as angiographies and red-free photographs are; the networks were made for colour photographs",
        .path.display()
    )]
    WithoutColour {
        /// The file.
        path: PathBuf,
    },
    /// A circle, but not of a retina's colours.
    #[error("{}: not a fundus photograph ({reason}); open a colour fundus photograph", .path.display())]
    NotARetina {
        /// The file.
        path: PathBuf,
        /// What is not like a retina.
        reason: &'static str,
    },
}

/// Fewest pixels of a side in which a field is looked for.
const SMALLEST: u32 = 64;

impl FieldOfView {
    /// Fits the field's circle.
    pub fn find(photograph: &Photograph) -> Result<Self, FieldError> {
        let path = || photograph.path.clone();
        let [width, height] = photograph.size;
        if width.min(height) < SMALLEST {
            return Err(FieldError::TooSmall { path: path(), width, height });
        }
        let reduced = Reduced::new(&photograph.pixels);
        let fit = circle::fit(&reduced).map_err(|reason| FieldError::NotFound { path: path(), reason })?;
        retina::check(&reduced, &fit).map_err(|unlike| match unlike {
            retina::Unlike::Grey => FieldError::WithoutColour { path: path() },
            retina::Unlike::Other(reason) => FieldError::NotARetina { path: path(), reason },
        })?;
        let scale = f64::from(reduced.scale * photograph.scale);
        Ok(Self { centre: fit.circle.centre.map(|at| at * scale), radius: fit.circle.radius * scale }
            .or_whole_square(width, height))
    }

    /// Whether a point of the original lies inside the circle.
    pub fn contains(&self, x: f64, y: f64) -> bool {
        (x - self.centre[0]).hypot(y - self.centre[1]) <= self.radius
    }

    /// A square photograph whose field is its inscribed circle, within the accuracy of a fit, was cropped to its field:
    /// then the field is exactly that, so that copies are not resampled for a fraction of a pixel.
    fn or_whole_square(self, width: u32, height: u32) -> Self {
        const ACCURACY: f64 = 0.02;
        let half = f64::from(width) / 2.0;
        let near = |value: f64| (value - half).abs() <= ACCURACY * half;
        if width == height && near(self.radius) && self.centre.iter().all(|&at| near(at)) {
            Self { centre: [half, half], radius: half }
        } else {
            self
        }
    }
}
