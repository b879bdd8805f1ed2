//! Small programs that rules fire on.

mod fused;
mod layout;
mod post_norm;

use super::Example;
use swint_ir::{
    Data, Elem, F32, Graph, Module, Scale, Tensor, Type, Value, Weights,
    graph::{Decl, InputId},
    op::{Op, Order},
    random, text,
};

/// Values from a fixed pseudo-random sequence, every extreme among them.
fn values(ty: &Type, seed: u32) -> Tensor {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let n = ty.elements();
    let data = match ty.elem.range() {
        None => Data::F32(
            (0..n)
                .map(|_| match next() % 8 {
                    0 => 0.0,
                    1 => 1e4,
                    2 => -1e4,
                    _ => (next() as f32 / (1 << 24) as f32 - 0.5) * 8.0,
                })
                .collect(),
        ),
        Some((low, high)) => {
            let (low, high) = (low.max(-(1 << 24)), high.min(1 << 24));
            let span = (high - low + 1) as u32;
            let value = |choice: u32, random: u32| match choice % 8 {
                0 => low,
                1 => high,
                2 => 0,
                _ => low + (random % span) as i32,
            };
            let values: Vec<i32> = (0..n).map(|_| value(next(), next())).collect();
            Data::from_i32(ty.elem, values.into_iter())
        }
    };
    Tensor::new(ty.shape.clone(), data)
}

/// Builds an example: its inputs, and a function that adds nodes.
pub(super) fn example(inputs: &[Type], build: impl Fn(&mut Module, &[Value]) -> Value) -> Example {
    let decls =
        inputs.iter().enumerate().map(|(i, ty)| Decl { name: format!("x{i}").into(), ty: ty.clone() }).collect();
    let mut module = Module { graph: Graph::new("example", decls), weights: Weights::default() };
    let operands: Vec<Value> = (0..inputs.len()).map(|i| Value::Input(InputId(i as u32))).collect();
    module.graph.output = build(&mut module, &operands);
    module.verify().unwrap();
    let inputs = inputs.iter().enumerate().map(|(i, ty)| values(ty, 11 + i as u32)).collect();
    Example { module, inputs }
}

pub(super) fn int(elem: Elem, scale: f32, shape: &[usize]) -> Type {
    Type::int(elem, Scale::tensor(scale), shape)
}

/// Weights `[n,k]` with a scale for each row.
pub(super) fn weights(m: &mut Module, n: usize, k: usize) -> Value {
    let scales = (0..n).map(|i| 0.01 + 0.003 * i as f32).collect();
    m.constant("w.scale", Type::f32([n]), Tensor::f32([n], scales));
    let ty = Type::int(Elem::I8, Scale::channels("w.scale", 0), [n, k]);
    let w = values(&ty, 3);
    m.constant("w", ty, w)
}

pub(super) fn push(m: &mut Module, op: Op, operands: &[Value]) -> Value {
    m.graph.push(op, operands.to_vec()).unwrap()
}

fn quantize(elem: Elem, scale: f32) -> Op {
    Op::Quantize { elem, scale: F32::new(scale) }
}

