//! The public functions.
//!
//! Does not know: formulas.

use std::sync::{Arc, OnceLock};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Bool, DType, Device, Int, Tensor};

use crate::batch::{Batch, BatchMapper, Output};
use crate::buffers::{Buffers, float_tensors};
use crate::compiled::{Compiled, ProgramCache};
use crate::costs::{Costs, ProgramCosts};
use crate::error::{Error, Result};
use crate::executor::{guarded, run};
use crate::filter::Filter;
use crate::graph::{Graph, Role};
use crate::legalize::{is_integer, legalized};
use crate::linearize::Linearized;
use crate::lower::plain;
use crate::params::{ParamSpec, Params};
use crate::program::Program;
use crate::random::{Draw, Key};
use crate::residuals::Residuals;
use crate::trace::{Recording, Signature, record};
use crate::transfer::{converted, moved, number, same_device, uploaded};
use crate::value::{TensorSpec, Value};
use crate::verify::verify;

/// A closure recorded once, to be evaluated and differentiated at any point and on any batch of the same shapes.
///
/// # What is frozen
///
/// The closure ran once. What it read besides parameters and batch stays as it was then: the module's buffers and frozen
/// parameters, its training flags, tensors the closure made, numbers, the branch an `if` took. A tensor captured from
/// outside lives on another device than the placeholders and cannot be used: pass it in with the batch.
/// [`with_frozen_of`](Self::with_frozen_of) takes buffers and frozen parameters from another state of the module.
///
/// # Randomness
///
/// A traced closure is a function: random operations in it (dropout, noise) draw from its [`Key`], the same numbers at
/// every evaluation, whatever the device and the number of threads. So a linearization, its products and a
/// [`value`](Self::value) at the same point see the same mask. For other numbers take another key, which costs nothing:
/// `traced.keyed(key.fold(step))`. Without a key of your own a trace takes one from the generator of the model's device,
/// as an eager dropout would: every trace another one, and `Device::seed` makes them repeatable.
///
/// # Devices
///
/// Programs run where the model was when it was traced; [`to_device`](Self::to_device) makes them for another device.
/// Float types are those of the trace. Integers and booleans are stored as the device can: a batch may hold integers of
/// any width, as long as their values fit in the type that the device computes in (32 bits on many a GPU). `gelu` is the
/// exact one with its exact derivative everywhere, where Burn's own backward pass approximates it on all devices but Flex.
#[derive(Clone, Debug)]
pub struct Traced<B, A = ()> {
    /// As the closure was recorded, whatever the device.
    pub(crate) recorded: Arc<Graph>,
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) specs: Arc<[ParamSpec]>,
    pub(crate) constants: Arc<[Value]>,
    /// For each constant, what it is in the module.
    pub(crate) frozen: Arc<[Option<ParamSpec>]>,
    pub(crate) draws: Arc<[Draw]>,
    pub(crate) key: Key,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) batch: Arc<Signature>,
    pub(crate) aux: A,
    pub(crate) device: Device,
    pub(crate) marker: std::marker::PhantomData<fn(B)>,
}

/// How running statistics are computed.
#[derive(Debug)]
pub(crate) struct Statistics {
    specs: Arc<[ParamSpec]>,
    recorded: Arc<Graph>,
    program: OnceLock<Result<Program>>,
}

impl Statistics {
    fn new(specs: Arc<[ParamSpec]>, recorded: Arc<Graph>) -> Self {
        Self { specs, recorded, program: OnceLock::new() }
    }

    /// The program for a device, always the same one.
    fn program(&self, device: &Device) -> Result<&Program> {
        let stored = |graph: &Graph| plain(graph, device.settings().bool_dtype.into());
        let make = || guarded(|| legalized(&self.recorded, device, &[]).map(|graph| Program::new(&stored(&graph))))?;
        self.program.get_or_init(make).as_ref().map_err(Clone::clone)
    }
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
/// [`Error::ForeignOutput`], [`Error::Unsupported`], [`Error::UnsupportedType`].
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
    trace_at(cache, model, &Params::from_module(model)?, batch, f)
}

