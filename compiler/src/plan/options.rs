//! Which blueprints a kernel may have on a machine, and its constants as each wants them.

use super::{
    ConstSource, Kernel, Machine, Rows,
    blueprint::{Attention, Blueprint, Embed, Gemm, Head, Mlp, Pairs, Windows},
    lower::Operand,
    pack::{COLUMNS, PAIRS, STEP},
};
use std::{ops::RangeInclusive, sync::Arc};
use swint_ir::{Elem, Weights};

/// Shared memory of a cube on every GPU from compute capability 8.6 on, in bytes.
const ON_CHIP: usize = 99 << 10;

/// Bytes of a table with a copy in every bank.
const TABLE: usize = 8 << 10;

/// Channels of a patch embedding: all of a row's sums are in the registers of four lanes.
const MOST_CHANNELS: usize = 256;

/// Tokens of a window that one cube takes: 16 for each of its warps, and all scores of a query in the registers of four lanes. A
/// processor's code has them one by one, eight a vector.
const MOST_TOKENS: usize = 160;

/// Bytes of rows that stay near a core beside the weights of a panel: its first cache has 32 KB or more.
const NEAR: usize = 24 << 10;

/// Sums of fragments that a warp holds: 128 registers a thread.
const MOST_FRAGS: usize = 32;

/// Every blueprint of a kernel of so many items, the one that is likely the fastest first.
pub(super) fn options(
    kernel: &Kernel,
    items: usize,
    operands: &[Operand],
    weights: &Weights,
    machine: Machine,
) -> Vec<Blueprint> {
    let processors = match machine {
        Machine::Cuda { processors } => processors,
        Machine::Cpu { cores } => return vec![on_vectors(kernel, items, operands, weights, cores)],
    };
    let narrow = operands.iter().enumerate().all(|(i, operand)| {
        // The residual stream has 16 bits, sums have 32; a softmax has a constant of its own for its exponents.
        let known = match kernel {
            Kernel::LinearResidual { .. } if i > 5 => 17..=47,
            Kernel::Mlp { .. } if i + 2 >= operands.len() => 17..=47,
            Kernel::WindowAttention { masks, .. } if i == 4 + usize::from(*masks > 0) => 0..=62,
            _ => 33..=62,
        };
        shifts_are(operand, weights, known)
    });
    let transposed = |i: usize| matches!(operands[i], Operand::Const(ConstSource::Transposed(_)));
    let all: Vec<Blueprint> = match *kernel {
        _ if !places_of_weights(kernel).iter().all(|&i| transposed(i)) => Vec::new(),
        Kernel::Mlp { x: Elem::I16, k, hidden, to, table, .. } if is_byte(table.unwrap_or(to)) => {
            whole(items, k, hidden, table.is_some(), processors)
                .into_iter()
                .map(|mlp| mlp.map_or(Blueprint::Parts, |mlp| Blueprint::Mlp(Mlp { narrow, ..mlp })))
                .collect()
        }
        Kernel::LinearNorm { x, rows, n, .. } if is_byte(x) && n.is_multiple_of(32) && n <= MOST_CHANNELS => {
            let block = rows.parts.isqrt();
            // Lines of a patch begin at multiples of their length, and lines of an image are as many of them.
            let granule = [4, 2].into_iter().find(|g| (block * rows.chunk).is_multiple_of(*g)).unwrap_or(1);
            let embed = |warps: usize| Blueprint::Embed(Embed { warps, block, granule, narrow });
            if block * block == rows.parts { [4, 2, 1, 8].map(embed).into() } else { Vec::new() }
        }
        Kernel::Head { x: Elem::I16, k, n, .. } if k.is_multiple_of(8) => {
            // A sum a channel for each warp, and the mean.
            let fitting = (1..=8usize).rev().filter(|warps| warps.is_power_of_two() && (warps + 1) * k * 4 <= ON_CHIP);
            let head = |warps| Head { warps, splits: n.div_ceil(COLUMNS * Head::FRAGS * warps), narrow };
            fitting.map(|warps| Blueprint::Head(head(warps))).collect()
        }
        Kernel::WindowAttention { heads, tokens, channels, masks, to } => {
            let biases = 1..2 + usize::from(masks > 0);
            let known = operands[biases].iter().all(|o| matches!(o, Operand::Const(ConstSource::Weight(_))));
            if !(is_byte(to) && matches!(channels / heads, 16 | 32) && tokens <= MOST_TOKENS && known) {
                return vec![Blueprint::Plain];
            }
            // What the windows of a cube have in common is read once: biases, and the table of the exponential.
            let heads = items / tokens;
            let likely = [8, 4, 2].into_iter().find(|n| heads / n >= 4 * processors).unwrap_or(1);
            let windows = [likely, 1, 2, 4, 8, 16].into_iter().enumerate().filter(|(i, n)| *i == 0 || *n != likely);
            windows.map(|(_, windows)| Blueprint::Attention(Attention { windows, narrow })).collect()
        }
        _ => match Extents::of(kernel, items) {
            Some(extents) => {
                let narrowed = |gemm: Gemm| Blueprint::Gemm(Gemm { narrow, ..gemm });
                extents.tiles(processors).into_iter().map(narrowed).collect()
            }
            None => Vec::new(),
        },
    };
    let plain = if matches!(kernel, Kernel::Mlp { .. }) { Blueprint::Parts } else { Blueprint::Plain };
    if all.is_empty() { vec![plain] } else { all }
}

