//! The stand-in through `cudarc`, each test in a process of its own that loads it in libcuda's place.

mod kernels;
mod programmatic;
mod refusals;

use cudarc::{
    driver::{
        CudaContext, CudaFunction, CudaStream, LaunchConfig, PushKernelArg,
        sys::{CUdevice_attribute as Attribute, CUevent_flags, CUgraphInstantiate_flags, CUstreamCaptureMode},
    },
    nvrtc::Ptx,
};
use kernels::{ADD, GEMM, SCALE_AND_SHIFT};
use std::{process::Output, sync::Arc};
use swint_cuda_stand_in::child;

/// What a child has printed; `None` in a child that is to go on. It must have succeeded.
fn run(test: &str, variables: &[(&str, &str)]) -> Option<Output> {
    let output = child(test, variables).expect("a child");
    if let Some(output) = &output {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    }
    output
}

/// A context and a stream; no slice has events of its own, as those could not be waited for in captures.
fn start() -> (Arc<CudaContext>, Arc<CudaStream>) {
    let context = CudaContext::new(0).expect("a device");
    // SAFETY: each test has one stream and one thread.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().expect("a stream");
    (context, stream)
}

fn load(context: &Arc<CudaContext>, ptx: &str, name: &str) -> CudaFunction {
    context.load_module(Ptx::from_src(ptx)).and_then(|module| module.load_function(name)).expect("a kernel")
}

fn threads(n: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (n.div_ceil(32), 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 }
}

const CAPTURE: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
const NO_FLAGS: CUgraphInstantiate_flags = CUgraphInstantiate_flags(0);

#[test]
fn the_device_is_what_the_environment_asks_for() {
    for (sm, wanted) in [("89", (8, 9)), ("90", (9, 0))] {
        if run("the_device_is_what_the_environment_asks_for", &[("SWINT_STAND_IN_SM", sm), ("WANTED", sm)]).is_some() {
            continue;
        }
        if std::env::var("WANTED").as_deref() != Ok(sm) {
            continue;
        }
        let (context, _) = start();
        assert_eq!(CudaContext::device_count().unwrap(), 1);
        assert_eq!(context.name().unwrap(), "swint PTX simulator (not a GPU)");
        assert_eq!(context.compute_capability().unwrap(), wanted);
        let attribute = |attribute| context.attribute(attribute).unwrap();
        let (multiprocessors, shared) = if sm == "89" { (128, 101_376) } else { (132, 232_448) };
        assert_eq!(attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), multiprocessors);
        assert_eq!(attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN), shared);
        assert_eq!(attribute(Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
        assert!(!context.has_async_alloc());
        // A device does not run what is for later ones.
        let is_loaded = context.load_module(Ptx::from_src(ADD.replace("sm_89", "sm_90"))).is_ok();
        assert_eq!(is_loaded, sm == "90");
    }
}

#[test]
fn vectors_are_added() {
    if run("vectors_are_added", &[]).is_some() {
        return;
    }
    let (context, stream) = start();
    let add = load(&context, ADD, "add");
    let (a, b): (Vec<u32>, Vec<u32>) = ((0..100).collect(), (0..100).map(|i| 1000 * i).collect());
    let n = a.len() as u32;
    let (device_a, device_b) = (stream.clone_htod(&a).unwrap(), stream.clone_htod(&b).unwrap());
    let mut sum = stream.alloc_zeros::<u32>(a.len() + 1).unwrap();
    let before = context.mem_get_info().unwrap().0;
    let started = stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).unwrap();
    // SAFETY: the kernel has these parameters.
    unsafe { stream.launch_builder(&add).arg(&device_a).arg(&device_b).arg(&mut sum).arg(&n).launch(threads(n)) }
        .unwrap();
    let ended = stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).unwrap();
    stream.synchronize().unwrap();
    let mut wanted: Vec<u32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    wanted.push(0);
    assert_eq!(stream.clone_dtoh(&sum).unwrap(), wanted);
    assert!(ended.is_complete());
    let elapsed = started.elapsed_ms(&ended).unwrap();
    assert!(elapsed > 0.0 && elapsed < 60e3, "{elapsed} ms");
    // In place, twice: the sum is then the second vector.
    for _ in 0..2 {
        let mut launch = stream.launch_builder(&add);
        // SAFETY: as above.
        unsafe { launch.arg(&device_a).arg(&sum).arg(&sum).arg(&n).launch(threads(n)) }.unwrap();
    }
    wanted.iter_mut().zip(&a).for_each(|(sum, a)| *sum += 2 * a);
    // A copy on the device; memory comes back.
    assert_eq!(stream.clone_dtoh(&sum.try_clone().unwrap()).unwrap(), wanted);
    drop(device_a);
    assert_eq!(context.mem_get_info().unwrap().0, before + 400);
}

