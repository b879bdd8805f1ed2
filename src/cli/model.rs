//! A model as the commands that compile take it: description, checkpoint, calibration inputs, and what to make of it.

use super::{coded, data, limits::LimitArgs, passes::write, quantize::QuantizeArgs, say};
use clap::ValueEnum;
use miette::{IntoDiagnostic, WrapErr, miette};
use std::{
    fs,
    path::{Path, PathBuf, absolute},
};
use swint::{
    compiler::{
        frontend::{self, Loaded, Spec},
        pipeline::{Activation, ActivationPolicy, Calibration, Options, Precision},
        quantize::MAX_INPUTS,
    },
    ir::{Code, Module, random},
    runtime::inputs::{self, Split},
};

/// Arguments.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// Checkpoint: safetensors with the tensor names of timm, transformers, torchvision or microsoft/Swin-Transformer, or a folder
    /// with one; by default that in the folder of the description.
    #[arg(long)]
    pub weights: Option<PathBuf>,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Random weights, made with this seed: to look at a program or to time it.
    #[arg(long, value_name = "SEED", conflicts_with = "weights")]
    pub random_weights: Option<u64>,
    /// Calibration inputs for int8: `cifar10` (its training pictures, see `swint data fetch`); a folder of pictures, or of folders of pictures; a safetensors file with `pixels` or
    /// `pixel_values`.
    #[arg(long)]
    pub calib: Option<PathBuf>,
    /// Calibrate with at most so many inputs, evenly spaced among them all.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=MAX_INPUTS as i64))]
    pub calib_limit: u32,
    /// What calibration saw: with --calib it is written here, without it is read.
    #[arg(long, value_name = "FILE")]
    pub calib_stats: Option<PathBuf>,
    /// Numbers of the compiled model.
    #[arg(long, value_enum, default_value = "f32")]
    pub precision: PrecisionArg,
    /// What becomes of the GELU: its exact table (lut; int8 only, and the default there), a ReLU (relu; needs distillation), or
    /// nothing (gelu). For some blocks only: relu:stage=2..3,lut:rest or relu:block=2.0.
    #[arg(long)]
    pub activation: Option<ActivationPolicy>,
    #[command(flatten)]
    pub quantize: QuantizeArgs,
}

/// `--precision`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    F32,
    Int8,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Precision {
        match arg {
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::Int8 => Precision::Int8,
        }
    }
}

impl ModelArgs {
    /// Whether any of these arguments is given.
    pub fn given(&self) -> bool {
        self.precision != PrecisionArg::F32 || self.chooses()
    }

    /// Whether any of these arguments but --precision is given.
    pub fn chooses(&self) -> bool {
        self.weights.is_some()
            || self.random_weights.is_some()
            || self.calib.is_some()
            || self.calib_stats.is_some()
            || self.activation.is_some()
            || self.quantize.given()
    }

    /// What becomes of the GELU, by default the best that changes no result.
    pub fn activation(&self) -> miette::Result<ActivationPolicy> {
        let mut policy = self.activation.clone().unwrap_or_default();
        policy.rest = match (policy.rest, self.precision) {
            (Some(Activation::Lut), PrecisionArg::F32) => {
                return Err(miette!("--activation lut is a table between 8-bit integers: it needs --precision int8"));
            }
            (None, PrecisionArg::F32) => Some(Activation::Gelu),
            (None, PrecisionArg::Int8) => Some(Activation::Lut),
            (chosen, _) => chosen,
        };
        Ok(policy)
    }

    /// The arguments of `swint opt` that choose the same passes and rules.
    pub fn arguments(&self) -> miette::Result<String> {
        Ok(self.quantize.arguments(&self.activation()?))
    }

    /// What to compile to, calibration aside.
    pub fn options<'a>(&self) -> miette::Result<Options<'a>> {
        Ok(Options { precision: self.precision.into(), ..self.quantize.options(&self.activation()?) })
    }

    /// Whether the weights are known: given, random on purpose, or in the folder of the description.
    pub fn has_weights(&self, spec: &Path) -> bool {
        self.weights.is_some() || self.random_weights.is_some() || spec.is_dir()
    }

    /// The description and the float graph; with random weights where no checkpoint is given.
    pub fn load(&self, spec: &Path) -> miette::Result<(Spec, Module)> {
        let own = Some(spec).filter(|spec| spec.is_dir() && self.random_weights.is_none());
        if let Some(weights) = self.weights.as_deref().or(own) {
            let Loaded { spec, module, layout, notes } = frontend::load(spec, weights, &self.limits.limits())?;
            if layout.name != "timm" {
                say(format_args!("note: the tensors are named as in {}", layout.name));
            }
            notes.iter().for_each(|note| say(format_args!("warning: {}: {note}", weights.display())));
            return Ok((spec, module));
        }
        let description = frontend::load_spec(spec)?;
        if self.random_weights.is_none() {
            say("note: no --weights, so they are random: scales and biases in the IR mean nothing");
        }
        let seed = self.random_weights.unwrap_or(0);
        let module = frontend::import(&description, &frontend::random_checkpoint(&description, seed));
        Ok((description, module.map_err(|e| coded(Code::BadCheckpoint, e))?))
    }

