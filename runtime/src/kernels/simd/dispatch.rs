//! Launches or compiles the kernels of this folder.

use super::{
    attention::{self as window, Window},
    embed::{self, Patches},
    gemm as product,
    gemm::Product,
    residual as sums_of_rows,
    sums::ROWS,
    windows,
};
use crate::{
    kernels::{
        dispatch::{Target, Work, kernel, with_elem},
        places::Places,
    },
    offline::Call,
};
use cubecl::prelude::*;
use cubecl_core::ScalarBuilder;
use swint_compiler::plan::{AttentionPlaces, Channels, Dots, Kernel, Rows, Windows};
use swint_ir::Elem;

/// A matrix product on `items` rows.
pub(crate) fn gemm(kernel: &Kernel, tiles: Dots, items: usize, work: Work, target: Target<'_>) {
    if let Kernel::LinearNorm { x, rows, n, epsilon } = *kernel {
        let (map, output) = if rows.period > 0 { (9, 10) } else { (6, 9) };
        let p = Patches { tiles, rows, raise: if x == Elem::I8 { 128 } else { 0 }, n };
        return with_elem!(x, [I8 => i8, U8 => u8], X => kernel!(
            target, work, embed::embed::Embed<X>,
            items: items.div_ceil(ROWS), block: 1, sizes: [tiles.lanes, tiles.products * tiles.lanes],
            buffers: [0, 1, 3, 4, 5, 6, 7, 8, map, output],
            scalars: [
                epsilon, items as u32, rows.parts as u32, (rows.len() / 4) as u32,
                (n / tiles.columns()) as u32
            ],
            comptime: [p]
        ));
    }
    let range = |elem: Elem| elem.range().expect("an integer type");
    let of = |rows: Rows, n: usize, to: Elem| Product {
        tiles,
        rows,
        width: if tiles.lanes == 16 && rows.chunk.is_multiple_of(16) { 16 } else { 8 },
        raise: 0,
        n,
        norm: false,
        cast: false,
        bias: true,
        range: Some(range(to)),
        table: false,
        residual: false,
    };
    // The places of buffers, where those that are absent are the weights.
    let mut places = Places::default();
    let (x, y, product, epsilon) = match *kernel {
        Kernel::NormLinear { x, rows, epsilon, n, bias, to, table } => {
            let norm = epsilon.is_some();
            places.before(norm);
            places.linear(bias, true);
            places.table = table.map(|_| places.take(1));
            let product = Product { norm, cast: !norm, bias, table: table.is_some(), ..of(rows, n, to) };
            (x, table.unwrap_or(to), product, epsilon.unwrap_or(0))
        }
        Kernel::LinearResidual { x, rows, n, .. } => {
            places.linear(true, true);
            places.residual = Some(places.take(3));
            (x, Elem::I16, Product { residual: true, ..of(rows, n, Elem::I16) }, 0)
        }
        Kernel::Linear { x, k, n, bias, requantize } => {
            places.linear(bias, requantize.is_some());
            let (y, range) = (requantize.unwrap_or(Elem::I32), requantize.map(range));
            let rows = Rows::plain(k);
            (x, y, Product { bias, range, ..of(rows, n, Elem::I32) }, 0)
        }
        _ => unreachable!("{kernel} is no matrix product"),
    };
    let rows = product.rows;
    let quads = tiles.products == 4;
    let raise = if quads && (product.norm || product.cast || x == Elem::I8) { 128 } else { 0 };
    let product = Product { raise, bias: product.bias && !quads, ..product };
    places.map = (rows.period > 0).then(|| places.take(1));
    let w = places.weights;
    let norm = |i: usize| places.norm.map_or(w, |first| first + i);
    let multiplier = |i: usize| places.multiplier().map_or(w, |first| first + i);
    let residual = |i: usize| places.residual.map_or(w, |first| first + i);
    let near = if quads { Elem::U8 } else { Elem::I16 };
    with_elem!(x, [I16 => i16, I8 => i8, U8 => u8], X =>
    with_elem!(near, [U8 => u8, I16 => i16], O =>
    with_elem!(y, [I32 => i32, I16 => i16, I8 => i8, U8 => u8], Y => kernel!(
        target, work, product::gemm::Gemm<X, Y, O>,
        items: items.div_ceil(ROWS * tiles.groups), block: 1,
        sizes: [product.width, tiles.products, tiles.lanes, tiles.products * tiles.lanes],
        buffers: [
            0, norm(0), norm(1), multiplier(0), multiplier(1), w, places.bias.unwrap_or(w), places.mantissas.unwrap_or(w),
            places.mantissas.map_or(w, |m| m + 1), places.table.unwrap_or(w), places.table.unwrap_or(w), residual(0), residual(1), residual(2),
            places.map.unwrap_or(w), places.next
        ],
        scalars: [
            epsilon, items as u32, (rows.chunk / product.width) as u32, rows.parts as u32, (rows.len() / tiles.products) as u32,
            (product.n / tiles.columns()) as u32
        ],
        comptime: [product]
    ))))
}

