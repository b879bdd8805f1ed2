//! Model inputs: pictures, and tensors from safetensors files.

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::Image};
use std::{
    fs,
    path::{Path, PathBuf},
};
use swint_compiler::frontend::{Checkpoint, Interpolation, Preprocess, Resize};
use swint_ir::{Data, Elem, Pair, Tensor, Type};

/// Why an input cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct InputError {
    /// The file or folder.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

pub(crate) fn at(path: &Path, message: impl ToString) -> InputError {
    InputError { path: path.display().to_string(), message: message.to_string() }
}

/// Reads a PNG or JPEG picture as raw `u8` pixels `[1,height,width,3]`; `sides` are the model's, one number if they are equal.
///
/// # Errors
/// When the file is no such picture.
pub fn read_image(path: &Path, sides: impl Into<Pair<usize>>, preprocess: &Preprocess) -> Result<Tensor, InputError> {
    let sides = sides.into();
    let bytes = fs::read(path).map_err(|e| at(path, e))?;
    let picture = Picture::decode(&bytes).map_err(|e| at(path, e))?;
    let pixels = picture.preprocessed(sides, preprocess).map_err(|e| at(path, e))?;
    Ok(Tensor::new([1, sides.rows, sides.columns, 3], Data::U8(pixels)))
}

/// A decoded picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Red, green and blue of each pixel, row by row.
    pub pixels: Vec<u8>,
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Picture {
    /// Decodes a PNG or JPEG file.
    ///
    /// # Errors
    /// When it is no such file.
    pub fn decode(bytes: &[u8]) -> Result<Picture, String> {
        let picture = image::load_from_memory(bytes).map_err(|e| format!("not a readable picture: {e}"))?;
        let rgb = picture.to_rgb8();
        let (width, height) = rgb.dimensions();
        Ok(Picture { pixels: rgb.into_raw(), width, height })
    }

    /// Resized and cropped as a model's preprocessing says, to the model's sides.
    ///
    /// # Errors
    /// When the resized picture is too large.
    pub fn preprocessed(self, sides: impl Into<Pair<usize>>, preprocess: &Preprocess) -> Result<Vec<u8>, String> {
        resized(self.pixels, self.width, self.height, sides.into().map(|side| side as u32), preprocess)
    }

    /// A part of it, resized to `side` by `side` pixels.
    ///
    /// # Errors
    /// When the part is empty or not within the picture.
    pub fn cropped(
        &self,
        (left, top): (u32, u32),
        (width, height): (u32, u32),
        side: usize,
        how: Interpolation,
    ) -> Result<Vec<u8>, String> {
        let ends = (left.checked_add(width), top.checked_add(height));
        if width == 0 || height == 0 || ends.0.is_none_or(|x| x > self.width) || ends.1.is_none_or(|y| y > self.height)
        {
            return Err(format!("no part of {width} by {height} pixels at {left}, {top}"));
        }
        let rows = (top..top + height).flat_map(|row| {
            let start = (row as usize * self.width as usize + left as usize) * 3;
            &self.pixels[start..start + width as usize * 3]
        });
        let side = side as u32;
        let narrowed = convolved(rows.copied().collect(), (width, height), (side, height), how)?;
        convolved(narrowed, (side, height), (side, side), how)
    }
}

/// Most pixels of a resized picture: 800 MB while it is resized.
const MAX_PIXELS: u64 = 1 << 26;

