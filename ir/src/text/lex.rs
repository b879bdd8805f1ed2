//! Splits text into tokens.

use std::ops::Range;

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
    /// End of the text.
    End,
}

/// A token and its bytes.
pub(super) type Spanned<'a> = (Token<'a>, Range<usize>);

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
            Token::End => "the end of the text".into(),
        }
    }
}

/// At most 40 characters of a name that a diagnostic quotes.
pub(super) fn shortened(s: &str) -> String {
    if s.chars().count() <= 40 { s.to_owned() } else { s.chars().take(40).chain(['…']).collect() }
}

/// Whether a text is a name: not empty, of ASCII letters, digits, `_`, `.` and `-`.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(in_name)
}

/// Whether a character can stand in a name.
fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// The tokens of a text, each with its bytes; the last is [`Token::End`].
///
/// # Errors
/// What is wrong and where, at the first character that starts no token.
pub(super) fn lex(source: &str) -> Result<Vec<Spanned<'_>>, (String, Range<usize>)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        let start = at;
        let rest = &source[at + c.len_utf8()..];
        let name = |from: &str| from.find(|c| !in_name(c)).unwrap_or(from.len());
        let token = match c {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '/' if rest.starts_with('/') => {
                at += source[at..].find('\n').unwrap_or(source.len() - at);
                continue;
            }
            '-' if rest.starts_with('>') => {
                at += 2;
                Token::Arrow
            }
            '(' | ')' | '{' | '}' | '[' | ']' | '<' | '>' | ',' | ':' | '=' | '*' => {
                at += 1;
                Token::Sign(c)
            }
            '%' | '@' => {
                let end = name(rest);
                if end == 0 {
                    return Err((format!("a name must follow `{c}`"), start..start + 1));
                }
                at += 1 + end;
                if c == '%' { Token::Percent(&rest[..end]) } else { Token::At(&rest[..end]) }
            }
            '"' => {
                let end = rest.find(['"', '\n']).filter(|&i| rest[i..].starts_with('"'));
                let Some(end) = end else { return Err(("this string has no end".into(), start..start + 1)) };
                at += end + 2;
                Token::Text(&rest[..end])
            }
            c if c.is_ascii_digit() || c == '-' => {
                let bytes = source.as_bytes();
                at += 1;
                while at < bytes.len()
                    && (bytes[at].is_ascii_alphanumeric()
                        || bytes[at] == b'.'
                        || (matches!(bytes[at], b'-' | b'+') && matches!(bytes[at - 1], b'e' | b'E')))
                {
                    at += 1;
                }
                Token::Number(&source[start..at])
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                at += name(&source[at..]);
                Token::Word(&source[start..at])
            }
            other => return Err((format!("unexpected character {other:?}"), start..start + other.len_utf8())),
        };
        tokens.push((token, start..at));
    }
    tokens.push((Token::End, source.len()..source.len()));
    Ok(tokens)
}