/// LayerNorm and the residual stream on `items` rows.
pub(crate) fn residual(kernel: &Kernel, blueprint: Channels, items: usize, work: Work, target: Target<'_>) {
    let Kernel::NormResidual { rows, epsilon, .. } = *kernel else { unreachable!("{kernel} adds no norm") };
    // Without a map any buffer will do.
    let (map, output) = if rows.period > 0 { (8, 9) } else { (3, 8) };
    let Channels { lanes, narrow } = blueprint;
    kernel!(
        target, work, sums_of_rows::norm_residual::NormResidual<>, items: items, block: ROWS, sizes: [lanes],
        buffers: [0, 1, 2, 3, 4, 5, 6, 7, map, output],
        scalars: [epsilon, (rows.chunk / lanes) as u32], comptime: [rows, narrow]
    )
}

/// Window attention on `items` tokens of heads.
pub(crate) fn attention(kernel: &Kernel, blueprint: Windows, items: usize, work: Work, target: Target<'_>) {
    let Kernel::WindowAttention { heads, tokens, channels, masks, cosine, to, .. } = *kernel else {
        unreachable!("{kernel} is no window attention")
    };
    let (channels, range, narrow) = (channels / heads, to.range().expect("an integer type"), blueprint.narrow);
    let items = items / tokens;
    // Heads of a window lie beside each other.
    let block = heads.min(items.div_ceil(work.units()));
    let AttentionPlaces { cosine, bias, mask, softmax, result, end } = AttentionPlaces::of(cosine, masks > 0);
    let mask = mask.unwrap_or(bias);
    let p = Window { heads, tokens, channels, masks, cosine: cosine.is_some(), range, narrow };
    // Without cosines any buffer will do.
    let c = |i: usize| cosine.map_or(bias, |first| first + i);
    if blueprint.quads {
        return with_elem!(to, [I16 => i16, I8 => i8, U8 => u8], Y => kernel!(
            target, work, windows::attention::Attention<Y>, items: items, block: block, sizes: [],
            buffers: [
                0, 0, c(0), c(1), c(2), c(3), c(4), c(5), c(6), bias, mask, softmax, softmax + 1, result, result + 1, end
            ],
            scalars: [tokens as u32, (channels / 4) as u32, tokens.div_ceil(4) as u32], comptime: [p]
        ));
    }
    with_elem!(to, [I16 => i16, I8 => i8, U8 => u8], Y => kernel!(
        target, work, window::attention::Attention<Y>,
        items: items, block: block, sizes: [],
        buffers: [
            0, 0, c(0), c(1), c(2), c(3), c(4), c(5), c(6), bias, mask, softmax, softmax + 1, result, result + 1, end
        ],
        scalars: [tokens as u32, (channels / 2) as u32, tokens.div_ceil(2) as u32], comptime: [p]
    ))
}
