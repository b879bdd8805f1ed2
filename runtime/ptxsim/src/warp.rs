//! A warp: 32 lanes with registers, one program counter, and a stack of those that wait for others.

use crate::program::{Kernel, Pred, Special, Src};
use std::collections::VecDeque;

pub(crate) type Lanes = [u64; 32];

/// Lanes that are at a place together, and where they meet others again.
#[derive(Clone, Copy, Debug)]
struct Entry {
    pc: usize,
    meet: usize,
    mask: u32,
}

/// Bytes on their way into shared memory.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub to: usize,
    pub data: Vec<u8>,
    pub line: u32,
}

/// A lane's asynchronous copies: those that no group has yet, and groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copies {
    pub open: Vec<Copy>,
    pub groups: VecDeque<Vec<Copy>>,
}

/// A warp of a block.
pub(crate) struct Warp {
    pub index: u32,
    registers: Vec<Lanes>,
    predicates: Vec<u32>,
    stack: Vec<Entry>,
    /// Lanes that have not ended.
    pub live: u32,
    /// Barriers of the warp that it has passed.
    pub epoch: u32,
    /// Instructions that it has executed.
    pub executed: u64,
    /// Lanes that have waited for the launches before.
    pub depended: u32,
    /// The barrier that it waits at, and the line.
    pub waits: Option<(u64, u32)>,
    pub local: Vec<u8>,
    pub local_written: Vec<bool>,
    pub copies: Vec<Copies>,
}

impl Warp {
    pub fn new(kernel: &Kernel, index: u32, lanes: u32, special: impl Fn(Special, u32) -> u64) -> Warp {
        let live = if lanes >= 32 { u32::MAX } else { (1 << lanes) - 1 };
        // What nothing has written has no value: something that no kernel can take for one.
        let unset = |register: usize| -> Lanes {
            std::array::from_fn(|lane| (register as u64 * 32 + lane as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        };
        let mut registers: Vec<Lanes> = (0..kernel.registers).map(unset).collect();
        for &(which, register) in &kernel.specials {
            for lane in 0..32 {
                registers[register as usize][lane as usize] = special(which, lane);
            }
        }
        let local = 32 * kernel.local as usize;
        Warp {
            index,
            registers,
            predicates: vec![0x5a3c_96e1; kernel.predicates],
            executed: 0,
            stack: vec![Entry { pc: 0, meet: kernel.insts.len(), mask: live }],
            live,
            epoch: 0,
            depended: 0,
            waits: None,
            local: vec![0; local],
            local_written: vec![false; local],
            copies: vec![Copies::default(); 32],
        }
    }

    /// Where the next instruction is, and the lanes that are there; `None` at the end.
    pub fn next(&mut self) -> Option<(usize, u32)> {
        while let Some(top) = self.stack.last() {
            if top.mask == 0 || self.stack.len() > 1 && top.pc == top.meet {
                self.stack.pop();
                continue;
            }
            return Some((top.pc, top.mask));
        }
        None
    }

    /// Goes on with the next instruction.
    pub fn advance(&mut self) {
        if let Some(top) = self.stack.last_mut() {
            top.pc += 1;
        }
    }

    /// Lanes go to different places, and meet again at `meet`. Together they are all that are here.
    pub fn diverge(&mut self, groups: &[(usize, u32)], meet: usize) {
        let depth = self.stack.len();
        let Some(top) = self.stack.last_mut() else { return };
        if let [(pc, _)] = groups {
            top.pc = *pc;
            return;
        }
        // Those that leave a loop early wait in the entry of the first: the stack does not grow with each.
        if top.meet == meet && depth > 1 {
            self.stack.pop();
        } else {
            top.pc = meet;
        }
        for &(pc, mask) in groups.iter().filter(|(pc, _)| *pc != meet) {
            self.stack.push(Entry { pc, meet, mask });
        }
    }

    /// Lanes end.
    pub fn exit(&mut self, lanes: u32) {
        self.live &= !lanes;
        self.stack.iter_mut().for_each(|entry| entry.mask &= !lanes);
    }

    pub fn get(&self, source: Src) -> Lanes {
        match source {
            Src::Reg(register) => self.registers[register as usize],
            Src::Imm(bits) => [bits; 32],
        }
    }

    pub fn set(&mut self, register: u32, mask: u32, values: &Lanes) {
        let target = &mut self.registers[register as usize];
        if mask == u32::MAX {
            *target = *values;
            return;
        }
        lanes(mask).for_each(|lane| target[lane] = values[lane]);
    }

    pub fn set_lane(&mut self, register: u32, lane: usize, value: u64) {
        self.registers[register as usize][lane] = value;
    }

    /// A predicate's bits of all lanes.
    pub fn predicate(&self, predicate: Pred) -> u32 {
        match predicate {
            Pred::Reg(p) => self.predicates[p as usize],
            Pred::Not(p) => !self.predicates[p as usize],
            Pred::Const(true) => u32::MAX,
            Pred::Const(false) => 0,
        }
    }

    pub fn set_predicate(&mut self, predicate: u32, mask: u32, bits: u32) {
        let target = &mut self.predicates[predicate as usize];
        *target = *target & !mask | bits & mask;
    }
}

/// The lanes of a mask.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 == 1)
}
