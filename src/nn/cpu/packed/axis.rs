//! Winograd's transforms along one axis: `m` outputs of a window of `r` taps from `m + r - 1` products instead of `m * r`
//! (Lavin and Gray, arXiv 1509.09308; Barabasz et al., arXiv 1803.10986, on points and errors).
//!
//! Inputs are the coefficients of a polynomial, spread to its values at points; each is multiplied by the kernel's value
//! there; the products are gathered to outputs. The points are 0, some pairs `a` and `-a`, and infinity: within a pair, odd
//! powers only change their sign, so that both values cost little more than one. All matrices follow from the pairs.

#![allow(clippy::needless_range_loop, reason = "what loops of known length index stays in registers")]

use super::vector::Vector;

/// Points of an axis at most.
pub const MOST: usize = 10;
/// Pairs of points at most.
const PAIRS: usize = (MOST - 2) / 2;

/// A scheme along one axis.
pub trait Axis {
    /// Outputs of a tile.
    const OUTPUTS: usize;
    /// Taps of the window.
    const TAPS: usize;
    /// The positive points of the pairs; exact in f32, as are few of their products.
    const PAIRS: &'static [f64];

    /// Points, and inputs of a tile.
    const POINTS: usize = Self::OUTPUTS + Self::TAPS - 1;
    /// What spreads.
    const SPREAD: Polynomials = Polynomials::new(Self::PAIRS);
    /// What gathers: powers of the pairs' points.
    const POWERS: [[f32; MOST]; PAIRS] = powers(Self::PAIRS);
}

/// Coefficients of the polynomials that are nought at all points but one: values of the inputs there.
pub struct Polynomials {
    /// At 0; only even powers.
    zero: [f32; MOST],
    /// At a pair's positive point; at the other one odd powers have the other sign.
    pairs: [[f32; MOST]; PAIRS],
    /// At infinity: nought at all others; only odd powers.
    infinity: [f32; MOST],
}

impl Polynomials {
    const fn new(pairs: &[f64]) -> Self {
        let all = product(pairs, pairs.len());
        let mut polynomials = Self { zero: [0.0; MOST], pairs: [[0.0; MOST]; PAIRS], infinity: [0.0; MOST] };
        let mut power = 0;
        while power < MOST {
            polynomials.zero[power] = all[power] as f32;
            if power > 0 {
                polynomials.infinity[power] = all[power - 1] as f32;
            }
            power += 1;
        }
        let mut pair = 0;
        while pair < pairs.len() {
            // x (x + a) times the other pairs.
            let others = product(pairs, pair);
            let mut power = 1;
            while power < MOST {
                let square = if power > 1 { others[power - 2] } else { 0.0 };
                polynomials.pairs[pair][power] = (square + pairs[pair] * others[power - 1]) as f32;
                power += 1;
            }
            pair += 1;
        }
        polynomials
    }
}

/// Coefficients of the product of `x^2 - a^2` over all pairs but one.
const fn product(pairs: &[f64], without: usize) -> [f64; MOST] {
    let mut coefficients = [0.0; MOST];
    coefficients[0] = 1.0;
    let mut pair = 0;
    while pair < pairs.len() {
        if pair != without {
            let mut power = MOST;
            while power > 0 {
                power -= 1;
                let shifted = if power > 1 { coefficients[power - 2] } else { 0.0 };
                coefficients[power] = shifted - pairs[pair] * pairs[pair] * coefficients[power];
            }
        }
        pair += 1;
    }
    coefficients
}

const fn powers(pairs: &[f64]) -> [[f32; MOST]; PAIRS] {
    let mut powers = [[0.0; MOST]; PAIRS];
    let mut pair = 0;
    while pair < pairs.len() {
        let (mut power, mut value) = (0, 1.0);
        while power < MOST {
            powers[pair][power] = value as f32;
            value *= pairs[pair];
            power += 1;
        }
        pair += 1;
    }
    powers
}

/// The kernel's values at the points, in the order in which [`spread`] gives the inputs': 0, pairs, infinity.
pub fn kernel<A: Axis>(taps: &[f64]) -> Vec<f64> {
    if A::POINTS == 1 {
        return taps.to_vec();
    }
    let mut points = vec![0.0];
    points.extend(A::PAIRS.iter().flat_map(|a| [*a, -a]));
    let finite = |(place, point): (usize, &f64)| {
        let others = points.iter().enumerate().filter(|(other, _)| *other != place);
        let scale: f64 = others.map(|(_, other)| point - other).product();
        taps.iter().rev().fold(0.0, |sum, tap| sum * point + tap) / scale
    };
    points.iter().enumerate().map(finite).chain(taps.last().copied()).collect()
}

