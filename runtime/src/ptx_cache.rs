//! Compiled kernels on disk: `ptx/` in the cache folder, a file a kernel.
//!
//! A file's name is the SHA-256 of everything that its text depends on: the kernel and its comptime arguments, the target, the
//! PTX version, and the program that compiled it, by its size and the time at which it was built. (The driver keeps the machine
//! code that it makes of a text in a cache of its own.)

use crate::{
    cache,
    checked::{self, sha256},
    offline::Ptx,
    warn::warn,
};
use std::{fs, path::PathBuf, sync::LazyLock};

/// What is the same as long as the program is.
static PROGRAM: LazyLock<Option<String>> = LazyLock::new(|| {
    let file = fs::metadata(std::env::current_exe().ok()?).ok()?;
    Some(format!("{} {} {:?}", env!("CARGO_PKG_VERSION"), file.len(), file.modified().ok()?))
});

/// Where a kernel is kept.
fn path(kernel: &str) -> Option<PathBuf> {
    let program = PROGRAM.as_ref()?;
    let (folder, end) = cache::KERNELS;
    checked::path(folder, &format!("{}.{end}", sha256(&format!("{program}\n{kernel}"))))
}

/// A kernel that was kept, by all that it depends on. Warns where its file is damaged.
pub(crate) fn load(kernel: &str) -> Option<Ptx> {
    let text = checked::load(&path(kernel)?).unwrap_or_else(|damaged| {
        warn(&damaged);
        None
    })?;
    let (head, text) = text.strip_prefix("// ")?.split_once('\n')?;
    let (entry, shared) = head.split_once(' ')?;
    Some(Ptx { entry: entry.to_owned(), text: text.to_owned(), shared: shared.parse().ok()? })
}

/// Keeps a kernel.
pub(crate) fn store(kernel: &str, ptx: &Ptx) {
    if let Some(path) = path(kernel) {
        // Without it the kernel is compiled the next time, too.
        let _ = checked::store(&path, &format!("// {} {}\n{}", ptx.entry, ptx.shared, ptx.text));
    }
}
