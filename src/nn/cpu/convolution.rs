//! A convolution forward, with bias, residual and ReLU; and its gradient by the input.
//!
//! The gradient is a product of patches as well: input pixels whose place is equal modulo the stride (a phase) see the
//! output's gradient through the same taps of the turned kernel. With stride 1 there is one phase; otherwise each phase is
//! a product of its own with exactly its taps, or, where the input has few channels, all phases share one product, whose
//! columns would else be too few. This gathers instead of scattering, so that tiles can be worked on at the same time.

use super::parallel::{Shared, Spares, Threads};
use super::product::{Buffers, Output, Sink, Source, Sweep, Tile, multiply};
use super::{lanes, parallel::at_least};
use crate::nn::graph::Window;
use crate::nn::plan::Convolution;
use crate::nn::real::Real;

/// Input channels below which all phases share one product.
const FEW: usize = 16;

/// Bytes of the mask of a pixel.
pub fn mask_bytes(channels: usize) -> usize {
    channels.div_ceil(lanes::MASK)
}

/// Where a convolution writes.
pub struct Target<'a, T> {
    /// Begins with channel 0 of pixel 0.
    pub data: &'a mut [T],
    /// Numbers between two pixels.
    pub stride: usize,
    /// Height and width.
    pub size: [usize; 2],
}

/// What is added before the ReLU.
#[derive(Clone, Copy, Debug)]
pub enum Residual<'a, T> {
    /// Nothing.
    None,
    /// What already lies where the result goes.
    InPlace,
    /// Another image of the result's shape.
    Image(Source<'a, T>),
}

/// `target = relu(conv(source) + bias + residual)`; `mask` gets a bit for each positive value, pixel after pixel.
pub fn forward<T: Real>(
    convolution: &Convolution<T>,
    source: Source<T>,
    Target { data, stride: apart, size: grid }: Target<T>,
    residual: Residual<T>,
    mask: Option<&mut [u8]>,
    workers: (Threads, &Spares<Buffers<T>>),
) {
    let Window { kernel, stride, padding } = convolution.window;
    let origin = [-(padding.top as isize), -(padding.left as isize)];
    let sweep = Sweep { kernel, stride, origin, grid };
    let channels = convolution.bias.len();
    let sink = Activate {
        target: Shared::new(data, apart),
        residual,
        bias: &convolution.bias,
        relu: convolution.relu,
        mask: mask.map(|mask| Shared::new(mask, mask_bytes(channels))),
    };
    multiply(source, &sweep, (&convolution.kernel, channels), workers, &sink);
}

struct Activate<'a, T> {
    target: Shared<T>,
    residual: Residual<'a, T>,
    bias: &'a [T],
    relu: bool,
    mask: Option<Shared<u8>>,
}

impl<T: Real> Sink<T> for Activate<'_, T> {
    fn open(&self, tile: &Tile, _: &mut Vec<T>) -> Output<T> {
        if let Residual::Image(image) = self.residual {
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
            // SAFETY: tiles are disjoint, and their columns begin at whole bytes of the mask.
            let row = unsafe { self.target.row(pixel, &tile.columns) };
            match &self.mask {
                _ if !self.relu => lanes::add(row, bias),
                None => lanes::add_relu(row, bias),
                // SAFETY: as above.
                Some(mask) => lanes::add_relu_mask(row, bias, unsafe { mask.row(pixel, &bytes) }),
            }
        }
    }
}

/// The turned kernel for some phases of the input.
#[derive(Clone, Debug)]
struct Group<T> {
    /// Row and column modulo the stride.
    phases: Vec<[usize; 2]>,
    /// The window over the output's gradient, relative to the pixel's place divided by the stride.
    origin: [isize; 2],
    kernel: [usize; 2],
    /// `[kernel height, kernel width, out, phases, in]`.
    matrix: Vec<T>,
}

/// A convolution's kernel, turned for its gradient by the input.
#[derive(Clone, Debug)]
pub struct Turned<T> {
    groups: Vec<Group<T>>,
    stride: usize,
    inputs: usize,
    outputs: usize,
}

impl<T: Real> Turned<T> {
    /// Turns the kernel of `convolution`.
    pub fn new(convolution: &Convolution<T>) -> Self {
        let window = convolution.window;
        let outputs = convolution.bias.len();
        let inputs = convolution.kernel.len() / (window.kernel[0] * window.kernel[1] * outputs);
        let phases: Vec<[usize; 2]> =
            (0..window.stride).flat_map(|y| (0..window.stride).map(move |x| [y, x])).collect();
        let sets: Vec<Vec<[usize; 2]>> =
            if inputs < FEW { vec![phases] } else { phases.into_iter().map(|phase| vec![phase]).collect() };
        let groups = sets
            .into_iter()
            .filter_map(|phases| Group::new(phases, &convolution.kernel, (inputs, outputs), window))
            .collect();
        Self { groups, stride: window.stride, inputs, outputs }
    }