#[test]
fn a_real_kernel_multiplies() {
    const M: usize = 128;
    const N: usize = 64;
    const K: usize = 256;
    if run("a_real_kernel_multiplies", &[]).is_some() {
        return;
    }
    let values = |n: usize, seed: usize| -> Vec<i8> {
        (0..n).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 7) as u8 as i8).collect()
    };
    let (context, stream) = start();
    let kernel = load(&context, GEMM, "gemm_s8");
    let (a, b) = (values(M * K, 1), values(N * K, 2));
    // One allocation for all, as a program's arena: pointers into it are told apart.
    let mut arena = stream.alloc_zeros::<u8>(M * K + N * K + M * N * 4).unwrap();
    let bytes: Vec<u8> = a.iter().chain(&b).map(|&x| x as u8).collect();
    stream.memcpy_htod(&bytes, &mut arena.slice_mut(..bytes.len())).unwrap();
    let (view_a, view_b, view_c) = (arena.slice(..M * K), arena.slice(M * K..), arena.slice(M * K + N * K..));
    let config =
        LaunchConfig { grid_dim: ((N / 64) as u32, (M / 64) as u32, 1), block_dim: (128, 1, 1), shared_mem_bytes: 0 };
    let mut launch = stream.launch_builder(&kernel);
    launch.arg(&view_a).arg(&view_b).arg(&view_c).arg(&(M as u32)).arg(&(N as u32)).arg(&(K as u32));
    // SAFETY: the kernel has these parameters.
    unsafe { launch.launch(config) }.unwrap();
    let found = stream.clone_dtoh(&arena).unwrap();
    let found = found[bytes.len()..].as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes));
    let dot = |i: usize, j: usize| (0..K).map(|k| i32::from(a[i * K + k]) * i32::from(b[j * K + k])).sum::<i32>();
    assert!(found.eq((0..M * N).map(|at| dot(at / N, at % N))));
}

#[test]
fn a_graph_is_replayed_with_new_input() {
    if run("a_graph_is_replayed_with_new_input", &[]).is_some() {
        return;
    }
    let (context, stream) = start();
    let module = context.load_module(Ptx::from_src(SCALE_AND_SHIFT)).unwrap();
    let (scale, shift) = (module.load_function("scale").unwrap(), module.load_function("shift").unwrap());
    let mut host = vec![1u32, 2, 3, 4];
    let mut data = stream.clone_htod(&[9u32; 4]).unwrap();
    let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (4, 1, 1), shared_mem_bytes: 0 };
    stream.begin_capture(CAPTURE).unwrap();
    stream.memcpy_htod(&host, &mut data).unwrap();
    // SAFETY: the kernels have these parameters.
    unsafe {
        stream.launch_builder(&scale).arg(&mut data).arg(&10u32).launch(config).unwrap();
        stream.launch_builder(&shift).arg(&mut data).arg(&5u32).launch(config).unwrap();
    }
    let graph = stream.end_capture(NO_FLAGS).unwrap().expect("a graph");
    // Nothing has been executed yet.
    assert_eq!(stream.clone_dtoh(&data).unwrap(), [9; 4]);
    graph.upload().unwrap();
    for input in [[1, 2, 3, 4], [7, 0, 1, 100]] {
        // The graph has the address that the copy was captured with.
        host.copy_from_slice(&input);
        graph.launch().unwrap();
        stream.synchronize().unwrap();
        assert_eq!(stream.clone_dtoh(&data).unwrap(), input.map(|x| 10 * x + 5));
    }
}
