//! What ReLUs do between each row and the next, and gradients times what was kept of them.

use candle_core::{DType, Result, Tensor};

use super::{Call, Card, Operand, blocks};

/// The share of the way from each row to the next on which a ReLU is open, in bytes; `seen` is what goes into it.
pub(in super::super) fn of_relu(seen: &Tensor, card: &dyn Card) -> Result<Tensor> {
    let mut shape = seen.dims().to_vec();
    let size = seen.elem_count() / shape[0];
    shape[0] -= 1;
    card.run(&Call {
        kernel: "relu_between",
        blocks: blocks(shape[0] * size),
        operands: &[Operand::Read(&seen.contiguous()?), Operand::Nothing, Operand::Nothing, Operand::Written],
        numbers: &[shape[0] + 1, size],
        output: (shape.into(), DType::U8),
    })
}

/// `gradient` times `kept`, bytes of which the greatest stands for 1.
pub(in super::super) fn times(gradient: &Tensor, kept: &Tensor, card: &dyn Card) -> Result<Tensor> {
    let rows = gradient.dim(0)?;
    card.run(&Call {
        kernel: "times_slope",
        blocks: blocks(gradient.elem_count()),
        operands: &[
            Operand::Read(&gradient.contiguous()?),
            Operand::Read(&kept.contiguous()?),
            Operand::Written,
            Operand::Nothing,
        ],
        numbers: &[rows, gradient.elem_count() / rows],
        output: (gradient.shape().clone(), DType::F32),
    })
}
