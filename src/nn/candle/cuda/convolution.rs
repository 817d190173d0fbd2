//! A convolution's weights come in; calls that read the image where it lies go out, forward and back.

use candle_core::{DType, Device, Result, Tensor, WithDType};

use super::{Call, Card, Operand};
use crate::nn::graph::{Padding, Window};
use crate::nn::plan;
use crate::nn::real::Real;

/// Outputs and pixels of a block's tile; the smaller one where there are few outputs or too few large tiles to fill a card.
const TILES: [(usize, &str); 2] = [(128, "convolve_128"), (64, "convolve_64")];
/// Blocks that fill a card: two for each of an H100's 132 multiprocessors.
const ENOUGH: usize = 264;

/// One direction of a convolution.
#[derive(Debug)]
pub(in super::super) struct Product {
    /// `[depth, outputs]`.
    weights: Tensor,
    /// `[depth, 2]`: where in an image the channel begins; row and column in the kernel, 16 bits each.
    taps: Tensor,
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
    /// From an image to the convolution's outputs; sizes are height and width of the input and of the output.
    pub(in super::super) fn forward<T: Real + WithDType>(
        of: &plan::Convolution<T>,
        [from, to]: [[usize; 2]; 2],
        device: &Device,
    ) -> Result<Self> {
        let Window { kernel, stride, padding } = of.window;
        let (inputs, outputs) = channels(of);
        let read = [inputs, from[0], from[1]];
        Ok(Self {
            weights: Tensor::from_slice(&of.kernel, (of.kernel.len() / outputs, outputs), device)?,
            taps: taps(kernel, read, device)?,
            read,
            made: [outputs, to[0], to[1]],
            stride,
            before: [padding.top, padding.left],
            spread: 1,
        })
    }

    /// From the gradient by the outputs to that by the image: the kernel turned by 180 degrees, its channels exchanged.
    pub(in super::super) fn back<T: Real + WithDType>(
        of: &plan::Convolution<T>,
        [from, to]: [[usize; 2]; 2],
        device: &Device,
    ) -> Result<Self> {
        let Window { kernel, stride, padding: Padding { top, left, .. } } = of.window;
        let (inputs, outputs) = channels(of);
        let mut turned = Vec::with_capacity(of.kernel.len());
        for tap in of.kernel.chunks_exact(inputs * outputs).rev() {
            for output in 0..outputs {
                turned.extend(tap.iter().skip(output).step_by(outputs).copied());
            }
        }
        let read = [outputs, to[0], to[1]];
        Ok(Self {
            weights: Tensor::from_vec(turned, (of.kernel.len() / inputs, inputs), device)?,
            taps: taps(kernel, read, device)?,
            read,
            made: [inputs, from[0], from[1]],
            stride: 1,
            before: [kernel[0] - 1 - top, kernel[1] - 1 - left],
            spread: stride,
        })
    }

    /// Of `[rows, channels, height, width]`.
    pub(in super::super) fn of(&self, images: &Tensor, finish: Finish, card: &dyn Card) -> Result<Tensor> {
        let images = images.contiguous()?;
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
                Operand::Read(&self.weights),
                Operand::Read(&self.taps),
                finish.bias.into(),
                finish.residual.into(),
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
                self.weights.dim(0)?,
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

/// Inputs and outputs.
fn channels<T>(of: &plan::Convolution<T>) -> (usize, usize) {
    let outputs = of.bias.len();
    (of.kernel.len() / (of.window.kernel[0] * of.window.kernel[1] * outputs), outputs)
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
