//! Models to report on.

use std::{fs, path::Path};
use swint_compiler::{
    egraph::{History, Target},
    frontend::{Checkpoint, Spec, import},
    pipeline::{Activation, Calibration, Options, Precision, compile},
    plan::{Choices, Machine, Plan, plan_for},
};
use swint_ir::{Data, Elem, Graph, Module, Tensor};
use swint_report::{Accuracy, Bench, BenchResult, Model, ModuleAccuracy, Profile, Report};

/// A compiled model, planned for an RTX 4090.
pub struct Made {
    pub model: Model,
    pub module: Module,
    pub history: Option<History>,
    pub planned: Graph,
    pub plan: Plan,
    pub target: Target,
    pub profile: Option<Profile>,
    pub accuracy: Option<Accuracy>,
    pub benches: Vec<Bench>,
}

impl Made {
    /// A fixture, or the bundled model (`cifar10`), integer-only, calibrated on a fixed pattern.
    pub fn new(name: &str) -> Made {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let bundled = name == "cifar10";
        let folder = root.join(if bundled { "examples/cifar10".to_owned() } else { format!("tests/fixtures/{name}") });
        let spec = Spec::parse("swin.toml", &fs::read_to_string(folder.join("swin.toml")).unwrap()).unwrap();
        let checkpoint = Checkpoint::from_bytes(&fs::read(folder.join("model.safetensors")).unwrap()).unwrap();
        let imported = import(&spec, &checkpoint).unwrap();
        let calibration = Calibration::new(vec![vec![pattern(&imported)]]);
        let options = Options {
            precision: Precision::Int8,
            activation: Activation::Lut,
            calibration: Some(&calibration),
            history: true,
            ..Options::default()
        };
        let (module, report) = compile(&imported, &options, |_| {}).unwrap();
        let machine = Machine::Cuda { processors: 128 };
        let (planned, plan) = plan_for(&module.graph, &module.weights, Some(machine), &Choices::new()).unwrap();
        let named = |(op, n): (&str, usize)| (op.to_owned(), n);
        let model = Model {
            name: spec.name.clone(),
            file: format!("{name}.swint"),
            bytes: 123_456,
            precision: "int8".into(),
            activation: "lut".into(),
            approximated: 0,
            preprocess: None,
            imported: imported.graph.op_counts().into_iter().map(named).collect(),
            rules: report.rewrite.unwrap().applied,
            tool: "swint 0.0.0".into(),
        };
        Made {
            model,
            module,
            history: report.history,
            planned,
            plan,
            target: Target::default(),
            profile: None,
            accuracy: None,
            benches: Vec::new(),
        }
    }

    /// With everything that can be measured: numbers that nobody measured.
    pub fn measured(mut self) -> Made {
        let us = (0..self.plan.launches.len()).map(|i| 2.0 + (i * 7 % 5) as f64).collect();
        self.profile = Some(Profile { device: "a device".into(), us });
        let module = |(i, name): (usize, &str)| ModuleAccuracy {
            name: name.to_owned(),
            sqnr_db: [f64::INFINITY, 38.5, 31.25, 29.0][i],
            cosine: 0.9995,
            max_abs: 0.25,
        };
        let names = ["patch_embed", "layers.0.blocks.0", "layers.0.blocks.1", "layers.0"];
        self.accuracy = Some(Accuracy {
            reference: "f32.swint".into(),
            inputs: 12,
            modules: names.into_iter().enumerate().map(module).collect(),
            missing: vec!["norm".into()],
        });
        let result = |batch: usize, median: f64| BenchResult {
            batch,
            runs: 100,
            min: median * 0.9,
            median,
            p90: median * 1.1,
            p99: median * 1.5,
            images_per_s: batch as f64 / median * 1e3,
            warnings: if batch == 8 { vec!["noisy".into()] } else { Vec::new() },
        };
        let bench = |tool: &str, factor: f64| Bench {
            tool: tool.into(),
            model: "swin_cifar10 int8 lut".into(),
            device: "cpu, 2 threads".into(),
            host: "a processor, Linux".into(),
            clock: "host".into(),
            started: "2026-01-01T00:00:00Z".into(),
            command: "swint bench M.swint".into(),
            cold_ms: vec![("load".into(), 12.0), ("first".into(), 800.0)],
            results: vec![result(1, 1.25 * factor), result(8, 5.0 * factor)],
        };
        self.benches = vec![bench("onnxruntime 1.0", 1.6), bench("swint 0.0.0", 1.0)];
        self
    }

    pub fn report(&self) -> Report<'_> {
        Report {
            model: &self.model,
            module: &self.module,
            history: self.history.as_ref(),
            plan: &self.plan,
            planned: &self.planned,
            batch: 1,
            target: &self.target,
            profile: self.profile.as_ref(),
            accuracy: self.accuracy.as_ref(),
            benches: &self.benches,
        }
    }

    pub fn page(&self) -> String {
        swint_report::page(&self.report())
    }
}

/// An input of all bytes.
fn pattern(module: &Module) -> Tensor {
    let ty = &module.graph.inputs[0].ty;
    let bytes: Vec<u8> = (0..ty.elements()).map(|i| (i * 37 % 251) as u8).collect();
    let data = match ty.elem {
        Elem::U8 => Data::U8(bytes),
        _ => Data::F32(bytes.into_iter().map(|b| f32::from(b) / 64.0 - 2.0).collect()),
    };
    Tensor::new(ty.shape.clone(), data)
}
