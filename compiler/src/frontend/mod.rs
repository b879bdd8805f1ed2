//! Model descriptions and checkpoints → float IR.

mod attention;
pub mod checkpoint;
mod load;
mod presets;
mod spec;
mod swin;

pub use checkpoint::{Checkpoint, CheckpointError, Limits};
pub use load::{LoadError, load, load_spec, load_with};
pub use presets::{preset, preset_names};
pub use spec::{Interpolation, Partition, Preprocess, Resize, Spec, Stage, Version};
pub use swin::{import, random_checkpoint};
