//! A checkpoint's tensors as the parameters of a graph's constants.
//!
//! Importing a checkpoint copies: it splits q, k and v, reorders a kernel, looks up relative positions. So each element of a
//! constant is an element of a tensor of the checkpoint, or none. Which one is found by importing a checkpoint whose elements are
//! their own positions: that needs no second description of any layout, and what is trained is written back under the names
//! and in the shapes that it came with.

use burn::tensor::{Device, Int, Tensor, TensorData};
use std::collections::BTreeSet;
use swint_compiler::frontend::{self, Checkpoint, Spec, Version};
use swint_ir::{self as ir, Module};

/// How a constant is made.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    /// Of nothing that the checkpoint has.
    Fixed,
    /// Of consecutive elements of one of its tensors.
    Slice { tensor: usize, start: usize },
    /// Of elements of one of its tensors, in some order.
    Gather { tensor: usize, elements: Vec<u32> },
}

/// The parameters of a model: a checkpoint's tensors, and how constants of its graph are made of them.
pub struct Parameters {
    /// Name and shape of each tensor.
    pub tensors: Vec<(String, Vec<usize>)>,
    constants: Vec<Made>,
}

/// A constant of the graph.
enum Made {
    Fixed(Tensor<1>),
    Slice { tensor: usize, start: usize, length: usize },
    Gather { tensor: usize, elements: Tensor<1, Int> },
}

/// Largest tensor whose elements' positions floats can tell apart.
const MOST_ELEMENTS: usize = 1 << 24;

impl Parameters {
    /// Finds out how the constants of `imported` are made of a checkpoint.
    ///
    /// # Errors
    /// When a tensor is too large, or a constant is no copy of elements of one tensor: a Swin V2 has such.
    pub fn trace(
        spec: &Spec,
        checkpoint: &Checkpoint,
        imported: &Module,
        device: &Device,
    ) -> Result<Parameters, String> {
        if spec.version != Version::V1 {
            let message = "its position biases and score scales are functions of the checkpoint's tensors, not copies";
            return Err(format!("a Swin V2 cannot be trained: {message}"));
        }
        let floats = checkpoint.0.iter().filter(|(_, tensor)| tensor.as_f32().is_some());
        let tensors: Vec<(String, Vec<usize>)> = floats.map(|(name, t)| (name.clone(), t.shape.clone())).collect();
        if let Some((name, shape)) = tensors.iter().find(|(_, shape)| shape.iter().product::<usize>() >= MOST_ELEMENTS)
        {
            return Err(format!("{name} {shape:?} has more than {MOST_ELEMENTS} elements"));
        }
        let mut sources = trace(spec, &tensors, imported)?;
        // What no constant is made of is no parameter: libraries store buffers beside.
        let owner = |source: &mut Source| match source {
            Source::Fixed => None,
            Source::Slice { tensor, .. } | Source::Gather { tensor, .. } => Some(std::mem::take(tensor)),
        };
        let owners: Vec<Option<usize>> = sources.iter_mut().map(owner).collect();
        let used: Vec<usize> = owners.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
        for (source, owner) in sources.iter_mut().zip(owners) {
            if let (Source::Slice { tensor, .. } | Source::Gather { tensor, .. }, Some(owner)) = (source, owner) {
                *tensor = used.binary_search(&owner).expect("it is used");
            }
        }
        let tensors: Vec<(String, Vec<usize>)> = used.iter().map(|&i| tensors[i].clone()).collect();
        let constants = sources.into_iter().zip(&imported.graph.consts).map(|(source, decl)| match source {
            Source::Fixed => {
                let values = imported.weights.get(&decl.name).and_then(|t| t.as_f32()).expect("floats").to_vec();
                Made::Fixed(flat(values, device))
            }
            Source::Slice { tensor, start } => Made::Slice { tensor, start, length: decl.ty.elements() },
            Source::Gather { tensor, elements } => {
                let (elements, n): (Vec<i64>, usize) = (elements.iter().map(|&i| i.into()).collect(), elements.len());
                Made::Gather { tensor, elements: Tensor::from_data(TensorData::new(elements, [n]), device) }
            }
        });
        Ok(Parameters { constants: constants.collect(), tensors })
    }

