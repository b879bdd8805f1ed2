//! Runs a kernel of PTX in the simulator and, where there is an NVIDIA GPU, on it: the same text on the same bytes, and compares what both write.
//!
//! ```text
//! cargo run -p swint-runtime --example ptx_device -- FILE.ptx GRID THREADS PARAM...
//!
//! GRID     blocks, 4 or 4x2
//! PARAM    in:BYTES (random bytes), out:BYTES (what is compared), u32:VALUE
//!
//! cargo run -p swint-runtime --example ptx_device -- runtime/ptxsim/tests/isa/kernels/gemm_s8.ptx 1x2 128 \
//!     in:32768 in:16384 out:32768 u32:128 u32:64 u32:256
//! ```

use cudarc::{
    driver::{CudaContext, CudaSlice, LaunchConfig, PushKernelArg},
    nvrtc::Ptx,
};
use std::error::Error;
use swint_ir::random::Rng;
use swint_runtime::ptxsim::{Access, Buffer, Config, Module, Param, run};

/// A parameter on the device.
enum Argument {
    Bytes(CudaSlice<u8>),
    Number(u32),
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, grid, threads, given @ ..] = &arguments[..] else {
        return Err("FILE.ptx GRID THREADS PARAM... expected; see the head of the source".into());
    };
    let text = std::fs::read_to_string(file)?;
    let (x, y) = grid.split_once('x').unwrap_or((grid, "1"));
    let config = Config { grid: [x.parse()?, y.parse()?, 1], ..Config::new(1, threads.parse()?) };
    let (mut params, mut buffers, mut rng) = (Vec::new(), Vec::new(), Rng::with_seed(0));
    for param in given {
        let (kind, value) = param.split_once(':').ok_or("in:BYTES, out:BYTES or u32:VALUE expected")?;
        if kind == "u32" {
            params.push(Param::Bytes(value.parse::<u32>()?.to_le_bytes().to_vec()));
            continue;
        }
        let n: usize = value.parse()?;
        let (bytes, access) = match kind {
            "in" => ((0..n).map(|_| rng.u8(..)).collect(), Access::Read),
            "out" => (vec![0; n], Access::Write),
            _ => return Err(format!("{kind}: in, out or u32 expected").into()),
        };
        params.push(Param::Buffer(buffers.len()));
        buffers.push(Buffer { bytes, access, low: 0 });
    }
    let before = buffers.clone();
    let module = Module::parse(&text)?;
    let kernel = module.kernels.first().ok_or("there is no kernel")?;
    let outcome = run(kernel, &config, &params, &mut buffers);
    outcome.findings.iter().for_each(|finding| println!("{finding}"));
    println!("simulator: {} findings, {} thread-instructions", outcome.findings.len(), outcome.stats.instructions());

    // SAFETY: it only looks whether the driver's library can be opened.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        println!("no NVIDIA driver: nothing to compare with");
        return Ok(());
    }
    if !outcome.findings.is_empty() {
        return Err("a kernel with findings is not run on a device".into());
    }
    let context = CudaContext::new(0)?;
    let stream = context.default_stream();
    let function = context.load_module(Ptx::from_src(text))?.load_function(&kernel.name)?;
    let mut on_device = Vec::new();
    for param in &params {
        on_device.push(match param {
            Param::Buffer(i) => Argument::Bytes(stream.clone_htod(&before[*i].bytes)?),
            Param::Bytes(bytes) => Argument::Number(u32::from_le_bytes(bytes[..].try_into()?)),
        });
    }
    let mut launch = stream.launch_builder(&function);
    for argument in &mut on_device {
        match argument {
            Argument::Bytes(bytes) => launch.arg(bytes),
            Argument::Number(number) => launch.arg(&*number),
        };
    }
    let dim = |[x, y, z]: [u32; 3]| (x, y, z);
    let config = LaunchConfig { grid_dim: dim(config.grid), block_dim: dim(config.block), shared_mem_bytes: 0 };
    // SAFETY: the simulator has run the kernel with the same parameters, and found no access out of bounds.
    unsafe { launch.launch(config)? };
    let mut differing = 0;
    for (param, argument) in params.iter().zip(&on_device) {
        if let (Param::Buffer(i), Argument::Bytes(bytes)) = (param, argument) {
            let found = stream.clone_dtoh(bytes)?;
            differing += found.iter().zip(&buffers[*i].bytes).filter(|(a, b)| a != b).count();
        }
    }
    println!("device: {differing} bytes differ from the simulator's");
    if differing > 0 { Err("the device gives other bytes".into()) } else { Ok(()) }
}
