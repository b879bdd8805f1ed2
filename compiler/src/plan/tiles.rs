//! Tiles of a matrix product on tensor cores, and how long each is likely to take.

use super::{
    Kernel, Rows,
    blueprint::{Gemm, Mlp, warps_with},
    options::is_byte,
    pack::{COLUMNS, STEP},
};
use swint_ir::Elem;

/// Shared memory of a cube on every GPU from compute capability 8.6 on, in bytes. (CUDA C++ Programming Guide, technical specifications by compute
/// capability; 8.0 and 9.0 have more)
pub const ON_CHIP: usize = 99 << 10;

/// Cubes of a processor up to which a launch begins before the launch before it has completed, on a GPU on which launches do. Cubes that come early are
/// placed where there is room, and fill those processors that become free first: a launch of few finds the others free, too; one of many would be
/// shared out worse than if it had started late, and must do without `ld.global.nc`.
pub const OVERLAPPING: usize = 2;

/// Bytes of a table with a copy in every bank.
pub(super) const TABLE: usize = 8 << 10;

/// Bytes that are there for what a cube has none of.
const UNUSED: usize = 128;

/// Sums of fragments that a warp holds: 128 registers a thread.
pub(super) const MOST_FRAGS: usize = 32;

/// Shared memory of a processor: that of compute capability 9.0, in bytes.
const SHARED: usize = 227 << 10;

/// Bytes of it that the driver takes of every cube's.
const RESERVED: usize = 1 << 10;

/// Most registers of a thread, by an estimate that may be too low by some; there are 255.
const MOST_REGISTERS: usize = 232;

/// Most steps of weights that are on their way to the chip at a time, where not all are; half of them where a warp has many sums, for these steps
/// follow each other in the code.
const MOST_AHEAD: usize = 8;

/// Most 16-byte loads of a thread that are on their way at a time.
const MOST_LOADS: usize = 16;

/// Tiles that are tried at most.
const MOST_TILES: usize = 64;

/// Most warps of a cube.
const MOST_WARPS: usize = 16;

/// What a matrix product needs to be tiled.
pub(super) struct Extents {
    pub rows: usize,
    pub k: usize,
    pub n: usize,
    /// Bytes of a result.
    pub bytes: usize,
    /// What becomes of rows on their way to the chip.
    pub taken: Taken,
    /// What becomes of sums.
    pub made: Made,
}

/// What becomes of rows on their way to the chip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// They are bytes, and stay as they are.
    AsTheyAre,
    /// They have 16 bits and are requantized. They must be on the chip as a whole.
    Requantized,
    /// They have 16 bits and are normalised. They must be on the chip as a whole.
    Normalised,
}

/// What becomes of sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Made {
    /// Nothing, or they are requantized.
    Plain,
    /// They are requantized and looked up in a table.
    LookedUp,
    /// They are requantized and added to a residual stream.
    Added,
}

impl Extents {
    /// Of a kernel that is a matrix product whose rows can be loaded 16 bytes at a time.
    pub fn of(kernel: &Kernel, items: usize) -> Option<Extents> {
        let sixteens = |rows: Rows, bytes: usize| (rows.chunk * bytes).is_multiple_of(16);
        Some(match *kernel {
            Kernel::NormLinear { x: Elem::I16, rows, epsilon, n, to, table, .. }
                if sixteens(rows, 2) && table.is_none_or(is_byte) =>
            {
                let taken = if epsilon.is_some() { Taken::Normalised } else { Taken::Requantized };
                let made = if table.is_some() { Made::LookedUp } else { Made::Plain };
                Extents { rows: items, k: rows.len(), n, bytes: table.unwrap_or(to).bytes(), taken, made }
            }
            Kernel::LinearResidual { x, rows, n, r: Elem::I16 } if is_byte(x) && sixteens(rows, 1) => {
                Extents { rows: items, k: rows.len(), n, bytes: 2, taken: Taken::AsTheyAre, made: Made::Added }
            }
            Kernel::Linear { x, k, n, requantize, .. } if is_byte(x) && k.is_multiple_of(16) => {
                let bytes = requantize.map_or(4, Elem::bytes);
                Extents { rows: items, k, n, bytes, taken: Taken::AsTheyAre, made: Made::Plain }
            }
            _ => return None,
        })
    }

