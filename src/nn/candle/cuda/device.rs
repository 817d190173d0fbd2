//! Calls come in; kernels run on the device of their tensors, which is candle's, in its stream.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, sys,
};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Error, Result, Storage, Tensor};

use super::convolution::{Finish, PLAIN, Product, SPLIT, Shape, Tile};
use super::{Arguments, Call, Card, Operand, THREADS};
use crate::nn::graph::{Padding, Window};

/// Kernels in PTX, by the name that candle keeps them under: for every card from Turing on, and for tensor cores from Ampere on.
const KERNELS: (&str, &str) = ("diaret", include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx")));
const TENSOR: (&str, &str) = ("diaret-tensor", include_str!(concat!(env!("OUT_DIR"), "/tensor.ptx")));
/// The first compute capability whose tensor cores take TF32.
const AMPERE: i32 = 8;
/// Asks for one kind of products: `f32` or `tf32x3`.
const ASKED: &str = "DIARET_CUDA";

/// A CUDA card that candle has opened, whose convolutions are of f32, or of three products of TF32 each.
#[derive(Debug)]
struct Cuda {
    splits: bool,
}

/// The card of a device.
pub(super) fn card(device: &CudaDevice) -> &'static dyn Card {
    if splits(device).is_ok_and(|splits| splits) { &Cuda { splits: true } } else { &Cuda { splits: false } }
}

/// Whether products are split: on tensor cores where there are some that can, unless something else is asked for.
fn splits(device: &CudaDevice) -> Result<bool> {
    let major = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
    let can_split = device.cuda_stream().context().attribute(major).w()? >= AMPERE;
    let asked = std::env::var_os(ASKED);
    match asked.as_ref().map(|asked| asked.to_string_lossy()).as_deref() {
        None => Ok(can_split),
        Some("f32") => Ok(false),
        Some("tf32x3") if can_split => Ok(true),
        Some("tf32x3") => Err(Error::Msg(format!("{ASKED} asks for tf32x3, which cards have from Ampere on"))),
        Some(other) => Err(Error::Msg(format!("{ASKED} is {other}: it takes f32 or tf32x3"))),
    }
}

// SAFETY: plain integers, laid out as in C, that a kernel takes by value.
unsafe impl DeviceRepr for Arguments {}

impl Card for Cuda {
    fn run(&self, call: &Call) -> Result<Vec<Tensor>> {
        launch(call, device(call)?)
    }

    fn tiles(&self) -> &'static [Tile] {
        if self.splits { SPLIT } else { PLAIN }
    }
}

/// Opens the first card.
///
/// All threads share one stream. With candle's usual one for each thread nothing would order them: a worker could read weights that
/// another thread still copies, and two products at once would share one cuBLAS workspace.
pub(in super::super) fn open() -> Result<Device> {
    let device = Device::new_cuda_with_stream(0)?;
    if let Device::Cuda(card) = &device {
        // SAFETY: whatever lies on this device is allocated, used and freed in its one stream, whose order is all that events
        // would keep.
        unsafe { card.disable_event_tracking() };
    }
    Ok(device)
}

/// What the card is called, and what products are made of there.
pub(in super::super) fn name(device: &CudaDevice) -> Result<String> {
    let products = if splits(device)? { "TF32 \u{d7} 3" } else { "f32" };
    Ok(format!("{} \u{b7} {products}", device.cuda_stream().context().name().w()?))
}

/// Whether kernels of both kinds run there: a driver that is too old for them says so here.
pub(in super::super) fn check(device: &Device) -> Result<()> {
    let Some(card) = super::card(device, DType::F32) else { return Ok(()) };
    let window = Window { kernel: [1, 1], stride: 1, padding: Padding::VALID };
    let two = |shape: &[usize]| Tensor::full(2.0_f32, shape, device);
    // A thread makes few outputs alone, as any card can; more of them are made in tiles.
    for outputs in [1, 16] {
        let shape = Shape { window, channels: [1, outputs], sizes: [[1, 1], [1, 1]] };
        let (image, weights) = (two(&[1; 4])?, two(&[1, outputs])?);
        let four = Product::forward(shape, device)?.of(&image, &weights, Finish::default(), card)?;
        let values = four.flatten_all()?.to_vec1::<f32>()?;
        if values != vec![4.0; outputs] {
            return Err(Error::Msg(format!("2 x 2 is {values:?} by a kernel on it")));
        }
    }
    Ok(())
}

