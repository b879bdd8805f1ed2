//! Kernels for tensor cores in the simulator, bit for bit, in the ways that each may be made.

use crate::common::{
    attention, compiled, layer_norm, noise, norm_linear, norm_residual, patch_embedding, stream_linear,
};
use swint_compiler::{
    pipeline::{Activation, Precision},
    plan::{Blueprint, Choices, Gemm, Kernel, plan_for},
};
use swint_ir::{Module, Tensor, random};
use swint_runtime::{
    inputs::stack,
    offline::Sm,
    verify::{Simulated, simulate},
};

/// Of a kernel for tensor cores: they are used, memory is read and written by whole sectors that move at most once, and what is on
/// the chip is read without conflicts.
fn moves_little(name: &str, run: &Simulated<'_>) {
    let (kernel, stats) = (&run.ptx.entry, &run.stats);
    assert!(stats.mma > 0 || matches!(run.launch.blueprint, Blueprint::Norm(_)), "{name} {kernel}");
    assert_eq!(stats.load_conflicts, 0, "{name} {kernel}");
    let moved = 32 * (stats.distinct_loaded_sectors + stats.distinct_stored_sectors);
    // Weights are padded to whole fragments, and small tensors to whole sectors.
    assert!(moved as f64 <= 1.25 * run.ideal as f64 + 4096.0, "{name} {kernel}: {moved} of {}", run.ideal);
    // A head of 16 channels is half a sector.
    let halves = matches!(run.launch.kernel, Kernel::WindowAttention { heads, channels, .. } if channels / heads < 32);
    if matches!(run.launch.blueprint, Blueprint::Gemm(_) | Blueprint::Mlp(_) | Blueprint::Attention(_)) && !halves {
        let share = stats.coalescing().unwrap();
        assert!(share > 0.75, "{name} {kernel}: {share}");
    }
}

/// Every launch is exact and without fault; shows each.
pub fn launches_are_exact(
    name: &str,
    module: &Module,
    (batch, inputs): (usize, &[Tensor]),
    target: &str,
    choices: &Choices,
    mut observe: impl FnMut(&Simulated<'_>),
) {
    let exact = |run: Simulated<'_>| {
        let kernel = &run.ptx.entry;
        assert_eq!(run.findings, [], "{name} {target} {kernel}");
        assert_eq!((&run.mismatch, run.unwritten), (&None, 0), "{name} {target} {kernel}");
        assert!(run.stats.instructions() > 0);
        // Rows of 16 channels are half a sector.
        if run.launch.blueprint != Blueprint::Plain && !name.ends_with("_pad") {
            moves_little(name, &run);
        }
        observe(&run);
    };
    simulate(module, inputs, batch, Sm::from_name(target).unwrap(), choices, |_| Ok(None), exact).unwrap();
}

/// Every MLP as one kernel, in every way that fits; with a table and with none, and with rows of several images.
#[test]
fn mlps_are_exact_in_every_way() {
    for (name, activation) in
        [("cifar10", Activation::Lut), ("timm_odd", Activation::Lut), ("timm_odd", Activation::Relu)]
    {
        let module = compiled(name, Precision::Int8, activation);
        let graph = module.graph.with_batch(2).unwrap();
        let machine = Sm::from_name("sm_90").unwrap().machine();
        let plan = plan_for(&graph, &module.weights, Some(machine), &Choices::new()).unwrap().1;
        let most = plan.wholes.iter().map(|whole| whole.options.len()).max().unwrap();
        let mut tried = std::collections::BTreeSet::new();
        for way in 0..most {
            let chosen = plan.wholes.iter().map(|whole| (whole.key.clone(), whole.options[way % whole.options.len()]));
            let inputs = [stack(&noise(&module, 2))];
            launches_are_exact(name, &module, (2, &inputs), "sm_90", &chosen.collect(), |run| {
                if let Blueprint::Mlp(mlp) = run.launch.blueprint {
                    tried.insert((mlp.row_frags, mlp.column_frags));
                }
            });
        }
        println!("{name}: {tried:?}");
        assert!(tried.len() > 3, "{name}: {tried:?}");
    }
}