    /// Whether rows must be on the chip as a whole.
    fn whole(&self) -> bool {
        self.taken != Taken::AsTheyAre
    }

    /// Tiles that fit, the one that is likely the fastest first.
    pub fn tiles(&self, processors: usize) -> Vec<Gemm> {
        // What a lane holds of a row is one store of 16 bytes, if there is as much.
        let widths: &[usize] = if self.bytes == 1 { &[8, 4] } else { &[4, 8] };
        let whole = |frags: &&usize| self.n.is_multiple_of(2 * **frags);
        let Some(widest) = widths.iter().find(whole) else { return Vec::new() };
        let stored = |frags: usize| (2 * frags * self.bytes).min(16);
        let usable = |frags: &&usize| whole(frags) && stored(**frags) == stored(*widest);
        let mut all: Vec<(f64, Gemm)> = Vec::new();
        for &column_frags in widths.iter().filter(usable) {
            for (row_frags, row_warps) in [1, 2, 3, 4].into_iter().flat_map(|f| [1, 2, 4].map(|w| (f, w))) {
                for column_warps in 1..=MOST_WARPS / row_warps {
                    for tiles in self.of_columns(row_frags, column_frags, row_warps, column_warps) {
                        all.push((self.cycles(&tiles, processors), tiles));
                    }
                }
            }
        }
        all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        all.truncate(MOST_TILES);
        all.into_iter().map(|(_, gemm)| gemm).collect()
    }

    /// Tiles of so many rows and columns that fit, which differ in how columns and steps of k are shared out, and in how early weights
    /// are loaded.
    fn of_columns(&self, row_frags: usize, column_frags: usize, row_warps: usize, column_warps: usize) -> Vec<Gemm> {
        let steps = self.k.div_ceil(STEP);
        let blocks = self.n.div_ceil(COLUMNS * column_frags);
        let groups = blocks.div_ceil(column_warps);
        let mut all = Vec::new();
        // A cube's warps are no more than there are columns for.
        if column_warps > blocks || (groups - 1) * column_warps >= blocks {
            return all;
        }
        let staged = (6..=10).rev().find(|stage| steps.is_multiple_of(*stage)).unwrap_or(8);
        let of_a_row = [(steps, 1), (steps, 2), (steps, 4), (staged, 1)];
        for (stage, parts) in of_a_row {
            let stages = steps.div_ceil(stage);
            if stages > 1 && self.whole()
                || !stage.is_multiple_of(parts)
                || row_warps * column_warps * parts > MOST_WARPS
            {
                continue;
            }
            for splits in (1..=groups).filter(|&splits| splits == groups || stages == 1 && parts == 1) {
                let rounds = groups.div_ceil(splits);
                // Some cubes have nothing to do where others go on once more.
                if groups.div_ceil(rounds) != splits {
                    continue;
                }
                let divides = |ahead: &usize| [steps, stage].iter().all(|n| (n / parts).is_multiple_of(*ahead));
                let fits = |gemm: &Gemm| self.on_chip(gemm) <= ON_CHIP;
                let of = |(copied, ahead): (bool, usize)| Gemm {
                    copied,
                    row_frags,
                    column_frags,
                    row_warps,
                    column_warps,
                    parts,
                    splits,
                    rounds,
                    ahead,
                    stage,
                    stages,
                    resident: 1,
                    narrow: false,
                };
                // All weights of a warp, or as many steps of them as there is room for and cover the time that they take. Weights of several
                // rounds come from where they were read a moment ago.
                let whole = Some(steps / parts).filter(|_| rounds == 1 && stage == steps);
                let most = if row_frags * column_frags > 16 { MOST_AHEAD / 2 } else { MOST_AHEAD };
                let some = (2..=most).rev().filter(divides).find(|&ahead| rounds == 1 && fits(&of((true, ahead))));
                let copied = whole.filter(|&ahead| fits(&of((true, ahead)))).or(some);
                let ways = (1..=4).filter(divides).map(|ahead| (false, ahead)).chain(copied.map(|ahead| (true, ahead)));
                for gemm in ways.map(of) {
                    let fits =
                        fits(&gemm) && gemm.frags() <= MOST_FRAGS && (self.whole() || gemm.loads() <= MOST_LOADS);
                    let registers = self.registers(&gemm);
                    let resident =
                        (warps_with(registers) / gemm.warps()).min(SHARED / (self.on_chip(&gemm) + RESERVED));
                    if fits && registers <= MOST_REGISTERS && resident > 0 {
                        all.push(Gemm { resident, ..gemm });
                    }
                }
            }
        }
        all
    }

