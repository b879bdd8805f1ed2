//! The executor against the interpreter: values, and gradients against differences of values.

use burn::tensor::{Device, Tensor as Burn, TensorData};
use std::path::PathBuf;
use swint_compiler::{
    frontend::{Checkpoint, Spec, import},
    pipeline::{Options, compile},
};
use swint_distill::{
    exec::{Choices, Program},
    params::{flat, values},
};
use swint_ir::{
    Data, Graph, Module, Tensor, Type, Value, Weights,
    graph::{Decl, InputId},
    interp,
    op::{Class, Op, OpKind},
    random::{self, Rng},
    reference,
};

fn matrix(tensor: &Tensor, device: &Device) -> Burn<2> {
    let columns = *tensor.shape.last().unwrap();
    let reals: Vec<f32> = match tensor.as_f32() {
        Some(values) => values.to_vec(),
        None => tensor.data.to_i32().unwrap().into_iter().map(|q| q as f32).collect(),
    };
    let rows = reals.len() / columns;
    Burn::from_data(TensorData::new(reals, [rows, columns]), device)
}

fn constants(module: &Module, device: &Device) -> Vec<Burn<1>> {
    let values = |decl: &Decl| module.weights.get(&decl.name).unwrap().as_f32().unwrap().to_vec();
    module.graph.consts.iter().map(|decl| flat(values(decl), device)).collect()
}

