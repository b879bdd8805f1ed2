//! Diagnostics: what is wrong, where, under which code, and what would be right.

mod code;
mod source;

pub use code::Code;
pub use source::Source;

use miette::{Diagnostic, LabeledSpan, SourceCode};
use std::{
    fmt::{self, Display},
    sync::Arc,
};

/// Bytes of a text, from `start` up to `end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

impl Span {
    /// From the start of this span to the end of another.
    pub fn to(self, end: Span) -> Span {
        Span { start: self.start, end: end.end.max(self.start) }
    }
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Span {
        Span { start: range.start, end: range.end }
    }
}

/// Most bytes of a text that a label marks.
const LONGEST_LABEL: usize = 80;

/// At most 400 characters of what a message says; it may quote from the text.
fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(400) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// One thing that is wrong at a place of a text: an IR text, a model description.
#[derive(Clone, Debug)]
pub struct SourceError {
    /// Its code.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The places, the one in question first, each with what is to be said of it.
    labels: Vec<LabeledSpan>,
    source: Arc<Source>,
}

impl SourceError {
    /// An error at bytes of a text; `label` says what is there.
    pub fn new(
        source: &Arc<Source>,
        code: Code,
        span: impl Into<Span>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> SourceError {
        let error = SourceError {
            code,
            message: shortened(message.into()),
            help: None,
            labels: Vec::new(),
            source: source.clone(),
        };
        error.with_label(span, label)
    }

    /// The error with another place that helps to understand it.
    pub fn with_label(mut self, span: impl Into<Span>, label: impl Into<String>) -> SourceError {
        let Span { start, end } = span.into();
        let text = self.source.text();
        // Nothing can be marked behind the last character; so mark that.
        let (start, end) = match text.char_indices().next_back() {
            Some((last, _)) if start >= text.len() => (last, text.len()),
            _ => (start, end),
        };
        // Of something very long, the start is enough.
        let end = text.floor_char_boundary(end.min(start + LONGEST_LABEL)).max(start);
        self.labels.push(LabeledSpan::new(Some(shortened(label.into())), start, end - start));
        self
    }

    /// The error with a hint, if there is one.
    pub fn with_help(mut self, help: Option<impl Into<String>>) -> SourceError {
        self.help = help.map(Into::into);
        self
    }

    /// The bytes in question.
    pub fn span(&self) -> Span {
        (self.labels[0].offset()..self.labels[0].offset() + self.labels[0].len()).into()
    }

    /// Line and column (in characters) of the error, from 1.
    pub fn line_column(&self) -> (usize, usize) {
        self.source.line_column(self.span().start)
    }
}

impl Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SourceError {}

impl Diagnostic for SourceError {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// Everything that is wrong with a text, in the order of its places.
#[derive(Clone, Debug)]
pub struct SourceErrors {
    /// The file's name.
    pub file: Arc<str>,
    /// The errors; at least one.
    pub errors: Vec<SourceError>,
    /// Whether there were more than are listed.
    pub more: bool,
}

impl SourceErrors {
    /// Most errors that are listed of one text.
    pub const MOST: usize = 20;

    /// Errors of a text; sorts them, and keeps the first [`SourceErrors::MOST`].
    pub fn new(source: &Source, mut errors: Vec<SourceError>) -> SourceErrors {
        errors.sort_by_key(SourceError::span);
        let more = errors.len() > Self::MOST;
        errors.truncate(Self::MOST);
        SourceErrors { file: source.name().into(), errors, more }
    }

    /// The first error and its place in one line, for where the others cannot be shown.
    pub fn first(&self) -> String {
        let (line, column) = self.errors[0].line_column();
        format!("{}:{line}:{column}: {}", self.file, self.errors[0])
    }
}

impl Display for SourceErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (more, n) = (if self.more { "more than " } else { "" }, self.errors.len());
        write!(f, "{} has {more}{n} error{}", self.file, if n == 1 { "" } else { "s" })
    }
}

impl std::error::Error for SourceErrors {}

impl Diagnostic for SourceErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|e| e as &dyn Diagnostic)))
    }
}

/// The candidate that a mistyped name most resembles, as a hint.
pub fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Comparing is quadratic in the length, and a long name is not a typing mistake.
    let typed = Some(typed).filter(|t| t.len() <= 64)?;
    (candidates.into_iter().filter(|c| c.len() <= 128))
        .map(|c| (strsim::jaro_winkler(typed, c), c))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)))
        .map(|(_, c)| format!("did you mean `{c}`?"))
}
