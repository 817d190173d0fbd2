//! A choice comes in; a [`Device`] that is there goes out, or why there is none.

use serde::{Deserialize, Serialize};

#[cfg(feature = "cuda")]
use super::candle::open_cuda;
#[cfg(any(feature = "cuda", feature = "metal"))]
use super::candle::words;
use super::{NnError, cpu};

/// Where networks run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// CUDA or Metal where built in and present, else CPU.
    #[default]
    Auto,
    /// Own kernels.
    Cpu,
    /// An NVIDIA card through candle.
    Cuda,
    /// An Apple GPU through candle.
    Metal,
}

/// A device that is there.
#[derive(Clone, Debug)]
pub struct Device {
    /// What the person reads: `CPU · AVX2`, `NVIDIA H200 · TF32 × 3`.
    pub label: String,
    /// What was asked for and could not be had, in words; said once, on the status line and on stderr.
    pub fallback: Option<String>,
    /// What candle calls it; `None` is the CPU through own kernels.
    pub candle: Option<candle_core::Device>,
}

impl Device {
    /// Opens the device asked for; `Auto` finds one unless `DIARET_ISA` is wrong, another that is missing is an error that
    /// says why.
    pub fn open(choice: DeviceChoice) -> Result<Self, NnError> {
        match choice {
            DeviceChoice::Cpu => Self::cpu(),
            DeviceChoice::Cuda => Self::cuda().map_err(NnError::NoDevice),
            DeviceChoice::Metal => Self::metal().map_err(NnError::NoDevice),
            DeviceChoice::Auto => Self::best(),
        }
    }

    /// Own kernels on this processor.
    fn cpu() -> Result<Self, NnError> {
        let label = format!("CPU \u{b7} {}", cpu::instruction_set()?);
        Ok(Self { label, fallback: None, candle: None })
    }

    /// A card where one is built in and present, else the CPU; a card that is built in and missing is the fallback's reason.
    fn best() -> Result<Self, NnError> {
        let mut reasons = Vec::new();
        for (built_in, open) in [
            (cfg!(feature = "cuda"), Self::cuda as fn() -> Result<Self, String>),
            (cfg!(feature = "metal"), Self::metal),
        ] {
            match built_in.then(open) {
                Some(Ok(device)) => return Ok(device),
                Some(Err(reason)) => reasons.push(reason),
                None => {}
            }
        }
        let fallback = (!reasons.is_empty()).then(|| reasons.join("; "));
        Ok(Self { fallback, ..Self::cpu()? })
    }

    #[cfg(feature = "cuda")]
    fn cuda() -> Result<Self, String> {
        let (device, label) = open_cuda().and_then(|(device, label)| Ok((tried(device)?, label))).map_err(|error| {
            let why = words(&error);
            format!("no CUDA device ({why}); it takes an NVIDIA card and driver, cuBLAS and cuRAND (packaging/cuda says which)")
        })?;
        Ok(Self { label, fallback: None, candle: Some(device) })
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda() -> Result<Self, String> {
        Err("this program was built without CUDA; build it with `--features cuda` (packaging/cuda)".to_owned())
    }

    #[cfg(feature = "metal")]
    fn metal() -> Result<Self, String> {
        // candle takes the first of a list that is empty where there is no such device, which panics.
        let device = std::panic::catch_unwind(|| candle_core::Device::new_metal(0))
            .map_err(|_| "no Metal device (there is none)".to_owned())?
            .and_then(tried)
            .map_err(|error| format!("no Metal device ({})", words(&error)))?;
        Ok(Self { label: "Metal \u{b7} f32".to_owned(), fallback: None, candle: Some(device) })
    }

    #[cfg(not(feature = "metal"))]
    fn metal() -> Result<Self, String> {
        Err("this program was built without Metal; build it on a Mac with `--features metal`".to_owned())
    }
}

/// Hands back a device that can compute: a kernel that was built for another card, an old driver or a missing library comes
/// out here, where there is still a way back to the CPU, and not at the first photograph.
#[cfg(any(feature = "cuda", feature = "metal"))]
fn tried(device: candle_core::Device) -> candle_core::Result<candle_core::Device> {
    let two = candle_core::Tensor::full(2.0_f32, (1, 1), &device)?;
    match (two.matmul(&two)? + &two)?.to_vec2::<f32>()?.as_slice() {
        [row] if row == &[6.0] => Ok(device),
        wrong => Err(candle_core::Error::Msg(format!("2 x 2 + 2 is {wrong:?} on it"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_always_finds_a_device_and_says_which() {
        let device = Device::open(DeviceChoice::Auto).unwrap();
        assert!(!device.label.is_empty());
        if !cfg!(any(feature = "cuda", feature = "metal")) {
            assert_eq!(device.label, format!("CPU \u{b7} {}", cpu::instruction_set().unwrap()));
            assert_eq!(device.fallback, None);
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_built_in_is_an_error_that_says_so() {
        let error = Device::open(DeviceChoice::Cuda).unwrap_err().to_string();
        assert!(error.contains("built without CUDA"), "{error}");
    }
}
