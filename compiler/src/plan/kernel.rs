//! Kernel specifications: what a kernel computes, as plain data.

use std::{fmt, sync::Arc};
use swint_ir::{Data, Elem, F32, Tensor, Type, Weights, arith::softmax, index_map::IndexMap, op::Op};

/// What a kernel computes. Extents that shape its code are here; how many items it works on is the launch's.
///
/// Each variant names its item and its inputs, in order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)] // Fields are extents by their usual names; the variants' documentation uses them.
pub enum Kernel {
    /// A linear over rows of `k`, `n` results each; item: a row. Inputs: x, transposed weights `[k,n]`, bias if any; to
    /// requantize the sums to another type, multipliers' mantissas `[n]` and shifts `[n]`.
    Linear { x: Elem, k: usize, n: usize, bias: bool, requantize: Option<Elem> },
    /// Query·key of every pair of tokens; item: a row of a head's scores. Inputs: q, k.
    AttnScores { x: Elem, heads: usize, tokens: usize, channels: usize },
    /// Probabilities·values; item: a token. Inputs: p, v.
    AttnValues { p: Elem, heads: usize, tokens: usize, channels: usize },
    /// Bias and mask of scores, for floats their scale, too; item: a score. Inputs: scores, bias, mask if `masks > 0`.
    AttnBias { elem: Elem, heads: usize, tokens: usize, masks: usize, scale: F32 },
    /// A bias of `n` values; item: an element. Inputs: x, bias.
    BiasAdd { elem: Elem, n: usize },
    /// Moves chunks by an index map of `period` chunks; item: a chunk. Inputs: x, map.
    Move { elem: Elem, chunk: usize, period: usize },
    /// Pixels to floats; item: an element. Inputs: pixels, mean, std.
    Normalize { channels: usize },
    /// Item: a row. Inputs: x, γ, β.
    LayerNorm { channels: usize, eps: F32 },
    /// Item: a row. Inputs: x, γ, β, the multiplier's mantissa `[1]` and shift `[1]`. `epsilon` as
    /// [`swint_ir::arith::layer_norm::epsilon`] gives it.
    QLayerNorm { x: Elem, channels: usize, epsilon: i64, to: Elem },
    /// Item: a row. Input: scores.
    Softmax { n: usize },
    /// Item: a row. Inputs: scores, the table of powers, the mantissa `[1]` and shift `[1]` of the exponent's multiplier.
    QSoftmax { n: usize },
    /// Item: an element. Input: x.
    Gelu,
    /// Item: an element. Input: x.
    Relu,
    /// Item: an element. Inputs: a, b.
    Add { elem: Elem },
    /// Item: a channel of an image. Input: x.
    MeanPool { elem: Elem, tokens: usize, channels: usize },
    /// Item: an element. Input: x.
    Quantize { elem: Elem, scale: F32 },
    /// Item: an element, whose channel is `index / stride mod channels`. Inputs: q, scales.
    Dequantize { elem: Elem, channels: usize, stride: usize },
    /// Item: a row of `n`. Inputs: q, multipliers' mantissas `[n]` and shifts `[n]`.
    Requantize { from: Elem, to: Elem, n: usize },
    /// Item: an element. Inputs: x, table.
    Lut { from: Elem, to: Elem },
}

impl fmt::Display for Kernel {
    /// `linear[i8,k=96,n=384,bias,to=i8]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |on: &bool, name: &'static str| if *on { name } else { "" };
        match self {
            Kernel::Linear { x, k, n, bias, requantize } => {
                write!(f, "linear[{x},k={k},n={n}{}", flag(bias, ",bias"))?;
                requantize.iter().try_for_each(|to| write!(f, ",to={to}"))?;
                f.write_str("]")
            }
            Kernel::AttnScores { x, heads, tokens, channels } => {
                write!(f, "attn_scores[{x},heads={heads},tokens={tokens},channels={channels}]")
            }
            Kernel::AttnValues { p, heads, tokens, channels } => {
                write!(f, "attn_values[{p},heads={heads},tokens={tokens},channels={channels}]")
            }
            Kernel::AttnBias { elem, heads, tokens, masks, scale } => {
                write!(f, "attn_bias[{elem},heads={heads},tokens={tokens},masks={masks},scale={scale}]")
            }
            Kernel::BiasAdd { elem, n } => write!(f, "bias_add[{elem},n={n}]"),
            Kernel::Move { elem, chunk, period } => write!(f, "move[{elem},chunk={chunk},period={period}]"),
            Kernel::Normalize { channels } => write!(f, "normalize[channels={channels}]"),
            Kernel::LayerNorm { channels, eps } => write!(f, "layer_norm[channels={channels},eps={eps}]"),
            Kernel::QLayerNorm { x, channels, epsilon, to } => {
                write!(f, "qlayer_norm[{x},channels={channels},epsilon={epsilon},to={to}]")
            }
            Kernel::Softmax { n } => write!(f, "softmax[n={n}]"),
            Kernel::QSoftmax { n } => write!(f, "qsoftmax[n={n}]"),
            Kernel::Gelu => f.write_str("gelu[]"),
            Kernel::Relu => f.write_str("relu[]"),
            Kernel::Add { elem } => write!(f, "add[{elem}]"),
            Kernel::MeanPool { elem, tokens, channels } => {
                write!(f, "mean_pool[{elem},tokens={tokens},channels={channels}]")
            }
            Kernel::Quantize { elem, scale } => write!(f, "quantize[{elem},scale={scale}]"),
            Kernel::Dequantize { elem, channels, stride } => {
                write!(f, "dequantize[{elem},channels={channels},stride={stride}]")
            }
            Kernel::Requantize { from, to, n } => write!(f, "requantize[{from},{to},n={n}]"),
            Kernel::Lut { from, to } => write!(f, "lut[{from},{to}]"),
        }
    }
}

