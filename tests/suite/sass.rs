//! `swint sass`: the texts of NVIDIA's tools, read; and the command, with the tools where they are found and without.

use crate::{
    cli::{Model, model, shared_file, succeed, text},
    common::{attention, repo},
};
use std::{
    fs,
    process::{Command, Output},
};
use swint_compiler::plan::{Blueprint, Choices, plan_for};
use swint_ir::{Data, Tensor};
use swint_runtime::{
    sass::{Limits, Occupancy, Resources, Target, Tools, code, report, resources, threads},
    tensors::to_safetensors,
};

/// Of a multilayer perceptron held to 40 registers.
const SPILLS: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'mlp_x_i16_t_u8_h_16_n_16_15ebcac5' for 'sm_89'
ptxas info    : Function properties for mlp_x_i16_t_u8_h_16_n_16_15ebcac5
    3392 bytes stack frame, 4300 bytes spill stores, 4380 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers, 3392 bytes cumulative stack size, 608 bytes cmem[0]
ptxas info    : Compile time = 331.893 ms
";

/// Of a kernel with an array in shared memory, and no stack.
const SHARED: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k' for 'sm_90a'
ptxas info    : Function properties for k
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 23 registers, used 1 barriers, 2048 bytes smem
ptxas info    : Compile time = 7.677 ms
";

/// Of a kernel for sm_90a with something of everything; parts left out.
const LISTING: &str = "\
\t.target\tsm_90a
\t.elftype\t@\"ET_EXEC\"
//--------------------- .text.k                   --------------------------
\t.section\t.text.k,\"ax\",@progbits
        .size           k,(.L_x_1 - k)
k:
.text.k:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0060*/                   LDG.E.128 R8, desc[UR6][R2.64] ;
        /*0070*/                   LDG.E.64 R16, desc[UR6][R2.64+0x400] ;
        /*0080*/                   LDG.E.U16 R6, desc[UR6][R2.64+0x800] ;
        /*0090*/                   LDG.E.S8 R5, desc[UR6][R2.64+0x801] ;
        /*00a0*/                   I2F.U32.RP R20, UR8 ;
        /*00d0*/                   MUFU.RCP R20, R20 ;
        /*0100*/                   F2I.FTZ.U32.TRUNC.NTZ R19, R18 ;
        /*0130*/                   HMMA.16816.F32 R12, R8, R16, R12 ;
        /*0140*/                   IDP.4A.S8.S8 R4, R8, R9, R6 ;
        /*0150*/                   IDP.4A.U8.S8 R4, R10, R11, R4 ;
        /*0180*/                   IMMA.16832.S8.S8 R8, R8.ROW, R16.COL, R4 ;
        /*0190*/                   ATOMG.E.ADD.F32.FTZ.RN.STRONG.GPU PT, R7, desc[UR6][R2.64], R12 ;
        /*01a0*/                   REDG.E.ADD.F32.FTZ.RN.STRONG.GPU desc[UR6][R2.64], R13 ;
        /*01b0*/              @!PT LDS RZ, [RZ] ;
        /*01e0*/                   LDGSTS.E.BYPASS.128 [R15], desc[UR6][R2.64] ;
        /*01f0*/                   LDGDEPBAR ;
        /*0240*/                   DEPBAR.LE SB0, 0x0 ;
