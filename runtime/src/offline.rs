//! Kernels to PTX without a device and without a CUDA toolkit.

use crate::{
    kernels::{self, Record, Target, Work},
    ptx_cache, ptx_text,
};
use cubecl::prelude::*;
use cubecl_core::{
    Compiler, InfoBuilder, ScalarBuilder,
    ir::{
        AddressType, DeviceIdentity, HardwareProperties, MemoryDeviceProperties, TargetProperties,
        features::{Features, MmaConfig},
        nvidia::SmArch,
    },
    profile::TimingMethod,
};
use cubecl_llvm::{LlvmTarget, PlironArtifact, PlironCompiler, PlironOptions, nvptx::ptx_version::PtxVersion};
use cubecl_runtime::{id::KernelId, kernel::CubeKernel};
use cubecl_server::runtime::Runtime;
use rayon::prelude::*;
use std::{
    collections::{HashMap, HashSet},
    ffi::CStr,
    fmt,
    sync::Arc,
};
use swint_compiler::plan::{Blueprint, Buffer, Launch, Machine, ON_CHIP, OVERLAPPING, Plan};

/// A CUDA target by its compute capability.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sm(u32);

impl Sm {
    /// The targets that swint compiles for, by name.
    pub const NAMES: [&str; 3] = ["sm_89", "sm_90", "sm_80"];

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

impl Sm {
    /// What kernels for a device of a compute capability are compiled for: `None` where there are no int8 tensor cores. PTX of a
    /// target serves later devices, but that of 9.0, which has instructions of its own.
    pub(crate) fn of_device(major: i32, minor: i32) -> Option<Sm> {
        match (major, minor) {
            (9, 0) => Some(Sm(90)),
            (8, 0..=8) => Some(Sm(80)),
            _ if (major, minor) >= (8, 9) => Some(Sm(89)),
            _ => None,
        }
    }

    /// Whether a launch of so many cubes starts before the one before it has completed, where the target can do that.
    fn overlaps(self, cubes: u32) -> bool {
        let Machine::Cuda { processors } = self.machine() else { return false };
        self.0 == 90 && cubes as usize <= OVERLAPPING * processors
    }

    /// What plans are made for: the GPU that [`swint_compiler::egraph::Target`] of the same name describes.
    pub fn machine(self) -> Machine {
        let processors = match self.0 {
            80 => 108,
            90 => 132,
            _ => 128,
        };
        Machine::Cuda { processors }
    }
}

impl fmt::Display for Sm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}", self.0)
    }
}

/// The oldest driver that reads the kernels' PTX, as a driver says its version: that of CUDA 12.0.
pub(crate) const PTX_FOR: i32 = 12000;

/// A kernel's machine-independent assembly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ptx {
    /// Name of the entry.
    pub entry: String,
    /// The text.
    pub text: String,
    /// Bytes of shared memory that a cube is launched with.
    pub shared: usize,
}

/// How a kernel is called: what [`crate::kernels::dispatch`] would launch it with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    /// Its buffers, by their places among the specification's.
    pub buffers: Vec<usize>,
    /// The bytes of its last parameter: scalars, then the buffers' lengths.
    pub info: Vec<u8>,
    /// Cubes.
    pub cubes: u32,
    /// Units of a cube.
    pub units: u32,
    /// Whether the launch may overlap the one before.
    pub overlaps: bool,
}

impl Call {
    pub(crate) fn new(buffers: &[usize], scalars: ScalarBuilder, count: CubeCount, dim: CubeDim) -> Call {
        let mut info = InfoBuilder { scalars, ..InfoBuilder::default() };
        // No kernel asks for a length; one that did would find the largest, and run out of bounds.
        buffers.iter().for_each(|_| info.metadata.register_buffer(u32::MAX.into(), AddressType::U32));
        let info = info.finish(AddressType::U32).data.into_iter().flat_map(u64::to_le_bytes).collect();
        let CubeCount::Static(cubes, 1, 1) = count else { unreachable!("cubes are in a row") };
        Call { buffers: buffers.to_vec(), info, cubes, units: dim.num_elems(), overlaps: false }
    }
}

