//! Rows come in, points of a path; what ReLUs and maxima do between each row and the next goes out: shares of the way, in bytes
//! of 255 as our own kernels keep them, so that both give the same gradients. And gradients come through ReLUs here.

use candle_core::{DType, Result, Tensor, WithDType};

use super::cuda::norm::Norm;
use super::cuda::{Card, slope};
use crate::nn::real::Real;

const WHOLE: f64 = u8::MAX as f64;

/// All rows but the last, and all but the first.
pub(super) fn ends(x: &Tensor) -> Result<[Tensor; 2]> {
    let rows = x.dim(0)? - 1;
    Ok([x.narrow(0, 0, rows)?, x.narrow(0, 1, rows)?])
}

/// What a ReLU gives of what it sees, and the share on which that is above nought: its slope between the two rows, and at a row
/// where they are one.
pub(super) fn rectify(seen: &Tensor, card: Option<&dyn Card>) -> Result<(Tensor, Tensor)> {
    if let Some(card) = card {
        return slope::rectify(seen, card);
    }
    let [from, to] = ends(seen)?;
    let (high, low) = (from.maximum(&to)?.relu()?, from.minimum(&to)?);
    let nought = high.zeros_like()?;
    let part = quotient(&high, &(&high - &low)?)?;
    let part = low.gt(0.0)?.where_cond(&high.ones_like()?, &part)?;
    Ok((seen.relu()?, keep(&high.gt(0.0)?.where_cond(&part, &nought)?)?))
}

/// Points of a line: how much of each of its two `ends` they are says `places`, `[rows, 2]`.
pub(super) fn points(ends: &Tensor, places: &Tensor) -> Result<Tensor> {
    let of_end =
        |end: usize| ends.narrow(0, end, 1)?.broadcast_mul(&places.narrow(1, end, 1)?.reshape(((), 1, 1, 1))?);
    of_end(0)? + of_end(1)?
}

/// The same as [`rectify`] of a line's points.
pub(super) fn rectify_line(ends: &Tensor, places: &Tensor, card: Option<&dyn Card>) -> Result<(Tensor, Tensor)> {
    match card {
        Some(card) => slope::rectify_line(ends, places, card),
        None => rectify(&points(ends, places)?, None),
    }
}

/// The share on which the first winner leads, from its lead at the start and the other's at the end; all where they are one.
pub(super) fn of_leads(before: &Tensor, after: &Tensor, one: &Tensor) -> Result<Tensor> {
    let sum = (before + after)?;
    let half = (before.ones_like()? * 0.5)?;
    let part = sum.gt(0.0)?.where_cond(&quotient(before, &sum)?, &half)?;
    keep(&one.where_cond(&before.ones_like()?, &part)?)
}

/// A quotient that is not asked for where the divisor is nought.
fn quotient(of: &Tensor, by: &Tensor) -> Result<Tensor> {
    of / by.eq(0.0)?.where_cond(&by.ones_like()?, by)?
}

fn keep(share: &Tensor) -> Result<Tensor> {
    ((share * WHOLE)? + 0.5)?.floor()?.to_dtype(DType::U8)
}

/// A gradient times the slopes that were kept.
pub(super) fn times<T: Real + WithDType>(gradient: &Tensor, kept: &Tensor, card: Option<&dyn Card>) -> Result<Tensor> {
    card.map_or_else(|| gradient * read::<T>(kept)?, |card| slope::times(gradient, kept, card))
}

/// A gradient where a ReLU gave a value above nought, and nought elsewhere.
pub(super) fn through(gradient: &Tensor, value: &Tensor, card: Option<&dyn Card>) -> Result<Tensor> {
    match card {
        Some(card) => Norm { card }.through(&gradient.contiguous()?, value),
        None => value.gt(0.0)?.where_cond(gradient, &gradient.zeros_like()?),
    }
}

/// Shares that were kept.
pub(super) fn read<T: Real + WithDType>(kept: &Tensor) -> Result<Tensor> {
    kept.to_dtype(T::DTYPE)? / WHOLE
}
