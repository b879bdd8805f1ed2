//! Kernel specifications: what a kernel computes, as plain data.

use super::pack;
use std::{fmt, sync::Arc};
use swint_ir::{
    Data, Elem, F32, Tensor, Type, Weights,
    arith::softmax,
    index_map::{IndexMap, NOTHING},
    op::Op,
};

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
    /// Moves chunks by an index map; item: a chunk of the result. Inputs: x, map.
    Move { elem: Elem, rows: Rows },
    /// Pixels to floats; item: an element. Inputs: pixels, mean, std.
    Normalize { channels: usize },
    /// Item: a row. Inputs: x, γ, β.
    LayerNorm { channels: usize, eps: F32 },
    /// Item: a row. Inputs: x, γ, β, the multiplier's mantissa `[1]` and shift `[1]`. `epsilon` as
    /// [`swint_ir::arith::layer_norm::epsilon`] gives it.
    QLayerNorm { x: Elem, channels: usize, epsilon: i64, to: Elem },
    /// Item: a head of a row, `channels` of them. Input: x.
    L2Norm { channels: usize, eps: F32 },
    /// Item: a head of a row, `channels` of them. Inputs: x, the multiplier's mantissa `[1]` and shift `[1]`.
    QL2Norm { x: Elem, channels: usize, to: Elem },
    /// Item: a score, of which a head of a window has `area`. Inputs: scores, the heads' scales.
    HeadScale { elem: Elem, heads: usize, area: usize },
    /// Item: a row. Input: scores.
    Softmax { n: usize },
    /// Item: a row. Inputs: scores, the table of powers, the mantissa `[1]` and shift `[1]` of the exponent's multiplier.
    QSoftmax { n: usize },
    /// Item: an element. Input: x.
    Gelu,
    /// A float GELU between integers; item: an element, whose channel is `index / stride mod channels`. Inputs: x, scales.
    FloatGelu { from: Elem, channels: usize, stride: usize, to: Elem, scale: F32 },
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
    /// A LayerNorm, or where there is no `epsilon` a requantization to i8, then a linear, then a table if any; item: a row of results. Rows
    /// are made of `rows.parts` chunks. Inputs: x, the norm's ([`Kernel::QLayerNorm`]'s, x aside) or the multiplier's mantissa `[1]` and shift
    /// `[1]`, the linear's ([`Kernel::Linear`]'s, x aside), table, map.
    NormLinear { x: Elem, rows: Rows, epsilon: Option<i64>, n: usize, bias: bool, to: Elem, table: Option<Elem> },
    /// A linear, then an addition to the residual stream; item: a row of results. Inputs: x, the linear's, r, multipliers'
    /// mantissas `[n]` and shifts `[n]` of r, map.
    LinearResidual { x: Elem, rows: Rows, n: usize, r: Elem },
    /// A LayerNorm, then an addition to the residual stream; item: a row of results. Inputs: x, the norm's, r, multipliers' mantissas
    /// `[n]` and shifts `[n]` of r, map.
    NormResidual { x: Elem, rows: Rows, epsilon: i64, r: Elem },
    /// LayerNorm, linear, table if any, linear, addition to x; item: a row. Inputs: x, the norm's, the first linear's, table,
    /// the second linear's, x, multipliers' mantissas `[k]` and shifts `[k]` of x.
    Mlp { x: Elem, k: usize, hidden: usize, epsilon: i64, to: Elem, table: Option<Elem> },
    /// Scores, bias, mask, softmax, values; item: a token of a head of a window. If `cosine`, of 16-bit q and k at length 1, scores by their heads'
    /// scales. Inputs: q, k and v as thirds of the channels, then what [`AttentionPlaces`] says.
    WindowAttention { x: Elem, heads: usize, tokens: usize, channels: usize, masks: usize, cosine: bool, to: Elem },
    /// A linear, then a LayerNorm of its 16-bit results; item: a row of results. Inputs: x, the linear's, the norm's, map.
    LinearNorm { x: Elem, rows: Rows, n: usize, epsilon: i64 },
    /// LayerNorm of every token, mean, linear; item: an image. Inputs: x, the norm's, the mean's mantissa `[1]` and shift `[1]`,
    /// the linear's.
    Head { x: Elem, tokens: usize, k: usize, n: usize, epsilon: i64, to: Elem },
}