/// The largest difference of the executor's result from the interpreter's, relative to the largest value.
fn difference(module: &Module, inputs: &[Tensor], batch: usize) -> f32 {
    let device = Device::flex();
    let program = Program::new(&module.graph, batch, &device).unwrap();
    let matrices: Vec<Burn<2>> = inputs.iter().map(|input| matrix(input, &device)).collect();
    let found = values(program.run(&constants(module, &device), &matrices, &Choices::default()).output);
    let wanted = interp::run(program.graph(), &module.weights, inputs).unwrap();
    let wanted = wanted.as_f32().unwrap();
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(1f32, |max, x| max.max(x.abs()));
    found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn fixtures_give_the_interpreters_logits() {
    for name in ["timm_micro", "timm_odd"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
        let spec = Spec::parse("swin.toml", &std::fs::read_to_string(folder.join("swin.toml")).unwrap()).unwrap();
        let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
        let imported = import(&spec, &Checkpoint::from_bytes(&bytes).unwrap()).unwrap();
        let mut shape = imported.graph.inputs[0].ty.clone();
        shape.shape[0] = 2;
        let input = random::tensor(&shape, &mut Rng::with_seed(1));
        // As it is imported, and as the rewrites leave it.
        let (rewritten, _) = compile(&imported, &Options::default(), |_| ()).unwrap();
        for module in [&imported, &rewritten] {
            let difference = difference(module, std::slice::from_ref(&input), 2);
            assert!(difference < 1e-4, "{name}: {difference}");
        }
    }
}

#[test]
fn random_float_programs_give_the_interpreters_results() {
    let mut run = 0;
    for seed in 0..2000 {
        let graph = random::graph(seed, 6);
        let module = Module { weights: random::weights(&graph, seed), graph };
        let all_float = module.graph.consts.iter().all(|decl| decl.ty.is_float());
        if !all_float || Program::new(&module.graph, 1, &Device::flex()).is_err() {
            continue;
        }
        let inputs = random::inputs(&module.graph, &mut Rng::with_seed(seed));
        let wanted = interp::run(&module.graph, &module.weights, &inputs).unwrap();
        if wanted.as_f32().is_none_or(|y| y.iter().any(|x| !x.is_finite() || x.abs() > 1e6)) {
            continue;
        }
        let difference = difference(&module, &inputs, 1);
        assert!(difference < 1e-3, "seed {seed}: {difference}\n{}", module.graph);
        run += 1;
    }
    assert!(run > 100, "{run} programs were float");
}

/// The op's example with every operand a float input.
fn float_example(kind: OpKind) -> Option<Graph> {
    let example = reference::example(kind);
    let node = &example.nodes[0];
    let float = |value: &Value| Type::f32(example.ty(*value).shape.clone());
    let decls: Vec<Decl> = (node.operands.iter().enumerate())
        .map(|(i, value)| Decl { name: format!("x{i}").into(), ty: float(value) })
        .collect();
    let operands: Vec<Value> = (0..decls.len()).map(|i| Value::Input(InputId(i as u32))).collect();
    let mut graph = Graph::new("example", decls);
    graph.output = graph.push(node.op.clone(), operands).ok()?;
    graph.ty(graph.output).is_float().then_some(graph)
}

/// `Σ w·y` along a direction: what the gradient says, and what the interpreter's values say.
fn slopes(graph: &Graph, seed: u64) -> (f64, f64) {
    let (device, mut rng) = (Device::flex(), Rng::with_seed(seed));
    let random = |ty: &Type, rng: &mut Rng| -> Vec<f32> { (0..ty.elements()).map(|_| random::normal(rng)).collect() };
    // No step crosses the kink of a ReLU.
    let off_zero = |x: f32| x + 0.05f32.copysign(x);
    let inputs: Vec<Vec<f32>> =
        (graph.inputs.iter()).map(|input| random(&input.ty, &mut rng).into_iter().map(off_zero).collect()).collect();
    let directions: Vec<Vec<f32>> = graph.inputs.iter().map(|input| random(&input.ty, &mut rng)).collect();
    let weights = random(graph.ty(graph.output), &mut rng);
    let program = Program::new(graph, 1, &device.clone().autodiff()).unwrap();
    let leaves: Vec<Burn<2>> = inputs
        .iter()
        .zip(&graph.inputs)
        .map(|(values, input)| {
            let tensor = Tensor::f32(input.ty.shape.clone(), values.clone());
            Burn::from_inner(matrix(&tensor, &device)).require_grad()
        })
        .collect();
    let y = program.run(&[], &leaves, &Choices::default()).output;
    let [rows, columns] = y.dims();
    let w = Burn::from_data(TensorData::new(weights.clone(), [rows, columns]), &device.clone().autodiff());
    let gradients = (y * w).sum().backward();
    let along = |(leaf, direction): (&Burn<2>, &Vec<f32>)| -> f64 {
        let gradient = values(leaf.grad(&gradients).expect("every operand matters"));
        gradient.iter().zip(direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum()
    };
    let slope = leaves.iter().zip(&directions).map(along).sum();
    let at = |step: f32| -> f64 {
        let moved: Vec<Tensor> = (inputs.iter().zip(&directions).zip(&graph.inputs))
            .map(|((x, d), input)| {
                let values = x.iter().zip(d).map(|(x, d)| x + step * d).collect();
                Tensor::new(input.ty.shape.clone(), Data::F32(values))
            })
            .collect();
        let y = interp::run(graph, &Weights::default(), &moved).unwrap();
        y.as_f32().unwrap().iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    };
    let step = 2e-3;
    (slope, (at(step) - at(-step)) / (2.0 * f64::from(step)))
}

#[test]
fn gradients_are_slopes_of_every_op() {
    let mut checked = Vec::new();
    for &kind in OpKind::ALL {
        let Some(graph) = float_example(kind) else { continue };
        for seed in 0..3 {
            let (gradient, difference) = slopes(&graph, seed);
            let scale = gradient.abs().max(difference.abs()).max(1.0);
            assert!((gradient - difference).abs() < 0.02 * scale, "{kind}: {gradient} and {difference}");
        }
        checked.push(kind);
    }
    // All that float programs have but the conversion of pixels, which have no gradient.
    let of_floats = |kind: &&OpKind| {
        let example = reference::example(**kind);
        kind.class() == Class::Index || example.nodes[0].ty.is_float() && **kind != OpKind::Dequantize
    };
    let mut wanted: Vec<OpKind> = OpKind::ALL.iter().filter(of_floats).copied().collect();
    wanted.retain(|kind| *kind != OpKind::Normalize);
    wanted.extend([OpKind::AttnScores, OpKind::AttnValues]);
    checked.sort();
    wanted.sort();
    assert_eq!(checked, wanted);
}

#[test]
fn a_value_in_a_nodes_place_keeps_its_gradient() {
    let device = Device::flex().autodiff();
    let input = Decl { name: "x".into(), ty: Type::f32([1, 2]) };
    let mut graph = Graph::new("g", vec![input]);
    let y = graph.push(Op::Gelu {}, vec![Value::Input(InputId(0))]).unwrap();
    graph.output = graph.push(Op::Relu {}, vec![y]).unwrap();
    let Value::Node(gelu) = y else { unreachable!() };
    let program = Program::new(&graph, 1, &device).unwrap();
    let x: Burn<2> = Burn::from_data([[1.0, -1.0]], &device).require_grad();
    let value = Burn::from_data([[3.0, -2.0]], &device);
    let choices = Choices { values: [(gelu, value)].into(), watched: vec![gelu], ..Choices::default() };
    let out = program.run(&[], std::slice::from_ref(&x), &choices);
    assert_eq!(values(out.watched[0].clone()), [3.0, -2.0]);
    assert_eq!(values(out.output.clone()), [3.0, 0.0]);
    // The slope of GELU at 1 where the ReLU after the value lets it pass.
    let gradient = values(x.grad(&out.output.sum().backward()).unwrap());
    assert!((gradient[0] - 1.083_315).abs() < 1e-4 && gradient[1] == 0.0, "{gradient:?}");
    // Half GELU, half ReLU.
    let choices = Choices { blends: [(gelu, 0.5)].into(), ..Choices::default() };
    let half = values(program.run(&[], &[Burn::from_data([[1.0, -1.0]], &device)], &choices).output);
    assert!((half[0] - (0.5 * 0.841_345 + 0.5)).abs() < 1e-5 && half[1] == 0.0, "{half:?}");
}

#[test]
fn integers_are_refused() {
    let graph = reference::example(OpKind::Requantize);
    let error = Program::new(&graph, 1, &Device::flex()).err().unwrap().to_string();
    assert_eq!(error, "%0 is requantize: only floats are trained");
}
