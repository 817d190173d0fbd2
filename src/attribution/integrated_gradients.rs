//! A function, an input and the starts of paths come in; a map that sharpens until its stop rule is met goes out.
//!
//! Integrated Gradients (Sundararajan et al., arXiv 1703.01365, equation 1): the attribution of pixel i is
//! `x_i - x'_i` times the mean of `dF/dx_i` over the straight line from `x'` to `x`; with several starts, the mean of their maps.
//!
//! The line is cut into intervals. Between the two ends of one, every ReLU and every maximum of the network takes the slope of
//! its secant ([`Differentiable::secants`]), which is the mean of its slope on the way as far as what it sees moves straight. So
//! a secant gradient is near the mean of the gradient over its interval, where the gradient at a point is but a sample of it:
//! the error falls faster with the number of intervals, from a smaller beginning. And since parts of F telescope (DeepLIFT's
//! rescale rule, arXiv 1704.02685, does so over a single interval), the map is complete at every refinement, as far as
//! slopes are not rounded.
//!
//! Secants of wide intervals are no part of narrower ones: each refinement is made anew, the second with as many intervals as
//! usually suffice, any other with as many as the claim about the one before says are needed. Memory: one
//! micro-batch, and a sum for each path.

use std::time::Instant;

use super::convergence::{self, Change};
use super::quadrature::{Rule, place};
use super::{Attribution, AttributionError, Cancel, Differentiable, Refinement, Stop};

/// Intervals of the first map, which is there soon and claims nothing.
const FIRST: usize = 4;
/// Intervals before a map may be called converged: claims of fewer are rough.
const LEAST: usize = 12;
/// A refinement has so many times the intervals of the one before, at least and at most: enough for 0.5 % at once. Beyond, a claim
/// would hang on the order alone that errors are taken to have.
const GROWTH: [f64; 2] = [1.5, 28.0];
/// The share of the tolerance that is aimed at, so that few maps need another refinement.
const AIM: f64 = 0.8;
/// Intervals go through a network so many at a time: a refinement should leave no few for the end.
const TOGETHER: usize = 4;

/// What a map of a fixed rule meets: nothing.
const NOTHING_CLAIMED: Stop = Stop { tolerance: f64::NEG_INFINITY, completeness: None, max_steps: 0 };

/// What is heard while a map is made.
#[derive(Debug)]
pub enum Update {
    /// So many gradients have been taken.
    Gradients(usize),
    /// A map, sharper than the one before; the last one equals what [`IntegratedGradients::run`] returns.
    Map(Box<Attribution>),
}

/// The integral to be taken.
#[derive(Clone, Copy, Debug)]
pub struct IntegratedGradients<'a> {
    /// `[height, width, 3]`, RGB in [0, 1].
    pub input: &'a [f32],
    /// The start of each path, of the input's shape.
    pub starts: &'a [Vec<f32>],
    /// With which order errors are taken to fall: that of the baseline, [`super::Baseline::order`].
    pub order: f64,
}

