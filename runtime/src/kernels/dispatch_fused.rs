//! Chooses the kernel of a fused specification.

use super::{
    dispatch::{Target, Work, kernel, vector_width, with_elem},
    fused,
    linear::ROWS,
    post_norm::{self, QUERIES},
};
use crate::offline::Call;
use cubecl::prelude::*;
use cubecl_core::ScalarBuilder;
use swint_compiler::plan::{AttentionPlaces, Kernel};
use swint_ir::Elem;

/// Launches or compiles a fused kernel on `items` items.
pub(super) fn dispatch(kernel: &Kernel, items: usize, work: Work, target: Target<'_>) {
    let range = |elem: Elem| elem.range().expect("an integer type");
    let blocks = items.div_ceil(ROWS);
    match *kernel {
        Kernel::NormLinear { x, rows, epsilon, n, bias, to, table } => {
            let (width, (low, high)) = (vector_width(n), range(to));
            let vectors = n / width;
            // x, γ, β if there is a norm, mantissa, shift and weights come first; where something is left out, any buffer will do.
            let norm = if epsilon.is_some() { 3 } else { 1 };
            let (w, any) = (norm + 2, norm);
            let (gamma, beta) = if epsilon.is_some() { (1, 2) } else { (any, any) };
            let bias_buffer = if bias { w + 1 } else { any };
            let mantissas = w + 1 + usize::from(bias);
            let mut next = mantissas + 2;
            let mut optional = |is: bool| {
                next += usize::from(is);
                if is { next - 1 } else { any }
            };
            let (table_buffer, map) = (optional(table.is_some()), optional(rows.period > 0));
            let output = next;
            with_elem!(x, [I16 => i16, I8 => i8], X =>
            with_elem!(table.unwrap_or(to), [I16 => i16, I8 => i8, U8 => u8], Y => kernel!(
                target, work, fused::norm_linear::NormLinear<X, Y>,
                items: blocks, block: 1, sizes: [width],
                buffers: [
                    0, gamma, beta, norm, norm + 1, w, bias_buffer, mantissas, mantissas + 1, table_buffer, map, output
                ],
                scalars: [
                    epsilon.unwrap_or(0), items as u32, ROWS as u32, rows.chunk as u32, rows.parts as u32, vectors as u32
                ],
                comptime: [rows, epsilon.is_some(), width, bias, low, high, table.is_some(), low]
            )))
        }
        Kernel::NormResidual { x, rows, epsilon, r } => {
            // Without a map any buffer will do: the mantissas.
            let (map, output) = if rows.period > 0 { (8, 9) } else { (6, 8) };
            with_elem!(x, [I16 => i16, I8 => i8], X =>
            with_elem!(r, [I32 => i32, I16 => i16, I8 => i8, U8 => u8], R => kernel!(
                target, work, post_norm::norm_residual::NormResidual<X, R>,
                items: items, block: 1, sizes: [], buffers: [0, 1, 2, 3, 4, 5, 6, 7, map, output],
                scalars: [epsilon], comptime: [rows]
            )))
        }
        Kernel::LinearResidual { x, rows, n, r } => {
            let width = vector_width(n);
            let vectors = n / width;
            // Without a map any buffer will do: the mantissas.
            let (map, output) = if rows.period > 0 { (8, 9) } else { (3, 8) };
            with_elem!(x, [I8 => i8, U8 => u8], X =>
            with_elem!(r, [I32 => i32, I16 => i16, I8 => i8, U8 => u8], R => kernel!(
                target, work, fused::linear_residual::LinearResidual<X, R>,
                items: blocks * vectors, block: vectors, sizes: [width],
                buffers: [0, 1, 2, 3, 4, 5, 6, 7, map, output],
                scalars: [items as u32, rows.len() as u32], comptime: [rows, vectors]
            )))
        }
        Kernel::Mlp { x, k, hidden, epsilon, to, table } => {
            let (hidden_width, width) = (vector_width(hidden), vector_width(k));
            let (low, high) = range(to);
            // After the first linear's four inputs comes the table, if there is one.
            let second = if table.is_some() { 10 } else { 9 };
            let i = |offset: usize| second + offset;
            with_elem!(x, [I16 => i16, I8 => i8], X =>
            with_elem!(table.unwrap_or(Elem::I8), [I8 => i8, U8 => u8], T => kernel!(
                target, work, fused::mlp::Mlp<X, T>,
                items: blocks, block: 1, sizes: [hidden_width, width],
                buffers: [
                    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, i(0), i(1), i(2), i(3), i(4), i(5), i(6), i(7)
                ],
                scalars: [
                    epsilon, items as u32, ROWS as u32, k as u32, (k / width) as u32, hidden as u32,
                    (hidden / hidden_width) as u32
                ],
                comptime: [k, hidden, hidden_width, low, high, table.is_some()]
            )))
        }
        Kernel::WindowAttention { x, heads, tokens, channels, masks, cosine: true, to } => {
            let (channels, (low, high)) = (channels / heads, range(to));
            let AttentionPlaces { bias, mask, softmax, .. } = AttentionPlaces::of(true, masks > 0);
            let i = |offset: usize| softmax + offset;
            with_elem!(x, [I16 => i16, I8 => i8], X =>
            with_elem!(to, [I16 => i16, I8 => i8, U8 => u8], Y => kernel!(
                target, work, post_norm::cosine_attention::CosineAttention<X, Y>,
                items: items / tokens * tokens.div_ceil(QUERIES), block: 1, sizes: [],
                buffers: [0, 1, 2, 3, 4, 5, 6, 7, bias, mask.unwrap_or(bias), i(0), i(1), i(2), i(3), i(4), i(5)],
                scalars: [tokens as u32, channels as u32], comptime: [heads, tokens, channels, masks, low, high]
            )))
        }
        Kernel::WindowAttention { heads, tokens, channels, masks, to, .. } => {
            let (width, (low, high)) = (vector_width(channels / heads), range(to));
            let AttentionPlaces { bias, mask, softmax, .. } = AttentionPlaces::of(false, masks > 0);
            let i = |offset: usize| softmax + offset;
            with_elem!(to, [I16 => i16, I8 => i8, U8 => u8], Y => kernel!(
                target, work, fused::window_attention::WindowAttention<Y>,
                items: items, block: heads, sizes: [width],
                buffers: [0, bias, mask.unwrap_or(bias), i(0), i(1), i(2), i(3), i(4), i(5)],
                scalars: [tokens as u32], comptime: [heads, tokens, width, channels / heads / width, masks, low, high]
            ))
        }
        Kernel::LinearNorm { x, rows, n, epsilon } => {
            let width = vector_width(n);
            let (map, output) = if rows.period > 0 { (9, 10) } else { (6, 9) };
            with_elem!(x, [I8 => i8, U8 => u8], X => kernel!(
                target, work, fused::linear_norm::LinearNorm<X>,
                items: blocks, block: 1, sizes: [width], buffers: [0, 1, 2, 3, 4, 5, 6, 7, 8, map, output],
                scalars: [
                    epsilon, items as u32, ROWS as u32, rows.chunk as u32, rows.parts as u32, (n / width) as u32
                ],
                comptime: [rows, n, width]
            ))
        }
        Kernel::Head { x, tokens, k, n, epsilon, to } => {
            let (width, (low, high)) = (vector_width(n), range(to));
            with_elem!(x, [I16 => i16, I8 => i8], X => with_elem!(to, [I16 => i16, I8 => i8, U8 => u8], Y => kernel!(
                target, work, fused::head::Head<X, Y>,
                items: items, block: 1, sizes: [width], buffers: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
                scalars: [epsilon, tokens as u32, k as u32, (n / width) as u32], comptime: [k, low, high]
            )))
        }
        _ => unreachable!("{kernel} is not fused"),
    }
}
