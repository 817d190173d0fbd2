//! A network's output as a function of the image: where `nn`, `grading` and `attribution` meet.

use crate::attribution::{AttributionError, Cancel, Differentiable, Features};
use crate::grading::Output;
use crate::nn::{Along, At, Executor, Gradients, Line, NnError, Precision};

/// The relative L2 distance that computing in this precision moves a map by, at most: `tests/precision.rs` measures it on the
/// shipped weights.
pub fn precision_moves(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 0.001,
        Precision::Bf16 => 0.2,
    }
}

/// One network's [`Output`] as something [`Differentiable`].
pub struct Explained {
    executor: Box<dyn Executor>,
    output: Output,
}

impl Explained {
    /// Resolves `Predicted` by the network's own logits at `input`.
    pub fn new(mut executor: Box<dyn Executor>, output: Output, input: &[f32]) -> Result<Self, AttributionError> {
        let output =
            if output.is_resolved() { output } else { output.resolved(&executor.logits(input).map_err(failed)?) };
        Ok(Self { executor, output })
    }

    /// The output, with its class resolved.
    pub fn output(&self) -> Output {
        self.output
    }

    fn gradients(&mut self, inputs: &[f32], at: At) -> Result<Gradients, AttributionError> {
        let output = self.output;
        self.executor.value_and_gradient(inputs, at, &|logits| output.value_and_cotangent(logits)).map_err(failed)
    }
}

impl Differentiable for Explained {
    fn shape(&self) -> [usize; 3] {
        [self.executor.side(), self.executor.side(), 3]
    }

    fn rows(&self) -> usize {
        self.executor.rows()
    }

    fn precision(&self) -> f64 {
        precision_moves(self.executor.precision())
    }

    fn values(&mut self, inputs: &[f32]) -> Result<Vec<f64>, AttributionError> {
        let classes = self.executor.classes().max(1);
        let logits = self.executor.logits(inputs).map_err(failed)?;
        Ok(logits.chunks_exact(classes).map(|row| self.output.value_and_cotangent(row).0).collect())
    }

    fn values_and_gradients(&mut self, inputs: &[f32]) -> Result<(Vec<f64>, Vec<f32>), AttributionError> {
        let gradients = self.gradients(inputs, At::Input)?;
        Ok((gradients.values, gradients.gradient))
    }

    fn secants(
        &mut self,
        [from, to]: [&[f32]; 2],
        places: &[f64],
        cancel: &Cancel,
    ) -> Result<(Vec<f64>, Vec<f64>), AttributionError> {
        let (output, classes) = (self.output, self.executor.classes().max(1));
        let between = |here: &[f64], there: &[f64]| output.mean_cotangent(here, there);
        let Along { logits, gradient } =
            self.executor.along(Line { from, to }, places, &between, &|| cancel.is_cancelled()).map_err(failed)?;
        Ok((logits.chunks_exact(classes).map(|row| output.value_and_cotangent(row).0).collect(), gradient))
    }

    fn features(&mut self, input: &[f32]) -> Result<Features, AttributionError> {
        let Gradients { values, gradient, activation, shape, .. } = self.gradients(input, At::Features)?;
        let value = values.first().copied().ok_or_else(|| AttributionError::Function("it gave no value".to_owned()))?;
        Ok(Features { value, shape, activation, gradient })
    }
}

fn failed(error: NnError) -> AttributionError {
    match error {
        NnError::Interrupted => AttributionError::Cancelled,
        error => AttributionError::Function(error.to_string()),
    }
}
