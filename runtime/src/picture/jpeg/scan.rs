//! Scans: the coded coefficients of some components.

use super::{
    ZIGZAG,
    bits::Bits,
    frame::{Component, Frame},
    short,
};

/// A Huffman code: what the codes of up to 8 bits mean, and where those of each length end (annex C).
pub(super) struct HuffmanTable {
    /// By the next 8 bits: length and meaning of a code, length 0 where it is longer.
    short: [(u8, u8); 256],
    /// By length less 1: the first number of 16 bits that no code of this length begins, and what to add for the place in `values`.
    ends: [(u32, i32); 16],
    values: Vec<u8>,
}

impl HuffmanTable {
    pub(super) fn new(lengths: &[u8; 16], values: &[u8]) -> Result<HuffmanTable, String> {
        let mut table = HuffmanTable { short: [(0, 0); 256], ends: [(0, 0); 16], values: values.to_vec() };
        let (mut code, mut place) = (0u32, 0usize);
        for (i, &count) in lengths.iter().enumerate() {
            let length = i + 1;
            let (first, start) = (code, place);
            for _ in 0..count {
                if code >= 1 << length {
                    return Err("a Huffman table has more codes than there can be".to_owned());
                }
                if length <= 8 {
                    let (low, copies) = ((code << (8 - length)) as usize, 1 << (8 - length));
                    table.short[low..low + copies].fill((length as u8, values[place]));
                }
                (code, place) = (code + 1, place + 1);
            }
            table.ends[i] = (code << (16 - length), start as i32 - first as i32);
            code <<= 1;
        }
        Ok(table)
    }

    fn decode(&self, bits: &mut Bits<'_>) -> Result<u8, String> {
        let next = bits.peek16();
        let (length, value) = self.short[usize::from(next >> 8)];
        if length > 0 {
            bits.skip(length.into())?;
            return Ok(value);
        }
        for (i, &(end, offset)) in self.ends.iter().enumerate().skip(8) {
            if u32::from(next) < end {
                bits.skip(i as u32 + 1)?;
                return Ok(self.values[(i32::from(next >> (15 - i)) + offset) as usize]);
            }
        }
        bits.skip(16)?;
        Err("a code that its Huffman table does not have".to_owned())
    }
}

/// What a scan's header says.
pub(super) struct Scan {
    /// Of each component: its place in the frame, and its tables for DC and AC.
    pub(super) components: Vec<(usize, usize, usize)>,
    /// Which coefficients, as coded.
    first: usize,
    last: usize,
    /// Bits that came before, and the bit that this scan ends with.
    high: u32,
    low: u32,
}

impl Scan {
    pub(super) fn parse(header: &[u8], frame: &Frame) -> Result<Scan, String> {
        let (&count, rest) = header.split_first().ok_or_else(|| short("a scan"))?;
        let (selectors, rest) = rest.split_at_checked(usize::from(count) * 2).ok_or_else(|| short("a scan"))?;
        let &[first, last, approximation] = rest else { return Err(short("a scan")) };
        let mut components: Vec<(usize, usize, usize)> = Vec::new();
        for pair in selectors.chunks_exact(2) {
            let index = frame.components.iter().position(|component| component.id == pair[0]);
            let index = index.filter(|index| components.iter().all(|(other, ..)| *other != *index));
            let index = index.ok_or("a scan has a component that the frame has not")?;
            components.push((index, usize::from(pair[1] >> 4), usize::from(pair[1] & 15)));
        }
        let (first, last) = if frame.progressive { (first.into(), last.into()) } else { (0, 63) };
        let (high, low) = if frame.progressive { (approximation >> 4, approximation & 15) } else { (0, 0) };
        // DC comes alone, AC of one component only, and a bit at a time after the first ones.
        let alone = if first == 0 { last == 0 } else { components.len() == 1 && last <= 63 && first <= last };
        let refines = high == 0 || high == low + 1;
        if components.is_empty() || frame.progressive && !(alone && refines && low <= 13) {
            return Err("a scan is of no kind that there is".to_owned());
        }
        Ok(Scan { components, first, last, high: high.into(), low: low.into() })
    }

    /// Decodes the coded data that begin at `at`; where they end.
    pub(super) fn decode(
        &self,
        frame: &mut Frame,
        dc: &[Option<HuffmanTable>; 4],
        ac: &[Option<HuffmanTable>; 4],
        restart_interval: usize,
        bytes: &[u8],
        at: usize,
    ) -> Result<usize, String> {
        let mut coder = Coder { bits: Bits::new(bytes, at), last_dc: [0; 4], end_of_band: 0 };
        let alone = self.components.len() == 1;
        let first = &frame.components[self.components[0].0];
        // A component alone has no blocks that only fill up a unit.
        let (columns, rows) = if alone {
            (first.width.div_ceil(8), first.height.div_ceil(8))
        } else {
            (first.columns / first.h, first.rows / first.v)
        };
        let progressive = frame.progressive;
        for unit in 0..columns * rows {
            if restart_interval > 0 && unit > 0 && unit % restart_interval == 0 {
                coder.bits.restart(((unit / restart_interval - 1) % 8) as u8)?;
                (coder.last_dc, coder.end_of_band) = ([0; 4], 0);
            }
            let (row, column) = (unit / columns, unit % columns);
            for &(index, dc_table, ac_table) in &self.components {
                let component = &mut frame.components[index];
                let tables = (dc.get(dc_table).and_then(Option::as_ref), ac.get(ac_table).and_then(Option::as_ref));
                let (h, v) = if alone { (1, 1) } else { (component.h, component.v) };
                for place in 0..h * v {
                    let (row, column) = (row * v + place / h, column * h + place % h);
                    self.block(&mut coder, component, index, tables, (row, column), progressive)?;
                }
            }
        }
        Ok(coder.bits.end())
    }

