//! Pools with padding and overlapping windows and their gradients, neither of which candle has: composed, or by kernels of our own.

use candle_core::{DType, Device, Result, Tensor, WithDType};

use super::cuda::Card;
use super::cuda::pool::Pool;
use super::share::{self, ends};
use super::slide::{AXES, every, place, spread, surround};
use crate::nn::graph::{Padding, Window};
use crate::nn::real::Real;

/// A max pool.
#[derive(Debug)]
pub(super) struct MaxPool {
    pool: Pool,
    card: Option<&'static dyn Card>,
}

impl MaxPool {
    /// `sizes` are height and width of what goes in and of what comes out.
    pub(super) fn new(window: Window, sizes: [[usize; 2]; 2], card: Option<&'static dyn Card>) -> Self {
        Self { pool: Pool { window, sizes, count_padding: false }, card }
    }

    /// The largest value of each window.
    pub(super) fn forward<T: Real + WithDType>(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(own) = self.pool.on(self.card) {
            return own.max(x);
        }
        let Pool { window, sizes: [_, output], .. } = self.pool;
        let x = surround(x, window.padding, T::LEAST)?;
        let mut best = at(&x, window, output, 0)?;
        for index in 1..window.kernel[0] * window.kernel[1] {
            best = best.maximum(&at(&x, window, output, index)?)?;
        }
        Ok(best)
    }

    /// Which of a window's values the largest is: the first, if several are equal.
    pub(super) fn places<T: Real + WithDType>(&self, x: &Tensor, best: &Tensor) -> Result<Tensor> {
        if let Some(own) = self.pool.on(self.card) {
            return own.places(x);
        }
        let Pool { window, sizes: [_, output], .. } = self.pool;
        let x = surround(x, window.padding, T::LEAST)?;
        let mut place = Tensor::zeros(best.shape(), DType::U8, x.device())?;
        // From the last to the first, which has the last word.
        for index in (0..window.kernel[0] * window.kernel[1]).rev() {
            let here = Tensor::full(index as u8, place.shape(), x.device())?;
            place = at(&x, window, output, index)?.eq(best)?.where_cond(&here, &place)?;
        }
        Ok(place)
    }

    /// How a maximum's slope between each row and the next is shared between the winners at both: the share of the first, as
    /// `share` keeps it. On a straight line from one to the other the lead changes where the first one's is used up.
    pub(super) fn shares<T: Real + WithDType>(&self, x: &Tensor, (best, place): (&Tensor, &Tensor)) -> Result<Tensor> {
        if let Some(own) = self.pool.on(self.card) {
            return own.max_between(x, place);
        }
        let Pool { window, sizes: [_, output], .. } = self.pool;
        let x = surround(x, window.padding, T::LEAST)?;
        let ([x, then], [best, best_then], [first, second]) = (ends(&x)?, ends(best)?, ends(place)?);
        let (before, after) =
            ((best - seen(&x, &second, window, output)?)?, (best_then - seen(&then, &first, window, output)?)?);
        share::of_leads(&before, &after, &first.eq(&second)?)
    }

    /// The gradient by the input.
    pub(super) fn backward(&self, gradient: &Tensor, place: &Tensor) -> Result<Tensor> {
        if let Some(own) = self.pool.on(self.card) {
            return own.back(gradient, Some(place), None);
        }
        let nought = gradient.zeros_like()?;
        gather(gradient, self.pool, |index| place.eq(index)?.where_cond(gradient, &nought))
    }

    /// The gradient by the input between each row and the next, whose winners share it.
    pub(super) fn between<T: Real + WithDType>(
        &self,
        gradient: &Tensor,
        place: &Tensor,
        share: &Tensor,
    ) -> Result<Tensor> {
        if let Some(own) = self.pool.on(self.card) {
            return own.back(gradient, Some(place), Some(share));
        }
        let nought = gradient.zeros_like()?;
        let early = (gradient * share::read::<T>(share)?)?;
        let late = (gradient - &early)?;
        let [first, second] = ends(place)?;
        gather(gradient, self.pool, |index| {
            first.eq(index)?.where_cond(&early, &nought)? + second.eq(index)?.where_cond(&late, &nought)?
        })
    }
}

/// Of each window the value that another row's maximum was.
fn seen(x: &Tensor, place: &Tensor, window: Window, output: [usize; 2]) -> Result<Tensor> {
    let mut value = at(x, window, output, 0)?;
    for index in 1..window.kernel[0] * window.kernel[1] {
        value = place.eq(index as u8)?.where_cond(&at(x, window, output, index)?, &value)?;
    }
    Ok(value)
}

