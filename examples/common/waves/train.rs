//! The command `train`: meta-training, and a test of what was learned.
//!
//! Does not know: how tasks, checkpoints and meta-gradients are made.

use std::time::Instant;

use burn_meta::Objective;
use fewshot_data::Split;
use serde_json::json;

use super::test::before_adaptation;
use super::{NAME, Waves, WavesOptions, about, loss, task};
use crate::arguments::{Screen, note};
use crate::command::{TrainArgs, to_toml};
use crate::document::{Document, settings_of};
use crate::failure::Failure;
use crate::monitor::metric;
use crate::run_directory::{Place, identity, training_points};

/// Runs the command.
pub fn run(args: &TrainArgs<WavesOptions>) -> Result<(), Failure> {
    let about = about();
    let settings = args.settings::<Waves>(&about)?.resolved();
    // Settings that are printed are some that a run takes.
    settings.course().maml()?;
    if args.prints() {
        Screen::new(None).result(to_toml(&settings)?.trim_end());
        return Ok(());
    }
    let (course, directory) = (settings.course(), args.directory(&about)?);
    let maml = course.maml()?;
    let device = settings.run.device.open()?;
    let training = settings.tasks(Split::Train, settings.task.query, settings.run.seed)?;
    let validation = settings.tasks(Split::Val, settings.test.query, settings.test.seed)?;
    let testing = settings.tasks(Split::Test, settings.test.query, settings.test.seed)?;
    let net = settings.init(&device)?;

    let screen = Screen::new(args.json.as_deref());
    note(format!("{} support points, {}", settings.task.shot, course.describe(&maml)));
    let identity = json!({ "program": NAME, "settings": identity(&settings)? });
    let place = Place { directory: &directory, identity, settings: to_toml(&settings)?, dashboard: args.dashboard };
    let objective = Objective::new(loss);
    let started = Instant::now();
    let (trained, resident) = course.train(
        &place,
        net,
        &objective,
        |index| task(&training, index, &device),
        |index| task(&validation, index, &device),
    )?;
    let seconds = started.elapsed().as_secs_f64();
    note(format!("training took {seconds:.1} s"));

    let started = Instant::now();
    let (iteration, ending) = (trained.iteration, trained.ending);
    let best = trained.best.as_ref().map(|best| json!({ "iteration": best.iteration, "loss": best.value }));
    let (net, rates) = trained.into_learned();
    let tasks = |index| task(&testing, index, &device);
    let before = before_adaptation(&settings, &net, tasks)?;
    let after = course.test((&net, rates.as_ref()), &objective, tasks)?.loss();
    let results = json!({
        "iteration": iteration,
        "ending": ending,
        "best_validation": best,
        "training": training_points(&directory, settings.train.iterations)?,
        "query_loss_before": before,
        "query_loss_after": after,
    });
    let document = Document::new(NAME, settings_of(&settings)?, results)
        .with_timing("training_seconds", seconds)
        .with_timing("test_seconds", started.elapsed().as_secs_f64())
        .with_timing("resident_bytes_at", resident);
    document.write(&directory.join("results.json"))?;
    args.json.as_deref().map_or(Ok(()), |path| document.write(path))?;
    note(format!("checkpoints, metrics.csv and results.json are in {}", directory.display()));
    screen.result(format_args!("query {}", metric("loss before adaptation", &before)));
    screen.result(format_args!("query {}", metric("loss after adaptation", &after)));
    Ok(())
}
