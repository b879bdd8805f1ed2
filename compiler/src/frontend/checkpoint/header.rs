//! The header of a safetensors file. Nothing in it is believed:
//!
//! ```text
//! length  u64, little-endian
//! header  JSON: {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …, "__metadata__": {"KEY": "TEXT", …}}
//! data    the tensors' elements, little-endian, row-major; offsets count from its start
//! ```
//!
//! The format's own library takes the last of two tensors of one name, headers of up to 100 MB, and any name.

use super::CheckpointError;
use safetensors::Dtype;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor},
};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    io::Read,
};

/// How large a header may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes. Swin-L's header has 34,000.
    pub header: u64,
    /// Tensors. Swin-L has 329.
    pub tensors: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { header: 1 << 20, tensors: 10_000 }
    }
}

/// A tensor, as a header describes it.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its elements' type.
    pub dtype: Dtype,
    /// Extents, outermost first. Their product, zeros left out, is a `usize`.
    pub shape: Vec<usize>,
    /// Where its elements begin in the file, in bytes.
    pub begin: u64,
    /// Where they end.
    pub end: u64,
}

/// What a file says before its elements.
#[derive(Clone, PartialEq, Debug)]
pub struct Header {
    /// The tensors, as they follow each other in the file, without a gap.
    pub tensors: Vec<Entry>,
    /// What is said of the whole.
    pub metadata: BTreeMap<String, String>,
    /// Where the elements begin in the file, in bytes.
    pub data: u64,
}

/// Most extents of a tensor: NumPy's limit.
const MAX_RANK: usize = 64;

/// Longest name, in bytes.
const MAX_NAME: usize = 1000;

pub(super) fn wrong<T>(message: impl Into<String>) -> Result<T, CheckpointError> {
    Err(CheckpointError::Format(message.into()))
}

/// A text from a file as it may be printed: on one line, without control characters, not too long.
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut printable = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == LONGEST {
            return printable + "…";
        }
        match c {
            '"' | '\'' => printable.push(c),
            c => printable.extend(c.escape_debug()),
        }
    }
    printable
}

/// A tensor's name between quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("tensor \"{}\"", printable(name))
}

impl Entry {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bits of the elements; `None` where that overflows.
    fn bits(&self) -> Option<u64> {
        let extents = self.shape.iter().filter(|&&extent| extent > 0);
        extents.copied().try_fold(1usize, usize::checked_mul)?;
        (self.elements() as u64).checked_mul(self.dtype.bitsize() as u64)
    }

    /// Checks what can be said of a tensor alone.
    fn check(&self) -> Result<(), CheckpointError> {
        let Entry { name, dtype, shape, begin, end } = self;
        let it = quoted(name);
        if name.is_empty() || name.len() > MAX_NAME {
            return wrong(format!("{it}: a name has 1 to {MAX_NAME} bytes, this one {}", name.len()));
        }
        if let Some((at, c)) = name.char_indices().find(|(_, c)| c.is_control()) {
            return wrong(format!("{it}: its name has the control character {:?} at byte {at}", c));
        }
        if name.starts_with(['/', '\\']) || name.split(['/', '\\']).any(|part| part == "..") {
            return wrong(format!("{it}: its name is a path that leaves its folder"));
        }
        if shape.len() > MAX_RANK {
            return wrong(format!("{it}: it has {} extents, more than {MAX_RANK}", shape.len()));
        }
        if begin > end {
            return wrong(format!("{it}: it begins at offset {begin} of the file, after its end at {end}"));
        }
        match self.bits() {
            None => wrong(format!("{it}: the size of {dtype}{shape:?} overflows")),
            Some(bits) if bits % 8 != 0 => wrong(format!("{it}: {dtype}{shape:?} ends within a byte")),
            Some(bits) if bits / 8 != end - begin => wrong(format!(
                "{it}: {dtype}{shape:?} takes {} bytes, its offsets, {begin} to {end} of the file, hold {}",
                bits / 8,
                end - begin
            )),
            Some(_) => Ok(()),
        }
    }
}

impl Header {
    /// Reads and checks a header. `length` is the file's, in bytes, where it is known beforehand.
    pub(super) fn read(
        source: &mut impl Read,
        length: Option<u64>,
        limits: &Limits,
    ) -> Result<Header, CheckpointError> {
        let mut size = Vec::new();
        source.take(8).read_to_end(&mut size)?;
        let Ok(size) = <[u8; 8]>::try_from(&size[..]) else {
            return wrong(format!("it ends at offset {}, within the length of its header", size.len()));
        };
        if size.starts_with(b"PK\x03\x04") || size.starts_with(b"\x80\x02") {
            return wrong("it is a PyTorch file, and not a safetensors file: load it there and save it as one");
        }
        let size = u64::from_le_bytes(size);
        if size > limits.header {
            return wrong(format!(
                "its header has {size} bytes, by the number at its start; the limit is {} (--max-header)",
                limits.header
            ));
        }
        let mut text = Vec::new();
        source.take(size).read_to_end(&mut text)?;
        let data = 8 + size;
        if (text.len() as u64) < size {
            return wrong(format!("it ends at offset {}, within its header, which ends at {data}", 8 + text.len()));
        }
        let header = Header::parse(&text, limits)?;
        let end = header.tensors.last().map_or(data, |tensor| tensor.end);
        match length {
            Some(length) if length < end => {
                let first = header.tensors.iter().find(|tensor| tensor.end > length);
                let name = quoted(first.map_or("", |tensor| &tensor.name));
                wrong(format!("{name}: the file ends at offset {length}, its tensors at {end}"))
            }
            Some(length) if length > end => trailing(length - end, end),
            _ => Ok(header),
        }
    }

