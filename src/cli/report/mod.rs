//! `swint report`: a compiled model as one page of HTML.

mod bench;

use super::{
    DeviceArg, Engine,
    bench::pattern,
    data::resolve,
    layerwise,
    passes::{DEFAULT_TARGET, target_of, write},
    print, say,
    source::read_artifact,
};
use miette::{IntoDiagnostic, WrapErr, miette};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    slice,
};
use swint::{
    compiler::{
        egraph::Target,
        frontend::{Preprocess, Resize},
        plan::{Choices, Plan, plan_for},
    },
    ir::Graph,
    report::{Accuracy, Bench, Model, ModuleAccuracy, Profile, Report, page},
    runtime::{
        artifact::Artifact,
        bench::{Settings, time_launches},
        device::processor,
        offline::Sm,
    },
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Compiled model.
    model: PathBuf,
    /// Write the page here.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Images of an inference: kernels depend on it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// The device whose roofs, estimates and kernels are shown: sm_89, sm_90, sm_80, cpu, or a description (.toml). [default: the
    /// one that the model was compiled for; with --measure cpu, cpu]
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Time every launch on this device, and show its kernels and these times.
    #[arg(long, value_enum, value_name = "DEVICE")]
    measure: Option<DeviceArg>,
    /// Results of `swint bench --json`, or of other programs in the same form (swint-bench/1); several, separated by commas.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    bench: Vec<PathBuf>,
    /// The float model to compare every module's results with: the same description, compiled with --precision f32.
    #[arg(long, value_name = "MODEL", requires = "input")]
    reference: Option<PathBuf>,
    /// Inputs for that: `cifar10`, a folder of pictures, or a safetensors file.
    #[arg(long, value_name = "INPUTS", requires = "reference")]
    input: Option<PathBuf>,
    /// Use at most so many of them, evenly spaced among them all.
    #[arg(long, value_name = "N", default_value_t = 64, requires = "reference", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Where to run them.
    #[arg(long, value_enum, default_value = "cpu", requires = "reference")]
    device: DeviceArg,
}

/// Kernels that are shown, and what they were made of.
struct Planned {
    graph: Graph,
    plan: Plan,
    profile: Option<Profile>,
}

impl Args {
    /// Writes the page.
    pub fn run(self) -> miette::Result<ExitCode> {
        self.refuse_to_overwrite()?;
        let artifact = read_artifact(&self.model)?;
        let target = target_of(&self.target_name(&artifact))?;
        let files = self.bench.iter().map(|path| bench::read(path)).collect::<miette::Result<Vec<_>>>()?.concat();
        let planned = match self.measure {
            Some(device) => self.measured(&artifact, device)?,
            None => self.planned(&artifact, &target, &files)?,
        };
        let accuracy = match (&self.reference, &self.input) {
            (Some(reference), Some(input)) => Some(self.accuracy(&artifact, reference, input)?),
            _ => None,
        };
        let benches: Vec<Bench> = files.into_iter().map(|file| file.bench).collect();
        let html = page(&Report {
            model: &self.described(&artifact),
            module: &artifact.module,
            history: artifact.history.as_ref(),
            plan: &planned.plan,
            planned: &planned.graph,
            batch: self.batch as usize,
            target: &target,
            profile: planned.profile.as_ref(),
            accuracy: accuracy.as_ref(),
            benches: &benches,
        });
        write(&self.output, html.as_bytes())?;
        print(format_args!("{}: {} KiB\n", self.output.display(), html.len().div_ceil(1024)))?;
        Ok(ExitCode::SUCCESS)
    }

    /// The page must not take the place of what it is made of.
    fn refuse_to_overwrite(&self) -> miette::Result<()> {
        let output = fs::canonicalize(&self.output).ok();
        let read = [Some(&self.model), self.reference.as_ref(), self.input.as_ref()];
        let clash = |path: &Path| output.is_some() && fs::canonicalize(path).ok() == output;
        if read.into_iter().flatten().chain(&self.bench).any(|path| clash(path)) {
            return Err(miette!("-o {} would overwrite an input", self.output.display()));
        }
        Ok(())
    }

