//! What becomes of the GELUs, as the command line says it.

use crate::approximate::Blocks;
use std::{fmt, str::FromStr};

/// What becomes of a GELU between integers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Activation {
    /// Its table of 256 entries: exact.
    #[default]
    Lut,
    /// A ReLU, the clamp of a requantization: an approximation that needs distillation.
    Relu,
    /// It stays, in float: the baseline.
    Gelu,
}

impl Activation {
    const NAMES: [(&str, Activation); 3] =
        [("lut", Activation::Lut), ("relu", Activation::Relu), ("gelu", Activation::Gelu)];
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Activation::NAMES.iter().find(|(_, activation)| activation == self).expect("all have names");
        f.write_str(name)
    }
}

/// A ReLU for some blocks, something else for the rest: `relu`, `lut`, `relu:stage=2..3`, `relu:block=2.0,gelu:rest`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ActivationPolicy {
    /// Blocks whose GELU becomes a ReLU.
    pub relu: Vec<Blocks>,
    /// What becomes of the others; `None` leaves it to the precision.
    pub rest: Option<Activation>,
}

impl FromStr for ActivationPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<ActivationPolicy, String> {
        let mut policy = ActivationPolicy::default();
        for row in text.split(',') {
            let (name, selector) = row.split_once(':').unwrap_or((row, "rest"));
            let found = Activation::NAMES.iter().find(|(known, _)| *known == name);
            let activation = found.ok_or_else(|| format!("{name:?}: there are lut, relu, gelu"))?.1;
            match (selector, activation) {
                ("rest", _) if policy.rest.is_some() => return Err("the rest is named twice".to_owned()),
                ("rest", _) => policy.rest = Some(activation),
                (blocks, Activation::Relu) => policy.relu.push(blocks.parse()?),
                _ => return Err(format!("{row:?}: only relu is for some blocks; lut or gelu is for the rest")),
            }
        }
        match (&policy.relu[..], policy.rest) {
            ([_, ..], Some(Activation::Relu)) => Err("relu for the rest leaves no block to name".to_owned()),
            _ => Ok(policy),
        }
    }
}

impl fmt::Display for ActivationPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for blocks in &self.relu {
            write!(f, "relu:{blocks},")?;
        }
        match self.rest {
            Some(rest) if self.relu.is_empty() => write!(f, "{rest}"),
            Some(rest) => write!(f, "{rest}:rest"),
            None => f.write_str("rest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for text in ["lut", "relu", "gelu", "relu:stage=2..3,lut:rest", "relu:block=2.0,relu:stage=0,gelu:rest"] {
            assert_eq!(text.parse::<ActivationPolicy>().unwrap().to_string(), text);
        }
        let open: ActivationPolicy = "relu:stage=1".parse().unwrap();
        assert_eq!((open.relu.len(), open.rest), (1, None));
        for text in ["", "silu", "lut:stage=1", "lut,gelu", "relu:stage=1,relu", "relu:stage=x", "relu:", "lut,"] {
            assert!(text.parse::<ActivationPolicy>().is_err(), "{text}");
        }
    }
}
