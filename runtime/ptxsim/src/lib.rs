//! A functional simulator of PTX: runs the kernels that a compiler emits, exactly, and finds what hardware hides.
//!
//! ```
//! use swint_ptxsim::{Access, Buffer, Config, Module, Param, run};
//!
//! let module = Module::parse(
//!     ".version 8.7 .target sm_89 .address_size 64
//!      .visible .entry double(.param .u64 data) {
//!          .reg .b32 %r<3>; .reg .b64 %rd<4>;
//!          ld.param.u64 %rd1, [data];
//!          mov.u32 %r1, %tid.x;
//!          mul.wide.u32 %rd2, %r1, 4;
//!          add.s64 %rd3, %rd1, %rd2;
//!          ld.global.u32 %r2, [%rd3];
//!          shl.b32 %r2, %r2, 1;
//!          st.global.u32 [%rd3], %r2;
//!          ret;
//!      }",
//! )?;
//! let bytes = [3u32, 5].iter().flat_map(|x| x.to_le_bytes()).collect();
//! let mut buffers = [Buffer { bytes, access: Access::ReadWrite, low: 0 }];
//! let outcome = run(&module.kernels[0], &Config::new(1, 2), &[Param::Buffer(0)], &mut buffers);
//! assert!(outcome.findings.is_empty());
//! assert_eq!(buffers[0].bytes, [6, 0, 0, 0, 10, 0, 0, 0]);
//! # Ok::<(), swint_ptxsim::ParseError>(())
//! ```
//!
//! - `lex`, `parse`, `body`, `decode`, [`Kernel`]: from text to instructions. What is not known is an error that names it.
//! - [`run`]: blocks one after the other; warps of a block in turns between barriers; lanes of a warp in lock-step, with a stack of those that
//!   wait for others at the immediate postdominator of a branch (`warp`, `meets`). (Fung, Sham, Yuan and Aamodt, Dynamic Warp Formation, MICRO 2007)
//! - `alu`, `convert`, `matrix`, `exec`, `tiles`: what instructions do.
//! - `memory`, `shadow`: accesses, and what is wrong with them, as [`Finding`]s.
//! - `stats`: counts, as [`Stats`].
//!
//! Approximations of the machine (`ex2.approx`, `rcp.approx`, `sin.approx`, …) are correctly rounded here, and floating-point `mma` sums in 64 bits:
//! their last bits may differ from a device's. Integers never do.

mod alu;
mod body;
mod convert;
mod decode;
mod exec;
mod finding;
mod launch;
mod lex;
mod matrix;
mod meets;
mod memory;
mod parse;
mod program;
mod shadow;
mod stats;
mod tiles;
mod warp;
mod window;

pub use finding::{Finding, Kind};
pub use launch::{Access, Buffer, Config, Outcome, Param, run};
pub use parse::ParseError;
pub use program::{Class, Kernel};
pub use stats::Stats;

/// A module of PTX.
#[derive(Clone, Debug)]
pub struct Module {
    /// What it is for, such as `sm_89`.
    pub target: String,
    /// Its kernels, in order.
    pub kernels: Vec<Kernel>,
}

impl Module {
    /// Reads a module.
    ///
    /// # Errors
    /// At what is no PTX, or an instruction that is not known here, with its line.
    pub fn parse(text: &str) -> Result<Module, ParseError> {
        let source = parse::parse(text)?;
        let constants: std::sync::Arc<[u8]> = source.constants.into();
        let kernels = source.kernels.into_iter().map(|parsed| decode::decode(parsed, constants.clone()));
        Ok(Module { target: source.target, kernels: kernels.collect::<Result<_, _>>()? })
    }
}
