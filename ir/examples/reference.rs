//! Prints the reference page of the IR: `cargo run -p swint-ir --example reference > docs/ir.md`

fn main() {
    print!("{}", swint_ir::reference::markdown());
}
