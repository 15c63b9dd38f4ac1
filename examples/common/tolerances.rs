//! Whether the adaptive estimator keeps the tolerances that it was asked for.
//!
//! Does not know: where tasks come from, formulas of the estimators.

use burn_meta::Estimator;
use serde::Serialize;

use crate::comparison::Trial;
use crate::statistics::Distribution;
use crate::study::{Loops, Measured, StepSize};

/// A tolerance asked for at one step size, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// The step size.
    pub step_size: StepSize,
    /// The loops.
    pub loops: Loops,
    /// The relative error asked for.
    pub tolerance: f64,
    /// The relative error made.
    pub relative_error: Distribution,
    /// The largest of them.
    pub largest_error: f64,
    /// Share of the tasks whose error is within the tolerance, of 1.
    pub within: f64,
    /// The order it ended at.
    pub order: Distribution,
    /// Hessian-vector products.
    pub products: Distribution,
    /// Error made over what it took the error to be, where both are more than rounding.
    pub over_estimate: Option<Distribution>,
}

/// The adaptive estimators for some tolerances.
pub fn estimators(tolerances: &[f64]) -> Vec<Estimator> {
    tolerances.iter().map(|&tolerance| Estimator::Adaptive { tolerance }).collect()
}

/// What came of each tolerance at each step size.
pub fn kept(measured: &[Measured], tolerances: &[f64]) -> Vec<Kept> {
    let each = |at: &Measured| {
        let pairs = tolerances.iter().zip(&at.trials);
        pairs.map(|(&tolerance, trials)| Kept::of(at, tolerance, trials)).collect::<Vec<_>>()
    };
    measured.iter().flat_map(each).collect()
}

/// Below this a relative error may be rounding.
const ROUNDING: f64 = 1e-12;

impl Kept {
    fn of(at: &Measured, tolerance: f64, trials: &[Trial]) -> Self {
        let all = |of: fn(&Trial) -> f64| trials.iter().map(of).collect::<Vec<f64>>();
        let errors = all(|trial| trial.error);
        let within = errors.iter().filter(|error| **error <= tolerance).count();
        let estimated = trials.iter().filter_map(|trial| Some((trial.error, trial.neglected?)));
        let ratios = estimated.filter(|(error, estimate)| *error > ROUNDING && *estimate > ROUNDING);
        let ratios: Vec<f64> = ratios.map(|(error, estimate)| error / estimate).collect();
        Self {
            step_size: at.step_size,
            loops: at.loops,
            tolerance,
            relative_error: Distribution::of(&errors),
            // In total order something that is not a number is the largest.
            largest_error: errors.iter().copied().max_by(f64::total_cmp).unwrap_or(f64::NAN),
            within: within as f64 / errors.len() as f64,
            order: Distribution::of(&all(|trial| trial.order as f64)),
            products: Distribution::of(&all(|trial| trial.spent.products as f64)),
            over_estimate: (ratios.len() > 1).then(|| Distribution::of(&ratios)),
        }
    }
}

/// A line for each tolerance at each step size.
pub fn table(rows: &[Kept]) -> String {
    let mut text = String::from(HEAD);
    for row in rows {
        let Kept { tolerance, relative_error: e, largest_error, within, order, products, .. } = row;
        let ratio = row.over_estimate.map_or_else(String::new, |ratio| format!("{:.2}", ratio.median));
        text += &format!(
            "\n| {:<12} | {:>8.1e} | {tolerance:>7.0e} | {:>8.1e} | {:>8.1e} | {largest_error:>8.1e} | {:>5.1} % | {:>5.2} | {:>8.1} | {ratio:>10} |",
            row.step_size.to_string(),
            row.loops.reach.median,
            e.median,
            e.p90,
            100.0 * within,
            order.mean,
            products.mean,
        );
    }
    text
}

const HEAD: &str = "\
| step size    | reach    | asked   | median   | 90th p.  | largest  | within  | order | products | made/taken |
|--------------|---------:|--------:|---------:|---------:|---------:|--------:|------:|---------:|-----------:|";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::Spent;

    #[test]
    fn shares_and_largest_errors_by_hand() {
        let trial = |error, order, neglected| Trial {
            error,
            cosine: 1.0,
            order,
            spent: Spent { products: 5 * order, depth: order, reads: 5 },
            neglected: Some(neglected),
        };
        let summary = Distribution::of(&[1.0, 1.0]);
        let loops = Loops { rate: summary, reach: summary, drift: summary };
        // At the tolerance is within it; an error that is not a number is not.
        let trials = vec![trial(0.01, 1, 0.01), trial(0.02, 2, 0.01), trial(0.0, 5, 0.0), trial(f64::NAN, 3, 0.01)];
        let measured = Measured { step_size: StepSize::Rate(1.0), loops, trials: vec![trials] };
        let [row] = &kept(&[measured], &[0.01])[..] else { panic!("one tolerance") };
        assert_eq!((row.within, row.order.mean, row.products.mean), (0.5, 2.75, 13.75));
        assert!(row.largest_error.is_nan());
        assert_eq!(row.over_estimate.unwrap().mean, 1.5);
    }
}