/// The inputs' values at the points.
///
/// # Safety
/// The instruction set of `V` is there.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the body must take on the features of its caller")]
pub unsafe fn spread<V: Vector, A: Axis>(inputs: [V; MOST]) -> [V; MOST] {
    if A::POINTS == 1 {
        return inputs;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let mut values = [V::zero(); MOST];
        values[0] = sum::<V, A>(&inputs, &A::SPREAD.zero, 0);
        for pair in 0..A::PAIRS.len() {
            let even = sum::<V, A>(&inputs, &A::SPREAD.pairs[pair], 0);
            let odd = sum::<V, A>(&inputs, &A::SPREAD.pairs[pair], 1);
            values[1 + 2 * pair] = even.add(odd);
            values[2 + 2 * pair] = even.sub(odd);
        }
        values[A::POINTS - 1] = sum::<V, A>(&inputs, &A::SPREAD.infinity, 1);
        values
    }
}

/// The sum of every other input by its coefficient.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn sum<V: Vector, A: Axis>(inputs: &[V; MOST], coefficients: &[f32; MOST], first: usize) -> V {
    // SAFETY: as above.
    unsafe {
        let mut sum = V::zero();
        for pair in 0..MOST / 2 {
            let power = first + 2 * pair;
            if power < A::POINTS && coefficients[power] != 0.0 {
                sum = inputs[power].fma(V::splat(coefficients[power]), sum);
            }
        }
        sum
    }
}

/// The outputs from the products at the points.
///
/// # Safety
/// The instruction set of `V` is there.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
pub unsafe fn gather<V: Vector, A: Axis>(products: [V; MOST]) -> [V; MOST] {
    if A::POINTS == 1 {
        return products;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let mut outputs = [V::zero(); MOST];
        outputs[0] = products[0];
        outputs[A::OUTPUTS - 1] = outputs[A::OUTPUTS - 1].add(products[A::POINTS - 1]);
        for pair in 0..A::PAIRS.len() {
            let (plus, minus) = (products[1 + 2 * pair], products[2 + 2 * pair]);
            let (even, odd) = (plus.add(minus), plus.sub(minus));
            for power in 0..A::OUTPUTS {
                let part = if power % 2 == 0 { even } else { odd };
                outputs[power] = part.fma(V::splat(A::POWERS[pair][power]), outputs[power]);
            }
        }
        outputs
    }
}

/// The transpose of [`gather`]: what outputs' gradients are at the points.
///
/// # Safety
/// The instruction set of `V` is there.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
pub unsafe fn scatter<V: Vector, A: Axis>(gradients: [V; MOST]) -> [V; MOST] {
    if A::POINTS == 1 {
        return gradients;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let mut values = [V::zero(); MOST];
        values[0] = gradients[0];
        for pair in 0..A::PAIRS.len() {
            let (mut even, mut odd) = (V::zero(), V::zero());
            for power in 0..A::OUTPUTS {
                let sum = if power % 2 == 0 { &mut even } else { &mut odd };
                *sum = gradients[power].fma(V::splat(A::POWERS[pair][power]), *sum);
            }
            values[1 + 2 * pair] = even.add(odd);
            values[2 + 2 * pair] = even.sub(odd);
        }
        values[A::POINTS - 1] = gradients[A::OUTPUTS - 1];
        values
    }
}

/// Writes axes.
macro_rules! axes {
    ($($(#[$doc:meta])* $name:ident: $outputs:literal, $taps:literal, $pairs:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl Axis for $name {
                const OUTPUTS: usize = $outputs;
                const TAPS: usize = $taps;
                const PAIRS: &'static [f64] = &$pairs;
            }

            // Points are 0, pairs and infinity, or there is but one.
            const _: () = assert!($name::POINTS == 1 || $name::POINTS == 2 + 2 * $name::PAIRS.len());
            const _: () = assert!($name::POINTS <= MOST);
        )*
    };
}

// Pairs are those with which the error was measured to be the smallest: twice that of a direct sum for 3 x 3, six times for
// 5 x 5, 1 x 7 and 7 x 1.
axes! {
    /// One tap: nothing to do.
    One: 1, 1, [];
    /// Two outputs of three taps.
    F23: 2, 3, [1.0];
    /// Four outputs of three taps.
    F43: 4, 3, [0.75, 1.5];
    /// Four outputs of five taps.
    F45: 4, 5, [0.5, 1.0, 2.0];
    /// Four outputs of seven taps.
    F47: 4, 7, [0.5, 1.0, 1.5, 2.0];
}
