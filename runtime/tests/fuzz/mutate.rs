//! Changes files as those change them who want to break their readers: where the structure is, and framed rightly again.

use sha2::{Digest, Sha256};
use swint_ir::random::Rng;

/// Numbers at the edges of something.
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
];

/// Words that mean something to one of the readers, and texts that should not be printed as they are.
const WORDS: [&str; 26] = [
    "\"dtype\"",
    "\"shape\"",
    "\"data_offsets\"",
    "\"__metadata__\"",
    "\"F32\"",
    "\"F16\"",
    "\"BF16\"",
    "\"F64\"",
    "\"I64\"",
    "\"F4\"",
    "\"BOOL\"",
    "null",
    "true",
    "[]",
    "{}",
    "\"\\u0000\"",
    "\"\\u001b[31m\"",
    "\"../..\"",
    "NaN",
    "inf",
    "u8",
    "f32",
    "[preprocess]",
    "\u{202e}",
    "\u{1b}",
    "\"\"",
];

/// Changes bytes anywhere.
pub fn bytes(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..=bytes.len());
        let end = (at + rng.usize(..=64)).min(bytes.len());
        match rng.u8(..6) {
            0 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << rng.u8(..8)),
            1 => bytes.get_mut(at).into_iter().for_each(|byte| *byte = *rng.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap()),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = rng.usize(..=bytes.len());
                bytes.splice(to..to, copy);
            }
            4 => {
                let inserted: Vec<u8> = (0..rng.usize(..16)).map(|_| rng.u8(..)).collect();
                bytes.splice(at..at, inserted);
            }
            _ => bytes.truncate(at),
        }
    }
}

/// Changes a text's words, numbers and marks.
pub fn text(text: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut tokens = tokens(text);
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=tokens.len());
        let end = (at + rng.usize(..=24)).min(tokens.len());
        match rng.u8(..8) {
            0 | 1 => {
                let digits = |token: &Vec<u8>| token.first().is_some_and(u8::is_ascii_digit);
                let numbers: Vec<usize> = (0..tokens.len()).filter(|&i| digits(&tokens[i])).collect();
                if let Some(&i) = rng.choice(&numbers) {
                    let near = std::str::from_utf8(&tokens[i]).ok().and_then(|digits| digits.parse::<u64>().ok());
                    let near = near.map(|n| n.wrapping_add(rng.u64(..9)).wrapping_sub(4).to_string());
                    let edge = (*rng.choice(&NUMBERS).unwrap()).to_owned();
                    tokens[i] = near.filter(|_| rng.bool()).unwrap_or(edge).into_bytes();
                }
            }
            2 => tokens.insert(at, rng.choice(&WORDS).unwrap().as_bytes().to_vec()),
            3 => drop(tokens.drain(at..end)),
            4 => {
                let copy = tokens[at..end].to_vec();
                let to = rng.usize(..=tokens.len());
                tokens.splice(to..to, copy);
            }
            5 if !tokens.is_empty() => {
                let (a, b) = (rng.usize(..tokens.len()), rng.usize(..tokens.len()));
                tokens.swap(a, b);
            }
            6 if at < end => tokens[at] = rng.choice(&WORDS).unwrap().as_bytes().to_vec(),
            _ => {
                let nested = rng.choice(&["[", "{\"a\":", "(", "\"", "\\u00", "\n", " "]).unwrap();
                tokens.insert(at, nested.repeat(rng.usize(1..300)).into_bytes());
            }
        }
    }
    tokens.concat()
}

/// Runs of digits, of letters, and single others.
fn tokens(text: &[u8]) -> Vec<Vec<u8>> {
    let class = |byte: u8| match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => 1,
        _ => 2,
    };
    text.chunk_by(|&a, &b| class(a) == class(b) && class(a) < 2).map(<[u8]>::to_vec).collect()
}

/// Changes a safetensors file: mostly its header, whose length is then right again.
pub fn safetensors(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let size = file.first_chunk().map_or(0, |size| u64::from_le_bytes(*size));
    let end = usize::try_from(size).ok().and_then(|size| size.checked_add(8)).filter(|&end| end <= file.len());
    let Some(end) = end.filter(|_| rng.u8(..8) > 0) else {
        let mut changed = file.to_vec();
        bytes(&mut changed, rng);
        return changed;
    };
    let (mut header, mut data) = (file[8..end].to_vec(), file[end..].to_vec());
    match rng.u8(..8) {
        0 => bytes(&mut data, rng),
        1 => bytes(&mut header, rng),
        _ => header = text(&header, rng),
    }
    let mut size = header.len() as u64;
    if rng.u8(..16) == 0 {
        size = *rng.choice(&[0, 1, size - size.min(1), size + 1, 1 << 20, 100_000_000, 1 << 40, u64::MAX]).unwrap();
    }
    [&size.to_le_bytes()[..], &header, &data].concat()
}

/// Changes a compiled model's sections; its checksum is then mostly right again.
pub fn artifact(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let Some(mut sections) = sections(file).filter(|_| rng.u8(..8) > 0) else {
        let mut changed = file.to_vec();
        bytes(&mut changed, rng);
        return changed;
    };
    let at = rng.usize(..sections.len().max(1));
    match rng.u8(..8) {
        0 if !sections.is_empty() => drop(sections.remove(at)),
        1 if !sections.is_empty() => sections.push(sections[at].clone()),
        2 => sections.iter_mut().skip(at).take(1).for_each(|section| bytes(&mut section.0, rng)),
        _ => sections.iter_mut().skip(at).take(1).for_each(|(name, content)| match &name[..] {
            b"weights.safetensors" => *content = safetensors(content, rng),
            name if name.ends_with(b".gz") => bytes(content, rng),
            _ => *content = text(content, rng),
        }),
    }
    let mut body = (sections.len() as u32).to_le_bytes().to_vec();
    for (name, content) in &sections {
        body.extend((name.len() as u32).to_le_bytes());
        body.extend(name);
        body.extend((content.len() as u64).to_le_bytes());
        body.extend(content);
    }
    if rng.u8(..8) == 0 {
        bytes(&mut body, rng);
    }
    [&file[..12], &Sha256::digest(&body), &body].concat()
}

/// Names and contents of a compiled model's sections.
fn sections(file: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut rest = file.get(44..)?;
    let mut take = |length: usize| -> Option<&[u8]> {
        let (taken, left) = rest.split_at_checked(length)?;
        rest = left;
        Some(taken)
    };
    let count = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let mut sections = Vec::new();
    for _ in 0..count {
        let length = u32::from_le_bytes(take(4)?.try_into().ok()?) as usize;
        let name = take(length)?.to_vec();
        let length = u64::from_le_bytes(take(8)?.try_into().ok()?);
        sections.push((name, take(usize::try_from(length).ok()?)?.to_vec()));
    }
    Some(sections)
}
