//! Learns which training samples to trust: a bilevel problem that is no few-shot learning, solved with the same parts.
//!
//! `cargo run --release --example reweighting -- --plot weights.svg`
//!
//! A share of the training labels is wrong, and a few clean samples are at hand to validate on. Every training sample gets a
//! weight; the inner loop trains a classifier on the weighted loss; the weights, and the strength of each layer's L2 penalty
//! with them, are moved so that the classifier the inner loop comes to does well on the validation samples. (Learning to
//! Reweight Examples, arXiv 1803.09050; hyper-cleaning, arXiv 1806.04910.)
//!
//! The row to compare with is not the first of the table but the one of weights that all are 1/2 still: they slow training
//! down, which helps against wrong labels by itself. Nor is a hyper-gradient better for being exact. It fits the few
//! validation samples most closely, and over seeds 0 to 4 the test accuracy is 87.2 % (`--estimator exact`) to 89.8 %
//! (`--estimator truncated --order 10`), where weights of 1/2 have 79.8 %, validation samples alone 78.7 % and right labels
//! alone 94.6 %.
//!
//! # A bilevel problem of your own
//!
//! `min over h of outer(phi_K(h))`, with `phi_{k+1} = phi_k - a d/dphi inner(phi_k, h)`, takes four things:
//!
//! 1. One module that holds both: the parameters `phi` of the inner problem, and beside them the hyper-parameters `h`, as
//!    `Param`s of any shape. Here: [`Weighted`]. What must be positive, or a share, is kept as a logarithm or a logit.
//! 2. `InnerLoopConfig::with_adapt` names the parameters of the inner problem by path. The others are held still by the inner
//!    loop, and get a gradient all the same.
//! 3. Two closures of module and batch: the inner objective, which reads `h`, and the outer one. [`training_loss`],
//!    [`validation_loss`].
//! 4. `maml.batch(&tasks).gradient_of(&net, inner, outer)`, for one task or many. Its gradient has a part for every parameter:
//!    that of `h` is the hyper-gradient, that of `phi` is with respect to where the inner loop begins. Keep the part you
//!    want (`Params::only`), and hand it to a Burn optimizer.
//!
//! What `h` does to the outcome goes through the inner gradients alone, `-a d^2 inner / dh dphi`, a row of the Hessian for
//! each step. So first-order meta-gradients, which leave all Hessians out, are exactly zero for `h`, as is Reptile's.
//! Truncation to L steps sees what `h` did in the last L (arXiv 1810.10667); binomial of order 1 what it did in every step,
//! without what became of it later. If `h` stands in the outer objective too, that part of the gradient is added by itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::module::{Module, Param};
use burn::optim::AdamConfig;
use burn::tensor::activation::{log_softmax, sigmoid};
use burn::tensor::{Device, Tensor};
use burn_func::{Filter, Params};
use burn_meta::models::{Mlp, MlpConfig};
use burn_meta::{InnerLoopConfig, Maml, MamlConfig, Rule, Summary, Task};
use clap::Parser;
use common::arguments::{EstimatorArgs, Screen, count, describe, note, parse, positive};
use common::device::DeviceName;
use common::document::Document;
use common::failure::{Failure, exit};
use common::files;
use common::noisy_labels::{Batch, NoisyLabels, NoisyLabelsConfig, Samples};
use common::plot::Labels;
use common::progress::{TrainingLog, TrainingPoint};
use common::seed::seeded;
use common::separation::{Kinds, svg};
use serde::Serialize;
use serde_json::json;

/// Learn a weight for each training sample where some labels are wrong, and how strongly to regularise.
///
/// The inner loop trains a small network on drawn characters by the weighted loss, from the same initial parameters every
/// time. Weights and L2 strengths move along the gradient of its loss on a few clean validation samples after training.
///
/// The estimator matters more than in meta-learning: weights act on the outcome through second derivatives alone, so
/// --estimator first-order gives them no gradient at all, and truncated one by way of the last L inner steps.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(version, mut_arg("estimator", |arg| arg.default_value("exact")))]
struct Arguments {
    /// Share of the training labels that are wrong
    #[arg(long, value_name = "SHARE", default_value = "0.6", value_parser = share)]
    noise: f64,

