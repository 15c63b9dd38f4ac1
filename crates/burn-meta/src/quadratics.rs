//! Model inner loops: down quadratics in a few dimensions, with Hessians of known eigenvalues that turn along the loop.
//!
//! Estimators are compared on them, in tests and for a recommendation.
//!
//! Does not know: estimators.

use std::convert::Infallible;

use crate::unrolled::{Descent, Unrolled};
use crate::vector::Vector;

/// A vector of a few dimensions.
#[derive(Clone, Debug)]
pub struct Dense(pub Vec<f64>);

impl Vector for Dense {
    fn axpy(&self, scale: f64, rhs: &Self) -> Self {
        Dense(self.0.iter().zip(&rhs.0).map(|(a, b)| a + scale * b).collect())
    }

    fn scale(&self, scale: f64) -> Self {
        Dense(self.0.iter().map(|a| a * scale).collect())
    }

    fn dot(&self, rhs: &Self) -> f64 {
        self.0.iter().zip(&rhs.0).map(|(a, b)| a * b).sum()
    }
}

impl Dense {
    /// A matrix of rows times this.
    pub fn times(&self, matrix: &[f64]) -> Dense {
        Dense(matrix.chunks(self.0.len()).map(|row| row.iter().zip(&self.0).map(|(a, b)| a * b).sum()).collect())
    }
}

/// Reproducible numbers in -1..1.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub fn vector(&mut self, dimensions: usize) -> Dense {
        Dense((0..dimensions).map(|_| self.next()).collect())
    }
}

/// The vectors made orthonormal, in their order. Twice is enough.
pub fn orthonormal(vectors: &[Dense]) -> Vec<Dense> {
    let mut basis: Vec<Dense> = Vec::new();
    for v in vectors {
        let without = |v: Dense| basis.iter().fold(v.clone(), |rest, unit| rest.axpy(-v.dot(unit), unit));
        let v = without(without(v.clone()));
        basis.push(v.scale(1.0 / v.norm()));
    }
    basis
}

/// The symmetric matrix with these eigenvalues and eigenvectors, by rows.
pub fn symmetric(eigenvalues: &[f64], basis: &[Dense]) -> Vec<f64> {
    let n = eigenvalues.len();
    let entry =
        |i: usize| eigenvalues.iter().zip(basis).map(|(value, unit)| value * unit.0[i / n] * unit.0[i % n]).sum();
    (0..n * n).map(entry).collect()
}

/// An inner loop of gradient descent at rate 1.
pub struct Quadratics {
    pub hessians: Vec<Vec<f64>>,
    pub query_grad: Dense,
}

impl Quadratics {
    /// Steps with these eigenvalues each. From the first step to the last the eigenvectors move `turn` on their unit sphere, in
    /// a random direction; all have some part in the query gradient, those of large eigenvalues most.
    pub fn new(steps: usize, eigenvalues: &[f64], turn: f64, seed: u64) -> Self {
        let n = eigenvalues.len();
        let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1);
        let mut frame = || -> Vec<Dense> { (0..n).map(|_| numbers.vector(n)).collect() };
        let start = orthonormal(&frame());
        let along: Vec<Dense> = frame().iter().map(|v| v.scale(1.0 / v.norm())).collect();
        let at = |step: usize| {
            let t = turn * (step as f64 / (steps.max(2) - 1) as f64 - 0.5);
            let moved: Vec<Dense> = start.iter().zip(&along).map(|(unit, along)| unit.axpy(t, along)).collect();
            symmetric(eigenvalues, &orthonormal(&moved))
        };
        let hessians = (0..steps).map(at).collect();
        let largest = eigenvalues.iter().fold(f64::MIN_POSITIVE, |a, b| a.max(b.abs()));
        let query_grad = start.iter().zip(eigenvalues).fold(Dense(vec![0.0; n]), |sum, (unit, value)| {
            sum.axpy((value.abs() / largest + 0.02).sqrt() * numbers.next(), unit)
        });
        Self { hessians, query_grad }
    }

    /// Eigenvalues as a network's Hessian has them: a few large ones up to `x`, many near zero, some of them below.
    pub fn network(dimensions: usize, x: f64) -> Vec<f64> {
        let large = dimensions / 8;
        let relative = |i: usize| match i {
            i if i < large => 0.5f64.powi(i as i32),
            i if i % 3 == 0 => -0.03 * i as f64 / dimensions as f64,
            i => 0.04 * (1.0 - i as f64 / dimensions as f64),
        };
        (0..dimensions).map(|i| x * relative(i)).collect()
    }
}

impl Unrolled for Quadratics {
    type State = Dense;
    type Error = Infallible;

    fn steps(&self) -> usize {
        self.hessians.len()
    }

    fn source(&self, step: usize) -> Option<Dense> {
        (step == self.steps()).then(|| self.query_grad.clone())
    }

    fn still(&self, _step: usize, z: &Dense) -> Dense {
        z.clone()
    }

    fn through(&self, _step: usize, z: &Dense) -> Dense {
        z.scale(-1.0)
    }

    fn hessian(&self, step: usize, v: &Dense) -> Result<Dense, Infallible> {
        Ok(v.times(&self.hessians[step]))
    }

    fn descent(&self, _step: usize) -> Option<Descent> {
        Some(Descent { keep: 1.0, rate: 1.0 })
    }
}
