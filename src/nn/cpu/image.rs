//! One image through a plan and back, in slots that are made once.

use std::mem;
use std::sync::OnceLock;

use super::instruction_set::InstructionSet;
use super::kernel::{Backward, Buffers, Forward, Residual, Source, Target, mask_bytes};
use super::lanes;
use super::layout::{Layout, Placement, ResidualGradient, View};
use super::parallel::{Spares, Threads, at_least};
use super::pool;
use super::turned::Turned;
use crate::nn::NnError;
use crate::nn::graph::Affine;
use crate::nn::plan::{Convolution, Operation, Plan, Step, StepId};
use crate::nn::real::Real;

/// A plan with its layout and its convolutions, ready to run: what executors share.
#[derive(Debug)]
pub struct Program<T> {
    /// Its kernels are in `steps`.
    pub plan: Plan<T>,
    layout: Layout,
    set: InstructionSet,
    /// Per step.
    convolutions: Vec<Option<Ready<T>>>,
}

/// A convolution and, once a gradient was asked for, its gradient.
#[derive(Debug)]
struct Ready<T> {
    forward: Box<dyn Forward<T>>,
    backward: OnceLock<Box<dyn Backward<T>>>,
}

impl<T: Real> Program<T> {
    /// Places the plan's values and packs its kernels.
    pub fn new(mut plan: Plan<T>, set: InstructionSet) -> Result<Self, NnError> {
        let layout = Layout::new(&plan)?;
        let ready = |step: &mut Step<T>| {
            let Operation::Convolution(convolution) = &mut step.operation else { return None };
            let kernel = mem::take(&mut convolution.kernel);
            let forward = set.forward(Convolution { kernel, ..convolution.clone() }, [step.shape[0], step.shape[1]]);
            Some(Ready { forward, backward: OnceLock::new() })
        };
        let convolutions = plan.steps.iter_mut().map(ready).collect();
        Ok(Self { plan, layout, set, convolutions })
    }
}

impl<T: Real> Ready<T> {
    /// Its gradient, turned when it is asked for the first time.
    fn backward(&self, convolution: &Convolution<T>, size: [usize; 2], set: InstructionSet) -> &dyn Backward<T> {
        let turned = || Turned::new(convolution.window, &self.forward.kernel(), convolution.bias.len());
        let turn = || set.backward(turned(), size);
        &**self.backward.get_or_init(turn)
    }
}

/// Memory for one image: its values or gradients, and what forward keeps for backward.
#[derive(Debug, Default)]
pub struct Image<T> {
    slots: Vec<Vec<T>>,
    /// Per step: bits of a ReLU, or winners of a max pool.
    kept: Vec<Vec<u8>>,
    spares: Spares<Buffers<T>>,
}

#[cfg(test)]
impl<T> Image<T> {
    /// What the ReLUs and maxima of the last forward pass decided.
    pub fn kept(&mut self) -> &mut [Vec<u8>] {
        &mut self.kept
    }
}

/// How one image is worked on.
#[derive(Clone, Copy)]
pub struct Job<'a, T> {
    pub program: &'a Program<T>,
    pub threads: Threads,
}

fn source<'a, T>(slot: &'a [T], view: &View) -> Source<'a, T> {
    Source { data: &slot[view.offset..], size: view.size, channels: view.channels, stride: view.stride }
}

fn target<'a, T>(slot: &'a mut [T], view: &View) -> Target<'a, T> {
    let end = view.offset + (view.pixels() - 1) * view.stride + view.channels;
    Target { data: &mut slot[view.offset..end], stride: view.stride, size: view.size }
}

