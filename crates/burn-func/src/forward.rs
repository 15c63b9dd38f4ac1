//! The derivative of the loss along a direction, by forward mode alone.
//!
//! Does not know: gradients, except that forward mode must agree with them once per graph.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::batch::{Batch, Output};
use crate::error::{Error, Result};
use crate::executor::run;
use crate::params::Params;
use crate::transfer::number;
use crate::transforms::{Traced, finite, scalar, trace};
use crate::value::Value;
use crate::verify::verify;

impl<B: Batch, A: Batch> Traced<B, A> {
    /// Loss, its derivative along `v`, and auxiliary tensors, at a point. Runs no backward pass; does not wait for the
    /// device, except as told below.
    ///
    /// The derivative along `v` is `<gradient, v>`. The first call on a graph is checked against the gradient, as the first
    /// [`linearize`](Self::linearize) is: forward mode sees through a `detach`, the gradient does not.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value); [`Error::Mismatch`] if `v` is of another module;
    /// [`Error::TwoDevices`], [`Error::Unsupported`], [`Error::GradientMismatch`].
    ///
    /// # Cost
    ///
    /// About a gradient: two to three forward passes. What the forward pass saves for the tangents is held for the time of
    /// the call.
    ///
    /// # Source
    ///
    /// Wengert, A simple automatic derivative evaluation program, 1964.
    pub fn jvp(&self, at: &Params, batch: &B, v: &Params) -> Result<(Tensor<1>, Tensor<1>, A)> {
        v.expect_like("the direction", &self.specs, &self.device)?;
        let inputs = self.inputs(at, batch)?;
        verify(&self.compiled, &self.device, &inputs, at)?;
        self.jvp_unverified(inputs, v)
    }

    pub(crate) fn jvp_unverified(&self, inputs: Vec<Value>, v: &Params) -> Result<(Tensor<1>, Tensor<1>, A)> {
        let programs = self.compiled.directional()?;
        let mut outputs = run(&self.device, &programs.primal, inputs)?;
        let residuals = outputs.split_off(outputs.len() - programs.residuals);
        let inputs = v.values().iter().cloned().chain(residuals).collect();
        let derivative = run(&self.device, &programs.linear, inputs)?;
        let mut outputs = outputs.into_iter();
        Ok((scalar(outputs.next())?, scalar(derivative.into_iter().next())?, self.aux(outputs)))
    }
}

/// Loss of `f(model, batch)`, its derivative along `v`, and auxiliary tensors: see [`Traced::jvp`].
///
/// # Errors
///
/// As [`trace`] and [`Traced::jvp`]; [`Error::NonFinite`] for the loss,
/// [`Error::NonFiniteValue`] for the derivative.
///
/// # Example
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use burn_func::{Params, jvp, value_and_grad};
///
/// let device = Device::flex().autodiff();
/// let model = LinearConfig::new(2, 1).init(&device);
/// let x = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
/// let loss = |model: &Linear, x: Tensor<2>| model.forward(x).powf_scalar(2.0).mean();
///
/// let v = Params::from_module(&model)?.normal(0, 0); // a random direction
/// let (value, derivative, ()) = jvp(&model, &x, loss, &v)?;
/// assert!(value >= 0.0 && derivative.is_finite());
/// # Ok::<(), burn_func::Error>(())
/// ```
pub fn jvp<M, B, O, F>(model: &M, batch: &B, f: F, v: &Params) -> Result<(f64, f64, O::Aux)>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    let (loss, derivative, aux) = trace(model, batch, f)?.jvp(&Params::from_module(model)?, batch, v)?;
    let (loss, derivative) = (finite(&loss)?, number(&derivative)?);
    match derivative.is_finite() {
        true => Ok((loss, derivative, aux)),
        false => Err(Error::NonFiniteValue { what: "the derivative of the loss".into() }),
    }
}
