//! A stand-in for NVIDIA's libcuda: the functions of the driver API that `cudarc`'s safe interface calls, on one device
//! that is the PTX simulator. A program that loads it in libcuda's place runs its CUDA path on a machine without a GPU,
//! and what the simulator finds wrong with a kernel fails the launch.
//!
//! A test that needs it begins with [`child`]:
//!
//! ```no_run
//! // In `#[test] fn adds()`:
//! if let Some(output) = swint_cuda_stand_in::child("adds", &[])? {
//!     assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
//!     return Ok(());
//! }
//! // From here on the process has the stand-in for its driver: cudarc::driver::CudaContext::new(0)…
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! `SWINT_STAND_IN_SM` chooses the device: `89`, which is the default, or `90`.
//!
//! - `status`, `state`: what functions return, and what all of them share.
//! - `device`, `context`: the device and what it can do.
//! - `memory`, `copy`: allocations, and copies from and to them.
//! - `module`, `function`, `launch`: from PTX to running kernels.
//! - `stream`, `graph`, `event`: order, which is the order of calls, as everything happens at once; but for what a
//!   stream captures.
//! - `unsupported`: functions that always fail.
//!
//! What differs from a device: faults are found by the launch itself, not by what waits for it; a kernel has what its
//! pointers point to up to the next pointer parameter or the end of the allocation, and pointers within larger
//! parameters or within memory point to nothing; memory that nothing has written has bytes of 0xa5; streams do not take
//! part in captures of others; launches that may overlap do not, but it is a fault if one of them accesses what any
//! kernel has written before it has waited. (CUDA Driver API)

mod context;
mod copy;
mod device;
mod event;
mod function;
mod graph;
mod launch;
mod memory;
mod module;
mod state;
mod status;
mod stream;
mod unsupported;

use std::{
    env::{self, consts},
    fs, io,
    path::{Path, PathBuf},
    process::{self, Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

/// Set in the environment of a process that has the stand-in for its driver.
const CHILD: &str = "SWINT_STAND_IN_CHILD";

/// Copies the stand-in to a folder, under the names that a driver is looked for by. A process finds it there whose
/// `LD_LIBRARY_PATH` has the folder when it starts.
///
/// # Errors Where files cannot be copied, and where the library is not beside the running program or a folder above,
/// where Cargo puts it for tests.
pub fn install(folder: &Path) -> io::Result<()> {
    let file = format!("{}swint_cuda_stand_in{}", consts::DLL_PREFIX, consts::DLL_SUFFIX);
    let program = env::current_exe()?;
    let mut places = program.ancestors().skip(1).take(2).map(|folder| folder.join(&file));
    let library = places.find(|place| place.is_file()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("no {file} beside {} or above", program.display()))
    })?;
    for name in ["libcuda.so", "libcuda.so.1"] {
        fs::copy(&library, folder.join(name))?;
    }
    Ok(())
}

/// Runs a test in a process of its own, with the stand-in for its driver and these variables of the environment, and
/// gives what became of it. In that process it is `None`, and the test goes on.
///
/// # Errors
/// Where the process cannot be started, or has no test of that name.
pub fn child(test: &str, variables: &[(&str, &str)]) -> io::Result<Option<Output>> {
    if env::var_os(CHILD).is_some() {
        return Ok(None);
    }
    let folder = Folder::new()?;
    install(&folder.0)?;
    let mut paths = vec![folder.0.clone()];
    paths.extend(env::var_os("LD_LIBRARY_PATH").iter().flat_map(env::split_paths));
    let paths = env::join_paths(paths).map_err(io::Error::other)?;
    let mut command = Command::new(env::current_exe()?);
    command.args([test, "--exact", "--include-ignored", "--nocapture"]);
    command.env(CHILD, "1").env("LD_LIBRARY_PATH", paths).envs(variables.iter().copied());
    let output = command.output()?;
    if !String::from_utf8_lossy(&output.stdout).contains("running 1 test\n") {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no test is named {test}")));
    }
    Ok(Some(output))
}

/// A folder for a while.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Folder> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("swint-stand-in-{}-{number}", process::id()));
        fs::create_dir(&folder)?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is a file in a folder for such.
        let _ = fs::remove_dir_all(&self.0);
    }
}