.L_x_0:
        /*0280*/                   ISETP.GE.U32.AND P2, PT, R0.reuse, UR8, PT ;
        /*02a0*/                   @!UPT UIADD3 URZ, URZ, URZ, URZ ;
        /*02f0*/                   FSEL R5, R10, R11, P2 ;
        /*0310*/              @!P0 LOP3.LUT R4, RZ, UR8, RZ, 0x33, !PT ;
        /*0320*/                   HADD2 R0, R4, R5 ;
        /*0330*/                   HFMA2 R0, R0, R5, R4 ;
        /*0350*/                   FLO.U32 R16, R11 ;
        /*0390*/                   STG.E.U8 desc[UR6][R2.64+0x1000], R6 ;
        /*03a0*/                   STG.E.U16 desc[UR6][R2.64+0x1388], R6 ;
        /*03b0*/                   STG.E.64 desc[UR6][R2.64+0x8], R4 ;
        /*03c0*/                   STG.E desc[UR6][R2.64], R11 ;
        /*03d0*/                   STG.E.128 desc[UR6][R2.64+0x1770], R16 ;
        /*03e0*/                   LD.E R9, desc[UR6][R2.64] ;
        /*0420*/                   EXIT ;
        /*0430*/                   BRA `(.L_x_0);
        /*0440*/                   NOP;
        /*0450*/                   NOP;
.L_x_1:
";

/// A listing of these instructions.
fn listing(instructions: &[&str]) -> String {
    let line = |(i, text): (usize, &&str)| format!("        /*{:04x}*/                   {text} ;\n", i * 16);
    instructions.iter().enumerate().map(line).collect()
}

/// The floating-point instructions of a listing, and the numbers of moved constants and of selects.
fn floats(instructions: &[&str]) -> (Vec<String>, usize, usize) {
    let code = code(&listing(instructions)).unwrap();
    (code.float.into_iter().map(|i| i.text).collect(), code.constants_moved, code.selects)
}

#[test]
fn resources_are_read() {
    let spills = Resources { registers: 40, stack: 3392, spill_stores: 4300, spill_loads: 4380, shared: 0 };
    assert_eq!(resources(SPILLS), Some(spills));
    assert_eq!(resources(SHARED), Some(Resources { registers: 23, shared: 2048, ..Resources::default() }));
    // What a function called by the kernel spills is added.
    let called = "ptxas info    : Function properties for f\n    8 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads\n";
    let both = resources(&format!("{SPILLS}{called}")).unwrap();
    assert_eq!((both.stack, both.spill_stores, both.spill_loads), (3392, 4304, 4388));
    assert_eq!(resources("ptxas info    : 0 bytes gmem\n"), None);
    assert_eq!(threads("\t.param .u64 p\n)\n.reqntid 128, 2, 1\n{\n"), Some(256));
    assert_eq!(threads(".visible .entry k()\n{\n"), None);
}

#[test]
fn instructions_are_counted() {
    let code = code(LISTING).unwrap();
    assert_eq!(code.instructions, 33);
    assert_eq!((code.imma, code.hmma, code.idp, code.ldl, code.stl), (1, 1, 2, 0, 0));
    // The copy to shared memory and the generic load are among the loads.
    assert_eq!(code.loads, [1, 1, 1, 1, 2]);
    assert_eq!(code.stores, [1, 1, 1, 1, 1]);
    let float: Vec<(u32, &str)> = code.float.iter().map(|i| (i.address, i.text.split(' ').next().unwrap())).collect();
    let expected = [
        (0xa0, "I2F.U32.RP"),
        (0xd0, "MUFU.RCP"),
        (0x100, "F2I.FTZ.U32.TRUNC.NTZ"),
        (0x130, "HMMA.16816.F32"),
        (0x190, "ATOMG.E.ADD.F32.FTZ.RN.STRONG.GPU"),
        (0x1a0, "REDG.E.ADD.F32.FTZ.RN.STRONG.GPU"),
        (0x320, "HADD2"),
        (0x330, "HFMA2"),
    ];
    assert_eq!(float, expected);
    assert_eq!((code.constants_moved, code.selects), (0, 1));
}

#[test]
fn moves_are_no_arithmetic_and_arithmetic_is_no_move() {
    let moves = ["HFMA2.MMA R9, -RZ, RZ, 0, 0", "@P1 HFMA2.MMA R8, -RZ, RZ, 1.1630859375, 0.10968017578125"];
    assert_eq!(floats(&moves), (vec![], 2, 0));
    let selects = ["FSEL R5, R10, R11, P2", "FSEL R5, R10, -1, !P2", "FSEL R0, R8, RZ, P0"];
    assert_eq!(floats(&selects), (vec![], 0, 3));
    let arithmetic = [
        "HFMA2.MMA R9, R4, RZ, 0, 0",
        "HFMA2.MMA R9, -RZ, RZ, R4.H0_H0, R5.H0_H0",
        "HFMA2 R0, -RZ, RZ, R4",
        "HFMA2.RELU R9, -RZ, RZ, 1, -1",
        "FSEL R5, R10, -R11, P2",
        "FSEL R5, |R10|, R11, P2",
        "FSEL.FTZ R5, R10, R11, P2",
        "FSETP.NEU.FTZ.AND P0, PT, |R0|, +INF , PT",
        "@!P0 FADD.FTZ R1, -RZ, R3",
        "MUFU.RSQ R0, -QNAN ",
        "I2FP.F32.U32 R0, R1",
        "FCHK P0, R3, R5",
        "FRND.FLOOR R4, R5",
        "FMNMX R0, R1, R2, !PT",
        "DADD R2, R4, R6",
        "F2FP.BF16.PACK_AB R0, R1, R2",
        "UFADD UR4, UR5, UR6",
    ];
    let (found, constants, selects) = floats(&arithmetic);
    assert_eq!(found, arithmetic.map(str::trim));
    assert_eq!((constants, selects), (0, 0));
    let integers =
        ["UFLO.U32 UR4, UR5", "FENCE.VIEW.ASYNC", "ISETP.F.AND P0, PT, R0, R1, PT", "PRMT.F4E R0, R1, R2, R3"];
    assert_eq!(floats(&integers), (vec![], 0, 0));
}

#[test]
fn what_is_not_understood_is_an_error() {
    let said = code("        /*0000*/                   FADD R1, R2, R3\n").unwrap_err();
    assert!(said.contains("no instruction: /*0000*/"), "{said}");
    assert!(code("        /*what*/                   EXIT ;\n").is_err());
    assert!(code("k:\n.text.k:\n").unwrap_err().contains("no instruction"));
}

#[test]
fn occupancy_is_that_of_the_tables() {
    let warps = |limits: Limits, threads, registers, shared| {
        let Occupancy { warps, max_warps } = limits.occupancy(threads, registers, shared);
        assert_eq!(max_warps, limits.warps);
        warps
    };
    let (ada, hopper) = (Limits::SM_89, Limits::SM_90);
    // By hand: 167 registers are given as 168, a warp takes 5,376, three fit in each of four parts.
    assert_eq!(warps(ada, 128, 167, 0), 12);
    // 100 KB hold two blocks of 49 KB and one more for each; 228 KB hold four of 56.
    assert_eq!((warps(ada, 128, 16, 49 << 10), warps(hopper, 128, 16, 56 << 10)), (8, 16));
    // By NVIDIA's cuda_occupancy.h (CUDA 13.5): threads and registers, shared memory, warps on sm_89 and on sm_90.
    for (threads, registers, shared, on_ada, on_hopper) in [
        (128, 32, 0, 48, 64),
        (128, 40, 0, 48, 48),
        (128, 41, 0, 40, 40),
        (128, 156, 0, 12, 12),
        (128, 255, 0, 8, 8),
        (32, 16, 0, 24, 32),
        (32, 168, 0, 12, 12),
        (96, 16, 0, 48, 63),
        (96, 40, 0, 48, 48),
        (96, 168, 0, 12, 12),
        (160, 80, 0, 20, 20),
        (1024, 64, 0, 32, 32),
        (1024, 65, 0, 0, 0),
        (33, 255, 0, 8, 8),
        (128, 16, 50176, 8, 16),
        (128, 16, 50177, 4, 16),
        (128, 16, 57345, 4, 12),
        (128, 16, 101_376, 4, 8),
        (128, 16, 101_377, 0, 8),
        (256, 128, 16384, 16, 16),
        (64, 32, 3000, 48, 64),
    ] {
        let found = (warps(ada, threads, registers, shared), warps(hopper, threads, registers, shared));
        assert_eq!(found, (on_ada, on_hopper), "{threads} threads, {registers} registers, {shared} bytes");
    }
}

/// Runs `swint sass` with variables.
fn sass(args: &[&str], variables: &[(&str, &str)]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swint"));
    let command = command.arg("sass").args(args).env("NO_COLOR", "1");
    if !variables.is_empty() {
        command.env_remove("SWINT_PTXAS").env_remove("SWINT_NVDISASM").envs(variables.iter().copied());
    }
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    (output, said)
}

fn int8(m: &Model) -> String {
    m.compile(&["--precision", "int8", "--calib", &shared_file("timm_micro", "input.safetensors")])
}

#[test]
fn integer_models_have_no_float_in_machine_code() {
    let m = model("timm_micro");
    let integers = int8(&m);
    let checks = ["--target", "sm_89,sm_90,sm_90a", "--fail-on-float"];
    let (output, said) = sass(&[&[&*integers, "--fail-on-spill"], &checks[..]].concat(), &[]);
    if Tools::find().is_err() {
        assert!(std::env::var_os("SWINT_PTXAS").is_none(), "tools that are named must be there: {said}");
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("there is no") && said.contains("pip install nvidia-cuda-nvcc=="), "{said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    let found = text(&output.stdout);
    for target in ["sm_89", "sm_90a"] {
        assert!(found.contains(&format!("{target}: no floating-point instruction in 15 kernels\n")), "{found}");
    }
    assert_eq!(found.matches("embed_a_u8").count(), 2, "sm_90 is sm_90a: {found}");
    let bundled = model("cifar10");
    let pictures = repo("examples/cifar10/images").to_str().unwrap().to_owned();
    let bundled = bundled.compile(&["--precision", "int8", "--calib", &pictures]);
    let (output, said) = sass(&[&bundled, "--fail-on-float", "--fail-on-spill"], &[]);
    assert!(output.status.success(), "{said}");
    assert_eq!(text(&output.stdout).matches("no floating-point instruction in 21 kernels\n").count(), 2);
    let floats = m.compile(&[]);
    let (output, said) = sass(&[&[&*floats, "--json"], &checks[..]].concat(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("floating-point instructions in"), "{said}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let targets = json["targets"].as_array().unwrap();
    assert_eq!(targets.iter().map(|t| &t["target"]).collect::<Vec<_>>(), ["sm_89", "sm_90a"]);
    for target in targets {
        let kernels = target["kernels"].as_array().unwrap();
        let float = |kernel: &serde_json::Value| kernel["float"].as_array().unwrap().clone();
        for opcode in ["FADD", "FFMA", "FMUL", "MUFU.RSQ"] {
            let names = |i: &serde_json::Value| i["text"].as_str().unwrap().contains(opcode);
            assert!(kernels.iter().flat_map(float).any(|i| names(&i)), "{opcode}");
        }
        let sum: usize = kernels.iter().map(|kernel| float(kernel).len()).sum();
        assert_eq!(target["float_instructions"], sum);
        assert!(kernels.iter().all(|k| k["registers"].as_u64().unwrap() > 0 && k["warps"].as_u64().unwrap() > 0));
        // Copies of bytes have no float in them.
        let gather = kernels.iter().find(|k| k["entry"].as_str().unwrap().starts_with("gather")).unwrap();
        assert_eq!(float(gather), Vec::<serde_json::Value>::new());
    }
}

#[test]
fn bad_input_and_missing_tools_are_clear_errors() {
    let m = model("timm_micro");
    let ir = m.file("act.ir");
    fs::write(&ir, "graph @act(%x: f32[2,8]) -> f32[2,8] {\n  %0 = relu %x : f32[2,8]\n  return %0\n}\n").unwrap();
    for variable in ["SWINT_PTXAS", "SWINT_NVDISASM"] {
        let missing = m.file("none");
        // Where the other tool is not found either, it is this one that is looked for first.
        let other = if variable == "SWINT_PTXAS" { "SWINT_NVDISASM" } else { "SWINT_PTXAS" };
        let (output, said) = sass(&[&ir], &[(variable, &missing), (other, &ir)]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(&format!("{variable} names {missing}, which is no file")), "{said}");
        assert!(said.contains("pip install nvidia-cuda-nvcc==") && said.contains("nvidia-cuda-nvdisasm=="), "{said}");
    }
    // Nowhere: what is installed on this machine is hidden.
    let (output, said) =
        sass(&[&ir], &[("PATH", ""), ("CUDA_HOME", ""), ("VIRTUAL_ENV", ""), ("HOME", &m.file("home"))]);
    if !std::path::Path::new("/usr/local/cuda/bin/ptxas").exists() {
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("there is no ptxas: neither SWINT_PTXAS"), "{said}");
    }
    let (output, said) = sass(&[&ir, "--target", "sm_12"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("there are sm_89, sm_90a"), "{said}");
    let (output, said) = sass(&[&m.file("none.swint")], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("none.swint"), "{said}");
}

/// The command with tools that print what they are told to: no tool of NVIDIA is needed.
#[cfg(unix)]
mod with_scripts {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    const IR: &str = "graph @act(%x: f32[2,8]) -> f32[2,8] {\n  %0 = relu %x : f32[2,8]\n  return %0\n}\n";

    /// A script that says its version, or prints a text and ends with a code.
    fn script(m: &Model, name: &str, prints: &str, code: i32) -> String {
        let (path, file) = (m.file(name), m.file(&format!("{name}.txt")));
        fs::write(&file, prints).unwrap();
        let version = "[ \"$1\" = --version ] && echo V1.2.3 && exit";
        fs::write(&path, format!("#!/bin/sh\n{version}\ncat '{file}'\nexit {code}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn run(ptxas: (&str, i32), nvdisasm: (&str, i32), args: &[&str]) -> (Output, String) {
        let m = model("timm_micro");
        let ir = m.file("act.ir");
        fs::write(&ir, IR).unwrap();
        let tools = [script(&m, "ptxas", ptxas.0, ptxas.1), script(&m, "nvdisasm", nvdisasm.0, nvdisasm.1)];
        sass(&[&[&*ir], args].concat(), &[("SWINT_PTXAS", &tools[0]), ("SWINT_NVDISASM", &tools[1])])
    }

    #[test]
    fn spills_and_floats_fail_only_when_asked() {
        let clean = listing(&["LDG.E R2, [R2.64]", "EXIT"]);
        let (output, said) = run((SPILLS, 0), (LISTING, 0), &["--target", "sm_89"]);
        assert!(output.status.success(), "{said}");
        let found = text(&output.stdout);
        for part in [
            "act, ptxas 1.2.3\n",
            "3392    4300/4380       0  48/48     33     1     1    2    0    0             1/1/1/1/2              1/1/1/1/1",
            "  00a0  I2F.U32.RP R20, UR8\n",
            "  0330  HFMA2 R0, R0, R5, R4\n",
            "sm_89: 8680 bytes of spills in 1 of 1 kernels\nsm_89: 8 floating-point instructions in 1 of 1 kernels\n",
        ] {
            assert!(found.contains(part), "{part}\n{found}");
        }
        let (output, said) = run((SPILLS, 0), (&clean, 0), &["--fail-on-float", "--fail-on-spill"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("sm_89: 8680 bytes of spills in 1 of 1 kernels; sm_90a: 8680 bytes"), "{said}");
        assert!(text(&output.stdout).ends_with("sm_90a: no floating-point instruction in 1 kernels\n"));
        let (output, said) = run((SHARED, 0), (LISTING, 0), &["--fail-on-float", "--fail-on-spill"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("sm_90a: 8 floating-point") && !said.contains("spills"), "{said}");
        let (output, said) = run((SHARED, 0), (&clean, 0), &["--fail-on-float", "--fail-on-spill", "--json"]);
        assert!(output.status.success(), "{said}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let kernel = &json["targets"][1]["kernels"][0];
        assert_eq!(
            (&kernel["shared"], &kernel["registers"], &kernel["threads"]),
            (&2048.into(), &23.into(), &128.into())
        );
        assert_eq!(kernel["loads"], serde_json::json!([0, 0, 1, 0, 0]));
    }

    #[test]
    fn tools_that_fail_are_named_with_what_they_said() {
        let old = "ptxas x.ptx, line 5; fatal   : Unsupported .version 8.7; current version is '8.0'\n";
        let (output, said) = run((old, 255), (LISTING, 0), &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("ptxas failed on relu") && said.contains("Unsupported .version 8.7"), "{said}");
        assert!(said.contains("SWINT_PTXAS"), "{said}");
        let (_, said) = run((SPILLS, 0), ("nvdisasm fatal   : no Elf file\n", 1), &[]);
        assert!(said.contains("nvdisasm failed on relu") && said.contains("no Elf file"), "{said}");
        let (_, said) = run(("nothing\n", 0), (LISTING, 0), &[]);
        assert!(said.contains("ptxas says nothing of registers"), "{said}");
        let (_, said) = run((SPILLS, 0), ("/*0000*/ FADD R1, R2\n", 0), &[]);
        assert!(said.contains("lists what is no instruction"), "{said}");
    }
}

/// An MLP as one kernel, in every way that fits its width.
#[test]
fn no_way_of_making_an_mlp_spills() {
    let Ok(tools) = Tools::find() else {
        assert!(std::env::var_os("SWINT_PTXAS").is_none(), "tools that are named must be there");
        return;
    };
    let target = Target::from_name("sm_89").unwrap();
    for (k, table) in [(96, true), (384, true), (512, false)] {
        let hidden = 4 * k;
        let (elem, operand, constant) = match table {
            true => ("i8", ", @gelu", "  const @gelu : u8<0.02>[256]\n"),
            false => ("u8", "", ""),
        };
        let ir = format!(
            "graph @mlp(%x: i16<0.001>[1,8,8,{k}]) -> i16<0.001>[1,8,8,{k}] {{
  const @g : i16<0.0009765625>[{k}]
  const @b : i32<9.5367431640625e-7>[{k}]
  const @w1 : i8<0.01>[{hidden},{k}]
  const @b1 : i32<0.0005>[{hidden}]
  const @w2 : i8<0.01>[{k},{hidden}]
  const @b2 : i32<0.0002>[{k}]
{constant}  %0 = mlp %x, @g, @b, @w1, @b1, @w2, @b2{operand} {{eps = 1e-5, norm = 0.05, elem = {elem}, hidden = 0.02, scale = 0.001}} : i16<0.001>[1,8,8,{k}]
  return %0
}}
"
        );
        let graph = swint_ir::text::read("mlp.ir", &ir).unwrap().0;
        let weights = swint_ir::random::weights(&graph, 1);
        let planned = |choices: &Choices| plan_for(&graph, &weights, Some(target.sm.machine()), choices).unwrap().1;
        let wholes = planned(&Choices::new()).wholes;
        let ways = wholes[0].options.iter().filter(|way| **way != Blueprint::Parts);
        let mut tried = 0;
        for way in ways {
            let plan = planned(&[(wholes[0].key.clone(), *way)].into());
            assert_eq!(plan.launches.len(), 1);
            let kernel = &report(&plan, target, &tools).unwrap()[0];
            println!("{k}{way}: {} registers, {} warps", kernel.resources.registers, kernel.occupancy.warps);
            assert_eq!(
                kernel.resources.spill_loads + kernel.resources.spill_stores + kernel.resources.stack,
                0,
                "{way}"
            );
            assert!(kernel.code.imma > 0 && kernel.code.float.is_empty(), "{way}");
            tried += 1;
        }
        assert!(tried > 1, "{k}");
    }
}

/// A patch embedding of so many channels, of one picture.
fn patch_embedding(n: usize, side: usize) -> String {
    let patches = side / 4;
    format!(
        "graph @embed(%x: u8<0.01>[1,{side},{side},3]) -> i16<0.001>[1,{patches},{patches},{n}] {{
  const @w : i8<0.01>[{n},48]
  const @c : i32<0.0001>[{n}]
  const @g : i16<0.0009765625>[{n}]
  const @b : i32<9.5367431640625e-7>[{n}]
  %0 = patch_embed %x, @w, @c, @g, @b {{block = 4, linear = 0.001, eps = 1e-5, scale = 0.001}} : i16<0.001>[1,{patches},{patches},{n}]
  return %0
}}
"
    )
}

/// A lane has a quarter of the sums of two patches, and constants only when it needs them: 192 channels are those of Swin-L, 256 the most that
/// are made so.
#[test]
fn no_patch_embedding_spills() {
    let Ok(tools) = Tools::find() else {
        assert!(std::env::var_os("SWINT_PTXAS").is_none(), "tools that are named must be there");
        return;
    };
    for (name, n) in ["sm_89", "sm_90a"].into_iter().flat_map(|name| [96, 128, 192, 256].map(|n| (name, n))) {
        let target = Target::from_name(name).unwrap();
        let graph = swint_ir::text::read("embed.ir", &patch_embedding(n, 224)).unwrap().0;
        let weights = swint_ir::random::weights(&graph, 1);
        let plan = plan_for(&graph, &weights, Some(target.sm.machine()), &Choices::new()).unwrap().1;
        let kernel = &report(&plan, target, &tools).unwrap()[0];
        let Resources { stack, spill_stores, spill_loads, .. } = kernel.resources;
        assert_eq!((stack, spill_stores, spill_loads, kernel.code.ldl, kernel.code.stl), (0, 0, 0, 0, 0), "{name} {n}");
        assert!(kernel.code.imma > 0 && kernel.code.float.is_empty(), "{name} {n}");
        assert_eq!(kernel.code.stores[..4], [0; 4], "{name} {n}");
    }
}

/// Windows of all numbers of tiles, whether a cube has one or some: as many cubes as are asked for have registers.
#[test]
fn no_window_attention_spills() {
    let Ok(tools) = Tools::find() else {
        assert!(std::env::var_os("SWINT_PTXAS").is_none(), "tools that are named must be there");
        return;
    };
    let windows = [(4, 32), (16, 16), (36, 32), (49, 32), (81, 32), (100, 16), (144, 32), (160, 32), (576, 32)];
    let cosines = [(64, 32), (100, 16), (128, 32), (160, 32), (256, 32), (576, 32)];
    let all = windows.map(|way| (way, false)).into_iter().chain(cosines.map(|way| (way, true)));
    for ((tokens, head), cosine) in all {
        let ir = attention(tokens, head, 4, cosine);
        let graph = swint_ir::text::read("attention.ir", &ir).unwrap().0;
        let weights = swint_ir::random::weights(&graph, 1);
        for name in ["sm_89", "sm_90a"] {
            let target = Target::from_name(name).unwrap();
            let planned = |choices: &Choices| plan_for(&graph, &weights, Some(target.sm.machine()), choices).unwrap().1;
            let launch = planned(&Choices::new()).launches[0].clone();
            for way in launch.options.iter().take(2) {
                let plan = planned(&[(launch.key(), *way)].into());
                let kernel = &report(&plan, target, &tools).unwrap()[0];
                let Resources { stack, spill_stores, spill_loads, .. } = kernel.resources;
                assert_eq!((stack, spill_stores, spill_loads), (0, 0, 0), "{name} {tokens} {cosine}{way}");
                assert!(kernel.code.imma > 0 && kernel.code.float.is_empty(), "{name} {tokens} {cosine}{way}");
                assert_eq!(
                    (kernel.code.loads[3], &kernel.code.stores[..4]),
                    (0, &[0; 4][..]),
                    "{name} {tokens} {cosine}{way}"
                );
            }
        }
    }
}

/// Every kernel of a compiled model with random weights is without a spill, moves 16 bytes at a time and, but for LayerNorms alone, is on tensor cores;
/// `look` sees each, with the name of its target.
fn is_on_tensor_cores(
    name: &str,
    side: usize,
    batches: &[&str],
    targets: &str,
    look: impl Fn(&str, &serde_json::Value),
) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (pixels, compiled) = (file("pixels.safetensors"), file("tiny.swint"));
    let shape = vec![1, side, side, 3];
    let picture = Tensor::new(shape, Data::U8((0..side * side * 3).map(|i| (i * 37 % 251) as u8).collect()));
    fs::write(&pixels, to_safetensors([("pixels", &picture)]).unwrap()).unwrap();
    let random = ["compile", name, "--random-weights", "1", "--precision", "int8", "--calib", &pixels];
    succeed(&[&random[..], &["-o", &compiled]].concat());
    for batch in batches {
        let checks = ["--batch", batch, "--target", targets, "--fail-on-float", "--fail-on-spill", "--json"];
        let (output, said) = sass(&[&[&*compiled], &checks[..]].concat(), &[]);
        assert!(output.status.success(), "{said}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        for target in json["targets"].as_array().unwrap() {
            let kernels = target["kernels"].as_array().unwrap();
            assert!(kernels.len() > 20, "{}", kernels.len());
            for kernel in kernels {
                let count = |name: &str| kernel[name].as_u64().unwrap();
                let entry = kernel["entry"].as_str().unwrap();
                assert!(count("imma") > 0 || entry.starts_with("norm_"), "{batch} {kernel}");
                assert_eq!(count("stack") + count("ldl") + count("stl"), 0, "{batch} {kernel}");
                // Rows, weights and results move 16 bytes at a time.
                assert_eq!(
                    widths(kernel, "stores")[4],
                    widths(kernel, "stores").iter().sum::<u64>(),
                    "{batch} {kernel}"
                );
                if entry.starts_with("gemm") {
                    assert!(widths(kernel, "loads")[4] >= 8, "{batch} {kernel}");
                }
                look(target["target"].as_str().unwrap(), kernel);
            }
        }
    }
}

/// How many loads or stores a kernel has of each width.
fn widths(kernel: &serde_json::Value, what: &str) -> [u64; 5] {
    [0, 1, 2, 3, 4].map(|width| kernel[what][width].as_u64().unwrap())
}

/// Whether there is an assembler: one that is named must be there.
fn can_assemble() -> bool {
    assert!(Tools::find().is_ok() || std::env::var_os("SWINT_PTXAS").is_none(), "tools that are named must be there");
    Tools::find().is_ok()
}

/// Swin-T: every kernel is on tensor cores, without a float or a spill, at one picture and at 32.
#[test]
fn swin_tiny_is_on_tensor_cores() {
    if !can_assemble() {
        return;
    }
    is_on_tensor_cores("swin_tiny_patch4_window7_224", 224, &["1", "32"], "sm_89,sm_90a", |target, kernel| {
        let (entry, loads) = (kernel["entry"].as_str().unwrap(), widths(kernel, "loads"));
        assert!(!entry.starts_with("norm_"), "{kernel}");
        // Queries, keys and values once each, and the biases of 49 keys; of one word are the table and constants. What
        // windows have in common is not kept in registers that other warps could have.
        if entry.starts_with("attention") {
            assert!(loads[4] >= 3 + 7 && loads[2] + loads[4] == loads.iter().sum::<u64>(), "{kernel}");
            let least = if target == "sm_89" { 16 } else { 28 };
            assert!(kernel["warps"].as_u64().unwrap() >= least, "{kernel}");
        }
        // Pixels by 16 bytes, too; of one word are the last multiplier's parts.
        if entry.starts_with("embed") {
            assert_eq!(loads[..3], [0, 0, 2], "{kernel}");
        }
    });
}

/// Swin V2-T with windows of 256 tokens, and of 64 in its last stage.
#[test]
fn the_second_version_is_on_tensor_cores() {
    if !can_assemble() {
        return;
    }
    is_on_tensor_cores("swinv2_tiny_window16_256", 256, &["1", "32"], "sm_89", |_, kernel| {
        // The heads' scales have 16 bits.
        let loads = widths(kernel, "loads");
        let halves = u64::from(kernel["entry"].as_str().unwrap().contains("attention"));
        assert_eq!((loads[0], loads[1], loads[3]), (0, halves, 0), "{kernel}");
    });
}