/// What a device constant is made from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ConstSource {
    /// A constant of the graph.
    Weight(Arc<str>),
    /// A matrix `[n,k]` of the graph as `[k,n]`.
    Transposed(Arc<str>),
    /// The scales of a type.
    Scales(Type),
    /// Mantissas of the multipliers from a type to a scale, one for each of so many channels.
    Mantissas(Type, F32, usize),
    /// Shifts of the same.
    Shifts(Type, F32, usize),
    /// The chunks that an index map takes from an operand of a shape.
    Map(Op, Vec<usize>),
    /// Floats.
    Floats(Vec<F32>),
    /// The powers of two of the integer softmax.
    Powers,
}

impl ConstSource {
    /// The values, flat.
    ///
    /// # Panics
    /// When a weight is missing; the verifier says so first.
    pub fn materialize(&self, weights: &Weights) -> Data {
        let weight = |name: &Arc<str>| weights.get(name).unwrap_or_else(|| panic!("constant @{name} has a value"));
        match self {
            ConstSource::Weight(name) => weight(name).data.clone(),
            ConstSource::Transposed(name) => transposed(weight(name)),
            ConstSource::Scales(ty) => Data::F32(weights.scales(ty)),
            ConstSource::Mantissas(ty, to, n) => {
                let all = weights.multipliers(ty, to.get());
                Data::I32((0..*n).map(|i| all[i % all.len()].mult).collect())
            }
            ConstSource::Shifts(ty, to, n) => {
                let all = weights.multipliers(ty, to.get());
                Data::I32((0..*n).map(|i| all[i % all.len()].shift as i32).collect())
            }
            ConstSource::Map(op, shape) => {
                Data::I32(IndexMap::of(op, shape).source.into_iter().map(|i| i as i32).collect())
            }
            ConstSource::Powers => Data::I32(softmax::EXP2.to_vec()),
            ConstSource::Floats(values) => Data::F32(values.iter().map(|v| v.get()).collect()),
        }
    }
}

fn transposed(matrix: &Tensor) -> Data {
    fn of<T: Copy>(v: &[T], n: usize, k: usize) -> Vec<T> {
        (0..n * k).map(|i| v[i % n * k + i / n]).collect()
    }
    let (n, k) = (matrix.shape[0], matrix.shape[1]);
    match &matrix.data {
        Data::F32(v) => Data::F32(of(v, n, k)),
        Data::I8(v) => Data::I8(of(v, n, k)),
        other => panic!("weights are f32 or i8, not {}", other.elem()),
    }
}

impl fmt::Display for ConstSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConstSource::Weight(name) => write!(f, "@{name}"),
            ConstSource::Transposed(name) => write!(f, "transpose @{name}"),
            ConstSource::Scales(ty) => write!(f, "scales {ty}"),
            ConstSource::Mantissas(ty, to, n) => write!(f, "{n} mantissas {ty} to {to}"),
            ConstSource::Shifts(ty, to, n) => write!(f, "{n} shifts {ty} to {to}"),
            ConstSource::Map(op, shape) => {
                write!(f, "map {}", op.kind())?;
                op.attrs().iter().try_for_each(|attr| write!(f, " {attr}"))?;
                write!(f, " of {shape:?}")
            }
            ConstSource::Powers => f.write_str("powers of two"),
            ConstSource::Floats(values) => write!(f, "floats {values:?}"),
        }
    }
}
