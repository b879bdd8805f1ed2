//! `.swint` files: one compiled model, self-contained, versioned and checksummed.
//!
//! ```text
//! magic    8 bytes    "\x89SWINT\r\n"
//! version  u32        2
//! sha256   32 bytes   of everything after it
//! count    u32        sections; then for each
//!   name     u32 length, UTF-8
//!   content  u64 length, bytes
//! ```
//!
//! Numbers are little-endian. Sections: `manifest.json`, `graph.ir` (IR text), `weights.safetensors` (constants, channel
//! scales among them), `plan.txt` (launches and buffers for a batch of one). Two more, both or neither, say what the rewrites
//! did, compressed (gzip): `before.ir.gz` (the program before them) and `explanations.json.gz` (what became of each of its parts).

use crate::tensors::to_safetensors;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::Path,
};
use swint_compiler::{
    egraph::History,
    frontend::{Checkpoint, Preprocess, Resize},
    plan::{PlanError, plan},
};
use swint_ir::{Elem, Graph, Module, Weights, text};

/// Names of sections.
const BEFORE: &str = "before.ir.gz";
const EXPLANATIONS: &str = "explanations.json.gz";

const MAGIC: &[u8; 8] = b"\x89SWINT\r\n";
const VERSION: u32 = 2;

/// Largest size of a text of what the rewrites did, in bytes (Swin-T's is 0.7 MB): where it is larger, it is left out.
const MOST_EXPLAINED: usize = 1 << 24;

/// What a file says of its model beside the program.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the model.
    pub name: String,
    /// `f32` or `int8`.
    pub precision: String,
    /// `lut`, `relu` or `gelu`.
    pub activation: String,
    /// Activations replaced by an approximation: the model needs distillation.
    pub approximated: usize,
    /// How pictures become pixels, if the model takes pictures.
    pub preprocess: Option<Preprocess>,
    /// Ops of the float model.
    pub ops_before: BTreeMap<String, usize>,
    /// Ops of the compiled model.
    pub ops_after: BTreeMap<String, usize>,
    /// How often each rewrite rule fired.
    pub rules: BTreeMap<String, usize>,
}

/// A compiled model.
#[derive(Clone, PartialEq, Debug)]
pub struct Artifact {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The program and its constants, for a batch of one.
    pub module: Module,
    /// What the rewrites did to make it.
    pub history: Option<History>,
}

/// Why a file is no compiled model, or cannot be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ArtifactError {
    /// Reading or writing failed.
    #[error("{0}")]
    #[diagnostic(code("SW0301"))]
    Io(String),
    /// The program cannot be planned.
    #[error("this program cannot run: {0}")]
    #[diagnostic(code("SW0204"))]
    Plan(PlanError),
    /// Not a compiled model, or a damaged one.
    #[error("not a compiled model: {0}")]
    #[diagnostic(code("SW0304"))]
    Format(String),
}

fn format_error(message: impl ToString) -> ArtifactError {
    ArtifactError::Format(message.to_string())
}

impl Artifact {
    /// Writes the file: whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ArtifactError> {
        let bytes = self.to_bytes()?;
        write_atomically(path, &bytes).map_err(|e| ArtifactError::Io(format!("cannot write {}: {e}", path.display())))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is missing, damaged, of another version, or its program does not verify.
    pub fn load(path: &Path) -> Result<Artifact, ArtifactError> {
        let bytes = fs::read(path).map_err(|e| ArtifactError::Io(format!("cannot read {}: {e}", path.display())))?;
        Artifact::from_bytes(&bytes)
    }

    /// Whether a file begins as a compiled model does, whatever its name.
    pub fn is_one(path: &Path) -> bool {
        let mut start = [0; MAGIC.len()];
        fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *MAGIC
    }

