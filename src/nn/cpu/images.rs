//! Some images through a plan and back, in slots that are made once.
//!
//! The images go together, step by step: a step's weights are read once for all of them.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::instruction_set::InstructionSet;
use super::kernel::{
    Backward, Bits, BitsMut, Buffers, Forward, Gate, Relu, Residual, Slopes, SlopesMut, Source, Target, mask_bytes,
    through_relu,
};
use super::lanes;
use super::lanes::MASK;
use super::layout::{GatePlace, Layout, Placement, ResidualGradient, View};
use super::lines::{aligned, aligned_mut, with_room};
use super::memory;
use super::parallel::{Spares, Threads, at_least};
use super::pool;
use super::turned::Turned;
use crate::nn::clock::{Clock, Work};
use crate::nn::graph::Affine;
use crate::nn::plan::{Convolution, Operation, Plan, Step};
use crate::nn::real::Real;
use crate::nn::steps::StepId;
use crate::nn::{Interrupt, NnError, Precision};

/// A plan with its layout and its convolutions, ready to run: what executors share.
#[derive(Debug)]
pub struct Program<T> {
    /// Its kernels are in `forward`.
    pub plan: Plan<T>,
    layout: Layout,
    set: InstructionSet,
    /// Per step.
    forward: Vec<Option<Box<dyn Forward<T>>>>,
    /// What only gradients need, from the first one on.
    gradients: Mutex<Option<Arc<Gradients<T>>>>,
    pub clock: Arc<Clock>,
}

/// Per step the gradient of a convolution by its input.
pub type Gradients<T> = Vec<Option<Box<dyn Backward<T>>>>;

impl<T: Real> Program<T> {
    /// Places the plan's values and packs its kernels.
    pub fn new(mut plan: Plan<T>, set: InstructionSet) -> Result<Self, NnError> {
        let layout = Layout::new(&plan.steps)?;
        let forward = |step: &mut Step<T>| {
            let Operation::Convolution(convolution) = &mut step.operation else { return None };
            let kernel = mem::take(&mut convolution.kernel);
            Some(set.forward(Convolution { kernel, ..convolution.clone() }, [step.shape[0], step.shape[1]]))
        };
        let forward = plan.steps.par_iter_mut().map(forward).collect();
        memory::give_back();
        Ok(Self { plan, layout, set, forward, gradients: Mutex::default(), clock: Arc::default() })
    }

    /// What its products are computed in, at least.
    pub fn precision(&self) -> Precision {
        self.set.precision()
    }

    /// Bytes of what the points around so many intervals of a path have room for: their values, and what is kept between them.
    pub fn bytes_between(&self, intervals: usize) -> usize {
        let points = intervals + 1;
        let slots: usize = self.layout.slots.iter().map(|slot| with_room::<T>(points * slot)).sum();
        let (mut slopes, mut winners) = (BTreeMap::new(), 0);
        for (step, place) in self.plan.steps.iter().zip(&self.layout.steps) {
            let [height, width, channels] = step.shape;
            match &step.operation {
                Operation::Convolution(convolution) if convolution.relu => {
                    slopes.insert(place.gate.holder, intervals * height * width * place.gate.channels);
                }
                Operation::MaxPool(_) => winners += (points + intervals) * height * width * channels,
                _ => {}
            }
        }
        slots * size_of::<T>() + slopes.into_values().sum::<usize>() + winners
    }

    /// Kernels turned for gradients, by all threads if that was not done before.
    pub fn gradients(&self) -> Arc<Gradients<T>> {
        if let Some(gradients) = &*lock(&self.gradients) {
            return Arc::clone(gradients);
        }
        // Not under the lock: a thread that waits for others may be given other work, which may ask for the same.
        let turned = Arc::new(self.turn());
        Arc::clone(lock(&self.gradients).get_or_insert(turned))
    }

    fn turn(&self) -> Gradients<T> {
        let turn = |(step, forward): (&Step<T>, &Option<Box<dyn Forward<T>>>)| {
            let (Operation::Convolution(convolution), Some(forward)) = (&step.operation, forward) else { return None };
            let [height, width, _] = self.plan.steps[step.inputs[0]].shape;
            let turned = Turned::new(convolution.window, &forward.kernel(), convolution.bias.len());
            Some(self.set.backward(turned, [height, width]))
        };
        let gradients = self.plan.steps.par_iter().zip(&self.forward).map(turn).collect();
        memory::give_back();
        gradients
    }

