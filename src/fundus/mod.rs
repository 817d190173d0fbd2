//! A file comes in; a [`Photograph`], its [`FieldOfView`] and a [`NetworkInput`] with its [`PixelMap`] go out.
//!
//! Training, command line and viewer make a network's input in this one way ([`Seen`]): a JPEG is reduced by its decoder, the
//! field's circle is fitted, its bounding square cut out without margin, everything outside the field made black, averaged by
//! area to at most [`network_input::CAP`] pixels and then resampled bilinearly (half-pixel centres) to the network's side.
//! Knows nothing of networks.

mod budget;
mod dicom;
mod field_of_view;
mod identity;
mod jpeg;
mod network_input;
mod read;
mod seen;

use std::path::PathBuf;

pub use field_of_view::{FieldError, FieldOfView};
pub use identity::{Identity, Laterality, Listing};
pub use network_input::{CAP, NetworkInput, PixelMap};
pub use read::{ReadError, Source, is_candidate, read};
pub use seen::{Seen, SeenError};

/// A colour photograph, upright (EXIF orientation applied).
#[derive(Clone, Debug)]
pub struct Photograph {
    /// The file it was read from.
    pub path: PathBuf,
    /// SHA-256 of the file's bytes: the key of everything computed from it.
    pub sha256: [u8; 32],
    /// Whose eye it is, as far as file, CSV or name say.
    pub identity: Identity,
    /// Width and height of the original.
    pub size: [u32; 2],
    /// Pixels of the original per pixel here, along a side: 1 where it is whole, else 2, 4 or 8.
    pub scale: u32,
    /// sRGB, 8 bits a channel; 16-bit files are scaled.
    pub pixels: image::RgbImage,
}
