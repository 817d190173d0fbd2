//! What stands between a convolution's products and its value: batch norm, the scaled sum with a shortcut, ReLU; and back.
//!
//! All of it is `value = relu(shortcut + factor (product - mean) + shift)`, channel by channel; without batch norm the mean
//! and the shift are nought. Products are dense, `[pixels, channels]`; values and their gradients may lie among others.

#![allow(clippy::needless_range_loop, reason = "what loops of known length index becomes vectors")]

use std::ops::Range;

use crate::nn::cpu::kernel::mask_bytes;
use crate::nn::cpu::lanes::{MASK, lanes};
use crate::nn::cpu::parallel::{Threads, at_least};
use crate::nn::real::Real;

/// Numbers that a thread takes at once: they stay in cache while they are read twice.
const CHUNK: usize = 16 * 1024;
/// Pixels that it takes at least: sums of a chunk are as many numbers as two pixels.
const LEAST: usize = 32;

/// Pixels of a chunk. Independent of the number of threads, so that sums are too.
fn chunk(channels: usize) -> usize {
    (CHUNK / channels).max(LEAST)
}

/// Mean and (biased) variance of each channel.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
}

impl Moments {
    /// Of so many channels, to be filled.
    pub fn new(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], variance: vec![0.0; channels] }
    }

    /// Those of `products`; `spare` holds the chunks' own on the way. Chunks are joined in f64 (Chan et al. 1983).
    pub fn measure<T: Real>(&mut self, products: &[T], spare: &mut Vec<T>, threads: Threads) {
        let channels = self.mean.len();
        let (pixels, length) = (products.len() / channels, chunk(channels));
        let sums = at_least(spare, pixels.div_ceil(length) * 2 * channels);
        threads.chunks(sums, 2 * channels, |place, sums| {
            let (minus, squares) = sums.split_at_mut(channels);
            let end = products.len().min((place + 1) * length * channels);
            moments(&products[place * length * channels..end], minus, squares);
        });
        self.mean.fill(0.0);
        self.variance.fill(0.0);
        let counts = (0..pixels).step_by(length).map(|from| length.min(pixels - from) as f64);
        for (sums, count) in sums.chunks_exact(2 * channels).zip(counts.clone()) {
            for (mean, minus) in self.mean.iter_mut().zip(sums) {
                *mean -= minus.to_f64() * count / pixels as f64;
            }
        }
        for (sums, count) in sums.chunks_exact(2 * channels).zip(counts) {
            let (minus, squares) = sums.split_at(channels);
            for (channel, variance) in self.variance.iter_mut().enumerate() {
                let off = self.mean[channel] + minus[channel].to_f64();
                *variance += (squares[channel].to_f64() + count * off * off) / pixels as f64;
            }
        }
    }
}

lanes! {
    /// The negative mean of some pixels, and the sum of squares about it.
    fn moments<T>(products: &[T], minus: &mut [T], squares: &mut [T]) {
        let channels = minus.len();
        minus.fill(T::ZERO);
        squares.fill(T::ZERO);
        for row in products.chunks_exact(channels) {
            minus.iter_mut().zip(row).for_each(|(sum, value)| *sum += *value);
        }
        let share = T::from_f64(-1.0 / (products.len() / channels) as f64);
        minus.iter_mut().for_each(|sum| *sum = *sum * share);
        for row in products.chunks_exact(channels) {
            for ((square, value), minus) in squares.iter_mut().zip(row).zip(&*minus) {
                let off = *value + *minus;
                *square += off * off;
            }
        }
    }
}

/// `factor (product + minus) + shift`.
#[derive(Clone, Debug, Default)]
pub struct Affine<T> {
    pub factor: Vec<T>,
    pub minus: Vec<T>,
    pub shift: Vec<T>,
}

/// What a value's pixels are besides their products: `stride` apart, with a shortcut, cut off below nought.
struct Pixels<'a, T> {
    stride: usize,
    shortcut: Option<(&'a [T], usize)>,
    relu: bool,
}

impl<T: Real> Affine<T> {
    /// Noughts for so many channels.
    pub fn new(channels: usize) -> Self {
        let [factor, minus, shift] = std::array::from_fn(|_| vec![T::ZERO; channels]);
        Self { factor, minus, shift }
    }

