//! The link configuration that llvm-sys would print; cubecl-llvm builds it with `no-llvm-linking`.

use crate::config::{ConfigResult, PREFIX_VARIABLE, llvm_config, llvm_path};
use std::{env, fs, path::Path};

/// Prints cargo's link directives for LLVM and compiles the target initialisers. Call it from a build script.
///
/// # Errors
/// When LLVM cannot be found, or the C compiler fails to start.
pub fn link() -> ConfigResult<()> {
    println!("cargo::rerun-if-env-changed={PREFIX_VARIABLE}");
    let prefix = llvm_path()?;
    // First: the wrappers refer to symbols of the LLVM archives, and a linker reads archives in order.
    let source = Path::new(&env::var("OUT_DIR")?).join("target.c");
    fs::write(&source, include_str!("target.c"))?;
    cc::Build::new().file(&source).include(prefix.join("include")).opt_level(2).try_compile("swint_llvm_targets")?;

    println!("cargo::rustc-link-search=native={}", prefix.join("lib").display());
    for library in library_names(&llvm_config(&prefix, "--libs")?) {
        println!("cargo::rustc-link-lib=static={library}");
    }
    for library in library_names(&llvm_config(&prefix, "--system-libs")?) {
        // The wheels hold a static zlib and zstd beside LLVM's own archives.
        let kind = if prefix.join("lib").join(format!("lib{library}.a")).is_file() { "static" } else { "dylib" };
        println!("cargo::rustc-link-lib={kind}={library}");
    }
    match env::var("CARGO_CFG_TARGET_OS")?.as_str() {
        "windows" => {}
        "macos" => println!("cargo::rustc-link-lib=dylib=c++"),
        _ => println!("cargo::rustc-link-lib=dylib=stdc++"),
    }
    Ok(())
}

/// Library names out of `-lNAME`, `NAME.lib` or a path to one of them.
fn library_names(flags: &str) -> impl Iterator<Item = &str> {
    flags.split_whitespace().map(|token| {
        let token = token.trim_matches('"');
        let file = token.rsplit(['/', '\\']).next().unwrap_or(token);
        let name = file.strip_prefix("-l").unwrap_or(file);
        let name = name.strip_suffix(".lib").or_else(|| name.strip_suffix(".a")).unwrap_or(name);
        if file != token { name.strip_prefix("lib").unwrap_or(name) } else { name }
    })
}
