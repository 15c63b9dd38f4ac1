//! What is known of the estimators' errors before anything is run (arXiv 2604.13263, Theorems 3.6, 3.8 and 3.10).
//!
//! All bounds are from one inequality. With `x = a ||H||` and c a bound on the norm of a step's Jacobian `I - a H_k`, the terms
//! that binomial of order L leaves out add up to at most `sum_{l=1}^{K-L} C(K-l, L) x^{L+1} c^{l-1}` times the norm of the query
//! gradient: the sum goes over the step at which the (L+1)-th Hessian comes in, what is before it is a product of Jacobians.
//! Truncation leaves out at most `x c^L (1 + c + .. + c^{K-L-1})`; first-order is both with L = 0. They are for the inner
//! learning rate as it is, not for the scaled expansion.
//!
//! Does not know: networks, how a norm is estimated.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What is assumed of the Hessians of the support loss along the inner loop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Curvature {
    /// Nothing but their norm (the gradient is Lipschitz; Theorem 3.6): `c = 1 + x`.
    Lipschitz,
    /// No negative eigenvalues, and `x <= 2` (Theorem 3.8): `c = 1`.
    Convex,
    /// No eigenvalue below a positive number (Theorem 3.10): `c = max(|1 - a h|, |1 - x|)`.
    StronglyConvex {
        /// The number h.
        least: f64,
    },
}

/// An inner loop, as the bounds see it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// K.
    pub steps: usize,
    /// The inner learning rate, a.
    pub rate: f64,
    /// The largest norm of a Hessian. An estimate by power iteration or the Lanczos process is from below, and what is
    /// computed with it then is an estimate too.
    pub norm: f64,
    /// What else is assumed.
    pub curvature: Curvature,
}

impl Bounds {
    /// Checks that rate and norm are numbers that a bound can be computed with, in the range of the assumption.
    ///
    /// # Errors
    ///
    /// [`Error::Theory`].
    pub fn check(&self) -> Result<(), Error> {
        let fail = |problem: String| Err(Error::Theory { problem });
        let Self { rate, norm, .. } = *self;
        if !(rate.is_finite() && rate > 0.0 && norm.is_finite() && norm >= 0.0) {
            return fail(format!(
                "rate {rate} and norm {norm}: a positive and a non-negative finite number are needed"
            ));
        }
        match self.curvature {
            Curvature::Convex if rate * norm > 2.0 => {
                fail(format!("rate {rate} times norm {norm} is over 2: the bound for convex losses does not hold"))
            }
            Curvature::StronglyConvex { least } if !(least > 0.0 && least <= norm) => {
                fail(format!("least eigenvalue {least}: a number above 0 and at most the norm, {norm}, is needed"))
            }
            _ => Ok(()),
        }
    }

    /// x, the rate times the norm.
    pub fn reach(&self) -> f64 {
        self.rate * self.norm
    }

    /// c, a bound on the norm of a step's Jacobian.
    pub fn jacobian(&self) -> f64 {
        match self.curvature {
            Curvature::Lipschitz => 1.0 + self.reach(),
            Curvature::Convex => 1.0,
            Curvature::StronglyConvex { least } => (1.0 - self.rate * least).abs().max((1.0 - self.reach()).abs()),
        }
    }

    /// Largest error of the binomial estimate of an order, over the norm of the query gradient.
    pub fn binomial(&self, order: usize) -> f64 {
        let (x, c) = (self.reach(), self.jacobian());
        let term = |l: usize| choose(self.steps - l, order) * x.powi(order as i32 + 1) * c.powi(l as i32 - 1);
        (1..=self.steps.saturating_sub(order)).map(term).sum()
    }

    /// Largest error of the truncated estimate of an order, over the norm of the query gradient.
    pub fn truncated(&self, order: usize) -> f64 {
        let (x, c) = (self.reach(), self.jacobian());
        (order..self.steps).map(|power| x * c.powi(power as i32)).sum()
    }

    /// Largest error of the first-order estimate, over the norm of the query gradient.
    pub fn first_order(&self) -> f64 {
        self.truncated(0)
    }

    /// Whether the error of the binomial estimate falls super-exponentially from this order on: the paper's condition that
    /// the rate is of the order of `(L + 1) / (K ||H||)`, here that the first order left out is no larger than the last one
    /// taken, `C(K, L + 1) x^{L+1} <= C(K, L) x^L`, or `x (K - L) / (L + 1) <= 1`. Where it holds at an order it holds at all
    /// higher ones, and each order then falls by more than the one before.
    pub fn decays_at(&self, order: usize) -> bool {
        self.reach() * self.steps.saturating_sub(order) as f64 <= order as f64 + 1.0
    }
}

