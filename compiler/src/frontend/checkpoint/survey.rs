//! What is in a safetensors file: statistics and oddities of its tensors, a chunk in memory at a time.

use super::{
    CheckpointError,
    header::{Entry, Header, Limits},
    position,
    reader::{self, Reader, Source},
};
use half::{bf16, f16};
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt, path::Path};

/// Standard deviations from the mean beyond which an element is an outlier. The largest of as many normal numbers as Swin-L has
/// parameters is 6 from it.
const OUTLIER: f64 = 50.0;

/// A file's header, and what was seen of its tensors.
#[derive(Clone, PartialEq, Debug)]
pub struct Survey {
    /// The header.
    pub header: Header,
    /// For each of its tensors, in the same order: what its elements are; `None` where they were not looked at, or are of a type
    /// that is no number to us.
    pub statistics: Vec<Option<Statistics>>,
    /// For each of its tensors, in the same order: what is odd about it.
    pub problems: Vec<Vec<Problem>>,
}

/// What a tensor's elements are. Minimum, maximum, mean and deviation are of the finite ones; without any they are NaN.
#[derive(Clone, PartialEq, Debug)]
pub struct Statistics {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation, of all (not of a sample).
    pub std: f64,
    /// How many are 0.
    pub zeros: usize,
}

/// Something odd about a tensor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// Elements that are not finite: how many are NaN, how many infinite, and where the first is.
    NotFinite(usize, usize, String),
    /// So many rows (slices along the first axis) of so many have zeros only.
    ZeroRows(usize, usize),
    /// An element is more than 50 standard deviations from the mean: so many.
    Outlier(u64),
    /// Type, shape and elements are those of another tensor.
    Copy(String),
}

impl Problem {
    /// Its name, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Problem::NotFinite(..) => "not-finite",
            Problem::ZeroRows(..) => "zero-rows",
            Problem::Outlier(_) => "outlier",
            Problem::Copy(_) => "copy",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NotFinite(nan, infinite, first) => {
                write!(f, "{nan} NaN, {infinite} infinite, the first at {first}")
            }
            Problem::ZeroRows(zero, rows) => write!(f, "{zero} of {rows} rows are zero"),
            Problem::Outlier(sigmas) => write!(f, "an element is {sigmas} standard deviations from the mean"),
            Problem::Copy(name) => write!(f, "the same elements as {}", super::printable(name)),
        }
    }
}

/// Looks at a file: at its header, and at the elements of the tensors that `wanted` names.
///
/// # Errors
/// When it cannot be read, is no safetensors file, or is larger than the limits.
pub fn survey(path: &Path, limits: &Limits, wanted: impl Fn(&str) -> bool) -> Result<Survey, CheckpointError> {
    let (header, reader) = reader::open(path, limits)?;
    look(header, reader, wanted)
}

