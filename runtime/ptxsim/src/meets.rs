//! Where lanes that a branch parts meet again.

use crate::program::{Inst, Op, Pred};

/// Immediate postdominators of instructions that branch, as positions of the first instruction of their blocks.
///
/// (Cooper, Harvey and Kennedy, A Simple, Fast Dominance Algorithm, 2001, on the reversed graph)
pub(crate) fn meets(insts: &[Inst]) -> Vec<usize> {
    let n = insts.len();
    let successors = |i: usize| -> Vec<usize> {
        let inst = &insts[i];
        let falls = inst.guard != Pred::Const(true);
        match &inst.op {
            Op::Branch { target } if falls => vec![*target, i + 1],
            Op::Branch { target } => vec![*target],
            Op::BranchTable { targets, .. } => targets.iter().copied().chain(falls.then_some(i + 1)).collect(),
            Op::Exit if falls => vec![n, i + 1],
            Op::Exit => vec![n],
            _ => vec![i + 1],
        }
    };
    let mut leaders = vec![false; n + 1];
    leaders[0] = true;
    leaders[n] = true;
    for (i, inst) in insts.iter().enumerate() {
        if matches!(inst.op, Op::Branch { .. } | Op::BranchTable { .. } | Op::Exit) {
            successors(i).into_iter().chain([i + 1]).for_each(|s| leaders[s] = true);
        }
    }
    let starts: Vec<usize> = (0..=n).filter(|&i| leaders[i]).collect();
    let block_of = |i: usize| starts.partition_point(|&s| s <= i) - 1;
    let exit = starts.len() - 1;
    let after: Vec<Vec<usize>> =
        (0..exit).map(|b| successors(starts[b + 1] - 1).into_iter().map(block_of).collect()).collect();
    let whole = postdominators(&after);
    // Lanes that end meet nobody: for the others, where they part counts only if they go on. An edge to the end has to stay, the last one.
    let ends = |b: usize| b == exit || matches!(insts[starts[b]], Inst { op: Op::Exit, guard: Pred::Const(true), .. });
    let last = (0..exit).filter(|&b| !ends(b) && after[b].iter().any(|&s| ends(s))).max();
    let mut going = after;
    going
        .iter_mut()
        .enumerate()
        .filter(|(b, _)| !ends(*b) && Some(*b) != last)
        .for_each(|(_, next)| next.retain(|&s| !ends(s)));
    let going = postdominators(&going);
    let meet = |i: usize| match (going[block_of(i)], whole[block_of(i)]) {
        // A loop without end has none.
        (usize::MAX, usize::MAX) => n,
        (usize::MAX, b) | (b, _) => starts[b],
    };
    (0..n).map(meet).collect()
}

/// Immediate postdominators of blocks, by their successors; the exit comes after all blocks. `usize::MAX` where a block does not reach it.
fn postdominators(after: &[Vec<usize>]) -> Vec<usize> {
    let (n, exit) = (after.len() + 1, after.len());
    let mut before = vec![Vec::new(); n];
    for (b, next) in after.iter().enumerate() {
        next.iter().for_each(|&s| before[s].push(b));
    }
    // Postorder of the reversed graph from the exit.
    let (mut order, mut number, mut stack) = (Vec::new(), vec![usize::MAX; n], vec![(exit, 0)]);
    let mut seen = vec![false; n];
    seen[exit] = true;
    while let Some((b, i)) = stack.pop() {
        match before[b].get(i) {
            Some(&p) => {
                stack.push((b, i + 1));
                if !std::mem::replace(&mut seen[p], true) {
                    stack.push((p, 0));
                }
            }
            None => {
                number[b] = order.len();
                order.push(b);
            }
        }
    }
    let mut idom = vec![usize::MAX; n];
    idom[exit] = exit;
    let mut changed = true;
    while changed {
        changed = false;
        for &b in order.iter().rev().filter(|&&b| b != exit) {
            let known = after[b].iter().copied().filter(|&s| idom[s] != usize::MAX);
            let new = known.reduce(|mut a, mut c| {
                while a != c {
                    while number[a] < number[c] {
                        a = idom[a];
                    }
                    while number[c] < number[a] {
                        c = idom[c];
                    }
                }
                a
            });
            if let Some(new) = new.filter(|&new| new != idom[b]) {
                idom[b] = new;
                changed = true;
            }
        }
    }
    idom
}
