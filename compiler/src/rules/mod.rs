//! The rule tables, one a topic. Each row is an equation; see [`crate::egraph::Rule`].
//!
//! Law: a row is `exact` (the same bits) or `real` (an identity over the reals, with the bound that rounding may reach).
//! What changes the function, like GELU → ReLU, is no rule: it is a directed pass, chosen by policy
//! ([`crate::approximate`]).

mod activation;
mod convert;
mod fuse;
mod identity;
mod integer;
mod layout;
mod linear;

#[cfg(test)]
mod tests;

use crate::{egraph::Rule, quantize::FloatOps};

/// Which tables a compilation uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleSet {
    /// Replace a GELU between 8-bit tensors by its table.
    pub gelu_table: bool,
    /// Make one kernel of a GELU that stays float and the conversions around it.
    pub gelu_float: bool,
    /// Ops that stay float.
    pub float_ops: FloatOps,
    /// Fuse ops into one kernel where that is cheaper.
    pub fuse: bool,
}

impl RuleSet {
    /// Every table, with all of its rows.
    pub const ALL: RuleSet = RuleSet { gelu_float: true, ..RuleSet::INTEGER };

    /// What leaves no float op.
    pub const INTEGER: RuleSet = RuleSet { gelu_table: true, gelu_float: false, float_ops: FloatOps::NONE, fuse: true };
}

/// The rows of every chosen table.
pub fn rules(set: RuleSet) -> Vec<Rule> {
    let mut all = convert::rules();
    all.extend(identity::rules());
    all.extend(linear::rules());
    all.extend(layout::rules());
    all.extend(integer::rules(set.float_ops));
    all.extend(fuse::linear());
    if set.fuse {
        all.extend(fuse::kernels());
    }
    all.extend(activation::relu());
    if set.gelu_float {
        all.extend(activation::float());
    }
    if set.gelu_table {
        all.extend(activation::gelu());
    }
    all
}
