//! The one shape and type inference: builder, verifier, e-graph and interpreter all ask here.

use crate::{
    arith::{l2_norm, layer_norm, softmax},
    fused,
    op::{Class, Op, OpKind},
    pair::Pair,
    types::{Elem, F32, Scale, Type},
};

/// `ensure!(condition, "message")`: an `Err` when the condition does not hold.
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(format!($($message)*));
        }
    };
}

/// Longest sum of products of 8-bit integers. With a bias within [`MAX_BIAS`] an accumulator cannot overflow:
/// `32768 · 255 · 128 + 2^30 = 2,143,289,344 < 2^31`.
pub const MAX_K: usize = 32_768;

/// Largest magnitude of an integer bias.
pub const MAX_BIAS: i32 = 1 << 30;

/// Most tokens that a mean of integers runs over: the sum of 16-bit integers fits in `i32`.
pub const MAX_POOL: usize = 1 << 15;

/// Largest magnitude of bias and mask of integer scores: beside a sum of [`MAX_K`] products both fit in `i32`,
/// `32768 · 255 · 128 + 2 · 2^29 = 2,143,289,344 < 2^31`.
pub const MAX_SCORE_BIAS: i32 = 1 << 29;

/// Largest magnitude that an integer score is scaled at: times 16 bits, and with bias and mask beside, it fits in `i32`,
/// `32767 · 32768 + 2 · 2^29 < 2^31`.
pub const MAX_SCORE: i32 = 32_767;

/// Most elements of one tensor: indices fit in `i32` on every backend.
pub const MAX_ELEMENTS: usize = i32::MAX as usize;

/// Whether a number can be a scale: within 1e±24, so that neither `q · scale` nor a product of two scales that passes
/// leaves the normal numbers of `f32`, for any 32-bit q.
pub fn is_scale(scale: f32) -> bool {
    (1e-24..=1e24).contains(&scale)
}

/// Checks a type on its own: extents, number of elements, scale.
///
/// # Errors
/// What is wrong.
pub fn well_formed(ty: &Type) -> Result<(), String> {
    let elements = ty.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    ensure!(
        elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n)),
        "{ty} has no elements or more than {MAX_ELEMENTS}"
    );
    ensure!(!ty.is_float() || ty.scale == Scale::UNIT, "f32 has no scale");
    ensure!(is_scale(ty.scale.factor.get()), "scale {} is not between 1e-24 and 1e24", ty.scale.factor);
    if let Some(channels) = &ty.scale.channels {
        ensure!(channels.axis < ty.rank(), "{ty} has no axis {}", channels.axis);
    }
    Ok(())
}

/// Why an op cannot be applied to operands.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{op}: {message}")]
pub struct TypeError {
    /// The op.
    pub op: OpKind,
    /// What is wrong.
    pub message: String,
}

/// The type of an op's result.
///
/// # Errors
/// When the op does not take these operands.
pub fn infer(op: &Op, operands: &[&Type]) -> Result<Type, TypeError> {
    let fail = |message: String| Err(TypeError { op: op.kind(), message });
    let (min, max) = op.kind().arity();
    if operands.len() < min || operands.len() > max {
        let wanted = if min == max { min.to_string() } else { format!("{min} to {max}") };
        return fail(format!("takes {wanted} operands, not {}", operands.len()));
    }
    if fused::body(op, operands.len()).is_some() {
        let types = fused::step_types(op, operands)?;
        return Ok(types.into_iter().last().expect("bodies have steps").1);
    }
    match infer_checked(op, operands) {
        Ok(ty) => match ty.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) {
            Some(n) if n > 0 && n <= MAX_ELEMENTS => Ok(ty),
            _ => fail(format!("result {ty} has no elements or more than {MAX_ELEMENTS}")),
        },
        Err(message) => fail(message),
    }
}

