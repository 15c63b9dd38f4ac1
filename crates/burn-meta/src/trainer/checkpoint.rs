//! Checkpoints: everything that makes a run, written whole or not at all.
//!
//! Does not know: meta-steps, tasks.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::store::RecordError;
use burn::tensor::{Device, Tensor};
use burn_func::Params;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::difference;
use super::directory::{LogBytes, at, write_file};
use super::learner::{MetaLearner, Pace};
use crate::error::Result;
use crate::rates::InnerRates;

/// Version of what a checkpoint holds; grows when it changes.
const FORMAT: u32 = 1;
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// In the directory of a run.
const FOLDER: &str = "checkpoints";
const STATE: &str = "state.json";
const MODEL: &str = "model.bpk";
const RATES: &str = "rates.bpk";

/// A checkpoint of a run of [`MetaTrainer`](crate::MetaTrainer): the directory `checkpoints/step-<iteration>` in that of the
/// run, with the module's record (`model.bpk`), those of optimizer and learning rate, and `state.json`.
///
/// # Example
///
/// ```no_run
/// # use burn_meta::{Checkpoint, models::MlpConfig};
/// # let device = burn::tensor::Device::flex().autodiff();
/// let best = Checkpoint::best("out/sinusoid")?;
/// let net = best.load_model(MlpConfig::new(vec![1, 40, 40, 1]).init(&device))?;
/// # Ok::<(), burn_meta::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    state: State,
}

/// What is in a checkpoint beside records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub format: u32,
    /// Of this crate.
    pub version: String,
    pub iteration: u64,
    pub settings: Value,
    pub parameters: Vec<Parameter>,
    /// Tensors that the optimizer had.
    pub optimizer_tensors: usize,
    /// Those of the learned inner rates; nothing where there are none.
    #[serde(default)]
    pub rates: Vec<Parameter>,
    /// Tensors that the optimizer of the rates had.
    #[serde(default)]
    pub rate_optimizer_tensors: usize,
    /// Whether the validation after this iteration was begun, and not ended.
    #[serde(default)]
    pub validation_due: bool,
    /// What is in the other files.
    #[serde(default)]
    pub files: BTreeMap<String, Contents>,
    pub best: Option<BestSoFar>,
    /// Validations since the best.
    pub since_best: usize,
    pub logs: LogBytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parameter {
    path: String,
    shape: Vec<usize>,
    dtype: String,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    bytes: u64,
    crc32: u32,
}

impl Contents {
    fn of(path: &Path) -> std::io::Result<Self> {
        let bytes = fs::read(path)?;
        Ok(Self { bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes) })
    }
}

/// The best validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct BestSoFar {
    pub iteration: u64,
    /// Of what decides.
    pub value: f64,
    /// The same, bit by bit: a number may come back from JSON with another last bit.
    pub bits: u64,
}

impl BestSoFar {
    pub fn new(iteration: u64, value: f64) -> Self {
        Self { iteration, value, bits: value.to_bits() }
    }
}

/// What is compared when a run goes on.
pub(super) fn parameters<M: Module>(model: &M) -> Result<Vec<Parameter>> {
    let of = |spec: &burn_func::ParamSpec| Parameter {
        path: spec.path.clone(),
        shape: spec.spec.shape.clone(),
        dtype: format!("{:?}", spec.spec.dtype),
    };
    Ok(Params::from_module(model)?.specs().iter().map(of).collect())
}

impl State {
    pub fn new<M: Module>(learner: &MetaLearner<M>, settings: &Value) -> Result<Self> {
        Ok(Self {
            format: FORMAT,
            version: VERSION.into(),
            iteration: 0,
            settings: settings.clone(),
            parameters: parameters(&learner.model)?,
            optimizer_tensors: 0,
            rates: learner.rates().map(parameters).transpose()?.unwrap_or_default(),
            rate_optimizer_tensors: 0,
            validation_due: false,
            files: BTreeMap::new(),
            best: None,
            since_best: 0,
            logs: LogBytes::default(),
        })
    }
}

impl Checkpoint {
    /// The newest checkpoint of a run.
    ///
    /// # Errors
    ///
    /// [`Error::Run`](crate::Error::Run) where there is none, or what there is cannot be read.
    pub fn latest(run: impl AsRef<Path>) -> Result<Self> {
        let run = run.as_ref();
        Self::find(run)?.ok_or_else(|| at(run, "no checkpoint of a meta-training run here (`checkpoints/step-*`)"))
    }

