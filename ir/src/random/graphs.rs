//! Random valid graphs of every op.

use crate::{
    graph::{Decl, Graph, Value},
    infer::{infer, norm_scale},
    op::{Op, OpKind, Order},
    pair::Pair,
    types::{Channels, Elem, F32, Scale, Type},
};
use fastrand::Rng;

/// A random graph that [`crate::verify()`] accepts, of at least one and about `nodes` nodes. Every op can be in it, dead
/// code and unused inputs too; tensors are small. (In the manner of LLVM's `llvm-stress`.)
pub fn graph(seed: u64, nodes: usize) -> Graph {
    let mut rng = Rng::with_seed(seed);
    let mut inputs = Vec::new();
    for i in 0..rng.usize(1..=3) {
        let ty = input(&mut rng);
        inputs.push(Decl { name: format!("in.{i}").into(), ty });
    }
    let values = (0..inputs.len()).map(|i| Value::Input(crate::InputId(i as u32))).collect();
    let mut generator = Generator { graph: Graph::new(format!("random_{seed}"), inputs), values, rng };
    // Not every op finds operands, but a float finds a ReLU.
    for attempt in 0.. {
        let enough = generator.graph.nodes.len() >= nodes.max(1) || attempt > 100 * nodes;
        if enough && !generator.graph.nodes.is_empty() {
            break;
        }
        let kind = *generator.choose(OpKind::ALL);
        let node = generator.node(kind);
        generator.values.extend(node);
    }
    generator.graph.output = match generator.rng.u8(..8) {
        0 => generator.any(|_| true).expect("there are inputs"),
        _ => *generator.values.last().expect("there are nodes"),
    };
    generator.graph
}

/// A type as activations have it somewhere in a Swin Transformer.
fn input(rng: &mut Rng) -> Type {
    let scale = Scale::tensor([1.0, 0.5, 0.02, 1.0 / 255.0][rng.usize(..4)]);
    let (side, channels) = ([1, 2, 4, 6][rng.usize(..4)], [1, 2, 3, 4, 6][rng.usize(..5)]);
    let images = vec![rng.usize(1..=2), side, side, channels];
    let windows = vec![rng.usize(1..=4), [1, 4, 9][rng.usize(..3)], channels];
    match rng.u8(..8) {
        0 | 1 => Type::int(Elem::U8, Scale::UNIT, images),
        2 => Type::f32(images),
        3 => Type::f32(windows),
        4 => Type::int(Elem::I8, scale, images),
        5 => Type::int(Elem::I8, scale, windows),
        6 => Type::int(Elem::I16, scale, images),
        _ => Type::f32(vec![rng.usize(1..=5), channels]),
    }
}

struct Generator {
    graph: Graph,
    /// What operands are chosen from: inputs and nodes.
    values: Vec<Value>,
    rng: Rng,
}

