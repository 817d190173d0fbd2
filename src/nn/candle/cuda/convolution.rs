//! A convolution's shape comes in; calls that read images where they lie go out: forward, back, and by the kernel.

use candle_core::{DType, Device, Result, Tensor};

use super::{Call, Card, Operand};
use crate::nn::graph::{Padding, Window};

/// Outputs and pixels of a block's tile; the smaller one where there are few outputs or too few large tiles to fill a card.
const TILES: [(usize, &str); 2] = [(128, "convolve_128"), (64, "convolve_64")];
/// The same of a kernel's gradient: values of the kernel and outputs.
const OUTER_TILES: [(usize, &str); 2] = [(128, "outer_128"), (64, "outer_64")];
/// Blocks that fill a card: two for each of an H100's 132 multiprocessors.
const ENOUGH: usize = 264;

/// Pixels that a sum of outer products goes over at least before it is split among more blocks.
const LEAST: usize = 256;

/// What a convolution goes over.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Shape {
    pub(in super::super) window: Window,
    /// Inputs and outputs.
    pub(in super::super) channels: [usize; 2],
    /// Height and width of the input and of the output.
    pub(in super::super) sizes: [[usize; 2]; 2],
}

/// One direction of a convolution, its weights aside.
#[derive(Debug)]
pub(in super::super) struct Product {
    /// `[depth, 2]`: where in an image the channel begins; row and column in the kernel, 16 bits each.
    taps: Tensor,
    depth: usize,
    /// Channels, height, width of what is read.
    read: [usize; 3],
    /// The same of what is made.
    made: [usize; 3],
    stride: usize,
    /// Rows above and columns at the left that are zeros.
    before: [usize; 2],
    /// How far apart values stand in what is read.
    spread: usize,
}

/// What is added and cut off before the result is written.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Finish<'a> {
    pub(in super::super) bias: Option<&'a Tensor>,
    pub(in super::super) residual: Option<&'a Tensor>,
    pub(in super::super) relu: bool,
}

impl Product {
    /// From an image to the convolution's outputs.
    pub(in super::super) fn forward(shape: Shape, device: &Device) -> Result<Self> {
        let Shape { window: Window { kernel, stride, padding }, channels: [inputs, outputs], sizes: [from, to] } =
            shape;
        let read = [inputs, from[0], from[1]];
        Ok(Self {
            taps: taps(kernel, read, device)?,
            depth: kernel[0] * kernel[1] * inputs,
            read,
            made: [outputs, to[0], to[1]],
            stride,
            before: [padding.top, padding.left],
            spread: 1,
        })
    }

    /// From the gradient by the outputs to that by the image, with the kernel turned by 180 degrees and its channels exchanged.
    pub(in super::super) fn back(shape: Shape, device: &Device) -> Result<Self> {
        let Shape { window: Window { kernel, stride, padding }, channels: [inputs, outputs], sizes: [from, to] } =
            shape;
        let Padding { top, left, .. } = padding;
        let read = [outputs, to[0], to[1]];
        Ok(Self {
            taps: taps(kernel, read, device)?,
            depth: kernel[0] * kernel[1] * outputs,
            read,
            made: [inputs, from[0], from[1]],
            stride: 1,
            before: [kernel[0] - 1 - top, kernel[1] - 1 - left],
            spread: stride,
        })
    }

    /// Of `[rows, channels, height, width]` by `weights`, `[depth, outputs]`.
    pub(in super::super) fn of(
        &self,
        images: &Tensor,
        weights: &Tensor,
        finish: Finish,
        card: &dyn Card,
    ) -> Result<Tensor> {
        let images = images.contiguous()?;
        let residual = finish.residual.map(Tensor::contiguous).transpose()?;
        let rows = images.dim(0)?;
        let ([inputs, height, width], [outputs, out_height, out_width]) = (self.read, self.made);
        let pixels = rows * out_height * out_width;
        let count = |tile: usize| pixels.div_ceil(tile) * outputs.div_ceil(tile);
        let [large, small] = TILES;
        let (tile, kernel) = if outputs > small.0 && count(large.0) >= ENOUGH { large } else { small };
        card.run(&Call {
            kernel,
            blocks: [pixels.div_ceil(tile), outputs.div_ceil(tile)],
            operands: &[
                Operand::Read(&images),
                Operand::Read(weights),
                Operand::Read(&self.taps),
                finish.bias.into(),
                residual.as_ref().into(),
                Operand::Written,
            ],
            numbers: &[
                rows,
                inputs,
                height,
                width,
                outputs,
                out_height,
                out_width,
                self.depth,
                self.stride,
                self.before[0],
                self.before[1],
                self.spread,
                usize::from(finish.relu),
            ],
            output: ((rows, outputs, out_height, out_width).into(), DType::F32),
        })
    }
}

/// From an image and the gradient by the convolution's outputs to that by its kernel.
#[derive(Debug)]
pub(in super::super) struct Outer {
    shape: Shape,
    /// As of the forward product.
    taps: Tensor,
    depth: usize,
}

impl Outer {
    pub(in super::super) fn new(shape: Shape, forward: &Product) -> Self {
        Self { shape, taps: forward.taps.clone(), depth: forward.depth }
    }

    /// `[depth, outputs]`, summed over all pixels of all rows. Blocks share the pixels, so that a small kernel fills a card as
    /// well, and their sums are added in an order that is always the same.
    pub(in super::super) fn of(&self, images: &Tensor, gradient: &Tensor, card: &dyn Card) -> Result<Tensor> {
        let (images, gradient) = (images.contiguous()?, gradient.contiguous()?);
        let Shape { window: Window { stride, padding, .. }, channels: [inputs, outputs], sizes: [from, to] } =
            self.shape;
        let rows = images.dim(0)?;
        let pixels = rows * to[0] * to[1];
        let [large, small] = OUTER_TILES;
        let (tile, kernel) = if outputs.min(self.depth) >= large.0 { large } else { small };
        let tiles = self.depth.div_ceil(tile) * outputs.div_ceil(tile);
        let part = pixels.div_ceil(ENOUGH.div_ceil(tiles)).max(LEAST);
        let parts = pixels.div_ceil(part);
        let sums = card.run(&Call {
            kernel,
            blocks: [tiles, parts],
            operands: &[Operand::Read(&images), Operand::Read(&gradient), Operand::Read(&self.taps), Operand::Written],
            numbers: &[
                rows,
                inputs,
                from[0],
                from[1],
                outputs,
                to[0],
                to[1],
                self.depth,
                stride,
                padding.top,
                padding.left,
                part,
            ],
            output: ((parts, self.depth, outputs).into(), DType::F32),
        })?;
        if parts == 1 { sums.squeeze(0) } else { sums.sum(0) }
    }
}

fn taps(kernel: [usize; 2], [channels, height, width]: [usize; 3], device: &Device) -> Result<Tensor> {
    let mut taps = Vec::with_capacity(kernel[0] * kernel[1] * channels * 2);
    for row in 0..kernel[0] {
        for column in 0..kernel[1] {
            for channel in 0..channels {
                taps.extend([(channel * height * width) as u32, (row << 16 | column) as u32]);
            }
        }
    }
    let depth = taps.len() / 2;
    Tensor::from_vec(taps, (depth, 2), device)
}
