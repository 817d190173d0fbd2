//! A function, an input and the starts of paths come in; a map that sharpens until its stop rule is met goes out.
//!
//! Integrated Gradients (Sundararajan et al., arXiv 1703.01365, equation 1): the attribution of pixel i is
//! `x_i - x'_i` times the mean of `dF/dx_i` over the straight line from `x'` to `x`; with several starts, the mean of their maps.
//! The mean is taken by the nested rule of [`quadrature`], summed in f64. Memory: one micro-batch, and four sums for each path.

use std::ops::Range;
use std::time::Instant;

use super::convergence::{Change, completeness_error};
use super::quadrature::{self, Blend, Rule};
use super::{Attribution, AttributionError, Cancel, Differentiable, Method, Refinement, Stop, mass_at_rim};

/// Gradient evaluations before the first map is shown.
const FIRST_MAP: usize = 5;
/// Points on each path before a map may be called converged: a change between fewer says little.
const LEAST_POINTS: usize = 9;

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
        if paths * quadrature::points(1) > stop.max_steps + 1 {
            return Err(AttributionError::TooFewSteps { max_steps: stop.max_steps, paths, least: 2 * paths - 1 });
        }
        for index in 0.. {
            let level = quadrature::level(index);
            integral.evaluate(function, &points_on(0..paths, &level.points), cancel, hear)?;
            let change = integral.refine(level.blend)?;
            let evaluations = paths * quadrature::points(index);
            if index > 0 {
                integral.history.push(Refinement {
                    gradient_evaluations: evaluations,
                    map_change: change.claim(level.blend.whole),
                });
            }
            let attribution = integral.attribution(stop, begun);
            let enough = quadrature::points(index) >= LEAST_POINTS && attribution.converged;
            let last = enough || paths * quadrature::points(index + 1) > stop.max_steps + 1;
            if last || evaluations >= FIRST_MAP {
                hear(Update::Map(Box::new(attribution.clone())));
            }
            if last {
                return Ok(attribution);
            }
        }
        Err(AttributionError::Cancelled)
    }

    /// Takes the integral with a fixed rule: nothing is claimed about its convergence.
    pub fn with_rule(
        &self,
        function: &mut dyn Differentiable,
        rule: &Rule,
        cancel: &Cancel,
        hear: &mut dyn FnMut(Update),
    ) -> Result<Attribution, AttributionError> {
        let begun = Instant::now();
        let mut integral = Integral::new(self, function.shape())?;
        for (path, start) in self.starts.iter().enumerate() {
            integral.evaluate(function, &points_on(path..path + 1, rule), cancel, hear)?;
            integral.lines[path].value_at_start = first(&function.values(start)?)?;
        }
        integral.value_at_input = first(&function.values(self.input)?)?;
        integral.refine(Blend::NEW)?;
        let nothing_is_claimed = Stop { tolerance: f64::NEG_INFINITY, completeness: None, max_steps: 0 };
        Ok(integral.attribution(nothing_is_claimed, begun))
    }
}

fn first(values: &[f64]) -> Result<f64, AttributionError> {
    values.first().copied().ok_or_else(|| AttributionError::Function("it gave no value".into()))
}

/// A point of a path and the weight of the gradient there.
#[derive(Clone, Copy)]
struct Point {
    path: usize,
    alpha: f64,
    weight: f64,
}

fn points_on(paths: Range<usize>, rule: &Rule) -> Vec<Point> {
    let on = |path| rule.nodes.iter().zip(&rule.weights).map(move |(&alpha, &weight)| Point { path, alpha, weight });
    paths.flat_map(on).collect()
}

/// One path: where it starts, and the gradients gathered along it.
struct Line<'a> {
    start: &'a [f32],
    value_at_start: f64,
    /// The mean gradient by the last whole refinement.
    settled: Vec<f64>,
    /// Weighted sum of the gradients that are not in `settled` yet.
    fresh: Vec<f64>,
    /// Difference of the weighted gradients at input and start.
    ends: Vec<f64>,
    /// The mean gradient as far as it is known.
    mean: Vec<f64>,
}

impl Line<'_> {
    /// The next mean gradient of a pixel.
    fn refine(&mut self, pixel: usize, Blend { keep, ends, whole }: Blend) -> f64 {
        let mean = keep * self.settled[pixel] + self.fresh[pixel] + ends * self.ends[pixel];
        if whole {
            self.settled[pixel] = mean;
            self.fresh[pixel] = 0.0;
        }
        self.mean[pixel] = mean;
        mean
    }
}

fn add_scaled(sums: &mut [f64], values: &[f32], weight: f64) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += weight * f64::from(value);
    }
}

/// All paths, on the way.
struct Integral<'a> {
    input: &'a [f32],
    shape: [usize; 3],
    lines: Vec<Line<'a>>,
    value_at_input: f64,
    evaluations: usize,
    history: Vec<Refinement>,
}

