//! Table 2: the hybrid of appendix D.1 against what it is made of.
//!
//! It drops the earliest K - C inner steps, as truncation does, and expands the last C binomially to order L. (This is our reading
//! of the appendix.)
//!
//! Does not know: how runs are done, how errors are measured.

use burn::tensor::{DType, Tensor};
use burn_func::cast;
use burn_meta::models::{Cnn4, cross_entropy};
use burn_meta::{Checkpoint, Estimator, InnerLoopConfig, Task};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::data::Batch;
use super::grid::{Grid, GridArgs, paper_name};
use super::logs;
use super::output::{Output, table};
use super::runs::Runs;
use super::table1::{Cell, INTERVALS, cells, half, missing_runs, percent};
use crate::arguments::note;
use crate::comparison::Spent;
use crate::error_curve::error_trials;
use crate::failure::Failure;
use crate::families::Contender;
use crate::statistics::Distribution;

/// Its rows: the hybrid with K = 5, L = 1 and C = 4, its parents, and the ends.
const ROWS: [&str; 6] = ["first-order", "truncated:1", "truncated:4", "binomial:1", "hybrid:1x4", "exact"];

/// Tasks that errors are measured on.
const TASKS: [usize; 2] = [20, 100];

/// What a meta-gradient of a row is off, and what it takes.
#[derive(Clone, Copy, Debug, Serialize)]
struct Row {
    spent: Spent,
    untrained: Distribution,
    trained: Option<Distribution>,
}

/// The table.
pub(super) fn run(args: &GridArgs) -> Result<(), Failure> {
    let grid = args.grid(&ROWS)?;
    args.output.prepare()?;
    let runs = Runs::all(args, &grid)?;
    let count = TASKS[usize::from(grid.full)];
    let mut columns = Vec::new();
    for column in 0..grid.columns.len() {
        note(format!("{}: errors of the meta-gradient on {count} test tasks", grid.column_name(grid.columns[column])));
        columns.push((cells(&runs, column), errors(&runs, column, count, args.output.threads)?));
    }
    let seconds: Vec<Vec<Option<f64>>> = (0..grid.columns.len()).map(|column| seconds(&runs, column)).collect();
    let results: Vec<Value> = grid
        .columns
        .iter()
        .zip(&columns)
        .map(|(column, (cells, errors))| json!({ "column": grid.column_name(*column), "rows": cells, "meta_gradients": errors }))
        .collect();
    let missing = runs.missing();
    Output {
        name: "table2",
        title: "Table 2: the hybrid of appendix D.1".into(),
        settings: grid.document(),
        results: json!({ "data": runs.summary(), "error_tasks": count, "columns": results, "missing": missing }),
        timing: Map::from_iter([("seconds_per_meta_iteration".to_owned(), json!(seconds))]),
        markdown: markdown(&grid, &columns, &seconds, count) + &missing_runs(&missing),
        chart: None,
    }
    .write(&args.output)?;
    runs.stopped()
}

fn loss(net: &Cnn4, (images, labels): Batch) -> Tensor<1> {
    cross_entropy(net.forward(images), labels)
}