pub(super) fn examples() -> Vec<Example> {
    let mut all = Vec::new();
    // A quantized linear with a bias, between 8-bit tensors; K and N ragged, results that saturate.
    for (elem, scale) in [(Elem::I8, 0.05), (Elem::U8, 0.02)] {
        all.push(example(&[int(elem, scale, &[4, 7])], |m, x| {
            let w = weights(m, 3, 7);
            let b = m.constant("b", Type::f32([3]), Tensor::f32([3], vec![0.5, -1.25, 3.0]));
            let x = push(m, Op::Dequantize {}, &[x[0]]);
            let w = push(m, Op::Dequantize {}, &[w]);
            let y = push(m, Op::Linear {}, &[x, w]);
            let y = push(m, Op::BiasAdd {}, &[y, b]);
            push(m, quantize(Elem::I8, 0.05), &[y])
        }));
        // A bias on an accumulator, and the accumulator requantized.
        all.push(example(&[int(elem, scale, &[4, 7])], |m, x| {
            let w = weights(m, 3, 7);
            let b = m.constant("b", Type::f32([3]), Tensor::f32([3], vec![0.5, -1.25, 3.0]));
            let acc = push(m, Op::Linear {}, &[x[0], w]);
            let y = push(m, Op::Dequantize {}, &[acc]);
            let y = push(m, Op::BiasAdd {}, &[y, b]);
            let low = push(m, quantize(Elem::U8, 0.01), &[y]);
            push(m, Op::Dequantize {}, &[low])
        }));
        for to in [Elem::I8, Elem::U8, Elem::I16] {
            all.push(example(&[int(elem, scale, &[4, 7])], |m, x| {
                let w = weights(m, 3, 7);
                let acc = push(m, Op::Linear {}, &[x[0], w]);
                let y = push(m, Op::Dequantize {}, &[acc]);
                push(m, quantize(to, 0.0123), &[y])
            }));
        }
        // An integer linear requantized, with and without a bias.
        for with_bias in [true, false] {
            all.push(example(&[int(elem, scale, &[4, 7])], |m, x| {
                let mut operands = vec![x[0], weights(m, 3, 7)];
                if with_bias {
                    let ty =
                        Type::int(Elem::I32, Scale { factor: F32::new(scale), ..Scale::channels("w.scale", 0) }, [3]);
                    operands.push(m.constant("b", ty, Tensor::new([3], Data::I32(vec![1 << 30, -(1 << 30), 77]))));
                }
                let acc = push(m, Op::Linear {}, &operands);
                push(m, Op::Requantize { elem: Elem::I8, scale: F32::new(0.05) }, &[acc])
            }));
        }
        // Every 8-bit value, to the same scale and through a GELU.
        all.push(example(&[int(elem, scale, &[999])], |m, x| {
            let y = push(m, Op::Dequantize {}, &[x[0]]);
            push(m, quantize(elem, scale), &[y])
        }));
        for (to, shifts) in [(Elem::I8, (0, 0)), (Elem::U8, (0, 1)), (Elem::I8, (1, 0)), (Elem::U8, (1, 1))] {
            all.push(example(&[int(elem, scale, &[333, 3])], |m, x| {
                let shift = |m: &mut Module, y, (number, by): (i32, f32)| match number {
                    0 => y,
                    _ => {
                        let b = m.constant(format!("by{by}"), Type::f32([3]), Tensor::f32([3], vec![by; 3]));
                        push(m, Op::BiasAdd {}, &[y, b])
                    }
                };
                let y = push(m, Op::Dequantize {}, &[x[0]]);
                let y = shift(m, y, (shifts.0, -0.77));
                let y = push(m, Op::Gelu {}, &[y]);
                let y = shift(m, y, (shifts.1, 0.17));
                push(m, quantize(to, 0.013), &[y])
            }));
        }
    }
    all.push(example(&[Type::f32([333])], |m, x| {
        let y = push(m, Op::Relu {}, &[x[0]]);
        push(m, quantize(Elem::U8, 0.02), &[y])
    }));
    // A float linear with its bias inside and outside.
    for inside in [true, false] {
        all.push(example(&[Type::f32([4, 7]), Type::f32([3, 7]), Type::f32([3])], |m, x| {
            if inside {
                return push(m, Op::Linear {}, x);
            }
            let y = push(m, Op::Linear {}, &x[..2]);
            push(m, Op::BiasAdd {}, &[y, x[2]])
        }));
    }
    all.push(example(&[int(Elem::I8, 0.05, &[2, 9, 6]), int(Elem::I8, 0.07, &[2, 9, 6])], |m, x| {
        let [q, k] = [x[0], x[1]].map(|x| push(m, Op::Dequantize {}, &[x]));
        push(m, Op::AttnScores { heads: 2 }, &[q, k])
    }));
    all.push(example(&[int(Elem::U8, 1.0 / 255.0, &[2, 2, 9, 9]), int(Elem::I8, 0.07, &[2, 9, 6])], |m, x| {
        let [p, v] = [x[0], x[1]].map(|x| push(m, Op::Dequantize {}, &[x]));
        push(m, Op::AttnValues {}, &[p, v])
    }));
    all.extend(integer_examples());
    all.extend(identity_examples());
    all.extend(chain_examples());
    all.extend(layout::examples());
    all.extend(fused::examples());
    all.extend(post_norm::examples());
    all
}

