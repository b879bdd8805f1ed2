//! The text form: `parse(print(g)) == g`.
//!
//! ```text
//! graph      = "graph" "@" NAME "(" [input {"," input}] ")" "->" type "{" {const} {node} "return" value "}"
//! input      = "%" NAME ":" type
//! const      = "const" "@" NAME ":" type
//! node       = "%" NUMBER "=" OP value {"," value} ["{" attr {"," attr} "}"] ":" type ["loc" STRING {"," STRING}]
//! attr       = NAME "=" (NUMBER | "[" NUMBER {"," NUMBER} "]" | NAME)
//! value      = "%" NUMBER | "%" NAME | "@" NAME
//! type       = ELEM ["<" scale ">"] "[" [NUMBER {"," NUMBER}] "]"
//! scale      = NUMBER | [NUMBER "*"] "@" NAME ":" NUMBER
//! ```
//!
//! A name is made of letters, digits, `_`, `.` and `-`; `//` starts a comment.

mod lex;
mod parse;
mod print;

pub use lex::is_name;
pub use parse::parse;
pub use print::print;

#[cfg(test)]
mod tests;
