//! Functions that programs may call through `cudarc`, and that the stand-in does not have: it panics where one is
//! missing.

use crate::status::Status;

macro_rules! unsupported {
    ($($name:ident)*) => {
        $(
            /// With any arguments: in the C calling convention, a function need not take those that it is given.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name() -> Status {
                Status::ERROR_NOT_SUPPORTED
            }
        )*
    };
}

unsupported! {
    cuCtxCreate_v2 cuCtxCreate_v3 cuCtxCreate_v4 cuCtxDestroy_v2
    cuCtxGetLimit cuCtxSetLimit cuCtxGetCacheConfig cuCtxSetCacheConfig
    cuDeviceGetDefaultMemPool cuDeviceGetMemPool cuDeviceSetMemPool cuDeviceGetLuid
    cuDestroyExternalMemory cuImportExternalMemory cuExternalMemoryGetMappedBuffer
    cuGraphClone cuGraphNodeGetType
    cuLaunchCooperativeKernel cuLaunchHostFunc
    cuMemAdvise_v2 cuMemAllocAsync cuMemAllocFromPoolAsync cuMemAllocManaged cuMemFreeAsync
    cuMemPoolCreate cuMemPoolDestroy cuMemPoolGetAttribute cuMemPoolSetAttribute cuMemPoolTrimTo
    cuMemPrefetchAsync_v2 cuMemcpyPeerAsync
    cuModuleGetGlobal_v2
    cuOccupancyAvailableDynamicSMemPerBlock cuOccupancyMaxActiveClusters cuOccupancyMaxPotentialBlockSize
    cuOccupancyMaxPotentialBlockSizeWithFlags cuOccupancyMaxPotentialClusterSize
    cuStreamAttachMemAsync
}
