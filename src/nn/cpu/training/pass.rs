//! A batch through the steps of a [`Trainer`] and back.

use std::mem;

use super::norm::{Affine, Back, Incoming};
use super::{Layer, Tensor, Trainer, take};
use crate::nn::clock::Work;
use crate::nn::cpu::images::{dense, give, preprocess, share, source, target};
use crate::nn::cpu::kernel::{Forward, Relu, Residual, Source, Target};
use crate::nn::cpu::layout::ResidualGradient;
use crate::nn::cpu::parallel::Threads;
use crate::nn::cpu::pool;
use crate::nn::real::Real;
use crate::nn::steps::{Convolution, Operation, StepId};
use crate::nn::training::{MOMENTUM, Statistics, inverse_deviation};

impl<T: Real> Trainer<T> {
    /// Gives the logits of `rgb`, `[images, side, side, 3]`, and keeps what [`Trainer::backward`] needs.
    pub(super) fn forward(&mut self, rgb: &[T]) -> Vec<f64> {
        let count = rgb.len() / (self.side * self.side * 3);
        for id in 0..self.steps.len() {
            let view = self.layout.steps[id].value;
            // The target leaves its slot while it is written, so that the sources can be read beside it.
            let mut slot = mem::take(&mut self.slots[view.slot]);
            self.forward_step(id, target(&mut slot, &view, count), rgb);
            self.slots[view.slot] = slot;
        }
        let last = &self.layout.steps[self.steps.len() - 1].value;
        dense(source(&self.slots[last.slot], last, count)).into_iter().map(Real::to_f64).collect()
    }

    fn forward_step(&mut self, id: StepId, target: Target<T>, rgb: &[T]) {
        match self.steps[id].operation {
            Operation::Convolution(_) => return self.forward_convolution(id, target),
            // Its parts were written where they belong.
            Operation::Concat => return,
            _ => (),
        }
        let threads = Threads(rayon::current_num_threads());
        let Self { steps, layout, slots, kept, clock, .. } = self;
        let step = &steps[id];
        let input = step.inputs.first().map(|&input| {
            let view = &layout.steps[input].value;
            source(&slots[view.slot], view, target.images)
        });
        clock.time(Work::of(&step.operation), || match (&step.operation, input) {
            (Operation::Preprocess(affine), _) => preprocess(affine, rgb, target.data),
            (Operation::MaxPool(window), Some(input)) => {
                pool::max_forward_with(window, input, target, &mut kept[id], threads);
            }
            (Operation::AvgPool { window, count_padding }, Some(input)) => {
                pool::average_forward((window, *count_padding), input, target, threads);
            }
            (Operation::GlobalAvgPool, Some(input)) => pool::global_forward(input, target, threads),
            // Only preprocessing has no input.
            (Operation::Concat | Operation::Convolution(_), _) | (_, None) => {}
        });
    }

    /// The products, then all that stands behind them.
    fn forward_convolution(&mut self, id: StepId, target: Target<T>) {
        let threads = Threads(rayon::current_num_threads());
        let Self { steps, layout, slots, kept, spares, tensors, layers, spare, statistics, clock, .. } = self;
        let (step, count) = (&steps[id], target.images);
        let (Operation::Convolution(convolution), Some(layer)) = (&step.operation, &mut layers[id]) else { return };
        let value = |id: StepId| {
            let view = &layout.steps[id].value;
            source(&slots[view.slot], view, count)
        };
        let multiply = |forward: &dyn Forward<T>, to: Target<T>| {
            let run = || forward.run(value(step.inputs[0]), to, Residual::None, Relu::Apply, (threads, spares));
            clock.time(Some(Work::Convolution), run);
        };
        if convolution.is_plain() {
            multiply(layer.forward.as_ref(), target);
            return;
        }
        let channels = step.shape[2];
        let Target { data, stride, size, .. } = target;
        let length = count * size[0] * size[1] * channels;
        let to = Target { data: &mut layer.products[..length], images: count, stride: channels, size };
        multiply(layer.forward.as_ref(), to);
        clock.time(Some(Work::Norm), || {
            if let (Some(_), Statistics::Batch) = (convolution.norm, *statistics) {
                layer.moments.measure(&layer.products[..length], spare, threads);
            }
            layer.settle(convolution, tensors, *statistics);
            let shortcut = convolution.residual.map(value).map(|value| (value.data, value.stride));
            let (products, relu) = (&layer.products[..length], (convolution.relu, kept[id].as_mut_slice()));
            layer.affine.forward(products, (data, stride), shortcut, relu, threads);
        });
    }

