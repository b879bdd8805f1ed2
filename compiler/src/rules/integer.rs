//! What is left of float between integers: LayerNorm, scores and softmax, the residual stream, the mean.

use crate::{
    egraph::{
        Bound::{Accumulation, HeadScale, Norm, Residual, ScoreBias, Scores, Unit},
        Class::Real,
        Match, Rule,
    },
    quantize::FloatOps,
};
use swint_ir::{
    Data, Elem, F32, Scale, Type, infer,
    infer::{MAX_BIAS, MAX_SCORE_BIAS, is_scale, norm_scale},
    op::Op,
};

/// The tables of what may become integer.
#[rustfmt::skip]
pub fn rules(float: FloatOps) -> Vec<Rule> {
    let norm = vec![
        Rule::new("layer-norm-integer", Real(Norm),        "(quantize (layer_norm (dequantize ?x) ?g ?b ?eps) ?e ?s)",       "(qlayer_norm ?x ?gq ?bq ?eps ?e ?s)").when(norm_constants),
    ];
    let unit = vec![
        Rule::new("l2-norm-integer",    Real(Unit),        "(quantize (l2_norm (dequantize ?x) ?h ?eps) ?e ?s)",             "(ql2_norm ?x ?h ?e ?s)").when(longer_than_eps),
    ];
    let softmax = vec![
        Rule::new("scores-scale",       Real(HeadScale),   "(head_scale (dequantize (attn_scores ?q ?k ?h)) ?t)",            "(dequantize (head_scale (attn_scores ?q ?k ?h) ?tq))").when(head_scales),
        Rule::new("scaled-bias",        Real(ScoreBias),   "(attn_bias (dequantize (head_scale ?y ?t)) ?b ?s)",              "(dequantize (attn_bias (head_scale ?y ?t) ?bq ?s))").when(scaled_bias),
        Rule::new("scaled-bias-mask",   Real(ScoreBias),   "(attn_bias (dequantize (head_scale ?y ?t)) ?b ?m ?s)",           "(dequantize (attn_bias (head_scale ?y ?t) ?bq ?mq ?s))").when(scaled_bias_and_mask),
        Rule::new("scores-bias",        Real(ScoreBias),   "(attn_bias (dequantize (attn_scores ?q ?k ?h)) ?b ?s)",          "(dequantize (attn_bias (attn_scores ?q ?k ?h) ?bq ?s))").when(score_bias),
        Rule::new("scores-bias-mask",   Real(ScoreBias),   "(attn_bias (dequantize (attn_scores ?q ?k ?h)) ?b ?m ?s)",       "(dequantize (attn_bias (attn_scores ?q ?k ?h) ?bq ?mq ?s))").when(score_bias_and_mask),
        Rule::new("softmax-integer",    Real(Scores),      "(quantize (softmax (dequantize ?x)) u8 ?s)",                     "(qsoftmax ?x)"),
    ];
    let residual = vec![
        Rule::new("add-integer",        Real(Residual),    "(quantize (add (dequantize ?x) (dequantize ?y)) i16 ?s)",        "(add (requantize ?x i16 ?s) (requantize ?y i16 ?s))"),
        Rule::new("mean-integer",       Real(Accumulation),"(mean_pool (dequantize ?x))",                                    "(dequantize (mean_pool ?x))"),
    ];
    let mut all = Vec::new();
    for (stays, table) in
        [(float.norm, norm), (float.norm, unit), (float.softmax, softmax), (float.residual, residual)]
    {
        if !stays {
            all.extend(table);
        }
    }
    all
}

/// Binds `gq` to γ in 16 bits, and `bq` to β in units of the sums, within the bound that excludes overflow.
fn norm_constants(m: &mut Match<'_>) -> bool {
    let (Some((gamma_name, gamma)), Some((beta_name, beta))) = (m.constant("g"), m.constant("b")) else { return false };
    let (Some(gamma), Some(beta)) = (gamma.as_f32(), beta.as_f32()) else { return false };
    let largest = gamma.iter().fold(0f32, |max, g| max.max(g.abs()));
    // γ of zero leaves β alone, in any unit.
    let unit = F32::new(if largest > 1e-20 { largest / 32767.0 } else { 1.0 / 32767.0 });
    let sums = norm_scale(unit);
    if !is_scale(unit.get()) || !is_scale(sums.get()) {
        return false;
    }
    let gamma: Vec<i16> = gamma.iter().map(|g| (g / unit.get()).round() as i16).collect();
    let n = gamma.len();
    let Some(beta) = integers(beta, sums, MAX_BIAS) else { return false };
    let scale = |factor| Scale { factor, channels: None };
    m.bind_constant("gq", &format!("{gamma_name}.i16"), Type::int(Elem::I16, scale(unit), [n]), Data::I16(gamma));
    m.bind_constant("bq", &format!("{beta_name}.i32"), Type::int(Elem::I32, scale(sums), [n]), Data::I32(beta));
    true
}

