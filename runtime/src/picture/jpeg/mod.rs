//! JPEG files, to the very pixels that libjpeg-turbo makes of them, and so Pillow: its inverse cosine transform (`islow`), its
//! interpolation of chroma ("fancy"), its colours. Another decoder's levels differ by up to 3, and then predictions now and then.
//!
//! Grey and three components of 8 bits, Huffman-coded, baseline or progressive. (ITU-T T.81, whose letters names here follow)

mod bits;
mod frame;
mod scan;
mod transform;
mod upsample;

use frame::Frame;
use scan::{HuffmanTable, Scan};

/// The places of a block's coefficients in the order in which they are coded (figure A.6).
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Most scans: each goes over the whole picture, however little it says.
const MOST_SCANS: usize = 200;

/// Red, green and blue of each pixel, row by row; `None` for a kind of JPEG file that is not read here. `size` is the picture's width
/// and height, which were found to be bearable.
///
/// # Errors
/// When the file is damaged or cut off.
pub(super) fn decode(bytes: &[u8], size: (u32, u32)) -> Result<Option<Vec<u8>>, String> {
    let mut decoder = Decoder::default();
    let mut segments = Segments { bytes, at: 2 };
    while let Some((marker, at)) = segments.next()? {
        match marker {
            // Start of a frame: sequential or progressive, in Huffman codes.
            0xc0..=0xc2 => {
                let body = segments.body(at)?;
                if decoder.frame.is_some() {
                    return Err("it has two frames".to_owned());
                }
                let Some(frame) = Frame::parse(body, marker == 0xc2, size)? else { return Ok(None) };
                decoder.frame = Some(frame);
            }
            0xc4 => decoder.huffman_tables(segments.body(at)?)?,
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => return Ok(None),
            0xda => segments.at = decoder.scan(bytes, segments.body(at)?, segments.at)?,
            0xdb => decoder.quantization_tables(segments.body(at)?)?,
            0xdd => {
                let &[high, low] = segments.body(at)? else { return Err(short("a restart interval")) };
                decoder.restart_interval = usize::from(u16::from_be_bytes([high, low]));
            }
            0xe0 => decoder.jfif |= segments.body(at)?.starts_with(b"JFIF\0"),
            0xee => {
                let body = segments.body(at)?;
                if body.starts_with(b"Adobe") {
                    decoder.adobe = body.get(11).copied();
                }
            }
            0xd9 => break,
            // Markers without a segment.
            0x01 | 0xd0..=0xd8 => {}
            _ => drop(segments.body(at)?),
        }
    }
    let Decoder { frame, jfif, adobe, .. } = decoder;
    let frame = frame.ok_or("it has no frame")?;
    frame.into_rgb(jfif, adobe).map(Some)
}

fn short(what: &str) -> String {
    format!("{what} is of another length than it says")
}

/// Walks over a file's markers.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    /// The next marker, and where its segment begins; `None` at the end of the file.
    fn next(&mut self) -> Result<Option<(u8, usize)>, String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        // Bytes before a marker mean nothing; it may have any number of 0xff before it.
        let marker = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff));
        Ok(marker.map(|i| {
            self.at += i + 2;
            (rest[i + 1], self.at)
        }))
    }

    /// A segment that begins here, without its length; what comes next is behind it.
    fn body(&mut self, at: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[at..];
        let length = rest.first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
        let body = rest.get(2..length).ok_or_else(|| short("a segment"))?;
        self.at = at + length;
        Ok(body)
    }
}

/// What the segments have said until now.
#[derive(Default)]
struct Decoder {
    frame: Option<Frame>,
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
    restart_interval: usize,
    jfif: bool,
    /// Which transform of colours Adobe's marker names.
    adobe: Option<u8>,
    scans: usize,
}

impl Decoder {
    fn quantization_tables(&mut self, mut body: &[u8]) -> Result<(), String> {
        while let Some((&start, rest)) = body.split_first() {
            let (width, table) = (1 + usize::from(start >> 4 > 0), usize::from(start & 15));
            let (values, rest) = rest.split_at_checked(64 * width).ok_or_else(|| short("a quantization table"))?;
            let slot = self.quantization.get_mut(table).ok_or("a quantization table of no number")?;
            let mut natural = [0; 64];
            for (place, value) in ZIGZAG.into_iter().zip(values.chunks_exact(width)) {
                natural[place] = value.iter().fold(0, |sum, &byte| sum << 8 | u16::from(byte));
            }
            *slot = Some(natural);
            body = rest;
        }
        Ok(())
    }

    fn huffman_tables(&mut self, mut body: &[u8]) -> Result<(), String> {
        while let Some((&start, rest)) = body.split_first() {
            let (lengths, rest) = rest.split_first_chunk::<16>().ok_or_else(|| short("a Huffman table"))?;
            let count = lengths.iter().map(|&n| usize::from(n)).sum();
            let (values, rest) = rest.split_at_checked(count).ok_or_else(|| short("a Huffman table"))?;
            let tables = match start >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err("a Huffman table of no class".to_owned()),
            };
            let slot = tables.get_mut(usize::from(start & 15)).ok_or("a Huffman table of no number")?;
            *slot = Some(HuffmanTable::new(lengths, values)?);
            body = rest;
        }
        Ok(())
    }

    /// Decodes a scan whose coded data begin at `at`; where they end.
    fn scan(&mut self, bytes: &[u8], header: &[u8], at: usize) -> Result<usize, String> {
        self.scans += 1;
        if self.scans > MOST_SCANS {
            return Err(format!("it has more than {MOST_SCANS} scans"));
        }
        let frame = self.frame.as_mut().ok_or("a scan comes before the frame")?;
        let scan = Scan::parse(header, frame)?;
        for &(index, ..) in &scan.components {
            let component = &mut frame.components[index];
            if component.quantization.is_none() {
                component.quantization = self.quantization[component.table];
            }
            if component.quantization.is_none() {
                return Err("a quantization table is missing".to_owned());
            }
        }
        scan.decode(frame, &self.dc, &self.ac, self.restart_interval, bytes, at)
    }
}
