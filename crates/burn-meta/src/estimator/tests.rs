//! The estimators' algebra on dense random matrices that do not commute, against independent references.

use std::ops::Range;

use super::*;
use crate::quadratics::{Dense, Numbers, Quadratics, orthonormal, symmetric};
use crate::unrolled::GradientDescent;
use crate::vector::Vector;

const DIM: usize = 6;

fn zero() -> Dense {
    Dense(vec![0.0; DIM])
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
        let hessians = (0..steps).map(|_| numbers.vector(DIM * DIM).0).collect();
        let mut sources = vec![None; steps];
        sources.push(Some(numbers.vector(DIM)));
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
        system.keep = (0..steps).map(|_| numbers.vector(DIM).0).collect();
        system.sources[steps / 2] = Some(numbers.vector(DIM));
        system.sources[steps] = Some(numbers.vector(DIM));
        system
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
                    true => z.times(&self.hessians[step]).scale(-self.rates[step] * factor),
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

    fn through(&self, step: usize, z: &Dense) -> Dense {
        z.scale(-self.rates[step])
    }

    fn hessian(&self, step: usize, v: &Dense) -> Result<Dense, Self::Error> {
        self.taken.borrow_mut().push(step);
        Ok(v.times(&self.hessians[step]))
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
    let basis: Vec<Dense> = (0..DIM).map(|_| numbers.vector(DIM)).collect();
    system.hessians = vec![symmetric(eigenvalues, &orthonormal(&basis)); steps];
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
    let eigenvalues = [-0.3, 0.0, 0.1, -0.05, 0.2, 0.3];
    for seed in 0..2000 {
        let system = one_matrix(5, &eigenvalues, seed);
        let exact = system.estimate(Estimator::Exact);
        for products in 1..4 {
            let estimate = system.estimate(Estimator::frozen(products));
            // Without a product the error is that of first-order, up to 1.09^5 - 1 = 0.54; the first leaves no more than that,
            // and each one halves it.
            let error = estimate.axpy(-1.0, &exact).norm() / exact.norm();
            assert!(error < 0.54 * 0.5f64.powi(products as i32 - 1), "seed {seed}, {products} products: {error:.2}");
        }
    }
}

#[test]
fn no_frozen_estimate_grows_by_more_than_e() {
    // Steps that overshoot by more than they were off, up to 1.6^20 = 1e4 times, and negative curvature that grows as fast.
    for (eigenvalues, seed) in [[8.6, -1.0, 4.0, 0.1, 0.0, 0.0], [2.0, -2.0, 0.0, 0.1, -0.1, 1.0]]
        .into_iter()
        .flat_map(|eigenvalues| (0..500).map(move |seed| (eigenvalues, seed)))
    {
        let system = one_matrix(20, &eigenvalues, seed);
        let most = std::f64::consts::E * system.source(20).unwrap().norm();
        for estimator in [1, 2, 3].map(Estimator::frozen) {
            let norm = system.estimate(estimator).norm();
            assert!(norm <= most, "{eigenvalues:?}, seed {seed}, {estimator:?}: {norm:e} of {most:e}");
        }
        // Each of two segments may.
        let norm = system.estimate(Estimator::segments(2, 2)).norm();
        assert!(norm <= std::f64::consts::E * most, "{eigenvalues:?}, seed {seed}, segments: {norm:e}");
    }
}

/// The norm of a matrix, no less than it is and up to 0.2% more: `tr((A'A)^p)^(1/2p)` with p = 1024.
fn norm_of(matrix: &[f64], n: usize) -> f64 {
    let times = |a: &[f64], b: &[f64]| -> Vec<f64> {
        (0..n * n).map(|i| (0..n).map(|k| a[i / n * n + k] * b[k * n + i % n]).sum()).collect()
    };
    let trace = |a: &[f64]| (0..n).map(|i| a[i * n + i]).sum::<f64>();
    let transposed: Vec<f64> = (0..n * n).map(|i| matrix[i % n * n + i / n]).collect();
    let mut power = times(&transposed, matrix);
    let mut log = 0.0;
    for square in 0..10 {
        let scale = trace(&power);
        if scale == 0.0 {
            return 0.0;
        }
        power.iter_mut().for_each(|x| *x /= scale);
        log += scale.ln() / 2f64.powi(square);
        power = times(&power, &power);
    }
    (0.5 * (log + trace(&power).ln() / 1024.0)).exp()
}

/// `scale I + F`, of which `times` is the product with F.
fn matrix_of(n: usize, scale: f64, times: impl Fn(&Dense) -> Dense) -> Vec<f64> {
    let unit = |i: usize| Dense((0..n).map(|j| f64::from(u8::from(i == j))).collect());
    let rows = (0..n).map(|i| times(&unit(i)).axpy(scale, &unit(i)).0);
    rows.flatten().collect()
}

#[test]
fn a_fitted_estimate_keeps_the_bound_of_its_deviations() {
    const N: usize = 12;
    let choose = |n: usize, k: usize| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
    let mut tightest = f64::INFINITY;
    for (seed, (x, turn)) in [(0.1, 0.3), (0.5, 0.1), (1.0, 0.6), (2.5, 0.3)].into_iter().cycle().take(40).enumerate() {
        let steps = 7;
        let system = Quadratics::new(steps, &Quadratics::network(N, x), turn, seed as u64);
        let exact = Estimator::Exact.estimate(&system).unwrap().value;
        for probe in 1..4 {
            let fit = krylov::fit(&system, steps / 2, (steps, 2.0), &system.query_grad, probe).unwrap();
            let mut y = 0.0f64;
            let mut c = norm_of(&matrix_of(N, 1.0, |v| fit.times(v).scale(-1.0)), N);
            for hessian in &system.hessians {
                y = y.max(norm_of(&matrix_of(N, 0.0, |v| v.times(hessian).axpy(-1.0, &fit.times(v))), N));
                c = c.max(norm_of(&matrix_of(N, 1.0, |v| v.times(hessian).scale(-1.0)), N));
            }
            for order in 0..steps {
                let fitted = Estimator::Fitted { order, probe }.estimate(&system).unwrap();
                let error = fitted.value.axpy(-1.0, &exact).norm() / system.query_grad.norm();
                let bound = choose(steps, order + 1) * y.powi(order as i32 + 1) * c.powi((steps - order - 1) as i32);
                let what = format!("seed {seed}, probe {probe}, order {order}: {error:.1e} of {bound:.1e}");
                // 1e-12 is rounding of the exact product and of the estimate.
                assert!(error <= bound * (1.0 + 1e-9) + 1e-12 * c.powi(steps as i32), "{what}");
                if error > 1e-10 {
                    tightest = tightest.min(bound / error);
                }
            }
        }
    }
    // It is a bound that says something.
    assert!(tightest < 10.0, "the error is never near the bound: {tightest:.1}");
}

#[test]
fn with_one_matrix_and_all_of_it_seen_a_fitted_estimate_is_exact_at_every_order() {
    for seed in 0..20 {
        let system = one_matrix(8, &[0.0, 0.2, 0.5, 1.0, 2.0, 3.0], seed);
        let exact = system.estimate(Estimator::Exact);
        for order in 0..8 {
            let fitted = Estimator::Fitted { order, probe: DIM }.estimate(&system).unwrap();
            // Lost in the cancellation of a basis of six vectors, and grown by up to (0.3 * 6 - 1)^8 < 1.
            assert_close(&fitted.value, &exact, 1e-9, &format!("seed {seed}, order {order}"));
            assert!(fitted.products <= Estimator::Fitted { order, probe: DIM }.products(8));
            assert!(order == 0 || fitted.neglected.unwrap() < 1e-8);
        }
    }
}

#[test]
fn whatever_the_fit_a_fitted_estimate_of_order_k_is_exact() {
    // Weight decay, rates that differ, a loss halfway; and matrices without symmetry, to which a fit is wrong.
    for (steps, seed) in [(3, 1), (6, 2)] {
        let mut system = System::descent(steps, seed);
        system.keep = (0..steps).map(|step| vec![0.95 - 0.02 * step as f64; DIM]).collect();
        system.rates = (0..steps).map(|step| 0.3 - 0.03 * step as f64).collect();
        system.sources[steps / 2] = Some(Numbers(seed + 7).vector(DIM));
        let exact = system.brute_force(steps, 1.0, 0..steps);
        for probe in [1, 3, DIM] {
            let fitted = Estimator::Fitted { order: steps, probe }.estimate(&system).unwrap();
            // What the fit adds to one part and takes from the other is larger than what remains.
            assert_close(&fitted.value, &exact, 1e-10, &format!("K = {steps}, probe {probe}"));
            assert_eq!(fitted.neglected, Some(0.0));
        }
    }
}

#[test]
fn a_fitted_estimate_tells_the_steps_what_exact_tells_them() {
    let system = Quadratics::new(6, &Quadratics::network(16, 0.6), 0.2, 3);
    let mut cotangents = Vec::new();
    Estimator::Exact.estimate_observed(&system, |step, z| cotangents.push((step, z.clone()))).unwrap();
    let mut last = f64::INFINITY;
    for order in 0..=6 {
        let mut told = cotangents.iter();
        let mut worst = 0.0f64;
        let estimate = Estimator::Fitted { order, probe: 3 }.estimate_observed(&system, |step, z| {
            let (expected_step, expected) = told.next().unwrap();
            assert_eq!(step, *expected_step);
            worst = worst.max(z.axpy(-1.0, expected).norm() / expected.norm());
        });
        assert!(told.next().is_none());
        assert!(worst < 0.6 * last || worst < 1e-13, "order {order}: {worst:e} after {last:e}");
        last = worst;
        assert_eq!(estimate.unwrap().products, 3 + (0..order).map(|l| 6 - l).sum::<usize>());
    }
    assert!(last < 1e-13);
}

/// Relative error of some estimators on drifting quadratics, over seeds, sorted.
fn errors(steps: usize, x: f64, turn: f64, estimator: Estimator) -> Vec<(f64, Option<f64>)> {
    let error = |seed| {
        let system = Quadratics::new(steps, &Quadratics::network(40, x), turn, seed);
        let exact = Estimator::Exact.estimate(&system).unwrap().value;
        let estimate = estimator.estimate(&system).unwrap();
        (estimate.value.axpy(-1.0, &exact).norm() / exact.norm(), estimate.neglected)
    };
    let mut errors: Vec<_> = (0..15).map(error).collect();
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    errors
}

#[test]
fn fitted_is_closer_than_binomial_and_frozen_and_says_how_far_off_it_is() {
    let median = |errors: &[(f64, Option<f64>)]| errors[errors.len() / 2].0;
    let (mut told, mut cases) = (0, 0);
    for (steps, x, turn) in
        [(5, 0.1, 0.1), (5, 1.0, 0.3), (10, 0.1, 0.3), (10, 1.0, 0.1), (20, 0.05, 0.3), (20, 0.3, 0.1)]
    {
        let mut last = median(&errors(steps, x, turn, Estimator::fitted(0)));
        for order in 1..4 {
            let fitted = errors(steps, x, turn, Estimator::fitted(order));
            let binomial = median(&errors(steps, x, turn, Estimator::binomial(order)));
            let this = median(&fitted);
            println!("K = {steps}, x = {x}, turn {turn}, L = {order}: fitted {this:.1e}, binomial {binomial:.1e}");
            assert!(this < 0.2 * binomial && this < 0.6 * last, "K = {steps}, x = {x}, L = {order}: {this:e}");
            last = this;
            told += fitted.iter().filter(|(error, neglected)| neglected.unwrap() >= *error).count();
            cases += fitted.len();
        }
    }
    println!("the last order is no less than the error in {told} of {cases} cases");
    assert!(told as f64 >= 0.95 * cases as f64, "{told} of {cases}");
}

#[test]
fn four_products_are_enough_for_a_fit() {
    let median = |probe, order, turn| {
        let errors = errors(10, 1.0, turn, Estimator::Fitted { order, probe });
        errors[errors.len() / 2].0
    };
    for (order, turn) in [(1, 0.3), (2, 0.3), (1, 1.0), (2, 1.0)] {
        let [two, four, eight] = [2, 4, 8].map(|probe| median(probe, order, turn));
        println!("K = 10, x = 1, turn {turn}, L = {order}: probe 2 {two:.1e}, 4 {four:.1e}, 8 {eight:.1e}");
        assert!(four < 0.9 * two && four < 4.0 * eight, "L = {order}, turn {turn}: {two:e}, {four:e}, {eight:e}");
    }
}

/// A vector in single precision, as people train in.
#[derive(Clone)]
struct Single(Vec<f32>);

impl Vector for Single {
    fn axpy(&self, scale: f64, rhs: &Self) -> Self {
        Single(self.0.iter().zip(&rhs.0).map(|(a, b)| a + scale as f32 * b).collect())
    }

    fn scale(&self, scale: f64) -> Self {
        Single(self.0.iter().map(|a| a * scale as f32).collect())
    }

    fn dot(&self, rhs: &Self) -> f64 {
        f64::from(self.0.iter().zip(&rhs.0).map(|(a, b)| a * b).sum::<f32>())
    }
}

#[test]
fn single_precision_costs_no_more_than_its_rounding() {
    for seed in 0..10 {
        let system = Quadratics::new(10, &Quadratics::network(24, 0.8), 0.2, seed);
        let exact = Estimator::Exact.estimate(&system).unwrap().value;
        let single = |v: &Dense| Single(v.0.iter().map(|x| *x as f32).collect());
        let double = |v: &Single| Dense(v.0.iter().map(|x| f64::from(*x)).collect());
        let product = |step: usize, v: &Single| Ok::<_, ()>(single(&double(v).times(&system.hessians[step])));
        let rounded = GradientDescent::new(10, 1.0, single(&system.query_grad), product);
        for estimator in [Estimator::fitted(1), Estimator::fitted(3), Estimator::frozen(4), Estimator::segments(3, 2)] {
            let expected = estimator.estimate(&system).unwrap().value;
            let found = double(&estimator.estimate(&rounded).unwrap().value);
            let error = found.axpy(-1.0, &expected).norm() / exact.norm();
            // A few dozen operations, each rounded to 6e-8, with cancellation in the basis.
            assert!(error <= 2e-5, "seed {seed}, {estimator:?}: {error:.1e}");
        }
    }
}

#[test]
fn a_fitted_estimate_that_does_not_converge_says_so() {
    // Hessians that have nothing to do with each other, far beyond what the inner loop could follow.
    let mut system = Quadratics::new(10, &[3.0, 2.0, 1.0, 0.5, 0.1, -0.5, -1.0, -2.0], 3.0, 1);
    let estimate = |system: &Quadratics| Estimator::Fitted { order: 2, probe: 2 }.estimate(system).unwrap();
    assert!(estimate(&system).is_unreliable());
    system.hessians[3][0] = f64::NAN;
    assert!(estimate(&system).is_unreliable());
    let tame = Quadratics::new(10, &Quadratics::network(16, 0.3), 0.2, 1);
    assert!(!estimate(&tame).is_unreliable());
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
