//! Convolutions and their gradients on packed kernels.

use std::borrow::Cow;

use super::direct::Direct;
use super::image::{Fused, Kept, Output, Sums, To, View};
use super::pairs::pairs;
use super::scheme::Scheme;
use super::vector::Engine;
use super::winograd::Winograd;
use crate::nn::cpu::kernel::{
    Backward, Beneath, BitsMut, Forward, Gate, Parts, Relu, Residual, SlopesMut, Source, Sweep, Target, Workers,
    through_relu,
};
use crate::nn::cpu::norm::UNCACHED;
use crate::nn::cpu::parallel::{Shared, Threads, at_least};
use crate::nn::cpu::stored::NumbersMut;
use crate::nn::cpu::turned::Turned;
use crate::nn::graph::Window;
use crate::nn::plan::Convolution;

/// Channels below which a line of taps is one tap of a padded image: a run of three numbers is no work for vectors.
pub const FEW: usize = 16;

/// A kernel, ready to be multiplied in the way that is the fastest for its image.
#[derive(Debug)]
enum Product<E> {
    Direct(Direct<E>),
    Winograd(Winograd<E>),
}

impl<E: Engine> Product<E> {
    /// For a kernel `[height, width, channels, columns]` and an output of `grid`.
    fn new(engine: E, (kernel, stride): ([usize; 2], usize), matrix: &[f32], bias: &[f32], grid: [usize; 2]) -> Self {
        let taps = kernel[0] * kernel[1];
        let channels = matrix.len() / (taps * bias.len());
        let faster = |scheme: &Scheme| pairs(engine, channels).is_none() || scheme.is_faster_than_bf16(grid);
        match Scheme::of(kernel, grid, [channels, bias.len()]).filter(|scheme| stride == 1 && faster(scheme)) {
            Some(scheme) => Self::Winograd(Winograd::new(engine, scheme, matrix, bias)),
            None => Self::Direct(Direct::new(engine, matrix, taps, bias)),
        }
    }

    fn update(&mut self, matrix: &[f32]) {
        match self {
            Self::Direct(direct) => direct.update(matrix),
            Self::Winograd(winograd) => winograd.update(matrix),
        }
    }

    /// Opens the parts that [`Product::run`] takes sums of.
    fn open<'a>(&self, parts: &'a mut Parts<f32>, images: usize, sweep: &Sweep, threads: Threads) -> Shared<'a, f32> {
        parts.open(|pixels| match self {
            Self::Direct(direct) => direct.parts(images, sweep, threads, pixels),
            Self::Winograd(winograd) => winograd.parts(images, sweep, threads, pixels),
        })
    }

    fn run(&self, source: &View, sweep: &Sweep, output: &Output, fused: &Fused, workers: Workers<f32>) {
        match self {
            Self::Direct(direct) => direct.run(source, sweep, output, fused, workers),
            Self::Winograd(winograd) => winograd.run(source, sweep, output, fused, workers),
        }
    }
}

/// A convolution, packed.
#[derive(Debug)]
pub struct Packed<E> {
    product: Product<E>,
    window: Window,
    channels: usize,
    outputs: usize,
    relu: bool,
}

impl<E: Engine> Packed<E> {
    /// For an output of `grid`.
    pub fn new(engine: E, convolution: &Convolution<f32>, grid: [usize; 2]) -> Self {
        let Convolution { window, kernel, bias, relu, .. } = convolution;
        let outputs = bias.len();
        let channels = kernel.len() / (window.kernel[0] * window.kernel[1] * outputs);
        let product = if channels < FEW {
            Product::Direct(Direct::new(engine, kernel, window.kernel[0], bias))
        } else {
            Product::new(engine, (window.kernel, window.stride), kernel, bias, grid)
        };
        Self { product, window: *window, channels, outputs, relu: *relu }
    }

    /// `fused` is told where the window goes.
    fn multiply<'a>(
        &self,
        source: Source<f32>,
        output: &Output,
        workers: Workers<f32>,
        fused: impl FnOnce(&Sweep) -> Fused<'a>,
    ) {
        let sweep = Sweep::new(self.window, output.size);
        assert_eq!(source.channels, self.channels);
        let multiply = |source: &View, sweep: &Sweep| {
            self.product.run(source, sweep, output, &fused(sweep), workers);
        };
        if self.channels < FEW {
            workers.1.with(|buffers| {
                let (view, sweep) = pad(source, &sweep, &mut buffers.spare);
                multiply(&view, &sweep);
            });
        } else {
            multiply(&view(source), &sweep);
        }
    }
}

