//! A reduced photograph and its circle come in; whether what is inside has a retina's colours goes out.

use super::circle::Fit;
use super::reduced::Reduced;

/// Whether there is colour at all; angiographies and red-free photographs are often stored as RGB with equal channels.
pub(super) fn check_colour(reduced: &Reduced) -> Result<(), ()> {
    let chroma: f32 = reduced.rgb.iter().map(|rgb| spread(*rgb)).sum::<f32>();
    let level: f32 = reduced.rgb.iter().map(|[r, g, b]| r.max(*g).max(*b)).sum::<f32>();
    if chroma > 0.02 * level { Ok(()) } else { Err(()) }
}

/// Difference of the largest and the smallest channel.
fn spread([r, g, b]: [f32; 3]) -> f32 {
    r.max(g).max(b) - r.min(g).min(b)
}

/// Whether the field has a retina's colours; the error says what is not.
pub(super) fn check(_reduced: &Reduced, _fit: &Fit) -> Result<(), String> {
    Ok(())
}
