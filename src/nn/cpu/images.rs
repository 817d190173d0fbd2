//! Some images through a plan and back, in slots that are made once.
//!
//! The images go together, step by step: a step's weights are read once for all of them.

use std::borrow::Cow;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::instruction_set::InstructionSet;
use super::kernel::{Backward, Bits, BitsMut, Buffers, Forward, Residual, Source, Target, part, through_relu};
use super::lanes;
use super::layout::{BitsPlace, Layout, Placement, ResidualGradient, View};
use super::memory;
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
    /// Whether all kernels are turned.
    turned: AtomicBool,
}

/// A convolution and, once a gradient was asked for, its gradient.
#[derive(Debug)]
struct Ready<T> {
    forward: Box<dyn Forward<T>>,
    backward: OnceLock<Box<dyn Backward<T>>>,
    /// The kernel until it is turned, where forward cannot give it back.
    kernel: Mutex<Option<Vec<T>>>,
}

impl<T: Real> Program<T> {
    /// Places the plan's values and packs its kernels.
    pub fn new(mut plan: Plan<T>, set: InstructionSet) -> Result<Self, NnError> {
        let layout = Layout::new(&plan.steps)?;
        let ready = |step: &mut Step<T>| {
            let Operation::Convolution(convolution) = &mut step.operation else { return None };
            let forward = set.forward(convolution.clone(), [step.shape[0], step.shape[1]]);
            let kernel = mem::take(&mut convolution.kernel);
            let kernel = Mutex::new((!forward.has_kernel()).then_some(kernel));
            Some(Ready { forward, backward: OnceLock::new(), kernel })
        };
        let convolutions = plan.steps.par_iter_mut().map(ready).collect();
        memory::give_back();
        Ok(Self { plan, layout, set, convolutions, turned: AtomicBool::new(false) })
    }

    /// Turns all kernels for gradients with all threads, unless that was done before: a backward pass alone would do it one
    /// after another.
    pub fn turn(&self) {
        if self.turned.load(Ordering::Acquire) {
            return;
        }
        self.plan.steps.par_iter().zip(&self.convolutions).for_each(|(step, ready)| {
            if let (Operation::Convolution(convolution), Some(ready)) = (&step.operation, ready) {
                let [height, width, _] = self.plan.steps[step.inputs[0]].shape;
                ready.backward(convolution, [height, width], self.set);
            }
        });
        memory::give_back();
        self.turned.store(true, Ordering::Release);
    }
}

impl<T: Real> Ready<T> {
    /// Its gradient, turned when it is asked for the first time.
    fn backward(&self, convolution: &Convolution<T>, size: [usize; 2], set: InstructionSet) -> &dyn Backward<T> {
        let turn = || {
            let kept = self.kernel.lock().unwrap_or_else(PoisonError::into_inner).take().map(Cow::Owned);
            // Forward has it where it was not kept.
            let kernel = kept.or_else(|| self.forward.kernel()).unwrap_or_default();
            set.backward(Turned::new(convolution.window, &kernel, convolution.bias.len()), size)
        };
        &**self.backward.get_or_init(turn)
    }
}

/// Memory for images: their values or gradients, and what forward keeps for backward.
#[derive(Debug, Default)]
pub struct Images<T> {
    count: usize,
    slots: Vec<Vec<T>>,
    /// Per step: bits of ReLUs, or winners of a max pool.
    kept: Vec<Vec<u8>>,
    spares: Spares<Buffers<T>>,
}

#[cfg(test)]
impl<T> Images<T> {
    /// What the ReLUs and maxima of the last forward pass decided.
    pub fn kept(&mut self) -> &mut [Vec<u8>] {
        &mut self.kept
    }
}

/// How images are worked on.
#[derive(Clone, Copy)]
pub struct Job<'a, T> {
    pub program: &'a Program<T>,
    pub threads: Threads,
}

/// Bytes of a line of cache: where a slot begins, so that vectors seldom lie across two.
pub const LINE: usize = 64;

/// A slot's numbers, from the start of a line of cache on.
fn aligned<T>(slot: &[T]) -> &[T] {
    &slot[slot.as_ptr().align_offset(LINE).min(slot.len())..]
}

/// The same, to be written.
fn aligned_mut<T>(slot: &mut [T]) -> &mut [T] {
    let start = slot.as_ptr().align_offset(LINE).min(slot.len());
    &mut slot[start..]
}

pub fn source<'a, T>(slot: &'a [T], view: &View, images: usize) -> Source<'a, T> {
    let data = &aligned(slot)[view.offset..];
    Source { data, images, size: view.size, channels: view.channels, stride: view.stride }
}

pub fn target<'a, T>(slot: &'a mut [T], view: &View, images: usize) -> Target<'a, T> {
    let end = view.offset + (images * view.pixels() - 1) * view.stride + view.channels;
    Target { data: &mut aligned_mut(slot)[view.offset..end], images, stride: view.stride, size: view.size }
}

