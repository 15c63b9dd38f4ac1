//! Table 1: test accuracy by estimator, and what it lacks to the exact meta-gradient.
//!
//! Does not know: how runs are done.

use burn_meta::{Estimator, Summary};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::grid::{Grid, GridArgs, TABLE1, paper_name};
use super::output::{Output, table};
use super::run::Outcome;
use super::runs::Runs;
use super::spread::Spread;
use crate::failure::Failure;

/// A row of a column.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The estimator, as it was asked for.
    pub estimator: String,
    /// Of the seeds that are finished.
    pub accuracy: Option<Spread>,
    /// What it is above exact, on the same tasks, of the seeds that both have.
    pub gap: Option<Spread>,
    /// One for each finished run.
    pub runs: Vec<RunSummary>,
}

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    seed: u64,
    tested_iteration: u64,
    /// Over the test tasks, Student's t.
    accuracy: Summary,
    loss: Summary,
}

/// The cells of a column, one for each estimator.
pub fn cells(runs: &Runs<'_>, column: usize) -> Vec<Cell> {
    let grid = runs.grid;
    let exact = grid.estimators.iter().position(|row| row.estimator == Estimator::Exact);
    let cell = |(at, row): (usize, &crate::estimator_list::Named)| {
        let seeds = runs.seeds_with(column, &[at]);
        let accuracy = (!seeds.is_empty()).then(|| Spread::of(&runs.accuracies(column, at, &seeds)));
        let gap = exact.filter(|exact| *exact != at).and_then(|exact| {
            let seeds = runs.seeds_with(column, &[at, exact]);
            let of = |row| runs.accuracies(column, row, &seeds);
            (!seeds.is_empty()).then(|| Spread::of_differences(&of(at), &of(exact)))
        });
        let summary = |seed: usize| match runs.outcome(column, at, seed) {
            Outcome::Done(tested) => Some(RunSummary {
                seed: grid.seeds[seed],
                tested_iteration: tested.tested_iteration,
                accuracy: Summary::of(&tested.accuracies),
                loss: Summary::of(&tested.losses),
            }),
            Outcome::Missing(_) => None,
        };
        let runs = (0..grid.seeds.len()).filter_map(summary).collect();
        Cell { estimator: row.name.clone(), accuracy, gap, runs }
    };
    grid.estimators.iter().enumerate().map(cell).collect()
}

/// The table.
pub(super) fn run(args: &GridArgs) -> Result<(), Failure> {
    let grid = args.grid(&TABLE1)?;
    args.output.prepare()?;
    let runs = Runs::all(args, &grid)?;
    let columns: Vec<Vec<Cell>> = (0..grid.columns.len()).map(|column| cells(&runs, column)).collect();
    let results: Vec<Value> = grid
        .columns
        .iter()
        .zip(&columns)
        .map(|(column, cells)| json!({ "column": grid.column_name(*column), "rows": cells }))
        .collect();
    let missing = runs.missing();
    Output {
        name: "table1",
        title: format!("Table 1: test accuracy after {} meta-iterations", grid.common.iterations),
        settings: grid.document(),
        results: json!({ "data": runs.summary(), "columns": results, "missing": missing }),
        timing: Map::new(),
        markdown: markdown(&grid, &columns, &missing),
        chart: None,
    }
    .write(&args.output)?;
    runs.stopped()
}

/// A share in per cent, with its sign if it is a difference.
pub fn percent(share: f64, signed: bool) -> String {
    if signed { format!("{:+.2}", 100.0 * share) } else { format!("{:.2}", 100.0 * share) }
}

/// Half of an interval, in per cent.
pub fn half(width: Option<f64>) -> String {
    width.map_or_else(|| "-".into(), |width| format!("± {:.2}", 100.0 * width))
}