    /// Characters to tell apart, at least 2
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u16).range(2..=1000))]
    classes: u16,

    /// Side of an image, in pixels
    #[arg(long, value_name = "PIXELS", default_value = "14", value_parser = clap::value_parser!(u16).range(8..=256))]
    side: u16,

    /// Training samples of each class
    #[arg(long, value_name = "SAMPLES", default_value = "60", value_parser = count)]
    train: usize,

    /// Clean validation samples of each class
    #[arg(long, value_name = "SAMPLES", default_value = "4", value_parser = count)]
    validation: usize,

    /// Clean test samples of each class
    #[arg(long, value_name = "SAMPLES", default_value = "100", value_parser = count)]
    test: usize,

    /// Units of the hidden layer
    #[arg(long, value_name = "UNITS", default_value = "32", value_parser = count)]
    hidden: usize,

    #[command(flatten)]
    #[serde(skip)]
    estimator: EstimatorArgs,

    /// Inner steps K: gradient descent on the weighted training loss, all samples in each
    #[arg(long, value_name = "K", default_value = "40", value_parser = count)]
    inner_steps: usize,

    /// Inner learning rate
    #[arg(long, value_name = "RATE", default_value = "0.5", value_parser = positive)]
    inner_lr: f64,

    /// Momentum of the inner loop, below 1
    #[arg(long, default_value = "0.9", value_parser = share)]
    momentum: f64,

    /// Steps on the weights and L2 strengths, by Adam; 0 leaves them as they begin
    #[arg(long, value_name = "N", default_value = "60")]
    outer_steps: usize,

    /// Learning rate of those steps
    #[arg(long, value_name = "RATE", default_value = "0.2", value_parser = positive)]
    outer_lr: f64,

    /// L2 strength that each layer begins with
    #[arg(long, value_name = "STRENGTH", default_value = "1e-3", value_parser = positive)]
    l2: f64,

    /// Learn the initial parameters of the network, too
    #[arg(long)]
    learn_start: bool,

    /// Draw how the learned weights are distributed as an SVG picture
    #[arg(long, value_name = "FILE.svg")]
    #[serde(skip)]
    plot: Option<PathBuf>,

    /// Seed of characters, wrong labels and initial parameters
    #[arg(long, default_value = "0")]
    seed: u64,

    /// Where to compute
    #[arg(long, value_enum, default_value = "flex")]
    device: DeviceName,

    /// Write settings and results as JSON; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,
}

/// Parser of a share, which may be 0 and is below 1.
fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_string())?;
    if (0.0..1.0).contains(&value) { Ok(value) } else { Err("expected a number from 0 to below 1".into()) }
}

/// A classifier, and what governs its training.
#[derive(Module, Debug)]
struct Weighted {
    /// The parameters of the inner problem.
    classifier: Mlp,
    /// Logit of each training sample's weight, `[n]`.
    samples: Param<Tensor<1>>,
    /// Logarithm of each layer's L2 strength, `[layers]`.
    log_l2: Param<Tensor<1>>,
}

/// What the inner loop adapts.
const INNER: &str = "classifier.*";

/// What is learned by way of it.
const HYPER: [&str; 2] = ["samples", "log_l2"];

impl Weighted {
    /// All weights 1/2, all strengths `l2`.
    fn new(classifier: Mlp, samples: usize, l2: f64, device: &Device) -> Self {
        let layers = classifier.layers.len();
        Self {
            classifier,
            samples: Param::from_tensor(Tensor::zeros([samples], device)),
            log_l2: Param::from_tensor(Tensor::full([layers], l2.ln(), device)),
        }
    }

    fn weights(&self) -> Tensor<1> {
        sigmoid(self.samples.val())
    }

    /// `1/2 sum over layers of l2 ||W||^2`.
    fn penalty(&self) -> Tensor<1> {
        let squares = self.classifier.layers.iter().map(|layer| layer.weight.val().powi_scalar(2).sum());
        (self.log_l2.val().exp() * Tensor::cat(squares.collect(), 0)).sum() * 0.5
    }
}

