//! Estimates of the meta-gradient from the inner steps' Hessians and the query gradient.
//!
//! The exact meta-gradient of K steps of gradient descent is `(I - a H_0) (I - a H_1) .. (I - a H_{K-1}) g` with `H_k` the
//! Hessian of the support loss before step k and `g` the gradient of the query loss after the last step. An estimator
//! says which terms of that product it keeps.
//!
//! Does not know: modules, losses, tasks; vectors are whatever implements [`Vector`].

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What the estimators need of a vector.
pub trait Vector: Clone {
    /// `self + scale * rhs`.
    #[must_use]
    fn axpy(&self, scale: f64, rhs: &Self) -> Self;
}

impl Vector for burn_func::Params {
    fn axpy(&self, scale: f64, rhs: &Self) -> Self {
        burn_func::Params::axpy(self, scale, rhs)
    }
}

/// How a meta-gradient is estimated.
///
/// | estimator | keeps | Hessian-vector products | in sequence |
/// |---|---|---|---|
/// | [`FirstOrder`](Self::FirstOrder) | `g` | 0 | 0 |
/// | [`Truncated`](Self::Truncated), order L | the last L factors | L | L |
/// | [`Binomial`](Self::Binomial), order L | every term of up to L factors `-a H_k` | L (K - L + 1) | L |
/// | [`Exact`](Self::Exact) | everything | K | K |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Estimator {
    /// The query gradient itself (FOMAML).
    FirstOrder,
    /// Back-propagation through the last `order` inner steps alone (TruncMAML).
    Truncated {
        /// L, of 0..=K. 0 is first-order, K is exact.
        order: usize,
    },
    /// All terms of the expanded product up to `order` (BinomMAML; arXiv 2604.13263, Theorem 3.2). The error falls
    /// super-exponentially in the order where `a ||H||` is small.
    Binomial {
        /// L, of 0..=K. 0 is first-order, K is exact.
        order: usize,
        /// Which step size stands in the expansion.
        expansion: Expansion,
    },
    /// Back-propagation through every inner step (MAML).
    Exact,
}

/// Which step size stands in the binomial expansion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expansion {
    /// The inner learning rate, as in the paper's equations. Better where `a ||H||` is small.
    #[default]
    Plain,
    /// `L a / K`, as in the paper's own code. Better where `a ||H||` is large.
    Scaled,
}

impl Estimator {
    /// Truncated to the last `order` inner steps.
    pub fn truncated(order: usize) -> Self {
        Self::Truncated { order }
    }

    /// Binomial of the given order, with the inner learning rate as it is.
    pub fn binomial(order: usize) -> Self {
        Self::Binomial { order, expansion: Expansion::Plain }
    }

