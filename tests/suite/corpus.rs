//! `tests/corpus`: a case is a file. Its first line is the command, `%` its path; what the command says is the snapshot
//! beside it. tests/corpus/README.md tells how to write one.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use swint_compiler::pipeline::PASSES;
use swint_ir::{Code, text};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}

/// An error as a case announces it, or as the command reports it: line, code, message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Error {
    line: usize,
    code: String,
    message: String,
}

/// A case, read.
struct Case {
    path: PathBuf,
    /// The command's arguments.
    arguments: Vec<String>,
    /// The text that the command gets.
    text: Vec<u8>,
    expanded: bool,
    errors: Vec<Error>,
}

/// What a command did.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Case {
    fn read(path: &Path) -> Case {
        let original = fs::read(path).unwrap();
        let text = expand(&original);
        let lossy = String::from_utf8_lossy(&original).into_owned();
        let command = lossy.lines().next().unwrap_or_default();
        let arguments = command.strip_prefix("// swint ").unwrap_or_else(|| panic!("line 1 is {command:?}"));
        let arguments = arguments.split_whitespace().map(str::to_owned).collect();
        let errors = lossy.lines().enumerate().flat_map(|(i, line)| announced(i + 1, line)).collect();
        Case { path: path.to_owned(), arguments, expanded: text != original, text, errors }
    }

    fn name(&self) -> &str {
        self.path.file_stem().unwrap().to_str().unwrap()
    }

    /// Runs the command in the case's folder, or, where its text is made up, in another.
    fn run(&self, more: &[&str]) -> Ran {
        let temporary = tempfile::tempdir().unwrap();
        let file = self.path.file_name().unwrap();
        let mut folder = self.path.parent().unwrap();
        if self.expanded {
            fs::write(temporary.path().join(file), &self.text).unwrap();
            folder = temporary.path();
        }
        let arguments = self.arguments.iter().map(|a| if a == "%" { file.to_str().unwrap() } else { a });
        let child = Command::new(env!("CARGO_BIN_EXE_swint"))
            .args(arguments)
            .args(more)
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let out = child.wait_with_output().unwrap();
        let said = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).expect("what swint says is UTF-8");
            let text = text.replace(temporary.path().to_str().unwrap(), "TMP");
            PASSES.iter().fold(text, |text, pass| {
                let folder = format!("swint-failed-{}-", pass.name);
                text.replace(&format!("{folder}{pid}"), &format!("{folder}PID"))
            })
        };
        Ran { code: out.status.code(), stdout: said(&out.stdout), stderr: said(&out.stderr) }
    }
}

/// Replaces each `<<TEXT*N>>` by so many copies of the text.
fn expand(original: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = original;
    let find = |haystack: &[u8], needle: &[u8]| haystack.windows(2).position(|w| w == needle);
    while let Some(start) = find(rest, b"<<") {
        let Some(end) = find(&rest[start..], b">>").map(|i| start + i) else { break };
        let inner = std::str::from_utf8(&rest[start + 2..end]).unwrap();
        let (piece, times) = inner.rsplit_once('*').unwrap();
        text.extend(&rest[..start]);
        text.extend(piece.replace("\\n", "\n").repeat(times.parse().unwrap()).as_bytes());
        rest = &rest[end + 2..];
    }
    text.extend(rest);
    text
}

/// `//~ SW0005 part of the message`: an error on this line; `//~^` on the one before, `//~v` on the next.
fn announced(line: usize, text: &str) -> Vec<Error> {
    let errors = text.split("//~").skip(1).map(|note| {
        let note = note.trim();
        let (line, note) = match (note.strip_prefix('^'), note.strip_prefix('v')) {
            (Some(note), _) => (line - 1, note),
            (_, Some(note)) => (line + 1, note),
            _ => (line, note),
        };
        let (code, message) = note.trim().split_once(' ').unwrap_or((note.trim(), ""));
        Error { line, code: code.to_owned(), message: message.trim().to_owned() }
    });
    errors.collect()
}

/// The errors with places that a command printed as JSON.
fn reported(stderr: &str) -> Vec<Error> {
    let mut errors = Vec::new();
    for line in stderr.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let mut open = vec![&json];
        while let Some(error) = open.pop() {
            open.extend(error["related"].as_array().into_iter().flatten());
            if let Some(line) = error["labels"][0]["line"].as_u64() {
                let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
                errors.push(Error { line: line as usize, code: text("code"), message: text("message") });
            }
        }
    }
    errors
}

/// Every error that a case announces is reported on its line, and no other.
fn check_errors(case: &Case) {
    let mut left = reported(&case.run(&["--error-format", "json"]).stderr);
    for wanted in &case.errors {
        let fits = |e: &Error| e.line == wanted.line && e.code == wanted.code && e.message.contains(&wanted.message);
        let found = left.iter().position(fits).unwrap_or_else(|| panic!("{wanted:?} is not among {left:?}"));
        left.remove(found);
    }
    assert!(left.is_empty(), "not announced: {left:?}");
}

