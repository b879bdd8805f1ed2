//! Splits text into tokens, one at a time.

use crate::diagnostic::{Code, Span};

/// What a token is; texts are slices of the source.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Token<'a> {
    /// A keyword, op, attribute or element name.
    Word(&'a str),
    /// `%name` or `%12`, without the sigil.
    Percent(&'a str),
    /// `@name`, without the sigil.
    At(&'a str),
    /// A number, sign and exponent included.
    Number(&'a str),
    /// A string, without the quotes.
    Text(&'a str),
    /// Any of `( ) { } [ ] < > , : = *`.
    Sign(char),
    /// `->`.
    Arrow,
    /// Characters that make no token, with what is wrong with them.
    Bad(Code, char),
    /// End of the text.
    End,
}

/// A token and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spanned<'a> {
    pub token: Token<'a>,
    pub span: Span,
    /// Whether nothing but space stands before it on its line.
    pub first_on_line: bool,
}

impl Token<'_> {
    /// How a diagnostic names the token.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Word(s) | Token::Number(s) => format!("`{}`", shortened(s)),
            Token::Percent(s) => format!("`%{}`", shortened(s)),
            Token::At(s) => format!("`@{}`", shortened(s)),
            Token::Text(_) => "a string".into(),
            Token::Sign(c) => format!("`{c}`"),
            Token::Arrow => "`->`".into(),
            Token::Bad(_, c) => format!("{c:?}"),
            Token::End => "the end of the text".into(),
        }
    }
}

/// At most 40 characters of a name that a diagnostic quotes.
pub(super) fn shortened(s: &str) -> String {
    match s.char_indices().nth(40) {
        None => s.to_owned(),
        Some((end, _)) => format!("{}…", &s[..end]),
    }
}

/// Whether a text is a name: not empty, of ASCII letters, digits, `_`, `.` and `-`.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(in_name)
}

/// Whether a character can stand in a name.
fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// The tokens of a text. After the last comes [`Token::End`], for ever.
pub(super) struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// Where the last token ended: where a text breaks off that ends too early.
    end: usize,
    first_on_line: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a str) -> Lexer<'a> {
        Lexer { source, at: 0, end: 0, first_on_line: true }
    }

    /// Skips space and comments.
    fn skip_blank(&mut self) {
        while let Some(c) = self.source[self.at..].chars().next() {
            let rest = &self.source[self.at..];
            if c.is_whitespace() {
                self.first_on_line |= c == '\n';
                self.at += c.len_utf8();
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else {
                return;
            }
        }
    }

    /// The next token.
    pub(super) fn advance(&mut self) -> Spanned<'a> {
        self.skip_blank();
        let (start, first_on_line) = (self.at, self.first_on_line);
        self.first_on_line = false;
        let (token, length) = token(&self.source[start..]);
        if token == Token::End {
            return Spanned { token, span: (self.end..self.end).into(), first_on_line };
        }
        self.at += length;
        self.end = self.at;
        Spanned { token, span: (start..self.at).into(), first_on_line }
    }
}

/// The token at the start of a text, and its length in bytes.
fn token(source: &str) -> (Token<'_>, usize) {
    let Some(c) = source.chars().next() else { return (Token::End, 0) };
    let rest = &source[c.len_utf8()..];
    let name = |from: &str| from.find(|c| !in_name(c)).unwrap_or(from.len());
    // `größe` is no `gr` with something after it.
    let beyond_ascii = |end: usize| source[end..].chars().next().filter(|c| !c.is_ascii() && c.is_alphanumeric());
    match c {
        '-' if rest.starts_with('>') => (Token::Arrow, 2),
        '(' | ')' | '{' | '}' | '[' | ']' | '<' | '>' | ',' | ':' | '=' | '*' => (Token::Sign(c), 1),
        '%' | '@' => match name(rest) {
            0 => (Token::Bad(Code::UnexpectedCharacter, c), 1),
            end if let Some(bad) = beyond_ascii(1 + end) => {
                (Token::Bad(Code::UnexpectedCharacter, bad), 1 + end + bad.len_utf8())
            }
            end if c == '%' => (Token::Percent(&rest[..end]), 1 + end),
            end => (Token::At(&rest[..end]), 1 + end),
        },
        '"' => match rest.find(['"', '\n']) {
            Some(end) if rest[end..].starts_with('"') => (Token::Text(&rest[..end]), end + 2),
            end => (Token::Bad(Code::UnterminatedString, c), 1 + end.unwrap_or(rest.len())),
        },
        c if c.is_ascii_digit() || c == '-' => {
            let bytes = source.as_bytes();
            let in_number = |i: usize| {
                bytes[i].is_ascii_alphanumeric()
                    || bytes[i] == b'.'
                    || (matches!(bytes[i], b'-' | b'+') && matches!(bytes[i - 1], b'e' | b'E'))
            };
            let end = (1..bytes.len()).find(|&i| !in_number(i)).unwrap_or(bytes.len());
            (Token::Number(&source[..end]), end)
        }
        c if c.is_ascii_alphabetic() || c == '_' => {
            let end = name(source);
            match beyond_ascii(end) {
                Some(bad) => (Token::Bad(Code::UnexpectedCharacter, bad), end + bad.len_utf8()),
                None => (Token::Word(&source[..end]), end),
            }
        }
        c => (Token::Bad(Code::UnexpectedCharacter, c), c.len_utf8()),
    }
}
