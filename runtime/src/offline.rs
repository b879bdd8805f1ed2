//! Kernels to PTX without a device and without a CUDA toolkit.

use crate::kernels::{self, Target, Work};
use cubecl::prelude::*;
use cubecl_core::{
    Compiler,
    ir::{
        AddressType, DeviceIdentity, HardwareProperties, MemoryDeviceProperties, TargetProperties, features::Features,
        nvidia::SmArch,
    },
    profile::TimingMethod,
};
use cubecl_llvm::{LlvmTarget, PlironArtifact, PlironCompiler, PlironOptions, nvptx::ptx_version::PtxVersion};
use cubecl_runtime::kernel::CubeKernel;
use cubecl_server::runtime::Runtime;
use std::{ffi::CStr, sync::Arc};
use swint_compiler::plan::Plan;

/// A CUDA target by its compute capability.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sm(u32);

impl Sm {
    /// The targets that swint compiles for, by name.
    pub const NAMES: [&str; 2] = ["sm_89", "sm_90"];

    /// The target of a name.
    ///
    /// # Errors
    /// When there is no such target; the message lists those there are.
    pub fn from_name(name: &str) -> Result<Sm, String> {
        match name.strip_prefix("sm_").filter(|_| Sm::NAMES.contains(&name)).map(str::parse) {
            Some(Ok(number)) => Ok(Sm(number)),
            _ => Err(format!("unknown target {name:?}; there are {}", Sm::NAMES.join(", "))),
        }
    }
}

/// A kernel's machine-independent assembly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ptx {
    /// Name of the entry.
    pub entry: String,
    /// The text.
    pub text: String,
}

/// What [`Target::Offline`] compiles with, and what came of it.
pub(crate) struct Offline {
    sm: Sm,
    properties: Arc<DeviceProperties>,
    target: Arc<TargetProperties>,
    result: Option<Result<Ptx, String>>,
}

impl Offline {
    fn new(sm: Sm) -> Offline {
        let target = Arc::new(<cubecl::cuda::CudaRuntime as Runtime>::target_properties());
        Offline { sm, properties: device_properties(), target, result: None }
    }

    /// What a kernel is made with, for cubes of `units`.
    pub(crate) fn environment(&self, units: u32) -> (KernelSettings, Arc<DeviceProperties>, Arc<TargetProperties>) {
        let settings = KernelSettings::new(*CubeDim::new_1d(units), ExecutionMode::Unchecked, AddressType::U32);
        (settings, self.properties.clone(), self.target.clone())
    }

    /// Compiles a kernel.
    pub(crate) fn add(&mut self, kernel: impl CubeKernel) {
        let mut compiler = PlironCompiler { target: LlvmTarget::Nvptx };
        let options = PlironOptions {
            sm_arch: Some(SmArch::new(self.sm.0, false)),
            ptx_version: PtxVersion::for_driver(12080),
            grid_constants: true,
            ..Default::default()
        };
        self.result = Some(match compiler.compile(kernel.define(), &options) {
            Ok(PlironArtifact::NvptxCode(module)) => {
                // SAFETY: the module's PTX is NUL-terminated.
                let text = unsafe { CStr::from_ptr(module.ptx.as_ptr()) }.to_string_lossy().into_owned();
                Ok(Ptx { entry: module.entrypoint.clone(), text })
            }
            Ok(_) => Err("the NVPTX target gave no PTX".to_owned()),
            Err(error) => Err(format!("{error:?}")),
        });
    }
}

/// Compiles every kernel of a plan. Specifications that differ only in what is an argument of the code share it, so there
/// may be fewer kernels than [`Plan::kernels`] lists.
///
/// # Errors
/// At the first kernel that does not compile, by name.
pub fn compile(plan: &Plan, sm: Sm) -> Result<Vec<Ptx>, String> {
    let mut all: Vec<Ptx> = Vec::new();
    for kernel in plan.kernels() {
        let mut offline = Offline::new(sm);
        // Extents that shape code are in the specification; the number of items is an argument.
        kernels::dispatch(kernel, 1, Work::gpu(), Target::Offline(&mut offline));
        let ptx = offline.result.expect("dispatch compiles one kernel").map_err(|e| format!("{kernel}: {e}"))?;
        match all.iter().find(|known| known.entry == ptx.entry) {
            None => all.push(ptx),
            Some(known) if *known == ptx => {}
            Some(_) => return Err(format!("{kernel}: another kernel has the entry {}, too", ptx.entry)),
        }
    }
    Ok(all)
}

/// A device as the compiler must see it; nothing here asks a driver.
fn device_properties() -> Arc<DeviceProperties> {
    let hardware = HardwareProperties {
        load_width: 128,
        vector_register_count: None,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 32,
        max_shared_memory_size: 99 * 1024,
        max_cube_count: (i32::MAX as u32, 65535, 65535),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 64),
        num_streaming_multiprocessors: None,
        num_tensor_cores: None,
        min_tensor_cores_dim: None,
        num_cpu_cores: None,
        last_level_cache_size: None,
        max_vector_size: VectorSize::MAX,
        cube_mma_reserved_shared_memory: 0,
    };
    let name = "offline".to_owned();
    let identity = DeviceIdentity { name: name.clone(), fingerprint: name, physical: None };
    let memory = MemoryDeviceProperties::new(u64::MAX, 256);
    Arc::new(DeviceProperties::new(Features::default(), memory, hardware, TimingMethod::Device, identity))
}
