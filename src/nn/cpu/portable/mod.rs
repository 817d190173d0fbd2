//! Convolutions for any processor and in any precision: patches are gathered in tiles that stay in cache, and multiplied by
//! the `gemm` crate, which picks AVX2, AVX-512 or NEON itself. The reference for every other path.

mod convolution;
mod norm;
mod product;
mod weights;

pub use norm::AnyChannels;
pub use weights::Weights;
