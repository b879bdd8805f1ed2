//! Launches or compiles the kernels of this folder.

use super::{
    attention::{self as window, Window},
    embed::{self as patches, Patches},
    gemm::{self as products, Product},
    head::{self as classes, Classes},
    mlp as perceptron,
    norm::{self as norms, Norms},
    tall,
};
use crate::{
    kernels::dispatch::{Target, kernel, with_elem},
    offline::Call,
};
use cubecl::prelude::*;
use cubecl_core::ScalarBuilder;
use swint_compiler::plan::{Attention, AttentionPlaces, Embed, Gemm, Head, Kernel, Mlp, Norm, Rows};
use swint_ir::Elem;

fn range(elem: Elem) -> (i32, i32) {
    elem.range().expect("an integer type")
}

/// A product with a bias whose sums are requantized.
fn product(tiles: Gemm, rows: Rows, n: usize, to: Elem) -> Product {
    Product {
        tiles,
        rows,
        n,
        norm: false,
        cast: false,
        bias: true,
        range: Some(range(to)),
        table: false,
        residual: false,
        bytes: to.bytes(),
    }
}

/// A matrix product on `items` rows.
pub(crate) fn gemm(kernel: &Kernel, tiles: Gemm, items: usize, target: Target<'_>) {
    let of = |rows: Rows, n: usize, to: Elem| product(tiles, rows, n, to);
    // The places of buffers; those that are absent are the weights.
    let mut next = 1;
    let mut take = |count: usize| {
        next += count;
        next - count
    };
    let (mut norm, mut cast, mut table, mut residual) = (None, None, None, None);
    let (w, columns);
    let (a, product, epsilon) = match *kernel {
        Kernel::NormLinear { rows, epsilon, n, bias, to, table: looked_up, .. } => {
            norm = epsilon.map(|_| take(2));
            cast = Some(take(2));
            (w, columns) = (take(1), take(1));
            table = looked_up.map(|_| take(1));
            let bytes = looked_up.unwrap_or(to).bytes();
            let (norm, cast) = (epsilon.is_some(), epsilon.is_none());
            let product = Product { norm, cast, bias, table: table.is_some(), bytes, ..of(rows, n, to) };
            (Elem::I8, product, epsilon.unwrap_or(0))
        }
        Kernel::LinearResidual { x, rows, n, .. } => {
            (w, columns) = (take(1), take(1));
            residual = Some(take(2));
            (x, Product { residual: true, ..of(rows, n, Elem::I16) }, 0)
        }
        Kernel::Linear { x, k, n, bias, requantize } => {
            w = take(1);
            columns = if bias || requantize.is_some() { take(1) } else { w };
            let range = requantize.map(range);
            (x, Product { bias, range, ..of(Rows::plain(k), n, requantize.unwrap_or(Elem::I32)) }, 0)
        }
        _ => unreachable!("{kernel} is no matrix product"),
    };
    let map = if product.rows.period > 0 { take(1) } else { w };
    let y = take(1);
    let norm = |i: usize| norm.map_or(w, |first| first + i);
    let cast = |i: usize| cast.map_or(w, |first| first + i);
    let residual = |i: usize| residual.map_or(w, |first| first + i);
    let cubes = items.div_ceil(tiles.rows()) * tiles.splits;
    let dim = CubeDim::new_1d(tiles.warps() as u32 * 32);
    let count = CubeCount::Static(cubes as u32, 1, 1);
    with_elem!(a, [I8 => i8, U8 => u8], A => kernel!(
        @launch target, products::gemm::Gemm<A>, count: count, dim: dim, sizes: [product.words()],
        buffers: [
            0, norm(0), norm(1), cast(0), cast(1), w, columns, table.unwrap_or(w), residual(0), residual(1), map, y
        ],
        scalars: [
            epsilon, items as u32, product.passes() as u32, product.steps() as u32, tiles.stages as u32,
            tiles.rounds as u32
        ],
        comptime: [product]
    ))
}

/// A multilayer perceptron on `items` rows.
pub(crate) fn mlp(kernel: &Kernel, blueprint: Mlp, items: usize, target: Target<'_>) {
    let Kernel::Mlp { k, hidden, epsilon, to, table, .. } = *kernel else { unreachable!("{kernel} is no MLP") };
    let (first, second) = (blueprint.up(k), blueprint.down(hidden));
    let kept = table.unwrap_or(to);
    let up = Product { norm: true, table: table.is_some(), ..product(first, Rows::plain(k), hidden, to) };
    let down = Product { residual: true, ..product(second, Rows::plain(hidden), k, Elem::I16) };
    // After the first linear's comes the table, if there is one; then the second one's, the residual stream, which is x, and its constants.
    let linear = if table.is_some() { 8 } else { 7 };
    let i = |offset: usize| linear + offset;
    let count = CubeCount::Static(items.div_ceil(first.rows()) as u32, 1, 1);
    let dim = CubeDim::new_1d(blueprint.warps as u32 * 32);
    with_elem!(kept, [I8 => i8, U8 => u8], A => kernel!(
        @launch target, perceptron::mlp::Mlp<A>, count: count, dim: dim, sizes: [down.words()],
        buffers: [0, 1, 2, 3, 4, 5, 6, 7, i(0), i(1), i(3), i(4)],
        scalars: [epsilon, items as u32, up.passes() as u32, second.stages as u32], comptime: [up, down]
    ))
}

