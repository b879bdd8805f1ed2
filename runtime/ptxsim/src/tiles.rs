//! Copies of tiles: asynchronous ones, and matrices between shared memory and lanes.

use crate::{
    launch::Machine,
    memory::WIDEST,
    parse::Space,
    program::{Address, Src},
    warp::{Copy, Lanes, Warp, lanes},
};

impl Machine<'_> {
    /// `cp.async`: bytes are taken from global memory now, and are in shared memory when they are waited for.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn copy(
        &mut self,
        warp: &mut Warp,
        pc: usize,
        mask: u32,
        to: &Address,
        from: &Address,
        bytes: usize,
        given: Src,
    ) {
        let line = self.kernel.insts[pc].line;
        let (to, from, given) = (self.addresses(warp, to), self.addresses(warp, from), warp.get(given));
        // A copy of zeros alone reads nothing.
        let reading = lanes(mask).filter(|&lane| given[lane] as u32 != 0).fold(0, |all, lane| all | 1 << lane);
        self.count(pc, Space::Global, &from, reading, bytes as u64);
        for lane in lanes(mask) {
            let Some(target) = self.locate(warp, lane, Space::Shared, to[lane], bytes, line) else { continue };
            // Of the source fewer bytes may be wanted; the others are zeros.
            let wanted = (given[lane] as u32 as usize).min(bytes);
            let mut data = [0; WIDEST];
            if wanted > 0 {
                let sizes = (bytes, wanted);
                let Some(source) = self.locate_part(warp, lane, Space::Global, from[lane], sizes, line) else {
                    continue;
                };
                let now = self.access(warp, lane, line, false);
                data = self.read(warp, lane, source, wanted, now);
            }
            let now = self.access(warp, lane, line, false);
            let crate::memory::Place::Shared(at) = target else { continue };
            let fault = self.memory.shared_history.begin(at, bytes, &now);
            if let Some(fault) = fault {
                self.fault(fault, warp, lane, line, target, bytes, "written");
            }
            warp.copies[lane].open.push(Copy { to: at, data: data[..bytes].to_vec(), line });
        }
    }

    /// `ldmatrix`: lanes 8i to 8i + 7 have the addresses of matrix i's rows, of 16 bytes each; of row r, lane 4r + c gets elements 2c and 2c + 1.
    ///
    /// (PTX ISA 8.7, section 9.7.14.5.15)
    pub(crate) fn load_matrix(&mut self, warp: &mut Warp, pc: usize, d: &[u32], address: &Address, transposed: bool) {
        let (line, at) = (self.kernel.insts[pc].line, self.addresses(warp, address));
        for (i, &register) in d.iter().enumerate() {
            self.count(pc, address.space, &at, 0xff << (8 * i), 16);
            let mut rows = [[0u16; 8]; 8];
            for (r, row) in rows.iter_mut().enumerate() {
                let lane = 8 * i + r;
                let Some(place) = self.locate(warp, lane, address.space, at[lane], 16, line) else { continue };
                let now = self.access(warp, lane, line, false);
                let bytes = self.read(warp, lane, place, 16, now);
                *row = std::array::from_fn(|c| u16::from_le_bytes([bytes[2 * c], bytes[2 * c + 1]]));
            }
            let element = |r: usize, c: usize| u64::from(if transposed { rows[c][r] } else { rows[r][c] });
            let values: Lanes = std::array::from_fn(|lane| {
                let (r, c) = (lane / 4, lane % 4 * 2);
                element(r, c) | element(r, c + 1) << 16
            });
            warp.set(register, u32::MAX, &values);
        }
    }

    /// `stmatrix`: the reverse of `ldmatrix`. (PTX ISA 8.7, section 9.7.14.5.16)
    pub(crate) fn store_matrix(
        &mut self,
        warp: &mut Warp,
        pc: usize,
        sources: &[Src],
        address: &Address,
        transposed: bool,
    ) {
        let (line, at) = (self.kernel.insts[pc].line, self.addresses(warp, address));
        for (i, source) in sources.iter().enumerate() {
            self.count(pc, address.space, &at, 0xff << (8 * i), 16);
            let values = warp.get(*source);
            let element = |r: usize, c: usize| {
                let (r, c) = if transposed { (c, r) } else { (r, c) };
                (values[4 * r + c / 2] >> (16 * (c % 2))) as u16
            };
            for r in 0..8 {
                let lane = 8 * i + r;
                let bytes: Vec<u8> = (0..8).flat_map(|c| element(r, c).to_le_bytes()).collect();
                let Some(place) = self.locate(warp, lane, address.space, at[lane], 16, line) else { continue };
                let now = self.access(warp, lane, line, false);
                self.write(warp, lane, place, &bytes, now);
            }
        }
    }
}
