//! A Swin Transformer as float IR, from timm's tensor names.

use super::{
    attention::{PositionMlp, distances, relative_position_bias, score_scales, shift_mask},
    checkpoint::{Checkpoint, CheckpointError},
    spec::{Partition, Spec, Stage, Version},
};
use std::collections::BTreeMap;
use swint_ir::{
    Elem, F32, Graph, InputId, Module, Pair, Scale, Tensor, Type, Value, Weights,
    graph::Decl,
    op::{Op, Order},
    random,
};

/// LayerNorm's ε, the same in every published Swin.
const EPS: f32 = 1e-5;

/// The least length that a head's q and k are divided by, as PyTorch's `normalize` has it.
const L2_EPS: f32 = 1e-12;

/// Hidden channels of the MLP of Swin V2's position biases.
const POSITION_HIDDEN: usize = 512;

/// Builds the float graph of a model, for a batch of one.
///
/// The result is the logits; of a model without classes the pooled features, named so.
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
            let normalised = if spec.version == Version::V1 { 2 * c } else { c };
            vectors.push((format!("layers.{s}.downsample.norm"), normalised));
            add(format!("layers.{s}.downsample.reduction.weight"), &[c, 2 * c]);
        }
        for b in 0..stage.depth {
            let block = format!("layers.{s}.blocks.{b}");
            vectors.push((format!("{block}.norm1"), c));
            vectors.push((format!("{block}.norm2"), c));
            add(format!("{block}.attn.qkv.weight"), &[3 * c, c]);
            match spec.version {
                Version::V1 => {
                    if spec.qkv_bias {
                        add(format!("{block}.attn.qkv.bias"), &[3 * c]);
                    }
                    let table = distances(stage.window);
                    let table = [table.rows * table.columns, stage.heads];
                    add(format!("{block}.attn.relative_position_bias_table"), &table);
                }
                Version::V2 { .. } => {
                    for part in ["q", "v"].iter().filter(|_| spec.qkv_bias) {
                        add(format!("{block}.attn.{part}_bias"), &[c]);
                    }
                    add(format!("{block}.attn.logit_scale"), &[stage.heads, 1, 1]);
                    add(format!("{block}.attn.cpb_mlp.0.weight"), &[POSITION_HIDDEN, 2]);
                    add(format!("{block}.attn.cpb_mlp.0.bias"), &[POSITION_HIDDEN]);
                    add(format!("{block}.attn.cpb_mlp.2.weight"), &[stage.heads, POSITION_HIDDEN]);
                }
            }
            linears.push((format!("{block}.attn.proj"), c, c));
            linears.push((format!("{block}.mlp.fc1"), spec.hidden(c), c));
            linears.push((format!("{block}.mlp.fc2"), c, spec.hidden(c)));
        }
    }
    vectors.push(("norm".into(), last));
    if spec.classes > 0 {
        linears.push(("head.fc".into(), spec.classes, last));
    }
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
/// Every branch matters: γ is around 1 with a deviation of 0.2, biases have 0.1, position biases 0.5, weights 1.4/√K, score scales are
/// around 10.
pub fn random_checkpoint(spec: &Spec, seed: u64) -> Checkpoint {
    let mut rng = random::Rng::with_seed(seed);
    let tensors = expected(spec).into_iter().map(|(name, shape)| {
        let (n, k) = (shape.iter().product(), shape[1..].iter().product::<usize>());
        let (mean, deviation) = match shape.len() {
            1 if name.ends_with(".weight") => (1.0, 0.2),
            1 => (0.0, 0.1),
            _ if name.ends_with("bias_table") => (0.0, 0.5),
            _ if name.ends_with("logit_scale") => (std::f32::consts::LN_10, 0.1),
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
                x = self.merge(x, &format!("{layer}.downsample"));
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
        if spec.classes > 0 {
            x = self.linear(x, "head.fc");
            self.module.graph.add_loc(x, "logits");
        } else {
            self.module.graph.add_loc(x, "features");
        }
        self.module.graph.output = x;
        self.module
    }

    /// Patch merging: blocks of two by two tokens become one, where sides are odd with zeros beside the last.
    fn merge(&mut self, x: Value, name: &str) -> Value {
        let even = self.sides(x).map(|side| side.next_multiple_of(2));
        let mut x = self.pad(x, even);
        x = self.push(Op::SpaceToDepth { block: 2, order: Order::Column }, &[x]);
        let (norm, weight) = (format!("{name}.norm"), format!("{name}.reduction.weight"));
        if self.spec.version == Version::V1 {
            x = self.norm(x, &norm);
        }
        let w = self.constant(&weight);
        x = self.push(Op::Linear {}, &[x, w]);
        if self.spec.version != Version::V1 {
            x = self.norm(x, &norm);
        }
        self.module.graph.add_loc(x, name);
        x
    }

    fn block(&mut self, x: Value, name: &str, layer: &str, stage: Stage) -> Value {
        let before = self.spec.version == Version::V1;
        let norm = |this: &mut Self, y, number: usize, wanted| {
            if wanted { this.norm(y, &format!("{name}.norm{number}")) } else { y }
        };
        let mut y = norm(self, x, 1, before);
        y = self.windowed(y, name, layer, stage);
        y = norm(self, y, 1, !before);
        let x = self.push(Op::Add {}, &[x, y]);
        let mut y = norm(self, x, 2, before);
        y = self.linear(y, &format!("{name}.mlp.fc1"));
        y = self.push(Op::Gelu {}, &[y]);
        y = self.linear(y, &format!("{name}.mlp.fc2"));
        y = norm(self, y, 2, !before);
        self.push(Op::Add {}, &[x, y])
    }

    /// Attention in windows of the grid, padded and shifted as the description's library does it.
    fn windowed(&mut self, x: Value, name: &str, layer: &str, stage: Stage) -> Value {
        let Stage { window, grid, .. } = stage;
        let padded = stage.padded();
        let shift = stage.shift.map(|s| s as i64);
        let shift_first = self.spec.partition == Partition::Timm;
        let mut y = if shift_first { x } else { self.pad(x, padded) };
        y = self.roll(y, shift);
        y = self.pad(y, padded);
        y = self.push(Op::WindowPartition { window }, &[y]);
        y = self.attention(y, &format!("{name}.attn"), layer, stage);
        y = self.push(Op::WindowReverse { window, height: padded.rows, width: padded.columns }, &[y]);
        if shift_first {
            y = self.crop(y, grid);
        }
        y = self.roll(y, shift.map(|s| -s));
        self.crop(y, grid)
    }

    fn attention(&mut self, x: Value, name: &str, layer: &str, stage: Stage) -> Value {
        let Stage { channels, heads, window, .. } = stage;
        let tokens = window.rows * window.columns;
        let [mut q, mut k, v] = ["q", "k", "v"].map(|part| self.qkv_part(x, name, part, channels));
        let mut scale = F32::new(((channels / heads) as f32).powf(-0.5));
        let cosine = self.spec.version != Version::V1;
        if cosine {
            [q, k] = [q, k].map(|x| self.push(Op::L2Norm { heads, eps: F32::new(L2_EPS) }, &[x]));
        }
        let mut scores = self.push(Op::AttnScores { heads }, &[q, k]);
        if cosine {
            let of_checkpoint = format!("{name}.logit_scale");
            let scales = Tensor::f32([heads], score_scales(self.tensor(&of_checkpoint).as_f32().expect(CHECKED)));
            let scales = self.module.constant(format!("{name}.score_scale"), Type::f32([heads]), scales);
            scores = self.push(Op::HeadScale {}, &[scores, scales]);
            scale = F32::ONE;
        }
        let bias = relative_position_bias(&self.position_table(name, &stage), window, heads);
        let shape = [heads, tokens, tokens];
        let mut operands = vec![scores];
        operands.push(self.module.constant(
            format!("{name}.relative_position_bias"),
            Type::f32(shape),
            Tensor::f32(shape, bias),
        ));
        if stage.shift != 0.into() {
            let mask = shift_mask(&stage);
            let shape = [mask.len() / (tokens * tokens), tokens, tokens];
            let mask = Tensor::f32(shape, mask);
            operands.push(self.module.constant(format!("{layer}.attn_mask"), Type::f32(shape), mask));
        }
        let scores = self.push(Op::AttnBias { scale }, &operands);
        let p = self.push(Op::Softmax {}, &[scores]);
        let y = self.push(Op::AttnValues {}, &[p, v]);
        self.linear(y, &format!("{name}.proj"))
    }

    /// The biases of all distances in a window, `[distances,heads]`: the checkpoint's, or those that its MLP gives.
    fn position_table(&self, name: &str, stage: &Stage) -> Vec<f32> {
        let values = |part: &str| self.tensor(&format!("{name}.{part}")).as_f32().expect(CHECKED);
        if self.spec.version == Version::V1 {
            return values("relative_position_bias_table").to_vec();
        }
        let [first, bias, second] = ["0.weight", "0.bias", "2.weight"].map(|part| values(&format!("cpb_mlp.{part}")));
        PositionMlp { first, bias, second }.table(stage.window, stage.pretrained_window, stage.heads)
    }

    fn roll(&mut self, x: Value, shift: Pair<i64>) -> Value {
        if shift == 0.into() { x } else { self.push(Op::Roll { shift }, &[x]) }
    }

    fn pad(&mut self, x: Value, sides: Pair<usize>) -> Value {
        if self.sides(x) == sides { x } else { self.push(Op::Pad { sides }, &[x]) }
    }

    fn crop(&mut self, x: Value, sides: Pair<usize>) -> Value {
        if self.sides(x) == sides { x } else { self.push(Op::Crop { sides }, &[x]) }
    }

    /// Sides of a map of tokens.
    fn sides(&self, x: Value) -> Pair<usize> {
        let shape = &self.module.graph.ty(x).shape;
        Pair::new(shape[1], shape[2])
    }

    /// One third of the qkv linear: q, k and v are quantized apart, each with its own scale. In the second version q and v have biases
    /// of their own, and k none.
    fn qkv_part(&mut self, x: Value, name: &str, part: &str, channels: usize) -> Value {
        let third = ["q", "k", "v"].iter().position(|p| *p == part).expect("q, k or v");
        let third_of = |tensor: &Tensor| {
            let values = tensor.as_f32().expect(CHECKED);
            values[third * values.len() / 3..][..values.len() / 3].to_vec()
        };
        let weight = third_of(self.tensor(&format!("{name}.qkv.weight")));
        let bias = match self.spec.version {
            _ if !self.spec.qkv_bias => None,
            Version::V1 => Some(third_of(self.tensor(&format!("{name}.qkv.bias")))),
            Version::V2 { .. } if part == "k" => None,
            Version::V2 { .. } => Some(self.tensor(&format!("{name}.{part}_bias")).as_f32().expect(CHECKED).to_vec()),
        };
        let mut operands = vec![x];
        let all = [("weight", Some(weight), vec![channels, channels]), ("bias", bias, vec![channels])];
        for (parameter, values, shape) in all {
            let Some(values) = values else { continue };
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