/// A kernel, and which of its buffers are constants, where its launches overlap.
type Variant = (KernelId, Option<Vec<bool>>);

/// What [`Target::Offline`] compiles with, and what came of it.
pub(crate) struct Offline {
    sm: Sm,
    properties: Arc<DeviceProperties>,
    target: Arc<TargetProperties>,
    /// Kernels, each by which of its buffers are constants, too, where its launches overlap.
    compiled: HashMap<Variant, Arc<Ptx>>,
    result: Option<Result<(Arc<Ptx>, Call), String>>,
    /// Whether the kernel at hand is made of whole warps.
    warps: bool,
    /// Blocks of it that a multiprocessor should have at a time.
    blocks: Option<usize>,
    /// Whether it has a loop that loads constants in every round, so that they need no registers between.
    reloads: bool,
    /// Which of its launch's inputs are constants.
    constants: Vec<bool>,
}

impl Offline {
    pub(crate) fn new(sm: Sm) -> Offline {
        let target = Arc::new(<cubecl::cuda::CudaRuntime as Runtime>::target_properties());
        Offline {
            sm,
            properties: device_properties(),
            target,
            compiled: HashMap::new(),
            result: None,
            warps: false,
            blocks: None,
            reloads: false,
            constants: Vec::new(),
        }
    }

    /// Finds a kernel in the cache, or compiles it.
    fn load_or_compile(&self, (id, constants): &Variant, kernel: impl CubeKernel) -> Result<Ptx, String> {
        let key = format!("{} ptx {PTX_FOR} overlaps with constants {constants:?} {}", self.sm, id.stable_format());
        if let Some(known) = ptx_cache::load(&key) {
            return Ok(known);
        }
        let compiled = self.compile(kernel, constants.as_deref())?;
        ptx_cache::store(&key, &compiled);
        Ok(compiled)
    }