/// Cross-entropy of each sample, `[n]`.
fn losses(net: &Weighted, (images, labels): Batch) -> Tensor<1> {
    -(log_softmax(net.classifier.forward(images), 1) * labels).sum_dim(1).squeeze_dim(1)
}

/// The inner objective, on the training set, whole and in order.
fn training_loss(net: &Weighted, batch: Batch) -> Tensor<1> {
    (net.weights() * losses(net, batch)).mean() + net.penalty()
}

/// The inner objective without weights, on any samples.
fn unweighted_loss(net: &Weighted, batch: Batch) -> Tensor<1> {
    losses(net, batch).mean() + net.penalty()
}

/// The outer objective.
fn validation_loss(net: &Weighted, batch: Batch) -> (Tensor<1>, Tensor<2>) {
    (losses(net, batch.clone()).mean(), net.classifier.forward(batch.0))
}

fn main() -> ExitCode {
    exit(parse().and_then(run))
}

fn run(args: Arguments) -> Result<(), Failure> {
    let run = Run::prepare(&args)?;
    let screen = Screen::new(args.json.as_deref());
    run.announce(&args);

    let start = run.start(&args)?;
    let started = Instant::now();
    let (learned, training) = run.learn(&args, start.clone())?;
    let seconds = started.elapsed().as_secs_f64();
    let accuracies = run.accuracies(&start, &learned)?;
    let weights: Vec<f64> = learned.weights().into_data().iter().collect();
    let kinds = Kinds::of(&weights, |at| !run.data.wrong[at]);
    let separation = kinds.separation();
    let l2: Vec<f64> = learned.log_l2.val().exp().into_data().iter().collect();

    if let Some(path) = &args.plot {
        let wrong = format!("{:.0} % of {} labels wrong", 100.0 * args.noise, weights.len());
        let auc = separation.auc.map_or_else(String::new, |auc| format!(", area under the ROC curve {auc:.3}"));
        let labels = Labels { title: "Learned weights of training samples".into(), subtitle: format!("{wrong}{auc}") };
        let names = ["right label", "wrong label"];
        files::write(path, &svg(&kinds, names, "learned weight", &labels).map_err(Failure::failed)?)?;
    }
    if let Some(path) = &args.json {
        let mut settings = serde_json::to_value(&args).map_err(Failure::failed)?;
        settings["estimator"] = serde_json::to_value(run.maml.config().estimator).map_err(Failure::failed)?;
        let test: Vec<_> =
            accuracies.iter().map(|(on, accuracy)| json!({ "trained_on": on, "accuracy": accuracy })).collect();
        let results = json!({
            "training": training,
            "test": test,
            "mean_weight_clean": separation.mean_larger,
            "mean_weight_wrong": separation.mean_smaller,
            "auc": separation.auc,
            "l2": l2,
        });
        Document::new("reweighting", settings, results)
            .with_timing("outer_seconds", seconds)
            .with_timing("seconds_per_outer_step", seconds / args.outer_steps as f64)
            .write(path)?;
    }
    note(format!("{} outer step(s) took {seconds:.1} s", args.outer_steps));
    for (on, accuracy) in &accuracies {
        screen.result(format_args!(
            "test accuracy {:5.2} % +- {:.2} %, trained on {on}",
            100.0 * accuracy.mean,
            100.0 * accuracy.interval95
        ));
    }
    let number = |value: Option<f64>| value.map_or_else(|| "none".into(), |value| format!("{value:.3}"));
    screen.result(format_args!(
        "mean weight of clean samples {}, of wrong ones {}, area under the ROC curve {}",
        number(separation.mean_larger),
        number(separation.mean_smaller),
        number(separation.auc)
    ));
    let l2: Vec<String> = l2.iter().map(|strength| format!("{strength:.2e}")).collect();
    screen.result(format_args!("learned L2 strength by layer: {}", l2.join(", ")));
    Ok(())
}

/// Everything a run needs, checked before it begins.
struct Run {
    device: Device,
    data: NoisyLabels,
    maml: Maml,
}

