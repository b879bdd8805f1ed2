//! Chooses the kernel of a specification, for launching and for compiling without a device alike.

use super::{
    attention, convert, dispatch_fused as fused, integer,
    linear::{self, ROWS},
    movement, norm, pointwise, simd, tensor, unit,
};
use crate::{
    device::cores,
    host::Host,
    offline::{Call, Offline},
};
use cubecl::prelude::*;
use cubecl_core::{ScalarBuilder, ir::TargetProperties};
use cubecl_runtime::kernel::CubeKernel;
use std::sync::Arc;
use swint_compiler::plan::{Blueprint, Kernel, Launch};
use swint_ir::Elem;

/// What becomes of a chosen kernel.
pub(crate) enum Target<'a> {
    /// It is compiled to PTX.
    Offline(&'a mut Offline),
    /// It is compiled for this processor.
    Host(&'a mut Host),
}

/// Who compiles kernels, and notes how they are called.
pub(crate) trait Record {
    /// What a kernel is made with, for cubes of `units`.
    fn environment(&self, units: u32) -> (KernelSettings, Arc<DeviceProperties>, Arc<TargetProperties>);

    /// Compiles a kernel, if it is not yet.
    fn add(&mut self, kernel: impl CubeKernel, call: Call);
}

/// How work is spread over a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Work {
    /// Units of a cube.
    pub(super) units: u32,
    /// Whether a unit takes a block of items, as a processor core should, or a single one, as a GPU's thread should.
    blocks: bool,
}

impl Work {
    /// For a processor: some units for each core, so that one that comes late leaves more to others; each has blocks of items.
    pub(crate) fn cpu() -> Work {
        Work { units: (UNITS_OF_A_CORE * cores()) as u32, blocks: true }
    }

    /// Units of a cube.
    pub(crate) fn units(self) -> usize {
        self.units as usize
    }

    /// For a GPU: a thread an item.
    pub(crate) fn gpu() -> Work {
        Work { units: 128, blocks: false }
    }

    /// Items that a unit takes at a time, and the cubes that all items need.
    pub(super) fn split(self, items: usize, block: usize) -> (u32, CubeCount) {
        let per_unit = if self.blocks { block.max(1) } else { 1 };
        let cubes = items.div_ceil(per_unit * self.units as usize);
        (per_unit as u32, CubeCount::Static(cubes as u32, 1, 1))
    }
}

/// Units that a processor's core has to do.
const UNITS_OF_A_CORE: usize = 4;

/// Elements that a processor core takes at a time in elementwise kernels.
const ELEMENTS: usize = 1024;

/// The widest vector, of at most 16 elements, that divides `n`.
pub(super) fn vector_width(n: usize) -> usize {
    [16, 8, 4, 2].into_iter().find(|&w| n.is_multiple_of(w)).unwrap_or(1)
}

/// Launches or compiles one kernel, whose module, function and type are named: its type arguments, vector widths, buffers, scalars and comptime arguments.
macro_rules! kernel {
    (
        $target:ident, $work:ident, $module:ident :: $function:ident :: $kernel:ident < $($ty:ty),* >,
        items: $items:expr, block: $block:expr, sizes: [$($size:expr),*], buffers: [$($buffer:expr),*],
        scalars: [$($scalar:expr),*], comptime: [$($comptime:expr),*]
    ) => {{
        let items: usize = $items;
        let (per_unit, count) = $work.split(items, $block);
        let dim = CubeDim::new_1d($work.units);
        kernel!(
            @launch $target, $module::$function::$kernel<$($ty),*>, count: count, dim: dim, sizes: [$($size),*],
            buffers: [$($buffer),*], scalars: [$($scalar,)* items as u32], comptime: [$($comptime,)* per_unit]
        )
    }};
    (
        @launch $target:ident, $module:ident :: $function:ident :: $kernel:ident < $($ty:ty),* >,
        count: $count:expr, dim: $dim:expr, sizes: [$($size:expr),*], buffers: [$($buffer:expr),*],
        scalars: [$($scalar:expr),*], comptime: [$($comptime:expr),*]
    ) => {{
        let (count, dim): (CubeCount, CubeDim) = ($count, $dim);
        match $target {
            Target::Offline(record) => kernel!(
                @record record, $module::$function::$kernel<$($ty),*>, count, dim, [$($size),*], [$($buffer),*],
                [$($scalar),*], [$($comptime),*]
            ),
            Target::Host(record) => kernel!(
                @record record, $module::$function::$kernel<$($ty),*>, count, dim, [$($size),*], [$($buffer),*],
                [$($scalar),*], [$($comptime),*]
            ),
        }
    }};
    (
        @record $record:ident, $module:ident :: $function:ident :: $kernel:ident < $($ty:ty),* >, $count:ident, $dim:ident,
        [$($size:expr),*], [$($buffer:expr),*], [$($scalar:expr),*], [$($comptime:expr),*]
    ) => {{
        use $crate::kernels::Record;
        let (settings, properties, target) = $record.environment($dim.num_elems());
        let kernel = $module::$function::$kernel::<$($ty),*>::new(
            settings, properties, target, $(kernel!(@buffer $buffer),)* $(kernel!(@scalar $scalar),)*
            $($size,)* $($comptime),*
        );
        let mut scalars = ScalarBuilder::default();
        $(scalars.push($scalar);)*
        $record.add(kernel, Call::new(&[$($buffer),*], scalars, $count, $dim));
    }};
    (@buffer $buffer:expr) => { BufferCompilationArg { inplace: None } };
    (@scalar $scalar:expr) => { () };
}