    /// The gradient by the input (into `target`) from that by the output (`source`, already masked).
    pub fn backward(
        &self,
        source: Source<T>,
        target: Target<T>,
        accumulate: bool,
        workers: (Threads, &Spares<Buffers<T>>),
    ) {
        let Target { data, stride, size } = target;
        if self.stride > 1 && !accumulate {
            for pixel in data.chunks_mut(stride) {
                pixel[..self.inputs].fill(T::ZERO);
            }
        }
        debug_assert_eq!(source.channels, self.outputs);
        for group in &self.groups {
            let (kernel, origin) = (group.kernel, group.origin);
            let start = group.phases[0];
            let grid = [0, 1].map(|axis| size[axis].saturating_sub(start[axis]).div_ceil(self.stride));
            let sweep = Sweep { kernel, stride: 1, origin, grid };
            let matrix = (&*group.matrix, self.inputs * group.phases.len());
            let target = Shared::new(data, stride);
            if self.stride == 1 {
                multiply(source, &sweep, matrix, workers, &Plain { target, accumulate });
            } else {
                let phases = (&*group.phases, self.stride, self.inputs);
                multiply(source, &sweep, matrix, workers, &Scatter { target, size, grid, phases });
            }
        }
    }
}

impl<T: Real> Group<T> {
    /// `None` where no tap reaches these phases (a window smaller than its stride).
    fn new(phases: Vec<[usize; 2]>, kernel: &[T], (inputs, outputs): (usize, usize), window: Window) -> Option<Self> {
        let (stride, pad) = (window.stride as isize, [window.padding.top as isize, window.padding.left as isize]);
        let [height, width] = window.kernel.map(|taps| taps as isize);
        // Tap k of an input pixel `stride * i + phase` meets output `i + o` where k = phase + pad - stride * o.
        let reach = |axis: usize, taps: isize| {
            let place = |phase: &[usize; 2]| phase[axis] as isize + pad[axis];
            let low = phases.iter().map(|phase| -((taps - 1 - place(phase)).div_euclid(stride))).min()?;
            let high = phases.iter().map(|phase| place(phase).div_euclid(stride)).max()?;
            (low <= high).then_some((low, (high - low + 1) as usize))
        };
        let ((top, rows), (left, columns)) = (reach(0, height)?, reach(1, width)?);
        let mut matrix = vec![T::ZERO; rows * columns * outputs * phases.len() * inputs];
        let mut cells = matrix.chunks_exact_mut(inputs);
        for (row, column) in (0..rows as isize).flat_map(|row| (0..columns as isize).map(move |column| (row, column))) {
            for output in 0..outputs {
                for phase in &phases {
                    let cell = cells.next()?;
                    let y = phase[0] as isize + pad[0] - stride * (top + row);
                    let x = phase[1] as isize + pad[1] - stride * (left + column);
                    if (0..height).contains(&y) && (0..width).contains(&x) {
                        let start = (y * width + x) as usize * inputs * outputs + output;
                        let taps = kernel[start..].iter().step_by(outputs);
                        cell.iter_mut().zip(taps).for_each(|(cell, tap)| *cell = *tap);
                    }
                }
            }
        }
        Some(Self { phases, origin: [top, left], kernel: [rows, columns], matrix })
    }
}

/// The gradient of a convolution of stride 1 goes where it belongs.
struct Plain<T> {
    target: Shared<T>,
    accumulate: bool,
}

impl<T: Real> Sink<T> for Plain<T> {
    fn open(&self, tile: &Tile, _: &mut Vec<T>) -> Output<T> {
        let start = self.target.rectangle(&tile.pixels, &tile.columns);
        Output { start, stride: self.target.stride(), accumulate: self.accumulate }
    }

    fn close(&self, _: &Tile, _: &[T]) {}
}

/// The gradient of a convolution with a stride is added to the pixels of its phases.
struct Scatter<'a, T> {
    target: Shared<T>,
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

/// Nought wherever the ReLU had cut off: the gradient before it.
pub fn apply_mask<T: Real>(target: &mut Target<T>, channels: usize, mask: &[u8], threads: Threads) {
    let (stride, bytes) = (target.stride, mask_bytes(channels));
    let [_, width] = target.size;
    threads.chunks(target.data, width * stride, |row, line| {
        let masks = mask[row * width * bytes..].chunks_exact(bytes);
        for (pixel, mask) in line.chunks_mut(stride).zip(masks) {
            lanes::apply_mask(&mut pixel[..channels], mask);
        }
    });
}
