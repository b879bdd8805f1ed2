//! A Swin Transformer as float IR, from timm's tensor names.

use super::{
    attention::{relative_position_bias, shift_mask},
    checkpoint::{Checkpoint, CheckpointError},
    spec::{Spec, Stage},
};
use std::collections::BTreeMap;
use swint_ir::{
    Elem, F32, Graph, InputId, Module, Scale, Tensor, Type, Value, Weights,
    graph::Decl,
    op::{Op, Order},
    random,
};

/// LayerNorm's ε, the same in every published Swin.
const EPS: f32 = 1e-5;

/// Builds the float graph of a model, for a batch of one.
///
/// The input is `image: u8[1,height,width,channels]` where the description has a `[preprocess]`, else
/// `pixel_values: f32[1,height,width,channels]`. Nodes carry the names of timm's modules.
///
/// # Errors
/// Every tensor that is missing, extra or mis-shaped, all at once.
pub fn import(spec: &Spec, checkpoint: &Checkpoint) -> Result<Module, CheckpointError> {
    checkpoint.check(&expected(spec))?;
    let shape = [1, spec.height, spec.width, spec.channels];
    let input = match spec.preprocess {
        Some(_) => Decl { name: "image".into(), ty: Type::int(Elem::U8, Scale::UNIT, shape) },
        None => Decl { name: "pixel_values".into(), ty: Type::f32(shape) },
    };
    let module = Module { graph: Graph::new(spec.name.as_str(), vec![input]), weights: Weights::default() };
    let module = Builder { spec, checkpoint, module }.build();
    debug_assert_eq!(module.verify(), Ok(()));
    Ok(module)
}

/// timm's tensor names with their shapes.
pub(super) fn expected(spec: &Spec) -> BTreeMap<String, Vec<usize>> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| all.insert(name, shape.to_vec());
    add("patch_embed.proj.weight".into(), &[spec.embed, spec.channels, spec.patch, spec.patch]);
    add("patch_embed.proj.bias".into(), &[spec.embed]);
    let mut vectors = vec![("patch_embed.norm".to_owned(), spec.embed)];
    let mut linears = Vec::new();
    let mut last = spec.embed;
    for (s, stage) in spec.stages().enumerate() {
        let c = stage.channels;
        last = c;
        if s > 0 {
            vectors.push((format!("layers.{s}.downsample.norm"), 2 * c));
            add(format!("layers.{s}.downsample.reduction.weight"), &[c, 2 * c]);
        }
        for b in 0..stage.depth {
            let block = format!("layers.{s}.blocks.{b}");
            vectors.push((format!("{block}.norm1"), c));
            vectors.push((format!("{block}.norm2"), c));
            add(format!("{block}.attn.qkv.weight"), &[3 * c, c]);
            if spec.qkv_bias {
                add(format!("{block}.attn.qkv.bias"), &[3 * c]);
            }
            let table = (2 * stage.window.rows - 1) * (2 * stage.window.columns - 1);
            add(format!("{block}.attn.relative_position_bias_table"), &[table, stage.heads]);
            linears.push((format!("{block}.attn.proj"), c, c));
            linears.push((format!("{block}.mlp.fc1"), spec.hidden(c), c));
            linears.push((format!("{block}.mlp.fc2"), c, spec.hidden(c)));
        }
    }
    vectors.push(("norm".into(), last));
    linears.push(("head.fc".into(), spec.classes, last));
    for (name, n, k) in linears {
        add(format!("{name}.weight"), &[n, k]);
        add(format!("{name}.bias"), &[n]);
    }
    for (name, n) in vectors {
        add(format!("{name}.weight"), &[n]);
        add(format!("{name}.bias"), &[n]);
    }
    all
}

