//! The text form: `parse(print(g)) == g`.
//!
//! ```text
#![doc = include_str!("grammar.txt")]
//! ```

mod lex;
mod parse;
mod print;
mod spans;

pub use lex::is_name;
pub use parse::parse;
pub use print::print;
pub use spans::{DeclSpans, NodeSpans, SourceMap};

use crate::{
    diagnostic::{Source, SourceErrors},
    graph::Graph,
    verify,
};
use std::sync::Arc;

/// The grammar of the text form, as the documentation shows it.
pub const GRAMMAR: &str = include_str!("grammar.txt");

/// Parses a graph and verifies it; `file` names the text in errors.
///
/// # Errors
/// Everything that is wrong with the syntax, or else everything that is wrong with the graph.
pub fn read(file: &str, text: &str) -> Result<(Graph, SourceMap), SourceErrors> {
    let (graph, map) = parse(&Arc::new(Source::new(file, text)))?;
    match verify(&graph) {
        Ok(()) => Ok((graph, map)),
        Err(error) => Err(map.report(&error)),
    }
}

#[cfg(test)]
mod tests;
