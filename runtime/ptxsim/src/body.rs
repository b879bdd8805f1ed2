//! The body of a kernel: what it declares, labels, statements.

use crate::{
    lex::Token,
    parse::{Operand, ParseError, Parsed, Parser, Registers, Space, Statement, Variable},
};
use std::collections::HashMap;

/// Most bytes of parameters of a kernel. (PTX ISA 8.7, section 4.4, kernel function parameters)
const MOST_PARAMS: u64 = 32764;

/// Most local memory of a thread. (CUDA C++ Programming Guide, technical specifications)
const MOST_LOCAL: u64 = 512 << 10;

/// Most registers that a declaration may name.
const MOST_REGISTERS: u64 = 1 << 24;

impl Parser {
    /// A kernel, from `.entry` on.
    pub fn entry(&mut self, globals: &HashMap<String, Variable>, mut shared: u64) -> Result<Parsed, ParseError> {
        self.at += 1;
        let name = self.word()?;
        let (mut params, mut variables, mut end) = (Vec::new(), globals.clone(), 0);
        if self.take('(') && !self.take(')') {
            loop {
                let (name, mut variable, _) = self.variable()?;
                if variable.space != Space::Param {
                    return self.fail("a parameter expected");
                }
                (variable.offset, end) = self.place(end, &variable)?;
                params.push((variable.offset, variable.size));
                // A parameter hides a variable of the module.
                variables.insert(name, variable);
                if !self.take(',') {
                    break;
                }
            }
            self.expect(')')?;
        }
        if end > MOST_PARAMS {
            return self.fail("the parameters are too large");
        }
        let (reqntid, most_threads) = self.attributes()?;
        let mut kernel = Parsed {
            name,
            params,
            reqntid,
            most_threads,
            registers: Registers::default(),
            variables,
            local: 0,
            shared: 0,
            statements: Vec::new(),
            labels: HashMap::new(),
            tables: HashMap::new(),
        };
        self.expect('{')?;
        let mut depth = 1;
        while depth > 0 {
            if self.take('{') {
                depth += 1;
            } else if self.take('}') {
                depth -= 1;
            } else {
                self.item(&mut kernel, &mut shared)?;
            }
        }
        if kernel.local > MOST_LOCAL {
            return self.fail("the local variables are too large");
        }
        // What the launch adds comes after all else.
        let dynamic = kernel.variables.values_mut().filter(|variable| variable.dynamic);
        let dynamic: Vec<&mut Variable> = dynamic.collect();
        shared = dynamic.iter().fold(shared, |end, variable| end.next_multiple_of(variable.offset));
        dynamic.into_iter().for_each(|variable| variable.offset = shared);
        kernel.shared = shared;
        Ok(kernel)
    }

    /// What is between parameters and body: the block that the kernel demands, and most threads of one.
    fn attributes(&mut self) -> Result<(Option<[u32; 3]>, Option<u64>), ParseError> {
        let (mut reqntid, mut most) = (None, None);
        while !self.is('{') {
            let word = self.word()?;
            if !matches!(&*word, ".reqntid" | ".maxntid" | ".minnctapersm" | ".maxnreg") {
                return self.fail(&format!("{word} is not known here"));
            }
            let mut values = vec![self.int()?];
            while self.take(',') {
                values.push(self.int()?);
            }
            if word == ".maxntid" {
                most = Some(values.iter().fold(1, |all: u64, &n| all.saturating_mul(n)));
            }
            if word == ".reqntid" {
                if values.len() > 3 {
                    return self.fail("a block has three dimensions");
                }
                let dim = |i: usize| values.get(i).map_or(Ok(1), |&n| u32::try_from(n));
                let (Ok(x), Ok(y), Ok(z)) = (dim(0), dim(1), dim(2)) else {
                    return self.fail("the block is too large");
                };
                reqntid = Some([x, y, z]);
            }
        }
        Ok((reqntid, most))
    }

    /// A declaration, a label or a statement.
    fn item(&mut self, kernel: &mut Parsed, shared: &mut u64) -> Result<(), ParseError> {
        let colon = matches!(self.tokens.get(self.at + 1), Some((_, Token::Punct(':'))));
        match self.peek().cloned() {
            None => self.fail("the kernel does not end"),
            Some((_, Token::Word(word))) if word.starts_with('.') => match &*word {
                ".reg" => self.registers(&mut kernel.registers),
                ".local" | ".shared" => {
                    let (name, mut variable, _) = self.variable()?;
                    if !variable.dynamic {
                        let end = if variable.space == Space::Local { &mut kernel.local } else { shared };
                        (variable.offset, *end) = self.place(*end, &variable)?;
                    }
                    self.declare(&mut kernel.variables, name, variable)
                }
                ".loc" | ".pragma" | ".file" => {
                    self.skip_line();
                    Ok(())
                }
                _ => self.fail(&format!("{word} is not known here")),
            },
            Some((_, Token::Word(word))) if colon => {
                self.at += 2;
                let twice = if self.take_word(".branchtargets") {
                    let mut targets = vec![self.word()?];
                    while self.take(',') {
                        targets.push(self.word()?);
                    }
                    self.expect(';')?;
                    kernel.tables.insert(word.clone(), targets).is_some()
                } else {
                    kernel.labels.insert(word.clone(), kernel.statements.len()).is_some()
                };
                // Labels of inner blocks are not told apart here.
                if twice { self.fail(&format!("the label {word} is there twice")) } else { Ok(()) }
            }
            Some(_) => {
                let statement = self.statement()?;
                kernel.statements.push(statement);
                Ok(())
            }
        }
    }

