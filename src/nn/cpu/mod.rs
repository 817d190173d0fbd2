//! A [`Plan`] comes in; executors on the processor go out, generic over f32 and f64.
//!
//! The matrix product is the `gemm` crate's, which picks AVX2, AVX-512 or NEON while it runs; what stands around it is
//! here: patches gathered in tiles that stay in cache (`product`), convolutions and their gradients (`convolution`),
//! pools (`pool`), where everything lives (`layout`), one image through a plan and back (`image`), and the rows of a
//! batch over threads (`executor`). Input gradients need no activations: forward keeps one bit per ReLU and one byte per
//! maximum.
//!
//! Memory: the weights once, shared by all executors; once more, turned, as soon as a gradient was asked for; and per
//! thread that works one image's slots, 11 to 15 MB at 299 px in f32, and 2 to 4 MB of bits and arguments, whatever the
//! number of rows.

mod convolution;
mod executor;
mod image;
mod lanes;
mod layout;
mod parallel;
mod pool;
mod product;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use executor::CpuExecutor;
use image::Program;

use super::plan::Plan;
use super::{Executor, Model, Network, NnError};

/// A network with weights on the processor.
#[derive(Debug)]
pub struct CpuModel {
    network: Network,
    program: Arc<Program<f32>>,
    weights_hash: String,
}

impl CpuModel {
    /// `weights_hash` is the SHA-256 of the weights in the manifest.
    pub fn new(network: Network, plan: Arc<Plan<f32>>, weights_hash: String) -> Result<Self, NnError> {
        Ok(Self { network, program: Arc::new(Program::new(plan)?), weights_hash })
    }
}

impl Model for CpuModel {
    fn network(&self) -> Network {
        self.network
    }

    fn weights_hash(&self) -> &str {
        &self.weights_hash
    }

    fn precision(&self) -> &'static str {
        "f32"
    }

    fn executor(&self, rows: usize) -> Result<Box<dyn Executor>, NnError> {
        Ok(Box::new(CpuExecutor::of(Arc::clone(&self.program), rows)))
    }
}

/// The instructions that matrix products use on this processor: `AVX2`, `AVX-512`, `NEON` or `portable`.
pub fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return "AVX2";
        }
    }
    if cfg!(target_arch = "aarch64") { "NEON" } else { "portable" }
}
