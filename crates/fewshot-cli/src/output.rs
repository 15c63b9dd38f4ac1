//! Where results go: lines for people, a JSON document for programs.
//!
//! Does not know: what the results are.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::Failure;

/// Version of the document's form; grows when a key changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// The `--json` option of a command, and where its lines go.
#[derive(Clone, Debug, clap::Args)]
pub struct Output {
    /// Write what was found as JSON to this file, or to standard output if it is `-` (lines for people then go to standard
    /// error).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Output {
    /// A line for people. A reader that has gone away is no error.
    pub fn line(&self, line: impl std::fmt::Display) {
        match self.on_stdout() {
            true => note(line),
            false => drop(writeln!(std::io::stdout(), "{line}")),
        }
    }

    fn on_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    /// Writes the document, if one is asked for. A file appears whole or not at all.
    pub fn document(&self, command: &str, settings: Value, results: Value) -> Result<(), Failure> {
        let Some(path) = &self.json else { return Ok(()) };
        let (program, version) = (format!("fewshot {command}"), env!("CARGO_PKG_VERSION"));
        let document = json!({
            "schema_version": SCHEMA_VERSION, "program": program, "version": version, "settings": settings, "results": results,
        });
        let text = serde_json::to_string_pretty(&document).map_err(Failure::failed)? + "\n";
        if self.on_stdout() {
            let mut stdout = std::io::stdout();
            return stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::failed);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path)).map_err(|cause| {
            fs::remove_file(&temporary).ok();
            Failure::failed(format!("{}: cannot write: {cause}", path.display()))
        })
    }
}

/// A remark, on standard error.
pub fn note(line: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Whether somebody watches standard error.
pub fn watched() -> bool {
    std::io::stderr().is_terminal()
}

/// A number of bytes as people say it.
pub fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
