//! What a training step is, wherever it runs: the tensors it begins with, the statistics it takes, the loss it is given.
//!
//! `cpu::training` takes a batch through a network and back on our own kernels, `candle::training` on a card.

#[cfg(test)]
pub(super) mod small;

use std::ops::BitAnd;

use super::NnError;
use super::graph::Graph;
use super::plan::Parameters;
use super::real::Real;
use super::steps::Norm;

/// What is left of the moving mean and variance after a step: the default of Keras.
pub(super) const MOMENTUM: f64 = 0.99;

/// Which mean and variance batch norm takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// Those of the batch, which the moving ones follow (as Keras 3 has it, the variance biased).
    Batch,
    /// The moving ones, which stay as they are.
    Stored,
}

/// A loss by an image's place in the batch and its logits: its value, and its derivative by each logit.
pub type Loss<'a> = dyn Fn(usize, &[f64]) -> (f64, Vec<f64>) + 'a;

/// What a step found, besides gradients.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `[images, classes]`.
    pub logits: Vec<f64>,
    /// The loss of each image.
    pub losses: Vec<f64>,
}

/// A parameter before the first step.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// As in [`Graph::parameters`].
    pub(super) name: String,
    /// As given, or the default.
    pub(super) values: Vec<f32>,
    /// False for moving statistics, and for what the source of the weights does not have, which stays what it is.
    pub(super) is_trained: bool,
}

/// The graph's parameters, in its order. An error names one that is missing (and has no default), has another size or holds
/// values that no training gives.
pub(super) fn start(graph: &Graph, given: &Parameters) -> Result<Vec<Start>, NnError> {
    let parameter = |parameter: super::graph::Parameter| {
        let expected = parameter.shape.iter().product();
        let given = given(&parameter.name);
        let is_trained = given.is_some() && !parameter.name.contains("/moving_");
        match (given, parameter.default) {
            (Some(values), _) if values.len() == expected => match fault(&parameter.name, &values) {
                None => Ok(Start { name: parameter.name, values, is_trained }),
                Some(fault) => Err(NnError::Damaged { name: parameter.name, fault }),
            },
            (None, Some(value)) => Ok(Start { name: parameter.name, values: vec![value; expected], is_trained }),
            (given, _) => {
                let given = given.map(|values| values.len());
                Err(NnError::Parameter { name: parameter.name, expected, given })
            }
        }
    };
    graph.parameters().into_iter().map(parameter).collect()
}

/// What is wrong with a parameter's values, if no training gives such ones.
///
/// A ReLU takes NaN for 0: with one in a kernel a network goes on without some of its channels, to logits like any others.
pub(super) fn fault(name: &str, values: &[f32]) -> Option<&'static str> {
    if !all_finite(values) {
        return Some("holds values that are not finite");
    }
    let is_variance = name.ends_with("/moving_variance");
    (is_variance && values.iter().any(|value| *value < 0.0)).then_some("holds a negative variance")
}

/// Whether none is NaN or infinite. It looks at every value, so that the compiler can take several at once.
pub(super) fn all_finite<T: Real>(values: &[T]) -> bool {
    // 0 times NaN or infinity is NaN.
    values.iter().map(|&value| value * T::ZERO == T::ZERO).fold(true, BitAnd::bitand)
}

/// How many images of `side` px, RGB, there are; an error unless there are some, at most `batch`, and all whole.
pub(super) fn count(images: usize, side: usize, batch: usize) -> Result<usize, NnError> {
    let expected = side * side * 3;
    let count = images / expected;
    if images.is_multiple_of(expected) && (1..=batch).contains(&count) {
        Ok(count)
    } else {
        Err(NnError::Shape { expected, given: images })
    }
}

/// The losses of all images and, `[images, classes]`, their derivatives by the logits.
pub(super) fn losses(logits: &[f64], images: usize, loss: &Loss) -> (Vec<f64>, Vec<f64>) {
    let each = logits.chunks_exact(logits.len() / images).enumerate();
    let (losses, derivatives): (Vec<f64>, Vec<Vec<f64>>) = each.map(|(image, logits)| loss(image, logits)).unzip();
    (losses, derivatives.concat())
}

/// What batch norm multiplies by, gamma aside.
pub(super) fn inverse_deviation(norm: Norm, variance: f64) -> f64 {
    1.0 / (variance + norm.epsilon).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::formula;
    use crate::nn::Network;
    use crate::nn::graph::Variant;

    #[test]
    fn every_value_is_looked_at() {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in 0..67 {
                let mut values = vec![f32::MAX; 67];
                assert!(all_finite(&values));
                values[place] = wrong;
                assert!(!all_finite(&values), "{wrong} at {place}");
            }
        }
    }

    #[test]
    fn weights_that_no_training_gives_are_named() {
        let graph = small::small_network(&Variant::keras(Network::ResNet50, Some(3)));
        let given = formula::parameters(&graph, 3);
        for (spoilt, value, fault) in [
            ("a/kernel", f32::NAN, "not finite"),
            ("e/bias", f32::INFINITY, "not finite"),
            ("c_bn/moving_variance", f32::INFINITY, "not finite"),
            ("c_bn/moving_variance", -1.0, "negative variance"),
        ] {
            let parameters = |name: &str| {
                let mut values = given(name)?;
                if name == spoilt {
                    *values.last_mut()? = value;
                }
                Some(values)
            };
            let said = start(&graph, &parameters).unwrap_err().to_string();
            assert!(said.contains(spoilt) && said.contains(fault) && said.contains("restore"), "{said}");
        }
        // A mean may be negative.
        let parameters = |name: &str| if name == "c_bn/moving_mean" { Some(vec![-1.0; 6]) } else { given(name) };
        assert!(start(&graph, &parameters).is_ok());
    }
}
