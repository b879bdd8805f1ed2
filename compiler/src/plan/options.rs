//! Which blueprints a kernel may have on a machine, and its constants as each wants them.

use super::{
    AttentionPlaces, ConstSource, Kernel, Machine, Rows,
    blueprint::{Attention, Blueprint, Channels, Dots, Embed, Gemm, Head, Mlp, Norm, Windows, shared_by_lanes},
    lower::Operand,
    pack::{COLUMNS, PAIRS, STEP, distances, most_bias},
    tiles::{Extents, ON_CHIP, mlps},
};
use std::{cmp::Reverse, ops::RangeInclusive, sync::Arc};
use swint_ir::{Data, Elem, Op, Weights, op::Order};

/// Vectors of eight channels that a lane holds of a row when it normalises it.
const MOST_VECTORS: usize = 12;

/// Channels of a patch embedding: all of a row's sums are in the registers of four lanes.
const MOST_CHANNELS: usize = 256;

/// Tokens of a window of cosine attention of which a cube takes more than one.
const MOST_COSINES: usize = 128;

/// Tokens of a window on a processor, whose code has them one by one, eight a vector.
const MOST_TOKENS: usize = 576;

/// Elements of a head of a window on a processor: a unit has some bytes for each of q, k and v on its stack.
const MOST_OF_A_HEAD: usize = 1 << 16;

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
        Machine::Cpu { .. } => return vec![on_vectors(kernel, items, operands, weights, machine)],
    };
    let narrow = operands.iter().enumerate().all(|(i, operand)| {
        // The residual stream has 16 bits, sums have 32; a softmax has a constant of its own for its exponents.
        let known = match kernel {
            Kernel::LinearResidual { .. } if i > 5 => 17..=47,
            Kernel::Mlp { .. } if i + 2 >= operands.len() => 17..=47,
            Kernel::NormResidual { .. } if i > 5 => 17..=47,
            Kernel::WindowAttention { masks, cosine, .. }
                if i == AttentionPlaces::of(*cosine, *masks > 0).softmax + 2 =>
            {
                0..=62
            }
            _ => 33..=62,
        };
        shifts_are(operand, weights, known)
    });
    let transposed = |i: usize| matches!(operands[i], Operand::Const(ConstSource::Transposed(_)));
    // Biases and tables are packed, too.
    let sums = sums_of(kernel);
    let biases = || sums.products.iter().filter_map(|&(k, _, bias, _)| Some((k, constant(&operands[bias?]))));
    let known = biases().all(|(_, name)| name.is_some()) && sums.table.is_none_or(|i| constant(&operands[i]).is_some());
    // γ may be read before the launches before have completed, as β is, which always is a constant.
    let known = known && place_of_gamma(kernel).is_none_or(|place| constant(&operands[place]).is_some());
    let narrow = narrow && biases().all(|(k, name)| biases_are_within(name, weights, k));
    let all: Vec<Blueprint> = match *kernel {
        _ if !known || !places_of_weights(kernel).iter().all(|&i| transposed(i)) => Vec::new(),
        Kernel::Mlp { x: Elem::I16, k, hidden, to, table, .. } if is_byte(table.unwrap_or(to)) => {
            mlps(items, k, hidden, table.is_some(), processors)
                .into_iter()
                .map(|mlp| mlp.map_or(Blueprint::Parts, |mlp| Blueprint::Mlp(Mlp { narrow, ..mlp })))
                .collect()
        }
        Kernel::LinearNorm { x, rows, n, .. } if is_byte(x) && n.is_multiple_of(32) && n <= MOST_CHANNELS => {
            let block = rows.parts.isqrt();
            let across = across(&operands[9], block, rows);
            // Lines of a patch begin at multiples of their length, and lines of an image are as many of them.
            let aligned = [4, 2].into_iter().find(|g| (block * rows.chunk).is_multiple_of(*g)).unwrap_or(1);
            let granule = if across > 0 { 16 } else { aligned };
            let embed = |warps: usize| Blueprint::Embed(Embed { warps, block, granule, across, narrow });
            if block * block == rows.parts { [4, 2, 1, 8].map(embed).into() } else { Vec::new() }
        }
        Kernel::Head { x: Elem::I16, k, n, .. } if k.is_multiple_of(8) => {
            // A sum a channel for each warp, and the mean.
            let fitting = (1..=16usize).rev().filter(|warps| warps.is_power_of_two() && (warps + 1) * k * 4 <= ON_CHIP);
            let parts = |warps: usize| (0..4).map(|power| 1 << power).filter(move |parts| warps.is_multiple_of(*parts));
            let divides = |parts: &usize| k.div_ceil(STEP).is_multiple_of(*parts);
            let head = |(warps, parts)| {
                let splits = n.div_ceil(COLUMNS * Head::FRAGS * (warps / parts));
                Head { warps, parts, splits, narrow }
            };
            let all = fitting.flat_map(|warps| parts(warps).filter(divides).map(move |parts| (warps, parts)));
            let mut all: Vec<Head> = all.map(head).collect();
            // Every cube normalises its image: as many as there are processors for do so at the same time.
            all.sort_by_key(|head| {
                let cubes = items * head.splits;
                (Reverse(head.warps), cubes > processors, cubes.abs_diff(processors))
            });
            all.into_iter().map(Blueprint::Head).collect()
        }
        Kernel::WindowAttention { x, heads, tokens, channels, masks, cosine, to } => {
            let places = AttentionPlaces::of(cosine, masks > 0);
            // What is constant is read before the launches before have completed; biases are packed.
            let scales = places.cosine.map(|_| &operands[places.bias - 1]);
            let known = operands[places.bias..places.softmax].iter().chain(scales).all(|o| constant(o).is_some());
            let distances = match &operands[places.softmax + 1] {
                Operand::Const(ConstSource::Mantissas(ty, to, _)) => distances(weights.multipliers(ty, to.get())[0]),
                _ => None,
            };
            let known = known && distances.is_some();
            let expected = if cosine { Elem::I16 } else { Elem::I8 };
            let fits = Attention::on_chip(tokens, channels / heads) <= ON_CHIP;
            if !(is_byte(to) && x == expected && matches!(channels / heads, 16 | 32) && known && fits) {
                return vec![Blueprint::Plain];
            }
            // Tall windows are taken one by one; so are others of which scores and, apart from them, their biases fill the registers.
            if tokens > if cosine { MOST_COSINES } else { Attention::AT_ONCE } {
                return vec![Blueprint::Attention(Attention { windows: 1, narrow })];
            }
            // What the windows of a cube have in common is read once: biases, and the table of the exponential.
            let heads = items / tokens;
            let likely = [8, 4, 2].into_iter().find(|n| heads / n >= 4 * processors).unwrap_or(1);
            let windows = [likely, 1, 2, 4, 8, 16].into_iter().enumerate().filter(|(i, n)| *i == 0 || *n != likely);
            windows.map(|(_, windows)| Blueprint::Attention(Attention { windows, narrow })).collect()
        }
        Kernel::NormResidual { x: Elem::I16, rows, r: Elem::I16, .. } if matches!(&operands[6], Operand::Const(source) if has_one_scale(source)) => {
            norms(rows.chunk, items, processors, narrow)
        }
        Kernel::QLayerNorm { x: Elem::I16, channels, .. } => norms(channels, items, processors, narrow),
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

/// Whether multipliers are the same for all channels.
fn has_one_scale(source: &ConstSource) -> bool {
    matches!(source, ConstSource::Mantissas(ty, ..) if ty.scale.channels.is_none())
}

/// The ways of normalising rows of so many 16-bit channels: with as many warps a cube as leave every processor some.
fn norms(channels: usize, items: usize, processors: usize, narrow: bool) -> Vec<Blueprint> {
    if !channels.is_multiple_of(8) {
        return Vec::new();
    }
    let (lanes, each) = shared_by_lanes(channels / 8);
    if each > MOST_VECTORS {
        return Vec::new();
    }
    let of = |warps: usize| Norm { warps, lanes, each, narrow };
    let likely = [8, 4, 2].into_iter().find(|&warps| items >= processors * of(warps).rows()).unwrap_or(1);
    let rest = [1, 2, 4, 8].into_iter().filter(|&warps| warps != likely);
    [likely].into_iter().chain(rest).map(|warps| Blueprint::Norm(of(warps))).collect()
}

/// Patches side by side in a picture, where four of them begin with each 16 bytes of its lines: patches of four lines, each of which a lane holds, of
/// an odd number of channels, so that lanes find them in different banks; and nothing else moves pixels. Else 0.
fn across(map: &Operand, block: usize, rows: Rows) -> usize {
    let Operand::Const(ConstSource::Map(maps)) = map else { return 0 };
    match &maps[..] {
        [(Op::SpaceToDepth { block: 4, order: Order::Row }, shape)] if block == 4 && rows.chunk % 2 == 1 => {
            let patches = shape[shape.len() - 2] / block;
            if patches.is_multiple_of(4) { patches } else { 0 }
        }
        _ => 0,
    }
}

/// The blueprint for a processor's vector units, where rows and results are whole vectors.
fn on_vectors(kernel: &Kernel, items: usize, operands: &[Operand], weights: &Weights, machine: Machine) -> Blueprint {
    let Machine::Cpu { cores, quads, tables } = machine else { return Blueprint::Plain };
    let (rows, n) = match *kernel {
        Kernel::NormLinear { x: Elem::I16, rows, n, .. } => (rows, n),
        Kernel::LinearResidual { x, rows, n, r: Elem::I16 } if is_byte(x) => (rows, n),
        Kernel::Linear { x, k, n, .. } if is_byte(x) => (Rows::plain(k), n),
        // Patches have few bytes that are in a row, and are taken one by one.
        Kernel::LinearNorm { x, rows, n, .. }
            if is_byte(x) && quads > 0 && !rows.padded && rows.len().is_multiple_of(4) =>
        {
            (rows, n)
        }
        Kernel::WindowAttention { x, cosine: true, .. } if x != Elem::I16 => return Blueprint::Plain,
        Kernel::WindowAttention { heads, tokens, channels, masks, cosine, .. } => {
            let places = AttentionPlaces::of(cosine, masks > 0);
            return windows(channels / heads, tokens, places, operands, weights, quads == Windows::LANES && tables);
        }
        Kernel::NormResidual { x: Elem::I16, rows, r: Elem::I16, .. } => return residuals(rows, operands, weights),
        // Rows of the hidden layer are too long for as many of them to stay near as share weights.
        Kernel::Mlp { .. } => return Blueprint::Parts,
        _ => return Blueprint::Plain,
    };
    // Sums of all rows and columns of a panel stay in registers, of which there are 16 of 256 bits, or 32 of 512.
    let bias = place_of_bias(kernel).is_none_or(|place| constant(&operands[place]).is_some());
    let (products, lanes, most) = match quads {
        0 => (2, PAIRS, 2),
        lanes if n.is_multiple_of(lanes) && bias => (4, lanes, lanes / 4),
        _ => (2, PAIRS, 2),
    };
    let vectors = (1..=most).rev().find(|v| n.is_multiple_of(v * lanes)).unwrap_or(1);
    let embeds = matches!(kernel, Kernel::LinearNorm { .. });
    let whole = if embeds { products == 4 && n.is_multiple_of(8) } else { rows.chunk.is_multiple_of(PAIRS) };
    let transposed = |&i: &usize| matches!(operands[i], Operand::Const(ConstSource::Transposed(_)));
    let transposed = places_of_weights(kernel).iter().all(transposed);
    if !(transposed && n.is_multiple_of(vectors * lanes) && whole) {
        return Blueprint::Plain;
    }
    let narrow = operands.iter().enumerate().all(|(i, operand)| {
        // The residual stream has 16 bits, sums have 32.
        let known = if matches!(kernel, Kernel::LinearResidual { .. }) && i > 5 { 17..=46 } else { 33..=62 };
        shifts_are(operand, weights, known)
    });
    // Tall tiles read weights less often, as long as their rows stay near and every core has some.
    let bytes = 4 * rows.len() * (4 / products);
    let fits = |groups: &usize| groups * bytes <= NEAR && items >= 8 * groups * cores;
    let groups = [6, 4, 3, 2].into_iter().find(fits).unwrap_or(1);
    // A table of bytes for bytes is looked up for as many results as a register has of them.
    let of_bytes =
        matches!(*kernel, Kernel::NormLinear { to, table: Some(table), .. } if is_byte(to) && is_byte(table));
    let tables = tables && of_bytes && vectors * lanes == 64;
    Blueprint::Dots(Dots { products, lanes, vectors, groups, tables, narrow })
}

/// Attention by vectors of keys, where a head's channels are whole vectors.
fn windows(
    head: usize,
    tokens: usize,
    places: AttentionPlaces,
    operands: &[Operand],
    weights: &Weights,
    quads: bool,
) -> Blueprint {
    let all = operands[places.bias..places.softmax].iter().all(|o| constant(o).is_some());
    // A distance is lifted by less than 32 bits.
    let lifted = shifts_are(&operands[places.softmax + 2], weights, 2..=62);
    let fits = tokens <= MOST_TOKENS && tokens * head <= MOST_OF_A_HEAD;
    if !(all && lifted && head.is_multiple_of(PAIRS) && fits) {
        return Blueprint::Plain;
    }
    let quads = quads && head.is_multiple_of(Windows::LANES);
    // Those of q, k and v, and that of the result.
    let cosine = places.cosine.map(|first| &operands[first..places.bias]);
    let shifts = cosine.into_iter().flatten().chain(&operands[places.result..places.end]);
    let narrow = shifts.into_iter().all(|operand| shifts_are(operand, weights, 33..=62));
    Blueprint::Windows(Windows { quads, narrow })
}

/// LayerNorm and residual stream by vectors of channels.
fn residuals(rows: Rows, operands: &[Operand], weights: &Weights) -> Blueprint {
    if !rows.chunk.is_multiple_of(PAIRS) {
        return Blueprint::Plain;
    }
    let lanes = if rows.chunk.is_multiple_of(2 * PAIRS) { 2 * PAIRS } else { PAIRS };
    let narrow = operands.iter().enumerate().all(|(i, operand)| {
        // The residual stream has 16 bits, sums have 32.
        shifts_are(operand, weights, if i > 5 { 17..=46 } else { 33..=62 })
    });
    Blueprint::Channels(Channels { lanes, narrow })
}

/// Packs a kernel's constants as its blueprint wants them.
pub(super) fn pack(kernel: &Kernel, blueprint: &Blueprint, operands: &mut Vec<Operand>) {
    // Of each of its weights.
    let frags = match (*blueprint, kernel) {
        (Blueprint::Plain, _) => return,
        (Blueprint::Gemm(gemm), _) => [gemm.column_frags; 2],
        (Blueprint::Mlp(mlp), _) => [Mlp::FRAGS, mlp.column_frags],
        (Blueprint::Head(_), _) => [Head::FRAGS; 2],
        (Blueprint::Embed(_), Kernel::LinearNorm { n, .. }) => [n / COLUMNS; 2],
        (Blueprint::Dots(dots), _) => {
            // Rows of bytes are raised to what is not negative.
            let raise = if dots.products == 4 && rows_of(kernel) == Some(Elem::I8) { 128 } else { 0 };
            let Dots { products, .. } = dots;
            // A bias is what sums begin with.
            let place = place_of_bias(kernel).filter(|_| products == 4);
            let bias = place.and_then(|place| constant(&operands[place]));
            pack_weights(kernel, operands, |name, _| ConstSource::Dots {
                name,
                bias: bias.clone(),
                columns: dots.columns(),
                products,
                raise,
            });
            return;
        }
        (Blueprint::Channels(_) | Blueprint::Norm(_), _) => return,
        (Blueprint::Attention(_) | Blueprint::Windows(_), Kernel::WindowAttention { masks, tokens, cosine, .. }) => {
            let tensor_cores = matches!(blueprint, Blueprint::Attention(_));
            let quads = matches!(blueprint, Blueprint::Windows(Windows { quads: true, .. }));
            let multiple = if quads { Windows::slots(*tokens) } else { PAIRS };
            let AttentionPlaces { bias, softmax, .. } = AttentionPlaces::of(*cosine, *masks > 0);
            for operand in &mut operands[bias..softmax] {
                if let Operand::Const(ConstSource::Weight(name)) = operand.clone() {
                    let packed =
                        if tensor_cores { ConstSource::Scores(name) } else { ConstSource::Rows(name, multiple) };
                    *operand = Operand::Const(packed);
                }
            }
            if tensor_cores {
                operands[softmax] = Operand::Const(ConstSource::PowerPairs);
            } else if quads {
                operands[softmax] = Operand::Const(ConstSource::PowerBytes);
            }
            if let Operand::Const(ConstSource::Mantissas(ty, ..)) = operands[softmax + 1].clone() {
                let exponent = if tensor_cores { ConstSource::Distances(ty) } else { ConstSource::Exponent(ty) };
                operands[softmax + 1] = Operand::Const(exponent);
            }
            return;
        }
        _ => unreachable!("{kernel} has no blueprint {blueprint:?}"),
    };
    let quarters = matches!(blueprint, Blueprint::Embed(embed) if embed.across > 0);
    pack_weights(kernel, operands, |name, i| {
        if quarters { ConstSource::Quarters(name, frags[i]) } else { ConstSource::Fragments(name, frags[i]) }
    });
    if matches!(blueprint, Blueprint::Gemm(_) | Blueprint::Mlp(_)) {
        pack_columns(kernel, frags, blueprint.narrow(), operands);
    }
}

/// Where a matrix product has what becomes of its sums, or an MLP of those of both.
#[derive(Default)]
struct Sums {
    /// Channels of rows, columns, bias and mantissas of each product.
    products: Vec<(usize, usize, Option<usize>, Option<usize>)>,
    table: Option<usize>,
    /// The type of what the table looks up.
    from: Option<Elem>,
    /// The mantissas of a residual stream.
    residual: Option<usize>,
}

fn sums_of(kernel: &Kernel) -> Sums {
    let after = |bias: Option<usize>, first: usize| bias.map_or(first, |bias| bias + 1);
    match *kernel {
        Kernel::NormLinear { rows, epsilon, n, bias, to, table, .. } => {
            let first = if epsilon.is_some() { 6 } else { 4 };
            let bias = bias.then_some(first);
            let mantissas = after(bias, first);
            let products = vec![(rows.len(), n, bias, Some(mantissas))];
            Sums { products, table: table.map(|_| mantissas + 2), from: Some(to), residual: None }
        }
        Kernel::LinearResidual { rows, n, .. } => {
            Sums { products: vec![(rows.len(), n, Some(2), Some(3))], residual: Some(6), ..Sums::default() }
        }
        Kernel::Linear { k, n, bias, requantize, .. } => {
            let bias = bias.then_some(2);
            let products = vec![(k, n, bias, requantize.map(|_| after(bias, 2)))];
            Sums { products, ..Sums::default() }
        }
        Kernel::Mlp { k, hidden, to, table, .. } => {
            let second = if table.is_some() { 10 } else { 9 };
            let products = vec![(k, hidden, Some(6), Some(7)), (hidden, k, Some(second + 1), Some(second + 2))];
            Sums { products, table: table.map(|_| 9), from: Some(to), residual: Some(second + 5) }
        }
        _ => Sums::default(),
    }
}

/// Packs what becomes of sums for lanes of tensor cores, which hold columns of blocks of so many fragments of each product: bias, mantissas and
/// shifts become one operand, as do the mantissas and shifts of a residual stream.
fn pack_columns(kernel: &Kernel, frags: [usize; 2], narrow: bool, operands: &mut Vec<Operand>) {
    let sums = sums_of(kernel);
    let scale = |operand: &Operand| match operand {
        Operand::Const(ConstSource::Mantissas(ty, to, _)) => (ty.clone(), *to),
        _ => unreachable!("multipliers are constants"),
    };
    for (&(_, n, bias, mantissas), frags) in sums.products.iter().zip(frags) {
        let Some(place) = mantissas.or(bias) else { continue };
        let bias = bias.and_then(|place| constant(&operands[place]));
        let scaled = mantissas.map(|place| scale(&operands[place]));
        operands[place] = Operand::Const(ConstSource::Columns { n, frags, bias, scale: scaled, narrow });
    }
    if let (Some(place), Some((&(_, n, ..), frags))) = (sums.residual, sums.products.iter().zip(frags).next_back()) {
        let (ty, to) = scale(&operands[place]);
        operands[place] = Operand::Const(ConstSource::Halves(ty, to, n, frags, narrow));
    }
    if let (Some(place), Some(from)) = (sums.table, sums.from)
        && let Some(name) = constant(&operands[place])
    {
        operands[place] = Operand::Const(ConstSource::Table(name, from == Elem::I8));
    }
    let products = sums
        .products
        .iter()
        .flat_map(|&(.., bias, mantissas)| [bias.and(mantissas).and(bias), mantissas.map(|i| i + 1)]);
    let packed: Vec<usize> = products.flatten().chain(sums.residual.map(|i| i + 1)).collect();
    let mut place = 0..;
    operands.retain(|_| !place.next().is_some_and(|place| packed.contains(&place)));
}

/// Whether no bias of sums of so many products of bytes may take them beyond 32 bits; where values are not known one may.
fn biases_are_within(name: Option<Arc<str>>, weights: &Weights, k: usize) -> bool {
    let values = name.and_then(|name| weights.get(&name));
    let Some(Data::I32(values)) = values.map(|tensor| &tensor.data) else { return false };
    values.iter().all(|v| v.unsigned_abs() <= most_bias(k).unsigned_abs())
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
        Kernel::NormLinear { epsilon: Some(_), .. } => &[5],
        Kernel::NormLinear { .. } => &[3],
        Kernel::Mlp { table: Some(_), .. } => &[5, 10],
        Kernel::Mlp { .. } => &[5, 9],
        Kernel::Head { .. } => &[7],
        Kernel::LinearResidual { .. } | Kernel::Linear { .. } | Kernel::LinearNorm { .. } => &[1],
        _ => &[],
    }
}

