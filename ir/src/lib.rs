//! The intermediate representation of swint.
//!
//! - [`types`], [`op`], [`graph`]: what a program is. One table of ops ([`op::OpKind`]), one shape inference ([`infer()`]).
//! - [`fused`]: ops that stand for several, by their bodies.
//! - [`text`]: printed and parsed form; `parse(print(g)) == g`.
//! - [`mod@reference`]: the IR's reference page, made from all of this.
//! - [`verify()`]: the invariants that every later stage relies on; [`diagnostic`]: how what is wrong is said.
//! - [`arith`], [`math`]: integer and float arithmetic, the contract of every backend.
//! - [`interp`]: the reference interpreter, the oracle of kernels and rewrites.
//! - [`random`]: random values and random valid graphs, for trying out programs and passes.
//!
//! The crate depends on nothing else of swint and on no GPU crate.

pub mod arith;
pub mod diagnostic;
pub mod fused;
pub mod graph;
pub mod index_map;
pub mod infer;
pub mod interp;
pub mod math;
pub mod op;
pub mod pair;
pub mod random;
pub mod reference;
pub mod tensor;
pub mod text;
pub mod types;
pub mod verify;

pub use diagnostic::{Code, SourceError, SourceErrors};
pub use graph::{ConstId, Decl, Graph, InputId, Module, Node, NodeId, Value};
pub use infer::{TypeError, infer};
pub use op::{Op, OpKind};
pub use pair::Pair;
pub use tensor::{Data, Tensor, Weights};
pub use types::{Elem, F32, Scale, Type};
pub use verify::{VerifyError, verify, verify_weights};
