//! What a device refuses, and what it does after a fault.

use crate::{
    CAPTURE, NO_FLAGS,
    kernels::{ADD, LONG_SHARED, OUTSIDE},
    load, run, start, threads,
};
use cudarc::{
    driver::{
        DevicePtr, DriverError, LaunchConfig, PushKernelArg, result,
        sys::{self, CUfunction_attribute_enum as FunctionAttribute, CUresult, CUstreamCaptureMode},
    },
    nvrtc::Ptx,
};

#[test]
fn what_disturbs_a_capture_is_refused() {
    if run("refusals::what_disturbs_a_capture_is_refused", &[]).is_some() {
        return;
    }
    let (context, stream) = start();
    let mut data = stream.alloc_zeros::<u32>(4).unwrap();
    let event = stream.record_event(None).unwrap();
    let unsupported = DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    let isolation = DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    let captured = DriverError(CUresult::CUDA_ERROR_CAPTURED_EVENT);
    let disturbances: [(&dyn Fn() -> Option<DriverError>, DriverError); 5] = [
        (&|| stream.alloc_zeros::<u32>(4).err(), unsupported),
        (&|| context.load_module(Ptx::from_src(ADD)).err(), unsupported),
        (&|| stream.synchronize().err(), unsupported),
        (&|| stream.wait(&event).err(), isolation),
        (&|| stream.record_event(None).and_then(|event| event.try_is_complete()).err(), captured),
    ];
    for (disturb, wanted) in disturbances {
        stream.begin_capture(CAPTURE).unwrap();
        assert!(disturb() == Some(wanted));
        let invalidated = DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        assert!(stream.memset_zeros(&mut data) == Err(invalidated));
        assert!(stream.end_capture(NO_FLAGS).err() == Some(invalidated));
    }
    stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED).unwrap();
    // It is freed after the capture, as freeing waits for the stream.
    let _allocated = stream.alloc_zeros::<u32>(4).expect("a relaxed capture lets memory be allocated");
    assert!(stream.end_capture(NO_FLAGS).unwrap().is_some());
}

#[test]
fn a_race_and_a_write_to_what_stays_are_faults() {
    let test = "refusals::a_race_and_a_write_to_what_stays_are_faults";
    for (case, place, kind) in [("race", "st.global", "race"), ("constant", "ld.global.nc", "read-only")] {
        let Some(output) = run(test, &[("CASE", case)]) else {
            let (context, stream) = start();
            let data = stream.alloc_zeros::<u32>(64).unwrap();
            // All threads write one word; or the kernel writes what it reads as if nothing wrote there.
            let (ptx, b) = match std::env::var("CASE").as_deref() {
                Ok("race") => (ADD.replace("%rd3, %rd4", "%rd3, 0"), stream.alloc_zeros::<u32>(64).unwrap()),
                _ => (ADD.to_owned(), data.clone()),
            };
            let (add, sum) = (load(&context, &ptx, "add"), if ptx == ADD { data.as_view() } else { b.slice(32..) });
            let mut launch = stream.launch_builder(&add);
            // SAFETY: the kernel has these parameters.
            let launched = unsafe { launch.arg(&data).arg(&b).arg(&sum).arg(&32u32).launch(threads(32)) };
            assert!(launched.err() == Some(DriverError(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS)));
            return;
        };
        let printed = String::from_utf8_lossy(&output.stderr);
        let line = ADD.lines().position(|line| line.contains(place)).unwrap() + 1;
        assert!(printed.contains(&format!("add:{line}: {kind}: ")), "{printed}");
    }
}

#[test]
fn an_access_out_of_bounds_names_its_kernel() {
    let Some(output) = run("refusals::an_access_out_of_bounds_names_its_kernel", &[]) else {
        let (context, stream) = start();
        let kernel = load(&context, OUTSIDE, "reads_outside");
        let data = stream.alloc_zeros::<u32>(64).unwrap();
        // What follows in the allocation is of another parameter.
        let (first, more) = (data.slice(..32), data.slice(32..));
        let illegal = DriverError(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        // SAFETY: the kernel has these parameters.
        let launched = unsafe { stream.launch_builder(&kernel).arg(&first).arg(&more).launch(threads(32)) };
        assert!(launched.err() == Some(illegal));
        assert!(stream.synchronize() == Err(illegal), "the fault stays");
        assert!(stream.clone_dtoh(&data).err() == Some(illegal));
        // A new context is as good as new.
        drop((kernel, data, stream, context));
        let (context, stream) = start();
        assert_eq!(stream.clone_dtoh(&stream.clone_htod(&[1u32]).unwrap()).unwrap(), [1]);
        context.synchronize().unwrap();
        return;
    };
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("reads_outside") && printed.contains("out of bounds"), "{printed}");
    assert!(printed.contains("4 bytes at 128 of buffer 0, which has 128"), "{printed}");
}