impl<'a> Integral<'a> {
    fn new(of: &IntegratedGradients<'a>, shape: [usize; 3]) -> Result<Self, AttributionError> {
        let expected = shape.iter().product();
        let mut lines = Vec::with_capacity(of.starts.len());
        if of.starts.is_empty() {
            return Err(AttributionError::Shape { expected, given: 0 });
        }
        for image in std::iter::once(of.input).chain(of.starts.iter().map(Vec::as_slice)) {
            if image.len() != expected {
                return Err(AttributionError::Shape { expected, given: image.len() });
            }
        }
        for start in of.starts {
            let zeros = || vec![0.0; expected];
            lines.push(Line {
                start,
                value_at_start: 0.0,
                settled: zeros(),
                fresh: zeros(),
                ends: zeros(),
                mean: zeros(),
            });
        }
        Ok(Self { input: of.input, shape, lines, value_at_input: 0.0, evaluations: 0, history: Vec::new() })
    }

    /// Adds the weighted gradients at `points` to the paths' fresh sums, one micro-batch at a time.
    fn evaluate(
        &mut self,
        function: &mut dyn Differentiable,
        points: &[Point],
        cancel: &Cancel,
        hear: &mut dyn FnMut(Update),
    ) -> Result<(), AttributionError> {
        let rows = function.rows().max(1);
        let size = self.input.len();
        let mut batch = Vec::with_capacity(rows.min(points.len()) * size);
        for points in points.chunks(rows) {
            if cancel.is_cancelled() {
                return Err(AttributionError::Cancelled);
            }
            batch.clear();
            for &Point { path, alpha, .. } in points {
                let (alpha, rest) = (alpha as f32, (1.0 - alpha) as f32);
                batch.extend(self.lines[path].start.iter().zip(self.input).map(|(from, to)| rest * from + alpha * to));
            }
            let (values, gradients) = function.values_and_gradients(&batch)?;
            if values.len() != points.len() || gradients.len() != batch.len() {
                return Err(AttributionError::Function("it gave fewer gradients than it was asked for".into()));
            }
            for ((&point, value), gradient) in points.iter().zip(values).zip(gradients.chunks_exact(size)) {
                self.take(point, value, gradient);
            }
            hear(Update::Gradients(self.evaluations));
        }
        Ok(())
    }

    fn take(&mut self, Point { path, alpha, weight }: Point, value: f64, gradient: &[f32]) {
        self.evaluations += 1;
        let line = &mut self.lines[path];
        add_scaled(&mut line.fresh, gradient, weight);
        let [at_start, at_input] = quadrature::DENSITY_AT_ENDS;
        if alpha <= 0.0 {
            line.value_at_start = value;
            add_scaled(&mut line.ends, gradient, -at_start);
        } else if alpha >= 1.0 {
            self.value_at_input = value;
            add_scaled(&mut line.ends, gradient, at_input);
        }
    }

    /// The next estimate of the mean gradients, and how it differs from the last whole one.
    fn refine(&mut self, blend: Blend) -> Result<Change, AttributionError> {
        let share = 1.0 / self.lines.len() as f64;
        let mut change = Change::default();
        for (pixel, &input) in self.input.iter().enumerate() {
            let (mut former, mut finer) = (0.0, 0.0);
            for line in &mut self.lines {
                let distance = share * (f64::from(input) - f64::from(line.start[pixel]));
                former += distance * line.settled[pixel];
                finer += distance * line.refine(pixel, blend);
            }
            change.add(former, finer);
        }
        if change.is_finite() { Ok(change) } else { Err(AttributionError::Function("a gradient is not finite".into())) }
    }

    fn map(&self) -> Vec<f32> {
        let share = 1.0 / self.lines.len() as f64;
        let at = |(pixel, &input): (usize, &f32)| {
            let parts =
                self.lines.iter().map(|line| (f64::from(input) - f64::from(line.start[pixel])) * line.mean[pixel]);
            (share * parts.sum::<f64>()) as f32
        };
        self.input.iter().enumerate().map(at).collect()
    }

    fn attribution(&self, stop: Stop, begun: Instant) -> Attribution {
        let f_baseline = self.lines.iter().map(|line| line.value_at_start).sum::<f64>() / self.lines.len() as f64;
        let map = self.map();
        let change_of_f = self.value_at_input - f_baseline;
        let gap = map.iter().map(|&a| f64::from(a)).sum::<f64>() - change_of_f;
        let error = completeness_error(gap, change_of_f);
        let map_change = self.history.last().map(|refinement| refinement.map_change);
        Attribution {
            method: Method::Ig,
            shape: self.shape,
            mass_at_rim: mass_at_rim(&map, self.shape),
            map,
            f_input: self.value_at_input,
            f_baseline: Some(f_baseline),
            completeness_error: Some(error),
            completeness_gap: Some(gap),
            map_change,
            converged: map_change.is_some_and(|change| stop.is_met(change, error)),
            gradient_evaluations: self.evaluations,
            history: self.history.clone(),
            seconds: begun.elapsed().as_secs_f64(),
        }
    }
}
