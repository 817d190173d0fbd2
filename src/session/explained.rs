//! A network's output as a function of the image: where `nn`, `grading` and `attribution` meet.

use crate::attribution::{AttributionError, Differentiable, Features};
use crate::grading::Output;
use crate::nn::Executor;

/// One network's [`Output`] as something [`Differentiable`].
pub struct Explained {
    executor: Box<dyn Executor>,
    output: Output,
}

impl Explained {
    /// Resolves `Predicted` by the network's own logits at `input`.
    pub fn new(_executor: Box<dyn Executor>, _output: Output, _input: &[f32]) -> Result<Self, AttributionError> {
        todo!()
    }

    /// The output, with its class resolved.
    pub fn output(&self) -> Output {
        self.output
    }
}

impl Differentiable for Explained {
    fn shape(&self) -> [usize; 3] {
        [self.executor.side(), self.executor.side(), 3]
    }

    fn rows(&self) -> usize {
        self.executor.rows()
    }

    fn values(&mut self, _inputs: &[f32]) -> Result<Vec<f64>, AttributionError> {
        todo!()
    }

    fn values_and_gradients(&mut self, _inputs: &[f32]) -> Result<(Vec<f64>, Vec<f32>), AttributionError> {
        todo!()
    }

    fn features(&mut self, _input: &[f32]) -> Result<Features, AttributionError> {
        todo!()
    }
}
