//! Compares the recorded gradient with forward mode, once per graph.
//!
//! A `detach` leaves no operation in a recording: forward mode differentiates through it, Burn's reverse mode does not.
//! So the derivative of the loss along a direction, by forward mode over the recorded forward pass, must equal the inner
//! product of gradient and direction. The same comparison tests every derivative rule of the forward pass.
//!
//! Does not know: how the gradient was made.

use burn::tensor::{DType, Device};
use burn_ir::{ModuleOperationIr, OperationIr};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::compiled::Compiled;
use crate::error::{Error, Result};
use crate::executor::{backend_name, guarded, run};
use crate::params::Params;
use crate::program::Program;
use crate::value::Value;

/// Checks the graph's gradient, the first time it is linearized, near the point where that happens.
pub(crate) fn verify(compiled: &Compiled, device: &Device, inputs: &[Value], grad: &Params) -> Result<()> {
    if let Some(known) = compiled.verified.get() {
        return known.clone();
    }
    // Off the domain of the loss (a logarithm, say) the point itself is taken. If nothing is finite there either, the loss
    // is reported where it is read, and the next point decides.
    // Numbers are read here, which is where a device that failed before says so.
    let outcome = guarded(|| match compare(compiled, device, &near(inputs, grad), grad)? {
        None => compare(compiled, device, inputs, grad),
        some => Ok(some),
    })??;
    outcome.map_or(Ok(()), |outcome| compiled.verified.get_or_init(|| outcome).clone())
}

/// The inputs with the parameters moved by a tenth of their length, or of one where they are small. At a minimum the
/// gradient vanishes and the rounding of its terms does not, so that nothing could be told apart there.
pub(crate) fn near(inputs: &[Value], like: &Params) -> Vec<Value> {
    let (point, rest) = inputs.split_at(like.specs().len());
    let point = Params::new(like.shared_specs().clone(), point.to_vec());
    let noise = noise(like, 1);
    let moved = point.axpy(0.1 * (1.0 + point.norm()) / noise.norm(), &noise);
    moved.values().iter().chain(rest).cloned().collect()
}

/// Whether forward mode and gradient agree at a point; `None` if one of them is not finite.
fn compare(compiled: &Compiled, device: &Device, inputs: &[Value], like: &Params) -> Result<Option<Result<()>>> {
    let count = like.specs().len();
    let mut outputs = run(device, compiled.gradient(), inputs.to_vec())?;
    let grad = Params::new(like.shared_specs().clone(), outputs.drain(1..=count).collect());
    let direction = unit(&noise(like, 2)).add(&unit(&grad));
    let programs = compiled.directional()?;
    let mut outputs = run(device, &programs.primal, inputs.to_vec())?;
    let residuals = outputs.split_off(outputs.len() - programs.residuals);
    let inputs = direction.values().iter().cloned().chain(residuals).collect();
    let jvp = run(device, &programs.linear, inputs)?.first().map_or(f64::NAN, Value::scalar);
    let expected = grad.dot(&direction);
    let tolerance = relative(compiled.gradient(), &grad) * grad.norm() * direction.norm();
    if !(jvp.is_finite() && expected.is_finite() && tolerance.is_finite()) {
        return Ok(None);
    }
    let agree = (jvp - expected).abs() <= tolerance;
    Ok(Some(if agree { Ok(()) } else { Err(Error::GradientMismatch { jvp, expected, tolerance }) }))
}

/// Rounding of one forward and backward pass, relative to the norms of gradient and direction; what a `detach` hides is
/// larger: about its share of the gradient over the square root of the number of parameters. In f64 it is not 1e-12,
/// since Burn's backward of `x / 3.0` multiplies by the reciprocal in single precision. Off the CPU, products of matrices
/// may run on tensor cores, which keep ten bits of a single-precision factor.
fn relative(gradient: &Program, grad: &Params) -> f64 {
    match grad.values()[0].dtype() {
        DType::F64 if !gradient.ops.iter().any(single) => 1e-6,
        DType::F64 | DType::F32 if on_cpu(&grad.device()) => 2e-4,
        DType::F64 | DType::F32 => 5e-3,
        _ => 2e-2,
    }
}

/// Whether an operation computes in single precision in the midst of doubles, as some of Burn do by a cast, and the
/// backward pass of a deformable convolution on Flex without one.
fn single(op: &OperationIr) -> bool {
    let deformable = matches!(op, OperationIr::Module(ModuleOperationIr::DeformableConv2dBackward(_)));
    deformable || op.outputs().any(|out| out.dtype == DType::F32)
}

fn on_cpu(device: &Device) -> bool {
    matches!(backend_name(device).as_str(), "Flex" | "NdArray")
}

fn noise(like: &Params, seed: u64) -> Params {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    like.from_fn(|_, _| random.random_range(-1.0..1.0))
}

/// Of length one. The check's direction is the gradient's own, which carries its whole length, and as much of a random
/// one, which sees the parameters whose gradient a `detach` has taken away altogether.
fn unit(params: &Params) -> Params {
    match params.norm() {
        norm if norm > 0.0 && norm.is_finite() => params.scale(1.0 / norm),
        _ => params.clone(),
    }
}
