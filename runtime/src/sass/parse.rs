//! What `ptxas -v` and `nvdisasm -c` print.

use serde::Serialize;

/// What a kernel takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Resources {
    /// Registers of a thread.
    pub registers: u32,
    /// Local memory of a thread, in bytes: arrays whose indices are computed, and spilled registers.
    pub stack: u32,
    /// Bytes of a thread's registers that are stored to local memory because there are not enough registers.
    pub spill_stores: u32,
    /// Bytes that are loaded back.
    pub spill_loads: u32,
    /// Shared memory of a block whose size the code says, in bytes.
    pub shared: u32,
}

/// Reads what `ptxas -v` says of one kernel; nothing, when it says nothing of registers. What functions that were not inlined
/// spill is added.
pub fn resources(said: &str) -> Option<Resources> {
    let mut found = Resources::default();
    let mut registers = None;
    for line in said.lines() {
        for part in line.strip_prefix("ptxas info    :").unwrap_or(line).split(',') {
            let part = part.trim();
            let Some((number, what)) = part.strip_prefix("Used ").unwrap_or(part).split_once(' ') else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            match what {
                "registers" => registers = registers.max(Some(number)),
                "bytes stack frame" | "bytes cumulative stack size" => found.stack = found.stack.max(number),
                "bytes spill stores" => found.spill_stores += number,
                "bytes spill loads" => found.spill_loads += number,
                "bytes smem" => found.shared = number,
                _ => {}
            }
        }
    }
    registers.map(|registers| Resources { registers, ..found })
}

/// How many threads a block of the PTX's kernel has.
pub fn threads(ptx: &str) -> Option<u32> {
    let extents = ptx.lines().find_map(|line| line.trim().strip_prefix(".reqntid "))?;
    extents.split(',').map(|extent| extent.trim().parse::<u32>().ok()).product()
}

/// An instruction of a kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Instruction {
    /// Where it is in the kernel, in bytes.
    pub address: u32,
    /// Its text, the predicate included.
    pub text: String,
}

/// Accesses of 8, 16, 32, 64 and 128 bits.
pub type Widths = [usize; 5];

/// What a kernel is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Code {
    /// Instructions; `NOP`s, which pad, are not counted.
    pub instructions: usize,
    /// Products of integer matrices.
    pub imma: usize,
    /// Products of float matrices.
    pub hmma: usize,
    /// Scalar products of four bytes.
    pub idp: usize,
    /// Loads from local memory.
    pub ldl: usize,
    /// Stores to local memory.
    pub stl: usize,
    /// Loads from global memory, by width; what copies from there to shared memory is among them, and loads whose memory is
    /// not known.
    pub loads: Widths,
    /// Stores to global memory, by width.
    pub stores: Widths,
    /// Constants that the half-precision pipe moves to a register.
    pub constants_moved: usize,
    /// Choices between two registers on the float pipe.
    pub selects: usize,
    /// Every floating-point instruction.
    pub float: Vec<Instruction>,
}

/// Reads what `nvdisasm -c` lists of one kernel.
///
/// # Errors
/// At a line that should be an instruction and is none: what is not understood may be floating-point arithmetic.
pub fn code(listing: &str) -> Result<Code, String> {
    let mut code = Code::default();
    for line in listing.lines().map(str::trim) {
        // What else there is are labels and directives.
        let Some(rest) = line.strip_prefix("/*") else { continue };
        let (address, text) = (rest.split_once("*/"))
            .and_then(|(address, text)| {
                Some((u32::from_str_radix(address, 16).ok()?, text.trim().strip_suffix(';')?.trim()))
            })
            .ok_or_else(|| format!("nvdisasm lists what is no instruction: {line}"))?;
        code.add(address, text);
    }
    if code.instructions == 0 { Err("nvdisasm lists no instruction".to_owned()) } else { Ok(code) }
}

