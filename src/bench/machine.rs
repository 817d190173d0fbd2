//! What a figure was measured on, and how much memory this process took at most. Linux tells; elsewhere less is known.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's own name for itself.
    pub processor: String,
    /// Which one it is, where its name hides that: `family 25, model 1`.
    #[serde(default)]
    pub model: Option<String>,
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
            model: model(),
            device: device.to_owned(),
            threads: rayon::current_num_threads(),
            memory: field("/proc/meminfo", "MemTotal").as_deref().and_then(bytes),
            load_before: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split_whitespace().next()?.parse().ok()),
        }
    }

    /// What tells it from another: figures of machines of one kind may stand in one table.
    pub fn kind(&self) -> impl PartialEq + Serialize {
        (self.processor.clone(), self.model.clone(), self.device.clone(), self.threads)
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

fn model() -> Option<String> {
    let [family, model] = ["cpu family", "model"].map(|name| field("/proc/cpuinfo", name));
    Some(format!("family {}, model {}", family?, model?))
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
