//! Summaries of a list of numbers.
//!
//! Does not know: what they measure.

use serde::Serialize;

/// Mean and spread of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation, with n - 1.
    pub sd: f64,
    /// Half-width of the 95% interval of the mean, 1.96 sd / sqrt(n).
    pub interval95: f64,
    /// Median.
    pub median: f64,
    /// 10th percentile.
    pub p10: f64,
    /// 90th percentile.
    pub p90: f64,
}

impl Summary {
    /// Of at least two numbers; with fewer the spread is not a number.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (squares / (n - 1.0)).sqrt();
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |fraction| percentile(&sorted, fraction);
        Self { mean, sd, interval95: 1.96 * sd / n.sqrt(), median: at(0.5), p10: at(0.1), p90: at(0.9) }
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
    fn a_summary_by_hand() {
        // Catches a deviation with n instead of n - 1, and an interval without 1.96 or the square root.
        let summary = Summary::of(&[4.0, 2.0, 3.0, 1.0]);
        assert_eq!((summary.mean, summary.median), (2.5, 2.5));
        assert!((summary.sd - (5.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert!((summary.interval95 - 1.96 * summary.sd / 2.0).abs() < 1e-15);
        assert!((summary.p10 - 1.3).abs() < 1e-12 && (summary.p90 - 3.7).abs() < 1e-12);
    }
}
