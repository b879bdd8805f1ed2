//! `swint doctor`: on this machine, with the stand-in for NVIDIA's driver, and with broken ones.

use crate::cli::text;
use serde_json::Value as Json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

fn doctor(libraries: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swint"));
    command.arg("doctor").args(args).env("LD_LIBRARY_PATH", libraries).env("SWINT_CACHE", libraries.join("cache"));
    command.envs(variables.iter().copied()).output().unwrap()
}

/// The check of a name.
fn check<'a>(json: &'a Json, name: &str) -> &'a Json {
    json["checks"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("{name}: {json:#}"))
}

/// What it says of the machine, as JSON; it succeeds.
fn looked_at(libraries: &Path, variables: &[(&str, &str)]) -> Json {
    let out = doctor(libraries, variables, &["--json"]);
    assert!(out.status.success() && out.stderr.is_empty(), "{}{}", text(&out.stdout), text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn a_machine_without_a_gpu_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let json = looked_at(folder.path(), &[("PATH", ""), ("SWINT_PTXAS", "/none/ptxas")]);
    for (name, mark, found) in [
        ("kernels", "ok", "gave the right result"),
        ("driver", "warn", "no libcuda was found"),
        ("ptxas, nvdisasm", "warn", "names /none/ptxas, which is no file"),
        ("rustc", "ok", "only building swint needs it"),
        ("built with", "ok", "rustc 1."),
        ("tuned", "ok", "0 devices"),
    ] {
        let check = check(&json, name);
        assert!(check["mark"] == mark && check["found"].as_str().unwrap().contains(found), "{check:#}");
        // Each gap comes with what to do about it.
        assert_eq!(check["advice"].is_string(), mark != "ok", "{check:#}");
    }
    assert_eq!(json["worst"], "warn");
    let out = doctor(folder.path(), &[], &[]);
    let said = text(&out.stdout);
    assert!(
        out.status.success() && said.contains("  warn  driver") && said.contains("-> for --device cuda install"),
        "{said}"
    );
    assert!(said.contains("\nProcessor\n  ok    cores"), "{said}");
    // Looking leaves nothing behind.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_gpu_is_described() {
    let folder = tempfile::tempdir().unwrap();
    swint_cuda_stand_in::install(folder.path()).unwrap();
    for (sm, capability, processors) in [("89", "8.9", 128), ("90", "9.0", 132)] {
        let json = looked_at(folder.path(), &[("SWINT_STAND_IN_SM", sm)]);
        assert_eq!(check(&json, "driver")["found"], "CUDA 12.8");
        let device = check(&json, "device");
        let wanted = format!(
            "swint PTX simulator (not a GPU): compute capability {capability}, {processors} multiprocessors, 8.6 GB; kernels for sm_{sm}"
        );
        assert_eq!((&device["mark"], &device["found"]), (&"ok".into(), &wanted.into()));
    }
    // A driver that has no device.
    let json = looked_at(folder.path(), &[("SWINT_STAND_IN_SM", "75")]);
    let device = check(&json, "device");
    assert!(device["mark"] == "warn" && device["advice"].as_str().unwrap().contains("nvidia-smi"), "{device:#}");
}

/// A library of this process that is no driver.
fn another_library() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let path = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libgcc_s"));
    PathBuf::from(path.expect("it unwinds"))
}

#[test]
fn a_broken_driver_is_said_and_breaks_nothing() {
    let install = |name: &str| -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in ["libcuda.so", "libcuda.so.1"] {
            match name {
                "garbage" => fs::write(folder.path().join(file), "no library").unwrap(),
                _ => drop(fs::copy(another_library(), folder.path().join(file)).unwrap()),
            }
        }
        folder
    };
    let folder = install("garbage");
    assert_eq!(check(&looked_at(folder.path(), &[]), "driver")["found"], "no libcuda was found");
    let folder = install("another");
    let json = looked_at(folder.path(), &[]);
    let driver = check(&json, "driver");
    assert!(
        driver["mark"] == "warn" && driver["found"].as_str().unwrap().starts_with("libcuda: it does not work"),
        "{driver:#}"
    );
}

#[test]
fn old_kernels_are_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let kernels = folder.path().join("cache/ptx");
    fs::create_dir_all(&kernels).unwrap();
    for days in 0..4 {
        let path = kernels.join(format!("{days:064x}.ptx"));
        fs::write(&path, vec![b' '; 1_000_000]).unwrap();
        let time = SystemTime::now() - Duration::from_secs(days * 86_400 + 60);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    let said = |args: &[&str]| text(&doctor(folder.path(), &[], args).stdout);
    assert!(said(&[]).contains("4 for GPUs, 4.0 MB"));
    let prune = "--prune-cache";
    assert_eq!(said(&[prune]), "removed 0 compiled kernels, 0 B; 4 stay, 4.0 MB\n");
    assert_eq!(said(&[prune, "--older-than", "3"]), "removed 1 compiled kernels, 1.0 MB; 3 stay, 3.0 MB\n");
    let json: Json = serde_json::from_str(&said(&[prune, "--keep", "1", "--json"])).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"removed": {"files": 2, "bytes": 2_000_000}, "kept": {"files": 1, "bytes": 1_000_000}})
    );
    assert!(kernels.join(format!("{:064x}.ptx", 0)).exists());
    let out = doctor(folder.path(), &[], &["--keep", "1"]);
    assert!(!out.status.success() && text(&out.stderr).contains("--prune-cache"));
}
