//! What stands between a convolution's products and its value in training: batch norm, the scaled sum with a shortcut, ReLU; and the
//! way back.
//!
//! All of it is `value = relu(shortcut + factor (product - mean) + shift)`, channel by channel; without batch norm the mean
//! and the shift are nought. Products are dense, `[pixels, channels]`; values and their gradients may lie among others.

use std::fmt::Debug;

use super::stored::Numbers;
use crate::nn::real::Real;

/// Numbers that no cache holds until they are read again; few in tests, whose images are small.
pub const UNCACHED: usize = if cfg!(test) { 1024 } else { 4 * 1024 * 1024 };

/// `factor (product + minus) + shift`.
#[derive(Clone, Debug)]
pub struct Affine<T> {
    pub factor: Vec<T>,
    pub minus: Vec<T>,
    pub shift: Vec<T>,
}

/// From the gradient by the value to that by the product: `factor gradient + slope (product + minus) + shift`.
#[derive(Clone, Debug)]
pub struct Back<T> {
    pub factor: Vec<T>,
    pub slope: Vec<T>,
    pub minus: Vec<T>,
    pub shift: Vec<T>,
}

impl<T: Real> Affine<T> {
    /// Noughts for so many channels.
    pub fn new(channels: usize) -> Self {
        let [factor, minus, shift] = std::array::from_fn(|_| vec![T::ZERO; channels]);
        Self { factor, minus, shift }
    }
}

impl<T: Real> Back<T> {
    /// Noughts for so many channels.
    pub fn new(channels: usize) -> Self {
        let [factor, slope, minus, shift] = std::array::from_fn(|_| vec![T::ZERO; channels]);
        Self { factor, slope, minus, shift }
    }
}

/// Values to be written: pixels are `stride` apart.
#[derive(Debug)]
pub struct Values<'a, T> {
    pub data: &'a mut [T],
    pub stride: usize,
    pub shortcut: Option<Shortcut<'a, T>>,
    /// Whether what is below nought is cut off.
    pub relu: bool,
    /// Becomes a bit for each number that a gradient comes through.
    pub bits: &'a mut [u8],
    /// Whether all values are too many to be read from cache afterwards.
    pub past_cache: bool,
}

/// What is added before the ReLU: its pixels are `stride` apart.
#[derive(Clone, Copy, Debug)]
pub struct Shortcut<'a, T> {
    pub data: Numbers<'a, T>,
    pub stride: usize,
    /// What makes a value of it, where it is another convolution's products.
    pub affine: Option<&'a Affine<T>>,
}

impl<T: Real> Shortcut<'_, T> {
    /// From a pixel on.
    pub fn from(self, pixel: usize) -> Self {
        Self { data: self.data.some(pixel * self.stride..self.data.len()), ..self }
    }
}

/// A gradient by a value: its pixels are `stride` apart; where a bit is not set it does not come through.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a, T> {
    pub data: &'a [T],
    pub stride: usize,
    pub bits: &'a [u8],
}

/// A gradient by a value, which may be changed to that before its ReLU.
#[derive(Debug)]
pub struct Passing<'a, T> {
    pub data: &'a mut [T],
    pub stride: usize,
    pub bits: &'a [u8],
    /// Whether it is.
    pub keep: bool,
}

/// Loops over pixels, as many as there are products of.
pub trait Loops<T>: Debug + Send + Sync {
    /// Adds to `sums`, over pixels, what the product is above that of the first one, and its square.
    fn moments(&self, products: &[T], sums: [&mut [T]; 2]);

    /// Products become values.
    fn normalise(&self, affine: &Affine<T>, products: Numbers<T>, values: Values<T>);

    /// Adds to `sums`, over pixels, the gradient, and the gradient times what the product is above its mean.
    fn sum(&self, incoming: Incoming<T>, products: Numbers<T>, minus: &[T], sums: [&mut [T]; 2]);

    /// Gradients by values become those by products, which go to `to`, dense.
    fn back(&self, back: &Back<T>, products: Numbers<T>, gradient: Passing<T>, to: &mut [T]);
}