impl Generator {
    fn choose<'a, T>(&mut self, options: &'a [T]) -> &'a T {
        &options[self.rng.usize(..options.len())]
    }

    /// A value whose type fits, if one does; later ones are likelier, so that graphs grow deep.
    fn any(&mut self, fits: impl Fn(&Type) -> bool) -> Option<Value> {
        let fitting: Vec<Value> = self.values.iter().copied().filter(|&v| fits(self.graph.ty(v))).collect();
        let n = fitting.len();
        let i = self.rng.usize(..n.max(1)).max(self.rng.usize(..n.max(1)));
        fitting.get(i).copied()
    }

    fn float(&mut self) -> Option<Value> {
        self.any(Type::is_float)
    }

    /// A new constant; its name is often that of a module.
    fn constant(&mut self, ty: Type) -> Value {
        let number = self.graph.consts.len();
        let stem = *self.choose(&["c", "layers.0.blocks.1.w", "a-b_c"]);
        self.graph.constant(format!("{stem}.{number}"), ty)
    }

    fn vector(&mut self, n: usize) -> Value {
        self.constant(Type::f32([n]))
    }

    fn scale(&mut self) -> F32 {
        F32::new(*self.choose(&[1.0, 0.25, 0.02, 0.013, 1.0 / 255.0]))
    }

    /// Two divisors, often the same one, of the sides of an image.
    fn window(&mut self, sides: Pair<usize>) -> Pair<usize> {
        match self.rng.bool() {
            true => self.divisor(sides.rows, sides.columns).into(),
            false => sides.map(|side| self.divisor(side, side)),
        }
    }

    /// A shift of an image.
    fn shift(&mut self) -> Pair<i64> {
        let mut shift = Pair::from(self.rng.i64(-9..=9));
        if self.rng.bool() {
            shift.columns = self.rng.i64(-9..=9);
        }
        shift
    }

    /// The sides of an image of a type.
    fn sides(&self, x: Value) -> Pair<usize> {
        let shape = &self.graph.ty(x).shape;
        Pair::new(shape[1], shape[2])
    }

    /// Up to two more rows and columns.
    fn more(&mut self, sides: Pair<usize>) -> Pair<usize> {
        sides.map(|side| side + self.rng.usize(..3))
    }

    /// A divisor of both extents.
    fn divisor(&mut self, a: usize, b: usize) -> usize {
        let divisors: Vec<usize> = (1..=a.min(b)).filter(|d| a.is_multiple_of(*d) && b.is_multiple_of(*d)).collect();
        *self.choose(&divisors)
    }

    fn attach(&mut self, op: Op, operands: Vec<Value>) -> Option<Value> {
        let value = self.graph.push(op, operands).ok()?;
        for _ in 0..self.rng.usize(..8).saturating_sub(5) {
            let loc = format!("layers.{}.é x", self.rng.u8(..4));
            self.graph.add_loc(value, loc);
        }
        if let Value::Node(n) = value
            && self.rng.u8(..16) == 0
        {
            self.graph.nodes[n.index()].approximates = Some(OpKind::Gelu);
        }
        Some(value)
    }

    /// Weights for a linear on `x`.
    fn matrix(&mut self, x: &Type) -> Value {
        let shape = [self.rng.usize(1..=6), x.last()];
        if x.is_float() {
            return self.constant(Type::f32(shape));
        }
        let mut scale = Scale { factor: self.scale(), channels: None };
        if self.rng.bool() {
            let name = format!("scales.{}", self.graph.consts.len());
            self.graph.constant(name.as_str(), Type::f32([shape[0]]));
            scale.channels = Some(Channels { name: name.into(), axis: 0 });
        }
        self.constant(Type::int(Elem::I8, scale, shape))
    }

    /// A bias for sums of a type.
    fn bias(&mut self, y: &Type) -> Value {
        self.constant(Type { shape: vec![y.last()], elem: y.elem, scale: y.scale.on_axis(0) })
    }

    fn target(&mut self) -> (Elem, F32) {
        (*self.choose(&[Elem::I8, Elem::I8, Elem::U8, Elem::I16]), self.scale())
    }

    /// Adds a node of this op, if there are operands for it.
    fn node(&mut self, kind: OpKind) -> Option<Value> {
        match kind {
            OpKind::Normalize => {
                let x = self.any(|ty| ty.elem == Elem::U8 && ty.scale == Scale::UNIT && ty.rank() == 4)?;
                let channels = self.graph.ty(x).last();
                let mut floats = |low: f32| (0..channels).map(|_| F32::new(low + self.rng.f32())).collect();
                let (mean, std) = (floats(-0.5), floats(0.1));
                self.attach(Op::Normalize { mean, std }, vec![x])
            }
            OpKind::SpaceToDepth => {
                let x = self.any(|ty| ty.rank() == 4)?;
                let block = self.divisor(self.graph.ty(x).shape[1], self.graph.ty(x).shape[2]);
                let order = *self.choose(&[Order::Row, Order::Column]);
                self.attach(Op::SpaceToDepth { block, order }, vec![x])
            }
            OpKind::Roll => {
                let x = self.any(|ty| ty.rank() == 4)?;
                let shift = self.shift();
                self.attach(Op::Roll { shift }, vec![x])
            }
            OpKind::Pad => {
                let x = self.any(|ty| ty.rank() == 4 && ty.elements() <= 512)?;
                let sides = self.more(self.sides(x));
                self.attach(Op::Pad { sides }, vec![x])
            }
            OpKind::Crop => {
                let x = self.any(|ty| ty.rank() == 4)?;
                let sides = self.sides(x).map(|side| side - self.rng.usize(..side.min(3)));
                self.attach(Op::Crop { sides }, vec![x])
            }
            OpKind::WindowPartition => {
                let x = self.any(|ty| ty.rank() == 4)?;
                let window = self.window(self.sides(x));
                self.attach(Op::WindowPartition { window }, vec![x])
            }
            OpKind::WindowReverse => {
                let x = self.any(|ty| ty.rank() == 3)?;
                let (n, tokens) = (self.graph.ty(x).shape[0], self.graph.ty(x).shape[1]);
                let height = self.divisor(tokens, tokens);
                let window = Pair::new(height, tokens / height);
                let rows = self.divisor(n, n);
                let columns = self.divisor(n / rows, n / rows);
                let op = Op::WindowReverse { window, height: window.rows * rows, width: window.columns * columns };
                self.attach(op, vec![x])
            }
            OpKind::LayerNorm => {
                let x = self.float()?;
                let n = self.graph.ty(x).last();
                let operands = vec![x, self.vector(n), self.vector(n)];
                let eps = F32::new(*self.choose(&[1e-5, 1e-3]));
                self.attach(Op::LayerNorm { eps }, operands)
            }
            OpKind::QLayerNorm => {
                let x = self.any(is_stream)?;
                let mut operands = vec![x];
                operands.extend(self.norm(self.graph.ty(x).last()));
                let (elem, scale) = self.target();
                self.attach(Op::QLayerNorm { eps: F32::new(1e-5), elem, scale }, operands)
            }
            OpKind::L2Norm => {
                let x = self.float()?;
                let n = self.graph.ty(x).last();
                let heads = self.divisor(n, n);
                let eps = F32::new(*self.choose(&[1e-12, 1e-3]));
                self.attach(Op::L2Norm { heads, eps }, vec![x])
            }
            OpKind::QL2Norm => {
                let x = self.any(is_stream)?;
                let n = self.graph.ty(x).last();
                let heads = self.divisor(n, n);
                let (elem, scale) = self.target();
                self.attach(Op::QL2Norm { heads, elem, scale }, vec![x])
            }
            OpKind::HeadScale => {
                let integers = |ty: &Type| ty.elem == Elem::I32 && ty.scale.channels.is_none();
                let prefer_integers = self.rng.bool();
                let scores = |ty: &Type| ty.rank() == 4 && ty.shape[2] == ty.shape[3];
                let x = self.any(|ty| scores(ty) && integers(ty)).filter(|_| prefer_integers);
                let x = x.or_else(|| self.any(|ty| scores(ty) && ty.is_float()))?;
                let heads = self.graph.ty(x).shape[1];
                let s = match self.graph.ty(x).is_float() {
                    true => Type::f32([heads]),
                    false => Type::int(Elem::I16, Scale { factor: self.scale(), channels: None }, [heads]),
                };
                let operands = vec![x, self.constant(s)];
                self.attach(Op::HeadScale {}, operands)
            }
            OpKind::QSoftmax => {
                let x = self.any(|ty| ty.elem == Elem::I32 && ty.scale.channels.is_none())?;
                self.attach(Op::QSoftmax {}, vec![x])
            }
            OpKind::Linear | OpKind::QLinear => {
                let quantized = kind == OpKind::QLinear;
                let x =
                    self.any(|ty| (ty.is_float() && !quantized) || (ty.elem.is_byte() && ty.scale.channels.is_none()))?;
                let ty = self.graph.ty(x).clone();
                let mut operands = vec![x, self.matrix(&ty)];
                if self.rng.bool() {
                    let y = infer(&Op::Linear {}, &[&ty, self.graph.ty(operands[1])]).ok()?;
                    operands.push(self.bias(&y));
                }
                let (elem, scale) = self.target();
                self.attach(if quantized { Op::QLinear { elem, scale } } else { Op::Linear {} }, operands)
            }
            OpKind::BiasAdd => {
                let sums = |n: &crate::Node| n.op == Op::Linear {} && n.operands.len() == 2;
                let linear = self.values.iter().copied().rfind(|&v| self.graph.node(v).is_some_and(sums));
                let x = if self.rng.bool() { linear? } else { self.float()? };
                let y = self.graph.ty(x).clone();
                let operands = vec![x, self.bias(&y)];
                self.attach(Op::BiasAdd {}, operands)
            }
            OpKind::AttnScores => {
                let operand = |ty: &Type| ty.rank() == 3 && (ty.is_float() || ty.elem == Elem::I8);
                let q = self.any(operand)?;
                let shape = self.graph.ty(q).shape.clone();
                let k = self.any(|ty| operand(ty) && ty.shape == shape)?;
                let heads = self.divisor(shape[2], shape[2]);
                self.attach(Op::AttnScores { heads }, vec![q, k])
            }
            OpKind::AttnBias => {
                let square = |ty: &Type| ty.rank() == 4 && ty.shape[2] == ty.shape[3];
                let scores = |n: &crate::Node| matches!(n.op.kind(), OpKind::AttnScores | OpKind::HeadScale);
                let integers = self.values.iter().copied().rfind(|&v| self.graph.node(v).is_some_and(scores));
                let x = if self.rng.bool() { integers? } else { self.any(|ty| ty.is_float() && square(ty))? };
                let scale = self.scale();
                let mut ty = self.graph.ty(x).clone();
                if !ty.is_float() {
                    ty.scale = ty.scale.times(scale);
                }
                let mut operands = vec![x, self.constant(ty.with_shape(&ty.shape[1..]))];
                if self.rng.bool() {
                    let masks = self.divisor(ty.shape[0], ty.shape[0]);
                    operands.push(self.constant(ty.with_shape([masks, ty.shape[2], ty.shape[3]])));
                }
                self.attach(Op::AttnBias { scale }, operands)
            }
            OpKind::AttnValues => {
                let p = self.any(|ty| ty.rank() == 4 && ty.shape[2] == ty.shape[3])?;
                let p_ty = self.graph.ty(p).clone();
                let fits = |ty: &Type| {
                    ty.rank() == 3
                        && ty.shape[..2] == [p_ty.shape[0], p_ty.shape[2]]
                        && ty.is_float() == p_ty.is_float()
                };
                let v = self.any(fits).unwrap_or_else(|| {
                    let shape = vec![p_ty.shape[0], p_ty.shape[2], p_ty.shape[1] * 2];
                    self.constant(if p_ty.is_float() {
                        Type::f32(shape)
                    } else {
                        Type::int(Elem::I8, Scale::UNIT, shape)
                    })
                });
                self.attach(Op::AttnValues {}, vec![p, v])
            }
            OpKind::MeanPool => {
                let x = self.any(|ty| ty.rank() == 4)?;
                self.attach(Op::MeanPool {}, vec![x])
            }
            OpKind::Softmax | OpKind::Gelu | OpKind::Relu => {
                let x = self.float()?;
                let op = Op::from_attrs(kind, &[]).expect("they have no attributes");
                self.attach(op, vec![x])
            }
            OpKind::Add => {
                let a = self.any(|ty| ty.is_float() || ty.elem == Elem::I16)?;
                let ty = self.graph.ty(a).clone();
                let b = self.any(|other| *other == ty)?;
                self.attach(Op::Add {}, vec![a, b])
            }
            OpKind::Quantize => {
                let x = self.float()?;
                let (elem, scale) = self.target();
                self.attach(Op::Quantize { elem, scale }, vec![x])
            }
            OpKind::FloatGelu => {
                let x = self.any(|ty| ty.elem.is_int())?;
                let (elem, scale) = self.target();
                self.attach(Op::FloatGelu { elem, scale }, vec![x])
            }
            OpKind::Dequantize => {
                let x = self.any(|ty| ty.elem.is_int())?;
                self.attach(Op::Dequantize {}, vec![x])
            }
            OpKind::Requantize => {
                let x = self.any(|ty| ty.elem.is_int())?;
                let (elem, scale) = self.target();
                self.attach(Op::Requantize { elem, scale }, vec![x])
            }
            OpKind::Lut => {
                let x = self.any(|ty| ty.elem.is_byte())?;
                let table = self.table();
                self.attach(Op::Lut {}, vec![x, table])
            }
            _ => self.fused(kind),
        }
    }

    /// Adds a fused node, if there are operands for it.
    fn fused(&mut self, kind: OpKind) -> Option<Value> {
        let (eps, norm, scale) = (F32::new(1e-5), self.scale(), self.scale());
        match kind {
            OpKind::NormLinear => {
                let x = self.any(|ty| is_stream(ty) && ty.rank() == 4)?;
                let ty = self.graph.ty(x).clone();
                let (pad, shift, fill, window) = self.partition(x);
                let mut operands = vec![x];
                operands.extend(self.norm(ty.last()));
                operands.extend(self.linear(norm, ty.last(), None));
                let (mut elem, scale) = self.target();
                if self.rng.bool() {
                    elem = Elem::I8;
                    operands.push(self.table());
                }
                let op = Op::NormLinear { eps, norm, pad, shift, fill, window, elem, scale };
                self.attach(op, operands)
            }
            OpKind::StreamLinear => {
                let x = self.any(|ty| is_stream(ty) && ty.rank() == 4)?;
                let ty = self.graph.ty(x).clone();
                let even = ty.shape[1].is_multiple_of(2) && ty.shape[2].is_multiple_of(2);
                let block = if even && self.rng.bool() { 2 } else { 0 };
                let (mut pad, mut shift, mut fill, mut window) = Default::default();
                if block == 0 {
                    (pad, shift, fill, window) = self.partition(x);
                }
                let k = ty.last() * if block == 0 { 1 } else { block * block };
                let mut operands = vec![x];
                operands.extend(self.linear(norm, k, None));
                let (mut elem, scale) = self.target();
                if self.rng.bool() {
                    elem = Elem::I8;
                    operands.push(self.table());
                }
                let op = Op::StreamLinear { cast: norm, block, pad, shift, fill, window, elem, scale };
                self.attach(op, operands)
            }
            OpKind::CosineAttention => {
                let qkv = self.any(|ty| ty.rank() == 3 && is_stream(ty) && ty.last().is_multiple_of(3))?;
                let ty = self.graph.ty(qkv).clone();
                let (tokens, width) = (ty.shape[1], ty.last() / 3);
                let heads = self.divisor(width, width);
                let (unit, value) = (F32::new(1.0 / 127.0), self.scale());
                let scales = Type::int(Elem::I16, Scale { factor: self.scale(), channels: None }, [heads]);
                let scores = Scale { factor: F32::new(unit.get() * unit.get()), channels: None };
                let scores = scores.times(scales.scale.factor).times(norm);
                let scores = Type::int(Elem::I32, scores, [heads, tokens, tokens]);
                let mut operands = vec![qkv, self.constant(scales), self.constant(scores.clone())];
                if self.rng.bool() {
                    let masks = self.divisor(ty.shape[0], ty.shape[0]);
                    operands.push(self.constant(scores.with_shape([masks, tokens, tokens])));
                }
                let elem = *self.choose(&[Elem::I8, Elem::I16]);
                self.attach(Op::CosineAttention { heads, unit, value, factor: norm, elem, scale }, operands)
            }
            OpKind::WindowAttention => {
                let qkv = self.any(|ty| {
                    ty.rank() == 3 && ty.elem == Elem::I8 && ty.scale.channels.is_none() && ty.last().is_multiple_of(3)
                })?;
                let ty = self.graph.ty(qkv).clone();
                let (tokens, width) = (ty.shape[1], ty.last() / 3);
                let heads = self.divisor(width, width);
                let scores = Scale { factor: F32::new(ty.scale.factor.get() * ty.scale.factor.get()), channels: None };
                let scores = Type::int(Elem::I32, scores.times(norm), [heads, tokens, tokens]);
                let mut operands = vec![qkv, self.constant(scores.clone())];
                if self.rng.bool() {
                    let masks = self.divisor(ty.shape[0], ty.shape[0]);
                    operands.push(self.constant(scores.with_shape([masks, tokens, tokens])));
                }
                let elem = *self.choose(&[Elem::I8, Elem::I16]);
                self.attach(Op::WindowAttention { heads, factor: norm, elem, scale }, operands)
            }
            OpKind::LinearResidual => {
                let r = self.any(|ty| is_stream(ty) && ty.rank() == 4)?;
                let shape = self.graph.ty(r).shape.clone();
                let (x, Reversal { window, height, width, cut, shift, crop }) =
                    self.reversed(&shape, |ty| ty.elem.is_byte() && ty.scale.channels.is_none())?;
                let ty = self.graph.ty(x).clone();
                let mut operands = vec![x];
                operands.extend(self.linear(ty.scale.factor, ty.last(), Some(shape[3])));
                operands.push(r);
                self.attach(Op::LinearResidual { window, height, width, cut, shift, crop, scale }, operands)
            }
            OpKind::NormResidual => {
                let r = self.any(|ty| is_stream(ty) && ty.rank() == 4)?;
                let shape = self.graph.ty(r).shape.clone();
                let (x, Reversal { window, height, width, cut, shift, crop }) =
                    self.reversed(&shape, |ty| is_stream(ty) && ty.last() == shape[3])?;
                let mut operands = vec![x];
                operands.extend(self.norm(shape[3]));
                operands.push(r);
                self.attach(Op::NormResidual { eps, window, height, width, cut, shift, crop, scale }, operands)
            }
            OpKind::Mlp => {
                let x = self.any(is_stream)?;
                let channels = self.graph.ty(x).last();
                let width = self.rng.usize(1..=8);
                let (hidden, with_table) = (self.scale(), self.rng.bool());
                let mut operands = vec![x];
                operands.extend(self.norm(channels));
                operands.extend(self.linear(norm, channels, Some(width)));
                let table = self.table();
                let between = if with_table { self.graph.ty(table).scale.factor } else { hidden };
                operands.extend(self.linear(between, width, Some(channels)));
                operands.extend(with_table.then_some(table));
                let elem = *self.choose(&[Elem::I8, Elem::U8]);
                self.attach(Op::Mlp { eps, norm, elem, hidden, scale }, operands)
            }
            OpKind::PatchEmbed => {
                let x = self.any(|ty| ty.rank() == 4 && ty.elem.is_byte() && ty.scale.channels.is_none())?;
                let ty = self.graph.ty(x).clone();
                let (block, width) = (self.divisor(ty.shape[1], ty.shape[2]), self.rng.usize(1..=6));
                let mut operands = vec![x];
                operands.extend(self.linear(ty.scale.factor, block * block * ty.last(), Some(width)));
                operands.extend(self.norm(width));
                self.attach(Op::PatchEmbed { block, linear: norm, eps, scale }, operands)
            }
            OpKind::PatchMerge => {
                let even = |ty: &Type| ty.shape[1].is_multiple_of(2) && ty.shape[2].is_multiple_of(2);
                let x = self.any(|ty| is_stream(ty) && ty.rank() == 4 && even(ty))?;
                let channels = 4 * self.graph.ty(x).last();
                let mut operands = vec![x];
                operands.extend(self.norm(channels));
                let biased = self.rng.usize(1..=2);
                operands.extend(self.linear(norm, channels, None).into_iter().take(biased));
                self.attach(Op::PatchMerge { eps, norm, scale }, operands)
            }
            OpKind::Head => {
                let x = self.any(|ty| is_stream(ty) && ty.rank() == 4)?;
                let channels = self.graph.ty(x).last();
                let mean = self.scale();
                let mut operands = vec![x];
                operands.extend(self.norm(channels));
                operands.extend(self.linear(mean, channels, None));
                let (elem, scale) = self.target();
                self.attach(Op::Head { eps, norm, mean, elem, scale }, operands)
            }
            other => unreachable!("{other} is not fused"),
        }
    }

    /// Padding, shift, padding and windows of an image; of each, perhaps none.
    fn partition(&mut self, x: Value) -> (Pair<usize>, Pair<i64>, Pair<usize>, Pair<usize>) {
        let (mut sides, mut pad, mut fill) = (self.sides(x), Pair::from(0), Pair::from(0));
        for padding in [&mut pad, &mut fill] {
            if self.rng.u8(..3) == 0 {
                sides = self.more(sides);
                *padding = sides;
            }
        }
        let (window, shift) = match self.rng.bool() {
            true => (self.window(sides), self.shift()),
            false => Default::default(),
        };
        (pad, shift, fill, window)
    }

    /// A value that `fits` and that becomes an image of a shape, channels aside: by its windows, or as it is.
    fn reversed(&mut self, shape: &[usize], fits: impl Fn(&Type) -> bool) -> Option<(Value, Reversal)> {
        // A square window and how many of them cover the image, when there are as many as its batch needs.
        let cover = |ty: &Type| {
            let window = ty.shape[1].isqrt();
            let tiles = [shape[1], shape[2]].map(|side| side.div_ceil(window));
            let fits = window * window == ty.shape[1] && ty.shape[0] == shape[0] * tiles[0] * tiles[1];
            fits.then_some((window, tiles.map(|n| n * window)))
        };
        let in_windows = self.rng.bool();
        let x = self.any(|ty| {
            fits(ty)
                && if in_windows {
                    ty.rank() == 3 && cover(ty).is_some()
                } else {
                    ty.shape[..ty.rank() - 1] == shape[..3]
                }
        })?;
        if !in_windows {
            return Some((x, Reversal::default()));
        }
        let (window, [height, width]) = cover(self.graph.ty(x))?;
        let shift = self.shift();
        let mut reversal = Reversal { window: window.into(), height, width, shift, ..Reversal::default() };
        let sides = Pair::new(shape[1], shape[2]);
        if sides != Pair::new(height, width) {
            *(if self.rng.bool() { &mut reversal.cut } else { &mut reversal.crop }) = sides;
        }
        Some((x, reversal))
    }

    /// γ and β of an integer LayerNorm.
    fn norm(&mut self, channels: usize) -> [Value; 2] {
        let gamma = Type::int(Elem::I16, Scale { factor: self.scale(), channels: None }, [channels]);
        let sums = Scale { factor: norm_scale(gamma.scale.factor), channels: None };
        [self.constant(gamma), self.constant(Type::int(Elem::I32, sums, [channels]))]
    }

    /// Weights and bias of an integer linear on `k` channels of a scale; some number of results if none is given.
    fn linear(&mut self, x: F32, k: usize, n: Option<usize>) -> [Value; 2] {
        let n = n.unwrap_or_else(|| self.rng.usize(1..=6));
        let mut scale = Scale { factor: self.scale(), channels: None };
        if self.rng.bool() {
            let name = format!("scales.{}", self.graph.consts.len());
            self.graph.constant(name.as_str(), Type::f32([n]));
            scale.channels = Some(Channels { name: name.into(), axis: 0 });
        }
        let bias = Type::int(Elem::I32, scale.times(x), [n]);
        [self.constant(Type::int(Elem::I8, scale, [n, k])), self.constant(bias)]
    }

    /// A table of 256 bytes.
    fn table(&mut self) -> Value {
        let elem = *self.choose(&[Elem::I8, Elem::U8]);
        let scale = Scale { factor: self.scale(), channels: None };
        self.constant(Type::int(elem, scale, [256]))
    }
}

