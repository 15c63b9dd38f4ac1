//! How a list of numbers is distributed, beyond the mean and its interval that [`Summary`] gives.
//!
//! Does not know: what they measure.

use burn_meta::Summary;
use serde::Serialize;

/// Mean and percentiles of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation, with n - 1.
    pub sd: f64,
    /// Half-width of the 95 % interval of the mean, by Student's t.
    pub interval95: f64,
    /// Median.
    pub median: f64,
    /// 10th percentile.
    pub p10: f64,
    /// 90th percentile.
    pub p90: f64,
}

impl Distribution {
    /// Of at least two numbers; with fewer deviation and interval are not numbers.
    pub fn of(values: &[f64]) -> Self {
        let Summary { mean, deviation: sd, interval95, .. } = Summary::of(values);
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |fraction| percentile(&sorted, fraction);
        Self { mean, sd, interval95, median: at(0.5), p10: at(0.1), p90: at(0.9) }
    }
}

/// By linear interpolation between the sorted values.
fn percentile(sorted: &[f64], fraction: f64) -> f64 {
    let place = fraction * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_by_hand() {
        // Catches a deviation with n instead of n - 1, and an interval without Student's t or the square root.
        let summary = Distribution::of(&[4.0, 2.0, 3.0, 1.0]);
        assert_eq!((summary.mean, summary.median), (2.5, 2.5));
        assert!((summary.sd - (5.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert!((summary.interval95 - 3.1824 * summary.sd / 2.0).abs() < 1e-12);
        assert!((summary.p10 - 1.3).abs() < 1e-12 && (summary.p90 - 3.7).abs() < 1e-12);
    }
}