    /// `.reg .b32 %r<10>, %x;`
    fn registers(&mut self, registers: &mut Registers) -> Result<(), ParseError> {
        self.at += 1;
        let ty = self.word()?;
        let ty = ty.trim_start_matches('.');
        if ty != "pred" && crate::parse::size_of(ty).is_none() {
            return self.fail(&format!("the type {ty} is not known"));
        }
        loop {
            let name = self.word()?;
            let count = if self.take('<') {
                let count = self.int()?;
                self.expect('>')?;
                Some(count)
            } else {
                None
            };
            if count.is_some_and(|count| count > MOST_REGISTERS) {
                return self.fail(&format!("there are too many registers {name}"));
            }
            if !registers.declare(name.clone(), count, ty) {
                // Inner blocks are not told apart here.
                return self.fail(&format!("{name} is declared with two types"));
            }
            if !self.take(',') {
                return self.expect(';');
            }
        }
    }

    fn statement(&mut self) -> Result<Statement, ParseError> {
        let line = self.line();
        let guard = if self.take('@') {
            let negated = self.take('!');
            Some((self.word()?, negated))
        } else {
            None
        };
        let opcode = self.word()?.split('.').map(str::to_owned).collect();
        let mut operands = Vec::new();
        if !self.take(';') {
            loop {
                operands.push(self.operand()?);
                if !self.take(',') {
                    break;
                }
            }
            self.expect(';')?;
        }
        Ok(Statement { line, guard, opcode, operands })
    }

    fn operand(&mut self) -> Result<Operand, ParseError> {
        if self.take('{') {
            let mut list = vec![self.simple()?];
            while self.take(',') {
                list.push(self.simple()?);
            }
            self.expect('}')?;
            return Ok(Operand::List(list));
        }
        if self.take('[') {
            let base = self.simple()?;
            let mut offset = 0i64;
            while self.is('+') || self.is('-') {
                let plus = self.take('+');
                let negative = self.take('-');
                debug_assert!(plus || negative);
                let value = self.int()? as i64;
                offset = offset.wrapping_add(if negative { value.wrapping_neg() } else { value });
            }
            self.expect(']')?;
            return Ok(Operand::Address(Box::new(base), offset));
        }
        self.simple()
    }

    /// An operand without others in it.
    fn simple(&mut self) -> Result<Operand, ParseError> {
        if self.take('!') {
            return Ok(Operand::Not(self.word()?));
        }
        let negative = self.take('-');
        let Some((_, token)) = self.peek().cloned() else { return self.fail("an operand expected") };
        let operand = match token {
            Token::Int(value) => Operand::Int(if negative { -i128::from(value) } else { value.into() }),
            Token::F32(bits) => Operand::F32(bits ^ (u32::from(negative) << 31)),
            Token::F64(bits) => Operand::F64(bits ^ (u64::from(negative) << 63)),
            Token::Word(_) if negative => return self.fail("a number expected"),
            Token::Word(word) if word == "_" && !self.is_pair() => Operand::Sink,
            Token::Word(word) if self.is_pair() => {
                self.at += 2;
                let second = self.word()?;
                return Ok(Operand::Pair(word, second));
            }
            Token::Word(word) if word.starts_with('%') && !is_special(&word) => Operand::Reg(word),
            Token::Word(word) => Operand::Name(word),
            _ => return self.fail("an operand expected"),
        };
        self.at += 1;
        Ok(operand)
    }

    /// Whether the word here is the first of `p|q`.
    fn is_pair(&self) -> bool {
        matches!(self.tokens.get(self.at + 1), Some((_, Token::Punct('|'))))
    }
}

/// Registers that the machine sets. (PTX ISA 8.7, chapter 10)
fn is_special(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or_default();
    matches!(
        base,
        "%tid"
            | "%ntid"
            | "%ctaid"
            | "%nctaid"
            | "%laneid"
            | "%warpid"
            | "%nwarpid"
            | "%smid"
            | "%nsmid"
            | "%gridid"
            | "%lanemask_eq"
            | "%lanemask_lt"
            | "%lanemask_le"
            | "%lanemask_gt"
            | "%lanemask_ge"
            | "%clock"
            | "%clock64"
            | "%globaltimer"
            | "%dynamic_smem_size"
            | "%total_smem_size"
    )
}
