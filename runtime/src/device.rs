//! Devices.

use std::{fmt, num::NonZero, thread};
use swint_compiler::plan::Machine;

/// Where a plan runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// The processor's cores.
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
}

/// There is no such device.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no device {device}: {reason}")]
pub struct NoDevice {
    device: Device,
    reason: String,
}

impl NoDevice {
    pub(crate) fn new(device: Device, reason: String) -> NoDevice {
        NoDevice { device, reason }
    }
}

/// Cores that may be used.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The processor of this machine, as plans are made for it.
pub fn processor() -> Machine {
    Machine::Cpu { cores: cores(), quads: quads(), tables: tables() }
}

/// Lanes of the vectors to whose lanes the processor can add four products of bytes at once: 0 where it has no such instruction.
#[cfg(target_arch = "x86_64")]
fn quads() -> usize {
    if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") {
        16
    } else if is_x86_feature_detected!("avxvnni") {
        8
    } else {
        0
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn quads() -> usize {
    0
}

/// Whether the processor looks up bytes in tables that are in registers.
#[cfg(target_arch = "x86_64")]
fn tables() -> bool {
    is_x86_feature_detected!("avx512vbmi")
}

#[cfg(not(target_arch = "x86_64"))]
fn tables() -> bool {
    false
}

impl Device {
    /// Bytes of memory that are free, where the system says so.
    pub(crate) fn available_memory(self) -> Option<u64> {
        let Device::Cpu = self else { return None };
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}
