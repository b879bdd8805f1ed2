//! Every reader of files gets files that somebody has damaged on purpose. None may panic, take much memory, or long.
//!
//! Each run starts with the files of `tests/corpus/fuzz`, then changes them and others. `cargo test` makes the same few thousand
//! changes each time; with `SWINT_FUZZ_SECONDS` others, for so long. A file that breaks a reader is kept and named: it belongs in
//! the corpus.

mod allocations;
mod mutate;

use allocations::{Counting, peak};
use safetensors::SafeTensors;
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};
use swint_compiler::{
    frontend::{Checkpoint, CheckpointError, Limits, Spec, checkpoint::survey, import, preset, random_checkpoint},
    pipeline::{Calibration, Options, Precision, compile},
};
use swint_ir::{Module, Pair, random, text};
use swint_runtime::{
    artifact::{Artifact, Manifest},
    picture::Picture,
    tensors::to_safetensors,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most memory that reading a small file may take, in bytes.
const MOST_MEMORY: usize = 50_000_000;

/// A picture's size is bounded by its own limit.
const MOST_PICTURE_MEMORY: usize = 1_200_000_000;

/// Longest that reading a small file may take, on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

/// Tests of this file measure memory, and one at a time only.
static ALONE: Mutex<()> = Mutex::new(());

/// What reads a file, by the end of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    Checkpoint,
    Spec,
    Ir,
    Artifact,
    Picture,
}

const READERS: [Reader; 5] = [Reader::Checkpoint, Reader::Spec, Reader::Ir, Reader::Artifact, Reader::Picture];

impl Reader {
    fn of(path: &Path) -> Option<Reader> {
        Some(match path.extension()?.to_str()? {
            "safetensors" => Reader::Checkpoint,
            "toml" => Reader::Spec,
            "ir" => Reader::Ir,
            "swint" => Reader::Artifact,
            "png" | "jpg" | "webp" => Reader::Picture,
            _ => return None,
        })
    }

    fn extension(self) -> &'static str {
        match self {
            Reader::Checkpoint => "safetensors",
            Reader::Spec => "toml",
            Reader::Ir => "ir",
            Reader::Artifact => "swint",
            Reader::Picture => "jpg",
        }
    }

    fn changed(self, file: &[u8], rng: &mut random::Rng) -> Vec<u8> {
        match self {
            Reader::Checkpoint => mutate::safetensors(file, rng),
            Reader::Spec | Reader::Ir => mutate::text(file, rng),
            Reader::Artifact => mutate::artifact(file, rng),
            Reader::Picture => {
                let mut file = file.to_vec();
                mutate::bytes(&mut file, rng);
                file
            }
        }
    }

    /// Reads a file; whether it is a good one. `scratch` is a path for it.
    fn read(self, file: &[u8], scratch: &Path) -> bool {
        match self {
            Reader::Checkpoint => checkpoint(file, scratch),
            Reader::Spec => Spec::parse("x", &String::from_utf8_lossy(file)).is_ok(),
            Reader::Ir => text::read("x", &String::from_utf8_lossy(file)).is_ok(),
            Reader::Artifact => Artifact::from_bytes(file).is_ok(),
            Reader::Picture => Picture::decode(file).is_ok(),
        }
    }
}

/// Reads a checkpoint from memory and from a file; what is good is what the format's own library reads, too.
fn checkpoint(file: &[u8], scratch: &Path) -> bool {
    let read = Checkpoint::from_bytes(file);
    fs::write(scratch, file).unwrap();
    let opened = Checkpoint::open(scratch, &Limits::default());
    let looked = survey(scratch, &Limits::default(), |_| true);
    match read {
        Ok(checkpoint) => {
            let library = SafeTensors::deserialize(file).unwrap();
            for (name, tensor) in &checkpoint.0 {
                assert_eq!(tensor.shape, library.tensor(name).unwrap().shape());
            }
            // NaN is not itself.
            assert_eq!(format!("{checkpoint:?}"), format!("{:?}", opened.unwrap().0));
            let survey = looked.unwrap();
            assert!(survey.header.tensors.len() >= checkpoint.0.len());
            true
        }
        Err(error) => {
            assert_eq!(opened.unwrap_err(), error);
            // What it shows need not be what a model can have.
            assert!(looked.is_ok() || looked.is_err_and(|e| matches!(e, CheckpointError::Format(_))));
            let said = error.to_string();
            assert!(!said.contains(|c: char| c.is_control() && c != '\n') && said.len() < 2000, "{said:?}");
            false
        }
    }
}

