//! PTX text to statements: what a module declares, and its kernels with operands as written (`body`).
//!
//! (PTX ISA 8.7, chapters 4 and 5.)

use crate::lex::{Token, lex};
use std::collections::HashMap;

/// Why text is no PTX that can be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("PTX line {line}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// A place where variables are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Space {
    Generic,
    Global,
    Shared,
    Local,
    Param,
    Const,
}

/// An operand as written.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Operand {
    Reg(String),
    /// `!%p1`
    Not(String),
    Int(i128),
    F32(u32),
    F64(u64),
    /// A label, a variable, a special register, or a register without `%`.
    Name(String),
    /// `{a, b}`
    List(Vec<Operand>),
    /// `[base + offset]`
    Address(Box<Operand>, i64),
    /// `p|q`
    Pair(String, String),
    /// `_`: the result is not wanted.
    Sink,
}

/// An instruction as written.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Statement {
    pub line: u32,
    /// The predicate that guards it, and whether it is negated.
    pub guard: Option<(String, bool)>,
    /// Its name, split at dots.
    pub opcode: Vec<String>,
    pub operands: Vec<Operand>,
}

/// A variable in memory.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Variable {
    pub space: Space,
    /// Where it is; until it is placed, its alignment.
    pub offset: u64,
    pub size: u64,
    /// Whether its size comes with the launch.
    pub dynamic: bool,
}

/// Declared registers, and their types.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Registers {
    single: HashMap<String, String>,
    /// Prefix, count and type of `%r<10>`: thousands that no instruction may use are not spelled out.
    ranges: Vec<(String, u64, String)>,
}

impl Registers {
    /// Declares a register, or the first `count` of a prefix; `false` where it has another type already.
    pub fn declare(&mut self, name: String, count: Option<u64>, ty: &str) -> bool {
        let Some(count) = count else {
            let known = self.type_of(&name).is_none_or(|known| known == ty);
            self.single.insert(name, ty.to_owned());
            return known;
        };
        let known = self.ranges.iter().all(|(prefix, _, known)| *prefix != name || known == ty);
        self.ranges.push((name, count, ty.to_owned()));
        known
    }

    pub fn type_of(&self, name: &str) -> Option<&str> {
        let is_in = |(prefix, count, _): &&(String, u64, String)| {
            let number = name.strip_prefix(prefix.as_str()).filter(|n| n.len() == 1 || !n.starts_with('0'));
            number
                .filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|n| n.parse().ok())
                .is_some_and(|n: u64| n < *count)
        };
        self.single.get(name).or_else(|| self.ranges.iter().find(is_in).map(|(_, _, ty)| ty)).map(String::as_str)
    }
}

/// A kernel as written.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Parsed {
    pub name: String,
    /// Offset and size of each parameter, in order.
    pub params: Vec<(u64, u64)>,
    pub reqntid: Option<[u32; 3]>,
    pub most_threads: Option<u64>,
    pub registers: Registers,
    pub variables: HashMap<String, Variable>,
    /// Bytes that variables take.
    pub local: u64,
    pub shared: u64,
    pub statements: Vec<Statement>,
    /// Positions of labels among statements.
    pub labels: HashMap<String, usize>,
    /// Tables of labels.
    pub tables: HashMap<String, Vec<String>>,
}

/// A module as written.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Source {
    pub target: String,
    pub kernels: Vec<Parsed>,
    /// Bytes of constants that the module declares.
    pub constants: Vec<u8>,
}

pub(crate) struct Parser {
    pub tokens: Vec<(u32, Token)>,
    pub at: usize,
}

/// Most bytes of a space that one module may declare: more than any machine has, and few enough to be at hand here.
const MOST_BYTES: u64 = 64 << 20;

/// Parses a module.
pub(crate) fn parse(text: &str) -> Result<Source, ParseError> {
    let tokens = lex(text).map_err(|(line, message)| ParseError { line, message })?;
    let mut parser = Parser { tokens, at: 0 };
    let (mut source, mut globals, mut shared) = (Source::default(), HashMap::new(), 0);
    while let Some((_, token)) = parser.peek().cloned() {
        let Token::Word(word) = token else { return parser.fail("a directive expected") };
        match &*word {
            ".version" => {
                // `8.7` is read as 8 and `.7`.
                parser.at += 1;
                parser.int()?;
                parser.word()?;
            }
            ".address_size" => {
                parser.at += 1;
                parser.int()?;
            }
            ".target" => {
                parser.at += 1;
                source.target = parser.word()?;
                while parser.take(',') {
                    parser.word()?;
                }
            }
            ".file" | ".section" => parser.skip_line(),
            ".visible" | ".weak" | ".extern" => parser.at += 1,
            ".entry" => {
                let kernel = parser.entry(&globals, shared)?;
                source.kernels.push(kernel);
            }
            ".shared" | ".global" | ".const" => {
                let (name, mut variable, bytes) = parser.variable()?;
                if variable.dynamic {
                    // It comes after all others, kernel by kernel.
                } else if variable.space == Space::Shared {
                    (variable.offset, shared) = parser.place(shared, &variable)?;
                } else {
                    // Both live in one block of constants: nothing that we run writes variables of a module.
                    let (offset, end) = parser.place(source.constants.len() as u64, &variable)?;
                    (variable.space, variable.offset) = (Space::Const, offset);
                    source.constants.resize(offset as usize, 0);
                    source.constants.extend(bytes);
                    source.constants.resize(end as usize, 0);
                }
                parser.declare(&mut globals, name, variable)?;
            }
            _ => return parser.fail(&format!("{word} is not known here")),
        }
    }
    Ok(source)
}