pub(super) use kernel;

/// Runs an arm with `$t` standing for the Rust type of an element type.
macro_rules! with_elem {
    ($elem:expr, [$($name:ident => $ty:ty),*], $t:ident => $body:expr) => {
        match $elem {
            $( Elem::$name => { type $t = $ty; $body } )*
            #[allow(unreachable_patterns)]
            other => unreachable!("type inference excludes {other} here"),
        }
    };
}

pub(super) use with_elem;

/// Launches or compiles a launch's kernel on its items.
pub(crate) fn dispatch(launch: &Launch, work: Work, target: Target<'_>) {
    let (kernel, items) = (&launch.kernel, launch.items);
    match launch.blueprint {
        Blueprint::Plain => plain(kernel, items, work, target),
        Blueprint::Parts => unreachable!("parts are launches of their own"),
        Blueprint::Gemm(tiles) => tensor::gemm(kernel, tiles, items, target),
        Blueprint::Mlp(blueprint) => tensor::mlp(kernel, blueprint, items, target),
        Blueprint::Attention(blueprint) => tensor::attention(kernel, blueprint, items, target),
        Blueprint::Embed(blueprint) => tensor::embed(kernel, blueprint, items, target),
        Blueprint::Head(blueprint) => tensor::head(kernel, blueprint, items, target),
        Blueprint::Norm(blueprint) => tensor::norm(kernel, blueprint, items, target),
        Blueprint::Channels(blueprint) => simd::residual(kernel, blueprint, items, work, target),
        Blueprint::Windows(blueprint) => simd::attention(kernel, blueprint, items, work, target),
        Blueprint::Dots(tiles) => simd::gemm(kernel, tiles, items, work, target),
    }
}