/// As [`trace`], with derivatives in the chosen parameters alone.
///
/// The other parameters are constants of the trace, as frozen ones are: evaluations read them as they were when the
/// closure was traced, or as they are in the module given to [`Traced::with_frozen_of`]. Points, gradients and vectors hold the
/// chosen parameters alone ([`Params::from_module_filtered`]).
///
/// # Errors
///
/// As [`trace`]; [`Error::NothingChosen`].
///
/// # Example
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use burn_func::{Filter, Params, ProgramCache, trace_filtered};
///
/// let device = Device::flex().autodiff();
/// let model = LinearConfig::new(2, 1).init(&device);
/// let x = Tensor::<2>::ones([3, 2], &device);
/// let bias = Filter::paths(["bias"]);
/// let f = |model: &Linear, x| model.forward(x).powf_scalar(2.0).mean();
/// let traced = trace_filtered(&ProgramCache::new(), &model, &x, &bias, f)?;
/// let (_, grad, ()) = traced.value_and_grad(&Params::from_module_filtered(&model, &bias)?, &x)?;
/// assert_eq!(grad.len(), 1);
/// # Ok::<(), burn_func::Error>(())
/// ```
pub fn trace_filtered<M, B, O, F>(
    cache: &ProgramCache,
    model: &M,
    batch: &B,
    filter: &Filter,
    f: F,
) -> Result<Traced<B, O::Aux>>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    trace_at(cache, model, &Params::from_module_filtered(model, filter)?, batch, f)
}

fn trace_at<M, B, O, F>(cache: &ProgramCache, model: &M, params: &Params, batch: &B, f: F) -> Result<Traced<B, O::Aux>>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    Traced::new(cache, params, record(model, params, batch, f)?)
}

/// Programs of a recorded graph for a device.
fn compiled_for(device: &Device, cache: &ProgramCache, graph: &Graph, params: &[ParamSpec]) -> Result<Arc<Compiled>> {
    // A device is asked about its types here, which is when one that is not there panics.
    let legal = guarded(|| legalized(graph, device, params))??;
    Ok(cache.compiled(&legal, params.len(), device.settings().bool_dtype.into()))
}

/// Types of the inputs of one role.
fn types(compiled: &Compiled, role: Role) -> Vec<DType> {
    compiled.graph.inputs_of(role).map(|tensor| tensor.dtype).collect()
}

impl<B: Batch, A: Batch> Traced<B, A> {
    pub(crate) fn new(cache: &ProgramCache, params: &Params, recording: Recording<A>) -> Result<Self> {
        let device = params.device();
        let Recording { graph, statistics, buffers, constants, draws, batch, aux } = recording;
        let compiled = compiled_for(&device, cache, &graph, params.specs())?;
        let (data, frozen): (Vec<_>, Vec<_>) = constants.into_iter().map(|each| (each.data, each.of)).unzip();
        let typed = data.into_iter().zip(types(&compiled, Role::Constant));
        let constants = typed.map(|(data, dtype)| uploaded(data, dtype, &device)).collect::<Result<_>>()?;
        Ok(Self {
            recorded: Arc::new(graph),
            compiled,
            specs: params.shared_specs().clone(),
            constants,
            frozen: frozen.into(),
            // Nothing is drawn from the device for a closure that draws nothing.
            key: if draws.is_empty() { Key::new(0) } else { guarded(|| Key::from_device(&device))? },
            draws: draws.into(),
            statistics: Arc::new(Statistics::new(buffers.into(), Arc::new(statistics))),
            batch: Arc::new(batch),
            aux,
            device,
            marker: std::marker::PhantomData,
        })
    }

    /// Loss and auxiliary tensors at a point. Runs the forward pass alone.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for other shapes or types than were traced; [`Error::TwoDevices`], [`Error::NoExecutor`],
    /// [`Error::Execution`].
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