/// Resizes as PIL does (antialiased, two passes of 8 bits) and crops the centre as torchvision does.
fn resized(pixels: Vec<u8>, width: u32, height: u32, sides: Pair<u32>, p: &Preprocess) -> Result<Vec<u8>, String> {
    let (to_width, to_height) = match p.resize {
        Resize::Exact => (sides.columns, sides.rows),
        Resize::Short(short) => {
            let long = |long: u32, other: u32| (short as u64 * long as u64 / other as u64) as u32;
            if width <= height { (short, long(height, width)) } else { (long(width, height), short) }
        }
    };
    // One intermediate is [height, to_width, 3] in f32.
    if to_width as u64 * height.max(to_height) as u64 > MAX_PIXELS {
        return Err(format!("resizing {width} by {height} to {to_width} by {to_height} would take too much memory"));
    }
    // As PIL: columns first, rounded to 8 bits, then rows.
    let narrowed = convolved(pixels, (width, height), (to_width, height), p.interpolation)?;
    let resized = convolved(narrowed, (to_width, height), (to_width, to_height), p.interpolation)?;
    // torchvision's center_crop rounds half to even.
    let offset = |extent: u32, side: u32| ((extent - side) as f64 / 2.0).round_ties_even() as usize;
    let (left, top) = (offset(to_width, sides.columns), offset(to_height, sides.rows));
    let rows = (top..top + sides.rows as usize).flat_map(|row| {
        let start = (row * to_width as usize + left) * 3;
        &resized[start..start + sides.columns as usize * 3]
    });
    Ok(rows.copied().collect())
}

/// Resizes along one axis in `f32` and rounds half up.
fn convolved(pixels: Vec<u8>, from: (u32, u32), to: (u32, u32), how: Interpolation) -> Result<Vec<u8>, String> {
    if from == to {
        return Ok(pixels);
    }
    let filter = match how {
        Interpolation::Bicubic => FilterType::CatmullRom,
        Interpolation::Bilinear => FilterType::Bilinear,
    };
    let floats = pixels.iter().flat_map(|&p| f32::from(p).to_ne_bytes()).collect();
    let source = Image::from_vec_u8(from.0, from.1, floats, PixelType::F32x3).map_err(|e| e.to_string())?;
    let mut out = Image::new(to.0, to.1, PixelType::F32x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    Resizer::new().resize(&source, &mut out, &options).map_err(|e| e.to_string())?;
    let Data::F32(values) = Data::from_bytes(Elem::F32, out.buffer()) else { unreachable!("asked for f32") };
    Ok(values.into_iter().map(|v| (v + 0.5).floor().clamp(0.0, 255.0) as u8).collect())
}

/// The pictures of a folder, by name.
///
/// # Errors
/// When the folder cannot be read or holds no picture.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    let is_picture = |path: &Path| {
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
    };
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|e| at(folder, e))?;
    let mut files: Vec<PathBuf> = entries.iter().map(|e| e.path()).filter(|p| is_picture(p) && p.is_file()).collect();
    files.sort();
    if files.is_empty() { Err(at(folder, "no .png, .jpg or .jpeg files")) } else { Ok(files) }
}

/// The pictures of a folder by name, then those of the folders in it, `CLASS/*.JPEG`.
///
/// # Errors
/// When it cannot be read, or there is no picture.
fn images_below(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    let own = image_files(folder);
    // A folder may have others beside its classes, as archives and version control make them.
    let below = subfolders(folder)?.into_iter().filter_map(|below| image_files(&below).ok()).flatten();
    let found: Vec<PathBuf> = own.iter().flatten().cloned().chain(below).collect();
    if found.is_empty() { own } else { Ok(found) }
}

/// The folders in a folder, by name.
///
/// # Errors
/// When it cannot be read.
pub fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|e| at(folder, e))?;
    let mut folders: Vec<PathBuf> = entries.iter().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

/// Positions of at most `limit` of `n` things, evenly spaced.
fn spaced(n: usize, limit: usize) -> impl Iterator<Item = usize> {
    let chosen = n.min(limit);
    (0..chosen).map(move |i| i * n / chosen)
}

/// Reads inputs of type `ty`, each a batch of one: every picture of a folder (or of the folders in it), or a safetensors
/// file's `pixels` (u8, `[N,H,W,C]`) or `pixel_values` (f32, normalised, `[N,C,H,W]`), whichever the model takes.
///
/// # Errors
/// When there are none, or they are not what the model takes.
pub fn read_inputs(path: &Path, ty: &Type, preprocess: Option<&Preprocess>) -> Result<Vec<Tensor>, InputError> {
    read_some(path, ty, preprocess, Split::Test, usize::MAX)
}

