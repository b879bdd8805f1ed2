//! Words of PTX text.

/// A word.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Token {
    /// A name, directive, register, label or opcode, dots and all: `ld.global.v4.b32`, `%r1`, `$L__BB0_2`, `.reg`.
    Word(String),
    /// A whole number.
    Int(u64),
    /// `0f3F800000`: the bits of an f32.
    F32(u32),
    /// `0d3FF0000000000000`: the bits of an f64.
    F64(u64),
    /// What is in quotes.
    Text(String),
    /// Anything else, a character each.
    Punct(char),
}

/// Splits text into words, each with its line, from 1. Comments are left out.
///
/// # Errors
/// At what begins no word; line and message.
pub(crate) fn lex(text: &str) -> Result<Vec<(u32, Token)>, (u32, String)> {
    let chars: Vec<char> = text.chars().collect();
    let (mut i, mut line, mut tokens) = (0, 1u32, Vec::new());
    let is_start = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$' | '%' | '.');
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%' | '.');
    while i < chars.len() {
        let (c, next) = (chars[i], chars.get(i + 1).copied());
        match c {
            '\n' => (line, i) = (line + 1, i + 1),
            _ if c.is_whitespace() => i += 1,
            '/' if next == Some('/') => {
                while i < chars.len() && chars[i] != '\n' {
                    i += 1;
                }
            }
            '/' if next == Some('*') => {
                i += 2;
                while i < chars.len() && !(chars[i] == '*' && chars.get(i + 1) == Some(&'/')) {
                    line += u32::from(chars[i] == '\n');
                    i += 1;
                }
                i += 2;
            }
            '"' => {
                let start = i + 1;
                i = start;
                while i < chars.len() && chars[i] != '"' {
                    line += u32::from(chars[i] == '\n');
                    i += 1;
                }
                tokens.push((line, Token::Text(chars[start..i].iter().collect())));
                i += 1;
            }
            _ if is_start(c) => {
                let start = i;
                // `.shared::cta` is one word; a label's colon is not its own.
                while i < chars.len() && (is_part(chars[i]) || is_colons(&chars, i)) {
                    i += if chars[i] == ':' { 2 } else { 1 };
                }
                tokens.push((line, Token::Word(chars[start..i].iter().collect())));
            }
            _ if c.is_ascii_digit() => {
                let start = i;
                while i < chars.len() && chars[i].is_ascii_alphanumeric() {
                    i += 1;
                }
                let word: String = chars[start..i].iter().collect();
                let token = number(&word).ok_or_else(|| (line, format!("{word} is no number")))?;
                tokens.push((line, token));
            }
            _ if "{}[]()<>,;:|!@+-=*".contains(c) => {
                tokens.push((line, Token::Punct(c)));
                i += 1;
            }
            _ => return Err((line, format!("unexpected character {c:?}"))),
        }
    }
    Ok(tokens)
}

fn is_colons(chars: &[char], i: usize) -> bool {
    chars[i] == ':' && chars.get(i + 1) == Some(&':')
}

fn number(word: &str) -> Option<Token> {
    let lower = word.to_ascii_lowercase();
    let digits = lower.trim_end_matches('u');
    if let Some(bits) = lower.strip_prefix("0f") {
        return (bits.len() == 8).then(|| u32::from_str_radix(bits, 16).ok().map(Token::F32))?;
    }
    if let Some(bits) = lower.strip_prefix("0d") {
        return (bits.len() == 16).then(|| u64::from_str_radix(bits, 16).ok().map(Token::F64))?;
    }
    let value = match (digits.strip_prefix("0x"), digits.strip_prefix("0b")) {
        (Some(hex), _) => u64::from_str_radix(hex, 16),
        (_, Some(binary)) => u64::from_str_radix(binary, 2),
        _ if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(&digits[1..], 8),
        _ => digits.parse(),
    };
    value.ok().map(Token::Int)
}