/// Window attention on `items` tokens of heads.
pub(crate) fn attention(kernel: &Kernel, blueprint: Attention, items: usize, target: Target<'_>) {
    let Kernel::WindowAttention { heads, tokens, channels, masks, cosine, to, .. } = *kernel else {
        unreachable!("{kernel} is no window attention")
    };
    let p = Window { blueprint, heads, tokens, channels: channels / heads, masks, cosine, range: range(to) };
    let windows = items / (tokens * heads);
    let count = CubeCount::Static((windows.div_ceil(blueprint.windows) * heads) as u32, 1, 1);
    let dim = CubeDim::new_1d(p.warps() as u32 * 32);
    let AttentionPlaces { cosine, bias, mask, softmax, result, end } = AttentionPlaces::of(cosine, masks > 0);
    // Without cosines any buffer will do.
    let c = |i: usize| cosine.map_or(bias, |first| first + i);
    let buffers = [
        0,
        c(0),
        c(1),
        c(2),
        c(3),
        c(4),
        c(5),
        c(6),
        bias,
        mask.unwrap_or(bias),
        softmax,
        softmax + 1,
        result,
        result + 1,
        end,
    ];
    macro_rules! attention {
        ($module:ident :: $function:ident :: $kernel:ident, $($scalar:expr),*) => {
            kernel!(
                @launch target, $module::$function::$kernel<>, count: count, dim: dim, sizes: [p.vectors()],
                buffers: [
                    buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5], buffers[6], buffers[7],
                    buffers[8], buffers[9], buffers[10], buffers[11], buffers[12], buffers[13], buffers[14]
                ],
                scalars: [$($scalar),*], comptime: [p]
            )
        };
    }
    if p.is_tall() {
        let (steps, rounds) = (p.steps() as u32, p.rounds() as u32);
        return attention!(tall::tall_attention::TallAttention, steps, rounds);
    }
    attention!(window::attention::Attention, windows as u32)
}

/// A LayerNorm of `items` rows, added to the residual stream perhaps.
pub(crate) fn norm(kernel: &Kernel, blueprint: Norm, items: usize, target: Target<'_>) {
    // Where something is left out, any buffer will do.
    let (rows, epsilon, to, residual, map, output) = match *kernel {
        Kernel::NormResidual { rows, epsilon, .. } if rows.period > 0 => (rows, epsilon, Elem::I16, true, 8, 9),
        Kernel::NormResidual { rows, epsilon, .. } => (rows, epsilon, Elem::I16, true, 3, 8),
        Kernel::QLayerNorm { channels, epsilon, to, .. } => (Rows::plain(channels), epsilon, to, false, 3, 5),
        _ => unreachable!("{kernel} is no LayerNorm"),
    };
    let p = Norms { blueprint, rows, residual, range: range(to), bytes: to.bytes() };
    let (r, r_mantissa, r_shift) = if residual { (5, 6, 7) } else { (0, 3, 4) };
    let count = CubeCount::Static(items.div_ceil(blueprint.rows()) as u32, 1, 1);
    let dim = CubeDim::new_1d(blueprint.warps as u32 * 32);
    kernel!(
        @launch target, norms::norm::Norm<>, count: count, dim: dim, sizes: [p.words()],
        buffers: [0, 1, 2, 3, 4, r, r_mantissa, r_shift, map, output], scalars: [epsilon, items as u32], comptime: [p]
    )
}

/// A patch embedding of `items` patches.
pub(crate) fn embed(kernel: &Kernel, blueprint: Embed, items: usize, target: Target<'_>) {
    let Kernel::LinearNorm { x, rows, n, epsilon } = *kernel else { unreachable!("{kernel} is no patch embedding") };
    let p = Patches { blueprint, rows, n };
    let count = CubeCount::Static(items.div_ceil(16 * blueprint.warps) as u32, 1, 1);
    let dim = CubeDim::new_1d(blueprint.warps as u32 * 32);
    macro_rules! embed {
        ($a:ty, $e:ty) => {
            kernel!(
                @launch target, patches::embed::Embed<$a, $e>, count: count, dim: dim, sizes: [p.width()],
                buffers: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], scalars: [epsilon, items as u32], comptime: [p]
            )
        };
    }
    match (x, blueprint.granule) {
        (Elem::U8, 4 | 16) => embed!(u8, u32),
        (Elem::U8, 2) => embed!(u8, u16),
        (Elem::U8, _) => embed!(u8, u8),
        (_, 4 | 16) => embed!(i8, u32),
        (_, 2) => embed!(i8, u16),
        _ => embed!(i8, u8),
    }
}

/// The head of `items` images.
pub(crate) fn head(kernel: &Kernel, blueprint: Head, items: usize, target: Target<'_>) {
    let Kernel::Head { tokens, k, n, epsilon, to, .. } = *kernel else { unreachable!("{kernel} is no head") };
    let p = Classes { blueprint, k, n, range: range(to), bytes: to.bytes() };
    let (together, words) = (p.together(), p.words());
    let count = CubeCount::Static((items * blueprint.splits) as u32, 1, 1);
    let dim = CubeDim::new_1d(blueprint.warps as u32 * 32);
    macro_rules! head {
        ($y:ty) => {
            kernel!(
                @launch target, classes::head::Head<$y>, count: count, dim: dim, sizes: [together.min(4), words.max(1)],
                buffers: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
                scalars: [epsilon, tokens as u32, k.div_ceil(32) as u32], comptime: [p]
            )
        };
    }
    match to {
        _ if words > 0 => head!(u32),
        Elem::I16 => head!(i16),
        Elem::I8 => head!(i8),
        _ => head!(u8),
    }
}
