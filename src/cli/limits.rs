//! How large the header of a checkpoint may be.

use swint::compiler::frontend::Limits;

/// Arguments.
#[derive(clap::Args, PartialEq)]
pub struct LimitArgs {
    /// Largest header of a checkpoint.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().header)]
    max_header: u64,
    /// Most tensors of a checkpoint.
    #[arg(long, value_name = "N", default_value_t = Limits::default().tensors)]
    max_tensors: usize,
}

impl LimitArgs {
    /// The limits.
    pub fn limits(&self) -> Limits {
        Limits { header: self.max_header, tensors: self.max_tensors }
    }
}
