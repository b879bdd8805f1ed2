use super::*;
use crate::{
    graph::{Decl, Graph},
    op::{Op, Order},
    types::{Elem, F32, Scale, Type},
    verify,
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
    let r = g.push(Op::Roll { shift: -1 }, vec![l]).unwrap();
    g.output = g.push(Op::Dequantize {}, vec![r]).unwrap();
    g
}

#[test]
fn parse_undoes_print() {
    let g = sample();
    verify(&g).unwrap();
    let text = print(&g);
    assert_eq!(parse("sample.ir", &text).unwrap(), g, "{text}");
    assert!(
        text.contains(r#"%3 = linear %2, @w : i32<0.02*@w.scale:3>[1,2,2,16] loc "patch_embed.proj", "again""#),
        "{text}"
    );
}

#[test]
fn errors_point_at_the_place() {
    let text = print(&sample());
    let cases = [
        ("linear %2", "linaer %2", (7, 8), "unknown op `linaer`"),
        ("%2, @w :", "%9, @w :", (7, 15), "%9 is not defined before its use"),
        ("shift = -1", "shift = 1.5", (8, 16), "must be an integer"),
        ("[1,2,2,16] loc", "[1,2,2,15] loc", (7, 24), "linear gives"),
        ("u8[1,8,8,3]", "u7[1,8,8,3]", (1, 23), "unknown element type `u7`"),
        ("  return %5\n}", "  return %5\n", (12, 1), "expected `}`"),
        ("%5 = ", "%4 = ", (9, 3), "%4 is defined twice"),
    ];
    for (from, to, at, message) in cases {
        assert!(text.contains(from), "{from} in {text}");
        let error = parse("bad.ir", &text.replace(from, to)).unwrap_err();
        assert!(error.message.contains(message), "{to}: {}", error.message);
        assert_eq!(error.line_column(), at, "{to}: {}", error.message);
    }
}

#[test]
fn arbitrary_text_never_panics() {
    let text = print(&sample());
    for end in (0..text.len()).step_by(3) {
        let _ = parse("cut.ir", &text[..end]);
        let _ = parse("tail.ir", &text[end..]);
        let _ = parse("twice.ir", &format!("{}{}", &text[..end], text));
    }
    assert!(parse("hostile.ir", &"[".repeat(1 << 20)).is_err());
}
