//! What stands between a convolution's products and its value, for a whole batch: batch norm, the scaled sum with a shortcut, ReLU;
//! and back. By kernels of our own on a card that has them, composed of candle's operations elsewhere.
//!
//! All of it is `value = relu(shortcut + factor (product + minus) + shift)`, channel by channel; without batch norm `minus` and
//! `shift` are nought. Images are `[rows, channels, height, width]`.

use candle_core::{D, Device, Result, Tensor, WithDType};

use super::super::cuda::Card;
use super::super::cuda::norm::{self as own, Rule};
use super::super::share;
use crate::nn::real::Real;
use crate::nn::training::{MOMENTUM, Statistics};

/// The part of a convolution that stands behind its products.
#[derive(Debug)]
pub(super) struct Norm {
    card: Option<&'static dyn Card>,
    statistics: Statistics,
    epsilon: f64,
    scale: f64,
    /// `[3]`: epsilon, scale, what a step leaves of the moving statistics.
    numbers: Tensor,
    /// `[6, channels]`, where there is no batch norm: the scale as factor, noughts.
    fixed: Tensor,
}

/// `[channels]` each: gamma, beta, moving mean and variance.
pub(super) type State<'a> = [&'a Tensor; 4];

/// What backward sees of a value, whose gradient it sends on.
#[derive(Clone, Copy)]
pub(super) struct Behind<'a> {
    /// By the value.
    pub(super) gradient: &'a Tensor,
    /// The value, if a ReLU made it.
    pub(super) value: Option<&'a Tensor>,
}

/// What a batch norm sends back.
pub(super) struct Back {
    /// By the products.
    pub(super) products: Tensor,
    /// By gamma and beta.
    pub(super) state: [Tensor; 2],
}

/// A line of what is settled.
#[derive(Clone, Copy)]
enum Line {
    Factor,
    Minus,
    Shift,
    /// One over the deviation.
    Inverse,
    MovingMean,
    MovingVariance,
}

impl Line {
    /// `[channels]`.
    fn of(self, settled: &Tensor) -> Result<Tensor> {
        settled.get(self as usize)
    }

    /// `[1, channels, 1, 1]`.
    fn beside_images(self, settled: &Tensor) -> Result<Tensor> {
        column(&self.of(settled)?)
    }
}

impl Norm {
    /// `scale` stands before the sum with a shortcut.
    pub(super) fn new<T: Real + WithDType>(
        channels: usize,
        [epsilon, scale]: [f64; 2],
        statistics: Statistics,
        device: &Device,
        card: Option<&'static dyn Card>,
    ) -> Result<Self> {
        let number = <T as Real>::from_f64;
        let mut fixed = vec![T::ZERO; 6 * channels];
        fixed[..channels].fill(number(scale));
        Ok(Self {
            card,
            statistics,
            epsilon,
            scale,
            numbers: Tensor::new(&[epsilon, scale, MOMENTUM].map(number), device)?,
            fixed: Tensor::from_vec(fixed, (6, channels), device)?,
        })
    }

    /// What is settled where there is no batch norm.
    pub(super) fn fixed(&self) -> &Tensor {
        &self.fixed
    }

