//! Calls come in; kernels run on the device of their tensors, which is candle's, in its stream.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, sys,
};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Error, Result, Storage, Tensor};

use super::convolution::{Finish, HOPPER, LAY_OUT, PLAIN, Product, SPLIT, Shape, Tiling};
use super::{Arguments, Call, Card, Operand, THREADS};
use crate::nn::graph::{Padding, Window};

/// Kernels in PTX, by the name that candle keeps them under: for every card from Turing on, for tensor cores from Ampere on, and for
/// those of Hopper.
const KERNELS: (&str, &str) = ("diaret", include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx")));
const TENSOR: (&str, &str) = ("diaret-tensor", include_str!(concat!(env!("OUT_DIR"), "/tensor.ptx")));
const HOPPERS: (&str, &str) = ("diaret-hopper", include_str!(concat!(env!("OUT_DIR"), "/hopper.ptx")));
/// The first compute capability whose tensor cores take TF32, and the only one that has Hopper's.
const AMPERE: i32 = 8;
const HOPPER_ALONE: i32 = 9;
/// Asks for one kind of products.
const ASKED: &str = "DIARET_CUDA";

/// A CUDA card that candle has opened, with one kind of convolutions.
#[derive(Debug)]
pub(in super::super) struct Cuda {
    tiling: &'static Tiling,
}

/// By products of f32, and by three of TF32 each.
static OF_F32: Cuda = Cuda { tiling: &PLAIN };
static OF_AMPERE: Cuda = Cuda { tiling: &SPLIT };
static OF_HOPPER: Cuda = Cuda { tiling: &HOPPER };

/// The card of a device.
pub(super) fn card(device: &CudaDevice) -> &'static dyn Card {
    asked(device).unwrap_or(&OF_F32)
}

/// All kinds of convolutions that a device can make, the fastest last.
pub(in super::super) fn cards(device: &CudaDevice) -> Result<Vec<&'static Cuda>> {
    let major = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
    let major = device.cuda_stream().context().attribute(major).w()?;
    let mut cards = vec![&OF_F32];
    cards.extend((major >= AMPERE).then_some(&OF_AMPERE));
    cards.extend((major == HOPPER_ALONE).then_some(&OF_HOPPER));
    Ok(cards)
}

/// The fastest that a device has, unless another one is asked for.
fn asked(device: &CudaDevice) -> Result<&'static Cuda> {
    let cards = cards(device)?;
    let asked = std::env::var_os(ASKED);
    let wanted = match asked.as_ref().map(|asked| asked.to_string_lossy()).as_deref() {
        None => cards.last(),
        Some("f32") => cards.first(),
        Some("tf32x3-ampere") => cards.get(1),
        Some("tf32x3") => cards.get(1..).and_then(<[_]>::last),
        Some(other) => return Err(Error::Msg(format!("{ASKED} is {other}: it takes f32, tf32x3 or tf32x3-ampere"))),
    };
    let missing = || Error::Msg(format!("{ASKED} asks for TF32, which cards have from Ampere on"));
    wanted.copied().ok_or_else(missing)
}

// SAFETY: plain integers, laid out as in C, that a kernel takes by value.
unsafe impl DeviceRepr for Arguments {}

impl Card for Cuda {
    fn run(&self, call: &Call) -> Result<Vec<Tensor>> {
        launch(call, device(call)?)
    }

    fn tiling(&self) -> &'static Tiling {
        self.tiling
    }
}

/// Opens the first card.
///
/// Memory that a pass has freed is kept for the next one, up to a quarter of the card's: by itself the driver would take it back at
/// every wait for a result, and map it anew. A driver that cannot keep it is only slower.
///
/// All threads share one stream. With candle's usual one for each thread nothing would order them: a worker could read weights that
/// another thread still copies, and two products at once would share one cuBLAS workspace.
pub(in super::super) fn open() -> Result<Device> {
    let device = Device::new_cuda_with_stream(0)?;
    if let Device::Cuda(card) = &device {
        // SAFETY: whatever lies on this device is allocated, used and freed in its one stream, whose order is all that events
        // would keep.
        unsafe { card.disable_event_tracking() };
        keep_memory(card).ok();
    }
    Ok(device)
}

fn keep_memory(device: &CudaDevice) -> Result<()> {
    let stream = device.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(());
    }
    let (_, whole) = context.mem_get_info().w()?;
    let mut kept = whole as u64 / 4;
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    let mut pool = std::ptr::null_mut();
    // SAFETY: the device is open; the pool is its own and lives as long as it; the attribute is one number of 64 bits.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device()).result().w()?;
        sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut kept).cast()).result().w()
    }
}

/// What the card is called, and what products are made of there.
pub(in super::super) fn name(device: &CudaDevice) -> Result<String> {
    let products = if *asked(device)?.tiling == PLAIN { "f32" } else { "TF32 \u{d7} 3" };
    Ok(format!("{} \u{b7} {products}", device.cuda_stream().context().name().w()?))
}

/// Whether its kernels run there, those of every card and those that it has convolutions by: a driver that is too old for them says so
/// here.
pub(in super::super) fn check(device: &Device) -> Result<()> {
    let Some(card) = super::card(device, DType::F32) else { return Ok(()) };
    let window = Window { kernel: [1, 1], stride: 1, padding: Padding::VALID };
    let two = |shape: &[usize]| Tensor::full(2.0_f32, shape, device);
    // A thread makes few outputs alone, as any card can; more of them are made in tiles.
    for outputs in [1, 16] {
        let shape = Shape { window, channels: [1, outputs], sizes: [[1, 1], [1, 1]] };
        let (image, weights) = (two(&[1; 4])?, two(&[1, 1, outputs])?);
        let product = Product::forward(shape, device, card)?;
        let four = product.of(&image, &product.weights(&weights, card)?, Finish::default(), card)?;
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
    let slabs = HOPPER.tile_of(call.kernel).map(slabs);
    let (module, ptx) = match call.kernel {
        kernel if slabs.is_some() || kernel == LAY_OUT => HOPPERS,
        kernel if SPLIT.tile_of(kernel).is_some() => TENSOR,
        _ => KERNELS,
    };
    let function = device.get_or_load_custom_func(call.kernel, module, ptx)?;
    if let Some(slabs) = slabs {
        let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(most, slabs.cast_signed()).w()?;
    }
    let [across, down] = call.blocks;
    let grid = (u32::try_from(across).map_err(Error::wrap)?, u32::try_from(down).map_err(Error::wrap)?, 1);
    let size = LaunchConfig { grid_dim: grid, block_dim: (THREADS as u32, 1, 1), shared_mem_bytes: slabs.unwrap_or(0) };
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

/// Bytes of shared memory of a block by Hopper's kernels: two slabs of 16 of its pixels in two parts, and in their place its sums.
fn slabs([outputs, pixels]: [usize; 2]) -> u32 {
    let (slabs, sums) = (2 * 16 * pixels * 2, outputs * (pixels + 8));
    (slabs.max(sums) * size_of::<f32>()) as u32
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