/// LayerNorm, scores, softmax, residual and mean between integers.
fn integer_examples() -> Vec<Example> {
    let mut all = Vec::new();
    // To 16 bits a step is finer than a unit of the normalised value.
    for (ty, to, scale) in [
        (int(Elem::I16, 1e-3, &[6, 7]), Elem::I8, 0.03),
        (int(Elem::I8, 0.05, &[6, 7]), Elem::I16, 0.03),
        (int(Elem::I16, 1e-3, &[200, 7]), Elem::I16, 2e-4),
    ] {
        all.push(example(&[ty], |m, x| {
            let g = m.constant("g", Type::f32([7]), Tensor::f32([7], vec![1.0, -0.5, 0.0, 2.0, 0.1, 1.5, 0.7]));
            let b = m.constant("b", Type::f32([7]), Tensor::f32([7], vec![0.0, 0.5, -3.0, 0.01, 0.0, 1.0, -1.0]));
            let x = push(m, Op::Dequantize {}, &[x[0]]);
            let y = push(m, Op::LayerNorm { eps: F32::new(1e-5) }, &[x, g, b]);
            push(m, quantize(to, scale), &[y])
        }));
    }
    for masked in [false, true] {
        all.push(example(&[int(Elem::I8, 0.05, &[2, 4, 6]), int(Elem::I8, 0.07, &[2, 4, 6])], |m, x| {
            let bias = Type::f32([3, 4, 4]);
            let bias = m.constant("bias", bias.clone(), values(&bias, 21));
            let mask: Vec<f32> = (0..32).map(|i| if i % 3 == 0 { -100.0 } else { 0.0 }).collect();
            let mask = m.constant("mask", Type::f32([2, 4, 4]), Tensor::f32([2, 4, 4], mask));
            let scores = push(m, Op::AttnScores { heads: 3 }, x);
            let scores = push(m, Op::Dequantize {}, &[scores]);
            let operands = [scores, bias, mask];
            push(m, Op::AttnBias { scale: F32::new(0.5) }, &operands[..if masked { 3 } else { 2 }])
        }));
    }
    // q or k of length 1, and scores of such with a scale for each head.
    for (ty, to, scale) in [
        (int(Elem::I16, 1e-3, &[2, 5, 6]), Elem::I8, 1.0 / 127.0),
        (int(Elem::I8, 0.05, &[2, 40, 6]), Elem::I16, 3.1e-5),
    ] {
        all.push(example(&[ty], |m, x| {
            let x = push(m, Op::Dequantize {}, x);
            let y = push(m, Op::L2Norm { heads: 2, eps: F32::new(1e-12) }, &[x]);
            push(m, quantize(to, scale), &[y])
        }));
    }
    // Beside zeros an eps that counts: the rule must not fire.
    all.push(example(&[int(Elem::I8, 1e-5, &[2, 5, 6])], |m, x| {
        let x = push(m, Op::Dequantize {}, x);
        let y = push(m, Op::L2Norm { heads: 2, eps: F32::new(0.01) }, &[x]);
        push(m, quantize(Elem::I8, 1.0 / 127.0), &[y])
    }));
    let heads = || Tensor::f32([3], vec![30.0, 10.0, 0.37]);
    all.push(example(&[int(Elem::I8, 0.05, &[2, 4, 6]), int(Elem::I8, 0.07, &[2, 4, 6])], |m, x| {
        let s = m.constant("s", Type::f32([3]), heads());
        let scores = push(m, Op::AttnScores { heads: 3 }, x);
        let scores = push(m, Op::Dequantize {}, &[scores]);
        push(m, Op::HeadScale {}, &[scores, s])
    }));
    for masked in [false, true] {
        all.push(example(&[int(Elem::I8, 0.05, &[2, 4, 6]), int(Elem::I8, 0.07, &[2, 4, 6])], |m, x| {
            let scale = int(Elem::I16, 0.5, &[3]);
            let s = m.constant("s", scale.clone(), values(&scale, 31));
            let bias = Type::f32([3, 4, 4]);
            let bias = m.constant("bias", bias.clone(), values(&bias, 21));
            let mask: Vec<f32> = (0..32).map(|i| if i % 3 == 0 { -100.0 } else { 0.0 }).collect();
            let mask = m.constant("mask", Type::f32([2, 4, 4]), Tensor::f32([2, 4, 4], mask));
            let scores = push(m, Op::AttnScores { heads: 3 }, x);
            let scores = push(m, Op::HeadScale {}, &[scores, s]);
            let scores = push(m, Op::Dequantize {}, &[scores]);
            push(m, Op::AttnBias { scale: F32::new(1.0) }, &[scores, bias, mask][..if masked { 3 } else { 2 }])
        }));
    }
    // Rows that spread over a few units, and over many.
    for scale in [2e-7, 1e-3] {
        all.push(example(&[int(Elem::I32, scale, &[8, 9])], |m, x| {
            let x = push(m, Op::Dequantize {}, &[x[0]]);
            let p = push(m, Op::Softmax {}, &[x]);
            push(m, quantize(Elem::U8, 1.0 / 255.0), &[p])
        }));
    }
    // Every 16-bit value, to floats and back; and to the very type that it has.
    for scale in [1e-3, 0.1, 3.7e-5] {
        all.push(example(&[int(Elem::I16, scale, &[20_000])], |m, x| {
            let y = push(m, Op::Dequantize {}, x);
            push(m, quantize(Elem::I16, scale), &[y])
        }));
    }
    all.push(example(&[int(Elem::I16, 1e-3, &[333])], |m, x| {
        push(m, Op::Requantize { elem: Elem::I16, scale: F32::new(1e-3) }, &[x[0]])
    }));
    // Large ones, which floats round.
    let mut large = example(&[int(Elem::I32, 4e-4, &[24, 3])], |m, x| {
        let x = push(m, Op::Dequantize {}, &[x[0]]);
        let p = push(m, Op::Softmax {}, &[x]);
        push(m, quantize(Elem::U8, 1.0 / 255.0), &[p])
    });
    let near = large.inputs[0].data.to_i32().unwrap().into_iter().map(|q| (1 << 30) + q / 4096);
    large.inputs[0].data = Data::from_i32(Elem::I32, near);
    all.push(large);
    // Long rows, whose many small terms are cut off; and scores that are further apart than 32 bits can say.
    for (scale, row) in [(0.01, [vec![0], vec![-971; 999]].concat()), (1e-9, vec![i32::MAX, i32::MIN])] {
        let mut rows = example(&[int(Elem::I32, scale, &[1, row.len()])], |m, x| {
            let x = push(m, Op::Dequantize {}, &[x[0]]);
            let p = push(m, Op::Softmax {}, &[x]);
            push(m, quantize(Elem::U8, 1.0 / 255.0), &[p])
        });
        rows.inputs[0].data = Data::I32(row);
        all.push(rows);
    }
    // A stream of another scale and sums with a scale for each channel; the last two saturate before they are added.
    for sum in [2e-3, 2e-4, 1e-5] {
        all.push(example(&[int(Elem::I16, 1e-3, &[40, 3]), int(Elem::I8, 0.05, &[40, 7])], |m, x| {
            let w = weights(m, 3, 7);
            let sums = push(m, Op::Linear {}, &[x[1], w]);
            let [a, b] = [x[0], sums].map(|x| push(m, Op::Dequantize {}, &[x]));
            let y = push(m, Op::Add {}, &[a, b]);
            push(m, quantize(Elem::I16, sum), &[y])
        }));
    }
    all.push(example(&[int(Elem::I16, 1e-3, &[2, 3, 3, 4])], |m, x| {
        let x = push(m, Op::Dequantize {}, &[x[0]]);
        push(m, Op::MeanPool {}, &[x])
    }));
    all
}

