//! The two kinds of number that a plan may hold: f32 for use, f64 for the exact reference.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// f32 or f64.
pub trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + 'static
{
    /// Nought.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Below every number.
    const LEAST: Self;
    /// The nearest number of this kind.
    fn from_f64(value: f64) -> Self;
    /// The same number.
    fn to_f64(self) -> f64;
    /// The same number.
    fn from_byte(value: u8) -> Self;
    /// The nearest byte.
    fn to_byte(self) -> u8;
}

macro_rules! real {
    ($kind:ident) => {
        impl Real for $kind {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LEAST: Self = $kind::NEG_INFINITY;

            #[inline]
            fn from_f64(value: f64) -> Self {
                value as $kind
            }

            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            #[inline]
            fn from_byte(value: u8) -> Self {
                Self::from(value)
            }

            #[inline]
            fn to_byte(self) -> u8 {
                (self + 0.5) as u8
            }
        }
    };
}

real!(f32);
real!(f64);
