//! The command `train`: meta-training, and a test of what was learned.
//!
//! Does not know: how tasks, checkpoints and meta-gradients are made.

use std::time::Instant;

use burn_meta::{Metric, Objective, accuracy};
use fewshot_data::Split;
use serde_json::{Map, Value, json};

use super::data::Classes;
use super::{Program, Vision, VisionOptions, loss, network, task};
use crate::arguments::{Screen, note};
use crate::command::{TrainArgs, to_toml};
use crate::document::{Document, settings_of};
use crate::failure::Failure;
use crate::memory;
use crate::monitor::metric;
use crate::run_directory::{Place, identity, training_points};

/// Runs the command.
pub fn run(program: &Program, args: &TrainArgs<VisionOptions>) -> Result<(), Failure> {
    let about = program.about();
    let settings = args.settings::<Vision>(&about)?.resolved(program)?;
    // Settings that are printed are some that a run takes.
    settings.course().maml()?;
    if args.prints() {
        Screen::new(None).result(to_toml(&settings)?.trim_end());
        return Ok(());
    }
    let (course, directory) = (settings.course(), args.directory(&about)?);
    let maml = course.maml()?;
    let device = settings.run.device.open()?;
    let validates = settings.train.validate_every > 0;
    let classes = Classes::load(program, &settings.data, validates)?;
    let (test_query, Vision { task: sizes, run, .. }) = (settings.test.query.get(), &settings);
    let training = classes.tasks(Split::Train, sizes, sizes.query.get(), run.seed)?;
    let testing = classes.tasks(Split::Test, sizes, test_query, settings.test.seed)?;
    let validation =
        if validates { classes.tasks(Split::Val, sizes, test_query, settings.test.seed)? } else { testing.clone() };
    let net = network::init(&network::config(&settings, classes.shape())?, run.seed, &device)?;

    let screen = Screen::new(args.json.as_deref());
    note(format!("data: {}", classes.describe()));
    note(format!("{}-way {}-shot, {}", sizes.way, sizes.shot, course.describe(&maml)));
    if args.is_quick()
        && let Some(smaller) = smaller(program, &settings)
    {
        note(smaller);
    }

    let mut identity = json!({ "program": program.name, "settings": identity(&settings)? });
    identity["data"] = classes.summary();
    let place = Place { directory: &directory, identity, settings: to_toml(&settings)?, dashboard: args.dashboard };
    let objective = Objective::new(loss).with_metric(Metric::higher("accuracy", accuracy));
    let started = Instant::now();
    let (trained, resident) = course.train(
        &place,
        net,
        &objective,
        |index| task(&training, index, &device),
        |index| task(&validation, index, &device),
    )?;
    let seconds = started.elapsed().as_secs_f64();
    let mebibytes = memory::resident_bytes().unwrap_or_default() as f64 / 1048576.0;
    note(format!("training took {seconds:.1} s, {mebibytes:.0} MiB of memory"));

    let started = Instant::now();
    let best = trained.best.as_ref().map(|best| (best.iteration, best.value));
    let (iteration, ending) = (trained.iteration, trained.ending);
    let (net, rates) = trained.into_learned();
    let judged = course.test((&net, rates.as_ref()), &objective, |index| task(&testing, index, &device))?;
    let judged_loss = judged.loss();
    let right = judged.metric("accuracy").ok_or_else(|| Failure::failed("the test has no accuracy"))?;
    let results = json!({
        "data": classes.summary(),
        "iteration": iteration,
        "ending": ending,
        "best_validation": best.map(|(iteration, accuracy)| json!({ "iteration": iteration, "accuracy": accuracy })),
        "training": training_points(&directory, settings.train.iterations)?,
        "test_accuracy": right,
        "test_loss": judged_loss,
    });
    let document = Document::new(program.name, settings_of(&settings)?, results)
        .with_timing("training_seconds", seconds)
        .with_timing("test_seconds", started.elapsed().as_secs_f64())
        .with_timing("resident_bytes_at", resident);
    document.write(&directory.join("results.json"))?;
    args.json.as_deref().map_or(Ok(()), |path| document.write(path))?;
    if let Some((iteration, accuracy)) = best {
        note(format!("the best in validation was after meta-step {iteration}: {:.2} %", 100.0 * accuracy));
    }
    note(format!("checkpoints, metrics.csv and results.json are in {}", directory.display()));
    screen.result(format_args!("test {}", metric("accuracy", &right)));
    Ok(())
}

/// In what the settings are smaller than published ones, in a line.
fn smaller(program: &Program, settings: &Vision) -> Option<String> {
    let ours = serde_json::to_value(settings).ok()?;
    let theirs: Map<String, Value> = toml::from_str(program.reference.toml).ok()?;
    let compared = [
        ("model", "filters", "filters"),
        ("task", "query", "queries in training"),
        ("inner", "steps", "inner steps"),
        ("train", "meta_batch", "tasks per meta-step"),
        ("train", "iterations", "meta-steps"),
        ("test", "tasks", "test tasks"),
    ];
    let side = (program.benchmark)(5, 1).shape()[1];
    let size = settings.data.image_size.get();
    let size = (size < side).then(|| format!("images of {size} x {size} ({side} x {side})"));
    let counts = compared.iter().filter_map(|(section, key, words)| {
        let number = |value: &Value| value.get(0).unwrap_or(value).as_u64();
        let (ours, theirs) = (number(&ours[section][key])?, number(theirs.get(*section)?.get(key)?)?);
        (ours < theirs).then(|| format!("{ours} {words} ({theirs})"))
    });
    let said: Vec<String> = size.into_iter().chain(counts).collect();
    let name = program.reference.name;
    (!said.is_empty()).then(|| format!("smaller than published settings ({name} in brackets): {}", said.join(", ")))
}