    /// Registers of a thread, by what the assembler's reports show: while rows are taken onto the chip, while products are added, and while results
    /// are made of them.
    fn registers(&self, gemm: &Gemm) -> usize {
        let Gemm { row_frags, column_frags, .. } = *gemm;
        let ahead = if gemm.copied { 0 } else { 2 * column_frags * gemm.ahead };
        let share = gemm.norm_share(self.k);
        let normalised = match self.k {
            _ if share.early => 100 + (12 + 4 * share.rows) * share.each,
            // Of long rows a lane holds more, and γ and β for it.
            769.. => 184,
            _ => 148,
        };
        let taken = if self.whole() { normalised } else { 4 * gemm.loads() + 28 } + ahead;
        // Steps that follow each other in the code have their rows loaded early.
        let rows = if gemm.ahead > 1 { 4 * row_frags } else { 0 };
        // What is added to few results is loaded while products still are.
        let early = if !self.whole() && gemm.frags() <= 8 { 2 * gemm.frags() } else { 0 };
        let added = 2 * column_frags + ahead + rows + early + if gemm.stages > 1 { 4 * gemm.loads() } else { 0 };
        // Of four columns, and of a residual stream with what it adds to each row.
        // Results of 16 bits are there together, when half of the sums still are, and more of what says where they go.
        let wide = if self.bytes > 1 { gemm.frags() + 24 } else { 0 };
        let constants = if self.whole() { 16 + wide } else { 32 + 8 * row_frags };
        let gathered = 4 * gemm.frags() * (gemm.parts - 1);
        let made = 2 * column_frags + constants + gathered + if gemm.rounds > 1 { ahead } else { 0 };
        taken.max(4 * row_frags * column_frags + added.max(made) + 48)
    }

    /// Bytes of shared memory of a cube.
    fn on_chip(&self, gemm: &Gemm) -> usize {
        // 16 bytes of a column say what becomes of its sums, and as many of its residual stream.
        let of_a_column = if self.made == Made::Added { 32 } else { 16 };
        let constants = if gemm.copied { of_a_column * gemm.warps() * gemm.column_frags * COLUMNS } else { 0 };
        let rows = gemm.stages.min(2) * gemm.rows() * gemm.pitch();
        rows + 16 * gemm.partial()
            + gemm.ring()
            + constants
            + if self.made == Made::LookedUp { TABLE } else { 0 }
            + UNUSED
    }