/// What a launch costs beside its work, in bytes that the second cache of a large GPU gives meanwhile: about 1.5 µs.
const LAUNCH: usize = 8 << 20;

/// The ways of making an MLP of so many rows as one kernel, and by its parts (`None`). One kernel is likely the fastest where cubes that have
/// whole rows are enough to keep every processor busy, and read no more weights than the parts read of weights and the hidden
/// layer. Taller tiles come first, since each reads all weights.
fn whole(rows: usize, k: usize, hidden: usize, table: bool, processors: usize) -> Vec<Option<Mlp>> {
    let tiles = [4, 8].into_iter().flat_map(|column_frags| [4, 2, 1].map(|row_frags| (row_frags, column_frags)));
    let fits = |&(row_frags, column_frags): &(usize, usize)| {
        let mlp = Mlp { row_frags, column_frags, warps: k / (COLUMNS * column_frags), narrow: false };
        let all = k.is_multiple_of(COLUMNS * column_frags) && mlp.chunk() > 0 && hidden.is_multiple_of(mlp.chunk());
        if !(all && mlp.warps <= mlp.resident() && row_frags * column_frags <= MOST_FRAGS / 2) {
            return None;
        }
        // Rows, and two chunks of the hidden layer: one is written while the other is read.
        let (up, down) = (mlp.up(k), mlp.down(hidden));
        let bytes = up.rows() * (up.pitch() + 2 * down.pitch()) + if table { TABLE } else { 16 };
        (bytes <= ON_CHIP).then_some(mlp)
    };
    let all: Vec<Mlp> = tiles.filter_map(|tile| fits(&tile)).collect();
    let cubes = |mlp: &Mlp| rows.div_ceil(16 * mlp.row_frags);
    let parts = {
        let up = Extents { rows, k, n: hidden, bytes: 1, whole: true, table };
        let down = Extents { rows, k: hidden, n: k, bytes: 2, whole: false, table: false };
        let tiles = [up, down].map(|part| part.tiles(processors).first().map_or(0, |gemm| rows.div_ceil(gemm.rows())));
        (tiles[0] + tiles[1]) * k * hidden + 2 * rows * hidden + LAUNCH
    };
    let first = all.iter().find(|mlp| cubes(mlp) >= processors && cubes(mlp) * 2 * k * hidden <= parts).copied();
    let rest = all.iter().copied().filter(|mlp| Some(*mlp) != first).map(Some);
    match first {
        Some(_) => [first].into_iter().chain(rest).chain([None]).collect(),
        None => [None].into_iter().chain(rest).collect(),
    }
}