    /// What sets the scales of an int8 model; `random_if_none` makes inputs up.
    pub fn calibration(
        &self,
        spec: &Spec,
        module: &Module,
        random_if_none: bool,
    ) -> miette::Result<Option<Calibration>> {
        if self.precision == PrecisionArg::F32 {
            if self.calib.is_some() || self.calib_stats.is_some() || self.quantize.given() {
                say("warning: calibration and choices of quantization are for --precision int8 and not used");
            }
            return Ok(None);
        }
        let ty = &module.graph.inputs[0].ty;
        let inputs = match (&self.calib, &self.calib_stats) {
            (Some(path), _) => {
                let (path, limit) = (data::resolve(path)?, self.calib_limit as usize);
                let inputs = inputs::read_some(&path, ty, spec.preprocess.as_ref(), Split::Train, limit);
                inputs.into_diagnostic().wrap_err("--calib")?
            }
            (None, Some(path)) => {
                return read_statistics(path).map(Some);
            }
            (None, None) if random_if_none => {
                say("note: no --calib, so the scales come from random inputs");
                let mut rng = random::Rng::with_seed(0);
                (0..2).map(|_| random::tensor(ty, &mut rng)).collect()
            }
            (None, None) => {
                return Err(miette!(
                    "--precision int8 needs --calib: a folder of pictures like those the model will see, or a \
                     safetensors file with `pixels` or `pixel_values`; they set the scales of the activations"
                ));
            }
        };
        Ok(Some(Calibration::new(inputs.into_iter().map(|input| vec![input]).collect())))
    }

    /// Refuses to write over what is read: `output` and what --calib-stats writes, over each other or an input.
    pub fn refuse_to_overwrite(&self, spec: &Path, output: Option<&Path>) -> miette::Result<()> {
        let same = |a: &Path, b: &Path| {
            let whole = |path: &Path| fs::canonicalize(path).or_else(|_| absolute(path)).ok();
            whole(a).is_some_and(|a| whole(b) == Some(a))
        };
        let calib = self.calib.as_deref().map(|path| data::resolve(path).unwrap_or_else(|_| path.to_owned()));
        let own = folder_inputs(&[Some(spec), self.weights.as_deref()]);
        let given = [Some(spec), self.weights.as_deref(), calib.as_deref()];
        let inputs: Vec<Option<&Path>> = given.into_iter().chain(own.iter().map(|path| Some(path.as_path()))).collect();
        let stats = self.calib_stats.as_deref();
        // With --calib the statistics are written, without they are an input.
        let (written, read) = if self.calib.is_some() { (stats, None) } else { (None, stats) };
        let clash = |flag: &str, path: Option<&Path>, others: &[Option<&Path>]| {
            let path = path.filter(|path| others.iter().flatten().any(|other| same(path, other)));
            path.map_or(Ok(()), |path| Err(miette!("{flag} {} would overwrite an input", path.display())))
        };
        clash("-o", output, &[&inputs[..], &[read]].concat())?;
        clash("--calib-stats", written, &inputs)?;
        match (output, written) {
            (Some(output), Some(stats)) if same(output, stats) => Err(miette!("-o and --calib-stats name one file")),
            _ => Ok(()),
        }
    }

    /// Writes what calibration saw, where --calib-stats asks for it.
    pub fn save_statistics(&self, calibration: Option<&Calibration>) -> miette::Result<()> {
        let (Some(_), Some(path), Some(calibration)) = (&self.calib, &self.calib_stats, calibration) else {
            return Ok(());
        };
        write(path, &calibration.to_bytes().map_err(|e| miette!("--calib-stats: {e}"))?)
    }
}

/// The files in folders among some paths that may be read as a model's description or checkpoint.
fn folder_inputs(paths: &[Option<&Path>]) -> Vec<PathBuf> {
    let entries = paths.iter().flatten().filter_map(|path| fs::read_dir(path).ok()).flatten();
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_input = |file: &PathBuf| {
        let extension = file.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("json" | "toml" | "safetensors"))
    };
    files.filter(is_input).collect()
}

/// Reads what a calibration saw.
pub fn read_statistics(path: &Path) -> miette::Result<Calibration> {
    let read = || Calibration::from_bytes(&fs::read(path).map_err(|e| e.to_string())?);
    read().map_err(|e| miette!("--calib-stats: {}: {e}", path.display()))
}
