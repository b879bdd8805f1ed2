//! How a kernel is made for a machine: tiles, what is on the chip at a time, which instructions.

use super::{
    ConstSource, Kernel, Rows,
    lower::Operand,
    pack::{COLUMNS, PAIRS, STEP},
};
use std::{fmt, ops::RangeInclusive};
use swint_ir::{Elem, Weights};

/// What a plan is made for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Machine {
    /// An NVIDIA GPU with int8 tensor cores (compute capability 8.0 or more).
    Cuda {
        /// Its multiprocessors.
        processors: usize,
    },
    /// A processor with vector units.
    Cpu {
        /// Its cores.
        cores: usize,
    },
}

/// How a kernel does what it is specified to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Blueprint {
    /// Each unit works alone on its items, by any processor's instructions.
    #[default]
    Plain,
    /// A matrix product on tensor cores.
    Gemm(Gemm),
    /// Window attention on tensor cores.
    Attention(Attention),
    /// A patch embedding on tensor cores.
    Embed(Embed),
    /// LayerNorm, mean and a matrix product on tensor cores.
    Head(Head),
    /// A matrix product by pairs on a processor's vector units.
    Pairs(Pairs),
    /// Window attention on a processor's vector units.
    Windows(Windows),
}

/// How window attention is made on a processor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Windows {
    /// Whether the requantization of results needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// Tiles of a matrix product by pairs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pairs {
    /// Vectors of [`PAIRS`] columns of a panel.
    pub vectors: usize,
    /// Groups of rows that a unit takes at a time.
    pub groups: usize,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// Tiles of a matrix product.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Gemm {
    /// Fragments of 16 rows that a warp holds sums of.
    pub row_frags: usize,
    /// Fragments of 8 columns that a warp holds sums of; even.
    pub column_frags: usize,
    /// Warps of a cube that have the same columns and other rows.
    pub row_warps: usize,
    /// Warps of a cube that have the same rows and other columns.
    pub column_warps: usize,
    /// Cubes that have the same rows.
    pub splits: usize,
    /// 32-byte steps of a row that are on the chip at a time.
    pub stage: usize,
    /// How often a row needs that.
    pub stages: usize,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// How window attention is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Attention {
    /// Windows of a head that a cube works on, one after the other.
    pub windows: usize,
    /// Whether the requantization of results needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// How a patch embedding is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Embed {
    /// Warps of a cube, 16 patches each.
    pub warps: usize,
    /// Pixels of a side of a patch.
    pub block: usize,
    /// Bytes of a load: 4, 2 or 1, by how the rows of patches are aligned.
    pub granule: usize,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// How a head is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Head {
    /// Warps of a cube.
    pub warps: usize,
    /// Cubes that have the same image, and other classes.
    pub splits: usize,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

impl Head {
    /// Fragments of 8 columns of a warp.
    pub const FRAGS: usize = 4;
}

impl Blueprint {
    /// Cubes that a processor should have at a time, where that must be said: as many as its registers allow with those that hold
    /// sums. 128 a thread are enough beside 64 sums, so that 16 warps have room; beside 128 of them, or a stage on its way, there is room for 8.
    pub fn resident(&self) -> Option<usize> {
        let Blueprint::Gemm(gemm) = self else { return None };
        let warps = if gemm.row_frags * gemm.column_frags > 16 || gemm.stages > 1 { 8 } else { 16 };
        Some((warps / gemm.warps()).max(1))
    }
}

impl Gemm {
    /// Rows of a cube.
    pub fn rows(&self) -> usize {
        16 * self.row_frags * self.row_warps
    }

    /// Warps of a cube.
    pub fn warps(&self) -> usize {
        self.row_warps * self.column_warps
    }

    /// Bytes between two rows on the chip: an odd number of steps, so that eight rows lie in different banks.
    pub fn pitch(&self) -> usize {
        (self.stage | 1) * STEP
    }
}

/// Shared memory of a cube on every GPU from compute capability 8.6 on, in bytes.
const ON_CHIP: usize = 99 << 10;

/// Bytes of a table with a copy in every bank.
const TABLE: usize = 8 << 10;

/// Bytes of rows that stay near a core beside the weights of a panel: its first cache has 32 KB or more.
const NEAR: usize = 24 << 10;

/// What a matrix product needs to be tiled.
struct Extents {
    rows: usize,
    k: usize,
    n: usize,
    /// Bytes of a result.
    bytes: usize,
    /// Whether rows must be on the chip as a whole.
    whole: bool,
    table: bool,
}