    /// The checkpoint whose validation was the best of a run; the newest where there was no validation.
    ///
    /// # Errors
    ///
    /// As [`latest`](Self::latest).
    pub fn best(run: impl AsRef<Path>) -> Result<Self> {
        let latest = Self::latest(&run)?;
        match latest.state.best {
            Some(best) => Self::read(&run.as_ref().join(FOLDER).join(name(best.iteration))),
            None => Ok(latest),
        }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Meta-iterations done.
    pub fn iteration(&self) -> u64 {
        self.state.iteration
    }

    /// Meta-iterations done at the best validation so far, and the value that made it the best.
    pub fn best_so_far(&self) -> Option<(u64, f64)> {
        self.state.best.map(|best| (best.iteration, f64::from_bits(best.bits)))
    }

    /// The settings of the run. What was given to [`MetaTrainer::with_settings`](crate::MetaTrainer::with_settings) is under
    /// `own`.
    pub fn settings(&self) -> &Value {
        &self.state.settings
    }

    /// The module with the parameters of the checkpoint, on its own device. Clones of a module share running statistics, and
    /// see those of the checkpoint too: give a module that was made for this.
    ///
    /// # Errors
    ///
    /// [`Error::Run`](crate::Error::Run), naming the first parameter that differs in name, shape or type.
    pub fn load_model<M: Module>(&self, model: M) -> Result<M> {
        self.check_parameters(&model)?;
        let path = self.file(MODEL)?;
        model.try_load_file(&path).map_err(|cause| record(&path, cause))
    }

    /// The learned inner rates of the checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Run`](crate::Error::Run) where it has none, or others.
    pub fn load_rates(&self, rates: InnerRates) -> Result<InnerRates> {
        let path = self.file(RATES)?;
        rates.try_load_file(&path).map_err(|cause| record(&path, cause))
    }

    /// Whether there is one in the directory of a run.
    pub(super) fn is_in(run: &Path) -> Result<bool> {
        Ok(Self::find(run)?.is_some())
    }

    /// The path of one of its files, which is as it was written.
    fn file(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let found = Contents::of(&path).map_err(|cause| at(&path, cause))?;
        match self.state.files.get(name) {
            Some(written) if *written != found => {
                let other = match found.bytes == written.bytes {
                    true => "other bytes than were written".to_owned(),
                    false => format!("{} bytes, and {} when it was written", found.bytes, written.bytes),
                };
                let problem = format!("damaged: {other}; without its folder a run goes on from an earlier checkpoint");
                Err(at(&path, problem))
            }
            _ => Ok(path),
        }
    }

    fn find(run: &Path) -> Result<Option<Self>> {
        let folder = run.join(FOLDER);
        let entries = match fs::read_dir(&folder) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            entries => entries.map_err(|cause| at(&folder, cause))?,
        };
        let mut latest = None;
        for entry in entries {
            let entry = entry.map_err(|cause| at(&folder, cause))?;
            latest = latest.max(entry.file_name().to_str().and_then(iteration));
        }
        latest.map(|latest| Self::read(&folder.join(name(latest)))).transpose()
    }

    fn read(path: &Path) -> Result<Self> {
        let file = path.join(STATE);
        let text = fs::read_to_string(&file).map_err(|cause| at(&file, cause))?;
        let value: Value = serde_json::from_str(&text).map_err(|cause| at(&file, cause))?;
        let format = value.get("format").and_then(Value::as_u64);
        if format != Some(FORMAT.into()) {
            let found = format.map_or_else(|| "no format".into(), |format| format!("format {format}"));
            return Err(at(&file, format!("{found}, this version reads checkpoints of format {FORMAT}")));
        }
        let state = serde_json::from_value(value).map_err(|cause| at(&file, cause))?;
        Ok(Self { path: path.into(), state })
    }

    fn check_parameters<M: Module>(&self, model: &M) -> Result<()> {
        self.check_same("model", &self.state.parameters, &parameters(model)?)
    }

    /// That learned inner rates are the run's own, or that there were none.
    fn check_rates(&self, rates: Option<&InnerRates>) -> Result<()> {
        let now = rates.map(parameters).transpose()?.unwrap_or_default();
        self.check_same("set of learned inner rates", &self.state.rates, &now)
    }

