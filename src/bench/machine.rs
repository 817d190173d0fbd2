//! What a figure was measured on, and how much memory this process took at most. Linux tells; elsewhere less is known.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's own name for itself.
    pub processor: String,
    /// The device that networks ran on, with its instruction set.
    pub device: String,
    /// Threads that can run at once.
    pub threads: usize,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// How many threads wanted to run, on average over the minute before: near 0 on a quiet machine.
    pub load_before: Option<f64>,
}

impl Machine {
    /// This machine, now.
    pub fn here(device: &str) -> Self {
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            device: device.to_owned(),
            threads: rayon::current_num_threads(),
            memory: field("/proc/meminfo", "MemTotal").as_deref().and_then(bytes),
            load_before: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split_whitespace().next()?.parse().ok()),
        }
    }
}

/// Lets the peak begin anew at what is taken now, where the system can.
pub fn reset_peak() {
    // What cannot be reset is still an upper bound.
    fs::write("/proc/self/clear_refs", "5").ok();
}

/// The most bytes that were resident since [`reset_peak`] (`VmHWM`).
pub fn peak_bytes() -> Option<u64> {
    field("/proc/self/status", "VmHWM").as_deref().and_then(bytes)
}

/// The value of the first line `name: value`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))?.1;
    Some(value.trim().to_owned())
}

/// `1234 kB` as bytes.
fn bytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_kibibytes() {
        assert_eq!(bytes("1234 kB"), Some(1234 * 1024));
        assert_eq!(bytes("1234"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_sees_what_was_taken_and_given_back() {
        let block = std::hint::black_box(vec![1u8; 256 << 20]);
        drop(block);
        assert!(peak_bytes().expect("Linux tells") >= 256 << 20, "the peak stays");
        assert!(Machine::here("CPU").memory.is_some_and(|memory| memory > 256 << 20));
    }
}
