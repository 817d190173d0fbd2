//! Rows come in, points of a path; what ReLUs and maxima do between each row and the next goes out: shares of the way, in bytes
//! of 255 as our own kernels keep them, so that both give the same gradients.

use candle_core::{DType, Result, Tensor, WithDType};

use crate::nn::real::Real;

const WHOLE: f64 = u8::MAX as f64;

/// All rows but the last, and all but the first.
pub(super) fn ends(x: &Tensor) -> Result<[Tensor; 2]> {
    let rows = x.dim(0)? - 1;
    Ok([x.narrow(0, 0, rows)?, x.narrow(0, 1, rows)?])
}

/// The share on which what a ReLU sees is above nought: its slope between the two rows, and at a row where they are one.
pub(super) fn of_relu(seen: &Tensor) -> Result<Tensor> {
    let [from, to] = ends(seen)?;
    let (high, low) = (from.maximum(&to)?.relu()?, from.minimum(&to)?);
    let nought = high.zeros_like()?;
    let part = quotient(&high, &(&high - &low)?)?;
    let part = low.gt(0.0)?.where_cond(&high.ones_like()?, &part)?;
    keep(&high.gt(0.0)?.where_cond(&part, &nought)?)
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

/// Shares that were kept.
pub(super) fn read<T: Real + WithDType>(kept: &Tensor) -> Result<Tensor> {
    kept.to_dtype(T::DTYPE)? / WHOLE
}