impl IntegratedGradients<'_> {
    /// Refines until `stop` is met or its limit forbids the next refinement.
    ///
    /// At most `stop.max_steps` + 1 gradients are taken; without convergence, more than half of `stop.max_steps`.
    pub fn run(
        &self,
        function: &mut dyn Differentiable,
        stop: Stop,
        cancel: &Cancel,
        hear: &mut dyn FnMut(Update),
    ) -> Result<Attribution, AttributionError> {
        let begun = Instant::now();
        let mut integral = Integral::new(self, function.shape())?;
        let paths = self.starts.len();
        // Intervals that each path may have, all refinements together.
        let limit = (stop.max_steps + 1) / paths;
        if limit < 3 {
            return Err(AttributionError::TooFewSteps { max_steps: stop.max_steps, paths, least: 3 * paths - 1 });
        }
        let (mut former, mut intervals) = (0, FIRST.min(limit / 3));
        loop {
            integral.take(function, intervals, cancel, hear)?;
            let change = integral.finish()?;
            let claim = change.claim([former, intervals], self.order, function.precision());
            integral.note((change, claim), former);
            let mut attribution = integral.attribution(stop, begun);
            let enough = intervals >= LEAST && attribution.converged;
            let error = attribution.map_change.unwrap_or(convergence::USUAL);
            let wanted = convergence::intervals(intervals, error / (AIM * stop.tolerance), self.order);
            let next = next([intervals, wanted], [integral.evaluations / paths, limit]).filter(|_| !enough);
            attribution.next = next.map(|next| integral.evaluations + paths * next);
            hear(Update::Map(Box::new(attribution.clone())));
            let Some(next) = next else { return Ok(attribution) };
            (former, intervals) = (intervals, next);
        }
    }

    /// Takes the integral with a fixed rule: nothing is claimed about its convergence.
    pub fn with_rule(
        &self,
        function: &mut dyn Differentiable,
        rule: &Rule,
        cancel: &Cancel,
        hear: &mut dyn FnMut(Update),
    ) -> Result<Attribution, AttributionError> {
        self.once(function, |integral, function| integral.take_rule(function, rule, cancel, hear))
    }

    /// Takes the integral by the secants of so many intervals a path: nothing is claimed about its convergence.
    pub fn with_secants(
        &self,
        function: &mut dyn Differentiable,
        intervals: usize,
        cancel: &Cancel,
        hear: &mut dyn FnMut(Update),
    ) -> Result<Attribution, AttributionError> {
        self.once(function, |integral, function| integral.take(function, intervals, cancel, hear))
    }

    /// The map of one way to take the mean gradients.
    fn once(
        &self,
        function: &mut dyn Differentiable,
        take: impl FnOnce(&mut Integral, &mut dyn Differentiable) -> Result<(), AttributionError>,
    ) -> Result<Attribution, AttributionError> {
        let begun = Instant::now();
        let mut integral = Integral::new(self, function.shape())?;
        take(&mut integral, function)?;
        integral.finish()?;
        Ok(integral.attribution(NOTHING_CLAIMED, begun))
    }

    /// There is a path, and all images are of this shape.
    fn check(&self, shape: [usize; 3]) -> Result<(), AttributionError> {
        let expected = shape.iter().product();
        if self.starts.is_empty() {
            return Err(AttributionError::Shape { expected, given: 0 });
        }
        let mut images = std::iter::once(self.input).chain(self.starts.iter().map(Vec::as_slice));
        images
            .find(|image| image.len() != expected)
            .map_or(Ok(()), |image| Err(AttributionError::Shape { expected, given: image.len() }))
    }
}

/// Intervals of the refinement after one with `now`, where `wanted` would be right and `used` of `limit` have been taken; `None` where
/// the limit allows none.
fn next([now, wanted]: [usize; 2], [used, limit]: [usize; 2]) -> Option<usize> {
    let rest = limit.saturating_sub(used);
    let [least, most] = GROWTH.map(|growth| (growth * now as f64).ceil() as usize);
    if rest < least {
        return None;
    }
    let wanted = wanted.min(limit);
    let whole = (wanted + TOGETHER / 2) / TOGETHER * TOGETHER;
    let following = whole.max(LEAST).clamp(least, most).min(rest);
    if (rest - following) as f64 >= GROWTH[0] * following as f64 {
        return Some(following);
    }
    // No other one follows: what is left is its own, as far as it is wanted, and half of the limit must have been used.
    let half = (limit / 2 + 1).saturating_sub(used);
    Some(following.max(wanted).max(half).min(rest))
}

/// One path: where it starts, and its mean gradient.
struct Line<'a> {
    start: &'a [f32],
    value_at_start: f64,
    mean: Vec<f64>,
}

impl Line<'_> {
    /// The images at some places between the start and `input`.
    fn images(&self, input: &[f32], places: &[f64]) -> Vec<f32> {
        let mut images = Vec::with_capacity(places.len() * input.len());
        for &alpha in places {
            let (alpha, rest) = (alpha as f32, (1.0 - alpha) as f32);
            images.extend(self.start.iter().zip(input).map(|(from, to)| rest * from + alpha * to));
        }
        images
    }

    fn add(&mut self, gradient: &[f32], weight: f64) {
        for (sum, &value) in self.mean.iter_mut().zip(gradient) {
            *sum += weight * f64::from(value);
        }
    }
}

/// All paths, on the way.
struct Integral<'a> {
    input: &'a [f32],
    shape: [usize; 3],
    lines: Vec<Line<'a>>,
    value_at_input: f64,
    /// The map of the last refinement.
    map: Vec<f64>,
    evaluations: usize,
    history: Vec<Refinement>,
}

impl<'a> Integral<'a> {
    fn new(of: &IntegratedGradients<'a>, shape: [usize; 3]) -> Result<Self, AttributionError> {
        of.check(shape)?;
        let size = of.input.len();
        let line = |start: &'a Vec<f32>| Line { start, value_at_start: 0.0, mean: vec![0.0; size] };
        Ok(Self {
            input: of.input,
            shape,
            lines: of.starts.iter().map(line).collect(),
            value_at_input: 0.0,
            map: vec![0.0; size],
            evaluations: 0,
            history: Vec::new(),
        })
    }

