//! Numbers come in; pairs of bf16 go out, each in the place of one f32: what products in bf16 are made of. Sums stay in f32.
//!
//! Kernels of this room move words of 32 bits and do not look into them, so that a pair goes the way of a number: a pixel has
//! half as many words as channels ([`PairLoops::narrow`]), a matrix half as many rows ([`PairLoops::couple`]).

use half::bf16;

use super::outer::Outer;
use super::product::Strip;
use super::vector::{Engine, Paired};

/// Loops compiled for an instruction set that has products of bf16; an engine gives them only where the processor has it.
#[derive(Debug)]
pub struct PairLoops {
    /// As [`super::vector::Engine::multiply`], of a panel and pixels in pairs.
    pub multiply: unsafe fn(&Strip),
    /// As [`super::vector::Engine::accumulate`], of pairs on both sides.
    pub accumulate: unsafe fn(&Outer),
    /// [`narrow`] and [`couple`].
    pub narrow: unsafe fn(&[f32], &mut [f32]),
    pub couple: unsafe fn([&[f32]; 2], &mut [f32]),
}

impl PairLoops {
    /// Neighbours become pairs: half as many.
    pub fn narrow(&self, from: &[f32], to: &mut [f32]) {
        // SAFETY: there is no engine that gives these loops where the processor does not have the instructions.
        unsafe { (self.narrow)(from, to) }
    }

    /// Numbers of one list become pairs with those of another.
    pub fn couple(&self, from: [&[f32]; 2], to: &mut [f32]) {
        // SAFETY: as above.
        unsafe { (self.couple)(from, to) }
    }
}

/// The loops for products of so many channels, where they are to be taken in bf16: a pair is of two channels. An odd number is that
/// of the image which the network is given, three and some taps' three, and stays in f32.
pub fn pairs(engine: impl Engine, channels: usize) -> Option<&'static PairLoops> {
    engine.pairs().filter(|_| channels.is_multiple_of(2))
}

/// Writes [`PairLoops`] for the instruction set that the attribute names.
macro_rules! pair_loops {
    ($(#[$features:meta])? $vector:ty, [$first:literal $(, $rows:literal)*; $last:literal], $vectors:literal) => {{
        $(#[$features])?
        unsafe fn multiply(strip: &$crate::nn::cpu::packed::product::Strip) {
            use $crate::nn::cpu::packed::product::multiply;
            // SAFETY: the caller's promise.
            unsafe {
                by_rows!(multiply, [$vector, OfPairs], [$first $(, $rows)*; $last], $vectors, strip);
            }
        }
        $(#[$features])?
        unsafe fn accumulate(tile: &$crate::nn::cpu::packed::outer::Outer) {
            use $crate::nn::cpu::packed::outer::accumulate;
            // SAFETY: the caller's promise.
            unsafe {
                by_rows!(accumulate, [$vector, OfPairs], [$first $(, $rows)*; $last], $vectors, tile);
            }
        }
        $(#[$features])?
        unsafe fn narrow(from: &[f32], to: &mut [f32]) {
            // SAFETY: the caller's promise.
            unsafe { $crate::nn::cpu::packed::pairs::narrow::<$vector>(from, to) }
        }
        $(#[$features])?
        unsafe fn couple(from: [&[f32]; 2], to: &mut [f32]) {
            // SAFETY: the caller's promise.
            unsafe { $crate::nn::cpu::packed::pairs::couple::<$vector>(from, to) }
        }
        PairLoops { multiply, accumulate, narrow, couple }
    }};
}
pub(super) use pair_loops;

/// Two numbers as a pair, rounded to the nearest.
pub fn pair(numbers: [f32; 2]) -> f32 {
    let [low, high] = numbers.map(|number| u32::from(bf16::from_f32(number).to_bits()));
    f32::from_bits(low | high << 16)
}

/// The numbers of a pair.
pub fn apart(pair: f32) -> [f32; 2] {
    let bits = pair.to_bits();
    [bits << 16, bits & 0xFFFF_0000].map(f32::from_bits)
}

/// [`PairLoops::narrow`].
///
/// # Safety
/// Called from code compiled for the vector's instruction set, where the processor has it.
#[inline(always)]
#[allow(clippy::inline_always, reason = "to be compiled for the instruction set")]
pub unsafe fn narrow<V: Paired>(from: &[f32], to: &mut [f32]) {
    assert!(from.len() == 2 * to.len(), "{} numbers to {} pairs", from.len(), to.len());
    let whole = from.len() - from.len() % V::LANES;
    for start in (0..whole).step_by(V::LANES) {
        // SAFETY: both sides have as many.
        unsafe { V::load(from.as_ptr().add(start)).narrow(to.as_mut_ptr().add(start / 2)) };
    }
    for (to, numbers) in to[whole / 2..].iter_mut().zip(from[whole..].as_chunks().0) {
        *to = pair(*numbers);
    }
}

/// [`PairLoops::couple`].
///
/// # Safety
/// As [`narrow`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
pub unsafe fn couple<V: Paired>([first, second]: [&[f32]; 2], to: &mut [f32]) {
    assert!(first.len() == to.len() && second.len() == to.len(), "three lists of one length");
    let whole = to.len() - to.len() % V::LANES;
    for start in (0..whole).step_by(V::LANES) {
        // SAFETY: all three have as many.
        unsafe {
            let [first, second] = [first, second].map(|numbers| V::load(numbers.as_ptr().add(start)));
            V::couple(first, second).store(to.as_mut_ptr().add(start));
        }
    }
    for (place, to) in to.iter_mut().enumerate().skip(whole) {
        *to = pair([first[place], second[place]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_the_first_number_in_its_lower_half_and_rounds_ties_to_even() {
        assert_eq!(pair([1.0, -2.0]).to_bits(), 0xC000_3F80);
        let ties = pair([1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0]);
        assert_eq!(apart(ties).map(f32::to_bits), [1.0_f32, 1.0 + 4.0 / 256.0].map(f32::to_bits));
    }
}
