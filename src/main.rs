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
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && errors::wants_json(std::env::args_os()) => {
            say(errors::of_usage(&error));
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    let json = cli.error_format == cli::ErrorFormat::Json;
    if json {
        std::panic::set_hook(Box::new(|panic| say(errors::of_panic(panic))));
    }
    match cli.run() {
        Ok(code) => code,
        Err(error) if json => {
            say(errors::json(&*error));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(format_args!("{error:?}{}", errors::hint(&*error)));
            ExitCode::FAILURE
        }
    }
}

/// Prints to stderr; nothing is left to do when nobody listens.
fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
