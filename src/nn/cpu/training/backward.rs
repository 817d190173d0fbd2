//! Gradients by the logits of a batch go in; gradients by all parameters come out, of the values that
//! [`Trainer::forward`] has kept.

use std::mem;

use super::norm::go_back;
use super::{Layer, Step, Tensor, Trainer, groups, take};
use crate::nn::clock::Work;
use crate::nn::cpu::images::{give, share, source, target};
use crate::nn::cpu::kernel::{Backward, Beneath, Bits, Gate, Source, Target, mask_bytes};
use crate::nn::cpu::layout::ResidualGradient;
use crate::nn::cpu::norm::{Back, Incoming, Passing};
use crate::nn::cpu::parallel::{Threads, at_least};
use crate::nn::cpu::pool;
use crate::nn::real::Real;
use crate::nn::steps::{Convolution, Operation, StepId};
use crate::nn::training::{Statistics, inverse_deviation};

impl<T: Real> Trainer<T> {
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
        // The layer leaves its place, so that those before it can take in what it gives them.
        let Some(mut layer) = self.layers[id].take() else { return };
        if let Operation::Convolution(convolution) = self.steps[id].operation {
            let [height, width, channels] = self.steps[id].shape;
            if !convolution.is_plain() {
                self.backward_norm(id, (&convolution, &mut layer), own, count);
            }
            let own = source(own, &self.layout.steps[id].gradient, count);
            self.backward_shortcut(id, &convolution, own);
            let by_products = mem::take(&mut self.by_products);
            let gradient = if convolution.is_plain() {
                own
            } else {
                Source { data: &by_products, images: count, size: [height, width], channels, stride: channels }
            };
            self.backward_parameters(id, (&convolution, &layer), gradient);
            if let Some(backward) = &layer.backward {
                self.backward_input(id, backward.as_ref(), gradient);
            }
            self.by_products = by_products;
        }
        self.layers[id] = Some(layer);
    }

    /// From the gradient by the value to that by the products.
    fn backward_norm(
        &mut self,
        id: StepId,
        (convolution, layer): (&Convolution, &mut Layer<T>),
        own: &mut [T],
        count: usize,
    ) {
        let threads = Threads(rayon::current_num_threads());
        let Self { steps, layout, kept, tensors, by_products, spare, statistics, clock, .. } = self;
        let ([height, width, channels], place, bits) = (steps[id].shape, &layout.steps[id], &kept[id]);
        let pixels = count * height * width;
        let length = pixels * channels;
        let Target { data, stride, .. } = target(own, &place.gradient, count);
        clock.time(Some(Work::Norm), || {
            if convolution.norm.is_some() && !layer.is_summed {
                let above = (layer.products.first(length), layer.affine.minus.as_slice());
                layer.sums.take_in(layer.loops.as_ref(), Incoming { data, stride, bits }, above, spare, threads);
            }
            layer.settle_back(convolution, tensors, *statistics, pixels);
            layer.sums.clear();
            layer.is_summed = false;
            // What its reader has taken through the ReLU is the shortcut's gradient already.
            let keep = convolution.residual.is_some() && !(place.gate.passed && place.gate.holder == id);
            let passing = Passing { data, stride, bits, keep };
            let (products, to) = (layer.products.first(length), &mut by_products[..length]);
            go_back(layer.loops.as_ref(), &layer.back, products, passing, to, threads);
        });
    }

    fn backward_shortcut(&mut self, id: StepId, convolution: &Convolution, own: Source<T>) {
        let Self { layout, slots, .. } = self;
        let residual = layout.steps[id].residual;
        if let Some(shortcut) = convolution.residual.filter(|_| residual != ResidualGradient::Aliased) {
            let view = &layout.steps[shortcut].gradient;
            let adds = residual == ResidualGradient::Added;
            share(own, target(&mut slots[view.slot], view, own.images), adds, Threads(rayon::current_num_threads()));
        }
    }

    /// `gradient`: that by the products.
    fn backward_parameters(
        &mut self,
        id: StepId,
        (convolution, layer): (&Convolution, &Layer<T>),
        gradient: Source<T>,
    ) {
        let workers = (Threads(rayon::current_num_threads()), &self.spares);
        let view = &self.layout.steps[self.steps[id].inputs[0]].value;
        let seen = source(&self.slots[view.slot], view, gradient.images);
        let mut kernel = take(&mut self.tensors, convolution.kernel).unwrap_or_default();
        let mut bias = convolution.bias.and_then(|bias| take(&mut self.tensors, bias));
        let sums = bias.as_deref_mut().unwrap_or_else(|| at_least(&mut self.spare, gradient.channels));
        self.clock.time(Some(Work::Convolution), || layer.weights.run(seen, gradient, &mut kernel, sums, workers));
        self.tensors[convolution.kernel].gradient = kernel;
        if let (Some(id), Some(bias)) = (convolution.bias, bias) {
            self.tensors[id].gradient = bias;
        }
    }

    /// `gradient`: that by the products. Where that completes the gradient by the input, it goes through the input's ReLU (that of
    /// a concatenation does so part by part, later), and what stands before the input takes its sums in while they are in cache.
    fn backward_input(&mut self, id: StepId, backward: &dyn Backward<T>, gradient: Source<T>) {
        let threads = Threads(rayon::current_num_threads());
        let Self { steps, layout, slots, kept, spares, layers, spare, parts: taken, clock, .. } = self;
        let (input, place) = (steps[id].inputs[0], layout.steps[id]);
        let view = layout.steps[input].gradient;
        // What its shortcut is added to has the same gradient.
        let summand = steps[input].residual().filter(|&id| layers[id].as_ref().is_some_and(|layer| layer.is_summand));
        let ids = [Some(input), summand].into_iter().flatten().filter(|_| place.completes && has_norm(steps, input));
        let length = gradient.images * view.pixels() * view.channels;
        let beneath = ids.clone().filter_map(|id| layers[id].as_ref());
        let beneath =
            beneath.map(|layer| Beneath { products: layer.products.first(length), minus: &layer.affine.minus });
        let beneath: Vec<_> = beneath.collect();
        if !beneath.is_empty() {
            let gate = Gate::Bits(Bits { data: &kept[input], stride: mask_bytes(view.channels) });
            let to = target(&mut slots[view.slot], &view, gradient.images);
            let how = (place.accumulate, Some(gate));
            let run = || backward.run_with_sums(gradient, to, how, &beneath, taken, (threads, spares));
            if clock.time(Some(Work::Convolution), run) {
                clock.time(Some(Work::Norm), || {
                    for (beneath, id) in ids.enumerate() {
                        let Some(layer) = &mut layers[id] else { continue };
                        layer.sums.take_in_parts(taken, beneath, threads);
                        layer.is_summed = true;
                    }
                });
                return;
            }
        }
        let parts = if place.completes { parts(steps, input) } else { Vec::new() };
        let read_again = (!parts.is_empty()).then_some(view.pixels() * view.stride);
        for images in groups(gradient.images, read_again) {
            let mut to = target(&mut slots[view.slot], &view, gradient.images);
            clock.time(Some(Work::Convolution), || {
                let (source, target) = (gradient.some(images.clone()), to.some(images.clone()));
                let stride = mask_bytes(view.channels);
                let bits = || Bits { data: &kept[input][images.start * view.pixels() * stride..], stride };
                let gate = (place.completes && !steps[input].is_concat()).then(|| Gate::Bits(bits()));
                backward.run(source, target, place.accumulate, gate, (threads, spares));
            });
            for &part in &parts {
                let Some(layer) = &mut layers[part] else { continue };
                let view = &layout.steps[part].gradient;
                let Source { data, stride, channels, .. } =
                    source(&slots[view.slot], view, gradient.images).some(images.clone());
                let pixels = images.start * view.pixels()..images.end * view.pixels();
                let incoming = Incoming { data, stride, bits: &kept[part][pixels.start * mask_bytes(channels)..] };
                let all = layer.products.first(pixels.end * channels);
                let products = all.some(pixels.start * channels..all.len());
                let (loops, above) = (layer.loops.as_ref(), (products, layer.affine.minus.as_slice()));
                clock.time(Some(Work::Norm), || layer.sums.take_in(loops, incoming, above, spare, threads));
                layer.is_summed = true;
            }
        }
    }
}

pub(super) fn has_norm(steps: &[Step], id: StepId) -> bool {
    matches!(steps[id].operation, Operation::Convolution(Convolution { norm: Some(_), .. }))
}

/// The convolutions with a batch norm whose values this value consists of.
pub(super) fn parts(steps: &[Step], id: StepId) -> Vec<StepId> {
    match steps[id].operation {
        Operation::Concat => steps[id].inputs.iter().flat_map(|&input| parts(steps, input)).collect(),
        _ if has_norm(steps, id) => vec![id],
        _ => Vec::new(),
    }
}

impl<T: Real> Layer<T> {
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
