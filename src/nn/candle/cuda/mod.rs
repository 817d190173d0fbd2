//! Own kernels for a CUDA card (`kernels.cu`): what candle composes of many passes over memory, in one or two. A [`Call`] comes in,
//! a tensor goes out.
//!
//! A convolution reads the image where it lies, without the zeros of a stride, and adds what comes to its sums before it writes.
//! Products are of f32 (`kernels.cu`), or three of TF32 each where tensor cores can (`tensor.cu`, `hopper.cu`). On a processor, tests run the
//! same lines of the kernels with everything around them (`emulated`).

pub(super) mod convolution;
#[cfg(feature = "cuda")]
pub(super) mod device;
#[cfg(test)]
#[cfg(unix)]
pub(super) mod emulated;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod slope;

use std::fmt::Debug;

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use convolution::Tiling;

/// Threads of a block.
const THREADS: usize = 256;

/// What runs the kernels, in f32.
pub(super) trait Card: Debug + Send + Sync {
    /// Runs a kernel; gives what it wrote.
    fn run(&self, call: &Call) -> Result<Vec<Tensor>>;

    /// The same of a kernel that writes one tensor.
    fn one(&self, call: &Call) -> Result<Tensor> {
        self.run(call)?.pop().ok_or_else(|| Error::Msg(format!("{} writes nothing", call.kernel)))
    }

    /// The kernels that make convolutions here.
    fn tiling(&self) -> &'static Tiling;
}

/// What runs kernels for tensors of a device and type; `None` where candle's own operations have to do.
pub(super) fn card(device: &Device, dtype: DType) -> Option<&'static dyn Card> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device
        && dtype == DType::F32
    {
        return Some(device::card(device));
    }
    let _ = (device, dtype);
    None
}

/// A kernel with its arguments, in the order of its struct in `kernels.cu`: pointers, then numbers.
pub(super) struct Call<'a> {
    /// Its name.
    pub(super) kernel: &'static str,
    /// Blocks across and down.
    pub(super) blocks: [usize; 2],
    /// The pointers.
    pub(super) operands: &'a [Operand<'a>],
    /// The numbers.
    pub(super) numbers: &'a [usize],
    /// What is written, all of it.
    pub(super) outputs: &'a [(Shape, DType)],
}

/// A pointer among the arguments.
#[derive(Clone, Copy)]
pub(super) enum Operand<'a> {
    /// To values that are read; contiguous.
    Read(&'a Tensor),
    /// To values among which others stand: a kernel that is told how far its rows are apart.
    Within(&'a Tensor),
    /// To an output, by its number.
    Written(usize),
    /// Null.
    Nothing,
}

impl<'a> From<Option<&'a Tensor>> for Operand<'a> {
    fn from(tensor: Option<&'a Tensor>) -> Self {
        tensor.map_or(Self::Nothing, Self::Read)
    }
}

/// The struct of arguments as the kernel takes it, large enough for any.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Arguments([u64; 16]);

impl Call<'_> {
    /// The arguments, from the operands' addresses.
    fn arguments(&self, addresses: &[u64]) -> Result<Arguments> {
        let mut words = [0; 16];
        if addresses.len() + self.numbers.len().div_ceil(2) > words.len() {
            return Err(Error::Msg(format!("{} has too many arguments", self.kernel)));
        }
        words[..addresses.len()].copy_from_slice(addresses);
        for (pair, word) in self.numbers.chunks(2).zip(&mut words[addresses.len()..]) {
            // Two ints, the first in the lower half: hosts of CUDA are little-endian.
            for (at, &number) in pair.iter().enumerate() {
                let number = i32::try_from(number).map_err(Error::wrap)?;
                *word |= u64::from(number.cast_unsigned()) << (32 * at);
            }
        }
        Ok(Arguments(words))
    }
}

/// Blocks for a kernel with a thread for each of `count` values, which it counts in 32 bits.
fn blocks(count: usize) -> Result<[usize; 2]> {
    if i32::try_from(count.next_multiple_of(THREADS)).is_err() {
        return Err(Error::Msg(format!("{count} values are more than one kernel takes: fewer images at once")));
    }
    Ok([count.div_ceil(THREADS), 1])
}
