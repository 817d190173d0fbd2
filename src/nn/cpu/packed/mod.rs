//! Convolutions in f32 on packed kernels: weights lie in the order in which a micro-kernel reads them, images as they are.
//!
//! `vector` says what an instruction set must offer, `avx2`, `avx512` and `neon` are some (`check` tries one, `lanes` stands in for
//! wide ones in tests); all else is written once and compiled for each:
//! `product` is the micro-kernel, `panels` the packed weights, `direct` a convolution as a product, `winograd` one by
//! transforms (`scheme` says which and where, `axis` and `transform` are they); `outer` is the micro-kernel of weight gradients,
//! `weights` and `winograd_weights` are what stands around it; `norm` is what stands behind products in training; `convolution` a
//! convolution or its gradient as the rest of the program sees it.

mod aligned;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod axis;
#[cfg(any(target_arch = "x86_64", test))]
mod check;
mod convolution;
mod direct;
mod image;
#[cfg(test)]
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod norm;
mod outer;
mod panels;
mod product;
mod scheme;
mod transform;
mod vector;
mod weights;
mod winograd;
mod winograd_weights;

use aligned::Aligned;
#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
use convolution::{Packed, PackedGradient};
#[cfg(test)]
use lanes::Lanes;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
use norm::WholeBlocks;
use outer::Span;
use vector::Engine;
use weights::Weights;

use super::instruction_set::InstructionSet;
use super::kernel::{Backward, Forward, WeightGradient};
use super::norm::Loops;
use super::turned::Turned;
use crate::nn::graph::Window;
use crate::nn::plan::Convolution;

/// A convolution on the kernels of an instruction set, if it has some; best for an output of `size`.
pub fn forward(set: InstructionSet, convolution: &Convolution<f32>, size: [usize; 2]) -> Option<Box<dyn Forward<f32>>> {
    match set {
        InstructionSet::Portable => None,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => Some(Box::new(Packed::new(Avx2::new()?, convolution, size))),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => Some(Box::new(Packed::new(Avx512::new()?, convolution, size))),
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => Some(Box::new(Packed::new(Neon::new()?, convolution, size))),
        #[cfg(test)]
        InstructionSet::Lanes => Some(Box::new(Packed::new(Lanes, convolution, size))),
    }
}

/// A convolution's gradient by its input, likewise; best for an input of `size`.
pub fn backward(set: InstructionSet, turned: &Turned<f32>, size: [usize; 2]) -> Option<Box<dyn Backward<f32>>> {
    match set {
        InstructionSet::Portable => None,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => Some(Box::new(PackedGradient::new(Avx2::new()?, turned, size))),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => Some(Box::new(PackedGradient::new(Avx512::new()?, turned, size))),
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => Some(Box::new(PackedGradient::new(Neon::new()?, turned, size))),
        #[cfg(test)]
        InstructionSet::Lanes => Some(Box::new(PackedGradient::new(Lanes, turned, size))),
    }
}

/// A convolution's gradient by its kernel, likewise; for so many channels in and out; best for an output of `size`.
pub fn weights(
    set: InstructionSet,
    window: Window,
    channels: [usize; 2],
    size: [usize; 2],
) -> Option<Box<dyn WeightGradient<f32>>> {
    match set {
        InstructionSet::Portable => None,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => Some(Box::new(Weights::new(Avx2::new()?, window, channels, size))),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => Some(Box::new(Weights::new(Avx512::new()?, window, channels, size))),
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => Some(Box::new(Weights::new(Neon::new()?, window, channels, size))),
        #[cfg(test)]
        InstructionSet::Lanes => Some(Box::new(Weights::new(Lanes, window, channels, size))),
    }
}

/// The loops behind products of so many channels, likewise.
pub fn norm(set: InstructionSet, channels: usize) -> Option<Box<dyn Loops<f32>>> {
    fn boxed(engine: impl Engine, channels: usize) -> Option<Box<dyn Loops<f32>>> {
        Some(Box::new(WholeBlocks::new(engine, channels)?))
    }
    match set {
        InstructionSet::Portable => None,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => boxed(Avx2::new()?, channels),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => boxed(Avx512::new()?, channels),
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => boxed(Neon::new()?, channels),
        #[cfg(test)]
        InstructionSet::Lanes => boxed(Lanes, channels),
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
    /// What a ReLU saw of the image before.
    former: Aligned,
    /// What taps see of some pixels, and the gradients there.
    left: Aligned,
    right: Aligned,
    spans: Vec<Span>,
    /// Sums at Winograd's points.
    sums: Aligned,
    /// What lies outside an image; nothing else is written there.
    zeros: Aligned,
}
