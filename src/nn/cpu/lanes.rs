//! Loops over channels, compiled twice: for any processor, and with AVX2 where the processor has it.

#![allow(clippy::needless_range_loop, reason = "what loops of known length index becomes vectors")]

use crate::nn::real::Real;

/// Writes a function whose loops the compiler may turn into AVX2.
macro_rules! lanes {
    ($(#[$doc:meta])* $public:vis fn $name:ident<T>($($arg:ident: $kind:ty),*) $body:block) => {
        $(#[$doc])*
        $public fn $name<T: Real>($($arg: $kind),*) {
            #[inline(always)]
            #[allow(clippy::inline_always, reason = "the body must take on the features of its caller")]
            fn body<T: Real>($($arg: $kind),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn wide<T: Real>($($arg: $kind),*) {
                    body($($arg),*);
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2.
                    return unsafe { wide($($arg),*) };
                }
            }
            body($($arg),*);
        }
    };
}

pub(super) use lanes;

/// Channels whose mask makes a byte.
pub const MASK: usize = 8;

lanes! {
    /// `row += bias`.
    pub fn add<T>(row: &mut [T], bias: &[T]) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += *bias;
        }
    }
}

lanes! {
    /// `row *= factor`.
    pub fn scale<T>(row: &mut [T], factor: T) {
        for value in row {
            *value = *value * factor;
        }
    }
}

lanes! {
    /// `row = max(row + bias, 0)`.
    pub fn add_relu<T>(row: &mut [T], bias: &[T]) {
        for (value, bias) in row.iter_mut().zip(bias) {
            let sum = *value + *bias;
            *value = if sum > T::ZERO { sum } else { T::ZERO };
        }
    }
}

lanes! {
    /// `row = max(row + bias, 0)`, and a bit for each channel that was positive.
    pub fn add_relu_mask<T>(row: &mut [T], bias: &[T], mask: &mut [u8]) {
        for ((values, bias), bits) in row.chunks_mut(MASK).zip(bias.chunks(MASK)).zip(mask) {
            let mut positive = 0;
            for (lane, (value, bias)) in values.iter_mut().zip(bias).enumerate() {
                let sum = *value + *bias;
                let on = sum > T::ZERO;
                positive |= u8::from(on) << lane;
                *value = if on { sum } else { T::ZERO };
            }
            *bits = positive;
        }
    }
}

lanes! {
    /// Nought wherever the bit is not set.
    pub fn apply_mask<T>(row: &mut [T], mask: &[u8]) {
        for (values, bits) in row.chunks_mut(MASK).zip(mask) {
            for (lane, value) in values.iter_mut().enumerate() {
                *value = if bits & (1 << lane) == 0 { T::ZERO } else { *value };
            }
        }
    }
}

lanes! {
    /// `row *= slope`, of 255.
    pub fn apply_slopes<T>(row: &mut [T], slopes: &[u8]) {
        let whole = T::from_f64(1.0 / f64::from(u8::MAX));
        for (value, slope) in row.iter_mut().zip(slopes) {
            *value = *value * (T::from_byte(*slope) * whole);
        }
    }
}

lanes! {
    /// A ReLU's slope from one number to the other, of 255: the share of the way on which what it sees is above nought; for
    /// numbers that are one, the slope there. Then `from = relu(from)`.
    pub fn take_slopes<T>(from: &mut [T], to: &[T], slopes: &mut [u8]) {
        let whole = T::from_f64(f64::from(u8::MAX));
        for ((from, to), slope) in from.iter_mut().zip(to).zip(slopes) {
            let (low, high) = if *from < *to { (*from, *to) } else { (*to, *from) };
            let share = if low > T::ZERO { T::ONE } else if high > T::ZERO { high / (high - low) } else { T::ZERO };
            *slope = T::to_byte(share * whole);
            *from = if *from > T::ZERO { *from } else { T::ZERO };
        }
    }
}

