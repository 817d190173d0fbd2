//! A choice comes in; a [`Device`] that is there goes out, or why there is none.

use serde::{Deserialize, Serialize};

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
    /// What the person reads: `CPU · AVX2`.
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
        // candle pins its matrix products to full f32 unless asked otherwise; TF32 would be too coarse for a map.
        let device = candle_core::Device::new_cuda(0).map_err(|error| format!("no CUDA device ({error})"))?;
        Ok(Self { label: "CUDA \u{b7} f32".to_owned(), fallback: None, candle: Some(device) })
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda() -> Result<Self, String> {
        Err("this program was built without CUDA; build it with `--features cuda` (packaging/cuda)".to_owned())
    }

    #[cfg(feature = "metal")]
    fn metal() -> Result<Self, String> {
        let device = candle_core::Device::new_metal(0).map_err(|error| format!("no Metal device ({error})"))?;
        Ok(Self { label: "Metal \u{b7} f32".to_owned(), fallback: None, candle: Some(device) })
    }

    #[cfg(not(feature = "metal"))]
    fn metal() -> Result<Self, String> {
        Err("this program was built without Metal; build it on a Mac with `--features metal`".to_owned())
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
