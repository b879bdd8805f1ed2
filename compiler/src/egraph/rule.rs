//! Rewrite rules: rows of tables, and what applies them.

use super::{
    facts::{Facts, Range, Unary, computed, infer_from, op_of},
    lang::{Constants, ENode, SwinGraph},
};
use egg::{Applier, ENodeOrVar, Id, Language, Pattern, PatternAst, Rewrite, Subst, Symbol, Var};
use std::{fmt, sync::Arc};
use swint_ir::{ConstId, Data, Elem, F32, Pair, Tensor, Type, graph::declare_fresh, op::Attr};

/// How far a rule changes values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Class {
    /// Same bits.
    Exact,
    /// An identity over the reals; computed values differ by at most this.
    Real(Bound),
}

/// What rounding may do to a result.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// This many steps of an integer result.
    Steps(i32),
    /// Two steps of the sum, and what either operand, in its units, exceeds 16 bits by: operands saturate before they are added.
    Residual,
    /// A step of the result; `N·2^-15` for a row of N, of whose terms each is cut off at 15 bits; `e^δ − 1`, where δ is `2^-20` of the
    /// largest score: scores are no floats before they are subtracted, and rounded when they become some; and `e^(−2^31·s)`, s the
    /// scores' scale, where some are `2^31` units apart, which is as far as distances go.
    Scores,
    /// `2·K + 4` float roundings, each of the largest partial sum: what making and adding K products in `f32` loses.
    Accumulation,
    /// Half a step of the accumulator beside float rounding of the larger operand.
    HalfStep,
    /// The sign of a zero.
    Zeros,
    /// A step of the result, one unit of the normalised value, which has 10 bits of fraction, times γ, and half a unit of γ's 16
    /// bits times the largest normalised value, √C. Also γ times what a normalised value exceeds 32 by, where it stops (of more
    /// than 1025 channels only), and what a LayerNorm in floats loses to rounding mean and variance.
    Norm,
    /// Half a step of the scores each for bias and mask, beside float rounding of the largest operand.
    ScoreBias,
    /// A step of the result, and one unit of 2^-15.
    Unit,
    /// Half a unit of the head's scale times the score, and what the score exceeds 32767 units by times the scale; beside float
    /// rounding of the result.
    HeadScale,
}

/// One row of a rule table: `lhs ⇒ rhs` where `when` holds.
pub struct Rule {
    /// Unique name.
    pub name: String,
    /// How far it changes values.
    pub class: Class,
    /// What is matched.
    pub lhs: String,
    /// What becomes equal to it. May use variables that `when` binds.
    pub rhs: String,
    /// The side condition. It fails closed: what it cannot decide is `false`.
    pub when: fn(&mut Match<'_>) -> bool,
}

impl Rule {
    /// A row without a side condition.
    pub fn new(name: impl Into<String>, class: Class, lhs: impl Into<String>, rhs: impl Into<String>) -> Rule {
        Rule { name: name.into(), class, lhs: lhs.into(), rhs: rhs.into(), when: |_| true }
    }

    /// The same row with a side condition.
    pub fn when(self, when: fn(&mut Match<'_>) -> bool) -> Rule {
        Rule { when, ..self }
    }

    /// The rule as egg runs it.
    ///
    /// # Panics
    /// When a side is no pattern; a test walks every table.
    pub fn to_rewrite(&self) -> Rewrite<ENode, Constants> {
        let pattern =
            |side: &str| -> Pattern<ENode> { side.parse().unwrap_or_else(|e| panic!("{}: {e:?}", self.name)) };
        let (lhs, rhs) = (pattern(&self.lhs), pattern(&self.rhs));
        let applier = Guarded { rhs, when: self.when, class: self.class };
        Rewrite::new(self.name.as_str(), lhs, applier).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} => {}", self.name, self.lhs, self.rhs)
    }
}

/// A match of a rule's left side, as its side condition sees it. Variables are named without the question mark.
pub struct Match<'a> {
    egraph: &'a mut SwinGraph,
    /// The class of what matched.
    class: Id,
    subst: Subst,
}