    fn block(
        &self,
        coder: &mut Coder<'_>,
        component: &mut Component,
        index: usize,
        (dc, ac): (Option<&HuffmanTable>, Option<&HuffmanTable>),
        (row, column): (usize, usize),
        progressive: bool,
    ) -> Result<(), String> {
        let missing = "a Huffman table is missing";
        if !progressive {
            let mut block = [0; 64];
            block[0] = coder.dc(dc.ok_or(missing)?, index)? as i16;
            coder.sequential(ac.ok_or(missing)?, &mut block)?;
            component.set(row, column, &block);
            return Ok(());
        }
        let block = &mut component.blocks[row * component.columns + column];
        match (self.first, self.high) {
            (0, 0) => block[0] = (coder.dc(dc.ok_or(missing)?, index)? << self.low) as i16,
            (0, _) => block[0] |= (coder.bits.take(1)? << self.low) as i16,
            (_, 0) => coder.first(ac.ok_or(missing)?, block, self)?,
            _ => coder.refine(ac.ok_or(missing)?, block, self)?,
        }
        Ok(())
    }
}

/// Where decoding has come to.
struct Coder<'a> {
    bits: Bits<'a>,
    /// The last DC coefficient of each component: the next one is coded as a difference.
    last_dc: [i32; 4],
    /// So many blocks have no more coefficients in this band.
    end_of_band: u32,
}

impl Coder<'_> {
    fn dc(&mut self, table: &HuffmanTable, component: usize) -> Result<i32, String> {
        let size = table.decode(&mut self.bits)?;
        if size > 15 {
            return Err("a coefficient has too many bits".to_owned());
        }
        let last = &mut self.last_dc[component];
        *last = i32::from((*last + self.bits.signed(size.into())?) as i16);
        Ok(*last)
    }

    /// The AC coefficients of a block (F.2.2.2).
    fn sequential(&mut self, table: &HuffmanTable, block: &mut [i16; 64]) -> Result<(), String> {
        let mut k = 1;
        while k < 64 {
            let code = table.decode(&mut self.bits)?;
            let (run, size) = (usize::from(code >> 4), u32::from(code & 15));
            if size == 0 && run < 15 {
                break;
            }
            k += run;
            let place = ZIGZAG.get(k).ok_or("a block has too many coefficients")?;
            block[*place] = self.bits.signed(size)? as i16;
            k += 1;
        }
        Ok(())
    }

    /// A band's first bits (G.1.2.2).
    fn first(&mut self, table: &HuffmanTable, block: &mut [i16; 64], scan: &Scan) -> Result<(), String> {
        if self.end_of_band > 0 {
            self.end_of_band -= 1;
            return Ok(());
        }
        let mut k = scan.first;
        while k <= scan.last {
            let code = table.decode(&mut self.bits)?;
            let (run, size) = (u32::from(code >> 4), u32::from(code & 15));
            if size == 0 && run < 15 {
                self.end_of_band = (1 << run) - 1 + self.bits.take(run)? as u32;
                break;
            }
            k += run as usize;
            if k > scan.last {
                return Err("a block has too many coefficients".to_owned());
            }
            block[ZIGZAG[k]] = (self.bits.signed(size)? << scan.low) as i16;
            k += 1;
        }
        Ok(())
    }

    /// A band's next bits (G.1.2.3): of coefficients that are known one bit each, between new ones.
    fn refine(&mut self, table: &HuffmanTable, block: &mut [i16; 64], scan: &Scan) -> Result<(), String> {
        let bit = 1i16 << scan.low;
        let mut k = scan.first;
        while self.end_of_band == 0 && k <= scan.last {
            let code = table.decode(&mut self.bits)?;
            let (mut run, size) = (u32::from(code >> 4), code & 15);
            let mut new = 0;
            if size == 0 && run < 15 {
                self.end_of_band = (1 << run) + self.bits.take(run)? as u32;
                break;
            }
            if size > 0 {
                new = if self.bits.take(1)? > 0 { bit } else { -bit };
            }
            // Past so many that are still zero.
            while k <= scan.last {
                let coefficient = &mut block[ZIGZAG[k]];
                if *coefficient != 0 {
                    self.refined(coefficient, bit)?;
                } else if run > 0 {
                    run -= 1;
                } else {
                    *coefficient = new;
                    k += 1;
                    break;
                }
                k += 1;
            }
        }
        if self.end_of_band > 0 {
            for place in &ZIGZAG[k..=scan.last] {
                if block[*place] != 0 {
                    self.refined(&mut block[*place], bit)?;
                }
            }
            self.end_of_band -= 1;
        }
        Ok(())
    }

    fn refined(&mut self, coefficient: &mut i16, bit: i16) -> Result<(), String> {
        if self.bits.take(1)? > 0 && *coefficient & bit == 0 {
            *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
        }
        Ok(())
    }
}
