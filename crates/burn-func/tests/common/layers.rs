//! Holds a layer in a closure against differences of its gradient and against Burn's own gradient.
#![allow(dead_code, missing_docs)]

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Int, Tensor};
use burn_func::{Batch, BatchMapper, Params, Traced, trace};

use super::{relative, waves};

/// Central differences of the gradient along `v`, extrapolated from two steps to fourth order.
pub fn differences<B: Batch>(traced: &Traced<B>, at: &Params, batch: &B, v: &Params, step: f64) -> Params {
    let grad = |step: f64| traced.value_and_grad(&at.axpy(step, v), batch).unwrap().1;
    let central = |step: f64| grad(step).sub(&grad(-step)).scale(0.5 / step);
    central(step).scale(4.0 / 3.0).axpy(-1.0 / 3.0, &central(2.0 * step))
}

/// Rounding of the differences is about 1e-10 relative; 1e-8 leaves room for curvature and is far below a wrong term. The
/// gradient must be Burn's own to the last bit: the same operations run on the same kernels.
pub fn check<M: Module, B: Batch>(name: &str, model: &M, batch: &B, f: impl Fn(&M, B) -> Tensor<1>) {
    check_to(1e-8, 2e-5, name, model, batch, f);
}

pub fn check_to<M: Module, B: Batch>(
    tolerance: f64,
    step: f64,
    name: &str,
    model: &M,
    batch: &B,
    f: impl Fn(&M, B) -> Tensor<1>,
) {
    let traced = trace(model, batch, &f).unwrap_or_else(|error| panic!("{name}: {error}"));
    let at = Params::from_module(model).unwrap();
    let point = traced.linearize(&at, batch).unwrap_or_else(|error| panic!("{name}: {error}"));
    let v = waves(&at, 1.0, 100);
    let product = point.hvp(&v).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(product.norm() > 1e-3, "{name}: nothing to compare");
    let error = relative(&product, &differences(&traced, &at, batch, &v, step));
    println!("{name}: {error:.1e}");
    assert!(error <= tolerance, "{name}: HVP off by {error:.2e}");

    let eager = f(model, batch.map(&mut Same));
    assert_eq!(eager.to_data(), point.loss().to_data(), "{name}: loss");
    let grads = GradientsParams::from_grads(eager.backward(), model);
    model.visit(&mut Equal { name, found: point.grad(), grads });
}

/// Copies a batch.
struct Same;

impl BatchMapper for Same {
    fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        tensor.clone()
    }

    fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
        tensor.clone()
    }

    fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool> {
        tensor.clone()
    }
}

/// Compares gradients, parameter by parameter.
struct Equal<'a> {
    name: &'a str,
    found: &'a Params,
    grads: GradientsParams,
}

impl ModuleVisitor for Equal<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(spec) = self.found.specs().iter().find(|spec| spec.id == param.id) else { return };
        let (found, expected) = (self.found.get::<D>(&spec.path).unwrap(), self.grads.get::<D>(param.id));
        // What the loss does not touch has no gradient there, and zeros here.
        let expected = expected.unwrap_or_else(|| param.val().inner().zeros_like());
        assert_eq!(found.to_data(), expected.to_data(), "{}: gradient of {}", self.name, spec.path);
    }
}

/// A loss with a curvature that no layer takes away: cubic and quadratic, and different for every element.
pub fn energy<const D: usize>(y: Tensor<D>) -> Tensor<1> {
    let n = y.shape().num_elements();
    let y = y.reshape([n]);
    let weights = Tensor::<1, Int>::arange(0..n as i64, &y.device()).float().cast(y.dtype()).mul_scalar(0.37).sin();
    (y.clone() * y.clone() * (y + weights)).mean()
}
