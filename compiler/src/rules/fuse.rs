//! Fusion: what one kernel does better than several. A fused op is a node like any other, chosen by cost.

use crate::egraph::{Class::Exact, Match, Rule};
use swint_ir::{Data, Elem, F32, Scale, Type, infer, op::Op};

/// A linear that requantizes its sums.
#[rustfmt::skip]
pub fn linear() -> Vec<Rule> {
    vec![
        Rule::new("qlinear",      Exact, "(requantize (linear ?x ?w) ?e ?s)",    "(qlinear ?x ?w ?e ?s)"),
        Rule::new("qlinear-bias", Exact, "(requantize (linear ?x ?w ?b) ?e ?s)", "(qlinear ?x ?w ?b ?e ?s)"),
    ]
}

/// The kernels of a Swin Transformer. A linear in them has a bias: where there is none, zeros serve.
#[rustfmt::skip]
pub fn kernels() -> Vec<Rule> {
    vec![
        // A LayerNorm and the linear that reads it, index maps between them.
        Rule::new("qlinear-zero-bias",       Exact, "(qlinear ?x ?w ?e ?s)",                                                                   "(qlinear ?x ?w ?zero ?e ?s)").when(zero_bias),
        Rule::new("norm-linear",             Exact, "(qlinear (qlayer_norm ?x ?g ?b ?eps i8 ?n) ?w ?c ?e ?s)",                                 "(norm_linear ?x ?g ?b ?w ?c ?eps ?n 0 0 0 0 ?e ?s)"),
        Rule::new("norm-linear-windows",     Exact, "(qlinear (window_partition (qlayer_norm ?x ?g ?b ?eps i8 ?n) ?p) ?w ?c ?e ?s)",           "(norm_linear ?x ?g ?b ?w ?c ?eps ?n 0 0 0 ?p ?e ?s)"),
        Rule::new("norm-linear-shifted",     Exact, "(qlinear (window_partition (roll (qlayer_norm ?x ?g ?b ?eps i8 ?n) ?r) ?p) ?w ?c ?e ?s)", "(norm_linear ?x ?g ?b ?w ?c ?eps ?n 0 ?r 0 ?p ?e ?s)"),
        // Padding before the shift, and after it.
        Rule::new("norm-linear-pad",         Exact, "(qlinear (window_partition (pad (qlayer_norm ?x ?g ?b ?eps i8 ?n) ?q) ?p) ?w ?c ?e ?s)",  "(norm_linear ?x ?g ?b ?w ?c ?eps ?n ?q 0 0 ?p ?e ?s)"),
        Rule::new("norm-linear-pad-shift",   Exact, "(qlinear (window_partition (roll (pad (qlayer_norm ?x ?g ?b ?eps i8 ?n) ?q) ?r) ?p) ?w ?c ?e ?s)", "(norm_linear ?x ?g ?b ?w ?c ?eps ?n ?q ?r 0 ?p ?e ?s)"),
        Rule::new("norm-linear-shift-pad",   Exact, "(qlinear (window_partition (pad (roll (qlayer_norm ?x ?g ?b ?eps i8 ?n) ?r) ?q) ?p) ?w ?c ?e ?s)", "(norm_linear ?x ?g ?b ?w ?c ?eps ?n 0 ?r ?q ?p ?e ?s)"),
        Rule::new("norm-linear-table",       Exact, "(lut (norm_linear ?x ?g ?b ?w ?c ?eps ?n ?q ?r ?f ?p ?e ?s) ?t)",                         "(norm_linear ?x ?g ?b ?w ?c ?t ?eps ?n ?q ?r ?f ?p ?e ?s)"),
        // A linear that reads the residual stream as it is, but for 8 bits.
        Rule::new("stream-linear",           Exact, "(qlinear (requantize ?x i8 ?n) ?w ?c ?e ?s)",                                                 "(stream_linear ?x ?w ?c ?n 0 0 0 0 0 ?e ?s)").when(is_stream),
        Rule::new("stream-linear-windows",   Exact, "(qlinear (window_partition (requantize ?x i8 ?n) ?p) ?w ?c ?e ?s)",                           "(stream_linear ?x ?w ?c ?n 0 0 0 0 ?p ?e ?s)").when(is_stream),
        Rule::new("stream-linear-shifted",   Exact, "(qlinear (window_partition (roll (requantize ?x i8 ?n) ?r) ?p) ?w ?c ?e ?s)",                 "(stream_linear ?x ?w ?c ?n 0 0 ?r 0 ?p ?e ?s)").when(is_stream),
        Rule::new("stream-linear-pad",       Exact, "(qlinear (window_partition (pad (requantize ?x i8 ?n) ?q) ?p) ?w ?c ?e ?s)",                  "(stream_linear ?x ?w ?c ?n 0 ?q 0 0 ?p ?e ?s)").when(is_stream),
        Rule::new("stream-linear-pad-shift", Exact, "(qlinear (window_partition (roll (pad (requantize ?x i8 ?n) ?q) ?r) ?p) ?w ?c ?e ?s)",        "(stream_linear ?x ?w ?c ?n 0 ?q ?r 0 ?p ?e ?s)").when(is_stream),
        Rule::new("stream-linear-shift-pad", Exact, "(qlinear (window_partition (pad (roll (requantize ?x i8 ?n) ?r) ?q) ?p) ?w ?c ?e ?s)",        "(stream_linear ?x ?w ?c ?n 0 0 ?r ?q ?p ?e ?s)").when(is_stream),
        Rule::new("stream-linear-merge",     Exact, "(qlinear (space_to_depth (requantize ?x i8 ?n) ?k column) ?w ?c ?e ?s)",                      "(stream_linear ?x ?w ?c ?n ?k 0 0 0 0 ?e ?s)").when(is_stream),
        Rule::new("stream-linear-table",     Exact, "(lut (stream_linear ?x ?w ?c ?n ?k ?q ?r ?f ?p ?e ?s) ?t)",                                   "(stream_linear ?x ?w ?c ?t ?n ?k ?q ?r ?f ?p ?e ?s)"),
        // A linear and the residual stream, which is requantized to the sum's scale.
        Rule::new("linear-residual",         Exact, "(add ?r (qlinear ?x ?w ?c i16 ?s))",                                                      "(linear_residual ?x ?w ?c ?r 0 0 0 0 0 0 ?s)"),
        Rule::new("linear-residual-windows", Exact, "(add ?r (window_reverse (qlinear ?x ?w ?c i16 ?s) ?p ?h ?v))",                            "(linear_residual ?x ?w ?c ?r ?p ?h ?v 0 0 0 ?s)"),
        Rule::new("linear-residual-shifted", Exact, "(add ?r (roll (window_reverse (qlinear ?x ?w ?c i16 ?s) ?p ?h ?v) ?d))",                  "(linear_residual ?x ?w ?c ?r ?p ?h ?v 0 ?d 0 ?s)"),
        Rule::new("linear-residual-crop",    Exact, "(add ?r (crop (window_reverse (qlinear ?x ?w ?c i16 ?s) ?p ?h ?v) ?q))",                  "(linear_residual ?x ?w ?c ?r ?p ?h ?v ?q 0 0 ?s)"),
        Rule::new("linear-residual-crop-shift", Exact, "(add ?r (roll (crop (window_reverse (qlinear ?x ?w ?c i16 ?s) ?p ?h ?v) ?q) ?d))",     "(linear_residual ?x ?w ?c ?r ?p ?h ?v ?q ?d 0 ?s)"),
        Rule::new("linear-residual-shift-crop", Exact, "(add ?r (crop (roll (window_reverse (qlinear ?x ?w ?c i16 ?s) ?p ?h ?v) ?d) ?q))",     "(linear_residual ?x ?w ?c ?r ?p ?h ?v 0 ?d ?q ?s)"),
        Rule::new("residual-requantize",     Exact, "(linear_residual ?x ?w ?c (requantize ?r i16 ?s) ?p ?h ?v ?q ?d ?k ?s)",                  "(linear_residual ?x ?w ?c ?r ?p ?h ?v ?q ?d ?k ?s)"),
        // The same of a LayerNorm.
        Rule::new("norm-residual",           Exact, "(add ?r (qlayer_norm ?x ?g ?b ?eps i16 ?s))",                                                     "(norm_residual ?x ?g ?b ?r ?eps 0 0 0 0 0 0 ?s)"),
        Rule::new("norm-residual-windows",   Exact, "(add ?r (window_reverse (qlayer_norm ?x ?g ?b ?eps i16 ?s) ?p ?h ?v))",                           "(norm_residual ?x ?g ?b ?r ?eps ?p ?h ?v 0 0 0 ?s)"),
        Rule::new("norm-residual-shifted",   Exact, "(add ?r (roll (window_reverse (qlayer_norm ?x ?g ?b ?eps i16 ?s) ?p ?h ?v) ?d))",                 "(norm_residual ?x ?g ?b ?r ?eps ?p ?h ?v 0 ?d 0 ?s)"),
        Rule::new("norm-residual-crop",      Exact, "(add ?r (crop (window_reverse (qlayer_norm ?x ?g ?b ?eps i16 ?s) ?p ?h ?v) ?q))",                 "(norm_residual ?x ?g ?b ?r ?eps ?p ?h ?v ?q 0 0 ?s)"),
        Rule::new("norm-residual-crop-shift", Exact, "(add ?r (roll (crop (window_reverse (qlayer_norm ?x ?g ?b ?eps i16 ?s) ?p ?h ?v) ?q) ?d))",      "(norm_residual ?x ?g ?b ?r ?eps ?p ?h ?v ?q ?d 0 ?s)"),
        Rule::new("norm-residual-shift-crop", Exact, "(add ?r (crop (roll (window_reverse (qlayer_norm ?x ?g ?b ?eps i16 ?s) ?p ?h ?v) ?d) ?q))",      "(norm_residual ?x ?g ?b ?r ?eps ?p ?h ?v 0 ?d ?q ?s)"),
        Rule::new("norm-residual-requantize", Exact, "(norm_residual ?x ?g ?b (requantize ?r i16 ?s) ?eps ?p ?h ?v ?q ?d ?k ?s)",                      "(norm_residual ?x ?g ?b ?r ?eps ?p ?h ?v ?q ?d ?k ?s)"),
        // A whole MLP, its hidden layer on the chip.
        Rule::new("mlp",                     Exact, "(linear_residual (norm_linear ?x ?g ?b ?w ?c ?eps ?n 0 0 0 0 ?e ?m) ?u ?d ?x 0 0 0 0 0 0 ?s)",    "(mlp ?x ?g ?b ?w ?c ?u ?d ?eps ?n ?e ?m ?s)"),
        Rule::new("mlp-table",               Exact, "(linear_residual (norm_linear ?x ?g ?b ?w ?c ?t ?eps ?n 0 0 0 0 ?e ?m) ?u ?d ?x 0 0 0 0 0 0 ?s)", "(mlp ?x ?g ?b ?w ?c ?u ?d ?t ?eps ?n ?e ?m ?s)"),
        // q, k and v as one linear; scores, softmax and values of a window.
        Rule::new("window-attention",        Exact,
            "(requantize (attn_values (qsoftmax (attn_bias (attn_scores (qlinear ?x ?wq ?bq i8 ?s) (qlinear ?x ?wk ?bk i8 ?s) ?h) ?b ?f)) (qlinear ?x ?wv ?bv i8 ?s)) ?e ?t)",
            "(window_attention (qlinear ?x ?w ?c i8 ?s) ?b ?h ?f ?e ?t)").when(joined),
        Rule::new("window-attention-mask",   Exact,
            "(requantize (attn_values (qsoftmax (attn_bias (attn_scores (qlinear ?x ?wq ?bq i8 ?s) (qlinear ?x ?wk ?bk i8 ?s) ?h) ?b ?m ?f)) (qlinear ?x ?wv ?bv i8 ?s)) ?e ?t)",
            "(window_attention (qlinear ?x ?w ?c i8 ?s) ?b ?m ?h ?f ?e ?t)").when(joined),
        Rule::new("cosine-attention",        Exact,
            "(requantize (attn_values (qsoftmax (attn_bias (head_scale (attn_scores (ql2_norm (qlinear ?x ?wq ?bq i16 ?s) ?h i8 ?u) (ql2_norm (qlinear ?x ?wk ?bk i16 ?s) ?h i8 ?u) ?h) ?a) ?b ?f)) (requantize (qlinear ?x ?wv ?bv i16 ?s) i8 ?n)) ?e ?t)",
            "(cosine_attention (qlinear ?x ?w ?c i16 ?s) ?a ?b ?h ?u ?n ?f ?e ?t)").when(joined_cosine),
        Rule::new("cosine-attention-mask",   Exact,
            "(requantize (attn_values (qsoftmax (attn_bias (head_scale (attn_scores (ql2_norm (qlinear ?x ?wq ?bq i16 ?s) ?h i8 ?u) (ql2_norm (qlinear ?x ?wk ?bk i16 ?s) ?h i8 ?u) ?h) ?a) ?b ?m ?f)) (requantize (qlinear ?x ?wv ?bv i16 ?s) i8 ?n)) ?e ?t)",
            "(cosine_attention (qlinear ?x ?w ?c i16 ?s) ?a ?b ?m ?h ?u ?n ?f ?e ?t)").when(joined_cosine),
        // The ends of the network.
        Rule::new("patch-embed",             Exact, "(qlayer_norm (qlinear (space_to_depth ?x ?p row) ?w ?c i16 ?l) ?g ?b ?eps i16 ?s)",       "(patch_embed ?x ?w ?c ?g ?b ?p ?l ?eps ?s)"),
        Rule::new("patch-merge",             Exact, "(qlinear (qlayer_norm (space_to_depth ?x 2 column) ?g ?b ?eps i8 ?n) ?w i16 ?s)",         "(patch_merge ?x ?g ?b ?w ?eps ?n ?s)"),
        Rule::new("patch-merge-bias",        Exact, "(qlinear (qlayer_norm (space_to_depth ?x 2 column) ?g ?b ?eps i8 ?n) ?w ?c i16 ?s)",         "(patch_merge ?x ?g ?b ?w ?c ?eps ?n ?s)"),
        Rule::new("head",                    Exact, "(qlinear (requantize (mean_pool (qlayer_norm ?x ?g ?b ?eps i16 ?n)) i8 ?m) ?w ?c ?e ?s)", "(head ?x ?g ?b ?w ?c ?eps ?n ?m ?e ?s)"),
    ]
}