fn infer_checked(op: &Op, operands: &[&Type]) -> Result<Type, String> {
    let x = operands[0];
    if op.kind().class() == Class::Index {
        return index_shape(op, &x.shape).and_then(|shape| {
            if let Some(channels) = &x.scale.channels {
                let kept = channels.axis + 1 == x.rank() && !matches!(op, Op::SpaceToDepth { .. });
                ensure!(kept, "cannot move channels that have scales of their own");
            }
            let scale = x.scale.on_axis(shape.len() - 1);
            Ok(Type { shape, elem: x.elem, scale })
        });
    }
    match op {
        Op::Normalize { mean, std } => {
            ensure!(x.elem == Elem::U8 && x.scale == Scale::UNIT, "takes raw u8 pixels, not {x}");
            let c = x.last();
            ensure!(x.rank() == 4, "takes [batch, height, width, channels], not {x}");
            ensure!(mean.len() == c && std.len() == c, "wants a mean and a std for each of {c} channels");
            let ok =
                std.iter().all(|s| s.get() > 0.0 && s.get().is_finite()) && mean.iter().all(|m| m.get().is_finite());
            ensure!(ok, "mean must be finite and std positive");
            Ok(Type::f32(x.shape.clone()))
        }
        Op::LayerNorm { eps } => {
            float(x)?;
            ensure!(eps.get() > 0.0 && eps.get().is_finite(), "eps must be positive, not {eps}");
            for p in &operands[1..] {
                ensure!(p.is_float() && p.shape == [x.last()], "wants f32[{}] for γ and β, not {p}", x.last());
            }
            ensure!(x.rank() >= 1, "takes at least one axis");
            Ok(x.clone())
        }
        Op::L2Norm { heads, eps } => {
            float(x)?;
            ensure!(eps.get() > 0.0 && eps.get().is_finite(), "eps must be positive, not {eps}");
            divides(*heads, x)?;
            Ok(x.clone())
        }
        Op::QL2Norm { heads, elem, scale } => {
            let fits = matches!(x.elem, Elem::I8 | Elem::I16) && x.scale.channels.is_none();
            ensure!(fits, "takes i8 or i16 with one scale, not {x}");
            divides(*heads, x)?;
            let most = l2_norm::MAX_CHANNELS;
            ensure!(x.last() / heads <= most, "takes heads of at most {most} channels, not {}", x.last() / heads);
            let sums = Scale::tensor(l2_norm::SCALE);
            requantize(&Type { elem: Elem::I32, scale: sums, shape: x.shape.clone() }, *elem, scale.get())
        }
        Op::HeadScale {} => {
            let s = operands[1];
            let sums = x.elem == Elem::I32 && x.scale.channels.is_none();
            ensure!(x.is_float() || sums, "takes f32, or i32 with one scale, not {x}");
            ensure!(x.rank() == 4 && x.shape[2] == x.shape[3], "takes scores [W,heads,N,N], not {x}");
            let elem = if sums { Elem::I16 } else { Elem::F32 };
            let wanted = Type { shape: vec![x.shape[1]], elem, scale: Scale { channels: None, ..s.scale.clone() } };
            ensure!(*s == wanted, "wants {elem}[{}] with one scale for the heads, not {s}", x.shape[1]);
            let mut y = x.clone();
            if sums {
                y.scale = x.scale.times(s.scale.factor);
                ensure!(is_scale(y.scale.factor.get()), "scale {} is not between 1e-24 and 1e24", y.scale.factor);
            }
            Ok(y)
        }
        Op::QLayerNorm { eps, elem, scale } => q_layer_norm(operands, eps.get(), *elem, scale.get()),
        Op::Linear {} => linear(operands),
        Op::BiasAdd {} => {
            ensure!(x.elem == Elem::I32 || x.is_float(), "takes f32 or i32, not {x}");
            bias(x, operands[1])?;
            Ok(x.clone())
        }
        Op::AttnScores { heads } => {
            let (q, k) = (x, operands[1]);
            ensure!(q.rank() == 3 && q.shape == k.shape, "takes q and k of one shape [W,N,C], not {q} and {k}");
            ensure!(*heads > 0 && q.last() % heads == 0, "{heads} heads do not divide {} channels", q.last());
            ensure!(k.scale.channels.is_none(), "channel scales of {k} lie along the sum");
            contract(q, k, vec![q.shape[0], *heads, q.shape[1], q.shape[1]], q.last() / heads)
        }
        Op::AttnBias { scale } => {
            let sums = x.elem == Elem::I32 && x.scale.channels.is_none();
            ensure!(x.is_float() || sums, "takes f32, or i32 with one scale, not {x}");
            ensure!(scale.get().is_finite(), "scale must be finite");
            ensure!(x.rank() == 4, "takes scores [W,heads,N,N], not {x}");
            let mut y = x.clone();
            if sums {
                y.scale = x.scale.times(*scale);
                ensure!(is_scale(y.scale.factor.get()), "scale {} is not between 1e-24 and 1e24", y.scale.factor);
            }
            let wanted = y.with_shape(&x.shape[1..]);
            ensure!(*operands[1] == wanted, "wants the bias as {wanted}, not {}", operands[1]);
            if let Some(mask) = operands.get(2) {
                let fits =
                    mask.rank() == 3 && mask.shape[1..] == x.shape[2..] && **mask == y.with_shape(mask.shape.clone());
                ensure!(
                    fits && mask.shape[0] > 0 && x.shape[0].is_multiple_of(mask.shape[0]),
                    "mask {mask} does not fit scores {y}"
                );
            }
            Ok(y)
        }
        Op::QSoftmax {} => {
            ensure!(x.elem == Elem::I32 && x.scale.channels.is_none(), "takes i32 with one scale, not {x}");
            ensure!(x.rank() >= 1 && x.last() <= softmax::MAX_ROW, "takes rows of at most {}", softmax::MAX_ROW);
            Ok(Type::int(Elem::U8, Scale::tensor(1.0 / 255.0), x.shape.clone()))
        }
        Op::Softmax {} | Op::Gelu {} | Op::Relu {} => {
            float(x)?;
            ensure!(x.rank() >= 1, "takes at least one axis");
            Ok(x.clone())
        }
        Op::AttnValues {} => {
            let (p, v) = (x, operands[1]);
            ensure!(p.rank() == 4 && v.rank() == 3, "takes p [W,heads,N,N] and v [W,N,C], not {p} and {v}");
            let (w, h, n) = (p.shape[0], p.shape[1], p.shape[2]);
            ensure!(
                p.shape[3] == n && v.shape[0] == w && v.shape[1] == n && h > 0 && v.last() % h == 0,
                "p {p} does not fit v {v}"
            );
            ensure!(v.scale.channels.is_none(), "takes one scale for v, not {v}");
            contract(p, v, v.shape.clone(), n)
        }
        Op::Add {} => {
            let fits = x.is_float() || (x.elem == Elem::I16 && x.scale.channels.is_none());
            ensure!(fits, "takes f32, or i16 with one scale, not {x}");
            ensure!(operands[1] == x, "operands differ: {x} and {}", operands[1]);
            Ok(x.clone())
        }
        Op::MeanPool {} => {
            ensure!(x.rank() == 4, "takes [batch, height, width, channels], not {x}");
            let y = x.with_shape([x.shape[0], x.shape[3]]);
            if x.is_float() {
                return Ok(y);
            }
            let tokens = x.shape[1].saturating_mul(x.shape[2]);
            let fits = x.elem.bytes() <= 2 && x.scale.channels.is_none() && tokens <= MAX_POOL;
            ensure!(fits, "takes f32, or at most {MAX_POOL} tokens of 8 or 16 bits with one scale, not {x}");
            let scale = x.scale.times(F32::new(1.0 / tokens as f32));
            ensure!(is_scale(scale.factor.get()), "scale {} is not between 1e-24 and 1e24", scale.factor);
            Ok(Type { elem: Elem::I32, scale, ..y })
        }
        Op::Quantize { elem, scale } => {
            float(x)?;
            let scale = target_scale(*elem, scale.get())?;
            Ok(Type::int(*elem, scale, x.shape.clone()))
        }
        Op::Dequantize {} => {
            ensure!(x.elem.is_int(), "takes integers, not {x}");
            Ok(Type::f32(x.shape.clone()))
        }
        Op::Requantize { elem, scale } => requantize(x, *elem, scale.get()),
        Op::Lut {} => {
            let table = operands[1];
            ensure!(x.elem.is_byte(), "takes i8 or u8, not {x}");
            let fits = table.elem.is_byte() && table.shape == [256] && table.scale.channels.is_none();
            ensure!(fits, "wants a table of 256 bytes with one scale, not {table}");
            Ok(table.with_shape(x.shape.clone()))
        }
        Op::SpaceToDepth { .. }
        | Op::Roll { .. }
        | Op::Pad { .. }
        | Op::Crop { .. }
        | Op::WindowPartition { .. }
        | Op::WindowReverse { .. } => unreachable!("index maps are handled above"),
        Op::QLinear { .. }
        | Op::NormLinear { .. }
        | Op::StreamLinear { .. }
        | Op::CosineAttention { .. }
        | Op::NormResidual { .. }
        | Op::WindowAttention { .. }
        | Op::LinearResidual { .. }
        | Op::Mlp { .. }
        | Op::PatchEmbed { .. }
        | Op::PatchMerge { .. }
        | Op::FloatGelu { .. }
        | Op::Head { .. } => unreachable!("ops with a body are inferred from it"),
    }
}

