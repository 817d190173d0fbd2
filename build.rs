//! With the feature `cuda`: compiles the kernels of `src/nn/candle/cuda` to PTX, with the compiler that candle's kernels need as well.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = "src/nn/candle/cuda";
/// Files and the cards that they are for: PTX runs on every later one. Turing is the oldest that CUDA 13 knows; Ampere's tensor cores
/// are the first that take TF32, and what Hopper's take (`90a`) no other card does.
const KERNELS: [(&str, &str); 3] = [("kernels", "compute_75"), ("tensor", "compute_80"), ("hopper", "compute_90a")];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FOLDER}");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let compiler = env::var_os("CUDA_HOME").map_or_else(|| "nvcc".into(), |home| PathBuf::from(home).join("bin/nvcc"));
    let to = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to"));
    KERNELS.iter().for_each(|kernels| compile(&compiler, &to, *kernels));
}

fn compile(compiler: &Path, to: &Path, (name, architecture): (&str, &str)) {
    let run = Command::new(compiler)
        .args(["-ptx", "-O3", &format!("-arch={architecture}"), "-o"])
        .arg(to.join(format!("{name}.ptx")))
        .arg(format!("{FOLDER}/{name}.cu"))
        .status();
    match run {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} ended with {status}", compiler.display()),
        Err(error) => panic!("{} cannot be run ({error}): packaging/cuda says how to get it", compiler.display()),
    }
}
