//! Fused kernels.

use super::{super::Example, from_text};

/// Index maps from `%n` to `%m`, bytes of `[2,4,4,6]` in windows, and the shape of their tokens: windows that do and do not tile evenly.
pub(super) const PARTITIONS: [(&str, &str); 6] = [
    ("", "[2,4,4"),
    ("  %m = window_partition %n {window = 2} : i8<0.03>[8,4,6]\n", "[8,4"),
    (
        "  %r = roll %n {shift = 1} : i8<0.03>[2,4,4,6]\n  %m = window_partition %r {window = 2} : i8<0.03>[8,4,6]\n",
        "[8,4",
    ),
    (
        "  %r = pad %n {sides = [4, 6]} : i8<0.03>[2,4,6,6]\n  %m = window_partition %r {window = [4, 3]} : i8<0.03>[4,12,6]\n",
        "[4,12",
    ),
    (
        "  %q = pad %n {sides = 6} : i8<0.03>[2,6,6,6]\n  %r = roll %q {shift = [1, 0]} : i8<0.03>[2,6,6,6]\n  %m = window_partition %r {window = 3} : i8<0.03>[8,9,6]\n",
        "[8,9",
    ),
    (
        "  %q = roll %n {shift = 1} : i8<0.03>[2,4,4,6]\n  %r = pad %q {sides = 6} : i8<0.03>[2,6,6,6]\n  %m = window_partition %r {window = 3} : i8<0.03>[8,9,6]\n",
        "[8,9",
    ),
];

/// Index maps from `%l` to `%m`, windows of that many tokens that become 16-bit values of `[2,4,4,6]`.
pub(super) const REVERSALS: [(&str, &str); 6] = [
    ("", "[2,4,4"),
    ("  %m = window_reverse %l {window = 2, height = 4, width = 4} : i16<0.02>[2,4,4,6]\n", "[8,4"),
    (
        "  %v = window_reverse %l {window = 2, height = 4, width = 4} : i16<0.02>[2,4,4,6]\n  %m = roll %v {shift = -1} : i16<0.02>[2,4,4,6]\n",
        "[8,4",
    ),
    (
        "  %v = window_reverse %l {window = [4, 3], height = 4, width = 6} : i16<0.02>[2,4,6,6]\n  %m = crop %v {sides = 4} : i16<0.02>[2,4,4,6]\n",
        "[4,12",
    ),
    (
        "  %v = window_reverse %l {window = 3, height = 6, width = 6} : i16<0.02>[2,6,6,6]\n  %u = crop %v {sides = 4} : i16<0.02>[2,4,4,6]\n  %m = roll %u {shift = -1} : i16<0.02>[2,4,4,6]\n",
        "[8,9",
    ),
    (
        "  %v = window_reverse %l {window = 3, height = 6, width = 6} : i16<0.02>[2,6,6,6]\n  %u = roll %v {shift = [-1, 0]} : i16<0.02>[2,6,6,6]\n  %m = crop %u {sides = 4} : i16<0.02>[2,4,4,6]\n",
        "[8,9",
    ),
];

/// γ and β of so many channels.
pub(super) fn norm(c: usize) -> String {
    format!("  const @g : i16<0.0009765625>[{c}]\n  const @b : i32<9.536743e-7>[{c}]\n")
}

/// Weights `[n,k]` and a bias for rows of scale `x`.
pub(super) fn linear(name: &str, n: usize, k: usize, x: f32) -> String {
    format!(
        "  const @{name}.s : f32[{n}]\n  const @{name} : i8<@{name}.s:0>[{n},{k}]\n  const @{name}.b : i32<{x:?}*@{name}.s:0>[{n}]\n"
    )
}

/// What the fused kernels are made of, step by step; windows that do and do not tile evenly, ragged widths.
pub(super) fn examples() -> Vec<Example> {
    let mut all = Vec::new();
    // LayerNorm and linear, with and without windows, shift, bias and table.
    for (maps, shape) in PARTITIONS {
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
    for (maps, x) in REVERSALS {
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
         \x20 %y = linear_residual %x, @w, @w.b, %q {{window = 0, height = 0, width = 0, cut = 0, shift = 0, crop = 0, scale = 0.02}} : i16<0.02>[2,4,4,6]\n\
         \x20 return %y\n}}\n",
        linear("w", 6, 5, 0.1),
    )));
    for (table, hidden) in [("", "u8<0.02>"), (", @t", "i8<0.02>")] {
        let elem = &hidden[..2];
        let act = if table.is_empty() { 0.02 } else { 0.01 };
        let ty = if table.is_empty() { hidden } else { "u8<0.01>" };
        all.push(from_text(&format!(
            "graph @g(%x: i16<0.001>[1,3,3,6]) -> i16<0.002>[1,3,3,6] {{\n{}{}{}  const @t : u8<0.01>[256]\n\
             \x20 %h = norm_linear %x, @g, @b, @w, @w.b{table} {{eps = 1e-5, norm = 0.03, pad = 0, shift = 0, fill = 0, window = 0, elem = {elem}, scale = 0.02}} : {ty}[1,3,3,10]\n\
             \x20 %y = linear_residual %h, @u, @u.b, %x {{window = 0, height = 0, width = 0, cut = 0, shift = 0, crop = 0, scale = 0.002}} : i16<0.002>[1,3,3,6]\n\
             \x20 return %y\n}}\n",
            norm(6),
            linear("w", 10, 6, 0.03),
            linear("u", 6, 10, act),
        )));
    }
    all.push(from_text(&format!(
        "graph @g(%x: i16<0.001>[1,3,3,6]) -> u8<0.01>[1,3,3,10] {{\n{}{}  const @t : u8<0.01>[256]\n\
         \x20 %h = norm_linear %x, @g, @b, @w, @w.b {{eps = 1e-5, norm = 0.03, pad = 0, shift = 0, fill = 0, window = 0, elem = i8, scale = 0.02}} : i8<0.02>[1,3,3,10]\n\
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
    for bias in ["", ", @w.b"] {
        all.push(from_text(&format!(
            "graph @g(%x: i16<0.001>[2,4,4,3]) -> i16<0.02>[2,2,2,5] {{\n{}{}\
         \x20 %d = space_to_depth %x {{block = 2, order = column}} : i16<0.001>[2,2,2,12]\n\
         \x20 %n = qlayer_norm %d, @g, @b {{eps = 1e-5, elem = i8, scale = 0.03}} : i8<0.03>[2,2,2,12]\n\
         \x20 %y = qlinear %n, @w{bias} {{elem = i16, scale = 0.02}} : i16<0.02>[2,2,2,5]\n  return %y\n}}\n",
            norm(12),
            linear("w", 5, 12, 0.03),
        )));
    }
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
