//! Means over seeds and tasks, and how far they may be from the truth.
//!
//! Every run of a column is judged on the same tasks, and runs of one seed have begun at the same parameters and seen the same
//! training tasks: differences between two estimators are taken pair by pair, for each seed and task.
//!
//! Does not know: what was trained.

use burn_meta::{Summary, student95};
use serde::Serialize;

/// A mean over seeds and tasks, and half-widths of its 95 % intervals; none where there are too few numbers for one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean over seeds and tasks.
    pub mean: f64,
    /// Over seeds, by Student's t: these test tasks, other seeds.
    pub seeds95: Option<f64>,
    /// Over tasks, by Student's t, of the mean over seeds: these seeds, other test tasks.
    pub tasks95: Option<f64>,
    /// Over both, other seeds and other tasks: the variance of the mean of a table whose rows and columns are both drawn at random,
    /// with Student's t at Satterthwaite's degrees of freedom, rounded down.
    pub both95: Option<f64>,
    /// Seeds.
    pub seeds: usize,
}

impl Spread {
    /// Of numbers by seed and task, as many tasks for each seed. With one seed there is no interval over seeds.
    pub fn of(values: &[Vec<f64>]) -> Self {
        let tasks = values.first().map_or(0, Vec::len);
        let of_seed: Vec<f64> = values.iter().map(|row| mean(row)).collect();
        let of_task: Vec<f64> =
            (0..tasks).map(|task| mean(&values.iter().map(|row| row[task]).collect::<Vec<_>>())).collect();
        let known = |values: &[f64]| Some(Summary::of(values).interval95).filter(|half| half.is_finite());
        Self {
            mean: mean(&of_seed),
            seeds95: known(&of_seed),
            tasks95: known(&of_task),
            both95: both(values, &of_seed, &of_task),
            seeds: values.len(),
        }
    }

    /// Of the differences between two tables of numbers, of the same seeds and tasks.
    pub fn of_differences(these: &[Vec<f64>], those: &[Vec<f64>]) -> Self {
        let row =
            |(this, that): (&Vec<f64>, &Vec<f64>)| this.iter().zip(that).map(|(this, that)| this - that).collect();
        Self::of(&these.iter().zip(those).map(row).collect::<Vec<Vec<f64>>>())
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// For a two-way table of random rows and columns, mean squares M of rows, columns and what is left have the expectations
/// `e + T s`, `e + S t` and `e` with the variances s of seeds, t of tasks and e of the rest: the variance of the grand mean,
/// `s / S + t / T + e / (S T)`, is `(M_s + M_t - M_e) / (S T)`.
fn both(values: &[Vec<f64>], of_seed: &[f64], of_task: &[f64]) -> Option<f64> {
    let (seeds, tasks) = (of_seed.len() as f64, of_task.len() as f64);
    if seeds < 2.0 || tasks < 2.0 {
        return None;
    }
    let grand = mean(of_seed);
    let squares = |values: &[f64]| values.iter().map(|value| (value - grand).powi(2)).sum::<f64>();
    let rest: f64 = values
        .iter()
        .zip(of_seed)
        .flat_map(|(row, seed)| row.iter().zip(of_task).map(move |(value, task)| (value - seed - task + grand).powi(2)))
        .sum();
    let freedom = [seeds - 1.0, tasks - 1.0, (seeds - 1.0) * (tasks - 1.0)];
    let [of_seeds, of_tasks, of_rest] =
        [tasks * squares(of_seed) / freedom[0], seeds * squares(of_task) / freedom[1], rest / freedom[2]];
    // Where the rest is more than both, the estimate of the variances of seeds and tasks is below zero: it is taken for zero.
    let (sum, squared) = match of_seeds + of_tasks - of_rest {
        sum if sum > of_rest => {
            let squared = of_seeds.powi(2) / freedom[0] + of_tasks.powi(2) / freedom[1] + of_rest.powi(2) / freedom[2];
            (sum, squared)
        }
        _ => (of_rest, of_rest.powi(2) / freedom[2]),
    };
    if sum == 0.0 {
        return Some(0.0);
    }
    let degrees = (sum.powi(2) / squared).floor().max(1.0) as usize;
    Some(student95(degrees) * (sum / (seeds * tasks)).sqrt())
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Sums of uniform numbers of unit variance: of seeds, tasks and the rest, each times its size.
    fn drawn(rng: &mut ChaCha8Rng, [s, t, e]: [f64; 3]) -> Vec<Vec<f64>> {
        let mut unit = |scale: f64| scale * (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>();
        let tasks: Vec<f64> = (0..40).map(|_| unit(t)).collect();
        let row = |_| {
            let seed = unit(s);
            tasks.iter().map(|task| seed + task + unit(e)).collect()
        };
        (0..3).map(row).collect()
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for sizes in [[1.0, 1.0, 1.0], [0.3, 1.0, 3.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]] {
            let runs = 400;
            let held = (0..runs).filter(|_| {
                let spread = Spread::of(&drawn(&mut rng, sizes));
                spread.mean.abs() <= spread.both95.unwrap()
            });
            let share = held.count() as f64 / f64::from(runs);
            // 95 % of 400 within three standard deviations of a count, 3.3 %; too wide is allowed, degrees are rounded down. An
            // interval over tasks alone holds it in 30 to 60 % where seeds differ.
            assert!((0.91..=1.0).contains(&share), "{sizes:?}: {share}");
        }
    }

    #[test]
    fn by_hand() {
        let spread = Spread::of(&[vec![1.0, 3.0], vec![2.0, 4.0], vec![3.0, 5.0]]);
        // Seeds 2, 3, 4: t of two degrees is 4.303; tasks 2 and 4: t of one degree is 12.706.
        assert!(spread.mean == 3.0 && spread.seeds == 3);
        assert!((spread.seeds95.unwrap() - 4.3027 / 3f64.sqrt()).abs() < 1e-3);
        assert!((spread.tasks95.unwrap() - 12.7062).abs() < 1e-3);
        // Mean squares 2, 6 and 0: variance 8 / 6, degrees 64 / (4 / 2 + 36) = 1.7, so 1.
        assert!((spread.both95.unwrap() - 12.706 * (8f64 / 6.0).sqrt()).abs() < 1e-3);
    }

    #[test]
    fn what_pairs_have_in_common_cancels() {
        let these = [vec![0.9, 0.1], vec![0.7, 0.3]];
        let those = these.clone().map(|row| row.iter().map(|value| value - 0.05).collect::<Vec<_>>());
        let gap = Spread::of_differences(&these, &those);
        assert!((gap.mean - 0.05).abs() < 1e-12 && gap.both95.unwrap() < 1e-12);
        assert_eq!(Spread::of(&[vec![1.0, 2.0]]).seeds95, None);
    }
}
