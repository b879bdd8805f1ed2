//! Fused kernels of blocks whose norms come last, and whose attention is by cosines: Swin V2.

use super::{
    super::Example,
    example, from_text,
    fused::{PARTITIONS, REVERSALS, linear, norm},
    int, push, values,
};
use swint_ir::{Elem, F32, Module, Scale, Tensor, Type, op::Op};

pub(super) fn examples() -> Vec<Example> {
    let mut all = Vec::new();
    // A linear on the residual stream in 8 bits, with and without windows and table.
    let merge = ("  %m = space_to_depth %n {block = 2, order = column} : i8<0.03>[2,2,2,24]\n", "[2,2,2");
    for (maps, shape) in PARTITIONS.into_iter().chain([merge]) {
        let k = if maps == merge.0 { 24 } else { 6 };
        for table in [false, true] {
            let last = if maps.is_empty() { "%n" } else { "%m" };
            let (y, look_up) = match table {
                true => ("u8<0.07>", format!("  %y = lut %l, @t : u8<0.07>{shape},5]\n  return %y\n")),
                false => ("i8<0.5>", "  return %l\n".to_owned()),
            };
            all.push(from_text(&format!(
                "graph @g(%x: i16<0.001>[2,4,4,6]) -> {y}{shape},5] {{\n{}  const @t : u8<0.07>[256]\n\
                 \x20 %n = requantize %x {{elem = i8, scale = 0.03}} : i8<0.03>[2,4,4,6]\n{maps}\
                 \x20 %l = qlinear {last}, @w, @w.b {{elem = i8, scale = 0.5}} : i8<0.5>{shape},5]\n{look_up}}}\n",
                linear("w", 5, k, 0.03),
            )));
        }
    }
    all.push(from_text(&format!(
        "graph @g(%x: i16<0.001>[1,3,3,6]) -> u8<0.01>[1,3,3,10] {{\n{}  const @t : u8<0.01>[256]\n\
         \x20 %h = stream_linear %x, @w, @w.b {{cast = 0.03, block = 0, pad = 0, shift = 0, fill = 0, window = 0, elem = i8, scale = 0.02}} : i8<0.02>[1,3,3,10]\n\
         \x20 %y = lut %h, @t : u8<0.01>[1,3,3,10]\n  return %y\n}}\n",
        linear("w", 10, 6, 0.03),
    )));
    // A LayerNorm and the residual stream, of the same and of another scale.
    for (maps, x) in REVERSALS {
        for r in ["0.02", "0.013"] {
            let last = if maps.is_empty() { "%l" } else { "%m" };
            let (requantized, stream) = match r {
                "0.02" => (String::new(), "%r"),
                _ => ("  %q = requantize %r {elem = i16, scale = 0.02} : i16<0.02>[2,4,4,6]\n".to_owned(), "%q"),
            };
            all.push(from_text(&format!(
                "graph @g(%x: i16<0.001>{x},6], %r: i16<{r}>[2,4,4,6]) -> i16<0.02>[2,4,4,6] {{\n{}\
                 \x20 %l = qlayer_norm %x, @g, @b {{eps = 1e-5, elem = i16, scale = 0.02}} : i16<0.02>{x},6]\n{maps}{requantized}\
                 \x20 %y = add {stream}, {last} : i16<0.02>[2,4,4,6]\n  return %y\n}}\n",
                norm(6),
            )));
        }
    }
    // What fusing leaves for fusing again.
    all.push(from_text(&format!(
        "graph @g(%x: i16<0.001>[2,4,4,6], %r: i16<0.013>[2,4,4,6]) -> i16<0.02>[2,4,4,6] {{\n{}\
         \x20 %q = requantize %r {{elem = i16, scale = 0.02}} : i16<0.02>[2,4,4,6]\n\
         \x20 %y = norm_residual %x, @g, @b, %q {{eps = 1e-5, window = 0, height = 0, width = 0, cut = 0, shift = 0, crop = 0, scale = 0.02}} : i16<0.02>[2,4,4,6]\n\
         \x20 return %y\n}}\n",
        norm(6),
    )));
    all.extend([false, true].map(cosine_attention));
    all
}

/// An attention of two heads.
fn cosine_attention(mask: bool) -> Example {
    example(&[int(Elem::I8, 0.02, &[4, 4, 6])], |m, x| {
        let constant = |m: &mut Module, name: &str, ty: Type| {
            let small = values(&ty, 5);
            m.constant(name, ty, small)
        };
        let [q, k, v] = ["q", "k", "v"].map(|name| {
            let scales = Tensor::f32([6], (0..6).map(|i| 0.01 + 0.003 * i as f32).collect());
            m.constant(format!("a.{name}.s"), Type::f32([6]), scales);
            let scale = Scale::channels(format!("a.{name}.s"), 0);
            let w = constant(m, &format!("a.{name}"), Type::int(Elem::I8, scale.clone(), [6, 6]));
            let bias = Type::int(Elem::I32, scale.times(F32::new(0.02)), [6]);
            let b = constant(m, &format!("a.{name}.b"), bias);
            push(m, Op::QLinear { elem: Elem::I16, scale: F32::new(0.01) }, &[x[0], w, b])
        });
        let unit = Op::QL2Norm { heads: 2, elem: Elem::I8, scale: F32::new(1.0 / 127.0) };
        let [q, k] = [q, k].map(|x| push(m, unit.clone(), &[x]));
        let v = push(m, Op::Requantize { elem: Elem::I8, scale: F32::new(0.5) }, &[v]);
        let scores = push(m, Op::AttnScores { heads: 2 }, &[q, k]);
        let scales = constant(m, "a.scale", int(Elem::I16, 0.001, &[2]));
        let scores = push(m, Op::HeadScale {}, &[scores, scales]);
        let scale = m.graph.ty(scores).scale.clone();
        let biases = |count| Type::int(Elem::I32, scale.clone(), [count, 4, 4]);
        let mut operands = vec![scores, constant(m, "a.bias", biases(2))];
        if mask {
            operands.push(constant(m, "a.mask", biases(2)));
        }
        let scores = push(m, Op::AttnBias { scale: F32::new(1.0) }, &operands);
        let p = push(m, Op::QSoftmax {}, &[scores]);
        let y = push(m, Op::AttnValues {}, &[p, v]);
        push(m, Op::Requantize { elem: Elem::I8, scale: F32::new(0.04) }, &[y])
    })
}
