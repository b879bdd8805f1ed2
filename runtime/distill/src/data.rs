//! Training pictures: where they are, in which order they come, and how they are varied. All of it follows from a seed.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};
use swint_compiler::frontend::{Checkpoint, Limits, Preprocess};
use swint_ir::{Data, Tensor, random::Rng};
use swint_runtime::{
    inputs::{Split, image_files, subfolders},
    picture::{EXTENSIONS, Picture},
};

/// Labelled pictures for a model that takes them `side` by `side`.
pub struct Pictures {
    store: Store,
    /// The class of each.
    pub labels: Vec<usize>,
    side: usize,
    preprocess: Preprocess,
}

enum Store {
    /// Pixels `[N,side,side,3]`.
    Memory(Vec<u8>),
    /// Files of a picture each.
    Files(Vec<PathBuf>),
    /// Members of tar files: which file, where, and how long.
    Shards(Vec<PathBuf>, Vec<(usize, u64, u64)>),
}

/// How pictures are varied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augment {
    /// Not at all.
    None,
    /// Mirrored every other time, and shifted by up to an eighth of the side (pictures of the model's size), or a part of at least a third
    /// resized to it (others).
    #[default]
    Crop,
}

impl Pictures {
    /// Opens a safetensors file with `pixels` and `labels` (of a part, if it has parts), a folder with a folder for each class, or
    /// shards: tar files named with braces, `train-{0..9}.tar`, with `KEY.jpg` (or .png) and `KEY.cls` beside each other.
    ///
    /// # Errors
    /// When it cannot be read, or is not for this model.
    pub fn open(
        path: &Path,
        split: Split,
        side: usize,
        classes: usize,
        preprocess: &Preprocess,
    ) -> Result<Pictures, String> {
        let (store, labels) = if path.is_dir() {
            folders(path, classes, preprocess)?
        } else if path.extension().is_some_and(|e| e == "tar") {
            shards(path)?
        } else {
            memory(path, split, side)?
        };
        if labels.is_empty() {
            return Err(format!("{}: no labelled pictures", path.display()));
        }
        if let Some(label) = labels.iter().find(|&&label| label >= classes) {
            return Err(format!("{}: label {label} of {classes} classes", path.display()));
        }
        Ok(Pictures { store, labels, side, preprocess: preprocess.clone() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none: never.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Only the first so many, evenly spread over all.
    pub fn limited(mut self, limit: usize) -> Pictures {
        let n = self.len();
        let kept: Vec<usize> = (0..limit.min(n)).map(|i| i * n / limit.min(n)).collect();
        let image = self.side * self.side * 3;
        self.labels = kept.iter().map(|&i| self.labels[i]).collect();
        self.store = match self.store {
            Store::Memory(pixels) => {
                Store::Memory(kept.iter().flat_map(|&i| &pixels[i * image..][..image]).copied().collect())
            }
            Store::Files(files) => Store::Files(kept.iter().map(|&i| files[i].clone()).collect()),
            Store::Shards(files, members) => Store::Shards(files, kept.iter().map(|&i| members[i]).collect()),
        };
        self
    }

    /// So many pictures, evenly spread over all, each a batch of one as it is; those that cannot be read are left out.
    ///
    /// # Errors
    /// When none can be read.
    pub fn calibration(&self, wanted: usize) -> Result<Vec<Tensor>, String> {
        let (n, wanted) = (self.len(), wanted.min(self.len()));
        let read = |i: usize| self.read(i * n / wanted, Augment::None, &mut Rng::with_seed(0));
        let all: Vec<Result<Vec<u8>, String>> = (0..wanted).map(read).collect();
        let tensor = |pixels: &Vec<u8>| Tensor::new([1, self.side, self.side, 3], Data::U8(pixels.clone()));
        let tensors: Vec<Tensor> = all.iter().flatten().map(tensor).collect();
        match all.into_iter().next() {
            Some(Err(error)) if tensors.is_empty() => Err(error),
            _ => Ok(tensors),
        }
    }

    /// A black picture.
    pub fn blank(&self) -> Vec<u8> {
        vec![0; self.side * self.side * 3]
    }

    /// The pixels `[side,side,3]` of a picture, varied by a source of chance.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, i: usize, augment: Augment, rng: &mut Rng) -> Result<Vec<u8>, String> {
        let image = self.side * self.side * 3;
        let bytes = match &self.store {
            Store::Memory(pixels) => {
                let pixels = pixels[i * image..][..image].to_vec();
                return Ok(if augment == Augment::Crop { self.shifted(&pixels, rng) } else { pixels });
            }
            Store::Files(files) => fs::read(&files[i]).map_err(|e| self.at(i, &e))?,
            Store::Shards(files, members) => {
                let (file, start, length) = members[i];
                member(&files[file], start, length).map_err(|e| self.at(i, &e))?
            }
        };
        let picture = Picture::decode(&bytes).map_err(|e| self.at(i, &e))?;
        if augment == Augment::None {
            return picture.preprocessed(self.side, &self.preprocess).map_err(|e| self.at(i, &e));
        }
        let (corner, extent) = part(&picture, rng);
        let cropped = picture.cropped(corner, extent, self.side, self.preprocess.interpolation);
        let mut pixels = cropped.map_err(|e| self.at(i, &e))?;
        if rng.bool() {
            mirror(&mut pixels, self.side);
        }
        Ok(pixels)
    }

    /// What is wrong with a picture, and where it is.
    fn at(&self, i: usize, error: &dyn std::fmt::Display) -> String {
        match &self.store {
            Store::Memory(_) => format!("picture {i}: {error}"),
            Store::Files(files) => format!("{}: {error}", files[i].display()),
            Store::Shards(files, members) => {
                format!("{}, byte {}: {error}", files[members[i].0].display(), members[i].1)
            }
        }
    }

    /// SHA-256 of which pictures these are: labels, and pixels in memory, or names and sizes of files.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for label in &self.labels {
            hash.update(label.to_le_bytes());
        }
        match &self.store {
            Store::Memory(pixels) => hash.update(pixels),
            Store::Files(files) => {
                for file in files {
                    let size = fs::metadata(file).map_or(0, |data| data.len());
                    hash.update(format!("{}\0{size}\0", file.display()));
                }
            }
            Store::Shards(files, members) => {
                for (file, start, length) in members {
                    hash.update(format!("{}\0{start}\0{length}\0", files[*file].display()));
                }
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Shifted within a black frame of an eighth of the side, and mirrored every other time.
    fn shifted(&self, pixels: &[u8], rng: &mut Rng) -> Vec<u8> {
        let (side, frame) = (self.side, self.side / 8);
        let (down, right) = (rng.usize(0..=2 * frame), rng.usize(0..=2 * frame));
        let mut out = vec![0; pixels.len()];
        for row in 0..side {
            for column in 0..side {
                let (y, x) = (row + down, column + right);
                if (frame..side + frame).contains(&y) && (frame..side + frame).contains(&x) {
                    let from = ((y - frame) * side + x - frame) * 3;
                    out[(row * side + column) * 3..][..3].copy_from_slice(&pixels[from..from + 3]);
                }
            }
        }
        if rng.bool() {
            mirror(&mut out, side);
        }
        out
    }
}

/// A part of 35 % to 100 % of a picture's area, 3:4 to 4:3; the largest middle square where none of ten fits. (As torchvision's
/// `RandomResizedCrop`, whose least part is 8 %: too little for a model that has learnt already.)
fn part(picture: &Picture, rng: &mut Rng) -> ((u32, u32), (u32, u32)) {
    let (width, height) = (picture.width, picture.height);
    for _ in 0..10 {
        let area = f64::from(width) * f64::from(height) * (0.35 + 0.65 * rng.f64());
        let ratio = ((3f64 / 4.0).ln() + rng.f64() * (16f64 / 9.0).ln()).exp();
        let extent = ((area * ratio).sqrt().round() as u32, (area / ratio).sqrt().round() as u32);
        if (1..=width).contains(&extent.0) && (1..=height).contains(&extent.1) {
            return ((rng.u32(0..=width - extent.0), rng.u32(0..=height - extent.1)), extent);
        }
    }
    let side = width.min(height);
    (((width - side) / 2, (height - side) / 2), (side, side))
}

fn mirror(pixels: &mut [u8], side: usize) {
    for row in pixels.chunks_exact_mut(side * 3) {
        for column in 0..side / 2 {
            for c in 0..3 {
                row.swap(column * 3 + c, (side - 1 - column) * 3 + c);
            }
        }
    }
}

fn memory(path: &Path, split: Split, side: usize) -> Result<(Store, Vec<usize>), String> {
    let at = |message: String| format!("{}: {message}", path.display());
    let (file, _) = Checkpoint::open(path, &Limits::default()).map_err(|e| at(e.to_string()))?;
    let tensor = |name: &str| split.tensor(&file, name);
    let Some((shape, Data::U8(pixels))) = tensor("pixels").map(|t| (&t.shape, &t.data)) else {
        return Err(at("no tensor \"pixels\" of u8".to_owned()));
    };
    if shape.len() != 4 || shape[1..] != [side, side, 3] {
        return Err(at(format!("pixels are {shape:?}; the model takes [N, {side}, {side}, 3]")));
    }
    let labels = tensor("labels").and_then(|t| t.data.to_i32()).unwrap_or_default();
    let labels: Vec<usize> = labels.into_iter().map(|label| usize::try_from(label).unwrap_or(usize::MAX)).collect();
    if labels.len() != shape[0] {
        return Err(at(format!("{} labels for {} pictures", labels.len(), shape[0])));
    }
    Ok((Store::Memory(pixels.clone()), labels))
}

fn folders(path: &Path, classes: usize, preprocess: &Preprocess) -> Result<(Store, Vec<usize>), String> {
    let folders = subfolders(path).map_err(|e| e.to_string())?;
    if folders.len() != classes {
        return Err(format!("{}: {} folders for the model's {classes} classes", path.display(), folders.len()));
    }
    let position = |folder: &PathBuf| {
        preprocess.labels.iter().position(|label| folder.file_name().is_some_and(|name| name == label.as_str()))
    };
    let by_name: Option<Vec<usize>> = folders.iter().map(position).collect();
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for (i, folder) in folders.iter().enumerate() {
        let found = image_files(folder).map_err(|e| e.to_string())?;
        labels.extend(std::iter::repeat_n(by_name.as_ref().map_or(i, |names| names[i]), found.len()));
        files.extend(found);
    }
    Ok((Store::Files(files), labels))
}

/// Whether a safetensors file has a part for tests, with tensors `test.…`.
pub fn has_test_part(path: &Path) -> bool {
    let header = || -> Option<serde_json::Value> {
        let mut file = fs::File::open(path).ok()?;
        let mut length = [0; 8];
        file.read_exact(&mut length).ok()?;
        let mut text = Vec::new();
        // The format's own bound on a header.
        file.take(u64::from_le_bytes(length).min(100_000_000)).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    };
    let keys = header().and_then(|header| Some(header.as_object()?.keys().any(|key| key.starts_with("test."))));
    keys.unwrap_or(false)
}

/// The files that a name with braces stands for: `a-{08..11}.tar` is a-08.tar to a-11.tar.
///
/// # Errors
/// When the braces hold no range.
pub fn expand(name: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = name.split_once('{') else { return Ok(vec![name.to_owned()]) };
    let parsed = rest.split_once('}').and_then(|(range, after)| {
        let (first, last) = range.split_once("..")?;
        let (low, high): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        (low <= high && high - low < 1 << 20).then_some((low..=high, first.len(), after))
    });
    let Some((range, width, after)) = parsed else {
        return Err(format!("{name}: wanted a range in the braces, like {{0..9}} or {{000..127}}"));
    };
    Ok(range.map(|i| format!("{before}{i:0width$}{after}")).collect())
}

/// Finds the pictures of tar files in the layout of WebDataset: members with one key follow each other.
fn shards(path: &Path) -> Result<(Store, Vec<usize>), String> {
    let name = path.to_str().ok_or_else(|| format!("{}: not a name in UTF-8", path.display()))?;
    let files: Vec<PathBuf> = expand(name)?.into_iter().map(PathBuf::from).collect();
    let (mut members, mut labels) = (Vec::new(), Vec::new());
    for (index, file) in files.iter().enumerate() {
        let at = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
        let opened = fs::File::open(file).map_err(|e| at(&e))?;
        let size = opened.metadata().map_err(|e| at(&e))?.len();
        let mut archive = tar::Archive::new(opened);
        let mut picture: Option<(String, u64, u64)> = None;
        let mut label: Option<(String, usize)> = None;
        for entry in archive.entries_with_seek().map_err(|e| at(&e))? {
            let mut entry = entry.map_err(|e| at(&e))?;
            let path = entry.path().map_err(|e| at(&e))?.display().to_string();
            // The key is what comes before the first point of the last part.
            let start = path.rfind('/').map_or(0, |i| i + 1);
            let Some(point) = path[start..].find('.') else { continue };
            let (key, kind) = (path[..start + point].to_owned(), path[start + point + 1..].to_ascii_lowercase());
            if kind != "cls" && !EXTENSIONS.contains(&&*kind) {
                continue;
            }
            if !entry.header().entry_type().is_file() {
                return Err(at(&format!("{path} is no plain file")));
            }
            if entry.raw_file_position().saturating_add(entry.size()) > size {
                return Err(at(&format!("it ends within {path}")));
            }
            match &*kind {
                kind if EXTENSIONS.contains(&kind) => picture = Some((key, entry.raw_file_position(), entry.size())),
                _ => {
                    let mut text = String::new();
                    entry.by_ref().take(64).read_to_string(&mut text).map_err(|e| at(&e))?;
                    let class = text.trim().parse().map_err(|_| at(&format!("{path} holds no class: {text:?}")))?;
                    label = Some((key, class));
                }
            }
            if let (Some((a, start, length)), Some((b, class))) = (&picture, &label)
                && a == b
            {
                members.push((index, *start, *length));
                labels.push(*class);
                (picture, label) = (None, None);
            }
        }
    }
    Ok((Store::Shards(files, members), labels))
}

fn member(file: &Path, start: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut file = fs::File::open(file)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
