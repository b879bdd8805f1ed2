//! Prints graphs.

use crate::graph::Graph;
use std::fmt::{self, Display, Write};

/// The text of a graph; equal graphs have equal text.
pub fn print(graph: &Graph) -> String {
    graph.to_string()
}

impl Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graph @{}(", self.name)?;
        for (i, input) in self.inputs.iter().enumerate() {
            write!(f, "{}%{}: {}", if i > 0 { ", " } else { "" }, input.name, input.ty)?;
        }
        writeln!(f, ") -> {} {{", self.ty(self.output))?;
        for c in &self.consts {
            writeln!(f, "  const @{} : {}", c.name, c.ty)?;
        }
        for (id, node) in self.iter() {
            write!(f, "  {id} = {}", node.op.kind())?;
            for (i, &operand) in node.operands.iter().enumerate() {
                write!(f, "{} {}", if i > 0 { "," } else { "" }, self.value_name(operand))?;
            }
            let attrs = node.op.attrs();
            for (i, (name, attr)) in node.op.kind().attr_names().iter().zip(&attrs).enumerate() {
                write!(f, "{}{name} = {attr}", if i > 0 { ", " } else { " {" })?;
            }
            if !attrs.is_empty() {
                f.write_char('}')?;
            }
            write!(f, " : {}", node.ty)?;
            if let Some(kind) = node.approximates {
                write!(f, " approximates {kind}")?;
            }
            for (i, loc) in node.locs.iter().enumerate() {
                write!(f, "{} \"{loc}\"", if i > 0 { "," } else { " loc" })?;
            }
            f.write_char('\n')?;
        }
        writeln!(f, "  return {}", self.value_name(self.output))?;
        writeln!(f, "}}")
    }
}
