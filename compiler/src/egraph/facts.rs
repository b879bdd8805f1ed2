//! What is known of an e-class: its type, its values' range, and, where each of its elements is a function of one byte, that
//! function.

use super::lang::{Constants, SwinGraph};
use egg::Id;
use std::{cmp::Ordering, sync::Arc};
use swint_ir::{
    ConstId, Data, Elem, Node, Tensor, Type, arith, infer, interp,
    op::{Attr, Class, Op, OpKind},
};

/// What is known of an e-class.
#[derive(Clone, PartialEq, Debug)]
pub enum Facts {
    /// It is an attribute.
    Attr(Attr),
    /// It is a tensor.
    Tensor {
        /// Its type.
        ty: Type,
        /// The constant that it equals, if it is one.
        constant: Option<ConstId>,
        /// Where its values lie.
        range: Range,
        /// Its elements as a function of bytes, if they are one.
        unary: Option<Unary>,
    },
}

impl Facts {
    /// A tensor of which only the type is known.
    pub fn of(ty: Type) -> Facts {
        let range = Range::of_elem(ty.elem);
        Facts::Tensor { ty, constant: None, range, unary: None }
    }

    /// Where the tensor's values lie.
    pub fn range(&self) -> Option<Range> {
        if let Facts::Tensor { range, .. } = self { Some(*range) } else { None }
    }

    /// The tensor's type.
    pub fn ty(&self) -> Option<&Type> {
        if let Facts::Tensor { ty, .. } = self { Some(ty) } else { None }
    }
}

/// An interval, both ends included: of integers as they are stored, of floats as they are.
///
/// It is that of one program of the class. Others may leave it by what `real` rules round.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Range {
    /// The least value.
    pub low: f64,
    /// The greatest value.
    pub high: f64,
}

impl Range {
    /// Whatever an element type can hold.
    pub fn of_elem(elem: Elem) -> Range {
        let (low, high) = elem.range().map_or((f64::NEG_INFINITY, f64::INFINITY), |(l, h)| (l.into(), h.into()));
        Range { low, high }
    }

    /// The values of a tensor, or of its type where it is too large to be looked at.
    fn of_tensor(tensor: &Tensor, ty: &Type) -> Range {
        const LARGE: usize = 1 << 16;
        if tensor.data.len() > LARGE {
            return Range::of_elem(ty.elem);
        }
        let all: Vec<f64> = match tensor.as_f32() {
            Some(values) => values.iter().map(|&x| x.into()).collect(),
            None => tensor.data.to_i32().into_iter().flatten().map(f64::from).collect(),
        };
        let range = Range {
            low: all.iter().copied().fold(f64::INFINITY, f64::min),
            high: all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        if all.iter().any(|x| x.is_nan()) { Range::of_elem(ty.elem) } else { range }
    }

    /// Whether both ends are numbers.
    pub fn is_finite(self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }

    /// Whether every value is one of an integer type.
    pub fn fits(self, elem: Elem) -> bool {
        let all = Range::of_elem(elem);
        self.low >= all.low && self.high <= all.high
    }

    fn plus(self, other: Range) -> Range {
        let sum = Range { low: self.low + other.low, high: self.high + other.high };
        if sum.low.is_nan() || sum.high.is_nan() { Range::of_elem(Elem::F32) } else { sum }
    }

    fn times(self, other: Range) -> Range {
        let products = [self.low * other.low, self.low * other.high, self.high * other.low, self.high * other.high];
        if products.iter().any(|p| p.is_nan()) {
            return Range::of_elem(Elem::F32);
        }
        let low = products.iter().copied().fold(f64::INFINITY, f64::min);
        Range { low, high: products.iter().copied().fold(f64::NEG_INFINITY, f64::max) }
    }

    /// By functions that do not decrease.
    fn map(self, f: impl Fn(f64) -> (f64, f64)) -> Range {
        Range { low: f(self.low).0, high: f(self.high).1 }
    }

    fn within(self, elem: Elem) -> Range {
        let all = Range::of_elem(elem);
        Range { low: self.low.clamp(all.low, all.high), high: self.high.clamp(all.low, all.high) }
    }

    /// What both allow; this one, where they miss each other by no more than what `real` rules round. `None` where they are
    /// further apart: then one of them is wrong.
    fn meet(self, other: Range, ty: &Type) -> Option<Range> {
        let largest = [self.low, self.high, other.low, other.high].map(f64::abs).into_iter().fold(0.0, f64::max);
        let tolerance = if ty.is_float() { 1e-3 * largest } else { 2.0 };
        let (low, high) = (self.low.max(other.low), self.high.min(other.high));
        if low <= high {
            return Some(Range { low, high });
        }
        (low - high <= tolerance).then_some(self)
    }
}

/// Each element is a function of the byte of another tensor at its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Unary {
    /// The class of the bytes.
    pub of: Id,
    /// The function's 256 values, from the least byte on.
    pub values: Arc<Tensor>,
    /// How many ops make it.
    pub length: usize,
    /// Whether a GELU is one of them.
    pub gelu: bool,
}

