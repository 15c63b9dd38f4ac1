//! The command `adapt`: a trained network learns a task of one's own from a folder of images, and says what others show.
//!
//! Does not know: how it was trained, how images are read.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_meta::Task;
use burn_meta::models::{Backbone as _, BackboneConfig, Network, cross_entropy};
use clap::{Args, ValueEnum};
use fewshot_data::Split;
use serde_json::json;

use super::folders::{Images, Reading};
use super::network;
use super::predictions::Predictions;
use super::saved::Saved;
use super::{Batch, Drawn, Program, Vision};
use crate::arguments::{Screen, note};
use crate::document::SCHEMA_VERSION;
use crate::failure::Failure;
use crate::files;
use crate::run_directory::Which;
use crate::settings::{Count, Positive, RunOptions, convert};

/// Arguments of the command.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Directory of the run that trained the network [default: out/ and the program's name]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,

    /// Which checkpoint of it
    #[arg(long, value_enum, value_name = "WHICH", default_value = "best")]
    checkpoint: Which,

    /// Images to learn from: a folder for each class, with as many images as you have, or a zip archive of them
    #[arg(long, value_name = "FOLDER")]
    support: PathBuf,

    /// Images to judge: a folder, a zip archive, or one image. In folders named like the classes, they are counted right or
    /// wrong too
    #[arg(long, value_name = "FOLDER")]
    query: PathBuf,

    /// Directory for the adapted network (model.bpk, and in README.md how to load it) and predictions.csv
    #[arg(long, value_name = "DIR", default_value = "out/adapted")]
    out: PathBuf,

    /// Inner steps [default: those of the test in training]
    #[arg(long, value_name = "STEPS")]
    inner_steps: Option<Count>,

    /// Inner learning rate [default: as in training]
    #[arg(long, value_name = "RATE")]
    inner_lr: Option<Positive>,

    /// What batch normalisation takes its statistics from when it judges the query images: as in training these images are judged
    /// together, by their own statistics, and one image alone is judged badly; with `support` each is judged by itself
    #[arg(long, value_enum, value_name = "SET", default_value = "query")]
    statistics: Statistics,

    /// Begin with an untrained head of one output for each class: for more classes than the network was trained to tell apart
    #[arg(long)]
    fresh_head: bool,

    /// The images show light ink on dark; characters are taken for dark ink on light otherwise
    #[arg(long)]
    light_ink: bool,

    #[command(flatten)]
    run: RunOptions,
}

/// What batch normalisation goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Statistics {
    /// The query images, all together, as in training
    Query,
    /// The support images: every query image is judged by itself, as by the network that is written
    Support,
}

/// Runs the command.
pub fn run(program: &Program, args: &Arguments) -> Result<(), Failure> {
    let from = args.from.clone().unwrap_or_else(|| Path::new("out").join(program.name));
    let saved = Saved::open(program, &from, args.checkpoint)?;
    let settings = args.settings(&saved)?;
    files::check_directory(&args.out)?;
    let device = settings.run.device.open()?;
    let reading = reading(program, &saved, args.light_ink);
    let support = reading.read(&args.support).map_err(|failure| failure.at("--support"))?;
    let query = reading.read(&args.query).map_err(|failure| failure.at("--query"))?;
    let classes = support.classes().map_err(|failure| failure.at("--support"))?;
    let (net, config) = head(program, &saved, args, classes.len(), &device)?;
    note(format!("support: {} images of {} classes: {}", support.len(), classes.len(), classes.join(", ")));
    if args.statistics == Statistics::Query && net.batch_statistics() && query.len() < classes.len() {
        note(format!(
            "warning: batch normalisation has the statistics of {} query image(s) alone, which says little: give more images at a \
             time, or pass --statistics support",
            query.len()
        ));
    }

    let rates = saved.rates(&saved.network(program, &device)?)?;
    let maml = convert::adapting(&settings.inner, settings.inner.steps.get(), rates.as_ref(), &settings.run)?;
    let count = classes.len();
    // Outputs beyond the classes have no part in the loss.
    let loss = move |net: &Network, (images, labels): Batch| {
        let logits = net.forward(images).narrow(1, 0, count);
        (cross_entropy(logits.clone(), labels), logits)
    };
    let batch = |images: &Images| (images.tensor(&device), images.label_tensor(&classes, &device));
    let task = Task { support: batch(&support), query: batch(&query) };
    let adapted = maml.adapt(&net, &task.support, loss)?.with_statistics_of(task.support.0.clone(), 1.0);
    let logits: Tensor<2> = match args.statistics {
        Statistics::Query => maml.evaluate(&net, &task, loss)?.outputs,
        Statistics::Support => adapted.clone().valid().forward(task.query.0.clone().inner()),
    };
    let predictions = Predictions::new(logits, &classes);

    let written = Written { program, saved: &saved, settings: &settings, reading: &reading, classes: &classes, config };
    written.write(&args.out, adapted, args)?;
    predictions.write(&args.out.join("predictions.csv"), query.names())?;
    report(&predictions, &query, &classes, &args.out);
    Ok(())
}