    fn to_bytes(&self) -> Result<Vec<u8>, ArtifactError> {
        let manifest = serde_json::to_vec_pretty(&self.manifest).map_err(format_error)?;
        let plan = plan(&self.module.graph).map_err(ArtifactError::Plan)?.to_string();
        let tensors = self.module.weights.0.iter().map(|(name, tensor)| (&**name, &**tensor));
        let weights = to_safetensors(tensors).map_err(format_error)?;
        let graph = text::print(&self.module.graph);
        let mut sections = vec![
            ("manifest.json", manifest),
            ("graph.ir", graph.into_bytes()),
            ("weights.safetensors", weights),
            ("plan.txt", plan.into_bytes()),
        ];
        if let Some(history) = &self.history {
            let (before, explanations) = history.to_texts();
            if before.len().max(explanations.len()) <= MOST_EXPLAINED {
                sections.extend([(BEFORE, compressed(&before)), (EXPLANATIONS, compressed(&explanations))]);
            }
        }
        let mut body = (sections.len() as u32).to_le_bytes().to_vec();
        for (name, content) in sections {
            body.extend((name.len() as u32).to_le_bytes());
            body.extend(name.as_bytes());
            body.extend((content.len() as u64).to_le_bytes());
            body.extend(content);
        }
        let mut file = MAGIC.to_vec();
        file.extend(VERSION.to_le_bytes());
        file.extend(Sha256::digest(&body));
        file.extend(body);
        Ok(file)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Artifact, ArtifactError> {
        let mut reader = Reader(bytes);
        if reader.take(8)? != MAGIC {
            return Err(format_error("it does not start with swint's mark"));
        }
        let version = reader.u32()?;
        if version != VERSION {
            return Err(format_error(format!("version {version}; this swint reads version {VERSION}")));
        }
        let checksum = reader.take(32)?;
        if Sha256::digest(reader.0).as_slice() != checksum {
            return Err(format_error("its checksum is wrong: the file is damaged or truncated"));
        }
        let mut sections = BTreeMap::new();
        for _ in 0..reader.u32()? {
            let length = reader.u32()? as u64;
            let name = std::str::from_utf8(reader.take(length)?).map_err(format_error)?;
            let length = reader.u64()?;
            if sections.insert(name, reader.take(length)?).is_some() {
                return Err(format_error(format!("two sections {name}")));
            }
        }
        if !reader.0.is_empty() {
            return Err(format_error("bytes follow its last section"));
        }
        let section = |name: &str| sections.get(name).copied().ok_or_else(|| format_error(format!("no {name}")));
        let utf8 = |name: &str| std::str::from_utf8(section(name)?).map_err(format_error);
        let manifest: Manifest = serde_json::from_slice(section("manifest.json")?).map_err(format_error)?;
        let (graph, _) = text::read("graph.ir", utf8("graph.ir")?).map_err(|errors| format_error(errors.first()))?;
        let tensors = Checkpoint::from_bytes(section("weights.safetensors")?).map_err(format_error)?;
        let mut weights = Weights::default();
        for (name, tensor) in tensors.0 {
            weights.insert(name, tensor);
        }
        let module = Module { graph, weights };
        module.verify().map_err(format_error)?;
        let planned = plan(&module.graph).map_err(format_error)?.to_string();
        if planned != utf8("plan.txt")? {
            return Err(format_error("another version of swint planned it; compile it again"));
        }
        manifest.check(&module).map_err(format_error)?;
        let history = match (sections.get(BEFORE), sections.get(EXPLANATIONS)) {
            (None, None) => None,
            (Some(before), Some(explanations)) => {
                let [before, explanations] = [before, explanations].map(|section| decompressed(section));
                let history = History::from_texts(&before?, &explanations?).map_err(format_error)?;
                let ends = |graph: &Graph| (graph.inputs.clone(), graph.ty(graph.output).clone());
                if ends(&history.before) != ends(&module.graph) {
                    return Err(format_error("the program before its rewrites takes or gives something else"));
                }
                Some(history)
            }
            _ => return Err(format_error("half of what the rewrites did is missing")),
        };
        Ok(Artifact { manifest, module, history })
    }
}

fn compressed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("memory takes what is written")
}

fn decompressed(bytes: &[u8]) -> Result<String, ArtifactError> {
    let mut text = String::new();
    GzDecoder::new(bytes).take(MOST_EXPLAINED as u64 + 1).read_to_string(&mut text).map_err(format_error)?;
    if text.len() > MOST_EXPLAINED {
        return Err(format_error("what it says of its rewrites is too large"));
    }
    Ok(text)
}