    fn own(&self) -> Option<own::Norm<'static>> {
        self.card.map(|card| own::Norm { card })
    }

    /// `[6, channels]`: factor, minus and shift; one over the deviation; moving mean and variance as they are after the step.
    pub(super) fn settle(&self, products: &Tensor, state: State) -> Result<Tensor> {
        let live = self.statistics == Statistics::Batch;
        if let Some(own) = self.own() {
            let moments = if live { Some((own.moments(products)?, area(products)?)) } else { None };
            let moments = moments.as_ref().map(|(moments, area)| (moments, *area));
            return own.settle(moments, &Rule { numbers: &self.numbers, state });
        }
        let [gamma, beta, moving_mean, moving_variance] = state;
        let (mean, variance) = if live {
            let mean = over_pixels(products)?;
            let off = products.broadcast_sub(&column(&mean)?)?;
            (mean, over_pixels(&off.sqr()?)?)
        } else {
            (moving_mean.clone(), moving_variance.clone())
        };
        let follow = |moving: &Tensor, now: &Tensor| (moving * MOMENTUM)? + (now * (1.0 - MOMENTUM))?;
        let moved = if live {
            [follow(moving_mean, &mean)?, follow(moving_variance, &variance)?]
        } else {
            [mean.clone(), variance.clone()]
        };
        let inverse = (&variance + self.epsilon)?.sqrt()?.recip()?;
        let factor = ((gamma * &inverse)? * self.scale)?;
        let [moving_mean, moving_variance] = moved;
        Tensor::stack(&[factor, mean.neg()?, (beta * self.scale)?, inverse, moving_mean, moving_variance], 0)
    }

    /// Moving mean and variance, of what was settled.
    pub(super) fn moving(settled: &Tensor) -> Result<[Tensor; 2]> {
        Ok([Line::MovingMean.of(settled)?, Line::MovingVariance.of(settled)?])
    }

    /// From products to values.
    pub(super) fn forward(
        &self,
        products: &Tensor,
        settled: &Tensor,
        shortcut: Option<&Tensor>,
        relu: bool,
    ) -> Result<Tensor> {
        if let Some(own) = self.own() {
            return own.forward(products, settled, shortcut, relu);
        }
        let mut value = products.broadcast_add(&Line::Minus.beside_images(settled)?)?;
        value = value.broadcast_mul(&Line::Factor.beside_images(settled)?)?;
        value = value.broadcast_add(&Line::Shift.beside_images(settled)?)?;
        if let Some(shortcut) = shortcut {
            value = (value + shortcut)?;
        }
        if relu { value.relu() } else { Ok(value) }
    }

    /// Back through batch norm, ReLU and scale.
    pub(super) fn backward(&self, behind: Behind, products: &Tensor, settled: &Tensor, state: State) -> Result<Back> {
        let live = self.statistics == Statistics::Batch;
        let (gradient, area) = (behind.gradient.contiguous()?, area(products)?);
        if let Some(own) = self.own() {
            let sums = own.gradient_sums(&gradient, behind.value, Some((products, settled)))?;
            let rule = Rule { numbers: &self.numbers, state };
            let back = own.settle_back(&sums, settled, &rule, if live { area } else { 0 })?;
            let products = own.back((&gradient, behind.value), settled, Some((products, &back)))?;
            return Ok(Back { products, state: [back.get(0)?, back.get(1)?] });
        }
        let gradient = self.through(&gradient, behind.value)?;
        let (factor, inverse) = (Line::Factor.of(settled)?, Line::Inverse.of(settled)?);
        let off = products.broadcast_add(&Line::Minus.beside_images(settled)?)?;
        let [sum, product] = [sum_over_pixels(&gradient)?, sum_over_pixels(&(&gradient * &off)?)?];
        let mut to_products = gradient.broadcast_mul(&column(&factor)?)?;
        if live {
            // Mean and variance of the batch move with the products: what a shift or a stretch would change comes off.
            let share = (&factor / -((gradient.dim(0)? * area) as f64))?;
            let slope = ((&share * inverse.sqr()?)? * &product)?;
            to_products = (to_products + off.broadcast_mul(&column(&slope)?)?)?;
            to_products = to_products.broadcast_add(&column(&(share * &sum)?)?)?;
        }
        let state = [((product * inverse)? * self.scale)?, (sum * self.scale)?];
        Ok(Back { products: to_products, state })
    }

    /// Back through ReLU and scale, where there is no batch norm.
    pub(super) fn backward_fixed(&self, behind: Behind) -> Result<Tensor> {
        let gradient = behind.gradient.contiguous()?;
        match self.own() {
            Some(own) => own.back((&gradient, behind.value), &self.fixed, None),
            None => self.through(&gradient, behind.value)? * self.scale,
        }
    }

    /// What the shortcut gets.
    pub(super) fn to_shortcut(&self, behind: Behind) -> Result<Tensor> {
        self.through(behind.gradient, behind.value)
    }

    fn through(&self, gradient: &Tensor, value: Option<&Tensor>) -> Result<Tensor> {
        value.map_or_else(|| Ok(gradient.clone()), |value| share::through(gradient, value, self.card))
    }

    /// `[channels]`: the gradient by a bias, from that by the products.
    pub(super) fn to_bias(&self, gradient: &Tensor) -> Result<Tensor> {
        match self.own() {
            Some(own) => own.gradient_sums(&gradient.contiguous()?, None, None)?.get(0)?.sum(0),
            None => sum_over_pixels(gradient),
        }
    }
}

/// `[1, channels, 1, 1]`.
fn column(channels: &Tensor) -> Result<Tensor> {
    channels.reshape((1, (), 1, 1))
}

fn area(images: &Tensor) -> Result<usize> {
    Ok(images.dim(2)? * images.dim(3)?)
}

/// `[channels]`.
fn sum_over_pixels(images: &Tensor) -> Result<Tensor> {
    images.flatten_from(2)?.sum(D::Minus1)?.sum(0)
}

/// The mean of each channel.
fn over_pixels(images: &Tensor) -> Result<Tensor> {
    sum_over_pixels(images)? / (images.dim(0)? * area(images)?) as f64
}
