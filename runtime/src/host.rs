//! Kernels compiled for this processor, by cubecl's compiler and without its runtime.

use crate::{
    kernels::{self, Record, Target, Work},
    offline::Call,
};
use cubecl::prelude::*;
use cubecl_core::{
    Compiler,
    ir::{
        AddressType, DeviceIdentity, HardwareProperties, MemoryDeviceProperties, TargetProperties, features::Features,
    },
    profile::TimingMethod,
};
use cubecl_llvm::{LlvmTarget, PlironArtifact, PlironCompiler, PlironEngine, PlironOptions};
use cubecl_runtime::{id::KernelId, kernel::CubeKernel};
use rayon::prelude::*;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};
use swint_compiler::plan::Launch;

/// Bytes to whose multiples buffers are aligned: those of the longest vector.
pub(crate) const ALIGNMENT: usize = 64;

/// Kernels that this process has compiled. Sessions share them: one of another batch has many in common.
static COMPILED: LazyLock<Mutex<HashMap<KernelId, PlironEngine>>> = LazyLock::new(Mutex::default);

/// What [`Target::Host`] compiles with, and what came of it.
pub(crate) struct Host {
    properties: Arc<DeviceProperties>,
    result: Option<Result<(PlironEngine, Call), String>>,
}

impl Host {
    pub(crate) fn new() -> Host {
        Host { properties: device_properties(), result: None }
    }

    /// Compiles the kernels of launches that are not yet, on all cores.
    ///
    /// # Errors
    /// At the first kernel that does not compile, by name.
    pub(crate) fn compile_all(launches: &[Launch]) -> Result<(), String> {
        let mut seen = HashSet::new();
        let key = |launch: &Launch| (launch.kernel.clone(), launch.blueprint);
        let different: Vec<&Launch> = launches.iter().filter(|launch| seen.insert(key(launch))).collect();
        different.par_iter().try_for_each(|launch| Host::new().kernel(launch).map(|_| ()))
    }

    /// The kernel of a launch, and how it is called.
    ///
    /// # Errors
    /// When it does not compile, by name.
    pub(crate) fn kernel(&mut self, launch: &Launch) -> Result<(PlironEngine, Call), String> {
        kernels::dispatch(launch, Work::cpu(), Target::Host(self));
        self.result.take().expect("dispatch compiles one kernel").map_err(|e| format!("{}: {e}", launch.kernel))
    }

    fn compile(kernel: impl CubeKernel) -> Result<PlironEngine, String> {
        let mut compiler = PlironCompiler { target: LlvmTarget::Cpu };
        let options = PlironOptions { cpu_buffer_alignment: Some(ALIGNMENT as u32), ..Default::default() };
        match compiler.compile(kernel.define(), &options) {
            Ok(PlironArtifact::Jit(engine)) if !engine.requirements().needs_parallelism => Ok(engine),
            Ok(PlironArtifact::Jit(_)) => Err("it has a barrier, and its units run one after the other".to_owned()),
            Ok(_) => Err("the processor's target gave no code".to_owned()),
            Err(error) => Err(format!("{error:?}")),
        }
    }
}

impl Record for Host {
    fn environment(&self, units: u32) -> (KernelSettings, Arc<DeviceProperties>, Arc<TargetProperties>) {
        let settings = KernelSettings::new(*CubeDim::new_1d(units), ExecutionMode::Unchecked, AddressType::U32);
        (settings, self.properties.clone(), Arc::new(TargetProperties { mma: Default::default() }))
    }

    fn add(&mut self, kernel: impl CubeKernel, call: Call) {
        let all = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        let id = kernel.id();
        let known = all().get(&id).cloned();
        let compiled = match known {
            Some(engine) => Ok(engine),
            // Others compile theirs meanwhile.
            None => Host::compile(kernel).inspect(|engine| {
                all().insert(id, engine.clone());
            }),
        };
        self.result = Some(compiled.map(|engine| (engine, call)));
    }
}

/// A processor as the compiler must see it: a unit is a plane of its own.
fn device_properties() -> Arc<DeviceProperties> {
    let units = Work::cpu().units() as u32;
    let hardware = HardwareProperties {
        load_width: 512,
        vector_register_count: None,
        plane_size_min: 1,
        plane_size_max: 1,
        max_bindings: u32::MAX,
        max_shared_memory_size: 0,
        max_cube_count: (u32::MAX, 1, 1),
        max_units_per_cube: units,
        max_cube_dim: (units, 1, 1),
        num_streaming_multiprocessors: None,
        num_tensor_cores: None,
        min_tensor_cores_dim: None,
        num_cpu_cores: None,
        last_level_cache_size: None,
        max_vector_size: VectorSize::MAX,
        cube_mma_reserved_shared_memory: 0,
    };
    let name = "host".to_owned();
    let identity = DeviceIdentity { name: name.clone(), fingerprint: name, physical: None };
    let memory = MemoryDeviceProperties::new(u64::MAX, ALIGNMENT as u64);
    let features = Features { unaligned_io: true, ..Default::default() };
    Arc::new(DeviceProperties::new(features, memory, hardware, TimingMethod::System, identity))
}
