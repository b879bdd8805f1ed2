//! The body of a kernel: its statements, and which addresses are those of constants.

use std::collections::HashMap;

/// What opcodes begin with that compute registers from registers, in a lane or a warp, and do nothing else.
const OF_REGISTERS: [&str; 35] = [
    "abs",
    "activemask",
    "add",
    "and",
    "bfe",
    "bfi",
    "clz",
    "cvt",
    "cvta",
    "div",
    "fma",
    "lop3",
    "mad",
    "max",
    "min",
    "mma",
    "mov",
    "mul",
    "neg",
    "not",
    "or",
    "popc",
    "prmt",
    "rcp",
    "rem",
    "selp",
    "setp",
    "shf",
    "shfl",
    "shl",
    "shr",
    "sqrt",
    "sub",
    "vote",
    "xor",
];

/// Where a value may come from, as a set: from no buffer, from the address of a constant, from anything else.
type Origins = u8;
const NO_BUFFER: Origins = 0;
const CONSTANT: Origins = 1;
const OTHER: Origins = 2;

/// A label or an instruction.
struct Statement {
    /// The line that it begins in.
    line: usize,
    /// Without guard.
    text: String,
}

impl Statement {
    fn opcode(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or_default()
    }

    /// The registers that it sets, and what it sets them from; as in `add.s64 %rd3, %rd1, %rd2`, `ld.global.v2.b32 {%r1, %r2}, [%rd3]`.
    fn operands(&self) -> (&str, &str) {
        let operands = self.text[self.opcode().len()..].trim_start();
        let end = match operands.chars().next() {
            Some('{') => operands.find('}'),
            Some('[') => Some(0),
            _ => operands.find(','),
        };
        operands.split_at(end.unwrap_or(operands.len()))
    }

    /// What is between its brackets; of a copy to shared memory, where it is from.
    fn address(&self) -> Option<&str> {
        let (from, to) = self.text.split_once('[').map(|(_, rest)| (self.text.rsplit_once('['), rest))?;
        let address = if self.opcode().starts_with("cp.") { from?.1 } else { to };
        Some(address.split_once(']')?.0.trim())
    }
}

/// Registers, names and numbers in a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$' | '%');
    text.split(move |c| !is_part(c)).filter(|word| !word.is_empty())
}

/// A kernel's statements, and where their registers come from.
pub(super) struct Body {
    statements: Vec<Statement>,
    origins: HashMap<String, Origins>,
}

impl Body {
    /// Reads a kernel as LLVM writes it. Of its parameters the first are addresses of buffers, `constants` says of which kind; the one after
    /// them has none.
    pub(super) fn read(text: &str, entry: &str, constants: &[bool]) -> Body {
        let (mut statements, mut pending, mut line) = (Vec::new(), String::new(), 0);
        let inner = text.lines().enumerate().skip_while(|(_, line)| !line.starts_with('{')).skip(1);
        for (number, code) in inner {
            let code = code.split("//").next().unwrap_or_default().trim();
            if pending.is_empty() {
                if code.starts_with('.') {
                    continue;
                }
                line = number;
            }
            pending = format!("{pending} {code}").trim().to_owned();
            if pending.ends_with(':') {
                statements.push(Statement { line, text: std::mem::take(&mut pending) });
            }
            while let Some((whole, rest)) = pending.split_once(';') {
                let whole = whole.trim();
                let unguarded = whole.strip_prefix('@').and_then(|guarded| guarded.split_once(char::is_whitespace));
                let text = unguarded.map_or(whole, |(_, text)| text.trim_start()).to_owned();
                statements.push(Statement { line, text });
                (pending, line) = (rest.trim().to_owned(), number);
            }
        }
        let mut body = Body { statements, origins: HashMap::new() };
        // Whatever the order in which statements are executed, so that loops are no matter.
        while body.spread(entry, constants) {}
        body
    }

    /// Adds to what registers come from what the sources of statements that set them come from; whether there was anything to add.
    fn spread(&mut self, entry: &str, constants: &[bool]) -> bool {
        let mut changed = false;
        for statement in &self.statements {
            let (opcode, (set, sources)) = (statement.opcode(), statement.operands());
            let (set, from) = match opcode.split('.').next().unwrap_or_default() {
                "ld" if opcode.starts_with("ld.param.") => (set, of_parameter(sources, entry, constants)),
                "ld" => (set, OTHER),
                "st" | "cp" => ("", NO_BUFFER),
                known if OF_REGISTERS.contains(&known) => {
                    (set, words(sources).fold(NO_BUFFER, |all, word| all | self.origin(word)))
                }
                // What is not known may set whatever it names.
                _ => (&*statement.text, OTHER),
            };
            for register in words(set).filter(|word| word.starts_with('%')) {
                let origins = self.origins.entry(register.to_owned()).or_default();
                changed |= *origins | from != *origins;
                *origins |= from;
            }
        }
        changed
    }

    /// Where an operand comes from, as far as is known by now.
    fn origin(&self, word: &str) -> Origins {
        match word.as_bytes() {
            [b'%', ..] => self.origins.get(word).copied().unwrap_or(NO_BUFFER),
            [b'0'..=b'9', ..] => NO_BUFFER,
            // The address of a variable.
            _ => OTHER,
        }
    }

    /// Whether an access is within constants.
    fn is_of_constant(&self, access: &Statement) -> bool {
        let mut address = access.address().into_iter().flat_map(words);
        let base = address.next().and_then(|base| self.origins.get(base));
        base == Some(&CONSTANT) && address.all(|offset| offset.bytes().all(|c| c.is_ascii_digit()))
    }

    /// Whether a statement neither touches what other launches may be at, nor goes elsewhere, nor is done together with other warps.
    fn is_independent(&self, statement: &Statement) -> bool {
        let mut opcode = statement.opcode().split('.');
        match (opcode.next().unwrap_or_default(), opcode.next().unwrap_or_default()) {
            ("ld", "param" | "shared" | "local") | ("st", "shared" | "local") => true,
            ("ld", "global") => self.is_of_constant(statement),
            ("cp", "async") => statement.address().is_none() || self.is_of_constant(statement),
            (known, _) => OF_REGISTERS.contains(&known),
        }
    }

    /// The first line before `end` with an access to what other launches may be at.
    pub(super) fn access_before(&self, end: usize) -> Option<usize> {
        let early = self.statements.iter().take_while(|statement| statement.line < end);
        early.filter(|s| s.address().is_some()).find(|s| !self.is_independent(s)).map(|s| s.line)
    }

    /// The line up to which all statements are executed in turn and are independent of other launches.
    pub(super) fn dependent(&self) -> Option<usize> {
        self.statements.iter().find(|statement| !self.is_independent(statement)).map(|statement| statement.line)
    }

    /// Lines with accesses to what is not known to be constant.
    pub(super) fn variable(&self) -> impl Iterator<Item = usize> {
        let accesses = self.statements.iter().filter(|statement| statement.address().is_some());
        accesses.filter(|access| !self.is_of_constant(access)).map(|access| access.line)
    }
}

/// Where what `[entry_param_3+8]` holds comes from.
fn of_parameter(address: &str, entry: &str, constants: &[bool]) -> Origins {
    let name = words(address).next().and_then(|name| name.strip_prefix(entry)?.strip_prefix("_param_"));
    match name.and_then(|number| number.parse::<usize>().ok()) {
        Some(number) if number == constants.len() => NO_BUFFER,
        Some(number) if constants.get(number) == Some(&true) => CONSTANT,
        _ => OTHER,
    }
}
