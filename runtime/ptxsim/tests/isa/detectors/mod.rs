//! Each kind of fault has a kernel that has it, found at its line, and a sibling that has not.

mod accesses;
mod launches;
mod races;
mod warps;

use crate::common::{buffer, launch, module};
use swint_ptxsim::{Access, Buffer, Config, Finding, Kind, Module, Outcome, Param, run};

/// A kernel starts with its thread's number in `%r0`, its address in shared memory in `%r1`, that of its word of `p0` in `%l1`.
const HEAD: &str = ".shared .align 16 .b8 s[4096]; .local .align 16 .b8 l[64]; ld.param.u64 %l0, [p0]; \
    mov.u32 %r0, %tid.x; \
    mov.u32 %r1, s; mad.lo.s32 %r1, %r0, 4, %r1; mad.wide.u32 %l1, %r0, 4, %l0; mov.u32 %r2, %ctaid.x;\n";

fn outcome(body: &str, config: &Config, access: Access) -> (Outcome, Vec<Buffer>) {
    let mut buffers = vec![buffer(vec![0; 4096], access)];
    (launch(&module(1, "", &format!("{HEAD}{body}\nret;")), config, &mut buffers), buffers)
}

/// The body's line with a mark, if there is one; the body follows line 2.
fn line(body: &str, mark: &str) -> Option<u32> {
    body.lines().position(|line| line.contains(mark)).map(|i| i as u32 + 3)
}

/// Exactly one fault, at the line marked `// here`, with the line marked `// there`.
fn is_found_in(kind: Kind, body: &str, config: &Config, access: Access) -> Finding {
    let (outcome, _) = outcome(body, config, access);
    let found: Vec<_> = outcome.findings.iter().map(|f| (f.kind, f.line, f.other)).collect();
    assert_eq!(
        found,
        [(kind, line(body, "// here").unwrap(), line(body, "// there"))],
        "{:?}\n{body}",
        outcome.findings
    );
    outcome.findings[0].clone()
}

fn is_found(kind: Kind, body: &str, threads: u32) -> Finding {
    is_found_in(kind, body, &Config::new(1, threads), Access::ReadWrite)
}

fn is_fine_in(body: &str, config: &Config, access: Access) {
    let (outcome, _) = outcome(body, config, access);
    assert!(outcome.findings.is_empty(), "{:?}\n{body}", outcome.findings);
}

fn is_fine(body: &str, threads: u32) {
    is_fine_in(body, &Config::new(1, threads), Access::ReadWrite);
}
