//! The kernels on this processor, slowly: `emulate.c` lets a block's threads take turns, and runs the lines of `kernels.cu`.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, Tensor};

use super::convolution::{HOPPER, PLAIN, SPLIT, Tiling};
use super::{Call, Card, Operand};

type Emulate = unsafe extern "C" fn(*const c_char, *const c_void, c_int, c_int) -> c_int;

/// Runs calls on tensors of candle's CPU device: the kernels of every card, or those by tensor cores, of Ampere or
/// of Hopper.
#[derive(Debug)]
pub(in super::super) enum Emulated {
    Plain,
    Split,
    Hopper,
}

/// The function in the library, which has one set of shared memory: one call at a time.
static EMULATE: LazyLock<Mutex<Emulate>> = LazyLock::new(|| Mutex::new(load()));

/// Compiles with the C compiler that Rust links with.
fn load() -> Emulate {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("emulate.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nn/candle/cuda/emulate.c");
    let flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"];
    let status = Command::new("cc").args(flags).arg(source).arg("-o").arg(&library).arg("-lm").status();
    assert!(status.expect("cc, which links Rust, is there").success(), "the kernels are no C");
    let path = CString::new(library.to_str().expect("a name")).expect("a name");
    // SAFETY: the library was made just now; it stays loaded, though its file goes. The symbol is a function of this type.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!handle.is_null(), "{} cannot be loaded", library.display());
        let symbol = libc::dlsym(handle, c"emulate".as_ptr());
        assert!(!symbol.is_null(), "emulate is missing");
        std::mem::transmute::<*mut c_void, Emulate>(symbol)
    }
}

impl Card for Emulated {
    fn run(&self, call: &Call) -> Result<Vec<Tensor>> {
        // Of bytes any may be a result: what no thread writes is as another run found it.
        let outputs = written(call, u8::MAX)?;
        let is_of_bytes = call.outputs.iter().any(|(_, dtype)| *dtype == DType::U8);
        let again = if is_of_bytes { written(call, u8::MIN)? } else { outputs.clone() };
        outputs
            .into_iter()
            .zip(again)
            .zip(call.outputs)
            .map(|((bytes, again), (shape, dtype))| match dtype {
                // What no thread writes stays no number, which no comparison forgives.
                DType::F32 => {
                    let numbers = bytes.chunks_exact(4).map(|bytes| f32::from_ne_bytes(bytes.try_into().unwrap()));
                    Tensor::from_vec(numbers.collect(), shape.clone(), &Device::Cpu)
                }
                DType::U8 => {
                    assert!(bytes == again, "{} leaves bytes as they were", call.kernel);
                    Tensor::from_vec(bytes, shape.clone(), &Device::Cpu)
                }
                other => panic!("{} writes {other:?}", call.kernel),
            })
            .collect()
    }

    fn tiling(&self) -> &'static Tiling {
        match self {
            Self::Plain => &PLAIN,
            Self::Split => &SPLIT,
            Self::Hopper => &HOPPER,
        }
    }
}

/// What a call leaves of memory that holds nothing but `mark`: of 255 as a number is none.
fn written(call: &Call, mark: u8) -> Result<Vec<Vec<u8>>> {
    let size = |(shape, dtype): &(Shape, DType)| shape.elem_count() * dtype.size_in_bytes();
    // Words, so that numbers lie where numbers may.
    let mark = u32::from_ne_bytes([mark; 4]);
    let mut outputs: Vec<Vec<u32>> = call.outputs.iter().map(|output| vec![mark; size(output).div_ceil(4)]).collect();
    let places: Vec<u64> = outputs.iter_mut().map(|words| words.as_mut_ptr() as u64).collect();
    let addresses: Vec<u64> = call
        .operands
        .iter()
        .map(|operand| match operand {
            Operand::Read(tensor) => address(tensor, true),
            Operand::Within(tensor) => address(tensor, false),
            Operand::Written(output) => places[*output],
            Operand::Nothing => 0,
        })
        .collect();
    let arguments = call.arguments(&addresses)?;
    let name = CString::new(call.kernel).expect("a name");
    let [across, down] = call.blocks.map(|blocks| blocks as c_int);
    let emulate = EMULATE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the addresses are of tensors and of `outputs`, which live until after the call, and large enough if the numbers are
    // right, which is what is tested.
    let status = unsafe { emulate(name.as_ptr(), (&raw const arguments).cast(), across, down) };
    assert_eq!(status, 0, "{} cannot be run", call.kernel);
    let bytes = outputs
        .into_iter()
        .zip(call.outputs)
        .map(|(words, output)| words.into_iter().flat_map(u32::to_ne_bytes).take(size(output)).collect());
    Ok(bytes.collect())
}

fn address(tensor: &Tensor, is_whole: bool) -> u64 {
    let (storage, layout) = tensor.storage_and_layout();
    assert!(layout.is_contiguous() || !is_whole, "this kernel reads what is contiguous");
    let first = layout.start_offset();
    match &*storage {
        Storage::Cpu(CpuStorage::U8(values)) => values[first..].as_ptr() as u64,
        Storage::Cpu(CpuStorage::U32(values)) => values[first..].as_ptr() as u64,
        Storage::Cpu(CpuStorage::F32(values)) => values[first..].as_ptr() as u64,
        _ => panic!("no kernel reads {:?}", tensor.dtype()),
    }
}
