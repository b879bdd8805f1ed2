//! The tables: how each library names what timm's names, the canonical ones, say.
//!
//! A row is a canonical name and the library's, segment by segment:
//!
//! | in a name | is |
//! |---|---|
//! | `{s}`, `{b}` | a stage, a block, counted from 0 |
//! | `{s-1}`, `{2s}`, `{2s+1}` | a number that follows from the stage |
//! | `{last}` | the last stage |
//! | `*` | one or more segments, kept as they are |
//! | `a + b + c` | three tensors, stacked along their first axis |
//! | `a[0/3]` | the first third of a tensor along its first axis |
//!
//! The first row whose left side fits applies; rows after it with the same left side are other names that are taken as well.

/// A canonical name and the library's.
pub(super) type Row = (&'static str, &'static str);

/// How a library names a Swin's tensors and modules.
pub struct Layout {
    /// The library.
    pub name: &'static str,
    /// A checkpoint with a tensor in one of these modules is of this layout, if of none before it.
    pub(super) marks: &'static [&'static str],
    /// What its classes may put before everything but the head.
    pub(super) roots: &'static [&'static str],
    /// Whether a checkpoint without any bias of q, k and v says by that that there are none.
    pub(super) bias_optional: bool,
    /// How it names block `{b}` of stage `{s}`, `layers.{s}.blocks.{b}`.
    pub(super) block: &'static str,
    /// Tensors of a block.
    pub(super) in_block: &'static [Row],
    /// Tensors elsewhere.
    pub(super) tensors: &'static [Row],
    /// Modules, by their results.
    pub(super) modules: &'static [Row],
}

/// All layouts, in the order in which they are tried.
pub(super) const LAYOUTS: [&Layout; 4] = [&TORCHVISION, &TRANSFORMERS, &MICROSOFT, &TIMM];

/// What wraps a whole model: training scripts, compilers and other models put it before every name.
pub(super) const WRAPPERS: [&str; 7] =
    ["module.", "model.", "_orig_mod.", "timm_model.", "backbone.", "swin.", "swinv2."];

/// timm from 0.9 on: a stage starts with its merging.
const TIMM: Layout = Layout {
    name: "timm",
    marks: &["patch_embed", "layers"],
    roots: &[""],
    bias_optional: false,
    block: "layers.{s}.blocks.{b}",
    in_block: &[("*", "*")],
    tensors: &[("head.fc.*", "head.fc.*"), ("head.fc.*", "head.*"), ("*", "*")],
    modules: &[("*", "*")],
};

/// microsoft/Swin-Transformer, and timm before 0.9: a stage ends with the merging, and its result is what comes out of that.
const MICROSOFT: Layout = Layout {
    name: "microsoft/Swin-Transformer",
    marks: &["layers.0.downsample"],
    roots: &[""],
    bias_optional: false,
    block: "layers.{s}.blocks.{b}",
    in_block: &[("*", "*")],
    tensors: &[
        ("layers.{s}.downsample.*", "layers.{s-1}.downsample.*"),
        ("head.fc.*", "head.*"),
        ("head.fc.*", "head.fc.*"),
        ("*", "*"),
    ],
    modules: &[
        ("layers.{s}.downsample", "layers.{s-1}.downsample"),
        ("layers.{s}.downsample", "layers.{s-1}"),
        ("layers.{last}", "layers.{last}"),
        ("layers.{s}.blocks.{b}", "layers.{s}.blocks.{b}"),
        ("patch_embed", "patch_embed"),
        ("norm", "norm"),
        ("logits", "head"),
    ],
};

/// Hugging Face's transformers: as its files have it, and (from version 5) as its modules are called in memory.
const TRANSFORMERS: Layout = Layout {
    name: "transformers",
    marks: &["embeddings", "encoder"],
    roots: &["", "swin.", "swinv2."],
    bias_optional: true,
    block: "encoder.layers.{s}.blocks.{b}",
    in_block: &[
        ("norm1.*", "layernorm_before.*"),
        ("norm2.*", "layernorm_after.*"),
        ("attn.qkv.*", "attention.self.query.* + attention.self.key.* + attention.self.value.*"),
        ("attn.qkv.*", "attention.q_proj.* + attention.k_proj.* + attention.v_proj.*"),
        ("attn.q_bias", "attention.self.query.bias"),
        ("attn.q_bias", "attention.q_proj.bias"),
        ("attn.v_bias", "attention.self.value.bias"),
        ("attn.v_bias", "attention.v_proj.bias"),
        ("attn.proj.*", "attention.output.dense.*"),
        ("attn.proj.*", "attention.o_proj.*"),
        ("attn.cpb_mlp.*", "attention.self.continuous_position_bias_mlp.*"),
        ("attn.cpb_mlp.*", "attention.continuous_position_bias_mlp.*"),
        ("attn.relative_position_bias_table", "attention.self.relative_position_bias_table"),
        ("attn.relative_position_bias_table", "attention.relative_position_bias.relative_position_bias_table"),
        ("attn.relative_position_index", "attention.self.relative_position_index"),
        ("attn.relative_position_index", "attention.relative_position_bias.relative_position_index"),
        ("attn.*", "attention.self.*"),
        ("attn.*", "attention.*"),
        ("mlp.fc1.*", "intermediate.dense.*"),
        ("mlp.fc1.*", "mlp.fc1.*"),
        ("mlp.fc2.*", "output.dense.*"),
        ("mlp.fc2.*", "mlp.fc2.*"),
    ],
    tensors: &[
        ("patch_embed.proj.*", "embeddings.patch_embeddings.projection.*"),
        ("patch_embed.norm.*", "embeddings.norm.*"),
        ("layers.{s}.downsample.*", "encoder.layers.{s-1}.downsample.*"),
        ("norm.*", "layernorm.*"),
        ("head.fc.*", "classifier.*"),
    ],
    modules: &[
        ("patch_embed", "embeddings"),
        ("layers.{s}.downsample", "encoder.layers.{s-1}.downsample"),
        ("layers.{s}.downsample", "encoder.layers.{s-1}"),
        ("layers.{last}", "encoder.layers.{last}"),
        ("layers.{s}.blocks.{b}", "encoder.layers.{s}.blocks.{b}"),
        ("norm", "layernorm"),
        ("logits", "classifier"),
    ],
};

/// torchvision: one list of patch embedding, blocks, merging, blocks, …
const TORCHVISION: Layout = Layout {
    name: "torchvision",
    marks: &["features"],
    roots: &[""],
    bias_optional: false,
    block: "features.{2s+1}.{b}",
    in_block: &[
        // The second version has one bias for q, k and v, and does not use k's third.
        ("attn.q_bias", "attn.qkv.bias[0/3]"),
        ("attn.v_bias", "attn.qkv.bias[2/3]"),
        ("mlp.fc1.*", "mlp.0.*"),
        ("mlp.fc2.*", "mlp.3.*"),
        ("*", "*"),
    ],
    tensors: &[
        ("patch_embed.proj.*", "features.0.0.*"),
        ("patch_embed.norm.*", "features.0.2.*"),
        ("layers.{s}.downsample.*", "features.{2s}.*"),
        ("norm.*", "norm.*"),
        ("head.fc.*", "head.*"),
    ],
    modules: &[
        ("patch_embed", "features.0"),
        ("layers.{s}.downsample", "features.{2s}"),
        ("layers.{s}.blocks.{b}", "features.{2s+1}.{b}"),
        ("layers.{s}", "features.{2s+1}"),
        ("norm", "norm"),
        ("logits", "head"),
    ],
};
