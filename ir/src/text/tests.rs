use super::*;
use crate::{
    diagnostic::Code,
    graph::Decl,
    op::{Op, Order},
    types::{Elem, F32, Scale, Type},
};

/// A small graph with every kind of type and attribute.
fn sample() -> Graph {
    let image = Decl { name: "image".into(), ty: Type::int(Elem::U8, Scale::UNIT, [1, 8, 8, 3]) };
    let mut g = Graph::new("sample", vec![image]);
    let image = crate::Value::Input(crate::InputId(0));
    let thirds = vec![F32::new(0.485), F32::new(0.5), F32::new(1e-3)];
    let n = g.push(Op::Normalize { mean: thirds.clone(), std: thirds }, vec![image]).unwrap();
    let q = g.push(Op::Quantize { elem: Elem::I8, scale: F32::new(0.02) }, vec![n]).unwrap();
    let p = g.push(Op::SpaceToDepth { block: 4, order: Order::Row }, vec![q]).unwrap();
    g.constant("w.scale", Type::f32([16]));
    let w = g.constant("w", Type::int(Elem::I8, Scale::channels("w.scale", 0), [16, 48]));
    let l = g.push(Op::Linear {}, vec![p, w]).unwrap();
    g.add_loc(l, "patch_embed.proj");
    g.add_loc(l, "again");
    let r = g.push(Op::Roll { shift: crate::Pair::from(-1) }, vec![l]).unwrap();
    g.output = g.push(Op::Dequantize {}, vec![r]).unwrap();
    g
}

#[test]
fn parse_undoes_print() {
    let g = sample();
    let text = print(&g);
    let (parsed, map) = read("sample.ir", &text).unwrap();
    assert_eq!(parsed, g, "{text}");
    let line = r#"%3 = linear %2, @w : i32<0.02*@w.scale:3>[1,2,2,16] loc "patch_embed.proj", "again""#;
    assert!(text.contains(line), "{text}");
    // Every node has its place.
    let at = |span: crate::diagnostic::Span| &text[span.start..span.end];
    assert_eq!(at(map.nodes[3].node), line);
    assert_eq!(at(map.nodes[3].op), "linear");
    assert_eq!(at(map.nodes[3].operands[1]), "@w");
    assert_eq!(at(map.nodes[3].ty), "i32<0.02*@w.scale:3>[1,2,2,16]");
    assert_eq!(at(map.nodes[3].locs[1]), r#""again""#);
    assert_eq!(at(map.consts[0].name), "@w.scale");
    assert_eq!(at(map.inputs[0].ty), "u8[1,8,8,3]");
    assert_eq!(at(map.output), "%5");
}

#[test]
fn errors_point_at_the_place() {
    let text = print(&sample());
    let cases = [
        ("linear %2", "linaer %2", (7, 8), Code::UnknownOp, "unknown op `linaer`"),
        ("%2, @w :", "%9, @w :", (7, 15), Code::UndefinedName, "%9 is not defined"),
        ("shift = -1", "shift = 1.5", (8, 25), Code::AttributeKind, "must be an integer"),
        ("[1,2,2,16] loc", "[1,2,2,15] loc", (7, 24), Code::ChannelScales, "channel scales @w.scale"),
        ("u8[1,8,8,3]", "u7[1,8,8,3]", (1, 23), Code::UnknownElement, "unknown element type `u7`"),
        ("  return %5\n}", "  return %5\n", (10, 12), Code::UnexpectedToken, "expected `}`"),
        ("%5 = ", "%4 = ", (9, 3), Code::DuplicateName, "%4 is defined twice"),
        ("block = 4, ", "", (6, 8), Code::MissingAttribute, "needs the attribute `block`"),
        ("-> f32[1,2,2,16]", "-> f32[1,2,2,17]", (1, 39), Code::ResultType, "returns f32[1,2,2,16]"),
    ];
    for (from, to, at, code, message) in cases {
        assert!(text.contains(from), "{from} in {text}");
        let errors = read("bad.ir", &text.replacen(from, to, 1)).unwrap_err().errors;
        let error = errors.iter().find(|e| e.code == code).unwrap_or_else(|| panic!("{to}: {errors:?}"));
        assert!(error.message.contains(message), "{to}: {}", error.message);
        assert_eq!(error.line_column(), at, "{to}: {}", error.message);
    }
}

#[test]
fn every_line_with_an_error_is_reported() {
    let text = print(&sample()).replace("quantize", "quantise").replace("roll", "rol").replace("block =", "blok =");
    let errors = read("bad.ir", &text).unwrap_err().errors;
    let lines: Vec<_> = errors.iter().map(|e| (e.line_column().0, e.code)).collect();
    use Code::*;
    assert_eq!(lines, [(5, UnknownOp), (6, UnknownAttribute), (8, UnknownOp), (9, UnknownOp)]);
    assert_eq!(errors[0].help.as_deref(), Some("did you mean `quantize`?"));
}

#[test]
fn arbitrary_text_never_panics() {
    let text = print(&sample());
    for end in (0..text.len()).step_by(3) {
        let _ = read("cut.ir", &text[..end]);
        let _ = read("tail.ir", &text[end..]);
        let _ = read("twice.ir", &format!("{}{}", &text[..end], text));
    }
    assert!(read("hostile.ir", &"[".repeat(1 << 20)).is_err());
    assert!(
        read("lines.ir", &format!("graph @g(%x: f32[4]) -> f32[4] {{\n{}", "%0 = ;\n".repeat(1 << 20)))
            .unwrap_err()
            .more
    );
}