fn variable(name: &str) -> Var {
    format!("?{name}").parse().expect("a variable's name")
}

impl Match<'_> {
    fn facts(&self, name: &str) -> Option<&Facts> {
        self.subst.get(variable(name)).map(|&id| &self.egraph[id].data)
    }

    /// The type of a tensor.
    pub fn ty(&self, name: &str) -> Option<&Type> {
        self.facts(name)?.ty()
    }

    /// The value of an element-type attribute.
    pub fn elem(&self, name: &str) -> Option<Elem> {
        if let Facts::Attr(Attr::Elem(elem)) = self.facts(name)? { Some(*elem) } else { None }
    }

    /// The value of an integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        if let Facts::Attr(Attr::Int(value)) = self.facts(name)? { Some(*value) } else { None }
    }

    /// The value of a count.
    pub fn count(&self, name: &str) -> Option<usize> {
        usize::try_from(self.int(name)?).ok()
    }

    /// The value of an attribute for each axis of an image.
    pub fn pair(&self, name: &str) -> Option<Pair<i64>> {
        match self.facts(name)? {
            Facts::Attr(Attr::Int(value)) => Some((*value).into()),
            Facts::Attr(Attr::Ints(values)) => values.first_chunk().map(|&[rows, columns]| Pair::new(rows, columns)),
            _ => None,
        }
    }

    /// The value of a float attribute.
    pub fn float(&self, name: &str) -> Option<F32> {
        if let Facts::Attr(Attr::F32(value)) = self.facts(name)? { Some(*value) } else { None }
    }

    /// The name and value of a constant.
    pub fn constant(&self, name: &str) -> Option<(Arc<str>, Arc<Tensor>)> {
        let Facts::Tensor { constant: Some(c), .. } = self.facts(name)? else { return None };
        let decl = &self.egraph.analysis.decls[c.index()];
        Some((decl.name.clone(), self.egraph.analysis.weights.get(&decl.name)?.clone()))
    }

    /// Where a tensor's values lie.
    pub fn range(&self, name: &str) -> Option<Range> {
        self.facts(name)?.range()
    }

    /// The type of what matched.
    pub fn root_ty(&self) -> Option<&Type> {
        self.class_ty(self.class)
    }

    /// The type of a class.
    pub fn class_ty(&self, class: Id) -> Option<&Type> {
        self.egraph[class].data.ty()
    }

    /// What matched as a function of bytes.
    pub fn root_unary(&self) -> Option<Unary> {
        self.unary_of(&self.egraph[self.class].data)
    }

    /// A tensor as a function of bytes.
    pub fn unary(&self, name: &str) -> Option<Unary> {
        self.unary_of(self.facts(name)?)
    }

    fn unary_of(&self, facts: &Facts) -> Option<Unary> {
        let Facts::Tensor { unary: Some(unary), .. } = facts else { return None };
        Some(Unary { of: self.egraph.find(unary.of), ..unary.clone() })
    }

    /// The constants' values.
    pub fn weights(&self) -> &swint_ir::Weights {
        &self.egraph.analysis.weights
    }

    /// Binds a variable to an attribute; `true`.
    pub fn bind_attr(&mut self, name: &str, attr: Attr) -> bool {
        let id = self.egraph.add(ENode::Attr(attr));
        self.subst.insert(variable(name), id);
        true
    }

    /// Binds a variable to a class.
    pub fn bind_class(&mut self, name: &str, class: Id) {
        self.subst.insert(variable(name), self.egraph.find(class));
    }

    /// Binds a variable to a constant, made if there is none of this type and value. Its name starts with `stem`.
    pub fn bind_constant(&mut self, name: &str, stem: &str, ty: Type, data: Data) {
        let index = self.fresh(stem, ty, data);
        let id = self.egraph.add(ENode::Const(ConstId(index as u32)));
        self.subst.insert(variable(name), id);
    }

    /// Makes a constant for a type to name as its channel scales, as [`Match::bind_constant`] does; gives its name.
    pub fn declare(&mut self, stem: &str, ty: Type, data: Data) -> Arc<str> {
        let index = self.fresh(stem, ty, data);
        self.egraph.analysis.decls[index].name.clone()
    }

    fn fresh(&mut self, stem: &str, ty: Type, data: Data) -> usize {
        let Constants { decls, weights, .. } = &mut self.egraph.analysis;
        let tensor = Tensor::new(ty.shape.clone(), data);
        declare_fresh(decls, weights, stem, ty, tensor)
    }
}

