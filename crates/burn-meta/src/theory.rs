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
    /// the rate is of the order of `(L + 1) / (K ||H||)`, here that the bound at the next order is smaller by as much as
    /// the binomial coefficients and x say, `x (K - L) / (L + 1) <= 1`.
    pub fn decays_at(&self, order: usize) -> bool {
        self.reach() * self.steps.saturating_sub(order) as f64 <= order as f64 + 1.0
    }
}

/// n over k.
fn choose(n: usize, k: usize) -> f64 {
    (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product()
}
