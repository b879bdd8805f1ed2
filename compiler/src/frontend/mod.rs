//! Model descriptions and checkpoints → float IR.

mod attention;
mod checkpoint;
mod layout;
mod load;
mod presets;
mod spec;
mod swin;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use layout::{Canonical, CheckpointFile, Layout, canonical, canonical_modules};
pub use load::{LoadError, load, load_spec};
pub use presets::{preset, preset_names};
pub use spec::{Interpolation, Partition, Preprocess, Resize, Spec, Stage, Version};
pub use swin::{import, random_checkpoint};
