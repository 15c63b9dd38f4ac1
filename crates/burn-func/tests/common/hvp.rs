//! Hessian-vector products against central differences of the gradient.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_func::{Batch, Params, Traced, trace};

use super::{relative, waves};

/// Central differences of the gradient along `v`, extrapolated from two steps to fourth order.
fn differences<B: Batch>(traced: &Traced<B>, at: &Params, batch: &B, v: &Params) -> Params {
    let grad = |step: f64| traced.value_and_grad(&at.axpy(step, v), batch).unwrap().1;
    let central = |step: f64| grad(step).sub(&grad(-step)).scale(0.5 / step);
    let step = 2e-5;
    central(step).scale(4.0 / 3.0).axpy(-1.0 / 3.0, &central(2.0 * step))
}

/// Rounding of the differences is about 1e-11 relative; 1e-8 leaves room for curvature and is far below a wrong term.
pub fn check_hvp<M: Module, B: Batch>(name: &str, model: &M, batch: &B, f: impl Fn(&M, B) -> Tensor<1>) {
    let traced = trace(model, batch, f).unwrap_or_else(|error| panic!("{name}: {error}"));
    let at = Params::from_module(model).unwrap();
    let point = traced.linearize(&at, batch).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (u, v) = (waves(&at, 1.0, 1), waves(&at, 1.0, 100));
    let (hu, hv) = (point.hvp(&u).unwrap(), point.hvp(&v).unwrap());
    let error = relative(&hv, &differences(&traced, &at, batch, &v));
    println!("{name}: {error:.1e}");
    assert!(error <= 1e-8, "{name}: HVP off by {error:.2e}");
    let (uhv, vhu) = (u.dot(&hv), v.dot(&hu));
    assert!((uhv - vhu).abs() <= 1e-11 * hv.norm() * u.norm(), "{name}: not symmetric, {uhv} and {vhu}");
}
