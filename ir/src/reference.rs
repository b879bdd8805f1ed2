//! The reference page of the IR, made from the op table, the types, the grammar and the codes, so that it cannot drift.

use crate::{
    diagnostic::Code,
    graph::{ConstId, Decl, Graph, InputId, Value},
    infer::{MAX_BIAS, MAX_ELEMENTS, MAX_K},
    op::{Class, Op, OpKind, Order},
    pair::Pair,
    text::GRAMMAR,
    types::{Elem, F32, Scale, Type},
};
use std::fmt::Write;

/// The page, as Markdown.
pub fn markdown() -> String {
    let mut page = String::new();
    write_page(&mut page).expect("writing to a string");
    page
}

fn write_page(out: &mut String) -> std::fmt::Result {
    writeln!(out, "# The IR\n")?;
    writeln!(out, "<!-- Made by `cargo run -p swint-ir --example reference > docs/ir.md`; a test compares. -->\n")?;
    writeln!(
        out,
        "A graph is a list of nodes. A node is an op, its operands and its result; operands come before their users. Constants\n\
         are declared by name and type; their values live beside the graph. `swint ir` prints a model's graph, `swint opt` reads,\n\
         verifies and transforms one.\n\n```text\n{}```\n",
        example(OpKind::QLinear)
    )?;
    writeln!(out, "## Types\n")?;
    writeln!(out, "| element | bytes | values | for |\n|---|---|---|---|")?;
    for elem in Elem::ALL {
        let range = elem.range().map_or("IEEE-754 binary32".to_owned(), |(low, high)| format!("{low} … {high}"));
        writeln!(out, "| `{elem}` | {} | {range} | {} |", elem.bytes(), purpose(elem))?;
    }
    writeln!(
        out,
        "\n`i8[2,64]` holds integers that stand for themselves. `i8<0.02>[2,64]` stands for `q · 0.02`; zero stands for zero.\n\
         `i32<0.02*@w.scale:1>[2,64]` has one more factor for each index of axis 1, from the constant `@w.scale : f32[64]`;\n\
         `i8<@w.scale:0>[64,64]` has those alone. Floats have no scale.\n\n\
         An extent is positive and a tensor has at most {MAX_ELEMENTS} elements. A scale lies between 1e-24 and 1e24. A sum has\n\
         at most {MAX_K} products of bytes, and one bias of at most ±{MAX_BIAS}: so it fits in `i32`.\n"
    )?;
    writeln!(out, "## Text\n\n```text\n{GRAMMAR}```\n")?;
    writeln!(
        out,
        "Printing numbers the nodes; a text may name them. What is printed parses back to an equal graph. Each node's type is\n\
         written, and must be what its op infers. The strings after `loc` name the source's modules whose output the node is.\n\
         `approximates gelu` says that another function stands in a GELU's place, there or in what was fused into the node: the\n\
         model needs distillation.\n"
    )?;
    writeln!(out, "## Ops\n\n`x?` is an operand that may be left out. Shapes are in brackets, `c` is a channel.\n")?;
    for class in [Class::Contract, Class::Pointwise, Class::Row, Class::Convert, Class::Index, Class::Fused] {
        writeln!(out, "### {}\n", class_title(class))?;
        for kind in OpKind::ALL.iter().filter(|kind| kind.class() == class) {
            write_op(out, *kind)?;
        }
    }
    writeln!(out, "## Errors\n\n`swint explain-error CODE` says more. `SW01..` are the verifier's invariants.\n")?;
    writeln!(out, "| code | |\n|---|---|")?;
    for code in Code::ALL {
        writeln!(out, "| {code} | {} |", code.title())?;
    }
    Ok(())
}

fn write_op(out: &mut String, kind: OpKind) -> std::fmt::Result {
    let mut operands: Vec<String> = kind.operand_names().iter().map(|name| (*name).to_owned()).collect();
    operands.extend(kind.optional_operand().map(|name| format!("{name}?")));
    let attrs: Vec<String> =
        kind.attr_names().iter().zip(kind.attr_kinds()).map(|(name, kind)| format!("{name} = {kind}")).collect();
    let attrs = if attrs.is_empty() { String::new() } else { format!(" {{{}}}", attrs.join(", ")) };
    writeln!(out, "**`{kind}`** {}{attrs}\n", operands.join(", "))?;
    let doc: Vec<String> = kind.doc().lines().map(|line| plain(line.trim())).collect();
    writeln!(out, "{}\n", doc.join("\n"))?;
    let graph = example(kind).to_string();
    let line = graph.lines().find(|line| line.contains(" = ")).expect("an example has a node");
    writeln!(out, "    {}\n", line.trim())
}

/// Rust's links between items as what they are called.
fn plain(line: &str) -> String {
    line.replace("[`crate::", "[`").replace("[`", "`").replace("`]", "`")
}

