//! Compiled kernels on disk: `ptx/` in the cache folder, a file a kernel.
//!
//! A file's name is the SHA-256 of everything that its text depends on: the kernel and its comptime arguments, the target, the
//! PTX version, and the program that compiled it, by its size and the time at which it was built. Its first line has the SHA-256
//! of what follows, so that a damaged file is compiled anew and never run. (The driver keeps the machine code that it makes of a text
//! in a cache of its own.)

use crate::{cache, offline::Ptx};
use sha2::{Digest, Sha256};
use std::{fs, io::Write, path::PathBuf, sync::LazyLock};

/// First line of a file, before the checksum.
const MAGIC: &str = "// swint ptx 1 ";

/// What is the same as long as the program is.
static PROGRAM: LazyLock<Option<String>> = LazyLock::new(|| {
    let file = fs::metadata(std::env::current_exe().ok()?).ok()?;
    Some(format!("{} {} {:?}", env!("CARGO_PKG_VERSION"), file.len(), file.modified().ok()?))
});

/// Where a kernel is kept; `None` where there is no cache.
fn path(kernel: &str) -> Option<PathBuf> {
    let program = PROGRAM.as_ref()?;
    Some(cache::folder().ok()?.join("ptx").join(format!("{}.ptx", hex(&format!("{program}\n{kernel}")))))
}

fn hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A kernel that was kept, by all that it depends on; an error where its file is damaged.
pub(crate) fn load(kernel: &str) -> Result<Option<Ptx>, String> {
    let Some(path) = path(kernel) else { return Ok(None) };
    let Ok(bytes) = fs::read(&path) else { return Ok(None) };
    let parse = |text: &str| {
        let (sum, rest) = text.strip_prefix(MAGIC)?.split_once('\n')?;
        let (head, text) = rest.strip_prefix("// ")?.split_once('\n')?;
        let (entry, shared) = head.split_once(' ')?;
        (sum == hex(rest)).then_some(Ptx {
            entry: entry.to_owned(),
            text: text.to_owned(),
            shared: shared.parse().ok()?,
        })
    };
    match std::str::from_utf8(&bytes).ok().and_then(parse) {
        Some(ptx) => Ok(Some(ptx)),
        None => Err(format!("{} is damaged: the kernel is compiled again", path.display())),
    }
}

/// Keeps a kernel. What cannot be written is not kept.
pub(crate) fn store(kernel: &str, ptx: &Ptx) {
    let Some(path) = path(kernel) else { return };
    let rest = format!("// {} {}\n{}", ptx.entry, ptx.shared, ptx.text);
    let write = || -> std::io::Result<()> {
        let folder = path.parent().expect("it is in a folder");
        fs::create_dir_all(folder)?;
        // Another process may write the same file: whole files replace each other.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        write!(file, "{MAGIC}{}\n{rest}", hex(&rest))?;
        file.persist(&path)?;
        Ok(())
    };
    // Without it the kernel is compiled the next time, too.
    let _ = write();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_kept_until_their_file_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let name = |kernel: &str| folder.path().join(kernel);
        // SAFETY: no other test of this program reads the variable.
        unsafe { std::env::set_var("SWINT_CACHE", folder.path()) };
        let ptx = Ptx { entry: "a_1".to_owned(), text: ".version 8.7\n\nret;\n".to_owned(), shared: 1024 };
        assert_eq!(load("a sm_89"), Ok(None));
        store("a sm_89", &ptx);
        assert_eq!(load("a sm_89"), Ok(Some(ptx.clone())));
        assert_eq!(load("a sm_90"), Ok(None), "another target is another kernel");
        let file = fs::read_dir(name("ptx")).unwrap().next().unwrap().unwrap().path();
        let whole = fs::read_to_string(&file).unwrap();
        for damaged in
            [whole.replace("ret", "rep"), whole.replace("1024", "2048"), whole[..40].to_owned(), String::new()]
        {
            fs::write(&file, damaged).unwrap();
            assert!(load("a sm_89").unwrap_err().contains("is damaged"));
        }
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(load("a sm_89").is_err());
        store("a sm_89", &ptx);
        assert_eq!(load("a sm_89"), Ok(Some(ptx)));
        assert_eq!(fs::read_dir(name("ptx")).unwrap().count(), 1, "no temporary file is left");
    }
}
