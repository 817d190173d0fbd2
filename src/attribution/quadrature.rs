//! A number of points comes in; where on [0, 1] to evaluate and with which weights goes out.
//!
//! [`level`] is the nested rule of Integrated Gradients: the trapezoid rule, halved again and again. Networks of ReLUs have
//! gradients that jump all along a path, so that a gradient is more like a random walk than like a polynomial. For such a
//! function no rule with the same number of points is better than the trapezoid's straight lines between them, rules of
//! high order gain nothing, and halving uses every gradient again. Its ends give F of input and baseline without another pass.
//!
//! [`Rule`] is a fixed rule, for comparison with other programs.

use std::f64::consts::PI;

/// One refinement: the next estimate is `keep` times the former plus `weight` times the sum over `nodes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// What remains of the former estimate.
    pub keep: f64,
    /// The weight of each new point.
    pub weight: f64,
    /// The new points in [0, 1].
    pub nodes: Vec<f64>,
}

/// The refinements of the nested trapezoid rule: 1, 2, 3, 5, 9, 17, ... points.
///
/// Level 0 is the point 1 (the input itself), level 1 adds the point 0, and every further one halves the intervals.
pub fn level(index: u32) -> Level {
    match index {
        0 => Level { keep: 0.0, weight: 1.0, nodes: vec![1.0] },
        1 => Level { keep: 0.5, weight: 0.5, nodes: vec![0.0] },
        _ => {
            let intervals = 1_usize << (index - 1);
            let width = 1.0 / intervals as f64;
            let nodes = (1..intervals).step_by(2).map(|odd| odd as f64 * width).collect();
            Level { keep: 0.5, weight: width, nodes }
        }
    }
}

/// How many points [`level`] and all before it have together.
pub fn points(index: u32) -> usize {
    match index {
        0 => 1,
        _ => (1 << (index - 1)) + 1,
    }
}

/// Points in [0, 1] and their weights, which sum to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Where.
    pub nodes: Vec<f64>,
    /// How much.
    pub weights: Vec<f64>,
}

impl Rule {
    /// `count` midpoints of equal intervals.
    pub fn midpoints(count: usize) -> Self {
        let width = 1.0 / count as f64;
        Self { nodes: (0..count).map(|i| (i as f64 + 0.5) * width).collect(), weights: vec![width; count] }
    }

    /// Gauss-Legendre with `count` points, exact for polynomials of degree 2 `count` - 1.
    ///
    /// The nodes are the zeros of the Legendre polynomial, found by Newton's method from Tricomi's approximation; relative
    /// error about 1e-15 (Numerical Recipes, 3rd ed., section 4.6.1).
    pub fn gauss_legendre(count: usize) -> Self {
        let (nodes, weights) = (0..count)
            .map(|i| {
                let mut x = (PI * (i as f64 + 0.75) / (count as f64 + 0.5)).cos();
                for _ in 0..100 {
                    let (value, slope) = legendre(count, x);
                    let step = value / slope;
                    x -= step;
                    if step.abs() < 1e-15 {
                        break;
                    }
                }
                let (_, slope) = legendre(count, x);
                (0.5 * (1.0 - x), 1.0 / ((1.0 - x * x) * slope * slope))
            })
            .unzip();
        Self { nodes, weights }
    }
}

/// The Legendre polynomial of degree `count` at `x` in (-1, 1), and its derivative.
fn legendre(count: usize, x: f64) -> (f64, f64) {
    let (mut former, mut value) = (0.0, 1.0);
    for degree in 1..=count {
        let degree = degree as f64;
        (former, value) = (value, ((2.0 * degree - 1.0) * x * value - (degree - 1.0) * former) / degree);
    }
    (value, count as f64 * (x * value - former) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_trapezoid_rule_with_every_point_used_once() {
        let function = |x: f64| (3.0 * x).sin() + x * x;
        let (mut estimate, mut used) = (0.0, 0);
        for index in 0..9 {
            let level = level(index);
            estimate = level.keep * estimate + level.weight * level.nodes.iter().map(|&x| function(x)).sum::<f64>();
            used += level.nodes.len();
            assert_eq!(used, points(index));
            if index > 0 {
                let n = 1 << (index - 1);
                let inner: f64 = (1..n).map(|i| function(f64::from(i) / f64::from(n))).sum();
                let whole = (inner + 0.5 * (function(0.0) + function(1.0))) / f64::from(n);
                assert!((estimate - whole).abs() < 1e-14, "level {index}");
            }
        }
    }

    #[test]
    fn gauss_legendre_integrates_polynomials_exactly() {
        for count in [1, 2, 5, 50, 300] {
            let rule = Rule::gauss_legendre(count);
            for power in [0, 1, count, 2 * count - 1] {
                let sum: f64 = rule.nodes.iter().zip(&rule.weights).map(|(x, w)| w * x.powi(power as i32)).sum();
                let exact = 1.0 / (power as f64 + 1.0);
                assert!((sum - exact).abs() < 1e-13, "{count} points, x^{power}: {sum} instead of {exact}");
            }
        }
    }

    #[test]
    fn nodes_ascend_inside_the_interval() {
        for rule in [Rule::gauss_legendre(300), Rule::midpoints(300)] {
            assert!(rule.nodes.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(rule.nodes[0] > 0.0 && rule.nodes[299] < 1.0);
            assert!((rule.weights.iter().sum::<f64>() - 1.0).abs() < 1e-13);
        }
    }
}
