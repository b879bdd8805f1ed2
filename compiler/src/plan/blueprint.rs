//! How a kernel is made for a machine: tiles, what is on the chip at a time, which instructions.

use super::pack::{COLUMNS, STEP};
use serde::{Deserialize, Serialize};
use std::fmt;

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
        /// Lanes of its instruction that adds four products of bytes to a 32-bit lane; 0 where there is none.
        quads: usize,
        /// Whether it looks up bytes in tables of 128 bytes that are in its registers, 64 at a time.
        tables: bool,
    },
}

/// How a kernel does what it is specified to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blueprint {
    /// Each unit works alone on its items, by any processor's instructions.
    #[default]
    Plain,
    /// By the kernels of its parts, which have blueprints of their own: an MLP is two.
    Parts,
    /// A matrix product on tensor cores.
    Gemm(Gemm),
    /// An MLP on tensor cores.
    Mlp(Mlp),
    /// Window attention on tensor cores.
    Attention(Attention),
    /// A patch embedding on tensor cores.
    Embed(Embed),
    /// LayerNorm, mean and a matrix product on tensor cores.
    Head(Head),
    /// A LayerNorm of rows of 16 bits by warps.
    Norm(Norm),
    /// A matrix product on a processor's vector units.
    Dots(Dots),
    /// A LayerNorm and the residual stream on a processor's vector units.
    Channels(Channels),
    /// Window attention on a processor's vector units.
    Windows(Windows),
}

/// How window attention is made on a processor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Whether four products of bytes are added to a lane at once, and tables are in registers.
    pub quads: bool,
    /// Whether every requantization, but that of exponents, needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// How channels of a row are normalised and added to the residual stream on a processor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// Lanes of a vector, each a channel's.
    pub lanes: usize,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// How rows of 16-bit channels are normalised, eight channels a vector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norm {
    /// Warps of a cube.
    pub warps: usize,
    /// Lanes that have part in a row.
    pub lanes: usize,
    /// Vectors of a lane that are its part.
    pub each: usize,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

impl Norm {
    /// Rows of a cube.
    pub fn rows(&self) -> usize {
        self.warps * (32 / self.lanes)
    }
}

/// Tiles of a matrix product by instructions that add several products to each lane of a vector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dots {
    /// Products that are added to a lane at once: 2 of 16-bit integers, or 4 of bytes.
    pub products: usize,
    /// Lanes of a vector, each a column's.
    pub lanes: usize,
    /// Vectors of a panel.
    pub vectors: usize,
    /// Groups of rows that a unit takes at a time.
    pub groups: usize,
    /// Whether a table of bytes is in registers.
    pub tables: bool,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// Tiles of a matrix product.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gemm {
    /// Fragments of 16 rows that a warp holds sums of.
    pub row_frags: usize,
    /// Fragments of 8 columns that a warp holds sums of; even.
    pub column_frags: usize,
    /// Warps of a cube that have the same columns and other rows.
    pub row_warps: usize,
    /// Warps of a cube that have the same rows and other columns.
    pub column_warps: usize,
    /// Parts of a row that have warps of their own, whose sums are added in the end; with rows that are on the chip as a whole only.
    pub parts: usize,
    /// Cubes that have the same rows.
    pub splits: usize,
    /// How often the warps of a cube go on to other columns; with rows that are on the chip as a whole only.
    pub rounds: usize,
    /// Steps of weights that are on their way at a time: divides the steps of a stage and of a part of a row.
    pub ahead: usize,
    /// Whether weights are copied to the chip, and constants of columns; there is one round then. Otherwise they go to registers.
    pub copied: bool,
    /// 32-byte steps of a row that are on the chip at a time.
    pub stage: usize,
    /// How often a row needs that.
    pub stages: usize,
    /// Cubes that a processor should have at a time: as many as its registers allow.
    pub resident: usize,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// How an MLP is made whose hidden layer stays on the chip, as many columns at a time as the warps of a cube make at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mlp {
    /// Fragments of 16 rows of a cube, the same for all of its warps.
    pub row_frags: usize,
    /// Fragments of 8 columns of the result that a warp holds sums of; even.
    pub column_frags: usize,
    /// Warps of a cube: together they have all columns of the result.
    pub warps: usize,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// How window attention is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attention {
    /// Windows of a head that a cube works on, one after the other.
    pub windows: usize,
    /// Whether every requantization, but that of exponents, needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// How a patch embedding is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embed {
    /// Warps of a cube, 16 patches each.
    pub warps: usize,
    /// Pixels of a side of a patch.
    pub block: usize,
    /// Bytes of a load: 16 where pictures are whole groups of four patches of four lines; else 4, 2 or 1, by how the rows of patches are aligned.
    pub granule: usize,
    /// Patches side by side in a picture, where loads have 16 bytes; else 0.
    pub across: usize,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

/// How a head is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Warps of a cube.
    pub warps: usize,
    /// Parts of the channels that have warps of their own, whose sums are added in the end: divides the warps, and a token's steps.
    pub parts: usize,
    /// Cubes that have the same image, and other classes.
    pub splits: usize,
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub narrow: bool,
}

