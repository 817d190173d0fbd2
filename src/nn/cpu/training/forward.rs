//! Images go in; the logits of a batch come out, and what [`Trainer::backward`] needs is kept.

use std::mem;

use super::norm::normalise;
use super::{Layer, Tensor, Trainer, groups};
use crate::nn::clock::Work;
use crate::nn::cpu::images::{dense, preprocess, source, target};
use crate::nn::cpu::kernel::{Forward, Relu, Residual, Source, Target};
use crate::nn::cpu::norm::{Affine, Shortcut, UNCACHED, Values};
use crate::nn::cpu::parallel::Threads;
use crate::nn::cpu::pool;
use crate::nn::cpu::stored::{Numbers, NumbersMut};
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
        let Self { steps, layout, slots, kept, spares, tensors, layers, spare, parts, statistics, clock, .. } = self;
        let (step, count) = (&steps[id], target.images);
        let (earlier, own) = layers.split_at_mut(id);
        let (Operation::Convolution(convolution), Some(layer)) = (&step.operation, &mut own[0]) else { return };
        let value = |id: StepId| {
            let view = &layout.steps[id].value;
            source(&slots[view.slot], view, count)
        };
        let input = value(step.inputs[0]);
        let multiply = |forward: &dyn Forward<T>, source: Source<T>, to: Target<T>| {
            let run = || forward.run(source, to, Residual::None, Relu::Apply, (threads, spares));
            clock.time(Some(Work::Convolution), run);
        };
        if convolution.is_plain() {
            multiply(layer.forward.as_ref(), input, target);
            return;
        }
        let channels = step.shape[2];
        let Target { data, stride, size, .. } = target;
        let one = size[0] * size[1] * channels;
        let length = count * one;
        let measures = convolution.norm.is_some() && *statistics == Statistics::Batch;
        layer.moments.clear();
        let mut products = layer.products.first_mut(length);
        let measured = (measures || layer.forward.rounds())
            && clock.time(Some(Work::Convolution), || {
                layer.forward.run_with_moments(input, products.again(), size, parts, (threads, spares))
            });
        if measured && measures {
            clock.time(Some(Work::Norm), || layer.moments.take_in_parts(parts, threads));
        }
        if !measured {
            let NumbersMut::Full(products) = products else { unreachable!("what rounds is always measured") };
            for images in groups(count, measures.then_some(one)) {
                let products = &mut products[images.start * one..images.end * one];
                let to = Target { data: &mut *products, images: images.len(), stride: channels, size };
                multiply(layer.forward.as_ref(), input.some(images), to);
                if measures {
                    clock.time(Some(Work::Norm), || {
                        layer.moments.take_in(layer.loops.as_ref(), products, spare, threads);
                    });
                }
            }
        }
        clock.time(Some(Work::Norm), || {
            layer.settle(convolution, tensors, *statistics);
            if layer.is_summand {
                return;
            }
            let shortcut = convolution.residual.map(|id| match &earlier[id] {
                Some(Layer { is_summand: true, products, affine, .. }) => {
                    Shortcut { data: products.first(length), stride: channels, affine: Some(affine) }
                }
                _ => Shortcut { data: Numbers::Full(value(id).data), stride: value(id).stride, affine: None },
            });
            let (relu, bits, past_cache) = (convolution.relu, &mut *kept[id], length >= UNCACHED);
            let values = Values { data, stride, shortcut, relu, bits, past_cache };
            normalise(layer.loops.as_ref(), &layer.affine, layer.products.first(length), values, threads);
        });
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
}
