//! Places on [0, 1] for the points of a path, and fixed rules for comparison: where to evaluate and with which weights.

use std::f64::consts::PI;

/// The derivative of [`place`] at the baseline: intervals there are this share of the mean, at the input `2 - START`.
///
/// Flips of ReLUs are densest near the baseline, where everything is faint. Of 0.1, 0.2, 0.3, 0.45 and 0.7, with 24 intervals on
/// two photographs and both shipped networks, 0.3 left the smallest error on one photograph and on the other 0 to 16 % more than
/// the best, 0.1; 0.7 left 40 to 90 % more.
const START: f64 = 0.3;

/// How far along its path a point at share `t` of the points lies: denser near 0, 0 and 1 at the ends.
pub(super) fn place(t: f64) -> f64 {
    START * t + (1.0 - START) * t * t
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

    /// Clenshaw-Curtis with `count` points, two or more, both ends among them: exact for polynomials of degree `count` - 1.
    ///
    /// The weights are the cosine series of the integrals of Chebyshev polynomials (Trefethen, "Is Gauss Quadrature Better than
    /// Clenshaw-Curtis?", SIAM Review 50(1):67, 2008).
    pub fn clenshaw_curtis(count: usize) -> Self {
        let last = count - 1;
        let angle = |i: usize| PI * i as f64 / last as f64;
        let weight = |i: usize| {
            let term = |k: usize| {
                let share = if 2 * k == last { 1.0 } else { 2.0 };
                share * (2.0 * k as f64 * angle(i)).cos() / (4.0 * (k * k) as f64 - 1.0)
            };
            let ends = if i == 0 || i == last { 0.5 } else { 1.0 };
            ends * (1.0 - (1..=last / 2).map(term).sum::<f64>()) / last as f64
        };
        let nodes = (0..count).map(|i| 0.5 * (1.0 - angle(i).cos())).collect();
        Self { nodes, weights: (0..count).map(weight).collect() }
    }

    /// `count` midpoints, of intervals as narrow as `density` is high: its values are of equal cells of [0, 1], none negative,
    /// some positive, and every interval has an equal share of their sum.
    pub fn by_density(density: &[f64], count: usize) -> Self {
        let (cells, all) = (density.len() as f64, density.iter().sum::<f64>());
        let (mut cell, mut before) = (0, 0.0);
        let mut edge = |share: f64| {
            while cell + 1 < density.len() && before + density[cell] < share * all {
                before += density[cell];
                cell += 1;
            }
            let within = (share * all - before) / density[cell];
            (cell as f64 + within.clamp(0.0, 1.0)) / cells
        };
        let mut edges: Vec<f64> = (1..count).map(|i| edge(i as f64 / count as f64)).collect();
        edges.insert(0, 0.0);
        edges.push(1.0);
        let middles = edges.windows(2).map(|ends| 0.5 * (ends[0] + ends[1])).collect();
        Self { nodes: middles, weights: edges.windows(2).map(|ends| ends[1] - ends[0]).collect() }
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
    fn clenshaw_curtis_integrates_polynomials_exactly() {
        for count in [2, 3, 24, 97] {
            let rule = Rule::clenshaw_curtis(count);
            assert!(rule.nodes[0].abs() < 1e-15 && (rule.nodes[count - 1] - 1.0).abs() < 1e-15);
            for power in [0, 1, count - 1] {
                let sum: f64 = rule.nodes.iter().zip(&rule.weights).map(|(x, w)| w * x.powi(power as i32)).sum();
                let exact = 1.0 / (power as f64 + 1.0);
                assert!((sum - exact).abs() < 1e-13, "{count} points, x^{power}: {sum} instead of {exact}");
            }
        }
    }

    #[test]
    fn nodes_ascend_inside_the_interval() {
        let uneven = Rule::by_density(&[3.0, 0.0, 1.0, 0.5], 300);
        for rule in [Rule::gauss_legendre(300), Rule::midpoints(300), uneven] {
            assert!(rule.nodes.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(rule.nodes[0] > 0.0 && rule.nodes[299] < 1.0);
            assert!((rule.weights.iter().sum::<f64>() - 1.0).abs() < 1e-13);
        }
    }

    #[test]
    fn intervals_follow_the_density() {
        // Three quarters of all in the first half, and an edge where the halves meet.
        let rule = Rule::by_density(&[3.0, 1.0], 8);
        for (index, weight) in rule.weights.iter().enumerate() {
            let expected = if index < 6 { 0.5 / 6.0 } else { 0.5 / 2.0 };
            assert!((weight - expected).abs() < 1e-13, "interval {index}: {weight}");
        }
        let even = Rule::by_density(&[1.0; 5], 32);
        assert!(even.nodes.iter().zip(Rule::midpoints(32).nodes).all(|(a, b)| (a - b).abs() < 1e-13));
    }
}
