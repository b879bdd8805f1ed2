//! Launches that may start before the one before them has completed.

use crate::{CAPTURE, NO_FLAGS, kernels::ADD, load, run, start};
use cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, DriverError,
    sys::{
        self, CUlaunchAttribute, CUlaunchAttributeID as Id, CUlaunchAttributeValue, CUlaunchConfig, CUresult as Error,
    },
};
use std::{ffi::c_void, ptr};

/// `add` for 9.0, that waits before a given instruction.
fn add_that_waits(before: &str) -> String {
    ADD.replace("sm_89", "sm_90")
        .replace("    mov.u32 %r2,", "    griddepcontrol.launch_dependents;\n    mov.u32 %r2,")
        .replace("@%p1 bra $end;", "")
        .replace(before, &format!("griddepcontrol.wait;\n    {before}"))
}

/// Of the second vector.
const LOAD: &str = "ld.global.u32 %r7";

fn attribute(id: Id, number: i32) -> CUlaunchAttribute {
    let value = CUlaunchAttributeValue { programmaticStreamSerializationAllowed: number };
    CUlaunchAttribute { id, pad: [0; 4], value }
}

/// Adds 32 words.
fn add(
    stream: &CudaStream,
    function: &CudaFunction,
    slices: [&CudaSlice<u32>; 3],
    attributes: &mut [CUlaunchAttribute],
) -> Result<(), DriverError> {
    let mut pointers = slices.map(|slice| slice.device_ptr(stream).0);
    let mut n = 32u32;
    let [a, b, sum] = &mut pointers;
    let mut params: [*mut c_void; 4] =
        [ptr::from_mut(a).cast(), ptr::from_mut(b).cast(), ptr::from_mut(sum).cast(), ptr::from_mut(&mut n).cast()];
    let config = CUlaunchConfig {
        gridDimX: 1,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: 32,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: 0,
        hStream: stream.cu_stream(),
        attrs: attributes.as_mut_ptr(),
        numAttrs: attributes.len() as u32,
    };
    // SAFETY: the kernel has these parameters.
    unsafe { sys::cuLaunchKernelEx(&config, function.cu_function(), params.as_mut_ptr(), ptr::null_mut()) }.result()
}

const OVERLAPS: Id = Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;

/// What no kernel has written may be read before the wait, also when the graph is replayed.
#[test]
fn launches_that_overlap_are_captured() {
    if run("programmatic::launches_that_overlap_are_captured", &[("SWINT_STAND_IN_SM", "90")]).is_some() {
        return;
    }
    let (context, stream) = start();
    let function = load(&context, &add_that_waits(LOAD), "add");
    let ones = stream.clone_htod(&[1u32; 32]).unwrap();
    let sums = [(); 2].map(|()| stream.alloc_zeros::<u32>(32).unwrap());
    stream.begin_capture(CAPTURE).unwrap();
    for (b, sum) in [(&sums[1], &sums[0]), (&sums[0], &sums[1])] {
        add(&stream, &function, [&ones, b, sum], &mut [attribute(OVERLAPS, 1)]).unwrap();
    }
    let graph = stream.end_capture(NO_FLAGS).unwrap().expect("a graph");
    for turn in 1..3 {
        graph.launch().unwrap();
        assert_eq!(stream.clone_dtoh(&sums[1]).unwrap(), [2 * turn; 32]);
    }
}

#[test]
fn an_overlapping_launch_that_does_not_wait_is_a_fault() {
    let test = "programmatic::an_overlapping_launch_that_does_not_wait_is_a_fault";
    for (case, overlaps) in [("early", 1), ("never", 1), ("early", 0), ("never", 0)] {
        let variables = [("SWINT_STAND_IN_SM", "90"), ("CASE", case), ("OVERLAPS", ["0", "1"][overlaps])];
        let Some(output) = run(test, &variables) else {
            let overlaps = i32::from(std::env::var("OVERLAPS").as_deref() == Ok("1"));
            let (context, stream) = start();
            let waits = load(&context, &add_that_waits(LOAD), "add");
            let early = add_that_waits("st.global");
            let never = early.replace("griddepcontrol.wait;", "");
            let ptx = if std::env::var("CASE").as_deref() == Ok("early") { early } else { never };
            let function = load(&context, &ptx, "add");
            let data = [(); 3].map(|()| stream.alloc_zeros::<u32>(32).unwrap());
            add(&stream, &waits, [&data[0], &data[1], &data[2]], &mut [attribute(OVERLAPS, 1)]).unwrap();
            let slices = [&data[0], &data[2], &data[1]];
            let launched = add(&stream, &function, slices, &mut [attribute(OVERLAPS, overlaps)]);
            let wanted = if overlaps == 1 { Err(DriverError(Error::CUDA_ERROR_ILLEGAL_ADDRESS)) } else { Ok(()) };
            assert_eq!(launched, wanted);
            return;
        };
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(printed.contains("launch before not waited for"), overlaps == 1, "{printed}");
    }
}

#[test]
fn attributes_that_a_device_does_not_have_are_refused() {
    let test = "programmatic::attributes_that_a_device_does_not_have_are_refused";
    for sm in ["89", "90"] {
        if run(test, &[("SWINT_STAND_IN_SM", sm), ("WANTED", sm)]).is_some() {
            continue;
        }
        if std::env::var("WANTED").as_deref() != Ok(sm) {
            continue;
        }
        let (context, stream) = start();
        let function = load(&context, ADD, "add");
        let data = [(); 3].map(|()| stream.alloc_zeros::<u32>(32).unwrap());
        let launch = |attributes: &mut [CUlaunchAttribute]| {
            add(&stream, &function, [&data[0], &data[1], &data[2]], attributes).map_err(|error| error.0)
        };
        assert_eq!(launch(&mut []), Ok(()));
        assert_eq!(launch(&mut [attribute(Id::CU_LAUNCH_ATTRIBUTE_IGNORE, 1)]), Ok(()));
        let refused = if sm == "90" { Ok(()) } else { Err(Error::CUDA_ERROR_NOT_SUPPORTED) };
        assert_eq!(launch(&mut [attribute(OVERLAPS, 0)]), refused);
        let cooperative = attribute(Id::CU_LAUNCH_ATTRIBUTE_COOPERATIVE, 1);
        assert_eq!(launch(&mut [cooperative]), Err(Error::CUDA_ERROR_NOT_SUPPORTED));
        // SAFETY: neither a configuration nor parameters are there, and both are refused before they are read.
        let null =
            unsafe { sys::cuLaunchKernelEx(ptr::null(), function.cu_function(), ptr::null_mut(), ptr::null_mut()) };
        assert_eq!(null, Error::CUDA_ERROR_INVALID_VALUE);
        context.synchronize().unwrap();
    }
}
