//! Batch norm, the sum with a shortcut and ReLU, forward and back: calls of the kernels.
//!
//! Each reads the images once, but for moments: their squares are about the mean, which takes a second look.

use candle_core::{DType, Result, Tensor};

use super::{Call, Card, Operand, blocks};

/// Batch norm's part of a convolution, on a card.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Norm<'a> {
    pub(in super::super) card: &'a dyn Card,
}

/// What settles a batch norm, besides what is measured.
pub(in super::super) struct Rule<'a> {
    /// `[3]`: epsilon, scale, what a step leaves of the moving statistics.
    pub(in super::super) numbers: &'a Tensor,
    /// `[channels]` each: gamma, beta, moving mean and variance.
    pub(in super::super) state: [&'a Tensor; 4],
}

impl Norm<'_> {
    /// `[2, rows, channels]`: means, and sums of squares about them.
    pub(in super::super) fn moments(&self, products: &Tensor) -> Result<Tensor> {
        let nothing = Operand::Nothing;
        self.sums("row_moments", [Operand::Read(products), nothing, nothing, nothing], products)
    }

    /// `[2, rows, channels]`: sums of what comes through where `value` is above nought, and of that times the products, less
    /// their mean.
    pub(in super::super) fn gradient_sums(
        &self,
        gradient: &Tensor,
        value: Option<&Tensor>,
        products: Option<(&Tensor, &Tensor)>,
    ) -> Result<Tensor> {
        let (products, settled) = products.unzip();
        self.sums("gradient_sums", [products.into(), Operand::Read(gradient), value.into(), settled.into()], gradient)
    }

    fn sums(&self, kernel: &'static str, [a, b, c, d]: [Operand; 4], images: &Tensor) -> Result<Tensor> {
        let [rows, channels, area] = sizes(images)?;
        self.card.one(&Call {
            kernel,
            blocks: [channels, rows],
            operands: &[a, b, c, d, Operand::Written(0)],
            numbers: &[rows, channels, area],
            outputs: &[((2, rows, channels).into(), DType::F32)],
        })
    }

    /// `[6, channels]`, from the moments of `[rows, channels, height, width]` or from the moving statistics.
    pub(in super::super) fn settle(&self, moments: Option<(&Tensor, usize)>, rule: &Rule) -> Result<Tensor> {
        let (moments, area) = moments.unzip();
        let rows = moments.map_or(Ok(0), |moments| moments.dim(1))?;
        self.settled("settle", [moments, None], rule, [rows, area.unwrap_or_default()])
    }

    /// `[4, channels]`; `area` is that of an image, or nought where the moving statistics stand.
    pub(in super::super) fn settle_back(
        &self,
        sums: &Tensor,
        settled: &Tensor,
        rule: &Rule,
        area: usize,
    ) -> Result<Tensor> {
        self.settled("settle_back", [Some(sums), Some(settled)], rule, [sums.dim(1)?, area])
    }

    fn settled(
        &self,
        kernel: &'static str,
        [sums, settled]: [Option<&Tensor>; 2],
        rule: &Rule,
        [rows, area]: [usize; 2],
    ) -> Result<Tensor> {
        let [gamma, beta, mean, variance] = rule.state;
        let channels = gamma.elem_count();
        let lines: usize = if settled.is_some() { 4 } else { 6 };
        self.card.one(&Call {
            kernel,
            blocks: blocks(channels)?,
            operands: &[
                sums.into(),
                Operand::Read(rule.numbers),
                Operand::Read(gamma),
                Operand::Read(beta),
                Operand::Read(mean),
                Operand::Read(variance),
                settled.into(),
                Operand::Written(0),
            ],
            numbers: &[rows, channels, area],
            outputs: &[((lines, channels).into(), DType::F32)],
        })
    }

    /// From products to values.
    pub(in super::super) fn forward(
        &self,
        products: &Tensor,
        settled: &Tensor,
        shortcut: Option<&Tensor>,
        relu: bool,
    ) -> Result<Tensor> {
        let shortcut = shortcut.map(Tensor::contiguous).transpose()?;
        let nothing = Operand::Nothing;
        let operands =
            [Operand::Read(products), Operand::Read(settled), shortcut.as_ref().into(), nothing, nothing, nothing];
        self.normed("norm_forward", operands, products, relu)
    }

    /// From the gradient by values to that by products; with `products` through the batch's mean and variance as well, as
    /// `settle_back` has it.
    pub(in super::super) fn back(
        &self,
        (gradient, value): (&Tensor, Option<&Tensor>),
        settled: &Tensor,
        products: Option<(&Tensor, &Tensor)>,
    ) -> Result<Tensor> {
        let (products, back) = products.unzip();
        let operands = [
            products.into(),
            Operand::Read(settled),
            Operand::Nothing,
            Operand::Read(gradient),
            value.into(),
            back.into(),
        ];
        self.normed("norm_back", operands, gradient, false)
    }

    /// From the gradient by values to that by the shortcut.
    pub(in super::super) fn through(&self, gradient: &Tensor, value: &Tensor) -> Result<Tensor> {
        let nothing = Operand::Nothing;
        let operands = [nothing, nothing, nothing, Operand::Read(gradient), Operand::Read(value), nothing];
        self.normed("norm_through", operands, gradient, false)
    }

    fn normed(
        &self,
        kernel: &'static str,
        [a, b, c, d, e, f]: [Operand; 6],
        images: &Tensor,
        relu: bool,
    ) -> Result<Tensor> {
        let [rows, channels, area] = sizes(images)?;
        self.card.one(&Call {
            kernel,
            blocks: blocks(images.elem_count())?,
            operands: &[a, b, c, d, e, f, Operand::Written(0)],
            numbers: &[rows, channels, area, usize::from(relu)],
            outputs: &[(images.shape().clone(), DType::F32)],
        })
    }
}

/// Rows, channels, pixels of `[rows, channels, height, width]`.
fn sizes(images: &Tensor) -> Result<[usize; 3]> {
    let (rows, channels, height, width) = images.dims4()?;
    Ok([rows, channels, height * width])
}