lanes! {
    /// `row = max(row, 0)`.
    pub fn relu<T>(row: &mut [T]) {
        for value in row {
            *value = if *value > T::ZERO { *value } else { T::ZERO };
        }
    }
}

lanes! {
    /// `best = max(best, row)`.
    pub fn maximum<T>(best: &mut [T], row: &[T]) {
        for (best, value) in best.iter_mut().zip(row) {
            *best = if *value > *best { *value } else { *best };
        }
    }
}

/// Channels that stay in registers while others pass by.
const BLOCK: usize = 16;

lanes! {
    /// `row` is the sum of `factor * other`, or that is added to it.
    pub fn sum<T>(row: &mut [T], others: &[(&[T], T)], adds: bool) {
        let (blocks, rest) = row.as_chunks_mut::<BLOCK>();
        let whole = blocks.len() * BLOCK;
        for (place, block) in blocks.iter_mut().enumerate() {
            let mut sums = if adds { *block } else { [T::ZERO; BLOCK] };
            for (other, factor) in others {
                let (others, _) = other.as_chunks::<BLOCK>();
                sums.iter_mut().zip(&others[place]).for_each(|(sum, value)| *sum += *value * *factor);
            }
            *block = sums;
        }
        for (place, value) in rest.iter_mut().enumerate() {
            let start = if adds { *value } else { T::ZERO };
            *value = others.iter().fold(start, |sum, (other, factor)| sum + other[whole + place] * *factor);
        }
    }
}

lanes! {
    /// The greatest of `best` and all others, and the tap of the one that won where it was not `best`; the first of equals stays.
    pub fn maximum_with<T>(best: &mut [T], argument: &mut [u8], others: &[(&[T], u8)]) {
        let (blocks, rest) = best.as_chunks_mut::<BLOCK>();
        let (arguments, last) = argument.as_chunks_mut::<BLOCK>();
        let whole = blocks.len() * BLOCK;
        for (place, (block, argument)) in blocks.iter_mut().zip(arguments).enumerate() {
            // As wide as what is compared.
            let (mut best, mut taps) = (*block, argument.map(u32::from));
            for (other, tap) in others {
                let (others, _) = other.as_chunks::<BLOCK>();
                let (other, tap) = (&others[place], u32::from(*tap));
                for lane in 0..BLOCK {
                    taps[lane] = if other[lane] > best[lane] { tap } else { taps[lane] };
                }
                for lane in 0..BLOCK {
                    best[lane] = if other[lane] > best[lane] { other[lane] } else { best[lane] };
                }
            }
            *block = best;
            *argument = taps.map(|tap| tap as u8);
        }
        for (place, (best, argument)) in rest.iter_mut().zip(last).enumerate() {
            for (other, tap) in others {
                if other[whole + place] > *best {
                    (*best, *argument) = (other[whole + place], *tap);
                }
            }
        }
    }
}

lanes! {
    /// `row += gradient * share` where `tap` had won first, and `gradient * (1 - share)` where it won then; shares are of 255.
    pub fn add_shares<T>(row: &mut [T], gradient: &[T], winners: [&[u8]; 2], shares: &[u8], tap: u8) {
        let whole = T::from_f64(1.0 / f64::from(u8::MAX));
        let [first, then] = winners;
        for ((((value, gradient), first), then), share) in row.iter_mut().zip(gradient).zip(first).zip(then).zip(shares) {
            let share = T::from_byte(*share) * whole;
            let early = if *first == tap { share } else { T::ZERO };
            let late = if *then == tap { T::ONE - share } else { T::ZERO };
            *value += *gradient * (early + late);
        }
    }
}

lanes! {
    /// `row += gradient` where `tap` had won.
    pub fn add_where<T>(row: &mut [T], gradient: &[T], argument: &[u8], tap: u8) {
        for ((value, gradient), argument) in row.iter_mut().zip(gradient).zip(argument) {
            *value += if *argument == tap { *gradient } else { T::ZERO };
        }
    }
}
