//! What is changed in a kernel's PTX after LLVM has written it.

mod body;

use body::Body;
use std::collections::HashSet;

/// What a kernel says where it waits for the launches before, if its launches overlap; nothing to an assembler.
pub(crate) const WAITS_HERE: &str = "// swint: the launches before";

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

/// The text of a kernel whose loop loads the same constants in every round.
///
/// NVIDIA's assembler takes `ld.global.nc` out of loops: attention's biases then lie in registers from one window to the next, 28 or 56 of them, and half as
/// many warps have room. Loads that something might write between stay where they are. They are of 16 bytes; the few of less are hardly
/// any registers.
pub(crate) fn of_loads_in_loops(text: &str) -> String {
    text.replace("ld.global.nc.v4.", "ld.global.v4.")
}

/// The text of a kernel that may be launched before the launch before it has completed; of the buffers that are its parameters, `constants` are
/// written by none. (CUDA C++ Programming Guide, programmatic dependent launch; PTX ISA 7.8, griddepcontrol)
///
/// Every thread waits before it accesses what launches write. The wait ends when the launch before has completed and what it has written
/// can be seen. That one's threads have waited as well, or it has not overlapped, so the launch before it had completed by then, and so on: a thread goes on
/// when all launches before have completed, as if they had not overlapped, and memory that any of them has used may be reused. What
/// overlaps is that blocks are placed and begin: what comes before the first such access, loads of constants too. A kernel says itself
/// where it waits ([`WAITS_HERE`]). In others that is before the first such access or branch, so that it is plain that each thread waits
/// once.
///
/// When it has waited, it lets the next launch start. That happens when all blocks of this one have said so: as they are placed by then,
/// the next one's, which mostly wait, take no room from them. Were it said at the start, the launch after the next would start as well, before
/// this one's work has begun, and so on: blocks of several launches would fill the processors, only to wait. (An inference of Swin-T at a
/// batch of 1 took 335 us so on an H200, and 254 us as it is.)
///
/// `ld.global.nc` is for what nothing writes as long as a kernel runs, and now the one before runs, too: NVIDIA's assembler moves such
/// loads across the wait. They become plain ones, and those of constants before the wait do so as well, for it would move them behind.
///
/// # Errors
/// The access to what launches write that comes before a kernel's own wait, or that there are two of these.
pub(crate) fn of_overlapping_launches(text: &str, entry: &str, constants: &[bool]) -> Result<String, String> {
    let body = Body::read(text, entry, constants);
    let mut marked = text.lines().enumerate().filter(|(_, line)| line.trim() == WAITS_HERE).map(|(number, _)| number);
    let own = marked.next();
    if marked.next().is_some() {
        return Err("the wait for the launches before is there twice".to_owned());
    }
    if let Some(line) = own.and_then(|wait| body.access_before(wait)) {
        let line = text.lines().nth(line).unwrap_or_default().trim();
        return Err(format!("`{line}` comes before the wait for the launches before"));
    }
    let waits = own.or(body.dependent());
    let variable: HashSet<usize> = body.variable().collect();
    let mut changed = String::with_capacity(text.len() + 80);
    for (number, line) in text.lines().enumerate() {
        if waits == Some(number) {
            changed += "\tgriddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;\n";
        }
        let is_early = waits.is_some_and(|waits| number < waits);
        match is_early || variable.contains(&number) {
            true => changed += &line.replace("ld.global.nc.", "ld.global."),
            false => changed += line,
        }
        changed.push('\n');
    }
    Ok(changed)
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
    fn loads_stay_in_loops() {
        let text = "\tld.global.nc.v4.b32 \t{%r1, %r2, %r3, %r4}, [%rd1];\n\tld.global.nc.b32 \t%r5, [%rd2];\n";
        let wanted = "\tld.global.v4.b32 \t{%r1, %r2, %r3, %r4}, [%rd1];\n\tld.global.nc.b32 \t%r5, [%rd2];\n";
        assert_eq!(of_loads_in_loops(text), wanted);
    }

    /// A kernel that says itself where it waits: loops and copies of constants are before, and everything else behind.
    #[test]
    fn kernels_wait_where_they_say() {
        let text = |body: &str| format!("{{\n\t.reg .b64 \t%rd<9>;\n\n{}}}\n", body.replace("P", "k_param_"));
        let overlapped = |body: &str| of_overlapping_launches(&text(body), "k", &[true, false]);
        let copies = format!(
            "\tld.param.b64 \t%rd1, [P0];\n\tld.param.b64 \t%rd2, [P1];\n$L1:\n\tld.global.nc.b32 \t%r1, [%rd1];\n\
             \tcp.async.cg.shared.global [%r2], [%rd1+16], 16;\n\tcp.async.commit_group;\n\t@%p1 bra \t$L1;\n\
             \t// begin inline asm\n\t{WAITS_HERE}\n\t// end inline asm\n\tld.global.nc.b32 \t%r3, [%rd2];\n\
             \tld.global.nc.b32 \t%r4, [%rd1];\n\tret;\n"
        );
        let changed = overlapped(&copies).unwrap();
        let (before, after) = changed.split_once("\tgriddepcontrol.wait;\n").expect("it waits");
        assert!(before.contains("cp.async.cg") && before.contains("\tld.global.b32 \t%r1, [%rd1];"), "{changed}");
        assert!(
            after.contains("ld.global.b32 \t%r3, [%rd2];") && after.contains("ld.global.nc.b32 \t%r4"),
            "{changed}"
        );

        for (early, what) in [
            ("ld.global.b32 \t%r3, [%rd2];", "ld.global"),
            ("st.global.b32 \t[%rd2], %r3;", "st.global"),
            ("cp.async.ca.shared.global [%r2], [%rd2+8], 8;", "cp.async"),
        ] {
            let error = overlapped(&copies.replace("\tcp.async.commit_group;", &format!("\t{early}"))).unwrap_err();
            assert!(error.contains(what) && error.contains("before the wait"), "{error}");
        }
        let twice = overlapped(&copies.replace("\tret;", &format!("\t{WAITS_HERE}\n\tret;"))).unwrap_err();
        assert!(twice.contains("twice"), "{twice}");
    }

    /// A kernel with two buffers, of which the first is constant.
    fn overlapping(body: &str) -> String {
        let text = format!("{{\n\t.reg .b64 \t%rd<9>;\n\n{}}}\n", body.replace("P", "k_param_"));
        of_overlapping_launches(&text, "k", &[true, false]).expect("nothing too early").replace("k_param_", "P")
    }

    const LOADS: &str = "\
\tld.param.b64 \t%rd1, [P0];
\tld.param.b64 \t%rd2, [P1];
\tld.param.b32 \t%r1, [P2+8];
";

    /// The body's statement before which it waits.
    fn waits_before(body: &str) -> String {
        let text = overlapping(&format!("{LOADS}{body}"));
        let both = "\tgriddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;\n";
        let (before, after) = text.split_once(both).expect("one wait");
        assert!(!before.contains("griddepcontrol") && !after.contains("griddepcontrol"), "{text}");
        after.lines().next().unwrap().trim().to_owned()
    }

    #[test]
    fn a_kernel_waits_before_what_others_write() {
        // An index, a constant there, and then the other buffer.
        let index =
            "\tmov.u32 \t%r2, %tid.x;\n\tmad.wide.u32 \t%rd3, %r2, 4, %rd1;\n\tmad.wide.u32 \t%rd4, %r2, 4, %rd2;\n";
        let constant = "\tld.global.nc.v2.b32 \t{%r3, %r4}, [%rd3+16];\n";
        let shared = "\tmov.b64 \t%rd5, shared;\n\tst.shared.b32 \t[%rd5], %r3;\n";
        let variable = "\t@%p1 ld.global.nc.b32 \t%r5, [%rd4];\n";
        let body = format!("{index}{constant}{shared}{variable}{constant}\tst.global.b32 \t[%rd4], %r4;\n\tret;\n");
        assert_eq!(waits_before(&body), "@%p1 ld.global.b32 \t%r5, [%rd4];");
        // Only behind the wait does a load stay where it is anyway.
        let text = overlapping(&format!("{LOADS}{body}"));
        assert_eq!(text.matches("\tld.global.v2.b32 \t{%r3, %r4}, [%rd3+16];").count(), 1, "{text}");
        assert_eq!(text.matches("\tld.global.nc.v2.b32 \t{%r3, %r4}, [%rd3+16];").count(), 1, "{text}");
    }

    #[test]
    fn a_kernel_waits_before_its_first_branch() {
        for end in [
            "ret;",
            "@%p1 bra $L__BB0_2;",
            "$L__BB0_1:",
            "bar.sync 0;",
            "what.b32 \t%r9, %r9;",
            "st.global.b32 \t[%rd1], 0;",
        ] {
            let body = format!("\tld.global.nc.b32 \t%r3, [%rd1];\n\t{end}\n\tret;\n");
            assert_eq!(waits_before(&body), end);
        }
        // A statement of several lines.
        let mma = "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32\n\t\t{%r1, %r2},\n\t\t{%r3};\n";
        assert_eq!(waits_before(&format!("\t{mma}\tret;\n")), "ret;");
        let atomic = "\tatom.global.add.u32\n\t\t%r1,\n\t\t[%rd1], 1;\n\tret;\n";
        assert_eq!(waits_before(atomic), "atom.global.add.u32");
        let text = of_overlapping_launches("{\n\tret;\n}\n", "k", &[]).unwrap();
        assert_eq!(text, "{\n\tgriddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;\n\tret;\n}\n");
    }

    /// An address is a constant's only if all that it was made of is.
    #[test]
    fn addresses_that_may_be_of_other_buffers() {
        for (address, is_constant) in [
            ("add.s64 \t%rd3, %rd1, 8;", true),
            ("cvt.u64.u32 \t%rd4, %r1;\n\tadd.s64 \t%rd3, %rd1, %rd4;", true),
            ("selp.b64 \t%rd3, %rd1, %rd1, %p1;", true),
            ("selp.b64 \t%rd3, %rd1, %rd2, %p1;", false),
            ("mov.b64 \t{%r2, %r3}, %rd2;\n\tmov.b64 \t%rd3, {%r2, %r3};", false),
            ("add.s64 \t%rd3, %rd1, table;", false),
            ("mov.b64 \t%rd3, 4096;", false),
            ("ld.shared.b64 \t%rd3, [%r1];", false),
            ("ld.global.b32 \t%r2, [%rd1];\n\tmad.wide.u32 \t%rd3, %r2, 4, %rd1;", false),
            ("mov.b64 \t%rd3, %rd1;\n\t@%p1 mov.b64 \t%rd3, %rd2;", false),
            ("ld.param.b64 \t%rd3, [P3];", false),
            ("ld.param.b64 \t%rd3, [%rd1];", false),
        ] {
            let load = "ld.global.nc.b32 \t%r5, [%rd3+4];";
            let waits = waits_before(&format!("\t{address}\n\t{load}\n\tret;\n"));
            assert_eq!(waits, if is_constant { "ret;".to_owned() } else { load.replace(".nc", "") }, "{address}");
        }
        // Wherever a load is written.
        let text = overlapping(&format!("{LOADS}\tadd.s64 \t%rd3,\n\t%rd2, 8; ld.global.nc.b32 \t%r5, [%rd3];\n}}\n"));
        assert!(!text.contains(".nc"), "{text}");
        // What a register is given further down counts, as there may be a loop.
        let late = "\tmov.b64 \t%rd3, %rd1;\n\tld.global.nc.b32 \t%r5, [%rd3];\n\tmov.b64 \t%rd3, %rd2;\n\tret;\n";
        assert_eq!(waits_before(late), "ld.global.b32 \t%r5, [%rd3];");
    }
}