/// Runs every case of a folder; `check` asserts what must hold beside the snapshot.
fn run(name: &str, check: impl Fn(&Case, &Ran)) {
    let folder = folder(name);
    let cases = files(&folder, "ir");
    assert!(!cases.is_empty());
    let mut failed = Vec::new();
    for path in &cases {
        let one = || {
            let case = Case::read(path);
            let ran = case.run(&[]);
            assert!(
                matches!(ran.code, Some(0 | 1)) && !ran.stderr.contains("panicked"),
                "{:?}\n{}",
                ran.code,
                ran.stderr
            );
            check_errors(&case);
            check(&case, &ran);
            let mut settings = insta::Settings::new();
            settings.set_snapshot_path(&folder);
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            let text =
                format!("exit code {}\n---- stdout\n{}---- stderr\n{}", ran.code.unwrap(), ran.stdout, ran.stderr);
            settings.bind(|| insta::assert_snapshot!(case.name(), text));
        };
        if catch_unwind(AssertUnwindSafe(one)).is_err() {
            failed.push(path.file_name().unwrap());
        }
    }
    assert!(failed.is_empty(), "{name}: {failed:?}");
    let stems =
        |files: &[PathBuf]| -> BTreeSet<_> { files.iter().map(|f| f.file_stem().unwrap().to_owned()).collect() };
    assert_eq!(stems(&cases), stems(&files(&folder, "snap")), "every snapshot has its case");
}

/// Every graph that is printed reads back, and prints the same.
fn check_round_trip(ran: &Ran) {
    for printed in ran.stdout.split_inclusive("\n}\n") {
        let printed = if printed.starts_with("//") { printed.split_once('\n').unwrap().1 } else { printed };
        let (graph, _) = text::read("stdout", printed).unwrap();
        assert_eq!(text::print(&graph), printed);
    }
}

#[test]
fn parse() {
    run("parse", |case, ran| {
        assert_eq!(ran.code == Some(0), case.errors.is_empty());
        check_round_trip(ran);
    });
}

#[test]
fn verify() {
    run("verify", |case, ran| {
        assert_eq!(ran.code, Some(1), "a case here breaks an invariant");
        assert!(!case.errors.is_empty());
    });
}

#[test]
fn rules() {
    run("rules", |case, ran| {
        assert!(case.arguments.contains(&"--validate".to_owned()), "rules are validated");
        assert_eq!(ran.code, Some(0));
        check_round_trip(ran);
    });
}

#[test]
fn opt() {
    run("opt", |case, ran| {
        if case.arguments[0] != "opt" {
            return;
        }
        check_round_trip(ran);
        let validated = case.arguments.contains(&"--validate".to_owned());
        assert_eq!(validated, ran.code == Some(0), "what passes make is validated, and holds");
    });
}

#[test]
fn plan() {
    run("plan", |case, ran| {
        if ran.code != Some(0) {
            return;
        }
        // One launch for each node that the output needs.
        let (graph, _) = text::read(case.name(), std::str::from_utf8(&case.text).unwrap()).unwrap();
        let launches = ran.stdout.lines().filter(|line| line.contains(") -> ")).count();
        assert_eq!(launches, graph.without_dead_code().nodes.len());
    });
}

/// `fuzz` holds files for the fuzzer; what is said of the checkpoints among them is one snapshot.
#[test]
fn hostile_checkpoints() {
    let folder = folder("fuzz");
    let mut all = String::new();
    for path in files(&folder, "safetensors") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let out = Command::new(env!("CARGO_BIN_EXE_swint"))
            .args(["inspect", name])
            .current_dir(&folder)
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(matches!(out.status.code(), Some(0 | 1)) && !said[1].contains("panicked"), "{name}: {}", said[1]);
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!said.iter().any(|text| text.contains(control)), "{name}: {said:?}");
        all += &format!("---- {name}: exit code {}\n{}{}", out.status.code().unwrap(), said[0], said[1]);
    }
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(&folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("inspect", all));
}

#[test]
fn every_code_of_a_text_is_in_the_corpus() {
    let announced: BTreeSet<String> = ["parse", "verify"]
        .iter()
        .flat_map(|name| files(&folder(name), "ir"))
        .flat_map(|path| Case::read(&path).errors)
        .map(|error| error.code)
        .collect();
    for code in Code::ALL.iter().filter(|code| code.id() < "SW0200") {
        // A text cannot return what does not exist: its name would not be defined.
        let reachable = *code != Code::NoOutput;
        assert_eq!(announced.contains(code.id()), reachable, "{code}: {}", code.title());
    }
}
