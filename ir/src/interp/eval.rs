//! One function for each op. Equations are at the ops' definitions in [`crate::op`].

use crate::{
    arith::{
        self, Multiplier,
        l2_norm::{self, HeadNorm},
        layer_norm::{self, RowNorm},
        softmax,
    },
    fused::{self, Source},
    graph::Node,
    index_map::{IndexMap, NOTHING},
    infer::MAX_SCORE,
    math,
    op::{Class, Op},
    tensor::{Data, Tensor, Weights, channel_stride},
    types::{Elem, F32, Scale, Type},
};

/// The result of a node; operands are of the types that its op was inferred from.
pub(super) fn eval(node: &Node, operands: &[(&Tensor, &Type)], weights: &Weights) -> Tensor {
    let (x, x_ty) = operands[0];
    let operand = |i: usize| operands[i].0;
    let shape = node.ty.shape.clone();
    let data = match &node.op {
        op if op.kind().class() == Class::Index => move_chunks(&IndexMap::of(op, &x.shape), &x.data),
        Op::Normalize { mean, std } => {
            let c = mean.len();
            let pixels = ints(x);
            Data::F32(
                (0..pixels.len()).map(|i| (pixels[i] as f32 / 255.0 - mean[i % c].get()) / std[i % c].get()).collect(),
            )
        }
        Op::LayerNorm { eps } => Data::F32(layer_norm(floats(x), floats(operand(1)), floats(operand(2)), eps.get())),
        Op::L2Norm { heads, eps } => Data::F32(l2_norm(floats(x), x_ty.last() / heads, eps.get())),
        Op::QL2Norm { heads, elem, scale } => {
            let x = ints(x);
            let units = x.chunks_exact(x_ty.last() / heads).flat_map(|head| {
                let norm = HeadNorm::of(head);
                head.iter().map(move |&x| norm.apply(x))
            });
            let ty = Type { elem: Elem::I32, scale: Scale::tensor(l2_norm::SCALE), shape: shape.clone() };
            requantize(&units.collect::<Vec<i32>>(), &ty, *elem, *scale, weights)
        }
        Op::HeadScale {} => {
            let (heads, area) = (shape[1], shape[2] * shape[3]);
            let head = |i: usize| i / area % heads;
            match &x.data {
                Data::F32(x) => {
                    let s = floats(operand(1));
                    Data::F32(x.iter().enumerate().map(|(i, x)| x * s[head(i)]).collect())
                }
                _ => {
                    let (x, s) = (ints(x), ints(operand(1)));
                    Data::I32(
                        x.iter().enumerate().map(|(i, x)| x.clamp(&-MAX_SCORE, &MAX_SCORE) * s[head(i)]).collect(),
                    )
                }
            }
        }
        Op::QLayerNorm { eps, elem, scale } => {
            let sums = q_layer_norm(&ints(x), &ints(operand(1)), &ints(operand(2)), x_ty, eps.get());
            let ty = Type { elem: Elem::I32, scale: operands[2].1.scale.clone(), shape: shape.clone() };
            requantize(&sums, &ty, *elem, *scale, weights)
        }
        Op::Linear {} => {
            let (w, n, k) = (operand(1), operand(1).shape[0], operand(1).shape[1]);
            match (&x.data, &w.data) {
                (Data::F32(x), Data::F32(w)) => {
                    let y = matmul(x, w, n, k);
                    Data::F32(match operands.get(2) {
                        Some((b, _)) => bias_add(&y, floats(b)),
                        None => y,
                    })
                }
                _ => {
                    let y = int_matmul(&ints(x), &ints(w), n, k);
                    Data::I32(match operands.get(2) {
                        Some((b, _)) => int_bias_add(&y, &ints(b)),
                        None => y,
                    })
                }
            }
        }
        Op::BiasAdd {} => match &x.data {
            Data::F32(x) => Data::F32(bias_add(x, floats(operand(1)))),
            _ => Data::I32(int_bias_add(&ints(x), &ints(operand(1)))),
        },
        Op::AttnScores { heads } => {
            let dims = AttnDims { heads: *heads, tokens: x.shape[1], channels: x.shape[2] };
            match (&x.data, &operand(1).data) {
                (Data::F32(q), Data::F32(k)) => Data::F32(attn_scores(q, k, dims, 0.0, |acc, a, b| acc + a * b)),
                _ => Data::I32(attn_scores(&ints(x), &ints(operand(1)), dims, 0, |acc, a, b| acc + a * b)),
            }
        }
        Op::AttnValues {} => {
            let v = operand(1);
            let dims = AttnDims { heads: x.shape[1], tokens: v.shape[1], channels: v.shape[2] };
            match (&x.data, &v.data) {
                (Data::F32(p), Data::F32(v)) => Data::F32(attn_values(p, v, dims, 0.0, |acc, a, b| acc + a * b)),
                _ => Data::I32(attn_values(&ints(x), &ints(v), dims, 0, |acc, a, b| acc + a * b)),
            }
        }
        Op::AttnBias { scale } => {
            let area = shape[2] * shape[3];
            let mask = operands.get(2).map(|(m, _)| *m);
            match &x.data {
                Data::F32(x) => {
                    let scaled: Vec<f32> = x.iter().map(|x| x * scale.get()).collect();
                    Data::F32(attn_bias(&scaled, floats(operand(1)), mask.map(floats), area))
                }
                _ => Data::I32(attn_bias(&ints(x), &ints(operand(1)), mask.map(ints).as_deref(), area)),
            }
        }
        Op::QSoftmax {} => {
            let multiplier = weights.multipliers(x_ty, softmax::EXPONENT_SCALE)[0];
            Data::U8(ints(x).chunks_exact(x_ty.last()).flat_map(|row| q_softmax_row(row, multiplier)).collect())
        }
        Op::Softmax {} => Data::F32(floats(x).chunks_exact(x_ty.last()).flat_map(softmax_row).collect()),
        Op::Gelu {} => Data::F32(floats(x).iter().map(|&x| math::gelu(x)).collect()),
        Op::Relu {} => Data::F32(floats(x).iter().map(|&x| if x > 0.0 { x } else { 0.0 }).collect()),
        Op::Add {} => match (&x.data, &operand(1).data) {
            (Data::I16(a), Data::I16(b)) => Data::I16(a.iter().zip(b).map(|(a, b)| a.saturating_add(*b)).collect()),
            _ => Data::F32(floats(x).iter().zip(floats(operand(1))).map(|(a, b)| a + b).collect()),
        },
        Op::MeanPool {} => {
            let (tokens, channels) = (x.shape[1] * x.shape[2], x.shape[3]);
            match &x.data {
                Data::F32(x) => {
                    let sums = pool_sums(x, tokens, channels, 0.0, |sum, x| sum + x);
                    Data::F32(sums.into_iter().map(|sum| sum / tokens as f32).collect())
                }
                _ => Data::I32(pool_sums(&ints(x), tokens, channels, 0, |sum, x| sum + x)),
            }
        }
        Op::Quantize { elem, scale } => {
            Data::from_i32(*elem, floats(x).iter().map(|&x| arith::quantize(x, scale.get(), *elem)))
        }
        Op::Dequantize {} => Data::F32(x.to_real(x_ty, weights)),
        Op::Requantize { elem, scale } => requantize(&ints(x), x_ty, *elem, *scale, weights),
        Op::Lut {} => {
            let table = ints(operand(1));
            Data::from_i32(node.ty.elem, ints(x).into_iter().map(|q| table[arith::table_index(q, x_ty.elem)]))
        }
        Op::SpaceToDepth { .. }
        | Op::Roll { .. }
        | Op::Pad { .. }
        | Op::Crop { .. }
        | Op::WindowPartition { .. }
        | Op::WindowReverse { .. } => unreachable!("index maps are handled above"),
        Op::QLinear { .. }
        | Op::FloatGelu { .. }
        | Op::NormLinear { .. }
        | Op::StreamLinear { .. }
        | Op::CosineAttention { .. }
        | Op::NormResidual { .. }
        | Op::WindowAttention { .. }
        | Op::LinearResidual { .. }
        | Op::Mlp { .. }
        | Op::PatchEmbed { .. }
        | Op::PatchMerge { .. }
        | Op::Head { .. } => return eval_body(&node.op, operands, weights),
    };
    Tensor::new(shape, data)
}