/// The blueprint of a kernel of so many items, whose constants are packed as it wants them.
pub(super) fn choose(
    kernel: &Kernel,
    items: usize,
    operands: &mut [Operand],
    weights: &Weights,
    machine: Machine,
) -> Blueprint {
    let processors = match machine {
        Machine::Cuda { processors } => processors,
        Machine::Cpu { cores } => return pairs(kernel, items, operands, weights, cores),
    };
    let eights = |rows: Rows, bytes: usize| (rows.chunk * bytes).is_multiple_of(16);
    let (extents, position) = match *kernel {
        Kernel::NormLinear { x: Elem::I16, rows, n, to, table, .. } if eights(rows, 2) && table.is_none_or(is_byte) => {
            let bytes = table.unwrap_or(to).bytes();
            (Extents { rows: items, k: rows.len(), n, bytes, whole: true, table: table.is_some() }, 5)
        }
        Kernel::LinearResidual { x, rows, n, r: Elem::I16 } if is_byte(x) && eights(rows, 1) => {
            (Extents { rows: items, k: rows.len(), n, bytes: 2, whole: false, table: false }, 1)
        }
        Kernel::Linear { x, k, n, requantize, .. } if is_byte(x) && k.is_multiple_of(16) => {
            let bytes = requantize.map_or(4, Elem::bytes);
            (Extents { rows: items, k, n, bytes, whole: false, table: false }, 1)
        }
        Kernel::WindowAttention { heads, tokens, channels, masks, to } => {
            return attention(heads, tokens, channels, masks, to, items, operands, weights, processors);
        }
        Kernel::LinearNorm { x, rows, n, .. } if is_byte(x) && n.is_multiple_of(32) && n <= MOST_CHANNELS => {
            let narrow = (0..operands.len()).all(|i| shifts_are(&operands[i], weights, 33..=62));
            let block = rows.parts.isqrt();
            if block * block != rows.parts || !fragments(&mut operands[1], n / COLUMNS) {
                return Blueprint::Plain;
            }
            // Lines of a patch begin at multiples of their length, and lines of an image are as many of them.
            let granule = [4, 2].into_iter().find(|g| (block * rows.chunk).is_multiple_of(*g)).unwrap_or(1);
            return Blueprint::Embed(Embed { warps: 4, block, granule, narrow });
        }
        Kernel::Head { x: Elem::I16, k, n, .. } if k.is_multiple_of(8) => {
            let narrow = (0..operands.len()).all(|i| shifts_are(&operands[i], weights, 33..=62));
            let warps = (1..=8).rev().find(|warps| (warps + 1) * k * 4 <= ON_CHIP);
            let (Some(warps), true) = (warps, fragments(&mut operands[7], Head::FRAGS)) else {
                return Blueprint::Plain;
            };
            return Blueprint::Head(Head { warps, splits: n.div_ceil(COLUMNS * Head::FRAGS * warps), narrow });
        }
        _ => return Blueprint::Plain,
    };
    let Some(mut tiles) = tile(&extents, processors) else { return Blueprint::Plain };
    if !fragments(&mut operands[position], tiles.column_frags) {
        return Blueprint::Plain;
    }
    tiles.narrow = operands.iter().enumerate().all(|(i, operand)| {
        // The residual stream has 16 bits, sums have 32.
        let known = if matches!(kernel, Kernel::LinearResidual { .. }) && i > 5 { 17..=47 } else { 33..=62 };
        shifts_are(operand, weights, known)
    });
    Blueprint::Gemm(tiles)
}

