//! The PTX of every kernel in the simulator, bit for bit; and `swint verify`.

use crate::{
    cli::{fail, model, succeed, swint, text},
    common::{attention, compiled, compiled_with, noise, norm_linear, patch_embedding, random_programs},
};
use std::fs;
use swint_compiler::{
    pipeline::{Activation, Options, Precision},
    plan::{Blueprint, Choices, Gemm, Kernel, plan_for},
};
use swint_ir::{Module, Tensor, random};
use swint_runtime::{
    inputs::stack,
    offline::Sm,
    ptxsim::Kind,
    verify::{Simulated, simulate},
};

/// Of a kernel for tensor cores: they are used, memory is read and written by whole sectors that move at most once, and what is on
/// the chip is read without conflicts.
fn moves_little(name: &str, run: &Simulated<'_>) {
    let (kernel, stats) = (&run.ptx.entry, &run.stats);
    assert!(stats.mma > 0, "{name} {kernel}");
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
fn launches_are_exact(
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

/// Every launch is exact and without fault, on all targets.
fn is_exact(name: &str, module: &Module, batch: usize, inputs: &[Tensor]) {
    for target in ["sm_89", "sm_90"] {
        let mut launches = 0;
        launches_are_exact(name, module, (batch, inputs), target, &Choices::new(), |_| launches += 1);
        let graph = module.graph.with_batch(batch).unwrap();
        let machine = Sm::from_name(target).unwrap().machine();
        assert_eq!(
            launches,
            plan_for(&graph, &module.weights, Some(machine), &Choices::new()).unwrap().1.launches.len()
        );
    }
}

fn models_are_exact(name: &str) {
    for (precision, activation) in [
        (Precision::F32, Activation::Gelu),
        (Precision::F32, Activation::Relu),
        (Precision::Int8, Activation::Lut),
        (Precision::Int8, Activation::Relu),
        (Precision::Int8, Activation::Gelu),
    ] {
        let module = compiled(name, precision, activation);
        is_exact(name, &module, 1, &noise(&module, 1));
    }
    let options = Options { precision: Precision::Int8, fuse: false, ..Options::default() };
    let module = compiled_with(name, &options);
    is_exact(name, &module, 2, &[stack(&noise(&module, 2))]);
}

#[test]
fn micro_is_exact() {
    models_are_exact("timm_micro");
}

#[test]
fn odd_is_exact() {
    models_are_exact("timm_odd");
}

/// Padding before and after the shift, windows and shifts of two sides, odd sides, cosine attention.
#[test]
fn padded_and_second_versions_are_exact() {
    for name in ["timm_pad", "transformers_pad", "timm_v2_pad", "torchvision_v2_pad"] {
        for (precision, fuse) in [(Precision::F32, true), (Precision::Int8, true), (Precision::Int8, false)] {
            let module = compiled_with(name, &Options { precision, fuse, ..Options::default() });
            is_exact(name, &module, 2, &[stack(&noise(&module, 2))]);
        }
    }
}

#[test]
fn the_bundled_model_is_exact() {
    models_are_exact("cifar10");
}

/// Kernels of shapes, widths and types that no model has.
#[test]
fn random_programs_are_exact() {
    let kernels = random_programs(0..100, |name, module, inputs| is_exact(name, module, 1, inputs));
    for fused in ["norm_linear", "linear_residual", "mlp", "window_attention"] {
        assert!(kernels.contains(fused), "{fused} is in no program: {kernels:?}");
    }
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
                assert_eq!(run.stats.load_conflicts, 0, "{}", run.launch.blueprint);
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
        // Weights to the chip or not.
        all.sort_by_key(|option| !matches!(option, Blueprint::Gemm(gemm) if gemm.copied));
        let last = all.split_off(all.len().saturating_sub(2));
        all.truncate(2);
        all.extend(last);
    };
    one_is_exact_as("many rows", &norm_linear(91, 96, 384), 1, in_rounds, &mut of_many);
    let some = |what: &str, is: fn(&Gemm) -> bool| assert!(tried.iter().any(is), "no tile with {what}");
    some("rounds", |gemm| gemm.rounds > 1);
    some("two parts", |gemm| gemm.parts == 2);
    some("four parts", |gemm| gemm.parts == 4);
    some("one step ahead", |gemm| gemm.ahead == 1);
    some("four steps ahead", |gemm| gemm.ahead == 4);
    some("all weights copied", |gemm| gemm.copied && gemm.rounds == 1 && gemm.ahead * gemm.parts == gemm.stage);
    some("copied weights of several rounds", |gemm| gemm.copied && gemm.rounds > 1);
    some("copied weights of several stages", |gemm| gemm.copied && gemm.stages > 1);
    some("copied weights in turn", |gemm| gemm.copied && gemm.rounds == 1 && gemm.ahead * gemm.parts < gemm.stage);
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
    let all: Vec<Tensor> = (0..batch).map(|_| random::inputs(&module.graph, &mut rng).remove(0)).collect();
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
        launches_are_exact(&name, &module, (batch, &[stack(&all)]), "sm_90", &choices, &mut observe);
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
    for (tokens, head, masks) in [
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
    ] {
        let ir = attention(tokens, head, masks);
        one_is_exact(&format!("{tokens} tokens, {head} channels"), &ir, 1, 2, |run| {
            assert!(matches!(run.launch.blueprint, Blueprint::Attention(_)), "{tokens} {head}");
            assert_eq!(narrower(run, "st.global"), [""; 0], "{tokens} {head}");
            // Those of one word are the table of powers, and what all lanes have in common.
            let pairs = narrower(run, "ld.global").into_iter().filter(|line| line.contains(".v2."));
            assert_eq!(pairs.collect::<Vec<_>>(), [""; 0], "{tokens} {head}");
        });
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

/// Each kernel of an integer model with one kind of instruction changed: the result is wrong, or there is a finding.
#[test]
fn a_changed_instruction_is_caught() {
    let module = compiled("timm_micro", Precision::Int8, Activation::Lut);
    let sm = Sm::from_name("sm_89").unwrap();
    for (what, by) in [
        ("st.global", "a byte further"),
        ("min.s32", "max.s32"),
        ("ld.global.nc", "a byte further"),
        ("ld.shared", "16 bytes further"),
        ("bar.sync", "nothing"),
        ("shfl.sync.bfly.b32", "two lanes further"),
    ] {
        let (mut wrong, mut all, mut texts) = (0, 0, Vec::new());
        let (inputs, likely) = (noise(&module, 1), Choices::new());
        simulate(&module, &inputs, 1, sm, &likely, |_| Ok(None), |run| texts.push(run.ptx.clone())).unwrap();
        let changed = |entry: &str| {
            let text = &texts.iter().find(|ptx| ptx.entry == entry).unwrap().text;
            // A warp alone needs no barrier.
            let alone = what == "bar.sync" && text.contains(".reqntid 32,");
            let line = |line: &str| match what {
                _ if alone || !line.contains(what) => line.to_owned(),
                "min.s32" => line.replace(what, by),
                "ld.shared" => line.replacen(']', "+16]", 1),
                "bar.sync" => String::new(),
                "shfl.sync.bfly.b32" => line.replace(", 1, 31", ", 2, 31"),
                // A byte further: misaligned, out of bounds, or another element.
                _ => line.replacen(']', "+1]", 1),
            };
            Ok(Some(text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"))
        };
        simulate(&module, &inputs, 1, sm, &likely, changed, |run| {
            if texts.iter().any(|ptx| ptx.entry == run.ptx.entry && ptx.text != run.ptx.text) {
                all += 1;
                wrong += usize::from(!run.is_exact());
            }
        })
        .unwrap();
        assert!(all > 5 && wrong == all, "{what} {by}: {wrong} of {all} launches are caught");
    }
}

/// Where launches overlap, one that touches what a launch before may be at, before it has waited for it, has a finding: nothing else tells, as
/// launches run in turn here.
#[test]
fn a_launch_that_does_not_wait_is_caught() {
    const WAIT: &str = "\tgriddepcontrol.wait;\n";
    let module = compiled("cifar10", Precision::Int8, Activation::Lut);
    let (sm, inputs, likely) = (Sm::from_name("sm_90").unwrap(), noise(&module, 1), Choices::new());
    let mut texts = Vec::new();
    simulate(&module, &inputs, 1, sm, &likely, |_| Ok(None), |run| texts.push(run.ptx.clone())).unwrap();
    assert!(texts.iter().all(|ptx| ptx.text.matches(WAIT).count() == 1));
    // Constants are read before it.
    let early = |text: &str| text.split_once(WAIT).is_some_and(|(before, _)| before.contains("ld.global"));
    assert!(texts.iter().filter(|ptx| early(&ptx.text)).count() > 5);
    // Behind the first access that it is for: those of constants that come later are `.nc`.
    let late = |text: &str| {
        let (before, after) = text.split_once(WAIT)?;
        let access = after.split_inclusive('\n').find(|line| line.contains("ld.global.") && !line.contains(".nc."))?;
        let (between, rest) = after.split_once(access)?;
        Some(format!("{before}{between}{access}{WAIT}{rest}"))
    };
    let end = |text: &str| Some(text.replace(WAIT, "").replace("\tret;", &format!("{WAIT}\tret;")));
    type Change<'a> = &'a dyn Fn(&str) -> Option<String>;
    let changes: [(&str, Kind, Change<'_>); 4] = [
        ("an access later", Kind::Dependency, &late),
        ("at the end", Kind::Dependency, &end),
        ("never", Kind::Dependency, &|text| Some(text.replace(WAIT, ""))),
        ("not held back", Kind::ReadOnly, &|text| {
            Some(text.replace("ld.global.", "ld.global.nc.").replace(".nc.nc", ".nc"))
        }),
    ];
    for (when, kind, change) in changes {
        let changed = |entry: &str| Ok(change(&texts.iter().find(|ptx| ptx.entry == entry).unwrap().text));
        let (mut caught, mut all) = (0, 0);
        simulate(&module, &inputs, 1, sm, &likely, changed, |run| {
            assert_eq!(run.mismatch, None);
            if texts.iter().any(|ptx| ptx.entry == run.ptx.entry && ptx.text != run.ptx.text) {
                all += 1;
                caught += usize::from(run.findings.iter().any(|finding| finding.kind == kind));
            }
        })
        .unwrap();
        assert!(all > 5 && caught == all, "{when}: {caught} of {all} launches are caught");
    }
}

#[test]
fn verify_reports() {
    let m = model("timm_micro");
    let calibrate = format!("{}/input.safetensors", model_folder(&m.spec));
    let compiled = m.compile(&["--precision", "int8", "--calib", &calibrate]);
    let said = succeed(&["verify", &compiled, "--target", "sm_89,sm_90"]);
    assert_eq!(said.matches("21 of 21 launches").count(), 2, "{said}");
    let table = succeed(&["verify", &compiled, "--stats", "--input", &calibrate]);
    assert!(table.contains("coalesced") && table.contains("gemm_"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&succeed(&["verify", &compiled, "--json"])).unwrap();
    let total = &json[0]["total"];
    assert_eq!((json[0]["wrong"].as_u64(), total["launches"].as_u64()), (Some(0), Some(21)));
    // Every input is read and every result written at least once.
    let bytes = |name: &str| total[name].as_u64().unwrap();
    assert!(32 * (bytes("loaded_sectors") + bytes("stored_sectors")) >= bytes("ideal_bytes"), "{total}");
    assert!(succeed(&["verify", &compiled, "--device", "cpu"]).contains("cpu: 23 of 23 launches"));
}

/// A kernel's PTX, changed by hand.
#[test]
fn verify_takes_changed_kernels() {
    let m = model("timm_micro");
    let compiled = m.compile(&[]);
    let folder = m.file("ptx");
    succeed(&[
        "compile",
        &m.spec,
        "--weights",
        &m.weights,
        "--target",
        "sm_89",
        "--emit",
        "ptx",
        "--emit-dir",
        &folder,
    ]);
    let run = || swint(&["verify", &compiled, "--ptx", &folder]);
    assert!(run().status.success());
    let path = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let path = path.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("add_")).unwrap();
    let ptx = fs::read_to_string(&path).unwrap();
    fs::write(&path, ptx.replacen("add.f32", "sub.f32", 1)).unwrap();
    let out = run();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    // The kernel alone is wrong, not those that read its results.
    let launches = said.matches("differ from the interpreter's").count();
    assert!(said.contains("launch ") && said.contains("add_") && said.contains("24 kernels replaced"), "{said}");
    assert!(text(&out.stdout).contains(&format!("{} of 80 launches", 80 - launches)), "{said}");
    fs::write(&path, ptx.replacen("add.f32", "frob.f32", 1)).unwrap();
    let said = fail(&["verify", &compiled, "--ptx", &folder]);
    assert!(said.contains("frob.f32") && said.contains("PTX line"), "{said}");
    fs::write(&path, b"\xff\xfe").unwrap();
    assert!(fail(&["verify", &compiled, "--ptx", &folder]).contains("cannot read"));
    fs::write(&path, ptx.replace("sm_89", "sm_20")).unwrap();
    assert!(fail(&["verify", &compiled, "--ptx", &folder]).contains(".target is not sm_89"));
    let said = fail(&["verify", &compiled, "--ptx", m.spec.rsplit_once('/').unwrap().0]);
    assert!(said.contains("no file there is named after a kernel"), "{said}");
    let said = fail(&["verify", &compiled, "--ptx", &m.file("none")]);
    assert!(said.contains("no such folder"), "{said}");
    assert!(fail(&["verify", &compiled, "--target", "sm_75"]).contains("sm_89, sm_90"));
    assert!(fail(&["verify", &m.weights]).contains("not"));
}

fn model_folder(spec: &str) -> &str {
    spec.rsplit_once('/').unwrap().0
}
