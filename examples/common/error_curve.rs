//! How far each estimator's meta-gradient is from the exact one, over tasks or mini-batches of them.
//!
//! Does not know: where tasks come from, formulas of the estimators.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_func::{Batch, Params, trace};
use burn_meta::{Estimator, InnerLoopConfig, Task};
use serde::Serialize;

use crate::comparison::{Comparison, Trial};
use crate::failure::Failure;
use crate::families::{Contender, contenders};
use crate::statistics::Distribution;
use crate::unrolling::Adaptable;
use crate::workers::side_by_side;

/// One point of the curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Name of a family: see [`FAMILIES`](crate::families::FAMILIES).
    pub estimator: &'static str,
    /// The estimator with its settings.
    pub settings: Estimator,
    /// Order L; of segments the number of products.
    pub order: usize,
    /// Hessian-vector products of one task.
    pub products: usize,
    /// Of them in sequence.
    pub depth: usize,
    /// Inner steps whose residuals are kept for them.
    pub reads: usize,
    /// Of `||estimate - exact|| / ||exact||`, over the tasks or mini-batches one by one.
    pub relative_error: Distribution,
    /// Of the cosine of the angle between the two.
    pub cosine: Distribution,
}

impl Point {
    /// A contender in `steps` inner steps, and how it did in each trial.
    pub fn of(contender: Contender, steps: usize, trials: &[Trial]) -> Self {
        // The same in every trial, but that a fit ends early where the spectrum is small.
        let most = |spent: fn(&Trial) -> usize| trials.iter().map(spent).max().unwrap_or_default();
        let summary = |of: fn(&Trial) -> f64| Distribution::of(&trials.iter().map(of).collect::<Vec<_>>());
        Self {
            estimator: contender.family,
            settings: contender.estimator,
            order: contender.estimator.order(steps),
            products: most(|trial| trial.spent.products),
            depth: most(|trial| trial.spent.depth),
            reads: most(|trial| trial.spent.reads),
            relative_error: summary(|trial| trial.error),
            cosine: summary(|trial| trial.cosine),
        }
    }
}

/// Relative errors of all estimators at the parameters that a network has now, for the meta-gradients of mini-batches of
/// `batch` tasks; a last one that is not full is left out.
///
/// The inner loop of a task is run and linearized once, and all estimators read the same Hessians.
///
/// # Errors
///
/// Those of [`trace`] and of what it returns; [`Failure::Failed`] if an exact meta-gradient is zero or not finite.
pub fn error_curve<M, B, F>(
    net: &M,
    tasks: &[Task<B>],
    batch: usize,
    inner: &InnerLoopConfig,
    loss: F,
) -> Result<Vec<Point>, Failure>
where
    M: Module,
    B: Batch,
    F: Fn(&M, B) -> Tensor<1>,
{
    let contenders = contenders(inner.steps, inner.steps);
    let trials = error_trials(net, tasks, batch, inner, loss, (&contenders, Some(1)))?;
    let points = contenders.iter().zip(&trials);
    Ok(points.map(|(contender, trials)| Point::of(*contender, inner.steps, trials)).collect())
}

/// How each of some estimators did on each mini-batch of `batch` tasks, on so many threads, or one for each core; a last
/// mini-batch that is not full is left out.
///
/// # Errors
///
/// As [`error_curve`].
pub fn error_trials<M, B, F>(
    net: &M,
    tasks: &[Task<B>],
    batch: usize,
    inner: &InnerLoopConfig,
    loss: F,
    (contenders, threads): (&[Contender], Option<usize>),
) -> Result<Vec<Vec<Trial>>, Failure>
where
    M: Module,
    B: Batch,
    F: Fn(&M, B) -> Tensor<1>,
{
    let Some(first) = tasks.first() else { return Ok(vec![Vec::new(); contenders.len()]) };
    let (support, query) = (trace(net, &first.support, &loss)?, trace(net, &first.query, &loss)?);
    let start = Params::from_module(net)?;
    let estimators: Vec<Estimator> = contenders.iter().map(|contender| contender.estimator).collect();
    let batches: Vec<&[Task<B>]> = tasks.chunks_exact(batch).collect();
    let one = |index: usize| -> Result<Vec<Trial>, Failure> {
        let mut comparison = Comparison::new(&estimators);
        for task in batches[index] {
            let task = Adaptable { support: &support, query: &query, start: &start, task };
            comparison.add(&task.at_rate(inner.steps, inner.learning_rate)?.system())?;
        }
        comparison.finish().map_err(|failure| failure.at(format!("task or mini-batch {index}")))
    };
    let mut trials = vec![Vec::new(); contenders.len()];
    for done in side_by_side(batches.len(), threads, one) {
        trials.iter_mut().zip(done?).for_each(|(trials, trial)| trials.push(trial));
    }
    Ok(trials)
}

/// The curve as a table: one row for each estimator.
pub fn table(curve: &[Point]) -> String {
    let mut text = format!("{HEAD}\n");
    for point in curve {
        let Point { estimator, order, products, depth, reads, relative_error: e, cosine, .. } = point;
        text += &format!(
            "| {estimator:<16} | {order:>2} | {products:>8} | {depth:>5} | {reads:>4} | {:>7.2e} +- {:<7.1e} | {:>8.2e} | {:>8.2e} | {:.6} |\n",
            e.mean, e.sd, e.median, e.p90, cosine.median
        );
    }
    text.pop();
    text
}

const HEAD: &str = "\
| estimator        |  L | products | depth | kept | error: mean +- sd  | median   | 90th p.  | cosine   |
|------------------|---:|---------:|------:|-----:|--------------------|---------:|---------:|---------:|";
