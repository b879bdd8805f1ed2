//! What is known of an e-class: its type, its values' range, and, where each of its elements is a function of one byte, that
//! function.

use super::lang::{Constants, SwinGraph};
use egg::Id;
use std::{cmp::Ordering, sync::Arc};
use swint_ir::{
    ConstId, Data, Elem, Node, Tensor, Type, arith,
    fused::{self, Source},
    infer,
    infer::MAX_SCORE,
    interp,
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
        /// Where the values of every one of its programs lie.
        range: Range,
        /// Whether its programs are equal bit for bit, or only up to what `real` rules round.
        spread: Spread,
        /// Its elements as a function of bytes, if they are one.
        unary: Option<Unary>,
    },
}

impl Facts {
    /// A tensor of which only the type is known.
    pub fn of(ty: Type) -> Facts {
        let range = Range::of_elem(ty.elem);
        Facts::Tensor { ty, constant: None, range, spread: Spread::Exact, unary: None }
    }

    /// The same, of a class that a `real` rule gives another program; `None` where it is known already.
    pub fn rounded(&self) -> Option<Facts> {
        match self {
            Facts::Tensor { ty, constant, range, spread: Spread::Exact, unary } => Some(Facts::Tensor {
                ty: ty.clone(),
                constant: *constant,
                range: *range,
                spread: Spread::Rounded { grown: 0 },
                unary: unary.clone(),
            }),
            _ => None,
        }
    }

    /// Whether values equal but for the sign of zeros cannot be in both: nothing was rounded, and the intervals are apart.
    pub fn contradict(&self, other: &Facts) -> bool {
        match (self, other) {
            (
                Facts::Tensor { range, spread: Spread::Exact, .. },
                Facts::Tensor { range: other, spread: Spread::Exact, .. },
            ) => range.meet(*other).is_none(),
            _ => false,
        }
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

/// How the programs of a class are equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// Bit for bit, but for the sign of zeros: what is known of one holds for all.
    Exact,
    /// Up to what `real` rules round, of this class or of what its programs read: what is known of one may not hold for another.
    Rounded {
        /// How often the interval has grown, so that it comes to an end on cycles.
        grown: u8,
    },
}

/// How often an interval may grow before it is that of its type.
const MOST_GROWN: u8 = 16;

/// An interval, both ends included: of integers as they are stored, of floats as they are.
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

    /// What both allow; `None` where that is nothing.
    fn meet(self, other: Range) -> Option<Range> {
        let (low, high) = (self.low.max(other.low), self.high.min(other.high));
        (low <= high).then_some(Range { low, high })
    }

