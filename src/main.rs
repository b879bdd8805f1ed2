//! The `swint` command line tool.

mod cli;
mod errors;

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
    let cli = cli::Cli::parse();
    let format = cli.error_format;
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            let text = match format {
                cli::ErrorFormat::Text => format!("{error:?}{}", errors::hint(&*error)),
                cli::ErrorFormat::Json => errors::json(&*error).to_string(),
            };
            // Nothing is left to do when nobody listens.
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}