impl<T: Real> Job<'_, T> {
    /// Runs the plan on `rgb`, `[side, side, 3]`; `keep` what [`Job::backward`] needs. `features` takes the value of the
    /// last convolutional block, dense. Gives the logits.
    pub fn forward(&self, image: &mut Image<T>, rgb: &[T], keep: bool, features: Option<&mut Vec<T>>) -> Vec<f64> {
        let mut features = features;
        let (plan, layout) = (&self.program.plan, &self.program.layout);
        image.slots.resize_with(layout.slots.len(), Vec::new);
        image.kept.resize_with(plan.steps.len(), Vec::new);
        for (slot, length) in image.slots.iter_mut().zip(&layout.slots) {
            at_least(slot, *length);
        }
        for (id, place) in layout.steps.iter().enumerate() {
            // The target leaves its slot while it is written, so that the sources can be read beside it.
            let mut slot = mem::take(&mut image.slots[place.value.slot]);
            self.forward_step(id, image, target(&mut slot, &place.value), rgb, keep);
            if let Some(features) = features.as_mut().filter(|_| id == plan.features) {
                **features = dense(source(&slot, &place.value));
            }
            image.slots[place.value.slot] = slot;
        }
        let last = &layout.steps[plan.steps.len() - 1].value;
        dense(source(&image.slots[last.slot], last)).into_iter().map(Real::to_f64).collect()
    }

    fn forward_step(&self, id: StepId, image: &mut Image<T>, target: Target<T>, rgb: &[T], keep: bool) {
        let (step, threads) = (&self.program.plan.steps[id], self.threads);
        if matches!(step.operation, Operation::Concat) {
            // Its parts were written where they belong.
            return;
        }
        let Image { slots, kept, spares } = image;
        let value = |id: StepId| {
            let view = &self.program.layout.steps[id].value;
            source(&slots[view.slot], view)
        };
        let input = step.inputs.first().map(|&input| value(input));
        match (&step.operation, input) {
            (Operation::Preprocess(affine), _) => preprocess(affine, rgb, target.data),
            (Operation::Convolution(convolution), Some(input)) => {
                let residual = match convolution.residual {
                    None => Residual::None,
                    Some(_) if self.program.layout.steps[id].in_place => Residual::InPlace,
                    Some(shortcut) => Residual::Image(value(shortcut)),
                };
                let mask = (keep && convolution.relu).then(|| {
                    let bytes = target.size[0] * target.size[1] * mask_bytes(convolution.bias.len());
                    at_least(&mut kept[id], bytes)
                });
                if let Some(ready) = &self.program.convolutions[id] {
                    ready.forward.run(input, target, residual, mask, (threads, spares));
                }
            }
            (Operation::MaxPool(window), Some(input)) if keep => {
                let arguments = at_least(&mut kept[id], step.shape.iter().product());
                pool::max_forward_with(window, input, target, arguments);
            }
            (Operation::MaxPool(window), Some(input)) => pool::max_forward(window, input, target, threads),
            (Operation::AvgPool { window, count_padding }, Some(input)) => {
                pool::average_forward((window, *count_padding), input, target, threads);
            }
            (Operation::GlobalAvgPool, Some(input)) => pool::global_forward(input, target),
            // Only preprocessing has no input.
            (Operation::Concat, _) | (_, None) => {}
        }
    }

    /// After [`Job::forward`] that kept: sends `cotangent`, by the logits, back to the value of step `to`, and gives the
    /// gradient there, dense.
    pub fn backward(&self, image: &mut Image<T>, cotangent: &[f64], to: StepId) -> Vec<T> {
        let (plan, layout) = (&self.program.plan, &self.program.layout);
        let last = plan.steps.len() - 1;
        let seed = &layout.steps[last].gradient;
        for (value, cotangent) in image.slots[seed.slot][seed.offset..].iter_mut().zip(cotangent) {
            *value = T::from_f64(*cotangent);
        }
        for id in (to + 1..=last).rev() {
            let view = layout.steps[id].gradient;
            let mut own = mem::take(&mut image.slots[view.slot]);
            self.backward_step(id, image, &mut own);
            image.slots[view.slot] = own;
        }
        let view = &layout.steps[to].gradient;
        let gradient = dense(source(&image.slots[view.slot], view));
        match &plan.steps[to].operation {
            Operation::Preprocess(affine) => preprocess_backward(affine, &gradient),
            _ => gradient,
        }
    }

    fn backward_step(&self, id: StepId, image: &mut Image<T>, own: &mut [T]) {
        let (step, place, threads) = (&self.program.plan.steps[id], &self.program.layout.steps[id], self.threads);
        let Image { slots, kept, spares } = image;
        if let Operation::Convolution(convolution) = &step.operation {
            self.before_convolution(convolution, place, own, &kept[id], slots);
        }
        // The gradients of a concatenation's parts are parts of its own.
        let (Some(&input), false) = (step.inputs.first(), matches!(step.operation, Operation::Concat)) else { return };
        let view = &self.program.layout.steps[input].gradient;
        let (source, target) = (source(own, &place.gradient), target(&mut slots[view.slot], view));
        let accumulate = place.accumulate;
        match &step.operation {
            Operation::Convolution(convolution) => {
                if let Some(ready) = &self.program.convolutions[id] {
                    let backward = ready.backward(convolution, target.size, self.program.set);
                    backward.run(source, target, accumulate, (threads, spares));
                }
            }
            Operation::MaxPool(window) => {
                pool::max_backward(window, source, &kept[id], target, accumulate, threads);
            }
            Operation::AvgPool { window, count_padding } => {
                pool::average_backward((window, *count_padding), source, target, accumulate, threads);
            }
            Operation::GlobalAvgPool => pool::global_backward(source, target, accumulate, threads),
            Operation::Concat | Operation::Preprocess(_) => {}
        }
    }

    /// Through the ReLU, then the residual's share.
    fn before_convolution(
        &self,
        convolution: &Convolution<T>,
        place: &Placement,
        own: &mut [T],
        mask: &[u8],
        slots: &mut [Vec<T>],
    ) {
        let channels = place.gradient.channels;
        if convolution.relu {
            apply_mask(&mut target(own, &place.gradient), channels, mask, self.threads);
        }
        let Some(shortcut) = convolution.residual else { return };
        if place.residual == ResidualGradient::Aliased {
            return;
        }
        let view = &self.program.layout.steps[shortcut].gradient;
        let own = source(own, &place.gradient);
        let rows = target(&mut slots[view.slot], view).data.chunks_mut(view.stride);
        for (pixel, row) in rows.enumerate() {
            let gradient = &own.data[pixel * own.stride..][..channels];
            match place.residual {
                ResidualGradient::Copied => row[..channels].copy_from_slice(gradient),
                _ => lanes::add(&mut row[..channels], gradient),
            }
        }
    }
}

