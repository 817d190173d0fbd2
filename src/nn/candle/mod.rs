//! A [`Plan`] comes in; executors on candle's tensors go out: CUDA and Metal, and candle's CPU as an oracle for tests. [`training`]
//! takes a graph through whole steps there.
//!
//! Composed of operations that candle has on every device: its forward convolution, views, comparisons and sums. On CUDA,
//! kernels of our own (`cuda`) take the place of convolutions, pools, slopes and batch norm. Matrix products stay in f32: candle
//! allows TF32 only where a program asks for it, and this one does not (one gradient in TF32 is off by a tenth).

mod convolution;
#[cfg_attr(
    not(any(test, feature = "cuda")),
    expect(dead_code, reason = "without the feature there is no card to call")
)]
mod cuda;
mod executor;
mod layer;
mod pool;
mod program;
mod share;
mod slide;
pub mod training;

use std::sync::Arc;

use candle_core::{Device, WithDType};
pub use executor::CandleExecutor;
use program::Program;

use super::plan::Plan;
use super::real::Real;
use super::{Executor, Model, Network, NnError, Precision};

/// Points of a path at once where candle's convolutions write out every window: a gigabyte at most.
const ROWS: usize = 8;
/// The same by kernels of our own: the small images of a network's end must fill a card as well. Fewer where its memory is too
/// small for them.
const ROWS_ON_A_CARD: usize = 64;
/// Images at once by kernels of our own: more wait for their files longer than a card works on them.
const IMAGES_ON_A_CARD: usize = 16;

/// A network with weights on one of candle's devices.
#[derive(Debug)]
pub struct CandleModel {
    network: Network,
    program: Arc<Program>,
    weights_hash: String,
}

impl CandleModel {
    /// Copies the weights to the device. `weights_hash` is the SHA-256 of the weights in the manifest.
    pub fn new(network: Network, plan: &Plan<f32>, device: &Device, weights_hash: String) -> Result<Self, NnError> {
        let program = Program::new(plan, device).map_err(failed)?;
        Ok(Self { network, program: Arc::new(program), weights_hash })
    }
}

impl Model for CandleModel {
    fn network(&self) -> Network {
        self.network
    }

    fn weights_hash(&self) -> &str {
        &self.weights_hash
    }

    fn precision(&self) -> Precision {
        Precision::F32
    }

    fn rows_at_once(&self) -> usize {
        if self.program.card.is_some() { ROWS_ON_A_CARD } else { ROWS }
    }

    // Our own kernels add up an image's products in an order of their own; candle's may choose another for more images.
    fn images_at_once(&self) -> usize {
        if self.program.card.is_some() { IMAGES_ON_A_CARD } else { 1 }
    }

    fn executor(&self, rows: usize) -> Result<Box<dyn Executor>, NnError> {
        Ok(Box::new(CandleExecutor::of(Arc::clone(&self.program), rows)))
    }

    // Turned kernels lie beside the others in the memory of the card.
    fn forget_gradients(&self) {}
}

/// An executor of its own for `plan`, in f32 or f64.
pub fn executor<T: Real + WithDType>(
    plan: &Plan<T>,
    device: &Device,
    rows: usize,
) -> Result<CandleExecutor<T>, NnError> {
    Ok(CandleExecutor::of(Arc::new(Program::new(plan, device).map_err(failed)?), rows))
}

#[expect(clippy::needless_pass_by_value, reason = "it is an argument of map_err")]
fn failed(error: candle_core::Error) -> NnError {
    NnError::Device(words(&error))
}

/// The first CUDA card, if kernels of our own run on it, and what to call it: `NVIDIA H200 · TF32 × 3`.
#[cfg(feature = "cuda")]
pub(super) fn open_cuda() -> candle_core::Result<(Device, String)> {
    let device = cuda::device::open()?;
    cuda::device::check(&device)?;
    let name = cuda::device::name(device.as_cuda_device()?)?;
    Ok((device, name))
}

/// What went wrong, without the backtrace that candle puts into its messages where `RUST_BACKTRACE` is set.
pub(super) fn words(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => words(inner),
        error => error.to_string(),
    }
}

/// Whether the device had no memory left. candle hands the driver's code on as words; this is how CUDA's calls it.
fn is_out_of_memory(error: &candle_core::Error) -> bool {
    words(error).contains("CUDA_ERROR_OUT_OF_MEMORY")
}

#[cfg(test)]
#[cfg(unix)]
mod executor_tests;
#[cfg(test)]
#[cfg(unix)]
mod kernel_tests;

#[cfg(test)]
mod tests {
    use std::backtrace::Backtrace;

    #[test]
    fn an_error_is_one_line_with_and_without_a_backtrace() {
        let inner = || Box::new(candle_core::Error::Msg("out of memory".to_owned()));
        let backtrace = Box::new(Backtrace::force_capture());
        assert_eq!(super::words(&inner()), "out of memory");
        assert_eq!(super::words(&candle_core::Error::WithBacktrace { inner: inner(), backtrace }), "out of memory");
    }
}
