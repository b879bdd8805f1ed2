//! Recognition of a layout, and its names for canonical ones.

use super::{
    pattern::{fill, place},
    tables::{LAYOUTS, Layout, Row, WRAPPERS},
};

/// How the names of one file are made: its layout, and what stands before the names.
#[derive(Clone)]
pub(super) struct Naming {
    pub layout: &'static Layout,
    /// What stands before every name of the file.
    wrapper: String,
    /// What stands before every name but the head's.
    root: &'static str,
}

/// Where the elements of a canonical tensor are in a file: tensors that are stacked along their first axis, or a third of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    /// The tensors' names.
    pub names: Vec<String>,
    /// Which third of the tensor it is, if not all of it.
    pub third: Option<usize>,
}

impl Stored {
    /// Reads the right side of a row.
    fn new(text: &str) -> Stored {
        let thirds = ["[0/3]", "[1/3]", "[2/3]"];
        let (text, third) = match thirds.iter().position(|third| text.ends_with(third)) {
            Some(third) => (&text[..text.len() - thirds[third].len()], Some(third)),
            None => (text, None),
        };
        Stored { names: text.split(" + ").map(str::to_owned).collect(), third }
    }

    /// The shape of each of its tensors, of the canonical tensor's.
    pub fn shape(&self, canonical: &[usize]) -> Vec<usize> {
        let mut shape = canonical.to_vec();
        if let Some(rows) = shape.first_mut() {
            *rows = if self.third.is_some() { *rows * 3 } else { *rows / self.names.len() };
        }
        shape
    }
}

/// The names for a canonical one by the rows of a table: of the first row that fits, and of those after it with its left side.
fn named(rows: &'static [Row], canonical: &str, last: usize) -> Vec<String> {
    let mut fitting = rows.iter().filter_map(|row| place(row.0, canonical, last).map(|place| (row, place)));
    let Some((first, place)) = fitting.next() else { return Vec::new() };
    let others = fitting.map(|(row, _)| row).filter(|row| row.0 == first.0);
    // A right side is filled in part by part: ` + ` stands between whole names.
    let parts = |row: &Row| {
        let parts: Option<Vec<String>> = row.1.split(" + ").map(|part| fill(part, place)).collect();
        parts.map(|parts| parts.join(" + "))
    };
    [first].into_iter().chain(others).filter_map(parts).collect()
}

