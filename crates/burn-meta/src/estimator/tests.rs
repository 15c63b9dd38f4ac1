//! The estimators' algebra on dense random matrices that do not commute, against independent references.

use std::ops::Range;

use super::*;
use crate::vector::Vector;

#[derive(Clone, Debug)]
struct Dense(Vec<f64>);

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

const DIM: usize = 6;

fn zero() -> Dense {
    Dense(vec![0.0; DIM])
}

/// Reproducible numbers in -1..1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn vector(&mut self) -> Dense {
        Dense((0..DIM).map(|_| self.next()).collect())
    }

    fn matrix(&mut self) -> Vec<f64> {
        (0..DIM * DIM).map(|_| self.next()).collect()
    }
}

/// Steps with any `A_k`, here diagonal, and losses after any step.
struct System {
    /// `A_k'`; none for the identity.
    keep: Vec<Vec<f64>>,
    /// `P' H_k B_k'` over `-rate`.
    hessians: Vec<Vec<f64>>,
    rates: Vec<f64>,
    sources: Vec<Option<Dense>>,
    /// Each product that was taken.
    taken: std::cell::RefCell<Vec<usize>>,
}

impl System {
    /// Gradient descent. Matrices without symmetry: the expansions do not need it, and an order of factors turned round
    /// would hide in it.
    fn descent(steps: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let hessians = (0..steps).map(|_| numbers.matrix()).collect();
        let mut sources = vec![None; steps];
        sources.push(Some(numbers.vector()));
        Self {
            keep: vec![vec![1.0; DIM]; steps],
            hessians,
            rates: vec![0.3; steps],
            sources,
            taken: Default::default(),
        }
    }

    /// Every step keeps something else of each element, and some have a loss.
    fn general(steps: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed + 1000);
        let mut system = Self::descent(steps, seed);
        system.keep = (0..steps).map(|_| numbers.vector().0).collect();
        system.sources[steps / 2] = Some(numbers.vector());
        system.sources[steps] = Some(numbers.vector());
        system
    }

    fn times(matrix: &[f64], v: &Dense) -> Dense {
        Dense(matrix.chunks(DIM).map(|row| row.iter().zip(&v.0).map(|(a, b)| a * b).sum()).collect())
    }

    fn estimate(&self, estimator: Estimator) -> Dense {
        self.taken.borrow_mut().clear();
        let estimate = estimator.estimate(self).unwrap();
        let taken = self.taken.borrow();
        assert_eq!(taken.len(), estimate.products, "{estimator:?} of {} steps", self.steps());
        let reads = estimator.reads(self.steps());
        assert!(taken.iter().all(|step| reads.contains(step)), "{estimator:?} reads {taken:?}, not in {reads:?}");
        estimate.value
    }

    /// Every subset of steps of up to `order` that has its curvature, for every loss, term by term.
    fn brute_force(&self, order: usize, factor: f64, among: Range<usize>) -> Dense {
        let mut sum = zero();
        for (end, source) in self.sources.iter().enumerate() {
            let Some(source) = source else { continue };
            for subset in 0u32..1 << end {
                let steps: Vec<usize> = (0..end).filter(|k| subset >> k & 1 == 1).collect();
                if steps.len() > order || steps.iter().any(|step| !among.contains(step)) {
                    continue;
                }
                let term = (0..end).rev().fold(source.clone(), |z, step| match steps.contains(&step) {
                    true => Self::times(&self.hessians[step], &z).scale(-self.rates[step] * factor),
                    false => self.still(step, &z),
                });
                sum = sum.axpy(1.0, &term);
            }
        }
        sum
    }
}

impl Unrolled for System {
    type State = Dense;
    type Error = std::convert::Infallible;

    fn steps(&self) -> usize {
        self.hessians.len()
    }

    fn source(&self, step: usize) -> Option<Dense> {
        self.sources[step].clone()
    }

    fn still(&self, step: usize, z: &Dense) -> Dense {
        Dense(z.0.iter().zip(&self.keep[step]).map(|(z, keep)| z * keep).collect())
    }

    fn curved(&self, step: usize, z: &Dense) -> Result<Dense, Self::Error> {
        self.taken.borrow_mut().push(step);
        Ok(Self::times(&self.hessians[step], z).scale(-self.rates[step]))
    }

    fn descent(&self, step: usize) -> Option<Descent> {
        let keep = self.keep[step][0];
        self.keep[step].iter().all(|k| *k == keep).then_some(Descent { keep, rate: self.rates[step] })
    }
}

/// Rounding of a few dozen products of numbers of order one.
fn assert_close(found: &Dense, expected: &Dense, tolerance: f64, what: &str) {
    let error = found.axpy(-1.0, expected).norm() / expected.norm();
    assert!(error <= tolerance, "{what}: {error:.1e}");
}

