//! A convolution forward, back to its input and back to its kernel: through candle's forward convolution, or by kernels of our own.
//!
//! candle's own backward computes both gradients at once and by transposed convolutions. The gradient by the input is a
//! convolution of the outputs' gradient, spread by the stride, with the kernel turned by 180 degrees and its channels exchanged
//! (Dumoulin and Visin, arXiv 1603.07285, relationship 14); that by the kernel is a convolution of the input with the outputs'
//! gradient, images taken for channels, dilated by the stride.

use candle_core::{Device, Result, Tensor, WithDType};

use super::cuda::Card;
pub(super) use super::cuda::convolution::{Finish, Shape};
use super::cuda::convolution::{Outer, Product};
use super::share;
use super::slide::{AXES, every, spread, surround, uniform};
use crate::nn::graph::{Padding, Window};
use crate::nn::real::Real;

/// A convolution without its weights.
#[derive(Debug)]
pub(super) struct Convolution {
    shape: Shape,
    own: Option<Own>,
}

/// Kernels of our own in all three directions.
#[derive(Debug)]
struct Own {
    card: &'static dyn Card,
    forward: Product,
    back: Product,
    outer: Outer,
}

/// A convolution's kernel, as each direction reads it.
#[derive(Debug)]
pub(super) struct Kernel {
    /// As our own kernels read it, or `[outputs, inputs, height, width]` for candle.
    forward: Tensor,
    /// Turned by 180 degrees, or `[inputs, outputs, height, width]`.
    back: Tensor,
}

impl Convolution {
    pub(super) fn new(shape: Shape, device: &Device, card: Option<&'static dyn Card>) -> Result<Self> {
        let own = |card| -> Result<Own> {
            let [forward, back] = [Product::forward(shape, device, card)?, Product::back(shape, device, card)?];
            Ok(Own { card, outer: Outer::new(shape, &forward), forward, back })
        };
        Ok(Self { shape, own: card.map(own).transpose()? })
    }

    /// From `[height, width, inputs, outputs]`, however it is shaped.
    pub(super) fn kernel(&self, values: &Tensor) -> Result<Kernel> {
        let Shape { window: Window { kernel: [height, width], .. }, channels: [inputs, outputs], .. } = self.shape;
        let taps = values.reshape((height * width, inputs, outputs))?;
        let turned = if height * width == 1 { taps.clone() } else { taps.flip(&[0])? };
        let [forward, back] = if let Some(own) = &self.own {
            [own.forward.weights(&taps, own.card)?, own.back.weights(&turned.transpose(1, 2)?, own.card)?]
        } else {
            let window = (height, width, inputs, outputs);
            [taps.reshape(window)?.permute((3, 2, 0, 1))?, turned.reshape(window)?.permute((2, 3, 0, 1))?]
        };
        Ok(Kernel { forward: forward.contiguous()?, back: back.contiguous()? })
    }

    /// Of `[rows, inputs, height, width]`.
    pub(super) fn forward<T: Real + WithDType>(&self, x: &Tensor, kernel: &Kernel, finish: Finish) -> Result<Tensor> {
        if let Some(Own { card, forward, .. }) = &self.own {
            return forward.of(x, &kernel.forward, finish, *card);
        }
        let mut y = self.compose_forward::<T>(x, &kernel.forward)?;
        if let Some(bias) = finish.bias {
            y = y.broadcast_add(&bias.reshape((1, (), 1, 1))?)?;
        }
        if let Some(residual) = finish.residual {
            y = (y + residual)?;
        }
        if finish.relu { y.relu() } else { Ok(y) }
    }

    /// The gradient by the input from that by the output, added to `others` that have come to the input already, times the
    /// slope's `shares` behind which the input stands.
    pub(super) fn backward<T: Real + WithDType>(
        &self,
        gradient: &Tensor,
        kernel: &Kernel,
        others: Option<&Tensor>,
        shares: Option<&Tensor>,
    ) -> Result<Tensor> {
        if let Some(Own { card, back, .. }) = &self.own {
            let finish = Finish { residual: others, shares, ..Finish::default() };
            return back.of(gradient, &kernel.back, finish, *card);
        }
        let mut gradient = self.compose_backward::<T>(gradient, &kernel.back)?;
        if let Some(others) = others {
            gradient = (others + gradient)?;
        }
        if let Some(shares) = shares {
            gradient = share::times::<T>(&gradient, shares, None)?;
        }
        Ok(gradient)
    }

    /// The gradient by the kernel, `[height, width, inputs, outputs]`, from what it saw and the gradient by the output.
    pub(super) fn by_kernel<T: Real + WithDType>(&self, x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let Shape { window: Window { kernel: [height, width], .. }, channels: [inputs, outputs], .. } = self.shape;
        let sums = match &self.own {
            Some(Own { card, outer, .. }) => outer.of(x, gradient, *card)?,
            None => self.compose_by_kernel::<T>(x, gradient)?,
        };
        sums.reshape((height, width, inputs, outputs))
    }

    fn compose_forward<T: Real + WithDType>(&self, x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
        let Window { stride, padding, .. } = self.shape.window;
        if !self.is_pointwise() {
            return convolve::<T>(x, kernel, padding, stride);
        }
        let mut x = x.clone();
        for axis in AXES {
            let count = (x.dim(axis)? - 1) / stride + 1;
            x = every(&x, axis, 0, count, stride)?;
        }
        x.contiguous()?.conv2d(kernel, 0, 1, 1, 1)
    }

    fn compose_backward<T: Real + WithDType>(&self, gradient: &Tensor, turned: &Tensor) -> Result<Tensor> {
        if self.is_pointwise() {
            let gradient = gradient.contiguous()?.conv2d(turned, 0, 1, 1, 1)?;
            let (gradient, around) = self.spread(&gradient)?;
            return surround(&gradient, around, T::ZERO);
        }
        let (gradient, around) = self.spread(gradient)?;
        convolve::<T>(&gradient, turned, around, 1)
    }

    fn compose_by_kernel<T: Real + WithDType>(&self, x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let Window { kernel: [height, width], stride, padding } = self.shape.window;
        let x = surround(x, padding, T::ZERO)?.transpose(0, 1)?.contiguous()?;
        let sums = x.conv2d(&gradient.transpose(0, 1)?.contiguous()?, 0, 1, stride, 1)?;
        // Rows and columns that no window reached.
        sums.narrow(AXES[0], 0, height)?.narrow(AXES[1], 0, width)?.permute((2, 3, 0, 1))?.contiguous()
    }

    fn is_pointwise(&self) -> bool {
        self.shape.window.kernel == [1, 1] && self.shape.window.padding == Padding::VALID
    }

    /// The outputs' gradient where the inputs were, and what must stand around it so that the turned kernel gives the input's size.
    fn spread(&self, gradient: &Tensor) -> Result<(Tensor, Padding)> {
        let Shape { window: Window { kernel, stride, padding }, sizes: [size, _], .. } = self.shape;
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
