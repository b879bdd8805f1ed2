//! The verifier's promise: what it accepts, no later stage panics on. Random valid graphs, and changed ones that are still
//! valid, go through every pass, the planner, the printer and the interpreter.

use std::collections::BTreeMap;
use swint_compiler::{
    emit,
    pipeline::{Activation, Calibration, Cause, Options, PASSES, Pass, run_passes},
    plan::plan,
};
use swint_ir::{Graph, Module, interp, random, text, verify, verify_weights};

/// Largest tensor, in elements, that is worth a test's memory; the verifier promises nothing about memory.
const LARGEST: usize = 1 << 14;

fn small(graph: &Graph) -> bool {
    let decls = graph.inputs.iter().chain(&graph.consts).map(|d| &d.ty);
    decls.chain(graph.nodes.iter().map(|n| &n.ty)).all(|ty| ty.elements() <= LARGEST)
}

/// Counts of what happened, so that a test that tries nothing is seen.
type Outcomes = BTreeMap<&'static str, usize>;

/// Everything that can be done with a graph that verifies.
fn whole_pipeline(graph: &Graph, seed: u64, outcomes: &mut Outcomes) {
    let mut count = |what| *outcomes.entry(what).or_default() += 1;
    assert_eq!(text::read("g", &text::print(graph)).unwrap().0, *graph);
    let live = graph.without_dead_code();
    verify(&live).unwrap();
    emit::dot(graph);
    emit::json(graph);
    let module = Module { weights: random::weights(graph, seed), graph: graph.clone() };
    if verify_weights(graph, &module.weights).is_err() {
        return count("weights refused");
    }
    let mut rng = random::Rng::with_seed(seed);
    let calibration = Calibration::new((0..2).map(|_| random::inputs(graph, &mut rng)).collect());
    let input = random::inputs(graph, &mut rng);
    interp::run(graph, &module.weights, &input).unwrap();
    if let Ok(batched) = graph.with_batch(2)
        && verify(&batched).is_ok()
        && verify_weights(&batched, &module.weights).is_ok()
        && small(&batched)
    {
        interp::run(&batched, &module.weights, &random::inputs(&batched, &mut rng)).unwrap();
        count("batched");
    }
    for activation in [Activation::Lut, Activation::Relu, Activation::Gelu] {
        let options = Options { activation, calibration: Some(&calibration), ..Options::default() };
        let wanted = |pass: &&Pass| pass.name != "approximate" || activation == Activation::Relu;
        let passes: Vec<&Pass> = PASSES.iter().filter(wanted).collect();
        match run_passes(&passes, &module, &options, |_| {}) {
            Ok((compiled, _)) => {
                count("compiled");
                interp::run(&compiled.graph, &compiled.weights, &input).unwrap();
                match plan(&compiled.graph) {
                    Ok(plan) => {
                        count("planned");
                        assert!(!plan.to_string().is_empty());
                        plan.consts.iter().for_each(|c| drop(c.materialize(&compiled.weights)));
                    }
                    Err(_) => count("no plan"),
                }
            }
            Err(failure) => match failure.cause {
                Cause::Refused(_) => count("refused"),
                cause => panic!("{}: {cause:?}\n{}", failure.pass, failure.before.graph),
            },
        }
    }
}

#[test]
fn random_graphs_go_through_every_stage() {
    let mut outcomes = Outcomes::new();
    for seed in 0..1000 {
        let graph = random::graph(seed, 10);
        let mut run = || whole_pipeline(&graph, seed, &mut outcomes);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut run));
        assert!(ran.is_ok(), "seed {seed}:\n{graph}");
    }
    println!("{outcomes:?}");
    assert!(outcomes["compiled"] > 1500 && outcomes["planned"] > 1500, "{outcomes:?}");
}

#[test]
fn changed_graphs_that_verify_go_through_every_stage() {
    let mut outcomes = Outcomes::new();
    for seed in 0..20_000 {
        let mut rng = random::Rng::with_seed(seed);
        let mut graph = random::graph(seed, 8);
        for _ in 0..rng.usize(1..=3) {
            random::mutate(&mut graph, &mut rng);
        }
        if verify(&graph).is_err() || !small(&graph) {
            continue;
        }
        *outcomes.entry("verified").or_default() += 1;
        let mut run = || whole_pipeline(&graph, seed, &mut outcomes);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut run));
        assert!(ran.is_ok(), "seed {seed}:\n{graph}");
    }
    println!("{outcomes:?}");
    assert!(outcomes["verified"] > 2000 && outcomes["compiled"] > 2000, "{outcomes:?}");
}
