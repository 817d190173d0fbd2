//! A smooth convex function comes in; where it is least goes out: limited-memory BFGS (Nocedal and Wright, Numerical
//! Optimization, 2nd edition, algorithm 7.5) with a backtracking line search, in f64, the same on every run.

use std::collections::VecDeque;

/// Pairs of step and change of gradient that are remembered.
const MEMORY: usize = 12;

/// When the search ends.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest absolute component of the gradient at the solution.
    pub gradient: f64,
    /// Steps at most.
    pub iterations: usize,
}

/// Where the search ended.
#[derive(Clone, Debug)]
pub struct Minimum {
    /// The point.
    pub at: Vec<f64>,
    /// Largest absolute component of the gradient there.
    pub gradient: f64,
    /// Steps taken.
    pub iterations: usize,
    /// Whether the gradient is within its limit.
    pub converged: bool,
}

/// Minimises `function`, which gives its value and gradient, from `start`.
pub fn minimise(mut function: impl FnMut(&[f64]) -> (f64, Vec<f64>), start: Vec<f64>, limits: Limits) -> Minimum {
    let mut at = start;
    let (mut value, mut gradient) = function(&at);
    let mut history = History::default();
    for iterations in 0..limits.iterations {
        if largest(&gradient) <= limits.gradient {
            return Minimum { at, gradient: largest(&gradient), iterations, converged: true };
        }
        let direction = history.direction(&gradient);
        let Some((next, next_value, next_gradient)) = line_search(&mut function, &at, value, &gradient, &direction)
        else {
            // Rounding leaves nothing to gain along this direction.
            return Minimum { at, gradient: largest(&gradient), iterations, converged: false };
        };
        history.remember(difference(&next, &at), difference(&next_gradient, &gradient));
        (at, value, gradient) = (next, next_value, next_gradient);
    }
    let gradient = largest(&gradient);
    Minimum { at, gradient, iterations: limits.iterations, converged: gradient <= limits.gradient }
}

/// The first of the steps 1, 1/2, 1/4, ... that lowers the function enough (Armijo's rule).
fn line_search(
    function: &mut impl FnMut(&[f64]) -> (f64, Vec<f64>),
    at: &[f64],
    value: f64,
    gradient: &[f64],
    direction: &[f64],
) -> Option<(Vec<f64>, f64, Vec<f64>)> {
    let slope = dot(gradient, direction);
    let mut step = 1.0;
    for _ in 0..40 {
        let next: Vec<f64> = at.iter().zip(direction).map(|(x, d)| x + step * d).collect();
        let (next_value, next_gradient) = function(&next);
        if next_value <= value + 1e-4 * step * slope {
            return Some((next, next_value, next_gradient));
        }
        step /= 2.0;
    }
    None
}

#[derive(Default)]
struct History(VecDeque<(Vec<f64>, Vec<f64>, f64)>);

impl History {
    /// Keeps a pair of step and change of gradient if the function curves upwards along it.
    fn remember(&mut self, step: Vec<f64>, change: Vec<f64>) {
        let curvature = dot(&step, &change);
        if curvature > 1e-12 * dot(&change, &change) {
            self.0.push_back((step, change, curvature.recip()));
            if self.0.len() > MEMORY {
                self.0.pop_front();
            }
        }
    }

    /// Minus the inverse Hessian that the pairs imply, times the gradient (the two-loop recursion, algorithm 7.4).
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let mut q = gradient.to_vec();
        let mut alphas = Vec::with_capacity(self.0.len());
        for (step, change, rho) in self.0.iter().rev() {
            let alpha = rho * dot(step, &q);
            add_scaled(&mut q, -alpha, change);
            alphas.push(alpha);
        }
        // Without pairs: steepest descent with a step of length 1 at most.
        let scale = self.0.back().map_or(1.0 / dot(gradient, gradient).sqrt().max(1.0), |(_, change, rho)| {
            1.0 / (rho * dot(change, change))
        });
        q.iter_mut().for_each(|value| *value *= scale);
        for ((step, change, rho), alpha) in self.0.iter().zip(alphas.into_iter().rev()) {
            let beta = rho * dot(change, &q);
            add_scaled(&mut q, alpha - beta, step);
        }
        q.iter_mut().for_each(|value| *value = -*value);
        q
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(to: &mut [f64], factor: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += factor * what);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badly_scaled_quadratic_is_solved() {
        let scales = [1.0, 10.0, 1e3, 0.1];
        let target = [1.0, -2.0, 0.5, 30.0];
        let function = |x: &[f64]| {
            let gradient: Vec<f64> = (0..4).map(|i| scales[i] * (x[i] - target[i])).collect();
            (0.5 * (0..4).map(|i| gradient[i] * (x[i] - target[i])).sum::<f64>(), gradient)
        };
        let minimum = minimise(function, vec![0.0; 4], Limits { gradient: 1e-10, iterations: 200 });
        assert!(minimum.converged, "{minimum:?}");
        for (found, wanted) in minimum.at.iter().zip(target) {
            assert!((found - wanted).abs() < 1e-8, "{minimum:?}");
        }
    }
}