    /// Frees the kernels that were turned, once nobody uses them.
    pub fn forget_gradients(&self) {
        *lock(&self.gradients) = None;
    }
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What forward keeps for backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    #[default]
    Nothing,
    /// For the gradient at each image: bits of ReLUs, winners of max pools.
    Points,
    /// For the gradients between neighbours among the images, which are points of a path: slopes of ReLUs, winners of max pools
    /// and their shares.
    Between,
}

/// Memory for images: their values or gradients, and what forward keeps for backward.
#[derive(Debug, Default)]
pub struct Images<T> {
    /// How many gradients a backward pass gives.
    count: usize,
    keep: Keep,
    slots: Vec<Vec<T>>,
    /// Per step: bits or slopes of ReLUs, or winners of a max pool and their shares.
    kept: Vec<Vec<u8>>,
    spares: Spares<Buffers<T>>,
}

#[cfg(test)]
impl<T> Images<T> {
    /// What the ReLUs and maxima of the last forward pass decided.
    pub fn kept(&mut self) -> &mut [Vec<u8>] {
        &mut self.kept
    }

    /// Bytes of values and gradients, and of what forward kept.
    pub fn bytes(&self) -> [usize; 2] {
        let kept = self.kept.iter().map(Vec::len).sum();
        [self.slots.iter().map(Vec::len).sum::<usize>() * size_of::<T>(), kept]
    }
}

