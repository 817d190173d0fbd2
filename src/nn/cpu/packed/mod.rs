//! Convolutions in f32 on packed kernels: weights lie in the order in which a micro-kernel reads them, images as they are.
//!
//! `vector` says what an instruction set must offer, `avx2` and `neon` are some; all else is written once and compiled for each:
//! `product` is the micro-kernel, `panels` the packed weights, `direct` a convolution as a product, `winograd` one by
//! transforms (`scheme` says which and where, `axis` and `transform` are they), `convolution` a convolution or its gradient as
//! the rest of the program sees it.

mod aligned;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod axis;
mod convolution;
mod direct;
mod image;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panels;
mod product;
mod scheme;
mod transform;
mod vector;
mod winograd;

use aligned::Aligned;
#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
use convolution::{Packed, PackedGradient};
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;

use super::instruction_set::InstructionSet;
use super::kernel::{Backward, Forward};
use super::turned::Turned;
use crate::nn::plan::Convolution;

/// A convolution on the kernels of an instruction set, if it has some; best for an output of `size`.
pub fn forward(set: InstructionSet, convolution: &Convolution<f32>, size: [usize; 2]) -> Option<Box<dyn Forward<f32>>> {
    match set {
        InstructionSet::Portable => None,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => Some(Box::new(Packed::new(Avx2::new()?, convolution, size))),
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => Some(Box::new(Packed::new(Neon::new()?, convolution, size))),
    }
}

/// A convolution's gradient by its input, likewise; best for an input of `size`.
pub fn backward(set: InstructionSet, turned: &Turned<f32>, size: [usize; 2]) -> Option<Box<dyn Backward<f32>>> {
    match set {
        InstructionSet::Portable => None,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => Some(Box::new(PackedGradient::new(Avx2::new()?, turned, size))),
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => Some(Box::new(PackedGradient::new(Neon::new()?, turned, size))),
    }
}

/// A thread's buffers.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Where taps begin.
    offsets: Vec<usize>,
    /// Where results go.
    places: Vec<usize>,
    /// Winograd's points of some tiles.
    points: Aligned,
    /// Their products by a panel.
    products: Aligned,
}