/// An op by its body.
fn eval_body(op: &Op, operands: &[(&Tensor, &Type)], weights: &Weights) -> Tensor {
    let types: Vec<&Type> = operands.iter().map(|o| o.1).collect();
    let steps = fused::body(op, operands.len()).expect("the op has a body");
    let types = fused::step_types(op, &types).expect("type inference accepted the body");
    let mut results: Vec<Tensor> = Vec::with_capacity(steps.len());
    for (step, (inputs, ty)) in steps.into_iter().zip(types) {
        let parts: Vec<Option<Tensor>> = (step.operands.iter())
            .map(|source| match *source {
                Source::Part { operand, index, of } => Some(part(operands[operand].0, index, of)),
                _ => None,
            })
            .collect();
        let tensors = step.operands.iter().zip(&parts).map(|(source, part)| match *source {
            Source::Operand(i) => operands[i].0,
            Source::Part { .. } => part.as_ref().expect("made above"),
            Source::Step(i) => &results[i],
        });
        let inputs: Vec<(&Tensor, &Type)> = tensors.zip(&inputs).collect();
        let result = eval(
            &Node { op: step.op, operands: Vec::new(), ty, locs: Vec::new(), approximates: None },
            &inputs,
            weights,
        );
        results.push(result);
    }
    results.pop().expect("bodies have steps")
}

