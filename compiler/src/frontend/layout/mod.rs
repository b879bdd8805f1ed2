//! How libraries name a Swin's tensors. The canonical names are timm's; tables translate the others' to them.

mod buffers;
mod canonical;
mod file;
mod naming;
mod pattern;
mod tables;
#[cfg(test)]
mod tests;

pub use canonical::{Canonical, canonical};
pub use file::CheckpointFile;
pub use tables::Layout;

use naming::Naming;
use std::{collections::BTreeMap, fmt};

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The layout that names of tensors have; `None` where they are of no Swin.
pub fn recognised<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static Layout> {
    Naming::of(names).map(|naming| naming.layout)
}

/// The canonical names of modules that a library names: `names`, of a model whose canonical modules are `modules`. A name that is none
/// of the library's stands for itself; what a model without a head calls its result may be called logits.
pub fn canonical_modules<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    modules: impl Iterator<Item = &'a str> + Clone,
) -> BTreeMap<&'a str, &'a str> {
    let stage = |module: &str| module.strip_prefix("layers.")?.split('.').next()?.parse().ok();
    let last = modules.clone().filter_map(stage).max().unwrap_or(0);
    let result = if modules.clone().any(|module| module == "features") { "features" } else { "logits" };
    let itself = |name: &'a str| (name, if name == "logits" { result } else { name });
    let mut canonical: BTreeMap<&str, &str> = names.clone().map(itself).collect();
    if let Some(naming) = Naming::of(names) {
        for module in modules {
            for name in naming.modules(module, last) {
                if let Some((name, _)) = canonical.get_key_value(name.as_str()) {
                    canonical.insert(*name, module);
                }
            }
        }
    }
    canonical
}