fn linear(operands: &[&Type]) -> Result<Type, String> {
    let (x, w) = (operands[0], operands[1]);
    ensure!(w.rank() == 2 && x.rank() >= 1 && x.last() == w.last(), "x {x} does not fit weights {w}");
    let mut shape = x.shape.clone();
    *shape.last_mut().expect("rank checked") = w.shape[0];
    if let Some(channels) = &w.scale.channels {
        ensure!(channels.axis == 0, "weight scales must run along the output channels, not {w}");
    }
    ensure!(x.is_float() || w.elem == Elem::I8, "wants i8 weights for {x}, not {w}");
    let y = contract(x, w, shape, w.last())?;
    if let Some(b) = operands.get(2) {
        bias(&y, b)?;
    }
    Ok(y)
}

fn q_layer_norm(operands: &[&Type], eps: f32, elem: Elem, scale: f32) -> Result<Type, String> {
    let (x, gamma, beta) = (operands[0], operands[1], operands[2]);
    ensure!(eps > 0.0 && eps.is_finite(), "eps must be positive, not {eps}");
    let fits = matches!(x.elem, Elem::I8 | Elem::I16) && x.scale.channels.is_none() && x.rank() >= 1;
    ensure!(
        fits && x.last() <= layer_norm::MAX_CHANNELS,
        "takes i8 or i16 with one scale, at most {} channels, not {x}",
        layer_norm::MAX_CHANNELS
    );
    let epsilon = layer_norm::epsilon(eps, x.scale.factor.get(), x.last());
    ensure!(epsilon.is_some(), "eps {eps} is too large beside the scale of {x}");
    let wanted = Type::int(Elem::I16, gamma.scale.clone(), [x.last()]);
    ensure!(
        gamma.scale.channels.is_none() && *gamma == wanted,
        "wants i16[{}] with one scale for γ, not {gamma}",
        x.last()
    );
    let sums = Scale { factor: norm_scale(gamma.scale.factor), channels: None };
    let wanted = Type::int(Elem::I32, sums, [x.last()]);
    ensure!(*beta == wanted && is_scale(beta.scale.factor.get()), "wants {wanted} for β, not {beta}");
    requantize(&Type { elem: Elem::I32, scale: beta.scale.clone(), shape: x.shape.clone() }, elem, scale)
}