/// Which of a kernel's inputs is a bias of its sums.
fn place_of_bias(kernel: &Kernel) -> Option<usize> {
    match kernel {
        Kernel::NormLinear { bias: true, epsilon, .. } => Some(if epsilon.is_some() { 6 } else { 4 }),
        Kernel::LinearResidual { .. } | Kernel::Linear { bias: true, .. } | Kernel::LinearNorm { .. } => Some(2),
        _ => None,
    }
}

/// Which of a kernel's inputs is a LayerNorm's γ.
fn place_of_gamma(kernel: &Kernel) -> Option<usize> {
    match kernel {
        Kernel::NormLinear { epsilon: None, .. } => None,
        Kernel::NormLinear { .. }
        | Kernel::NormResidual { .. }
        | Kernel::QLayerNorm { .. }
        | Kernel::Mlp { .. }
        | Kernel::Head { .. } => Some(1),
        Kernel::LinearNorm { .. } => Some(5),
        _ => None,
    }
}

/// The name of a constant.
fn constant(operand: &Operand) -> Option<Arc<str>> {
    match operand {
        Operand::Const(ConstSource::Weight(name)) => Some(name.clone()),
        _ => None,
    }
}

/// What the rows of a matrix product are made of when it begins.
fn rows_of(kernel: &Kernel) -> Option<Elem> {
    match *kernel {
        Kernel::NormLinear { .. } => Some(Elem::I8),
        Kernel::LinearResidual { x, .. } | Kernel::Linear { x, .. } | Kernel::LinearNorm { x, .. } => Some(x),
        _ => None,
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
