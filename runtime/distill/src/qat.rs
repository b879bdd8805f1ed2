//! Quantization-aware training: what the student computes in training is what its integer kernels compute.
//!
//! At each step the parameters are compiled as `swint compile --precision int8 --activation relu --equalize none` does, and the kernels run
//! on the batch. The values that they give, of every module whose result the compiled program has, take the place of the float ones,
//! with straight-through gradients: the same scales, rounding, clamps, integer softmax and LayerNorm, since it is the same code.

use std::{collections::BTreeMap, sync::Arc};
use swint_compiler::{
    approximate::gelu_to_relu,
    frontend::{self, Checkpoint, Spec},
    pipeline::{Activation, Calibration, Equalize, Options, Precision, compile},
    quantize::{Statistics, fold_normalize},
};
use swint_ir::{self as ir, Data, Graph, Module, NodeId};
use swint_runtime::{device::Device, executor::Session};

/// Compiles parameters with the scales that were observed at the start.
pub struct Quantizer {
    spec: Spec,
    statistics: Statistics,
}

impl Quantizer {
    /// Observes the ranges of activations, GELUs replaced, on pictures: batches of one, raw pixels.
    ///
    /// # Errors
    /// When an activation is not finite, or there are no pictures.
    pub fn observe(spec: &Spec, checkpoint: &Checkpoint, pictures: Vec<ir::Tensor>) -> Result<Quantizer, String> {
        let inputs: Vec<Vec<ir::Tensor>> = pictures.into_iter().map(|picture| vec![picture]).collect();
        let statistics = Statistics::collect(&float(spec, checkpoint)?, &inputs)?;
        Ok(Quantizer { spec: spec.clone(), statistics })
    }

    /// What `swint compile --calib-stats` reads to make the same program of a checkpoint.
    ///
    /// # Errors
    /// When the checkpoint does not fit.
    pub fn calibration(&self, checkpoint: &Checkpoint) -> Result<Calibration, String> {
        let calibration = Calibration::new(Vec::new());
        calibration.learn(&float(&self.spec, checkpoint)?, self.statistics.clone());
        Ok(calibration)
    }

    /// The integer program of a checkpoint.
    ///
    /// # Errors
    /// When it cannot be compiled.
    pub fn compile(&self, checkpoint: &Checkpoint) -> Result<Module, String> {
        let imported = frontend::import(&self.spec, checkpoint).map_err(|e| e.to_string())?;
        let calibration = self.calibration(checkpoint)?;
        let options = Options {
            precision: Precision::Int8,
            activation: Activation::Relu,
            equalize: Equalize::None,
            calibration: Some(&calibration),
            ..Options::default()
        };
        Ok(compile(&imported, &options, |_| ()).map_err(|failure| failure.to_string())?.0)
    }
}

/// The float program that is quantized: normalisation folded, GELUs replaced.
fn float(spec: &Spec, checkpoint: &Checkpoint) -> Result<Module, String> {
    let imported = frontend::import(spec, checkpoint).map_err(|e| e.to_string())?;
    Ok(gelu_to_relu(&fold_normalize(&imported), None)?.0)
}

/// Runs an integer program on pictures, `[N,side,side,channels]` one after the other, and gives the real values of each node of the imported
/// graph whose module's result it computes.
///
/// # Errors
/// When a kernel fails.
pub fn values(
    program: &Module,
    imported: &Graph,
    pixels: &[u8],
    batch: usize,
) -> Result<BTreeMap<NodeId, Vec<f32>>, String> {
    let session = Session::new(program, Device::Cpu, batch).map_err(|e| e.to_string())?;
    let mut shape = program.graph.inputs[0].ty.shape.clone();
    shape[0] = batch;
    let input = ir::Tensor::new(shape, Data::U8(pixels.to_vec()));
    let mut values = BTreeMap::new();
    let module = session.module();
    session
        .run_with(&[input], |launch, result| {
            let ty = &module.graph.nodes[launch.node.index()].ty;
            let is_named = |locs: &[Arc<str>]| locs.iter().any(|loc| launch.locs.contains(loc));
            let named = imported.iter().filter(|(_, node)| is_named(&node.locs) && node.ty.shape[1..] == ty.shape[1..]);
            let mut real = None;
            for (id, _) in named {
                let real = real.get_or_insert_with(|| result.to_real(ty, &module.weights));
                values.insert(id, real.clone());
            }
        })
        .map_err(|e| e.to_string())?;
    Ok(values)
}
