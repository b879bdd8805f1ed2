//! Runs a float graph on Burn tensors: what rewrites and approximations make can be trained as it is.
//!
//! Every value is a matrix `[rows, channels]`, its last axis the columns; an op sees the axes that the graph's types say. Arithmetic
//! is that of [`swint_ir::interp`] over the reals: sums may be in another order.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use std::collections::{HashMap, HashSet};
use swint_ir::{
    F32, Graph, Node, NodeId, Type, TypeError, Value,
    index_map::{IndexMap, NOTHING},
    op::{Class, Op, OpKind},
};

/// Why a graph cannot be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExecError {
    /// An op works on integers.
    #[error("{node} is {op}: only floats are trained")]
    Integer {
        /// The node.
        node: NodeId,
        /// Its op.
        op: OpKind,
    },
    /// The batch is too large.
    #[error(transparent)]
    Batch(#[from] TypeError),
}

/// A float graph for a batch, ready to run on a device.
pub struct Program {
    graph: Graph,
    /// For each node, the nodes that nothing reads after it.
    last_reads: Vec<Vec<NodeId>>,
    /// For each index map the chunks that it takes, and of how many; where that is one more than there are, zeros.
    maps: HashMap<NodeId, (Tensor<1, Int>, usize)>,
}

/// What a run does otherwise than the graph says.
#[derive(Default)]
pub struct Choices {
    /// GELUs that are blended with a ReLU, `α·gelu(x) + (1 − α)·relu(x)`: their α.
    pub blends: HashMap<NodeId, f64>,
    /// Values `[rows, channels]` that nodes take on, while gradients pass as if they did not (the straight-through estimator, Bengio,
    /// Léonard and Courville, arXiv 1308.3432).
    pub values: HashMap<NodeId, Tensor<2>>,
    /// Nodes whose values are wanted.
    pub watched: Vec<NodeId>,
}

/// What a run gives.
pub struct Outputs {
    /// The graph's result `[rows, channels]`.
    pub output: Tensor<2>,
    /// Values of [`Choices::watched`], in their order.
    pub watched: Vec<Tensor<2>>,
}

impl Program {
    /// Prepares a graph, which is for a batch of one, for any batch.
    ///
    /// # Errors
    /// When an op works on integers other than raw pixels, or the batch is too large.
    pub fn new(graph: &Graph, batch: usize, device: &Device) -> Result<Program, ExecError> {
        let graph = graph.with_batch(batch)?;
        let mut maps = HashMap::new();
        for (id, node) in graph.iter() {
            let takes_pixels = node.op.kind() == OpKind::Normalize;
            if !node.ty.is_float() && node.op.kind().class() != Class::Index
                || !takes_pixels && node.operands.iter().any(|&v| !graph.ty(v).is_float())
            {
                return Err(ExecError::Integer { node: id, op: node.op.kind() });
            }
            if node.op.kind().class() == Class::Index {
                let IndexMap { source, from, .. } = IndexMap::of(&node.op, &graph.ty(node.operands[0]).shape);
                let position = |i: u32| if i == NOTHING { from as i64 } else { i.into() };
                let chunks: Vec<i64> = source.into_iter().map(position).collect();
                let n = chunks.len();
                maps.insert(id, (Tensor::from_data(TensorData::new(chunks, [n]), device), from));
            }
        }
        let mut last_reads = vec![Vec::new(); graph.nodes.len()];
        let mut seen = HashSet::new();
        if let Value::Node(output) = graph.output {
            seen.insert(output);
        }
        for (id, node) in graph.iter().rev() {
            for &operand in &node.operands {
                if let Value::Node(read) = operand
                    && seen.insert(read)
                {
                    last_reads[id.index()].push(read);
                }
            }
        }
        Ok(Program { graph, last_reads, maps })
    }

    /// The graph, for the batch.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs. `constants` are the graph's, flat and in its order; `inputs` are `[rows, channels]`, pixels from 0 to 255 or real values.
    pub fn run(&self, constants: &[Tensor<1>], inputs: &[Tensor<2>], choices: &Choices) -> Outputs {
        let mut values: HashMap<NodeId, Tensor<2>> = HashMap::new();
        let mut watched: HashMap<NodeId, Tensor<2>> = HashMap::new();
        for (id, node) in self.graph.iter() {
            let operand = |i: usize| match node.operands[i] {
                Value::Input(i) => inputs[i.index()].clone(),
                Value::Node(n) => values[&n].clone(),
                value @ Value::Const(c) => {
                    let ty = self.graph.ty(value);
                    constants[c.index()].clone().reshape([ty.rows(), ty.last()])
                }
            };
            let constant = |i: usize| match node.operands[i] {
                Value::Const(c) => constants[c.index()].clone(),
                value => {
                    let flat: usize = self.graph.ty(value).elements();
                    operand(i).reshape([flat])
                }
            };
            let mut y = self.eval(id, node, &operand, &constant, choices);
            if let Some(value) = choices.values.get(&id) {
                // The value, with y's gradient.
                y = y.clone() - y.detach() + value.clone();
            }
            if choices.watched.contains(&id) {
                watched.insert(id, y.clone());
            }
            values.insert(id, y);
            for read in &self.last_reads[id.index()] {
                values.remove(read);
            }
        }
        let output = match self.graph.output {
            Value::Node(n) => values.remove(&n).expect("the output is not freed"),
            Value::Input(i) => inputs[i.index()].clone(),
            Value::Const(c) => constants[c.index()].clone().reshape([1, constants[c.index()].dims()[0]]),
        };
        let watched = choices.watched.iter().map(|id| watched[id].clone()).collect();
        Outputs { output, watched }
    }

