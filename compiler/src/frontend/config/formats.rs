//! The tables: under which keys each library's configuration holds what, and which of its values are not understood.
//!
//! A key is a path of names; `{}` in it is the section of the model's version.

use super::{pictures, reader::Reader};
use crate::frontend::spec::{Partition, RawPreprocess};

/// Keys that may hold a value; the first that is there counts.
pub(super) type Keys = &'static [&'static str];

/// The value that a key must have, if it is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Only {
    /// None at all.
    Null,
    /// This one.
    Bool(bool),
    /// This number.
    Number(f64),
    /// One of these words, in any case.
    Word(&'static [&'static str]),
}

/// How a library describes a model.
pub(super) struct Format {
    /// How windows cover tokens that they do not tile.
    pub partition: Partition,
    /// Names of the sections of the versions, 1 and 2.
    pub sections: [&'static str; 2],
    /// A side, or height and width, or channels, height and width.
    pub image: Keys,
    /// A number, or a list that starts with it.
    pub channels: Keys,
    pub patch: Keys,
    pub window: Keys,
    pub embed: Keys,
    pub depths: Keys,
    pub heads: Keys,
    pub mlp_ratio: Keys,
    pub qkv_bias: Keys,
    pub classes: Keys,
    pub pretrained_windows: Keys,
    /// Class names.
    pub labels: Keys,
    /// What it says of pictures, for images of a height and width.
    pub pictures: fn(&mut Reader<'_>, [u32; 2]) -> Option<RawPreprocess>,
    /// Keys that change what the model computes, with the value that is understood, and what they choose.
    pub only: &'static [(&'static str, Only, &'static str)],
}

/// transformers' `SwinConfig` and `Swinv2Config`.
pub(super) const TRANSFORMERS: Format = Format {
    partition: Partition::Transformers,
    sections: ["", ""],
    image: &["image_size"],
    channels: &["num_channels"],
    patch: &["patch_size"],
    window: &["window_size"],
    embed: &["embed_dim"],
    depths: &["depths"],
    heads: &["num_heads"],
    mlp_ratio: &["mlp_ratio"],
    qkv_bias: &["qkv_bias"],
    classes: &["num_labels"],
    pretrained_windows: &["pretrained_window_sizes"],
    labels: &["id2label"],
    pictures: pictures::none,
    only: &[
        ("hidden_act", Only::Word(&["gelu", "gelu_python"]), "the MLPs' activation"),
        ("use_absolute_embeddings", Only::Bool(false), "absolute position embeddings"),
        ("layer_norm_eps", Only::Number(1e-5), "LayerNorm's epsilon"),
    ],
};

/// timm's `SwinTransformer` and `SwinTransformerV2`.
pub(super) const TIMM: Format = Format {
    partition: Partition::Timm,
    sections: ["", ""],
    image: &["model_args.img_size", "pretrained_cfg.input_size", "input_size"],
    channels: &["model_args.in_chans", "pretrained_cfg.input_size", "input_size"],
    patch: &["model_args.patch_size"],
    window: &["model_args.window_size"],
    embed: &["model_args.embed_dim"],
    depths: &["model_args.depths"],
    heads: &["model_args.num_heads"],
    mlp_ratio: &["model_args.mlp_ratio"],
    qkv_bias: &["model_args.qkv_bias"],
    classes: &["model_args.num_classes", "num_classes", "pretrained_cfg.num_classes"],
    pretrained_windows: &["model_args.pretrained_window_sizes"],
    labels: &["label_names", "pretrained_cfg.label_names"],
    pictures: pictures::timm,
    only: &[
        ("global_pool", Only::Word(&["avg"]), "the pooling before the head"),
        ("model_args.global_pool", Only::Word(&["avg"]), "the pooling before the head"),
        ("model_args.act_layer", Only::Word(&["gelu"]), "the MLPs' activation"),
        ("model_args.norm_layer", Only::Word(&["layernorm"]), "the normalization"),
        ("model_args.head_dim", Only::Null, "a head's channels apart from the heads' number"),
        ("model_args.always_partition", Only::Bool(false), "windows larger than the grid"),
        ("model_args.embed_layer", Only::Null, "another patch embedding"),
        ("model_args.features_only", Only::Bool(false), "features of every stage"),
        ("model_args.ape", Only::Bool(false), "absolute position embeddings"),
        ("model_args.patch_norm", Only::Bool(true), "the patch embedding's norm"),
        ("model_args.qk_scale", Only::Null, "another scale of the scores"),
    ],
};

/// torchvision's `SwinTransformer`, by the names of its arguments.
pub(super) const TORCHVISION: Format = Format {
    partition: Partition::Torchvision,
    sections: ["", ""],
    image: &["image_size"],
    channels: &[],
    patch: &["patch_size"],
    window: &["window_size"],
    embed: &["embed_dim"],
    depths: &["depths"],
    heads: &["num_heads"],
    mlp_ratio: &["mlp_ratio"],
    qkv_bias: &[],
    classes: &["num_classes"],
    pretrained_windows: &[],
    labels: &[],
    pictures: pictures::none,
    only: &[],
};

/// microsoft/Swin-Transformer's configuration tree.
pub(super) const MICROSOFT: Format = Format {
    partition: Partition::Timm,
    sections: ["SWIN", "SWINV2"],
    image: &["DATA.IMG_SIZE"],
    channels: &["MODEL.{}.IN_CHANS"],
    patch: &["MODEL.{}.PATCH_SIZE"],
    window: &["MODEL.{}.WINDOW_SIZE"],
    embed: &["MODEL.{}.EMBED_DIM"],
    depths: &["MODEL.{}.DEPTHS"],
    heads: &["MODEL.{}.NUM_HEADS"],
    mlp_ratio: &["MODEL.{}.MLP_RATIO"],
    qkv_bias: &["MODEL.{}.QKV_BIAS"],
    classes: &["MODEL.NUM_CLASSES"],
    pretrained_windows: &["MODEL.{}.PRETRAINED_WINDOW_SIZES"],
    labels: &[],
    pictures: pictures::microsoft,
    only: &[
        ("MODEL.{}.APE", Only::Bool(false), "absolute position embeddings"),
        ("MODEL.{}.PATCH_NORM", Only::Bool(true), "the patch embedding's norm"),
        ("MODEL.{}.QK_SCALE", Only::Null, "another scale of the scores"),
    ],
};
