//! `swint explain-error`.

use super::print;
use miette::miette;
use std::process::ExitCode;
use swint::ir::{Code, diagnostic::did_you_mean};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// A code, like SW0106. Without, all are listed.
    code: Option<String>,
}

impl Args {
    /// Explains a code.
    pub fn run(self) -> miette::Result<ExitCode> {
        let Some(id) = &self.code else {
            print(Code::ALL.iter().map(|code| format!("{code}  {}\n", code.title())).collect::<String>())?;
            return Ok(ExitCode::SUCCESS);
        };
        let Some(code) = Code::from_id(id) else {
            let hint = did_you_mean(&id.to_uppercase(), Code::ALL.iter().map(|c| c.id()));
            let hint = hint.unwrap_or_else(|| "`swint explain-error` lists them".to_owned());
            return Err(miette!(help = hint, "there is no code {id:?}"));
        };
        let explanation: String = code.explanation().lines().map(|line| format!("{}\n", line.trim_start())).collect();
        let mut text = format!("{code}: {}\n\n{explanation}", code.title());
        if let Some((wrong, right)) = code.example() {
            let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
            text += &format!("\nWrong:\n\n{}\nRight:\n\n{}", indented(wrong), indented(right));
        }
        print(text)?;
        Ok(ExitCode::SUCCESS)
    }
}
