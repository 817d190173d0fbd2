//! What stands behind a convolution's products, in any precision.

#![allow(clippy::needless_range_loop, reason = "what loops of known length index becomes vectors")]
#![allow(clippy::inline_always, reason = "a body must take on the features of its caller")]

use std::ops::Range;

use crate::nn::cpu::kernel::mask_bytes;
use crate::nn::cpu::lanes::{MASK, lanes};
use crate::nn::cpu::norm::{Affine, Back, Incoming, Loops, Passing, Shortcut, Values};
use crate::nn::cpu::stored::Numbers;
use crate::nn::real::Real;

/// For any number of channels.
#[derive(Debug)]
pub struct AnyChannels;

impl<T: Real> Loops<T> for AnyChannels {
    fn moments(&self, products: &[T], sums: [&mut [T]; 2]) {
        let [above, squares] = sums;
        moments(products, above, squares);
    }

    fn normalise(&self, affine: &Affine<T>, products: Numbers<T>, values: Values<T>) {
        normalise(affine, products, values);
    }

    fn sum(&self, incoming: Incoming<T>, products: Numbers<T>, minus: &[T], sums: [&mut [T]; 2]) {
        sum(incoming, products, minus, sums);
    }

    fn back(&self, back: &Back<T>, products: Numbers<T>, gradient: Passing<T>, to: &mut [T]) {
        go_back(back, products, gradient, to);
    }
}

/// The `place`-th channels of a pixel whose bits are one byte: whole, or else the rest. Of a whole block the compiler knows the
/// length.
fn block(place: usize, channels: usize) -> Result<Range<usize>, Range<usize>> {
    let from = place * MASK;
    if channels - from >= MASK { Ok(from..from + MASK) } else { Err(from..channels) }
}

/// Pixel after pixel.
fn rows<T: Real>(products: Numbers<T>, channels: usize) -> impl Iterator<Item = Numbers<T>> {
    (0..products.len() / channels).map(move |pixel| products.some(pixel * channels..(pixel + 1) * channels))
}

lanes! {
    fn moments<T>(products: &[T], above: &mut [T], squares: &mut [T]) {
        let channels = above.len();
        let first = &products[..channels];
        for row in products.chunks_exact(channels) {
            for (((above, square), product), first) in above.iter_mut().zip(&mut *squares).zip(row).zip(first) {
                let off = *product - *first;
                *above += off;
                *square += off * off;
            }
        }
    }
}

lanes! {
    fn normalise<T>(affine: &Affine<T>, products: Numbers<T>, values: Values<T>) {
        let channels = affine.factor.len();
        let rows = rows(products, channels).zip(values.data.chunks_mut(values.stride));
        for ((pixel, (products, value)), bits) in rows.enumerate().zip(values.bits.chunks_exact_mut(mask_bytes(channels)))
        {
            let shortcut = values.shortcut.map(|shortcut| shortcut.from(pixel));
            for (place, bits) in bits.iter_mut().enumerate() {
                *bits = match block(place, channels) {
                    Ok(whole) => normalise_few(affine, products, value, shortcut, whole, values.relu),
                    Err(rest) => normalise_few(affine, products, value, shortcut, rest, values.relu),
                };
            }
        }
    }
}

