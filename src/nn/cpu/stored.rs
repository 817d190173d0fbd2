//! A convolution's products as training keeps them until the way back: in full, or rounded to bf16.

use std::ops::Range;

use half::bf16;

use super::lines::Lines;
use crate::nn::real::Real;

/// A list of fixed length, whose first number begins a line of cache.
#[derive(Debug)]
pub enum Stored<T> {
    Full(Lines<T>),
    Rounded(Lines<bf16>),
}

/// Some of it, to be read.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a, T> {
    Full(&'a [T]),
    Rounded(&'a [bf16]),
}

/// The same, to be written.
#[derive(Debug)]
pub enum NumbersMut<'a, T> {
    Full(&'a mut [T]),
    Rounded(&'a mut [bf16]),
}

impl<T: Real> Stored<T> {
    /// So many noughts.
    pub fn new(rounds: bool, length: usize) -> Self {
        if rounds { Self::Rounded(Lines::new(bf16::ZERO, length)) } else { Self::Full(Lines::new(T::ZERO, length)) }
    }

    /// The first ones.
    pub fn first(&self, length: usize) -> Numbers<'_, T> {
        match self {
            Self::Full(numbers) => Numbers::Full(&numbers[..length]),
            Self::Rounded(numbers) => Numbers::Rounded(&numbers[..length]),
        }
    }

    /// The same, to be written.
    pub fn first_mut(&mut self, length: usize) -> NumbersMut<'_, T> {
        match self {
            Self::Full(numbers) => NumbersMut::Full(&mut numbers[..length]),
            Self::Rounded(numbers) => NumbersMut::Rounded(&mut numbers[..length]),
        }
    }
}

impl<T: Real> Numbers<'_, T> {
    /// How many.
    pub fn len(self) -> usize {
        match self {
            Self::Full(numbers) => numbers.len(),
            Self::Rounded(numbers) => numbers.len(),
        }
    }

    /// Some of them.
    pub fn some(self, range: Range<usize>) -> Self {
        match self {
            Self::Full(numbers) => Self::Full(&numbers[range]),
            Self::Rounded(numbers) => Self::Rounded(&numbers[range]),
        }
    }

    /// A few of them, and noughts behind these.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "to be compiled for the instruction set")]
    pub fn few<const N: usize>(self, range: Range<usize>) -> [T; N] {
        let mut few = [T::ZERO; N];
        match self {
            Self::Full(numbers) => few[..range.len()].copy_from_slice(&numbers[range]),
            Self::Rounded(numbers) => {
                few.iter_mut().zip(&numbers[range]).for_each(|(to, number)| *to = T::from_f64(number.to_f64()));
            }
        }
        few
    }
}

impl<T: Real> NumbersMut<'_, T> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Full(numbers) => numbers.len(),
            Self::Rounded(numbers) => numbers.len(),
        }
    }

    /// The same, for a while.
    pub fn again(&mut self) -> NumbersMut<'_, T> {
        match self {
            Self::Full(numbers) => NumbersMut::Full(numbers),
            Self::Rounded(numbers) => NumbersMut::Rounded(numbers),
        }
    }
}
