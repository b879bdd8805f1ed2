//! Runs passes: verifies around them, times them, shows what each made, and says which one failed on what.

use super::{IMPORT, Options, Pass, Report};
use miette::Diagnostic;
use std::{
    any::Any,
    fmt::{self, Display},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};
use swint_ir::{Code, Module, VerifyError};

/// A module before the first pass, or after one.
pub struct Stage<'a> {
    /// Its position; 0 is before the first pass.
    pub number: usize,
    /// The pass that made it, or [`IMPORT`].
    pub name: &'static str,
    /// The module.
    pub module: &'a Module,
    /// Whether the pass changed the graph; true before the first.
    pub changed: bool,
    /// How long the pass ran; zero before the first.
    pub time: Duration,
    /// How long verifying its result took; zero where that was left out.
    pub verifying: Duration,
}

/// Why a pass failed.
#[derive(Clone, PartialEq, Debug)]
pub enum Cause {
    /// It cannot do its work on this program.
    Refused(String),
    /// It made an invalid program: a defect of the pass.
    Invalid(VerifyError),
    /// It panicked: a defect of the pass.
    Panicked(String),
}

/// A pass that failed, and the program that it failed on.
#[derive(Clone, PartialEq, Debug)]
pub struct PassFailure {
    /// The pass's name.
    pub pass: &'static str,
    /// The module before it.
    pub before: Module,
    /// What went wrong.
    pub cause: Cause,
}

impl PassFailure {
    /// The code of the diagnostic.
    pub fn code(&self) -> Code {
        match self.cause {
            Cause::Refused(_) => Code::PassRefused,
            Cause::Invalid(_) => Code::PassInvalid,
            Cause::Panicked(_) => Code::PassPanicked,
        }
    }
}

impl Display for PassFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Refused(message) => write!(f, "pass {}: {message}", self.pass),
            Cause::Invalid(error) => write!(f, "pass {} made an invalid program: {error}", self.pass),
            Cause::Panicked(message) => write!(f, "pass {} panicked: {message}", self.pass),
        }
    }
}

impl std::error::Error for PassFailure {}

impl Diagnostic for PassFailure {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        Some(Box::new(PassFailure::code(self)))
    }
}

/// Runs passes one after another. `observe` sees the module before the first and after each.
///
/// The first and the last module are verified; those between with debug assertions, or where the options ask for it.
///
/// # Errors
/// The first failure.
pub fn run_passes(
    passes: &[&Pass],
    module: &Module,
    options: &Options<'_>,
    mut observe: impl FnMut(&Stage<'_>),
) -> Result<(Module, Report), Box<PassFailure>> {
    let failure = |pass, before: &Module, cause| Box::new(PassFailure { pass, before: before.clone(), cause });
    let start = Instant::now();
    module.verify().map_err(|error| failure(IMPORT, module, Cause::Invalid(error)))?;
    let first =
        Stage { number: 0, name: IMPORT, module, changed: true, time: Duration::ZERO, verifying: start.elapsed() };
    observe(&first);
    let mut report = Report { ops: (module.graph.op_counts(), module.graph.op_counts()), ..Report::default() };
    let mut current = module.clone();
    for (i, pass) in passes.iter().enumerate() {
        let start = Instant::now();
        let ran = catch_unwind(AssertUnwindSafe(|| (pass.run)(&current, options, &mut report)));
        let time = start.elapsed();
        let next = match ran {
            Ok(Ok(next)) => next,
            Ok(Err(message)) => return Err(failure(pass.name, &current, Cause::Refused(message))),
            Err(panic) => return Err(failure(pass.name, &current, Cause::Panicked(panic_message(&*panic)))),
        };
        let start = Instant::now();
        if options.verify || cfg!(debug_assertions) || i + 1 == passes.len() {
            next.verify().map_err(|error| failure(pass.name, &current, Cause::Invalid(error)))?;
        }
        let verifying = start.elapsed();
        let changed = next.graph != current.graph;
        current = next;
        observe(&Stage { number: i + 1, name: pass.name, module: &current, changed, time, verifying });
    }
    report.ops.1 = current.graph.op_counts();
    Ok((current, report))
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::find;
    use swint_ir::{Elem, Graph, InputId, Scale, Type, Value, Weights, graph::Decl, op::Op};

    fn relu() -> Module {
        let input = Decl { name: "x".into(), ty: Type::f32([2, 4]) };
        let mut module = Module { graph: Graph::new("g", vec![input]), weights: Weights::default() };
        module.graph.output = module.graph.push(Op::Gelu {}, vec![Value::Input(InputId(0))]).unwrap();
        module
    }

    fn pass(name: &'static str, run: fn(&Module, &Options<'_>, &mut Report) -> Result<Module, String>) -> Pass {
        Pass { name, summary: "", wanted: |_| true, calibrated: false, run }
    }

    #[test]
    fn each_failure_names_the_pass_and_keeps_the_program_before_it() {
        let breaks = |m: &Module, _: &Options<'_>, _: &mut Report| {
            let mut m = m.clone();
            m.graph.nodes[0].ty = Type::int(Elem::I8, Scale::UNIT, [2, 4]);
            Ok(m)
        };
        let cases = [
            (pass("refuses", |_, _, _| Err("no".to_owned())), "pass refuses: no", "SW0201"),
            (pass("breaks", breaks), "pass breaks made an invalid program: invalid graph: %0", "SW0202"),
            (pass("panics", |_, _, _| panic!("oh {}", 1)), "pass panics panicked: oh 1", "SW0203"),
        ];
        let approximate = find("approximate").unwrap();
        for (bad, message, code) in &cases {
            let mut seen = Vec::new();
            let failure =
                run_passes(&[approximate, bad], &relu(), &Options::default(), |s| seen.push(s.name)).unwrap_err();
            assert_eq!(seen, [IMPORT, "approximate"]);
            assert!(failure.to_string().starts_with(message), "{failure}");
            assert_eq!((failure.pass, failure.code().id()), (bad.name, *code));
            assert_eq!(failure.before.graph.nodes[0].op, Op::Relu {}, "the module before the pass");
        }
    }

    #[test]
    fn the_first_program_is_verified() {
        let mut module = relu();
        module.graph.output = Value::Input(InputId(7));
        let failure = run_passes(&[], &module, &Options::default(), |_| {}).unwrap_err();
        assert_eq!(failure.pass, IMPORT);
    }

    #[test]
    fn stages_say_what_changed() {
        let approximate = find("approximate").unwrap();
        let mut seen = Vec::new();
        let options = Options::default();
        let (_, report) =
            run_passes(&[approximate, approximate], &relu(), &options, |s| seen.push((s.number, s.changed))).unwrap();
        assert_eq!(seen, [(0, true), (1, true), (2, false)]);
        assert_eq!(report.approximated, 1);
    }
}
