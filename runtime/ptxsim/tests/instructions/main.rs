//! Each instruction against its definition in the PTX ISA.

#[path = "../common/mod.rs"]
mod common;

mod bits;
mod convert;
mod float;
mod integer;
mod memory;
mod predicate;
