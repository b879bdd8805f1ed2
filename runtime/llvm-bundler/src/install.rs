//! Installs LLVM from PyPI.

use crate::config::{ConfigResult, PREFIX_VARIABLE, version};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Marks a prefix as complete.
pub(crate) const SENTINEL: &str = ".tracel-llvm-installed";

/// The wheels with their sha256, in pip's format: pip refuses any other content.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Unzips the wheels over each other. Wheels carry no permissions, so `bin/` is made executable.
const UNZIP: &str = "\
import os, pathlib, sys, zipfile
out = pathlib.Path(sys.argv[1])
for wheel in sorted(out.glob('*.whl')):
    zipfile.ZipFile(wheel).extractall(out)
for program in (out / 'mlc_llvm_static/static/bin').iterdir():
    os.chmod(program, 0o755)
";

/// Downloads the two wheels with pip, unpacks them beside `prefix` and renames the result to it.
///
/// # Errors
/// One message that says what was tried and what to install.
pub(crate) fn install(prefix: &Path) -> ConfigResult<()> {
    let parent = prefix.parent().ok_or("the LLVM prefix has no parent folder")?;
    fs::create_dir_all(parent).map_err(|e| format!("cannot create {}: {e}", parent.display()))?;
    // Two builds at once each work in a folder of their own; the first rename wins.
    let work = parent.join(format!(".llvm-download-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    let done = download(&work).and_then(|unpacked| {
        fs::write(unpacked.join(SENTINEL), "")?;
        match fs::rename(&unpacked, prefix) {
            Err(_) if prefix.join(SENTINEL).is_file() => Ok(()),
            other => Ok(other.map_err(|e| {
                format!("cannot install into {} (remove it if it holds half an LLVM): {e}", prefix.display())
            })?),
        }
    });
    let _ = fs::remove_dir_all(&work);
    done.map_err(|cause| {
        format!(
            "swint links LLVM 23.1 and could not install it into {}: {cause}. Install Python 3 with pip and let it reach \
             a package index (about 92 MB), or set {PREFIX_VARIABLE} to an LLVM 23.1 prefix.",
            prefix.display()
        )
        .into()
    })
}

/// Downloads and unpacks into `work`; the folder that holds `bin`, `lib` and `include`.
fn download(work: &Path) -> ConfigResult<PathBuf> {
    let requirements = work.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    let python = env::var("PYTHON").unwrap_or_else(|_| if cfg!(windows) { "python" } else { "python3" }.to_owned());
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
        .args(["--require-hashes", "--requirement"])
        .arg(&requirements)
        .arg("--dest")
        .arg(work);
    run(&mut pip)?;
    run(Command::new(&python).args(["-c", UNZIP]).arg(work))?;
    let unpacked = work.join("mlc_llvm_static").join("static");
    version(&unpacked)?;
    Ok(unpacked)
}

fn run(command: &mut Command) -> ConfigResult<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.output().map_err(|e| format!("cannot run {program}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&out.stderr);
    let tail: Vec<&str> = stderr.lines().rev().take(4).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Err(format!("{program} failed: {}", tail.join(" / ")).into())
}
