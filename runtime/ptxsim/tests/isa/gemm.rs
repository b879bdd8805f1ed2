//! A real kernel, `kernels/gemm_s8.cu` as NVIDIA's own compiler translates it: right as it is, and each way of breaking it is caught.

use std::collections::BTreeSet;
use swint_ptxsim::{Access, Buffer, Config, Kind, Module, Outcome, Param, run};

const PTX: &str = include_str!("kernels/gemm_s8.ptx");

/// Extents of the product.
const M: usize = 128;
const N: usize = 64;
const K: usize = 256;

/// Bytes that follow from their place, of both signs.
fn values(n: usize, seed: usize) -> Vec<i8> {
    (0..n).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 7) as u8 as i8).collect()
}

/// What the kernel gives for `C`, and what the launch found.
fn launch(ptx: &str) -> (Vec<i32>, Outcome) {
    let module = Module::parse(ptx).unwrap();
    let bytes = |values: Vec<i8>| values.into_iter().map(|x| x as u8).collect();
    let mut buffers = [
        Buffer { bytes: bytes(values(M * K, 1)), access: Access::Read, low: 0 },
        Buffer { bytes: bytes(values(N * K, 2)), access: Access::Read, low: 0 },
        Buffer { bytes: vec![0xa5; M * N * 4], access: Access::Write, low: 0 },
    ];
    let extent = |n: usize| Param::Bytes((n as u32).to_le_bytes().to_vec());
    let params = [Param::Buffer(0), Param::Buffer(1), Param::Buffer(2), extent(M), extent(N), extent(K)];
    let config = Config { grid: [(N / 64) as u32, (M / 64) as u32, 1], ..Config::new(1, 128) };
    let outcome = run(&module.kernels[0], &config, &params, &mut buffers);
    let result = buffers[2].bytes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
    (result, outcome)
}

fn wanted() -> Vec<i32> {
    let (a, b) = (values(M * K, 1), values(N * K, 2));
    let dot = |i: usize, j: usize| (0..K).map(|k| i32::from(a[i * K + k]) * i32::from(b[j * K + k])).sum();
    (0..M * N).map(|at| dot(at / N, at % N)).collect()
}

/// The text with the `n`th line that contains `what` changed; the others stay where they are.
fn mutant(what: &str, n: usize, change: impl Fn(&str) -> String) -> String {
    let mut seen = 0;
    let line = |line: &str| {
        seen += usize::from(line.contains(what));
        let is_it = line.contains(what) && seen == n + 1;
        if is_it { change(line) } else { line.to_owned() }
    };
    let lines: Vec<String> = PTX.lines().map(line).collect();
    assert!(seen > n, "there are {seen} lines with {what:?}");
    lines.join("\n")
}

fn kinds(outcome: &Outcome) -> BTreeSet<Kind> {
    outcome.findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn the_kernel_multiplies() {
    let (found, outcome) = launch(PTX);
    assert_eq!(outcome.findings, []);
    assert!(found == wanted());
    let stats = &outcome.stats;
    // Each mma multiplies 16 by 32 by 8.
    assert_eq!(stats.mma as usize, M * N * K / (16 * 32 * 8));
    assert_eq!(stats.conflicts, 0, "the permuted rows of shared memory have no bank conflicts");
    assert_eq!(stats.coalescing(), Some(1.0));
    // Every tile of A is read once for each column of blocks, of B for each row.
    assert_eq!(stats.loaded_bytes as usize, M * K * (N / 64) + N * K * (M / 64));
    assert_eq!(stats.stored_bytes as usize, M * N * 4);
    let distinct = (stats.distinct_loaded_sectors, stats.distinct_stored_sectors);
    assert_eq!(distinct, ((M * K + N * K) as u64 / 32, (M * N * 4) as u64 / 32));
}

/// Lines with what is removed are left empty, so that findings keep their places.
#[test]
fn a_missing_barrier_is_a_race() {
    let barriers = PTX.lines().filter(|line| line.contains("bar.sync")).count();
    assert!(barriers >= 2);
    for n in 0..barriers {
        let (_, outcome) = launch(&mutant("bar.sync", n, |_| String::new()));
        assert!(kinds(&outcome).contains(&Kind::Race), "barrier {n}: {:?}", outcome.findings.first());
        let race = outcome.findings.iter().find(|finding| finding.kind == Kind::Race).unwrap();
        let text = |line: u32| PTX.lines().nth(line as usize - 1).unwrap();
        let places = [text(race.line), text(race.other.unwrap())];
        assert!(places.iter().any(|line| line.contains("cp.async")), "{places:?}");
        assert!(places.iter().any(|line| line.contains("ldmatrix")), "{places:?}");
    }
}

#[test]
fn a_missing_wait_is_found() {
    for n in 0..PTX.lines().filter(|line| line.contains("cp.async.wait_group")).count() {
        let (_, outcome) = launch(&mutant("cp.async.wait_group", n, |_| String::new()));
        assert!(kinds(&outcome).contains(&Kind::NotWaited), "wait {n}: {:?}", outcome.findings.first());
    }
    // Waiting for one group fewer is no wait for the last.
    let (_, outcome) = launch(&mutant("cp.async.wait_group 0", 0, |line| line.replace("group 0", "group 1")));
    assert!(kinds(&outcome).contains(&Kind::NotWaited));
}

#[test]
fn a_wrong_fragment_gives_a_wrong_result() {
    let registers = |line: &str| -> Vec<String> {
        line.split(['{', '}', ',', ' ', ';', '\t']).filter(|word| word.starts_with("%r")).map(str::to_owned).collect()
    };
    for n in 0..PTX.lines().filter(|line| line.contains("mma.sync")).count() {
        // The second register of B in the place of the first.
        let (found, outcome) = launch(&mutant("mma.sync", n, |line| {
            let b = &registers(line)[8..10];
            line.replacen(&format!("{{{}, {}}}", b[0], b[1]), &format!("{{{}, {}}}", b[1], b[1]), 1)
        }));
        assert!(found != wanted() && outcome.findings.is_empty(), "mma {n}");
    }
    // A row further: the swizzled place of a fragment is off by one piece.
    let (found, _) = launch(&mutant("ldmatrix", 0, |line| {
        let at = line.find(']').expect("an address");
        format!("{}+16{}", &line[..at], &line[at..])
    }));
    assert!(found != wanted());
}

#[test]
fn what_the_launch_does_not_fit_is_found() {
    let module = Module::parse(PTX).unwrap();
    let outcome = run(&module.kernels[0], &Config::new(1, 128), &[], &mut []);
    assert_eq!(kinds(&outcome), BTreeSet::from([Kind::Launch]));
}
