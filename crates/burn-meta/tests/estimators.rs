//! The estimators' algebra on dense random matrices that do not commute, against three independent references.
#![allow(missing_docs)]

use burn_meta::{Estimator, Vector};

#[derive(Clone, Debug)]
struct Dense(Vec<f64>);

impl Vector for Dense {
    fn axpy(&self, scale: f64, rhs: &Self) -> Self {
        Dense(self.0.iter().zip(&rhs.0).map(|(a, b)| a + scale * b).collect())
    }
}

const DIM: usize = 6;

/// Reproducible numbers in -1..1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

struct Problem {
    hessians: Vec<Vec<f64>>,
    grad: Dense,
    rate: f64,
}

impl Problem {
    /// Matrices without symmetry: the identities do not need it, and an order of factors turned round would hide in it.
    fn random(steps: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let hessians = (0..steps).map(|_| (0..DIM * DIM).map(|_| numbers.next()).collect()).collect();
        Self { hessians, grad: Dense((0..DIM).map(|_| numbers.next()).collect()), rate: 0.3 }
    }

    fn times(&self, k: usize, v: &Dense) -> Dense {
        let rows = self.hessians[k].chunks(DIM);
        Dense(rows.map(|row| row.iter().zip(&v.0).map(|(a, b)| a * b).sum()).collect())
    }

    fn steps(&self) -> usize {
        self.hessians.len()
    }

    fn estimate(&self, estimator: Estimator) -> Dense {
        let hvp = |k: usize, v: &Dense| Ok::<_, ()>(self.times(k, v));
        estimator.estimate(self.grad.clone(), self.steps(), self.rate, hvp).unwrap()
    }

    /// Every subset of steps of up to `order`, product by product.
    fn brute_force(&self, order: usize, rate: f64) -> Dense {
        let subsets = (0u32..1 << self.steps()).filter(|subset| subset.count_ones() as usize <= order);
        let term = |subset: u32| {
            let chosen = (0..self.steps()).rev().filter(|k| subset >> k & 1 == 1);
            chosen.fold(self.grad.clone(), |v, k| Dense(vec![0.0; DIM]).axpy(-rate, &self.times(k, &v)))
        };
        subsets.map(term).fold(Dense(vec![0.0; DIM]), |sum, term| sum.axpy(1.0, &term))
    }

    /// `E_l^k = E_l^{k+1} - a H_k E_{l-1}^{k+1}`, summed over l.
    fn recursion(&self, order: usize) -> Dense {
        let zero = Dense(vec![0.0; DIM]);
        let mut orders = vec![zero.clone(); order + 1];
        orders[0] = self.grad.clone();
        for k in (0..self.steps()).rev() {
            for l in (1..=order).rev() {
                orders[l] = orders[l].axpy(-self.rate, &self.times(k, &orders[l - 1]));
            }
        }
        orders.iter().fold(zero, |sum, order| sum.axpy(1.0, order))
    }

    /// The product of all factors from step `from` on.
    fn product(&self, from: usize) -> Dense {
        let factor = |v: Dense, k: usize| v.axpy(-self.rate, &self.times(k, &v));
        (from..self.steps()).rev().fold(self.grad.clone(), factor)
    }
}

/// Rounding of a few dozen products of numbers of order one.
fn assert_close(found: &Dense, expected: &Dense, what: &str) {
    let norm = |v: &Dense| v.0.iter().map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&found.axpy(-1.0, expected)) / norm(expected);
    assert!(error <= 1e-13, "{what}: {error:.1e}");
}

#[test]
fn cascade_recursion_and_brute_force_agree() {
    for steps in 1..=7 {
        for order in 0..=steps {
            let problem = Problem::random(steps, 17 * steps as u64 + order as u64);
            let cascade = problem.estimate(Estimator::binomial(order));
            let what = format!("K = {steps}, L = {order}");
            assert_close(&cascade, &problem.brute_force(order, problem.rate), &what);
            assert_close(&cascade, &problem.recursion(order), &what);
            let scaled_rate = problem.rate * order as f64 / steps as f64;
            let scaled = problem.estimate(Estimator::binomial_scaled(order));
            assert_close(&scaled, &problem.brute_force(order, scaled_rate), &format!("{what}, scaled"));
        }
    }
}

#[test]
fn the_ends_of_each_family_are_first_order_and_exact() {
    for steps in 1..=7 {
        let problem = Problem::random(steps, steps as u64);
        let exact = problem.estimate(Estimator::Exact);
        assert_close(&exact, &problem.product(0), "exact");
        assert_eq!(problem.estimate(Estimator::FirstOrder).0, problem.grad.0);
        for family in [Estimator::truncated, Estimator::binomial, Estimator::binomial_scaled] {
            assert_close(&problem.estimate(family(steps)), &exact, "order K");
            assert_eq!(problem.estimate(family(0)).0, problem.grad.0);
        }
        for order in 0..=steps {
            let truncated = problem.estimate(Estimator::truncated(order));
            assert_close(&truncated, &problem.product(steps - order), "truncated");
        }
    }
}
