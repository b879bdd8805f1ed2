//! The closed set of ops, from one table: names, operand counts, attributes and class.

use crate::{
    pair::Pair,
    types::{Elem, F32},
};
use std::fmt;

/// An attribute's value, as text form and e-graph see it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Attr {
    /// A count or extent.
    Int(i64),
    /// A float.
    F32(F32),
    /// A list of floats.
    F32s(Vec<F32>),
    /// A list of counts or extents.
    Ints(Vec<i64>),
    /// An element type.
    Elem(Elem),
    /// An order of positions.
    Order(Order),
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Int(v) => write!(f, "{v}"),
            Attr::F32(v) => write!(f, "{v}"),
            Attr::F32s(vs) => list(f, vs),
            Attr::Ints(vs) => list(f, vs),
            Attr::Elem(v) => write!(f, "{v}"),
            Attr::Order(v) => f.write_str(v.name()),
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, values: &[T]) -> fmt::Result {
    f.write_str("[")?;
    for (i, v) in values.iter().enumerate() {
        write!(f, "{}{v}", if i > 0 { ", " } else { "" })?;
    }
    f.write_str("]")
}

/// A type that an attribute can have.
trait AttrType: Sized {
    /// What the diagnostics call it.
    const KIND: &'static str;
    fn to_attr(&self) -> Attr;
    fn from_attr(attr: &Attr) -> Option<Self>;
}

macro_rules! attr_type {
    ($ty:ty, $kind:literal, $variant:ident) => {
        impl AttrType for $ty {
            const KIND: &'static str = $kind;
            fn to_attr(&self) -> Attr {
                Attr::$variant(self.clone())
            }
            fn from_attr(attr: &Attr) -> Option<Self> {
                if let Attr::$variant(v) = attr { Some(v.clone()) } else { None }
            }
        }
    };
}

attr_type!(Elem, "an element type", Elem);
attr_type!(Order, "`row` or `column`", Order);

impl AttrType for F32 {
    const KIND: &'static str = "a float";
    fn to_attr(&self) -> Attr {
        Attr::F32(*self)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::F32(v) => Some(*v),
            // `1` for `1.0`, as people write it.
            Attr::Int(v) if *v as f32 as i64 == *v => Some(F32::new(*v as f32)),
            _ => None,
        }
    }
}

impl AttrType for Vec<F32> {
    const KIND: &'static str = "a list of floats";
    fn to_attr(&self) -> Attr {
        Attr::F32s(self.clone())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::F32s(vs) => Some(vs.clone()),
            // `[0, 1]` for `[0.0, 1.0]`.
            Attr::Ints(vs) => vs.iter().map(|&v| F32::from_attr(&Attr::Int(v))).collect(),
            _ => None,
        }
    }
}

macro_rules! pair_attr {
    ($ty:ty, $kind:literal) => {
        impl AttrType for Pair<$ty> {
            const KIND: &'static str = $kind;
            fn to_attr(&self) -> Attr {
                // One way to write each: e-nodes are compared by it.
                match self.map(|v| v as i64) {
                    Pair { rows, columns } if rows == columns => Attr::Int(rows),
                    Pair { rows, columns } => Attr::Ints(vec![rows, columns]),
                }
            }
            fn from_attr(attr: &Attr) -> Option<Self> {
                let (rows, columns) = match attr {
                    Attr::Int(v) => (*v, *v),
                    Attr::Ints(vs) => (*vs.first()?, *vs.get(1).filter(|_| vs.len() == 2)?),
                    _ => return None,
                };
                Some(Pair::new(rows.try_into().ok()?, columns.try_into().ok()?))
            }
        }
    };
}

pair_attr!(usize, "a non-negative integer, or two as `[rows, columns]`");
pair_attr!(i64, "an integer, or two as `[rows, columns]`");

impl AttrType for usize {
    const KIND: &'static str = "a non-negative integer";
    fn to_attr(&self) -> Attr {
        Attr::Int(*self as i64)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        if let Attr::Int(v) = attr { usize::try_from(*v).ok() } else { None }
    }
}

impl AttrType for i64 {
    const KIND: &'static str = "an integer";
    fn to_attr(&self) -> Attr {
        Attr::Int(*self)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        if let Attr::Int(v) = attr { Some(*v) } else { None }
    }
}

/// In which order the positions of a block become channels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Order {
    /// `(h, w)`: (0,0), (0,1), (1,0), (1,1). A convolution's kernel, flattened.
    Row,
    /// `(w, h)`: (0,0), (1,0), (0,1), (1,1). Swin's patch merging.
    Column,
}