fn purpose(elem: Elem) -> &'static str {
    match elem {
        Elem::F32 => "activations of a float model, and what is still float in an integer one",
        Elem::I32 => "accumulators and biases",
        Elem::I16 => "activations",
        Elem::I8 => "weights and activations",
        Elem::U8 => "pixels, probabilities, activations after ReLU",
    }
}

fn class_title(class: Class) -> &'static str {
    match class {
        Class::Index => "Index maps: they move elements and compute nothing",
        Class::Contract => "Sums of products",
        Class::Pointwise => "Elementwise",
        Class::Row => "Rows: a row of the result from a whole row",
        Class::Convert => "Representation",
        Class::Fused => "Fused: several ops in one kernel, chosen by the rewrites",
    }
}

/// A graph of one node of an op.
pub fn example(kind: OpKind) -> Graph {
    let int = |elem, scale: f32, shape: &[usize]| Type::int(elem, Scale::tensor(scale), shape);
    let image = || Type::f32([1, 8, 8, 32]);
    let scale = F32::new(0.05);
    // What fused ops take: the residual stream, a norm's constants, those of a linear whose operand has a scale.
    let stream = |channels| int(Elem::I16, 0.001, &[1, 8, 8, channels]);
    let norm = |channels| {
        let (gamma, beta) = (1.0 / 1024.0, 1.0 / 1024.0 / 1024.0);
        [("norm.weight", int(Elem::I16, gamma, &[channels])), ("norm.bias", int(Elem::I32, beta, &[channels]))]
    };
    let fc = |name, n, k, x: f32| {
        let [weight, bias] = match name {
            "qkv" => ["qkv.weight", "qkv.bias"],
            "proj" => ["proj.weight", "proj.bias"],
            "fc1" => ["fc1.weight", "fc1.bias"],
            "fc2" => ["fc2.weight", "fc2.bias"],
            "head" => ["head.weight", "head.bias"],
            _ => ["reduction.weight", "reduction.bias"],
        };
        [(weight, int(Elem::I8, 0.01, &[n, k])), (bias, int(Elem::I32, 0.01 * x, &[n]))]
    };
    // Types of the operands; what is named like a module is a constant.
    let (op, operands): (Op, Vec<(&str, Type)>) = match kind {
        OpKind::Normalize => {
            let thirds = |a: [f32; 3]| a.map(F32::new).to_vec();
            let op = Op::Normalize { mean: thirds([0.485, 0.456, 0.406]), std: thirds([0.229, 0.224, 0.225]) };
            (op, vec![("pixels", int(Elem::U8, 1.0, &[1, 32, 32, 3]))])
        }
        OpKind::SpaceToDepth => (Op::SpaceToDepth { block: 2, order: Order::Column }, vec![("x", image())]),
        OpKind::Roll => (Op::Roll { shift: 2.into() }, vec![("x", image())]),
        OpKind::Pad => (Op::Pad { sides: Pair::new(8, 12) }, vec![("x", image())]),
        OpKind::Crop => (Op::Crop { sides: Pair::new(8, 7) }, vec![("x", image())]),
        OpKind::WindowPartition => (Op::WindowPartition { window: 4.into() }, vec![("x", image())]),
        OpKind::WindowReverse => {
            (Op::WindowReverse { window: 4.into(), height: 8, width: 8 }, vec![("x", Type::f32([4, 16, 32]))])
        }
        OpKind::LayerNorm => {
            let vector = Type::f32([32]);
            let operands = vec![("x", image()), ("norm.weight", vector.clone()), ("norm.bias", vector)];
            (Op::LayerNorm { eps: F32::new(1e-5) }, operands)
        }
        OpKind::QLayerNorm => {
            let operands = [("x", stream(32))].into_iter().chain(norm(32)).collect();
            (Op::QLayerNorm { eps: F32::new(1e-5), elem: Elem::I8, scale }, operands)
        }
        OpKind::L2Norm => (Op::L2Norm { heads: 2, eps: F32::new(1e-12) }, vec![("x", Type::f32([4, 16, 32]))]),
        OpKind::QL2Norm => {
            let op = Op::QL2Norm { heads: 2, elem: Elem::I8, scale: F32::new(1.0 / 127.0) };
            (op, vec![("x", int(Elem::I16, 0.001, &[4, 16, 32]))])
        }
        OpKind::HeadScale => {
            (Op::HeadScale {}, vec![("x", Type::f32([4, 2, 16, 16])), ("attn.logit_scale", Type::f32([2]))])
        }
        OpKind::Linear => {
            let operands =
                vec![("x", Type::f32([2, 32])), ("fc.weight", Type::f32([64, 32])), ("fc.bias", Type::f32([64]))];
            (Op::Linear {}, operands)
        }
        OpKind::QLinear => {
            let operands = vec![
                ("x", int(Elem::I8, 0.02, &[2, 32])),
                ("fc.weight", int(Elem::I8, 0.01, &[64, 32])),
                ("fc.bias", int(Elem::I32, 0.02 * 0.01, &[64])),
            ];
            (Op::QLinear { elem: Elem::I8, scale }, operands)
        }
        OpKind::BiasAdd => (Op::BiasAdd {}, vec![("x", Type::f32([2, 32])), ("fc.bias", Type::f32([32]))]),
        OpKind::AttnScores => {
            let tokens = || int(Elem::I8, 0.02, &[4, 16, 32]);
            (Op::AttnScores { heads: 2 }, vec![("q", tokens()), ("k", tokens())])
        }
        OpKind::AttnBias => {
            let operands = vec![
                ("x", Type::f32([4, 2, 16, 16])),
                ("attn.bias", Type::f32([2, 16, 16])),
                ("attn.mask", Type::f32([4, 16, 16])),
            ];
            (Op::AttnBias { scale: F32::new(0.25) }, operands)
        }
        OpKind::Softmax => (Op::Softmax {}, vec![("x", Type::f32([4, 2, 16, 16]))]),
        OpKind::QSoftmax => (Op::QSoftmax {}, vec![("x", int(Elem::I32, 1e-4, &[4, 2, 16, 16]))]),
        OpKind::AttnValues => {
            let p = int(Elem::U8, 1.0 / 255.0, &[4, 2, 16, 16]);
            (Op::AttnValues {}, vec![("p", p), ("v", int(Elem::I8, 0.02, &[4, 16, 32]))])
        }
        OpKind::Gelu => (Op::Gelu {}, vec![("x", Type::f32([2, 32]))]),
        OpKind::FloatGelu => (Op::FloatGelu { elem: Elem::I8, scale }, vec![("x", int(Elem::I8, 0.05, &[2, 32]))]),
        OpKind::Relu => (Op::Relu {}, vec![("x", Type::f32([2, 32]))]),
        OpKind::Add => (Op::Add {}, vec![("a", image()), ("b", image())]),
        OpKind::MeanPool => (Op::MeanPool {}, vec![("x", image())]),
        OpKind::Quantize => (Op::Quantize { elem: Elem::I8, scale }, vec![("x", Type::f32([2, 32]))]),
        OpKind::Dequantize => (Op::Dequantize {}, vec![("q", int(Elem::I8, 0.02, &[2, 32]))]),
        OpKind::Requantize => (Op::Requantize { elem: Elem::U8, scale }, vec![("q", int(Elem::I32, 2e-4, &[2, 32]))]),
        OpKind::NormLinear => {
            let (eps, pad, fill) = (F32::new(1e-5), 0.into(), 0.into());
            let (shift, window) = (2.into(), 4.into());
            let op = Op::NormLinear { eps, norm: scale, pad, shift, fill, window, elem: Elem::I8, scale };
            let mut operands = vec![("x", stream(32))];
            operands.extend(norm(32));
            operands.extend(fc("qkv", 96, 32, 0.05));
            (op, operands)
        }
        OpKind::StreamLinear => {
            let (pad, fill) = (0.into(), 0.into());
            let (shift, window) = (2.into(), 4.into());
            let op = Op::StreamLinear {
                cast: scale,
                block: 0,
                pad,
                shift,
                fill,
                window,
                elem: Elem::I16,
                scale: F32::new(0.001),
            };
            let mut operands = vec![("x", stream(32))];
            operands.extend(fc("qkv", 96, 32, 0.05));
            (op, operands)
        }
        OpKind::CosineAttention => {
            let (unit, factor) = (1.0 / 127.0, F32::new(1.0));
            let scores = |shape: &[usize]| int(Elem::I32, unit * unit * 0.001, shape);
            let operands = vec![
                ("qkv", int(Elem::I16, 0.001, &[4, 16, 96])),
                ("attn.scale", int(Elem::I16, 0.001, &[2])),
                ("attn.bias", scores(&[2, 16, 16])),
                ("attn.mask", scores(&[4, 16, 16])),
            ];
            let unit = F32::new(unit);
            (Op::CosineAttention { heads: 2, unit, value: scale, factor, elem: Elem::I8, scale }, operands)
        }
        OpKind::NormResidual => {
            let (eps, cut, shift, crop) = (F32::new(1e-5), 0.into(), Pair::from(-2), 0.into());
            let (window, scale) = (4.into(), F32::new(0.001));
            let op = Op::NormResidual { eps, window, height: 8, width: 8, cut, shift, crop, scale };
            let mut operands = vec![("x", int(Elem::I16, 0.001, &[4, 16, 32]))];
            operands.extend(norm(32));
            operands.push(("r", stream(32)));
            (op, operands)
        }
        OpKind::WindowAttention => {
            let factor = F32::new(0.25);
            let scores = |shape: &[usize]| int(Elem::I32, 0.05 * 0.05 * 0.25, shape);
            let operands = vec![
                ("qkv", int(Elem::I8, 0.05, &[4, 16, 96])),
                ("attn.bias", scores(&[2, 16, 16])),
                ("attn.mask", scores(&[4, 16, 16])),
            ];
            (Op::WindowAttention { heads: 2, factor, elem: Elem::I8, scale }, operands)
        }
        OpKind::LinearResidual => {
            let (cut, shift, crop) = (0.into(), Pair::from(-2), 0.into());
            let (window, scale) = (4.into(), F32::new(0.001));
            let op = Op::LinearResidual { window, height: 8, width: 8, cut, shift, crop, scale };
            let mut operands = vec![("x", int(Elem::I8, 0.05, &[4, 16, 32]))];
            operands.extend(fc("proj", 32, 32, 0.05));
            operands.push(("r", stream(32)));
            (op, operands)
        }
        OpKind::Mlp => {
            let (eps, residual) = (F32::new(1e-5), F32::new(0.001));
            let op = Op::Mlp { eps, norm: scale, elem: Elem::I8, hidden: scale, scale: residual };
            let mut operands = vec![("x", stream(32))];
            operands.extend(norm(32));
            operands.extend(fc("fc1", 128, 32, 0.05));
            operands.extend(fc("fc2", 32, 128, 0.01));
            operands.push(("gelu.table", int(Elem::U8, 0.01, &[256])));
            (op, operands)
        }
        OpKind::PatchEmbed => {
            let (linear, eps) = (F32::new(0.001), F32::new(1e-5));
            let mut operands = vec![("pixels", int(Elem::U8, 1.0, &[1, 32, 32, 3]))];
            operands.extend(fc("proj", 32, 48, 1.0));
            operands.extend(norm(32));
            (Op::PatchEmbed { block: 4, linear, eps, scale: F32::new(0.001) }, operands)
        }
        OpKind::PatchMerge => {
            let mut operands = vec![("x", stream(32))];
            operands.extend(norm(128));
            operands.extend(fc("reduction", 64, 128, 0.05).into_iter().take(1));
            (Op::PatchMerge { eps: F32::new(1e-5), norm: scale, scale: F32::new(0.001) }, operands)
        }
        OpKind::Head => {
            let (eps, norm_scale) = (F32::new(1e-5), F32::new(0.001));
            let mut operands = vec![("x", stream(32))];
            operands.extend(norm(32));
            operands.extend(fc("head", 10, 32, 0.05));
            (Op::Head { eps, norm: norm_scale, mean: scale, elem: Elem::I16, scale: norm_scale }, operands)
        }
        OpKind::Lut => {
            (Op::Lut {}, vec![("x", int(Elem::I8, 0.02, &[2, 32])), ("gelu.table", int(Elem::I8, 0.01, &[256]))])
        }
    };
    let (consts, inputs): (Vec<_>, Vec<_>) = operands.iter().cloned().partition(|(name, _)| name.contains('.'));
    let decls = inputs.into_iter().map(|(name, ty)| Decl { name: name.into(), ty }).collect();
    let mut graph = Graph::new("example", decls);
    for (name, ty) in consts {
        graph.constant(name, ty);
    }
    let position = |decls: &[Decl], name: &str| decls.iter().position(|d| *d.name == *name).map(|i| i as u32);
    let value = |(name, _): &(&str, Type)| match position(&graph.inputs, name) {
        Some(i) => Value::Input(InputId(i)),
        None => Value::Const(ConstId(position(&graph.consts, name).expect("declared above"))),
    };
    let values = operands.iter().map(value).collect();
    graph.output = graph.push(op, values).unwrap_or_else(|e| panic!("example of {kind}: {e}"));
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify;

    #[test]
    fn docs_ir_md_is_this_page() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ir.md");
        let found = std::fs::read_to_string(path).unwrap();
        assert!(found == markdown(), "docs/ir.md is old: cargo run -p swint-ir --example reference > docs/ir.md");
    }

    #[test]
    fn every_op_has_a_valid_example_of_itself_and_an_equation() {
        for &kind in OpKind::ALL {
            let graph = example(kind);
            verify(&graph).unwrap();
            assert_eq!(graph.nodes[0].op.kind(), kind);
            let equation =
                kind.doc().split('`').skip(1).step_by(2).any(|code| code.contains('=') || code.contains('('));
            assert!(equation, "{kind}: {}", kind.doc());
        }
    }
}
