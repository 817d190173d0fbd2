//! A [`Plan`] comes in; executors on the processor go out, generic over f32 and f64.
//!
//! An [`InstructionSet`] is chosen once for each precision. In f32 it makes convolutions of packed weights (`packed`: direct products and
//! Winograd's transforms); everywhere, in f64 and for reference, there is the portable path (`portable`: gathered patches and
//! the `gemm` crate). What stands around them is the same for all: kernels turned for the gradient (`turned`), pools (`pool`),
//! where everything lives (`layout`, `lines`), some images through a plan and back (`images`), and the rows of a batch over threads
//! (`executor`). `training` is the other user of the same kernels: a batch through a network whose weights change every step,
//! batch norm included. Input gradients need no activations: forward keeps one bit per ReLU and one byte per maximum. `peak` is the
//! yardstick that all of it is held against.
//!
//! Memory, in f32 at 299 px: the weights once, packed, and 4 times (3x3; 1.8 times on small images), 2.6 times (5x5), twice
//! (three taps in a line) or 1.4 times (seven) where a transform takes them; as much again, turned, as soon as a gradient was asked
//! for, until [`Model::forget_gradients`]. Per thread that works four images' slots, 11 to 15 MB each, 2 to 4 MB of bits and
//! arguments each, and up to 3 MB of tiles, whatever the number of rows; for a path five images' slots and
//! the slopes between them, 11 to 27 MB each.
//! All three networks loaded and one explained: 1.1 GB.

mod executor;
mod images;
mod instruction_set;
mod kernel;
mod lanes;
mod layout;
mod lines;
mod memory;
mod norm;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, unused_imports, unused_variables, reason = "no vectors yet")
)]
mod packed;
mod parallel;
pub mod peak;
mod pool;
mod portable;
mod stored;
#[cfg(test)]
mod tests;
pub mod training;
mod turned;

use std::sync::Arc;

pub use executor::CpuExecutor;
use images::Program;
pub use instruction_set::InstructionSet;

use super::clock::Clock;
use super::plan::Plan;
use super::{Executor, Model, Network, NnError, Precision};

/// A network with weights on the processor.
#[derive(Debug)]
pub struct CpuModel {
    network: Network,
    program: Arc<Program<f32>>,
    weights_hash: String,
}

impl CpuModel {
    /// `weights_hash` is the SHA-256 of the weights in the manifest. An error says where `precision` is no faster than f32.
    pub fn new(
        network: Network,
        plan: Arc<Plan<f32>>,
        weights_hash: String,
        precision: Precision,
    ) -> Result<Self, NnError> {
        let program = Arc::new(Program::new(Arc::unwrap_or_clone(plan), InstructionSet::of(precision)?)?);
        Ok(Self { network, program, weights_hash })
    }
}

impl Model for CpuModel {
    fn network(&self) -> Network {
        self.network
    }

    fn weights_hash(&self) -> &str {
        &self.weights_hash
    }

    fn precision(&self) -> Precision {
        self.program.precision()
    }

    fn rows_at_once(&self) -> usize {
        (2 * rayon::current_num_threads()).clamp(4, 32)
    }

    // All threads share one image, and there is another soon.
    fn images_at_once(&self) -> usize {
        1
    }

    fn executor(&self, rows: usize) -> Result<Box<dyn Executor>, NnError> {
        Ok(Box::new(CpuExecutor::of(Arc::clone(&self.program), rows)))
    }

    fn forget_gradients(&self) {
        self.program.forget_gradients();
    }

    fn clock(&self) -> Option<Arc<Clock>> {
        Some(Arc::clone(&self.program.clock))
    }
}

/// The instructions that convolutions use in this program, as a person reads them: `AVX2` or `portable`.
pub fn instruction_set() -> Result<&'static str, NnError> {
    InstructionSet::chosen().map(InstructionSet::label)
}
