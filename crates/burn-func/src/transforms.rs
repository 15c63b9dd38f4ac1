//! The public functions.
//!
//! Does not know: formulas.

use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Device, Int, Tensor};

use crate::batch::{Batch, BatchMapper, Output};
use crate::compiled::{Compiled, ProgramCache};
use crate::error::{Error, Result};
use crate::executor::run;
use crate::graph::Graph;
use crate::linearize::Linearized;
use crate::params::{ParamSpec, Params};
use crate::trace::{Recording, Signature, record};
use crate::value::{TensorSpec, Value};
use crate::verify::verify;

/// A closure recorded once, to be evaluated and differentiated at any point and on any batch of the same shapes.
///
/// # What is frozen
///
/// The closure ran once. What it read besides parameters and batch stays as it was then: the module's buffers and frozen
/// parameters, its training flags, tensors the closure made, numbers, the branch an `if` took. A tensor captured from
/// outside lives on another device than the placeholders and cannot be used: pass it in with the batch.
#[derive(Debug)]
pub struct Traced<B, A = ()> {
    compiled: Arc<Compiled>,
    specs: Arc<[ParamSpec]>,
    constants: Vec<Value>,
    batch: Signature,
    aux: A,
    device: Device,
    marker: std::marker::PhantomData<fn(B)>,
}

/// Records `f(model, batch)`, forward and backward.
///
/// The closure is run once on placeholders of the shapes of `model` and `batch`; nothing is computed, and the model is
/// left as it is, running statistics included. In which mode layers are is what their training flags say: a model made on
/// an autodiff device is in training, and batch normalisation then takes the statistics of the batch.
///
/// # Errors
///
/// [`Error::NotAutodiff`], [`Error::TwoDevices`], [`Error::Closure`], [`Error::NotScalar`], [`Error::NoGradient`],
/// [`Error::ForeignOutput`], [`Error::Unsupported`].
///
/// # Cost
///
/// Nothing is computed, but every operation is recorded and compared with the others: 6 to 7 gradients' worth for a
/// 1-40-40-1 network on 10 points, 0.02 gradients for a four-block convolutional network on 5 images of 84x84
/// (`cargo bench --bench hvp`, with programs from a cache).
///
/// # Example
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use burn_func::{Params, trace};
///
/// let device = Device::flex().autodiff();
/// let model = LinearConfig::new(2, 1).init(&device);
/// let x = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
/// let traced = trace(&model, &x, |model: &Linear, x| model.forward(x).powf_scalar(2.0).mean())?;
///
/// let at = Params::from_module(&model)?;
/// let point = traced.linearize(&at, &x)?;
/// let product = point.hvp(point.grad())?; // the Hessian times the gradient
/// assert_eq!(product.len(), 3);
/// # Ok::<(), burn_func::Error>(())
/// ```
pub fn trace<M, B, O, F>(model: &M, batch: &B, f: F) -> Result<Traced<B, O::Aux>>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    trace_with(&ProgramCache::new(), model, batch, f)
}

/// As [`trace`], with programs taken from a cache where the same graph was recorded before.
pub fn trace_with<M, B, O, F>(cache: &ProgramCache, model: &M, batch: &B, f: F) -> Result<Traced<B, O::Aux>>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    let params = Params::from_module(model)?;
    let device = params.device();
    let Recording { graph, constants, batch, aux } = record(model, &params, batch, f)?;
    let compiled = cache.compiled(&graph, params.specs().len());
    let constants = constants.into_iter().map(|data| Value::from_data(data, &device)).collect();
    let specs = params.shared_specs().clone();
    Ok(Traced { compiled, specs, constants, batch, aux, device, marker: std::marker::PhantomData })
}

impl<B: Batch, A: Batch> Traced<B, A> {
    /// Loss and auxiliary tensors at a point. Runs the forward pass alone.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for other shapes or types than were traced; [`Error::NoExecutor`], [`Error::Execution`].
    pub fn value(&self, at: &Params, batch: &B) -> Result<(Tensor<1>, A)> {
        let outputs = run(&self.device, self.compiled.forward(), self.inputs(at, batch)?)?;
        let mut outputs = outputs.into_iter();
        Ok((scalar(outputs.next())?, self.aux(outputs)))
    }

    /// Loss, gradient and auxiliary tensors at a point. Does not wait for the device.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value).
    pub fn value_and_grad(&self, at: &Params, batch: &B) -> Result<(Tensor<1>, Params, A)> {
        let outputs = run(&self.device, self.compiled.gradient(), self.inputs(at, batch)?)?;
        let mut outputs = outputs.into_iter();
        let loss = scalar(outputs.next())?;
        let grads = outputs.by_ref().take(self.specs.len()).collect();
        Ok((loss, Params::new(self.specs.clone(), grads), self.aux(outputs)))
    }