/// How windows become an image.
#[derive(Default)]
struct Reversal {
    window: Pair<usize>,
    height: usize,
    width: usize,
    cut: Pair<usize>,
    shift: Pair<i64>,
    crop: Pair<usize>,
}

/// What an integer LayerNorm takes.
fn is_stream(ty: &Type) -> bool {
    matches!(ty.elem, Elem::I8 | Elem::I16) && ty.scale.channels.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{diagnostic::Source, interp, random, text, verify, verify_weights};
    use std::{collections::BTreeMap, sync::Arc};

    #[test]
    fn random_graphs_are_valid_and_survive_their_text() {
        let mut ops: BTreeMap<&str, usize> = BTreeMap::new();
        for seed in 0..2400 {
            let g = graph(seed, 12);
            verify(&g).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{g}"));
            verify_weights(&g, &random::weights(&g, seed)).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{g}"));
            let printed = text::print(&g);
            let (parsed, _) = text::parse(&Arc::new(Source::new("g", printed.as_str()))).unwrap();
            assert_eq!(parsed, g, "seed {seed}");
            for (op, n) in g.op_counts() {
                *ops.entry(op).or_default() += n;
            }
        }
        for kind in OpKind::ALL {
            let n = ops.get(kind.name()).copied().unwrap_or(0);
            assert!(n >= 100, "{kind} is in {n} places only: {ops:?}");
        }
    }

    #[test]
    fn random_graphs_run() {
        for seed in 0..300 {
            let g = graph(seed, 12);
            let inputs = random::inputs(&g, &mut Rng::with_seed(seed));
            let y = interp::run(&g, &random::weights(&g, seed), &inputs).unwrap();
            assert!(y.is_of(g.ty(g.output)), "seed {seed}");
        }
    }
}
