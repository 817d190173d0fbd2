//! Functions with known gradients, for the tests of attribution.

use diaret::attribution::{AttributionError, Differentiable, Features};

/// F and its gradient at one input.
pub type Formula = Box<dyn Fn(&[f32]) -> (f64, Vec<f32>)>;

/// A formula as something that can be explained; counts the gradients taken.
pub struct Analytic {
    pub side: usize,
    pub rows: usize,
    pub formula: Formula,
    pub gradients: usize,
}

impl Analytic {
    pub fn new(side: usize, formula: impl Fn(&[f32]) -> (f64, Vec<f32>) + 'static) -> Self {
        Self { side, rows: 3, formula: Box::new(formula), gradients: 0 }
    }

    /// The sum of `weights` times input.
    pub fn linear(side: usize, weights: Vec<f32>) -> Self {
        Self::new(side, move |x| {
            (x.iter().zip(&weights).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum(), weights.clone())
        })
    }

    /// Two layers of `hidden` ReLUs and a sum, with weights of a fixed hash: piecewise linear, as the networks are.
    pub fn relu(side: usize, hidden: usize) -> Self {
        let inputs = side * side * 3;
        let first: Vec<f32> = (0..hidden * inputs).map(|i| noise(i as u64) / (inputs as f32).sqrt()).collect();
        let bias: Vec<f32> = (0..hidden).map(|i| 0.2 * noise(1_000_003 + i as u64)).collect();
        let second: Vec<f32> =
            (0..hidden * hidden).map(|i| noise(7_000_003 + i as u64) / (hidden as f32).sqrt()).collect();
        Self::new(side, move |x| {
            let dot = |row: &[f32], values: &[f32]| row.iter().zip(values).map(|(a, b)| a * b).sum::<f32>();
            let before: Vec<f32> = first.chunks_exact(inputs).zip(&bias).map(|(row, b)| dot(row, x) + b).collect();
            let one: Vec<f32> = before.iter().map(|v| v.max(0.0)).collect();
            let two: Vec<f32> = second.chunks_exact(hidden).map(|row| dot(row, &one)).collect();
            let value = two.iter().map(|v| f64::from(v.max(0.0))).sum();
            let mut back = vec![0.0; hidden];
            for (row, _) in second.chunks_exact(hidden).zip(&two).filter(|&(_, &v)| v > 0.0) {
                back.iter_mut().zip(row).for_each(|(b, w)| *b += w);
            }
            let mut gradient = vec![0.0; inputs];
            for ((row, back), _) in first.chunks_exact(inputs).zip(&back).zip(&before).filter(|&(_, &v)| v > 0.0) {
                gradient.iter_mut().zip(row).for_each(|(g, w)| *g += back * w);
            }
            (value, gradient)
        })
    }
}

impl Differentiable for Analytic {
    fn shape(&self) -> [usize; 3] {
        [self.side, self.side, 3]
    }

    fn rows(&self) -> usize {
        self.rows
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
