//! Programs as commands take them: IR texts and compiled models.

use super::{coded, say};
use std::{fs, io::Read, path::Path, sync::Arc};
use swint::{
    compiler::frontend::{Checkpoint, CheckpointError, Limits},
    ir::{
        Code, Graph, Module, SourceError, SourceErrors, Weights,
        diagnostic::Source,
        text::{self, SourceMap},
    },
    runtime::artifact::Artifact,
};

/// Reads and verifies an IR text; `-` is stdin.
pub fn read_ir(path: &Path) -> miette::Result<(Graph, SourceMap)> {
    let (name, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        (String::from("<stdin>"), std::io::stdin().read_to_end(&mut bytes).map(|_| bytes))
    } else {
        (path.display().to_string(), fs::read(path))
    };
    let bytes = bytes.map_err(|e| coded(Code::Unreadable, format!("cannot read {name}: {e}")))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text::read(&name, &text)?),
        Err(error) => {
            // What comes before the first bad byte is as long in the lossy text.
            let at = error.utf8_error().valid_up_to();
            let source = Arc::new(Source::new(name, String::from_utf8_lossy(error.as_bytes())));
            let byte = error.as_bytes()[at];
            let message = format!("byte {at} is {byte:#04x}, which is not UTF-8");
            let error = SourceError::new(&source, Code::NotUtf8, at..at + 3, message, "not UTF-8");
            Err(SourceErrors::new(&source, vec![error]).into())
        }
    }
}

/// The graph of a compiled model or of an IR text.
pub fn read_program(path: &Path) -> miette::Result<Graph> {
    Ok(read_module(path)?.graph)
}

/// A compiled model, or an IR text, which does not have the values of its constants.
pub fn read_module(path: &Path) -> miette::Result<Module> {
    if path.extension().is_some_and(|e| e == "swint") || Artifact::is_one(path) {
        return Ok(read_artifact(path)?.module);
    }
    Ok(Module { graph: read_ir(path)?.0, weights: Weights::default() })
}

/// Reads a compiled model.
pub fn read_artifact(path: &Path) -> miette::Result<Artifact> {
    Artifact::load(path).map_err(|e| coded(Code::BadArtifact, format!("{}: {e}", path.display())))
}

/// What is wrong with a checkpoint, and its path.
pub fn checkpoint_error(path: &Path, error: CheckpointError) -> miette::Report {
    match error {
        CheckpointError::Io(message) => coded(Code::Unreadable, format!("cannot read {}: {message}", path.display())),
        error => coded(Code::BadCheckpoint, format!("{}: {error}", path.display())),
    }
}

/// The tensors of a safetensors file; conversions are said.
pub fn read_tensors(path: &Path, limits: &Limits) -> miette::Result<Checkpoint> {
    let (checkpoint, notes) = Checkpoint::open(path, limits).map_err(|error| checkpoint_error(path, error))?;
    notes.iter().for_each(|note| say(format_args!("note: {}: {note}", path.display())));
    Ok(checkpoint)
}

/// The values of a graph's constants in a safetensors file; what it holds beside them is warned about.
pub fn read_constants(path: &Path, graph: &Graph, limits: &Limits) -> miette::Result<Weights> {
    let mut tensors = read_tensors(path, limits)?.0;
    let mut weights = Weights::default();
    for decl in &graph.consts {
        if let Some(tensor) = tensors.remove(&*decl.name) {
            weights.insert(decl.name.clone(), tensor);
        }
    }
    if let Some(extra) = tensors.keys().next() {
        let (n, extra) = (tensors.len(), extra.escape_default());
        say(format_args!("warning: tensors of --weights that are no constants: {extra} ({n} in all)"));
    }
    Ok(weights)
}
