//! Model descriptions and checkpoints → float IR.

mod attention;
mod checkpoint;
mod load;
mod spec;
mod swin;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use load::{LoadError, load, load_spec};
pub use spec::{Interpolation, Preprocess, Resize, Spec, Stage};
pub use swin::{import, random_checkpoint};
