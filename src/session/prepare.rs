//! A file comes in; what networks, list and panes need of it goes out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use image::RgbaImage;

use super::thumbnail;
use crate::fundus::{self, FieldOfView, Identity, Listing, NetworkInput, Photograph};
use crate::nn::SIDE;

/// Everything about a photograph but its pixels at full resolution.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Whose eye it is.
    pub identity: Identity,
    /// Its field.
    pub field: FieldOfView,
    /// What networks see.
    pub input: NetworkInput,
    /// What the list shows.
    pub thumbnail: Arc<RgbaImage>,
}

impl Prepared {
    /// Bytes it takes, nearly.
    pub fn bytes(&self) -> usize {
        self.input.pixels.len() * size_of::<f32>() + self.input.mask.len() + self.thumbnail.as_raw().len()
    }
}

/// A file that gives no picture: why, and what is known of it nevertheless.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// File, reason, remedy.
    pub reason: String,
    /// Whose eye it is, as far as CSV, name or the file say.
    pub identity: Identity,
}

/// Reads a photograph and finds its field. Gives the photograph as well, for whoever wants its pixels.
pub fn prepare(path: &Path, listing: &mut Listing) -> Result<(Photograph, Prepared), Unusable> {
    // Files are not to be trusted and decoders are large: what makes one of them panic is one file's fault, not the list's.
    let prepared = catch_unwind(AssertUnwindSafe(|| read(path, listing)));
    prepared.unwrap_or_else(|_| {
        Err(Unusable {
            reason: format!("its decoder failed: export it again as PNG or JPEG: {}", path.display()),
            identity: listing.identity(path),
        })
    })
}

fn read(path: &Path, listing: &mut Listing) -> Result<(Photograph, Prepared), Unusable> {
    let photograph = fundus::read(path, listing)
        .map_err(|error| Unusable { reason: error.to_string(), identity: listing.identity(path) })?;
    let field = FieldOfView::find(&photograph)
        .map_err(|error| Unusable { reason: error.to_string(), identity: photograph.identity.clone() })?;
    let input = NetworkInput::new(&photograph, &field, SIDE);
    let prepared = Prepared {
        sha256: photograph.sha256,
        identity: photograph.identity.clone(),
        field,
        thumbnail: Arc::new(thumbnail::of(&input)),
        input,
    };
    Ok((photograph, prepared))
}