impl Code {
    fn add(&mut self, address: u32, text: &str) {
        // `@!P0 FADD.FTZ R1, R2, R3`
        let unconditional =
            if text.starts_with('@') { text.split_once(' ').map_or("", |(_, t)| t.trim()) } else { text };
        let (opcode, operands) = unconditional.split_once(' ').unwrap_or((unconditional, ""));
        let name = opcode.split('.').next().unwrap_or(opcode);
        if name == "NOP" {
            return;
        }
        self.instructions += 1;
        match name {
            "IMMA" | "IGMMA" => self.imma += 1,
            "HMMA" | "HGMMA" => self.hmma += 1,
            "IDP" => self.idp += 1,
            "LDL" => self.ldl += 1,
            "STL" => self.stl += 1,
            "LDG" | "LDGSTS" | "LD" => self.loads[width(opcode)] += 1,
            "STG" | "ST" => self.stores[width(opcode)] += 1,
            _ => {}
        }
        if moves_constant(opcode, operands) {
            self.constants_moved += 1;
        } else if selects(opcode, operands) {
            self.selects += 1;
        } else if is_float(opcode) {
            self.float.push(Instruction { address, text: text.to_owned() });
        }
    }
}

/// The place in [`Widths`] of a memory access: `LDG.E.U16.CONSTANT`.
fn width(opcode: &str) -> usize {
    let of = |modifier: &str| match modifier {
        "U8" | "S8" => Some(0),
        "U16" | "S16" => Some(1),
        "64" => Some(3),
        "128" => Some(4),
        _ => None,
    };
    opcode.split('.').find_map(of).unwrap_or(2)
}

/// Whether an instruction is one of floating-point arithmetic, conversion or comparison, by its name or by the type of what it
/// adds in memory. In the tables of NVIDIA's *CUDA Binary Utilities* all whose names begin with F, H or D are, but for those
/// here; a new one counts as float until somebody looks at it. Uniform ones begin with U, too.
///
/// `I2F`, `MUFU.RCP` and `F2I` are how an integer division by what is not a constant begins. That is arithmetic on data, so
/// they count.
fn is_float(opcode: &str) -> bool {
    let mut parts = opcode.split('.');
    let name = parts.next().unwrap_or(opcode);
    let name = name.strip_prefix('U').unwrap_or(name);
    let integer = ["FLO", "FENCE", "FOOTPRINT", "DEPBAR"];
    (name.starts_with(['F', 'H', 'D']) && !integer.contains(&name))
        || ["MUFU", "I2F", "I2FP", "QMMA", "QGMMA", "OMMA"].contains(&name)
        || parts.any(|part| ["F16", "F32", "F64", "BF16", "TF32", "E4M3", "E5M2"].iter().any(|ty| part.starts_with(ty)))
}

/// Whether an instruction only writes a constant: `HFMA2.MMA R8, -RZ, RZ, 3.1328125, 0` is −0 · 0 plus two constants, which
/// are the halves of one of 32 bits (here 0x42440000), and rounds nothing. ptxas balances pipes with it.
fn moves_constant(opcode: &str, operands: &str) -> bool {
    let operands: Vec<&str> = operands.split(',').map(str::trim).collect();
    let zero = |operand: &str| matches!(operand, "RZ" | "-RZ");
    let constant = |operand: &str| operand.parse::<f64>().is_ok();
    matches!(opcode, "HFMA2" | "HFMA2.MMA")
        && matches!(operands[..], [_, a, b, high, low] if zero(a) && zero(b) && constant(high) && constant(low))
}

/// Whether an instruction only chooses between two registers: `FSEL R3, R10, R11, P2`. Of a negated or absolute operand, or
/// with `.FTZ`, it changes bits.
fn selects(opcode: &str, operands: &str) -> bool {
    let negated =
        |operand: &str| operand.strip_prefix('-').is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
    opcode == "FSEL" && !operands.contains('|') && !operands.split(',').any(|operand| negated(operand.trim()))
}