impl Manifest {
    /// Checks that the program takes one image or one set of pixel values, and that the preprocessing fits it.
    fn check(&self, module: &Module) -> Result<(), String> {
        let [input] = &module.graph.inputs[..] else { return Err("its program does not take one input".to_owned()) };
        let output = module.graph.ty(module.graph.output);
        let ([1, height, width, channels], [1, classes]) = (&input.ty.shape[..], &output.shape[..]) else {
            return Err(format!("its program takes {} and returns {output}", input.ty));
        };
        let Some(p) = &self.preprocess else { return Ok(()) };
        if *channels != 3 || input.ty.elem != Elem::U8 {
            return Err(format!("it preprocesses pictures, but its program takes {}", input.ty));
        }
        let resized = match p.resize {
            Resize::Exact => true,
            Resize::Short(side) => (*height.max(width)..=1 << 15).contains(&(side as usize)),
        };
        if !resized || p.mean.len() != 3 || p.std.len() != 3 || !(p.labels.is_empty() || p.labels.len() == *classes) {
            return Err("its preprocessing does not fit its program".to_owned());
        }
        Ok(())
    }
}

/// Writes beside the target and renames: nobody sees half a file. A link is followed.
///
/// # Errors
/// When the folder cannot be written, or the target is something else than a file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if path.exists() && !path.is_file() {
        return Err(std::io::Error::other("there is something that is no file"));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // Temporary files are private; the umask decides about a result.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // The error would name the temporary file.
    let mut file = builder.tempfile_in(folder).map_err(|e| std::io::Error::from(e.kind()))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], ArtifactError> {
        let length = usize::try_from(length).ok().filter(|&n| n <= self.0.len());
        let (taken, rest) = self.0.split_at(length.ok_or_else(|| format_error("it ends too early"))?);
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, ArtifactError> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn u64(&mut self) -> Result<u64, ArtifactError> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_compiler::{
        egraph::{Limits, Part, Rewriting, Target},
        rules::{RuleSet, rules},
    };
    use swint_ir::{Decl, InputId, Tensor, Type, Value, op::Op};

    fn sample() -> Artifact {
        let input = Decl { name: "x".into(), ty: Type::f32([1, 1, 1, 4]) };
        let mut module = Module { graph: Graph::new("sample", vec![input]), weights: Weights::default() };
        let b = module.constant("layers.0.attn_mask", Type::f32([4]), Tensor::f32([4], vec![1.0, -2.5, 0.0, 3.0]));
        let y = module.graph.push(Op::MeanPool {}, vec![Value::Input(InputId(0))]).unwrap();
        module.graph.output = module.graph.push(Op::BiasAdd {}, vec![y, b]).unwrap();
        let table = rules(RuleSet::ALL);
        let history = Rewriting::new(&module, &table, &Target::default(), Limits::default()).history();
        let manifest = Manifest { name: "sample".into(), ..Manifest::default() };
        Artifact { manifest, module, history: Some(history) }
    }

    #[test]
    fn a_file_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.swint");
        sample().save(&path).unwrap();
        assert_eq!(Artifact::load(&path).unwrap(), sample());
        assert!(Artifact::is_one(&path) && !Artifact::is_one(folder.path()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn damage_is_an_error_wherever_it_is() {
        let bytes = sample().to_bytes().unwrap();
        for i in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1;
            assert!(Artifact::from_bytes(&damaged).is_err(), "byte {i}");
            assert!(Artifact::from_bytes(&bytes[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn explanations_must_be_of_their_program() {
        let artifact = |change: fn(&mut History)| {
            let mut artifact = sample();
            change(artifact.history.as_mut().unwrap());
            Artifact::from_bytes(&artifact.to_bytes().unwrap())
        };
        assert_eq!(artifact(|_| ()).unwrap(), sample());
        assert!(artifact(|history| history.parts.clear()).is_err());
        assert!(artifact(|history| history.parts.push(history.parts[0].clone())).is_err());
        let root = |history: &mut History| history.parts[0].explanation.as_mut().unwrap().root.0 = 99;
        assert!(artifact(root).is_err());
        assert!(artifact(|history| history.parts.push(Part { nodes: Vec::new(), explanation: None })).is_err());
        let written = |history: &mut History| history.parts[0].explanation.as_mut().unwrap().written.push('\u{1b}');
        assert!(artifact(written).is_err());
        assert!(artifact(|history| history.before.inputs[0].name = "y".into()).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let error = sample().save(&folder.path().join("missing/sample.swint")).unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
        assert!(sample().save(folder.path()).is_err());
    }
}