/// The blueprint for a processor's vector units, where rows and results are whole vectors.
fn on_vectors(kernel: &Kernel, items: usize, operands: &[Operand], weights: &Weights, cores: usize) -> Blueprint {
    let (rows, n) = match *kernel {
        Kernel::NormLinear { x: Elem::I16, rows, n, .. } => (rows, n),
        Kernel::LinearResidual { x, rows, n, r: Elem::I16 } if is_byte(x) => (rows, n),
        Kernel::Linear { x, k, n, .. } if is_byte(x) => (Rows::plain(k), n),
        Kernel::WindowAttention { heads, tokens, channels, masks, .. } => {
            return windows(channels / heads, tokens, masks, operands, weights);
        }
        // Rows of the hidden layer are too long for as many of them to stay near as share weights.
        Kernel::Mlp { .. } => return Blueprint::Parts,
        _ => return Blueprint::Plain,
    };
    let vectors = if n.is_multiple_of(2 * PAIRS) { 2 } else { 1 };
    let transposed = |&i: &usize| matches!(operands[i], Operand::Const(ConstSource::Transposed(_)));
    let transposed = places_of_weights(kernel).iter().all(transposed);
    if !(transposed && n.is_multiple_of(vectors * PAIRS) && rows.chunk.is_multiple_of(PAIRS)) {
        return Blueprint::Plain;
    }
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
fn windows(head: usize, tokens: usize, masks: usize, operands: &[Operand], weights: &Weights) -> Blueprint {
    let softmax = 2 + usize::from(masks > 0);
    let all = operands[1..softmax].iter().all(|o| matches!(o, Operand::Const(ConstSource::Weight(_))));
    // A distance is lifted by less than 32 bits.
    let lifted = shifts_are(&operands[softmax + 2], weights, 2..=62);
    if !(all && lifted && head.is_multiple_of(PAIRS) && tokens <= MOST_TOKENS) {
        return Blueprint::Plain;
    }
    Blueprint::Windows(Windows { narrow: shifts_are(&operands[softmax + 4], weights, 33..=62) })
}

/// Packs a kernel's constants as its blueprint wants them.
pub(super) fn pack(kernel: &Kernel, blueprint: &Blueprint, operands: &mut [Operand]) {
    // Of each of its weights.
    let frags = match (*blueprint, kernel) {
        (Blueprint::Plain, _) => return,
        (Blueprint::Gemm(gemm), _) => [gemm.column_frags; 2],
        (Blueprint::Mlp(mlp), _) => [Mlp::FRAGS, mlp.column_frags],
        (Blueprint::Head(_), _) => [Head::FRAGS; 2],
        (Blueprint::Embed(_), Kernel::LinearNorm { n, .. }) => [n / COLUMNS; 2],
        (Blueprint::Pairs(pairs), _) => {
            pack_weights(kernel, operands, |name, _| ConstSource::Pairs(name, pairs.vectors * PAIRS));
            return;
        }
        (Blueprint::Attention(_) | Blueprint::Windows(_), Kernel::WindowAttention { masks, .. }) => {
            let tensor_cores = matches!(blueprint, Blueprint::Attention(_));
            let softmax = 2 + usize::from(*masks > 0);
            for operand in &mut operands[1..softmax] {
                if let Operand::Const(ConstSource::Weight(name)) = operand.clone() {
                    let packed = if tensor_cores { ConstSource::Scores(name) } else { ConstSource::Rows(name, PAIRS) };
                    *operand = Operand::Const(packed);
                }
            }
            if tensor_cores {
                operands[softmax] = Operand::Const(ConstSource::PowerPairs);
            }
            if let Operand::Const(ConstSource::Mantissas(ty, ..)) = operands[softmax + 1].clone() {
                operands[softmax + 1] = Operand::Const(ConstSource::Exponent(ty));
            }
            return;
        }
        _ => unreachable!("{kernel} has no blueprint {blueprint:?}"),
    };
    pack_weights(kernel, operands, |name, i| ConstSource::Fragments(name, frags[i]));
}

/// Gives a kernel's weights another order: `packed` makes it of their name and their place among them.
fn pack_weights(kernel: &Kernel, operands: &mut [Operand], packed: impl Fn(Arc<str>, usize) -> ConstSource) {
    for (i, &place) in places_of_weights(kernel).iter().enumerate() {
        if let Operand::Const(ConstSource::Transposed(name)) = operands[place].clone() {
            operands[place] = Operand::Const(packed(name, i));
        }
    }
}

/// Which of a kernel's inputs are weights.
fn places_of_weights(kernel: &Kernel) -> &'static [usize] {
    match kernel {
        Kernel::NormLinear { .. } => &[5],
        Kernel::Mlp { table: Some(_), .. } => &[5, 10],
        Kernel::Mlp { .. } => &[5, 9],
        Kernel::Head { .. } => &[7],
        Kernel::LinearResidual { .. } | Kernel::Linear { .. } | Kernel::LinearNorm { .. } => &[1],
        _ => &[],
    }
}