/// Binds `bq` to the bias of scores in units of the result.
fn score_bias(m: &mut Match<'_>) -> bool {
    bind_score_constant(m, "b", "bq")
}

/// Binds `bq` and `mq` to bias and mask of scores in units of the result.
fn score_bias_and_mask(m: &mut Match<'_>) -> bool {
    bind_score_constant(m, "b", "bq") && bind_score_constant(m, "m", "mq")
}

/// Binds `bq` to the bias of scaled scores.
fn scaled_bias(m: &mut Match<'_>) -> bool {
    bind_score_constant(m, "b", "bq")
}

/// Binds `bq` and `mq` to bias and mask of scaled scores.
fn scaled_bias_and_mask(m: &mut Match<'_>) -> bool {
    bind_score_constant(m, "b", "bq") && bind_score_constant(m, "m", "mq")
}

/// The type of the integer scores that a match is about: of `q` and `k`, or of `y` times `t`.
fn scores(m: &Match<'_>) -> Option<Type> {
    let ty = match (m.ty("q"), m.ty("k"), m.count("h")) {
        (Some(q), Some(k), Some(heads)) => infer(&Op::AttnScores { heads }, &[q, k]),
        _ => infer(&Op::HeadScale {}, &[m.ty("y")?, m.ty("t")?]),
    };
    ty.ok().filter(|ty| ty.elem == Elem::I32 && ty.scale.channels.is_none())
}

/// A vector that is not zero is at least a unit long: where that is no shorter than `eps`, it divides by its own length.
fn longer_than_eps(m: &mut Match<'_>) -> bool {
    let (Some(x), Some(eps)) = (m.ty("x"), m.float("eps")) else { return false };
    x.scale.channels.is_none() && x.scale.factor >= eps
}

/// Scores this large, at least, can be said in units of which biases hold 29 bits.
const SCORE_REACH: f32 = 128.0;

/// Binds `tq` to the heads' scales in 16 bits, in units that leave room for biases of scores.
fn head_scales(m: &mut Match<'_>) -> bool {
    let (Some(scores), Some((name, scales))) = (scores(m), m.constant("t")) else { return false };
    let Some(scales) = scales.as_f32() else { return false };
    let largest = scales.iter().fold(0f32, |max, s| max.max(s.abs()));
    let finest = SCORE_REACH / MAX_SCORE_BIAS as f32 / scores.scale.factor.get();
    let unit = F32::new((largest / 32767.0).max(finest));
    if !is_scale(unit.get()) {
        return false;
    }
    let values: Vec<i16> = scales.iter().map(|s| (s / unit.get()).round() as i16).collect();
    let ty = Type::int(Elem::I16, Scale { factor: unit, channels: None }, [values.len()]);
    m.bind_constant("tq", &format!("{name}.i16"), ty, Data::I16(values));
    true
}

fn bind_score_constant(m: &mut Match<'_>, name: &str, bound: &str) -> bool {
    let (Some(scale), Some((stem, values))) = (m.float("s"), m.constant(name)) else { return false };
    let Some(scores) = scores(m) else { return false };
    let scale = scores.scale.times(scale);
    let Some(q) = values.as_f32().and_then(|v| integers(v, scale.factor, MAX_SCORE_BIAS)) else { return false };
    m.bind_constant(bound, &format!("{stem}.i32"), Type::int(Elem::I32, scale, values.shape.clone()), Data::I32(q));
    true
}

/// The nearest integers in units of `scale`; `None` where one exceeds `most`.
fn integers(values: &[f32], scale: F32, most: i32) -> Option<Vec<i32>> {
    let q = values.iter().map(|&v| (f64::from(v) / f64::from(scale.get())).round());
    q.map(|q| (q.abs() <= f64::from(most)).then_some(q as i32)).collect()
}