impl Attention {
    /// Tokens of a window whose scores of 16 queries are in the registers of a warp, at most.
    pub const AT_ONCE: usize = 160;

    /// Words between two channels of values on the chip: as in a matrix product, eight of them lie in different banks, here or, with two steps,
    /// by how they are moved.
    pub fn pitch(tokens: usize) -> usize {
        match tokens.div_ceil(STEP) {
            2 => 16,
            steps => 8 * (steps | 1),
        }
    }

    /// Bytes on the chip: q, k and v of a head, values in the order of keys, and a table of powers in every bank.
    pub fn on_chip(tokens: usize, head: usize) -> usize {
        3 * head * tokens.next_multiple_of(16) + 4 * head * Attention::pitch(tokens) + (16 << 10)
    }
}

impl Windows {
    /// Lanes of a vector of quads.
    pub const LANES: usize = 16;

    /// Keys for which there is room in the vectors that are made at once for so many tokens, by quads.
    pub fn slots(tokens: usize) -> usize {
        let vectors = tokens.div_ceil(Self::LANES);
        vectors.next_multiple_of(vectors.min(4)) * Self::LANES
    }
}

impl Dots {
    /// Columns of a panel.
    pub fn columns(&self) -> usize {
        self.lanes * self.vectors
    }
}

impl Head {
    /// Fragments of 8 columns of a warp.
    pub const FRAGS: usize = 4;
}

impl Blueprint {
    /// Whether every requantization needs the upper half of a 64-bit product only.
    pub fn narrow(&self) -> bool {
        match self {
            Blueprint::Plain | Blueprint::Parts => false,
            Blueprint::Gemm(g) => g.narrow,
            Blueprint::Mlp(m) => m.narrow,
            Blueprint::Attention(a) => a.narrow,
            Blueprint::Embed(e) => e.narrow,
            Blueprint::Head(h) => h.narrow,
            Blueprint::Dots(d) => d.narrow,
            Blueprint::Windows(w) => w.narrow,
            Blueprint::Norm(n) => n.narrow,
            Blueprint::Channels(c) => c.narrow,
        }
    }

    /// Cubes that a processor should have at a time, where that must be said: as many as its registers allow.
    pub fn resident(&self) -> Option<usize> {
        match self {
            Blueprint::Gemm(gemm) => Some(gemm.resident),
            Blueprint::Mlp(mlp) => Some((mlp.resident() / mlp.warps).max(1)),
            _ => None,
        }
    }
}

/// Warps that a processor has room for if each has so many registers a thread: vectors of 32 registers, eight at a time, of a quarter of
/// a processor, where every fourth warp is.
pub(super) fn warps_with(registers: usize) -> usize {
    512 / registers.next_multiple_of(8) * 4
}

impl Mlp {
    /// Fragments of 8 hidden columns of a warp at a time: what a lane holds of a row is eight bytes, a store that meets no other.
    pub const FRAGS: usize = 4;

    /// Hidden columns that are on the chip at a time.
    pub fn chunk(&self) -> usize {
        self.warps * Self::FRAGS * COLUMNS
    }

    /// The first matrix product of rows of `k`, a chunk at a time.
    pub fn up(&self, k: usize) -> Gemm {
        self.product(Self::FRAGS, k.div_ceil(STEP), 1)
    }

    /// The second one, of rows of `hidden`.
    pub fn down(&self, hidden: usize) -> Gemm {
        self.product(self.column_frags, self.chunk() / STEP, hidden / self.chunk())
    }

    fn product(&self, column_frags: usize, stage: usize, stages: usize) -> Gemm {
        let Mlp { row_frags, warps, narrow, .. } = *self;
        Gemm {
            row_frags,
            column_frags,
            row_warps: 1,
            column_warps: warps,
            parts: 1,
            splits: 1,
            rounds: 1,
            ahead: 1,
            copied: false,
            stage,
            stages,
            resident: self.resident() / warps,
            narrow,
        }
    }

    /// Warps that a processor has registers for: each holds the sums of both products, weights, and what else the assembler's reports show.
    pub fn resident(&self) -> usize {
        let sums = 4 * self.row_frags * (Self::FRAGS + self.column_frags);
        warps_with(sums + 13 * self.column_frags + 20)
    }
}

impl Gemm {
    /// Rows of a cube.
    pub fn rows(&self) -> usize {
        16 * self.row_frags * self.row_warps
    }

    /// Warps of a cube.
    pub fn warps(&self) -> usize {
        self.row_warps * self.column_warps * self.parts
    }

    /// Fragments that a warp holds sums of.
    pub fn frags(&self) -> usize {
        self.row_frags * self.column_frags
    }

    /// Vectors of four sums that go over the chip, where rows have parts.
    pub fn partial(&self) -> usize {
        (self.parts - 1) * self.row_warps * self.column_warps * self.frags() * 32
    }

