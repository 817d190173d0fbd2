//! Convolution and its gradient by its input, both through candle's forward convolution, or by a kernel of our own.
//!
//! candle's own backward computes the gradient by the weights as well, which frozen weights do not need. The gradient by
//! the input is a convolution of the outputs' gradient, spread by the stride, with the kernel turned by 180 degrees and
//! its channels exchanged (Dumoulin and Visin, arXiv 1603.07285, relationship 14).

use candle_core::{Device, Result, Tensor, WithDType};

use super::cuda::Card;
use super::cuda::convolution::{Finish, Product};
use super::slide::{AXES, every, spread, surround, uniform};
use crate::nn::graph::{Padding, Window};
use crate::nn::plan;
use crate::nn::real::Real;

/// A convolution's weights on the device.
#[derive(Debug)]
pub(super) struct Convolution {
    /// `[1, out, 1, 1]`.
    bias: Tensor,
    way: Way,
}

/// How it is computed.
#[derive(Debug)]
enum Way {
    Composed(Composed),
    /// By a kernel of our own, in both directions.
    Own {
        card: &'static dyn Card,
        forward: Product,
        back: Product,
    },
}

/// Of candle's convolutions.
#[derive(Debug)]
struct Composed {
    window: Window,
    /// `[out, in, height, width]`.
    kernel: Tensor,
    /// `[in, out, height, width]`, turned by 180 degrees.
    turned: Tensor,
}

impl Convolution {
    /// `sizes` are height and width of the input and of the output.
    pub(super) fn new<T: Real + WithDType>(
        from: &plan::Convolution<T>,
        sizes: [[usize; 2]; 2],
        device: &Device,
        card: Option<&'static dyn Card>,
    ) -> Result<Self> {
        let way = match card {
            Some(card) => Way::Own {
                card,
                forward: Product::forward(from, sizes, device)?,
                back: Product::back(from, sizes, device)?,
            },
            None => Way::Composed(Composed::new(from, device)?),
        };
        Ok(Self { bias: Tensor::from_slice(&from.bias, (1, from.bias.len(), 1, 1), device)?, way })
    }

    /// Adds bias and residual; what is negative becomes 0 if `relu`.
    pub(super) fn forward<T: Real + WithDType>(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        relu: bool,
    ) -> Result<Tensor> {
        match &self.way {
            Way::Own { card, forward, .. } => {
                let residual = residual.map(Tensor::contiguous).transpose()?;
                forward.of(x, Finish { bias: Some(&self.bias), residual: residual.as_ref(), relu }, *card)
            }
            Way::Composed(composed) => {
                let mut y = composed.forward::<T>(x)?.broadcast_add(&self.bias)?;
                if let Some(residual) = residual {
                    y = (y + residual)?;
                }
                if relu { y.relu() } else { Ok(y) }
            }
        }
    }

    /// The gradient by an input of `size` from that of the output.
    pub(super) fn backward<T: Real + WithDType>(&self, gradient: &Tensor, size: [usize; 2]) -> Result<Tensor> {
        match &self.way {
            Way::Own { card, back, .. } => back.of(gradient, Finish::default(), *card),
            Way::Composed(composed) => composed.backward::<T>(gradient, size),
        }
    }
}

impl Composed {
    fn new<T: Real + WithDType>(from: &plan::Convolution<T>, device: &Device) -> Result<Self> {
        let [height, width] = from.window.kernel;
        let out = from.bias.len();
        let inputs = from.kernel.len() / (height * width * out);
        let kernel = Tensor::from_slice(&from.kernel, (height, width, inputs, out), device)?;
        let turned: Vec<T> = from.kernel.chunks_exact(inputs * out).rev().flatten().copied().collect();
        let turned = Tensor::from_vec(turned, (height, width, inputs, out), device)?;
        Ok(Self {
            window: from.window,
            kernel: kernel.permute((3, 2, 0, 1))?.contiguous()?,
            turned: turned.permute((2, 3, 0, 1))?.contiguous()?,
        })
    }

    fn forward<T: Real + WithDType>(&self, x: &Tensor) -> Result<Tensor> {
        let Window { kernel, stride, padding } = self.window;
        if kernel == [1, 1] && padding == Padding::VALID {
            let mut x = x.clone();
            for axis in AXES {
                let count = (x.dim(axis)? - 1) / stride + 1;
                x = every(&x, axis, 0, count, stride)?;
            }
            x.contiguous()?.conv2d(&self.kernel, 0, 1, 1, 1)
        } else {
            convolve::<T>(x, &self.kernel, padding, stride)
        }
    }

    fn backward<T: Real + WithDType>(&self, gradient: &Tensor, size: [usize; 2]) -> Result<Tensor> {
        let Window { kernel, padding, .. } = self.window;
        if kernel == [1, 1] && padding == Padding::VALID {
            let gradient = gradient.contiguous()?.conv2d(&self.turned, 0, 1, 1, 1)?;
            let (gradient, around) = self.spread(&gradient, size)?;
            return surround(&gradient, around, T::ZERO);
        }
        let (gradient, around) = self.spread(gradient, size)?;
        convolve::<T>(&gradient, &self.turned, around, 1)
    }

    /// The outputs' gradient where the inputs were, and what must stand around it so that the turned kernel gives `size`.
    fn spread(&self, gradient: &Tensor, size: [usize; 2]) -> Result<(Tensor, Padding)> {
        let Window { kernel, stride, padding } = self.window;
        let gradient = spread(&spread(gradient, AXES[0], stride)?, AXES[1], stride)?;
        let before = [kernel[0] - 1 - padding.top, kernel[1] - 1 - padding.left];
        let after =
            |i: usize| Ok::<usize, candle_core::Error>(size[i] + kernel[i] - 1 - before[i] - gradient.dim(AXES[i])?);
        let around = Padding { top: before[0], bottom: after(0)?, left: before[1], right: after(1)? };
        Ok((gradient, around))
    }
}

fn convolve<T: Real + WithDType>(x: &Tensor, kernel: &Tensor, padding: Padding, stride: usize) -> Result<Tensor> {
    match uniform(padding) {
        Some(side) => x.contiguous()?.conv2d(kernel, side, stride, 1, 1),
        None => surround(x, padding, T::ZERO)?.contiguous()?.conv2d(kernel, 0, stride, 1, 1),
    }
}
