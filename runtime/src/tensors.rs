//! Named tensors as safetensors files.

use safetensors::{Dtype, tensor::TensorView};
use swint_ir::{Elem, Tensor};

/// The bytes of a safetensors file.
///
/// # Errors
/// When the format refuses them.
pub fn to_safetensors<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<Vec<u8>, String> {
    let tensors: Vec<(&str, &Tensor)> = tensors.into_iter().collect();
    // The format keeps this name for itself.
    if tensors.iter().any(|(name, _)| *name == "__metadata__") {
        return Err("a tensor of a safetensors file cannot be named __metadata__".to_owned());
    }
    let bytes: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, t)| {
            let dtype = match t.data.elem() {
                Elem::F32 => Dtype::F32,
                Elem::I32 => Dtype::I32,
                Elem::I16 => Dtype::I16,
                Elem::I8 => Dtype::I8,
                Elem::U8 => Dtype::U8,
            };
            (name, dtype, t.shape.clone(), t.data.to_bytes())
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, dtype, shape, data)| Ok((*name, TensorView::new(*dtype, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| e.to_string())?;
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}