impl Run {
    fn prepare(args: &Arguments) -> Result<Self, Failure> {
        let inner = InnerLoopConfig::new(args.inner_lr)
            .with_steps(args.inner_steps)
            .with_rule(Rule::momentum(args.momentum))
            .with_adapt(Some(vec![INNER.to_owned()]));
        let estimator = args.estimator.estimator(args.inner_steps)?;
        let maml = MamlConfig::new(args.estimator.inner(inner), estimator).init()?;
        args.json.as_deref().map_or(Ok(()), files::check_file)?;
        args.plot.as_deref().map_or(Ok(()), files::check_file)?;
        let device = args.device.open()?;
        let data = NoisyLabelsConfig {
            classes: args.classes.into(),
            side: args.side.into(),
            train: args.train,
            validation: args.validation,
            test: args.test,
            noise: args.noise,
            seed: args.seed,
        };
        Ok(Self { device, data: data.generate()?, maml })
    }

    fn announce(&self, args: &Arguments) {
        let NoisyLabels { train, wrong, validation, .. } = &self.data;
        let estimator = self.maml.config().estimator;
        note(format!(
            "{} training samples, {} of them with a wrong label; {} clean validation samples",
            train.len(),
            wrong.iter().filter(|wrong| **wrong).count(),
            validation.len()
        ));
        note(format!(
            "{} inner step(s) of {}, {}",
            args.inner_steps,
            args.inner_lr,
            describe(estimator, args.inner_steps)
        ));
        if estimator.reads(args.inner_steps).is_empty() {
            note(format!(
                "warning: {} leaves all second derivatives out, and weights act through them alone: they will not move",
                estimator.name()
            ));
        }
    }

    fn start(&self, args: &Arguments) -> Result<Weighted, Failure> {
        let sizes = vec![usize::from(args.side).pow(2), args.hidden, args.classes.into()];
        let classifier = seeded(args.seed, &self.device, |device| MlpConfig::new(sizes).init(device))?;
        Ok(Weighted::new(classifier, self.data.train.len(), args.l2, &self.device))
    }

    /// The outer loop.
    fn learn(&self, args: &Arguments, mut net: Weighted) -> Result<(Weighted, Vec<TrainingPoint>), Failure> {
        let NoisyLabels { train, validation, .. } = &self.data;
        let tasks = [Task { support: train.tensors(&self.device), query: validation.tensors(&self.device) }];
        let mut optim = AdamConfig::new().with_epsilon(1e-8).init();
        let mut log = TrainingLog::new(args.outer_steps);
        for outer in 1..=args.outer_steps {
            let step = self.maml.batch(&tasks).gradient_of(&net, training_loss, validation_loss);
            let step = step.map_err(|error| Failure::from(error).at(format!("outer step {outer}")))?;
            let right = validation.right(&step.outputs[0]);
            log.add(step.query_loss(), Some(right.iter().sum::<f64>() / right.len() as f64));
            let gradient: Params = match args.learn_start {
                true => step.gradient,
                false => step.gradient.only(&Filter::paths(HYPER))?,
            };
            net = optim.step(args.outer_lr, net, gradient.into_grads());
        }
        Ok((net, log.finish()))
    }

    /// Accuracies on the test set after the same inner loop on several things.
    fn accuracies(&self, start: &Weighted, learned: &Weighted) -> Result<Vec<(&'static str, Summary)>, Failure> {
        let NoisyLabels { train, wrong, validation, .. } = &self.data;
        let alike = |samples: &Samples| self.trained(start, samples, unweighted_loss);
        Ok(vec![
            ("all training samples alike", alike(train)?),
            ("all training and validation samples alike", alike(&train.and(validation))?),
            ("validation samples alone", alike(validation)?),
            ("training samples by the weights they begin with", self.trained(start, train, training_loss)?),
            ("training samples by learned weights", self.trained(learned, train, training_loss)?),
            ("training samples with right labels alone (oracle)", alike(&train.only(|at| !wrong[at]))?),
        ])
    }

    fn trained(
        &self,
        net: &Weighted,
        samples: &Samples,
        loss: impl Fn(&Weighted, Batch) -> Tensor<1>,
    ) -> Result<Summary, Failure> {
        let adapted = self.maml.adapt(net, &samples.tensors(&self.device), loss)?;
        let (images, _) = self.data.test.tensors(&self.device);
        Ok(Summary::of(&self.data.test.right(&adapted.classifier.forward(images))))
    }
}
