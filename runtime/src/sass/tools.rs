//! `ptxas` and `nvdisasm`: where they are, and running them.

use super::SassError;
use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// How to get the tools without a CUDA toolkit.
pub const INSTALL: &str = "NVIDIA's wheels have both: `python3 -m venv ~/.local/share/swint/cuda && \
    ~/.local/share/swint/cuda/bin/pip install nvidia-cuda-nvcc==13.5.37 nvidia-cuda-nvdisasm==13.5.37`";

/// NVIDIA's assembler and disassembler. The variables `SWINT_PTXAS` and `SWINT_NVDISASM` name them; else they are looked for in
/// `PATH`, `$CUDA_HOME/bin`, `/usr/local/cuda/bin`, and among the wheels ([`INSTALL`]) of `$VIRTUAL_ENV` and of
/// `~/.local/share/swint/cuda`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tools {
    ptxas: PathBuf,
    nvdisasm: PathBuf,
}

impl Tools {
    /// Looks for both.
    ///
    /// # Errors
    /// When one is nowhere; the help says how to get it.
    pub fn find() -> Result<Tools, SassError> {
        Ok(Tools { ptxas: find("ptxas", "SWINT_PTXAS")?, nvdisasm: find("nvdisasm", "SWINT_NVDISASM")? })
    }

    /// The assembler's version, on which the machine code depends.
    ///
    /// # Errors
    /// When it does not run.
    pub fn version(&self) -> Result<String, SassError> {
        let said = run(&self.ptxas, "--version", ["--version".as_ref()])?;
        let version = said.split_whitespace().find_map(|word| word.strip_prefix('V')).unwrap_or("of unknown version");
        Ok(version.to_owned())
    }

    /// Assembles; what `ptxas -v` says.
    pub(super) fn assemble(&self, entry: &str, arch: &str, ptx: &Path, cubin: &Path) -> Result<String, SassError> {
        let arch = format!("-arch={arch}");
        run(&self.ptxas, entry, ["-v".as_ref(), arch.as_ref(), "-o".as_ref(), cubin.as_os_str(), ptx.as_os_str()])
    }

    /// Disassembles; the listing.
    pub(super) fn disassemble(&self, entry: &str, cubin: &Path) -> Result<String, SassError> {
        run(&self.nvdisasm, entry, ["-c".as_ref(), cubin.as_os_str()])
    }
}

fn find(name: &str, variable: &str) -> Result<PathBuf, SassError> {
    if let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from) {
        let missing = || SassError::NoTool(format!("{variable} names {}, which is no file", path.display()));
        return if path.is_file() { Ok(path) } else { Err(missing()) };
    }
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let found = folders().into_iter().map(|folder| folder.join(&file)).find(|path| path.is_file());
    found.ok_or_else(|| {
        SassError::NoTool(format!(
            "there is no {name}: neither {variable} names it, nor is it in PATH, $CUDA_HOME/bin, /usr/local/cuda/bin or among \
             Python's wheels"
        ))
    })
}

fn folders() -> Vec<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut all: Vec<PathBuf> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    all.extend(variable("CUDA_HOME").map(|cuda| cuda.join("bin")));
    all.push("/usr/local/cuda/bin".into());
    let home = dirs::home_dir().map(|home| home.join(".local/share/swint/cuda"));
    all.extend([variable("VIRTUAL_ENV"), home].into_iter().flatten().flat_map(|venv| wheels(&venv)));
    all
}

/// The folders of programs that NVIDIA's wheels have in a virtual environment: `nvidia/cu13/bin`, in older ones
/// `nvidia/cuda_nvcc/bin`.
fn wheels(venv: &Path) -> Vec<PathBuf> {
    let inside = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let pythons = inside(venv.join("lib"));
    let mut all: Vec<PathBuf> = pythons
        .flat_map(|python| inside(python.join("site-packages/nvidia")))
        .map(|package| package.join("bin"))
        .filter(|folder| folder.is_dir())
        .collect();
    all.sort();
    all
}

/// What a tool says, wherever it says it: `ptxas -v` writes to stderr.
fn run<const N: usize>(tool: &Path, entry: &str, arguments: [&OsStr; N]) -> Result<String, SassError> {
    let failed = |said: String| SassError::Tool { tool: tool.to_owned(), entry: entry.to_owned(), said };
    let output = Command::new(tool).args(arguments).output().map_err(|e| failed(e.to_string()))?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() { Ok(said) } else { Err(failed(said.trim().to_owned())) }
}