    /// The mean gradients of all paths by the secants of so many intervals, a micro-batch at a time.
    fn take(
        &mut self,
        function: &mut dyn Differentiable,
        intervals: usize,
        cancel: &Cancel,
        hear: &mut dyn FnMut(Update),
    ) -> Result<(), AttributionError> {
        let Self { input, lines, value_at_input, evaluations, .. } = self;
        let rows = function.rows().max(1);
        let places: Vec<f64> = (0..=intervals).map(|point| place(point as f64 / intervals as f64)).collect();
        for line in lines {
            line.mean.fill(0.0);
            for first in (0..intervals).step_by(rows) {
                cancel.check()?;
                let places = &places[first..=intervals.min(first + rows)];
                let (values, gradient) = function.secants([line.start, input], places, cancel)?;
                if values.len() != places.len() || gradient.len() != input.len() {
                    return Err(AttributionError::Function("it gave fewer secants than it was asked for".into()));
                }
                line.mean.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value);
                if first == 0 {
                    line.value_at_start = values[0];
                }
                *value_at_input = values[values.len() - 1];
                *evaluations += places.len() - 1;
                hear(Update::Gradients(*evaluations));
            }
        }
        Ok(())
    }

    /// The mean gradients of all paths by a fixed rule, and F at their ends.
    fn take_rule(
        &mut self,
        function: &mut dyn Differentiable,
        rule: &Rule,
        cancel: &Cancel,
        hear: &mut dyn FnMut(Update),
    ) -> Result<(), AttributionError> {
        let Self { input, lines, value_at_input, evaluations, .. } = self;
        let rows = function.rows().max(1);
        for line in lines {
            for (places, weights) in rule.nodes.chunks(rows).zip(rule.weights.chunks(rows)) {
                cancel.check()?;
                let (_, gradients) = function.values_and_gradients(&line.images(input, places))?;
                if gradients.len() != places.len() * input.len() {
                    return Err(AttributionError::Function("it gave fewer gradients than it was asked for".into()));
                }
                for (&weight, gradient) in weights.iter().zip(gradients.chunks_exact(input.len())) {
                    line.add(gradient, weight);
                }
                *evaluations += places.len();
                hear(Update::Gradients(*evaluations));
            }
            line.value_at_start = first(&function.values(line.start)?)?;
        }
        *value_at_input = first(&function.values(input)?)?;
        Ok(())
    }

    /// The map of the mean gradients, and how it differs from the one before.
    fn finish(&mut self) -> Result<Change, AttributionError> {
        let share = 1.0 / self.lines.len() as f64;
        let mut change = Change::default();
        for (pixel, (map, &input)) in self.map.iter_mut().zip(self.input).enumerate() {
            let parts =
                self.lines.iter().map(|line| (f64::from(input) - f64::from(line.start[pixel])) * line.mean[pixel]);
            let finer = share * parts.sum::<f64>();
            change.add(*map, finer);
            *map = finer;
        }
        if change.is_finite() { Ok(change) } else { Err(AttributionError::Function("a gradient is not finite".into())) }
    }

    /// What a change from `former` intervals says: about this map, the claim, and about the first one, which could say nothing.
    fn note(&mut self, (change, claim): (Change, f64), former: usize) {
        if former == 0 {
            return;
        }
        let mut note = |gradient_evaluations, map_change| {
            self.history.push(Refinement { gradient_evaluations, map_change });
        };
        if former <= FIRST {
            note(former * self.lines.len(), change.relative());
        }
        note(self.evaluations, claim);
    }

    fn attribution(&self, stop: Stop, begun: Instant) -> Attribution {
        let starts = self.lines.iter().map(|line| line.value_at_start);
        let f_baseline = starts.sum::<f64>() / self.lines.len() as f64;
        let map = self.map.iter().map(|&value| value as f32).collect();
        Attribution::integrated(
            (map, self.shape),
            (self.value_at_input, f_baseline),
            (self.evaluations, &self.history),
            (stop, begun),
        )
    }
}

fn first(values: &[f64]) -> Result<f64, AttributionError> {
    values.first().copied().ok_or_else(|| AttributionError::Function("it gave no value".into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is wanted: the limit holds, and less than half of it is never all.
        #[test]
        fn refinements_keep_to_the_limit(limit in 3usize..2000, wanted in prop::collection::vec(prop_oneof![0usize..10_000, Just(usize::MAX)], 40)) {
            let (mut used, mut now) = (0, FIRST.min(limit / 3));
            let mut wanted = wanted.into_iter();
            loop {
                prop_assert!(now > 0);
                used += now;
                prop_assert!(used <= limit);
                let Some(following) = next([now, wanted.next().unwrap()], [used, limit]) else { break };
                prop_assert!(following as f64 >= GROWTH[0] * now as f64);
                now = following;
            }
            prop_assert!(2 * used > limit, "{used} of {limit}");
        }
    }
}
