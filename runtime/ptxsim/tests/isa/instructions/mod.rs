//! Each instruction against its definition in the PTX ISA.

mod bits;
mod convert;
mod float;
mod integer;
mod memory;
mod predicate;
