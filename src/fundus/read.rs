//! A file comes in; a [`Photograph`] goes out, or an error that names file, reason and remedy.

use std::path::Path;

use super::{Listing, Photograph};

/// Why a file gives no photograph. Each message names the file, the reason and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {}

/// Whether a file claims to be an image or DICOM by extension or signature. Others are counted, never errors.
pub fn is_candidate(_path: &Path) -> bool {
    todo!()
}

/// Reads a photograph under limits (200 megapixels, bounded memory).
pub fn read(_path: &Path, _listing: &mut Listing) -> Result<Photograph, ReadError> {
    todo!()
}
