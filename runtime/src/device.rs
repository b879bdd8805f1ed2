//! Devices: finding one, and saying clearly when there is none.

use crate::kernels::Work;
use cubecl::prelude::Client;
use std::fmt;
use swint_compiler::plan::Machine;

/// Where a plan runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// The processor's cores, by cubecl's embedded JIT.
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

/// The processor of this machine, as plans are made for it.
pub fn processor() -> Machine {
    Machine::Cpu { cores: Work::cpu().units(), quads: quads(), tables: tables() }
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
    /// Opens the device. Asks whether it is there first: a missing driver is an error, not a panic.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(self) -> Result<Client, NoDevice> {
        let found = match self {
            Device::Cpu => cubecl::Device::cpu(),
            Device::Cuda(index) => cubecl::Device::cuda(index),
        };
        found.map(|device| device.client()).map_err(|error| {
            let reason = match self {
                Device::Cpu => format!("{error:?}"),
                Device::Cuda(_) => "no NVIDIA driver (libcuda) was found, or no GPU has this number".to_owned(),
            };
            NoDevice { device: self, reason }
        })
    }

    /// Bytes of memory that are free, where the system says so.
    pub(crate) fn available_memory(self) -> Option<u64> {
        let Device::Cpu = self else { return None };
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    }

    /// How many launches to queue before waiting for them; `None` where the driver's own queue is best.
    ///
    /// cubecl's CPU runtime takes launches through a queue of 32. A client that fills it spins, and the core on which it
    /// spins is one that the kernels need: waiting at half the queue made an inference of 249 launches on two cores 24
    /// times faster (88 ms to 3.7 ms).
    pub(crate) fn flush_after(self) -> Option<usize> {
        match self {
            Device::Cpu => Some(16),
            Device::Cuda(_) => None,
        }
    }

    /// How work is spread over it.
    pub(crate) fn work(self) -> Work {
        match self {
            Device::Cpu => Work::cpu(),
            Device::Cuda(_) => Work::gpu(),
        }
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