/// A checkpoint of random values that fits a description: for looking at programs and timing them without a trained model.
///
/// Every branch matters: γ is around 1 with a deviation of 0.2, biases have 0.1, position biases 0.5, weights 1.4/√K.
pub fn random_checkpoint(spec: &Spec, seed: u64) -> Checkpoint {
    let mut rng = random::Rng::with_seed(seed);
    let tensors = expected(spec).into_iter().map(|(name, shape)| {
        let (n, k) = (shape.iter().product(), shape[1..].iter().product::<usize>());
        let (mean, deviation) = match shape.len() {
            1 if name.ends_with(".weight") => (1.0, 0.2),
            1 => (0.0, 0.1),
            _ if name.ends_with("bias_table") => (0.0, 0.5),
            _ => (0.0, 1.4 / (k as f32).sqrt()),
        };
        let values = (0..n).map(|_| mean + deviation * random::normal(&mut rng)).collect();
        (name, Tensor::f32(shape, values))
    });
    Checkpoint(tensors.collect())
}

struct Builder<'a> {
    spec: &'a Spec,
    checkpoint: &'a Checkpoint,
    module: Module,
}

/// The checkpoint and the description were checked, so every op takes its operands.
const CHECKED: &str = "the description was checked";

impl Builder<'_> {
    fn build(mut self) -> Module {
        let spec = self.spec;
        let mut x = Value::Input(InputId(0));
        if let Some(p) = &spec.preprocess {
            let reals = |v: &[f32]| v.iter().map(|&x| F32::new(x)).collect();
            x = self.push(Op::Normalize { mean: reals(&p.mean), std: reals(&p.std) }, &[x]);
        }
        x = self.push(Op::SpaceToDepth { block: spec.patch, order: Order::Row }, &[x]);
        let w = self.patch_weight();
        let b = self.constant("patch_embed.proj.bias");
        x = self.push(Op::Linear {}, &[x, w, b]);
        x = self.norm(x, "patch_embed.norm");
        self.module.graph.add_loc(x, "patch_embed");
        for (s, stage) in spec.stages().enumerate() {
            let layer = format!("layers.{s}");
            if s > 0 {
                let down = format!("{layer}.downsample");
                x = self.push(Op::SpaceToDepth { block: 2, order: Order::Column }, &[x]);
                x = self.norm(x, &format!("{down}.norm"));
                let w = self.constant(&format!("{down}.reduction.weight"));
                x = self.push(Op::Linear {}, &[x, w]);
                self.module.graph.add_loc(x, down);
            }
            for b in 0..stage.depth {
                let block = format!("{layer}.blocks.{b}");
                x = self.block(
                    x,
                    &block,
                    &layer,
                    Stage { shift: if b % 2 == 1 { stage.shift } else { 0.into() }, ..stage },
                );
                self.module.graph.add_loc(x, block);
            }
            self.module.graph.add_loc(x, layer);
        }
        x = self.norm(x, "norm");
        self.module.graph.add_loc(x, "norm");
        x = self.push(Op::MeanPool {}, &[x]);
        x = self.linear(x, "head.fc");
        self.module.graph.add_loc(x, "logits");
        self.module.graph.output = x;
        self.module
    }

    fn block(&mut self, x: Value, name: &str, layer: &str, stage: Stage) -> Value {
        let Stage { grid, window, shift, .. } = stage;
        let (side, window, shift) = (grid.rows, window.rows, shift.rows);
        let mut y = self.norm(x, &format!("{name}.norm1"));
        if shift > 0 {
            y = self.push(Op::Roll { shift: shift as i64 }, &[y]);
        }
        y = self.push(Op::WindowPartition { window }, &[y]);
        y = self.attention(y, &format!("{name}.attn"), layer, stage);
        y = self.push(Op::WindowReverse { window, height: side, width: side }, &[y]);
        if shift > 0 {
            y = self.push(Op::Roll { shift: -(shift as i64) }, &[y]);
        }
        let x = self.push(Op::Add {}, &[x, y]);
        let mut y = self.norm(x, &format!("{name}.norm2"));
        y = self.linear(y, &format!("{name}.mlp.fc1"));
        y = self.push(Op::Gelu {}, &[y]);
        y = self.linear(y, &format!("{name}.mlp.fc2"));
        self.push(Op::Add {}, &[x, y])
    }

    fn attention(&mut self, x: Value, name: &str, layer: &str, stage: Stage) -> Value {
        let Stage { channels, heads, window, shift, grid, .. } = stage;
        let (side, window, shift) = (grid.rows, window.rows, shift.rows);
        let tokens = window * window;
        let [q, k, v] = ["q", "k", "v"].map(|part| self.qkv_part(x, name, part, channels));
        let mut operands = vec![self.push(Op::AttnScores { heads }, &[q, k])];
        let table = self.tensor(&format!("{name}.relative_position_bias_table"));
        let bias = relative_position_bias(table.as_f32().expect(CHECKED), window, heads);
        let shape = [heads, tokens, tokens];
        operands.push(self.module.constant(
            format!("{name}.relative_position_bias"),
            Type::f32(shape),
            Tensor::f32(shape, bias),
        ));
        if shift > 0 {
            let shape = [(side / window).pow(2), tokens, tokens];
            let mask = Tensor::f32(shape, shift_mask(&stage));
            operands.push(self.module.constant(format!("{layer}.attn_mask"), Type::f32(shape), mask));
        }
        let scale = F32::new(((channels / heads) as f32).powf(-0.5));
        let scores = self.push(Op::AttnBias { scale }, &operands);
        let p = self.push(Op::Softmax {}, &[scores]);
        let y = self.push(Op::AttnValues {}, &[p, v]);
        self.linear(y, &format!("{name}.proj"))
    }

    /// One third of the qkv linear: q, k and v are quantized apart, each with its own scale.
    fn qkv_part(&mut self, x: Value, name: &str, part: &str, channels: usize) -> Value {
        let third = ["q", "k", "v"].iter().position(|p| *p == part).expect("q, k or v");
        let mut operands = vec![x];
        for parameter in ["weight", "bias"].iter().filter(|p| **p == "weight" || self.spec.qkv_bias) {
            let whole = self.tensor(&format!("{name}.qkv.{parameter}"));
            let values = whole.as_f32().expect(CHECKED);
            let values = values[third * values.len() / 3..][..values.len() / 3].to_vec();
            let shape = if *parameter == "weight" { vec![channels, channels] } else { vec![channels] };
            let ty = Type::f32(shape.clone());
            operands.push(self.module.constant(format!("{name}.{part}.{parameter}"), ty, Tensor::f32(shape, values)));
        }
        self.push(Op::Linear {}, &operands)
    }

    /// The convolution's kernel `[E,C,p,p]` as a linear's weights `[E, p·p·C]` over pixels in row order.
    fn patch_weight(&mut self) -> Value {
        let name = "patch_embed.proj.weight";
        let kernel = self.tensor(name).as_f32().expect(CHECKED).to_vec();
        let (c, area) = (self.spec.channels, self.spec.patch.pow(2));
        let k = c * area;
        let at = |i: usize| kernel[i / k * k + i % k % c * area + i % k / c];
        let shape = [self.spec.embed, k];
        let values = (0..kernel.len()).map(at).collect();
        self.module.constant(name, Type::f32(shape), Tensor::f32(shape, values))
    }

    fn norm(&mut self, x: Value, name: &str) -> Value {
        let (gamma, beta) = (self.constant(&format!("{name}.weight")), self.constant(&format!("{name}.bias")));
        self.push(Op::LayerNorm { eps: F32::new(EPS) }, &[x, gamma, beta])
    }

    fn linear(&mut self, x: Value, name: &str) -> Value {
        let (w, b) = (self.constant(&format!("{name}.weight")), self.constant(&format!("{name}.bias")));
        self.push(Op::Linear {}, &[x, w, b])
    }

    fn push(&mut self, op: Op, operands: &[Value]) -> Value {
        self.module.graph.push(op, operands.to_vec()).expect(CHECKED)
    }

    fn tensor(&self, name: &str) -> &Tensor {
        &self.checkpoint.0[name]
    }

    fn constant(&mut self, name: &str) -> Value {
        let tensor = self.tensor(name).clone();
        self.module.constant(name, Type::f32(tensor.shape.clone()), tensor)
    }
}
