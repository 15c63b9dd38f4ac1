//! Training curves: a validation loss along meta-steps and seconds, over repeats, and tables of them.
//!
//! Does not know: what was trained, what a second is.

use burn_meta::Summary;
use serde::Serialize;

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reading {
    /// Meta-steps done.
    pub meta_step: usize,
    /// Seconds that they took.
    pub seconds: f64,
    /// Validation loss.
    pub loss: f64,
}

/// One training run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Name of the estimator.
    pub estimator: String,
    /// Which repeat; those of one number have begun at the same parameters and seen the same tasks.
    pub repeat: usize,
    /// Hessian-vector products of a task.
    pub products: usize,
    /// Measurements, the first before the first meta-step.
    pub readings: Vec<Reading>,
    /// The meta-step at which a loss was no longer finite.
    pub diverged_at: Option<usize>,
}

/// What curves are read along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Seconds.
    Time,
    /// Meta-steps.
    MetaSteps,
}

impl Axis {
    /// The place of a measurement.
    pub fn of(self, reading: &Reading) -> f64 {
        match self {
            Self::Time => reading.seconds,
            Self::MetaSteps => reading.meta_step as f64,
        }
    }
}

impl Curve {
    /// The loss at a place, linear between measurements; nothing beyond the last.
    pub fn at(&self, axis: Axis, place: f64) -> Option<f64> {
        let next = self.readings.iter().position(|reading| axis.of(reading) >= place)?;
        let after = &self.readings[next];
        let Some(before) = next.checked_sub(1).map(|at| &self.readings[at]) else { return Some(after.loss) };
        let (from, to) = (axis.of(before), axis.of(after));
        Some(before.loss + (after.loss - before.loss) * (place - from) / (to - from))
    }

    /// Where it ends.
    pub fn end(&self, axis: Axis) -> f64 {
        self.readings.last().map_or(0.0, |reading| axis.of(reading))
    }
}

/// Mean of a few runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// Mean.
    pub mean: f64,
    /// Half-width of its 95 % interval by Student's t; none for a single run.
    pub interval95: Option<f64>,
}

impl Mean {
    /// Of at least one number.
    pub fn of(values: &[f64]) -> Self {
        let Summary { mean, interval95, .. } = Summary::of(values);
        Self { mean, interval95: (values.len() > 1).then_some(interval95) }
    }

    fn show(&self, digits: usize) -> String {
        match self.interval95 {
            Some(interval) => format!("{:.digits$} +- {interval:.digits$}", self.mean),
            None => format!("{:.digits$}", self.mean),
        }
    }
}

/// An estimator at a few places.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the estimator.
    pub estimator: String,
    /// Hessian-vector products of a task.
    pub products: usize,
    /// Milliseconds of a meta-step.
    pub milliseconds: Mean,
    /// Meta-steps reached.
    pub meta_steps: Mean,
    /// Runs that diverged, which means leave out.
    pub diverged: usize,
    /// Mean loss at each place, where there was a run.
    pub losses: Vec<Option<Mean>>,
    /// At the last place, `log(loss / loss of the reference)`, of the repeats that both have.
    pub against: Option<Mean>,
}

/// A comparison at some places of an axis, one row for each estimator in the order of the curves.
pub fn compare(curves: &[Curve], axis: Axis, places: &[f64], reference: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for curve in curves {
        if rows.iter().any(|row| row.estimator == curve.estimator) {
            continue;
        }
        let runs: Vec<&Curve> = curves.iter().filter(|other| other.estimator == curve.estimator).collect();
        let mean = |of: &dyn Fn(&Curve) -> Option<f64>| {
            let values: Vec<f64> = runs.iter().filter_map(|run| of(run)).collect();
            (!values.is_empty()).then(|| Mean::of(&values))
        };
        let none = Mean { mean: f64::NAN, interval95: None };
        let pace =
            |run: &Curve| Some(1e3 * run.end(Axis::Time) / run.end(Axis::MetaSteps)).filter(|pace| pace.is_finite());
        let last = places.last().copied().unwrap_or_default();
        let against = |run: &Curve| {
            let of_reference = |other: &&Curve| other.estimator == reference && other.repeat == run.repeat;
            let other = curves.iter().find(of_reference).and_then(|other| other.at(axis, last))?;
            Some((run.at(axis, last)? / other).ln())
        };
        rows.push(Row {
            estimator: curve.estimator.clone(),
            products: curve.products,
            milliseconds: mean(&pace).unwrap_or(none),
            meta_steps: mean(&|run| Some(run.end(Axis::MetaSteps))).unwrap_or(none),
            diverged: runs.iter().filter(|run| run.diverged_at.is_some()).count(),
            losses: places.iter().map(|place| mean(&|run| run.at(axis, *place))).collect(),
            against: mean(&against).filter(|_| curve.estimator != reference),
        });
    }
    rows
}

