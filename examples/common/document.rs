//! The JSON document of a run.
//!
//! Does not know: what any program measures.

use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::files;
use crate::memory;

/// Version of the document's form; grows when a key changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// Settings as they stand in a document: the results do not depend on the threads.
///
/// # Errors
///
/// [`Failure::Failed`].
pub fn settings_of(settings: &impl Serialize) -> Result<Value, Failure> {
    let mut settings = serde_json::to_value(settings).map_err(Failure::failed)?;
    if let Some(run) = settings.get_mut("run").and_then(Value::as_object_mut) {
        run.remove("threads");
    }
    Ok(settings)
}

/// Settings and results of a run, and apart from them, under `timing`, all that may differ between two runs with the same
/// settings on the same machine.
#[derive(Debug, Serialize)]
pub struct Document {
    schema_version: u32,
    program: &'static str,
    settings: Value,
    results: Value,
    timing: Map<String, Value>,
}

impl Document {
    /// The document of a program.
    pub fn new(program: &'static str, settings: Value, results: Value) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let threads = std::thread::available_parallelism().map_or(0, usize::from);
        let machine = json!({ "os": std::env::consts::OS, "arch": std::env::consts::ARCH, "threads": threads });
        let timing = Map::from_iter([
            ("version".to_string(), env!("CARGO_PKG_VERSION").into()),
            ("unix_time".to_string(), now.into()),
            ("machine".to_string(), machine),
            ("resident_bytes".to_string(), memory::resident_bytes().into()),
        ]);
        Self { schema_version: SCHEMA_VERSION, program, settings, results, timing }
    }

    /// Adds something that may differ from run to run.
    #[must_use]
    pub fn with_timing(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.timing.insert(key.into(), value.into());
        self
    }

    /// Writes the document to a file, or to standard output if the path is `-`.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`].
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(Failure::failed)? + "\n";
        if path == Path::new("-") {
            let mut stdout = std::io::stdout();
            let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
            return written.map_err(|cause| Failure::failed(cause).at("standard output"));
        }
        files::write(path, &text)
    }
}