    fn compile(&self, kernel: impl CubeKernel, constants: Option<&[bool]>) -> Result<Ptx, String> {
        let mut compiler = PlironCompiler { target: LlvmTarget::Nvptx };
        let options = PlironOptions {
            sm_arch: Some(SmArch::new(self.sm.0, false)),
            ptx_version: PtxVersion::for_driver(PTX_FOR),
            grid_constants: true,
            ..Default::default()
        };
        match compiler.compile(kernel.define(), &options) {
            Ok(PlironArtifact::NvptxCode(module)) => {
                // SAFETY: the module's PTX is NUL-terminated.
                let text = unsafe { CStr::from_ptr(module.ptx.as_ptr()) }.to_string_lossy().into_owned();
                let text = if self.warps { ptx_text::of_whole_warps(&text, self.blocks) } else { text };
                let text = if self.reloads { ptx_text::of_loads_in_loops(&text) } else { text };
                let (entry, shared) = (module.entrypoint.clone(), module.shared_memory_size);
                if shared > ON_CHIP {
                    return Err(format!("a cube takes {shared} bytes of shared memory, and GPUs have {ON_CHIP}"));
                }
                let kernel = Ptx { entry, text, shared };
                match constants {
                    Some(constants) => overlapping(kernel, constants),
                    None => Ok(kernel),
                }
            }
            Ok(_) => Err("the NVPTX target gave no PTX".to_owned()),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    /// Compiles the kernels of launches that are not yet, on all cores.
    ///
    /// # Errors
    /// At the first kernel that does not compile, by name.
    pub(crate) fn compile_all(&mut self, launches: &[Launch]) -> Result<(), String> {
        let mut seen = HashSet::new();
        let key = |launch: &Launch| (launch.kernel.clone(), launch.blueprint, launch.items, constants(launch));
        let different: Vec<&Launch> = launches.iter().filter(|launch| seen.insert(key(launch))).collect();
        let compile = |launch: &&Launch| {
            let mut offline = Offline::new(self.sm);
            offline.kernel(launch)?;
            Ok(offline.compiled)
        };
        let compiled: Vec<Result<HashMap<_, _>, String>> = different.par_iter().map(compile).collect();
        for compiled in compiled {
            self.compiled.extend(compiled?);
        }
        Ok(())
    }

    /// The kernel of a launch, and how it is called.
    ///
    /// # Errors
    /// When it does not compile, by name.
    pub(crate) fn kernel(&mut self, launch: &Launch) -> Result<(Arc<Ptx>, Call), String> {
        (self.warps, self.blocks) = (launch.blueprint != Blueprint::Plain, launch.blueprint.resident());
        self.reloads = matches!(launch.blueprint, Blueprint::Attention(_));
        self.constants = constants(launch);
        kernels::dispatch(launch, Work::gpu(), Target::Offline(self));
        self.result.take().expect("dispatch compiles one kernel").map_err(|e| format!("{}: {e}", launch.kernel))
    }
}

impl Record for Offline {
    fn environment(&self, units: u32) -> (KernelSettings, Arc<DeviceProperties>, Arc<TargetProperties>) {
        let settings = KernelSettings::new(*CubeDim::new_1d(units), ExecutionMode::Unchecked, AddressType::U32);
        (settings, self.properties.clone(), self.target.clone())
    }

    fn add(&mut self, kernel: impl CubeKernel, mut call: Call) {
        let is_constant = |buffer: &usize| self.constants.get(*buffer).copied().unwrap_or(false);
        call.overlaps = self.sm.overlaps(call.cubes);
        let id = (kernel.id(), call.overlaps.then(|| call.buffers.iter().map(is_constant).collect()));
        let compiled = match self.compiled.get(&id) {
            Some(known) => Ok(known.clone()),
            None => self.load_or_compile(&id, kernel).map(Arc::new),
        };
        if let Ok(ptx) = &compiled {
            self.compiled.insert(id, ptx.clone());
        }
        self.result = Some(compiled.map(|ptx| (ptx, call)));
    }
}

/// Which inputs of a launch are constants.
fn constants(launch: &Launch) -> Vec<bool> {
    launch.inputs.iter().map(|buffer| matches!(buffer, Buffer::Const(_))).collect()
}

/// A kernel whose launches may overlap those before, where `constants` of its buffers are written by none.
fn overlapping(kernel: Ptx, constants: &[bool]) -> Result<Ptx, String> {
    let Ptx { entry, text, shared } = kernel;
    let text = ptx_text::of_overlapping_launches(&text, &entry, constants)?;
    // The same kernel may have other constants elsewhere in the plan, or not overlap, and an entry has one text.
    let which = constants.iter().rev().fold(0u64, |which, &constant| which << 1 | u64::from(constant));
    let name = format!("{entry}_c{which:x}");
    Ok(Ptx { text: text.replace(&entry, &name), entry: name, shared })
}

/// Compiles every kernel of a plan. Specifications that differ only in what is an argument of the code share it, so there
/// may be fewer kernels than [`Plan::kernels`] lists.
///
/// # Errors
/// At the first kernel that does not compile, by name.
pub fn compile(plan: &Plan, sm: Sm) -> Result<Vec<Ptx>, String> {
    let (mut all, mut offline): (Vec<Ptx>, _) = (Vec::new(), Offline::new(sm));
    offline.compile_all(&plan.launches)?;
    for launch in &plan.launches {
        let (ptx, _) = offline.kernel(launch)?;
        match all.iter().find(|known| known.entry == ptx.entry) {
            None => all.push((*ptx).clone()),
            Some(known) if *known == *ptx => {}
            Some(_) => return Err(format!("{}: another kernel has the entry {}, too", launch.kernel, ptx.entry)),
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
        max_shared_memory_size: ON_CHIP,
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
    let mut features = Features::default();
    for (a_type, b_type) in [(i8::cube_type(), i8::cube_type()), (u8::cube_type(), i8::cube_type())] {
        let cd_type = i32::cube_type();
        features.matmul.mma.insert(MmaConfig { a_type, b_type, cd_type, m: 16, n: 8, k: 32 });
    }
    Arc::new(DeviceProperties::new(features, memory, hardware, TimingMethod::Device, identity))
}
