//! Convolutions and their gradients as products of gathered patches.

use std::borrow::Cow;

use super::product::{Output, Sink, Tile, multiply};
use crate::nn::cpu::kernel::{
    Backward, BitsMut, Forward, Gate, Relu, Residual, SlopesMut, Source, Sweep, Target, Workers, mask_bytes,
    through_relu,
};
use crate::nn::cpu::lanes;
use crate::nn::cpu::parallel::{Shared, at_least};
use crate::nn::cpu::turned::Turned;
use crate::nn::plan::Convolution;
use crate::nn::real::Real;

/// A convolution with its kernel as the plan has it.
impl<T: Real> Forward<T> for Convolution<T> {
    fn run(&self, source: Source<T>, mut target: Target<T>, residual: Residual<T>, relu: Relu, workers: Workers<T>) {
        let sweep = Sweep::new(self.window, target.size);
        let channels = self.bias.len();
        let pixels = target.size[0] * target.size[1];
        let (mut bits, mut slopes) = (None, None);
        match relu {
            Relu::Apply => (),
            Relu::Keep(BitsMut { data, stride }) => bits = Some((data.chunks_mut(pixels * stride), stride)),
            Relu::Between(to) => slopes = Some(to),
        }
        for image in 0..source.images {
            let Target { data, stride, .. } = target.image(image);
            let sink = Activate {
                target: Shared::new(data, stride),
                residual: match residual {
                    Residual::Images(images) => Residual::Images(images.image(image)),
                    other => other,
                },
                bias: &self.bias,
                relu: self.relu && slopes.is_none(),
                bits: bits.as_mut().and_then(|(bits, stride)| Some(Shared::new(bits.next()?, *stride))),
            };
            multiply(source.image(image), &sweep, (&self.kernel, channels), workers, &sink);
        }
        if let Some(slopes) = slopes.filter(|_| self.relu) {
            take_slopes(target, channels, slopes);
        }
    }

    fn kernel(&self) -> Cow<'_, [T]> {
        Cow::Borrowed(&self.kernel)
    }

    fn update(&mut self, kernel: &[T], bias: &[T]) {
        self.kernel.copy_from_slice(kernel);
        self.bias.copy_from_slice(bias);
    }
}

/// Takes the slopes of a ReLU between each image and the next; then applies it.
fn take_slopes<T: Real>(target: Target<T>, channels: usize, SlopesMut { data: slopes, stride: apart }: SlopesMut) {
    let Target { data, images, stride, size } = target;
    let pixels = size[0] * size[1];
    for image in 0..images {
        let (own, next) = data.split_at_mut(data.len().min((image + 1) * pixels * stride));
        for (pixel, own) in own[image * pixels * stride..].chunks_mut(stride).enumerate() {
            let own = &mut own[..channels];
            if image + 1 < images {
                let slopes = &mut slopes[(image * pixels + pixel) * apart..][..channels];
                lanes::take_slopes(own, &next[pixel * stride..][..channels], slopes);
            } else {
                lanes::relu(own);
            }
        }
    }
}

struct Activate<'a, T> {
    target: Shared<'a, T>,
    residual: Residual<'a, T>,
    bias: &'a [T],
    relu: bool,
    bits: Option<Shared<'a, u8>>,
}

impl<T: Real> Sink<T> for Activate<'_, T> {
    fn open(&self, tile: &Tile, _: &mut Vec<T>) -> Output<T> {
        if let Residual::Images(image) = self.residual {
            for pixel in tile.pixels.clone() {
                // SAFETY: tiles are disjoint.
                let row = unsafe { self.target.row(pixel, &tile.columns) };
                let start = pixel * image.stride + tile.columns.start;
                row.copy_from_slice(&image.data[start..start + row.len()]);
            }
        }
        let start = self.target.rectangle(&tile.pixels, &tile.columns);
        let accumulate = !matches!(self.residual, Residual::None);
        Output { start, stride: self.target.stride(), accumulate }
    }

    fn close(&self, tile: &Tile, _: &[T]) {
        let bias = &self.bias[tile.columns.clone()];
        let bytes = tile.columns.start / lanes::MASK..mask_bytes(tile.columns.end);
        for pixel in tile.pixels.clone() {
            // SAFETY: tiles are disjoint, and their columns begin at whole bytes of the bits.
            let row = unsafe { self.target.row(pixel, &tile.columns) };
            match &self.bits {
                _ if !self.relu => lanes::add(row, bias),
                None => lanes::add_relu(row, bias),
                // SAFETY: as above.
                Some(bits) => lanes::add_relu_mask(row, bias, unsafe { bits.row(pixel, &bytes) }),
            }
        }
    }
}