#[test]
fn much_dynamic_shared_memory_must_be_asked_for() {
    if run("refusals::much_dynamic_shared_memory_must_be_asked_for", &[]).is_some() {
        return;
    }
    let (context, stream) = start();
    let kernel = load(&context, LONG_SHARED, "last_word");
    let mut result = stream.alloc_zeros::<u32>(1).unwrap();
    let mut launch = |bytes: u32| {
        let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: bytes };
        // SAFETY: the kernel has these parameters.
        let launched = unsafe { stream.launch_builder(&kernel).arg(&mut result).arg(&(bytes - 4)).launch(config) };
        launched.map(|_| stream.clone_dtoh(&result).unwrap()[0])
    };
    let invalid = DriverError(CUresult::CUDA_ERROR_INVALID_VALUE);
    let set =
        |bytes: i32| kernel.set_attribute(FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
    assert_eq!(launch(48 << 10), Ok(48 << 10));
    assert_eq!(launch((48 << 10) + 4), Err(invalid));
    set(64 << 10).unwrap();
    assert_eq!(launch(64 << 10), Ok(64 << 10));
    assert_eq!(launch((64 << 10) + 4), Err(invalid));
    assert_eq!(set(101_376 + 4), Err(invalid), "more than a block has");
}

#[test]
fn what_is_wrong_is_refused() {
    if run("refusals::what_is_wrong_is_refused", &[]).is_some() {
        return;
    }
    let (context, stream) = start();
    let invalid = Some(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE));
    let module = context.load_module(Ptx::from_src(ADD)).unwrap();
    assert!(module.load_function("subtract").err() == Some(DriverError(CUresult::CUDA_ERROR_NOT_FOUND)));
    let invalid_ptx = Some(DriverError(CUresult::CUDA_ERROR_INVALID_PTX));
    assert!(context.load_module(Ptx::from_src("This is no PTX.")).err() == invalid_ptx);
    let no_binary = Some(DriverError(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU));
    assert!(context.load_module(Ptx::from_binary(b"\x7fELF".to_vec())).err() == no_binary);
    let data = stream.alloc_zeros::<u8>(8).unwrap();
    let add = module.load_function("add").unwrap();
    // SAFETY: what is wrong is refused before it is used.
    unsafe {
        // A block of 1056 threads.
        let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (33, 32, 1), shared_mem_bytes: 0 };
        let mut launch = stream.launch_builder(&add);
        assert!(launch.arg(&data).arg(&data).arg(&data).arg(&0u32).launch(config).err() == invalid);
        // An event that tells no time, a stream as an event, no stream at all, a null result.
        let handle = Err(DriverError(CUresult::CUDA_ERROR_INVALID_HANDLE));
        let event = stream.record_event(None).unwrap();
        assert!(event.elapsed_ms(&event).err() == handle.err());
        assert!(result::event::query(stream.cu_stream().cast()) == handle);
        assert!(result::stream::synchronize(std::ptr::without_provenance_mut(0xabc0)) == handle);
        assert!(sys::cuDeviceGetCount(std::ptr::null_mut()) == CUresult::CUDA_ERROR_INVALID_VALUE);
        assert!(result::free_sync(1).err() == invalid);
        assert!(result::malloc_async(stream.cu_stream(), 8).is_err());
        // A copy beyond an allocation's end.
        let (address, _guard) = data.device_ptr(&stream);
        assert!(result::memcpy_htod_sync(address, &[0u8; 9]).err() == invalid);
        assert!(result::memcpy_htod_sync(address, &[0u8; 8]).is_ok());
    }
    assert!(format!("{:?}", DriverError(CUresult::CUDA_ERROR_INVALID_PTX)).contains("a PTX JIT compilation failed"));
    // Nothing of this is a fault that stays.
    context.synchronize().unwrap();
}
