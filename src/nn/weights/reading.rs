//! Stores come in, one after another; the parameters of a graph go out.

use std::path::PathBuf;

use super::{Store, Tensor, Tensors, WeightsError};
use crate::nn::graph::{Graph, Parameter};

/// Reads the parameters of a graph; those that may be missing get their default, and there may be no others.
pub fn read(store: &Store, graph: &Graph) -> Result<Tensors, WeightsError> {
    let mut reading = Reading::of(graph);
    reading.take(store)?;
    reading.finish()
}

/// A graph's parameters while they come out of its files; of one in several files the first counts.
pub(super) struct Reading<'a> {
    graph: &'a Graph,
    parameters: Vec<Parameter>,
    tensors: Tensors,
    /// The first file: what errors about the whole network name.
    first: Option<PathBuf>,
}

impl<'a> Reading<'a> {
    /// Nothing of it yet.
    pub(super) fn of(graph: &'a Graph) -> Self {
        Self { graph, parameters: graph.parameters(), tensors: Tensors::new(), first: None }
    }

    /// Takes what no earlier file had; an error names a tensor that is not as the graph has it or that it does not have.
    pub(super) fn take(&mut self, store: &Store) -> Result<(), WeightsError> {
        self.first.get_or_insert_with(|| store.path().to_path_buf());
        for Parameter { name, shape, .. } in &self.parameters {
            if store.shape(name).is_some() && !self.tensors.contains_key(name) {
                self.tensors.insert(name.clone(), store.parameter(name, shape)?);
            }
        }
        match store.names().into_iter().find(|name| !self.tensors.contains_key(name)) {
            Some(tensor) => {
                let file = store.path().to_path_buf();
                Err(WeightsError::Unexpected { file, tensor, network: self.graph.network })
            }
            None => Ok(()),
        }
    }

    /// All parameters, those that may be missing with their default.
    pub(super) fn finish(mut self) -> Result<Tensors, WeightsError> {
        for Parameter { name, shape, default } in self.parameters {
            if self.tensors.contains_key(&name) {
                continue;
            }
            let Some(value) = default else {
                return Err(WeightsError::Missing { file: self.first.unwrap_or_default(), tensor: name });
            };
            let values = vec![value; shape.iter().product()];
            self.tensors.insert(name, Tensor { shape, values });
        }
        Ok(self.tensors)
    }
}
