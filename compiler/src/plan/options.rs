//! Which blueprints a kernel may have on a machine, and its constants as each wants them.

use super::{
    ConstSource, Kernel, Machine, Rows,
    blueprint::{Attention, Blueprint, Embed, Gemm, Head, Mlp, Pairs, Windows},
    lower::Operand,
    pack::{COLUMNS, PAIRS},
    tiles::{Extents, MOST_FRAGS, ON_CHIP, TABLE},
};
use std::{ops::RangeInclusive, sync::Arc};
use swint_ir::{Elem, Weights};

/// Channels of a patch embedding: all of a row's sums are in the registers of four lanes.
const MOST_CHANNELS: usize = 256;

/// Tokens of a window that one cube takes: 16 for each of its warps, and all scores of a query in the registers of four lanes. A
/// processor's code has them one by one, eight a vector.
const MOST_TOKENS: usize = 160;

/// Bytes of rows that stay near a core beside the weights of a panel: its first cache has 32 KB or more.
const NEAR: usize = 24 << 10;

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

pub(super) fn is_byte(elem: Elem) -> bool {
    matches!(elem, Elem::I8 | Elem::U8)
}

/// Whether an operand has no shifts but in a range; where values are not known it may have others.
fn shifts_are(operand: &Operand, weights: &Weights, range: RangeInclusive<u32>) -> bool {
    let Operand::Const(ConstSource::Shifts(ty, to, _)) = operand else { return true };
    let known = ty.scale.channels.as_ref().is_none_or(|channels| weights.get(&channels.name).is_some());
    known && weights.multipliers(ty, to.get()).iter().all(|m| range.contains(&m.shift))
}

#[cfg(test)]
mod tests {
    use super::{super::pack::STEP, *};

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
}
