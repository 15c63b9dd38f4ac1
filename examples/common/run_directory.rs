//! The directory of a run, beside what the trainer keeps there: settings to go on with, and what its log says.
//!
//! Does not know: training, networks.

use std::fs;
use std::path::Path;

use burn_meta::{Checkpoint, Control, Event};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::arguments::note;
use crate::failure::Failure;
use crate::files;
use crate::progress::{Averages, TrainingPoint};

/// The file of a run's settings.
pub const SETTINGS: &str = "settings.toml";

/// Where a run is kept.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The directory.
    pub directory: &'a Path,
    /// What a run has to have in common with the one that is there already.
    pub identity: Value,
    /// All settings, as TOML: written beside the checkpoints, for the commands that come after.
    pub settings: String,
    /// Whether the dashboard is shown.
    pub dashboard: bool,
}

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// The best in validation; the last one where there was no validation
    Best,
    /// The last one
    Latest,
}

impl Which {
    /// That checkpoint of a run of a program.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] where there is none, or one of another program.
    pub fn of(self, run: &Path, program: &str) -> Result<Checkpoint, Failure> {
        let checkpoint = match self {
            Self::Best => Checkpoint::best(run)?,
            Self::Latest => Checkpoint::latest(run)?,
        };
        let found = &checkpoint.settings()["own"]["program"];
        if *found == program {
            return Ok(checkpoint);
        }
        Err(Failure::usage(format!("{}: a run of the program {found}, not of {program}", run.display())))
    }
}

/// Settings as JSON, without those that may change when a run goes on, or that say nothing of it.
///
/// # Errors
///
/// [`Failure::Failed`].
pub fn identity(settings: &impl Serialize) -> Result<Value, Failure> {
    let mut settings = serde_json::to_value(settings).map_err(Failure::failed)?;
    // A cosine over more meta-steps is another one from the beginning.
    let cosine = settings["train"]["schedule"] == "cosine";
    let length = if cosine { "" } else { "iterations" };
    // Validation draws its tasks by the seed of the test.
    let validates = settings["train"]["validate_every"].as_u64().is_some_and(|every| every > 0);
    let test_seed = if validates { "" } else { "seed" };
    for (section, keys) in [
        ("train", &[length, "checkpoint_every", "patience", "accumulate"][..]),
        ("test", &["tasks", test_seed]),
        ("run", &["threads"]),
        // What there is of the data is compared, not where it lies.
        ("data", &["path", "test_path"]),
    ] {
        if let Some(section) = settings.get_mut(section).and_then(Value::as_object_mut) {
            section.retain(|key, _| !keys.contains(&key.as_str()));
        }
    }
    Ok(settings)
}

/// Writes the settings when the trainer has found that they belong to the directory.
pub(crate) fn keep_settings(place: &Place<'_>) -> impl FnMut(&Event<'_>) -> Control + 'static {
    let (path, text) = (place.directory.join(SETTINGS), place.settings.clone());
    move |event| {
        if let Event::Began(_) = event
            && let Err(failure) = files::write(&path, &text)
        {
            note(format!("warning: {failure}"));
        }
        Control::Continue
    }
}

/// Averages over the meta-steps of a run, from its log: those before it was interrupted are there too.
///
/// # Errors
///
/// [`Failure::Failed`] for a log that cannot be read.
pub fn training_points(directory: &Path, iterations: usize) -> Result<Vec<TrainingPoint>, Failure> {
    let path = directory.join("metrics.jsonl");
    let failed = |cause: &dyn std::fmt::Display| Failure::failed(format!("{}: {cause}", path.display()));
    let text = fs::read_to_string(&path).map_err(|cause| failed(&cause))?;
    let mut averages = Averages::new(iterations);
    let mut points = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).map_err(|cause| failed(&cause))?;
        if line["part"] == "train" {
            let loss = line["loss"].as_f64().ok_or_else(|| failed(&"a meta-step without a loss"))?;
            points.extend(averages.add(loss, line["accuracy"].as_f64()));
        }
    }
    Ok(points)
}

/// The settings that a run was made with.
///
/// # Errors
///
/// [`Failure::Usage`] where there is no run.
pub fn kept_settings(directory: &Path) -> Result<String, Failure> {
    let path = directory.join(SETTINGS);
    let missing = |cause| format!("{}: {cause}; expected the directory of a run that was trained", path.display());
    fs::read_to_string(&path).map_err(|cause| Failure::usage(missing(cause)))
}
