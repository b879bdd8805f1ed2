//! What `swint doctor` says that this program was built with.

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SWINT_LLVM_PREFIX");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok().and_then(|out| String::from_utf8(out.stdout).ok());
    println!("cargo::rustc-env=SWINT_BUILT_WITH={}", version.as_deref().unwrap_or("an unknown rustc").trim());
    // Where the kernels' compiler came from; cubecl's build script has asked the same.
    let prefix = tracel_llvm_bundler::config::llvm_path().map_or_else(|e| e.to_string(), |p| p.display().to_string());
    println!("cargo::rustc-env=SWINT_BUILT_LLVM={}", prefix.replace('\n', " "));
}
