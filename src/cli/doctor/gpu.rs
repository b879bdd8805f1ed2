//! NVIDIA's driver and its devices.

use super::{Check, size};
use crate::cli::print;
use miette::IntoDiagnostic;
use std::{
    env,
    io::Read,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};
use swint::runtime::probe::{Driver, Gpu, driver};

const AREA: &str = "NVIDIA GPU";

/// A driver that says nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of the question: `Ok(None)` where there is no driver.
type Answer = Result<Option<Driver>, String>;

/// Asks the driver and prints the answer, as JSON.
pub fn answer() -> miette::Result<ExitCode> {
    let answer: Answer = driver();
    print(serde_json::to_string(&answer).into_diagnostic()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the driver in a process of its own: what calls itself libcuda may do anything.
fn ask() -> Answer {
    let program = env::current_exe().map_err(|e| format!("this program does not know its own file: {e}"))?;
    let child = Command::new(program)
        .args(["doctor", "--ask-driver"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("this program cannot be started again: {e}"))?;
    let (said, complained) = outcome(child)?;
    serde_json::from_str(&said).unwrap_or_else(|_| {
        // A panic's first line is where it was.
        let reason = complained.lines().find(|line| !line.contains("panicked at") && !line.trim().is_empty());
        Err(format!("it does not work: {}", reason.unwrap_or("the process that asked it died").trim()))
    })
}

/// What a process writes until it ends, which it must.
fn outcome(mut child: Child) -> Result<(String, String), String> {
    fn reader(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came before an error is all there is.
            let _ = from.map(|from| from.take(1 << 20).read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let (said, complained) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let start = Instant::now();
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("it has said nothing for {} seconds", PATIENCE.as_secs()));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok((said.join().unwrap_or_default(), complained.join().unwrap_or_default()))
}

/// The driver, and each of its devices.
pub fn checks() -> Vec<Check> {
    const INSTALL: &str =
        "for --device cuda install NVIDIA's driver, of CUDA 12.0 or later; everything else works without";
    let driver = match ask() {
        Ok(Some(driver)) => driver,
        Ok(None) => return vec![Check::warn(AREA, "driver", "no libcuda was found", INSTALL)],
        Err(error) => {
            return vec![Check::warn(AREA, "driver", format!("libcuda: {error}"), format!("{INSTALL}; then restart"))];
        }
    };
    let version = format!("CUDA {}.{}", driver.version / 1000, driver.version % 1000 / 10);
    let mut checks = vec![if !driver.runs() {
        Check::warn(AREA, "driver", version, "12.0 is the least for --device cuda: install a newer driver")
    } else if !driver.times() {
        Check::warn(AREA, "driver", version, "`swint tune` and `--timings` need 12.8 or later: install a newer driver")
    } else {
        Check::ok(AREA, "driver", version)
    }];
    match driver.devices {
        Ok(gpus) if gpus.is_empty() => checks.push(none("the driver has no device")),
        Ok(gpus) => checks.extend(gpus.iter().map(device)),
        Err(error) => checks.push(none(&error)),
    }
    checks
}

fn none(reason: &str) -> Check {
    let advice =
        "see whether `nvidia-smi` lists a GPU, and whether this process or container may use it (CUDA_VISIBLE_DEVICES)";
    Check::warn(AREA, "device", reason, advice)
}

fn device(gpu: &Gpu) -> Check {
    let (major, minor) = gpu.capability;
    let about = format!(
        "{}: compute capability {major}.{minor}, {} multiprocessors, {}",
        gpu.name,
        gpu.processors,
        size(gpu.memory)
    );
    match &gpu.target {
        Some(target) => Check::ok(AREA, "device", format!("{about}; kernels for {target}")),
        None => Check::warn(AREA, "device", about, "it has no int8 tensor cores: 8.0 is the least for --device cuda"),
    }
}
