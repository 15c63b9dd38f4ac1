//! The command `test`: a trained network on waves it has not seen.
//!
//! Does not know: how it was trained.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_func::{Params, finite, trace};
use burn_meta::models::Mlp;
use burn_meta::{Checkpoint, InnerRates, Objective, Summary, Task};
use clap::Args;
use fewshot_data::Split;
use serde_json::json;

use super::{Batch, NAME, Waves, WavesOptions, loss, task};
use crate::arguments::{Screen, note};
use crate::document::{Document, settings_of};
use crate::failure::Failure;
use crate::files;
use crate::monitor::metric;
use crate::run_directory::{SETTINGS, Which, kept_settings};
use crate::settings::{Layers, RunOptions, TestOptions};

/// Arguments of the command. What is not given is as it was in training.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Directory of the run to test [default: out/sinusoid]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Which checkpoint of it
    #[arg(long, value_enum, value_name = "WHICH", default_value = "best")]
    checkpoint: Which,

    /// Write settings and results as JSON; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    test: TestOptions,

    #[command(flatten)]
    run: RunOptions,
}

/// A run that was trained.
pub(super) struct Saved {
    pub settings: Waves,
    checkpoint: Checkpoint,
}

impl Saved {
    /// The run in a directory, with some settings in the place of its own.
    pub fn open(directory: Option<&Path>, which: Which, options: &WavesOptions) -> Result<Self, Failure> {
        let directory = directory.map_or_else(|| Path::new("out").join(NAME), Path::to_owned);
        let place = directory.join(SETTINGS).display().to_string();
        let checkpoint = which.of(&directory, NAME)?;
        let layers = Layers::new::<Waves>(&place, &kept_settings(&directory)?)?;
        let settings = layers.over_options::<Waves>(options)?.settings()?;
        Ok(Self { settings, checkpoint })
    }

    /// Meta-steps that were done.
    pub fn iteration(&self) -> u64 {
        self.checkpoint.iteration()
    }

    /// The network.
    pub fn network(&self, device: &Device) -> Result<Mlp, Failure> {
        Ok(self.checkpoint.load_model(self.settings.init(device)?)?)
    }

    /// Its learned inner rates, where it has any.
    pub fn rates(&self, net: &Mlp) -> Result<Option<InnerRates>, Failure> {
        Ok(self.settings.inner.rates(net)?.map(|rates| self.checkpoint.load_rates(rates)).transpose()?)
    }
}

/// Runs the command.
pub fn run(args: &Arguments) -> Result<(), Failure> {
    let options = WavesOptions { test: args.test.clone(), run: args.run.clone(), ..Default::default() };
    let saved = Saved::open(args.out.as_deref(), args.checkpoint, &options)?;
    args.json.as_deref().map_or(Ok(()), files::check_file)?;
    let settings = &saved.settings;
    let course = settings.course();
    let device = settings.run.device.open()?;
    let net = saved.network(&device)?;
    let rates = saved.rates(&net)?;
    let testing = settings.tasks(Split::Test, settings.test.query, settings.test.seed)?;
    let tasks = |index| task(&testing, index, &device);

    let screen = Screen::new(args.json.as_deref());
    let (steps, done) = (course.test_steps(), saved.iteration());
    note(format!("the network after {done} meta-steps, {steps} inner step(s) of {}", settings.inner.learning_rate));
    let before = before_adaptation(settings, &net, tasks)?;
    let after = course.test((&net, rates.as_ref()), &Objective::new(loss), tasks)?.loss();
    if let Some(path) = &args.json {
        let results = json!({ "iteration": done, "query_loss_before": before, "query_loss_after": after });
        Document::new(NAME, settings_of(settings)?, results).write(path)?;
    }
    screen.result(format_args!("query {}", metric("loss before adaptation", &before)));
    screen.result(format_args!("query {}", metric("loss after adaptation", &after)));
    Ok(())
}

/// Query losses of the test tasks without adaptation.
pub(super) fn before_adaptation(
    settings: &Waves,
    net: &Mlp,
    mut tasks: impl FnMut(u64) -> Result<Task<Batch>, fewshot_data::Error>,
) -> Result<Summary, Failure> {
    let start = Params::from_module(net)?;
    let traced = trace(net, &tasks(0)?.query, loss)?;
    let one = |index| Ok(finite(&traced.value(&start, &tasks(index)?.query)?.0)?);
    let losses: Result<Vec<f64>, Failure> = (0..settings.test.tasks.get() as u64).map(one).collect();
    Ok(Summary::of(&losses?))
}