/// Matrix products in tiles of all kinds: as many ways as there are rounds of it.
#[test]
fn products_are_exact_in_many_tiles() {
    let module = compiled("cifar10", Precision::Int8, Activation::Lut);
    let graph = module.graph.with_batch(2).unwrap();
    let machine = Sm::from_name("sm_90").unwrap().machine();
    let plan = plan_for(&graph, &module.weights, Some(machine), &Choices::new()).unwrap().1;
    let mut tried: Vec<Gemm> = Vec::new();
    for way in 0..10 {
        let chosen = plan.launches.iter().map(|launch| {
            // Options that are likely slower are farther from the first in other ways.
            let option = launch.options[way * 7 % launch.options.len()];
            (launch.key(), option)
        });
        let inputs = [stack(&noise(&module, 2))];
        let sm = Sm::from_name("sm_90").unwrap();
        simulate(
            &module,
            &inputs,
            2,
            sm,
            &chosen.collect(),
            |_| Ok(None),
            |run| {
                assert!(run.is_exact(), "{} {}: {:?}", run.launch.kernel, run.launch.blueprint, run.findings);
                assert_eq!(run.stats.load_conflicts, 0, "{}{}", run.launch.kernel, run.launch.blueprint);
                if let Blueprint::Gemm(gemm) = run.launch.blueprint {
                    tried.push(gemm);
                }
            },
        )
        .unwrap();
    }
    // As many rows as make it worth while to go through columns in rounds.
    let mut of_many = |run: &Simulated<'_>| {
        let Blueprint::Gemm(gemm) = run.launch.blueprint else { panic!("{}", run.launch.blueprint) };
        assert_eq!(run.stats.load_conflicts, 0, "{}", run.launch.blueprint);
        tried.push(gemm);
    };
    let in_rounds = |all: &mut Vec<Blueprint>| {
        all.retain(|option| matches!(option, Blueprint::Gemm(gemm) if gemm.rounds > 1));
        let last = all.split_off(all.len().saturating_sub(2));
        all.truncate(2);
        all.extend(last);
    };
    one_is_exact_as("many rows", &norm_linear(91, 96, 384), 1, in_rounds, &mut of_many);
    one_is_exact_as("many rows without a norm", &stream_linear(63, 96, 288), 1, in_rounds, &mut of_many);
    let some = |what: &str, is: fn(&Gemm) -> bool| assert!(tried.iter().any(is), "no tile with {what}");
    some("rounds", |gemm| gemm.rounds > 1);
    some("two parts", |gemm| gemm.parts == 2);
    some("four parts", |gemm| gemm.parts == 4);
    some("one step ahead", |gemm| gemm.ahead == 1);
    some("four steps ahead", |gemm| gemm.ahead == 4);
    some("all weights copied", |gemm| gemm.copied && gemm.ahead * gemm.parts == gemm.stage);
    some("copied weights of several stages", |gemm| gemm.copied && gemm.stages > 1);
    some("copied weights in turn", |gemm| gemm.copied && gemm.ahead * gemm.parts < gemm.stage);
    some("three fragments of rows", |gemm| gemm.row_frags == 3);
    some("two warps of rows", |gemm| gemm.row_warps == 2);
    some("several splits", |gemm| gemm.splits > 1);
    some("stages", |gemm| gemm.stages > 1);
}

