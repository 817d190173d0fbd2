//! Images as kernels see them: what windows slide over, where results go, and what is fused into them.

use super::aligned::Aligned;
use super::product::{Beside, Columns, Finish};
use crate::nn::cpu::kernel::{Bits, Sweep};
use crate::nn::cpu::parallel::Shared;

/// Images that windows slide over.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub data: &'a [f32],
    /// How many.
    pub images: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// Numbers between two images, between two lines and between two pixels.
    pub apart: [usize; 3],
    /// Numbers that a tap sees.
    pub channels: usize,
}

impl View<'_> {
    /// Every pixel that is inside has its channels in the data.
    pub fn check(&self) {
        let ([height, width], [image, line, pixel]) = (self.size, self.apart);
        let reach = (self.images - 1) * image + (height - 1) * line + (width - 1) * pixel + self.channels;
        assert!(reach <= self.data.len(), "an image of {} numbers that should have {reach}", self.data.len());
    }

    /// Where a pixel of an image begins, if it is inside.
    pub fn offset(&self, image: usize, y: isize, x: isize) -> Option<usize> {
        // What is negative becomes very large.
        let (y, x) = (y as usize, x as usize);
        let inside = y < self.size[0] && x < self.size[1];
        inside.then(|| image * self.apart[0] + y * self.apart[1] + x * self.apart[2])
    }
}

/// Where results go: pixel `(y, x)` of the product is pixel `(y, x) * step + phase` of an image.
#[derive(Debug)]
pub struct Output {
    pub target: Shared<f32>,
    /// How many images.
    pub images: usize,
    /// Height and width of each.
    pub size: [usize; 2],
    pub step: usize,
    pub phase: [usize; 2],
    /// Whether the product is added to what is there.
    pub add: bool,
}

/// What is fused into the product.
#[derive(Debug, Default)]
pub struct Fused<'a> {
    /// Images of the output's shape that are added, and the numbers between their pixels.
    pub residual: Option<(&'a [f32], usize)>,
    pub relu: bool,
    /// Takes a bit for each positive value.
    pub bits: Option<Shared<u8>>,
    /// Bits of the output's pixels: what has none set becomes nought, at last.
    pub through: Option<Bits<'a>>,
}

impl Output {
    /// Which pixel of the images, counted through all, a pixel of the product is.
    pub fn place(&self, [image, y, x]: [usize; 3]) -> usize {
        (image * self.size[0] + y * self.step + self.phase[0]) * self.size[1] + x * self.step + self.phase[1]
    }

    /// Every pixel of the product has its columns in the images and in all that lies beside them.
    pub fn check(&self, sweep: &Sweep, fused: &Fused, columns: usize) {
        let last = self.place([self.images - 1, sweep.grid[0] - 1, sweep.grid[1] - 1]);
        self.target.rectangle(&(last..last + 1), &(0..columns));
        if let Some((image, stride)) = fused.residual {
            assert!(last * stride + columns <= image.len(), "a residual that ends too early");
        }
        if let Some(bits) = &fused.bits {
            bits.rectangle(&(last..last + 1), &(0..columns.div_ceil(8)));
        }
        if let Some(bits) = fused.through {
            assert!(last * bits.stride + columns.div_ceil(8) <= bits.data.len(), "bits that end too early");
        }
    }

    /// Some columns from `first` on, for blocks of the depth that may be the first and the last.
    pub fn columns(&self, fused: &Fused, bias: &Bias, first: usize, block: [bool; 2]) -> Columns {
        let residual =
            fused.residual.map(|(image, stride)| Beside { start: image.as_ptr().wrapping_add(first), stride });
        let bits = fused.bits.as_ref();
        let bits = bits.map(|bits| Beside { start: bits.start().wrapping_add(first / 8), stride: bits.stride() });
        let through = fused.through;
        let through =
            through.map(|bits| Beside { start: bits.data.as_ptr().wrapping_add(first / 8), stride: bits.stride });
        let panel = bias.panel(first);
        let finish = Finish { bias: panel.as_ptr(), residual, relu: fused.relu, bits, through };
        Columns {
            target: self.target.start().wrapping_add(first),
            stride: self.target.stride(),
            count: panel.len().min(bias.columns - first),
            add: self.add || !block[0],
            finish: block[1].then_some(finish),
        }
    }
}

/// What is added to each column, those included that only panels have.
#[derive(Debug)]
pub struct Bias {
    numbers: Aligned,
    columns: usize,
    width: usize,
}

impl Bias {
    pub fn new(bias: &[f32], width: usize) -> Self {
        let mut numbers = Aligned::zeros(bias.len().next_multiple_of(width));
        numbers.numbers_mut()[..bias.len()].copy_from_slice(bias);
        Self { numbers, columns: bias.len(), width }
    }

    /// Takes others, as many.
    pub fn update(&mut self, bias: &[f32]) {
        assert_eq!(bias.len(), self.columns, "a bias of another length");
        self.numbers.numbers_mut()[..bias.len()].copy_from_slice(bias);
    }

    fn panel(&self, first: usize) -> &[f32] {
        &self.numbers.numbers()[first..first + self.width]
    }
}