/// A blueprint for a processor's vector units, where rows and results are whole vectors.
fn pairs(kernel: &Kernel, items: usize, operands: &mut [Operand], weights: &Weights, cores: usize) -> Blueprint {
    let (position, rows, n) = match *kernel {
        Kernel::NormLinear { x: Elem::I16, rows, n, .. } => (5, rows, n),
        Kernel::LinearResidual { x, rows, n, r: Elem::I16 } if is_byte(x) => (1, rows, n),
        Kernel::Linear { x, k, n, .. } if is_byte(x) => (1, Rows { chunk: k, parts: 1, period: 0 }, n),
        Kernel::WindowAttention { heads, tokens, channels, masks, .. } => {
            return windows(channels / heads, tokens, masks, operands, weights);
        }
        _ => return Blueprint::Plain,
    };
    let vectors = if n.is_multiple_of(2 * PAIRS) { 2 } else { 1 };
    let Operand::Const(ConstSource::Transposed(name)) = &operands[position] else { return Blueprint::Plain };
    if !(n.is_multiple_of(vectors * PAIRS) && rows.chunk.is_multiple_of(PAIRS)) {
        return Blueprint::Plain;
    }
    operands[position] = Operand::Const(ConstSource::Pairs(name.clone(), vectors * PAIRS));
    let narrow = operands.iter().enumerate().all(|(i, operand)| {
        // The residual stream has 16 bits, sums have 32.
        let known = if matches!(kernel, Kernel::LinearResidual { .. }) && i > 5 { 17..=46 } else { 33..=62 };
        shifts_are(operand, weights, known)
    });
    // Tall tiles read weights less often, as long as their rows stay near and every core has some.
    let fits = |groups: &usize| 8 * groups * rows.len() <= NEAR && items >= 8 * groups * cores;
    let groups = [6, 4, 3, 2].into_iter().find(fits).unwrap_or(1);
    Blueprint::Pairs(Pairs { vectors, groups, narrow })
}

/// Attention by vectors of keys, where a head's channels are whole vectors.
fn windows(head: usize, tokens: usize, masks: usize, operands: &mut [Operand], weights: &Weights) -> Blueprint {
    let biases = if masks > 0 { 1..3 } else { 1..2 };
    let exponents = biases.end + 1;
    let all = operands[biases.clone()].iter().all(|o| matches!(o, Operand::Const(ConstSource::Weight(_))));
    let Operand::Const(ConstSource::Mantissas(ty, ..)) = operands[exponents].clone() else { return Blueprint::Plain };
    // A distance is lifted by less than 32 bits.
    let lifted = shifts_are(&operands[exponents + 1], weights, 2..=62);
    if !(all && lifted && head.is_multiple_of(PAIRS) && tokens <= MOST_KEYS) {
        return Blueprint::Plain;
    }
    for operand in &mut operands[biases] {
        if let Operand::Const(ConstSource::Weight(name)) = operand {
            *operand = Operand::Const(ConstSource::Rows(name.clone(), PAIRS));
        }
    }
    operands[exponents] = Operand::Const(ConstSource::Exponent(ty));
    Blueprint::Windows(Windows { narrow: shifts_are(&operands[exponents + 3], weights, 33..=62) })
}

/// Takes weights as fragments, by blocks of so many, instead of transposed; whether they are there.
fn fragments(operand: &mut Operand, frags: usize) -> bool {
    let Operand::Const(ConstSource::Transposed(name)) = operand else { return false };
    *operand = Operand::Const(ConstSource::Fragments(name.clone(), frags));
    true
}

/// Attention on tensor cores, where a head has 16 or 32 channels.
#[allow(clippy::too_many_arguments)]
fn attention(
    heads: usize,
    tokens: usize,
    channels: usize,
    masks: usize,
    to: Elem,
    items: usize,
    operands: &mut [Operand],
    weights: &Weights,
    processors: usize,
) -> Blueprint {
    let head = channels / heads;
    let (biases, softmax) = if masks > 0 { (1..3, 3) } else { (1..2, 2) };
    let known = |i: usize| matches!(operands[i], Operand::Const(ConstSource::Weight(_)));
    if !(is_byte(to) && matches!(head, 16 | 32) && tokens <= MOST_TOKENS && biases.clone().all(known)) {
        return Blueprint::Plain;
    }
    let scores = operands[softmax + 1].clone();
    let Operand::Const(ConstSource::Mantissas(ty, _, _)) = scores else { return Blueprint::Plain };
    for operand in &mut operands[biases] {
        if let Operand::Const(ConstSource::Weight(name)) = operand {
            *operand = Operand::Const(ConstSource::Scores(name.clone()));
        }
    }
    operands[softmax] = Operand::Const(ConstSource::PowerPairs);
    operands[softmax + 1] = Operand::Const(ConstSource::Exponent(ty));
    let narrow = shifts_are(&operands[softmax + 4], weights, 33..=62);
    // What the windows of a cube have in common is read once: biases, and the table of the exponential.
    let pairs = items / tokens;
    let windows = [8, 4, 2].into_iter().find(|n| pairs / n >= 4 * processors).unwrap_or(1);
    Blueprint::Attention(Attention { windows, narrow })
}

