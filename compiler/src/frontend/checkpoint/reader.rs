//! Reads a file's tensors one by one, in the order of the file.

use super::{
    CheckpointError,
    header::{Entry, Header, Limits, quoted, trailing, wrong},
};
use half::{bf16, f16};
use safetensors::Dtype;
use std::{
    fs::File,
    io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
};
use swint_ir::Data;

/// Bytes that are read at once; whole elements of every type.
const CHUNK: usize = 1 << 16;

/// What a file is read from.
pub(super) trait Source: Read {
    /// Its length in bytes, where it is known beforehand: a pipe's is not.
    fn length(&self) -> io::Result<Option<u64>>;

    /// Leaves out `count` bytes.
    fn skip(&mut self, count: u64) -> io::Result<()>;
}

impl Source for Cursor<&[u8]> {
    fn length(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.get_ref().len() as u64))
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        self.set_position(self.position() + count);
        Ok(())
    }
}

impl Source for File {
    fn length(&self) -> io::Result<Option<u64>> {
        let metadata = self.metadata()?;
        Ok(metadata.is_file().then_some(metadata.len()))
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        match i64::try_from(count).map(|count| self.seek(SeekFrom::Current(count))) {
            Ok(Ok(_)) => Ok(()),
            // A pipe has no places.
            _ => io::copy(&mut self.take(count), &mut io::sink()).map(drop),
        }
    }
}

/// A file whose header is read and checked.
pub(super) struct Reader<S> {
    source: S,
    /// Whether the file is known to hold what its header says.
    whole: bool,
    /// Offset in the file.
    at: u64,
}

/// Opens a file.
pub(super) fn open(path: &Path, limits: &Limits) -> Result<(Header, Reader<File>), CheckpointError> {
    Reader::new(File::open(path)?, limits)
}

impl<S: Source> Reader<S> {
    /// Reads and checks the header.
    pub(super) fn new(mut source: S, limits: &Limits) -> Result<(Header, Reader<S>), CheckpointError> {
        let length = source.length()?;
        let header = Header::read(&mut source, length, limits)?;
        let at = header.data;
        Ok((header, Reader { source, whole: length.is_some(), at }))
    }

    /// The bytes of a tensor, in pieces of whole elements. Tensors are asked for in the order of the file.
    pub(super) fn chunks(&mut self, entry: &Entry, mut each: impl FnMut(&[u8])) -> Result<(), CheckpointError> {
        self.source.skip(entry.begin - self.at)?;
        let mut buffer = [0; CHUNK];
        self.at = entry.begin;
        while self.at < entry.end {
            let chunk = &mut buffer[..(entry.end - self.at).min(CHUNK as u64) as usize];
            self.source.read_exact(chunk).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => {
                    let (it, begin, end) = (quoted(&entry.name), entry.begin, entry.end);
                    CheckpointError::Format(format!("{it}: the file ends within it, offsets {begin} to {end}"))
                }
                _ => error.into(),
            })?;
            each(chunk);
            self.at += chunk.len() as u64;
        }
        Ok(())
    }

    /// Checks that nothing follows the tensors.
    pub(super) fn finish(mut self, header: &Header) -> Result<(), CheckpointError> {
        if self.whole {
            return Ok(());
        }
        let end = header.tensors.last().map_or(header.data, |tensor| tensor.end);
        self.source.skip(end - self.at)?;
        if self.source.read(&mut [0])? > 0 { trailing("more", end) } else { Ok(()) }
    }

    /// The elements of a tensor; floats of other widths as `f32`.
    pub(super) fn data(&mut self, entry: &Entry) -> Result<Data, CheckpointError> {
        Ok(match entry.dtype {
            Dtype::F32 => Data::F32(self.elements(entry, f32::from_le_bytes)?),
            Dtype::F16 => Data::F32(self.elements(entry, |bytes| f16::from_le_bytes(bytes).to_f32())?),
            Dtype::BF16 => Data::F32(self.elements(entry, |bytes| bf16::from_le_bytes(bytes).to_f32())?),
            Dtype::F64 => {
                let mut large = None;
                let mut at = 0;
                let data = self.elements(entry, |bytes| {
                    let wide = f64::from_le_bytes(bytes);
                    let narrow = wide as f32;
                    if wide.is_finite() && !narrow.is_finite() {
                        large.get_or_insert((at, wide));
                    }
                    at += 1;
                    narrow
                })?;
                if let Some((i, value)) = large {
                    let (it, at) = (quoted(&entry.name), entry.begin + 8 * i);
                    return wrong(format!("{it}: element {i}, at offset {at}, is {value:e}, which no f32 can be"));
                }
                Data::F32(data)
            }
            Dtype::I32 => Data::I32(self.elements(entry, i32::from_le_bytes)?),
            Dtype::I16 => Data::I16(self.elements(entry, i16::from_le_bytes)?),
            Dtype::I8 => Data::I8(self.elements(entry, i8::from_le_bytes)?),
            Dtype::U8 => Data::U8(self.elements(entry, u8::from_le_bytes)?),
            other => return wrong(format!("{} is {other}, which is not supported", quoted(&entry.name))),
        })
    }

    fn elements<const N: usize, T>(
        &mut self,
        entry: &Entry,
        mut value: impl FnMut([u8; N]) -> T,
    ) -> Result<Vec<T>, CheckpointError> {
        let mut values = Vec::new();
        // Memory is taken for what is there; a pipe may claim anything.
        if self.whole && values.try_reserve_exact(entry.elements()).is_err() {
            let (it, bytes) = (quoted(&entry.name), entry.elements() as u64 * size_of::<T>() as u64);
            return wrong(format!("{it}: there is no memory for its {bytes} bytes"));
        }
        self.chunks(entry, |chunk| values.extend(chunk.as_chunks().0.iter().map(|&bytes| value(bytes))))?;
        Ok(values)
    }
}
