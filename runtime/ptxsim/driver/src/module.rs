//! Modules: PTX that has been loaded.

use crate::{
    device::{Device, SHARED},
    function::Function,
    state::{Driver, Handle, Need, Out, call, put},
    status::{Result, Status},
};
use std::{
    collections::HashMap,
    ffi::{CStr, c_char, c_uint, c_void},
    sync::Arc,
};
use swint_ptxsim::Kernel;

/// A module: its functions by their names.
pub(crate) struct Module {
    functions: HashMap<String, Handle>,
}

/// What a compiled image begins with: an ELF file, or several images in one.
const COMPILED: [[u8; 4]; 2] = [*b"\x7fELF", [0x50, 0xed, 0x55, 0xba]];

impl Driver {
    /// Loads PTX, as the driver's compiler would take it.
    fn load(&mut self, ptx: &[u8], module: Out<Handle>) -> Result {
        let module = module.ok_or(Status::ERROR_INVALID_VALUE)?;
        let kernels = kernels(ptx, self.device()?).map_err(|message| {
            eprintln!("swint PTX simulator: {message}");
            Status::ERROR_INVALID_PTX
        })?;
        let mut functions = HashMap::new();
        for kernel in kernels {
            let handle = self.new_handle();
            functions.insert(kernel.name.clone(), handle);
            let dynamic_shared = SHARED - kernel.shared;
            let function = Function { kernel: Arc::new(kernel), dynamic_shared, written: HashMap::new() };
            self.functions.insert(handle, function);
        }
        let handle = self.new_handle();
        self.modules.insert(handle, Module { functions });
        module.write(handle);
        Ok(())
    }
}

/// The kernels of PTX, if a device can run them.
fn kernels(ptx: &[u8], device: &Device) -> std::result::Result<Vec<Kernel>, String> {
    let text = str::from_utf8(ptx).map_err(|error| error.to_string())?;
    let module = swint_ptxsim::Module::parse(text).map_err(|error| error.to_string())?;
    // A letter stands for what later devices do not have, or not all of them.
    let number = module.target.trim_start_matches("sm_");
    let (digits, is_of_one) = match number.trim_end_matches(['a', 'f']) {
        digits if digits == number => (digits, false),
        digits => (digits, true),
    };
    let runs = digits.parse().is_ok_and(|sm: u32| if is_of_one { sm == device.sm } else { sm <= device.sm });
    if !runs {
        return Err(format!("PTX for {} on a device of sm_{}", module.target, device.sm));
    }
    match module.kernels.iter().find(|kernel| kernel.shared > SHARED) {
        Some(kernel) => Err(format!("{} declares {} bytes of shared memory", kernel.name, kernel.shared)),
        None => Ok(module.kernels),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoad(module: Out<Handle>, file: *const c_char) -> Status {
    call(Need::Work, |driver| {
        driver.refuse_in_capture()?;
        if file.is_null() {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        // SAFETY: the caller has a string there that ends with a null.
        let file = unsafe { CStr::from_ptr(file) }.to_str().map_err(|_| Status::ERROR_INVALID_VALUE)?;
        let image = std::fs::read(file).map_err(|_| Status::ERROR_FILE_NOT_FOUND)?;
        if COMPILED.iter().any(|start| image.starts_with(start)) {
            return Err(Status::ERROR_NO_BINARY_FOR_GPU);
        }
        driver.load(image.strip_suffix(b"\0").unwrap_or(&image), module)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: Out<Handle>, image: *const c_void) -> Status {
    call(Need::Work, |driver| {
        driver.refuse_in_capture()?;
        if image.is_null() {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        // SAFETY: the caller has PTX there, which is a string that ends with a null, or a compiled image, whose first
        // bytes are enough. Both of these begin with four bytes that are no null; of another string no byte beyond the
        // null is read.
        let is_compiled = |start: &[u8; 4]| (0..4).all(|i| unsafe { *image.cast::<u8>().add(i) } == start[i]);
        if COMPILED.iter().any(is_compiled) {
            return Err(Status::ERROR_NO_BINARY_FOR_GPU);
        }
        // SAFETY: it is a string that ends with a null.
        driver.load(unsafe { CStr::from_ptr(image.cast()) }.to_bytes(), module)
    })
}

/// Options of the compiler have no effect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: Out<Handle>,
    image: *const c_void,
    _count: c_uint,
    _options: *mut c_uint,
    _values: *mut *mut c_void,
) -> Status {
    // SAFETY: it is called as this function is.
    unsafe { cuModuleLoadData(module, image) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: Handle) -> Status {
    call(Need::Context, |driver| {
        driver.refuse_in_capture()?;
        let unloaded = driver.modules.remove(&module).ok_or(Status::ERROR_INVALID_HANDLE)?;
        for function in unloaded.functions.values() {
            driver.functions.remove(function);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(function: Out<Handle>, module: Handle, name: *const c_char) -> Status {
    call(Need::Work, |driver| {
        if name.is_null() {
            return Err(Status::ERROR_INVALID_VALUE);
        }
        let module = driver.modules.get(&module).ok_or(Status::ERROR_INVALID_HANDLE)?;
        // SAFETY: the caller has a string there that ends with a null.
        let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| Status::ERROR_NOT_FOUND)?;
        put(function, *module.functions.get(name).ok_or(Status::ERROR_NOT_FOUND)?)
    })
}
