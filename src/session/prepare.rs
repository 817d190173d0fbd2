//! A file comes in; what networks, list and panes need of it goes out.

use std::path::Path;
use std::sync::Arc;

use image::RgbaImage;

use super::contained::contained;
use super::thumbnail;
use crate::fundus::{FieldOfView, Identity, Listing, NetworkInput, Photograph, ReadError, Seen, SeenError, Source};
use crate::nn::SIDE;

/// Everything about a photograph but its pixels at full resolution.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Whose eye it is.
    pub identity: Identity,
    /// Width and height of the original.
    pub size: [u32; 2],
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

/// Reads a photograph and finds its field, from as few of its pixels as networks need.
pub fn prepare(path: &Path, listing: &mut Listing) -> Result<Prepared, Unusable> {
    Ok(prepare_to_show(path, listing, false)?.1)
}

/// The same, and the whole photograph with its file if it is `shown`.
pub fn prepare_to_show(
    path: &Path,
    listing: &mut Listing,
    shown: bool,
) -> Result<(Option<(Photograph, Source)>, Prepared), Unusable> {
    // Files are not to be trusted and decoders are large: what makes one of them panic is one file's fault, not the list's.
    contained(|| read(path, listing, shown)).unwrap_or_else(|_| {
        Err(Unusable {
            reason: format!("its decoder failed: export it again as PNG or JPEG: {}", path.display()),
            identity: listing.identity(path),
        })
    })
}

fn read(path: &Path, listing: &mut Listing, shown: bool) -> Result<(Option<(Photograph, Source)>, Prepared), Unusable> {
    let (source, prepared, decoded) = see(path, listing)?;
    if !shown {
        return Ok((None, prepared));
    }
    let photograph = if decoded.scale == 1 {
        decoded
    } else {
        let failed = |error: ReadError| Unusable { reason: error.to_string(), identity: decoded.identity };
        source.whole().map_err(failed)?
    };
    Ok((Some((photograph, source)), prepared))
}

fn see(path: &Path, listing: &mut Listing) -> Result<(Source, Prepared, Photograph), Unusable> {
    let source = Source::open(path, listing)
        .map_err(|error| Unusable { reason: error.to_string(), identity: listing.identity(path) })?;
    let seen = Seen::new(&source, SIDE).map_err(|error| {
        let reason = error.to_string();
        match error {
            SeenError::Read(_) => Unusable { reason, identity: listing.identity(path) },
            SeenError::Field { identity, .. } => Unusable { reason, identity: *identity },
        }
    })?;
    let Seen { photograph, field, input } = seen;
    let prepared = Prepared {
        sha256: photograph.sha256,
        identity: photograph.identity.clone(),
        size: photograph.size,
        field,
        thumbnail: Arc::new(thumbnail::of(&input)),
        input,
    };
    Ok((source, prepared, photograph))
}