const ROUNDING: f64 = 1e-13;

#[test]
fn expansions_are_sums_over_subsets_of_steps() {
    for steps in 1..=6 {
        for (name, system) in
            [("descent", System::descent(steps, 17 * steps as u64)), ("general", System::general(steps, steps as u64))]
        {
            for order in 0..=steps {
                let what = format!("{name}, K = {steps}, L = {order}");
                let expected = system.brute_force(order, 1.0, 0..steps);
                assert_close(&system.estimate(Estimator::binomial(order)), &expected, ROUNDING, &what);
                let factor = order as f64 / steps as f64;
                let scaled = system.estimate(Estimator::binomial_scaled(order));
                assert_close(&scaled, &system.brute_force(order, factor, 0..steps), ROUNDING, &what);
                for window in order..=steps {
                    let hybrid = system.estimate(Estimator::Hybrid { order, window });
                    let expected = system.brute_force(order, 1.0, steps - window..steps);
                    assert_close(&hybrid, &expected, ROUNDING, &format!("{what}, C = {window}"));
                }
                let truncated = system.estimate(Estimator::truncated(order));
                let expected = system.brute_force(steps, 1.0, steps - order..steps);
                assert_close(&truncated, &expected, ROUNDING, &format!("{what}, truncated"));
            }
        }
    }
}

#[test]
fn the_ends_of_each_family_are_first_order_and_exact() {
    for steps in 1..=7 {
        for system in [System::descent(steps, steps as u64), System::general(steps, steps as u64)] {
            let (first, exact) = (system.estimate(Estimator::FirstOrder), system.estimate(Estimator::Exact));
            assert_close(&first, &system.brute_force(0, 1.0, 0..steps), ROUNDING, "first-order");
            for family in [Estimator::truncated, Estimator::binomial, Estimator::binomial_scaled] {
                assert_close(&system.estimate(family(steps)), &exact, ROUNDING, "order K");
                assert_close(&system.estimate(family(0)), &first, ROUNDING, "order 0");
            }
            let adaptive = Estimator::Adaptive { tolerance: 1e-30 };
            assert_close(&system.estimate(adaptive), &exact, ROUNDING, "every order");
        }
        let system = System::descent(steps, steps as u64);
        let exact = system.estimate(Estimator::Exact);
        assert_close(&system.estimate(Estimator::segments(steps, 1)), &exact, ROUNDING, "a segment for each step");
        assert_close(&system.estimate(Estimator::frozen(steps)), &exact, ROUNDING, "as many products as steps");
        // A fit of degree K is the polynomial itself, and its weights are ones to the accuracy of a series.
        assert_close(&system.estimate(Estimator::fitted(steps)), &exact, 1e-8, "fitted, order K");
    }
}

#[test]
fn every_step_is_told_what_comes_back_to_it() {
    let system = System::general(5, 3);
    let mut cotangents = Vec::new();
    let exact = Estimator::Exact.estimate_observed(&system, |step, z| cotangents.push((step, z.clone()))).unwrap();
    for estimator in [Estimator::binomial(5), Estimator::Hybrid { order: 5, window: 5 }] {
        let mut told = cotangents.iter();
        let estimate = estimator.estimate_observed(&system, |step, z| {
            let (expected_step, expected) = told.next().unwrap();
            assert_eq!(step, *expected_step);
            assert_close(z, expected, ROUNDING, estimator.name());
        });
        assert_close(&estimate.unwrap().value, &exact.value, ROUNDING, estimator.name());
        assert!(told.next().is_none());
    }
}

/// One symmetric matrix for all steps, with the given eigenvalues.
fn one_matrix(steps: usize, eigenvalues: &[f64; DIM], seed: u64) -> System {
    let mut system = System::descent(steps, seed);
    let mut numbers = Numbers(seed);
    let mut basis: Vec<Dense> = Vec::new();
    while basis.len() < DIM {
        let mut v = numbers.vector();
        for _ in 0..2 {
            v = basis.iter().fold(v.clone(), |v, unit| v.axpy(-v.dot(unit), unit));
        }
        basis.push(v.scale(1.0 / v.norm()));
    }
    let entry = |i: usize| -> f64 {
        eigenvalues.iter().zip(&basis).map(|(value, unit)| value * unit.0[i / DIM] * unit.0[i % DIM]).sum()
    };
    system.hessians = vec![(0..DIM * DIM).map(entry).collect(); steps];
    system
}