impl<E: Engine> Forward<f32> for Packed<E> {
    fn run(
        &self,
        source: Source<f32>,
        Target { data, images, stride, size }: Target<f32>,
        residual: Residual<f32>,
        relu: Relu,
        workers: Workers<f32>,
    ) {
        let add = matches!(residual, Residual::InPlace);
        let target = To::Full(Shared::new(data, stride));
        let output = Output { target, images, size, step: 1, phase: [0, 0], add };
        let fused = Fused {
            residual: match residual {
                Residual::Images(images) => Some((images.data, images.stride)),
                Residual::None | Residual::InPlace => None,
            },
            relu: self.relu,
            keep: match relu {
                Relu::Apply => Kept::Nothing,
                Relu::Keep(BitsMut { data, stride }) => Kept::Bits(Shared::new(data, stride)),
                Relu::Between(SlopesMut { data, stride }) => Kept::Slopes(Shared::new(data, stride)),
            },
            ..Fused::default()
        };
        self.multiply(source, &output, workers, |_| fused);
    }

    fn rounds(&self) -> bool {
        matches!(&self.product, Product::Direct(direct) if direct.pairs.is_some())
    }

    fn run_with_moments(
        &self,
        source: Source<f32>,
        target: NumbersMut<f32>,
        size: [usize; 2],
        parts: &mut Parts<f32>,
        workers: Workers<f32>,
    ) -> bool {
        let images = source.images;
        let numbers = images * size[0] * size[1] * self.outputs;
        assert_eq!(target.len(), numbers, "products of all images");
        let target = match target {
            NumbersMut::Full(numbers) => To::Full(Shared::new(numbers, self.outputs)),
            NumbersMut::Rounded(numbers) => To::Rounded(Shared::new(numbers, self.outputs)),
        };
        let output = Output { target, images, size, step: 1, phase: [0, 0], add: false };
        parts.clear(self.outputs.next_multiple_of(E::COLUMNS));
        self.multiply(source, &output, workers, |sweep| {
            let sums = Sums { rows: self.product.open(parts, images, sweep, workers.0), beneath: &[] };
            let past_cache = images * size[0] * size[1] * self.outputs >= UNCACHED && output.takes_streams();
            Fused { relu: self.relu, past_cache, sums: Some(sums), ..Fused::default() }
        });
        true
    }

    fn kernel(&self) -> Cow<'_, [f32]> {
        Cow::Owned(match &self.product {
            Product::Direct(direct) => direct.matrix(),
            Product::Winograd(winograd) => winograd.matrix(),
        })
    }

    fn update(&mut self, kernel: &[f32], bias: &[f32]) {
        self.product.update(kernel);
        match &mut self.product {
            Product::Direct(direct) => direct.bias.update(bias),
            Product::Winograd(winograd) => winograd.bias.update(bias),
        }
    }
}

pub fn view(Source { data, images, size, channels, stride }: Source<f32>) -> View {
    View { data, images, size, apart: [size[0] * size[1] * stride, size[1] * stride, stride], channels }
}

/// The images with their padding, dense, in which a line of taps lies together: as images for windows one tap wide.
pub fn pad<'a>(source: Source<f32>, sweep: &Sweep, spare: &'a mut Vec<f32>) -> (View<'a>, Sweep) {
    let channels = source.channels;
    let [height, width] = [0, 1].map(|axis| (sweep.grid[axis] - 1) * sweep.stride + sweep.kernel[axis]);
    let (taps, line, whole) = (sweep.kernel[1], width * channels, height * width * channels);
    let data = at_least(spare, source.images * whole);
    data.fill(0.0);
    let place = |axis: usize, place: usize| (place as isize - sweep.origin[axis]) as usize;
    for (image, data) in data.chunks_exact_mut(whole).enumerate() {
        let Source { data: from, size, stride, .. } = source.image(image);
        for y in (0..size[0]).filter(|&y| place(0, y) < height && place(1, 0) < width) {
            let (from, to) = (&from[y * size[1] * stride..], &mut data[place(0, y) * line + place(1, 0) * channels..]);
            let seen = size[1].min(width - place(1, 0));
            if stride == channels {
                to[..seen * channels].copy_from_slice(&from[..seen * channels]);
            } else {
                let pixels = to.chunks_exact_mut(channels).zip(from.chunks(stride)).take(seen);
                pixels.for_each(|(to, from)| to.copy_from_slice(&from[..channels]));
            }
        }
    }
    let size = [height, width - taps + 1];
    let view = View { data, images: source.images, size, apart: [whole, line, channels], channels: taps * channels };
    (view, Sweep { kernel: [sweep.kernel[0], 1], origin: [0, 0], ..*sweep })
}