fn markdown(grid: &Grid, columns: &[Vec<Cell>], missing: &[String]) -> String {
    let mut text = format!(
        "Per cent, mean over seeds and test tasks; in brackets the difference to exact, on the same tasks and seeds.\n{}.\n\n{}",
        grid.describe(),
        overview(grid, columns)
    );
    for (column, cells) in grid.columns.iter().zip(columns) {
        text += &format!("\n### {}\n\n{}", grid.column_name(*column), details(grid, cells));
    }
    text += &format!("\n{INTERVALS}\n");
    text + &missing_runs(missing)
}

/// What the intervals are.
pub const INTERVALS: &str = "All intervals are 95 %. *Seeds*: Student's t over the means of the seeds, for these test tasks and other \
    seeds (with 3 seeds t is 4.30). *Tasks*: Student's t over the test tasks, of the mean over seeds, for these seeds and other tasks. \
    *Both*: for other seeds and other tasks, from the two-way table of seeds and tasks, with Satterthwaite's degrees of freedom. \
    *Per run*: half-width of one run's interval over its test tasks, the mean over runs: what a single run's number is worth. \
    Differences are taken pair by pair: a run and the exact one of its seed began at the same weights, saw the same training tasks \
    and are tested on the same tasks.";

/// Which runs are not in the table.
pub fn missing_runs(missing: &[String]) -> String {
    if missing.is_empty() {
        return String::new();
    }
    let list: String = missing.iter().map(|run| format!("- {run}\n")).collect();
    format!("\n**Missing: {} run(s) are not in this table.**\n\n{list}", missing.len())
}

/// The layout of the paper.
fn overview(grid: &Grid, columns: &[Vec<Cell>]) -> String {
    let head: Vec<String> =
        std::iter::once(String::new()).chain(grid.columns.iter().map(|column| grid.column_name(*column))).collect();
    let seeds = grid.seeds.len();
    let show = |cell: &Cell| {
        let Some(accuracy) = cell.accuracy else { return "-".to_owned() };
        let gap = cell.gap.map_or_else(String::new, |gap| format!(" ({})", percent(gap.mean, true)));
        let of = if accuracy.seeds < seeds { format!(" [{} of {seeds} seeds]", accuracy.seeds) } else { String::new() };
        format!("{}{gap}{of}", percent(accuracy.mean, false))
    };
    let row = |(at, row): (usize, &crate::estimator_list::Named)| {
        let cells = columns.iter().map(|column| show(&column[at]));
        std::iter::once(paper_name(row, grid.common.inner_steps)).chain(cells).collect()
    };
    table(&head, &grid.estimators.iter().enumerate().map(row).collect::<Vec<_>>())
}

fn details(grid: &Grid, cells: &[Cell]) -> String {
    let head =
        ["", "products", "runs", "accuracy", "seeds", "tasks", "both", "per run", "to exact", "its seeds", "its both"];
    let row = |(row, cell): (&crate::estimator_list::Named, &Cell)| {
        let mean =
            |spread: Option<Spread>, signed| spread.map_or_else(|| "-".into(), |s: Spread| percent(s.mean, signed));
        let halves: Vec<f64> = cell.runs.iter().map(|run| run.accuracy.interval95).collect();
        let per_run = halves.iter().sum::<f64>() / halves.len() as f64;
        let of = |spread: Option<Spread>, of: fn(Spread) -> Option<f64>| half(spread.and_then(of));
        vec![
            paper_name(row, grid.common.inner_steps),
            row.estimator.products(grid.common.inner_steps).to_string(),
            cell.runs.len().to_string(),
            mean(cell.accuracy, false),
            of(cell.accuracy, |s| s.seeds95),
            of(cell.accuracy, |s| s.tasks95),
            of(cell.accuracy, |s| s.both95),
            half(Some(per_run).filter(|half| half.is_finite())),
            mean(cell.gap, true),
            of(cell.gap, |s| s.seeds95),
            of(cell.gap, |s| s.both95),
        ]
    };
    table(&head.map(String::from), &grid.estimators.iter().zip(cells).map(row).collect::<Vec<_>>())
}