#[test]
fn a_frozen_estimate_is_exact_in_the_space_it_sees() {
    // Two eigenvalues beside zero: a polynomial through them and zero is all there is.
    let system = one_matrix(9, &[0.0, 2.0, 2.0, 0.0, 0.7, 0.0], 5);
    let exact = system.estimate(Estimator::Exact);
    assert_close(&system.estimate(Estimator::frozen(2)), &exact, 1e-12, "two eigenvalues and zero");
    let one = System::estimate(&system, Estimator::frozen(1));
    assert!(one.axpy(-1.0, &exact).norm() > 1e-3 * exact.norm());

    // An invariant space ends the process before the products do.
    let system = one_matrix(9, &[1.5; DIM], 6);
    let estimate = Estimator::frozen(4).estimate(&system).unwrap().value;
    assert_close(&estimate, &system.estimate(Estimator::Exact), 1e-12, "a multiple of the identity");
}

#[test]
fn negative_curvature_leaves_a_frozen_estimate_bounded() {
    for seed in 0..200 {
        let system = one_matrix(5, &[-0.3, 0.0, 0.1, -0.05, 0.2, 0.3], seed);
        let exact = system.estimate(Estimator::Exact);
        for products in 1..4 {
            let error = system.estimate(Estimator::frozen(products)).axpy(-1.0, &exact).norm() / exact.norm();
            // Without a product the error is that of first-order: up to 1.09^5 - 1.
            assert!(error < 0.55 * 0.5f64.powi(products as i32 - 1), "seed {seed}, {products} products: {error:.2}");
        }
    }
}

#[test]
fn what_a_fit_neglects_bounds_its_error_with_one_matrix() {
    for seed in 0..50 {
        let system = one_matrix(8, &[0.0, 0.2, 1.0, 2.0, 4.0, 6.0], seed);
        let exact = system.estimate(Estimator::Exact);
        let source = system.source(8).unwrap();
        for order in 1..8 {
            // As many products as there are dimensions find the ends exactly.
            let fitted = Estimator::Fitted { order, probe: DIM }.estimate(&system).unwrap();
            let error = fitted.value.axpy(-1.0, &exact).norm();
            let bound = fitted.neglected.unwrap() * source.norm();
            assert!(error <= bound * (1.0 + 1e-6) + 1e-12, "seed {seed}, order {order}: {error:e} over {bound:e}");
        }
    }
}

#[test]
fn an_adaptive_order_keeps_its_tolerance_with_one_matrix() {
    for (seed, tolerance) in (0..60).map(|seed| (seed, [1e-2, 1e-3, 1e-4][seed as usize % 3])) {
        let system = one_matrix(10, &[0.01, 0.02, 0.05, 0.1, 0.15, 0.2], seed);
        let exact = system.estimate(Estimator::Exact);
        let estimate = Estimator::Adaptive { tolerance }.estimate(&system).unwrap();
        let error = estimate.value.axpy(-1.0, &exact).norm() / exact.norm();
        assert!(error <= 2.0 * tolerance, "seed {seed}: {error:e} at order {}, {tolerance:e} asked", estimate.order);
        assert!(estimate.order < 10 && estimate.neglected.unwrap() <= tolerance);
    }
}

#[test]
fn an_adaptive_order_gives_way_to_exact_where_orders_do_not_fall() {
    for seed in 0..20 {
        // a ||H|| = 1.5: the orders grow at first.
        let system = one_matrix(10, &[0.0, 0.2, 1.0, 2.0, 4.0, 5.0], seed);
        let exact = system.estimate(Estimator::Exact);
        let adaptive = Estimator::Adaptive { tolerance: 1e-3 };
        let estimate = adaptive.estimate(&system).unwrap();
        assert_close(&system.estimate(adaptive), &exact, ROUNDING, "exact in the end");
        assert!(estimate.products <= 3 * 10 && estimate.order == 10, "seed {seed}: {} products", estimate.products);
    }
}

#[test]
fn settings_are_checked_against_the_steps() {
    assert!(Estimator::binomial(5).check(5).is_ok());
    assert!(matches!(Estimator::binomial(9).check(5), Err(Error::Order { order: 9, steps: 5, .. })));
    assert!(matches!(Estimator::truncated(6).check(5), Err(Error::Order { estimator: "truncated", .. })));
    assert!(matches!(Estimator::Hybrid { order: 3, window: 2 }.check(5), Err(Error::Order { order: 3, steps: 2, .. })));
    assert!(Estimator::Hybrid { order: 2, window: 6 }.check(5).is_err());
    assert!(Estimator::segments(6, 1).check(5).is_err() && Estimator::segments(0, 1).check(5).is_err());
    assert!(Estimator::frozen(0).check(5).is_err() && Estimator::frozen(9).check(5).is_ok());
    for tolerance in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Estimator::Adaptive { tolerance }.check(5).is_err());
    }
    assert!(Estimator::Fitted { order: 2, probe: 0 }.check(5).is_err());
}