/// Nought wherever the ReLU had cut off: the gradient before it.
fn apply_mask<T: Real>(target: &mut Target<T>, channels: usize, mask: &[u8], threads: Threads) {
    let (stride, bytes) = (target.stride, mask_bytes(channels));
    let [_, width] = target.size;
    threads.chunks(target.data, width * stride, |row, line| {
        let masks = mask[row * width * bytes..].chunks_exact(bytes);
        for (pixel, mask) in line.chunks_mut(stride).zip(masks) {
            lanes::apply_mask(&mut pixel[..channels], mask);
        }
    });
}

/// An image's numbers without gaps.
fn dense<T: Real>(source: Source<T>) -> Vec<T> {
    let pixels = source.size[0] * source.size[1];
    let rows = source.data.chunks(source.stride).take(pixels);
    rows.flat_map(|row| row[..source.channels].iter().copied()).collect()
}

fn preprocess<T: Real>(affine: &Affine, rgb: &[T], target: &mut [T]) {
    let (scale, offset) = (affine.scale.map(T::from_f64), affine.offset.map(T::from_f64));
    for (rgb, pixel) in rgb.chunks_exact(3).zip(target.chunks_exact_mut(3)) {
        for (channel, value) in pixel.iter_mut().enumerate() {
            *value = rgb[affine.source[channel]] * scale[channel] + offset[channel];
        }
    }
}

fn preprocess_backward<T: Real>(affine: &Affine, gradient: &[T]) -> Vec<T> {
    let scale = affine.scale.map(T::from_f64);
    let mut rgb = vec![T::ZERO; gradient.len()];
    for (rgb, pixel) in rgb.chunks_exact_mut(3).zip(gradient.chunks_exact(3)) {
        for (channel, value) in pixel.iter().enumerate() {
            rgb[affine.source[channel]] += *value * scale[channel];
        }
    }
    rgb
}
