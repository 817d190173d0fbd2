//! With the feature `cuda`: compiles `src/nn/candle/cuda/kernels.cu` to PTX, with the compiler that candle's kernels need as well.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Turing, the oldest that CUDA 13 knows; such PTX runs on every later card.
const ARCHITECTURE: &str = "-arch=compute_75";
const FOLDER: &str = "src/nn/candle/cuda";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FOLDER}");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let compiler = env::var_os("CUDA_HOME").map_or_else(|| "nvcc".into(), |home| PathBuf::from(home).join("bin/nvcc"));
    let to = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to")).join("kernels.ptx");
    let run = Command::new(&compiler)
        .args(["-ptx", "-O3", ARCHITECTURE, "-o"])
        .arg(to)
        .arg(format!("{FOLDER}/kernels.cu"))
        .status();
    match run {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} ended with {status}", compiler.display()),
        Err(error) => panic!("{} cannot be run ({error}): packaging/cuda says how to get it", compiler.display()),
    }
}