    /// What either allows.
    fn hull(self, other: Range) -> Range {
        Range { low: self.low.min(other.low), high: self.high.max(other.high) }
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
    Facts::Tensor { ty, constant: None, range, spread: Spread::Exact, unary: None }
}

/// The facts of a constant.
pub(super) fn of_constant(constants: &Constants, c: ConstId) -> Facts {
    let decl = &constants.decls[c.index()];
    let tensor = constants.weights.get(&decl.name);
    let range = tensor.map_or(Range::of_elem(decl.ty.elem), |tensor| Range::of_tensor(tensor, &decl.ty));
    Facts::Tensor { ty: decl.ty.clone(), constant: Some(c), range, spread: Spread::Exact, unary: None }
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
    let unary = unary(&op, &operands, egraph.find(children[0]), &egraph.analysis);
    match computed(&op, &operands, ty, &egraph.analysis) {
        Facts::Tensor { ty, constant, range, spread, .. } => Facts::Tensor { ty, constant, range, spread, unary },
        attr @ Facts::Attr(_) => attr,
    }
}

/// Type, interval and spread of an op's result, whose type is known.
pub(super) fn computed(op: &Op, operands: &[&Facts], ty: Type, constants: &Constants) -> Facts {
    let range = range(op, operands, &ty, constants);
    let exact = |facts: &&Facts| matches!(facts, Facts::Tensor { spread: Spread::Exact, .. });
    let spread = if operands.iter().all(exact) { Spread::Exact } else { Spread::Rounded { grown: 0 } };
    Facts::Tensor { ty, constant: None, range, spread, unary: None }
}

fn parts(facts: &Facts) -> (&Type, Range, Option<ConstId>) {
    let Facts::Tensor { ty, constant, range, .. } = facts else { unreachable!("operands are tensors") };
    (ty, *range, *constant)
}

/// Where an op's results lie. Sums that 32 bits might not hold cannot be: the verifier and the type inference exclude them.
fn range(op: &Op, operands: &[&Facts], ty: &Type, constants: &Constants) -> Range {
    let any = Range::of_elem(ty.elem);
    if let Some(range) = range_of_body(op, operands, constants) {
        return range;
    }
    let of = |i: usize| parts(operands[i]).1;
    let x = of(0);
    let sum_of = |n: usize, product: Range| product.times(Range { low: n as f64, high: n as f64 });
    match op {
        Op::Pad { .. } => x.hull(Range { low: 0.0, high: 0.0 }),
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
        Op::HeadScale {} if !ty.is_float() => {
            let end = f64::from(MAX_SCORE);
            Range { low: x.low.clamp(-end, end), high: x.high.clamp(-end, end) }.times(of(1))
        }
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

/// Where the results of a fused op lie: those of the last step of its body.
fn range_of_body(op: &Op, operands: &[&Facts], constants: &Constants) -> Option<Range> {
    let steps = fused::body(op, operands.len())?;
    let types: Vec<&Type> = operands.iter().filter_map(|facts| facts.ty()).collect();
    let types = fused::step_types(op, &types).ok()?;
    let mut results: Vec<Facts> = Vec::with_capacity(steps.len());
    for (step, (inputs, ty)) in steps.iter().zip(types) {
        let input = |(source, ty): (&Source, &Type)| match *source {
            Source::Operand(i) => operands[i].clone(),
            Source::Step(i) => results[i].clone(),
            Source::Part { operand, .. } => {
                let (range, spread) = (parts(operands[operand]).1, Spread::Exact);
                Facts::Tensor { ty: ty.clone(), constant: None, range, spread, unary: None }
            }
        };
        let inputs: Vec<Facts> = step.operands.iter().zip(&inputs).map(input).collect();
        let inputs: Vec<&Facts> = inputs.iter().collect();
        results.push(computed(&step.op, &inputs, ty, constants));
    }
    results.last().and_then(Facts::range)
}

/// An end of an interval of floats, a little further out: sums are rounded, and may be infinite.
fn rounded(x: f64) -> (f64, f64) {
    if x.is_infinite() {
        return (x, x);
    }
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
/// Programs that are equal bit for bit have values that both their intervals allow. Where a `real` rule joined them, or what they
/// read, each is only in its own: all are in the hull. Every change is one way (from exact to rounded; narrower intervals
/// before, wider ones after, so many times; earlier bytes, fewer ops), so that cycles, which e-graphs have, come to an end.
///
/// A side condition reads what is known when its rule is applied. What joins the class later may leave the interval, but
/// does so by a `real` rule: the program that the condition was true of is rewritten first, and rounded after.
///
/// # Panics
/// When their types contradict each other: a rule is wrong. Intervals are compared where a rule is applied
/// ([`Facts::contradict`]): here two classes may meet whose operands were just joined by a `real` rule.
pub(super) fn merge(a: &mut Facts, b: Facts) -> (bool, bool) {
    match (a, b) {
        (
            Facts::Tensor { ty, constant, range, spread, unary },
            Facts::Tensor {
                ty: other_ty,
                constant: other_constant,
                range: other_range,
                spread: other_spread,
                unary: other_unary,
            },
        ) => {
            assert_eq!(*ty, other_ty, "two types for one value: a rule is wrong");
            let (all, both) = joined((*range, *spread), (other_range, other_spread), ty.elem);
            let is_new =
                |range, spread| all != range || std::mem::discriminant(&both) != std::mem::discriminant(&spread);
            let mut learnt = (is_new(*range, *spread), is_new(other_range, other_spread));
            (*range, *spread) = (all, both);
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

/// The interval and the spread of a class from those of two parts of it.
fn joined((a, of_a): (Range, Spread), (b, of_b): (Range, Spread), elem: Elem) -> (Range, Spread) {
    let grown = match (of_a, of_b) {
        (Spread::Exact, Spread::Exact) => match a.meet(b) {
            Some(met) => return (met, Spread::Exact),
            None => 0,
        },
        (Spread::Rounded { grown }, Spread::Exact) | (Spread::Exact, Spread::Rounded { grown }) => grown,
        (Spread::Rounded { grown: a }, Spread::Rounded { grown: b }) => a.max(b),
    };
    let hull = a.hull(b);
    if hull == a || hull == b && of_a == Spread::Exact {
        return (hull, Spread::Rounded { grown });
    }
    let hull = if grown < MOST_GROWN { hull } else { Range::of_elem(elem) };
    (hull, Spread::Rounded { grown: grown.saturating_add(1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::Scale;

    fn range(low: f64, high: f64) -> Range {
        Range { low, high }
    }

    const EXACT: Spread = Spread::Exact;
    const ROUNDED: Spread = Spread::Rounded { grown: 0 };

    fn facts(range: Range, spread: Spread) -> Facts {
        let ty = Type::int(Elem::I16, Scale::UNIT, [4]);
        Facts::Tensor { ty, constant: None, range, spread, unary: None }
    }

    #[test]
    fn intervals_narrow_until_something_is_rounded() {
        let mut class = facts(range(-10.0, 5.0), EXACT);
        assert_eq!(merge(&mut class, facts(range(0.0, 9.0), EXACT)), (true, true));
        assert_eq!(class.range(), Some(range(0.0, 5.0)));
        assert_eq!(merge(&mut class, facts(range(1.0, 7.0), ROUNDED)), (true, true));
        assert_eq!(class.range(), Some(range(0.0, 7.0)));
        assert_eq!(merge(&mut class, facts(range(1.0, 2.0), EXACT)), (false, true));
        assert_eq!(class.range(), Some(range(0.0, 7.0)));
    }

    #[test]
    fn intervals_do_not_grow_for_ever() {
        let mut class = facts(range(0.0, 0.0), ROUNDED);
        let grows = |class: &mut Facts| {
            let wider = class.range().unwrap().high + 1.0;
            merge(class, facts(range(0.0, wider), ROUNDED)).0
        };
        let times = (0..1000).take_while(|_| grows(&mut class)).count();
        assert_eq!((times, class.range()), (MOST_GROWN as usize + 1, Some(Range::of_elem(Elem::I16))));
    }

    #[test]
    fn sums_of_infinite_ends_have_ends() {
        let all = range(0.0, f64::INFINITY);
        let far = Range::of_elem(Elem::F32);
        for sum in [all.plus(all), all.plus(far), range(3e38, 3e38).plus(range(3e38, 3e38))].map(|sum| sum.map(rounded))
        {
            assert!(sum.low <= sum.high && sum.map(rounded) == sum.map(rounded).map(rounded), "{sum:?}");
        }
    }

    #[test]
    fn contradictions_are_noticed() {
        let [low, high] = [range(0.0, 10.0), range(100.0, 200.0)];
        assert!(facts(low, EXACT).contradict(&facts(high, EXACT)));
        assert!(!facts(low, EXACT).contradict(&facts(low, EXACT)));
        assert!(!facts(low, EXACT).contradict(&facts(high, ROUNDED)));
    }

    #[test]
    #[should_panic(expected = "two types")]
    fn types_must_agree() {
        merge(&mut facts(range(0.0, 1.0), EXACT), Facts::of(Type::f32([4])));
    }
}