impl<T: Real> Job<'_, T> {
    /// Runs the plan on `rgb`, `[images, side, side, 3]`; `keep` what [`Job::backward`] needs. `features` takes the values of
    /// the last convolutional block, dense. Gives the logits, `[images, classes]`.
    pub fn forward(&self, images: &mut Images<T>, rgb: &[T], keep: bool, features: Option<&mut Vec<T>>) -> Vec<f64> {
        let mut features = features;
        let (plan, layout) = (&self.program.plan, &self.program.layout);
        let count = rgb.len() / (plan.side * plan.side * 3);
        images.count = count;
        images.slots.resize_with(layout.slots.len(), Vec::new);
        images.kept.resize_with(plan.steps.len(), Vec::new);
        for (slot, length) in images.slots.iter_mut().zip(&layout.slots) {
            at_least(slot, count * length + LINE / size_of::<T>());
        }
        for (id, place) in layout.steps.iter().enumerate() {
            // The target leaves its slot while it is written, so that the sources can be read beside it.
            let mut slot = mem::take(&mut images.slots[place.value.slot]);
            self.forward_step(id, images, target(&mut slot, &place.value, count), rgb, keep);
            if let Some(features) = features.as_mut().filter(|_| id == plan.features) {
                **features = dense(source(&slot, &place.value, count));
            }
            images.slots[place.value.slot] = slot;
        }
        let last = &layout.steps[plan.steps.len() - 1].value;
        dense(source(&images.slots[last.slot], last, count)).into_iter().map(Real::to_f64).collect()
    }

    fn forward_step(&self, id: StepId, images: &mut Images<T>, mut target: Target<T>, rgb: &[T], keep: bool) {
        let (step, threads) = (&self.program.plan.steps[id], self.threads);
        if matches!(step.operation, Operation::Concat) {
            // Its parts were written where they belong.
            return;
        }
        let Images { count, slots, kept, spares } = images;
        let value = |id: StepId| {
            let view = &self.program.layout.steps[id].value;
            source(&slots[view.slot], view, *count)
        };
        let input = step.inputs.first().map(|&input| value(input));
        match (&step.operation, input) {
            (Operation::Preprocess(affine), _) => preprocess(affine, rgb, target.data),
            (Operation::Convolution(convolution), Some(input)) => {
                let residual = match convolution.residual {
                    None => Residual::None,
                    Some(_) if self.program.layout.steps[id].in_place => Residual::InPlace,
                    Some(shortcut) => Residual::Images(value(shortcut)),
                };
                let bits = (keep && convolution.relu).then(|| {
                    let BitsPlace { holder, offset, stride, .. } = self.program.layout.steps[id].bits;
                    let bits = set(&mut kept[holder], *count * target.size[0] * target.size[1] * stride);
                    BitsMut { data: &mut bits[offset..], stride }
                });
                if let Some(ready) = &self.program.convolutions[id] {
                    ready.forward.run(input, target, residual, bits, (threads, spares));
                }
            }
            (Operation::MaxPool(window), Some(input)) => {
                let outputs = step.shape.iter().product();
                let arguments = if keep { at_least(&mut kept[id], *count * outputs) } else { &mut [] };
                for image in 0..*count {
                    let (input, target) = (input.image(image), target.image(image));
                    if keep {
                        let arguments = &mut arguments[image * outputs..][..outputs];
                        pool::max_forward_with(window, input, target, arguments);
                    } else {
                        pool::max_forward(window, input, target, threads);
                    }
                }
            }
            (Operation::AvgPool { window, count_padding }, Some(input)) => {
                for image in 0..*count {
                    let (input, target) = (input.image(image), target.image(image));
                    pool::average_forward((window, *count_padding), input, target, threads);
                }
            }
            (Operation::GlobalAvgPool, Some(input)) => {
                (0..*count).for_each(|image| pool::global_forward(input.image(image), target.image(image)));
            }
            // Only preprocessing has no input.
            (Operation::Concat, _) | (_, None) => {}
        }
    }

    /// After [`Job::forward`] that kept: sends `cotangents`, by the logits, `[images, classes]`, back to the value of step
    /// `to`, and gives the gradients there, dense.
    pub fn backward(&self, images: &mut Images<T>, cotangents: &[f64], to: StepId) -> Vec<T> {
        let (plan, layout) = (&self.program.plan, &self.program.layout);
        let last = plan.steps.len() - 1;
        let seed = &layout.steps[last].gradient;
        let seeds = target(&mut images.slots[seed.slot], seed, images.count);
        for (logits, cotangents) in seeds.data.chunks_mut(seed.stride).zip(cotangents.chunks_exact(seed.channels)) {
            logits.iter_mut().zip(cotangents).for_each(|(value, cotangent)| *value = T::from_f64(*cotangent));
        }
        for id in (to + 1..=last).rev() {
            let view = layout.steps[id].gradient;
            let mut own = mem::take(&mut images.slots[view.slot]);
            self.backward_step((id, to), images, &mut own);
            images.slots[view.slot] = own;
        }
        let view = &layout.steps[to].gradient;
        let gradient = dense(source(&images.slots[view.slot], view, images.count));
        match &plan.steps[to].operation {
            Operation::Preprocess(affine) => preprocess_backward(affine, &gradient),
            _ => gradient,
        }
    }

    fn backward_step(&self, (id, to): (StepId, StepId), images: &mut Images<T>, own: &mut [T]) {
        let (step, place, threads) = (&self.program.plan.steps[id], &self.program.layout.steps[id], self.threads);
        let Images { count, slots, kept, spares } = images;
        let count = *count;
        let bits = |id: StepId| {
            let BitsPlace { holder, offset, stride, .. } = self.program.layout.steps[id].bits;
            Bits { data: &kept[holder][offset..], stride }
        };
        if let Operation::Convolution(convolution) = &step.operation {
            let bits = (convolution.relu && !place.bits.passed).then(|| bits(id));
            self.before_convolution((convolution, place), (own, count), bits, slots);
        }
        // The gradients of a concatenation's parts are parts of its own.
        let (Some(&input), false) = (step.inputs.first(), matches!(step.operation, Operation::Concat)) else { return };
        let view = &self.program.layout.steps[input].gradient;
        let (source, mut target) = (source(own, &place.gradient, count), target(&mut slots[view.slot], view, count));
        let accumulate = place.accumulate;
        match &step.operation {
            Operation::Convolution(convolution) => {
                if let Some(ready) = &self.program.convolutions[id] {
                    let backward = ready.backward(convolution, target.size, self.program.set);
                    // What was asked for is the gradient after the ReLU.
                    let bits = (place.completes && input > to).then(|| bits(input));
                    backward.run(source, target, accumulate, bits, (threads, spares));
                }
            }
            Operation::MaxPool(window) => {
                let outputs = step.shape.iter().product();
                for image in 0..count {
                    let (source, target) = (source.image(image), target.image(image));
                    let arguments = part(&kept[id], image, outputs);
                    pool::max_backward(window, source, arguments, target, accumulate, threads);
                }
            }
            Operation::AvgPool { window, count_padding } => {
                for image in 0..count {
                    let (source, target) = (source.image(image), target.image(image));
                    pool::average_backward((window, *count_padding), source, target, accumulate, threads);
                }
            }
            Operation::GlobalAvgPool => {
                for image in 0..count {
                    pool::global_backward(source.image(image), target.image(image), accumulate, threads);
                }
            }
            Operation::Concat | Operation::Preprocess(_) => {}
        }
    }

    /// Through the ReLU, if it has not been, then the residual's share.
    fn before_convolution(
        &self,
        (convolution, place): (&Convolution<T>, &Placement),
        (own, images): (&mut [T], usize),
        bits: Option<Bits>,
        slots: &mut [Vec<T>],
    ) {
        if let Some(bits) = bits {
            through_relu(target(own, &place.gradient, images), place.gradient.channels, bits, self.threads);
        }
        let Some(shortcut) = convolution.residual else { return };
        if place.residual == ResidualGradient::Aliased {
            return;
        }
        let view = &self.program.layout.steps[shortcut].gradient;
        let adds = place.residual == ResidualGradient::Added;
        let own = source(own, &place.gradient, images);
        share(own, target(&mut slots[view.slot], view, images), adds, self.threads);
    }
}

