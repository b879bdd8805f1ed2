//! Texts that diagnostics show.

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// A named text. Diagnostics show whole lines of it, but of a very long line only the part around the place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    name: String,
    text: String,
}

/// Longest stretch that is shown around a place without a cut.
const SHOWN: usize = 4096;

/// Bytes shown before and after a place in a line that is cut.
const AROUND: usize = 60;

impl Source {
    /// A text; `name` is that of its file.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column (in characters) of a byte, from 1.
    pub fn line_column(&self, at: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
        (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
    }

    /// The byte at a line and a column in bytes, both from 1, as serde_json counts them; the text's end where it has none there.
    pub fn offset(&self, line: usize, column: usize) -> usize {
        let lines = self.text.split_inclusive('\n').take(line.saturating_sub(1));
        (lines.map(str::len).sum::<usize>() + column.saturating_sub(1)).min(self.text.len())
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, lines_before, lines_after)?;
        let (data, line, column, count, shown) = if contents.data().len() <= SHOWN {
            // Without lines before it, the contents start at the place; miette counts its column in bytes.
            let column = if lines_before == 0 { self.line_column(span.offset()).1 - 1 } else { 0 };
            (contents.data(), contents.line(), column, contents.line_count(), *contents.span())
        } else {
            // A window on the line of the span's first byte.
            let (line, column) = self.line_column(span.offset());
            let line_start = self.text[..span.offset()].rfind('\n').map_or(0, |i| i + 1);
            let start = self.text.floor_char_boundary(span.offset().saturating_sub(AROUND).max(line_start));
            let wanted =
                self.text.floor_char_boundary((span.offset() + span.len().min(AROUND) + AROUND).min(self.text.len()));
            let line_end = self.text[span.offset()..wanted].find('\n').map_or(wanted, |i| span.offset() + i);
            let column = column - 1 - self.text[start..span.offset()].chars().count();
            (&self.text.as_bytes()[start..line_end], line - 1, column, 1, (start..line_end).into())
        };
        let contents = MietteSpanContents::new_named(self.name.clone(), data, shown, line, column, count);
        Ok(Box::new(contents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let source = Source::new("long.ir", format!("first\n{}é@{}\nlast", "é".repeat(100_000), "b".repeat(100_000)));
        let at = source.text().find('@').unwrap();
        let contents = source.read_span(&(at, 1).into(), 1, 1).unwrap();
        assert!(contents.data().len() < 200, "{}", contents.data().len());
        assert!(std::str::from_utf8(contents.data()).unwrap().contains("é@b"));
        assert_eq!(contents.line(), 1);
        assert_eq!(source.line_column(at), (2, 100_002));
        // The column of what is shown, plus the characters before the place.
        let before = source.text()[contents.span().offset()..at].chars().count();
        assert_eq!(contents.column() + before + 1, 100_002);
    }

    #[test]
    fn short_lines_are_shown_with_their_neighbours() {
        let source = Source::new("short.ir", "one\ntwo\nthree\n");
        let contents = source.read_span(&(4, 3).into(), 1, 1).unwrap();
        assert_eq!(contents.data(), b"one\ntwo\nthree\n");
        assert_eq!(source.line_column(5), (2, 2));
        assert_eq!([(1, 1), (2, 2), (3, 9), (9, 1)].map(|(line, column)| source.offset(line, column)), [0, 5, 14, 14]);
    }
}