/// The residual stream has 16 bits of one scale.
fn is_stream(m: &mut Match<'_>) -> bool {
    m.ty("x").is_some_and(|x| x.elem == Elem::I16 && x.scale.channels.is_none())
}

/// Binds `zero` to a bias of zeros for the sums of `x` and `w`.
fn zero_bias(m: &mut Match<'_>) -> bool {
    let (Some(x), Some(w), Some((name, _))) = (m.ty("x"), m.ty("w"), m.constant("w")) else { return false };
    let Ok(sums) = infer(&Op::Linear {}, &[x, w]) else { return false };
    let n = sums.last();
    let ty = Type { shape: vec![n], elem: Elem::I32, scale: sums.scale.on_axis(0) };
    m.bind_constant("zero", &format!("{name}.zero"), ty, Data::I32(vec![0; n]));
    true
}

/// Binds `w` and `c` to the weights and biases of q, k and v, one after the other: rows keep their scales, so every sum is
/// requantized by the factor that it had.
fn joined(m: &mut Match<'_>) -> bool {
    let Some(x) = m.ty("x").cloned() else { return false };
    let mut parts = Vec::new();
    for (w, b) in [("wq", "bq"), ("wk", "bk"), ("wv", "bv")] {
        let (Some(ty), Some((name, weights)), Some((bias_name, bias))) = (m.ty(w), m.constant(w), m.constant(b)) else {
            return false;
        };
        let (Data::I8(rows), Data::I32(bias)) = (&weights.data, &bias.data) else { return false };
        // Two factors and the operand's would be multiplied in another order, and rounded otherwise.
        if ty.scale.channels.is_some() && ty.scale.factor != F32::ONE {
            return false;
        }
        let scales = m.weights().scales(ty);
        let scales: Vec<f32> = (0..ty.shape[0]).map(|row| scales[row % scales.len()]).collect();
        parts.push((name, rows.clone(), scales, bias_name, bias.clone()));
    }
    let n: usize = parts.iter().map(|part| part.4.len()).sum();
    let [stem, bias_stem] = [&parts[0].0, &parts[0].3].map(|name| joined_name(name));
    let k = x.last();
    let scales: Vec<f32> = parts.iter().flat_map(|part| part.2.iter().copied()).collect();
    let name = m.declare(&format!("{stem}.scale"), Type::f32([n]), Data::F32(scales));
    let scale = Scale::channels(name, 0);
    let rows = parts.iter().flat_map(|part| part.1.iter().copied()).collect();
    m.bind_constant("w", &stem, Type::int(Elem::I8, scale.clone(), [n, k]), Data::I8(rows));
    let bias = parts.iter().flat_map(|part| part.4.iter().copied()).collect();
    m.bind_constant("c", &bias_stem, Type::int(Elem::I32, scale.times(x.scale.factor), [n]), Data::I32(bias));
    true
}

/// [`joined`], of windows no larger than Swin V2's, 24 on a side: of others every machine would have but the plain kernel, which makes keys anew for
/// some queries at a time and takes longer than ops apart.
fn joined_cosine(m: &mut Match<'_>) -> bool {
    m.ty("b").is_some_and(|bias| bias.last() <= 24 * 24) && joined(m)
}

/// `blocks.0.attn.q.weight.i8` as `blocks.0.attn.qkv.weight.i8`.
fn joined_name(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').map(|part| if part == "q" { "qkv" } else { part }).collect();
    parts.join(".")
}
