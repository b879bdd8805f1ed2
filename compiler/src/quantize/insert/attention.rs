//! One scale for q, k and v, so that one linear can make all three.
//!
//! Scores are a product of q and k, and scaled anyway: what q and k are multiplied by goes into their weights and is divided out
//! of that scale. So both can take v's scale, and lose nothing: `(a·q)·(b·k)·(s/(a·b)) = q·k·s`. In a cosine attention q and k are
//! brought to length 1, whatever they were multiplied by; there all three have 16 bits, as lengths want.

use super::Pass;
use std::collections::{HashMap, HashSet};
use swint_ir::{
    Elem, F32, Module, NodeId, Value,
    op::{Op, OpKind},
};

/// What is multiplied by what.
#[derive(Default)]
pub(super) struct SharedScales {
    /// Linears whose results are multiplied: by how much, and the largest magnitude that they represent then.
    pub linears: HashMap<Value, (f32, f32)>,
    /// The scale that `attn_bias` gets instead of its own.
    pub scores: HashMap<NodeId, F32>,
    /// q, k and v of cosine attentions: 16 bits.
    pub wide: HashSet<Value>,
}

/// An attention whose linears may share a scale.
struct Attention {
    /// Its `attn_bias`.
    biased: NodeId,
    q: Value,
    k: Value,
    /// Whether q and k are brought to length 1.
    cosine: bool,
}

/// Factors beyond this say that a q or k is as good as zero: it keeps its own scale.
const MOST: f32 = 1e6;

impl Pass<'_> {
    /// Looks for attentions whose q, k and v are linears that nothing else reads, of one activation.
    pub(super) fn share_scales(&self) -> Result<SharedScales, String> {
        let mut shared = SharedScales::default();
        for (_, values) in self.source.graph.iter().filter(|(_, node)| node.op.kind() == OpKind::AttnValues) {
            let v = values.operands[1];
            let Some(found) = attention(self.source, values.operands[0], v) else { continue };
            let Attention { biased, q, k, cosine } = found;
            // Without a norm of integers there are no lengths that want 16 bits.
            if cosine && self.float_ops.norm {
                continue;
            }
            let elem = if cosine { Elem::I16 } else { Elem::I8 };
            let most = self.max_abs(v, elem)?;
            let factors = [most / self.max_abs(q, elem)?, most / self.max_abs(k, elem)?];
            let node = &self.source.graph.nodes[biased.index()];
            let Op::AttnBias { scale } = node.op else { continue };
            let scores = f64::from(scale.get()) / f64::from(factors[0]) / f64::from(factors[1]);
            let fits = factors.iter().all(|f| (1.0 / MOST..=MOST).contains(f)) && (scores as f32).is_finite();
            if fits && q != k {
                shared.linears.extend([(q, (factors[0], most)), (k, (factors[1], most))]);
                if cosine {
                    shared.wide.extend([q, k, v]);
                } else {
                    shared.scores.insert(biased, F32::new(scores as f32));
                }
            }
        }
        Ok(shared)
    }
}

/// The attention whose probabilities and v are given; `None` where it is not what [`Pass::share_scales`] looks for.
fn attention(module: &Module, p: Value, v: Value) -> Option<Attention> {
    let graph = &module.graph;
    let only = |value: Value, kind: OpKind| {
        let node = graph.node(value).filter(|node| node.op.kind() == kind && node.locs.is_empty())?;
        let reads = graph.nodes.iter().flat_map(|n| &n.operands).filter(|&&v| v == value).count();
        (reads == 1 && graph.output != value).then_some(node)
    };
    let biased = only(p, OpKind::Softmax)?.operands[0];
    let scores = only(biased, OpKind::AttnBias)?.operands[0];
    let scaled = only(scores, OpKind::HeadScale);
    let (cosine, scores) = (scaled.is_some(), scaled.map_or(scores, |node| node.operands[0]));
    let scores = only(scores, OpKind::AttnScores)?;
    let unit = |value: Value| if cosine { Some(only(value, OpKind::L2Norm)?.operands[0]) } else { Some(value) };
    let (q, k) = (unit(scores.operands[0])?, unit(scores.operands[1])?);
    let constants = |value: Value| {
        let linear = only(value, OpKind::Linear)?;
        let constant = |v: &Value| matches!(v, Value::Const(c) if module.weights.get(&graph.consts[c.index()].name).is_some_and(|t| t.as_f32().is_some()));
        linear.operands[1..].iter().all(constant).then_some(linear.operands[0])
    };
    let x = constants(q)?;
    let Value::Node(biased) = biased else { return None };
    (constants(k)? == x && constants(v)? == x).then_some(Attention { biased, q, k, cosine })
}