/// The scale of the sums of [`Op::QLayerNorm`], from that of γ.
pub fn norm_scale(gamma: F32) -> F32 {
    F32::new(gamma.get() / (1u32 << layer_norm::NORM_BITS) as f32)
}

fn requantize(x: &Type, elem: Elem, scale: f32) -> Result<Type, String> {
    ensure!(x.elem.is_int(), "takes integers, not {x}");
    if let Some(channels) = &x.scale.channels {
        ensure!(channels.axis + 1 == x.rank(), "wants channel scales on the last axis, not {x}");
    }
    Ok(Type::int(elem, target_scale(elem, scale)?, x.shape.clone()))
}

/// The result of a sum of `k` products of elements of `a` and `b`.
fn contract(a: &Type, b: &Type, shape: Vec<usize>, k: usize) -> Result<Type, String> {
    if a.is_float() && b.is_float() {
        return Ok(Type::f32(shape));
    }
    ensure!(a.elem.is_byte() && b.elem == Elem::I8, "takes f32 and f32, or i8 or u8 and i8, not {a} and {b}");
    ensure!(a.scale.channels.is_none(), "channel scales of {a} lie along the sum");
    ensure!(k <= MAX_K, "a sum of {k} products may overflow i32; at most {MAX_K}");
    let scale = b.scale.times(a.scale.factor).on_axis(shape.len() - 1);
    ensure!(is_scale(scale.factor.get()), "scale {} is not between 1e-24 and 1e24", scale.factor);
    Ok(Type::int(Elem::I32, scale, shape))
}