    /// Binomial of the given order, with the learning rate scaled by `order / K`.
    pub fn binomial_scaled(order: usize) -> Self {
        Self::Binomial { order, expansion: Expansion::Scaled }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FirstOrder => "first-order",
            Self::Truncated { .. } => "truncated",
            Self::Binomial { .. } => "binomial",
            Self::Exact => "exact",
        }
    }

    /// Its order, for a number of inner steps.
    pub fn order(&self, steps: usize) -> usize {
        match *self {
            Self::FirstOrder => 0,
            Self::Truncated { order } | Self::Binomial { order, .. } => order,
            Self::Exact => steps,
        }
    }

    /// Checks that the order is one of 0..=K.
    ///
    /// # Errors
    ///
    /// [`Error::Order`].
    pub fn check(&self, steps: usize) -> Result<(), Error> {
        let order = self.order(steps);
        if order <= steps { Ok(()) } else { Err(Error::Order { estimator: self.name(), order, steps }) }
    }

    /// The inner steps whose Hessians it multiplies with: those must keep their residuals.
    pub fn reads(&self, steps: usize) -> Range<usize> {
        match *self {
            Self::FirstOrder | Self::Binomial { order: 0, .. } => steps..steps,
            Self::Truncated { order } => steps - order..steps,
            Self::Binomial { .. } | Self::Exact => 0..steps,
        }
    }

    /// Number of Hessian-vector products.
    pub fn products(&self, steps: usize) -> usize {
        let order = self.order(steps);
        match self {
            Self::Binomial { .. } => order * (steps - order + 1),
            _ => order,
        }
    }

    /// The estimate, from the query gradient and a function that multiplies a vector with the Hessian of a step.
    ///
    /// The order must be one of 0..=K ([`check`](Self::check)); `hvp` is asked for steps in [`reads`](Self::reads) alone.
    ///
    /// # Errors
    ///
    /// Those of `hvp`.
    pub fn estimate<V: Vector, E>(
        &self,
        query_grad: V,
        steps: usize,
        rate: f64,
        mut hvp: impl FnMut(usize, &V) -> Result<V, E>,
    ) -> Result<V, E> {
        match *self {
            Self::FirstOrder | Self::Truncated { .. } | Self::Exact => {
                let last = steps - self.order(steps)..steps;
                last.rev().try_fold(query_grad, |v, k| Ok(v.axpy(-rate, &hvp(k, &v)?)))
            }
            Self::Binomial { order, expansion } => {
                let rate = match expansion {
                    Expansion::Plain => rate,
                    Expansion::Scaled => rate * order as f64 / steps as f64,
                };
                cascade(query_grad, steps, order, rate, hvp)
            }
        }
    }
}

/// The binomial estimate by L stages of K - L + 1 independent products (arXiv 2604.13263, Theorem 3.2 and Algorithm 1).
///
/// Stage i multiplies copy j with `H_{L-1-i+j}`. A copy then is the last copy of the stage before, which holds the
/// truncated estimate, less the sum of the products from its own on.
fn cascade<V: Vector, E>(
    query_grad: V,
    steps: usize,
    order: usize,
    rate: f64,
    mut hvp: impl FnMut(usize, &V) -> Result<V, E>,
) -> Result<V, E> {
    let mut copies = vec![query_grad; steps - order + 1];
    for stage in 0..order {
        let first = order - 1 - stage;
        let products: Vec<V> = copies.iter().enumerate().map(|(j, v)| hvp(first + j, v)).collect::<Result<_, E>>()?;
        let mut running = copies[copies.len() - 1].clone();
        for (copy, product) in copies.iter_mut().zip(&products).rev() {
            running = running.axpy(-rate, product);
            *copy = running.clone();
        }
    }
    Ok(copies.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_checked_against_the_steps() {
        assert!(Estimator::binomial(5).check(5).is_ok());
        assert!(matches!(Estimator::binomial(9).check(5), Err(Error::Order { order: 9, steps: 5, .. })));
        assert!(matches!(Estimator::truncated(6).check(5), Err(Error::Order { estimator: "truncated", .. })));
    }

    #[test]
    fn products_are_counted_as_taken() {
        for steps in 1..6 {
            let estimators = (0..=steps).flat_map(|l| [Estimator::truncated(l), Estimator::binomial(l)]);
            for estimator in estimators.chain([Estimator::FirstOrder, Estimator::Exact]) {
                let mut taken = 0;
                let reads = estimator.reads(steps);
                let count = |k: usize, v: &Scalar| {
                    assert!(reads.contains(&k), "{estimator:?} reads step {k} of {steps}");
                    taken += 1;
                    Ok::<_, ()>(Scalar(v.0))
                };
                estimator.estimate(Scalar(1.0), steps, 0.1, count).unwrap();
                assert_eq!(taken, estimator.products(steps), "{estimator:?} with {steps} steps");
            }
        }
    }

    #[derive(Clone)]
    struct Scalar(f64);

    impl Vector for Scalar {
        fn axpy(&self, scale: f64, rhs: &Self) -> Self {
            Scalar(self.0 + scale * rhs.0)
        }
    }
}
