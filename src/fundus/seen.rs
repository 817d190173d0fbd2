//! A file's bytes come in; what a network sees of it goes out, from as few decoded pixels as that takes.

use super::{CAP, FieldError, FieldOfView, Identity, NetworkInput, Photograph, ReadError, Source};

/// Fewest decoded pixels of a photograph's shorter side and of its field's diameter: twice what they are averaged to.
const LEAST: u32 = 2 * CAP as u32;

/// A photograph as networks see it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was decoded: whole or reduced.
    pub photograph: Photograph,
    /// Its field, in pixels of the original.
    pub field: FieldOfView,
    /// What a network sees.
    pub input: NetworkInput,
}

/// Why nothing is seen.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// The file cannot be decoded.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It shows no field.
    #[error("{error}")]
    Field {
        /// Why.
        error: FieldError,
        /// Whose eye the file says it is.
        identity: Box<Identity>,
    },
}

impl Seen {
    /// Decodes, finds the field and makes the input of `side` pixels.
    pub fn new(source: &Source, side: usize) -> Result<Self, SeenError> {
        // The share of the memory is held until the photograph has been looked at.
        let (mut photograph, mut share) = source.shared(Some(LEAST))?;
        let mut field = find(&photograph)?;
        if photograph.scale > 1 && 2.0 * field.radius < f64::from(LEAST * photograph.scale) {
            // A small field in a wide frame. Who waits for room holds none, or two could wait for each other.
            drop((photograph, share));
            (photograph, share) = source.shared(None)?;
            field = find(&photograph)?;
        }
        let input = NetworkInput::new(&photograph, &field, side);
        drop(share);
        Ok(Self { photograph, field, input })
    }
}

fn find(photograph: &Photograph) -> Result<FieldOfView, SeenError> {
    let identity = || Box::new(photograph.identity.clone());
    FieldOfView::find(photograph).map_err(|error| SeenError::Field { error, identity: identity() })
}
