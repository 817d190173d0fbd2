//! Pools forward and back: calls of kernels with a thread for each value that they write.
//!
//! A maximum's value and its place are two kernels, each of which scans every window: only gradients need places.

use candle_core::{DType, Result, Shape, Tensor};

use super::{Call, Card, Operand, blocks};
use crate::nn::graph::Window;

/// A pool over images of one size.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Pool {
    pub(in super::super) window: Window,
    /// Height and width of what goes in and of what comes out.
    pub(in super::super) sizes: [[usize; 2]; 2],
    /// Whether padding counts among the values that are averaged.
    pub(in super::super) count_padding: bool,
}

/// The same on a card.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct OwnPool<'a> {
    pool: &'a Pool,
    card: &'a dyn Card,
}

impl Pool {
    /// Kernels for it, where there is a card.
    pub(in super::super) fn on<'a>(&'a self, card: Option<&'a dyn Card>) -> Option<OwnPool<'a>> {
        card.map(|card| OwnPool { pool: self, card })
    }
}

impl OwnPool<'_> {
    /// The largest value of each window.
    pub(in super::super) fn max(&self, x: &Tensor) -> Result<Tensor> {
        self.forward("max_value", &x.contiguous()?, [None, None], (x.dim(0)?, DType::F32))
    }

    /// The place in each window of its largest value, in bytes.
    pub(in super::super) fn places(&self, x: &Tensor) -> Result<Tensor> {
        self.forward("max_place", &x.contiguous()?, [None, None], (x.dim(0)?, DType::U8))
    }

    /// How the winners at each row and at the next share a window's slope: the share of the first, in bytes.
    pub(in super::super) fn max_between(&self, x: &Tensor, places: &Tensor) -> Result<Tensor> {
        let rows = x.dim(0)?;
        self.forward("max_between", &x.contiguous()?, [Some(&places.contiguous()?), None], (rows - 1, DType::U8))
    }

    /// The mean of each window.
    pub(in super::super) fn average(&self, x: &Tensor) -> Result<Tensor> {
        self.forward("average", &x.contiguous()?, [None, None], (x.dim(0)?, DType::F32))
    }

    /// The gradient by the input; `places` of a maximum, with `shares` if it is between rows.
    pub(in super::super) fn back(
        &self,
        gradient: &Tensor,
        places: Option<&Tensor>,
        shares: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (rows, channels) = (gradient.dim(0)?, gradient.dim(1)?);
        let [height, width] = self.pool.sizes[0];
        let shape: Shape = (rows, channels, height, width).into();
        let operands = [
            Operand::Read(&gradient.contiguous()?),
            places.into(),
            shares.into(),
            Operand::Written(0),
            Operand::Nothing,
        ];
        self.call("pool_back", &operands, [rows, channels], (shape, DType::F32))
    }

    /// A kernel with a thread for each output of `rows`.
    fn forward(
        &self,
        kernel: &'static str,
        x: &Tensor,
        [places, shares]: [Option<&Tensor>; 2],
        (rows, dtype): (usize, DType),
    ) -> Result<Tensor> {
        let (all, channels) = (x.dim(0)?, x.dim(1)?);
        let (values, bytes) = match dtype {
            DType::U8 => (Operand::Nothing, Operand::Written(0)),
            _ => (Operand::Written(0), Operand::Nothing),
        };
        let operands = [Operand::Read(x), places.into(), shares.into(), values, bytes];
        let [_, [height, width]] = self.pool.sizes;
        self.call(kernel, &operands, [all, channels], ((rows, channels, height, width).into(), dtype))
    }

    fn call(
        &self,
        kernel: &'static str,
        operands: &[Operand],
        [rows, channels]: [usize; 2],
        output: (Shape, DType),
    ) -> Result<Tensor> {
        let &Pool { window: Window { kernel: size, stride, padding }, sizes: [input, output_size], count_padding } =
            self.pool;
        self.card.one(&Call {
            kernel,
            blocks: blocks(output.0.elem_count())?,
            operands,
            numbers: &[
                rows,
                channels,
                input[0],
                input[1],
                output_size[0],
                output_size[1],
                size[0],
                size[1],
                stride,
                padding.top,
                padding.left,
                usize::from(count_padding),
            ],
            outputs: &[output],
        })
    }
}