/// Ends the process where one file takes too long: nothing else can.
struct Watch {
    started: Instant,
    since: AtomicU64,
    done: AtomicBool,
}

impl Watch {
    fn run(&self, file: &Path) {
        while !self.done.load(Relaxed) {
            thread::park_timeout(Duration::from_secs(1));
            if self.started.elapsed().saturating_sub(Duration::from_millis(self.since.load(Relaxed))) > LONGEST {
                eprintln!("reading {} takes too long", file.display());
                std::process::abort();
            }
        }
    }
}

/// Where the file that is being read is kept until it has been read.
fn kept() -> PathBuf {
    std::env::temp_dir().join(format!("swint-fuzz-{}", std::process::id()))
}

/// Reads a file as the tests' rules ask; whether it is a good one.
fn judge(reader: Reader, file: &[u8], scratch: &Path) -> bool {
    let (ran, memory) = peak(|| catch_unwind(AssertUnwindSafe(|| reader.read(file, scratch))));
    let most = if reader == Reader::Picture { MOST_PICTURE_MEMORY } else { MOST_MEMORY };
    let wrong = match ran {
        Ok(good) if memory <= most => return good,
        Ok(_) => format!("took {memory} bytes of memory"),
        Err(_) => "panicked".to_owned(),
    };
    let path = kept().with_extension(reader.extension());
    fs::write(&path, file).unwrap();
    panic!("{reader:?} {wrong}: {}", path.display());
}

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The files of a folder that there is a reader for.
fn files(folder: &str) -> Vec<(Reader, Vec<u8>)> {
    let entries = fs::read_dir(repo(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| Reader::of(path).is_some()).collect();
    paths.sort();
    paths.iter().map(|path| (Reader::of(path).unwrap(), fs::read(path).unwrap())).collect()
}

/// A small model: its description, checkpoint and two compiled forms of it.
fn model() -> Vec<(Reader, Vec<u8>)> {
    let spec = "[model]\nname = \"seed\"\nimage = 8\nchannels = 3\npatch = 2\nwindow = 2\nembed = 4\ndepths = [1, 1]\nheads = [1, 2]\n\
                mlp_ratio = 2.0\nclasses = 3\n[preprocess]\nresize = 10\nmean = [0.5, 0.5, 0.5]\nstd = [0.2, 0.2, 0.2]\n";
    let parsed = Spec::parse("seed", spec).unwrap();
    let checkpoint = random_checkpoint(&parsed, 1);
    let module = import(&parsed, &checkpoint).unwrap();
    let bytes = to_safetensors(checkpoint.0.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    let artifact = |module: Module| {
        let manifest = Manifest { name: "seed".into(), preprocess: parsed.preprocess.clone(), ..Manifest::default() };
        let path = kept().with_extension("swint");
        Artifact { manifest, module, history: None }.save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        (Reader::Artifact, bytes)
    };
    let mut rng = random::Rng::with_seed(1);
    let inputs = (0..2).map(|_| random::inputs(&module.graph, &mut rng)).collect();
    let calibration = Calibration::new(inputs);
    let options = Options { precision: Precision::Int8, calibration: Some(&calibration), ..Options::default() };
    let integer = compile(&module, &options, |_| {}).unwrap().0;
    let text = text::print(&integer.graph).into_bytes();
    vec![
        (Reader::Spec, spec.as_bytes().to_vec()),
        (Reader::Checkpoint, bytes),
        (Reader::Ir, text),
        artifact(module),
        artifact(integer),
    ]
}

#[test]
fn damaged_files_break_no_reader() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().join("file");
    let mut seeds = files("tests/corpus/fuzz");
    assert!(seeds.iter().filter(|seed| seed.0 == Reader::Checkpoint).count() >= 10);
    for (reader, file) in &seeds {
        judge(*reader, file, &scratch);
    }
    seeds.extend(model());
    seeds.extend(files("tests/corpus/parse").into_iter().step_by(7));
    seeds.extend(files("tests/images/kinds"));
    seeds.extend((0..4).map(|seed| (Reader::Ir, text::print(&random::graph(seed, 8)).into_bytes())));
    let seconds: Option<u64> = std::env::var("SWINT_FUZZ_SECONDS").ok().map(|text| text.parse().unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let first = if seconds.is_some() { now << 32 } else { 0 };
    let watch = Watch { started: Instant::now(), since: AtomicU64::new(0), done: AtomicBool::new(false) };
    let (mut tried, mut good) = ([0; 5], [0; 5]);
    thread::scope(|threads| {
        let watcher = threads.spawn(|| watch.run(&scratch));
        // The watcher must end where this panics, too.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            for i in first.. {
                let elapsed = watch.started.elapsed();
                watch.since.store(elapsed.as_millis() as u64, Relaxed);
                if seconds.map_or(i >= 3000, |seconds| elapsed.as_secs() >= seconds) {
                    break;
                }
                let mut rng = random::Rng::with_seed(i);
                let reader = *rng.choice(&READERS).unwrap();
                let of_reader: Vec<usize> = (0..seeds.len()).filter(|&i| seeds[i].0 == reader).collect();
                let mut file = reader.changed(&seeds[*rng.choice(&of_reader).unwrap()].1, &mut rng);
                while rng.u8(..3) == 0 {
                    file = reader.changed(&file, &mut rng);
                }
                tried[reader as usize] += 1;
                let is_good = judge(reader, &file, &scratch);
                good[reader as usize] += usize::from(is_good);
                // What is still good goes further.
                if is_good && seeds.len() < 2000 && file.len() < 1 << 16 {
                    seeds.push((reader, file));
                }
            }
        }));
        watch.done.store(true, Relaxed);
        watcher.thread().unpark();
        ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    for (reader, (tried, good)) in READERS.iter().zip(tried.iter().zip(&good)) {
        println!("{reader:?}: {tried} files, {good} of them good");
        assert!(*good > 0 && good < tried, "{reader:?}: changes are too wild or too tame: {good} of {tried} are good");
    }
}

