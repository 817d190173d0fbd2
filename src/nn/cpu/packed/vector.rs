//! What an instruction set must offer for the kernels of this room: vectors of f32, and the loops compiled for it.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use half::bf16;

use super::norm::Pass;
use super::outer::Outer;
use super::pairs::PairLoops;
use super::product::Strip;
use super::scheme::Scheme;
use super::transform::{Gather, Spread};

/// Numbers of a vector at most.
pub const WIDEST: usize = 16;

/// A vector of f32.
///
/// All functions are called from code that was compiled for the instruction set, and nowhere else.
#[allow(clippy::missing_safety_doc, reason = "one contract for all: the instruction set is there, pointers are valid")]
pub trait Vector: Copy {
    /// Numbers of a vector: [`WIDEST`], or a part of that.
    const LANES: usize;
    /// All nought.
    unsafe fn zero() -> Self;
    /// All `value`.
    unsafe fn splat(value: f32) -> Self;
    /// `LANES` numbers from anywhere.
    unsafe fn load(from: *const f32) -> Self;
    /// `LANES` numbers to anywhere.
    unsafe fn store(self, to: *mut f32);
    /// The same past the caches, to a multiple of a vector's bytes; seen by other threads after [`Vector::fence`].
    unsafe fn stream(self, to: *mut f32);
    /// `LANES` bf16 from anywhere.
    unsafe fn widen(from: *const bf16) -> Self {
        let mut numbers = [0.0; WIDEST];
        // SAFETY: the contract; there are as many numbers as lanes at most.
        unsafe {
            for (lane, number) in numbers[..Self::LANES].iter_mut().enumerate() {
                *number = from.add(lane).read().to_f32();
            }
            Self::load(numbers.as_ptr())
        }
    }
    /// Each number as the nearest bf16, of two the even one; what is no number may become any.
    unsafe fn round(self, to: *mut bf16) {
        let mut numbers = [0.0; WIDEST];
        // SAFETY: as above.
        unsafe {
            self.store(numbers.as_mut_ptr());
            for (lane, number) in numbers[..Self::LANES].iter().enumerate() {
                to.add(lane).write(bf16::from_f32(*number));
            }
        }
    }
    /// The same past the caches, as [`Vector::stream`], to a multiple of half a vector's bytes.
    unsafe fn stream_rounded(self, to: *mut bf16) {
        // SAFETY: the contract.
        unsafe { self.round(to) }
    }
    /// Ends what was streamed, as if it had been stored.
    unsafe fn fence();
    /// Says that a number will soon be read; the pointer may lead anywhere.
    unsafe fn prefetch(from: *const f32);
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self - other`.
    unsafe fn sub(self, other: Self) -> Self;
    /// `self * factor + summand`, rounded once.
    unsafe fn fma(self, factor: Self, summand: Self) -> Self;
    /// `self` where it is above nought, else nought; and a bit for each lane that is.
    unsafe fn relu(self) -> (Self, u32);
    /// `self` in the lanes whose bit is set, else nought; bits beyond the lanes do not matter.
    unsafe fn keep(self, bits: u32) -> Self;
    /// Writes `LANES` bytes: a ReLU's slope from one number to the other, of 255. That is the share of the way on which what
    /// it sees is above nought; for numbers that are one, the slope there.
    unsafe fn slopes(from: Self, to: Self, bytes: *mut u8);
    /// `self` by `LANES` bytes, of 255.
    unsafe fn weigh(self, bytes: *const u8) -> Self;
}

/// A vector each of whose numbers may be a pair of bf16 instead, the first in its lower half.
#[cfg_attr(not(any(test, target_arch = "x86_64")), allow(dead_code, reason = "AVX-512 alone has products of bf16"))]
#[allow(clippy::missing_safety_doc, reason = "as above")]
pub trait Paired: Vector {
    /// `summand`, and of each pair of `self` and of `factor` both products.
    unsafe fn dot(self, factor: Self, summand: Self) -> Self;
    /// Each number of `first` and that of `second` as a pair.
    unsafe fn couple(first: Self, second: Self) -> Self;
    /// Writes `LANES / 2` pairs of the numbers that stand side by side.
    unsafe fn narrow(self, to: *mut f32);
}

/// How numbers of one vector and of another are multiplied into sums.
pub trait Products<V> {
    /// `sums`, and the products of `left` and `right`.
    ///
    /// # Safety
    /// As [`Vector`]'s functions.
    unsafe fn add(left: V, right: V, sums: V) -> V;
}

/// Number by number.
#[derive(Debug)]
pub struct OfNumbers;

impl<V: Vector> Products<V> for OfNumbers {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "an instruction, not a call")]
    unsafe fn add(left: V, right: V, sums: V) -> V {
        // SAFETY: the caller's promise.
        unsafe { left.fma(right, sums) }
    }
}

/// Pair by pair of bf16.
#[cfg_attr(not(any(test, target_arch = "x86_64")), allow(dead_code, reason = "AVX-512 alone has products of bf16"))]
#[derive(Debug)]
pub struct OfPairs;

impl<V: Paired> Products<V> for OfPairs {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "an instruction, not a call")]
    unsafe fn add(left: V, right: V, sums: V) -> V {
        // SAFETY: the caller's promise.
        unsafe { left.dot(right, sums) }
    }
}

/// Writes the functions of a vector: each a few instructions of its set.
macro_rules! vector_functions {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $result:ty $body:block)*) => {
        $(
            #[inline(always)]
            #[allow(clippy::inline_always, unused_unsafe, reason = "instructions, not calls, or plain arithmetic")]
            unsafe fn $name($($arg: $kind),*) -> $result {
                // SAFETY: the trait's contract: its instructions are there, pointers are valid.
                unsafe { $body }
            }
        )*
    };
}
pub(super) use vector_functions;

/// Calls a micro-kernel compiled for the rows of a tile.
macro_rules! by_rows {
    ($kernel:ident, [$vector:ty, $products:ty], [$first:literal $(, $rows:literal)*; $last:literal], $vectors:literal, $tile:ident) => {
        match $tile.rows {
            $first => $kernel::<$vector, $products, $first, $vectors>($tile),
            $($rows => $kernel::<$vector, $products, $rows, $vectors>($tile),)*
            _ => $kernel::<$vector, $products, $last, $vectors>($tile),
        }
    };
}
pub(super) use by_rows;

/// Writes an [`Engine`]: every loop of this room in a function compiled for the instruction set, which the attribute names.
/// Tiles may have so many rows (all of them, the last one after a semicolon), and panels so many vectors. At the end the field
/// that says which loops over pairs it has, if it has some.
macro_rules! engine {
    (@pairs $engine:ident) => { None };
    (@pairs $engine:ident $pairs:ident) => { $engine.$pairs };
    ($(#[$features:meta])? $engine:ty, $vector:ty, [$first:literal $(, $rows:literal)*; $last:literal], $vectors:literal $(, $pairs:ident)?) => {
        // SAFETY: there is no such value where the processor does not have the instructions.
        unsafe impl Engine for $engine {
            const ROWS: RangeInclusive<usize> = {
                assert!($first >= 4 && $last <= 12);
                $first..=$last
            };
            const LANES: usize = <$vector as Vector>::LANES;
            const COLUMNS: usize = $vectors * Self::LANES;

            unsafe fn multiply(self, strip: &Strip) {
                $(#[$features])?
                unsafe fn inside(strip: &Strip) {
                    // SAFETY: the caller's promise.
                    unsafe {
                        by_rows!(multiply, [$vector, OfNumbers], [$first $(, $rows)*; $last], $vectors, strip);
                    }
                }
                // SAFETY: the caller's promise; `self` says that the instructions are there.
                unsafe { inside(strip) }
            }

            unsafe fn accumulate(self, tile: &Outer) {
                $(#[$features])?
                unsafe fn inside(tile: &Outer) {
                    // SAFETY: the caller's promise.
                    unsafe {
                        by_rows!(accumulate, [$vector, OfNumbers], [$first $(, $rows)*; $last], $vectors, tile);
                    }
                }
                // SAFETY: as above.
                unsafe { inside(tile) }
            }

            unsafe fn spread(self, scheme: Scheme, tile: &Spread) {
                $(#[$features])?
                unsafe fn inside(scheme: Scheme, tile: &Spread) {
                    // SAFETY: the caller's promise.
                    unsafe { scheme.spread::<$vector>(tile) }
                }
                // SAFETY: as above.
                unsafe { inside(scheme, tile) }
            }

            unsafe fn scatter(self, scheme: Scheme, tile: &Spread) {
                $(#[$features])?
                unsafe fn inside(scheme: Scheme, tile: &Spread) {
                    // SAFETY: the caller's promise.
                    unsafe { scheme.scatter::<$vector>(tile) }
                }
                // SAFETY: as above.
                unsafe { inside(scheme, tile) }
            }

            unsafe fn gather(self, scheme: Scheme, tile: &Gather) {
                $(#[$features])?
                unsafe fn inside(scheme: Scheme, tile: &Gather) {
                    // SAFETY: the caller's promise.
                    unsafe { scheme.gather::<$vector, $vectors>(tile) }
                }
                // SAFETY: as above.
                unsafe { inside(scheme, tile) }
            }

            fn fence(self) {
                $(#[$features])?
                unsafe fn inside() {
                    // SAFETY: the instructions are there.
                    unsafe { <$vector as Vector>::fence() }
                }
                // SAFETY: `self` says that the instructions are there.
                unsafe { inside() }
            }

            fn norm(self, pass: Pass) {
                $(#[$features])?
                unsafe fn inside(pass: Pass) {
                    // SAFETY: the instructions are there.
                    unsafe { run::<$vector>(pass) }
                }
                // SAFETY: `self` says that the instructions are there.
                unsafe { inside(pass) }
            }

            fn pairs(self) -> Option<&'static PairLoops> {
                engine!(@pairs self $($pairs)?)
            }
        }
    };
}
pub(super) use engine;

/// The loops of this room, compiled for an instruction set.
///
/// # Safety
/// A value exists only where the processor has the instruction set.
pub unsafe trait Engine: Copy + Debug + Send + Sync + 'static {
    /// Pixels that a tile of the product may have, from 4 to 12.
    const ROWS: RangeInclusive<usize>;
    /// Numbers of a vector.
    const LANES: usize;
    /// Columns of a panel.
    const COLUMNS: usize;
    /// One panel by the pixels of a tile.
    ///
    /// # Safety
    /// As [`super::product::multiply`] says.
    unsafe fn multiply(self, strip: &Strip);
    /// Some channels by a panel, summed over pixels.
    ///
    /// # Safety
    /// As [`super::outer::accumulate`] says.
    unsafe fn accumulate(self, tile: &Outer);
    /// Spreads a tile.
    ///
    /// # Safety
    /// As [`super::transform::spread`] says.
    unsafe fn spread(self, scheme: Scheme, tile: &Spread);
    /// Scatters a tile.
    ///
    /// # Safety
    /// As [`super::transform::scatter`] says.
    unsafe fn scatter(self, scheme: Scheme, tile: &Spread);
    /// Gathers a tile.
    ///
    /// # Safety
    /// As [`super::transform::gather`] says.
    unsafe fn gather(self, scheme: Scheme, tile: &Gather);
    /// Ends what the caller's thread has written past the caches, as if it had been stored.
    fn fence(self);
    /// Takes some pixels through what stands behind their products.
    fn norm(self, pass: Pass);
    /// The loops for products in bf16, where products are to be taken so.
    fn pairs(self) -> Option<&'static PairLoops>;
}