/// One of so many equal parts of the channels.
fn part(x: &Tensor, index: usize, of: usize) -> Tensor {
    let channels = x.shape[x.shape.len() - 1];
    let width = channels / of;
    let mut shape = x.shape.clone();
    *shape.last_mut().expect("type inference saw channels") = width;
    fn chunks<T: Copy>(x: &[T], channels: usize, width: usize, first: usize) -> Vec<T> {
        x.chunks_exact(channels).flat_map(|row| &row[first..first + width]).copied().collect()
    }
    let first = index * width;
    Tensor::new(
        shape,
        match &x.data {
            Data::F32(x) => Data::F32(chunks(x, channels, width, first)),
            Data::I32(x) => Data::I32(chunks(x, channels, width, first)),
            Data::I16(x) => Data::I16(chunks(x, channels, width, first)),
            Data::I8(x) => Data::I8(chunks(x, channels, width, first)),
            Data::U8(x) => Data::U8(chunks(x, channels, width, first)),
        },
    )
}

fn floats(t: &Tensor) -> &[f32] {
    t.as_f32().expect("type inference gave f32")
}

fn ints(t: &Tensor) -> Vec<i32> {
    t.data.to_i32().expect("type inference gave integers")
}

/// `q' = clamp(⌊q · m[c] + 1/2⌋)`, m the fixed-point multipliers from the operand's scales to the result's.
fn requantize(q: &[i32], ty: &Type, elem: Elem, scale: F32, weights: &Weights) -> Data {
    let multipliers = weights.multipliers(ty, scale.get());
    let stride = channel_stride(ty);
    let at = |(i, &q): (usize, &i32)| multipliers[i / stride % multipliers.len()].requantize(q, elem);
    Data::from_i32(elem, q.iter().enumerate().map(at))
}

/// `y[chunk i] = x[chunk source[i]]`, image by image; zeros for [`NOTHING`].
fn move_chunks(map: &IndexMap, data: &Data) -> Data {
    fn moved<T: Copy + Default>(map: &IndexMap, x: &[T]) -> Vec<T> {
        let nothing = vec![T::default(); map.chunk];
        let mut y = Vec::new();
        for x in x.chunks_exact(map.from * map.chunk) {
            for &s in &map.source {
                y.extend_from_slice(if s == NOTHING { &nothing } else { &x[s as usize * map.chunk..][..map.chunk] });
            }
        }
        y
    }
    match data {
        Data::F32(x) => Data::F32(moved(map, x)),
        Data::I32(x) => Data::I32(moved(map, x)),
        Data::I16(x) => Data::I16(moved(map, x)),
        Data::I8(x) => Data::I8(moved(map, x)),
        Data::U8(x) => Data::U8(moved(map, x)),
    }
}

/// `y[r,c] = (x[r,c] − μ[r]) / √(σ²[r] + eps) · γ[c] + β[c]`; sums in order of c.
fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32) -> Vec<f32> {
    let c = gamma.len();
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks_exact(c) {
        let mut sum = 0.0;
        for &v in row {
            sum += v;
        }
        let mean = sum / c as f32;
        let mut squares = 0.0;
        for &v in row {
            squares += (v - mean) * (v - mean);
        }
        let deviation = (squares / c as f32 + eps).sqrt();
        y.extend((0..c).map(|i| (row[i] - mean) / deviation * gamma[i] + beta[i]));
    }
    y
}