    /// Writes the value of all pixels of `products` into `value`, whose pixels are `stride` apart, and a bit for each
    /// number that a gradient comes through. `shortcut`: what is added, and how far apart its pixels are.
    pub fn forward(
        &self,
        products: &[T],
        (value, stride): (&mut [T], usize),
        shortcut: Option<(&[T], usize)>,
        (relu, bits): (bool, &mut [u8]),
        threads: Threads,
    ) {
        let channels = self.factor.len();
        let (length, bytes) = (chunk(channels), mask_bytes(channels));
        threads.pairs((value, length * stride), (bits, length * bytes), |place, value, bits| {
            let end = products.len().min((place + 1) * length * channels);
            let shortcut = shortcut.map(|(shortcut, stride)| (&shortcut[place * length * stride..], stride));
            let pixels = Pixels { stride, shortcut, relu };
            normalise(self, &products[place * length * channels..end], value, bits, &pixels);
        });
    }
}

lanes! {
    /// Some pixels of [`Affine::forward`].
    fn normalise<T>(affine: &Affine<T>, products: &[T], value: &mut [T], bits: &mut [u8], pixels: &Pixels<T>) {
        let channels = affine.factor.len();
        let rows = products.chunks_exact(channels).zip(value.chunks_mut(pixels.stride));
        for ((pixel, (products, value)), bits) in rows.enumerate().zip(bits.chunks_exact_mut(mask_bytes(channels))) {
            let shortcut = pixels.shortcut.map(|(shortcut, stride)| &shortcut[pixel * stride..][..channels]);
            for (place, bits) in bits.iter_mut().enumerate() {
                let from = place * MASK;
                let (all, rest) = (from..from + MASK, from..channels);
                *bits = if rest.len() >= MASK {
                    normalise_few(affine, products, value, shortcut, all, pixels.relu)
                } else {
                    normalise_few(affine, products, value, shortcut, rest, pixels.relu)
                };
            }
        }
    }
}

/// As many channels of a pixel as have their bits in one byte.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the body must take on the features of its caller")]
fn normalise_few<T: Real>(
    affine: &Affine<T>,
    products: &[T],
    value: &mut [T],
    shortcut: Option<&[T]>,
    channels: Range<usize>,
    relu: bool,
) -> u8 {
    let mut sums = [T::ZERO; MASK];
    let sums = &mut sums[..channels.len()];
    let (factor, minus, shift) =
        (&affine.factor[channels.clone()], &affine.minus[channels.clone()], &affine.shift[channels.clone()]);
    let products = &products[channels.clone()];
    for lane in 0..sums.len() {
        sums[lane] = (products[lane] + minus[lane]) * factor[lane] + shift[lane];
    }
    if let Some(shortcut) = shortcut {
        sums.iter_mut().zip(&shortcut[channels.clone()]).for_each(|(sum, other)| *sum += *other);
    }
    let mut bits = u8::MAX;
    if relu {
        bits = 0;
        for (lane, sum) in sums.iter_mut().enumerate() {
            let on = *sum > T::ZERO;
            bits |= u8::from(on) << lane;
            *sum = if on { *sum } else { T::ZERO };
        }
    }
    value[channels].copy_from_slice(sums);
    bits
}

/// The sums over all pixels that gradients of a batch norm consist of, per channel.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    /// Of the gradient.
    pub gradient: Vec<f64>,
    /// Of the gradient times what the product is above the mean.
    pub product: Vec<f64>,
}

/// A gradient by a value: its pixels are `stride` apart; where a bit is not set it does not come through.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a, T> {
    pub data: &'a [T],
    pub stride: usize,
    pub bits: &'a [u8],
}

impl Sums {
    /// Of so many channels, to be filled.
    pub fn new(channels: usize) -> Self {
        Self { gradient: vec![0.0; channels], product: vec![0.0; channels] }
    }

    /// Those of a gradient, where products were like this.
    pub fn measure<T: Real>(
        &mut self,
        incoming: Incoming<T>,
        products: &[T],
        minus: &[T],
        spare: &mut Vec<T>,
        threads: Threads,
    ) {
        let channels = minus.len();
        let (pixels, length, bytes) = (products.len() / channels, chunk(channels), mask_bytes(channels));
        let sums = at_least(spare, pixels.div_ceil(length) * 2 * channels);
        threads.chunks(sums, 2 * channels, |place, sums| {
            let end = products.len().min((place + 1) * length * channels);
            let incoming = Incoming {
                data: &incoming.data[place * length * incoming.stride..],
                bits: &incoming.bits[place * length * bytes..],
                ..incoming
            };
            gradient_sums(incoming, &products[place * length * channels..end], minus, sums);
        });
        self.gradient.fill(0.0);
        self.product.fill(0.0);
        for sums in sums.chunks_exact(2 * channels) {
            let (gradient, product) = sums.split_at(channels);
            self.gradient.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value.to_f64());
            self.product.iter_mut().zip(product).for_each(|(sum, value)| *sum += value.to_f64());
        }
    }
}

