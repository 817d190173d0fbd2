//! What ReLUs give of rows, what they do between each row and the next, and gradients times what was kept of that.

use candle_core::{DType, Result, Tensor};

use super::{Call, Card, Operand, blocks};

/// Rows that a thread of `rectify` goes through.
const STRETCH: usize = 8;

/// What a ReLU gives of what it sees, and the share of the way from each row to the next on which it is open, in bytes.
pub(in super::super) fn rectify(seen: &Tensor, card: &dyn Card) -> Result<(Tensor, Tensor)> {
    of_rows(seen, None, seen.dim(0)?, card)
}

/// The same where rows are points of a line, `places` (`[rows, 2]`) of its two `ends`.
pub(in super::super) fn rectify_line(ends: &Tensor, places: &Tensor, card: &dyn Card) -> Result<(Tensor, Tensor)> {
    let (rows, of_ends) = places.dims2()?;
    if ends.dim(0)? != 2 || of_ends != 2 {
        candle_core::bail!("a line has two ends: {:?}, {:?}", ends.dims(), places.dims());
    }
    of_rows(ends, Some(places), rows, card)
}

fn of_rows(values: &Tensor, places: Option<&Tensor>, rows: usize, card: &dyn Card) -> Result<(Tensor, Tensor)> {
    let size = values.elem_count() / values.dim(0)?;
    let of = |rows: usize| [&[rows], &values.dims()[1..]].concat();
    let [across, _] = blocks(size)?;
    let mut outputs = card.run(&Call {
        kernel: "rectify",
        blocks: [across, (rows - 1).div_ceil(STRETCH).max(1)],
        operands: &[Operand::Read(&values.contiguous()?), places.into(), Operand::Written(0), Operand::Written(1)],
        numbers: &[rows, size],
        outputs: &[(of(rows).into(), DType::F32), (of(rows - 1).into(), DType::U8)],
    })?;
    match (outputs.pop(), outputs.pop()) {
        (Some(shares), Some(values)) => Ok((values, shares)),
        _ => candle_core::bail!("rectify writes two tensors"),
    }
}

/// `gradient` times `kept`, bytes of which the greatest stands for 1.
pub(in super::super) fn times(gradient: &Tensor, kept: &Tensor, card: &dyn Card) -> Result<Tensor> {
    let (rows, size) = (gradient.dim(0)?, gradient.elem_count() / gradient.dim(0)?);
    // Of what was put together each part comes back with the others between its rows.
    let is_whole = gradient.narrow(0, 0, 1)?.is_contiguous();
    let gradient = if is_whole { gradient.clone() } else { gradient.contiguous()? };
    card.one(&Call {
        kernel: "times_slope",
        blocks: blocks(rows * size)?,
        operands: &[Operand::Within(&gradient), Operand::Read(&kept.contiguous()?), Operand::Written(0)],
        numbers: &[rows, size, gradient.stride()[0]],
        outputs: &[(gradient.shape().clone(), DType::F32)],
    })
}