/// Gives a residual its share of a gradient: a copy, or added to what it has.
pub fn share<T: Real>(from: Source<T>, Target { data, stride, .. }: Target<T>, adds: bool, threads: Threads) {
    const PIXELS: usize = 64;
    threads.chunks(data, PIXELS * stride, |place, rows| {
        for (pixel, row) in rows.chunks_mut(stride).enumerate() {
            let gradient = &from.data[(place * PIXELS + pixel) * from.stride..][..from.channels];
            if adds {
                lanes::add(&mut row[..from.channels], gradient);
            } else {
                row[..from.channels].copy_from_slice(gradient);
            }
        }
    });
}

/// So many bytes of bits, all set where none were before: what no ReLU writes has not been cut off.
fn set(bits: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if bits.len() < bytes {
        bits.resize(bytes, u8::MAX);
    }
    &mut bits[..bytes]
}

/// Images' numbers without gaps.
pub fn dense<T: Real>(source: Source<T>) -> Vec<T> {
    let pixels = source.images * source.size[0] * source.size[1];
    let rows = source.data.chunks(source.stride).take(pixels);
    rows.flat_map(|row| row[..source.channels].iter().copied()).collect()
}

pub fn preprocess<T: Real>(affine: &Affine, rgb: &[T], target: &mut [T]) {
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