    /// Loss and gradient at a point, and the linear map of the gradient there: products with the Hessian cost no forward
    /// or backward pass of their own. Does not wait for the device, except as told below.
    ///
    /// The first linearization of a graph also computes the derivative of the loss along one direction, near the point, by
    /// forward mode and compares it with the gradient: that finds a `detach` of something that depends on a parameter.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value), and [`Error::Unsupported`], [`Error::GradientMismatch`].
    ///
    /// # Cost
    ///
    /// One gradient, and the memory of the residuals for as long as the result lives.
    pub fn linearize(&self, at: &Params, batch: &B) -> Result<Linearization> {
        let programs = self.compiled.linearized()?;
        let inputs = self.inputs(at, batch)?;
        let mut outputs = run(&self.device, &programs.primal, inputs.clone())?;
        let residuals = outputs.split_off(outputs.len() - programs.residuals);
        let mut outputs = outputs.into_iter();
        let loss = scalar(outputs.next())?;
        let grad = Params::new(self.specs.clone(), outputs.collect());
        verify(&self.compiled, &self.device, &inputs, &grad)?;
        let (compiled, device) = (self.compiled.clone(), self.device.clone());
        Ok(Linearization { compiled, device, loss, grad, residuals })
    }

    /// Whether a batch has the shapes, types and structure that were traced.
    pub fn accepts(&self, batch: &B) -> bool {
        let mut gather = Gather { values: Vec::new(), structure: Vec::new() };
        batch.map(&mut gather);
        self.check_batch(&gather).is_ok()
    }

    /// The recorded graph. Outputs: loss, one gradient per parameter, auxiliary tensors.
    pub fn graph(&self) -> &Graph {
        &self.compiled.graph
    }

    /// The two graphs that [`linearize`](Self::linearize) runs: loss and gradients, and the tangents of the gradients.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`].
    pub fn linearized_graph(&self) -> Result<Linearized> {
        self.compiled.linearized_graph()
    }

    /// Operations, arithmetic and memory traffic of one gradient, and of one Hessian-vector product at a linearized
    /// point.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`].
    pub fn costs(&self) -> Result<Costs> {
        let (gradient, hvp) = (self.compiled.gradient(), &self.compiled.linearized()?.hvp);
        Ok(Costs { gradient: (gradient.operations(), gradient.cost()), hvp: (hvp.operations(), hvp.cost()) })
    }

    /// The parameters, in the order in which points and gradients hold them.
    pub fn specs(&self) -> &[ParamSpec] {
        &self.specs
    }

    fn aux(&self, outputs: impl Iterator<Item = Value>) -> A {
        self.aux.map(&mut Fill { values: outputs })
    }

    /// Values for the inputs of a program: parameters, batch, constants.
    fn inputs(&self, at: &Params, batch: &B) -> Result<Vec<Value>> {
        if at.specs().len() != self.specs.len() {
            let found = format!("{} parameters", at.specs().len());
            return Err(Error::Mismatch { what: "the point".into(), found, expected: self.specs.len().to_string() });
        }
        for (value, param) in at.values().iter().zip(self.specs.iter()) {
            if value.spec() != param.spec {
                return Err(mismatch(format!("parameter `{}`", param.path), &value.spec(), &param.spec));
            }
        }
        let mut gather = Gather { values: Vec::new(), structure: Vec::new() };
        batch.map(&mut gather);
        self.check_batch(&gather)?;
        let values = at.values().iter().cloned().chain(gather.values).chain(self.constants.iter().cloned());
        Ok(values.collect())
    }

    fn check_batch(&self, found: &Gather) -> Result<()> {
        if found.structure != self.batch.structure || found.values.len() != self.batch.tensors.len() {
            let (found, expected) = (found.values.len(), self.batch.tensors.len());
            return Err(Error::Mismatch {
                what: "the structure of the batch".into(),
                found: format!("{found} tensors"),
                expected: format!("{expected} tensors in another structure"),
            });
        }
        for (at, (value, expected)) in found.values.iter().zip(&self.batch.tensors).enumerate() {
            if value.spec() != *expected {
                return Err(mismatch(format!("batch tensor {at}"), &value.spec(), expected));
            }
            if value.device() != self.device {
                return Err(Error::TwoDevices {
                    what: format!("batch tensor {at}"),
                    found: format!("{:?}", value.device()),
                    expected: format!("{:?}", self.device),
                });
            }
        }
        Ok(())
    }
}

/// Size of the programs of a traced closure: number of operations, and their cost.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// One gradient.
    pub gradient: (usize, crate::rules::Cost),
    /// One Hessian-vector product at a linearized point.
    pub hvp: (usize, crate::rules::Cost),
}

/// A loss linearized at a point: its value, its gradient, and the gradient's derivative as a linear map.
#[derive(Debug)]
pub struct Linearization {
    compiled: Arc<Compiled>,
    device: Device,
    loss: Tensor<1>,
    grad: Params,
    residuals: Vec<Value>,
}

impl Linearization {
    /// The loss.
    pub fn loss(&self) -> &Tensor<1> {
        &self.loss
    }

