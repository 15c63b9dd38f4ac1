//! Figure 5: meta-training accuracy and loss against meta-iterations.
//!
//! Does not know: how runs are done. They are those of `table1`.

use serde_json::{Map, Value, json};

use super::data::Column;
use super::grid::{Grid, GridArgs, TABLE1, paper_name};
use super::logs::{Bin, training};
use super::output::{Output, table};
use super::runs::Runs;
use super::table1::missing_runs;
use crate::chart::{Axis, CYCLE, Chart, Curve, Panel, Scale};
use crate::failure::Failure;

/// Means along training.
const BINS: usize = 20;

/// An estimator: its runs of a column along training, by seed.
struct Row {
    name: String,
    runs: Vec<(u64, Vec<Bin>)>,
}

/// The figure.
pub(super) fn run(args: &GridArgs) -> Result<(), Failure> {
    let grid = args.grid(&TABLE1)?;
    args.output.prepare()?;
    let runs = Runs::all(args, &grid)?;
    let columns: Vec<Vec<Row>> = (0..grid.columns.len()).map(|column| rows(&runs, column)).collect::<Result<_, _>>()?;
    let (missing, chart) = (runs.missing(), chart(&grid, &columns));
    let results: Vec<Value> = grid
        .columns
        .iter()
        .zip(&columns)
        .map(|(column, rows)| json!({ "column": grid.column_name(*column), "rows": rows.iter().map(document).collect::<Vec<_>>() }))
        .collect();
    let markdown = markdown(&grid, &columns) + &missing_runs(&missing);
    Output {
        name: "figure5",
        title: "Figure 5: meta-training accuracy and loss against meta-iterations".into(),
        settings: grid.document(),
        results: json!({ "data": runs.summary(), "columns": results, "missing": missing }),
        timing: Map::new(),
        markdown,
        chart: Some(chart),
    }
    .write(&args.output)?;
    runs.stopped()
}

fn rows(runs: &Runs<'_>, column: usize) -> Result<Vec<Row>, Failure> {
    let grid = runs.grid;
    let row = |(at, row)| {
        let seeds = runs.seeds_with(column, &[at]);
        let of = |seed: usize| {
            Ok((grid.seeds[seed], training(&runs.place(column, at, seed), grid.common.iterations, BINS)?))
        };
        let runs = seeds.into_iter().map(of).collect::<Result<_, Failure>>()?;
        Ok(Row { name: paper_name(row, grid.common.inner_steps), runs })
    };
    grid.estimators.iter().enumerate().map(row).collect()
}

fn document(row: &Row) -> Value {
    let bins = |bins: &[Bin]| bins.iter().map(|bin| json!([bin.iteration, bin.loss, bin.accuracy])).collect::<Vec<_>>();
    let runs: Vec<Value> =
        row.runs.iter().map(|(seed, of)| json!({ "seed": seed, "iteration_loss_accuracy": bins(of) })).collect();
    json!({ "estimator": row.name, "runs": runs })
}

/// Mean over seeds, the least and the greatest of them, at each place.
fn over_seeds(row: &Row, of: fn(&Bin) -> f64) -> Vec<(f64, [f64; 3])> {
    let length = row.runs.iter().map(|(_, bins)| bins.len()).min().unwrap_or(0);
    let place = |at: usize| {
        let values: Vec<f64> = row.runs.iter().map(|(_, bins)| of(&bins[at])).collect();
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        (row.runs[0].1[at].iteration, [values.iter().sum::<f64>() / values.len() as f64, low, high])
    };
    (0..length).map(place).collect()
}

fn markdown(grid: &Grid, columns: &[Vec<Row>]) -> String {
    let mut text = format!(
        "Accuracy and loss on the query sets of the training tasks after adaptation, before each meta-step: means of {} meta-iterations \
         in a row, then over seeds. Every seed's runs see the same tasks in the same order. {}.\n",
        grid.common.iterations.div_ceil(BINS),
        grid.describe()
    );
    for (column, rows) in grid.columns.iter().zip(columns) {
        let head = ["", "runs", "accuracy: first", "halfway", "last", "loss: first", "halfway", "last"];
        let line = |row: &Row| {
            let of = |of: fn(&Bin) -> f64, show: fn(f64) -> String| {
                let all = over_seeds(row, of);
                let at = |at: usize| all.get(at).map_or_else(|| "-".into(), |(_, [mean, ..])| show(*mean));
                [at(0), at(all.len() / 2), at(all.len().max(1) - 1)]
            };
            let accuracy = of(|bin| bin.accuracy, |share| format!("{:.1} %", 100.0 * share));
            let loss = of(|bin| bin.loss, |loss| format!("{loss:.4}"));
            [row.name.clone(), row.runs.len().to_string()].into_iter().chain(accuracy).chain(loss).collect()
        };
        let rows: Vec<Vec<String>> = rows.iter().map(line).collect();
        text += &format!("\n### {}\n\n{}", grid.column_name(*column), table(&head.map(String::from), &rows));
    }
    text
}

fn chart(grid: &Grid, columns: &[Vec<Row>]) -> Chart {
    let panels = grid.columns.iter().zip(columns).flat_map(|(column, rows)| panels(grid, *column, rows));
    Chart {
        title: "Meta-training by estimator".into(),
        subtitle: vec![
            grid.describe(),
            "query sets of the training tasks, after adaptation; line: mean over seeds, band: least to greatest seed"
                .into(),
        ],
        panels: panels.collect(),
        same_y: false,
    }
}

/// Where each estimator is solid or dashed: those that are nearly one another stay apart.
fn panels(grid: &Grid, column: Column, rows: &[Row]) -> [Panel; 2] {
    let panel = |what: &str, unit: &str, of: fn(&Bin) -> f64| {
        let curve = |(at, row): (usize, &Row)| {
            let places = over_seeds(row, of);
            let points = places.iter().map(|(x, [mean, ..])| (*x, *mean)).collect();
            let band = places.iter().map(|(x, [_, low, high])| (*x, *low, *high)).collect();
            let curve = Curve::new(row.name.clone(), CYCLE[at % CYCLE.len()], points).bare().with_band(band);
            if at % 2 == 1 { curve.dashed((8, 4)) } else { curve }
        };
        Panel {
            title: format!("{}: {what}", grid.column_name(column)),
            x: Axis::new("meta-iterations", Scale::Linear),
            y: Axis::new(format!("{what}{unit}"), Scale::Linear),
            curves: rows.iter().enumerate().map(curve).collect(),
        }
    };
    [
        panel("meta-training accuracy", ", %", |bin| 100.0 * bin.accuracy),
        panel("meta-training loss", "", |bin| bin.loss),
    ]
}