/// Bytes of a type, from its name without dot.
pub(crate) fn size_of(ty: &str) -> Option<u64> {
    Some(match ty {
        "b8" | "u8" | "s8" => 1,
        "b16" | "u16" | "s16" | "f16" | "bf16" => 2,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" | "s16x2" | "u16x2" => 4,
        "b64" | "u64" | "s64" | "f64" => 8,
        _ => return None,
    })
}

impl Parser {
    pub fn peek(&self) -> Option<&(u32, Token)> {
        self.tokens.get(self.at)
    }

    pub fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(line, _)| *line)
    }

    pub fn fail<T>(&self, message: &str) -> Result<T, ParseError> {
        Err(ParseError { line: self.line(), message: message.to_owned() })
    }

    pub fn skip_line(&mut self) {
        let line = self.line();
        while self.peek().is_some_and(|(l, _)| *l == line) {
            self.at += 1;
        }
    }

    pub fn is(&self, c: char) -> bool {
        matches!(self.peek(), Some((_, Token::Punct(p))) if *p == c)
    }

    pub fn take(&mut self, c: char) -> bool {
        let is = self.is(c);
        self.at += usize::from(is);
        is
    }

    pub fn take_word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some((_, Token::Word(w))) if w == word);
        self.at += usize::from(is);
        is
    }

    pub fn expect(&mut self, c: char) -> Result<(), ParseError> {
        if self.take(c) { Ok(()) } else { self.fail(&format!("{c:?} expected")) }
    }

    pub fn word(&mut self) -> Result<String, ParseError> {
        let Some((_, Token::Word(word))) = self.peek().cloned() else { return self.fail("a name expected") };
        self.at += 1;
        Ok(word)
    }

    pub fn int(&mut self) -> Result<u64, ParseError> {
        let Some(&(_, Token::Int(value))) = self.peek() else { return self.fail("a whole number expected") };
        self.at += 1;
        Ok(value)
    }

    /// The offset of a variable after `end` bytes, and the new end.
    pub fn place(&self, end: u64, variable: &Variable) -> Result<(u64, u64), ParseError> {
        let offset = end.next_multiple_of(variable.offset);
        let end = offset + variable.size;
        if end > MOST_BYTES { self.fail("the variables are too large") } else { Ok((offset, end)) }
    }

    pub fn declare(
        &self,
        variables: &mut HashMap<String, Variable>,
        name: String,
        variable: Variable,
    ) -> Result<(), ParseError> {
        match variables.insert(name.clone(), variable) {
            Some(_) => self.fail(&format!("{name} is declared twice")),
            None => Ok(()),
        }
    }

    /// `.space .align N .type name[size] = {…}`: name, variable with its alignment as offset, bytes.
    pub fn variable(&mut self) -> Result<(String, Variable, Vec<u8>), ParseError> {
        let space = match &*self.word()? {
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            ".param" => Space::Param,
            ".const" => Space::Const,
            ".global" => Space::Global,
            word => return self.fail(&format!("{word} is not known here")),
        };
        let (mut align, mut element) = (None, None);
        let name = loop {
            let word = self.word()?;
            match word.strip_prefix('.') {
                Some("align") => align = Some(self.alignment()?),
                Some("ptr" | "global" | "shared" | "const" | "local") => {
                    // What a pointer points to is no matter of its own bytes.
                    if element.is_some() && self.take_word(".align") {
                        self.alignment()?;
                    }
                }
                Some(ty) => match size_of(ty) {
                    Some(size) => element = Some(size),
                    None => return self.fail(&format!("the type {word} is not known")),
                },
                None => break word,
            }
        };
        let Some(element) = element else { return self.fail("a type expected") };
        let (mut size, mut dynamic) = (element, false);
        while self.take('[') {
            if self.is(']') && space == Space::Shared {
                dynamic = true;
            } else {
                size = size.saturating_mul(self.int()?);
            }
            self.expect(']')?;
        }
        if size > MOST_BYTES {
            return self.fail(&format!("{name} is too large"));
        }
        let mut bytes = Vec::new();
        if matches!(space, Space::Global | Space::Const) && self.take('=') {
            let braced = self.take('{');
            while !self.is('}') && !self.is(';') {
                bytes.extend(&self.initial()?.to_le_bytes()[..element as usize]);
                self.take(',');
            }
            if braced {
                self.expect('}')?;
            }
            if bytes.len() as u64 > size {
                return self.fail(&format!("{name} has more values than room"));
            }
        }
        if space != Space::Param {
            self.expect(';')?;
        }
        let size = if dynamic { 0 } else { size };
        Ok((name, Variable { space, offset: align.unwrap_or(element), size, dynamic }, bytes))
    }

    fn alignment(&mut self) -> Result<u64, ParseError> {
        let value = self.int()?;
        let fits = value.is_power_of_two() && value <= 1 << 16;
        if fits { Ok(value) } else { self.fail(&format!("{value} is no alignment")) }
    }

    /// A value that a variable has at first.
    fn initial(&mut self) -> Result<u64, ParseError> {
        let negative = self.take('-');
        let value = match self.peek() {
            Some((_, Token::F32(bits))) => u64::from(*bits) ^ u64::from(negative) << 31,
            Some((_, Token::F64(bits))) => bits ^ u64::from(negative) << 63,
            Some((_, Token::Int(value))) if negative => value.wrapping_neg(),
            Some((_, Token::Int(value))) => *value,
            _ => return self.fail("a number expected"),
        };
        self.at += 1;
        Ok(value)
    }
}