/// The device of the first tensor that is read.
fn device<'a>(call: &Call<'a>) -> Result<&'a CudaDevice> {
    let tensor = call.operands.iter().find_map(|operand| match operand {
        Operand::Read(tensor) | Operand::Within(tensor) => Some(*tensor),
        _ => None,
    });
    match tensor.map(Tensor::device) {
        Some(Device::Cuda(device)) => Ok(device),
        _ => Err(Error::Msg(format!("{} reads nothing on a CUDA card", call.kernel))),
    }
}

fn launch(call: &Call, device: &CudaDevice) -> Result<Vec<Tensor>> {
    let stream = device.cuda_stream();
    let outputs: Vec<(CudaStorage, u64)> =
        call.outputs.iter().map(|output| allocate(output, device, &stream)).collect::<Result<_>>()?;
    let mut addresses = Vec::with_capacity(call.operands.len());
    for operand in call.operands {
        addresses.push(match operand {
            Operand::Read(tensor) if !tensor.is_contiguous() => {
                return Err(Error::Msg(format!("{} reads what is not contiguous", call.kernel)));
            }
            Operand::Read(tensor) | Operand::Within(tensor) => address_of(tensor, &stream)?,
            Operand::Written(output) => outputs[*output].1,
            Operand::Nothing => 0,
        });
    }
    let arguments = call.arguments(&addresses)?;
    let is_split = SPLIT.iter().any(|tile| tile.kernel == call.kernel);
    let (module, ptx) = if is_split { TENSOR } else { KERNELS };
    let function = device.get_or_load_custom_func(call.kernel, module, ptx)?;
    let [across, down] = call.blocks;
    let grid = (u32::try_from(across).map_err(Error::wrap)?, u32::try_from(down).map_err(Error::wrap)?, 1);
    let size = LaunchConfig { grid_dim: grid, block_dim: (THREADS as u32, 1, 1), shared_mem_bytes: 0 };
    let mut builder = function.builder();
    builder.arg(&arguments);
    // SAFETY: the arguments are those of the kernel's struct; every pointer leads to as many values as its numbers say, on
    // this device, and lives until the stream has passed the kernel: candle frees in the same stream.
    unsafe { builder.launch(size) }.w()?;
    let tensor = |((storage, _), (shape, _)): ((CudaStorage, u64), &(candle_core::Shape, DType))| {
        Tensor::from_storage(Storage::Cuda(storage), shape.clone(), BackpropOp::none(), false)
    };
    Ok(outputs.into_iter().zip(call.outputs).map(tensor).collect())
}

/// Room for an output, and where it begins.
fn allocate(
    (shape, dtype): &(candle_core::Shape, DType),
    device: &CudaDevice,
    stream: &CudaStream,
) -> Result<(CudaStorage, u64)> {
    fn of<T: CudaDType + DeviceRepr>(
        count: usize,
        device: &CudaDevice,
        stream: &CudaStream,
    ) -> Result<(CudaStorage, u64)> {
        // SAFETY: every kernel writes all of its outputs; where it did not, tests would find the emulation's marks.
        let room: CudaSlice<T> = unsafe { device.alloc(count)? };
        let (address, _) = room.device_ptr(stream);
        Ok((CudaStorage::wrap_cuda_slice(room, device.clone()), address))
    }
    match dtype {
        DType::U8 => of::<u8>(shape.elem_count(), device, stream),
        DType::F32 => of::<f32>(shape.elem_count(), device, stream),
        other => Err(Error::Msg(format!("no kernel writes {other:?}"))),
    }
}

/// Where a tensor's values begin. Nothing needs to be told that they are read: all is done in one stream.
fn address_of(tensor: &Tensor, stream: &CudaStream) -> Result<u64> {
    fn of<T: CudaDType + DeviceRepr>(storage: &CudaStorage, first: usize, stream: &CudaStream) -> Result<u64> {
        let (address, _) = storage.as_cuda_slice::<T>()?.device_ptr(stream);
        Ok(address + (first * size_of::<T>()) as u64)
    }
    let (storage, layout) = tensor.storage_and_layout();
    let first = layout.start_offset();
    match &*storage {
        Storage::Cuda(storage) => match storage.dtype() {
            DType::U8 => of::<u8>(storage, first, stream),
            DType::U32 => of::<u32>(storage, first, stream),
            DType::F32 => of::<f32>(storage, first, stream),
            other => Err(Error::Msg(format!("no kernel reads {other:?}"))),
        },
        _ => Err(Error::Msg("a tensor is not on the card".to_owned())),
    }
}