    /// As [`value_and_grad`](Self::value_and_grad), with the gradient of the chosen parameters alone: what only the others'
    /// gradients need, as the backward pass through the body of a network whose head is chosen, is not run. Differs from
    /// [`trace_filtered`] in that the point holds all parameters.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value); [`Error::NothingChosen`].
    pub fn value_and_grad_of(&self, filter: &Filter, at: &Params, batch: &B) -> Result<(Tensor<1>, Params, A)> {
        let chosen = filter.choose(&self.specs)?;
        let outputs = run(&self.device, &self.compiled.gradient_of(&chosen), self.inputs(at, batch)?)?;
        let specs: Vec<ParamSpec> =
            self.specs.iter().zip(chosen).filter_map(|(spec, chosen)| chosen.then_some(spec.clone())).collect();
        let mut outputs = outputs.into_iter();
        let loss = scalar(outputs.next())?;
        let grads = outputs.by_ref().take(specs.len()).collect();
        Ok((loss, Params::new(specs.into(), grads), self.aux(outputs)))
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
    /// One gradient, and the memory of the residuals for as long as the result lives: see
    /// [`with_residuals`](Self::with_residuals).
    pub fn linearize(&self, at: &Params, batch: &B) -> Result<Linearization> {
        let inputs = self.inputs(at, batch)?;
        let point = self.linearize_unverified(inputs.clone())?;
        verify(&self.compiled, &self.device, &inputs, &point.grad)?;
        Ok(point)
    }

    pub(crate) fn linearize_unverified(&self, inputs: Vec<Value>) -> Result<Linearization> {
        let programs = self.compiled.linearized()?;
        let mut outputs = run(&self.device, &programs.primal, inputs)?;
        let residuals = outputs.split_off(outputs.len() - programs.residuals);
        let mut outputs = outputs.into_iter();
        let loss = scalar(outputs.next())?;
        let grad = Params::new(self.specs.clone(), outputs.collect());
        let (compiled, device) = (self.compiled.clone(), self.device.clone());
        Ok(Linearization { compiled, device, loss, grad, residuals })
    }

    /// The same closure, drawing its random numbers from another key. Shares everything else; cheap.
    ///
    /// ```
    /// use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
    /// use burn::tensor::{Device, Tensor};
    /// use burn_func::{Key, Params, finite, trace};
    ///
    /// let device = Device::flex().autodiff();
    /// let model = (LinearConfig::new(4, 4).init(&device), DropoutConfig::new(0.5).init());
    /// let x = Tensor::<2>::ones([8, 4], &device);
    /// let f = |(linear, dropout): &(Linear, Dropout), x| dropout.forward(linear.forward(x)).powf_scalar(2.0).mean();
    /// let (traced, at) = (trace(&model, &x, f)?, Params::from_module(&model)?);
    ///
    /// let loss = |key| finite(&traced.keyed(key).value(&at, &x)?.0);
    /// let run = Key::new(42);
    /// assert_eq!(loss(run.fold(0))?, loss(run.fold(0))?); // the same mask
    /// assert_ne!(loss(run.fold(0))?, loss(run.fold(1))?); // another one
    /// # Ok::<(), burn_func::Error>(())
    /// ```
    #[must_use]
    pub fn keyed(&self, key: Key) -> Self {
        Self { key, ..self.clone() }
    }

    /// The same closure with its random numbers drawn once and for all.
    pub(crate) fn drawn(&self) -> Result<Self> {
        let drawn = self.drawn_values()?;
        let frozen = self.frozen.iter().cloned().chain(drawn.iter().map(|_| None)).collect();
        let constants = self.constants.iter().cloned().chain(drawn).collect();
        Ok(Self { constants, frozen, draws: Arc::new([]), ..self.clone() })
    }

    /// The key its random numbers are drawn from.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Whether the closure draws random numbers that its outputs depend on.
    pub fn is_random(&self) -> bool {
        !self.draws.is_empty()
    }

    /// The running statistics (batch normalisation's, in training) that an ordinary forward pass of the module at this
    /// point would leave behind. The module and later evaluations stay as they are: [`Buffers::into_module`] puts the
    /// statistics into a module, [`with_frozen_of`](Self::with_frozen_of) lets evaluations go on from there. Empty if the
    /// closure updates none.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value).
    ///
    /// # Cost
    ///
    /// A forward pass, up to the last layer that keeps statistics.
    pub fn statistics(&self, at: &Params, batch: &B) -> Result<Buffers> {
        let inputs = self.inputs(at, batch)?;
        if self.statistics.specs.is_empty() {
            return Ok(Buffers::new(self.statistics.specs.clone(), Vec::new()));
        }
        let outputs = run(&self.device, self.statistics.program(&self.device)?, inputs)?;
        Ok(Buffers::new(self.statistics.specs.clone(), outputs))
    }

    /// The running statistics that the closure updates, in the module's order: those of layers that compute with the
    /// statistics of their batch, as batch normalisation does in training. What [`statistics`](Self::statistics) hands back,
    /// without running anything.
    pub fn updates(&self) -> &[ParamSpec] {
        &self.statistics.specs
    }

    /// The same closure, with the running statistics and the parameters that are constant in it (frozen ones, and those
    /// that a [`Filter`] does not choose) as they are in `module`. Shares everything else; cheap. Tensors that are no float
    /// parameters of the module, integer ones among them, stay as they were traced.
    ///
    /// # Errors
    ///
    /// [`Error::Params`] if the module lacks one of them or has it in another shape or type.
    pub fn with_frozen_of<M: Module>(&self, module: &M) -> Result<Self> {
        let found = float_tensors(module);
        let replaced = self.constants.iter().zip(self.frozen.iter()).map(|(value, spec)| {
            let Some(ParamSpec { id, path, spec }) = spec else { return Ok(value.clone()) };
            let wrong = |problem| Error::Params { path: path.clone(), problem };
            let value = found.get(id).cloned().ok_or_else(|| wrong("is not in the module".into()))?;
            match value.spec() == *spec && value.device() == self.device {
                true => Ok(value),
                false => Err(wrong(format!("is {} on {:?}, was traced as {spec}", value.spec(), value.device()))),
            }
        });
        Ok(Self { constants: replaced.collect::<Result<_>>()?, ..self.clone() })
    }

    /// The same closure on another device, without running it again. Points and batches must then live there:
    /// [`Params::to_device`], and `Tensor::to_device` for the batch.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedType`] for a float type that the device does not compute in; [`Error::Malformed`] for an integer
    /// that its integers cannot hold; [`Error::Execution`] for a constant that does not fit there, or a device that fails.
    ///
    /// # Cost
    ///
    /// Constants are copied and programs made anew: keep the result.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let device = device.clone().without_autodiff();
        let compiled = compiled_for(&device, &ProgramCache::new(), &self.recorded, &self.specs)?;
        let compiled = Arc::new(compiled.with_residuals(self.compiled.residuals));
        let typed = self.constants.iter().zip(types(&compiled, Role::Constant));
        let constants = typed.map(|(value, dtype)| moved(value, dtype, &device)).collect::<Result<_>>()?;
        let statistics = Statistics::new(self.statistics.specs.clone(), self.statistics.recorded.clone());
        Ok(Self { compiled, constants, statistics: Arc::new(statistics), device, ..self.clone() })
    }