/// Where [`Kernel::WindowAttention`] has its inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttentionPlaces {
    /// Of cosine attention: mantissa `[1]` and shift `[1]` of q, those of k, those of v, and the heads' scales.
    pub cosine: Option<usize>,
    /// Biases of scores.
    pub bias: usize,
    /// Masks, if there are any.
    pub mask: Option<usize>,
    /// The softmax's: [`Kernel::QSoftmax`]'s, scores aside.
    pub softmax: usize,
    /// Mantissa `[1]` and shift `[1]` of the result.
    pub result: usize,
    /// What comes after all inputs.
    pub end: usize,
}

impl AttentionPlaces {
    /// Of an attention that is by cosines or not, with masks or without.
    pub fn of(cosine: bool, masked: bool) -> AttentionPlaces {
        let bias = if cosine { 8 } else { 1 };
        let softmax = bias + 1 + usize::from(masked);
        let (cosine, mask) = (cosine.then_some(1), masked.then_some(bias + 1));
        AttentionPlaces { cosine, bias, mask, softmax, result: softmax + 3, end: softmax + 5 }
    }
}

/// Where the rows come from that a kernel works on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rows {
    /// Elements that stay together.
    pub chunk: usize,
    /// Chunks of a row.
    pub parts: usize,
    /// Chunks of an image of what is made, which an index map moves; 0 where none does.
    pub period: usize,
    /// Chunks of an image of what they are moved from.
    pub from: usize,
    /// Whether some are zeros, of nothing: the map has −1 there.
    pub padded: bool,
}

impl Rows {
    /// Rows of `k` elements, which nothing moves.
    pub fn plain(k: usize) -> Rows {
        Rows { chunk: k, parts: 1, period: 0, from: 0, padded: false }
    }

    /// Rows of `parts` chunks that index maps move, each from an operand of the shape beside it.
    pub(super) fn moved(chunk: usize, parts: usize, maps: &[(Op, Vec<usize>)]) -> Rows {
        let (Some((_, first)), Some((last, shape))) = (maps.first(), maps.last()) else {
            return Rows { parts, ..Rows::plain(chunk) };
        };
        let chunks = |shape: &[usize]| shape.iter().product::<usize>() / shape.last().expect("maps move channels");
        let padded = maps.iter().any(|(op, _)| matches!(op, Op::Pad { .. }));
        Rows { chunk, parts, period: IndexMap::of(last, shape).source.len(), from: chunks(first), padded }
    }

    /// What an index map takes chunks from, where that is not as many.
    fn fmt_source(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from != self.period {
            write!(f, ",from={}", self.from)?;
        }
        f.write_str(if self.padded { ",padded" } else { "" })
    }

    /// Elements of a row.
    pub fn len(self) -> usize {
        self.chunk * self.parts
    }

