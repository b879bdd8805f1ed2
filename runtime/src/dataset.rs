//! Labelled pictures: a safetensors file, or a folder with a folder of pictures for each class.

use crate::inputs::{InputError, Split, at, image_files, inputs_of, read_file, read_image, stack, subfolders};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};
use swint_compiler::frontend::Preprocess;
use swint_ir::{Pair, Tensor, Type};

/// Labelled inputs of a model.
#[derive(Debug)]
pub struct Dataset {
    inputs: Inputs,
    /// The class of each input.
    pub labels: Vec<usize>,
}

/// Right answers so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Score {
    /// Pictures classified.
    pub images: usize,
    /// Pictures whose class has the largest logit.
    pub top1: usize,
    /// Pictures whose class is among the first five.
    pub top5: usize,
}

impl Score {
    /// Adds a picture: how many classes have a larger logit than its own, the first of equals first.
    ///
    /// # Panics
    /// When there is no such class.
    pub fn add(&mut self, logits: &[f32], label: usize) {
        let before = |(class, x): (usize, &f32)| *x > logits[label] || (*x == logits[label] && class < label);
        let rank = logits.iter().enumerate().filter(|&pair| before(pair)).count();
        self.images += 1;
        self.top1 += usize::from(rank == 0);
        self.top5 += usize::from(rank < 5);
    }

    /// Top-1 and top-5 accuracy in percent.
    pub fn percent(&self) -> (f64, f64) {
        let percent = |part: usize| 100.0 * part as f64 / self.images as f64;
        (percent(self.top1), percent(self.top5))
    }
}

#[derive(Debug)]
enum Inputs {
    /// All of them, each a batch of one.
    Tensors(Vec<Tensor>),
    /// Pictures, read when they are asked for.
    Pictures { files: Vec<PathBuf>, sides: Pair<usize>, preprocess: Preprocess },
}

impl Dataset {
    /// Opens a data set for a model that takes `ty` and knows `classes` classes.
    ///
    /// - A safetensors file has `labels` (integers, `[N]`) beside what [`crate::inputs::read_some`] takes, or these for each part.
    /// - A folder has one folder for each class, with its pictures (ImageNet's `val`, as PyTorch's `ImageFolder` reads it).
    ///   Where the model names its classes and the folders have these names, they decide; else the folders' order does.
    ///
    /// # Errors
    /// When it cannot be read, or is not for this model.
    pub fn open(
        path: &Path,
        ty: &Type,
        preprocess: Option<&Preprocess>,
        classes: usize,
        split: Split,
    ) -> Result<Dataset, InputError> {
        if path.is_dir() {
            let Some(preprocess) = preprocess else {
                return Err(at(path, "the model takes normalised pixel_values and no pictures"));
            };
            return Dataset::folders(path, Pair::new(ty.shape[1], ty.shape[2]), preprocess, classes);
        }
        let file = read_file(path)?;
        let tensors = inputs_of(&file, path, ty, split, usize::MAX)?;
        let labels = split.tensor(&file, "labels").and_then(|t| t.data.to_i32());
        let labels = labels.ok_or_else(|| at(path, "no tensor \"labels\" of integers up to 32 bits"))?;
        if labels.len() != tensors.len() {
            return Err(at(path, format!("{} labels for {} inputs", labels.len(), tensors.len())));
        }
        let class = |label: i32| usize::try_from(label).ok().filter(|&class| class < classes);
        let labels =
            labels.iter().map(|&l| class(l).ok_or_else(|| at(path, format!("label {l} of {classes} classes"))));
        let labels = labels.collect::<Result<_, _>>()?;
        Ok(Dataset { inputs: Inputs::Tensors(tensors), labels })
    }

    fn folders(
        path: &Path,
        sides: Pair<usize>,
        preprocess: &Preprocess,
        classes: usize,
    ) -> Result<Dataset, InputError> {
        let folders = subfolders(path)?;
        if folders.len() != classes {
            return Err(at(path, format!("{} folders for the model's {classes} classes", folders.len())));
        }
        let by_name: Option<Vec<usize>> = folders
            .iter()
            .map(|folder| {
                preprocess.labels.iter().position(|label| folder.file_name().is_some_and(|n| n == label.as_str()))
            })
            .collect();
        let (mut files, mut labels) = (Vec::new(), Vec::new());
        for (i, folder) in folders.iter().enumerate() {
            let found = image_files(folder)?;
            labels.extend(std::iter::repeat_n(by_name.as_ref().map_or(i, |classes| classes[i]), found.len()));
            files.extend(found);
        }
        Ok(Dataset { inputs: Inputs::Pictures { files, sides, preprocess: preprocess.clone() }, labels })
    }

    /// Some of the inputs, as one batch.
    ///
    /// # Errors
    /// When a picture cannot be read.
    ///
    /// # Panics
    /// When the range is empty or beyond the labels.
    pub fn batch(&self, range: Range<usize>) -> Result<Tensor, InputError> {
        match &self.inputs {
            Inputs::Tensors(tensors) => Ok(stack(&tensors[range])),
            Inputs::Pictures { files, sides, preprocess } => {
                let read = files[range].iter().map(|file| read_image(file, *sides, preprocess));
                Ok(stack(&read.collect::<Result<Vec<_>, _>>()?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_counted_and_ties_go_to_the_first() {
        let mut score = Score::default();
        let logits = [1.0, 3.0, 3.0, 0.0, 2.0, 1.5, -1.0];
        for (label, top1, top5) in [(1, 1, 1), (2, 1, 2), (0, 1, 3), (3, 1, 3), (6, 1, 3)] {
            score.add(&logits, label);
            assert_eq!((score.top1, score.top5), (top1, top5), "{label}");
        }
        assert_eq!(score.percent(), (20.0, 60.0));
    }
}