impl Arguments {
    fn settings(&self, saved: &Saved) -> Result<Vision, Failure> {
        let options = super::VisionOptions { run: self.run.clone(), ..Default::default() };
        let mut settings: Vision = saved.layers.clone().over_options::<Vision>(&options)?.settings()?;
        settings.inner.steps = self.inner_steps.or(settings.test.inner_steps).unwrap_or(settings.inner.steps);
        if self.inner_lr.is_some() && settings.inner.learned_rates.is_some() {
            return Err(Failure::usage("--inner-lr: the network was trained with inner learning rates of its own"));
        }
        settings.inner.learning_rate = self.inner_lr.unwrap_or(settings.inner.learning_rate);
        Ok(settings)
    }
}

fn reading(program: &Program, saved: &Saved, light_ink: bool) -> Reading {
    let pipeline = (program.benchmark)(5, 1).pipeline(Split::Test).clone();
    let inverted = program.drawn == Drawn::Glyphs && !light_ink;
    Reading { shape: saved.shape(program), pipeline, inverted }
}

/// The network with outputs for these classes, and its settings.
fn head(
    program: &Program,
    saved: &Saved,
    args: &Arguments,
    classes: usize,
    device: &Device,
) -> Result<(Network, BackboneConfig), Failure> {
    let (net, config, way) = (saved.network(program, device)?, saved.config(program)?, saved.settings.task.way.get());
    if args.fresh_head {
        note(format!(
            "warning: the head for {classes} classes is untrained: what was meta-trained is how to tell {way} classes apart; more \
             inner steps may help (--inner-steps)"
        ));
        let seed = args.run.seed.unwrap_or(0);
        return Ok((network::with_fresh_head(net, classes, seed, device), config.with_ways(classes)));
    }
    if classes > way {
        return Err(Failure::usage(format!(
            "--support: {classes} classes; the network was trained to tell {way} apart (train with --way {classes}, or pass \
             --fresh-head to begin with an untrained head)"
        )));
    }
    if classes < way {
        note(format!(
            "the network has {way} outputs: the first {classes} stand for the classes, the others have no part"
        ));
    }
    Ok((net, config))
}

/// What is written beside the predictions.
struct Written<'a> {
    program: &'a Program,
    saved: &'a Saved,
    settings: &'a Vision,
    reading: &'a Reading,
    classes: &'a [String],
    config: BackboneConfig,
}

impl Written<'_> {
    fn write(&self, directory: &Path, adapted: Network, args: &Arguments) -> Result<(), Failure> {
        let failed = |cause| Failure::failed(format!("{}: cannot make the directory: {cause}", directory.display()));
        fs::create_dir_all(directory).map_err(failed)?;
        let save = |path: &Path| adapted.save_file(path).map_err(|cause| cause.to_string());
        files::write_with(&directory.join("model.bpk"), save)?;
        let document = json!({
            "schema_version": SCHEMA_VERSION,
            "program": self.program.name,
            "meta_steps": self.saved.iteration(),
            "classes": self.classes,
            "model": self.config,
            "inner": self.settings.inner,
            "pipeline": self.reading.pipeline,
            "inverted": self.reading.inverted,
            "fresh_head": args.fresh_head,
        });
        let document = serde_json::to_string_pretty(&document).map_err(Failure::failed)?;
        files::write(&directory.join("adapted.json"), &(document + "\n"))?;
        files::write(&directory.join("README.md"), &self.readme()?)
    }

    fn readme(&self) -> Result<String, Failure> {
        let [channels, size, _] = self.reading.shape;
        let normalised = match &self.reading.pipeline.normalize {
            Some(normalize) => format!("then less {:?}, over {:?}, by channel", normalize.mean, normalize.std),
            None => "and no more".to_owned(),
        };
        let inverted = if self.reading.inverted { " (with light and dark exchanged)" } else { "" };
        let config = serde_json::to_string(&self.config).map_err(Failure::failed)?;
        Ok(format!(
            "# An adapted network\n\n`model.bpk` tells {count} classes apart, by its first {count} outputs: {classes}.\n\n\
             ```rust\nuse burn::module::Module;\nuse burn::tensor::Device;\nuse burn_meta::models::BackboneConfig;\n\n\
             let config: BackboneConfig = serde_json::from_str(r#\"{config}\"#)?;\n\
             let net = config.init(&Device::flex())?.try_load_file(\"model.bpk\")?;\n\
             let logits = net.forward(images); // images: [n, {channels}, {size}, {size}]\n```\n\n\
             Images are scaled to {size} x {size}{inverted}, 255 becomes 1, {normalised}. On a plain device, as here, batch \
             normalisation has the statistics of the support images. `adapted.json` says the same for programs.\n",
            count = self.classes.len(),
            classes = self.classes.join(", "),
        ))
    }
}

/// What the predictions are, in a few lines.
fn report(predictions: &Predictions, query: &Images, classes: &[String], directory: &Path) {
    let screen = Screen::new(None);
    let answers: Vec<(usize, f32)> = predictions.answers().collect();
    const SHOWN: usize = 10;
    for (name, (answer, probability)) in query.names().iter().zip(&answers).take(SHOWN) {
        screen.result(format_args!("{name}: {} ({:.1} %)", classes[*answer], 100.0 * probability));
    }
    if answers.len() > SHOWN {
        screen.result(format_args!("and {} more", answers.len() - SHOWN));
    }
    let labels: Option<Vec<usize>> = query.labels(classes).collect();
    if let Some(labels) = labels {
        let right = labels.iter().zip(&answers).filter(|(label, (answer, _))| *label == answer).count();
        screen.result(format_args!("{right} of {} right, by the folders they are in", labels.len()));
    }
    screen.result(format_args!("model.bpk, README.md and predictions.csv are in {}", directory.display()));
}