/// Biases and masks of zeros, and conversions that are one.
fn identity_examples() -> Vec<Example> {
    let zeros = |m: &mut Module, name: &str, ty: Type| {
        let n = ty.elements();
        let data = if ty.is_float() { Data::F32(vec![0.0; n]) } else { Data::from_i32(ty.elem, (0..n).map(|_| 0)) };
        let tensor = Tensor::new(ty.shape.clone(), data);
        m.constant(name, ty, tensor)
    };
    let mut all = vec![
        example(&[Type::f32([4, 3])], |m, x| {
            let b = zeros(m, "b", Type::f32([3]));
            push(m, Op::BiasAdd {}, &[x[0], b])
        }),
        example(&[int(Elem::I8, 0.1, &[4, 7])], |m, x| {
            let w = weights(m, 3, 7);
            let sums = push(m, Op::Linear {}, &[x[0], w]);
            let scale = Scale { factor: F32::new(0.1), ..Scale::channels("w.scale", 0) };
            let b = zeros(m, "b", Type::int(Elem::I32, scale, [3]));
            push(m, Op::BiasAdd {}, &[sums, b])
        }),
        example(&[int(Elem::I8, 0.05, &[2, 4, 6]), int(Elem::I8, 0.07, &[2, 4, 6])], |m, x| {
            let scores = push(m, Op::AttnScores { heads: 3 }, x);
            let ty = m.graph.ty(scores).scale.times(F32::new(0.5));
            let bias = Type::int(Elem::I32, ty.clone(), [3, 4, 4]);
            let bias = m.constant("bias", bias.clone(), values(&bias, 21));
            let mask = zeros(m, "mask", Type::int(Elem::I32, ty, [2, 4, 4]));
            push(m, Op::AttnBias { scale: F32::new(0.5) }, &[scores, bias, mask])
        }),
        example(&[int(Elem::U8, 0.1, &[2, 3, 5, 4])], |m, x| {
            push(m, Op::SpaceToDepth { block: 1, order: Order::Row }, x)
        }),
        // A ReLU of what is never negative.
        example(&[int(Elem::I32, 0.1, &[4, 9])], |m, x| {
            let x = push(m, Op::Dequantize {}, x);
            let p = push(m, Op::Softmax {}, &[x]);
            push(m, Op::Relu {}, &[p])
        }),
    ];
    for requantized in [false, true] {
        all.push(example(&[int(Elem::I8, 0.1, &[4, 7])], |m, x| {
            let w = weights(m, 3, 7);
            let scale = Scale { factor: F32::new(0.1), ..Scale::channels("w.scale", 0) };
            let operands = [x[0], w, zeros(m, "b", Type::int(Elem::I32, scale, [3]))];
            let op = match requantized {
                false => Op::Linear {},
                true => Op::QLinear { elem: Elem::I8, scale: F32::new(0.05) },
            };
            push(m, op, &operands)
        }));
    }
    // Through 16 bits, of the same scale and of a finer one; of a coarser one, which must stay. With the last, rounding 127 twice
    // gives one more than rounding it once.
    let requantize = |elem, scale| Op::Requantize { elem, scale: F32::new(scale) };
    for (inner, outer) in [(0.1, 0.13), (0.001, 0.13), (0.09, 0.13), (3.0, 0.13), (0.25, 0.251_53)] {
        for (elem, to) in [(Elem::I8, Elem::U8), (Elem::U8, Elem::I8)] {
            all.push(example(&[int(elem, 0.1, &[999])], |m, x| {
                let y = push(m, requantize(Elem::I16, inner), x);
                push(m, requantize(to, outer), &[y])
            }));
        }
    }
    all
}

