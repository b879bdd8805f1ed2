//! Instructions of a warp.

use crate::{
    finding::Kind,
    launch::{Machine, Pause},
    memory::WIDEST,
    parse::Space,
    program::{Address, Arity, Atomic, Modifiers, Op, Shuffle, Src, Vote},
    warp::{Copy, Lanes, Warp, lanes},
};

impl Machine<'_> {
    /// Executes the instruction at `pc` for the lanes that are there and whose guard holds, and goes on.
    pub(crate) fn step(&mut self, warp: &mut Warp, pc: usize, here: u32) -> Option<Pause> {
        let kernel = self.kernel;
        let inst = &kernel.insts[pc];
        let (line, mask) = (inst.line, here & warp.predicate(inst.guard));
        let count = &mut self.memory.counts[pc];
        count.warps += u64::from(mask != 0);
        count.threads += u64::from(mask.count_ones());
        match &inst.op {
            Op::Branch { target } => {
                self.go(warp, pc, here, &[(*target, mask)]);
                return None;
            }
            Op::BranchTable { targets, a } => {
                let index = warp.get(*a);
                let mut groups: Vec<(usize, u32)> = Vec::new();
                for lane in lanes(mask) {
                    let Some(&target) = targets.get(index[lane] as u32 as usize) else {
                        let message =
                            format!("a table of {} labels has no label {}", targets.len(), index[lane] as u32);
                        self.find(Kind::OutOfBounds, line, None, 32 * warp.index + lane as u32, message);
                        return Some(Pause::Stop);
                    };
                    match groups.iter_mut().find(|(known, _)| *known == target) {
                        Some((_, lanes)) => *lanes |= 1 << lane,
                        None => groups.push((target, 1 << lane)),
                    }
                }
                self.go(warp, pc, here, &groups);
                return None;
            }
            Op::Exit => {
                if let Some(lane) = lanes(self.independent(warp) & mask).next() {
                    let message = "a thread ends that has not waited for the launches before".to_owned();
                    self.find(Kind::Dependency, line, None, 32 * warp.index + lane as u32, message);
                }
                warp.advance();
                warp.exit(mask);
                return None;
            }
            _ => warp.advance(),
        }
        if mask == 0 {
            return None;
        }
        match &inst.op {
            Op::Nop | Op::Branch { .. } | Op::BranchTable { .. } | Op::Exit => {}
            Op::Unary { f, d, a } => {
                let a = warp.get(*a);
                warp.set(*d, mask, &each(|lane| f(a[lane])));
            }
            Op::Binary { f, d, a, b } => {
                let (a, b) = (warp.get(*a), warp.get(*b));
                warp.set(*d, mask, &each(|lane| f(a[lane], b[lane])));
            }
            Op::Ternary { f, d, a, b, c } => {
                let (a, b, c) = (warp.get(*a), warp.get(*b), warp.get(*c));
                warp.set(*d, mask, &each(|lane| f(a[lane], b[lane], c[lane])));
            }
            Op::Quaternary { f, d, a, b, c, e } => {
                let (a, b, c, e) = (warp.get(*a), warp.get(*b), warp.get(*c), warp.get(*e));
                warp.set(*d, mask, &each(|lane| f(a[lane], b[lane], c[lane], e[lane])));
            }
            Op::Modified { f, modifiers, d, sources } => {
                let [a, b, c] = sources.map(|source| warp.get(source).map(|bits| modifiers.before(bits)));
                let value = |lane: usize| match f {
                    Arity::One(f) => f(a[lane]),
                    Arity::Two(f) => f(a[lane], b[lane]),
                    Arity::Three(f) => f(a[lane], b[lane], c[lane]),
                };
                warp.set(*d, mask, &each(|lane| modifiers.after(value(lane))));
            }
            Op::Convert { how, d, a, mask: bits } => {
                let a = warp.get(*a);
                warp.set(*d, mask, &each(|lane| how.apply(a[lane]) & bits));
            }
            Op::Compare { f, d, complement, a, b, with, flush } => {
                let modifiers = Modifiers { flush: *flush, saturate: false };
                let (a, b) = (warp.get(*a).map(|x| modifiers.before(x)), warp.get(*b).map(|x| modifiers.before(x)));
                let holds = (0..32).fold(0, |all, lane| all | u32::from(f(a[lane], b[lane])) << lane);
                let combine = |bits: u32| with.map_or(bits, |(f, p)| f(bits, warp.predicate(p)));
                let (p, q) = (combine(holds), combine(!holds));
                warp.set_predicate(*d, mask, p);
                if let Some(complement) = complement {
                    warp.set_predicate(*complement, mask, q);
                }
            }
            Op::Select { d, a, b, p } => {
                let (a, b, p) = (warp.get(*a), warp.get(*b), warp.predicate(*p));
                warp.set(*d, mask, &each(|lane| if p >> lane & 1 == 1 { a[lane] } else { b[lane] }));
            }
            Op::Logic { f, d, a, b } => {
                let bits = f(warp.predicate(*a), warp.predicate(*b));
                warp.set_predicate(*d, mask, bits);
            }
            Op::Pack { d, parts, width } => {
                let parts: Vec<Lanes> = parts.iter().map(|part| warp.get(*part)).collect();
                let low = u64::MAX >> (64 - width);
                let value = |lane: usize| {
                    parts.iter().rev().fold(0, |all: u64, part| all.unbounded_shl(*width) | part[lane] & low)
                };
                warp.set(*d, mask, &each(value));
            }
            Op::Unpack { parts, a, width } => {
                let (a, low) = (warp.get(*a), u64::MAX >> (64 - width));
                for (i, part) in parts.iter().enumerate() {
                    warp.set(*part, mask, &each(|lane| a[lane].unbounded_shr(i as u32 * width) & low));
                }
            }
            Op::Load { d, address, bytes, signed, frozen, masks } => {
                let (at, size) = (self.addresses(warp, address), *bytes as usize * d.len());
                self.count(pc, address.space, &at, mask, size as u64);
                for lane in lanes(mask) {
                    let Some(place) = self.locate(warp, lane, address.space, at[lane], size, line) else { continue };
                    if *frozen && self.memory.may_change(place, self.config.programmatic) {
                        self.fault(
                            (Kind::ReadOnly, 0),
                            warp,
                            lane,
                            line,
                            place,
                            size,
                            "read as if nothing wrote there",
                        );
                    }
                    let now = self.access(warp, lane, line, false);
                    let data = self.read(warp, lane, place, size, now);
                    for (i, (&register, all)) in d.iter().zip(masks).enumerate() {
                        let mut element = [0; 8];
                        element[..*bytes as usize].copy_from_slice(&data[i * *bytes as usize..][..*bytes as usize]);
                        let (value, unused) = (u64::from_le_bytes(element), 64 - 8 * bytes);
                        let value = if *signed { ((value << unused) as i64 >> unused) as u64 } else { value };
                        warp.set_lane(register, lane, value & all);
                    }
                }
            }
            Op::Store { sources, address, bytes } => {
                let (at, size) = (self.addresses(warp, address), *bytes as usize);
                let values: Vec<Lanes> = sources.iter().map(|source| warp.get(*source)).collect();
                self.count(pc, address.space, &at, mask, (size * values.len()) as u64);
                let total = size * values.len();
                for lane in lanes(mask) {
                    let mut data = [0; WIDEST];
                    for (part, value) in data.chunks_exact_mut(size).zip(&values) {
                        part.copy_from_slice(&value[lane].to_le_bytes()[..size]);
                    }
                    let Some(place) = self.locate(warp, lane, address.space, at[lane], total, line) else { continue };
                    let now = self.access(warp, lane, line, false);
                    self.write(warp, lane, place, &data[..total], now);
                }
            }
            Op::Atomic { d, address, bytes, how, b, c } => {
                let (at, b, c, size) = (self.addresses(warp, address), warp.get(*b), warp.get(*c), *bytes as usize);
                self.count(pc, address.space, &at, mask, size as u64);
                for lane in lanes(mask) {
                    let Some(place) = self.locate(warp, lane, address.space, at[lane], size, line) else { continue };
                    let now = self.access(warp, lane, line, true);
                    let data = self.read(warp, lane, place, size, now);
                    let old = u64::from_le_bytes(data[..8].try_into().expect("8 bytes"));
                    let new = match how {
                        Atomic::Exchange => b[lane],
                        Atomic::CompareAndSwap if old == b[lane] => c[lane],
                        Atomic::CompareAndSwap => old,
                        Atomic::Of(f) => f(old, b[lane]),
                    };
                    self.write(warp, lane, place, &new.to_le_bytes()[..size], now);
                    if let Some(d) = d {
                        warp.set_lane(*d, lane, old);
                    }
                }
            }
            Op::Barrier { id } => {
                if self.is_diverged(warp, mask, line) {
                    return Some(Pause::Stop);
                }
                warp.waits = Some((warp.get(*id)[mask.trailing_zeros() as usize], line));
                warp.epoch += 1;
                return Some(Pause::Barrier);
            }
            Op::WarpBarrier { mask: members } => {
                if self.are_missing(warp, mask, *members, line) {
                    return Some(Pause::Stop);
                }
                // What some lanes agree on orders nothing for the others.
                warp.epoch += u32::from(mask == warp.live);
            }
            Op::Shuffle { how, d, p, a, b, c, mask: members } => {
                if self.are_missing(warp, mask, *members, line) {
                    return Some(Pause::Stop);
                }
                let (a, b, c) = (warp.get(*a), warp.get(*b), warp.get(*c));
                let source = |lane: usize| shuffle(*how, lane as i32, b[lane] as i32 & 31, c[lane] as i32);
                if let Some(lane) = lanes(mask).find(|&lane| mask >> source(lane).0 & 1 == 0) {
                    let message = format!("lane {lane} reads lane {}, which takes no part", source(lane).0);
                    self.find(Kind::Diverged, line, None, 32 * warp.index + lane as u32, message);
                }
                warp.set(*d, mask, &each(|lane| a[source(lane).0]));
                if let Some(p) = p {
                    let bits = (0..32).fold(0, |all, lane| all | u32::from(source(lane).1) << lane);
                    warp.set_predicate(*p, mask, bits);
                }
            }
            Op::Vote { how, d, p, mask: members } => {
                if self.are_missing(warp, mask, *members, line) {
                    return Some(Pause::Stop);
                }
                let votes = warp.predicate(*p) & mask;
                let result = match how {
                    Vote::All => votes == mask,
                    Vote::Any => votes != 0,
                    Vote::Uniform => votes == mask || votes == 0,
                };
                warp.set_predicate(*d, mask, if result { u32::MAX } else { 0 });
            }
            Op::Ballot { d, p, mask: members } => {
                if self.are_missing(warp, mask, *members, line) {
                    return Some(Pause::Stop);
                }
                let votes = warp.predicate(*p) & mask;
                warp.set(*d, mask, &[votes.into(); 32]);
            }
            Op::Depend => warp.depended |= mask,
            Op::ActiveMask { d } => warp.set(*d, mask, &[mask.into(); 32]),
            Op::Reduce { f, d, a, mask: members } => {
                if self.are_missing(warp, mask, *members, line) {
                    return Some(Pause::Stop);
                }
                let a = warp.get(*a);
                let value = lanes(mask).map(|lane| a[lane]).reduce(f).unwrap_or(0);
                warp.set(*d, mask, &[value; 32]);
            }
            Op::CopyAsync { to, from, bytes, source_bytes } => {
                self.copy(warp, pc, mask, to, from, *bytes as usize, *source_bytes)
            }
            Op::CommitGroup => {
                for lane in lanes(mask) {
                    let copies = &mut warp.copies[lane];
                    let group = std::mem::take(&mut copies.open);
                    copies.groups.push_back(group);
                }
            }
            Op::WaitGroup { left, open } => {
                for lane in lanes(mask) {
                    let now = self.access(warp, lane, line, false);
                    let copies = &mut warp.copies[lane];
                    let arrived = copies.groups.len().saturating_sub(*left);
                    let mut done: Vec<Copy> = copies.groups.drain(..arrived).flatten().collect();
                    if *open {
                        done.append(&mut copies.open);
                    }
                    for copy in done {
                        self.memory.shared[copy.to..][..copy.data.len()].copy_from_slice(&copy.data);
                        let now = crate::shadow::Access { line: copy.line, ..now };
                        self.memory.shared_history.end(copy.to, copy.data.len(), &now);
                    }
                }
            }
            Op::LoadMatrix { d, address, transposed } => {
                if self.is_partial(warp, mask, line) {
                    return Some(Pause::Stop);
                }
                self.load_matrix(warp, pc, d, address, *transposed);
            }
            Op::StoreMatrix { sources, address, transposed } => {
                if self.is_partial(warp, mask, line) {
                    return Some(Pause::Stop);
                }
                self.store_matrix(warp, pc, sources, address, *transposed);
            }
            Op::Mma { shape, d, a, b, c } => {
                if self.is_partial(warp, mask, line) {
                    return Some(Pause::Stop);
                }
                let get = |sources: &[Src]| sources.iter().map(|source| warp.get(*source)).collect::<Vec<Lanes>>();
                let results = shape.apply(&get(a), &get(b), &get(c));
                for (register, values) in d.iter().zip(&results) {
                    warp.set(*register, mask, values);
                }
            }
        }
        None
    }

    /// Lanes go to where each group's target is, the others to the next instruction.
    fn go(&self, warp: &mut Warp, pc: usize, here: u32, groups: &[(usize, u32)]) {
        let taken = groups.iter().fold(0, |all, (_, mask)| all | mask);
        let mut groups: Vec<(usize, u32)> = groups.iter().copied().filter(|(_, mask)| *mask != 0).collect();
        if here & !taken != 0 {
            groups.push((pc + 1, here & !taken));
        }
        warp.diverge(&groups, self.kernel.meets[pc]);
    }

    pub(crate) fn addresses(&self, warp: &Warp, address: &Address) -> Lanes {
        // Addresses of these spaces may be given in 32 bits, and then wrap; one that is generic by mistake stays what it is.
        let narrow = matches!(address.space, Space::Shared | Space::Local | Space::Param);
        let base = warp.get(address.base);
        let at = |lane: usize| base[lane].wrapping_add(address.offset as u64);
        each(|lane| if narrow && matches!(at(lane) >> 32, 0 | 0xffff_ffff) { at(lane) & 0xffff_ffff } else { at(lane) })
    }

    /// Whether an instruction that needs all lanes that have not ended is reached by a part of them.
    fn is_diverged(&mut self, warp: &Warp, mask: u32, line: u32) -> bool {
        self.is_without(warp, warp.live, mask, line)
    }

    /// Whether an instruction that needs all 32 lanes is reached by fewer: with one that has ended, or never was, it is undefined.
    fn is_partial(&mut self, warp: &Warp, mask: u32, line: u32) -> bool {
        self.is_without(warp, u32::MAX, mask, line)
    }

    fn is_without(&mut self, warp: &Warp, wanted: u32, mask: u32, line: u32) -> bool {
        if mask != wanted {
            let message = format!("lanes {mask:#010x} of {wanted:#010x} are here");
            self.find(Kind::Diverged, line, None, 32 * warp.index + mask.trailing_zeros(), message);
        }
        mask != wanted
    }

    /// Whether the lanes that an instruction names are others than those that execute it.
    fn are_missing(&mut self, warp: &Warp, mask: u32, members: Src, line: u32) -> bool {
        let members = warp.get(members);
        // Lanes that have ended, or never were, cannot come.
        let wrong = lanes(mask).find(|&lane| members[lane] as u32 & warp.live != mask);
        if let Some(lane) = wrong {
            let message =
                format!("lane {lane} names lanes {:#010x}, and lanes {mask:#010x} are here", members[lane] as u32);
            self.find(Kind::Diverged, line, None, 32 * warp.index + lane as u32, message);
        }
        wrong.is_some()
    }
}

