//! A [`Plan`] comes in; executors on candle's tensors go out: CUDA and Metal, and candle's CPU as an oracle for tests.

use std::sync::Arc;

use super::plan::Plan;
use super::{Executor, Model, Network, NnError};

/// A network with weights on one of candle's devices.
#[derive(Debug)]
pub struct CandleModel {
    network: Network,
    weights_hash: String,
}

impl CandleModel {
    /// Copies the weights to the device. `weights_hash` is the SHA-256 of the weights in the manifest.
    pub fn new(
        network: Network,
        plan: Arc<Plan<f32>>,
        device: &candle_core::Device,
        weights_hash: String,
    ) -> Result<Self, NnError> {
        let _ = (plan, device);
        Ok(Self { network, weights_hash })
    }
}

impl Model for CandleModel {
    fn network(&self) -> Network {
        self.network
    }

    fn weights_hash(&self) -> &str {
        &self.weights_hash
    }

    fn precision(&self) -> &'static str {
        "f32"
    }

    fn executor(&self, _rows: usize) -> Result<Box<dyn Executor>, NnError> {
        Err(NnError::Device("networks on a card are not written yet; choose --device cpu".to_owned()))
    }
}
