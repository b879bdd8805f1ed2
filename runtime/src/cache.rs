//! Where downloaded data sets are.

use std::{
    env,
    path::{Path, PathBuf},
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
