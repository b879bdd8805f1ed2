//! `swint opt`: passes on a text graph.

use super::{
    limits::LimitArgs,
    model::read_statistics,
    passes::{PassArgs, pass_name, write},
    print,
    quantize::QuantizeArgs,
    say,
    source::{read_constants, read_ir, read_tensors},
    tolerance,
};
use miette::miette;
use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};
use swint::{
    compiler::{
        egraph::Class,
        pipeline::{ActivationPolicy, Calibration, Options, PASSES, Pass, find},
        rules::{RuleSet, rules},
        validate::validate,
    },
    ir::{Data, Elem, Graph, Module, Tensor, Weights, diagnostic::did_you_mean, random, text, verify_weights},
    runtime::tensors::to_safetensors,
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// IR text; `-` reads stdin.
    #[arg(required_unless_present = "list")]
    file: Option<PathBuf>,
    /// List the passes and the rewrite rules.
    #[arg(long)]
    list: bool,
    /// Passes to run, in this order. Without, the graph is parsed, verified and printed.
    #[arg(long, value_delimiter = ',', value_parser = pass_name)]
    passes: Vec<String>,
    /// What becomes of the GELU: which rules `rewrite` uses, and which blocks `approximate` changes.
    #[arg(long, default_value = "lut")]
    activation: ActivationPolicy,
    #[command(flatten)]
    quantize: QuantizeArgs,
    /// Let `rewrite` use these rules only, `--activation` aside.
    #[arg(long, value_delimiter = ',', value_parser = rule_name)]
    rules: Option<Vec<String>>,
    /// Values of the constants, a safetensors file; without, they are random.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Give every element of a constant this value.
    #[arg(long, value_name = "NAME=VALUE", value_parser = fill)]
    fill: Vec<(String, f64)>,
    /// Seed of random constants and inputs.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Calibration inputs for `equalize` and `quantize`, a safetensors file with tensors 0.NAME, 1.NAME, … for each input; without,
    /// they are random.
    #[arg(long, value_name = "FILE")]
    calib: Option<PathBuf>,
    /// What a calibration saw, as `swint compile --calib-stats` writes it, in place of --calib.
    #[arg(long, value_name = "FILE", conflicts_with = "calib")]
    calib_stats: Option<PathBuf>,
    /// Run the program before and after the passes on so many random inputs and compare; exit code 1 where they differ by
    /// more than the tolerance.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    validate: Option<u32>,
    /// Largest difference that --validate allows, relative to the largest output; 0 wants every bit.
    #[arg(long, default_value = "0", requires = "validate", value_parser = tolerance)]
    tolerance: f64,
    /// Write the IR here and not to stdout.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Write the constants of the result, a safetensors file.
    #[arg(long, value_name = "FILE")]
    weights_out: Option<PathBuf>,
    #[command(flatten)]
    pass_args: PassArgs,
}

/// Most memory that random constants may take: ten times Swin-L's.
const MOST_RANDOM_BYTES: usize = 8 << 30;

fn rule_name(name: &str) -> Result<String, String> {
    let table = rules(RuleSet::ALL);
    if table.iter().any(|rule| rule.name == name) {
        return Ok(name.to_owned());
    }
    let hint = did_you_mean(name, table.iter().map(|rule| rule.name.as_str()));
    Err(format!("no such rule{}", hint.map_or_else(String::new, |hint| format!("; {hint}"))))
}

/// Every pass and rule, a line each.
fn listing() -> String {
    let mut text = "passes\n".to_owned();
    for pass in &PASSES {
        text += &format!("  {:<16}{}\n", pass.name, pass.summary);
    }
    text += "\nrules of the pass rewrite; `real` ones are identities over the reals, within a bound\n";
    for rule in rules(RuleSet::ALL) {
        let class = if rule.class == Class::Exact { "exact" } else { "real" };
        text += &format!("  {:<34}{class:<7}{} => {}\n", rule.name, rule.lhs, rule.rhs);
    }
    text
}

fn fill(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("wanted NAME=VALUE")?;
    let value: f64 = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
    Ok((name.trim_start_matches('@').to_owned(), value))
}

