//! The estimators over a range of reaches or rates: who is closest for how many products, in sequence, with how many steps
//! kept.
//!
//! Does not know: where networks and tasks come from, formulas of the estimators.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_func::{Batch, Params, trace};
use burn_meta::{Estimator, Task};
use serde::Serialize;

use crate::comparison::{Comparison, Trial};
use crate::error_curve::Point;
use crate::failure::Failure;
use crate::families::Contender;
use crate::progress::bar;
use crate::statistics::Distribution;
use crate::unrolling::Adaptable;
use crate::workers::side_by_side;

/// How large the inner steps are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepSize {
    /// The rate times the largest norm of a Hessian along the loop, of each task.
    Reach(f64),
    /// The rate.
    Rate(f64),
}

impl std::fmt::Display for StepSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reach(reach) => write!(f, "reach {reach}"),
            Self::Rate(rate) => write!(f, "rate {rate}"),
        }
    }
}

/// What was measured at one step size.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The step size asked for.
    pub step_size: StepSize,
    /// The loops.
    pub loops: Loops,
    /// How each estimator did, in the order of the estimators, task by task.
    pub trials: Vec<Vec<Trial>>,
}

/// What the loops of all tasks were like.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Loops {
    /// Inner learning rate.
    pub rate: Distribution,
    /// The rate times the largest norm of a Hessian.
    pub reach: Distribution,
    /// Relative change of the Hessian from the first step to the last, along the query gradient.
    pub drift: Distribution,
}

/// Runs the inner loop of every task at every step size, and all estimators on it, tasks side by side on threads.
///
/// # Errors
///
/// Those of [`trace`] and of what it returns; [`Failure::Failed`] if an exact meta-gradient is zero or not finite.
pub fn measure<M, B, F>(
    (net, tasks, loss): (&M, &[Task<B>], F),
    steps: usize,
    step_sizes: &[StepSize],
    estimators: &[Estimator],
    threads: Option<usize>,
) -> Result<Vec<Measured>, Failure>
where
    M: Module,
    B: Batch,
    F: Fn(&M, B) -> Tensor<1>,
{
    let Some(first) = tasks.first() else { return Ok(Vec::new()) };
    let (support, query) = (trace(net, &first.support, &loss)?, trace(net, &first.query, &loss)?);
    let start = Params::from_module(net)?;
    let bar = bar(tasks.len() * step_sizes.len(), "measuring");
    let one = |index: usize, step_size: StepSize| -> Result<_, Failure> {
        let task = Adaptable { support: &support, query: &query, start: &start, task: &tasks[index] };
        let run = match step_size {
            StepSize::Reach(reach) => task.at_reach(steps, reach)?,
            StepSize::Rate(rate) => task.at_rate(steps, rate)?,
        };
        let mut comparison = Comparison::new(estimators);
        comparison.add(&run.system())?;
        let trials = comparison.finish()?;
        bar.inc(1);
        Ok(([run.rate, run.reach()?, run.drift()?], trials))
    };
    let at = |&step_size: &StepSize| -> Result<Measured, Failure> {
        let done = side_by_side(tasks.len(), threads, |index| {
            one(index, step_size).map_err(|failure| failure.at(format!("{step_size}, task {index}")))
        });
        let done: Vec<_> = done.into_iter().collect::<Result<_, _>>()?;
        let summary = |of: usize| Distribution::of(&done.iter().map(|(loops, _)| loops[of]).collect::<Vec<_>>());
        let loops = Loops { rate: summary(0), reach: summary(1), drift: summary(2) };
        let trials = (0..estimators.len()).map(|at| done.iter().map(|(_, trials)| trials[at]).collect()).collect();
        Ok(Measured { step_size, loops, trials })
    };
    let measured = step_sizes.iter().map(at).collect();
    bar.finish_and_clear();
    measured
}

/// The estimators at one step size.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The step size asked for.
    pub step_size: StepSize,
    /// The loops.
    pub loops: Loops,
    /// How each estimator did.
    pub points: Vec<Point>,
}

impl Row {
    /// Summaries of what was measured.
    pub fn of(measured: &Measured, contenders: &[Contender], steps: usize) -> Self {
        let points = contenders.iter().zip(&measured.trials);
        let points = points.map(|(contender, trials)| Point::of(*contender, steps, trials)).collect();
        Self { step_size: measured.step_size, loops: measured.loops, points }
    }
}