    /// The device it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether a batch has the shapes, types and structure that were traced.
    pub fn accepts(&self, batch: &B) -> bool {
        let mut gather = Gather { values: Vec::new(), structure: Vec::new() };
        batch.map(&mut gather);
        self.check_batch(&gather).is_ok()
    }

    /// The recorded graph, as the device runs it. Outputs: loss, one gradient per parameter, auxiliary tensors.
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

    /// The same closure with another choice of what a linearization keeps in memory; [`Residuals::Store`] unless this is
    /// called. Programs are made once per graph and choice.
    ///
    /// # Example
    ///
    /// ```
    /// # use burn::nn::{Linear, LinearConfig};
    /// # use burn::tensor::{Device, Tensor};
    /// use burn_func::{Residuals, trace};
    /// # let device = Device::flex().autodiff();
    /// # let model = LinearConfig::new(2, 1).init(&device);
    /// # let x = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
    /// let traced = trace(&model, &x, |model: &Linear, x| model.forward(x).tanh().mean())?;
    /// assert!(traced.residual_bytes()? > 0);
    /// let lean = traced.with_residuals(Residuals::Recompute);
    /// assert_eq!(lean.residual_bytes()?, 0);
    /// println!("{}", lean.costs()?);
    /// # Ok::<(), burn_func::Error>(())
    /// ```
    #[must_use]
    pub fn with_residuals(self, residuals: Residuals) -> Self {
        Self { compiled: Arc::new(self.compiled.with_residuals(residuals)), ..self }
    }

    /// Bytes that a [`Linearization`] will hold beyond point, batch and constants, before anything runs.
    ///
    /// An estimate from shapes: buffers are counted once, whatever views of them are kept, and views of parameters and
    /// batch are not. A view of a part keeps the whole buffer. What is a view and what a copy is taken from the CPU backend.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`].
    pub fn residual_bytes(&self) -> Result<usize> {
        Ok(self.compiled.linearized()?.graphs.residual_bytes)
    }

    /// Operations, arithmetic, memory traffic and peak memory of one gradient, and of one Hessian-vector product at a
    /// linearized point. Prints as a table.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`].
    pub fn costs(&self) -> Result<Costs> {
        let programs = self.compiled.linearized()?;
        let (gradient, hvp) = (ProgramCosts::of(self.compiled.gradient()), ProgramCosts::of(&programs.hvp));
        Ok(Costs { gradient, hvp, residual_bytes: programs.graphs.residual_bytes })
    }

    /// Size of one gradient alone: also of closures that have no Hessian-vector products.
    pub fn gradient_costs(&self) -> ProgramCosts {
        ProgramCosts::of(self.compiled.gradient())
    }

    /// The parameters, in the order in which points and gradients hold them.
    pub fn specs(&self) -> &[ParamSpec] {
        &self.specs
    }