/// Writes a checkpoint of 16 tensors of 2^20 elements each; their bytes as floats.
fn large(dtype: safetensors::Dtype, width: usize, path: &Path) -> usize {
    let bytes = vec![0; (1 << 20) * width];
    let names: Vec<String> = (0..16).map(|i| format!("tensor{i}")).collect();
    let view = || safetensors::tensor::TensorView::new(dtype, vec![1 << 10, 1 << 10], &bytes).unwrap();
    safetensors::serialize_to_file(names.iter().map(|name| (name, view())), None, path).unwrap();
    16 * (1 << 20) * 4
}

#[test]
fn a_checkpoint_takes_the_memory_of_its_tensors_as_floats() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.safetensors");
    for (dtype, width) in [(safetensors::Dtype::F32, 4), (safetensors::Dtype::F16, 2), (safetensors::Dtype::F64, 8)] {
        let floats = large(dtype, width, &path);
        let (opened, memory) = peak(|| Checkpoint::open(&path, &Limits::default()).unwrap());
        assert_eq!(opened.0.0.len(), 16);
        assert!(memory < floats + 1_000_000, "{dtype}: {memory} bytes for {floats} of floats");
        let (_, memory) = peak(|| survey(&path, &Limits::default(), |_| true).unwrap());
        assert!(memory < 2_000_000, "{dtype}: {memory} bytes to look at it");
    }
}

#[test]
fn a_bomb_of_a_picture_is_refused_before_it_goes_off() {
    let _alone = ALONE.lock();
    let (spec, bomb) =
        (preset("swin_tiny_patch4_window7_224").unwrap(), fs::read(repo("tests/corpus/fuzz/bomb.png")).unwrap());
    let (refused, memory) = peak(|| Picture::decode(&bomb));
    assert_eq!(refused.unwrap_err(), "a picture of 60000 by 60000 pixels: there may be 1 to 89478485");
    assert!(memory < 1_000_000, "{memory}");
    // A line of pixels, resized to a short side of 248, would be 16 million long.
    let line = Picture { pixels: vec![0; 3 * 65_535], width: 65_535, height: 1 };
    let (refused, memory) = peak(|| line.preprocessed(Pair::new(224, 224), &spec.preprocess.unwrap()));
    assert!(refused.unwrap_err().contains("would take too much memory") && memory < 1_000_000, "{memory}");
}