    /// The gradient.
    pub fn grad(&self) -> &Params {
        &self.grad
    }

    /// The Hessian times a vector. Any number of them may be taken, from any number of threads.
    ///
    /// # Errors
    ///
    /// [`Error::Execution`]; [`Error::Mismatch`] if `v` is of another module.
    ///
    /// # Cost
    ///
    /// Between one and two gradients; exactly what [`Traced::costs`] says.
    pub fn hvp(&self, v: &Params) -> Result<Params> {
        for (value, param) in v.values().iter().zip(self.grad.specs()) {
            if value.spec() != param.spec {
                return Err(mismatch(format!("the vector at `{}`", param.path), &value.spec(), &param.spec));
            }
        }
        let programs = self.compiled.linearized()?;
        let inputs = v.values().iter().chain(&self.residuals).cloned().collect();
        let outputs = run(&self.device, &programs.hvp, inputs)?;
        Ok(Params::new(self.grad.shared_specs().clone(), outputs))
    }

    /// Bytes that the residuals keep alive. Buffers shared with parameters or batch count in full.
    pub fn residual_bytes(&self) -> usize {
        self.residuals.iter().map(Value::bytes).sum()
    }
}

/// Loss and gradient of `f(model, batch)`, as Burn's optimizers take them.
///
/// # Errors
///
/// As [`trace`] and [`Traced::value_and_grad`]; [`Error::NonFinite`].
pub fn value_and_grad<M, B, O, F>(model: &M, batch: &B, f: F) -> Result<(f64, GradientsParams, O::Aux)>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    let traced = trace(model, batch, f)?;
    let (loss, grad, aux) = traced.value_and_grad(&Params::from_module(model)?, batch)?;
    Ok((finite(&loss)?, grad.into_grads(), aux))
}

/// Loss, gradient and Hessian of `f(model, batch)` at the model's parameters: see [`Traced::linearize`].
///
/// # Errors
///
/// As [`trace`] and [`Traced::linearize`]; [`Error::NonFinite`].
pub fn linearize<M, B, O, F>(model: &M, batch: &B, f: F) -> Result<Linearization>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    let point = trace(model, batch, f)?.linearize(&Params::from_module(model)?, batch)?;
    finite(point.loss())?;
    Ok(point)
}

/// The Hessian of `f(model, batch)` times a vector, by forward mode over reverse mode.
///
/// For more than one product at a point, [`linearize`] once.
///
/// # Errors
///
/// As [`linearize`] and [`Linearization::hvp`].
pub fn hvp<M, B, O, F>(model: &M, batch: &B, f: F, v: &Params) -> Result<Params>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    linearize(model, batch, f)?.hvp(v)
}

/// The loss as a number, if it is one. Waits for the device.
///
/// # Errors
///
/// [`Error::NonFinite`].
pub fn finite(loss: &Tensor<1>) -> Result<f64> {
    let loss: f64 = loss.clone().into_scalar();
    if loss.is_finite() { Ok(loss) } else { Err(Error::NonFinite { loss }) }
}

fn scalar(value: Option<Value>) -> Result<Tensor<1>> {
    let value = value.ok_or_else(|| Error::Execution { message: "a program without a loss".into() })?;
    value.tensor().ok_or_else(|| Error::NotScalar { shape: value.spec().shape })
}

fn mismatch(what: String, found: &TensorSpec, expected: &TensorSpec) -> Error {
    Error::Mismatch { what, found: found.to_string(), expected: expected.to_string() }
}

/// Collects the tensors of a batch.
struct Gather {
    values: Vec<Value>,
    structure: Vec<usize>,
}

impl BatchMapper for Gather {
    fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        self.values.push(Value::new(tensor.clone()));
        tensor.clone()
    }

    fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
        self.values.push(Value::new(tensor.clone()));
        tensor.clone()
    }

    fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool> {
        self.values.push(Value::new(tensor.clone()));
        tensor.clone()
    }

    fn structure(&mut self, size: usize) {
        self.structure.push(size);
    }
}

/// Puts computed tensors into the structure of the auxiliary output.
struct Fill<I> {
    values: I,
}

impl<I: Iterator<Item = Value>> Fill<I> {
    fn next(&mut self) -> Value {
        self.values.next().expect("a program hands back every auxiliary tensor that was recorded")
    }
}

macro_rules! filled {
    ($self:ident) => {
        $self.next().tensor().expect("an auxiliary tensor has the rank it was recorded with")
    };
}

impl<I: Iterator<Item = Value>> BatchMapper for Fill<I> {
    fn float<const D: usize>(&mut self, _: &Tensor<D>) -> Tensor<D> {
        filled!(self)
    }

    fn int<const D: usize>(&mut self, _: &Tensor<D, Int>) -> Tensor<D, Int> {
        filled!(self)
    }

    fn bool<const D: usize>(&mut self, _: &Tensor<D, Bool>) -> Tensor<D, Bool> {
        filled!(self)
    }
}