    fn check_same(&self, what: &str, before: &[Parameter], now: &[Parameter]) -> Result<()> {
        let refuse = |problem: String| Err(at(&self.path, format!("a checkpoint of another {what}: {problem}")));
        if let Some((before, now)) = before.iter().zip(now).find(|(before, now)| before != now) {
            return refuse(format!("{before} in the checkpoint, {now} here"));
        }
        match (before.get(now.len()), now.get(before.len())) {
            (Some(before), _) => refuse(format!("{before} in the checkpoint, nothing here")),
            (_, Some(now)) => refuse(format!("nothing in the checkpoint, {now} here")),
            _ => Ok(()),
        }
    }

    /// The checkpoint that a run goes on from, if there is one, checked against its settings.
    pub(super) fn resumable<M: Module>(run: &Path, model: &M, settings: &Value) -> Result<Option<Self>> {
        let Some(checkpoint) = Self::find(run)? else { return Ok(None) };
        // Before the first meta-step there is nothing to lose.
        let same = || checkpoint.check_same("model", &checkpoint.state.parameters, &parameters(model)?);
        let State { version, settings: before, iteration, .. } = &checkpoint.state;
        if *iteration == 0 && (version != VERSION || same().is_err() || difference(before, settings).is_some()) {
            return Ok(None);
        }
        if version != VERSION {
            let problem = format!("written by version {version}, this is {VERSION}: its numbers may differ");
            return Err(at(&checkpoint.path, problem));
        }
        checkpoint.check_parameters(model)?;
        if let Some(difference) = difference(before, settings) {
            let problem = format!(
                "a checkpoint of another run: {difference} (train in another directory, or with the settings of this one)"
            );
            return Err(at(&checkpoint.path, problem));
        }
        Ok(Some(checkpoint))
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The best checkpoint of the same run.
    pub(super) fn sibling(&self, iteration: u64) -> Result<Self> {
        Self::read(&self.path.with_file_name(name(iteration)))
    }

    /// The learner as it was.
    pub(super) fn load<M: Module>(&self, learner: MetaLearner<M>) -> Result<MetaLearner<M>> {
        self.check_rates(learner.rates())?;
        let MetaLearner { model, pace, rates } = learner;
        let model = self.load_model(model)?;
        let pace = pace.load(self, "", &self.state.parameters, self.state.optimizer_tensors)?;
        let rates = match rates {
            Some((rates, pace)) => {
                let State { rates: parameters, rate_optimizer_tensors: tensors, .. } = &self.state;
                Some((self.load_rates(rates)?, pace.load(self, "rates-", parameters, *tensors)?))
            }
            None => None,
        };
        Ok(MetaLearner { model, pace, rates })
    }

    /// Writes a checkpoint under another name, and renames it; then removes those that are neither it nor the best.
    pub(super) fn write<M: Module>(run: &Path, learner: &MetaLearner<M>, state: &State) -> Result<PathBuf> {
        let folder = run.join(FOLDER);
        let (target, temporary) = (folder.join(name(state.iteration)), folder.join(".unfinished"));
        let io = |cause: std::io::Error| at(&target, cause);
        remove(&temporary).map_err(io)?;
        fs::create_dir_all(&temporary).map_err(io)?;
        save(&temporary, learner)?;
        let optimizer_tensors = learner.pace.optimizer.to_record().len();
        let rate_optimizer_tensors = learner.rates.as_ref().map_or(0, |(_, pace)| pace.optimizer.to_record().len());
        let files = contents(&temporary).map_err(io)?;
        let state = State { optimizer_tensors, rate_optimizer_tensors, files, ..state.clone() };
        let text = serde_json::to_string_pretty(&state).map_err(|cause| at(&target, cause))?;
        write_file(&temporary, STATE, &(text + "\n"))?;
        sync(&temporary).map_err(io)?;
        remove(&target).map_err(io)?;
        fs::rename(&temporary, &target).map_err(io)?;
        sync_entries(&folder).and_then(|()| sync_entries(run)).map_err(io)?;
        prune(&folder, &[Some(state.iteration), state.best.map(|best| best.iteration)]).map_err(io)?;
        Ok(target)
    }
}

impl Pace {
    /// With the state that an optimizer of these parameters had, of so many tensors.
    fn load(self, from: &Checkpoint, prefix: &str, parameters: &[Parameter], tensors: usize) -> Result<Self> {
        let Self { optimizer, schedule } = self;
        let path = from.file(&format!("{prefix}optimizer.bpk"))?;
        let read = OptimizerRecord::load(&path).map_err(|cause| record(&path, cause))?;
        if tensors > 0 {
            check_default_device(&path, parameters)?;
        }
        let optimizer = optimizer.load_record(read);
        let found = optimizer.to_record().len();
        if found != tensors {
            let problem = format!(
                "{tensors} tensors of optimizer state, of which this optimizer takes up {found}: it is another one"
            );
            return Err(at(&path, problem));
        }
        let path = from.file(&format!("{prefix}schedule.bpk"))?;
        let read = LrSchedulerRecord::load(&path).map_err(|cause| record(&path, cause))?;
        Ok(Self { optimizer, schedule: schedule.load_record(read) })
    }

