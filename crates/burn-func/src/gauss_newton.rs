//! Products with the Gauss-Newton matrix: the Hessian without the curvature of the network itself.
//!
//! For a network `z = f(model, batch)` and a loss `l(z, batch)`, the Hessian of the composition is `J' H J` plus the second
//! derivatives of the network weighted with `dl/dz`; J is the Jacobian of the network, H the Hessian of the loss in z. The
//! first term alone is the (generalised) Gauss-Newton matrix.
//!
//! Does not know: how tangents and cotangents are computed.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::batch::Batch;
use crate::compiled::ProgramCache;
use crate::error::{Error, Result};
use crate::params::{ParamSpec, Params};
use crate::random::Key;
use crate::transforms::{Linearization, Traced, finite, trace_with};
use crate::value::Value;
use crate::vector::{TracedVector, VectorLinearization, trace_vector_with};

/// A network and a loss of its output, each recorded once. What is frozen in them is told at [`Traced`].
#[derive(Debug)]
pub struct TracedGaussNewton<B, const D: usize> {
    network: TracedVector<B, D>,
    loss: Traced<B>,
}

/// Records a network `f(model, batch)` and a loss `loss(output, batch)`.
///
/// # Errors
///
/// As [`trace_vector`](crate::trace_vector) for the network and [`trace`](crate::trace()) for the loss, whose only parameter
/// is the output.
pub fn trace_gauss_newton<M, B, F, L, const D: usize>(
    cache: &ProgramCache,
    model: &M,
    batch: &B,
    f: F,
    loss: L,
) -> Result<TracedGaussNewton<B, D>>
where
    M: Module,
    B: Batch,
    F: Fn(&M, B) -> Tensor<D>,
    L: Fn(Tensor<D>, B) -> Tensor<1>,
{
    let network = trace_vector_with(cache, model, batch, f)?;
    let device = Params::from_module(model)?.device().autodiff();
    let shape: [usize; D] = std::array::from_fn(|axis| network.output().shape[axis]);
    let output = Param::from_tensor(Tensor::<D>::zeros(shape, (&device, network.output().dtype)));
    // Burn's `detach` of a parameter itself is still tracked, and `log_softmax` detaches its input: hand it a copy.
    let of_output = |output: &Param<Tensor<D>>, batch| loss(output.val().mul_scalar(1.0), batch);
    let loss = trace_with(cache, &output, batch, of_output)?;
    Ok(TracedGaussNewton { network, loss })
}

impl<B: Batch, const D: usize> TracedGaussNewton<B, D> {
    /// Loss, gradient and Gauss-Newton matrix at a point.
    ///
    /// # Errors
    ///
    /// As [`TracedVector::linearize`] and [`Traced::linearize`].
    ///
    /// # Cost
    ///
    /// One gradient, and the memory of the residuals for as long as the result lives.
    pub fn linearize(&self, at: &Params, batch: &B) -> Result<GaussNewton<D>> {
        let network = self.network.linearize(at, batch)?;
        let specs = self.loss.specs.clone();
        let output = Params::new(specs.clone(), vec![Value::new(network.value().clone())]);
        let loss = self.loss.linearize(&output, batch)?;
        let gradient = network.vjp(&tensor(loss.grad())?)?;
        Ok(GaussNewton { network, loss, gradient, specs })
    }

    /// The same network and loss, drawing their random numbers from another key: the network from `key` itself, the loss
    /// from one folded from it.
    #[must_use]
    pub fn keyed(&self, key: Key) -> Self {
        Self { network: self.network.keyed(key), loss: self.loss.keyed(key.fold(0)) }
    }

    /// The same network and loss on another device: [`Traced::to_device`].
    ///
    /// # Errors
    ///
    /// As [`Traced::to_device`].
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self { network: self.network.to_device(device)?, loss: self.loss.to_device(device)? })
    }
}