/// A block of a pixel; gives its bits.
#[inline(always)]
fn normalise_few<T: Real>(
    affine: &Affine<T>,
    products: Numbers<T>,
    value: &mut [T],
    shortcut: Option<Shortcut<T>>,
    channels: Range<usize>,
    relu: bool,
) -> u8 {
    let (factor, minus) = (&affine.factor[channels.clone()], &affine.minus[channels.clone()]);
    let (shift, products) = (&affine.shift[channels.clone()], products.few::<MASK>(channels.clone()));
    // In registers: what is in memory is written once.
    let mut sums = [T::ZERO; MASK];
    let sums = &mut sums[..channels.len()];
    for lane in 0..sums.len() {
        sums[lane] = (products[lane] + minus[lane]) * factor[lane] + shift[lane];
    }
    if let Some(Shortcut { data, affine, .. }) = shortcut {
        let others = data.few::<MASK>(channels.clone());
        match affine {
            None => sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other),
            Some(Affine { factor, minus, shift }) => {
                let (factor, minus) = (&factor[channels.clone()], &minus[channels.clone()]);
                let shift = &shift[channels.clone()];
                for lane in 0..sums.len() {
                    sums[lane] += (others[lane] + minus[lane]) * factor[lane] + shift[lane];
                }
            }
        }
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

lanes! {
    fn sum<T>(incoming: Incoming<T>, products: Numbers<T>, minus: &[T], sums: [&mut [T]; 2]) {
        let channels = minus.len();
        let [gradients, others] = sums;
        let rows = rows(products, channels).zip(incoming.data.chunks(incoming.stride));
        for ((products, data), bits) in rows.zip(incoming.bits.chunks_exact(mask_bytes(channels))) {
            for (place, bits) in bits.iter().enumerate() {
                match block(place, channels) {
                    Ok(whole) => sum_few(data, products, minus, *bits, [&mut *gradients, &mut *others], whole),
                    Err(rest) => sum_few(data, products, minus, *bits, [&mut *gradients, &mut *others], rest),
                }
            }
        }
    }
}

/// A block of a pixel.
#[inline(always)]
fn sum_few<T: Real>(
    data: &[T],
    products: Numbers<T>,
    minus: &[T],
    bits: u8,
    [gradients, others]: [&mut [T]; 2],
    channels: Range<usize>,
) {
    let (data, minus) = (&data[channels.clone()], &minus[channels.clone()]);
    let products = products.few::<MASK>(channels.clone());
    let (gradients, others) = (&mut gradients[channels.clone()], &mut others[channels.clone()]);
    for lane in 0..channels.len() {
        let gradient = through(data[lane], bits, lane);
        gradients[lane] += gradient;
        others[lane] += gradient * (products[lane] + minus[lane]);
    }
}

/// A gradient behind a ReLU.
#[inline(always)]
fn through<T: Real>(gradient: T, bits: u8, lane: usize) -> T {
    if bits & (1 << lane) == 0 { T::ZERO } else { gradient }
}

lanes! {
    fn go_back<T>(back: &Back<T>, products: Numbers<T>, gradient: Passing<T>, to: &mut [T]) {
        let channels = back.factor.len();
        let rows = rows(products, channels).zip(gradient.data.chunks_mut(gradient.stride));
        let rows = rows.zip(to.chunks_exact_mut(channels));
        for (((products, data), to), bits) in rows.zip(gradient.bits.chunks_exact(mask_bytes(channels))) {
            for (place, bits) in bits.iter().enumerate() {
                match block(place, channels) {
                    Ok(whole) => back_few(back, (data, *bits), products, to, whole, gradient.keep),
                    Err(rest) => back_few(back, (data, *bits), products, to, rest, gradient.keep),
                }
            }
        }
    }
}

/// A block of a pixel.
#[inline(always)]
fn back_few<T: Real>(
    back: &Back<T>,
    (gradient, bits): (&mut [T], u8),
    products: Numbers<T>,
    to: &mut [T],
    channels: Range<usize>,
    keep: bool,
) {
    let (factor, slope) = (&back.factor[channels.clone()], &back.slope[channels.clone()]);
    let (minus, shift) = (&back.minus[channels.clone()], &back.shift[channels.clone()]);
    let (gradient, to) = (&mut gradient[channels.clone()], &mut to[channels.clone()]);
    let products = products.few::<MASK>(channels.clone());
    for lane in 0..channels.len() {
        let before = through(gradient[lane], bits, lane);
        to[lane] = before * factor[lane] + (products[lane] + minus[lane]) * slope[lane] + shift[lane];
        if keep {
            gradient[lane] = before;
        }
    }
}