lanes! {
    /// Some pixels of [`Sums::measure`].
    fn gradient_sums<T>(incoming: Incoming<T>, products: &[T], minus: &[T], sums: &mut [T]) {
        let channels = minus.len();
        sums.fill(T::ZERO);
        let (gradients, others) = sums.split_at_mut(channels);
        let rows = products.chunks_exact(channels).zip(incoming.data.chunks(incoming.stride));
        for ((products, data), bits) in rows.zip(incoming.bits.chunks_exact(mask_bytes(channels))) {
            for (place, bits) in bits.iter().enumerate() {
                let from = place * MASK;
                let (all, rest) = (from..from + MASK, from..channels);
                if rest.len() >= MASK {
                    sums_few(data, products, minus, *bits, (&mut *gradients, &mut *others), all);
                } else {
                    sums_few(data, products, minus, *bits, (&mut *gradients, &mut *others), rest);
                }
            }
        }
    }
}

/// As many channels of a pixel as have their bits in one byte.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
fn sums_few<T: Real>(
    data: &[T],
    products: &[T],
    minus: &[T],
    bits: u8,
    (gradients, others): (&mut [T], &mut [T]),
    channels: Range<usize>,
) {
    let (data, products, minus) = (&data[channels.clone()], &products[channels.clone()], &minus[channels.clone()]);
    let (gradients, others) = (&mut gradients[channels.clone()], &mut others[channels.clone()]);
    for lane in 0..channels.len() {
        let gradient = through(data[lane], bits, lane);
        gradients[lane] += gradient;
        others[lane] += gradient * (products[lane] + minus[lane]);
    }
}

/// A gradient behind a ReLU.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
fn through<T: Real>(gradient: T, bits: u8, lane: usize) -> T {
    if bits & (1 << lane) == 0 { T::ZERO } else { gradient }
}

/// From the gradient by the value to that by the product: `factor gradient + slope (product + minus) + shift`.
#[derive(Clone, Debug, Default)]
pub struct Back<T> {
    pub factor: Vec<T>,
    pub slope: Vec<T>,
    pub minus: Vec<T>,
    pub shift: Vec<T>,
}

impl<T: Real> Back<T> {
    /// Noughts for so many channels.
    pub fn new(channels: usize) -> Self {
        let [factor, slope, minus, shift] = std::array::from_fn(|_| vec![T::ZERO; channels]);
        Self { factor, slope, minus, shift }
    }

    /// Writes the gradient over the products; `gradient`, whose pixels are `stride` apart, is left as it is before the
    /// ReLU if it is still needed (`keep`).
    pub fn run(
        &self,
        (gradient, stride): (&mut [T], usize),
        bits: &[u8],
        products: &mut [T],
        keep: bool,
        threads: Threads,
    ) {
        let channels = self.factor.len();
        let (length, bytes) = (chunk(channels), mask_bytes(channels));
        threads.pairs((products, length * channels), (gradient, length * stride), |place, products, gradient| {
            back(self, (gradient, stride), &bits[place * length * bytes..], products, keep);
        });
    }
}

lanes! {
    /// Some pixels of [`Back::run`].
    fn back<T>(back: &Back<T>, gradient: (&mut [T], usize), bits: &[u8], products: &mut [T], keep: bool) {
        let channels = back.factor.len();
        let (gradient, stride) = gradient;
        let rows = products.chunks_exact_mut(channels).zip(gradient.chunks_mut(stride));
        for ((products, gradient), bits) in rows.zip(bits.chunks_exact(mask_bytes(channels))) {
            for (place, bits) in bits.iter().enumerate() {
                let from = place * MASK;
                let (all, rest) = (from..from + MASK, from..channels);
                if rest.len() >= MASK {
                    back_few(back, gradient, *bits, products, all, keep);
                } else {
                    back_few(back, gradient, *bits, products, rest, keep);
                }
            }
        }
    }
}

/// As many channels of a pixel as have their bits in one byte.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
fn back_few<T: Real>(
    back: &Back<T>,
    gradient: &mut [T],
    bits: u8,
    products: &mut [T],
    channels: Range<usize>,
    keep: bool,
) {
    let (factor, slope) = (&back.factor[channels.clone()], &back.slope[channels.clone()]);
    let (minus, shift) = (&back.minus[channels.clone()], &back.shift[channels.clone()]);
    let (gradient, products) = (&mut gradient[channels.clone()], &mut products[channels.clone()]);
    let mut before = [T::ZERO; MASK];
    for lane in 0..channels.len() {
        before[lane] = through(gradient[lane], bits, lane);
        products[lane] = before[lane] * factor[lane] + (products[lane] + minus[lane]) * slope[lane] + shift[lane];
    }
    if keep {
        gradient.copy_from_slice(&before[..channels.len()]);
    }
}
