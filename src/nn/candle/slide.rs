//! What a window that slides over an image needs of its axes: steps, gaps and edges. Images are `[rows, channels, height,
//! width]`. candle's pools have no padding and its convolutions the same padding on both axes, so edges are made here.

use candle_core::{Result, Tensor, WithDType};

use crate::nn::graph::Padding;

/// Height and width among the axes.
pub(super) const AXES: [usize; 2] = [2, 3];

/// Every `step`th of an axis, `count` of them from `start` on: a view, nothing is copied.
pub(super) fn every(x: &Tensor, axis: usize, start: usize, count: usize, step: usize) -> Result<Tensor> {
    let x = x.narrow(axis, start, (count - 1) * step + 1)?;
    if step == 1 { Ok(x) } else { x.unfold(axis, 1, step)?.squeeze(x.rank()) }
}

/// The opposite of [`every`]: `step - 1` zeros between neighbours of an axis.
pub(super) fn spread(x: &Tensor, axis: usize, step: usize) -> Result<Tensor> {
    if step == 1 {
        return Ok(x.clone());
    }
    let mut shape = x.dims().to_vec();
    let length = (shape[axis] - 1) * step + 1;
    shape[axis] *= step;
    x.unsqueeze(axis + 1)?.pad_with_zeros(axis + 1, 0, step - 1)?.reshape(shape)?.narrow(axis, 0, length)
}

/// Puts an axis at `start` of one that is `length` long, zeros around it.
pub(super) fn place(x: &Tensor, axis: usize, start: usize, length: usize) -> Result<Tensor> {
    x.pad_with_zeros(axis, start, length - start - x.dim(axis)?)
}

/// Adds rows and columns that all hold `value`.
pub(super) fn surround<T: WithDType>(x: &Tensor, padding: Padding, value: T) -> Result<Tensor> {
    let Padding { top, bottom, left, right } = padding;
    let x = edges(x, AXES[0], top, bottom, value)?;
    edges(&x, AXES[1], left, right, value)
}

fn edges<T: WithDType>(x: &Tensor, axis: usize, before: usize, after: usize, value: T) -> Result<Tensor> {
    let edge = |width: usize| {
        let mut shape = x.dims().to_vec();
        shape[axis] = width;
        Tensor::full(value, shape, x.device())
    };
    let mut parts = Vec::with_capacity(3);
    if before > 0 {
        parts.push(edge(before)?);
    }
    parts.push(x.clone());
    if after > 0 {
        parts.push(edge(after)?);
    }
    if parts.len() == 1 { Ok(x.clone()) } else { Tensor::cat(&parts, axis) }
}

/// The edge of a convolution that is the same on all four sides, which candle does itself.
pub(super) fn uniform(padding: Padding) -> Option<usize> {
    let Padding { top, bottom, left, right } = padding;
    (top == bottom && top == left && top == right).then_some(top)
}