    fn target_name(&self, artifact: &Artifact) -> String {
        let compiled_for = artifact.history.as_ref().map(|history| &history.target);
        match (&self.target, self.measure) {
            (Some(target), _) => target.clone(),
            (None, Some(DeviceArg::Cpu)) => "cpu".to_owned(),
            // A description of the user's own is not at hand any more.
            _ => compiled_for.filter(|name| Target::named(name).is_some()).map_or(DEFAULT_TARGET, |n| n).to_owned(),
        }
    }

    fn described(&self, artifact: &Artifact) -> Model {
        let manifest = &artifact.manifest;
        let file = self.model.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Model {
            name: manifest.name.clone(),
            file,
            bytes: fs::metadata(&self.model).map_or(0, |file| file.len()),
            precision: manifest.precision.clone(),
            activation: manifest.activation.clone(),
            approximated: manifest.approximated,
            preprocess: manifest.preprocess.as_ref().map(preprocessing),
            imported: manifest.ops_before.clone(),
            rules: manifest.rules.clone(),
            tool: concat!("swint ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The kernels for a target, with times of them where a file has some.
    fn planned(&self, artifact: &Artifact, target: &Target, files: &[bench::File]) -> miette::Result<Planned> {
        let module = &artifact.module;
        let graph = module.graph.with_batch(self.batch as usize).map_err(|e| miette!("--batch {}: {e}", self.batch))?;
        let machine = match &*target.name {
            "cpu" => Some(processor()),
            name => Sm::from_name(name).ok().map(Sm::machine),
        };
        let (graph, plan) = plan_for(&graph, &module.weights, machine, &Choices::new())?;
        let profile = files.iter().find_map(|file| file.profile(self.batch as usize, &plan));
        Ok(Planned { graph, plan, profile })
    }

    /// The kernels on a device, and what each takes there.
    fn measured(&self, artifact: &Artifact, device: DeviceArg) -> miette::Result<Planned> {
        let (module, batch) = (&artifact.module, self.batch as usize);
        let Engine::Session(session) = Engine::new(module, device, batch)? else {
            return Err(miette!("--measure: the interpreter runs no kernels"));
        };
        say("timing every launch alone");
        let input = pattern(module, batch);
        let times = time_launches(&session, slice::from_ref(&input), Settings::default()).into_diagnostic()?;
        let us = times.iter().map(|time| time.median).collect();
        let device = match device {
            DeviceArg::Cpu => "the CPU, host clock".to_owned(),
            _ => "the GPU, its clock".to_owned(),
        };
        let (graph, plan) = (session.module().graph.clone(), session.plan().clone());
        Ok(Planned { graph, plan, profile: Some(Profile { device, us }) })
    }

    fn accuracy(&self, model: &Artifact, reference: &Path, input: &Path) -> miette::Result<Accuracy> {
        let read = read_artifact(reference)?;
        let limit = self.limit as usize;
        let compared = layerwise::compare(model, reference, &read, &resolve(input)?, limit, self.device)
            .wrap_err("--reference")?;
        // In the order in which the network has them.
        let graph = &read.module.graph;
        let order: Vec<&str> = graph.nodes.iter().flat_map(|node| &node.locs).map(|loc| &**loc).collect();
        let mut modules: Vec<ModuleAccuracy> = (compared.modules.into_iter())
            .map(|(name, d)| ModuleAccuracy { name, sqnr_db: d.sqnr_db, cosine: d.cosine, max_abs: d.max_abs })
            .collect();
        modules.sort_by_key(|module| order.iter().position(|name| *name == module.name));
        let file = reference.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Accuracy { reference: file, inputs: compared.inputs, modules, missing: compared.missing })
    }
}

/// How pictures become pixels, in words.
fn preprocessing(p: &Preprocess) -> String {
    let resize = match p.resize {
        Resize::Exact => "pictures resized to fit".to_owned(),
        Resize::Short(side) => format!("pictures resized to a short side of {side} and cropped in the centre"),
    };
    let labels = if p.labels.is_empty() { String::new() } else { format!("; {} labels", p.labels.len()) };
    format!("{resize}; mean {:?}, standard deviation {:?}{labels}", p.mean, p.std)
}