fn each(f: impl Fn(usize) -> u64) -> Lanes {
    std::array::from_fn(f)
}

impl Modifiers {
    fn before(self, bits: u64) -> u64 {
        if self.flush { flush(bits) } else { bits }
    }

    fn after(self, bits: u64) -> u64 {
        let bits = if self.flush { flush(bits) } else { bits };
        let value = f32::from_bits(bits as u32);
        match self.saturate {
            true if value > 0.0 => value.min(1.0).to_bits().into(),
            // What is no number saturates to 0, and so does −0.
            true => 0,
            false => bits,
        }
    }
}

fn flush(bits: u64) -> u64 {
    if f32::from_bits(bits as u32).is_subnormal() { bits & 0x8000_0000 } else { bits }
}

/// The lane that a lane reads, and whether it is within bounds; a lane whose source is not reads itself. (PTX ISA 8.7, shfl.sync)
fn shuffle(how: Shuffle, lane: i32, b: i32, c: i32) -> (usize, bool) {
    let (clamp, segment) = (c & 31, c >> 8 & 31);
    let most = lane & segment | clamp & !segment;
    let least = lane & segment;
    let (source, within) = match how {
        Shuffle::Up => (lane - b, lane - b >= most),
        Shuffle::Down => (lane + b, lane + b <= most),
        Shuffle::Butterfly => (lane ^ b, lane ^ b <= most),
        Shuffle::Index => {
            let source = least | b & !segment;
            (source, source <= most)
        }
    };
    (if within { source } else { lane } as usize, within)
}