    /// After [`Trainer::forward`]: sends `cotangents`, by the logits, `[images, classes]`, back to all parameters.
    pub(super) fn backward(&mut self, count: usize, cotangents: &[f64]) {
        let last = self.steps.len() - 1;
        let seed = &self.layout.steps[last].gradient;
        give(cotangents, target(&mut self.slots[seed.slot], seed, count), seed.channels);
        for id in (1..=last).rev() {
            let slot = self.layout.steps[id].gradient.slot;
            let mut own = mem::take(&mut self.slots[slot]);
            self.backward_step(id, count, &mut own);
            self.slots[slot] = own;
        }
    }

    fn backward_step(&mut self, id: StepId, count: usize, own: &mut [T]) {
        let threads = Threads(rayon::current_num_threads());
        if matches!(self.steps[id].operation, Operation::Convolution(_)) {
            self.backward_convolution(id, own, count);
            return;
        }
        let Self { steps, layout, slots, kept, clock, .. } = self;
        let (step, place) = (&steps[id], &layout.steps[id]);
        // The gradients of a concatenation's parts are parts of its own.
        let (Some(&input), false) = (step.inputs.first(), matches!(step.operation, Operation::Concat)) else { return };
        let view = &layout.steps[input].gradient;
        let (source, target) = (source(own, &place.gradient, count), target(&mut slots[view.slot], view, count));
        clock.time(Work::of(&step.operation), || match &step.operation {
            Operation::MaxPool(window) => {
                pool::max_backward(window, source, &kept[id], target, place.accumulate, threads);
            }
            Operation::AvgPool { window, count_padding } => {
                pool::average_backward((window, *count_padding), source, target, place.accumulate, threads);
            }
            Operation::GlobalAvgPool => pool::global_backward(source, target, place.accumulate, threads),
            Operation::Concat | Operation::Preprocess(_) | Operation::Convolution(_) => {}
        });
    }

    /// Through all that stands behind the products, then to the shortcut, the parameters and the input.
    fn backward_convolution(&mut self, id: StepId, own: &mut [T], count: usize) {
        let threads = Threads(rayon::current_num_threads());
        let Self { steps, layout, slots, kept, spares, tensors, layers, spare, statistics, clock, .. } = self;
        let (step, place) = (&steps[id], &layout.steps[id]);
        let (Operation::Convolution(convolution), Some(layer)) = (&step.operation, &mut layers[id]) else { return };
        let [height, width, channels] = step.shape;
        let pixels = count * height * width;
        if !convolution.is_plain() {
            let Target { data, stride, .. } = target(own, &place.gradient, count);
            let bits = &kept[id];
            clock.time(Some(Work::Norm), || {
                let products = &mut layer.products[..pixels * channels];
                if convolution.norm.is_some() {
                    let incoming = Incoming { data, stride, bits };
                    layer.sums.measure(incoming, products, &layer.affine.minus, spare, threads);
                }
                layer.settle_back(convolution, tensors, *statistics, pixels);
                let products = &mut layer.products[..pixels * channels];
                layer.back.run((data, stride), bits, products, convolution.residual.is_some(), threads);
            });
        }
        let own = source(own, &place.gradient, count);
        if let Some(shortcut) = convolution.residual.filter(|_| place.residual != ResidualGradient::Aliased) {
            let view = &layout.steps[shortcut].gradient;
            let adds = place.residual == ResidualGradient::Added;
            share(own, target(&mut slots[view.slot], view, count), adds, threads);
        }
        let gradient = if convolution.is_plain() {
            own
        } else {
            let data = &layer.products[..pixels * channels];
            Source { data, images: count, size: [height, width], channels, stride: channels }
        };
        let input = &layout.steps[step.inputs[0]];
        let workers = (threads, &*spares);
        let seen = source(&slots[input.value.slot], &input.value, count);
        let mut kernel = take(tensors, convolution.kernel).unwrap_or_default();
        let bias = convolution.bias.and_then(|bias| take(tensors, bias));
        let given = bias.is_some();
        let mut sums = bias.unwrap_or_else(|| mem::take(&mut layer.spare));
        sums.resize(channels, T::ZERO);
        clock.time(Some(Work::Convolution), || {
            layer.weights.run(seen, gradient, &mut kernel, &mut sums, workers);
        });
        tensors[convolution.kernel].gradient = kernel;
        match convolution.bias.filter(|_| given) {
            Some(bias) => tensors[bias].gradient = sums,
            None => layer.spare = sums,
        }
        if let Some(backward) = &layer.backward {
            let to = target(&mut slots[input.gradient.slot], &input.gradient, count);
            // Its ReLU stands behind a batch norm: `back` goes through both.
            clock.time(Some(Work::Convolution), || backward.run(gradient, to, place.accumulate, None, workers));
        }
    }
}

