//! The functions of a vector come in; whether they do what plain arithmetic does goes out.

use half::bf16;

use super::pairs::{apart, pair};
use super::vector::{Paired, Vector, WIDEST as MOST};

/// Positive, negative, nought of both signs, large, small and equal neighbours.
const SOME: [f32; MOST + 1] =
    [1.0, -2.5, 0.0, -0.0, 3.25, 3.25, -1e-30, 1e-30, 1e9, -1e9, 0.1, -0.1, 7.0, -7.5, 0.75, -0.25, 2.0];

/// Whether all functions give these numbers; those of two roundings may be off by one.
///
/// # Safety
/// The instruction set of `V` is there.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the body must take on the features of its caller")]
pub unsafe fn agrees<V: Vector>() -> bool {
    let lanes = V::LANES;
    let (a, b) = (&SOME[..lanes], &SOME[1..=lanes]);
    // SAFETY: all pointers lead to `MOST` numbers.
    unsafe {
        let [one, other] = [a, b].map(|values| V::load(values.as_ptr()));
        V::prefetch(a.as_ptr());
        let is = |vector: V, number: &dyn Fn(usize) -> f32| {
            let mut found = [f32::NAN; MOST];
            vector.store(found.as_mut_ptr());
            (0..lanes).all(|lane| (found[lane] - number(lane)).abs() <= number(lane).abs() * 1e-6)
        };
        let (cut, bits) = one.relu();
        let positive = (0..lanes).fold(0, |bits, lane| bits | u32::from(a[lane] > 0.0) << lane);
        let mut slopes = [0; MOST];
        V::slopes(one, other, slopes.as_mut_ptr());
        let weights: [u8; MOST] = std::array::from_fn(|lane| (17 * lane) as u8);
        let some = 0xFFFF_A5C3_u32;
        is(V::zero(), &|_| 0.0)
            && is(V::splat(2.5), &|_| 2.5)
            && is(one, &|lane| a[lane])
            && is(one.add(other), &|lane| a[lane] + b[lane])
            && is(one.sub(other), &|lane| a[lane] - b[lane])
            && is(one.fma(other, V::splat(0.5)), &|lane| a[lane].mul_add(b[lane], 0.5))
            && is(cut, &|lane| a[lane].max(0.0))
            && bits == positive
            && is(one.keep(some), &|lane| if some >> lane & 1 == 1 { a[lane] } else { 0.0 })
            && (0..lanes).all(|lane| slopes[lane].abs_diff(slope(a[lane], b[lane])) <= 1)
            && is(one.weigh(weights.as_ptr()), &|lane| a[lane] * f32::from(weights[lane]) / 255.0)
            && rounds::<V>()
    }
}

/// Whether numbers are rounded to bf16 and read again as they should be.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn rounds<V: Vector>() -> bool {
    // Some lie between two bf16, three exactly in the middle, which are rounded down, up and down.
    let middle = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -1.0 - 1.0 / 256.0, f32::INFINITY];
    let numbers: [f32; MOST] = std::array::from_fn(|lane| if lane < 4 { middle[lane] } else { SOME[lane] });
    let mut places = [bf16::ZERO; 2 * MOST];
    // A vector past the caches must begin where one may.
    let first = places.as_ptr().align_offset(MOST * size_of::<bf16>());
    let mut found = [f32::NAN; MOST];
    // SAFETY: all pointers lead to a vector's numbers.
    unsafe {
        let vector = V::load(numbers.as_ptr());
        let mut right = |streams: bool| {
            places.fill(bf16::ZERO);
            let to = places[first..].as_mut_ptr();
            if streams {
                vector.stream_rounded(to);
            } else {
                vector.round(to);
            }
            V::fence();
            V::widen(to).store(found.as_mut_ptr());
            (0..V::LANES).all(|lane| found[lane].to_bits() == bf16::from_f32(numbers[lane]).to_f32().to_bits())
        };
        right(false) && right(true)
    }
}

/// The same of the functions over pairs.
///
/// # Safety
/// As [`agrees`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
pub unsafe fn agrees_in_pairs<V: Paired>() -> bool {
    let lanes = V::LANES;
    // Some lie between two bf16, and two exactly in the middle, of which one is rounded down and one up.
    let numbers = |seed: usize| -> [f32; MOST] {
        std::array::from_fn(|lane| match lane {
            3 => 1.0 + 1.0 / 256.0,
            5 => 1.0 + 3.0 / 256.0,
            _ => SOME[(lane + seed) % MOST] * 1.003,
        })
    };
    let (a, b) = (numbers(0), numbers(1));
    // SAFETY: all pointers lead to `MOST` numbers.
    unsafe {
        let [one, other] = [a, b].map(|values| V::load(values.as_ptr()));
        let [mut coupled, mut narrowed, mut sums] = [[f32::NAN; MOST]; 3];
        V::couple(one, other).store(coupled.as_mut_ptr());
        one.narrow(narrowed.as_mut_ptr());
        V::couple(one, other).dot(V::couple(other, other), V::splat(0.5)).store(sums.as_mut_ptr());
        let is = |found: f32, numbers: [f32; 2]| found.to_bits() == pair(numbers).to_bits();
        let sum = |lane: usize| {
            let [[a, b], [c, d]] = [[a[lane], b[lane]], [b[lane]; 2]].map(|numbers| apart(pair(numbers)));
            let [first, second] = [a * c, b * d];
            (first + second + 0.5, first.abs() + second.abs() + 0.5)
        };
        (0..lanes).all(|lane| is(coupled[lane], [a[lane], b[lane]]))
            && (0..lanes / 2).all(|place| is(narrowed[place], [a[2 * place], a[2 * place + 1]]))
            && (0..lanes).all(|lane| (sums[lane] - sum(lane).0).abs() <= 1e-6 * sum(lane).1)
    }
}

/// A ReLU's slope from one number to the other, of 255.
fn slope(from: f32, to: f32) -> u8 {
    let (low, high) = (from.min(to), from.max(to));
    let share = if low > 0.0 {
        1.0
    } else if high > 0.0 {
        high / (high - low)
    } else {
        0.0
    };
    (255.0 * share).round() as u8
}
