//! Functions with known gradients, for the tests of attribution.

use diaret::attribution::quadrature::Rule;
use diaret::attribution::{AttributionError, Cancel, Differentiable, Features};

/// F and its gradient at one input.
pub type Formula = Box<dyn Fn(&[f32]) -> (f64, Vec<f32>)>;

/// The gradient between two inputs.
pub type Between = Box<dyn Fn(&[f32], &[f32]) -> Vec<f32>>;

/// A formula as something that can be explained; counts the gradients taken.
pub struct Analytic {
    pub side: usize,
    pub rows: usize,
    pub formula: Formula,
    /// The mean gradient by Gauss's rule, where there is none.
    pub between: Option<Between>,
    pub gradients: usize,
}

impl Analytic {
    pub fn new(side: usize, formula: impl Fn(&[f32]) -> (f64, Vec<f32>) + 'static) -> Self {
        Self { side, rows: 3, formula: Box::new(formula), between: None, gradients: 0 }
    }

    /// The sum of `weights` times input.
    pub fn linear(side: usize, weights: Vec<f32>) -> Self {
        Self::new(side, move |x| {
            (x.iter().zip(&weights).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum(), weights.clone())
        })
    }

    /// Two layers of `hidden` ReLUs and a sum, with weights of a fixed hash: piecewise linear, as the networks are. Secants by
    /// the slopes of the ReLUs' secants, as the networks'.
    pub fn relu(side: usize, hidden: usize) -> Self {
        let layers = std::rc::Rc::new(Layers::new(side * side * 3, hidden));
        let same = std::rc::Rc::clone(&layers);
        let mut new = Self::new(side, move |x| {
            let [one, two] = layers.forward(x);
            let value = two.iter().map(|v| f64::from(v.max(0.0))).sum();
            (value, layers.backward(&one, &one, &two, &two))
        });
        new.between = Some(Box::new(move |from, to| {
            let ([one, two], [one_then, two_then]) = (same.forward(from), same.forward(to));
            same.backward(&one, &one_then, &two, &two_then)
        }));
        new
    }

    fn between(&self, from: &[f32], to: &[f32]) -> Vec<f32> {
        if let Some(between) = &self.between {
            return between(from, to);
        }
        let rule = Rule::gauss_legendre(8);
        let mut mean = vec![0.0; from.len()];
        for (&alpha, &weight) in rule.nodes.iter().zip(&rule.weights) {
            let x: Vec<f32> = from.iter().zip(to).map(|(a, b)| a + (b - a) * alpha as f32).collect();
            mean.iter_mut().zip((self.formula)(&x).1).for_each(|(mean, g)| *mean += weight as f32 * g);
        }
        mean
    }
}

struct Layers {
    inputs: usize,
    hidden: usize,
    first: Vec<f32>,
    bias: Vec<f32>,
    second: Vec<f32>,
}

impl Layers {
    fn new(inputs: usize, hidden: usize) -> Self {
        Self {
            inputs,
            hidden,
            first: (0..hidden * inputs).map(|i| noise(i as u64) / (inputs as f32).sqrt()).collect(),
            bias: (0..hidden).map(|i| 0.2 * noise(1_000_003 + i as u64)).collect(),
            second: (0..hidden * hidden).map(|i| noise(7_000_003 + i as u64) / (hidden as f32).sqrt()).collect(),
        }
    }

    /// What the ReLUs of both layers see.
    fn forward(&self, x: &[f32]) -> [Vec<f32>; 2] {
        let dot = |row: &[f32], values: &[f32]| row.iter().zip(values).map(|(a, b)| a * b).sum::<f32>();
        let one: Vec<f32> =
            self.first.chunks_exact(self.inputs).zip(&self.bias).map(|(row, b)| dot(row, x) + b).collect();
        let kept: Vec<f32> = one.iter().map(|v| v.max(0.0)).collect();
        let two = self.second.chunks_exact(self.hidden).map(|row| dot(row, &kept)).collect();
        [one, two]
    }

    /// The gradient by the input, with the slopes of the ReLUs between what they see here and there.
    fn backward(&self, one: &[f32], one_then: &[f32], two: &[f32], two_then: &[f32]) -> Vec<f32> {
        let slope = |(&from, &to): (&f32, &f32)| {
            if from == to { f32::from(from > 0.0) } else { (to.max(0.0) - from.max(0.0)) / (to - from) }
        };
        let mut back = vec![0.0; self.hidden];
        for (row, slope) in self.second.chunks_exact(self.hidden).zip(two.iter().zip(two_then).map(slope)) {
            back.iter_mut().zip(row).for_each(|(b, w)| *b += slope * w);
        }
        let mut gradient = vec![0.0; self.inputs];
        let slopes = one.iter().zip(one_then).map(slope);
        for ((row, back), slope) in self.first.chunks_exact(self.inputs).zip(&back).zip(slopes) {
            gradient.iter_mut().zip(row).for_each(|(g, w)| *g += slope * back * w);
        }
        gradient
    }
}

impl Differentiable for Analytic {
    fn shape(&self) -> [usize; 3] {
        [self.side, self.side, 3]
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn precision(&self) -> f64 {
        0.0
    }

    fn values(&mut self, inputs: &[f32]) -> Result<Vec<f64>, AttributionError> {
        Ok(inputs.chunks_exact(self.side * self.side * 3).map(|x| (self.formula)(x).0).collect())
    }

    fn values_and_gradients(&mut self, inputs: &[f32]) -> Result<(Vec<f64>, Vec<f32>), AttributionError> {
        let rows: Vec<_> = inputs.chunks_exact(self.side * self.side * 3).map(|x| (self.formula)(x)).collect();
        self.gradients += rows.len();
        let (values, gradients): (Vec<f64>, Vec<Vec<f32>>) = rows.into_iter().unzip();
        Ok((values, gradients.concat()))
    }

    fn secants(
        &mut self,
        [from, to]: [&[f32]; 2],
        places: &[f64],
        _: &Cancel,
    ) -> Result<(Vec<f64>, Vec<f64>), AttributionError> {
        let at = |&place: &f64| from.iter().zip(to).map(move |(a, b)| a + place as f32 * (b - a)).collect();
        let points: Vec<Vec<f32>> = places.iter().map(at).collect();
        self.gradients += points.len() - 1;
        let mut sum = vec![0.0; from.len()];
        for (ends, places) in points.windows(2).zip(places.windows(2)) {
            let width = places[1] - places[0];
            sum.iter_mut().zip(self.between(&ends[0], &ends[1])).for_each(|(sum, g)| *sum += width * f64::from(g));
        }
        Ok((self.values(&points.concat())?, sum))
    }

    fn features(&mut self, _input: &[f32]) -> Result<Features, AttributionError> {
        Err(AttributionError::Function("a formula has no features".into()))
    }
}

/// Uniform in [-1, 1): `SplitMix64` of the index.
pub fn noise(index: u64) -> f32 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// An image of the hash's noise in [0, 1].
pub fn image(side: usize, seed: u64) -> Vec<f32> {
    (0..side * side * 3).map(|i| 0.5 + 0.5 * noise(seed * 1_000_000 + i as u64)).collect()
}