    /// The graph's constants, flat, from the checkpoint's tensors, flat.
    pub fn constants(&self, tensors: &[Tensor<1>]) -> Vec<Tensor<1>> {
        let made = |constant: &Made| match constant {
            Made::Fixed(values) => values.clone(),
            Made::Slice { tensor, start: 0, length } if *length == tensors[*tensor].dims()[0] => {
                tensors[*tensor].clone()
            }
            Made::Slice { tensor, start, length } => tensors[*tensor].clone().narrow(0, *start, *length),
            Made::Gather { tensor, elements } => tensors[*tensor].clone().select(0, elements.clone()),
        };
        self.constants.iter().map(made).collect()
    }

    /// A checkpoint's tensors on a device, flat. The checkpoint fits the description.
    pub fn load(&self, checkpoint: &Checkpoint, device: &Device) -> Vec<Tensor<1>> {
        let values = |(name, _): &(String, _)| checkpoint.0[name].as_f32().expect("checkpoints are floats").to_vec();
        self.tensors.iter().map(|tensor| flat(values(tensor), device)).collect()
    }

    /// A checkpoint with these tensors, flat, in the place of its own.
    pub fn checkpoint(&self, mut checkpoint: Checkpoint, tensors: &[Tensor<1>]) -> Checkpoint {
        for ((name, shape), tensor) in self.tensors.iter().zip(tensors) {
            checkpoint.0.insert(name.clone(), ir::Tensor::f32(shape.clone(), values(tensor.clone())));
        }
        checkpoint
    }
}

/// A flat tensor of values.
pub fn flat(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// The values of a tensor, in order.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("floats of 32 bits")
}

fn trace(spec: &Spec, tensors: &[(String, Vec<usize>)], imported: &Module) -> Result<Vec<Source>, String> {
    let import = |value: &dyn Fn(usize, usize) -> f32| {
        let filled = tensors.iter().enumerate().map(|(t, (name, shape))| {
            let values = (0..shape.iter().product()).map(|i| value(t, i)).collect();
            (name.clone(), ir::Tensor::f32(shape.clone(), values))
        });
        frontend::import(spec, &Checkpoint(filled.collect())).map_err(|e| e.to_string())
    };
    // What moves by one with the elements comes from the checkpoint.
    let (positions, moved, owners) =
        (import(&|_, i| i as f32)?, import(&|_, i| i as f32 + 1.0)?, import(&|t, _| t as f32)?);
    let constant = |decl: &ir::Decl| {
        let of = |module: &Module| module.weights.get(&decl.name).and_then(|t| t.as_f32().map(<[f32]>::to_vec));
        let all = (of(&positions), of(&moved), of(&owners));
        let (Some(positions), Some(moved), Some(owners)) = all else { return Err(decl.name.to_string()) };
        if positions == moved {
            return Ok(Source::Fixed);
        }
        let copied = positions.iter().zip(&moved).all(|(a, b)| b - a == 1.0) && owners.iter().all(|t| *t == owners[0]);
        if !copied {
            return Err(decl.name.to_string());
        }
        let (tensor, start) = (owners[0] as usize, positions[0] as usize);
        let consecutive = positions.iter().enumerate().all(|(i, &p)| p as usize == start + i);
        Ok(if consecutive {
            Source::Slice { tensor, start }
        } else {
            Source::Gather { tensor, elements: positions.iter().map(|&p| p as u32).collect() }
        })
    };
    let sources = imported.graph.consts.iter().map(constant).collect::<Result<_, _>>();
    sources.map_err(|name| format!("{name} is no copy of elements of one tensor of the checkpoint"))
}