    pub(crate) fn aux(&self, outputs: impl Iterator<Item = Value>) -> A {
        self.aux.map(&mut Fill { values: outputs })
    }

    /// Values for the inputs of a program: parameters, batch, constants, random numbers.
    pub(crate) fn inputs(&self, at: &Params, batch: &B) -> Result<Vec<Value>> {
        at.expect_like("the point", &self.specs, &self.device)?;
        let mut gather = Gather { values: Vec::new(), structure: Vec::new() };
        batch.map(&mut gather);
        self.check_batch(&gather)?;
        let mut values: Vec<Value> = at.values().to_vec();
        for (value, read) in gather.values.into_iter().zip(self.compiled.graph.inputs_of(Role::Batch)) {
            values.push(converted(value, read.dtype)?);
        }
        values.extend(self.constants.iter().cloned());
        values.extend(self.drawn_values()?);
        Ok(values)
    }

    fn drawn_values(&self) -> Result<Vec<Value>> {
        let typed = self.draws.iter().zip(types(&self.compiled, Role::Random));
        typed.map(|(draw, dtype)| draw.value(self.key, dtype, &self.device)).collect()
    }

    fn check_batch(&self, found: &Gather) -> Result<()> {
        if found.structure != self.batch.structure || found.values.len() != self.batch.tensors.len() {
            let (found, expected) = (found.values.len(), self.batch.tensors.len());
            return Err(Error::Mismatch {
                what: "the structure of the batch".into(),
                found: format!("{found} tensors"),
                expected: format!("{expected} tensors, or the same number with other lengths, options or constants"),
            });
        }
        for (at, (value, expected)) in found.values.iter().zip(&self.batch.tensors).enumerate() {
            if !alike(&value.spec(), expected) {
                return Err(mismatch(format!("batch tensor {at}"), &value.spec(), expected));
            }
            same_device(&format!("batch tensor {at}"), &value.device(), &self.device)?;
        }
        Ok(())
    }
}

/// A loss linearized at a point: its value, its gradient, and the gradient's derivative as a linear map.
#[derive(Debug)]
pub struct Linearization {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) device: Device,
    pub(crate) loss: Tensor<1>,
    pub(crate) grad: Params,
    pub(crate) residuals: Vec<Value>,
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
    /// [`Error::Execution`]; [`Error::Mismatch`] if `v` is of another module; [`Error::TwoDevices`].
    ///
    /// # Cost
    ///
    /// Between one and two gradients; exactly what [`Traced::costs`] says.
    pub fn hvp(&self, v: &Params) -> Result<Params> {
        v.expect_like("the vector", self.grad.specs(), &self.device)?;
        let programs = self.compiled.linearized()?;
        let inputs = v.values().iter().chain(&self.residuals).cloned().collect();
        let outputs = run(&self.device, &programs.hvp, inputs)?;
        Ok(Params::new(self.grad.shared_specs().clone(), outputs))
    }

    /// Bytes that it holds beyond point, batch and constants: [`Traced::residual_bytes`].
    pub fn residual_bytes(&self) -> usize {
        self.compiled.linearized().map_or(0, |programs| programs.graphs.residual_bytes)
    }
}

/// Loss and gradient of `f(model, batch)`, as Burn's optimizers take them.
///
/// Dropout and other random operations draw from a new key at every call, taken from the device's generator as in eager
/// Burn; to choose the key, [`trace`] and [`Traced::keyed`].
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
/// [`Error::NonFinite`]; [`Error::Execution`] for a device that failed on the way to it.
pub fn finite(loss: &Tensor<1>) -> Result<f64> {
    let loss = number(loss)?;
    if loss.is_finite() { Ok(loss) } else { Err(Error::NonFinite { loss }) }
}

pub(crate) fn scalar(value: Option<Value>) -> Result<Tensor<1>> {
    let value = value.ok_or_else(|| Error::Execution { message: "a program without a loss".into() })?;
    value.tensor().ok_or_else(|| Error::NotScalar { shape: value.spec().shape })
}

/// Whether two tensors agree in shape and type; in what width integers and booleans are stored does not matter.
fn alike(a: &TensorSpec, b: &TensorSpec) -> bool {
    let kind = |dtype: DType| (is_integer(dtype), dtype.is_bool());
    a.shape == b.shape && (a.dtype == b.dtype || kind(a.dtype) == kind(b.dtype) && !a.dtype.is_float())
}

pub(crate) fn mismatch(what: String, found: &TensorSpec, expected: &TensorSpec) -> Error {
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