/// The turned kernel as it is.
impl<T: Real> Backward<T> for Turned<T> {
    fn run(&self, source: Source<T>, mut target: Target<T>, accumulate: bool, gate: Option<Gate>, workers: Workers<T>) {
        debug_assert_eq!(source.channels, self.outputs);
        for image in 0..source.images {
            self.run_one(source.image(image), target.image(image), accumulate, workers);
        }
        if let Some(gate) = gate {
            through_relu(target, self.inputs, gate, workers.0);
        }
    }

    fn update(&mut self, kernel: &[T], _: &mut Vec<T>) {
        self.turn_all(kernel);
    }
}

impl<T: Real> Turned<T> {
    fn run_one(&self, source: Source<T>, target: Target<T>, accumulate: bool, workers: Workers<T>) {
        let Target { data, stride, size, .. } = target;
        if self.stride > 1 && !accumulate {
            for pixel in data.chunks_mut(stride) {
                pixel[..self.inputs].fill(T::ZERO);
            }
        }
        for group in &self.groups {
            let sweep = group.sweep(size, self.stride);
            let matrix = (&*group.matrix, self.inputs * group.phases.len());
            let target = Shared::new(data, stride);
            if self.stride == 1 {
                multiply(source, &sweep, matrix, workers, &Plain { target, accumulate });
            } else {
                let phases = (&*group.phases, self.stride, self.inputs);
                multiply(source, &sweep, matrix, workers, &Scatter { target, size, grid: sweep.grid, phases });
            }
        }
    }
}

/// The gradient of a convolution of stride 1 goes where it belongs.
struct Plain<'a, T> {
    target: Shared<'a, T>,
    accumulate: bool,
}

impl<T: Real> Sink<T> for Plain<'_, T> {
    fn open(&self, tile: &Tile, _: &mut Vec<T>) -> Output<T> {
        let start = self.target.rectangle(&tile.pixels, &tile.columns);
        Output { start, stride: self.target.stride(), accumulate: self.accumulate }
    }

    fn close(&self, _: &Tile, _: &[T]) {}
}

/// The gradient of a convolution with a stride is added to the pixels of its phases.
struct Scatter<'a, T> {
    target: Shared<'a, T>,
    /// Of the input.
    size: [usize; 2],
    /// Of the product.
    grid: [usize; 2],
    /// The phases, the stride, the input's channels.
    phases: (&'a [[usize; 2]], usize, usize),
}

impl<T: Real> Sink<T> for Scatter<'_, T> {
    fn open(&self, tile: &Tile, spare: &mut Vec<T>) -> Output<T> {
        let stride = tile.columns.len();
        let start = at_least(spare, tile.pixels.len() * stride).as_mut_ptr();
        Output { start, stride, accumulate: false }
    }

    fn close(&self, tile: &Tile, spare: &[T]) {
        let (phases, stride, inputs) = self.phases;
        for (pixel, row) in tile.pixels.clone().zip(spare.chunks_exact(tile.columns.len())) {
            let corner = [pixel / self.grid[1] * stride, pixel % self.grid[1] * stride];
            for (index, phase) in phases.iter().enumerate() {
                let [y, x] = [corner[0] + phase[0], corner[1] + phase[1]];
                // This phase's columns, and those of them that the tile has.
                let (from, to) = (index * inputs, (index + 1) * inputs);
                let (from, to) = (from.max(tile.columns.start), to.min(tile.columns.end));
                if from < to && y < self.size[0] && x < self.size[1] {
                    let channels = from - index * inputs..to - index * inputs;
                    // SAFETY: tiles are disjoint, and no two pixels of a product share a phase's pixel.
                    let target = unsafe { self.target.row(y * self.size[1] + x, &channels) };
                    lanes::add(target, &row[from - tile.columns.start..to - tile.columns.start]);
                }
            }
        }
    }
}