/// `y[d] = x[d] / max(√(Σ x²), eps)` for every head of `width` channels; the sum in order of d.
fn l2_norm(x: &[f32], width: usize, eps: f32) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len());
    for head in x.chunks_exact(width) {
        let mut squares = 0.0;
        for &v in head {
            squares += v * v;
        }
        let length = squares.sqrt().max(eps);
        y.extend(head.iter().map(|v| v / length));
    }
    y
}

/// `y[r,n] = Σₖ x[r,k] · w[n,k]`, in order of k, each product and sum rounded.
fn matmul(x: &[f32], w: &[f32], n: usize, k: usize) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len() / k * n);
    for row in x.chunks_exact(k) {
        for column in w.chunks_exact(k) {
            let mut acc = 0.0;
            for i in 0..k {
                acc += row[i] * column[i];
            }
            y.push(acc);
        }
    }
    y
}

/// `y[r,n] = Σₖ x[r,k] · w[n,k]`; the bound on K excludes overflow.
fn int_matmul(x: &[i32], w: &[i32], n: usize, k: usize) -> Vec<i32> {
    let mut y = Vec::with_capacity(x.len() / k * n);
    for row in x.chunks_exact(k) {
        for column in w.chunks_exact(k) {
            y.push((0..k).map(|i| row[i] * column[i]).sum());
        }
    }
    y
}

/// `y[r,n] = x[r,n] + bias[n]`.
fn bias_add(x: &[f32], bias: &[f32]) -> Vec<f32> {
    (0..x.len()).map(|i| x[i] + bias[i % bias.len()]).collect()
}

/// `y[r,n] = x[r,n] + bias[n]`; the bounds on K and the bias exclude overflow.
fn int_bias_add(x: &[i32], bias: &[i32]) -> Vec<i32> {
    (0..x.len()).map(|i| x[i] + bias[i % bias.len()]).collect()
}

/// Extents of an attention: heads, tokens of a window, channels over all heads.
#[derive(Clone, Copy)]
struct AttnDims {
    heads: usize,
    tokens: usize,
    channels: usize,
}

/// `y[w,h,i,j] = Σ_d q[w,i,h·D+d] · k[w,j,h·D+d]`, in order of d.
fn attn_scores<T: Copy>(q: &[T], k: &[T], dims: AttnDims, zero: T, mul_add: impl Fn(T, T, T) -> T) -> Vec<T> {
    let AttnDims { heads, tokens, channels } = dims;
    let head_dim = channels / heads;
    let mut y = Vec::new();
    for window in 0..q.len() / (tokens * channels) {
        for head in 0..heads {
            for i in 0..tokens {
                for j in 0..tokens {
                    let at = |token: usize| (window * tokens + token) * channels + head * head_dim;
                    let products = (0..head_dim).map(|d| (q[at(i) + d], k[at(j) + d]));
                    y.push(products.fold(zero, |acc, (a, b)| mul_add(acc, a, b)));
                }
            }
        }
    }
    y
}

/// `y[w,i,h·D+d] = Σ_j p[w,h,i,j] · v[w,j,h·D+d]`, in order of j.
fn attn_values<T: Copy>(p: &[T], v: &[T], dims: AttnDims, zero: T, mul_add: impl Fn(T, T, T) -> T) -> Vec<T> {
    let AttnDims { heads, tokens, channels } = dims;
    let head_dim = channels / heads;
    let mut y = Vec::with_capacity(v.len());
    for window in 0..v.len() / (tokens * channels) {
        for i in 0..tokens {
            for c in 0..channels {
                let row = ((window * heads + c / head_dim) * tokens + i) * tokens;
                let products = (0..tokens).map(|j| (p[row + j], v[(window * tokens + j) * channels + c]));
                y.push(products.fold(zero, |acc, (a, b)| mul_add(acc, a, b)));
            }
        }
    }
    y
}

/// `y[j] = exp(x[j] − max x) / Σ exp(x[j] − max x)`, the sum in order of j.
fn softmax_row(row: &[f32]) -> Vec<f32> {
    let mut max = row[0];
    for &v in row {
        max = max.max(v);
    }
    let mut sum = 0.0;
    let exps: Vec<f32> = row.iter().map(|&v| math::exp(v - max)).collect();
    for &e in &exps {
        sum += e;
    }
    exps.into_iter().map(|e| e / sum).collect()
}