/// Channels of a patch embedding: all of a row's sums are in the registers of four lanes.
const MOST_CHANNELS: usize = 256;

/// Tokens of a window that one cube takes: 16 for each of its warps, and all scores of a query in the registers of four lanes.
const MOST_TOKENS: usize = 160;

/// Keys of a window whose scores a processor's code has one by one, eight a vector: more would take long to compile.
const MOST_KEYS: usize = 160;

fn is_byte(elem: Elem) -> bool {
    matches!(elem, Elem::I8 | Elem::U8)
}

/// Whether an operand has no shifts but in a range; where values are not known it may have others.
fn shifts_are(operand: &Operand, weights: &Weights, range: RangeInclusive<u32>) -> bool {
    let Operand::Const(ConstSource::Shifts(ty, to, _)) = operand else { return true };
    let known = ty.scale.channels.as_ref().is_none_or(|channels| weights.get(&channels.name).is_some());
    known && weights.multipliers(ty, to.get()).iter().all(|m| range.contains(&m.shift))
}

/// Tiles for a matrix product: the largest of which there are enough to keep every processor busy, since a cube reads all
/// weights of its columns.
fn tile(e: &Extents, processors: usize) -> Option<Gemm> {
    // What a lane holds of a row is one store of 16 bytes, if there is as much.
    let wanted = if e.bytes == 1 { 8 } else { 4 };
    let column_frags = [wanted, 4].into_iter().find(|frags| e.n.is_multiple_of(2 * frags))?;
    let blocks = e.n.div_ceil(COLUMNS * column_frags);
    let steps = e.k.div_ceil(STEP);
    let stage =
        if e.whole || steps <= 12 { steps } else { (6..=10).rev().find(|s| steps.is_multiple_of(*s)).unwrap_or(8) };
    let fits = |gemm: &Gemm| {
        let buffers = gemm.stages.min(2);
        buffers * gemm.rows() * gemm.pitch() + if e.table { TABLE } else { 0 } <= ON_CHIP
    };
    let of = |row_frags: usize, row_warps: usize, most: usize| {
        let splits = blocks.div_ceil(most / row_warps);
        let column_warps = blocks.div_ceil(splits);
        Gemm {
            row_frags,
            column_frags,
            row_warps,
            column_warps,
            splits,
            stage,
            stages: steps.div_ceil(stage),
            narrow: false,
        }
    };
    let cubes = |gemm: &Gemm| e.rows.div_ceil(gemm.rows()) * gemm.splits;
    // Few sums a lane leave room for more warps; weights that stay near the processor need no tall tiles.
    let tall = if e.k * e.n > 64 << 10 { 2 } else { 1 };
    let candidates = [of(4, tall, 8), of(4, 1, 8), of(2, 1, 8), of(1, 1, 8), of(1, 1, 4)];
    let usable = candidates.into_iter().filter(|gemm| fits(gemm));
    usable.clone().find(|gemm| cubes(gemm) >= processors).or(usable.last())
}

impl fmt::Display for Blueprint {
    /// Nothing where it is plain; else ` by gemm[tile=64x128,warps=1x4,splits=3,stage=12]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blueprint::Plain => Ok(()),
            Blueprint::Gemm(g) => {
                let columns = g.column_warps * g.column_frags * COLUMNS;
                write!(f, " by gemm[tile={}x{columns},warps={}x{}", g.rows(), g.row_warps, g.column_warps)?;
                write!(f, ",splits={},stage={}{}]", g.splits, g.stage, if g.narrow { "" } else { ",wide" })
            }
            Blueprint::Embed(e) => {
                write!(f, " by embed[warps={},granule={}{}]", e.warps, e.granule, if e.narrow { "" } else { ",wide" })
            }
            Blueprint::Head(h) => {
                write!(f, " by head[warps={},splits={}{}]", h.warps, h.splits, if h.narrow { "" } else { ",wide" })
            }
            Blueprint::Pairs(p) => {
                let narrow = if p.narrow { "" } else { ",wide" };
                write!(f, " by pairs[groups={},columns={}{narrow}]", p.groups, p.vectors * PAIRS)
            }
            Blueprint::Windows(w) => f.write_str(if w.narrow { " by windows" } else { " by windows[wide]" }),
            Blueprint::Attention(a) => {
                write!(f, " by attention[windows={}{}]", a.windows, if a.narrow { "" } else { ",wide" })
            }
        }
    }
}