    /// What a cube of so many is likely to take.
    fn cube(&self, gemm: &Gemm, cubes: usize, processors: usize) -> Cube {
        let of = |count: usize| count as f64;
        let (rows, warps, rounds) = (gemm.rows(), gemm.warps(), gemm.rounds);
        let columns = rounds * gemm.column_warps * gemm.column_frags * COLUMNS;
        let share = gemm.norm_share(self.k);
        // Values of a lane.
        let values = of(8 * share.each * share.rows * share.passes);
        let (taken, before) = match self.taken {
            Taken::AsTheyAre => (0.0, 0.0),
            Taken::Requantized => (6.7 * values, 268.0),
            // γ and β are waited for where they are not there before.
            Taken::Normalised => (14.9 * values + 122.0 * of(share.passes), if share.early { 0.0 } else { 699.0 }),
        };
        // Of a warp.
        let steps = of(rounds * self.k.div_ceil(STEP)) / of(gemm.parts);
        let added = steps * (2.5 * of(gemm.frags()) + 5.1 * of(gemm.column_frags));
        let result = match (self.made, self.whole(), self.bytes) {
            (Made::Added, ..) => 23.1,
            (_, true, 1) => 5.5,
            (_, true, _) => 11.9,
            (_, false, 1) => 8.1,
            (_, false, _) => 14.9,
        };
        let (looked_up, table) = if self.made == Made::LookedUp { (4.5, 89.0 / of(warps)) } else { (0.0, 0.0) };
        // All weights at once are not waited for in turn.
        let all = gemm.copied && gemm.ahead * gemm.parts == self.k.div_ceil(STEP);
        let waits = steps * STEP_WAITS[gemm.ahead.min(3) - 1] * if all { 0.3 } else { 1.0 };
        // What is copied takes less time where the processor still works for the launch before.
        let of_a_processor = cubes.div_ceil(processors);
        let early = overlaps(cubes, processors) && 2 * of_a_processor <= gemm.resident;
        let fragments = of(of_a_processor.min(gemm.resident) * warps * gemm.column_frags) * steps;
        let copied = if gemm.copied { fragments * if early { 1.2 } else { 2.5 } } else { 0.0 };
        // Most of what it reads are weights, which have not been near since the last inference.
        let is_far = !gemm.copied && self.k * self.n > self.rows * (self.k + self.n);
        let far = if is_far { steps * FAR } else { 0.0 };
        let gathered = if gemm.parts > 1 { 480.0 } else { 0.0 };
        let staged = if gemm.copied { 35.0 } else { 616.0 } * if gemm.stages > 1 { of(gemm.stages) } else { 0.0 };
        Cube {
            instructions: taken + added + of(4 * gemm.frags() * rounds) * (result + looked_up) + table,
            waits: before + waits + copied + far + gathered + staged,
            // The residual stream has 16 bits, too.
            bytes: self.k * columns
                + rows * self.k * if self.whole() { 2 } else { 1 }
                + rows * columns.min(self.n) * self.bytes * if self.whole() { 1 } else { 2 },
        }
    }

    /// Cycles that a product is likely to take.
    fn cycles(&self, gemm: &Gemm, processors: usize) -> f64 {
        let cubes = self.rows.div_ceil(gemm.rows()) * gemm.splits;
        self.cube(gemm, cubes, processors).cycles(cubes, gemm.warps(), gemm.resident, processors)
    }
}

/// What a cube is likely to take. Its numbers were fitted to the times of 610 products and 68 MLPs on an H200, which they explain to 10 %
/// (bench/README.md, *Tiles*).
struct Cube {
    /// Instructions of a warp.
    instructions: f64,
    /// Cycles of what comes one after the other: weights, constants, stages of rows.
    waits: f64,
    /// Bytes that it loads and stores.
    bytes: usize,
}

impl Cube {
    /// Cycles that all cubes are likely to take, of which a processor has `resident` at a time. These begin together and wait for the same at
    /// the same time, so that instructions fill little of that; the bytes of all take some time at least.
    fn cycles(&self, cubes: usize, warps: usize, resident: usize, processors: usize) -> f64 {
        let together = |cubes: usize| {
            // A quarter of a processor has so many of them; some have one more than others.
            let warps = cubes * warps;
            let quarter = (warps.div_ceil(4) as f64 + warps as f64 / 4.0) / 2.0;
            self.waits + self.instructions * (0.81 + 1.69 * quarter)
        };
        let of_a_processor = cubes.div_ceil(processors);
        let (full, rest) = (of_a_processor / resident, of_a_processor % resident);
        let computed = full as f64 * together(resident) + if rest > 0 { together(rest) } else { 0.0 };
        let launched = LAUNCH + LAUNCHED * cubes.min(OVERLAPPING * processors) as f64;
        let launched = launched + if overlaps(cubes, processors) { 0.0 } else { APART };
        computed.max((cubes * self.bytes) as f64 / processors as f64 / 29.5) + launched
    }
}

/// Whether a launch of so many cubes begins before the launch before it has completed, on a GPU on which launches do.
fn overlaps(cubes: usize, processors: usize) -> bool {
    cubes <= OVERLAPPING * processors
}

/// Cycles that a launch takes beside its work: until its rows are there, and from its last store on.
const LAUNCH: f64 = 2369.0;