/// `y[b,c] = Σ_t x[b,t,c]`, in order of t.
fn pool_sums<T: Copy>(x: &[T], tokens: usize, channels: usize, zero: T, add: impl Fn(T, T) -> T) -> Vec<T> {
    let mut y = Vec::new();
    for image in x.chunks_exact(tokens * channels) {
        y.extend((0..channels).map(|c| (0..tokens).fold(zero, |sum, t| add(sum, image[t * channels + c]))));
    }
    y
}

/// `y[w,h,i,j] = x[w,h,i,j] + bias[h,i,j] (+ mask[w mod M,i,j])`; `area` is N².
fn attn_bias<T: Copy + std::ops::Add<Output = T>>(x: &[T], bias: &[T], mask: Option<&[T]>, area: usize) -> Vec<T> {
    let at = |i: usize| {
        let y = x[i] + bias[i % bias.len()];
        match mask {
            Some(m) => y + m[(i / bias.len() * area + i % area) % m.len()],
            None => y,
        }
    };
    (0..x.len()).map(at).collect()
}

/// `acc[r,c] = ⌊2^10·(x[r,c] − μ[r]) / √(σ²[r] + eps)⌉ · γ[c] + β[c]`.
fn q_layer_norm(x: &[i32], gamma: &[i32], beta: &[i32], ty: &Type, eps: f32) -> Vec<i32> {
    let c = gamma.len();
    let epsilon = layer_norm::epsilon(eps, ty.scale.factor.get(), c).expect("type inference accepted it");
    let mut sums = Vec::with_capacity(x.len());
    for row in x.chunks_exact(c) {
        let norm = RowNorm::of(row, epsilon);
        sums.extend((0..c).map(|i| norm.apply(row[i]) * gamma[i] + beta[i]));
    }
    sums
}

