//! Local search: choices are changed, one or those that could share a value, if the whole program gets cheaper.

use super::{Cost, ENode, Extraction, Id, SwinGraph, Target, own_cost};
use egg::Language;
use std::collections::{HashMap, HashSet};

/// An e-node as the search sees it.
struct Candidate {
    cost: Cost,
    /// Whether the source has it.
    written: bool,
    /// Its children's ranks, each once.
    children: Vec<usize>,
}

/// A program: a node for each class, by the class's rank. Classes that the program does not need have one, too: what would be
/// taken for them.
pub(super) struct Search<'a> {
    egraph: &'a SwinGraph,
    order: &'a [Id],
    candidates: Vec<Vec<Candidate>>,
    /// The classes that could read each class, and by which of their nodes.
    readers: Vec<Vec<(usize, usize)>>,
    choice: Vec<Option<usize>>,
    /// In which evaluation each class was last entered, and left.
    entered: Vec<u32>,
    left: Vec<u32>,
    evaluation: u32,
}

/// What is to be small: the cost, then how many nodes are not the source's.
type Value = (Cost, usize);

/// Most sweeps over the program; two or three are enough.
const SWEEPS: usize = 8;

impl<'a> Search<'a> {
    pub fn new(
        egraph: &'a SwinGraph,
        order: &'a [Id],
        rank: &HashMap<Id, usize>,
        written: &HashSet<ENode>,
        choice: Vec<Option<usize>>,
        target: &Target,
    ) -> Search<'a> {
        let candidate = |class: Id, node: &ENode| {
            let mut children: Vec<usize> = node.children().iter().map(|&child| rank[&egraph.find(child)]).collect();
            children.sort_unstable();
            children.dedup();
            let written = written.contains(node) || !matches!(node, ENode::Op(..));
            Candidate { cost: own_cost(egraph, class, node, target), written, children }
        };
        let candidates: Vec<Vec<Candidate>> =
            order.iter().map(|&id| egraph[id].nodes.iter().map(|n| candidate(id, n)).collect()).collect();
        let mut readers = vec![Vec::new(); order.len()];
        for (class, nodes) in candidates.iter().enumerate() {
            for (index, node) in nodes.iter().enumerate() {
                node.children.iter().for_each(|&child| readers[child].push((class, index)));
            }
        }
        let zeros = vec![0; order.len()];
        Search { egraph, order, candidates, readers, choice, entered: zeros.clone(), left: zeros, evaluation: 0 }
    }

    /// Changes choices until no change of one, and none of all that could share a value, makes the program of `root` better.
    pub fn improve(&mut self, root: usize) {
        let mut value = self.evaluate(root).expect("the greedy program has no cycle");
        for _ in 0..SWEEPS {
            let before = value;
            for class in (0..self.order.len()).rev() {
                if self.candidates[class].len() > 1 && self.is_needed(class) {
                    value = self.improve_one(class, root, value);
                }
            }
            for class in 0..self.order.len() {
                value = self.share(class, root, value);
            }
            if value == before {
                return;
            }
        }
    }

    /// Whether the program that was evaluated last has a class.
    fn is_needed(&self, class: usize) -> bool {
        self.left[class] == self.evaluation
    }

    /// Lets every class of the program that could read this one read it, where that is better at least for some of them.
    fn share(&mut self, class: usize, root: usize, value: Value) -> Value {
        let Search { readers, candidates, choice, .. } = &*self;
        let reads =
            |reader: usize| choice[reader].is_some_and(|node| candidates[reader][node].children.contains(&class));
        let switches: Vec<(usize, usize)> = (readers[class].iter().copied())
            .filter(|&(reader, _)| reader != class && self.is_needed(reader) && !reads(reader))
            .collect();
        if switches.len() < 2 {
            return value;
        }
        let before: Vec<Option<usize>> = switches.iter().map(|&(reader, _)| self.choice[reader]).collect();
        for &(reader, node) in &switches {
            self.choice[reader] = Some(node);
        }
        if let Some(mut shared) = self.evaluate(root) {
            for &(reader, _) in &switches {
                if self.is_needed(reader) {
                    shared = self.improve_one(reader, root, shared);
                }
            }
            if shared < value {
                return shared;
            }
        }
        for (&(reader, _), before) in switches.iter().zip(before).rev() {
            self.choice[reader] = before;
        }
        self.evaluate(root).expect("it was evaluated before")
    }

    /// Takes the best node for a class, the others' choices given. The last evaluation is of the program that results.
    fn improve_one(&mut self, class: usize, root: usize, value: Value) -> Value {
        let mut best = (value, self.choice[class]);
        for node in 0..self.candidates[class].len() {
            self.choice[class] = Some(node);
            if let Some(found) = self.evaluate(root).filter(|found| *found < best.0) {
                best = (found, Some(node));
            }
        }
        self.choice[class] = best.1;
        self.evaluate(root).expect("it was evaluated before")
    }

    /// The value of the program of `root`; `None` where it has a cycle, or a class without a program.
    fn evaluate(&mut self, root: usize) -> Option<Value> {
        self.evaluation += 1;
        let mut value = (Cost::default(), 0);
        let mut stack = vec![(root, false)];
        while let Some((class, done)) = stack.pop() {
            if done {
                self.left[class] = self.evaluation;
                continue;
            }
            if self.entered[class] == self.evaluation {
                if self.left[class] != self.evaluation {
                    return None;
                }
                continue;
            }
            self.entered[class] = self.evaluation;
            let candidate = &self.candidates[class][self.choice[class]?];
            value = (value.0 + candidate.cost, value.1 + usize::from(!candidate.written));
            stack.push((class, true));
            // A child that was entered and not left is above this one, or waits below for its turn: then it is entered again.
            stack.extend(candidate.children.iter().filter(|&&c| self.left[c] != self.evaluation).map(|&c| (c, false)));
        }
        Some(value)
    }

    /// The program of `root`.
    pub fn extraction(&self, root: usize) -> Extraction {
        let mut nodes = HashMap::new();
        let mut stack = vec![root];
        let mut cost = Cost::default();
        while let Some(class) = stack.pop() {
            let chosen = self.choice[class].expect("it was evaluated");
            if nodes.insert(self.order[class], self.egraph[self.order[class]].nodes[chosen].clone()).is_none() {
                let candidate = &self.candidates[class][chosen];
                cost = cost + candidate.cost;
                stack.extend(&candidate.children);
            }
        }
        Extraction { nodes, cost }
    }
}