impl Naming {
    /// Recognises the layout of names: those of a checkpoint's tensors, or of modules. `None` where it is none.
    pub fn of<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<Naming> {
        let mut wrapper = String::new();
        names.clone().next()?;
        while let Some(more) = WRAPPERS.iter().find(|more| {
            let all = |name: &str| name.strip_prefix(&wrapper).is_some_and(|rest| rest.starts_with(**more));
            names.clone().all(all)
        }) {
            wrapper += more;
        }
        let fits = |layout: &Layout, root: &str| {
            let marked = |name: &str| {
                let rest = name.strip_prefix(&wrapper).and_then(|rest| rest.strip_prefix(root));
                let is_in = |rest: &str, mark: &str| {
                    rest.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                rest.is_some_and(|rest| layout.marks.iter().any(|mark| is_in(rest, mark)))
            };
            names.clone().any(marked)
        };
        let found = LAYOUTS.into_iter().find_map(|layout| {
            let root = layout.roots.iter().find(|root| fits(layout, root))?;
            Some((layout, *root))
        });
        found.map(|(layout, root)| Naming { layout, wrapper, root })
    }

    /// Where a tensor may be, by its canonical name: the library's own place first.
    pub fn stored(&self, canonical: &str) -> Vec<Stored> {
        let block = place("layers.{s}.blocks.{b}.*", canonical, 0);
        let in_block = block.and_then(|place| Some((fill("*", place)?, fill(self.layout.block, place)?)));
        let (before, texts) = match in_block {
            Some((within, block)) => (format!("{block}."), named(self.layout.in_block, &within, 0)),
            None => (String::new(), named(self.layout.tensors, canonical, 0)),
        };
        let root = if canonical.starts_with("head.") { "" } else { self.root };
        let before = format!("{}{root}{before}", self.wrapper);
        let whole = |text: &String| {
            let stored = Stored::new(text);
            let names = stored.names.iter().map(|name| format!("{before}{name}")).collect();
            Stored { names, ..stored }
        };
        texts.iter().map(whole).collect()
    }

    /// The library's names for a module, by its canonical name in a model whose last stage is `last`.
    pub fn modules(&self, canonical: &str, last: usize) -> Vec<String> {
        let root = if canonical == "logits" { "" } else { self.root };
        let names = named(self.layout.modules, canonical, last);
        names.into_iter().map(|name| format!("{}{root}{name}", self.wrapper)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(names: &[&str]) -> Option<(&'static str, String, &'static str)> {
        Naming::of(names.iter().copied()).map(|n| (n.layout.name, n.wrapper, n.root))
    }

    #[test]
    fn layouts_are_recognised_by_their_names_and_never_by_the_head() {
        let cases: [(&[&str], &str, &str, &str); 10] = [
            (&["patch_embed.proj.weight", "layers.1.downsample.reduction.weight", "head.weight"], "timm", "", ""),
            (&["layers.0.blocks.0.norm1.weight", "head.fc.weight"], "timm", "", ""),
            (&["module.model.patch_embed.proj.bias", "module.model.head.fc.bias"], "timm", "module.model.", ""),
            (&["timm_model.norm.bias", "timm_model.layers.0.blocks.0.norm1.bias"], "timm", "timm_model.", ""),
            (
                &["patch_embed.proj.weight", "layers.0.downsample.reduction.weight", "head.fc.weight"],
                "microsoft/Swin-Transformer",
                "",
                "",
            ),
            (&["backbone.layers.0.downsample.norm.bias"], "microsoft/Swin-Transformer", "backbone.", ""),
            (&["swin.embeddings.norm.bias", "classifier.bias"], "transformers", "", "swin."),
            (&["module.swinv2.encoder.layers.0.x", "module.classifier.bias"], "transformers", "module.", "swinv2."),
            (&["swin.embeddings.norm.bias", "swin.layernorm.bias"], "transformers", "swin.", ""),
            (&["model.features.0.0.weight", "model.head.weight"], "torchvision", "model.", ""),
        ];
        for (names, name, wrapper, root) in cases {
            assert_eq!(layout(names), Some((name, wrapper.to_owned(), root)), "{names:?}");
        }
        for names in [&[][..], &["conv1.weight", "fc.bias"], &["model.", "module."]] {
            assert_eq!(layout(names), None, "{names:?}");
        }
    }

    #[test]
    fn names_are_the_librarys() {
        let hf = Naming::of(["module.swin.encoder.x", "module.classifier.bias"].into_iter()).unwrap();
        let block = "module.swin.encoder.layers.2.blocks.1";
        let names = |naming: &Naming, canonical: &str| naming.stored(canonical)[0].names.join(" ");
        assert_eq!(names(&hf, "layers.2.blocks.1.norm1.bias"), format!("{block}.layernorm_before.bias"));
        assert_eq!(
            names(&hf, "layers.2.blocks.1.attn.qkv.bias"),
            ["query", "key", "value"].map(|part| format!("{block}.attention.self.{part}.bias")).join(" ")
        );
        assert_eq!(hf.stored("layers.2.blocks.1.attn.qkv.bias")[1].names[2], format!("{block}.attention.v_proj.bias"));
        assert_eq!(names(&hf, "head.fc.bias"), "module.classifier.bias");
        assert_eq!(hf.modules("layers.2.downsample", 3)[1], "module.swin.encoder.layers.1");
        assert_eq!(hf.modules("layers.3", 3), ["module.swin.encoder.layers.3"]);
        assert_eq!(hf.modules("layers.2", 3), [""; 0]);
        let tv = Naming::of(["features.0.0.weight"].into_iter()).unwrap();
        let third = Stored { names: vec!["features.5.0.attn.qkv.bias".into()], third: Some(2) };
        assert_eq!(tv.stored("layers.2.blocks.0.attn.v_bias"), [third]);
        assert_eq!(names(&tv, "layers.2.downsample.norm.bias"), "features.4.norm.bias");
        assert_eq!(tv.modules("layers.2", 3), ["features.5"]);
    }
}