/// And for each of its cubes, of those that the next launch may have to wait for.
const LAUNCHED: f64 = 5.1;

/// Cycles that it takes more where it begins when the launch before has completed.
const APART: f64 = 3098.0;

/// Cycles that a warp waits in a step of k, whose weights were loaded one, two or more steps before.
const STEP_WAITS: [f64; 3] = [259.0, 86.0, 55.0];

/// Cycles that a warp waits more in a step where weights are not near: launches that are timed again and again find them there. Inferences of Swin-T,
/// -S, -B and -L at a batch of 1 took from 0.04 to 0.17 us longer for each such step than their kernels by themselves.
const FAR: f64 = 150.0;

/// Cycles that a cube waits in a round of an MLP's hidden columns.
const CHUNK: f64 = 463.0;

/// An MLP of 12 warps (384 channels, 6,272 rows) took 1.3 times as long as this says; those of at most 8 take as long.
const CROWDED: f64 = 1.3;
const FEW_WARPS: usize = 8;

/// How many times as long as in a product of its own an instruction takes in an MLP's kernel: warps are rarely at the same place.
const OF_AN_MLP: f64 = 0.6;

/// Bytes of results of a launch that the next one is likely to find in the second cache: half of what a large GPU has.
const NEAR: usize = 25 << 20;