/// The facts of an input.
pub(super) fn of_input(constants: &Constants, i: usize) -> Facts {
    let ty = constants.inputs[i].clone();
    let range = constants.ranges.get(i).copied().unwrap_or(Range::of_elem(ty.elem));
    Facts::Tensor { ty, constant: None, range, unary: None }
}

/// The facts of a constant.
pub(super) fn of_constant(constants: &Constants, c: ConstId) -> Facts {
    let decl = &constants.decls[c.index()];
    let tensor = constants.weights.get(&decl.name);
    let range = tensor.map_or(Range::of_elem(decl.ty.elem), |tensor| Range::of_tensor(tensor, &decl.ty));
    Facts::Tensor { ty: decl.ty.clone(), constant: Some(c), range, unary: None }
}

/// An op with its attributes, from the facts of its children, and what is known of its operands.
///
/// # Errors
/// When the children are not what the op takes.
pub fn op_of<'a>(kind: OpKind, children: impl Iterator<Item = &'a Facts>) -> Result<(Op, Vec<&'a Facts>), String> {
    let (mut operands, mut attrs) = (Vec::new(), Vec::new());
    for facts in children {
        match facts {
            Facts::Tensor { .. } => operands.push(facts),
            Facts::Attr(attr) => attrs.push(attr.clone()),
        }
    }
    Ok((Op::from_attrs(kind, &attrs).map_err(|e| e.to_string())?, operands))
}

/// The type of an op's result.
///
/// # Errors
/// When the op does not take these operands.
pub fn infer_from(op: &Op, operands: &[&Facts]) -> Result<Type, String> {
    let types: Vec<&Type> = operands.iter().filter_map(|facts| facts.ty()).collect();
    infer(op, &types).map_err(|e| e.to_string())
}

/// The facts of an op's result.
pub(super) fn of_op(egraph: &SwinGraph, kind: OpKind, children: &[Id]) -> Facts {
    let typed = op_of(kind, children.iter().map(|&c| &egraph[c].data))
        .and_then(|(op, operands)| Ok((infer_from(&op, &operands)?, op, operands)));
    let (ty, op, operands) = typed.unwrap_or_else(|e| panic!("a rule made an ill-typed node: {e}"));
    let constants = &egraph.analysis;
    let range = range(&op, &operands, &ty, constants);
    let unary = unary(&op, &operands, egraph.find(children[0]), constants);
    Facts::Tensor { ty, constant: None, range, unary }
}

fn parts(facts: &Facts) -> (&Type, Range, Option<ConstId>) {
    let Facts::Tensor { ty, constant, range, .. } = facts else { unreachable!("operands are tensors") };
    (ty, *range, *constant)
}