/// A convolution's gradient by its input, packed.
#[derive(Debug)]
pub struct PackedGradient<E> {
    turned: Turned<f32>,
    /// One for each group of phases.
    groups: Vec<Product<E>>,
}

impl<E: Engine> PackedGradient<E> {
    /// For an input of `size`.
    pub fn new(engine: E, turned: &Turned<f32>, size: [usize; 2]) -> Self {
        let groups = turned.groups.iter().map(|group| {
            let bias = vec![0.0; turned.inputs * group.phases.len()];
            let grid = group.sweep(size, turned.stride).grid;
            Product::new(engine, (group.kernel, turned.stride), &group.matrix, &bias, grid)
        });
        Self { groups: groups.collect(), turned: turned.without_matrices() }
    }

    /// Whether each pixel is written once, so that a gate and sums can be fused into that.
    fn fuses(&self) -> bool {
        !self.turned.leaves_gaps() && self.turned.groups.iter().all(|group| group.phases.len() == 1)
    }
}

impl<E: Engine> PackedGradient<E> {
    /// Sums only where they can be fused.
    fn multiply(
        &self,
        source: Source<f32>,
        target: Target<f32>,
        (accumulate, gate): (bool, Option<Gate>),
        mut sums: Option<(&[Beneath<f32>], &mut Parts<f32>)>,
        workers: Workers<f32>,
    ) {
        let Target { data, images, stride, size } = target;
        let Turned { stride: step, inputs, .. } = self.turned;
        if self.turned.leaves_gaps() && !accumulate {
            clear(data, stride, inputs, workers.0);
        }
        for (group, product) in self.turned.groups.iter().zip(&self.groups) {
            let sweep = group.sweep(size, step);
            if sweep.grid.contains(&0) {
                continue;
            }
            let view = view(source);
            if let [phase] = *group.phases {
                let target = To::Full(Shared::new(data, stride));
                let output = Output { target, images, size, step, phase, add: accumulate };
                let sums = sums
                    .as_mut()
                    .map(|(beneath, parts)| Sums { rows: product.open(parts, images, &sweep, workers.0), beneath });
                let fused = Fused { through: gate.filter(|_| self.fuses()), sums, ..Fused::default() };
                product.run(&view, &sweep, &output, &fused, workers);
            } else {
                workers.1.with(|buffers| {
                    let columns = inputs * group.phases.len();
                    let spare = at_least(&mut buffers.spare, images * sweep.grid[0] * sweep.grid[1] * columns);
                    let (grid, add) = (sweep.grid, false);
                    let target = To::Full(Shared::new(spare, columns));
                    let output = Output { target, images, size: grid, step: 1, phase: [0, 0], add };
                    product.run(&view, &sweep, &output, &Fused::default(), workers);
                    let target = Target { data: &mut *data, images, stride, size };
                    self.turned.scatter(group, spare, target, accumulate, workers.0);
                });
            }
        }
        // Else the whole image goes through the ReLU in the end.
        if let Some(gate) = gate.filter(|_| !self.fuses()) {
            through_relu(Target { data, images, stride, size }, inputs, gate, workers.0);
        }
    }
}

impl<E: Engine> Backward<f32> for PackedGradient<E> {
    fn run(
        &self,
        source: Source<f32>,
        target: Target<f32>,
        accumulate: bool,
        gate: Option<Gate>,
        workers: Workers<f32>,
    ) {
        self.multiply(source, target, (accumulate, gate), None, workers);
    }

    fn run_with_sums(
        &self,
        source: Source<f32>,
        target: Target<f32>,
        how: (bool, Option<Gate>),
        beneath: &[Beneath<f32>],
        parts: &mut Parts<f32>,
        workers: Workers<f32>,
    ) -> bool {
        if self.fuses() {
            parts.clear(self.turned.inputs.next_multiple_of(E::COLUMNS));
            self.multiply(source, target, how, Some((beneath, parts)), workers);
        }
        self.fuses()
    }

    fn update(&mut self, kernel: &[f32], spare: &mut Vec<f32>) {
        for (group, product) in self.turned.groups.iter().zip(&mut self.groups) {
            self.turned.turn(group, kernel, spare);
            product.update(spare);
        }
    }
}

/// Nought in every channel.
fn clear(data: &mut [f32], stride: usize, channels: usize, threads: Threads) {
    threads.chunks(data, 64 * stride, |_, line| line.chunks_mut(stride).for_each(|pixel| pixel[..channels].fill(0.0)));
}