/// Chains of elementwise ops between bytes.
fn chain_examples() -> Vec<Example> {
    let mut all = Vec::new();
    for to in [Elem::I8, Elem::U8] {
        all.push(example(&[int(Elem::I8, 0.05, &[999])], |m, x| {
            let y = push(m, Op::Dequantize {}, x);
            let y = push(m, Op::Relu {}, &[y]);
            push(m, quantize(to, 0.02), &[y])
        }));
        // A table, a conversion, and a table again.
        all.push(example(&[int(Elem::U8, 0.05, &[999])], |m, x| {
            let [first, second] = [int(Elem::I8, 0.2, &[256]), int(Elem::U8, 0.3, &[256])];
            let first = m.constant("first", first.clone(), values(&first, 5));
            let second = m.constant("second", second.clone(), values(&second, 6));
            let y = push(m, Op::Lut {}, &[x[0], first]);
            let y = push(m, Op::Requantize { elem: to, scale: F32::new(0.31) }, &[y]);
            push(m, Op::Lut {}, &[y, second])
        }));
    }
    all
}

/// An example from its text, with random constants.
fn from_text(text: &str) -> Example {
    let (graph, _) = text::read("example", text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let module = Module { weights: random::weights(&graph, 5), graph };
    module.verify().unwrap_or_else(|e| panic!("{e}\n{text}"));
    let inputs = module.graph.inputs.iter().enumerate().map(|(i, d)| values(&d.ty, 31 + i as u32)).collect();
    Example { module, inputs }
}
