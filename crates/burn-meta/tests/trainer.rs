//! Meta-training: what is logged, what a stopped run goes on with, what is refused.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;

use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::{AdamConfig, SgdConfig};
use burn::tensor::{DType, Device, Tensor};
use burn_func::Params;
use burn_meta::models::{Mlp, MlpConfig, mean_squared_error};
use burn_meta::*;
use tempfile::TempDir;

type Points = (Tensor<2>, Tensor<2>);

/// The same network every time: everything on a device draws from one generator, so one test at a time may.
fn net(sizes: &[usize]) -> Mlp {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let device = Device::flex().autodiff();
    device.seed(3);
    let net = MlpConfig::new(sizes.to_vec()).init(&device);
    Params::from_module(&net).unwrap();
    net
}

/// Lines through the origin, by the number of the task.
fn line(index: u64) -> Result<Task<Points>> {
    let slope = (index.wrapping_mul(2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
    let points = |shift: f32| {
        let x = Tensor::<2>::from_data([[-1.0], [-0.4], [0.3], [0.9]], &Device::flex()) + shift;
        (x.clone(), x * slope)
    };
    Ok(Task { support: points(0.0), query: points(0.1) })
}

fn loss(net: &Mlp, (x, y): Points) -> (Tensor<1>, Tensor<2>) {
    let out = net.forward(x);
    (mean_squared_error(out.clone(), y), out)
}

fn worst((_, y): &Points, out: &Tensor<2>) -> f64 {
    (out.clone() - y.clone()).abs().max().into_scalar::<f32>().into()
}

fn objective() -> Objective<impl Losses<Mlp, Points, Points, Outputs = Tensor<2>>, Points, Tensor<2>> {
    Objective::new(loss).with_metric(Metric::lower("worst", worst))
}

fn maml() -> Maml {
    MamlConfig::new(InnerLoopConfig::new(0.05).with_steps(3), Estimator::binomial(2)).init().unwrap()
}

fn config(iterations: u64) -> MetaTrainerConfig {
    MetaTrainerConfig::new(iterations).with_meta_batch(3).with_validate_every(10).with_checkpoint_every(4)
}

fn learner() -> MetaLearner<Mlp> {
    let schedule = CosineAnnealingLrSchedulerConfig::new(1e-2, 40).init().unwrap();
    MetaLearner::new(net(&[1, 8, 1]), AdamConfig::new().init(), schedule)
}

fn train(trainer: &mut MetaTrainer) -> Result<Trained<Mlp>> {
    trainer.run(learner(), &objective(), line, Some(Validation::new(20, |index| line(index + 1_000_000))))
}

fn logs(directory: &Path) -> [String; 2] {
    ["metrics.csv", "metrics.jsonl"].map(|name| fs::read_to_string(directory.join(name)).unwrap())
}

fn weights(net: &Mlp) -> Vec<f64> {
    Params::from_module(net).unwrap().to_f64()
}

fn stopping_at(iterations: &'static [u64]) -> impl Callback {
    move |event: &Event<'_>| match event {
        Event::Step(step) if iterations.contains(&step.iteration) => Control::Stop,
        _ => Control::Continue,
    }
}

#[test]
fn training_learns_and_keeps_the_best() {
    let learner = MetaLearner::new(net(&[1, 8, 1]), AdamConfig::new().init(), 1e-2);
    let validation = Validation::new(20, |index| line(index + 1_000_000));
    let trained = config(200).init(maml()).unwrap().run(learner, &objective(), line, Some(validation)).unwrap();
    assert_eq!((trained.iteration, trained.ending), (200, Ending::Done));
    let trainer = config(1).init(maml()).unwrap();
    let judge = |net: &Mlp| trainer.evaluate(net, &objective(), 50, |index| line(index + 2_000_000)).unwrap();
    let (before, best) = (judge(&net(&[1, 8, 1])), trained.best.as_ref().unwrap());
    let after = judge(&best.model);
    assert!(after.loss().mean < 0.5 * before.loss().mean, "{:?} from {:?}", after.loss(), before.loss());
    assert_eq!(after.metrics[0].1.len(), 50);
    // The best is judged by the metric, on the validation tasks.
    let again = trainer.evaluate(&best.model, &objective(), 20, |index| line(index + 1_000_000)).unwrap();
    assert_eq!(again.metric("worst").unwrap().mean, best.value);
    assert!(again.metric("loss").is_none());
}

#[test]
fn a_stopped_run_goes_on_as_if_nothing_had_happened() {
    let whole = TempDir::new().unwrap();
    let trained = train(&mut config(30).init(maml()).unwrap().in_directory(whole.path())).unwrap();
    let parts = TempDir::new().unwrap();
    let mut calls = 0;
    let resumed = loop {
        calls += 1;
        let trainer = config(30).with_accumulate(Some(1 + calls % 3)).init(maml()).unwrap();
        let mut trainer = trainer.in_directory(parts.path()).with_callback(stopping_at(&[1, 7, 10, 11, 25]));
        let trained = train(&mut trainer).unwrap();
        if trained.ending == Ending::Done {
            break trained;
        }
    };
    assert_eq!(calls, 6);
    assert_eq!(logs(parts.path()), logs(whole.path()));
    assert_eq!(weights(resumed.learner.model()), weights(trained.learner.model()));
    let [best, again] = [trained.best.unwrap(), resumed.best.unwrap()];
    assert_eq!((best.iteration, best.value), (again.iteration, again.value));
    assert_eq!(weights(&best.model), weights(&again.model));
    // A header, 30 meta-steps and 3 validations.
    assert_eq!(logs(whole.path())[0].lines().count(), 34);
}

/// What a killed process leaves: logs longer than the checkpoint knows, an unfinished checkpoint, a half-removed one.
#[test]
fn what_a_kill_leaves_behind_does_no_harm() {
    let whole = TempDir::new().unwrap();
    train(&mut config(20).init(maml()).unwrap().in_directory(whole.path())).unwrap();
    let killed = TempDir::new().unwrap();
    let mut first = config(20).init(maml()).unwrap().in_directory(killed.path()).with_callback(stopping_at(&[6]));
    train(&mut first).unwrap();
    drop(first);
    for name in ["metrics.csv", "metrics.jsonl", "timing.jsonl"] {
        let path = killed.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + "7,train,0.1\n8,tra").unwrap();
    }
    for name in [".unfinished", ".removed"] {
        let junk = killed.path().join("checkpoints").join(name);
        fs::create_dir_all(&junk).unwrap();
        fs::write(junk.join("model.bpk"), "half").unwrap();
    }
    train(&mut config(20).init(maml()).unwrap().in_directory(killed.path())).unwrap();
    assert_eq!(logs(killed.path()), logs(whole.path()));
    let timing = fs::read_to_string(killed.path().join("timing.jsonl")).unwrap();
    assert!(
        timing
            .lines()
            .filter(|line| !line.starts_with('7'))
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
}

#[test]
fn a_run_can_be_lengthened() {
    let (short, long) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    train(&mut config(8).init(maml()).unwrap().in_directory(short.path())).unwrap();
    train(&mut config(24).init(maml()).unwrap().in_directory(short.path())).unwrap();
    train(&mut config(24).init(maml()).unwrap().in_directory(long.path())).unwrap();
    assert_eq!(logs(short.path()), logs(long.path()));
}

#[track_caller]
fn refused(result: Result<Trained<Mlp>>, words: &[&str]) {
    let text = result.map(|trained| trained.iteration).unwrap_err().to_string();
    for word in words {
        assert!(text.contains(word), "expected `{word}` in: {text}");
    }
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn checkpoints_of_other_runs_are_refused_by_name() {
    let directory = TempDir::new().unwrap();
    train(&mut config(4).init(maml()).unwrap().in_directory(directory.path())).unwrap();
    let before = logs(directory.path());
    let with = |config: MetaTrainerConfig, maml: Maml| config.init(maml).unwrap().in_directory(directory.path());
    refused(
        train(&mut with(config(9).with_meta_batch(4), maml())),
        &["another run", "trainer.meta_batch: 3 before, 4 now"],
    );
    let five = MamlConfig::new(InnerLoopConfig::new(0.05).with_steps(5), Estimator::binomial(2)).init().unwrap();
    refused(train(&mut with(config(9), five)), &["maml.inner.steps: 3 before, 5 now"]);
    let exact = MamlConfig::new(InnerLoopConfig::new(0.05).with_steps(3), Estimator::Exact).init().unwrap();
    refused(train(&mut with(config(9), exact)), &["maml.estimator"]);
    let own = serde_json::json!({ "data": "other" });
    refused(train(&mut with(config(9), maml()).with_settings(own)), &["own: none before, {\"data\":\"other\"} now"]);
    let wide = MetaLearner::new(net(&[1, 9, 1]), AdamConfig::new().init(), 1e-2);
    refused(
        with(config(9), maml()).run(wide, &objective(), line, Some(Validation::new(20, line))),
        &["another model", "layers.0.weight", "[1, 8]", "[1, 9]"],
    );
    let deep = MetaLearner::new(net(&[1, 8, 1, 1]), AdamConfig::new().init(), 1e-2);
    refused(
        with(config(9), maml()).run(deep, &objective(), line, Some(Validation::new(20, line))),
        &["nothing in the checkpoint, `layers.2.weight`"],
    );
    let sgd = MetaLearner::new(net(&[1, 8, 1]), SgdConfig::new().init(), 1e-2);
    refused(
        with(config(9), maml()).run(sgd, &objective(), line, Some(Validation::new(20, line))),
        &["tensors of optimizer state", "takes up 0"],
    );
    // Nothing of the run was touched, and it goes on.
    assert_eq!(logs(directory.path()), before);
    assert_eq!(train(&mut with(config(9), maml())).unwrap().iteration, 9);
}

#[test]
fn checkpoints_of_other_versions_are_refused_by_name() {
    let directory = TempDir::new().unwrap();
    train(&mut config(4).init(maml()).unwrap().in_directory(directory.path())).unwrap();
    let state = directory.path().join("checkpoints/step-00000004/state.json");
    let text = fs::read_to_string(&state).unwrap();
    let go_on = || train(&mut config(9).init(maml()).unwrap().in_directory(directory.path()));
    fs::write(&state, text.replace("\"format\": 1", "\"format\": 7")).unwrap();
    refused(go_on(), &["state.json", "format 7, this version reads checkpoints of format 1"]);
    let version = concat!("\"version\": \"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(text.contains(version));
    fs::write(&state, text.replace(version, "\"version\": \"9.9.9\"")).unwrap();
    refused(go_on(), &["written by version 9.9.9"]);
    fs::write(&state, &text[..100]).unwrap();
    refused(go_on(), &["state.json"]);
    fs::write(&state, &text).unwrap();
    fs::write(directory.path().join("checkpoints/step-00000004/model.bpk"), "damaged").unwrap();
    refused(go_on(), &["model.bpk"]);
}

#[test]
fn a_directory_belongs_to_one_run_at_a_time() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().to_owned();
    let inner = Rc::new(RefCell::new(None));
    let (found, there) = (inner.clone(), path.clone());
    let second = move |event: &Event<'_>| {
        if let Event::Step(step) = event
            && step.iteration == 1
        {
            *found.borrow_mut() = Some(train(&mut config(2).init(maml()).unwrap().in_directory(&there)));
        }
        Control::Continue
    };
    train(&mut config(2).init(maml()).unwrap().in_directory(&path).with_callback(second)).unwrap();
    refused(inner.take().unwrap(), &["another run is at work"]);
}

#[test]
fn early_stopping_ends_after_validations_without_improvement() {
    // A learning rate of zero changes nothing: the first validation is the best.
    let mut trainer = config(100).with_validate_every(2).with_patience(Some(3)).init(maml()).unwrap();
    let still = MetaLearner::new(net(&[1, 8, 1]), SgdConfig::new().init(), 0.0);
    let trained = trainer.run(still, &objective(), line, Some(Validation::new(5, line))).unwrap();
    assert_eq!((trained.ending, trained.iteration, trained.best.unwrap().iteration), (Ending::EarlyStopping, 8, 2));
}

#[test]
fn the_best_checkpoint_is_kept_and_others_go() {
    let directory = TempDir::new().unwrap();
    let mut trainer = config(30).with_validate_every(2).init(maml()).unwrap().in_directory(directory.path());
    // Diverges after a while: the best comes before the end.
    let learner = MetaLearner::new(net(&[1, 8, 1]), SgdConfig::new().init(), 0.4);
    let trained = trainer.run(learner, &objective(), line, Some(Validation::new(20, line))).unwrap();
    let best = trained.best.unwrap();
    let kept = Checkpoint::best(directory.path()).unwrap();
    assert_eq!((kept.iteration(), Checkpoint::latest(directory.path()).unwrap().iteration()), (best.iteration, 30));
    assert_eq!(kept.best_so_far(), Some((best.iteration, best.value)));
    assert_eq!(weights(&kept.load_model(net(&[1, 8, 1])).unwrap()), weights(&best.model));
    let names = fs::read_dir(directory.path().join("checkpoints")).unwrap();
    assert_eq!(names.count(), if best.iteration == 30 { 1 } else { 2 });
    let missing = Checkpoint::latest(directory.path().join("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("nowhere") && missing.contains("no checkpoint"), "{missing}");
}

#[test]
fn pieces_of_a_meta_batch_give_the_same_numbers() {
    let [whole, single] = [None, Some(1)].map(|accumulate| {
        let directory = TempDir::new().unwrap();
        let config = config(10).with_meta_batch(5).with_accumulate(accumulate);
        train(&mut config.init(maml()).unwrap().in_directory(directory.path())).unwrap();
        logs(directory.path())
    });
    assert_eq!(whole, single);
}

#[test]
fn the_meta_gradient_is_clipped_as_a_whole() {
    // One step of plain gradient descent with rate 1 moves the parameters by the clipped gradient.
    let moved = |clip: Option<MetaClip>| {
        let mut trainer = config(1).with_clip(clip).init(maml()).unwrap();
        let (before, optim) = (net(&[1, 8, 1]), SgdConfig::new().init());
        let trained = trainer.run(MetaLearner::new(before.clone(), optim, 1.0), &objective(), line, None).unwrap();
        let after = weights(trained.learner.model());
        after.iter().zip(weights(&before)).map(|(after, before)| after - before).collect::<Vec<f64>>()
    };
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let free = moved(None);
    let most = 0.25 * norm(&free);
    let clipped = moved(Some(MetaClip::Norm(most)));
    // f32: differences of parameters of size 1 have an absolute error of 1e-7 each.
    assert!((norm(&clipped) - most).abs() < 1e-6, "{} for {most}", norm(&clipped));
    for (clipped, free) in clipped.iter().zip(&free) {
        assert!((clipped - 0.25 * free).abs() < 1e-6);
    }
    let loose = moved(Some(MetaClip::Norm(4.0 * norm(&free))));
    assert_eq!(loose, free);
    let limit = 0.5 * free.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    for (clipped, free) in moved(Some(MetaClip::Value(limit))).iter().zip(&free) {
        assert!((clipped - free.clamp(-limit, limit)).abs() < 1e-6);
    }
}

#[test]
fn tasks_are_weighed_by_their_number() {
    // With all weight on one task of each meta-batch, the others might as well not be there.
    let step = |trainer: MetaTrainer, tasks: fn(u64) -> Result<Task<Points>>| {
        let learner = MetaLearner::new(net(&[1, 8, 1]), SgdConfig::new().init(), 0.1);
        let trained = { trainer }.run(learner, &objective(), tasks, None).unwrap();
        weights(trained.learner.model())
    };
    let weighed = config(3).init(maml()).unwrap().with_task_weights(|task| if task % 3 == 1 { 2.0 } else { 0.0 });
    let alone = config(3).with_meta_batch(1).init(maml()).unwrap();
    let (weighed, alone) = (step(weighed, line), step(alone, |index| line(3 * index + 1)));
    for (a, b) in weighed.iter().zip(alone) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn learned_rates_are_part_of_a_run() {
    let run = |directory: &Path, stops: &'static [u64]| {
        let net = net(&[1, 8, 1]);
        let rates = InnerRatesConfig::per_layer_per_step().init(&net, &maml().config().inner).unwrap();
        let learner = MetaLearner::new(net, AdamConfig::new().init(), 1e-2);
        let learner = learner.with_rates(rates, AdamConfig::new().init(), 1e-2);
        let mut trainer = config(12).init(maml()).unwrap().in_directory(directory).with_callback(stopping_at(stops));
        trainer.run(learner, &objective(), line, Some(Validation::new(6, line))).unwrap()
    };
    let (whole, parts) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let trained = run(whole.path(), &[]);
    for _ in 0..2 {
        run(parts.path(), &[5]);
    }
    assert_eq!(logs(whole.path()), logs(parts.path()));
    let moved =
        trained.learner.rates().unwrap().of_step(0).into_data().iter::<f64>().any(|rate| (rate - 0.05).abs() > 1e-3);
    assert!(moved && trained.best.unwrap().rates.is_some());
}

#[test]
fn support_and_query_sets_may_have_their_own_losses() {
    let squared = |net: &Mlp, (x, y): Points| mean_squared_error(net.forward(x), y);
    let absolute = |net: &Mlp, (x, y): Points| (net.forward(x) - y).abs().mean();
    let train = |two: bool| {
        let (mut trainer, learner) = (config(5).init(maml()).unwrap(), learner());
        let trained = match two {
            true => trainer.run(learner, &Objective::of(squared, absolute), line, None),
            false => trainer.run(learner, &Objective::new(squared), line, None),
        };
        weights(trained.unwrap().learner.model())
    };
    assert_ne!(train(true), train(false), "the query loss counts");
}

#[test]
fn burns_own_clipping_goes_with_it() {
    let optim = AdamConfig::new().with_grad_clipping(Some(GradientClippingConfig::Norm(0.1))).init();
    let mut trainer = config(3).init(maml()).unwrap();
    let trained = trainer.run(MetaLearner::new(net(&[1, 8, 1]), optim, 1e-2), &objective(), line, None).unwrap();
    assert!(trained.best.is_none());
}

#[test]
fn mistakes_are_named() {
    let maml = maml();
    for (config, word) in [
        (config(1).with_meta_batch(0), "meta_batch: 0"),
        (config(1).with_patience(Some(0)), "patience: 0"),
        (config(1).with_accumulate(Some(0)), "accumulate: 0"),
        (config(1).with_query_chunk(Some(0)), "query_chunk: 0"),
        (config(1).with_clip(Some(MetaClip::Norm(f64::NAN))), "clip: NaN"),
    ] {
        let text = config.init(maml.clone()).err().unwrap().to_string();
        assert!(text.contains(word), "{text}");
    }
    let run = |objective: &Objective<_, Points, Tensor<2>>, tasks: fn(u64) -> Result<Task<Points>, String>| {
        config(5).init(maml.clone()).unwrap().run(learner(), objective, tasks, None)
    };
    let ok = |index: u64| line(index).map_err(|error| error.to_string());
    let missing =
        |index: u64| if index == 7 { Err("no such file".into()) } else { line(index).map_err(|e| e.to_string()) };
    refused(run(&Objective::new(loss), missing), &["meta-iteration 3", "task 7 of the training", "no such file"]);
    let nan = Objective::new(loss).with_metric(Metric::lower("nan", |_: &Points, _: &Tensor<2>| f64::NAN));
    refused(run(&nan, ok), &["meta-iteration 1", "metric nan of task 0 is NaN"]);
    for name in ["", "a,b", "loss", "x_interval95"] {
        let named = Objective::new(loss).with_metric(Metric::lower(name, worst));
        refused(run(&named, ok), &["trainer: metrics", &format!("`{name}`")]);
    }
    let none = config(5).init(maml.clone()).unwrap().run(learner(), &objective(), line, Some(Validation::new(0, line)));
    refused(none, &["validation: 0 tasks"]);
}

/// A failure costs nothing that was done before it, and a validation that failed is the first thing when the run goes on.
#[test]
fn a_failure_keeps_what_was_done() {
    let whole = TempDir::new().unwrap();
    train(&mut config(20).init(maml()).unwrap().in_directory(whole.path())).unwrap();
    let failing = TempDir::new().unwrap();
    let mut missing = std::collections::HashSet::from([8 * 3, 1_000_007, 15 * 3 + 1]);
    let mut left = Vec::new();
    while !missing.is_empty() {
        let tasks = |index: u64| {
            line(index).and_then(|task| if missing.contains(&index) { Err(Error::NoSteps) } else { Ok(task) })
        };
        let validation = Validation::new(20, |index| tasks(index + 1_000_000));
        let mut trainer = config(20).with_checkpoint_every(0).init(maml()).unwrap().in_directory(failing.path());
        let error = trainer.run(learner(), &objective(), tasks, Some(validation)).err().unwrap().to_string();
        left.push(Checkpoint::latest(failing.path()).unwrap().iteration());
        missing.retain(|index| !error.contains(&format!("task {}", index % 1_000_000)));
    }
    assert_eq!(left, [8, 10, 15]);
    train(&mut config(20).with_checkpoint_every(0).init(maml()).unwrap().in_directory(failing.path())).unwrap();
    assert_eq!(logs(failing.path()), logs(whole.path()));
}

/// A token ends validations and tests too, between tasks, and nothing is judged half.
#[test]
fn a_validation_is_broken_off_and_begun_again() {
    let (whole, stopped) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    train(&mut config(10).init(maml()).unwrap().in_directory(whole.path())).unwrap();
    let token = CancelToken::new();
    let asked = token.clone();
    let trainer = config(10).init(maml()).unwrap().in_directory(stopped.path()).stopped_by(&token);
    let stop = move |event: &Event<'_>| {
        if let Event::Validating { done: 16, .. } = event {
            asked.cancel();
        }
        Control::Continue
    };
    let mut trainer = trainer.with_callback(stop);
    let trained = train(&mut trainer).unwrap();
    assert_eq!((trained.iteration, trained.ending, trained.best.is_none()), (10, Ending::Stopped, true));
    let judged = trainer.evaluate(trained.learner.model(), &objective(), 5, line);
    assert!(matches!(judged, Err(Error::Cancelled { done: 0, tasks: 5 })), "{judged:?}");
    drop(trainer);
    assert_ne!(logs(stopped.path()), logs(whole.path()));
    let trained = train(&mut config(10).init(maml()).unwrap().in_directory(stopped.path())).unwrap();
    assert_eq!((trained.ending, trained.best.map(|best| best.iteration)), (Ending::Done, Some(10)));
    assert_eq!(logs(stopped.path()), logs(whole.path()));
}

#[test]
fn damaged_and_longer_runs_are_refused() {
    let directory = TempDir::new().unwrap();
    let run = |iterations| train(&mut config(iterations).init(maml()).unwrap().in_directory(directory.path()));
    run(5).unwrap();
    refused(run(4), &["5 meta-iterations are done already, more than the 4 asked for"]);
    for name in ["model.bpk", "optimizer.bpk", "schedule.bpk"] {
        let path = directory.path().join("checkpoints/step-00000005").join(name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&path, &changed).unwrap();
        refused(run(6), &[name, "damaged: other bytes"]);
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        refused(run(6), &[name, "damaged", "when it was written"]);
        fs::write(&path, &whole).unwrap();
    }
    run(6).unwrap();
}

#[test]
fn metrics_are_weighted_as_losses_are() {
    let directory = TempDir::new().unwrap();
    let of = |task: u64| (task % 3 + 1) as f64;
    let mut weighed = config(1).init(maml()).unwrap().with_task_weights(of).in_directory(directory.path());
    weighed.run(learner(), &objective(), line, None).unwrap();
    let judged = config(1).init(maml()).unwrap().evaluate(learner().model(), &objective(), 3, line).unwrap();
    let mean = |values: &[f64]| (0..3).map(|task| of(task as u64) * values[task]).sum::<f64>() / 6.0;
    let log: serde_json::Value = serde_json::from_str(logs(directory.path())[1].lines().next().unwrap()).unwrap();
    for (name, expected) in [("loss", mean(&judged.losses)), ("worst", mean(&judged.metrics[0].1))] {
        let found = log[name].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-6 * expected, "{name}: {found}, {expected}");
    }
}

#[test]
fn rates_that_do_not_go_with_a_run_are_refused_before_it() {
    let directory = TempDir::new().unwrap();
    let run = |rates: Option<InnerRatesConfig>, evaluation_steps: usize| {
        let (net, inner) = (net(&[1, 8, 1]), maml().config().inner.clone());
        let mut learner = MetaLearner::new(net.clone(), AdamConfig::new().init(), 1e-2);
        if let Some(rates) = rates {
            learner = learner.with_rates(rates.init(&net, &inner).unwrap(), AdamConfig::new().init(), 1e-2);
        }
        let trainer = config(3).init(maml()).unwrap().with_evaluation_steps(evaluation_steps).unwrap();
        trainer.in_directory(directory.path()).run(learner, &objective(), line, None)
    };
    let per_step = || Some(InnerRatesConfig::per_layer_per_step());
    refused(run(per_step(), 4), &["rates for 3 step(s), the inner loop has 4"]);
    assert!(!directory.path().join("checkpoints").exists());
    run(per_step(), 3).unwrap();
    refused(run(None, 3), &["another set of learned inner rates", "`values.0`", "nothing here"]);
    refused(run(Some(InnerRatesConfig::meta_sgd()), 3), &["another set of learned inner rates", "of shape [4]"]);
    run(per_step(), 3).unwrap();
}

/// Burn gives the state of an optimizer the type of its default device: no run goes on with another state than it had.
#[test]
fn a_run_in_another_precision_than_burns_own_is_not_resumed_with_half_of_its_state() {
    let directory = TempDir::new().unwrap();
    let double = |(x, y): Points| (x.cast(DType::F64), y.cast(DType::F64));
    let tasks = move |index| line(index).map(|task| Task { support: double(task.support), query: double(task.query) });
    let run = |iterations| {
        let net = burn_func::cast(&net(&[1, 8, 1]), DType::F64);
        let learner = MetaLearner::new(net, AdamConfig::new().init(), 1e-2);
        let mut trainer = config(iterations).init(maml()).unwrap().in_directory(directory.path());
        trainer.run(learner, &Objective::new(loss), tasks, None)
    };
    run(3).unwrap();
    refused(run(6), &["optimizer.bpk", "default device", "FloatDType::F64"]);
    let kept = Checkpoint::latest(directory.path()).unwrap();
    assert_eq!(kept.iteration(), 3);
    kept.load_model(burn_func::cast(&net(&[1, 8, 1]), DType::F64)).unwrap();
}

#[test]
fn logs_without_a_checkpoint_are_not_overwritten() {
    let directory = TempDir::new().unwrap();
    let run = || train(&mut config(4).init(maml()).unwrap().in_directory(directory.path()));
    run().unwrap();
    let before = logs(directory.path());
    fs::remove_dir_all(directory.path().join("checkpoints")).unwrap();
    refused(run(), &["without a checkpoint", "remove metrics.jsonl"]);
    assert_eq!(logs(directory.path()), before);
    fs::remove_file(directory.path().join("metrics.jsonl")).unwrap();
    run().unwrap();
    assert_eq!(logs(directory.path()), before);
}
