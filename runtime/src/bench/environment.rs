//! What a measurement depends on beside the program: this machine, its system, the libraries in use.

use super::report::{Host, Tool};
use std::{
    collections::BTreeMap,
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

/// The versions that the workspace pins.
const LIBRARIES: [(&str, &str); 2] = [("cubecl", "0.11.3"), ("llvm", "23.1")];

/// This program.
pub fn tool() -> Tool {
    let libraries: BTreeMap<_, _> =
        LIBRARIES.iter().map(|&(name, version)| (name.to_owned(), version.into())).collect();
    Tool { name: "swint".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), libraries }
}

/// This machine.
pub fn host() -> Host {
    Host { cpu: cpu(), os: os(), features: features().into_iter().map(str::to_owned).collect() }
}

/// The processor's name; where the system does not say it, its architecture.
pub(crate) fn cpu() -> String {
    cpu_info("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The first core's clock at this moment, in MHz.
pub(crate) fn clock_mhz() -> Option<f64> {
    cpu_info("cpu MHz")?.parse().ok().filter(|mhz: &f64| mhz.is_finite())
}

/// What Linux says of the first core.
fn cpu_info(key: &str) -> Option<String> {
    value_of(&fs::read_to_string("/proc/cpuinfo").ok()?, key, ':')
}

/// The value on the first line of this key.
fn value_of(text: &str, key: &str, separator: char) -> Option<String> {
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    });
    value.filter(|value| !value.is_empty())
}

fn os() -> String {
    let name = fs::read_to_string("/etc/os-release").ok().and_then(|text| value_of(&text, "PRETTY_NAME", '='));
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|release| format!("Linux {}", release.trim()));
    let known: Vec<String> = [name, kernel].into_iter().flatten().collect();
    if known.is_empty() { std::env::consts::OS.to_owned() } else { known.join(", ") }
}

/// Those of the processor's features that kernels can gain from.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    macro_rules! detected {
        ($($name:tt)*) => { [$(($name, std::arch::is_x86_feature_detected!($name))),*] };
    }
    let all =
        detected!("sse4.2" "avx" "avx2" "fma" "avxvnni" "avx512f" "avx512bw" "avx512vl" "avx512vnni" "avx512vbmi");
    all.into_iter().filter_map(|(name, is)| is.then_some(name)).collect()
}

/// Those of the processor's features that kernels can gain from.
#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    macro_rules! detected {
        ($($name:tt)*) => { [$(($name, std::arch::is_aarch64_feature_detected!($name))),*] };
    }
    detected!("neon" "dotprod" "i8mm" "sve").into_iter().filter_map(|(name, is)| is.then_some(name)).collect()
}

/// Nothing is asked of other processors.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

/// A time as `2026-01-31T23:59:59Z`.
pub fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut day) = (1970, days);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", day + 1, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// `date -u -d @SECONDS +%FT%TZ` printed these.
    #[test]
    fn times_are_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn versions_are_those_of_the_workspace() {
        let manifest = include_str!("../../../Cargo.toml");
        let bundler = include_str!("../../llvm-bundler/src/config.rs");
        let [(_, cubecl), (_, llvm)] = LIBRARIES;
        assert!(manifest.contains(&format!("cubecl = {{ version = \"={cubecl}\"")));
        assert!(bundler.contains(&format!("LLVM_VERSION: &str = \"{llvm}.\"")));
    }

    #[test]
    fn values_are_found_by_their_key() {
        let text = "processor\t: 0\nmodel name\t: A: B \nempty :\n";
        assert_eq!(value_of(text, "model name", ':').as_deref(), Some("A: B"));
        assert_eq!((value_of(text, "empty", ':'), value_of(text, "name", ':')), (None, None));
        assert_eq!(value_of("NAME=\"x y\"", "NAME", '=').as_deref(), Some("x y"));
        assert!(!host().cpu.is_empty() && !host().os.is_empty());
    }
}
