//! What is changed in a kernel's PTX after LLVM has written it.

/// The text of a kernel for tensor cores, with two things said that cubecl leaves to chance.
///
/// A multiprocessor should have `blocks` of it at a time: knowing only how large a block is, NVIDIA's assembler spills registers that it
/// could keep, to have more. And its shuffles are of whole warps: cubecl has them among the lanes that happen to be active, which
/// need not be all that are on their way.
pub(crate) fn of_whole_warps(text: &str, blocks: Option<usize>) -> String {
    let changed = |line: &str| match line.trim_start().strip_prefix("activemask.b32") {
        Some(register) => format!("\tmov.b32 {}, -1;\n", register.trim().trim_end_matches(';')),
        None => match blocks.filter(|_| line.starts_with(".reqntid")) {
            Some(blocks) => format!("{line}\n.minnctapersm {blocks}\n"),
            None => format!("{line}\n"),
        },
    };
    text.lines().map(changed).collect()
}

/// The text of a kernel that may be launched before the launch before it has completed. (CUDA C++ Programming Guide, programmatic
/// dependent launch; PTX ISA 7.8, griddepcontrol)
///
/// Every thread waits before it accesses global memory. The wait ends when the launch before has completed and what it has written can be
/// seen. That one's threads have waited as well, so the launch before it had completed by then, and so on: a thread goes on
/// when all launches before have completed, as if they had not overlapped, and memory that any of them has used may be reused. What
/// overlaps is that blocks are placed and begin.
///
/// Before that it lets the next launch start. That happens when all blocks of this one have said so: as they are placed by then, the
/// next one's, which only wait, take no room from them.
///
/// `ld.global.nc` is for what nothing writes as long as a kernel runs, and now the one before runs, too: NVIDIA's assembler moves such
/// loads across the wait, so they become plain ones.
pub(crate) fn of_overlapping_launches(text: &str) -> String {
    let mut changed = String::with_capacity(text.len() + 80);
    let (mut in_body, mut begun) = (false, false);
    for line in text.lines() {
        if in_body && !begun && !is_declaration(line) {
            changed += "\tgriddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;\n";
            begun = true;
        }
        in_body |= line.starts_with('{');
        changed += &line.replace("ld.global.nc.", "ld.global.");
        changed.push('\n');
    }
    changed
}

/// Whether a line of a body is no instruction or label: a directive, a comment, or empty.
fn is_declaration(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('.') || line.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: &str = "\
.visible .entry k(
\t.param .u64 .ptr .global .align 1 k_param_0
)
.reqntid 32, 1, 1
{
\t.reg .b32 \t%r<3>;
\t.reg .b64 \t%rd<2>;

// %bb.0:
\tld.param.b64 \t%rd1, [k_param_0];
\tactivemask.b32 \t%r1;
\tld.global.nc.b32 \t%r2, [%rd1];
\tret;
}
";

    #[test]
    fn warps_are_whole() {
        let text = of_whole_warps(KERNEL, Some(2));
        assert!(text.contains("\n.reqntid 32, 1, 1\n.minnctapersm 2\n{\n"), "{text}");
        assert!(text.contains("\tmov.b32 %r1, -1;\n") && !text.contains("activemask"), "{text}");
        assert!(!of_whole_warps(KERNEL, None).contains(".minnctapersm"));
    }

    #[test]
    fn a_kernel_waits_first() {
        let text = of_overlapping_launches(KERNEL);
        let begin = "// %bb.0:\n\tgriddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;\n\tld.param.b64 ";
        assert!(text.contains(begin), "{text}");
        assert!(text.contains("\tld.global.b32 \t%r2"), "{text}");
        // A label there may be the target of a loop.
        let looped = KERNEL.replace("\tld.param", "$L__BB0_1:\n\tld.param");
        assert!(of_overlapping_launches(&looped).contains("\tgriddepcontrol.wait;\n$L__BB0_1:\n"));
    }
}
