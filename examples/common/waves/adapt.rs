//! The command `adapt`: a trained network fits points of one's own, and predicts at others.
//!
//! Does not know: how it was trained.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use clap::Args;
use serde_json::json;

use super::points::{column, read};
use super::test::Saved;
use super::{NAME, WavesOptions, loss};
use crate::arguments::{Screen, note};
use crate::document::SCHEMA_VERSION;
use crate::failure::Failure;
use crate::files;
use crate::run_directory::Which;
use crate::settings::{Count, Positive, RunOptions, convert};

/// Arguments of the command.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Directory of the run that trained the network [default: out/sinusoid]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,

    /// Which checkpoint of it
    #[arg(long, value_enum, value_name = "WHICH", default_value = "best")]
    checkpoint: Which,

    /// Points to learn from: a CSV file with columns x and y
    #[arg(long, value_name = "FILE.csv")]
    support: PathBuf,

    /// Inputs to predict at: a CSV file whose first column is x
    #[arg(long, value_name = "FILE.csv")]
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

    #[command(flatten)]
    run: RunOptions,
}

/// Runs the command.
pub fn run(args: &Arguments) -> Result<(), Failure> {
    let options = WavesOptions { run: args.run.clone(), ..Default::default() };
    let saved = Saved::open(args.from.as_deref(), args.checkpoint, &options)?;
    let mut inner = saved.settings.inner.clone();
    let steps = args.inner_steps.or(saved.settings.test.inner_steps).unwrap_or(inner.steps);
    if args.inner_lr.is_some() && inner.learned_rates.is_some() {
        return Err(Failure::usage("--inner-lr: the network was trained with inner learning rates of its own"));
    }
    inner.learning_rate = args.inner_lr.unwrap_or(inner.learning_rate);
    files::check_directory(&args.out)?;
    let device = saved.settings.run.device.open()?;
    let ([x, y], [inputs]) = (read::<2>(&args.support)?, read::<1>(&args.query)?);
    note(format!("{} support points, {steps} inner step(s) of {}", x.len(), inner.learning_rate));

    let net = saved.network(&device)?;
    let rates = saved.rates(&net)?;
    let maml = convert::adapting(&inner, steps.get(), rates.as_ref(), &saved.settings.run)?;
    let adapted = maml.adapt(&net, &(column(x, &device), column(y, &device)), loss)?;
    let predicted: Vec<f32> = adapted.forward(column(inputs.clone(), &device)).into_data().iter::<f32>().collect();

    let failed = |cause| Failure::failed(format!("{}: cannot make the directory: {cause}", args.out.display()));
    fs::create_dir_all(&args.out).map_err(failed)?;
    let save = |path: &Path| adapted.save_file(path).map_err(|cause| cause.to_string());
    files::write_with(&args.out.join("model.bpk"), save)?;
    let sizes = saved.settings.network().sizes;
    let document = json!({ "schema_version": SCHEMA_VERSION, "program": NAME, "meta_steps": saved.iteration(), "sizes": sizes, "inner": inner });
    let document = serde_json::to_string_pretty(&document).map_err(Failure::failed)?;
    files::write(&args.out.join("adapted.json"), &(document + "\n"))?;
    files::write(&args.out.join("README.md"), &readme(&sizes))?;
    let rows = inputs.iter().zip(&predicted).map(|(x, y)| format!("{x},{y}\n"));
    let table: String = ["x,predicted\n".to_owned()].into_iter().chain(rows).collect();
    files::write(&args.out.join("predictions.csv"), &table)?;

    let screen = Screen::new(None);
    const SHOWN: usize = 10;
    for (x, y) in inputs.iter().zip(&predicted).take(SHOWN) {
        screen.result(format_args!("{x}: {y:.4}"));
    }
    if inputs.len() > SHOWN {
        screen.result(format_args!("and {} more", inputs.len() - SHOWN));
    }
    screen.result(format_args!("model.bpk, README.md and predictions.csv are in {}", args.out.display()));
    Ok(())
}

fn readme(sizes: &[usize]) -> String {
    format!(
        "# An adapted network\n\n```rust\nuse burn::module::Module;\nuse burn::tensor::Device;\nuse burn_meta::models::MlpConfig;\n\n\
         let net = MlpConfig::new(vec!{sizes:?}).init(&Device::flex()).try_load_file(\"model.bpk\")?;\n\
         let y = net.forward(x); // [n, 1] both\n```\n"
    )
}
