//! Numbers as a plain array: what vectors do, on any processor, for tests of all that is made of them.

use std::ops::RangeInclusive;

use super::norm::{Pass, run};
use super::outer::{Outer, accumulate};
use super::pairs::{PairLoops, apart, pair, pair_loops};
use super::product::{Strip, multiply};
use super::scheme::Scheme;
use super::transform::{Gather, Spread};
use super::vector::{Engine, OfNumbers, OfPairs, Paired, Vector, by_rows, engine, vector_functions};

/// So many f32.
#[derive(Clone, Copy)]
pub struct Plain<const N: usize>([f32; N]);

impl<const N: usize> Plain<N> {
    fn with(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| of(self.0[lane], other.0[lane])))
    }
}

impl<const N: usize> Vector for Plain<N> {
    const LANES: usize = N;

    vector_functions! {
        zero() -> Self { Self([0.0; N]) }
        splat(value: f32) -> Self { Self([value; N]) }
        load(from: *const f32) -> Self { Self(from.cast::<[f32; N]>().read_unaligned()) }
        store(self: Self, to: *mut f32) -> () { to.cast::<[f32; N]>().write_unaligned(self.0) }
        stream(self: Self, to: *mut f32) -> () { self.store(to) }
        fence() -> () {}
        prefetch(_from: *const f32) -> () {}
        add(self: Self, other: Self) -> Self { self.with(other, |a, b| a + b) }
        sub(self: Self, other: Self) -> Self { self.with(other, |a, b| a - b) }
        // Rounded twice: a call for each lane would take too long.
        fma(self: Self, factor: Self, summand: Self) -> Self { self.with(factor, |a, b| a * b).add(summand) }
        relu(self: Self) -> (Self, u32) {
            let positive = (0..N).fold(0, |bits, lane| bits | u32::from(self.0[lane] > 0.0) << lane);
            (self.keep(positive), positive)
        }
        keep(self: Self, bits: u32) -> Self {
            Self(std::array::from_fn(|lane| if bits >> lane & 1 == 1 { self.0[lane] } else { 0.0 }))
        }
        slopes(from: Self, to: Self, bytes: *mut u8) -> () {
            for lane in 0..N {
                let (from, to) = (from.0[lane], to.0[lane]);
                let way = (to - from).abs().max(f32::MIN_POSITIVE);
                *bytes.add(lane) = (255.0 * (from.max(to).max(0.0) / way).min(1.0)).round_ties_even() as u8;
            }
        }
        weigh(self: Self, bytes: *const u8) -> Self {
            Self(std::array::from_fn(|lane| self.0[lane] * (f32::from(*bytes.add(lane)) * (1.0 / 255.0))))
        }
    }
}

impl<const N: usize> Paired for Plain<N> {
    vector_functions! {
        dot(self: Self, factor: Self, summand: Self) -> Self {
            let products = self.with(factor, |a, b| {
                let [[first, second], [by_first, by_second]] = [apart(a), apart(b)];
                first * by_first + second * by_second
            });
            products.add(summand)
        }
        couple(first: Self, second: Self) -> Self { first.with(second, |first, second| pair([first, second])) }
        narrow(self: Self, to: *mut f32) -> () {
            for (place, numbers) in self.0.as_chunks().0.iter().enumerate() {
                *to.add(place) = pair(*numbers);
            }
        }
    }
}

/// Sixteen lanes without instructions.
#[derive(Clone, Copy, Debug)]
pub struct Lanes {
    pairs: Option<&'static PairLoops>,
}

impl Lanes {
    /// Products in f32.
    pub fn new() -> Self {
        Self { pairs: None }
    }

    /// Products in bf16, but for those by a transform.
    pub fn bf16() -> Self {
        static PAIRS: PairLoops = pair_loops!(Plain<16>, [6, 7, 8, 9, 10, 11; 12], 2);
        Self { pairs: Some(&PAIRS) }
    }
}

// As AVX-512.
engine!(Lanes, Plain<16>, [6, 7, 8, 9, 10, 11; 12], 2, pairs);

#[cfg(test)]
mod tests {
    use super::super::check::{agrees, agrees_in_pairs};
    use super::*;

    #[test]
    fn it_is_a_vector_and_what_is_none_is_found_out() {
        // SAFETY: it takes no instructions of its own.
        assert!(unsafe { agrees::<Plain<16>>() && agrees::<Plain<4>>() });
        // SAFETY: as above.
        assert!(unsafe { agrees_in_pairs::<Plain<16>>() });
    }
}
