//! Texts in the cache folder, each behind a line with its checksum.

use crate::cache;
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// First line of a file, before the checksum.
const MAGIC: &str = "// swint 1 ";

/// SHA-256, in hexadecimal digits.
pub(crate) fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of the cache; `None` where there is no cache.
pub(crate) fn path(folder: &str, name: &str) -> Option<PathBuf> {
    Some(cache::folder().ok()?.join(folder).join(name))
}

/// A text that was kept; an error where it is damaged.
pub(crate) fn load(path: &Path) -> Result<Option<String>, String> {
    let Ok(bytes) = fs::read(path) else { return Ok(None) };
    let parse = |text: &str| {
        let (sum, rest) = text.strip_prefix(MAGIC)?.split_once('\n')?;
        (sum == sha256(rest)).then(|| rest.to_owned())
    };
    match String::from_utf8(bytes).ok().and_then(|text| parse(&text)) {
        Some(text) => Ok(Some(text)),
        None => Err(format!("{} is damaged: it is made again", path.display())),
    }
}

/// Keeps a text.
///
/// # Errors
/// When it cannot be written; then what was there is still there.
pub(crate) fn store(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().expect("it is in a folder");
    fs::create_dir_all(folder)?;
    // Another process may write the same file: whole files replace each other.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    write!(file, "{MAGIC}{}\n{text}", sha256(text))?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kept_until_they_are_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ptx").join("a");
        let text = ".version 8.7\n\nret;\n";
        assert_eq!(load(&file), Ok(None));
        store(&file, text).unwrap();
        assert_eq!(load(&file), Ok(Some(text.to_owned())));
        let whole = fs::read_to_string(&file).unwrap();
        for damaged in [whole.replace("ret", "rep"), whole.replace("8.7", "8.6"), whole[..40].to_owned(), String::new()]
        {
            fs::write(&file, damaged).unwrap();
            assert!(load(&file).unwrap_err().contains("is damaged"));
        }
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(load(&file).is_err());
        store(&file, text).unwrap();
        assert_eq!(load(&file), Ok(Some(text.to_owned())));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }
}
