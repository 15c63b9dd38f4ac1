//! Sinusoid regression: each task is a sine of another amplitude and phase, known at a few points.
//!
//! Does not know: networks, losses.

use std::f64::consts::PI;

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_meta::Task;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Inputs and targets, `[n, 1]` each.
pub type Batch = (Tensor<2>, Tensor<2>);

/// What tasks are for: those for one purpose have nothing in common with those for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Meta-training.
    Training,
    /// Testing the trained network.
    Test,
    /// Studying the estimators.
    Study,
}

/// All tasks of one seed: `y = a sin(x - p)` with `a` uniform in [0.1, 5], `p` in [0, pi] and `x` in [-5, 5], as in MAML.
#[derive(Clone, Copy, Debug)]
pub struct Sinusoids {
    /// Seed.
    pub seed: u64,
    /// Support points of a task.
    pub shot: usize,
    /// Query points of a task.
    pub query: usize,
}

/// Points of a sine.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Sinusoids {
    /// Support and query points of the task with this index in this meta-step: a pure function of them, of the seed and of
    /// the purpose. More queries leave the task and its support as they are.
    pub fn points(&self, purpose: Purpose, meta_step: u64, index: u64) -> [Points; 2] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
        key[16..24].copy_from_slice(&meta_step.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        let amplitude = rng.random_range(0.1..=5.0);
        let phase = rng.random_range(0.0..=PI);
        [self.shot, self.query].map(|n| {
            let x: Vec<f64> = (0..n).map(|_| rng.random_range(-5.0..=5.0)).collect();
            let y = x.iter().map(|x| amplitude * (x - phase).sin()).collect();
            Points { x, y }
        })
    }

    /// The same as tensors.
    pub fn task(&self, purpose: Purpose, meta_step: u64, index: u64, on: (&Device, DType)) -> Task<Batch> {
        let [support, query] = self.points(purpose, meta_step, index).map(|points| points.tensors(on));
        Task { support, query }
    }
}

impl Points {
    fn tensors(self, on: (&Device, DType)) -> Batch {
        let tensor = |values: Vec<f64>| {
            let shape = [values.len(), 1];
            Tensor::from_data(TensorData::new(values, shape), on)
        };
        (tensor(self.x), tensor(self.y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASKS: Sinusoids = Sinusoids { seed: 3, shot: 4, query: 2 };

    #[test]
    fn tasks_are_a_pure_function_of_their_place() {
        let task = TASKS.points(Purpose::Training, 7, 1);
        assert_eq!(task, TASKS.points(Purpose::Training, 7, 1));
        let others = [
            TASKS.points(Purpose::Training, 7, 2),
            TASKS.points(Purpose::Training, 8, 1),
            TASKS.points(Purpose::Test, 7, 1),
            Sinusoids { seed: 4, ..TASKS }.points(Purpose::Training, 7, 1),
        ];
        assert!(others.iter().all(|other| *other != task));
    }

    #[test]
    fn more_queries_leave_the_support_as_it_is() {
        let more = Sinusoids { query: 9, ..TASKS };
        assert_eq!(TASKS.points(Purpose::Test, 0, 5)[0], more.points(Purpose::Test, 0, 5)[0]);
    }

    #[test]
    fn points_lie_on_one_sine_within_its_range() {
        for index in 0..50 {
            let [support, query] = TASKS.points(Purpose::Training, 0, index);
            assert_eq!((support.x.len(), query.x.len()), (4, 2));
            // Two points determine a = amplitude cos(phase) and b = amplitude sin(phase); all others must agree.
            let (x, y): (Vec<_>, Vec<_>) = ([support.x, query.x].concat(), [support.y, query.y].concat());
            let det = -x[0].sin() * x[1].cos() + x[1].sin() * x[0].cos();
            let a = (-y[0] * x[1].cos() + y[1] * x[0].cos()) / det;
            let b = (x[0].sin() * y[1] - x[1].sin() * y[0]) / det;
            assert!((0.1..=5.0001).contains(&a.hypot(b)) && b > -1e-9, "amplitude {}, sine part {b}", a.hypot(b));
            for (x, y) in x.iter().zip(&y) {
                assert!(x.abs() <= 5.0 && (a * x.sin() - b * x.cos() - y).abs() < 1e-6);
            }
        }
    }
}