/// `y[j] = ⌊255 · e[j] / Σ e + 1/2⌋`, `e[j] = 2^15 · 2^(−u/256)`, u the distance from the maximum, requantized.
fn q_softmax_row(row: &[i32], multiplier: Multiplier) -> Vec<u8> {
    let max = row.iter().copied().max().expect("rows are not empty");
    let distance = |x: i32| (max as i64 - x as i64).min(i32::MAX.into()) as i32;
    let terms: Vec<i32> = row.iter().map(|&x| softmax::exp2(multiplier.apply(distance(x)))).collect();
    let probabilities = softmax::Row::of(&terms);
    terms.into_iter().map(|t| probabilities.apply(t) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{Decl, Graph, InputId, Value},
        infer::{MAX_BIAS, MAX_K, MAX_POOL, MAX_SCORE_BIAS},
        interp,
    };

    /// One op on inputs and constants.
    fn run(inputs: &[(Type, Data)], constants: &[(Type, Data)], op: Op) -> Data {
        run_all(inputs, constants, |g, x| g.push(op, x.to_vec()).unwrap())
    }

    /// What `build` makes of inputs and constants.
    fn run_all(
        inputs: &[(Type, Data)],
        constants: &[(Type, Data)],
        build: impl FnOnce(&mut Graph, &[Value]) -> Value,
    ) -> Data {
        let decls = inputs.iter().enumerate().map(|(i, (ty, _))| Decl { name: format!("x{i}").into(), ty: ty.clone() });
        let mut g = Graph::new("g", decls.collect());
        let mut weights = Weights::default();
        let mut operands: Vec<Value> = (0..inputs.len()).map(|i| Value::Input(InputId(i as u32))).collect();
        for (i, (ty, data)) in constants.iter().enumerate() {
            operands.push(g.constant(format!("c{i}"), ty.clone()));
            weights.insert(format!("c{i}"), Tensor::new(ty.shape.clone(), data.clone()));
        }
        g.output = build(&mut g, &operands);
        crate::verify(&g).unwrap();
        let inputs: Vec<Tensor> = inputs.iter().map(|(ty, d)| Tensor::new(ty.shape.clone(), d.clone())).collect();
        interp::run(&g, &weights, &inputs).unwrap().data
    }

    /// The longest sums of the largest products, with the largest biases, are what 64 bits say.
    #[test]
    fn sums_at_the_bounds_do_not_overflow() {
        let int = |elem, shape: &[usize]| Type::int(elem, Scale::tensor(1e-3), shape);
        let k = MAX_K;
        let bias = MAX_BIAS;
        for (x, w, b) in [(255, -128, -bias), (255, 127, bias), (0, -128, -bias)] {
            let x_data = (int(Elem::U8, &[1, k]), Data::U8(vec![x as u8; k]));
            let w_data = (int(Elem::I8, &[1, k]), Data::I8(vec![w as i8; k]));
            let b_data = (Type::int(Elem::I32, Scale::tensor(1e-3 * 1e-3), [1]), Data::I32(vec![b]));
            let y = run(&[x_data], &[w_data, b_data], Op::Linear {});
            assert_eq!(y, Data::I32(vec![(k as i64 * x * w + i64::from(b)).try_into().unwrap()]));
        }
        // Scores: bias and mask on top of the longest sum, of one token.
        for (x, w, most) in [(255, -128, -MAX_SCORE_BIAS), (255, 127, MAX_SCORE_BIAS)] {
            let q = (int(Elem::U8, &[1, 1, k]), Data::U8(vec![x as u8; k]));
            let w_data = (int(Elem::I8, &[1, 1, k]), Data::I8(vec![w as i8; k]));
            let bias = (Type::int(Elem::I32, Scale::tensor(1e-3 * 1e-3), [1, 1, 1]), Data::I32(vec![most]));
            let y = run_all(&[q, w_data], &[bias.clone(), bias], |g, x| {
                let sums = g.push(Op::AttnScores { heads: 1 }, x[..2].to_vec()).unwrap();
                g.push(Op::AttnBias { scale: F32::new(1.0) }, vec![sums, x[2], x[3]]).unwrap()
            });
            assert_eq!(y, Data::I32(vec![(k as i64 * x * w + 2 * i64::from(most)).try_into().unwrap()]));
        }
    }

    #[test]
    fn the_longest_mean_and_a_residual_that_saturates() {
        let stream = |shape: &[usize]| Type::int(Elem::I16, Scale::tensor(1e-3), shape);
        for value in [i16::MIN, i16::MAX] {
            let x = (stream(&[1, 128, MAX_POOL / 128, 1]), Data::I16(vec![value; MAX_POOL]));
            assert_eq!(run(&[x], &[], Op::MeanPool {}), Data::I32(vec![i32::from(value) * MAX_POOL as i32]));
        }
        let a = (stream(&[4]), Data::I16(vec![i16::MAX, i16::MIN, i16::MAX, -5]));
        let b = (stream(&[4]), Data::I16(vec![1, -1, i16::MIN, 3]));
        assert_eq!(run(&[a, b], &[], Op::Add {}), Data::I16(vec![i16::MAX, i16::MIN, -1, -2]));
    }

    #[test]
    fn integer_linear_equals_its_definition_at_the_extremes() {
        let mut g =
            Graph::new("g", vec![Decl { name: "x".into(), ty: Type::int(Elem::U8, Scale::tensor(0.5), [1, 3]) }]);
        let w = g.constant("w", Type::int(Elem::I8, Scale::tensor(0.25), [2, 3]));
        let b = g.constant("b", Type::int(Elem::I32, Scale::tensor(0.125), [2]));
        let y = g.push(Op::Linear {}, vec![Value::Input(InputId(0)), w, b]).unwrap();
        g.output = g.push(Op::Requantize { elem: Elem::I8, scale: F32::new(125.0) }, vec![y]).unwrap();
        let mut weights = Weights::default();
        weights.insert("w", Tensor::new([2, 3], Data::I8(vec![-128, 127, 1, 127, 127, 127])));
        weights.insert("b", Tensor::new([2], Data::I32(vec![1000, -1 << 30])));
        let x = Tensor::new([1, 3], Data::U8(vec![255, 0, 2]));
        let y = interp::run(&g, &weights, &[x]).unwrap();
        // acc = -128*255 + 2 + 1000 = -31638; real -3954.75; /125 = -31.6 → -32. The second saturates.
        assert_eq!(y.data, Data::I8(vec![-32, -128]));
    }

    #[test]
    fn softmax_sums_to_one_and_survives_large_values() {
        let y = softmax_row(&[1e4, 1e4, -1e4]);
        assert_eq!(y[0], 0.5);
        assert!(y[2] < 1e-30);
    }
}