/// Applies a right side where the condition holds and the result is well typed, of the class's own type.
struct Guarded {
    rhs: Pattern<ENode>,
    when: fn(&mut Match<'_>) -> bool,
    class: Class,
}

impl Applier<ENode, Constants> for Guarded {
    /// # Panics
    /// When the rule is exact, and the intervals of both sides exclude each other: it is wrong.
    fn apply_one(
        &self,
        egraph: &mut SwinGraph,
        class: Id,
        subst: &Subst,
        searcher: Option<&PatternAst<ENode>>,
        rule: Symbol,
    ) -> Vec<Id> {
        let mut matched = Match { egraph, class, subst: subst.clone() };
        if !(self.when)(&mut matched) {
            return Vec::new();
        }
        let Match { egraph, subst, .. } = matched;
        // Where something was rounded, no interval contradicts another: they need not be known.
        let exact = self.class == Class::Exact && egraph[class].data.rounded().is_some();
        let facts = pattern_facts(&self.rhs.ast, egraph, &subst, exact);
        let Some(facts) = facts.filter(|facts| facts.ty() == egraph[class].data.ty()) else { return Vec::new() };
        match self.class {
            Class::Exact => assert!(
                !egraph[class].data.contradict(&facts),
                "{rule} is wrong: values in {:?} and in {:?}",
                egraph[class].data.range(),
                facts.range()
            ),
            // No interval excludes a zero for its sign.
            Class::Real(Bound::Zeros) => {}
            Class::Real(_) => {
                // Both sides: egg may add the left one anew for an explanation, as a class that says nothing of this one.
                let right = egraph.add_instantiation(&self.rhs.ast, &subst);
                for id in [class, right] {
                    if let Some(rounded) = egraph[id].data.rounded() {
                        egraph.set_analysis_data(id, rounded);
                    }
                }
            }
        }
        self.rhs.apply_one(egraph, class, &subst, searcher, rule)
    }
}

/// The facts of a pattern's root under a substitution, with intervals or only types; `None` where it is not well typed, channel scales
/// included.
fn pattern_facts(ast: &PatternAst<ENode>, egraph: &SwinGraph, subst: &Subst, intervals: bool) -> Option<Facts> {
    let mut all: Vec<Facts> = Vec::new();
    for node in ast.as_ref() {
        let facts = match node {
            ENodeOrVar::Var(var) => egraph[*subst.get(*var)?].data.clone(),
            ENodeOrVar::ENode(ENode::Attr(attr)) => Facts::Attr(attr.clone()),
            ENodeOrVar::ENode(node @ ENode::Op(kind, _)) => {
                let (op, operands) = op_of(*kind, node.children().iter().map(|&c| &all[usize::from(c)])).ok()?;
                let ty = infer_from(&op, &operands).ok()?;
                if !egraph.analysis.weights.scales_in_bounds(&ty) {
                    return None;
                }
                if intervals { computed(&op, &operands, ty, &egraph.analysis) } else { Facts::of(ty) }
            }
            ENodeOrVar::ENode(_) => return None,
        };
        all.push(facts);
    }
    all.pop()
}