/// The ways of making an MLP of so many rows as one kernel, and by its parts (`None`), the one that is likely the fastest first.
pub(super) fn mlps(rows: usize, k: usize, hidden: usize, table: bool, processors: usize) -> Vec<Option<Mlp>> {
    let made = if table { Made::LookedUp } else { Made::Plain };
    let up = Extents { rows, k, n: hidden, bytes: 1, taken: Taken::Normalised, made };
    let down = Extents { rows, k: hidden, n: k, bytes: 2, taken: Taken::AsTheyAre, made: Made::Added };
    let by_parts = [&up, &down].map(|part| part.tiles(processors).first().map(|gemm| part.cycles(gemm, processors)));
    // The hidden layer goes to memory and back, if it is large.
    let far = if rows * hidden > NEAR { (2 * rows * hidden) as f64 / processors as f64 / 13.0 } else { 0.0 };
    let by_parts = by_parts.into_iter().sum::<Option<f64>>().map_or(0.0, |cycles| cycles + far);
    let mut all = vec![(by_parts, None)];
    for (row_frags, column_frags) in [4, 8].into_iter().flat_map(|column_frags| [4, 3, 2, 1].map(|r| (r, column_frags)))
    {
        let mlp = Mlp { row_frags, column_frags, warps: k / (COLUMNS * column_frags), narrow: false };
        let divided = k.is_multiple_of(COLUMNS * column_frags) && mlp.chunk() > 0 && hidden.is_multiple_of(mlp.chunk());
        if !divided || mlp.warps > mlp.resident() || row_frags * column_frags > MOST_FRAGS / 2 {
            continue;
        }
        // Rows, and two chunks of the hidden layer: one is written while the other is read.
        let (first, second) = (mlp.up(k), mlp.down(hidden));
        let on_chip = up.on_chip(&first) + 2 * second.rows() * second.pitch();
        if on_chip > ON_CHIP {
            continue;
        }
        let (rounds, cubes) = (second.stages, rows.div_ceil(16 * row_frags));
        let first = up.cube(&Gemm { rounds, ..first }, cubes, processors);
        let second = down.cube(&Gemm { stages: 1, ..second }, cubes, processors);
        let cube = Cube {
            instructions: OF_AN_MLP * (first.instructions + second.instructions),
            waits: first.waits + second.waits + rounds as f64 * CHUNK,
            // The hidden layer stays on the chip.
            bytes: 2 * k * hidden + 4 * 16 * row_frags * k,
        };
        let resident = (mlp.resident() / mlp.warps).min(SHARED / (on_chip + RESERVED));
        let crowded = if mlp.warps > FEW_WARPS { CROWDED } else { 1.0 };
        all.push((crowded * cube.cycles(cubes, mlp.warps, resident, processors), Some(mlp)));
    }
    all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    all.into_iter().map(|(_, mlp)| mlp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows, k and n of the matrix products of Swin-T and Swin-L at batches of 1 and 32, and of odd ones.
    #[test]
    fn every_option_fits_and_has_all_columns() {
        let products = [(3136, 96, 288), (100_352, 96, 384), (784, 384, 192), (6272, 1536, 384), (49, 3072, 768)];
        for (rows, k, n) in products.into_iter().chain([(1568, 6144, 1536), (5, 3072, 1536), (7, 48, 40), (1, 16, 8)]) {
            for (bytes, taken, made) in [
                (1, Taken::Normalised, Made::LookedUp),
                (1, Taken::Requantized, Made::Plain),
                (2, Taken::AsTheyAre, Made::Added),
                (4, Taken::AsTheyAre, Made::Plain),
            ] {
                let (whole, table) = (taken != Taken::AsTheyAre, made == Made::LookedUp);
                let all = Extents { rows, k, n, bytes, taken, made }.tiles(132);
                let name = format!("{rows} {k} {n} {bytes} {whole}");
                // Only 16 rows of 6144 normalised bytes fit, and none beside a table.
                assert_eq!(all.is_empty(), whole && table && k > 3136, "{name}");
                for (i, gemm) in all.iter().enumerate() {
                    assert!(!all[..i].contains(gemm), "{name}");
                    let columns = gemm.rounds * gemm.column_warps * gemm.column_frags * COLUMNS;
                    assert!(gemm.splits * columns >= n && (gemm.splits - 1) * columns < n, "{name}: {gemm:?}");
                    assert!(gemm.rounds * gemm.parts == 1 || gemm.stages == 1, "{name}: {gemm:?}");
                    assert!(
                        [gemm.stage, k.div_ceil(STEP)].iter().all(|steps| steps.is_multiple_of(gemm.ahead)),
                        "{name}"
                    );
                    assert!(gemm.resident * gemm.warps() <= 64, "{name}: {gemm:?}");
                    assert!(n.is_multiple_of(2 * gemm.column_frags) && gemm.column_frags.is_multiple_of(2), "{name}");
                    assert!((1..=32).contains(&gemm.warps()) && gemm.row_frags * gemm.column_frags <= MOST_FRAGS);
                    assert!(gemm.stage * gemm.stages * STEP >= k && (!whole || gemm.stages == 1), "{name}");
                    let bytes = gemm.stages.min(2) * gemm.rows() * gemm.pitch() + 16 * gemm.partial() + gemm.ring();
                    let of_a_column = if made == Made::Added { 32 } else { 16 };
                    let columns = if gemm.copied { gemm.warps() * gemm.column_frags * COLUMNS } else { 0 };
                    let bytes = bytes + of_a_column * columns + if table { TABLE } else { 32 };
                    assert!(bytes <= ON_CHIP, "{name}: {gemm:?}");
                    assert_eq!(gemm.ring() > 0, gemm.copied, "{name}: {gemm:?}");
                    assert!(!gemm.copied || gemm.rounds == 1, "{name}: {gemm:?}");
                }
                // Where there are many rows, weights are read again and again.
                assert!(k > 3136 || rows > 784 || all.iter().any(|gemm| gemm.copied), "{name}: none copies weights");
            }
        }
    }

    /// The MLPs of Swin-T's stages at batches of 1 and 32: one kernel where there are many rows and weights are few.
    #[test]
    fn mlps_are_whole_where_there_are_rows_for_all() {
        let row_frags = |rows, k| mlps(rows, k, 4 * k, true, 132)[0].map(|mlp| mlp.row_frags);
        let one = [(3136, 96), (784, 192), (196, 384), (49, 768)].map(|(rows, k)| row_frags(rows, k));
        assert_eq!(one, [None; 4]);
        let many = [(100_352, 96), (25_088, 192), (6272, 384), (1568, 768)].map(|(rows, k)| row_frags(rows, k));
        assert_eq!(many, [Some(3), Some(3), None, None]);
        for (k, hidden) in
            [(32, 128), (96, 288), (128, 512), (384, 1536), (512, 2048), (768, 3072), (40, 160), (96, 100)]
        {
            let all = mlps(9000, k, hidden, true, 132);
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