impl<T: Real> Layer<T> {
    /// What becomes of the products: from the batch's moments, which the moving ones follow, or from the moving ones.
    fn settle(&mut self, convolution: &Convolution, tensors: &mut [Tensor<T>], statistics: Statistics) {
        let scale = convolution.scale;
        let Affine { factor, minus, shift } = &mut self.affine;
        let Some(norm) = convolution.norm else {
            factor.fill(T::from_f64(scale));
            return;
        };
        for channel in 0..factor.len() {
            let moments = [(norm.mean, &mut self.moments.mean), (norm.variance, &mut self.moments.variance)];
            for (moving, moment) in moments {
                let (moving, moment) = (&mut tensors[moving].values[channel], &mut moment[channel]);
                match statistics {
                    Statistics::Batch => {
                        *moving = T::from_f64(moving.to_f64() * MOMENTUM + *moment * (1.0 - MOMENTUM));
                    }
                    Statistics::Stored => *moment = moving.to_f64(),
                }
            }
            let value = |id: usize| tensors[id].values[channel].to_f64();
            let inverse = inverse_deviation(norm, self.moments.variance[channel]);
            factor[channel] = T::from_f64(value(norm.gamma) * inverse * scale);
            minus[channel] = T::from_f64(-self.moments.mean[channel]);
            shift[channel] = T::from_f64(value(norm.beta) * scale);
        }
    }

    /// The gradients of a batch norm, and how the gradient goes on to the products, of which there are `pixels` a channel.
    fn settle_back(
        &mut self,
        convolution: &Convolution,
        tensors: &mut [Tensor<T>],
        statistics: Statistics,
        pixels: usize,
    ) {
        let scale = convolution.scale;
        let Some(norm) = convolution.norm else {
            self.back.factor.fill(T::from_f64(scale));
            return;
        };
        for channel in 0..self.back.factor.len() {
            let inverse = inverse_deviation(norm, self.moments.variance[channel]);
            let (gradient, product) = (self.sums.gradient[channel], self.sums.product[channel]);
            let factor = tensors[norm.gamma].values[channel].to_f64() * inverse * scale;
            for (id, value) in [(norm.gamma, product * inverse * scale), (norm.beta, gradient * scale)] {
                if let Some(place) = tensors[id].gradient.get_mut(channel) {
                    *place = T::from_f64(value);
                }
            }
            // Mean and variance of the batch move with the products: what a shift or a stretch would change comes off.
            let (slope, shift) = match statistics {
                Statistics::Batch => {
                    let share = -factor / pixels as f64;
                    (share * inverse * inverse * product, share * gradient)
                }
                Statistics::Stored => (0.0, 0.0),
            };
            let Back { factor: factors, slope: slopes, minus, shift: shifts } = &mut self.back;
            factors[channel] = T::from_f64(factor);
            slopes[channel] = T::from_f64(slope);
            minus[channel] = self.affine.minus[channel];
            shifts[channel] = T::from_f64(shift);
        }
    }
}