    fn save(&self, directory: &Path, prefix: &str) -> Result<()> {
        let path = directory.join(format!("{prefix}optimizer.bpk"));
        self.optimizer.save(&path).map_err(|cause| record(&path, cause))?;
        let path = directory.join(format!("{prefix}schedule.bpk"));
        self.schedule.to_record().save(&path).map_err(|cause| record(&path, cause))
    }
}

/// Burn makes the tensors of an optimizer that is read on its default device, in that device's type of floats, and moves them
/// to that of the gradients later: a state in another type would lose half of its digits, or not go with the gradients.
fn check_default_device(path: &Path, parameters: &[Parameter]) -> Result<()> {
    let reads =
        "Burn reads optimizer states on its default device (the environment variable BURN_DEVICE names another)";
    let default = catch_unwind(|| Tensor::<1>::zeros([1], &Device::default()).dtype());
    let default = default.map_err(|_| at(path, format!("{reads}, and that does not work")))?;
    let default = format!("{default:?}");
    match parameters.iter().find(|parameter| parameter.dtype != default) {
        None => Ok(()),
        Some(parameter) => {
            let problem = format!(
                "{reads} in that device's type of floats, {default}, and {parameter} has another: make that the default first, as \
                 in `Device::default().configure(FloatDType::F64)`"
            );
            Err(at(path, problem))
        }
    }
}

fn save<M: Module>(directory: &Path, learner: &MetaLearner<M>) -> Result<()> {
    let path = directory.join(MODEL);
    learner.model.clone().save_file(&path).map_err(|cause| record(&path, cause))?;
    learner.pace.save(directory, "")?;
    if let Some((rates, pace)) = &learner.rates {
        let path = directory.join(RATES);
        rates.clone().save_file(&path).map_err(|cause| record(&path, cause))?;
        pace.save(directory, "rates-")?;
    }
    Ok(())
}

fn record(path: &Path, cause: RecordError) -> crate::error::Error {
    let (RecordError::Io(problem) | RecordError::Validation(problem)) = cause;
    at(path, problem)
}

/// What the files of a directory hold.
fn contents(directory: &Path) -> std::io::Result<BTreeMap<String, Contents>> {
    let of = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), Contents::of(&entry.path())?))
    };
    fs::read_dir(directory)?.map(of).collect()
}

fn name(iteration: u64) -> String {
    format!("step-{iteration:08}")
}

fn iteration(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.parse().ok()
}

/// All of a directory on the disk, and the directory itself.
fn sync(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_file() {
            // Windows wants a file that could be written to.
            OpenOptions::new().read(true).write(true).open(path)?.sync_all()?;
        }
    }
    sync_entries(directory)
}

/// The names in a directory on the disk. Windows has no way to do this, and needs none.
fn sync_entries(directory: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Removes a directory, if there is one. It loses its name first, so that half of it is never taken for a checkpoint.
fn remove(directory: &Path) -> std::io::Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let doomed = directory.with_file_name(".removed");
    if doomed.exists() {
        fs::remove_dir_all(&doomed)?;
    }
    fs::rename(directory, &doomed)?;
    fs::remove_dir_all(&doomed)
}

fn prune(folder: &Path, keep: &[Option<u64>]) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.file_name().to_str().and_then(iteration);
        if found.is_some() && !keep.contains(&found) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` of shape {:?} and type {}", self.path, self.shape, self.dtype)
    }
}