/// Where an op's results lie. Sums that 32 bits might not hold cannot be: the verifier and the type inference exclude them.
fn range(op: &Op, operands: &[&Facts], ty: &Type, constants: &Constants) -> Range {
    let any = Range::of_elem(ty.elem);
    let of = |i: usize| parts(operands[i]).1;
    let x = of(0);
    let sum_of = |n: usize, product: Range| product.times(Range { low: n as f64, high: n as f64 });
    match op {
        op if op.kind().class() == Class::Index => x,
        Op::Relu {} => Range { low: x.low.max(0.0), high: x.high.max(0.0) },
        // Its least value is −0.1700; beyond that it is at most x, and at most zero where x is.
        Op::Gelu {} if x.is_finite() => Range { low: if x.low >= 0.0 { 0.0 } else { -0.1701 }, high: x.high.max(0.0) },
        // Of infinite scores it may be NaN.
        Op::Softmax {} if x.is_finite() => Range { low: 0.0, high: 1.0 },
        Op::Add {} | Op::BiasAdd {} if ty.is_float() => x.plus(of(1)).map(rounded),
        Op::Add {} | Op::BiasAdd {} => x.plus(of(1)).within(ty.elem),
        Op::Linear {} if !ty.is_float() => {
            let sums = sum_of(parts(operands[1]).0.last(), x.times(of(1)));
            if operands.len() > 2 { sums.plus(of(2)) } else { sums }
        }
        Op::AttnScores { heads } if !ty.is_float() => sum_of(parts(operands[0]).0.last() / heads, x.times(of(1))),
        Op::AttnValues {} if !ty.is_float() => sum_of(parts(operands[0]).0.last(), x.times(of(1))),
        Op::AttnBias { .. } if !ty.is_float() => operands[1..].iter().fold(x, |sum, f| sum.plus(parts(f).1)),
        Op::MeanPool {} if !ty.is_float() => {
            let image = parts(operands[0]).0;
            sum_of(image.shape[1] * image.shape[2], x)
        }
        Op::Quantize { elem, scale } if x.is_finite() => x.map(|x| {
            let q = arith::quantize(x as f32, scale.get(), *elem).into();
            (q, q)
        }),
        Op::Dequantize {} => {
            let from = parts(operands[0]).0;
            let scales = constants.weights.scales(from);
            let real = |q: f64| {
                let all = scales.iter().map(|&s| f64::from(arith::dequantize(q as i32, s)));
                all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
            };
            x.map(real)
        }
        Op::Requantize { elem, scale } => {
            let multipliers = constants.weights.multipliers(parts(operands[0]).0, scale.get());
            let requantized = |q: f64| {
                let all = multipliers.iter().map(|m| f64::from(m.requantize(q as i32, *elem)));
                all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
            };
            x.map(requantized)
        }
        Op::Lut {} => of(1),
        _ => any,
    }
}

/// An end of an interval of floats, a little further out: sums are rounded, and may be infinite.
fn rounded(x: f64) -> (f64, f64) {
    let end = |x: f64| if x.abs() > f64::from(f32::MAX) { x.signum() * f64::INFINITY } else { x };
    (end(x - x.abs() * 1e-6), end(x + x.abs() * 1e-6))
}

/// An op's result as a function of bytes: it is one where its operand is, and where that is bytes with one scale.
fn unary(op: &Op, operands: &[&Facts], operand: Id, constants: &Constants) -> Option<Unary> {
    let Facts::Tensor { ty, unary, .. } = operands.first()? else { return None };
    let elementwise = match op {
        Op::Dequantize {} | Op::Quantize { .. } | Op::Requantize { .. } => true,
        Op::Gelu {} | Op::Relu {} | Op::Lut {} => true,
        Op::BiasAdd {} => ty.is_float(),
        _ => false,
    };
    if !elementwise || ty.scale.channels.is_some() {
        return None;
    }
    let start = || {
        let (low, high) = ty.elem.range().filter(|_| ty.elem.is_byte())?;
        let bytes = Tensor::new([256], Data::from_i32(ty.elem, low..=high));
        Some(Unary { of: operand, values: Arc::new(bytes), length: 0, gelu: false })
    };
    // Bytes that come from a GELU begin anew: whether that one becomes a table is for a rule to say, that may be left out.
    let open = unary.clone().filter(|unary| !(unary.gelu && ty.elem.is_byte()));
    let Unary { of, values, length, gelu } = open.or_else(start)?;
    // The interpreter itself says what the op does to the 256 values.
    let mut inputs: Vec<(Tensor, Type)> = vec![((*values).clone(), ty.with_shape([256]))];
    if let Some(&second) = operands.get(1) {
        let (second_ty, _, Some(c)) = parts(second) else { return None };
        let tensor = constants.weights.get(&constants.decls[c.index()].name)?;
        inputs.push(match op {
            Op::BiasAdd {} => (Tensor::f32([256], vec![uniform(tensor)?; 256]), Type::f32([256])),
            _ => ((**tensor).clone(), second_ty.clone()),
        });
    }
    let refs: Vec<(&Tensor, &Type)> = inputs.iter().map(|(tensor, ty)| (tensor, ty)).collect();
    let types: Vec<&Type> = refs.iter().map(|input| input.1).collect();
    let node = Node {
        op: op.clone(),
        operands: Vec::new(),
        ty: infer(op, &types).ok()?,
        locs: Vec::new(),
        approximates: None,
    };
    let values = Arc::new(interp::eval_op(&node, &refs, &constants.weights));
    Some(Unary { of, values, length: length + 1, gelu: gelu || *op == Op::Gelu {} })
}

