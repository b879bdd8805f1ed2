//! Soundness: the tables are walked, and every rule must fire on some example and be right on all of them.

use super::{FloatOps, RuleSet, rules};
use crate::egraph::{Bound, Class, Constants, ENode, Facts, Rule, SwinGraph, to_egraph};
use egg::{Id, Runner, SimpleScheduler};
use std::collections::{BTreeMap, HashSet};
use swint_ir::{
    Data, Elem, F32, Graph, Module, Node, Scale, Tensor, Type, Value, Weights,
    graph::{Decl, InputId},
    interp,
    op::{Op, Order},
};

/// A small program and inputs for it.
struct Example {
    module: Module,
    inputs: Vec<Tensor>,
}

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
fn example(inputs: &[Type], build: impl Fn(&mut Module, &[Value]) -> Value) -> Example {
    let decls =
        inputs.iter().enumerate().map(|(i, ty)| Decl { name: format!("x{i}").into(), ty: ty.clone() }).collect();
    let mut module = Module { graph: Graph::new("example", decls), weights: Weights::default() };
    let operands: Vec<Value> = (0..inputs.len()).map(|i| Value::Input(InputId(i as u32))).collect();
    module.graph.output = build(&mut module, &operands);
    module.verify().unwrap();
    let inputs = inputs.iter().enumerate().map(|(i, ty)| values(ty, 11 + i as u32)).collect();
    Example { module, inputs }
}

fn int(elem: Elem, scale: f32, shape: &[usize]) -> Type {
    Type::int(elem, Scale::tensor(scale), shape)
}

/// Weights `[n,k]` with a scale for each row.
fn weights(m: &mut Module, n: usize, k: usize) -> Value {
    let scales = (0..n).map(|i| 0.01 + 0.003 * i as f32).collect();
    m.constant("w.scale", Type::f32([n]), Tensor::f32([n], scales));
    let ty = Type::int(Elem::I8, Scale::channels("w.scale", 0), [n, k]);
    let w = values(&ty, 3);
    m.constant("w", ty, w)
}

fn push(m: &mut Module, op: Op, operands: &[Value]) -> Value {
    m.graph.push(op, operands.to_vec()).unwrap()
}

fn quantize(elem: Elem, scale: f32) -> Op {
    Op::Quantize { elem, scale: F32::new(scale) }
}