impl Order {
    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Order::Row => "row",
            Order::Column => "column",
        }
    }

    /// The order of a name.
    pub fn from_name(name: &str) -> Option<Order> {
        [Order::Row, Order::Column].into_iter().find(|o| o.name() == name)
    }
}

/// What kind of work an op is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Moves elements and computes nothing: an index map.
    Index,
    /// A sum of products.
    Contract,
    /// One element of the result from one element of each operand.
    Pointwise,
    /// A row of the result from a whole row.
    Row,
    /// Changes how values are represented.
    Convert,
    /// Several ops in one kernel: see [`crate::fused`].
    Fused,
}

/// Why values are not the attributes of an op.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AttrError {
    /// Too many or too few.
    #[error("{op} takes {wanted} attributes, not {found}")]
    Count {
        /// The op.
        op: OpKind,
        /// How many it takes.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// One of another kind.
    #[error("attribute `{}` of {op} must be {wanted}, not `{found}`", op.attr_names()[*index])]
    Kind {
        /// The op.
        op: OpKind,
        /// Which of its attributes.
        index: usize,
        /// The kind that it has.
        wanted: &'static str,
        /// The value.
        found: Attr,
    },
}

macro_rules! ops {
    ($( $(#[doc = $doc:literal])* $variant:ident $name:literal ($($operand:literal),* $(; $optional:literal)?) $class:ident { $($attr:ident : $ty:ty),* } )*) => {
        /// An op with its attributes. Each variant's documentation gives its equation.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Op { $( $(#[doc = $doc])* $variant { $( #[allow(missing_docs)] $attr: $ty ),* } ),* }

        /// An op without its attributes: a row of the op table.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum OpKind { $( #[allow(missing_docs)] $variant ),* }

        impl OpKind {
            /// Every op.
            pub const ALL: &'static [OpKind] = &[ $( OpKind::$variant ),* ];

            /// The name in the text form.
            pub const fn name(self) -> &'static str { match self { $( OpKind::$variant => $name ),* } }

            /// The names of the operands that it always has.
            pub const fn operand_names(self) -> &'static [&'static str] {
                match self { $( OpKind::$variant => &[ $( $operand ),* ] ),* }
            }

            /// The name of the operand that may follow them, if one may.
            pub const fn optional_operand(self) -> Option<&'static str> {
                // Its first element: the name, if one is given.
                match self { $( OpKind::$variant => [$( Some($optional), )? None][0] ),* }
            }

            /// The fewest and the most operands.
            pub const fn arity(self) -> (usize, usize) {
                let fewest = self.operand_names().len();
                (fewest, fewest + self.optional_operand().is_some() as usize)
            }

            /// Its documentation: the equation, and where it comes from.
            pub const fn doc(self) -> &'static str {
                match self { $( OpKind::$variant => concat!($( $doc, "\n" ),*) ),* }
            }

            /// What kind of value each attribute has, in the order of [`OpKind::attr_names`].
            pub const fn attr_kinds(self) -> &'static [&'static str] {
                match self { $( OpKind::$variant => &[ $( <$ty as AttrType>::KIND ),* ] ),* }
            }

            /// What kind of work it is.
            pub const fn class(self) -> Class { match self { $( OpKind::$variant => Class::$class ),* } }

            /// The names of the attributes, in order.
            pub const fn attr_names(self) -> &'static [&'static str] {
                match self { $( OpKind::$variant => &[ $( stringify!($attr) ),* ] ),* }
            }
        }

        impl Op {
            /// The op without its attributes.
            pub const fn kind(&self) -> OpKind { match self { $( Op::$variant { .. } => OpKind::$variant ),* } }

            /// The attributes' values, in the order of [`OpKind::attr_names`].
            pub fn attrs(&self) -> Vec<Attr> {
                match self { $( Op::$variant { $( $attr ),* } => vec![ $( $attr.to_attr() ),* ] ),* }
            }

            /// The op of a kind and its attributes' values.
            ///
            /// # Errors
            /// When a value has the wrong type, or there are too many or too few.
            pub fn from_attrs(kind: OpKind, attrs: &[Attr]) -> Result<Op, AttrError> {
                let wanted = kind.attr_names().len();
                if attrs.len() != wanted {
                    return Err(AttrError::Count { op: kind, wanted, found: attrs.len() });
                }
                #[allow(unused_variables, unused_mut)]
                let mut values = attrs.iter().enumerate();
                match kind {
                    $( OpKind::$variant => Ok(Op::$variant { $( $attr: {
                        let (index, value) = values.next().expect("counted above");
                        <$ty as AttrType>::from_attr(value).ok_or_else(|| AttrError::Kind {
                            op: kind, index, wanted: <$ty as AttrType>::KIND, found: value.clone(),
                        })?
                    } ),* }) ),*
                }
            }
        }
    };
}