/// How images are worked on.
#[derive(Clone, Copy)]
pub struct Job<'a, T> {
    pub program: &'a Program<T>,
    pub threads: Threads,
    pub interrupt: &'a Interrupt<'a>,
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
    /// Runs the plan on `rgb`, `[images, side, side, 3]`, and keeps what [`Job::backward`] needs. `features` takes the values of
    /// the last convolutional block, dense. Gives the logits, `[images, classes]`.
    pub fn forward(
        &self,
        images: &mut Images<T>,
        rgb: &[T],
        keep: Keep,
        features: Option<&mut Vec<T>>,
    ) -> Result<Vec<f64>, NnError> {
        let mut features = features;
        let (plan, layout) = (&self.program.plan, &self.program.layout);
        let count = rgb.len() / (plan.side * plan.side * 3);
        images.count = if keep == Keep::Between { count - 1 } else { count };
        if keep != Keep::Nothing && mem::replace(&mut images.keep, keep) != keep {
            // The other kind lies elsewhere in a pixel; what nobody writes must be whole again.
            images.kept.iter_mut().for_each(Vec::clear);
        }
        images.slots.resize_with(layout.slots.len(), Vec::new);
        images.kept.resize_with(plan.steps.len(), Vec::new);
        for (slot, length) in images.slots.iter_mut().zip(&layout.slots) {
            at_least(slot, with_room::<T>(count * length));
        }
        for (id, place) in layout.steps.iter().enumerate() {
            self.go_on()?;
            // The target leaves its slot while it is written, so that the sources can be read beside it.
            let mut slot = mem::take(&mut images.slots[place.value.slot]);
            let to = target(&mut slot, &place.value, count);
            let work = Work::of(&plan.steps[id].operation);
            self.program.clock.time(work, || self.forward_step(id, images, to, rgb, keep));
            if let Some(features) = features.as_mut().filter(|_| id == plan.features) {
                **features = dense(source(&slot, &place.value, count));
            }
            images.slots[place.value.slot] = slot;
        }
        let last = &layout.steps[plan.steps.len() - 1].value;
        Ok(dense(source(&images.slots[last.slot], last, count)).into_iter().map(Real::to_f64).collect())
    }

    /// An error if nobody waits any longer.
    fn go_on(&self) -> Result<(), NnError> {
        if (self.interrupt)() { Err(NnError::Interrupted) } else { Ok(()) }
    }

    fn forward_step(&self, id: StepId, images: &mut Images<T>, target: Target<T>, rgb: &[T], keep: Keep) {
        let (step, threads) = (&self.program.plan.steps[id], self.threads);
        if matches!(step.operation, Operation::Concat) {
            // Its parts were written where they belong.
            return;
        }
        let count = target.images;
        let Images { slots, kept, spares, .. } = images;
        let value = |id: StepId| {
            let view = &self.program.layout.steps[id].value;
            source(&slots[view.slot], view, count)
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
                let Some(forward) = &self.program.forward[id] else { return };
                let GatePlace { holder, channel, channels, .. } = self.program.layout.steps[id].gate;
                let pixels = target.size[0] * target.size[1];
                let keep = if convolution.relu { keep } else { Keep::Nothing };
                let relu = match keep {
                    Keep::Nothing => Relu::Apply,
                    Keep::Points => {
                        let stride = mask_bytes(channels);
                        let bits = set(&mut kept[holder], count * pixels * stride);
                        Relu::Keep(BitsMut { data: &mut bits[channel / MASK..], stride })
                    }
                    Keep::Between => {
                        let slopes = set(&mut kept[holder], (count - 1) * pixels * channels);
                        Relu::Between(SlopesMut { data: &mut slopes[channel..], stride: channels })
                    }
                };
                forward.run(input, target, residual, relu, (threads, spares));
            }
            (Operation::MaxPool(window), Some(input)) => {
                let outputs: usize = step.shape.iter().product();
                let output = target.size;
                if keep == Keep::Nothing {
                    pool::max_forward(window, input, target, threads);
                    return;
                }
                let shares = if keep == Keep::Between { (count - 1) * outputs } else { 0 };
                let kept = at_least(&mut kept[id], count * outputs + shares);
                let (winners, shares) = kept.split_at_mut(count * outputs);
                pool::max_forward_with(window, input, target, winners, threads);
                if keep == Keep::Between {
                    pool::max_shares(window, input, output, winners, shares, threads);
                }
            }
            (Operation::AvgPool { window, count_padding }, Some(input)) => {
                pool::average_forward((window, *count_padding), input, target, threads);
            }
            (Operation::GlobalAvgPool, Some(input)) => pool::global_forward(input, target, threads),
            // Only preprocessing has no input.
            (Operation::Concat, _) | (_, None) => {}
        }
    }

    /// After [`Job::forward`] that kept: sends `cotangents`, by the logits, `[gradients, classes]`, back to the value of step
    /// `to`, and appends the gradients there to `found`, dense.
    pub fn backward(
        &self,
        gradients: &Gradients<T>,
        images: &mut Images<T>,
        cotangents: &[f64],
        to: StepId,
        found: &mut Vec<T>,
    ) -> Result<(), NnError> {
        let (plan, layout) = (&self.program.plan, &self.program.layout);
        let last = plan.steps.len() - 1;
        let seed = &layout.steps[last].gradient;
        give(cotangents, target(&mut images.slots[seed.slot], seed, images.count), seed.channels);
        for id in (to + 1..=last).rev() {
            self.go_on()?;
            let view = layout.steps[id].gradient;
            let mut own = mem::take(&mut images.slots[view.slot]);
            self.backward_step(gradients[id].as_deref(), (id, to), images, &mut own);
            images.slots[view.slot] = own;
        }
        let view = &layout.steps[to].gradient;
        let gradient = source(&images.slots[view.slot], view, images.count);
        match &plan.steps[to].operation {
            Operation::Preprocess(affine) => preprocess_backward(affine, gradient, found),
            _ => append(gradient, found),
        }
        Ok(())
    }

    fn backward_step(
        &self,
        backward: Option<&dyn Backward<T>>,
        (id, to): (StepId, StepId),
        images: &mut Images<T>,
        own: &mut [T],
    ) {
        let (step, place, threads) = (&self.program.plan.steps[id], &self.program.layout.steps[id], self.threads);
        let Images { count, keep, slots, kept, spares } = images;
        let (count, keep) = (*count, *keep);
        let gate = |id: StepId| {
            let GatePlace { holder, channel, channels, .. } = self.program.layout.steps[id].gate;
            if keep == Keep::Between {
                Gate::Slopes(Slopes { data: &kept[holder][channel..], stride: channels })
            } else {
                Gate::Bits(Bits { data: &kept[holder][channel / MASK..], stride: mask_bytes(channels) })
            }
        };
        if let Operation::Convolution(convolution) = &step.operation {
            let gate = (convolution.relu && !place.gate.passed).then(|| gate(id));
            self.before_convolution((convolution, place), (own, count), gate, slots);
        }
        // The gradients of a concatenation's parts are parts of its own.
        let (Some(&input), false) = (step.inputs.first(), matches!(step.operation, Operation::Concat)) else { return };
        let view = &self.program.layout.steps[input].gradient;
        let (source, target) = (source(own, &place.gradient, count), target(&mut slots[view.slot], view, count));
        let accumulate = place.accumulate;
        self.program.clock.time(Work::of(&step.operation), || match &step.operation {
            Operation::Convolution(_) => {
                if let Some(backward) = backward {
                    // What was asked for is the gradient after the ReLU.
                    let gate = (place.completes && input > to).then(|| gate(input));
                    backward.run(source, target, accumulate, gate, (threads, spares));
                }
            }
            Operation::MaxPool(window) if keep == Keep::Between => {
                // Winners of one image more than there are gradients; the shares stand behind them.
                let winners = (count + 1) * step.shape.iter().product::<usize>();
                let kept = kept[id].split_at(winners);
                pool::max_backward_between(window, source, kept, target, accumulate, threads);
            }
            Operation::MaxPool(window) => pool::max_backward(window, source, &kept[id], target, accumulate, threads),
            Operation::AvgPool { window, count_padding } => {
                pool::average_backward((window, *count_padding), source, target, accumulate, threads);
            }
            Operation::GlobalAvgPool => pool::global_backward(source, target, accumulate, threads),
            Operation::Concat | Operation::Preprocess(_) => {}
        });
    }

    /// Through the ReLU, if it has not been, then the residual's share.
    fn before_convolution(
        &self,
        (convolution, place): (&Convolution<T>, &Placement),
        (own, images): (&mut [T], usize),
        gate: Option<Gate>,
        slots: &mut [Vec<T>],
    ) {
        let channels = place.gradient.channels;
        if let Some(gate) = gate {
            through_relu(target(own, &place.gradient, images), channels, gate, self.threads);
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

/// Writes cotangents, `[images, channels]`, where gradients of logits lie.
pub fn give<T: Real>(cotangents: &[f64], Target { data, stride, .. }: Target<T>, channels: usize) {
    for (logits, cotangents) in data.chunks_mut(stride).zip(cotangents.chunks_exact(channels)) {
        logits.iter_mut().zip(cotangents).for_each(|(value, cotangent)| *value = T::from_f64(*cotangent));
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
    let mut numbers = Vec::new();
    append(source, &mut numbers);
    numbers
}

/// Appends images' numbers without gaps.
fn append<T: Real>(source: Source<T>, numbers: &mut Vec<T>) {
    numbers.reserve(source.pixels() * source.channels);
    source.rows().for_each(|row| numbers.extend_from_slice(row));
}

pub fn preprocess<T: Real>(affine: &Affine, rgb: &[T], target: &mut [T]) {
    let (scale, offset) = (affine.scale.map(T::from_f64), affine.offset.map(T::from_f64));
    for (rgb, pixel) in rgb.chunks_exact(3).zip(target.chunks_exact_mut(3)) {
        for (channel, value) in pixel.iter_mut().enumerate() {
            *value = rgb[affine.source[channel]] * scale[channel] + offset[channel];
        }
    }
}

/// Appends the gradients by RGB, dense.
fn preprocess_backward<T: Real>(affine: &Affine, gradient: Source<T>, found: &mut Vec<T>) {
    let scale = affine.scale.map(T::from_f64);
    found.reserve(gradient.pixels() * 3);
    for pixel in gradient.rows() {
        let mut rgb = [T::ZERO; 3];
        for (channel, value) in pixel.iter().enumerate() {
            rgb[affine.source[channel]] += *value * scale[channel];
        }
        found.extend(rgb);
    }
}
