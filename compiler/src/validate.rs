//! Translation validation: runs a program and what a pass made of it on the same inputs, in the interpreter. (Pnueli,
//! Siegel and Singerman, TACAS 1998; in spirit, for random inputs only, Alive2.)

use std::fmt;
use swint_ir::{Module, interp, random};

/// How far two programs are apart on some inputs.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Difference {
    /// Number of inputs.
    pub inputs: usize,
    /// Elements of the outputs that differ in any bit.
    pub differing: usize,
    /// Elements of the outputs.
    pub elements: usize,
    /// Largest difference of two real numbers.
    pub largest: f32,
    /// Largest magnitude of the first program's outputs.
    pub magnitude: f32,
}

impl Difference {
    /// The largest difference over the largest magnitude; 0 where both are.
    pub fn relative(&self) -> f32 {
        if self.largest == 0.0 { 0.0 } else { self.largest / self.magnitude }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { inputs, differing, elements, .. } = self;
        let plural = if *inputs == 1 { "" } else { "s" };
        write!(f, "{inputs} random input{plural}: ")?;
        match differing {
            0 => write!(f, "equal bit for bit"),
            _ => write!(f, "{differing} of {elements} elements differ, relatively by at most {:.1e}", self.relative()),
        }
    }
}

/// Compares two verified modules on `inputs` random inputs. They must take and return the same types.
///
/// # Errors
/// When they do not.
pub fn validate(before: &Module, after: &Module, inputs: usize, seed: u64) -> Result<Difference, String> {
    let types = |m: &Module| -> Vec<_> { m.graph.inputs.iter().map(|i| i.ty.clone()).collect() };
    let (from, to) = (before.graph.ty(before.graph.output), after.graph.ty(after.graph.output));
    if types(before) != types(after) || from != to {
        return Err(format!("the programs have different inputs or results: {from} and {to}"));
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut difference = Difference { inputs, ..Difference::default() };
    for _ in 0..inputs {
        let input = random::inputs(&before.graph, &mut rng);
        let run = |m: &Module| interp::run(&m.graph, &m.weights, &input).map_err(|e| e.to_string());
        let (a, b) = (run(before)?, run(after)?);
        let bits = |t: &swint_ir::Tensor| t.data.to_bytes();
        let size = from.elem.bytes();
        let differ = bits(&a).chunks(size).zip(bits(&b).chunks(size)).filter(|(a, b)| a != b).count();
        difference.differing += differ;
        difference.elements += from.elements();
        let real = |m: &Module, t: &swint_ir::Tensor| t.to_real(m.graph.ty(m.graph.output), &m.weights);
        for (a, b) in real(before, &a).into_iter().zip(real(after, &b)) {
            difference.magnitude = difference.magnitude.max(a.abs());
            difference.largest = difference.largest.max((a - b).abs());
            // A NaN on one side only is as far as can be.
            if a.is_nan() != b.is_nan() {
                difference.largest = f32::INFINITY;
            }
        }
    }
    Ok(difference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::op::Op;

    #[test]
    fn a_changed_program_is_seen() {
        let graph = random::graph(3, 8);
        let before = Module { weights: random::weights(&graph, 1), graph };
        assert_eq!(validate(&before, &before, 3, 0).unwrap().differing, 0);
        let mut after = before.clone();
        let out = after.graph.output;
        let ty = after.graph.ty(out).clone();
        if !ty.is_float() {
            after.graph.output = after.graph.push(Op::Dequantize {}, vec![out]).unwrap();
            assert!(validate(&before, &after, 1, 0).unwrap_err().contains("different inputs or results"));
            return;
        }
        after.graph.output = after.graph.push(Op::Add {}, vec![out, out]).unwrap();
        let difference = validate(&before, &after, 3, 0).unwrap();
        assert!(difference.differing > 0 && difference.relative() > 0.9, "{difference}");
    }
}
