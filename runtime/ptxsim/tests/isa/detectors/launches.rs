//! What a launch must do that may start before the one before it has completed.

use super::*;

fn config(threads: u32) -> Config {
    Config { programmatic: true, ..Config::new(1, threads) }
}

/// The same accesses are fine after the wait, of what is constant, and in a launch that starts when those before have completed.
#[test]
fn accesses_ahead_of_the_launches_before() {
    for access in [
        "ld.global.u32 %r3, [%l1]; // here",
        "ld.u32 %r3, [%l1]; // here",
        "st.global.u32 [%l1], %r0; // here",
        "red.global.add.u32 [%l1], 1; // here",
        "cp.async.ca.shared.global [%r1], [%l1], 4; // here\ncp.async.wait_all;",
    ] {
        let early = format!("{access}\ngriddepcontrol.wait;");
        is_found_in(Kind::Dependency, &early, &config(4), Access::ReadWrite);
        is_fine_in(&early, &Config::new(1, 4), Access::ReadWrite);
        is_fine_in(&format!("griddepcontrol.wait;\n{access}"), &config(4), Access::ReadWrite);
        if access.starts_with("ld") || access.starts_with("cp") {
            is_found_in(Kind::Dependency, &early, &config(4), Access::Read);
            is_fine_in(&early, &config(4), Access::Constant);
        }
    }
    // To let the next launch start is not to wait for the one before.
    let only = "griddepcontrol.launch_dependents;\nld.global.u32 %r3, [%l1]; // here\ngriddepcontrol.wait;";
    is_found_in(Kind::Dependency, only, &config(4), Access::Read);
    // What a block has for itself is no other launch's.
    is_fine_in("st.shared.u32 [%r1], %r0;\nst.local.u32 [l], %r0;\ngriddepcontrol.wait;", &config(4), Access::Read);
    is_found_in(Kind::ReadOnly, "st.global.u32 [%l1], 1; // here\ngriddepcontrol.wait;", &config(1), Access::Constant);
}

/// Every thread waits for itself: neither a barrier nor another lane's wait will do.
#[test]
fn waits_of_other_threads() {
    let wait = |guard: &str, then: &str| format!("setp.lt.u32 %p0, %r0, 32;\n{guard} griddepcontrol.wait;\n{then}");
    let read = "bar.sync 0;\nld.global.u32 %r3, [%l1]; // here\ngriddepcontrol.wait;";
    assert_eq!(
        is_found_in(Kind::Dependency, &wait("@%p0", read), &config(64), Access::Read).thread,
        Some(([0; 3], 32))
    );
    assert_eq!(
        is_found_in(Kind::Dependency, &wait("@!%p0", read), &config(64), Access::Read).thread,
        Some(([0; 3], 0))
    );
    is_fine_in(&wait("", read), &config(64), Access::Read);
    // Each warp, and each block, starts anew.
    let first =
        "setp.eq.u32 %p0, %r2, 0;\n@%p0 griddepcontrol.wait;\nld.global.u32 %r3, [%l1]; // here\ngriddepcontrol.wait;";
    let two = Config { programmatic: true, ..Config::new(2, 1) };
    assert_eq!(is_found_in(Kind::Dependency, first, &two, Access::Read).thread, Some(([1, 0, 0], 0)));
}

/// The launch after this one counts on its having waited, too.
#[test]
fn threads_that_end_without_a_wait() {
    let ends = "setp.lt.u32 %p0, %r0, 5;\n@%p0 ret; // here\ngriddepcontrol.wait;";
    is_found_in(Kind::Dependency, ends, &config(32), Access::Read);
    is_fine_in(ends, &Config::new(1, 32), Access::Read);
    is_fine_in(&format!("griddepcontrol.wait;\n{ends}"), &config(32), Access::Read);
    is_found_in(Kind::Dependency, "griddepcontrol.launch_dependents;\nret; // here", &config(1), Access::Read);
    is_found_in(Kind::Dependency, "ret; // here", &config(1), Access::Constant);
}

/// `ld.global.nc` is ordered with no wait: it may be done before, and find what was there.
#[test]
fn reads_that_no_wait_holds_back() {
    let late = "griddepcontrol.wait;\nld.global.nc.u32 %r3, [%l0]; // here";
    is_found_in(Kind::ReadOnly, late, &config(1), Access::Read);
    is_fine_in(late, &Config::new(1, 1), Access::Read);
    is_fine_in(late, &config(1), Access::Constant);
    is_fine_in("ld.global.nc.u32 %r3, [%l0];\ngriddepcontrol.wait;", &config(1), Access::Constant);
}
