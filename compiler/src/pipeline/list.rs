//! The list of passes.

use super::{Activation, Calibration, Equalize, GeluRange, Options, Precision, Report};
use crate::{
    approximate::gelu_to_relu,
    egraph::Rewriting,
    quantize::{Ranges, equalize, fold_normalize, insert_quantization},
    rules::{RuleSet, rules},
};
use swint_ir::Module;

/// The name of the stage before the first pass.
pub const IMPORT: &str = "import";

/// A row of the list: one pass.
pub struct Pass {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Whether a compilation with these options runs it.
    pub wanted: fn(&Options<'_>) -> bool,
    /// Whether it needs calibration.
    pub calibrated: bool,
    /// Does its work on a verified module. An `Err` says why it cannot.
    pub run: fn(&Module, &Options<'_>, &mut Report) -> Result<Module, String>,
}

/// Every pass, in the order in which a compilation runs them.
pub static PASSES: [Pass; 5] = [
    Pass {
        name: "fold-normalize",
        summary: "fold pixel normalisation into the patch embedding: raw u8 pixels enter",
        wanted: |options| options.precision == Precision::Int8,
        calibrated: false,
        run: |module, _, _| Ok(fold_normalize(module)),
    },
    Pass {
        name: "approximate",
        summary: "replace GELUs by ReLUs: an approximation, the model needs distillation",
        wanted: |options| options.activation == Activation::Relu || !options.relu.is_empty(),
        calibrated: false,
        run: |module, options, report| {
            let only = if options.relu.is_empty() { None } else { Some(&options.relu[..]) };
            let (module, count) = gelu_to_relu(module, only)?;
            report.approximated += count;
            Ok(module)
        },
    },
    Pass {
        name: "equalize",
        summary: "scale channels between LayerNorms and their linears, where that gives less noise",
        wanted: |options| options.precision == Precision::Int8 && options.equalize != Equalize::None,
        calibrated: true,
        run: |module, options, report| {
            let calibration = calibration(options)?;
            let statistics = calibration.statistics(module)?;
            let (module, equalized, after) = equalize(module, &statistics, options.observer, options.equalize)?;
            report.equalized = equalized;
            if let Some(after) = after {
                calibration.learn(&module, after);
            }
            Ok(module)
        },
    },
    Pass {
        name: "quantize",
        summary: "insert quantize/dequantize pairs, scales from calibration",
        wanted: |options| options.precision == Precision::Int8,
        calibrated: true,
        run: |module, options, report| {
            let statistics = calibration(options)?.statistics(module)?;
            // A float GELU would pay for shifts with additions of their own.
            let gelu = if options.activation == Activation::Lut { options.gelu_range } else { GeluRange::Symmetric };
            let ranges = Ranges { statistics: &statistics, observer: options.observer, gelu };
            let (module, windows) = insert_quantization(module, ranges, options.float_ops)?;
            report.gelu_windows = windows;
            Ok(module)
        },
    },
    Pass {
        name: "rewrite",
        summary: "saturate an e-graph with the rewrite rules and take the cheapest equal program",
        wanted: |_| true,
        calibrated: false,
        run: |module, options, report| {
            let mut table = rules(rule_set(options));
            if let Some(names) = &options.rules {
                table.retain(|rule| names.contains(&rule.name));
            }
            report.before_rewrites = module.graph.op_counts();
            let rewriting = Rewriting::new(module, &table, &options.target, options.limits);
            let (module, rewritten) = rewriting.result();
            report.rewrite = Some(rewritten);
            report.history = options.history.then(|| rewriting.history());
            Ok(module)
        },
    },
];

/// The rules that the options choose: those that are named, whatever the other options say.
pub fn rule_set(options: &Options<'_>) -> RuleSet {
    if options.rules.is_some() {
        return RuleSet::ALL;
    }
    let gelu_table = options.activation == Activation::Lut;
    RuleSet { gelu_table, gelu_float: !gelu_table, float_ops: options.float_ops, fuse: options.fuse }
}

fn calibration<'a>(options: &Options<'a>) -> Result<&'a Calibration, String> {
    options.calibration.ok_or_else(|| "int8 needs calibration: it sets the scales of the activations".to_owned())
}

/// The pass of a name.
pub fn find(name: &str) -> Option<&'static Pass> {
    PASSES.iter().find(|pass| pass.name == name)
}
