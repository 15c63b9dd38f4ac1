//! Diagonal and trace of a linear map from random probes, with their standard errors.
//!
//! A vector `z` of random signs has `E[z z'] = I`, so that `E[z * (A z)]` is the diagonal of A and `E[z' A z]` its trace.
//! What a probe adds to the truth comes from the elements off the diagonal: for a diagonal map one probe is exact.
//!
//! Does not know: what the map is.

use crate::error::{Error, Result};
use crate::params::Params;
use crate::transforms::Linearization;

/// An estimate of the diagonal of a linear map.
#[derive(Clone, Debug)]
pub struct DiagonalEstimate {
    /// The mean over the probes, which is free of bias.
    pub value: Params,
    /// Standard error of every element of `value`, by the spread of the probes; infinite after a single one.
    pub standard_error: Params,
    /// Products taken.
    pub probes: usize,
}

/// An estimate of the trace of a linear map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceEstimate {
    /// The mean over the probes, which is free of bias.
    pub value: f64,
    /// Standard error of `value`, by the spread of the probes; infinite after a single one.
    pub standard_error: f64,
    /// Products taken.
    pub probes: usize,
}

/// Estimates the diagonal of a linear map. `like` gives the shapes and is not read; the same `seed` gives the same probes
/// anywhere.
///
/// The variance of element i is the sum of the squares of the other elements of row i, over `probes`.
///
/// # Errors
///
/// [`Error::Argument`] for no probes; [`Error::NonFiniteValue`]; those of the map.
///
/// # Cost
///
/// One product per probe. Waits for the device once.
///
/// # Source
///
/// Bekas, Kokiopoulou and Saad, An estimator for the diagonal of a matrix, Applied Numerical Mathematics 57, 2007.
pub fn estimate_diagonal(
    like: &Params,
    probes: usize,
    seed: u64,
    map: impl Fn(&Params) -> Result<Params>,
) -> Result<DiagonalEstimate> {
    check(probes)?;
    let (mut mean, mut squares) = (like.zeros_like(), like.zeros_like());
    for probe in 0..probes {
        let z = like.rademacher(seed, probe as u64);
        let sample = z.mul(&map(&z)?);
        // Welford's update: sums of squared deviations without cancellation.
        let deviation = sample.sub(&mean);
        mean = mean.axpy(1.0 / (probe + 1) as f64, &deviation);
        squares = squares.add(&deviation.mul(&sample.sub(&mean)));
    }
    if !mean.norm().is_finite() {
        return Err(Error::NonFiniteValue { what: "the estimate of the diagonal".into() });
    }
    let standard_error = match probes {
        1 => like.from_fn(|_, _| f64::INFINITY),
        _ => squares.scale(1.0 / (probes * (probes - 1)) as f64).sqrt(),
    };
    Ok(DiagonalEstimate { value: mean, standard_error, probes })
}

/// Estimates the trace of a linear map. `like` gives the shapes and is not read; the same `seed` gives the same probes
/// anywhere.
///
/// For a symmetric map the variance is twice the sum of the squares of the elements off the diagonal, over `probes`.
///
/// # Errors
///
/// [`Error::Argument`] for no probes; [`Error::NonFiniteValue`]; those of the map.
///
/// # Cost
///
/// One product per probe. Waits for the device after each.
///
/// # Source
///
/// Hutchinson, A stochastic estimator of the trace of the influence matrix, Communications in Statistics 18, 1989.
pub fn estimate_trace(
    like: &Params,
    probes: usize,
    seed: u64,
    map: impl Fn(&Params) -> Result<Params>,
) -> Result<TraceEstimate> {
    check(probes)?;
    let (mut mean, mut squares) = (0.0, 0.0);
    for probe in 0..probes {
        let z = like.rademacher(seed, probe as u64);
        let sample = z.dot(&map(&z)?);
        let deviation = sample - mean;
        mean += deviation / (probe + 1) as f64;
        squares += deviation * (sample - mean);
    }
    if !mean.is_finite() {
        return Err(Error::NonFiniteValue { what: "the estimate of the trace".into() });
    }
    let standard_error = match probes {
        1 => f64::INFINITY,
        _ => (squares / (probes * (probes - 1)) as f64).sqrt(),
    };
    Ok(TraceEstimate { value: mean, standard_error, probes })
}

fn check(probes: usize) -> Result<()> {
    match probes {
        0 => Err(Error::Argument { what: "the number of probes", problem: "must be at least one".into() }),
        _ => Ok(()),
    }
}

impl Linearization {
    /// The diagonal of the Hessian from random probes: see [`estimate_diagonal`].
    ///
    /// # Errors
    ///
    /// As [`estimate_diagonal`] and [`hvp`](Self::hvp).
    ///
    /// # Example
    ///
    /// ```
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::tensor::{Device, Tensor};
    /// use burn_func::linearize;
    ///
    /// let device = Device::flex().autodiff();
    /// let model = LinearConfig::new(2, 1).init(&device);
    /// let x = Tensor::<2>::from_data([[1.0, 2.0], [3.0, -1.0]], &device);
    /// let point = linearize(&model, &x, |model: &Linear, x| model.forward(x).powf_scalar(2.0).mean())?;
    /// let diagonal = point.hessian_diag(16, 0)?;
    /// println!("{:?} +- {:?}", diagonal.value.to_f64(), diagonal.standard_error.to_f64());
    /// let trace = point.hessian_trace(16, 0)?; // 10 + 5 + 2
    /// assert!((trace.value - 17.0).abs() <= 6.0 * trace.standard_error);
    /// # Ok::<(), burn_func::Error>(())
    /// ```
    pub fn hessian_diag(&self, probes: usize, seed: u64) -> Result<DiagonalEstimate> {
        estimate_diagonal(self.grad(), probes, seed, |v| self.hvp(v))
    }

    /// The trace of the Hessian, the sum of its eigenvalues, from random probes: see [`estimate_trace`].
    ///
    /// # Errors
    ///
    /// As [`estimate_trace`] and [`hvp`](Self::hvp).
    pub fn hessian_trace(&self, probes: usize, seed: u64) -> Result<TraceEstimate> {
        estimate_trace(self.grad(), probes, seed, |v| self.hvp(v))
    }
}
