//! Times of ops measured on a device. They override the cost model's estimates.

use super::Cost;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use swint_ir::{
    Code, SourceError, SourceErrors, Type,
    diagnostic::Source,
    op::{Attr, Op},
};

/// Measured times, as a file holds them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// The format's version: 1.
    pub version: u32,
    /// Where they were measured.
    pub device: String,
    /// Images at once.
    pub batch: usize,
    /// By the op's [`signature`] for one image.
    pub ops: BTreeMap<String, Measured>,
}

/// The time of an op.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Microseconds that it took.
    pub us: f64,
    /// Microseconds that the cost model gives it.
    pub estimated_us: f64,
}

/// What an op's time depends on: its kind, its attributes but for scales, and the element types and shapes of its operands and
/// its result.
///
/// `qlinear{elem=i8} i8[1,64] i8[256,64] i32[256] -> i8[1,256]`
pub fn signature(op: &Op, operands: &[&Type], result: &Type) -> String {
    let kind = op.kind();
    let attrs: Vec<String> = (kind.attr_names().iter().zip(op.attrs()))
        .filter(|(_, attr)| !matches!(attr, Attr::F32(_) | Attr::F32s(_)))
        .map(|(name, attr)| format!("{name}={attr}"))
        .collect();
    let attrs = if attrs.is_empty() { String::new() } else { format!("{{{}}}", attrs.join(",")) };
    let shape = |ty: &Type| {
        let extents: Vec<String> = ty.shape.iter().map(usize::to_string).collect();
        format!("{}[{}]", ty.elem, extents.join(","))
    };
    let operands: Vec<String> = operands.iter().map(|ty| shape(ty)).collect();
    format!("{kind}{attrs} {} -> {}", operands.join(" "), shape(result))
}

impl Timings {
    /// None yet, of a device and a batch.
    pub fn new(device: impl Into<String>, batch: usize) -> Timings {
        Timings { version: 1, device: device.into(), batch, ops: BTreeMap::new() }
    }

    /// Reads a file's text; `file` names it in errors.
    ///
    /// # Errors
    /// When it is not such a file, with the place in the text.
    pub fn parse(file: &str, text: &str) -> Result<Timings, SourceErrors> {
        let source = Arc::new(Source::new(file, text));
        let error = |at: usize, message: String| {
            SourceErrors::new(&source, vec![SourceError::new(&source, Code::BadSpec, at..at, message, "here")])
        };
        let timings: Timings =
            serde_json::from_str(text).map_err(|e| error(source.offset(e.line(), e.column()), e.to_string()))?;
        if timings.version != 1 {
            return Err(error(0, format!("timings of version {}: this program reads version 1", timings.version)));
        }
        let bad = |us: f64| !(1e-6..=1e9).contains(&us);
        match timings.ops.iter().find(|(_, m)| bad(m.us) || bad(m.estimated_us)) {
            Some((op, _)) => {
                let message = format!("a time of {op:?} is not from 1e-6 to 1e9 us");
                Err(error(text.find(op.as_str()).unwrap_or(0), message))
            }
            None => Ok(timings),
        }
    }

    /// The measured time of an op.
    pub(super) fn get(&self, op: &Op, operands: &[&Type], result: &Type) -> Option<Cost> {
        self.ops.get(&signature(op, operands, result)).map(|measured| picoseconds(measured.us))
    }

    /// An estimate for an op that was not measured, beside those that were: times the median of measured over estimated.
    pub(super) fn scaled(&self, estimate: Cost) -> Cost {
        let mut ratios: Vec<f64> = self.ops.values().map(|m| m.us / m.estimated_us).collect();
        ratios.sort_by(f64::total_cmp);
        picoseconds(estimate.micros() * ratios.get(ratios.len() / 2).copied().unwrap_or(1.0))
    }
}

fn picoseconds(us: f64) -> Cost {
    Cost((us * 1e6) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::{Elem, F32, Scale};

    #[test]
    fn scales_are_not_part_of_a_signature() {
        let of = |scale: f32| {
            let ty = |elem, shape: &[usize]| Type::int(elem, Scale::tensor(scale), shape);
            let op = Op::QLinear { elem: Elem::I8, scale: F32::new(scale) };
            signature(&op, &[&ty(Elem::I8, &[1, 64]), &ty(Elem::I8, &[256, 64])], &ty(Elem::I8, &[1, 256]))
        };
        assert_eq!(of(0.1), "qlinear{elem=i8} i8[1,64] i8[256,64] -> i8[1,256]");
        assert_eq!(of(0.1), of(0.2));
        let x = Type::f32([1, 4, 4, 2]);
        assert_eq!(
            signature(&Op::Roll { shift: swint_ir::Pair::from(-1) }, &[&x], &x),
            "roll{shift=-1} f32[1,4,4,2] -> f32[1,4,4,2]"
        );
    }

    #[test]
    fn what_was_not_measured_is_scaled_like_what_was() {
        let mut timings = Timings::new("cpu", 1);
        assert_eq!(timings.scaled(Cost(7)), Cost(7));
        for (i, us) in [2.0, 30.0, 400.0].into_iter().enumerate() {
            timings.ops.insert(i.to_string(), Measured { us, estimated_us: 1.0 });
        }
        assert_eq!(timings.scaled(Cost(1_000_000)), Cost(30_000_000));
    }

    #[test]
    fn files_are_read_back_and_errors_point_at_their_place() {
        let mut timings = Timings::new("cpu", 1);
        timings.ops.insert("relu f32[4] -> f32[4]".into(), Measured { us: 1.5, estimated_us: 1.0 });
        let text = serde_json::to_string_pretty(&timings).unwrap();
        assert_eq!(Timings::parse("t.json", &text).unwrap(), timings);
        for (from, to, place, message) in [
            ("\"us\": 1.5", "\"us\": -1", (6, 6), "is not from 1e-6"),
            ("\"us\"", "\"time\"", (7, 12), "unknown field `time`"),
            ("\"version\": 1", "\"version\": 2", (1, 1), "version 2"),
            ("1.5", "1.5 nonsense", (7, 17), "expected"),
        ] {
            let error = Timings::parse("t.json", &text.replacen(from, to, 1)).unwrap_err();
            assert!(error.errors[0].message.contains(message), "{:?}", error.errors);
            assert_eq!(error.errors[0].line_column(), place, "{to}");
        }
    }
}
