//! Calls come in; kernels run on the device of their tensors, which is candle's, in its stream.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DeviceRepr, LaunchConfig, PushKernelArg, SyncOnDrop,
};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Error, Result, Storage, Tensor};

use super::{Arguments, Call, Card, Operand, THREADS};

/// The kernels, compiled by `build.rs` for every card from Turing on.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));
/// What candle keeps them under.
const MODULE: &str = "diaret";

/// Any CUDA card that candle has opened.
#[derive(Debug)]
pub(super) struct Cuda;

// SAFETY: plain integers, laid out as in C, that a kernel takes by value.
unsafe impl DeviceRepr for Arguments {}

impl Card for Cuda {
    fn run(&self, call: &Call) -> Result<Tensor> {
        let device = device(call)?;
        match call.output.1 {
            DType::U8 => launch::<u8>(call, device),
            DType::F32 => launch::<f32>(call, device),
            other => Err(Error::Msg(format!("{} writes no {other:?}", call.kernel))),
        }
    }
}

/// Whether a kernel runs there: a driver that is too old for the kernels says so here.
pub(in super::super) fn check(device: &Device) -> Result<()> {
    let two = Tensor::full(2.0_f32, (1, 1), device)?;
    let whole = Tensor::full(u8::MAX, (1, 1), device)?;
    match super::slope::times(&two, &whole, &Cuda)?.to_vec2::<f32>()?.as_slice() {
        [row] if row == &[2.0] => Ok(()),
        wrong => Err(Error::Msg(format!("2 x 1 is {wrong:?} by a kernel on it"))),
    }
}

/// The device of the first tensor that is read.
fn device<'a>(call: &Call<'a>) -> Result<&'a CudaDevice> {
    let tensor = call.operands.iter().find_map(|operand| match operand {
        Operand::Read(tensor) => Some(*tensor),
        _ => None,
    });
    match tensor.map(Tensor::device) {
        Some(Device::Cuda(device)) => Ok(device),
        _ => Err(Error::Msg(format!("{} reads nothing on a CUDA card", call.kernel))),
    }
}

fn launch<T: CudaDType + DeviceRepr>(call: &Call, device: &CudaDevice) -> Result<Tensor> {
    let (shape, _) = &call.output;
    let stream = device.cuda_stream();
    // SAFETY: every kernel writes all of its output; where it did not, tests would find the emulation's marks.
    let mut written: CudaSlice<T> = unsafe { device.alloc(shape.elem_count())? };
    {
        let storages: Vec<_> = call
            .operands
            .iter()
            .map(|operand| match operand {
                Operand::Read(tensor) => Some(tensor.storage_and_layout()),
                _ => None,
            })
            .collect();
        let (address, _written) = written.device_ptr_mut(&stream);
        let mut addresses = Vec::with_capacity(call.operands.len());
        // Held until the kernel is in the stream.
        let mut reads = Vec::with_capacity(call.operands.len());
        for (operand, storage) in call.operands.iter().zip(&storages) {
            addresses.push(match (operand, storage) {
                (Operand::Written, _) => address,
                (Operand::Read(_), Some((storage, layout))) => {
                    let Some((first, _)) = layout.contiguous_offsets() else {
                        return Err(Error::Msg(format!("{} reads what is not contiguous", call.kernel)));
                    };
                    let (address, read, size) = address_of(storage, &stream)?;
                    reads.push(read);
                    address + (first * size) as u64
                }
                _ => 0,
            });
        }
        let arguments = call.arguments(&addresses)?;
        let function = device.get_or_load_custom_func(call.kernel, MODULE, PTX)?;
        let [across, down] = call.blocks;
        let grid = (u32::try_from(across).map_err(Error::wrap)?, u32::try_from(down).map_err(Error::wrap)?, 1);
        let size = LaunchConfig { grid_dim: grid, block_dim: (THREADS as u32, 1, 1), shared_mem_bytes: 0 };
        let mut builder = function.builder();
        builder.arg(&arguments);
        // SAFETY: the arguments are those of the kernel's struct; every pointer leads to as many values as its numbers say, on
        // this device, and lives until the stream has passed the kernel: candle frees in the same stream.
        unsafe { builder.launch(size) }.w()?;
    }
    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(written, device.clone()));
    Ok(Tensor::from_storage(storage, shape.clone(), BackpropOp::none(), false))
}

/// Where a tensor's values begin, what marks them as read, and the bytes of one.
fn address_of<'a>(storage: &'a Storage, stream: &'a CudaStream) -> Result<(u64, SyncOnDrop<'a>, usize)> {
    fn of<'a, T: CudaDType + DeviceRepr + 'a>(
        storage: &'a CudaStorage,
        stream: &'a CudaStream,
    ) -> Result<(u64, SyncOnDrop<'a>, usize)> {
        let (address, read) = storage.as_cuda_slice::<T>()?.device_ptr(stream);
        Ok((address, read, size_of::<T>()))
    }
    match storage {
        Storage::Cuda(storage) => match storage.dtype() {
            DType::U8 => of::<u8>(storage, stream),
            DType::U32 => of::<u32>(storage, stream),
            DType::F32 => of::<f32>(storage, stream),
            other => Err(Error::Msg(format!("no kernel reads {other:?}"))),
        },
        _ => Err(Error::Msg("a tensor is not on the card".to_owned())),
    }
}
