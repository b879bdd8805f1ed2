//! Which GELUs are replaced when: the schedules of a distillation.

use serde::{Deserialize, Serialize};
use std::{collections::HashMap, fmt, str::FromStr};
use swint_compiler::approximate::gelus;
use swint_ir::{Graph, NodeId};

/// How GELUs become ReLUs in the course of training.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// All at once, before the first step.
    All,
    /// One after the other, with as many steps after each (arXiv 2402.01169).
    Block,
    /// Those of one stage after the other, with as many steps after each.
    Stage,
    /// All together, slowly: `α·gelu + (1 − α)·relu`, α from 1 to 0 over the first half of the steps.
    Anneal,
}

/// Where iterative schedules begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// At the input.
    #[default]
    Front,
    /// At the output.
    Back,
}

impl Schedule {
    /// Every schedule with its name.
    pub const ALL: [(&'static str, Schedule); 4] =
        [("all", Schedule::All), ("block", Schedule::Block), ("stage", Schedule::Stage), ("anneal", Schedule::Anneal)];
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Schedule::ALL.iter().find(|(_, schedule)| schedule == self).expect("all have names");
        f.write_str(name)
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(name: &str) -> Result<Schedule, String> {
        let found = Schedule::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, schedule)| *schedule).ok_or_else(|| "there are all, block, stage, anneal".to_owned())
    }
}

/// A schedule for a graph and a number of steps.
pub struct Plan {
    schedule: Schedule,
    steps: usize,
    /// GELUs that are replaced together, in order.
    groups: Vec<Vec<NodeId>>,
}

impl Plan {
    /// Groups a graph's GELUs.
    pub fn new(schedule: Schedule, order: Order, graph: &Graph, steps: usize) -> Plan {
        let gelus = gelus(graph);
        let mut groups: Vec<Vec<NodeId>> = match schedule {
            Schedule::All | Schedule::Anneal => vec![gelus.iter().map(|(id, _)| *id).collect()],
            Schedule::Block => gelus.iter().map(|(id, _)| vec![*id]).collect(),
            Schedule::Stage => {
                let stage = |gelu: &(NodeId, Option<(usize, usize)>)| gelu.1.map(|(stage, _)| stage);
                gelus.chunk_by(|a, b| stage(a) == stage(b)).map(|g| g.iter().map(|(id, _)| *id).collect()).collect()
            }
        };
        if order == Order::Back {
            groups.reverse();
        }
        Plan { schedule, steps, groups }
    }

    /// What is left of each GELU at a step, 0 where it is a ReLU; GELUs that are whole are left out.
    pub fn blends(&self, step: usize) -> HashMap<NodeId, f64> {
        if self.schedule == Schedule::Anneal {
            let half = (self.steps / 2).max(1);
            let alpha = 1.0 - (step.min(half) as f64 / half as f64);
            return self.groups.iter().flatten().map(|&id| (id, alpha)).collect();
        }
        let done = ((step + 1) * self.groups.len()).div_ceil(self.steps.max(1));
        self.groups.iter().take(done).flatten().map(|&id| (id, 0.0)).collect()
    }

    /// Every GELU as a ReLU: what all schedules end with.
    pub fn replaced(&self) -> HashMap<NodeId, f64> {
        self.groups.iter().flatten().map(|&id| (id, 0.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_compiler::frontend::{import, preset, random_checkpoint};

    fn replaced(schedule: Schedule, order: Order) -> Vec<Vec<usize>> {
        let spec = preset("swin_tiny_patch4_window7_224").unwrap();
        let graph = import(&spec, &random_checkpoint(&spec, 1)).unwrap().graph;
        let plan = Plan::new(schedule, order, &graph, 120);
        let all: Vec<NodeId> = gelus(&graph).iter().map(|(id, _)| *id).collect();
        let at = |step| {
            let blends = plan.blends(step);
            assert!(blends.values().all(|&alpha| alpha == 0.0));
            (0..all.len()).filter(|&i| blends.contains_key(&all[i])).collect()
        };
        [0, 9, 10, 59, 60, 119].map(at).to_vec()
    }

    #[test]
    fn gelus_go_one_by_one() {
        let up_to = |n: usize| (0..n).collect::<Vec<_>>();
        assert_eq!(replaced(Schedule::All, Order::Front), vec![up_to(12); 6]);
        assert_eq!(replaced(Schedule::Block, Order::Front), [1, 1, 2, 6, 7, 12].map(up_to));
        // Stages of 2, 2, 6 and 2 blocks.
        assert_eq!(replaced(Schedule::Stage, Order::Front), [2, 2, 2, 4, 10, 12].map(up_to));
        assert_eq!(replaced(Schedule::Block, Order::Back)[3], (6..12).collect::<Vec<_>>());
    }

    #[test]
    fn annealing_ends_half_way() {
        let spec = preset("swin_tiny_patch4_window7_224").unwrap();
        let graph = import(&spec, &random_checkpoint(&spec, 1)).unwrap().graph;
        let plan = Plan::new(Schedule::Anneal, Order::Front, &graph, 100);
        let alpha = |step| {
            let blends = plan.blends(step);
            assert_eq!(blends.len(), 12);
            *blends.values().next().unwrap()
        };
        assert_eq!([0, 25, 50, 99].map(alpha), [1.0, 0.5, 0.0, 0.0]);
        for (name, schedule) in Schedule::ALL {
            assert_eq!(name.parse(), Ok(schedule));
            assert_eq!(Plan::new(schedule, Order::Front, &graph, 7).blends(6), plan.replaced());
        }
    }
}
