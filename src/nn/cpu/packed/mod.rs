//! Convolutions of f32 on packed kernels: weights lie in the order in which a micro-kernel reads them, images as they are.
//!
//! `vector` says what an instruction set must offer, `avx2`, `avx512` and `neon` are some (`check` tries one, `lanes` stands in for
//! wide ones in tests); all else is written once and compiled for each:
//! `product` is the micro-kernel (with `totals` that it takes on the way), `panels` the packed weights, `direct` a convolution as a product (of `pairs` of bf16, which
//! `narrowed` makes, where that is asked for), `winograd` one by
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
mod narrowed;
#[cfg(target_arch = "aarch64")]
mod neon;
mod norm;
mod outer;
#[cfg_attr(
    not(any(test, target_arch = "x86_64")),
    allow(dead_code, unused_imports, unused_macros, reason = "AVX-512 alone has products of bf16")
)]
mod pairs;
mod panels;
mod product;
mod scheme;
mod totals;
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
#[cfg(test)]
pub use convolution::FEW;
use convolution::{Packed, PackedGradient};
#[cfg(test)]
use lanes::Lanes;
use narrowed::Narrowed;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
use norm::WholeBlocks;
use outer::Span;
#[cfg(test)]
pub use scheme::{Scheme, left_out};
use weights::Weights;

use super::instruction_set::InstructionSet;
use super::kernel::{Backward, Forward, WeightGradient};
use super::norm::Loops;
use super::turned::Turned;
use crate::nn::graph::Window;
use crate::nn::plan::Convolution;

/// The engine of an instruction set to what is made of it; `None` where it has none.
macro_rules! with_engine {
    ($set:expr, $make:expr) => {
        match $set {
            InstructionSet::Portable => None,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => Avx2::new().and_then($make),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => Avx512::new().and_then($make),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Bf16 => Avx512::bf16().and_then($make),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => Neon::new().and_then($make),
            #[cfg(test)]
            InstructionSet::Lanes => Some(Lanes::new()).and_then($make),
            #[cfg(test)]
            InstructionSet::LanesBf16 => Some(Lanes::bf16()).and_then($make),
        }
    };
}

/// A convolution on the kernels of an instruction set, if it has some; best for an output of `size`.
pub fn forward(set: InstructionSet, convolution: &Convolution<f32>, size: [usize; 2]) -> Option<Box<dyn Forward<f32>>> {
    with_engine!(set, |engine| Some(Box::new(Packed::new(engine, convolution, size)) as Box<dyn Forward<f32>>))
}

/// A convolution's gradient by its input, likewise; best for an input of `size`.
pub fn backward(set: InstructionSet, turned: &Turned<f32>, size: [usize; 2]) -> Option<Box<dyn Backward<f32>>> {
    with_engine!(set, |engine| Some(Box::new(PackedGradient::new(engine, turned, size)) as Box<dyn Backward<f32>>))
}

/// A convolution's gradient by its kernel, likewise; for so many channels in and out; best for an output of `size`.
pub fn weights(
    set: InstructionSet,
    window: Window,
    channels: [usize; 2],
    size: [usize; 2],
) -> Option<Box<dyn WeightGradient<f32>>> {
    with_engine!(set, |engine| {
        Some(Box::new(Weights::new(engine, window, channels, size)) as Box<dyn WeightGradient<f32>>)
    })
}

/// The loops behind products of so many channels, likewise.
pub fn norm(set: InstructionSet, channels: usize) -> Option<Box<dyn Loops<f32>>> {
    with_engine!(set, |engine| Some(Box::new(WholeBlocks::new(engine, channels)?) as Box<dyn Loops<f32>>))
}

/// A thread's buffers.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Image, row and column of some results.
    pixels: Vec<[usize; 3]>,
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
    /// What taps see, in pairs of bf16.
    narrowed: Narrowed,
    /// What taps see of some pixels, and the gradients there.
    left: Aligned,
    right: Aligned,
    /// Some pixels of two images, coupled.
    coupled: Vec<f32>,
    spans: Vec<Span>,
    /// Sums at Winograd's points.
    sums: Aligned,
    /// What lies outside an image; nothing else is written there.
    zeros: Aligned,
}