    /// Whether rows have no elements: never.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k={}", self.len())?;
        if self.period > 0 {
            write!(f, ",map={}x{}", self.period, self.chunk)?;
        }
        self.fmt_source(f)
    }
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
            Kernel::Move { elem, rows } => {
                write!(f, "move[{elem},chunk={},period={}", rows.chunk, rows.period)?;
                rows.fmt_source(f)?;
                f.write_str("]")
            }
            Kernel::L2Norm { channels, eps } => write!(f, "l2_norm[channels={channels},eps={eps}]"),
            Kernel::QL2Norm { x, channels, to } => write!(f, "ql2_norm[{x},channels={channels},to={to}]"),
            Kernel::HeadScale { elem, heads, area } => {
                write!(f, "head_scale[{elem},heads={heads},area={area}]")
            }
            Kernel::Normalize { channels } => write!(f, "normalize[channels={channels}]"),
            Kernel::LayerNorm { channels, eps } => write!(f, "layer_norm[channels={channels},eps={eps}]"),
            Kernel::QLayerNorm { x, channels, epsilon, to } => {
                write!(f, "qlayer_norm[{x},channels={channels},epsilon={epsilon},to={to}]")
            }
            Kernel::Softmax { n } => write!(f, "softmax[n={n}]"),
            Kernel::QSoftmax { n } => write!(f, "qsoftmax[n={n}]"),
            Kernel::Gelu => f.write_str("gelu[]"),
            Kernel::FloatGelu { from, channels, stride, to, scale } => {
                write!(f, "float_gelu[{from},channels={channels},stride={stride},to={to},scale={scale}]")
            }
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
            Kernel::NormLinear { x, rows, epsilon, n, bias, to, table } => {
                f.write_str(if epsilon.is_some() { "norm_linear" } else { "stream_linear" })?;
                write!(f, "[{x},{rows},n={n}")?;
                epsilon.iter().try_for_each(|epsilon| write!(f, ",epsilon={epsilon}"))?;
                write!(f, "{},to={to}", flag(bias, ",bias"))?;
                table.iter().try_for_each(|to| write!(f, ",table={to}"))?;
                f.write_str("]")
            }
            Kernel::LinearResidual { x, rows, n, r } => write!(f, "linear_residual[{x},{rows},n={n},r={r}]"),
            Kernel::NormResidual { x, rows, epsilon, r } => {
                write!(f, "norm_residual[{x},{rows},epsilon={epsilon},r={r}]")
            }
            Kernel::Mlp { x, k, hidden, epsilon, to, table } => {
                write!(f, "mlp[{x},k={k},hidden={hidden},epsilon={epsilon},to={to}")?;
                table.iter().try_for_each(|to| write!(f, ",table={to}"))?;
                f.write_str("]")
            }
            Kernel::WindowAttention { x, heads, tokens, channels, masks, cosine, to } => {
                // Of others q, k and v are bytes.
                let name = if *cosine { format!("cosine_attention[{x},") } else { "window_attention[".to_owned() };
                write!(f, "{name}heads={heads},tokens={tokens},channels={channels},masks={masks},to={to}]")
            }
            Kernel::LinearNorm { x, rows, n, epsilon } => write!(f, "linear_norm[{x},{rows},n={n},epsilon={epsilon}]"),
            Kernel::Head { x, tokens, k, n, epsilon, to } => {
                write!(f, "head[{x},tokens={tokens},k={k},n={n},epsilon={epsilon},to={to}]")
            }
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
    /// A matrix `[n,k]` of the graph as fragments, for blocks of so many: [`pack::weights`].
    Fragments(Arc<str>, usize),
    /// The same for rows of which a lane holds a quarter: [`pack::quarters`].
    Quarters(Arc<str>, usize),
    /// A matrix `[n,k]` of the graph for sums of several products: [`pack::dots`].
    Dots {
        /// Its name.
        name: Arc<str>,
        /// The name of a bias that sums begin with.
        bias: Option<Arc<str>>,
        /// Columns of a panel.
        columns: usize,
        /// Products that are added to a lane at once.
        products: usize,
        /// How much more than they are the rows' values are taken to be.
        raise: i32,
    },
    /// What becomes of the sums of so many columns, for blocks of so many fragments: [`pack::columns`].
    Columns {
        /// How many there are.
        n: usize,
        /// Fragments of a block.
        frags: usize,
        /// The name of a bias.
        bias: Option<Arc<str>>,
        /// The type of sums and the scale that they are requantized to.
        scale: Option<(Type, F32)>,
        /// Whether the upper half of a 64-bit product is enough.
        narrow: bool,
    },
    /// What becomes of 16-bit values of so many columns, of a type and for a scale, in the same order: how many, fragments, and whether the upper
    /// half of a product is enough.
    Halves(Type, F32, usize, usize, bool),
    /// A table of 256 bytes of the graph for lookups by bytes, signed or not: [`pack::table`].
    Table(Arc<str>, bool),
    /// Biases of scores `[count,tokens,tokens]` of the graph as fragments: [`pack::scores`].
    Scores(Arc<str>),
    /// Biases of scores `[count,tokens,tokens]` of the graph, rows filled up to a multiple of so many: [`pack::rows`].
    Rows(Arc<str>, usize),
    /// How a score's distance from the largest becomes an exponent, for the type of scores: [`pack::exponent`].
    Exponent(Type),
    /// The same for a table of powers of which two share a word: [`pack::distances`].
    Distances(Type),
    /// The scales of a type.
    Scales(Type),
    /// Mantissas of the multipliers from a type to a scale, one for each of so many channels.
    Mantissas(Type, F32, usize),
    /// Shifts of the same.
    Shifts(Type, F32, usize),
    /// The chunks that index maps, one after the other, take from operands of these shapes; −1 for nothing.
    Map(Vec<(Op, Vec<usize>)>),
    /// Floats.
    Floats(Vec<F32>),
    /// The powers of two of the integer softmax.
    Powers,
    /// The same, two to a word: the first half of them in lower halves, the second in upper ones.
    PowerPairs,
    /// The same, the lower bytes of all, then the upper ones.
    PowerBytes,
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
            ConstSource::Fragments(name, frags) => {
                let (values, n, k) = bytes(weight(name));
                Data::I8(pack::weights(values, n, k, *frags))
            }
            ConstSource::Quarters(name, frags) => {
                let (values, n, k) = bytes(weight(name));
                let (filled, k) = pack::quarters(values, n, k);
                Data::I8(pack::weights(&filled, n, k, *frags))
            }
            ConstSource::Dots { name, bias, columns, products, raise } => {
                let (values, n, k) = bytes(weight(name));
                let bias = bias.as_ref().map(|name| biases(weight(name)));
                Data::I8(pack::dots(values, n, k, bias, *columns, *products, *raise))
            }
            ConstSource::Columns { n, frags, bias, scale, narrow } => {
                let bias = bias.as_ref().map(|name| biases(weight(name)));
                let bias = |i: usize| bias.map_or(0, |bias| bias[i]);
                let all = scale.as_ref().map(|(ty, to)| weights.multipliers(ty, to.get()));
                Data::I32(pack::columns(*n, *frags, |i| match &all {
                    Some(all) => pack::of_sums(bias(i), all[i % all.len()], *narrow),
                    None => [bias(i), 0, 0, 0],
                }))
            }
            ConstSource::Halves(ty, to, n, frags, narrow) => {
                let all = weights.multipliers(ty, to.get());
                Data::I32(pack::columns(*n, *frags, |i| pack::of_halves(all[i % all.len()], *narrow)))
            }
            ConstSource::Table(name, signed) => {
                let bytes: Vec<u8> = match &weight(name).data {
                    Data::I8(values) => values.iter().map(|&v| v as u8).collect(),
                    Data::U8(values) => values.clone(),
                    other => panic!("tables are of bytes, not {}", other.elem()),
                };
                Data::U8(pack::table(&bytes, *signed))
            }
            ConstSource::Scores(name) => {
                let all = weight(name);
                Data::I32(pack::scores(biases(all), all.shape[1]))
            }
            ConstSource::Rows(name, multiple) => {
                let all = weight(name);
                Data::I32(pack::rows(biases(all), all.shape[1], *multiple))
            }
            ConstSource::Exponent(ty) => Data::I32(pack::exponent(weights.multipliers(ty, softmax::EXPONENT_SCALE)[0])),
            ConstSource::Distances(ty) => {
                let multiplier = weights.multipliers(ty, softmax::EXPONENT_SCALE)[0];
                Data::I32(pack::distances(multiplier).expect("plans ask before they pack"))
            }
            ConstSource::Scales(ty) => Data::F32(weights.scales(ty)),
            ConstSource::Mantissas(ty, to, n) => {
                let all = weights.multipliers(ty, to.get());
                Data::I32((0..*n).map(|i| all[i % all.len()].mult).collect())
            }
            ConstSource::Shifts(ty, to, n) => {
                let all = weights.multipliers(ty, to.get());
                Data::I32((0..*n).map(|i| all[i % all.len()].shift as i32).collect())
            }
            ConstSource::Map(maps) => {
                let mut all = maps.iter().map(|(op, shape)| IndexMap::of(op, shape).source);
                let first = all.next().expect("there is a map");
                // Nothing is nothing, wherever it is moved.
                let of = |below: &[u32], i: u32| if i == NOTHING { NOTHING } else { below[i as usize] };
                let composed = all.fold(first, |below, above| above.iter().map(|&i| of(&below, i)).collect());
                Data::I32(composed.into_iter().map(|i| i as i32).collect())
            }
            ConstSource::Powers => Data::I32(softmax::EXP2.to_vec()),
            ConstSource::PowerPairs => {
                let (first, second) = softmax::EXP2.split_at(softmax::EXP2.len() / 2);
                Data::I32(first.iter().zip(second).map(|(a, b)| a | b << 16).collect())
            }
            ConstSource::PowerBytes => Data::U8(
                [0, 8].iter().flat_map(|shift| softmax::EXP2.iter().map(move |v| (v >> shift) as u8)).collect(),
            ),
            ConstSource::Floats(values) => Data::F32(values.iter().map(|v| v.get()).collect()),
        }
    }
}

