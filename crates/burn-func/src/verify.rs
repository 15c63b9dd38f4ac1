//! Compares the recorded gradient with forward mode, once per graph.
//!
//! A `detach` leaves no operation in a recording: forward mode differentiates through it, Burn's reverse mode does not.
//! So the derivative of the loss along a direction, by forward mode over the recorded forward pass, must equal the inner
//! product of gradient and direction. The same comparison tests every derivative rule of the forward pass.
//!
//! Does not know: how the gradient was made.

use burn::tensor::{DType, Device};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::compiled::Compiled;
use crate::error::{Error, Result};
use crate::executor::run;
use crate::params::Params;
use crate::value::Value;

/// Checks the graph's gradient at the first point it is linearized at.
pub(crate) fn verify(compiled: &Compiled, device: &Device, inputs: Vec<Value>, grad: &Params) -> Result<()> {
    compiled.verified.get_or_init(|| compare(compiled, device, inputs, grad)).clone()
}

fn compare(compiled: &Compiled, device: &Device, inputs: Vec<Value>, grad: &Params) -> Result<()> {
    let point = &inputs[..grad.specs().len()];
    let direction = direction(grad, point);
    let (primal, linear) = compiled.directional()?;
    let residuals = run(device, &primal, inputs)?.split_off(1);
    let inputs = direction.values().iter().cloned().chain(residuals).collect();
    let jvp = run(device, &linear, inputs)?.first().and_then(Value::first::<f64>).unwrap_or(f64::NAN);
    let expected = grad.dot(&direction);
    if !jvp.is_finite() || !expected.is_finite() {
        return Ok(()); // A loss that is not finite is reported as such, where it is read.
    }
    let tolerance = relative(grad) * grad.norm() * direction.norm();
    match (jvp - expected).abs() <= tolerance {
        true => Ok(()),
        false => Err(Error::GradientMismatch { jvp, expected, tolerance }),
    }
}

/// Rounding of one forward and backward pass, relative to the norms of gradient and direction; what a `detach` hides is
/// larger: about its share of the gradient over the square root of the number of parameters. In f64 it is not 1e-12,
/// since Burn's backward of `x / 3.0` multiplies by the reciprocal in single precision.
fn relative(grad: &Params) -> f64 {
    match grad.values()[0].dtype() {
        DType::F64 => 1e-6,
        DType::F32 => 2e-4,
        _ => 2e-2,
    }
}

/// The gradient's own direction, which carries its whole length, and as much of a random one, which sees the parameters
/// whose gradient a `detach` has taken away altogether.
fn direction(grad: &Params, point: &[Value]) -> Params {
    debug_assert_eq!(point.len(), grad.specs().len());
    let mut random = ChaCha8Rng::seed_from_u64(0x5eed);
    let noise = grad.from_fn(|_, _| random.random_range(-1.0..1.0));
    let unit = |params: &Params| match params.norm() {
        norm if norm > 0.0 && norm.is_finite() => params.scale(1.0 / norm),
        _ => params.clone(),
    };
    unit(&noise).add(&unit(grad))
}