/// The value that every element has.
pub fn uniform(tensor: &Tensor) -> Option<f32> {
    let (first, rest) = tensor.as_f32()?.split_first()?;
    rest.iter().all(|x| x == first).then_some(*first)
}

/// What two programs of one class say of it together. Whether the first learns something, and the second.
///
/// Every change is towards a least element (narrower ranges, earlier bytes, fewer ops), so that cycles, which e-graphs
/// have, come to an end.
///
/// # Panics
/// When their types contradict each other: a rule is wrong. In tests of the rules, when their intervals do.
pub(super) fn merge(a: &mut Facts, b: Facts) -> (bool, bool) {
    match (a, b) {
        (
            Facts::Tensor { ty, constant, range, unary },
            Facts::Tensor { ty: other_ty, constant: other_constant, range: other_range, unary: other_unary },
        ) => {
            assert_eq!(*ty, other_ty, "two types for one value: a rule is wrong");
            let met = range.meet(other_range, ty).unwrap_or_else(|| {
                // Bounds of `real` rules add up along a chain, and sums may saturate: in a user's program that is no error.
                if cfg!(test) {
                    panic!("values in {range:?} and in {other_range:?}: a rule is wrong");
                }
                *range
            });
            let mut learnt = (met != *range, met != other_range);
            *range = met;
            learnt.0 |= constant.is_none() && other_constant.is_some();
            learnt.1 |= constant.is_some() && other_constant.is_none();
            *constant = constant.or(other_constant);
            let order =
                |unary: &Option<Unary>| unary.as_ref().map_or((true, 0, 0), |u| (false, usize::from(u.of), u.length));
            match order(&other_unary).cmp(&order(unary)) {
                Ordering::Less => (*unary, learnt.0) = (other_unary, true),
                Ordering::Equal => {}
                Ordering::Greater => learnt.1 = true,
            }
            learnt
        }
        (a, b) => {
            assert_eq!(*a, b, "two attributes for one: a rule is wrong");
            (false, false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::Scale;

    fn range(low: f64, high: f64) -> Range {
        Range { low, high }
    }

    #[test]
    fn ranges_meet() {
        let ty = Type::int(Elem::I8, Scale::UNIT, [4]);
        assert_eq!(range(-10.0, 5.0).meet(range(0.0, 9.0), &ty), Some(range(0.0, 5.0)));
        // A step apart is what rounding does, more is an error.
        assert_eq!(range(0.0, 0.0).meet(range(1.0, 3.0), &ty), Some(range(0.0, 0.0)));
        assert_eq!(range(0.0, 0.0).meet(range(5.0, 9.0), &ty), None);
    }

    #[test]
    #[should_panic(expected = "a rule is wrong")]
    fn contradictions_are_noticed() {
        let ty = Type::int(Elem::I16, Scale::UNIT, [4]);
        let facts = |range| Facts::Tensor { ty: ty.clone(), constant: None, range, unary: None };
        merge(&mut facts(range(0.0, 10.0)), facts(range(100.0, 200.0)));
    }
}