pub(super) fn look<S: Source>(
    header: Header,
    mut reader: Reader<S>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Survey, CheckpointError> {
    let mut known: BTreeMap<_, &str> = BTreeMap::new();
    let (mut statistics, mut problems) = (Vec::new(), Vec::new());
    for entry in &header.tensors {
        let mut found = Vec::new();
        let seen = if wanted(&entry.name) { Seen::of(entry, &mut reader)? } else { None };
        if let Some(seen) = &seen {
            seen.problems(entry, &mut found);
            // Biases of zeros and scales of ones are alike in many models.
            if seen.min < seen.max {
                let first = *known.entry((entry.dtype, &entry.shape, seen.sha256)).or_insert(&entry.name);
                if first != entry.name {
                    found.push(Problem::Copy(first.to_owned()));
                }
            }
        }
        statistics.push(seen.map(|seen| seen.statistics()));
        problems.push(found);
    }
    reader.finish(&header)?;
    Ok(Survey { header, statistics, problems })
}

/// What was seen of a tensor so far.
struct Seen {
    /// Finite elements, their mean, and the sum of the squares of their distances from it.
    finite: f64,
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
    elements: usize,
    zeros: usize,
    nan: usize,
    infinite: usize,
    first_not_finite: Option<usize>,
    /// Rows that are zero, and the elements that the last, unfinished one has had, all of them zero until now or not.
    zero_rows: usize,
    row: usize,
    row_is_zero: bool,
    sha256: [u8; 32],
}

impl Seen {
    fn of<S: Source>(entry: &Entry, reader: &mut Reader<S>) -> Result<Option<Seen>, CheckpointError> {
        let Some(decode) = decoder(entry.dtype) else { return Ok(None) };
        let mut seen = Seen {
            finite: 0.0,
            mean: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            elements: 0,
            zeros: 0,
            nan: 0,
            infinite: 0,
            first_not_finite: None,
            zero_rows: 0,
            row: 0,
            row_is_zero: true,
            sha256: [0; 32],
        };
        let row = entry.elements() / entry.shape.first().copied().unwrap_or(1).max(1);
        let (mut hash, mut values) = (Sha256::new(), Vec::new());
        reader.chunks(entry, |chunk| {
            hash.update(chunk);
            values.clear();
            decode(chunk, &mut values);
            seen.add(&values, row);
        })?;
        seen.sha256 = hash.finalize().into();
        Ok(Some(seen))
    }

    fn add(&mut self, values: &[f64], row: usize) {
        let (mut finite, mut sum) = (0.0, 0.0);
        for (i, &x) in values.iter().enumerate() {
            if x.is_finite() {
                (finite, sum) = (finite + 1.0, sum + x);
                (self.min, self.max) = (self.min.min(x), self.max.max(x));
            } else {
                self.first_not_finite.get_or_insert(self.elements + i);
                if x.is_nan() { self.nan += 1 } else { self.infinite += 1 }
            }
            self.zeros += usize::from(x == 0.0);
            self.row_is_zero &= x == 0.0;
            self.row += 1;
            if self.row == row {
                self.zero_rows += usize::from(self.row_is_zero);
                (self.row, self.row_is_zero) = (0, true);
            }
        }
        self.elements += values.len();
        if finite > 0.0 {
            // Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979, (2.1).
            let mean = sum / finite;
            let squares: f64 = values.iter().filter(|x| x.is_finite()).map(|x| (x - mean).powi(2)).sum();
            let (all, delta) = (self.finite + finite, mean - self.mean);
            self.squares += squares + delta * delta * self.finite * finite / all;
            self.mean += delta * finite / all;
            self.finite = all;
        }
    }

    fn std(&self) -> f64 {
        (self.squares / self.finite).sqrt()
    }

    fn problems(&self, entry: &Entry, found: &mut Vec<Problem>) {
        if let Some(first) = self.first_not_finite {
            found.push(Problem::NotFinite(self.nan, self.infinite, position(&entry.shape, first)));
        }
        if self.zero_rows > 0 && entry.shape.len() > 1 {
            found.push(Problem::ZeroRows(self.zero_rows, entry.shape[0]));
        }
        let sigmas = (self.max - self.mean).max(self.mean - self.min) / self.std();
        if sigmas > OUTLIER {
            found.push(Problem::Outlier(sigmas as u64));
        }
    }

    fn statistics(&self) -> Statistics {
        let of_finite = |x: f64| if self.finite > 0.0 { x } else { f64::NAN };
        Statistics {
            min: of_finite(self.min),
            max: of_finite(self.max),
            mean: of_finite(self.mean),
            std: self.std(),
            zeros: self.zeros,
        }
    }
}

/// Appends the numbers that bytes are.
type Decode = fn(&[u8], &mut Vec<f64>);

/// How bytes of a type are numbers; `None` for types of eight bits and less whose values are floats, and complex ones.
fn decoder(dtype: Dtype) -> Option<Decode> {
    macro_rules! decode {
        ($ty:ty, $value:expr) => {
            |bytes, values| values.extend(bytes.as_chunks().0.iter().map(|&b| $value(<$ty>::from_le_bytes(b))))
        };
    }
    Some(match dtype {
        Dtype::BOOL | Dtype::U8 => decode!(u8, f64::from),
        Dtype::I8 => decode!(i8, f64::from),
        Dtype::U16 => decode!(u16, f64::from),
        Dtype::I16 => decode!(i16, f64::from),
        Dtype::U32 => decode!(u32, f64::from),
        Dtype::I32 => decode!(i32, f64::from),
        Dtype::U64 => decode!(u64, |x| x as f64),
        Dtype::I64 => decode!(i64, |x| x as f64),
        Dtype::F16 => decode!(f16, f64::from),
        Dtype::BF16 => decode!(bf16, f64::from),
        Dtype::F32 => decode!(f32, f64::from),
        Dtype::F64 => decode!(f64, f64::from),
        _ => return None,
    })
}
