//! Loops over channels, compiled twice: for any processor, and with AVX2 where the processor has it.

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
    /// `row += factor * other`.
    pub fn add_scaled<T>(row: &mut [T], other: &[T], factor: T) {
        for (value, other) in row.iter_mut().zip(other) {
            *value += *other * factor;
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

lanes! {
    /// `best = max(best, row)`, and `tap` where `row` won; the first of equals stays.
    pub fn maximum_with<T>(best: &mut [T], argument: &mut [u8], row: &[T], tap: u8) {
        for ((best, argument), value) in best.iter_mut().zip(argument).zip(row) {
            let won = *value > *best;
            *best = if won { *value } else { *best };
            *argument = if won { tap } else { *argument };
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