/// Runs a text of one op in the simulator, on a batch of random values, in some of the ways that it may be made: exact, and without a fault.
fn one_is_exact(name: &str, ir: &str, batch: usize, ways: usize, observe: impl FnMut(&Simulated<'_>)) {
    one_is_exact_as(name, ir, batch, |all| all.truncate(ways), observe);
}

/// [`one_is_exact`], in those ways that are left of all.
fn one_is_exact_as(
    name: &str,
    ir: &str,
    batch: usize,
    choose: impl Fn(&mut Vec<Blueprint>),
    mut observe: impl FnMut(&Simulated<'_>),
) {
    let graph = swint_ir::text::read("one.ir", ir).unwrap().0;
    let module = Module { weights: random::weights(&graph, 3), graph };
    let mut rng = random::Rng::with_seed(5);
    let all: Vec<Vec<Tensor>> = (0..batch).map(|_| random::inputs(&module.graph, &mut rng)).collect();
    let of_input = |i: usize| stack(&all.iter().map(|inputs| inputs[i].clone()).collect::<Vec<_>>());
    let inputs: Vec<Tensor> = (0..module.graph.inputs.len()).map(of_input).collect();
    let machine = Sm::from_name("sm_90").unwrap().machine();
    let graph = module.graph.with_batch(batch).unwrap();
    let plan = plan_for(&graph, &module.weights, Some(machine), &Choices::new()).unwrap().1;
    assert_eq!(plan.launches.len(), 1, "{name}");
    let launch = &plan.launches[0];
    assert_ne!(launch.options, [Blueprint::Plain], "{name}");
    let mut options = launch.options.clone();
    choose(&mut options);
    for option in options {
        let choices = [(launch.key(), option)].into();
        let name = format!("{name}{option}");
        launches_are_exact(&name, &module, (batch, &inputs), "sm_90", &choices, &mut observe);
    }
}

/// Accesses of global memory in a kernel's text that begin with `name` and have not 16 bytes, but for those of one word, which constants
/// and tables have.
fn narrower<'a>(run: &'a Simulated<'_>, name: &str) -> Vec<&'a str> {
    let narrow = |line: &&str| line.starts_with(name) && !line.contains(".v4.") && !line.contains("_param_");
    run.ptx.text.lines().map(str::trim).filter(narrow).collect()
}

/// Windows of all numbers of tiles and steps, an odd one of either and one that is not full; with masks and without. Queries, keys, values and
/// results move 16 bytes at a time, and what is on the chip is read without conflicts (`moves_little`).
#[test]
fn attention_is_exact_in_every_geometry() {
    let all = [
        (4, 32, 0),
        (9, 16, 2),
        (16, 32, 0),
        (25, 16, 0),
        (36, 32, 4),
        (49, 32, 0),
        (49, 16, 2),
        (64, 32, 2),
        (81, 16, 0),
        (100, 32, 0),
        (121, 32, 2),
        (144, 32, 4),
        (144, 16, 0),
        (160, 32, 0),
        (169, 32, 2),
        (256, 32, 0),
        (576, 16, 4),
        (576, 32, 0),
    ];
    for (cosine, (tokens, head, masks)) in [false, true].into_iter().flat_map(|cosine| all.map(|way| (cosine, way))) {
        let ir = attention(tokens, head, masks, cosine);
        one_is_exact(&format!("{tokens} tokens, {head} channels, cosine {cosine}"), &ir, 1, 2, |run| {
            assert!(matches!(run.launch.blueprint, Blueprint::Attention(_)), "{tokens} {head}");
            assert_eq!(narrower(run, "st.global"), [""; 0], "{tokens} {head}");
            // Those of one word are the table of powers, and what all lanes have in common.
            let pairs = narrower(run, "ld.global").into_iter().filter(|line| line.contains(".v2."));
            assert_eq!(pairs.collect::<Vec<_>>(), [""; 0], "{tokens} {head}");
        });
    }
}

/// What kernels read before the launches before have completed must be constant: where γ or heads' scales are computed, any other way will do.
#[test]
fn what_is_computed_is_not_read_early() {
    let attention = attention(16, 32, 0, true).replace("  const @scale : i16<0.0009765625>[2]\n", "");
    let attention =
        attention.replace("@attention(", "@attention(%scale: i16<0.0009765625>[2], ").replace("@scale", "%scale");
    let norm = norm_residual(4, 32).replace("  const @g : i16<0.0009765625>[32]\n", "");
    let norm = norm.replace("@norm_residual(", "@norm_residual(%g: i16<0.0009765625>[32], ").replace("@g,", "%g,");
    let alone = layer_norm(5, 32, "i8").replace("  const @g : i16<0.0009765625>[32]\n", "");
    let alone = alone.replace("@layer_norm(", "@layer_norm(%g: i16<0.0009765625>[32], ").replace("@g,", "%g,");
    for ir in [attention, norm, alone] {
        let graph = swint_ir::text::read("one.ir", &ir).unwrap().0;
        let module = Module { weights: random::weights(&graph, 3), graph };
        let inputs = random::inputs(&module.graph, &mut random::Rng::with_seed(5));
        launches_are_exact("computed", &module, (1, &inputs), "sm_90", &Choices::new(), |run| {
            assert_eq!(run.launch.blueprint, Blueprint::Plain, "{ir}");
        });
    }
}

/// Rows of the residual stream as they are but for 8 bits: of few channels, of some that fill no step, and of so many that lanes go on.
#[test]
fn linears_on_the_stream_are_exact() {
    for (side, k, n) in [(14, 32, 96), (7, 48, 64), (14, 104, 32), (7, 384, 64), (7, 768, 96), (7, 1536, 32)] {
        one_is_exact(&format!("{k} channels"), &stream_linear(side, k, n), 2, 6, |run| {
            assert!(matches!(run.launch.blueprint, Blueprint::Gemm(_)), "{k}");
            assert_eq!(narrower(run, "st.global"), [""; 0], "{k}");
        });
    }
}

/// LayerNorm and the residual stream, of channels that few lanes share and that many do, from windows and as they are.
#[test]
fn norms_and_the_stream_are_exact() {
    for (side, k) in [(8, 8), (12, 32), (8, 96), (4, 104), (8, 192), (4, 768), (4, 1536), (4, 3072)] {
        one_is_exact(&format!("{k} channels"), &norm_residual(side, k), 1, 4, |run| {
            assert!(matches!(run.launch.blueprint, Blueprint::Norm(_)), "{k}");
            assert_eq!(narrower(run, "st.global"), [""; 0], "{k}");
            // Those of a word are the map and the multipliers.
            let narrow = narrower(run, "ld.global").into_iter().filter(|line| !line.contains("32 "));
            assert_eq!(narrow.collect::<Vec<_>>(), [""; 0], "{k}");
        });
    }
}

/// LayerNorm alone, to 16 bits and to bytes: eight results are one store.
#[test]
fn norms_alone_are_exact() {
    for (elem, store) in [("i16", "st.global.v4."), ("i8", "st.global.v2."), ("u8", "st.global.v2.")] {
        for (rows, k) in [(65, 8), (13, 96), (7, 200), (5, 384), (3, 1536)] {
            one_is_exact(&format!("{elem}, {k} channels"), &layer_norm(rows, k, elem), 2, 4, |run| {
                assert!(matches!(run.launch.blueprint, Blueprint::Norm(_)), "{elem} {k}");
                let stores: Vec<&str> = run.ptx.text.lines().filter(|line| line.contains("st.global")).collect();
                assert!(!stores.is_empty() && stores.iter().all(|line| line.contains(store)), "{elem} {k}: {stores:?}");
            });
        }
    }
}

/// Patch embeddings of all widths that lanes have registers for, blocks and alignments of lines.
#[test]
fn patch_embeddings_are_exact_in_every_width() {
    for (n, block, height, width) in [
        (32, 2, 6, 10),
        (96, 4, 8, 64),
        (96, 4, 12, 224),
        (128, 4, 20, 36),
        (192, 4, 8, 72),
        (256, 1, 3, 7),
        (256, 4, 16, 20),
    ] {
        let ir = patch_embedding(n, block, height, width);
        one_is_exact(&format!("{n} channels, {height}x{width}"), &ir, 2, 4, |run| {
            let Blueprint::Embed(embed) = run.launch.blueprint else { panic!("{n}") };
            assert_eq!(narrower(run, "st.global"), [""; 0], "{n}");
            // Lines of whole groups of four patches, 16 bytes at a time; nothing else has bytes or halves, and the map is not needed.
            assert_eq!(embed.granule == 16, block == 4 && width % 16 == 0, "{n} {width}");
            if embed.granule == 16 {
                let narrow = narrower(run, "ld.global");
                let bytes = |line: &&str| line.contains("8 ") || line.contains("16 ");
                assert!(narrow.len() <= 2 + n / 4 && !narrow.iter().any(bytes), "{n} {width}: {narrow:?}");
            }
        });
    }
}

/// Heads of all numbers of classes: those of a lane are one store if an image's results begin where such a store may.
#[test]
fn heads_are_exact_for_every_number_of_classes() {
    for (classes, elem, store) in [
        (1000, "i16", "st.global.v4."),
        (40, "i8", "st.global.v2."),
        (20, "i16", "st.global.v2."),
        (20, "u8", "st.global.b32"),
        (10, "i16", "st.global.b32"),
        (10, "i8", "st.global.b8"),
        (7, "i16", "st.global.b16"),
    ] {
        let ir = format!(
            "graph @head(%x: i16<0.001>[1,3,5,96]) -> {elem}<0.01>[1,{classes}] {{
  const @g : i16<0.0009765625>[96]
  const @b : i32<9.5367431640625e-7>[96]
  const @w : i8<0.01>[{classes},96]
  const @c : i32<0.0005>[{classes}]
  %0 = head %x, @g, @b, @w, @c {{eps = 1e-5, norm = 0.001, mean = 0.05, elem = {elem}, scale = 0.01}} : {elem}<0.01>[1,{classes}]
  return %0
}}
"
        );
        one_is_exact(&format!("{classes} classes"), &ir, 2, 5, |run| {
            let stores = run.ptx.text.lines().map(str::trim).filter(|line| line.starts_with("st.global"));
            let stores: Vec<&str> = stores.collect();
            assert!(!stores.is_empty() && stores.iter().all(|line| line.starts_with(store)), "{classes} {stores:?}");
        });
    }
}
