//! Descriptions of devices, `compiler/targets/*.toml` and files like them.

use super::Timings;
use serde::Deserialize;
use std::{ops::Range, sync::Arc};
use swint_ir::{Code, SourceError, SourceErrors, diagnostic::Source};
use toml::Spanned;

/// A device, as the cost model sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// Its name: of CUDA devices the compute capability.
    pub name: String,
    /// Which device its numbers are of.
    pub device: String,
    /// Memory bandwidth in bytes per picosecond (TB/s).
    pub bandwidth: f64,
    /// Multiply-adds of 8-bit integers per picosecond.
    pub int8: f64,
    /// Float or other elementary operations per picosecond, a multiply-add being one.
    pub scalar: f64,
    /// Time to launch a kernel, in picoseconds.
    pub launch: f64,
    /// Bytes that one kernel can keep near its cores: shared memory of a block, or a core's cache.
    pub on_chip: usize,
    /// Times that were measured on it. They override the estimates.
    pub timings: Option<Arc<Timings>>,
}

/// The texts that are part of the program, the default first.
const BUILT_IN: [(&str, &str); 4] = [
    ("sm_89", include_str!("../../targets/sm_89.toml")),
    ("sm_90", include_str!("../../targets/sm_90.toml")),
    ("sm_80", include_str!("../../targets/sm_80.toml")),
    ("cpu", include_str!("../../targets/cpu.toml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTarget {
    name: String,
    device: String,
    bandwidth_tb_s: Spanned<f64>,
    int8_tmac_s: Spanned<f64>,
    scalar_top_s: Spanned<f64>,
    launch_us: Spanned<f64>,
    on_chip_kib: Spanned<f64>,
}

impl Target {
    /// The names of the targets that need no file.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The target of a name.
    pub fn named(name: &str) -> Option<Target> {
        let (file, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Target::parse(file, text).expect("a test reads every one of them"))
    }

    /// Reads a description. `file` names it in errors.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place in the text.
    pub fn parse(file: &str, text: &str) -> Result<Target, SourceErrors> {
        let source = Arc::new(Source::new(file, text));
        let error = |span: Range<usize>, message: &str| SourceError::new(&source, Code::BadSpec, span, message, "here");
        let raw: RawTarget = toml::from_str(text)
            .map_err(|e| SourceErrors::new(&source, vec![error(e.span().unwrap_or(0..0), e.message().trim())]))?;
        let mut problems = Vec::new();
        let mut positive = |value: &Spanned<f64>| {
            if !(1e-9..=1e9).contains(value.get_ref()) {
                problems.push(error(value.span(), "wanted a number from 1e-9 to 1e9"));
            }
            *value.get_ref()
        };
        let target = Target {
            bandwidth: positive(&raw.bandwidth_tb_s),
            int8: positive(&raw.int8_tmac_s),
            scalar: positive(&raw.scalar_top_s),
            launch: positive(&raw.launch_us) * 1e6,
            on_chip: (positive(&raw.on_chip_kib) * 1024.0) as usize,
            timings: None,
            name: raw.name,
            device: raw.device,
        };
        if problems.is_empty() { Ok(target) } else { Err(SourceErrors::new(&source, problems)) }
    }
}

impl Default for Target {
    /// An NVIDIA RTX 4090.
    fn default() -> Target {
        Target::named(BUILT_IN[0].0).expect("it is one of them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_target_is_read_under_its_name() {
        for name in Target::names() {
            assert_eq!(Target::named(name).unwrap().name, name);
        }
        assert_eq!(Target::named("sm_75"), None);
        assert_eq!(Target::default().name, "sm_89");
    }

    #[test]
    fn problems_point_at_their_place() {
        let text = BUILT_IN[0].1;
        for (from, to, line, message) in [
            ("1.008", "0.0", 4, "wanted a number from"),
            ("330.3", "inf", 5, "wanted a number from"),
            ("launch_us", "lunch_us", 7, "unknown field `lunch_us`"),
            ("\"NVIDIA", "NVIDIA", 3, ""),
        ] {
            let error = Target::parse("t.toml", &text.replacen(from, to, 1)).unwrap_err();
            assert_eq!(error.errors[0].line_column().0, line, "{to}: {:?}", error.errors);
            assert!(error.errors[0].message.contains(message), "{:?}", error.errors);
        }
        let two = text.replace("1.008", "-1.0").replace("2.0", "nan");
        assert_eq!(Target::parse("t.toml", &two).unwrap_err().errors.len(), 2);
    }
}
