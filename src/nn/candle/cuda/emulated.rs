//! The kernels on this processor, slowly: `emulate.c` lets a block's threads take turns, and runs the lines of `kernels.cu`.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor};

use super::{Call, Card, Operand};

type Emulate = unsafe extern "C" fn(*const c_char, *const c_void, c_int, c_int) -> c_int;

/// Runs calls on tensors of candle's CPU device.
#[derive(Debug)]
pub(in super::super) struct Emulated;

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
    fn run(&self, call: &Call) -> Result<Tensor> {
        let (shape, dtype) = &call.output;
        match dtype {
            // What no thread writes stays no number, which no comparison forgives.
            DType::F32 => Tensor::from_vec(written(call, f32::NAN)?, shape.clone(), &Device::Cpu),
            // Any byte may be a result, but what no thread writes is as the run found it.
            DType::U8 => {
                let bytes = written(call, u8::MIN)?;
                assert!(bytes == written(call, u8::MAX)?, "{} leaves bytes as they were", call.kernel);
                Tensor::from_vec(bytes, shape.clone(), &Device::Cpu)
            }
            other => panic!("{} writes {other:?}", call.kernel),
        }
    }
}

/// What a call leaves of memory that holds nothing but `mark`.
fn written<T: Copy>(call: &Call, mark: T) -> Result<Vec<T>> {
    let mut values = vec![mark; call.output.0.elem_count()];
    let written = values.as_mut_ptr() as u64;
    let addresses: Vec<u64> = call
        .operands
        .iter()
        .map(|operand| match operand {
            Operand::Read(tensor) => address(tensor),
            Operand::Written => written,
            Operand::Nothing => 0,
        })
        .collect();
    let arguments = call.arguments(&addresses)?;
    let name = CString::new(call.kernel).expect("a name");
    let [across, down] = call.blocks.map(|blocks| blocks as c_int);
    let emulate = EMULATE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the addresses are of tensors and of `values`, which live until after the call, and large enough if the numbers are
    // right, which is what is tested.
    let status = unsafe { emulate(name.as_ptr(), (&raw const arguments).cast(), across, down) };
    assert_eq!(status, 0, "{} cannot be run", call.kernel);
    Ok(values)
}

fn address(tensor: &Tensor) -> u64 {
    let (storage, layout) = tensor.storage_and_layout();
    let (first, _) = layout.contiguous_offsets().expect("kernels read what is contiguous");
    match &*storage {
        Storage::Cpu(CpuStorage::U8(values)) => values[first..].as_ptr() as u64,
        Storage::Cpu(CpuStorage::U32(values)) => values[first..].as_ptr() as u64,
        Storage::Cpu(CpuStorage::F32(values)) => values[first..].as_ptr() as u64,
        _ => panic!("no kernel reads {:?}", tensor.dtype()),
    }
}
