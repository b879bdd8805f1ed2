//! The arenas of published models, against what no arena can be smaller than.

use std::{collections::HashMap, ops::Range};
use swint_compiler::{
    egraph::{Limits, Target, rewrite},
    frontend::{Spec, import, preset, preset_names, random_checkpoint},
    plan::{ALIGNMENT, Buffer, Choices, Machine, Plan, plan_for},
    quantize::{FloatOps, GeluRange, Observer, Ranges, Statistics, fold_normalize, insert_quantization},
    rules::{RuleSet, rules},
};
use swint_ir::{Graph, Module, NodeId, Value};

/// What is planned for: no machine in particular, and an H100.
const MACHINES: [Option<Machine>; 2] = [None, Some(Machine::Cuda { processors: 132 })];

/// The bytes of a buffer, up to where the next may begin.
fn place(buffer: Buffer) -> Range<usize> {
    let Buffer::Arena { offset, bytes } = buffer else { panic!("{buffer} is not in the arena") };
    offset..offset + bytes.next_multiple_of(ALIGNMENT)
}

/// The most bytes that are alive at one launch: no arena is smaller.
///
/// # Panics
/// When a launch reads what another has overwritten since, or writes outside the arena.
fn most_alive(graph: &Graph, plan: &Plan) -> usize {
    let launches = &plan.launches;
    let position: HashMap<NodeId, usize> = launches.iter().enumerate().map(|(i, l)| (l.node, i)).collect();
    let mut last: Vec<usize> = (0..launches.len()).collect();
    for (i, launch) in launches.iter().enumerate() {
        for operand in &graph.nodes[launch.node.index()].operands {
            if let Value::Node(node) = operand {
                let read = &launches[position[node]].output;
                assert!(launch.inputs.contains(read), "{} reads {read}", launch.kernel);
                last[position[node]] = i;
            }
        }
    }
    let Value::Node(output) = graph.output else { panic!("a plan's graph computes its output") };
    assert_eq!(plan.output, launches[position[&output]].output);
    last[position[&output]] = launches.len() - 1;
    let mut alive = vec![0; launches.len()];
    for (first, launch) in launches.iter().enumerate() {
        let place = place(launch.output);
        assert!(place.end <= plan.arena, "{} of {}", launch.output, plan.arena);
        alive[first..=last[first]].iter_mut().for_each(|sum| *sum += place.len());
        for other in &launches[first + 1..=last[first]] {
            let written = self::place(other.output);
            let apart = written.end <= place.start || place.end <= written.start;
            assert!(apart, "{} writes {} over {}", other.kernel, other.output, launch.output);
        }
    }
    alive.into_iter().max().unwrap()
}

/// The model with quantize/dequantize pairs, of activations that nobody reads.
fn quantized(module: &Module) -> Module {
    let module = fold_normalize(module);
    let statistics = Statistics::assumed(&module, 4.0);
    let ranges = Ranges { statistics: &statistics, observer: Observer::MinMax, gelu: GeluRange::Auto };
    insert_quantization(&module, ranges, FloatOps::NONE).unwrap().0
}

/// Plans a model in every way, and compares each arena with the least; returns how many there were.
fn compare(spec: &Spec) -> usize {
    let float = import(spec, &random_checkpoint(spec, 1)).unwrap();
    let integer = quantized(&float);
    let mut plans = 0;
    for (numbers, module, fuse) in [("f32", &float, false), ("int8", &integer, false), ("int8", &integer, true)] {
        let table = rules(RuleSet { fuse, ..RuleSet::INTEGER });
        let (compiled, _) = rewrite(module, &table, &Target::default(), Limits::default());
        for (batch, machine) in [1, 32].into_iter().flat_map(|batch| MACHINES.map(|machine| (batch, machine))) {
            let graph = compiled.graph.with_batch(batch).unwrap();
            let (graph, plan) = plan_for(&graph, &compiled.weights, machine, &Choices::new()).unwrap();
            let least = most_alive(&graph, &plan);
            let (launches, ratio) = (plan.launches.len(), plan.arena as f64 / least as f64);
            let kind = format!("{numbers}, {}, batch {batch}, {machine:?}", if fuse { "fused" } else { "unfused" });
            println!("{} {kind}: {launches} launches, {} / {least} = {ratio:.4}", spec.name, plan.arena);
            assert!(ratio <= 1.1, "{} {kind}: {ratio}", spec.name);
            plans += 1;
        }
    }
    plans
}

#[test]
fn arenas_of_presets_are_within_a_tenth_of_the_least() {
    // Of the second version, the smallest and the largest, with all sizes of windows.
    let ends = |name: &&str| !name.starts_with("swinv2") || name.contains("tiny") || name.contains("large");
    for name in preset_names().filter(ends) {
        let full = preset(name).unwrap();
        // The first stages need the most; of the others, a block with a shift and one without are all there is.
        let depths = if name.contains("tiny") { full.depths.clone() } else { vec![2, 2, 2, 1] };
        assert_eq!(compare(&Spec { depths, ..full }), 12);
    }
}