/// A part of a data set. A safetensors file that has more than one has tensors `train.pixels`, `test.pixels`, …
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Split {
    /// What models are trained on, and calibrated.
    Train,
    /// What they are judged by.
    Test,
}

impl Split {
    /// The tensor of a name in this part, or in the whole of a file without parts.
    pub fn tensor<'a>(self, file: &'a Checkpoint, name: &str) -> Option<&'a Tensor> {
        let part = if self == Split::Train { "train." } else { "test." };
        let in_parts = file.0.keys().any(|key| key.starts_with(part));
        if in_parts { file.0.get(&format!("{part}{name}")) } else { file.0.get(name) }
    }
}

/// As [`read_inputs`], but of a part, and at most `limit` of them, evenly spaced.
///
/// # Errors
/// As [`read_inputs`].
pub fn read_some(
    path: &Path,
    ty: &Type,
    preprocess: Option<&Preprocess>,
    split: Split,
    limit: usize,
) -> Result<Vec<Tensor>, InputError> {
    if path.is_dir() {
        let Some(preprocess) = preprocess else {
            return Err(at(
                path,
                "the model takes normalised pixel_values and no pictures: its description has no [preprocess]",
            ));
        };
        let files = images_below(path)?;
        let read = |i: usize| read_image(&files[i], Pair::new(ty.shape[1], ty.shape[2]), preprocess);
        return spaced(files.len(), limit).map(read).collect();
    }
    inputs_of(&read_file(path)?, path, ty, split, limit)
}

/// The tensors of a safetensors file.
pub(crate) fn read_file(path: &Path) -> Result<Checkpoint, InputError> {
    let bytes = fs::read(path).map_err(|e| at(path, e))?;
    Checkpoint::from_bytes(&bytes).map_err(|e| at(path, e))
}

/// The inputs in the tensors of the file `path`, as [`read_some`] gives them.
pub(crate) fn inputs_of(
    file: &Checkpoint,
    path: &Path,
    ty: &Type,
    split: Split,
    limit: usize,
) -> Result<Vec<Tensor>, InputError> {
    let name = if ty.elem == Elem::U8 { "pixels" } else { "pixel_values" };
    let Some(tensor) = split.tensor(file, name) else {
        return Err(at(path, format!("no tensor {name:?}, which the model takes")));
    };
    let [_, h, w, c] = ty.shape[..] else { return Err(at(path, format!("the model takes {ty}"))) };
    let wanted = if ty.elem == Elem::U8 { [h, w, c] } else { [c, h, w] };
    if tensor.shape.len() != 4 || tensor.shape[1..] != wanted || tensor.shape[0] == 0 {
        let message = format!(
            "{name} is {}{:?}; the model takes [N, {}, {}, {}]",
            tensor.data.elem(),
            tensor.shape,
            wanted[0],
            wanted[1],
            wanted[2]
        );
        return Err(at(path, message));
    }
    let image = h * w * c;
    let one = |i: usize| match &tensor.data {
        Data::U8(v) if ty.elem == Elem::U8 => Some(Data::U8(v[i * image..][..image].to_vec())),
        Data::F32(v) if ty.elem == Elem::F32 => {
            let v = &v[i * image..][..image];
            Some(Data::F32((0..image).map(|e| v[e % c * h * w + e / c]).collect()))
        }
        _ => None,
    };
    spaced(tensor.shape[0], limit)
        .map(|i| one(i).map(|data| Tensor::new(ty.shape.clone(), data)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| at(path, format!("{name} is {}, not {}", tensor.data.elem(), ty.elem)))
}

/// Batches of one as one batch.
///
/// # Panics
/// When there are none, or they differ in shape or type.
pub fn stack(inputs: &[Tensor]) -> Tensor {
    let mut shape = inputs[0].shape.clone();
    assert!(inputs.iter().all(|t| t.shape == shape && t.data.elem() == inputs[0].data.elem()), "inputs of one type");
    shape[0] *= inputs.len();
    let bytes: Vec<u8> = inputs.iter().flat_map(|t| t.data.to_bytes()).collect();
    Tensor::new(shape, Data::from_bytes(inputs[0].data.elem(), &bytes))
}
