//! Index maps.

use super::{super::Example, example, int, push, quantize, values, weights};
use swint_ir::{
    Elem, F32, Module, Pair, Scale, Tensor, Type, Value,
    op::{Op, Order},
};

fn roll(rows: i64, columns: i64) -> Op {
    Op::Roll { shift: Pair::new(rows, columns) }
}

fn pad(rows: usize, columns: usize) -> Op {
    Op::Pad { sides: Pair::new(rows, columns) }
}

fn crop(rows: usize, columns: usize) -> Op {
    Op::Crop { sides: Pair::new(rows, columns) }
}

/// Maps after maps, and every index map above and below every op that it can be exchanged with.
pub(super) fn examples() -> Vec<Example> {
    let maps: [(Op, &[usize]); 7] = [
        (roll(1, 1), &[2, 4, 4, 3]),
        (roll(0, -1), &[2, 4, 4, 3]),
        (pad(5, 4), &[2, 4, 3, 3]),
        (crop(2, 3), &[2, 4, 4, 3]),
        (Op::WindowPartition { window: 2.into() }, &[2, 4, 4, 3]),
        (Op::WindowReverse { window: 2.into(), height: 4, width: 4 }, &[8, 4, 3]),
        (Op::SpaceToDepth { block: 2, order: Order::Column }, &[2, 4, 4, 3]),
    ];
    let requantize = Op::Requantize { elem: Elem::U8, scale: F32::new(0.3) };
    let mut all = Vec::new();
    let chains: [(&[Op], &[usize]); 12] = [
        (&[roll(1, 0), roll(2, -1)], &[2, 4, 6, 3]),
        (&[roll(4, -6)], &[2, 4, 6, 3]),
        (&[pad(5, 4), crop(4, 3)], &[2, 4, 3, 3]),
        // What is left is not what there was.
        (&[pad(5, 4), crop(3, 4)], &[2, 4, 3, 3]),
        (&[pad(4, 3)], &[2, 4, 3, 3]),
        (&[crop(4, 3)], &[2, 4, 3, 3]),
        (&[roll(1, 1), roll(2, 2)], &[2, 4, 4, 3]),
        (&[roll(3, 3), roll(-3, -3)], &[2, 4, 4, 3]),
        (&[roll(-12, -12)], &[2, 4, 6, 3]),
        // Half a turn of one extent is none of the other.
        (&[roll(4, 4)], &[2, 4, 6, 3]),
        (
            &[Op::WindowPartition { window: 2.into() }, Op::WindowReverse { window: 2.into(), height: 4, width: 6 }],
            &[2, 4, 6, 3],
        ),
        (
            &[Op::WindowReverse { window: 2.into(), height: 4, width: 6 }, Op::WindowPartition { window: 2.into() }],
            &[12, 4, 3],
        ),
    ];
    for (chain, shape) in chains {
        all.push(example(&[int(Elem::I8, 0.1, shape)], |m, x| {
            chain.iter().fold(x[0], |x, op| push(m, op.clone(), &[x]))
        }));
    }
    // The windows of another image are not the ones that were cut.
    all.push(example(&[int(Elem::I8, 0.1, &[1, 4, 6, 3])], |m, x| {
        let x = push(m, Op::WindowPartition { window: 2.into() }, x);
        push(m, Op::WindowReverse { window: 2.into(), height: 6, width: 4 }, &[x])
    }));
    for (map, shape) in maps {
        let cases = [
            (quantize(Elem::I8, 0.05), Type::f32(shape)),
            (Op::Dequantize {}, int(Elem::I16, 0.1, shape)),
            (requantize.clone(), int(Elem::I32, 0.1, shape)),
            (Op::Lut {}, int(Elem::I8, 0.1, shape)),
            (Op::Gelu {}, Type::f32(shape)),
            (Op::Relu {}, Type::f32(shape)),
        ];
        for (op, ty) in cases {
            all.extend(either_way(&map, &ty, &op, &|m| {
                let table = int(Elem::U8, 0.2, &[256]);
                if op == (Op::Lut {}) {
                    vec![m.constant("table", table.clone(), values(&table, 5))]
                } else {
                    Vec::new()
                }
            }));
        }
    }
    all.extend(token_examples());
    all
}