fn examples() -> Vec<Example> {
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

/// Applies one rule once to an example's e-graph and evaluates every e-node: each must give its class's value. Returns
/// how often the rule made two classes equal.
fn check(rule: &Rule, example: &Example) -> usize {
    let lowered = to_egraph(&example.module);
    let mut values: BTreeMap<Id, Tensor> = BTreeMap::new();
    evaluate(&lowered.egraph, &example.inputs, &mut values, |_, _, _, _| {});
    let runner = Runner::default()
        .with_egraph(lowered.egraph)
        .with_scheduler(SimpleScheduler)
        .with_iter_limit(1)
        .run(&[rule.to_rewrite()]);
    let egraph = runner.egraph;
    // Classes may have merged: the value of any node of the source stands for the class.
    let mut values: BTreeMap<Id, Tensor> = values.into_iter().map(|(id, v)| (egraph.find(id), v)).collect();
    evaluate(&egraph, &example.inputs, &mut values, |ty, node, wanted, found| {
        assert_within(rule, ty, &egraph, node, wanted, found);
    });
    runner.iterations.iter().flat_map(|i| i.applied.values()).sum()
}

/// Evaluates every tensor e-node whose children have values, until nothing is new. `seen` gets the class's type, the
/// node, the class's value and the node's own.
fn evaluate(
    egraph: &SwinGraph,
    inputs: &[Tensor],
    values: &mut BTreeMap<Id, Tensor>,
    mut seen: impl FnMut(&Type, &ENode, &Tensor, &Tensor),
) {
    let mut done: HashSet<(Id, ENode)> = HashSet::new();
    loop {
        let mut progress = false;
        for class in egraph.classes() {
            let Facts::Tensor { ty, .. } = &class.data else { continue };
            for node in &class.nodes {
                if done.contains(&(class.id, node.clone())) {
                    continue;
                }
                let Some(found) = evaluate_node(egraph, node, ty, inputs, values) else { continue };
                let wanted = values.entry(class.id).or_insert_with(|| found.clone());
                seen(ty, node, wanted, &found);
                done.insert((class.id, node.clone()));
                progress = true;
            }
        }
        if !progress {
            return;
        }
    }
}

fn evaluate_node(
    egraph: &SwinGraph,
    node: &ENode,
    ty: &Type,
    inputs: &[Tensor],
    values: &BTreeMap<Id, Tensor>,
) -> Option<Tensor> {
    let Constants { decls, weights, .. } = &egraph.analysis;
    match node {
        ENode::Input(i) => Some(inputs[*i as usize].clone()),
        ENode::Const(c) => Some((**weights.get(&decls[c.index()].name)?).clone()),
        ENode::Attr(_) => None,
        ENode::Op(kind, children) => {
            let mut operands = Vec::new();
            let mut attrs = Vec::new();
            for &child in children {
                match &egraph[child].data {
                    Facts::Attr(attr) => attrs.push(attr.clone()),
                    Facts::Tensor { ty, .. } => operands.push((values.get(&egraph.find(child))?, ty)),
                }
            }
            let op = Op::from_attrs(*kind, &attrs).unwrap();
            let node = Node { op, operands: Vec::new(), ty: ty.clone(), locs: Vec::new() };
            Some(interp::eval_op(&node, &operands, weights))
        }
    }
}

fn assert_within(rule: &Rule, ty: &Type, egraph: &SwinGraph, node: &ENode, wanted: &Tensor, found: &Tensor) {
    let weights = &egraph.analysis.weights;
    let bound = match rule.class {
        Class::Exact => {
            assert_eq!(wanted.data.to_bytes(), found.data.to_bytes(), "{rule}: {node} differs");
            return;
        }
        Class::Real(bound) => bound,
    };
    let (a, b) = (wanted.to_real(ty, weights), found.to_real(ty, weights));
    let largest = a.iter().fold(0f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let allowed = match bound {
            Bound::Steps(steps) => steps as f32 * weights.scales(ty)[0] * 1.001,
            // Nothing here adds more than 9 products, and partial sums stay below 9 times the largest product.
            Bound::Accumulation => 2.0 * 9.0 * 2f32.powi(-24) * 9.0 * largest.max(300.0),
            Bound::ScoreBias => 2.0 * 0.5 * (0.05 * 0.07 * 0.5) + largest * 2f32.powi(-22),
            Bound::HalfStep => 0.5 * 0.05 * (0.01 + 0.003 * (i % 3) as f32) + largest * 2f32.powi(-22),
        };
        assert!((a - b).abs() <= allowed, "{rule}: {node} element {i}: {a} and {b}, allowed {allowed}");
    }
}

#[test]
fn every_rule_fires_and_is_sound() {
    let examples = examples();
    let table = rules(RuleSet { gelu_table: true, float_ops: FloatOps::NONE });
    for rule in &table {
        let fired: usize = examples.iter().map(|example| check(rule, example)).sum();
        println!("{rule}: {fired}");
        assert!(fired > 0, "{rule} fires on no example");
    }
}

#[test]
fn names_are_unique() {
    let table = rules(RuleSet { gelu_table: true, float_ops: FloatOps::NONE });
    let names: HashSet<_> = table.iter().map(|r| &r.name).collect();
    assert_eq!(names.len(), table.len());
}

#[test]
fn channel_scales_keep_a_rule_from_tearing_them_apart() {
    // Moving blocks into channels would break the scales of the accumulator: the rule must not fire.
    let input = int(Elem::I8, 0.1, &[1, 4, 4, 7]);
    let torn = example(&[input], |m, x| {
        let w = weights(m, 3, 7);
        let acc = push(m, Op::Linear {}, &[x[0], w]);
        let y = push(m, Op::Dequantize {}, &[acc]);
        push(m, Op::SpaceToDepth { block: 2, order: Order::Row }, &[y])
    });
    for rule in rules(RuleSet { gelu_table: true, float_ops: FloatOps::NONE }) {
        if rule.name.ends_with("space_to_depth") {
            assert_eq!(check(&rule, &torn), 0, "{rule}");
        }
    }
}
