//! Small programs that rules fire on.

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
    all.extend(index_map_examples());
    all.extend(fused_examples());
    all
}

/// LayerNorm, scores, softmax, residual and mean between integers.
fn integer_examples() -> Vec<Example> {
    let mut all = Vec::new();
    for (ty, to) in [(int(Elem::I16, 1e-3, &[6, 7]), Elem::I8), (int(Elem::I8, 0.05, &[6, 7]), Elem::I16)] {
        all.push(example(&[ty], |m, x| {
            let g = m.constant("g", Type::f32([7]), Tensor::f32([7], vec![1.0, -0.5, 0.0, 2.0, 0.1, 1.5, 0.7]));
            let b = m.constant("b", Type::f32([7]), Tensor::f32([7], vec![0.0, 0.5, -3.0, 0.01, 0.0, 1.0, -1.0]));
            let x = push(m, Op::Dequantize {}, &[x[0]]);
            let y = push(m, Op::LayerNorm { eps: F32::new(1e-5) }, &[x, g, b]);
            push(m, quantize(to, 0.03), &[y])
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
    // A stream of another scale and sums with a scale for each channel.
    all.push(example(&[int(Elem::I16, 1e-3, &[4, 3]), int(Elem::I8, 0.05, &[4, 7])], |m, x| {
        let w = weights(m, 3, 7);
        let sums = push(m, Op::Linear {}, &[x[1], w]);
        let [a, b] = [x[0], sums].map(|x| push(m, Op::Dequantize {}, &[x]));
        let y = push(m, Op::Add {}, &[a, b]);
        push(m, quantize(Elem::I16, 2e-3), &[y])
    }));
    all.push(example(&[int(Elem::I16, 1e-3, &[2, 3, 3, 4])], |m, x| {
        let x = push(m, Op::Dequantize {}, &[x[0]]);
        push(m, Op::MeanPool {}, &[x])
    }));
    all
}

/// Every index map above and below every elementwise op.
fn index_map_examples() -> Vec<Example> {
    let maps: [(Op, &[usize]); 4] = [
        (Op::Roll { shift: 1 }, &[2, 4, 4, 3]),
        (Op::WindowPartition { window: 2 }, &[2, 4, 4, 3]),
        (Op::WindowReverse { window: 2, height: 4, width: 4 }, &[8, 4, 3]),
        (Op::SpaceToDepth { block: 2, order: Order::Column }, &[2, 4, 4, 3]),
    ];
    let requantize = Op::Requantize { elem: Elem::U8, scale: F32::new(0.3) };
    let mut all = Vec::new();
    let chains: [(&[Op], &[usize]); 6] = [
        (&[Op::Roll { shift: 1 }, Op::Roll { shift: 2 }], &[2, 4, 4, 3]),
        (&[Op::Roll { shift: 3 }, Op::Roll { shift: -3 }], &[2, 4, 4, 3]),
        (&[Op::Roll { shift: -12 }], &[2, 4, 6, 3]),
        // Half a turn of one extent is none of the other.
        (&[Op::Roll { shift: 4 }], &[2, 4, 6, 3]),
        (&[Op::WindowPartition { window: 2 }, Op::WindowReverse { window: 2, height: 4, width: 6 }], &[2, 4, 6, 3]),
        (&[Op::WindowReverse { window: 2, height: 4, width: 6 }, Op::WindowPartition { window: 2 }], &[12, 4, 3]),
    ];
    for (chain, shape) in chains {
        all.push(example(&[int(Elem::I8, 0.1, shape)], |m, x| {
            chain.iter().fold(x[0], |x, op| push(m, op.clone(), &[x]))
        }));
    }
    // The windows of another image are not the ones that were cut.
    all.push(example(&[int(Elem::I8, 0.1, &[1, 4, 6, 3])], |m, x| {
        let x = push(m, Op::WindowPartition { window: 2 }, x);
        push(m, Op::WindowReverse { window: 2, height: 6, width: 4 }, &[x])
    }));
    for (map, shape) in maps {
        let cases = [
            (quantize(Elem::I8, 0.05), Type::f32(shape)),
            (Op::Dequantize {}, int(Elem::I16, 0.1, shape)),
            (requantize.clone(), int(Elem::I32, 0.1, shape)),
            (Op::Lut {}, int(Elem::I8, 0.1, shape)),
        ];
        for (op, ty) in cases {
            for map_first in [true, false] {
                all.push(example(std::slice::from_ref(&ty), |m, x| {
                    let table = int(Elem::U8, 0.2, &[256]);
                    let table = m.constant("table", table.clone(), values(&table, 5));
                    let apply = |m: &mut Module, x| match op {
                        Op::Lut {} => push(m, Op::Lut {}, &[x, table]),
                        _ => push(m, op.clone(), &[x]),
                    };
                    if map_first {
                        let y = push(m, map.clone(), x);
                        apply(m, y)
                    } else {
                        let y = apply(m, x[0]);
                        push(m, map.clone(), &[y])
                    }
                }));
            }
        }
    }
    all
}

/// An example from its text, with random constants; `vary` makes others of it.
fn from_text(text: &str) -> Example {
    let (graph, _) = text::read("example", text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let module = Module { weights: random::weights(&graph, 5), graph };
    module.verify().unwrap_or_else(|e| panic!("{e}\n{text}"));
    let inputs = module.graph.inputs.iter().enumerate().map(|(i, d)| values(&d.ty, 31 + i as u32)).collect();
    Example { module, inputs }
}

/// What the fused kernels are made of, step by step; windows that do and do not tile evenly, ragged widths.
fn fused_examples() -> Vec<Example> {
    let norm = |c: usize| format!("  const @g : i16<0.0009765625>[{c}]\n  const @b : i32<9.536743e-7>[{c}]\n");
    let linear = |name: &str, n: usize, k: usize, x: f32| {
        format!(
            "  const @{name}.s : f32[{n}]\n  const @{name} : i8<@{name}.s:0>[{n},{k}]\n  const @{name}.b : i32<{x:?}*@{name}.s:0>[{n}]\n"
        )
    };
    let mut all = Vec::new();
    // LayerNorm and linear, with and without windows, shift, bias and table.
    for (maps, shape) in [
        ("", "[2,4,4"),
        ("  %m = window_partition %n {window = 2} : i8<0.03>[8,4,6]\n", "[8,4"),
        (
            "  %r = roll %n {shift = 1} : i8<0.03>[2,4,4,6]\n  %m = window_partition %r {window = 2} : i8<0.03>[8,4,6]\n",
            "[8,4",
        ),
    ] {
        for table in [false, true] {
            let last = if maps.is_empty() { "%n" } else { "%m" };
            let (y, look_up) = match table {
                true => ("u8<0.07>", format!("  %y = lut %l, @t : u8<0.07>{shape},5]\n  return %y\n")),
                false => ("i8<0.5>", "  return %l\n".to_owned()),
            };
            all.push(from_text(&format!(
                "graph @g(%x: i16<0.001>[2,4,4,6]) -> {y}{shape},5] {{\n{}{}  const @t : u8<0.07>[256]\n\
                 \x20 %n = qlayer_norm %x, @g, @b {{eps = 1e-5, elem = i8, scale = 0.03}} : i8<0.03>[2,4,4,6]\n{maps}\
                 \x20 %l = qlinear {last}, @w, @w.b {{elem = i8, scale = 0.5}} : i8<0.5>{shape},5]\n{look_up}}}\n",
                norm(6),
                linear("w", 5, 6, 0.03),
            )));
        }
    }
    // A linear and the residual stream, of the same and of another scale.
    for (maps, x) in [
        ("", "[2,4,4"),
        ("  %m = window_reverse %l {window = 2, height = 4, width = 4} : i16<0.02>[2,4,4,6]\n", "[8,4"),
        (
            "  %v = window_reverse %l {window = 2, height = 4, width = 4} : i16<0.02>[2,4,4,6]\n  %m = roll %v {shift = -1} : i16<0.02>[2,4,4,6]\n",
            "[8,4",
        ),
    ] {
        for r in ["0.02", "0.013"] {
            let last = if maps.is_empty() { "%l" } else { "%m" };
            let (requantized, stream) = match r {
                "0.02" => (String::new(), "%r"),
                _ => ("  %q = requantize %r {elem = i16, scale = 0.02} : i16<0.02>[2,4,4,6]\n".to_owned(), "%q"),
            };
            all.push(from_text(&format!(
                "graph @g(%x: u8<0.1>{x},5], %r: i16<{r}>[2,4,4,6]) -> i16<0.02>[2,4,4,6] {{\n{}\
                 \x20 %l = qlinear %x, @w, @w.b {{elem = i16, scale = 0.02}} : i16<0.02>{x},6]\n{maps}{requantized}\
                 \x20 %y = add {stream}, {last} : i16<0.02>[2,4,4,6]\n  return %y\n}}\n",
                linear("w", 6, 5, 0.1),
            )));
        }
    }
    // What fusing leaves for fusing again.
    all.push(from_text(&format!(
        "graph @g(%x: i8<0.1>[2,4,4,5], %r: i16<0.013>[2,4,4,6]) -> i16<0.02>[2,4,4,6] {{\n{}\
         \x20 %q = requantize %r {{elem = i16, scale = 0.02}} : i16<0.02>[2,4,4,6]\n\
         \x20 %y = linear_residual %x, @w, @w.b, %q {{window = 0, height = 0, width = 0, shift = 0, scale = 0.02}} : i16<0.02>[2,4,4,6]\n\
         \x20 return %y\n}}\n",
        linear("w", 6, 5, 0.1),
    )));
    for (table, hidden) in [("", "u8<0.02>"), (", @t", "i8<0.02>")] {
        let elem = &hidden[..2];
        let act = if table.is_empty() { 0.02 } else { 0.01 };
        let ty = if table.is_empty() { hidden } else { "u8<0.01>" };
        all.push(from_text(&format!(
            "graph @g(%x: i16<0.001>[1,3,3,6]) -> i16<0.002>[1,3,3,6] {{\n{}{}{}  const @t : u8<0.01>[256]\n\
             \x20 %h = norm_linear %x, @g, @b, @w, @w.b{table} {{eps = 1e-5, norm = 0.03, shift = 0, window = 0, elem = {elem}, scale = 0.02}} : {ty}[1,3,3,10]\n\
             \x20 %y = linear_residual %h, @u, @u.b, %x {{window = 0, height = 0, width = 0, shift = 0, scale = 0.002}} : i16<0.002>[1,3,3,6]\n\
             \x20 return %y\n}}\n",
            norm(6),
            linear("w", 10, 6, 0.03),
            linear("u", 6, 10, act),
        )));
    }
    all.push(from_text(&format!(
        "graph @g(%x: i16<0.001>[1,3,3,6]) -> u8<0.01>[1,3,3,10] {{\n{}{}  const @t : u8<0.01>[256]\n\
         \x20 %h = norm_linear %x, @g, @b, @w, @w.b {{eps = 1e-5, norm = 0.03, shift = 0, window = 0, elem = i8, scale = 0.02}} : i8<0.02>[1,3,3,10]\n\
         \x20 %y = lut %h, @t : u8<0.01>[1,3,3,10]\n  return %y\n}}\n",
        norm(6),
        linear("w", 10, 6, 0.03),
    )));
    // An attention of two heads, with and without a mask.
    for mask in [false, true] {
        let scores = "i32<0.00125>";
        let operand = if mask { ", @mask" } else { "" };
        all.push(from_text(
            &format!(
                "graph @g(%x: i8<0.02>[4,4,6]) -> i8<0.04>[4,4,6] {{\n{}{}{}\
             \x20 const @bias : {scores}[2,4,4]\n  const @mask : {scores}[2,4,4]\n\
             \x20 %q = qlinear %x, @a.q, @a.q.b {{elem = i8, scale = 0.05}} : i8<0.05>[4,4,6]\n\
             \x20 %k = qlinear %x, @a.k, @a.k.b {{elem = i8, scale = 0.05}} : i8<0.05>[4,4,6]\n\
             \x20 %v = qlinear %x, @a.v, @a.v.b {{elem = i8, scale = 0.05}} : i8<0.05>[4,4,6]\n\
             \x20 %s = attn_scores %q, %k {{heads = 2}} : i32<0.0025000002>[4,2,4,4]\n\
             \x20 %t = attn_bias %s, @bias{operand} {{scale = 0.5}} : {scores}[4,2,4,4]\n\
             \x20 %p = qsoftmax %t : u8<0.003921569>[4,2,4,4]\n\
             \x20 %o = attn_values %p, %v : i32<0.00019607844>[4,4,6]\n\
             \x20 %y = requantize %o {{elem = i8, scale = 0.04}} : i8<0.04>[4,4,6]\n  return %y\n}}\n",
                linear("a.q", 6, 6, 0.02),
                linear("a.k", 6, 6, 0.02),
                linear("a.v", 6, 6, 0.02),
            )
            .replace("i32<0.00125>", "i32<0.0012500001>"),
        ));
    }
    // The ends of the network.
    all.push(from_text(&format!(
        "graph @g(%x: u8[2,4,4,3]) -> i16<0.001>[2,2,2,5] {{\n{}{}\
         \x20 %d = space_to_depth %x {{block = 2, order = row}} : u8[2,2,2,12]\n\
         \x20 %l = qlinear %d, @w, @w.b {{elem = i16, scale = 0.5}} : i16<0.5>[2,2,2,5]\n\
         \x20 %y = qlayer_norm %l, @g, @b {{eps = 1e-5, elem = i16, scale = 0.001}} : i16<0.001>[2,2,2,5]\n  return %y\n}}\n",
        linear("w", 5, 12, 1.0).replace("<1.0*@", "<@"),
        norm(5),
    )));
    all.push(from_text(&format!(
        "graph @g(%x: i16<0.001>[2,4,4,3]) -> i16<0.02>[2,2,2,5] {{\n{}{}\
         \x20 %d = space_to_depth %x {{block = 2, order = column}} : i16<0.001>[2,2,2,12]\n\
         \x20 %n = qlayer_norm %d, @g, @b {{eps = 1e-5, elem = i8, scale = 0.03}} : i8<0.03>[2,2,2,12]\n\
         \x20 %y = qlinear %n, @w {{elem = i16, scale = 0.02}} : i16<0.02>[2,2,2,5]\n  return %y\n}}\n",
        norm(12),
        linear("w", 5, 12, 0.03),
    )));
    all.push(from_text(&format!(
        "graph @g(%x: i16<0.001>[2,2,2,6]) -> i16<0.02>[2,5] {{\n{}{}\
         \x20 %n = qlayer_norm %x, @g, @b {{eps = 1e-5, elem = i16, scale = 0.001}} : i16<0.001>[2,2,2,6]\n\
         \x20 %m = mean_pool %n : i32<0.00025>[2,6]\n\
         \x20 %q = requantize %m {{elem = i8, scale = 0.01}} : i8<0.01>[2,6]\n\
         \x20 %y = qlinear %q, @w, @w.b {{elem = i16, scale = 0.02}} : i16<0.02>[2,5]\n  return %y\n}}\n",
        norm(6),
        linear("w", 5, 6, 0.01),
    )));
    all
}