/// Of every row, on test tasks, at the network that seed 0 begins with and at the one it ends with by the exact meta-gradient.
fn errors(runs: &Runs<'_>, column: usize, count: usize, threads: Option<usize>) -> Result<Vec<Row>, Failure> {
    let grid = runs.grid;
    let inner = InnerLoopConfig::new(grid.common.inner_lr).with_steps(grid.common.inner_steps);
    let contenders: Vec<Contender> =
        grid.estimators.iter().map(|row| Contender { family: "", estimator: row.estimator }).collect();
    let double = |(images, labels): Batch| (images.cast(DType::F64), labels);
    let tasks = runs.study_tasks(column, count)?;
    let tasks: Vec<Task<Batch>> =
        tasks.into_iter().map(|task| Task { support: double(task.support), query: double(task.query) }).collect();
    let measure = |net: &Cnn4| error_trials(&cast(net, DType::F64), &tasks, 1, &inner, loss, (&contenders, threads));
    let initial = runs.initial(column, grid.seeds[0])?;
    let exact = grid.estimators.iter().position(|row| row.estimator == Estimator::Exact);
    let checkpoint = exact.and_then(|exact| Checkpoint::latest(runs.place(column, exact, 0)).ok());
    let trained = checkpoint.map(|checkpoint| checkpoint.load_model(initial.clone())).transpose()?;
    let untrained = measure(&initial)?;
    let trained = trained.map(|net| measure(&net)).transpose()?;
    let summary = |trials: &[crate::comparison::Trial]| {
        Distribution::of(&trials.iter().map(|trial| trial.error).collect::<Vec<_>>())
    };
    let row = |(at, trials): (usize, &Vec<crate::comparison::Trial>)| Row {
        spent: trials[0].spent,
        untrained: summary(trials),
        trained: trained.as_ref().map(|trained| summary(&trained[at])),
    };
    Ok(untrained.iter().enumerate().map(row).collect())
}

/// Medians of the seconds of a meta-iteration, over all finished runs.
fn seconds(runs: &Runs<'_>, column: usize) -> Vec<Option<f64>> {
    let of = |row: usize| {
        let seeds = runs.seeds_with(column, &[row]);
        let mut all: Vec<f64> =
            seeds.iter().filter_map(|seed| logs::seconds(&runs.place(column, row, *seed))).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    (0..runs.grid.estimators.len()).map(of).collect()
}

fn markdown(grid: &Grid, columns: &[(Vec<Cell>, Vec<Row>)], seconds: &[Vec<Option<f64>>], count: usize) -> String {
    let mut text = format!(
        "The hybrid leaves the curvature of the earliest K - C inner steps out, as truncation does, and expands the last C binomially \
         to order L (our reading of the appendix). Its parents are truncation to the last C steps and the binomial estimator of order \
         L. {}.\n\nError: `||estimate - exact|| / ||exact||` of the meta-gradient of one task, median over {count} test tasks, in double \
         precision, at the initial network of seed 0 and at its network trained by the exact meta-gradient. Seconds are medians of \
         the runs of this directory, on whatever machine and beside whatever else they ran.\n",
        grid.describe()
    );
    let head = [
        "",
        "products",
        "depth",
        "kept",
        "error, untrained",
        "error, trained",
        "accuracy",
        "both",
        "to exact",
        "its both",
        "s an iteration",
    ];
    for ((column, (cells, rows)), seconds) in grid.columns.iter().zip(columns).zip(seconds) {
        let lines = grid.estimators.iter().zip(cells).zip(rows).zip(seconds).map(|(((named, cell), row), seconds)| {
            let Spent { products, depth, reads } = row.spent;
            let error =
                |error: Option<Distribution>| error.map_or_else(|| "-".into(), |error| format!("{:.2e}", error.median));
            vec![
                paper_name(named, grid.common.inner_steps),
                products.to_string(),
                depth.to_string(),
                reads.to_string(),
                error(Some(row.untrained)),
                error(row.trained),
                cell.accuracy.map_or_else(|| "-".into(), |spread| percent(spread.mean, false)),
                half(cell.accuracy.and_then(|spread| spread.both95)),
                cell.gap.map_or_else(|| "-".into(), |spread| percent(spread.mean, true)),
                half(cell.gap.and_then(|spread| spread.both95)),
                seconds.map_or_else(|| "-".into(), |seconds| format!("{seconds:.3}")),
            ]
        });
        text += &format!(
            "\n### {}\n\n{}",
            grid.column_name(*column),
            table(&head.map(String::from), &lines.collect::<Vec<_>>())
        );
    }
    text + &format!("\n{INTERVALS}\n")
}
