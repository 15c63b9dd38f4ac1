//! What the estimators need of a vector.
//!
//! Does not know: tensors, devices.

/// A vector over the reals.
pub trait Vector: Clone {
    /// `self + scale * rhs`.
    #[must_use]
    fn axpy(&self, scale: f64, rhs: &Self) -> Self;

    /// `scale * self`.
    #[must_use]
    fn scale(&self, scale: f64) -> Self;

    /// The inner product.
    fn dot(&self, rhs: &Self) -> f64;

    /// The inner products with several vectors. A vector on a device reads them from it at once.
    fn dots(&self, others: &[Self]) -> Vec<f64> {
        others.iter().map(|other| self.dot(other)).collect()
    }

    /// The Euclidean norm.
    fn norm(&self) -> f64 {
        self.dot(self).sqrt()
    }
}

impl Vector for burn_func::Params {
    fn axpy(&self, scale: f64, rhs: &Self) -> Self {
        burn_func::Params::axpy(self, scale, rhs)
    }

    fn scale(&self, scale: f64) -> Self {
        burn_func::Params::scale(self, scale)
    }

    fn dot(&self, rhs: &Self) -> f64 {
        burn_func::Params::dot(self, rhs)
    }

    fn dots(&self, others: &[Self]) -> Vec<f64> {
        burn_func::Params::dots(self, &others.iter().collect::<Vec<_>>())
    }
}