/// What an estimate may be short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// Hessian-vector products.
    Products,
    /// Products in sequence.
    Depth,
    /// Inner steps that keep their residuals.
    Kept,
}

impl Budget {
    /// How much of it a point takes.
    pub fn of(self, point: &Point) -> usize {
        match self {
            Self::Products => point.products,
            Self::Depth => point.depth,
            Self::Kept => point.reads,
        }
    }
}

/// The point with the least median error of those within a budget. None where no error is a number.
pub fn best(row: &Row, budget: Budget, limit: usize) -> Option<&Point> {
    let within = row.points.iter().filter(|point| budget.of(point) <= limit && !point.relative_error.median.is_nan());
    within.min_by(|a, b| a.relative_error.median.total_cmp(&b.relative_error.median))
}

/// Median errors: a line for each estimator, a column for each step size.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| estimator        |  L | products | depth | kept |");
    rows.iter().for_each(|row| text += &format!(" {:>10} |", row.step_size.to_string()));
    text += "\n|------------------|---:|---------:|------:|-----:|";
    rows.iter().for_each(|_| text += "-----------:|");
    let points = rows.first().map_or(&[][..], |row| &row.points);
    for (at, Point { estimator, order, products, depth, reads, .. }) in points.iter().enumerate() {
        text += &format!("\n| {estimator:<16} | {order:>2} | {products:>8} | {depth:>5} | {reads:>4} |");
        rows.iter().for_each(|row| text += &format!(" {:>10.2e} |", row.points[at].relative_error.median));
    }
    text
}

/// What the loops were like: a line for each step size.
pub fn loops_table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| step size  | rate     | reach    | drift    |\n|------------|---------:|---------:|---------:|",
    );
    for Row { step_size, loops: Loops { rate, reach, drift }, .. } in rows {
        let medians = [rate, reach, drift].map(|summary| format!(" {:>8.2e} |", summary.median)).concat();
        text += &format!("\n| {:<10} |{medians}", step_size.to_string());
    }
    text
}

/// The best estimator within limits that leave less than exact: a line for each limit, a column for each step size.
pub fn best_table(rows: &[Row], budget: Budget, steps: usize) -> String {
    let mut text = String::from("| at most |");
    rows.iter().for_each(|row| text += &format!(" {:<27} |", row.step_size.to_string()));
    text += "\n|--------:|";
    rows.iter().for_each(|_| text += "-----------------------------|");
    for limit in LIMITS.into_iter().filter(|&limit| limit < steps) {
        text += &format!("\n| {limit:>7} |");
        for row in rows {
            let cell = best(row, budget, limit).map_or_else(String::new, |point| {
                let Point { estimator, order, relative_error, .. } = point;
                format!("{estimator} L={order}: {:.1e}", relative_error.median)
            });
            text += &format!(" {cell:<27} |");
        }
    }
    text
}

/// Budgets that are looked at.
const LIMITS: [usize; 10] = [1, 2, 3, 4, 5, 6, 8, 10, 14, 18];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::Spent;
    use crate::families::contenders;

    #[test]
    fn the_best_is_the_closest_within_its_budget() {
        let summary = Distribution::of(&[1.0, 1.0]);
        let trial = |error, products, depth, reads| {
            vec![Trial { error, cosine: 1.0, order: 0, spent: Spent { products, depth, reads }, neglected: None }; 2]
        };
        let measured = Measured {
            step_size: StepSize::Rate(0.1),
            loops: Loops { rate: summary, reach: summary, drift: summary },
            trials: vec![trial(0.5, 0, 0, 0), trial(f64::NAN, 1, 1, 1), trial(0.1, 6, 2, 5), trial(0.2, 3, 3, 1)],
        };
        let row = Row::of(&measured, &contenders(5, 5)[..4], 5);
        let error = |budget, limit| best(&row, budget, limit).unwrap().relative_error.median;
        assert_eq!([1, 3, 6].map(|limit| error(Budget::Products, limit)), [0.5, 0.2, 0.1]);
        assert_eq!([1, 2, 3].map(|limit| error(Budget::Depth, limit)), [0.5, 0.1, 0.1]);
        assert_eq!([0, 1, 5].map(|limit| error(Budget::Kept, limit)), [0.5, 0.2, 0.1]);
    }
}
