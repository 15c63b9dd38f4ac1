//! How far each estimator's meta-gradient is from the exact one, by order.
//!
//! Does not know: where tasks come from, formulas of the estimators.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_func::{Batch, Params, trace};
use burn_meta::{Estimator, GradientDescent, InnerSgdConfig, Task};
use serde::Serialize;

use crate::failure::Failure;
use crate::statistics::Summary;

/// Name of an estimator, and how it is made in an order.
pub type Kind = (&'static str, fn(usize) -> Estimator);

/// Kinds of estimators, each of which has every order from 0 (first-order) to K (exact).
pub const KINDS: [Kind; 3] = [
    ("truncated", Estimator::truncated),
    ("binomial", Estimator::binomial),
    ("binomial, scaled", Estimator::binomial_scaled),
];

/// One point of the curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// One of [`KINDS`].
    pub estimator: &'static str,
    /// Order L.
    pub order: usize,
    /// Hessian-vector products of one task.
    pub products: usize,
    /// Of `||estimate - exact|| / ||exact||`, over the tasks one by one.
    pub relative_error: Summary,
}

/// Relative errors of all estimators at the parameters that a network has now.
///
/// The inner loop of a task is run and linearized once, and all estimators read the same Hessians.
///
/// # Errors
///
/// Those of [`trace`] and of what it returns; [`Failure::Failed`] if an exact meta-gradient is zero or not finite.
pub fn error_curve<M, B, F>(net: &M, tasks: &[Task<B>], inner: &InnerSgdConfig, loss: F) -> Result<Vec<Point>, Failure>
where
    M: Module,
    B: Batch,
    F: Fn(&M, B) -> Tensor<1>,
{
    let Some(first) = tasks.first() else { return Ok(Vec::new()) };
    let (support, query) = (trace(net, &first.support, &loss)?, trace(net, &first.query, &loss)?);
    let start = Params::from_module(net)?;
    let steps = inner.steps;
    let mut errors = vec![Vec::new(); KINDS.len() * (steps + 1)];
    for (index, task) in tasks.iter().enumerate() {
        let mut end = start.clone();
        let mut points = Vec::new();
        for _ in 0..steps {
            let point = support.linearize(&end, &task.support)?;
            end = end.axpy(-inner.learning_rate, point.grad());
            points.push(point);
        }
        let (_, query_grad, ()) = query.value_and_grad(&end, &task.query)?;
        let estimate = |estimator: Estimator| {
            let hvp = |step: usize, v: &Params| points[step].hvp(v);
            let system = GradientDescent::new(steps, inner.learning_rate, query_grad.clone(), hvp);
            Ok::<_, burn_func::Error>(estimator.estimate(&system)?.value)
        };
        let exact = estimate(Estimator::Exact)?;
        let norm = exact.norm();
        if !norm.is_normal() {
            return Err(Failure::failed(format!("task {index}: the exact meta-gradient has norm {norm}")));
        }
        for (errors, (_, _, estimator)) in errors.iter_mut().zip(grid(steps)) {
            errors.push(estimate(estimator)?.axpy(-1.0, &exact).norm() / norm);
        }
    }
    let point = |((name, order, estimator), errors): ((_, usize, Estimator), &Vec<f64>)| Point {
        estimator: name,
        order,
        products: estimator.products(steps),
        relative_error: Summary::of(errors),
    };
    Ok(grid(steps).zip(&errors).map(point).collect())
}

/// Every kind in every order.
fn grid(steps: usize) -> impl Iterator<Item = (&'static str, usize, Estimator)> {
    KINDS.into_iter().flat_map(move |(name, make)| (0..=steps).map(move |order| (name, order, make(order))))
}

/// The curve as a table: one row for each order, mean, standard deviation and median for each kind.
pub fn table(curve: &[Point], steps: usize) -> String {
    let cell = |kind, order| {
        let point = curve.iter().find(|point| point.estimator == kind && point.order == order);
        point.map_or_else(String::new, |Point { relative_error: e, .. }| {
            format!("{:.2e} +- {:.1e} ({:.2e})", e.mean, e.sd, e.median)
        })
    };
    let row = |first: String, cells: [String; 3]| {
        format!("| {first:>2} | {:<32} | {:<32} | {:<32} |\n", cells[0], cells[1], cells[2])
    };
    let names = KINDS.map(|(name, _)| name);
    let mut text = row("L".into(), names.map(str::to_owned));
    text += &format!("|---:|{0}|{0}|{0}|\n", "-".repeat(34));
    for order in 0..=steps {
        text += &row(order.to_string(), names.map(|name| cell(name, order)));
    }
    text.pop();
    text
}