fn is_byte(elem: Elem) -> bool {
    matches!(elem, Elem::I8 | Elem::U8)
}

/// Whether an operand has no shifts but in a range; where values are not known it may have others.
fn shifts_are(operand: &Operand, weights: &Weights, range: RangeInclusive<u32>) -> bool {
    let Operand::Const(ConstSource::Shifts(ty, to, _)) = operand else { return true };
    let known = ty.scale.channels.as_ref().is_none_or(|channels| weights.get(&channels.name).is_some());
    known && weights.multipliers(ty, to.get()).iter().all(|m| range.contains(&m.shift))
}

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

impl Extents {
    /// Of a kernel that is a matrix product whose rows can be loaded 16 bytes at a time.
    fn of(kernel: &Kernel, items: usize) -> Option<Extents> {
        let sixteens = |rows: Rows, bytes: usize| (rows.chunk * bytes).is_multiple_of(16);
        Some(match *kernel {
            Kernel::NormLinear { x: Elem::I16, rows, n, to, table, .. }
                if sixteens(rows, 2) && table.is_none_or(is_byte) =>
            {
                let bytes = table.unwrap_or(to).bytes();
                Extents { rows: items, k: rows.len(), n, bytes, whole: true, table: table.is_some() }
            }
            Kernel::LinearResidual { x, rows, n, r: Elem::I16 } if is_byte(x) && sixteens(rows, 1) => {
                Extents { rows: items, k: rows.len(), n, bytes: 2, whole: false, table: false }
            }
            Kernel::Linear { x, k, n, requantize, .. } if is_byte(x) && k.is_multiple_of(16) => {
                let bytes = requantize.map_or(4, Elem::bytes);
                Extents { rows: items, k, n, bytes, whole: false, table: false }
            }
            _ => return None,
        })
    }