    fn eval(
        &self,
        id: NodeId,
        node: &Node,
        operand: &dyn Fn(usize) -> Tensor<2>,
        flat: &dyn Fn(usize) -> Tensor<1>,
        choices: &Choices,
    ) -> Tensor<2> {
        let ty = |i: usize| self.graph.ty(node.operands[i]);
        let (rows, columns) = (node.ty.rows(), node.ty.last());
        match &node.op {
            op if op.kind().class() == Class::Index => {
                let (map, chunks) = &self.maps[&id];
                let chunk = ty(0).last();
                let images = ty(0).elements() / (chunk * chunks);
                let mut x = operand(0).reshape([images, *chunks, chunk]);
                if matches!(op, Op::Pad { .. }) {
                    let zeros = Tensor::zeros([images, 1, chunk], &x.device());
                    x = Tensor::cat(vec![x, zeros], 1);
                }
                x.select(1, map.clone()).reshape([rows, columns])
            }
            Op::Normalize { mean, std } => normalize(operand(0), mean, std),
            Op::LayerNorm { eps } => layer_norm(operand(0), flat(1), flat(2), eps.get()),
            Op::L2Norm { heads, eps } => {
                let x = operand(0).reshape([rows * heads, columns / heads]);
                // Below eps the gradient is that of a constant, as at 0, where a root has none.
                let least = eps.get() * eps.get();
                let length = x.clone().powi_scalar(2).sum_dim(1).clamp_min(least).sqrt();
                (x / length).reshape([rows, columns])
            }
            Op::HeadScale {} => {
                let shape = &node.ty.shape;
                let x = operand(0).reshape([shape[0], shape[1], shape[2] * shape[3]]);
                (x * flat(1).reshape([1, shape[1], 1])).reshape([rows, columns])
            }
            Op::Linear {} => {
                let y = operand(0).matmul(flat(1).reshape([columns, ty(0).last()]).transpose());
                if node.operands.len() > 2 { y + flat(2).reshape([1, columns]) } else { y }
            }
            Op::BiasAdd {} => operand(0) + flat(1).reshape([1, columns]),
            Op::Add {} => operand(0) + operand(1),
            Op::Relu {} => activation::relu(operand(0)),
            Op::Gelu {} => gelu(operand(0), choices.blends.get(&id).copied().unwrap_or(1.0)),
            Op::Softmax {} => softmax(operand(0)),
            Op::AttnScores { heads } => {
                let (q, k) = (by_head(operand(0), ty(0), *heads), by_head(operand(1), ty(1), *heads));
                q.matmul(k.swap_dims(2, 3)).reshape([rows, columns])
            }
            Op::AttnBias { scale } => {
                // Bias and mask of the windows of one image, and the batch's scores as rows of such.
                let shape = &node.ty.shape;
                let (heads, area) = (shape[1], shape[2] * shape[3]);
                let mut bias = flat(1).reshape([1, heads, area]);
                if node.operands.len() > 2 {
                    let windows = ty(2).shape[0];
                    bias = flat(2).reshape([windows, 1, area]) + bias;
                }
                let per_image: usize = bias.dims().iter().product();
                let scores = operand(0).mul_scalar(scale.get()).reshape([rows * columns / per_image, per_image]);
                (scores + bias.reshape([1, per_image])).reshape([rows, columns])
            }
            Op::AttnValues {} => {
                let [windows, heads, tokens, _] = ty(0).shape[..] else { unreachable!("inferred") };
                let p = operand(0).reshape([windows, heads, tokens, tokens]);
                let v = by_head(operand(1), ty(1), heads);
                p.matmul(v).swap_dims(1, 2).reshape([rows, columns])
            }
            Op::MeanPool {} => {
                let shape = &ty(0).shape;
                operand(0).reshape([rows, shape[1] * shape[2], columns]).mean_dim(1).reshape([rows, columns])
            }
            op => unreachable!("{} works on integers", op.kind()),
        }
    }
}

/// `(x/255 − mean[c]) / std[c]`.
fn normalize(pixels: Tensor<2>, mean: &[F32], std: &[F32]) -> Tensor<2> {
    let [rows, columns] = pixels.dims();
    let row = |values: &[F32]| {
        let values: Vec<f32> = (0..columns).map(|c| values[c].get()).collect();
        Tensor::<1>::from_data(TensorData::new(values, [columns]), &pixels.device()).reshape([1, columns])
    };
    let (mean, std) = (row(mean), row(std));
    ((pixels.div_scalar(255.0) - mean) / std).reshape([rows, columns])
}

/// `(x − μ) / √(σ² + eps) · γ + β`, by rows.
fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, eps: f32) -> Tensor<2> {
    let columns = x.dims()[1];
    let centred = x.clone() - x.mean_dim(1);
    let deviation = centred.clone().powi_scalar(2).mean_dim(1).add_scalar(eps).sqrt();
    centred / deviation * gamma.reshape([1, columns]) + beta.reshape([1, columns])
}

/// `α·gelu(x) + (1 − α)·relu(x)`.
fn gelu(x: Tensor<2>, alpha: f64) -> Tensor<2> {
    if alpha == 1.0 {
        return activation::gelu(x);
    }
    if alpha == 0.0 {
        return activation::relu(x);
    }
    activation::gelu(x.clone()).mul_scalar(alpha) + activation::relu(x).mul_scalar(1.0 - alpha)
}

fn softmax(x: Tensor<2>) -> Tensor<2> {
    activation::softmax(x, 1)
}

/// `[W,N,C]` as `[W,heads,N,C/heads]`.
fn by_head(x: Tensor<2>, ty: &Type, heads: usize) -> Tensor<4> {
    let [windows, tokens, channels] = ty.shape[..] else { unreachable!("inferred") };
    x.reshape([windows, tokens, heads, channels / heads]).swap_dims(1, 2)
}