// In the equations, `x` is the first operand, `b` a batch index, `c` a channel; shapes are in brackets.
ops! {
    /// `y[b,h,w,c] = (x[b,h,w,c] / 255 − mean[c]) / std[c]`; x: u8 pixels `[B,H,W,C]`.
    Normalize "normalize" ("pixels") Pointwise { mean: Vec<F32>, std: Vec<F32> }
    /// `y[b,i,j,p·C+c] = x[b, i·block+u, j·block+v, c]`, (u,v) the p-th position of a block in `order`: blocks become channels,
    /// `[B,H,W,C]` → `[B,H/block,W/block,block²·C]`.
    SpaceToDepth "space_to_depth" ("x") Index { block: usize, order: Order }
    /// `y[b,h,w,c] = x[b, (h + s) mod H, (w + t) mod W, c]`, (s,t) = `shift`: Swin's cyclic shift for a positive `shift`, its
    /// reverse for a negative one.
    Roll "roll" ("x") Index { shift: Pair<i64> }
    /// `y[b,h,w,c] = x[b,h,w,c]` where x has such an element, else 0: zeros at the bottom and right, up to the sides (rows,
    /// columns) `sides`.
    Pad "pad" ("x") Index { sides: Pair<usize> }
    /// `y[b,h,w,c] = x[b,h,w,c]` for the first rows and columns, as many as `sides` says: what `pad` added is gone.
    Crop "crop" ("x") Index { sides: Pair<usize> }
    /// `y[(b·R+i)·S+j, u·w₁+v, c] = x[b, i·w₀+u, j·w₁+v, c]`, (w₀,w₁) = `window`, R = H/w₀, S = W/w₁: `[B,H,W,C]` →
    /// `[B·R·S, w₀·w₁, C]`.
    WindowPartition "window_partition" ("x") Index { window: Pair<usize> }
    /// `y[b, i·w₀+u, j·w₁+v, c] = x[(b·R+i)·S+j, u·w₁+v, c]`, (w₀,w₁) = `window`, R = height/w₀, S = width/w₁, the inverse of
    /// `window_partition`: `[B·R·S, w₀·w₁, C]` → `[B,height,width,C]`.
    WindowReverse "window_reverse" ("x") Index { window: Pair<usize>, height: usize, width: usize }
    /// `y[r,c] = (x[r,c] − μ[r]) / √(σ²[r] + eps) · γ[c] + β[c]` over the last axis; operands x, γ, β. Sums run in
    /// order of c, in f32; σ² is the mean of squared deviations. (Ba et al., arXiv 1607.06450)
    LayerNorm "layer_norm" ("x", "γ", "β") Row { eps: F32 }
    /// LayerNorm of integers: `acc[r,c] = ⌊2^10·(x[r,c] − μ[r]) / √(σ²[r] + eps)⌉ · γ[c] + β[c]`, requantized to `elem` and
    /// `scale`; x i8 or i16, γ i16, β i32 with γ's scale times 2^-10. Exact sums, one rounded root:
    /// [`crate::arith::layer_norm`]. (after I-BERT, arXiv 2101.01321)
    QLayerNorm "qlayer_norm" ("x", "γ", "β") Row { eps: F32, elem: Elem, scale: F32 }
    /// `y[r,h·D+d] = x[r,h·D+d] / max(‖x[r,h]‖, eps)`, `‖x[r,h]‖ = √(Σ_d x[r,h·D+d]²)`, D = C/heads: each head's channels at
    /// length 1. The sum runs in order of d, in f32. (cosine attention of Swin V2, arXiv 2111.09883, eq. 2)
    L2Norm "l2_norm" ("x") Row { heads: usize, eps: F32 }
    /// L2 normalisation of integers: `y[r,h·D+d] = ⌊2^15·x[r,h·D+d] / ‖x[r,h]‖⌉`, 0 where all of a head is, requantized from 2^-15 to `elem`
    /// and `scale`; x i8 or i16. An exact sum, one rounded root: [`crate::arith::l2_norm`].
    QL2Norm "ql2_norm" ("x") Row { heads: usize, elem: Elem, scale: F32 }
    /// `y[r,n] = Σₖ x[r,k] · w[n,k] (+ bias[n])`; x `[..,K]`, w `[N,K]`. f32: the sum runs in order of k and the bias is
    /// added last. Integers: i8 or u8 by i8, into i32, exact.
    Linear "linear" ("x", "w"; "bias") Contract { }
    /// `requantize(linear(x, w, bias))` of integers, in one: the accumulator never reaches memory.
    QLinear "qlinear" ("x", "w"; "bias") Contract { elem: Elem, scale: F32 }
    /// `y[r,n] = x[r,n] + bias[n]`; f32, or i32 (wrapping is excluded by the bounds on K and the bias).
    BiasAdd "bias_add" ("x", "bias") Pointwise { }
    /// `y[w,h,i,j] = Σ_d q[w,i,h·D+d] · k[w,j,h·D+d]`, D = C/heads; q, k `[W,N,C]` → `[W,heads,N,N]`.
    AttnScores "attn_scores" ("q", "k") Contract { heads: usize }
    /// `y[w,h,i,j] = x[w,h,i,j] · s[h]`; x `[W,heads,N,N]`. f32; or i32 by i16, x saturated to ±32767 first: a product of 2^30 at
    /// most.
    HeadScale "head_scale" ("x", "s") Pointwise { }
    /// `y[w,h,i,j] = x[w,h,i,j] · scale + bias[h,i,j] (+ mask[w mod M,i,j])`; bias `[heads,N,N]`, mask `[M,N,N]`. Of i32 sums,
    /// `scale` goes into the type and costs nothing: bias and mask are in units of the result.
    AttnBias "attn_bias" ("x", "bias"; "mask") Pointwise { scale: F32 }
    /// `y[r,j] = exp(x[r,j] − max x[r]) / Σ exp(…)` over the last axis, with [`crate::math::exp`].
    Softmax "softmax" ("x") Row { }
    /// Softmax of i32 scores over the last axis, as u8 of scale 1/255: `y[r,j] = ⌊255 · e[r,j] / Σ e[r,·] + 1/2⌋` with
    /// `e = ⌊2^15 · 2^(−s·log2(e)·(max x[r] − x[r,j]))⌋` by a table and shifts: [`crate::arith::softmax`]. (after I-ViT, arXiv
    /// 2207.01405)
    QSoftmax "qsoftmax" ("x") Row { }
    /// `y[w,i,h·D+d] = Σ_j p[w,h,i,j] · v[w,j,h·D+d]`; p `[W,heads,N,N]`, v `[W,N,C]` → `[W,N,C]`.
    AttnValues "attn_values" ("p", "v") Contract { }
    /// `y = x · Φ(x)`, with [`crate::math::gelu`]. (Hendrycks & Gimpel, arXiv 1606.08415)
    Gelu "gelu" ("x") Pointwise { }
    /// `quantize(gelu(dequantize(x)))`, in one: how a float GELU stands between integers in other int8 Swins, and what a table or a
    /// ReLU replaces. (Zhang et al., arXiv 2402.01169, section 2)
    FloatGelu "float_gelu" ("x") Pointwise { elem: Elem, scale: F32 }
    /// `y = x` where x > 0, else +0.
    Relu "relu" ("x") Pointwise { }
    /// `y = a + b`, elementwise; of i16, saturating.
    Add "add" ("a", "b") Pointwise { }
    /// `y[b,c] = (Σ_hw x[b,h,w,c]) / (H·W)`; the sum runs row by row. Of integers it is the exact sum, as i32 whose scale is
    /// divided by H·W.
    MeanPool "mean_pool" ("x") Row { }
    /// `q = clamp(⌊x / scale + 1/2⌋)` to the range of `elem`.
    Quantize "quantize" ("x") Convert { elem: Elem, scale: F32 }
    /// `x = q · scale`, the scale of the operand's type.
    Dequantize "dequantize" ("q") Convert { }
    /// `q' = clamp(⌊q · s / scale + 1/2⌋)` to the range of `elem`, s the scale of the operand's type, in fixed point:
    /// [`crate::arith::Multiplier`].
    Requantize "requantize" ("q") Convert { elem: Elem, scale: F32 }
    /// `y = table[x]`; x i8 (entry 0 stands for −128) or u8, table `[256]` of an 8-bit type.
    Lut "lut" ("x", "table") Pointwise { }
    /// `qlinear(window_partition(pad(roll(pad(qlayer_norm(x, γ, β))))), w, bias)`, then `lut(…, table)` if there is one: a block's q, k
    /// and v, or the first half of its MLP. Normalised values are i8 of scale `norm`. They are padded to the sides `pad` before the
    /// shift and `fill` after it. What is 0 is left out.
    NormLinear "norm_linear" ("x", "γ", "β", "w", "bias"; "table") Fused { eps: F32, norm: F32, pad: Pair<usize>, shift: Pair<i64>, fill: Pair<usize>, window: Pair<usize>, elem: Elem, scale: F32 }
    /// `qlinear(window_partition(pad(roll(pad(requantize(x))))), w, bias)` or `qlinear(space_to_depth(requantize(x)), w, bias)`, then `lut(…,
    /// table)` if there is one: what reads the residual stream without a norm, as in Swin V2. Its values become i8 of scale `cast`. They are padded
    /// to the sides `pad` before the shift and `fill` after it; or blocks of `block` are taken column by column. What is 0 is left out.
    StreamLinear "stream_linear" ("x", "w", "bias"; "table") Fused { cast: F32, block: usize, pad: Pair<usize>, shift: Pair<i64>, fill: Pair<usize>, window: Pair<usize>, elem: Elem, scale: F32 }
    /// `requantize(attn_values(qsoftmax(attn_bias(attn_scores(q, k), bias, mask)), v))`, q, k and v the thirds of the channels of
    /// `qkv`; `factor` is what `attn_bias` scales by.
    WindowAttention "window_attention" ("qkv", "bias"; "mask") Fused { heads: usize, factor: F32, elem: Elem, scale: F32 }
    /// `requantize(attn_values(qsoftmax(attn_bias(head_scale(attn_scores(ql2_norm(q), ql2_norm(k)), s), bias, mask)), requantize(v)))`, q, k and
    /// v the thirds of the channels of `qkv`: cosine attention. q and k become i8 of scale `unit`, v i8 of scale `value`; `factor` is what
    /// `attn_bias` scales by. (Swin V2, arXiv 2111.09883, eq. 2)
    CosineAttention "cosine_attention" ("qkv", "s", "bias"; "mask") Fused { heads: usize, unit: F32, value: F32, factor: F32, elem: Elem, scale: F32 }
    /// `add(requantize(r), crop(roll(crop(window_reverse(qlinear(x, w, bias))))))` in i16: the end of an attention or of an MLP. Tokens
    /// are cropped to the sides `cut` before the shift and `crop` after it. What is 0 is left out.
    LinearResidual "linear_residual" ("x", "w", "bias", "r") Fused { window: Pair<usize>, height: usize, width: usize, cut: Pair<usize>, shift: Pair<i64>, crop: Pair<usize>, scale: F32 }
    /// `add(requantize(r), crop(roll(crop(window_reverse(qlayer_norm(x, γ, β))))))` in i16: the end of an attention or of an MLP whose norm comes
    /// last, as in Swin V2. Tokens are cropped to the sides `cut` before the shift and `crop` after it. What is 0 is left out.
    NormResidual "norm_residual" ("x", "γ", "β", "r") Fused { eps: F32, window: Pair<usize>, height: usize, width: usize, cut: Pair<usize>, shift: Pair<i64>, crop: Pair<usize>, scale: F32 }
    /// `add(requantize(x), qlinear(lut(qlinear(qlayer_norm(x, γ, β), w1, b1), table), w2, b2))` in i16: a whole MLP. Without a table, the
    /// first linear's clamp is the activation. Normalised values are i8 of scale `norm`, hidden ones `elem` of scale `hidden`.
    Mlp "mlp" ("x", "γ", "β", "w1", "b1", "w2", "b2"; "table") Fused { eps: F32, norm: F32, elem: Elem, hidden: F32, scale: F32 }
    /// `qlayer_norm(qlinear(space_to_depth(pixels), w, bias), γ, β)` in i16, row by row; the linear's results have scale `linear`.
    PatchEmbed "patch_embed" ("pixels", "w", "bias", "γ", "β") Fused { block: usize, linear: F32, eps: F32, scale: F32 }
    /// `qlinear(qlayer_norm(space_to_depth(x), γ, β), w, bias)` to i16, blocks of 2 column by column; normalised values are i8 of scale
    /// `norm`.
    PatchMerge "patch_merge" ("x", "γ", "β", "w"; "bias") Fused { eps: F32, norm: F32, scale: F32 }
    /// `qlinear(requantize(mean_pool(qlayer_norm(x, γ, β))), w, bias)`: normalised values are i16 of scale `norm`, means i8 of scale
    /// `mean`.
    Head "head" ("x", "γ", "β", "w", "bias") Fused { eps: F32, norm: F32, mean: F32, elem: Elem, scale: F32 }
}

impl OpKind {
    /// Whether it stands for several ops, its body: see [`crate::fused`].
    pub const fn is_fused(self) -> bool {
        matches!(self.class(), Class::Fused)
    }

    /// The op of a name.
    pub fn from_name(name: &str) -> Option<OpKind> {
        OpKind::ALL.iter().copied().find(|k| k.name() == name)
    }
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