    /// Tiles that fit. First comes the largest of which there are enough to keep every processor busy, since a cube reads all weights
    /// of its columns.
    fn tiles(&self, processors: usize) -> Vec<Gemm> {
        // What a lane holds of a row is one store of 16 bytes, if there is as much.
        let widths: &[usize] = if self.bytes == 1 { &[8, 4] } else { &[4, 8] };
        let widths: Vec<usize> = widths.iter().copied().filter(|frags| self.n.is_multiple_of(2 * frags)).collect();
        let Some(&width) = widths.first() else { return Vec::new() };
        let steps = self.k.div_ceil(STEP);
        let divides = |stage: &usize| steps.is_multiple_of(*stage);
        let stage = match self.whole || steps <= 12 {
            true => steps,
            false => (6..=10).rev().find(divides).unwrap_or(8),
        };
        let of = |row_frags: usize, column_frags: usize, row_warps: usize, most: usize| {
            let blocks = self.n.div_ceil(COLUMNS * column_frags);
            let splits = blocks.div_ceil((most / row_warps).max(1));
            let (column_warps, stages) = (blocks.div_ceil(splits), steps.div_ceil(stage));
            Gemm { row_frags, column_frags, row_warps, column_warps, splits, stage, stages, narrow: false }
        };
        let fits = |gemm: &Gemm| {
            let tile = gemm.stages.min(2) * gemm.rows() * gemm.pitch() + if self.table { TABLE } else { 16 };
            tile <= ON_CHIP && gemm.row_frags * gemm.column_frags <= MOST_FRAGS
        };
        let cubes = |gemm: &Gemm| self.rows.div_ceil(gemm.rows()) * gemm.splits;
        // Weights that stay near the processor need no tall tiles.
        let tall = if self.k * self.n > 64 << 10 { 2 } else { 1 };
        let likely = [(4, tall, 8), (4, 1, 8), (2, 1, 8), (1, 1, 8), (1, 1, 4)];
        let likely = likely.map(|(row_frags, row_warps, most)| of(row_frags, width, row_warps, most));
        let mut usable = likely.iter().filter(|gemm| fits(gemm));
        let first = usable.clone().find(|gemm| cubes(gemm) >= processors).or(usable.next_back());
        let mut all: Vec<Gemm> = first.copied().into_iter().collect();
        for (&column_frags, row_frags) in widths.iter().flat_map(|w| [4, 2, 1].map(|r| (w, r))) {
            for (row_warps, most) in [(1, 8), (2, 8), (1, 4), (2, 4), (1, 2)] {
                let gemm = of(row_frags, column_frags, row_warps, most);
                if fits(&gemm) && !all.contains(&gemm) {
                    all.push(gemm);
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The MLPs of Swin-T's stages at batches of 1 and 32: one kernel where every processor has rows and weights are few.
    #[test]
    fn mlps_are_whole_where_there_are_rows_for_all() {
        let row_frags = |rows, k| whole(rows, k, 4 * k, true, 132)[0].map(|mlp| mlp.row_frags);
        let one = [(3136, 96), (784, 192), (196, 384), (49, 768)].map(|(rows, k)| row_frags(rows, k));
        assert_eq!(one, [Some(1), None, None, None]);
        let many = [(100_352, 96), (25_088, 192), (6272, 384), (1568, 768)].map(|(rows, k)| row_frags(rows, k));
        assert_eq!(many, [Some(4), None, None, None]);
        for (k, hidden) in
            [(32, 128), (96, 288), (128, 512), (384, 1536), (512, 2048), (768, 3072), (40, 160), (96, 100)]
        {
            let all = whole(9000, k, hidden, true, 132);
            assert_eq!(all.iter().filter(|option| option.is_none()).count(), 1, "{k}");
            assert_eq!(
                all.len() > 1,
                k <= 512 && hidden % 64 == 0 && k % 32 == 0 || (k, hidden) == (96, 288),
                "{k} {all:?}"
            );
            for (i, mlp) in all.iter().enumerate() {
                assert!(!all[..i].contains(mlp), "{k}");
                let Some(mlp) = mlp else { continue };
                let (up, down) = (mlp.up(k), mlp.down(hidden));
                assert_eq!(mlp.warps * mlp.column_frags * COLUMNS, k);
                assert_eq!((down.stage * down.stages * STEP, up.stage), (hidden, k.div_ceil(STEP)), "{k} {mlp:?}");
                assert!(up.rows() * (up.pitch() + 2 * down.pitch()) + TABLE <= ON_CHIP, "{k} {mlp:?}");
                assert!(mlp.warps <= mlp.resident(), "{k} {mlp:?}");
            }
        }
    }

    /// Rows, k and n of the matrix products of Swin-T and Swin-L at batches of 1 and 32, and of odd ones.
    #[test]
    fn every_option_fits_and_has_all_columns() {
        let products = [(3136, 96, 288), (100_352, 96, 384), (784, 384, 192), (6272, 1536, 384), (49, 3072, 768)];
        for (rows, k, n) in products.into_iter().chain([(1568, 6144, 1536), (5, 3072, 1536), (7, 48, 40), (1, 16, 8)]) {
            for (bytes, whole, table) in [(1, true, true), (1, true, false), (2, false, false), (4, false, false)] {
                let all = Extents { rows, k, n, bytes, whole, table }.tiles(132);
                let name = format!("{rows} {k} {n} {bytes} {whole}");
                // Only 16 rows of 6144 normalised bytes fit, and none beside a table.
                assert_eq!(all.is_empty(), whole && table && k > 3136, "{name}");
                for (i, gemm) in all.iter().enumerate() {
                    assert!(!all[..i].contains(gemm), "{name}");
                    let columns = gemm.splits * gemm.column_warps * gemm.column_frags * COLUMNS;
                    assert!(
                        columns >= n && (gemm.splits - 1) * gemm.column_warps * gemm.column_frags * COLUMNS < n,
                        "{name}"
                    );
                    assert!(n.is_multiple_of(2 * gemm.column_frags) && gemm.column_frags.is_multiple_of(2), "{name}");
                    assert!((1..=32).contains(&gemm.warps()) && gemm.row_frags * gemm.column_frags <= MOST_FRAGS);
                    assert!(gemm.stage * gemm.stages * STEP >= k && (!whole || gemm.stages == 1), "{name}");
                    let bytes = gemm.stages.min(2) * gemm.rows() * gemm.pitch() + if table { TABLE } else { 16 };
                    assert!(bytes <= ON_CHIP, "{name}: {gemm:?}");
                }
                // A processor for each cube, where there are as many.
                let cubes = |gemm: &Gemm| rows.div_ceil(gemm.rows()) * gemm.splits;
                assert!(
                    all.iter().all(|gemm| cubes(gemm) < 132) || all.is_empty() || cubes(&all[0]) >= 132 || rows < 800
                );
            }
        }
    }
}
