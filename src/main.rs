//! The `swint` command line tool.

mod cli;

use clap::Parser;
use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    // Wrapped lines would tear paths apart where no person reads them.
    let wrap = std::io::stderr().is_terminal();
    miette::set_hook(Box::new(move |_| Box::new(miette::MietteHandlerOpts::new().wrap_lines(wrap).build())))
        .expect("no hook was set before");
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to do when nobody listens.
            let _ = writeln!(std::io::stderr(), "{error:?}");
            ExitCode::FAILURE
        }
    }
}
