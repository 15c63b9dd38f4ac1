//! Linear maps of parameter space as dense matrices, for small models.
//!
//! Does not know: what the map is.

use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::params::Params;
use crate::transforms::Linearization;

/// Largest number of parameters for which a dense matrix is built: 128 MiB in double precision.
pub const DENSE_LIMIT: usize = 4096;

/// A symmetric linear map as a matrix, one product per parameter. `like` gives the shapes and is not read.
///
/// # Layout
///
/// Row and column `i` belong to element `i` of [`Params::flatten`]: parameters in the order of [`Params::specs`], each
/// row-major. The matrix is in the type of the first parameter, on the device of the parameters. Nothing is averaged: it
/// is symmetric to rounding, and only if the map is.
///
/// # Errors
///
/// [`Error::TooLarge`] above [`DENSE_LIMIT`] parameters; those of the map.
pub fn dense(like: &Params, map: impl Fn(&Params) -> Result<Params>) -> Result<Tensor<2>> {
    stacked(like, |vs| vs.iter().map(&map).collect())
}

/// Rows of a matrix that are computed together.
const ROWS: usize = 16;

/// The matrix of a map that takes several vectors at a time.
fn stacked(like: &Params, map: impl Fn(&[Params]) -> Result<Vec<Params>>) -> Result<Tensor<2>> {
    let n = like.len();
    if n > DENSE_LIMIT {
        let bytes = n * n * like.values()[0].dtype().size();
        return Err(Error::TooLarge { parameters: n, bytes, limit: DENSE_LIMIT });
    }
    let mut rows = Vec::with_capacity(n);
    for first in (0..n).step_by(ROWS) {
        let basis: Vec<Params> = (first..n.min(first + ROWS)).map(|i| like.basis(i)).collect();
        rows.extend(map(&basis)?.iter().map(Params::flatten));
    }
    Ok(Tensor::stack(rows, 0))
}

impl Linearization {
    /// The whole Hessian, for small models. The layout is told at [`dense`].
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] above [`DENSE_LIMIT`] parameters; those of [`hvp`](Self::hvp).
    ///
    /// # Cost
    ///
    /// One product per parameter, sixteen at a time as [`hvps`](Self::hvps) takes them.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::tensor::{Device, Tensor};
    /// use burn_func::linearize;
    ///
    /// let device = Device::flex().autodiff();
    /// let model = LinearConfig::new(2, 1).with_bias(false).init(&device);
    /// let x = Tensor::<2>::from_data([[1.0, 2.0]], &device);
    /// let point = linearize(&model, &x, |model: &Linear, x| model.forward(x).powf_scalar(2.0).sum())?;
    /// let hessian: Vec<f32> = point.hessian()?.into_data().to_vec().unwrap();
    /// assert_eq!(hessian, [2.0, 4.0, 4.0, 8.0]); // 2 x x'
    /// # Ok::<(), burn_func::Error>(())
    /// ```
    pub fn hessian(&self) -> Result<Tensor<2>> {
        stacked(self.grad(), |vs| self.hvps(vs))
    }
}