/// Launches or compiles the plain kernel of a specification.
fn plain(kernel: &Kernel, items: usize, work: Work, target: Target<'_>) {
    let range = |elem: Elem| elem.range().expect("an integer type");
    match *kernel {
        Kernel::Linear { x, k, n, bias, requantize } => {
            let width = vector_width(n);
            let vectors = n / width;
            let blocks = items.div_ceil(ROWS) * vectors;
            // Without a bias any buffer will do: the weights.
            let bias_buffer = if bias { 2 } else { 1 };
            let output = if bias { 3 } else { 2 };
            if let Some(to) = requantize {
                let (low, high) = range(to);
                let (mantissas, shifts, output) = (output, output + 1, output + 2);
                return with_elem!(x, [I8 => i8, U8 => u8], F =>
                with_elem!(to, [I16 => i16, I8 => i8, U8 => u8], T => kernel!(
                    target, work, linear::qlinear::Qlinear<F, T>,
                    items: blocks, block: vectors, sizes: [width],
                    buffers: [0, 1, bias_buffer, mantissas, shifts, output],
                    scalars: [items as u32, k as u32], comptime: [vectors, bias, low, high]
                )));
            }
            macro_rules! linear {
                ($x:ty, $w:ty, $a:ty, $float:literal) => {
                    kernel!(
                        target, work, linear::linear::Linear<$x, $w, $a>,
                        items: blocks, block: vectors, sizes: [width], buffers: [0, 1, bias_buffer, output],
                        scalars: [items as u32, k as u32], comptime: [vectors, bias, $float]
                    )
                };
            }
            match x {
                Elem::F32 => linear!(f32, f32, f32, true),
                Elem::U8 => linear!(u8, i8, i32, false),
                _ => linear!(i8, i8, i32, false),
            }
        }
        Kernel::AttnScores { x: Elem::F32, heads, tokens, channels } => kernel!(
            target, work, attention::scores::Scores<>,
            items: items, block: 1, sizes: [], buffers: [0, 1, 2], scalars: [], comptime: [heads, tokens, channels]
        ),
        Kernel::AttnScores { x, heads, tokens, channels } => {
            let width = vector_width(channels / heads);
            let vectors = channels / heads / width;
            with_elem!(x, [U8 => u8, I8 => i8], X => kernel!(
                target, work, attention::int_scores::IntScores<X, i8>,
                items: items * tokens, block: tokens, sizes: [width], buffers: [0, 1, 2],
                scalars: [], comptime: [heads, tokens, vectors, width]
            ))
        }
        Kernel::AttnValues { p, heads, tokens, channels } => {
            let width = vector_width(channels / heads);
            let vectors = channels / width;
            macro_rules! values {
                ($p:ty, $v:ty, $a:ty, $float:literal) => {
                    kernel!(
                        target, work, attention::values::Values<$p, $v, $a>,
                        items: items * vectors, block: vectors, sizes: [width], buffers: [0, 1, 2],
                        scalars: [], comptime: [heads, tokens, vectors, $float]
                    )
                };
            }
            match p {
                Elem::F32 => values!(f32, f32, f32, true),
                Elem::U8 => values!(u8, i8, i32, false),
                _ => values!(i8, i8, i32, false),
            }
        }
        Kernel::AttnBias { elem, heads, tokens, masks, scale } => {
            let (mask_buffer, output) = if masks > 0 { (2, 3) } else { (1, 2) };
            match elem {
                Elem::F32 => kernel!(
                    target, work, attention::bias::Bias<>,
                    items: items, block: ELEMENTS, sizes: [], buffers: [0, 1, mask_buffer, output],
                    scalars: [scale.get()], comptime: [heads, tokens, masks]
                ),
                _ => kernel!(
                    target, work, attention::int_bias::IntBias<>,
                    items: items, block: ELEMENTS, sizes: [], buffers: [0, 1, mask_buffer, output],
                    scalars: [], comptime: [heads, tokens, masks]
                ),
            }
        }
        Kernel::BiasAdd { elem, n } => with_elem!(elem, [F32 => f32, I32 => i32], T => kernel!(
            target, work, pointwise::bias_add::BiasAdd<T>,
            items: items, block: ELEMENTS, sizes: [], buffers: [0, 1, 2], scalars: [], comptime: [n]
        )),
        Kernel::Move { elem, rows } => {
            let width = vector_width(rows.chunk);
            let vectors = rows.chunk / width;
            with_elem!(elem, [F32 => f32, I32 => i32, I16 => i16, I8 => i8, U8 => u8], T => kernel!(
                target, work, movement::gather::Gather<T>,
                items: items, block: ELEMENTS.div_ceil(rows.chunk), sizes: [width], buffers: [0, 1, 2],
                scalars: [], comptime: [vectors, rows]
            ))
        }
        Kernel::Normalize { channels } => kernel!(
            target, work, pointwise::normalize::Normalize<>,
            items: items, block: ELEMENTS, sizes: [], buffers: [0, 1, 2, 3], scalars: [], comptime: [channels]
        ),
        Kernel::LayerNorm { channels, eps } => kernel!(
            target, work, norm::layer_norm::LayerNorm<>,
            items: items, block: ELEMENTS.div_ceil(channels), sizes: [], buffers: [0, 1, 2, 3],
            scalars: [eps.get()], comptime: [channels]
        ),
        Kernel::L2Norm { channels, eps } => kernel!(
            target, work, unit::l2_norm::L2Norm<>,
            items: items, block: ELEMENTS.div_ceil(channels), sizes: [], buffers: [0, 1],
            scalars: [eps.get()], comptime: [channels]
        ),
        Kernel::QL2Norm { x, channels, to } => {
            let (low, high) = range(to);
            with_elem!(x, [I16 => i16, I8 => i8], X => with_elem!(to, [I16 => i16, I8 => i8, U8 => u8], Y => kernel!(
                target, work, unit::q_l2_norm::QL2Norm<X, Y>,
                items: items, block: ELEMENTS.div_ceil(channels), sizes: [], buffers: [0, 1, 2, 3],
                scalars: [], comptime: [channels, low, high]
            )))
        }
        Kernel::HeadScale { elem, heads, area } => match elem {
            Elem::F32 => kernel!(
                target, work, attention::scaled::Scaled<>,
                items: items, block: ELEMENTS, sizes: [], buffers: [0, 1, 2], scalars: [], comptime: [heads, area]
            ),
            _ => kernel!(
                target, work, attention::int_scaled::IntScaled<>,
                items: items, block: ELEMENTS, sizes: [], buffers: [0, 1, 2], scalars: [], comptime: [heads, area]
            ),
        },
        Kernel::Softmax { n } => kernel!(
            target, work, norm::softmax::Softmax<>,
            items: items, block: ELEMENTS.div_ceil(n), sizes: [], buffers: [0, 1], scalars: [], comptime: [n]
        ),
        Kernel::QLayerNorm { x, channels, epsilon, to } => {
            let (low, high) = range(to);
            with_elem!(x, [I16 => i16, I8 => i8], X => with_elem!(to, [I16 => i16, I8 => i8, U8 => u8], Y => kernel!(
                target, work, integer::q_layer_norm::QLayerNorm<X, Y>,
                items: items, block: ELEMENTS.div_ceil(channels), sizes: [], buffers: [0, 1, 2, 3, 4, 5],
                scalars: [epsilon], comptime: [channels, low, high]
            )))
        }
        Kernel::QSoftmax { n } => kernel!(
            target, work, integer::q_softmax::QSoftmax<>,
            items: items, block: ELEMENTS.div_ceil(n), sizes: [], buffers: [0, 1, 2, 3, 4], scalars: [], comptime: [n]
        ),
        Kernel::MeanPool { elem, tokens, channels } => match elem {
            Elem::F32 => kernel!(
                target, work, norm::mean_pool::MeanPool<>,
                items: items, block: 16, sizes: [], buffers: [0, 1], scalars: [], comptime: [tokens, channels]
            ),
            _ => with_elem!(elem, [I16 => i16, I8 => i8, U8 => u8], X => kernel!(
                target, work, norm::sum_pool::SumPool<X>,
                items: items, block: 16, sizes: [], buffers: [0, 1], scalars: [], comptime: [tokens, channels]
            )),
        },
        Kernel::Gelu => kernel!(
            target, work, pointwise::gelu::Gelu<>,
            items: items, block: ELEMENTS, sizes: [], buffers: [0, 1], scalars: [], comptime: []
        ),
        Kernel::FloatGelu { from, channels, stride, to, scale } => {
            let (low, high) = range(to);
            let width = vector_width(items);
            with_elem!(from, [I32 => i32, I16 => i16, I8 => i8, U8 => u8], F =>
            with_elem!(to, [I16 => i16, I8 => i8, U8 => u8], T => kernel!(
                target, work, convert::float_gelu::FloatGelu<F, T>,
                items: items / width, block: ELEMENTS / width, sizes: [width], buffers: [0, 1, 2],
                scalars: [scale.get()], comptime: [width, channels, stride, low, high]
            )))
        }
        Kernel::Relu => kernel!(
            target, work, pointwise::relu::Relu<>,
            items: items, block: ELEMENTS, sizes: [], buffers: [0, 1], scalars: [], comptime: []
        ),
        Kernel::Add { elem } => match elem {
            Elem::F32 => kernel!(
                target, work, pointwise::add::Add<>,
                items: items, block: ELEMENTS, sizes: [], buffers: [0, 1, 2], scalars: [], comptime: []
            ),
            _ => kernel!(
                target, work, pointwise::int_add::IntAdd<>,
                items: items, block: ELEMENTS, sizes: [], buffers: [0, 1, 2], scalars: [], comptime: []
            ),
        },
        Kernel::Quantize { elem, scale } => {
            let (low, high) = range(elem);
            with_elem!(elem, [I16 => i16, I8 => i8, U8 => u8], T => kernel!(
                target, work, convert::quantize::Quantize<T>,
                items: items, block: ELEMENTS, sizes: [], buffers: [0, 1], scalars: [scale.get()], comptime: [low, high]
            ))
        }
        Kernel::Dequantize { elem, channels, stride } => {
            with_elem!(elem, [I32 => i32, I16 => i16, I8 => i8, U8 => u8], T => kernel!(
                target, work, convert::dequantize::Dequantize<T>,
                items: items, block: ELEMENTS, sizes: [], buffers: [0, 1, 2], scalars: [], comptime: [channels, stride]
            ))
        }
        Kernel::Requantize { from, to, n } => {
            let (low, high) = range(to);
            let width = vector_width(n);
            let vectors = n / width;
            with_elem!(from, [I32 => i32, I16 => i16, I8 => i8, U8 => u8], F =>
            with_elem!(to, [I16 => i16, I8 => i8, U8 => u8], T => kernel!(
                target, work, convert::requantize::Requantize<F, T>,
                        items: items * vectors, block: ELEMENTS.div_ceil(width), sizes: [width], buffers: [0, 1, 2, 3],
                        scalars: [], comptime: [vectors, low, high]
                    )))
        }
        Kernel::Lut { from, to } => {
            let (low, _) = range(from);
            with_elem!(from, [I8 => i8, U8 => u8], F => with_elem!(to, [I8 => i8, U8 => u8], T => kernel!(
                target, work, pointwise::lut::Lut<F, T>,
                items: items, block: ELEMENTS, sizes: [], buffers: [0, 1, 2], scalars: [], comptime: [low]
            )))
        }
        Kernel::NormLinear { .. }
        | Kernel::LinearResidual { .. }
        | Kernel::NormResidual { .. }
        | Kernel::Mlp { .. }
        | Kernel::WindowAttention { .. }
        | Kernel::LinearNorm { .. }
        | Kernel::Head { .. } => fused::dispatch(kernel, items, work, target),
    }
}