/// What each place of an input gets from all windows that see it; `part` says what a window gives to its place `index`.
fn gather(gradient: &Tensor, pool: Pool, part: impl Fn(u8) -> Result<Tensor>) -> Result<Tensor> {
    let Pool { window, sizes: [size, _], .. } = pool;
    let mut sum: Option<Tensor> = None;
    for index in 0..window.kernel[0] * window.kernel[1] {
        let here = part(index as u8)?;
        let offset = [index / window.kernel[1], index % window.kernel[1]];
        let mut part = here;
        for i in 0..2 {
            part = self::place(&spread(&part, AXES[i], window.stride)?, AXES[i], offset[i], padded(window, size)[i])?;
        }
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    sum.map_or_else(|| gradient.zeros_like(), |sum| without_edges(&sum, window.padding, size))
}

/// An average pool with the factor of each output: one over the number of values that count.
#[derive(Debug)]
pub(super) struct AvgPool {
    pool: Pool,
    /// `[1, 1, height, width]` of the output.
    factor: Tensor,
    card: Option<&'static dyn Card>,
}

impl AvgPool {
    pub(super) fn new<T: Real + WithDType>(
        window: Window,
        count_padding: bool,
        [size, output]: [[usize; 2]; 2],
        device: &Device,
        card: Option<&'static dyn Card>,
    ) -> Result<Self> {
        let before = [window.padding.top, window.padding.left];
        let counted = |i: usize, at: usize| {
            let (from, to) = (at * window.stride, at * window.stride + window.kernel[i]);
            if count_padding { to - from } else { to.min(before[i] + size[i]) - from.max(before[i]) }
        };
        let factors: Vec<T> = (0..output[0])
            .flat_map(|y| (0..output[1]).map(move |x| (y, x)))
            .map(|(y, x)| <T as Real>::from_f64(1.0 / (counted(0, y) * counted(1, x)) as f64))
            .collect();
        let factor = Tensor::from_vec(factors, (1, 1, output[0], output[1]), device)?;
        Ok(Self { pool: Pool { window, sizes: [size, output], count_padding }, factor, card })
    }

    /// The mean of each window: sums along one axis, then along the other.
    pub(super) fn forward<T: Real + WithDType>(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(own) = self.pool.on(self.card) {
            return own.average(x);
        }
        let Window { kernel, stride, padding } = self.pool.window;
        let mut sum = surround(x, padding, T::ZERO)?;
        for (i, axis) in AXES.into_iter().enumerate() {
            let count = self.factor.dim(axis)?;
            let parts = (0..kernel[i]).map(|from| every(&sum, axis, from, count, stride));
            sum = add_all(parts)?;
        }
        sum.broadcast_mul(&self.factor)
    }

    /// The gradient by the input.
    pub(super) fn backward(&self, gradient: &Tensor) -> Result<Tensor> {
        if let Some(own) = self.pool.on(self.card) {
            return own.back(gradient, None, None);
        }
        let Pool { window, sizes: [size, _], .. } = self.pool;
        let mut sum = gradient.broadcast_mul(&self.factor)?;
        for (i, axis) in AXES.into_iter().enumerate() {
            let gradient = spread(&sum, axis, window.stride)?;
            let length = padded(window, size)[i];
            sum = add_all((0..window.kernel[i]).map(|from| place(&gradient, axis, from, length)))?;
        }
        without_edges(&sum, window.padding, size)
    }
}

/// Value `index` of every window, row by row within the window.
fn at(x: &Tensor, window: Window, output: [usize; 2], index: usize) -> Result<Tensor> {
    let offset = [index / window.kernel[1], index % window.kernel[1]];
    let rows = every(x, AXES[0], offset[0], output[0], window.stride)?;
    every(&rows, AXES[1], offset[1], output[1], window.stride)?.contiguous()
}

fn add_all(mut parts: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let first = parts.next().ok_or_else(|| candle_core::Error::Msg("a window without values".to_owned()))?;
    parts.fold(first, |sum, part| sum? + part?)
}

fn padded(window: Window, size: [usize; 2]) -> [usize; 2] {
    let Padding { top, bottom, left, right } = window.padding;
    [size[0] + top + bottom, size[1] + left + right]
}

fn without_edges(x: &Tensor, padding: Padding, size: [usize; 2]) -> Result<Tensor> {
    x.narrow(AXES[0], padding.top, size[0])?.narrow(AXES[1], padding.left, size[1])
}