    /// The header in a JSON text.
    fn parse(text: &[u8], limits: &Limits) -> Result<Header, CheckpointError> {
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => return wrong(format!("its header is not UTF-8 at offset {}", 8 + error.valid_up_to())),
        };
        if !text.starts_with('{') {
            return wrong("its header does not begin with { at offset 8");
        }
        let data = 8 + text.len() as u64;
        let mut json = serde_json::Deserializer::from_str(text);
        let parsed = HeaderSeed { data, limits }.deserialize(&mut json);
        let Header { mut tensors, metadata, data } =
            parsed.and_then(|header| json.end().map(|()| header)).map_err(|error| syntax(text, &error))?;
        tensors.iter().try_for_each(Entry::check)?;
        // Those without elements come before the one that begins there.
        tensors.sort_by_key(|tensor| (tensor.begin, tensor.end));
        let (mut end, mut before) = (data, None);
        for tensor in &tensors {
            let it = quoted(&tensor.name);
            let after = before.map_or("the header".to_owned(), quoted);
            if tensor.begin > end {
                let gap = tensor.begin - end;
                return wrong(format!(
                    "{it}: {gap} bytes between {after} and it, at offset {end}, belong to no tensor"
                ));
            }
            if tensor.begin < end {
                return wrong(format!(
                    "{it}: it begins at offset {}, within {after}, which ends at {end}",
                    tensor.begin
                ));
            }
            (end, before) = (tensor.end, Some(tensor.name.as_str()));
        }
        Ok(Header { tensors, metadata, data })
    }
}

/// Bytes that belong to no tensor at the end of a file.
pub(super) fn trailing<T>(count: impl fmt::Display, end: u64) -> Result<T, CheckpointError> {
    wrong(format!("{count} bytes follow its last tensor, from offset {end} on"))
}

/// An error of the JSON parser, with its place in the file.
fn syntax(text: &str, error: &serde_json::Error) -> CheckpointError {
    let before = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let at = 8 + (before + error.column()).min(text.len());
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = printable(message.strip_suffix(&place).unwrap_or(&message));
    CheckpointError::Format(format!("its header, up to offset {at}: {message}"))
}

/// A tensor's entry, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// Reads a header's object and refuses two of one name.
struct HeaderSeed<'a> {
    /// Where the elements begin in the file.
    data: u64,
    limits: &'a Limits,
}

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = Header;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut tensors, mut names, mut metadata) = (Vec::new(), HashSet::new(), None);
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if metadata.is_some() {
                    return Err(Error::custom("__metadata__ is there twice"));
                }
                metadata = Some(map.next_value::<Metadata>()?.0);
                continue;
            }
            if tensors.len() == self.limits.tensors {
                let limit = self.limits.tensors;
                return Err(Error::custom(format!("more tensors than the limit of {limit} (--max-tensors)")));
            }
            if !names.insert(name.clone()) {
                return Err(Error::custom(format!("{}: there are two of this name", quoted(&name))));
            }
            let entry = map.next_value::<RawEntry>();
            let RawEntry { dtype, shape, data_offsets: (begin, end) } =
                entry.map_err(|error| Error::custom(format!("{}: {error}", quoted(&name))))?;
            let [begin, end] = [begin, end].map(|offset| offset.checked_add(self.data));
            let (Some(begin), Some(end)) = (begin, end) else {
                return Err(Error::custom(format!("{}: its offsets overflow", quoted(&name))));
            };
            tensors.push(Entry { name, dtype, shape, begin, end });
        }
        Ok(Header { tensors, metadata: metadata.unwrap_or_default(), data: self.data })
    }
}

/// Texts by name; two of one name are refused.
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metadata, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut texts = BTreeMap::new();
                while let Some((key, text)) = map.next_entry::<String, String>()? {
                    if let Some(key) = texts.insert(key.clone(), text).map(|_| key) {
                        return Err(Error::custom(format!("__metadata__ has {key:?} twice")));
                    }
                }
                Ok(Metadata(texts))
            }
        }
        deserializer.deserialize_map(Texts)
    }
}
