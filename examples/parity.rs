//! Compares meta-gradients computed here with golden values computed elsewhere, on a device and in a precision of choice.
//!
//! `cargo run --release --example parity -- crates/burn-meta/tests/fixtures/*/`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use burn_meta::parity::{Comparison, Fixture};
use clap::Parser;
use common::arguments::{Screen, parse};
use common::device::{DeviceName, Precision};
use common::document::Document;
use common::failure::{Failure, exit};
use common::files;
use serde::Serialize;
use serde_json::json;

/// Compare meta-gradients of every estimator with golden values of a fixture, computed elsewhere in double precision.
///
/// The exit code is 0 if all are within tolerance, 1 if one is not, and 2 if a fixture cannot be read.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(version)]
struct Arguments {
    /// Fixtures: directories with fixture.json and fixture.safetensors
    #[arg(required = true, value_name = "FIXTURE_DIR")]
    fixtures: Vec<PathBuf>,

    /// Precision to compute in; the tolerance is 1e-8 in f64 and 2e-3 in f32
    #[arg(long, value_enum, default_value = "f64")]
    dtype: Precision,

    /// Where to compute
    #[arg(long, value_enum, default_value = "flex")]
    device: DeviceName,

    /// Write settings and results as JSON; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,
}

/// One line of the table.
#[derive(Serialize)]
struct Row {
    fixture: String,
    #[serde(flatten)]
    comparison: Comparison,
    passed: bool,
}

fn main() -> ExitCode {
    exit(parse().and_then(run))
}

fn run(args: Arguments) -> Result<(), Failure> {
    let screen = Screen::new(args.json.as_deref());
    args.json.as_deref().map_or(Ok(()), files::check_file)?;
    let device = args.device.open()?;
    let dtype = args.dtype.on(&device)?;
    let started = Instant::now();
    let opened = args.fixtures.iter().map(|path| Ok((name(path), Fixture::open(path)?)));
    let opened: Vec<(String, Fixture)> = opened.collect::<Result<_, Failure>>()?;
    let mut rows = Vec::new();
    for (name, fixture) in opened {
        let comparisons = fixture.compare(&device, dtype).map_err(|error| Failure::from(error).at(&name))?;
        rows.extend(comparisons.into_iter().map(|comparison| {
            let passed = comparison.passed();
            Row { fixture: name.clone(), comparison, passed }
        }));
    }

    screen.result(format_args!("{:<20} {:<14} {:>14} {:>10}", "fixture", "quantity", "relative error", "tolerance"));
    for Row { fixture, comparison, passed } in &rows {
        let Comparison { name, relative_error, tolerance } = comparison;
        let verdict = if *passed { "ok" } else { "OVER" };
        screen.result(format_args!("{fixture:<20} {name:<14} {relative_error:>14.2e} {tolerance:>10.0e} {verdict}"));
    }
    let over = rows.iter().filter(|row| !row.passed).count();
    if let Some(path) = &args.json {
        let settings = serde_json::to_value(&args).map_err(Failure::failed)?;
        let results = json!({ "comparisons": rows, "over_tolerance": over });
        let document = Document::new("parity", settings, results);
        document.with_timing("seconds", started.elapsed().as_secs_f64()).write(path)?;
    }
    if over == 0 {
        screen.result(format_args!("{} quantities within tolerance", rows.len()));
        return Ok(());
    }
    Err(Failure::failed(format!("{over} of {} quantities are over their tolerance", rows.len())))
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
