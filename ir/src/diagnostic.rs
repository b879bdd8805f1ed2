//! Errors that point at a place in a text.

use miette::{Diagnostic, NamedSource, SourceSpan};
use std::{ops::Range, sync::Arc};

/// What is wrong at a place of a text file: an IR text, a model description.
#[derive(Debug, Clone, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct SourceError {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    #[help]
    pub help: Option<String>,
    /// The text.
    #[source_code]
    pub source_code: NamedSource<Arc<str>>,
    /// The bytes in question.
    #[label("here")]
    pub span: SourceSpan,
}

impl SourceError {
    /// An error at bytes of a text; `file` names the text.
    pub fn new(file: &str, source: &str, span: Range<usize>, message: impl Into<String>) -> SourceError {
        let source_code = NamedSource::new(file, Arc::from(source));
        SourceError { message: message.into(), help: None, source_code, span: span.into() }
    }

    /// Line and column of the error, from 1.
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.source_code.inner()[..self.span.offset()];
        let line = before.matches('\n').count() + 1;
        (line, before.rsplit('\n').next().unwrap_or("").chars().count() + 1)
    }
}
