//! The directory of a run: who is at work in it, and its logs.
//!
//! `metrics.csv` and `metrics.jsonl` hold one line for each meta-step and validation, and depend on the settings alone: a run
//! that was interrupted and resumed leaves the same bytes as one that was not. What differs from run to run is in
//! `timing.jsonl`.
//!
//! Does not know: what a checkpoint holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::event::{StepRecord, ValidationRecord};
use crate::error::{Error, Result};

const CSV: &str = "metrics.csv";
const JSONL: &str = "metrics.jsonl";
const TIMING: &str = "timing.jsonl";

/// An error about a file of a run.
pub(super) fn at(path: &Path, problem: impl ToString) -> Error {
    Error::Run { path: path.display().to_string(), problem: problem.to_string() }
}

/// How long the logs were at a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogBytes {
    csv: u64,
    jsonl: u64,
}

/// A directory that this process alone works in.
pub(super) struct RunDirectory {
    path: PathBuf,
    metrics: Vec<String>,
    csv: File,
    jsonl: File,
    timing: File,
    /// Held as long as the file is open.
    _lock: File,
}

impl RunDirectory {
    /// Opens or makes the directory of a run with these metrics.
    pub fn open(path: &Path, metrics: Vec<String>) -> Result<Self> {
        fs::create_dir_all(path).map_err(|cause| at(path, cause))?;
        let lock = open(&path.join(".lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(at(path, "another run is at work in this directory")),
            Err(TryLockError::Error(cause)) => return Err(at(path, cause)),
        }
        let [csv, jsonl, timing] = [CSV, JSONL, TIMING].map(|name| open(&path.join(name)));
        let timing = timing?;
        whole_lines(&timing).map_err(|cause| at(&path.join(TIMING), cause))?;
        Ok(Self { path: path.into(), metrics, csv: csv?, jsonl: jsonl?, timing, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins new logs, but not in the place of those of a run whose checkpoints are gone.
    pub fn begin(&mut self, checkpoints: bool) -> Result<()> {
        let logged = self.jsonl.metadata().map_err(|cause| at(&self.path, cause))?.len();
        if logged > 0 && !checkpoints {
            let problem =
                "the logs of a run without a checkpoint to go on from: remove metrics.jsonl to begin anew here";
            return Err(at(&self.path, problem));
        }
        self.cut(LogBytes::default())?;
        self.timing.set_len(0).map_err(|cause| at(&self.path, cause))?;
        let mut columns = vec!["iteration".to_owned(), "part".into(), "loss".into(), "loss_interval95".into()];
        columns.extend(self.metrics.iter().flat_map(|name| [name.clone(), format!("{name}_interval95")]));
        columns.extend(["learning_rate".into(), "gradient_norm".into()]);
        let header = columns.join(",");
        line(&self.path, &mut self.csv, &header)
    }

    /// Cuts off what was logged after a checkpoint.
    pub fn cut(&mut self, to: LogBytes) -> Result<()> {
        for (name, file, bytes) in [(CSV, &mut self.csv, to.csv), (JSONL, &mut self.jsonl, to.jsonl)] {
            let cut = || {
                let found = file.metadata()?.len();
                if found < bytes {
                    let problem = format!("the log has {found} bytes, the checkpoint was written after {bytes}");
                    return Err(std::io::Error::other(problem));
                }
                file.set_len(bytes)
            };
            cut().map_err(|cause| at(&self.path.join(name), cause))?;
        }
        Ok(())
    }

    /// The logs as they are now, on the disk.
    pub fn sync(&self) -> Result<LogBytes> {
        let length = |file: &File| {
            file.sync_all()?;
            file.metadata().map(|data| data.len())
        };
        let both = || Ok(LogBytes { csv: length(&self.csv)?, jsonl: length(&self.jsonl)? });
        both().map_err(|cause: std::io::Error| at(&self.path, cause))
    }

    pub fn log_step(&mut self, step: &StepRecord) -> Result<()> {
        let metrics = step.metrics.iter().flat_map(|(_, value)| [Some(*value), None]);
        let numbers = [Some(step.loss), None].into_iter().chain(metrics);
        let numbers = numbers.chain([Some(step.learning_rate), Some(step.gradient_norm)]);
        self.row(step.iteration, "train", numbers)?;
        let mut document = document(step.iteration, "train", step.loss);
        document.extend(step.metrics.iter().map(|(name, value)| (name.clone(), json!(value))));
        document.insert("learning_rate".into(), json!(step.learning_rate));
        document.insert("gradient_norm".into(), json!(step.gradient_norm));
        self.document(document)?;
        let timing = json!({ "iteration": step.iteration, "part": "train", "seconds": step.seconds,
            "phases": step.report.phases, "peak_bytes": step.report.peak_bytes });
        line(&self.path, &mut self.timing, &timing.to_string())
    }

    pub fn log_validation(&mut self, validation: &ValidationRecord) -> Result<()> {
        let summaries = std::iter::once(&validation.loss).chain(validation.metrics.iter().map(|(_, value)| value));
        let numbers: Vec<_> = summaries.flat_map(|value| [Some(value.mean), Some(value.interval95)]).collect();
        self.row(validation.iteration, "validation", numbers.into_iter().chain([None, None]))?;
        let mut document = document(validation.iteration, "validation", validation.loss.mean);
        document.insert("loss_interval95".into(), json!(validation.loss.interval95));
        for (name, value) in &validation.metrics {
            document.insert(name.clone(), json!(value.mean));
            document.insert(format!("{name}_interval95"), json!(value.interval95));
        }
        document.insert("tasks".into(), json!(validation.loss.count));
        document.insert("is_best".into(), json!(validation.is_best));
        self.document(document)?;
        let timing = json!({ "iteration": validation.iteration, "part": "validation", "seconds": validation.seconds });
        line(&self.path, &mut self.timing, &timing.to_string())
    }

    fn row(&mut self, iteration: u64, part: &str, numbers: impl Iterator<Item = Option<f64>>) -> Result<()> {
        let cell = |number: Option<f64>| number.filter(|x| x.is_finite()).map_or_else(String::new, |x| x.to_string());
        let cells: Vec<String> = numbers.map(cell).collect();
        line(&self.path, &mut self.csv, &format!("{iteration},{part},{}", cells.join(",")))
    }

    fn document(&mut self, document: Map<String, Value>) -> Result<()> {
        line(&self.path, &mut self.jsonl, &Value::Object(document).to_string())
    }
}

fn document(iteration: u64, part: &str, loss: f64) -> Map<String, Value> {
    Map::from_iter([("iteration".into(), iteration.into()), ("part".into(), part.into()), ("loss".into(), json!(loss))])
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(|cause| at(path, cause))
}

/// Cuts off what comes after the last whole line.
fn whole_lines(mut file: &File) -> std::io::Result<()> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    if end < text.len() { file.set_len(end as u64) } else { Ok(()) }
}

/// A whole line in one write, at the end.
fn line(path: &Path, file: &mut File, text: &str) -> Result<()> {
    let write = file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(format!("{text}\n").as_bytes()));
    write.map_err(|cause| at(path, cause))
}

/// Writes `name` in a directory, to the disk.
pub(super) fn write_file(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|cause: std::io::Error| at(&path, cause))
}
