//! What can be looked at without a GPU.

use super::{Check, size};
use std::{fs, num::NonZero, path::Path, process::Command, slice, thread};
use swint::{
    ir::{Decl, Graph, InputId, Module, Tensor, Type, Value, Weights, op::Op},
    runtime::{
        cache,
        device::Device,
        executor::Session,
        sass::{INSTALL, Tools},
    },
};

const BUILD: &str = "Build";
const PROCESSOR: &str = "Processor";
const TOOLS: &str = "Machine code";
const CACHE: &str = "Cache";

/// Bytes of memory below which a large model's compilation may fail.
const LITTLE_MEMORY: u64 = 2 << 30;

/// What this program was built with, and what there is to build it again.
pub fn build() -> Vec<Check> {
    let needed = "only building swint needs it";
    let tool = |name: &'static str, program: &str, get: &str| match version(program) {
        Some(version) => Check::ok(BUILD, name, format!("{version} ({needed})")),
        None => Check::ok(BUILD, name, format!("not found; {needed}: {get}")),
    };
    vec![
        Check::ok(BUILD, "built with", env!("SWINT_BUILT_WITH")),
        Check::ok(BUILD, "LLVM", format!("linked from {}", env!("SWINT_BUILT_LLVM"))),
        tool("rustc", "rustc", "https://rustup.rs"),
        tool("C++ compiler", "c++", "Debian's package g++"),
    ]
}

/// The first line of what a program says of its version.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}

/// The processor, its memory, and whether kernels run on it.
pub fn processor() -> Vec<Check> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let name = proc_value("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let mut checks = vec![Check::ok(PROCESSOR, "cores", format!("{cores} of {name}")), vectors()];
    if let Some(kib) = proc_value("/proc/meminfo", "MemAvailable").and_then(|v| v.split(' ').next()?.parse().ok()) {
        let bytes = 1024_u64.saturating_mul(kib);
        let found = format!("{} available", size(bytes));
        checks.push(match bytes < LITTLE_MEMORY {
            false => Check::ok(PROCESSOR, "memory", found),
            true => Check::warn(PROCESSOR, "memory", found, "end other programs before you compile a large model"),
        });
    }
    checks.push(match kernel() {
        Ok(()) => Check::ok(PROCESSOR, "kernels", "one was compiled, ran and gave the right result"),
        Err(error) => Check::bad(PROCESSOR, "kernels", error, "`--device interp` runs models without kernels, slowly"),
    });
    checks.push(match tempfile::tempfile() {
        Ok(_) => Check::ok(PROCESSOR, "temporary", "files can be written"),
        Err(error) => Check::warn(
            PROCESSOR,
            "temporary",
            format!("no file can be written: {error}"),
            "set TMPDIR to a folder of yours",
        ),
    });
    checks
}

/// A value of one of the kernel's texts.
fn proc_value(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|k| k.trim() == key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The vector instructions that kernels use.
#[cfg(target_arch = "x86_64")]
fn vectors() -> Check {
    let has = [
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("AVX-512", is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")),
        ("VNNI", is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni")),
        ("VBMI", is_x86_feature_detected!("avx512vbmi")),
    ];
    let found: Vec<&str> = has.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    let product = if has[2].1 { "vpdpbusd" } else { "vpmaddwd" };
    match has[0].1 {
        true => Check::ok(PROCESSOR, "vectors", format!("{}: int8 products by {product}", found.join(", "))),
        false => Check::warn(
            PROCESSOR,
            "vectors",
            "no AVX2",
            "kernels give the same results, slowly: use a processor with AVX2 where time matters",
        ),
    }
}

/// The vector instructions that kernels use.
#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> Check {
    Check::ok(PROCESSOR, "vectors", "whatever LLVM finds for this processor; measured on x86-64 only")
}

/// Compiles a kernel of one op for the processor and runs it.
fn kernel() -> Result<(), String> {
    let mut graph = Graph::new("doctor", vec![Decl { name: "x".into(), ty: Type::f32([1, 4]) }]);
    let relu = graph.push(Op::Relu {}, vec![Value::Input(InputId(0))]);
    graph.output = relu.map_err(|e| e.to_string())?;
    let module = Module { graph, weights: Weights::default() };
    let session = Session::new(&module, Device::Cpu, 1).map_err(|e| e.to_string())?;
    let input = Tensor::f32([1, 4], vec![-1.0, 0.0, 2.0, f32::MAX]);
    let result = session.run(slice::from_ref(&input)).map_err(|e| e.to_string())?;
    let wanted = [0.0, 0.0, 2.0, f32::MAX];
    match result.as_f32() {
        Some(found) if found == wanted => Ok(()),
        found => Err(format!("a ReLU gave {found:?}, not {wanted:?}")),
    }
}

/// NVIDIA's assembler and disassembler.
pub fn tools() -> Vec<Check> {
    let found = Tools::find().and_then(|tools| tools.version());
    vec![match found {
        Ok(version) => Check::ok(TOOLS, "ptxas, nvdisasm", format!("ptxas {version}")),
        Err(error) => {
            Check::warn(TOOLS, "ptxas, nvdisasm", error.to_string(), format!("only `swint sass` needs them. {INSTALL}"))
        }
    }]
}

/// The cache folder and what is in it.
pub fn cache() -> Vec<Check> {
    let folder = match cache::folder() {
        Ok(folder) => folder,
        Err(error) => {
            return vec![Check::warn(CACHE, "folder", error, "without it kernels for GPUs are compiled at every load")];
        }
    };
    let mut checks = vec![writable(&folder)];
    match cache::used(&folder) {
        Ok((kernels, tuned)) => {
            let found = format!("{} for GPUs, {}", kernels.files, size(kernels.bytes));
            checks.push(match kernels.bytes > 1_000_000_000 {
                false => Check::ok(CACHE, "kernels", found),
                true => Check::warn(CACHE, "kernels", found, "`swint doctor --prune-cache` removes old ones"),
            });
            checks.push(Check::ok(CACHE, "tuned", format!("{} devices", tuned.files)));
        }
        Err(error) => checks.push(Check::warn(CACHE, "kernels", error.to_string(), "make the folder readable")),
    }
    let data = folder.join(cache::CIFAR10);
    checks.push(match fs::metadata(&data) {
        Ok(about) => Check::ok(CACHE, "cifar10", size(about.len())),
        Err(_) => Check::ok(CACHE, "cifar10", "not there; `swint data fetch cifar10` gets it"),
    });
    checks
}

/// Whether a file can be made in a folder, which need not be there yet.
fn writable(folder: &Path) -> Check {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    match tempfile::tempfile_in(there) {
        Ok(_) => Check::ok(CACHE, "folder", folder.display().to_string()),
        Err(error) => Check::warn(
            CACHE,
            "folder",
            format!("{} cannot be written: {error}", folder.display()),
            "make it yours, or set SWINT_CACHE to another folder: without one, kernels for GPUs are compiled at every load",
        ),
    }
}
