//! Where downloaded data sets are.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The file of CIFAR-10 in the cache.
pub const CIFAR10: &str = "cifar10.safetensors";

/// The cache: `$SWINT_CACHE`, else `swint` in the user's cache folder.
///
/// # Errors
/// When there is neither.
pub fn folder() -> Result<PathBuf, String> {
    if let Some(folder) = env::var_os("SWINT_CACHE").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let folder = dirs::cache_dir().ok_or("there is no cache folder: set SWINT_CACHE")?;
    Ok(folder.join("swint"))
}

/// The file that a path means: `cifar10` is a data set in the cache, unless there is such a file.
///
/// # Errors
/// When it is not in the cache.
pub fn resolve(path: &Path) -> Result<PathBuf, String> {
    if path != Path::new("cifar10") || path.exists() {
        return Ok(path.to_owned());
    }
    let cached = folder()?.join(CIFAR10);
    if cached.is_file() {
        return Ok(cached);
    }
    Err(format!("cifar10 is not in the cache ({}): run `swint data fetch cifar10`", cached.display()))
}

/// The folder of compiled kernels in the cache, and the end of their files' names.
pub(crate) const KERNELS: (&str, &str) = ("ptx", "ptx");

/// The folder of what tuning found, and the end of its files' names.
pub(crate) const TUNED: (&str, &str) = ("tuned", "json");

/// Files, and their bytes together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// How many.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A file of the cache.
struct Entry {
    path: PathBuf,
    bytes: u64,
    written: SystemTime,
}

/// The files of a kind in a cache. Only names that this program gives: 64 hexadecimal digits; and no links.
fn entries(cache: &Path, (folder, end): (&str, &str)) -> io::Result<Vec<Entry>> {
    let listed = match fs::read_dir(cache.join(folder)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry?;
        let path = entry.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let ours = stem.len() == 64 && stem.bytes().all(|b| b.is_ascii_hexdigit());
        // Another process may have removed it since.
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        if ours && path.extension().is_some_and(|e| e == end) && about.is_file() {
            found.push(Entry { path, bytes: about.len(), written: about.modified()? });
        }
    }
    Ok(found)
}

fn usage(entries: &[Entry]) -> Usage {
    Usage { files: entries.len(), bytes: entries.iter().map(|entry| entry.bytes).sum() }
}

/// Compiled kernels in a cache, and what tuning found.
///
/// # Errors
/// When a folder cannot be read.
pub fn used(cache: &Path) -> io::Result<(Usage, Usage)> {
    Ok((usage(&entries(cache, KERNELS)?), usage(&entries(cache, TUNED)?)))
}

/// Removes compiled kernels of a cache that were written longer ago than `age`, and of the others the oldest, until they have no more
/// than `most` bytes together. What was removed, and what stays. A kernel that is needed again is compiled again.
///
/// # Errors
/// When the folder cannot be read or a file not be removed.
pub fn prune(cache: &Path, age: Duration, most: u64) -> io::Result<(Usage, Usage)> {
    let mut kernels = entries(cache, KERNELS)?;
    kernels.sort_by_key(|kernel| std::cmp::Reverse(kernel.written));
    let now = SystemTime::now();
    let mut room = most;
    let (kept, removed): (Vec<Entry>, Vec<Entry>) = kernels.into_iter().partition(|kernel| {
        let young = now.duration_since(kernel.written).is_ok_and(|old| old <= age) || kernel.written > now;
        let fits = young && kernel.bytes <= room;
        // What is older than one that has no room has none, either.
        room = if fits { room - kernel.bytes } else { 0 };
        fits
    });
    for kernel in &removed {
        match fs::remove_file(&kernel.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok((usage(&removed), usage(&kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_go_and_nothing_else() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(used(cache.path()).unwrap(), Default::default());
        assert_eq!(prune(cache.path(), Duration::ZERO, 0).unwrap(), Default::default());
        let day = Duration::from_secs(86_400);
        let write = |name: String, days: u32| {
            let path = cache.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, [0; 100]).unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - day * days).unwrap();
            path
        };
        let kernels: Vec<PathBuf> = (0..5).map(|i| write(format!("ptx/{i:064x}.ptx"), i * 10)).collect();
        let others = ["ptx/notes.ptx", "ptx/0.ptx", CIFAR10].map(|name| write(name.to_owned(), 1000));
        let tuned = write(format!("tuned/{:064x}.json", 1), 1000);
        #[cfg(unix)]
        std::os::unix::fs::symlink(&others[0], cache.path().join(format!("ptx/{:064x}.ptx", 9))).unwrap();
        let of = |files| Usage { files, bytes: 100 * files as u64 };
        assert_eq!(used(cache.path()).unwrap(), (of(5), of(1)));
        // By age two go, by size one more: the oldest of those that are left.
        assert_eq!(prune(cache.path(), day * 25, 250).unwrap(), (of(3), of(2)));
        let left: Vec<bool> = kernels.iter().map(|path| path.exists()).collect();
        assert_eq!(left, [true, true, false, false, false]);
        assert!(others.iter().chain([&tuned]).all(|path| path.exists()));
        assert_eq!(prune(cache.path(), Duration::ZERO, u64::MAX).unwrap().1, of(0));
        assert!(others.iter().chain([&tuned]).all(|path| path.exists()));
    }
}
