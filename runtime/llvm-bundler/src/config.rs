//! Where LLVM is, and what its `llvm-config` says.

use crate::install;
use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// A build script's result: the message is what cargo shows.
pub type ConfigResult<T> = Result<T, Box<dyn std::error::Error>>;

/// Names a prefix to use instead of the installed one.
pub const PREFIX_VARIABLE: &str = "SWINT_LLVM_PREFIX";

/// The first two numbers of the LLVM version that cubecl 0.11 is written against.
const LLVM_VERSION: &str = "23.1.";

/// The prefix of an LLVM 23.1, installed first if need be.
///
/// # Errors
/// When the variable names a folder without such an LLVM, or none is installed and none can be.
pub fn llvm_path() -> ConfigResult<PathBuf> {
    if let Some(prefix) = env::var_os(PREFIX_VARIABLE) {
        let prefix = PathBuf::from(prefix);
        return match version(&prefix) {
            Ok(found) if found.starts_with(LLVM_VERSION) => Ok(prefix),
            Ok(found) => {
                Err(format!("{PREFIX_VARIABLE}={} holds LLVM {found}; cubecl needs {LLVM_VERSION}x", prefix.display())
                    .into())
            }
            Err(error) => Err(format!("{PREFIX_VARIABLE}={}: {error}", prefix.display()).into()),
        };
    }
    let prefix = data_folder()
        .ok_or_else(|| format!("no home folder to install LLVM in; set {PREFIX_VARIABLE}"))?
        .join("tracel")
        .join("tracel-llvm-23.1.0-4");
    if !prefix.join(install::SENTINEL).is_file() {
        install::install(&prefix)?;
    }
    Ok(prefix)
}

/// The C++ flags LLVM was built with, for code that includes its headers.
///
/// # Errors
/// When `llvm-config` cannot be run.
pub fn get_cxxflags_args(prefix: Option<&OsString>) -> ConfigResult<Vec<String>> {
    let prefix = prefix.map_or_else(llvm_path, |p| Ok(PathBuf::from(p)))?;
    Ok(llvm_config(&prefix, "--cxxflags")?.split_whitespace().map(str::to_owned).collect())
}

/// The version that a prefix's `llvm-config` reports.
pub(crate) fn version(prefix: &Path) -> ConfigResult<String> {
    llvm_config(prefix, "--version")
}

/// What `llvm-config --link-static FLAG` prints, trimmed.
pub(crate) fn llvm_config(prefix: &Path, flag: &str) -> ConfigResult<String> {
    let program = prefix.join("bin").join(format!("llvm-config{}", env::consts::EXE_SUFFIX));
    let out = Command::new(&program)
        .args(["--link-static", flag])
        .output()
        .map_err(|e| format!("cannot run {}: {e}", program.display()))?;
    if !out.status.success() {
        let stderr = String::from_utf8_lossy(&out.stderr);
        return Err(format!("{} {flag} failed: {stderr}", program.display()).into());
    }
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

/// The user's folder for program data, by each system's convention.
fn data_folder() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")))
    }
}
