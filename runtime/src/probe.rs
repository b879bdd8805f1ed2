//! What NVIDIA's driver says of itself and of its devices. No context is made, and nothing is allocated.

use crate::{
    backend::TIMES_FROM,
    offline::{PTX_FOR, Sm},
};
use cudarc::driver::{
    DriverError,
    result::device,
    sys::{self, CUdevice_attribute},
};
use serde::{Deserialize, Serialize};

/// A driver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Driver {
    /// The CUDA version that it is of, as it says it: 12080 is 12.8.
    pub version: i32,
    /// Its devices, or why it has none.
    pub devices: Result<Vec<Gpu>, String>,
}

/// A GPU.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Its compute capability.
    pub capability: (i32, i32),
    /// What kernels for it are compiled for; `None` where it has no int8 tensor cores.
    pub target: Option<String>,
    /// Its multiprocessors.
    pub processors: i32,
    /// Bytes of its memory.
    pub memory: u64,
}

impl Driver {
    /// Whether it reads the kernels.
    pub fn runs(&self) -> bool {
        self.version >= PTX_FOR
    }

    /// Whether its events can be compared: `swint tune` needs that.
    pub fn times(&self) -> bool {
        self.version >= TIMES_FROM
    }
}

/// The driver; `None` where there is no libcuda.
///
/// # Errors
/// What the driver says, where it does not even say its version.
///
/// # Panics
/// When what calls itself libcuda has not the driver's functions. It may also end the process: ask in one of its own.
pub fn driver() -> Result<Option<Driver>, String> {
    // SAFETY: it only looks whether the driver's library can be opened.
    if !unsafe { sys::is_culib_present() } {
        return Ok(None);
    }
    let mut version = 0;
    // SAFETY: the driver writes one number.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(said)?;
    Ok(Some(Driver { version, devices: devices().map_err(said) }))
}

fn said(error: DriverError) -> String {
    format!("the driver says {error}")
}

fn devices() -> Result<Vec<Gpu>, DriverError> {
    cudarc::driver::result::init()?;
    (0..device::get_count()?).map(gpu).collect()
}

fn gpu(number: i32) -> Result<Gpu, DriverError> {
    let device = device::get(number)?;
    // SAFETY: the device is one that the driver has just given.
    let attribute = |attribute| unsafe { device::get_attribute(device, attribute) };
    let major = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok(Gpu {
        name: device::get_name(device)?,
        capability: (major, minor),
        target: Sm::of_device(major, minor).map(|sm| sm.to_string()),
        processors: attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        // SAFETY: as above.
        memory: unsafe { device::total_mem(device) }? as u64,
    })
}
