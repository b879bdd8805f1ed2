//! Model descriptions and checkpoints → float IR.

mod attention;
pub mod checkpoint;
mod config;
mod layout;
mod load;
mod presets;
mod spec;
mod swin;

pub use checkpoint::{Checkpoint, CheckpointError, Limits};
pub use config::{ConfigFile, read_config};
pub use layout::{Canonical, CheckpointFile, Layout, canonical, canonical_modules, recognised};
pub use load::{LoadError, Loaded, load, load_checkpoint, load_folder, load_spec, weight_files};
pub use presets::{preset, preset_names};
pub use spec::{Interpolation, Partition, Preprocess, Resize, Spec, Stage, Version};
pub use swin::{import, random_checkpoint};
