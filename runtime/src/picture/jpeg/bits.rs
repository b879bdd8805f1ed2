//! Bits of coded data.

/// Reads bits, the upper ones of a byte first; 0xff is written as 0xff00, and else begins a marker, where the data end.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// What is read next.
    at: usize,
    /// The lower `count` bits are still to be taken.
    buffer: u64,
    count: u32,
    /// So many of them, the last ones, stand for what is not there.
    made_up: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Bits<'a> {
        Bits { bytes, at, buffer: 0, count: 0, made_up: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xff, 0, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some([byte, ..]) if *byte != 0xff => {
                    self.at += 1;
                    *byte
                }
                _ => {
                    self.made_up += 8;
                    0
                }
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next 16 bits, which are not taken.
    pub(super) fn peek16(&mut self) -> u16 {
        if self.count < 16 {
            self.fill();
        }
        (self.buffer >> (self.count - 16)) as u16
    }

    /// Leaves out bits that were peeked at.
    pub(super) fn skip(&mut self, count: u32) -> Result<(), String> {
        self.count -= count;
        if self.count < self.made_up { Err("its data end too early".to_owned()) } else { Ok(()) }
    }

    /// The next bits, at most 16, as a number.
    pub(super) fn take(&mut self, count: u32) -> Result<i32, String> {
        let bits = u32::from(self.peek16()) >> (16 - count);
        self.skip(count)?;
        Ok(bits as i32)
    }

    /// A number of `size` bits whose first one is its sign (figure F.12).
    pub(super) fn signed(&mut self, size: u32) -> Result<i32, String> {
        if size == 0 {
            return Ok(0);
        }
        let bits = self.take(size)?;
        Ok(if bits < 1 << (size - 1) { bits - (1 << size) + 1 } else { bits })
    }

    /// Goes on behind the restart marker that must come next.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), String> {
        let end = self.end();
        let rest = &self.bytes[end..];
        match rest.iter().position(|&byte| byte != 0xff) {
            Some(i) if i > 0 && rest[i] == 0xd0 + number => {
                *self = Bits::new(self.bytes, end + i + 1);
                Ok(())
            }
            _ => Err("a restart marker is missing".to_owned()),
        }
    }

    /// Where the marker is that ends the data.
    pub(super) fn end(&self) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let marker = rest.windows(2).position(|pair| pair[0] == 0xff && pair[1] != 0);
        marker.map_or(self.bytes.len(), |i| self.at + i)
    }
}