/// Checks a bias against the sums it is added to.
fn bias(y: &Type, b: &Type) -> Result<(), String> {
    let wanted = Type { shape: vec![y.last()], elem: y.elem, scale: y.scale.on_axis(0) };
    ensure!(*b == wanted, "wants a bias of type {wanted}, not {b}");
    Ok(())
}

/// Checks that heads divide the channels.
fn divides(heads: usize, x: &Type) -> Result<(), String> {
    ensure!(x.rank() >= 1, "takes at least one axis");
    ensure!(heads > 0 && x.last().is_multiple_of(heads), "{heads} heads do not divide {} channels", x.last());
    Ok(())
}

fn float(x: &Type) -> Result<(), String> {
    ensure!(x.is_float(), "takes f32, not {x}");
    Ok(())
}

fn target_scale(elem: Elem, scale: f32) -> Result<Scale, String> {
    // 32 bits are for accumulators: a float cannot even hold their range.
    ensure!(elem.bytes() <= 2, "cannot quantize to {elem}");
    ensure!(is_scale(scale), "scale {scale} is not between 1e-24 and 1e24");
    Ok(Scale::tensor(scale))
}

/// The shape of an index map's result.
///
/// # Errors
/// When the operand's shape does not fit.
pub(crate) fn index_shape(op: &Op, x: &[usize]) -> Result<Vec<usize>, String> {
    match *op {
        Op::SpaceToDepth { block, .. } => {
            let &[b, h, w, c] = x else { return Err(format!("takes [batch, height, width, channels], not {x:?}")) };
            ensure!(block > 0 && h % block == 0 && w % block == 0, "blocks of {block} do not tile {h} by {w}");
            let channels = block.checked_mul(block).and_then(|n| n.checked_mul(c)).ok_or("block is too large")?;
            Ok(vec![b, h / block, w / block, channels])
        }
        Op::Roll { .. } => {
            ensure!(x.len() == 4, "takes [batch, height, width, channels], not {x:?}");
            Ok(x.to_vec())
        }
        Op::Pad { sides } | Op::Crop { sides } => {
            let &[b, h, w, c] = x else { return Err(format!("takes [batch, height, width, channels], not {x:?}")) };
            let (rows, columns) = (sides.rows, sides.columns);
            let fits = match op {
                Op::Pad { .. } => rows >= h && columns >= w,
                _ => (1..=h).contains(&rows) && (1..=w).contains(&columns),
            };
            ensure!(fits, "{h} by {w} tokens do not become {rows} by {columns}");
            Ok(vec![b, rows, columns, c])
        }
        Op::WindowPartition { window } => {
            let &[b, h, w, c] = x else { return Err(format!("takes [batch, height, width, channels], not {x:?}")) };
            let tiles = tiles(window, h, w)?;
            Ok(vec![b * tiles.rows * tiles.columns, window.rows * window.columns, c])
        }
        Op::WindowReverse { window, height, width } => {
            let &[n, tokens, c] = x else { return Err(format!("takes [windows, tokens, channels], not {x:?}")) };
            ensure!(height > 0 && width > 0, "windows of {window} do not tile {height} by {width}");
            let tiles = tiles(window, height, width)?;
            ensure!(window.area() == Some(tokens), "windows of {window} do not hold {tokens} tokens");
            let per_image = tiles.area().ok_or("height and width are too large")?;
            ensure!(n % per_image == 0, "{n} windows are no whole number of images of {per_image}");
            Ok(vec![n / per_image, height, width, c])
        }
        _ => unreachable!("{} is no index map", op.kind()),
    }
}

/// How many windows tile a grid, along its rows and columns.
fn tiles(window: Pair<usize>, height: usize, width: usize) -> Result<Pair<usize>, String> {
    let sides = Pair::new(height, width);
    let fits = |side: usize, window: usize| window > 0 && side.is_multiple_of(window);
    let tiled = sides.zip(window, fits);
    ensure!(tiled.rows && tiled.columns, "windows of {window} do not tile {height} by {width}");
    Ok(sides.zip(window, |side, window| side / window))
}