/// Loss, gradient and Gauss-Newton matrix `G = J' H J` at a point. The matrix is never built.
///
/// Symmetric; positive semidefinite where the loss is convex in the output (squared error, cross-entropy of logits), unlike
/// the Hessian. It is the Hessian where the network is linear in its parameters, and close to it where residuals are small.
/// For a loss that is a negative log-likelihood of an exponential family in its natural parameters it is the Fisher matrix.
#[derive(Debug)]
pub struct GaussNewton<const D: usize> {
    network: VectorLinearization<D>,
    loss: Linearization,
    gradient: Params,
    specs: Arc<[ParamSpec]>,
}

impl<const D: usize> GaussNewton<D> {
    /// G v. Any number of them may be taken, from any number of threads.
    ///
    /// # Errors
    ///
    /// [`Error::Execution`]; [`Error::Mismatch`] if `v` is of another module; [`Error::TwoDevices`].
    ///
    /// # Cost
    ///
    /// A tangent of the network, a Hessian product of the loss alone, a backward pass: two thirds to four fifths of a product
    /// with the whole Hessian on small networks.
    pub fn product(&self, v: &Params) -> Result<Params> {
        let tangent = Params::new(self.specs.clone(), vec![Value::new(self.network.jvp(v)?)]);
        self.network.vjp(&tensor(&self.loss.hvp(&tangent)?)?)
    }

    /// The loss.
    pub fn loss(&self) -> &Tensor<1> {
        self.loss.loss()
    }

    /// The gradient of the loss in the parameters.
    pub fn gradient(&self) -> &Params {
        &self.gradient
    }

    /// The output of the network.
    pub fn output(&self) -> &Tensor<D> {
        self.network.value()
    }
}

fn tensor<const D: usize>(output: &Params) -> Result<Tensor<D>> {
    let tensor = output.values().first().and_then(Value::tensor);
    tensor.ok_or_else(|| Error::Execution { message: "the loss was recorded for an output of another rank".into() })
}

/// Gauss-Newton matrix at the model's parameters, of a network `f(model, batch)` and a loss `loss(output, batch)`.
///
/// To use it at many points, [`trace_gauss_newton`] once.
///
/// # Errors
///
/// As [`trace_gauss_newton`] and [`TracedGaussNewton::linearize`]; [`Error::NonFinite`].
///
/// # Example
///
/// ```
/// use burn::nn::loss::MseLoss;
/// use burn::nn::loss::Reduction;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use burn_func::gauss_newton;
///
/// let device = Device::flex().autodiff();
/// let model = LinearConfig::new(3, 2).init(&device);
/// let batch = (Tensor::<2>::ones([8, 3], &device), Tensor::<2>::zeros([8, 2], &device));
///
/// let network = |model: &Linear, (x, _): (Tensor<2>, Tensor<2>)| model.forward(x).tanh();
/// let loss = |output: Tensor<2>, (_, y): (Tensor<2>, Tensor<2>)| MseLoss::new().forward(output, y, Reduction::Mean);
/// let point = gauss_newton(&model, &batch, network, loss)?;
/// let v = point.gradient();
/// assert!(v.dot(&point.product(v)?) >= 0.0); // never negative for a convex loss
/// # Ok::<(), burn_func::Error>(())
/// ```
///
/// # Source
///
/// Schraudolph, Fast curvature matrix-vector products for second-order gradient descent, Neural Computation 14, 2002;
/// Martens, New insights and perspectives on the natural gradient method, JMLR 21, 2020.
pub fn gauss_newton<M, B, F, L, const D: usize>(model: &M, batch: &B, f: F, loss: L) -> Result<GaussNewton<D>>
where
    M: Module,
    B: Batch,
    F: Fn(&M, B) -> Tensor<D>,
    L: Fn(Tensor<D>, B) -> Tensor<1>,
{
    let traced = trace_gauss_newton(&ProgramCache::new(), model, batch, f, loss)?;
    let point = traced.linearize(&Params::from_module(model)?, batch)?;
    finite(point.loss())?;
    Ok(point)
}
