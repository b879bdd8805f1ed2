//! `swint ir`: the program at any stage, as text or for other tools.

use super::{
    model::ModelArgs,
    passes::{PassArgs, stage_name, write},
    print,
    source::{read_artifact, read_ir},
};
use clap::ValueEnum;
use miette::miette;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use swint::{
    compiler::{
        emit,
        frontend::preset_names,
        pipeline::{IMPORT, Options, PASSES, Pass},
        plan::plan,
    },
    ir::{Graph, diagnostic::did_you_mean, text},
};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// A model's folder, its description (.toml, .json) or a published model's name, a compiled model (.swint) or an IR text (.ir).
    program: PathBuf,
    /// The stage to show: `import` (before the passes), a pass, `plan` (kernels and buffers); by default the last pass.
    #[arg(long, value_parser = shown_stage, conflicts_with = "stop_after")]
    stage: Option<String>,
    /// As what.
    #[arg(long, value_enum, default_value = "text")]
    emit: Emit,
    /// Write here and not to stdout.
    #[arg(short, long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    pass_args: PassArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Emit {
    /// The IR's text form.
    Text,
    /// Graphviz.
    Dot,
    /// JSON.
    Json,
}

const PLAN: &str = "plan";

fn shown_stage(name: &str) -> Result<String, String> {
    if name == PLAN { Ok(name.to_owned()) } else { stage_name(name).map_err(|known| format!("{known}, {PLAN}")) }
}

impl Args {
    /// Shows the program.
    pub fn run(self) -> miette::Result<ExitCode> {
        let extension = self.program.extension().and_then(|e| e.to_str());
        let stage = self.stage.as_deref();
        let is_text = extension == Some("ir") || self.program == Path::new("-");
        let one_stage = is_text || extension == Some("swint");
        if one_stage && (!matches!(stage, None | Some(PLAN)) || self.model.given() || self.pass_args.given()) {
            return Err(miette!(
                help = "`swint ir` on a description shows every stage, `swint opt` runs passes on an IR text",
                "{} holds one stage and is not compiled here: it takes --stage plan, --emit and -o only",
                self.program.display()
            ));
        }
        if self.pass_args.prints() && self.output.is_none() {
            return Err(miette!("--print-after and the stage would both go to stdout: give -o"));
        }
        let graph = match extension {
            _ if self.program.is_dir() => self.compiled()?,
            Some("toml" | "json") => self.compiled()?,
            Some("swint") => read_artifact(&self.program)?.module.graph,
            _ if is_text => read_ir(&self.program)?.0,
            _ if preset_names().any(|name| self.program == Path::new(name)) => self.compiled()?,
            _ => {
                let help = did_you_mean(&self.program.display().to_string(), preset_names()).unwrap_or_default();
                return Err(miette!(
                    help = help,
                    "{}: wanted a folder, a .toml, .json, .swint or .ir file",
                    self.program.display()
                ));
            }
        };
        let text = match (stage, self.emit) {
            (Some(PLAN), Emit::Text) => plan(&graph)?.to_string(),
            (Some(PLAN), _) => return Err(miette!("a plan is shown as text only")),
            (_, Emit::Text) => text::print(&graph),
            (_, Emit::Dot) => emit::dot(&graph),
            (_, Emit::Json) => format!("{:#}\n", emit::json(&graph)),
        };
        match &self.output {
            Some(path) => write(path, text.as_bytes())?,
            None => print(text)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The graph of the wanted stage of a description.
    fn compiled(&self) -> miette::Result<Graph> {
        self.model.refuse_to_overwrite(&self.program, self.output.as_deref())?;
        let options = self.model.options()?;
        let (spec, imported) = self.model.load(&self.program)?;
        let mut passes: Vec<&Pass> = PASSES.iter().filter(|pass| (pass.wanted)(&options)).collect();
        if let Some(stage) = self.stage.as_deref().filter(|stage| *stage != PLAN) {
            let position = passes.iter().position(|pass| pass.name == stage);
            if position.is_none() && stage != IMPORT {
                return Err(miette!("--stage {stage}: this precision and activation do not run that pass"));
            }
            passes.truncate(position.map_or(0, |i| i + 1));
        }
        let needs_it = passes.iter().any(|pass| pass.calibrated);
        let calibration = if needs_it { self.model.calibration(&spec, &imported, true)? } else { None };
        let options = Options { calibration: calibration.as_ref(), ..options };
        let arguments = self.model.arguments()?;
        let module = self.pass_args.run(passes, &imported, &options, &arguments)?.0;
        self.model.save_statistics(calibration.as_ref())?;
        Ok(module.graph)
    }
}