    /// 16-byte loads of a thread that take a stage of rows of bytes: two for a pair of rows.
    pub fn loads(&self) -> usize {
        2 * (self.rows() * self.stage).div_ceil(32 * self.warps())
    }

    /// Bytes of weights of a cube on the chip.
    pub fn ring(&self) -> usize {
        if self.copied { self.warps() * self.ahead * self.column_frags * COLUMNS * STEP } else { 0 }
    }

    /// Bytes of a row on the chip, half of what is between two pairs of rows: an odd number of steps, so that pairs that follow each other begin
    /// in different halves of the banks.
    pub fn pitch(&self) -> usize {
        (self.stage | 1) * STEP
    }
}

/// How many lanes share a row of so many vectors of eight channels that they normalise, and how many are a lane's: few enough lanes to leave each of them
/// three.
pub(super) fn shared_by_lanes(vectors: usize) -> (usize, usize) {
    let lanes = vectors.div_ceil(3).next_power_of_two().clamp(4, 32);
    (lanes, vectors.div_ceil(lanes))
}

/// How a cube's warps share the rows that they normalise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NormShare {
    /// Lanes that have part in a row.
    pub lanes: usize,
    /// 16-byte loads of a lane that take its part.
    pub each: usize,
    /// Rows that a lane has part in at a time: what one waits for the others use, and γ and β are loaded once for all.
    pub rows: usize,
    /// How often a warp goes on to other rows.
    pub passes: usize,
    /// Whether γ, β and the places of rows are loaded before rows are known to be there.
    pub early: bool,
}

impl Gemm {
    /// How rows of `k` 16-bit values are normalised onto the chip.
    pub fn norm_share(&self, k: usize) -> NormShare {
        // Vectors of eight, of whole steps.
        let (lanes, each) = shared_by_lanes(k.div_ceil(STEP) * (STEP / 8));
        let rows = (self.rows() * lanes).div_ceil(32 * self.warps());
        // 48 registers hold them.
        let passes = rows.div_ceil((12 / each).clamp(1, 4));
        let rows = rows.div_ceil(passes);
        NormShare { lanes, each, rows, passes, early: self.copied && passes == 1 && 12 * each + 4 * each * rows <= 96 }
    }
}

impl fmt::Display for Blueprint {
    /// Nothing where it is plain; else ` by gemm[tile=64x128,warps=1x4,splits=3,stage=12]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blueprint::Plain => Ok(()),
            Blueprint::Parts => f.write_str(" by its parts"),
            Blueprint::Mlp(m) => {
                let narrow = if m.narrow { "" } else { ",wide" };
                write!(f, " by mlp[rows={},chunk={},warps={}{narrow}]", 16 * m.row_frags, m.chunk(), m.warps)
            }
            Blueprint::Gemm(g) => {
                let columns = g.column_warps * g.column_frags * COLUMNS;
                write!(f, " by gemm[tile={}x{columns},warps={}x{}", g.rows(), g.row_warps, g.column_warps)?;
                if g.parts > 1 {
                    write!(f, "x{}", g.parts)?;
                }
                write!(f, ",splits={},rounds={}", g.splits, g.rounds)?;
                write!(
                    f,
                    ",stage={},ahead={}{},resident={}{}]",
                    g.stage,
                    g.ahead,
                    if g.copied { ",copied" } else { "" },
                    g.resident,
                    if g.narrow { "" } else { ",wide" }
                )
            }
            Blueprint::Embed(e) => {
                write!(f, " by embed[warps={},granule={}{}]", e.warps, e.granule, if e.narrow { "" } else { ",wide" })
            }
            Blueprint::Head(h) => {
                let narrow = if h.narrow { "" } else { ",wide" };
                write!(f, " by head[warps={},parts={},splits={}{narrow}]", h.warps, h.parts, h.splits)
            }
            Blueprint::Dots(d) => {
                let of = if d.products == 4 { "quads" } else { "pairs" };
                let narrow = if d.narrow { "" } else { ",wide" };
                write!(f, " by {of}[groups={},columns={}{narrow}]", d.groups, d.columns())
            }
            Blueprint::Windows(w) => {
                f.write_str(" by windows")?;
                let marks = [(w.quads, "quads"), (!w.narrow, "wide")].into_iter().filter(|(is, _)| *is);
                let marks: Vec<&str> = marks.map(|(_, mark)| mark).collect();
                if marks.is_empty() { Ok(()) } else { write!(f, "[{}]", marks.join(",")) }
            }
            Blueprint::Norm(n) => {
                write!(f, " by norm[warps={},lanes={}{}]", n.warps, n.lanes, if n.narrow { "" } else { ",wide" })
            }
            Blueprint::Channels(c) => {
                write!(f, " by channels[lanes={}{}]", c.lanes, if c.narrow { "" } else { ",wide" })
            }
            Blueprint::Attention(a) => {
                write!(f, " by attention[windows={}{}]", a.windows, if a.narrow { "" } else { ",wide" })
            }
        }
    }
}
