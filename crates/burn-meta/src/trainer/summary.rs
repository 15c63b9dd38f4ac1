//! The mean of a sample, and how far it may be from the truth.
//!
//! Does not know: what was measured.

use serde::{Deserialize, Serialize};

/// Mean of a sample and its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Numbers in the sample.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, with n - 1; not a number for fewer than two.
    pub deviation: f64,
    /// Half-width of the 95 % interval of the mean: `t s / sqrt(n)` with Student's t of n - 1 degrees of freedom, which is
    /// 12.71 for 2 numbers, 4.30 for 3 and 1.96 for many. Not a number for fewer than two.
    pub interval95: f64,
}

impl Summary {
    /// The summary of a sample.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if values.len() < 2 { f64::NAN } else { (squares / (n - 1.0)).sqrt() };
        let interval95 = student95(values.len().saturating_sub(1)) * deviation / n.sqrt();
        Self { count: values.len(), mean, deviation, interval95 }
    }
}

/// The 97.5 % quantile of Student's t distribution, for 95 % intervals of other means than that of a [`Summary`]: half-width over
/// standard error. Within 2e-4, and not a number for no degrees of freedom.
///
/// From tables up to 10 degrees of freedom, and beyond by the first terms of the Cornish-Fisher expansion about the normal
/// distribution.
pub fn student95(freedom: usize) -> f64 {
    const TABLE: [f64; 11] =
        [f64::NAN, 12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281];
    if let Some(value) = TABLE.get(freedom) {
        return *value;
    }
    let (z, n) = (1.959_964_f64, freedom as f64);
    let terms = [
        z,
        (z.powi(3) + z) / 4.0,
        (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
        (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
    ];
    terms.iter().rev().fold(0.0, |sum, term| sum / n + term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_students() {
        // Tables: 2.2010 at 11, 2.0860 at 20, 2.0003 at 60 degrees of freedom.
        for (freedom, quantile) in [(11, 2.2010), (20, 2.0860), (60, 2.0003), (100_000, 1.96)] {
            assert!((student95(freedom) - quantile).abs() < 2e-4, "{freedom}: {}", student95(freedom));
        }
        let three = Summary::of(&[1.0, 2.0, 3.0]);
        assert_eq!((three.count, three.mean, three.deviation), (3, 2.0, 1.0));
        assert!((three.interval95 - 4.3027 / 3f64.sqrt()).abs() < 1e-12);
        assert!(Summary::of(&[1.0]).interval95.is_nan() && Summary::of(&[]).mean.is_nan());
    }
}