/// The estimator with the smallest mean loss at the last place.
pub fn best(rows: &[Row]) -> Option<&Row> {
    let loss = |row: &Row| row.losses.last().copied().flatten().map(|loss| loss.mean);
    let done = rows.iter().filter(|row| row.diverged == 0 && loss(row).is_some());
    done.min_by(|a, b| loss(a).unwrap_or(f64::INFINITY).total_cmp(&loss(b).unwrap_or(f64::INFINITY)))
}

/// The comparison as a table, `places` in words, `reference` the estimator that the last column is against.
pub fn table(rows: &[Row], places: &[String], reference: &str) -> String {
    let mut cells = vec![vec!["estimator".to_owned(), "products".into(), "ms a meta-step".into(), "meta-steps".into()]];
    cells[0].extend(places.iter().map(|place| format!("loss at {place}")));
    cells[0].push(format!("against {reference}"));
    for row in rows {
        let mut line =
            vec![row.estimator.clone(), row.products.to_string(), row.milliseconds.show(1), row.meta_steps.show(0)];
        let loss = |loss: &Option<Mean>| loss.map_or_else(|| "diverged".into(), |loss| loss.show(4));
        line.extend(row.losses.iter().map(loss));
        line.push(row.against.map_or_else(String::new, percent));
        if row.diverged > 0 {
            line[0] += &format!(" ({} diverged)", row.diverged);
        }
        cells.push(line);
    }
    let width = |column: usize| cells.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..cells[0].len()).map(width).collect();
    let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|");
    let show = |line: &Vec<String>| {
        let padded = line.iter().zip(&widths).map(|(cell, &width)| format!(" {cell:<width$} "));
        format!("|{}|", padded.collect::<Vec<_>>().join("|"))
    };
    let mut lines: Vec<String> = cells.iter().map(show).collect();
    lines.insert(1, format!("|{rule}|"));
    lines.join("\n")
}

/// A ratio's logarithm as a difference in percent.
fn percent(log: Mean) -> String {
    let of = |log: f64| 100.0 * log.exp_m1();
    match log.interval95 {
        Some(half) => format!("{:+.0} % ({:+.0} to {:+.0})", of(log.mean), of(log.mean - half), of(log.mean + half)),
        None => format!("{:+.0} %", of(log.mean)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(estimator: &str, repeat: usize, losses: &[f64]) -> Curve {
        let reading = |(at, &loss): (usize, &f64)| Reading { meta_step: 10 * at, seconds: 2.0 * at as f64, loss };
        let readings = losses.iter().enumerate().map(reading).collect();
        Curve { estimator: estimator.into(), repeat, products: 1, readings, diverged_at: None }
    }

    #[test]
    fn curves_are_linear_between_readings_and_end() {
        let curve = curve("a", 0, &[4.0, 2.0, 1.0]);
        assert_eq!([0.0, 1.0, 2.0, 3.0, 4.0].map(|t| curve.at(Axis::Time, t)), [4.0, 3.0, 2.0, 1.5, 1.0].map(Some));
        assert_eq!((curve.at(Axis::MetaSteps, 15.0), curve.at(Axis::MetaSteps, 20.1)), (Some(1.5), None));
    }

    #[test]
    fn a_mean_of_three_by_hand() {
        // sd = 1, t of two degrees 4.3027.
        let mean = Mean::of(&[1.0, 2.0, 3.0]);
        assert!((mean.interval95.unwrap() - 4.3027 / 3f64.sqrt()).abs() < 1e-12 && mean.mean == 2.0);
        assert_eq!(Mean::of(&[5.0]), Mean { mean: 5.0, interval95: None });
    }

    #[test]
    fn repeats_are_compared_in_pairs() {
        let mut lost = curve("b", 2, &[1.0]);
        lost.diverged_at = Some(5);
        let curves = [
            curve("a", 0, &[8.0, 4.0]),
            curve("b", 0, &[8.0, 2.0]),
            curve("a", 1, &[8.0, 6.0]),
            curve("b", 1, &[8.0, 3.0]),
            lost,
        ];
        let rows = compare(&curves, Axis::MetaSteps, &[0.0, 10.0], "a");
        assert_eq!(rows.iter().map(|row| row.estimator.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((rows[0].against, rows[0].losses[1].unwrap().mean), (None, 5.0));
        let against = rows[1].against.unwrap();
        assert!((against.mean - 0.5f64.ln()).abs() < 1e-12 && against.interval95.unwrap() < 1e-12);
        assert_eq!((rows[1].diverged, rows[1].losses[1].unwrap().mean), (1, 2.5));
        // One that diverges wins nothing.
        assert_eq!(best(&rows).unwrap().estimator, "a");
        let text = table(&rows, &["0".into(), "10".into()], "a");
        assert!(text.contains("-50 %") && text.contains("b (1 diverged)") && text.lines().count() == 4, "{text}");
    }
}