/// Makes the constants that an op takes beside its first operand.
type Operands<'a> = dyn Fn(&mut Module) -> Vec<Value> + 'a;

/// A map and then an op, with the constants that it takes beside its operand, and the other way about.
fn either_way(map: &Op, ty: &Type, op: &Op, rest: &Operands<'_>) -> [Example; 2] {
    [true, false].map(|map_first| {
        example(std::slice::from_ref(ty), |m, x| {
            let rest = rest(m);
            let apply = |m: &mut Module, x| push(m, op.clone(), &[&[x], &rest[..]].concat());
            if map_first {
                let y = push(m, map.clone(), x);
                apply(m, y)
            } else {
                let y = apply(m, x[0]);
                push(m, map.clone(), &[y])
            }
        })
    })
}

/// Every map of tokens above and below every op on a token's channels.
fn token_examples() -> Vec<Example> {
    let maps: [(Op, &[usize]); 5] = [
        (roll(-1, -1), &[2, 4, 6, 3]),
        (crop(3, 4), &[2, 4, 6, 3]),
        (pad(5, 6), &[2, 4, 6, 3]),
        (Op::WindowPartition { window: 2.into() }, &[2, 4, 6, 3]),
        (Op::WindowReverse { window: 2.into(), height: 4, width: 6 }, &[12, 4, 3]),
    ];
    let (elem, scale, eps) = (Elem::I8, F32::new(0.05), F32::new(1e-5));
    let float = |m: &mut Module, name: &str, shape: &[usize]| {
        let ty = Type::f32(shape);
        let tensor = Tensor::f32(shape, (0..ty.elements()).map(|i| i as f32 * 0.37 - 1.0).collect());
        m.constant(name, ty, tensor)
    };
    let bias = |m: &mut Module| {
        let scale = Scale { factor: F32::new(0.1), ..Scale::channels("w.scale", 0) };
        let ty = Type::int(Elem::I32, scale, [5]);
        m.constant("b", ty.clone(), values(&ty, 9))
    };
    let gamma = |m: &mut Module| {
        let g = Type::int(Elem::I16, Scale::tensor(1.0 / 1024.0), [3]);
        let b = Type::int(Elem::I32, Scale::tensor(1.0 / 1024.0 / 1024.0), [3]);
        [m.constant("g", g.clone(), values(&g, 7)), m.constant("b", b.clone(), values(&b, 8))]
    };
    let mut all = Vec::new();
    for (map, shape) in maps {
        let bytes = int(elem, 0.1, shape);
        let operands: [(Op, Type, &Operands<'_>); 8] = [
            (Op::Linear {}, bytes.clone(), &|m| vec![weights(m, 5, 3)]),
            (Op::Linear {}, bytes.clone(), &|m| vec![weights(m, 5, 3), bias(m)]),
            (Op::Linear {}, Type::f32(shape), &|m| vec![float(m, "w", &[5, 3]), float(m, "b", &[5])]),
            (Op::QLinear { elem, scale }, bytes.clone(), &|m| vec![weights(m, 5, 3)]),
            (Op::QLinear { elem, scale }, bytes.clone(), &|m| vec![weights(m, 5, 3), bias(m)]),
            (Op::BiasAdd {}, Type::f32(shape), &|m| vec![float(m, "b", &[3])]),
            (Op::LayerNorm { eps }, Type::f32(shape), &|m| vec![float(m, "g", &[3]), float(m, "b", &[3])]),
            (Op::QLayerNorm { eps, elem, scale }, int(Elem::I16, 0.001, shape), &|m| gamma(m).to_vec()),
        ];
        for (op, ty, rest) in &operands {
            all.extend(either_way(&map, ty, op, rest));
        }
        for ty in [Type::f32(shape), int(Elem::I16, 0.001, shape)] {
            for map_first in [true, false] {
                all.push(example(&[ty.clone(), ty.clone()], |m, x| {
                    if map_first {
                        let mapped = [x[0], x[1]].map(|x| push(m, map.clone(), &[x]));
                        push(m, Op::Add {}, &mapped)
                    } else {
                        let sum = push(m, Op::Add {}, x);
                        push(m, map.clone(), &[sum])
                    }
                }));
            }
        }
    }
    all
}