/// A matrix of bytes and its extents.
fn bytes(matrix: &Tensor) -> (&[i8], usize, usize) {
    let Data::I8(values) = &matrix.data else { panic!("packed weights are i8, not {}", matrix.data.elem()) };
    (values, matrix.shape[0], matrix.shape[1])
}

/// Biases of sums, or of scores.
fn biases(all: &Tensor) -> &[i32] {
    let Data::I32(values) = &all.data else { panic!("biases are i32, not {}", all.data.elem()) };
    values
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
            ConstSource::Fragments(name, frags) => write!(f, "fragments by {frags} @{name}"),
            ConstSource::Dots { name, bias, columns, products, raise } => {
                let bias = bias.as_ref().map_or(String::new(), |bias| format!(" and @{bias}"));
                let of = if *products == 4 { "quads" } else { "pairs" };
                let raised = if *raise > 0 { format!(" of rows raised by {raise}") } else { String::new() };
                write!(f, "{of} by {columns} @{name}{bias}{raised}")
            }
            ConstSource::Quarters(name, frags) => write!(f, "fragments by {frags} of quarters @{name}"),
            ConstSource::Columns { n, frags, bias, scale, narrow } => {
                write!(f, "{n} columns by {frags}")?;
                scale.iter().try_for_each(|(ty, to)| write!(f, " {ty} to {to}"))?;
                bias.iter().try_for_each(|name| write!(f, " from @{name}"))?;
                f.write_str(if *narrow { "" } else { ", wide" })
            }
            ConstSource::Halves(ty, to, n, frags, narrow) => {
                write!(f, "{n} columns by {frags} of halves {ty} to {to}{}", if *narrow { "" } else { ", wide" })
            }
            ConstSource::Table(name, signed) => write!(f, "table of {} @{name}", if *signed { "i8" } else { "u8" }),
            ConstSource::Scores(name) => write!(f, "fragments of scores @{name}"),
            ConstSource::Rows(name, multiple) => write!(f, "rows by {multiple} @{name}"),
            ConstSource::Exponent(ty) => write!(f, "exponent {ty}"),
            ConstSource::Distances(ty) => write!(f, "distances {ty}"),
            ConstSource::Scales(ty) => write!(f, "scales {ty}"),
            ConstSource::Mantissas(ty, to, n) => write!(f, "{n} mantissas {ty} to {to}"),
            ConstSource::Shifts(ty, to, n) => write!(f, "{n} shifts {ty} to {to}"),
            ConstSource::Map(maps) => maps.iter().enumerate().try_for_each(|(i, (op, shape))| {
                write!(f, "{} {}", if i > 0 { ", then" } else { "map" }, op.kind())?;
                op.attrs().iter().try_for_each(|attr| write!(f, " {attr}"))?;
                write!(f, " of {shape:?}")
            }),
            ConstSource::Powers => f.write_str("powers of two"),
            ConstSource::PowerPairs => f.write_str("powers of two, by pairs"),
            ConstSource::PowerBytes => f.write_str("powers of two, lower bytes, then upper ones"),
            ConstSource::Floats(values) => write!(f, "floats {values:?}"),
        }
    }
}
