//! Where everything of a graph stands in its text.

use crate::{
    diagnostic::{Source, SourceError, SourceErrors, Span},
    verify::{Place, VerifyError},
};
use std::sync::Arc;

/// Places of an input or constant.
#[derive(Clone, Copy, Debug)]
pub struct DeclSpans {
    /// Its name, with the sigil.
    pub name: Span,
    /// Its type.
    pub ty: Span,
}

/// Places of a node.
#[derive(Clone, Debug)]
pub struct NodeSpans {
    /// All of it.
    pub node: Span,
    /// The op's name.
    pub op: Span,
    /// The operands.
    pub operands: Vec<Span>,
    /// The type.
    pub ty: Span,
    /// The strings after `loc`.
    pub locs: Vec<Span>,
}

/// The places of a parsed graph, by its ids.
#[derive(Clone, Debug)]
pub struct SourceMap {
    /// The text.
    pub source: Arc<Source>,
    /// The graph's name.
    pub header: Span,
    /// Inputs.
    pub inputs: Vec<DeclSpans>,
    /// Constants.
    pub consts: Vec<DeclSpans>,
    /// Nodes.
    pub nodes: Vec<NodeSpans>,
    /// The value after `return`.
    pub output: Span,
}

impl SourceMap {
    /// The bytes of a place.
    pub fn span(&self, place: Place) -> Span {
        match place {
            Place::Graph => self.header,
            Place::Input(i) => self.inputs[i.index()].name,
            Place::InputType(i) => self.inputs[i.index()].ty,
            Place::Const(c) => self.consts[c.index()].name,
            Place::ConstType(c) => self.consts[c.index()].ty,
            Place::Op(n) => self.nodes[n.index()].op,
            Place::Operand(n, i) => self.nodes[n.index()].operands[i],
            Place::Type(n) => self.nodes[n.index()].ty,
            Place::Loc(n, i) => self.nodes[n.index()].locs[i],
            Place::Output => self.output,
        }
    }

    /// The verifier's findings, each at its place in the text.
    pub fn report(&self, error: &VerifyError) -> SourceErrors {
        let errors = (error.0.iter())
            .map(|v| {
                let at =
                    SourceError::new(&self.source, v.code, self.span(v.place), v.message.as_str(), v.label.as_str());
                at.with_help(v.help.as_ref())
            })
            .collect();
        SourceErrors::new(&self.source, errors)
    }
}