/// n over k.
fn choose(n: usize, k: usize) -> f64 {
    (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::estimator::Estimator;
    use crate::quadratics::{Dense, Numbers, Quadratics, orthonormal, symmetric};
    use crate::vector::Vector;

    const N: usize = 6;

    /// Steps whose Hessians have nothing in common but the range of their eigenvalues, of which each has both ends; at rate 1.
    fn steps(n: usize, low: f64, high: f64, seed: u64) -> Quadratics {
        let mut numbers = Numbers(seed);
        let mut hessian = || {
            let frame: Vec<Dense> = (0..N).map(|_| numbers.vector(N)).collect();
            let mut eigenvalues = vec![low, high];
            eigenvalues.extend((2..N).map(|_| 0.5 * (low + high) + 0.5 * (high - low) * numbers.next()));
            symmetric(&eigenvalues, &orthonormal(&frame))
        };
        let hessians = (0..n).map(|_| hessian()).collect();
        Quadratics { hessians, query_grad: numbers.vector(N) }
    }

    /// The error of an estimate over the norm of the query gradient.
    fn error(system: &Quadratics, estimator: Estimator) -> f64 {
        let exact = Estimator::Exact.estimate(system).unwrap().value;
        let estimate = estimator.estimate(system).unwrap().value;
        estimate.axpy(-1.0, &exact).norm() / system.query_grad.norm()
    }

    /// That no error is over its bound. Rounding: 1e-9 of the bound, and 1e-13 of what the Jacobians may have grown the vector
    /// to.
    fn check(system: &Quadratics, bounds: Bounds) -> Result<(), TestCaseError> {
        prop_assert!(bounds.check().is_ok());
        let rounding = 1e-13 * bounds.jacobian().max(1.0 + bounds.reach()).powi(bounds.steps as i32);
        for order in 0..=bounds.steps {
            for (name, error, bound) in [
                ("binomial", error(system, Estimator::binomial(order)), bounds.binomial(order)),
                ("truncated", error(system, Estimator::truncated(order)), bounds.truncated(order)),
                ("first-order", error(system, Estimator::FirstOrder), bounds.first_order()),
            ] {
                prop_assert!(
                    error <= bound * (1.0 + 1e-9) + rounding,
                    "{name} of order {order}: {error:e} over {bound:e}, {bounds:?}"
                );
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn no_error_is_over_its_bound(n in 1usize..9, x in 0.001f64..3.0, least in 0.0f64..1.0, rate in 0.01f64..1.0, seed: u64) {
            let bounds = |curvature| Bounds { steps: n, rate, norm: x / rate, curvature };
            check(&steps(n, -x, x, seed), bounds(Curvature::Lipschitz))?;
            check(&steps(n, 0.0, x.min(2.0), seed), Bounds { norm: x.min(2.0) / rate, ..bounds(Curvature::Convex) })?;
            let least = (least * x / rate).max(1e-6);
            check(&steps(n, least * rate, x, seed), bounds(Curvature::StronglyConvex { least }))?;
        }

        #[test]
        fn the_condition_is_that_the_first_order_left_out_is_no_larger_than_the_last(n in 1usize..30, x in 0.001f64..3.0) {
            let bounds = Bounds { steps: n, rate: 1.0, norm: x, curvature: Curvature::Convex };
            let term = |l: usize| choose(n, l) * x.powi(l as i32);
            for order in 0..n {
                let (last, next) = (term(order), term(order + 1));
                // Beside the equality, where rounding decides.
                if (last - next).abs() > 1e-9 * last {
                    prop_assert_eq!(bounds.decays_at(order), next < last);
                }
                if bounds.decays_at(order) && order + 2 < n {
                    let falls = |l: usize| bounds.binomial(l + 1) / bounds.binomial(l);
                    prop_assert!(bounds.decays_at(order + 1) && falls(order) < 1.0 && falls(order + 1) < falls(order));
                }
            }
        }
    }

    #[test]
    fn the_formulas_are_those_of_the_theorems() {
        for n in 1..12 {
            for (order, x) in (0..=n).flat_map(|order| [0.01, 0.3, 1.0, 2.5].map(|x| (order, x))) {
                let close = |found: f64, expected: f64| (found - expected).abs() <= 1e-12 * expected.abs() + 1e-300;
                let bounds = |curvature| Bounds { steps: n, rate: 0.5, norm: 2.0 * x, curvature };
                let left_out = (order + 1..=n).map(|l| choose(n, l) * x.powi(l as i32)).sum();
                let lipschitz = bounds(Curvature::Lipschitz);
                assert!(close(lipschitz.binomial(order), left_out), "Theorem 3.6, K = {n}, L = {order}, x = {x}");
                let grown = (1.0 + x).powi(n as i32) - (1.0 + x).powi(order as i32);
                assert!((lipschitz.truncated(order) - grown).abs() <= 1e-12 * (1.0 + x).powi(n as i32));
                let convex = bounds(Curvature::Convex);
                let first_left_out = if order < n { choose(n, order + 1) * x.powi(order as i32 + 1) } else { 0.0 };
                assert!(close(convex.binomial(order), first_left_out), "Theorem 3.8, K = {n}, L = {order}, x = {x}");
                assert!(close(convex.truncated(order), x * (n - order) as f64));
                let strongly = bounds(Curvature::StronglyConvex { least: 2.0 * x });
                // One eigenvalue, |1 - x|: nothing is lost but what the orders left out hold.
                let c = (1.0 - x).abs();
                let sum = (1..=n - order)
                    .map(|l| choose(n - l, order) * x.powi(order as i32 + 1) * c.powi(l as i32 - 1))
                    .sum();
                assert!(close(strongly.binomial(order), sum), "Theorem 3.10, K = {n}, L = {order}, x = {x}");
            }
        }
    }

    #[test]
    fn the_bounds_for_any_hessian_are_reached() {
        // Negative curvature alone: all terms have one sign.
        for x in [0.05, 0.5, 2.0] {
            let system = steps(6, -x, -x, 1);
            let bounds = Bounds { steps: 6, rate: 1.0, norm: x, curvature: Curvature::Lipschitz };
            for order in 0..6 {
                for (name, error, bound) in [
                    ("binomial", error(&system, Estimator::binomial(order)), bounds.binomial(order)),
                    ("truncated", error(&system, Estimator::truncated(order)), bounds.truncated(order)),
                ] {
                    // Rounding of the two that are compared.
                    let rounding = 1e-9 * bound + 1e-14 * (1.0 + x).powi(6);
                    assert!(
                        (error - bound).abs() <= rounding,
                        "{name}, order {order}, x = {x}: {error:e} of {bound:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn errors_fall_super_exponentially_where_the_condition_holds() {
        for (n, share) in (4..10).flat_map(|n| [1.0, 0.3, 0.05].map(|share| (n, share))) {
            // At the end of the range and within it.
            let x = share / n as f64;
            let bounds = Bounds { steps: n, rate: 1.0, norm: x, curvature: Curvature::Convex };
            assert!(bounds.decays_at(0));
            // Geometric means: what is left out last has few terms, whose length is a matter of chance.
            let mut logs = vec![0.0; n];
            for seed in 0..40 {
                let system = steps(n, 0.0, x, seed);
                for (order, log) in logs.iter_mut().enumerate() {
                    *log += error(&system, Estimator::binomial(order)).ln() / 40.0;
                }
            }
            // Below 1e-13 the rounding of the exact product is measured.
            let measured: Vec<f64> = logs.into_iter().take_while(|log| *log > 1e-13f64.ln()).collect();
            assert!(measured.len() >= 4);
            let falls: Vec<f64> = measured.windows(2).map(|pair| (pair[1] - pair[0]).exp()).collect();
            assert!(falls[0] < 1.0 && falls.windows(2).all(|pair| pair[1] < pair[0]), "K = {n}, x = {x}: {falls:?}");
        }
    }

    #[test]
    fn numbers_without_a_bound_are_errors() {
        let bounds = |rate, norm, curvature| Bounds { steps: 5, rate, norm, curvature };
        assert!(bounds(0.1, 20.0, Curvature::Convex).check().is_ok());
        assert!(bounds(0.1, 20.1, Curvature::Lipschitz).check().is_ok());
        assert!(bounds(0.1, 20.1, Curvature::Convex).check().is_err());
        for rate in [0.0, -0.1, f64::NAN, f64::INFINITY] {
            assert!(bounds(rate, 1.0, Curvature::Lipschitz).check().is_err(), "{rate}");
        }
        for norm in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(bounds(0.1, norm, Curvature::Lipschitz).check().is_err(), "{norm}");
        }
        for least in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(bounds(0.1, 1.0, Curvature::StronglyConvex { least }).check().is_err(), "{least}");
        }
    }
}