impl Args {
    /// Runs the passes.
    pub fn run(self) -> miette::Result<ExitCode> {
        let Some(file) = self.file.as_ref().filter(|_| !self.list) else {
            print(listing())?;
            return Ok(ExitCode::SUCCESS);
        };
        let passes: Vec<&Pass> = self.passes.iter().map(|name| find(name).expect("checked by the parser")).collect();
        let calibrated = passes.iter().any(|pass| pass.calibrated);
        if (self.calib.is_some() || self.calib_stats.is_some()) && !calibrated {
            return Err(miette!("--calib is for the passes equalize and quantize, of which none runs"));
        }
        if self.rules.is_some() && passes.iter().all(|pass| pass.name != "rewrite") {
            return Err(miette!("--rules is for the pass rewrite, which does not run"));
        }
        if self.output.is_some() && self.output == self.weights_out {
            return Err(miette!("-o and --weights-out name one file"));
        }
        let (graph, map) = read_ir(file)?;
        let needs_values = !self.passes.is_empty()
            || self.weights.is_some()
            || !self.fill.is_empty()
            || self.weights_out.is_some()
            || self.validate.is_some()
            || self.pass_args.given();
        if !needs_values {
            // The round trip: no constant needs a value, however large it is declared.
            let text = text::print(&graph);
            match &self.output {
                Some(path) => write(path, text.as_bytes())?,
                None => print(text)?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        let weights = self.weights(&graph)?;
        verify_weights(&graph, &weights).map_err(|error| map.report(&error))?;
        let before = Module { graph, weights };
        let calibration = if calibrated { Some(self.calibration(&before.graph)?) } else { None };
        let rules: Option<BTreeSet<String>> = self.rules.as_ref().map(|names| names.iter().cloned().collect());
        let mut arguments = self.quantize.arguments(&self.activation);
        if let Some(rules) = &rules {
            arguments += &format!(" --rules {}", rules.iter().map(String::as_str).collect::<Vec<_>>().join(","));
        }
        let options = Options { calibration: calibration.as_ref(), rules, ..self.quantize.options(&self.activation) };
        let (after, report) = self.pass_args.run(passes, &before, &options, &arguments)?;
        if let Some(rewrite) = &report.rewrite {
            let fired: Vec<String> = rewrite.applied.iter().map(|(rule, n)| format!("{rule} {n}")).collect();
            say(format_args!("rules fired: {}", if fired.is_empty() { "none".to_owned() } else { fired.join(", ") }));
        }
        let holds = self.validated(&before, &after)?;
        let text = text::print(&after.graph);
        match &self.output {
            // A file stays what it was where the program is wrong.
            Some(path) if holds => write(path, text.as_bytes())?,
            None if !self.pass_args.prints() => print(text)?,
            _ => {}
        }
        if let (Some(path), true) = (&self.weights_out, holds) {
            let tensors = after.weights.0.iter().map(|(name, tensor)| (&**name, &**tensor));
            write(path, &to_safetensors(tensors).map_err(|e| miette!("{e}"))?)?;
        }
        Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Whether the programs agree as --validate wants it.
    fn validated(&self, before: &Module, after: &Module) -> miette::Result<bool> {
        let Some(inputs) = self.validate else { return Ok(true) };
        let difference = validate(before, after, inputs as usize, self.seed).map_err(|e| miette!("--validate: {e}"))?;
        say(format_args!("validated on {difference}"));
        // Zero wants every bit: 0.0 and -0.0 are apart, but by nothing.
        let exact = self.tolerance == 0.0;
        Ok(if exact { difference.differing == 0 } else { f64::from(difference.relative()) <= self.tolerance })
    }

    fn weights(&self, graph: &Graph) -> miette::Result<Weights> {
        let mut weights = match &self.weights {
            None => {
                let bytes = graph.consts.iter().fold(0usize, |sum, c| sum.saturating_add(c.ty.bytes()));
                if bytes > MOST_RANDOM_BYTES {
                    let gib = bytes as f64 / f64::from(1 << 30);
                    return Err(miette!("the constants would take {gib:.1} GiB of random values: give --weights"));
                }
                random::weights(graph, self.seed)
            }
            Some(path) => read_constants(path, graph, &self.limits.limits())?,
        };
        for (name, value) in &self.fill {
            let Some(decl) = graph.consts.iter().find(|c| *c.name == **name) else {
                return Err(miette!("--fill: the graph declares no constant @{name}"));
            };
            let (low, high) = decl.ty.elem.range().unwrap_or((i32::MIN, i32::MAX));
            if decl.ty.elem.is_int() && !(value.fract() == 0.0 && (f64::from(low)..=f64::from(high)).contains(value)) {
                return Err(miette!("--fill: {value} is no {}, which @{name} holds", decl.ty.elem));
            }
            let n = decl.ty.elements();
            let data = match decl.ty.elem {
                Elem::F32 => Data::F32(vec![*value as f32; n]),
                elem => Data::from_i32(elem, std::iter::repeat_n(*value as i32, n)),
            };
            weights.insert(name.as_str(), Tensor::new(decl.ty.shape.clone(), data));
        }
        Ok(weights)
    }

    fn calibration(&self, graph: &Graph) -> miette::Result<Calibration> {
        if let Some(path) = &self.calib_stats {
            return read_statistics(path);
        }
        let Some(path) = &self.calib else {
            let mut rng = random::Rng::with_seed(self.seed);
            return Ok(Calibration::new((0..2).map(|_| random::inputs(graph, &mut rng)).collect()));
        };
        let mut tensors = read_tensors(path, &self.limits.limits())?.0;
        let mut samples = Vec::new();
        while !tensors.is_empty() || samples.is_empty() {
            let sample = graph.inputs.iter().map(|input| {
                let name = format!("{}.{}", samples.len(), input.name);
                tensors.remove(&name).ok_or_else(|| {
                    miette!(
                        help = "it holds tensors 0.NAME, 1.NAME, … for each input NAME of the graph, and no others",
                        "--calib {}: there is no tensor {name}",
                        path.display()
                    )
                })
            });
            samples.push(sample.collect::<miette::Result<Vec<_>>>()?);
        }
        Ok(Calibration::new(samples))
    }
}
