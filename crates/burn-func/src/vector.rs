//! Vector-valued closures: tangents of the output along parameter directions, and cotangents of the output carried back.
//!
//! A closure `y = f(model, batch)` is recorded as the loss `<y, w>`, with `w` an input of the shape of `y`. Its gradient is
//! linear in `w` and is the cotangent `w` carried back to the parameters; forward mode over `y` gives tangents.
//!
//! Does not know: what the output is used for.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_ir::{OperationIr, TensorIr};

use crate::batch::Batch;
use crate::compiled::{Compiled, ProgramCache};
use crate::error::{Error, Result, Transform};
use crate::executor::run;
use crate::graph::{Graph, Input, Role, normalized};
use crate::jvp::differentiate;
use crate::linearize::{partition, residuals};
use crate::lower::expands;
use crate::params::{ParamSpec, Params};
use crate::passes::simplified;
use crate::program::Program;
use crate::random::Key;
use crate::trace::{Recording, record};
use crate::transfer::same_device;
use crate::transforms::{Traced, mismatch};
use crate::value::{TensorSpec, Value};
use crate::verify::verify;

/// A closure with a tensor as result, recorded once, to be evaluated and differentiated at any point and on any batch of
/// the same shapes. What is frozen in it is told at [`Traced`].
#[derive(Debug)]
pub struct TracedVector<B, const D: usize> {
    /// The loss `<y, w>`. Its inputs are those of the graph but the last, which is `w`.
    scalarised: Traced<B, Tensor<D>>,
    output: TensorSpec,
}

/// Records `f(model, batch)`, a closure with a tensor of any shape as result, forward and backward.
///
/// # Errors
///
/// As [`trace`](crate::trace()), except that there is no [`Error::NotScalar`].
///
/// # Cost
///
/// As [`trace`](crate::trace()).
///
/// # Example
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use burn_func::{Params, trace_vector};
///
/// let device = Device::flex().autodiff();
/// let model = LinearConfig::new(2, 3).init(&device);
/// let x = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
/// let traced = trace_vector(&model, &x, |model: &Linear, x: Tensor<2>| model.forward(x).tanh())?;
///
/// let at = Params::from_module(&model)?;
/// let point = traced.linearize(&at, &x)?; // one forward pass
/// let tangent: Tensor<2> = point.jvp(&at.normal(0, 0))?; // J v, the shape of the output
/// let cotangent: Params = point.vjp(&tangent)?; // J' w, the shapes of the parameters
/// assert_eq!((tangent.dims(), cotangent.len()), ([2, 3], 9));
/// # Ok::<(), burn_func::Error>(())
/// ```
pub fn trace_vector<M, B, F, const D: usize>(model: &M, batch: &B, f: F) -> Result<TracedVector<B, D>>
where
    M: Module,
    B: Batch,
    F: Fn(&M, B) -> Tensor<D>,
{
    trace_vector_with(&ProgramCache::new(), model, batch, f)
}

/// As [`trace_vector`], with programs taken from a cache where the same graph was recorded before.
pub fn trace_vector_with<M, B, F, const D: usize>(
    cache: &ProgramCache,
    model: &M,
    batch: &B,
    f: F,
) -> Result<TracedVector<B, D>>
where
    M: Module,
    B: Batch,
    F: Fn(&M, B) -> Tensor<D>,
{
    let params = Params::from_module(model)?;
    let scalarised = |model: &M, batch: B| {
        let y = f(model, batch);
        let w = Tensor::empty(y.shape(), (&y.device(), y.dtype()));
        ((y.clone() * w.clone()).sum(), (y, w))
    };
    let recording = record(model, &params, batch, scalarised).map_err(|error| match error {
        Error::ForeignOutput { .. } => Error::ForeignOutput { what: "the tensor".into() },
        other => other,
    })?;
    let graph = with_cotangent_input(recording.graph);
    let y = graph.outputs.last().expect("the output was recorded");
    let output = TensorSpec { shape: y.shape.to_vec(), dtype: y.dtype };
    let Recording { statistics, buffers, constants, draws, batch, aux, .. } = recording;
    let recording = Recording { graph, statistics, buffers, constants, draws, batch, aux: aux.0 };
    Ok(TracedVector { scalarised: Traced::new(cache, &params, recording)?, output })
}

/// Makes the graph's last output, an empty tensor until here, its last input.
fn with_cotangent_input(mut graph: Graph) -> Graph {
    let w = graph.outputs.pop().expect("the cotangent was recorded");
    graph.ops.retain(|op| op.outputs().all(|out| out.id != w.id));
    graph.inputs.push(Input { tensor: w, role: Role::Batch });
    normalized(graph)
}

/// What is run of a vector-valued closure.
#[derive(Debug)]
pub(crate) struct VectorPrograms {
    /// The output alone.
    value: Program,
    /// The output, the residuals of tangents and those of cotangents.
    primal: Program,
    /// Tangents and residuals to the tangent of the output.
    jvp: Program,
    /// Cotangent and residuals to the cotangents of the parameters.
    vjp: Program,
    /// Number of residuals of tangents.
    jvp_residuals: usize,
}

impl VectorPrograms {
    /// Splits the graph of `<y, w>` in three: what depends on the point alone, on a tangent, on the cotangent.
    fn new(compiled: &Compiled) -> Result<Self> {
        let (graph, parameters) = (&compiled.graph, compiled.parameters);
        let (grads, y) = (&graph.outputs[1..=parameters], &graph.outputs[parameters + 1..]);
        let (w, inputs) = graph.inputs.split_last().expect("the cotangent is an input");
        let differentiated = differentiate(graph, y)?;
        let as_tangent = |tensor| Input { tensor, role: Role::Tangent };
        let tangents: Vec<Input> = differentiated.inputs.into_iter().map(as_tangent).collect();
        let all = Graph {
            inputs: [graph.inputs.as_slice(), &tangents].concat(),
            ops: differentiated.ops,
            outputs: [y, &differentiated.outputs, grads].concat(),
        };
        all.check()?; // formulas of users may read what they have not made
        let Graph { ops, outputs, .. } = simplified(&all);
        let (y, outputs) = outputs.split_at(1);
        let (tangent, cotangents) = outputs.split_at(1);
        let (jvp, saved_for_jvp, ops) = split(ops, tangents, tangent);
        let (vjp, saved_for_vjp, ops) = split(ops, vec![w.clone()], cotangents);
        let primal = Graph { inputs: inputs.to_vec(), ops, outputs: Vec::new() };
        let value = primal.restricted_to(y.to_vec());
        let primal = primal.restricted_to([y, &saved_for_jvp, &saved_for_vjp].concat());
        for graph in [&value, &primal, &jvp, &vjp] {
            if cfg!(debug_assertions) {
                graph.check()?;
            }
            // Formulas of users may emit operations of their own.
            expands(graph, Transform::Jvp)?;
        }
        let jvp_residuals = saved_for_jvp.len();
        let [value, primal, jvp, vjp] = [value, primal, jvp, vjp].map(|graph| compiled.program(&graph));
        Ok(Self { value, primal, jvp, vjp, jvp_residuals })
    }

    fn of(compiled: &Compiled) -> Result<&Self> {
        let made = compiled.vector.get_or_init(|| Self::new(compiled));
        made.as_ref().map_err(Clone::clone)
    }
}

/// Takes out what depends on some inputs: its graph, what that graph reads beside them, and the other operations.
fn split(ops: Vec<OperationIr>, of: Vec<Input>, outputs: &[TensorIr]) -> (Graph, Vec<TensorIr>, Vec<OperationIr>) {
    let (dependent, rest) = partition(ops, of.iter().map(|input| input.tensor.id).collect());
    let saved = residuals(&dependent, outputs, &of);
    let as_residual = |tensor: &TensorIr| Input { tensor: tensor.clone(), role: Role::Residual };
    let inputs = of.into_iter().chain(saved.iter().map(as_residual)).collect();
    (Graph { inputs, ops: dependent, outputs: outputs.to_vec() }, saved, rest)
}

impl<B: Batch, const D: usize> TracedVector<B, D> {
    /// The output at a point. Runs the forward pass alone.
    ///
    /// # Errors
    ///
    /// As [`Traced::value`].
    pub fn value(&self, at: &Params, batch: &B) -> Result<Tensor<D>> {
        let programs = VectorPrograms::of(&self.scalarised.compiled)?;
        let outputs = run(&self.scalarised.device, &programs.value, self.scalarised.inputs(at, batch)?)?;
        typed(outputs.into_iter().next())
    }

    /// The output at a point, and its derivative there as a linear map in both directions.
    ///
    /// The first linearization of a graph compares forward and reverse mode near the point, as [`Traced::linearize`] does.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value), and [`Error::Unsupported`], [`Error::GradientMismatch`].
    ///
    /// # Cost
    ///
    /// One forward pass and what the derivatives need of the point, and the memory of the residuals of both directions for
    /// as long as the result lives.
    pub fn linearize(&self, at: &Params, batch: &B) -> Result<VectorLinearization<D>> {
        let Traced { compiled, device, specs, .. } = &self.scalarised;
        let programs = VectorPrograms::of(compiled)?;
        let inputs = self.scalarised.inputs(at, batch)?;
        self.verified(&inputs, at)?;
        let mut outputs = run(device, &programs.primal, inputs)?;
        let mut saved = outputs.split_off(1);
        let saved_for_vjp = saved.split_off(programs.jvp_residuals);
        Ok(VectorLinearization {
            compiled: compiled.clone(),
            device: device.clone(),
            specs: specs.clone(),
            output: self.output.clone(),
            value: typed(outputs.pop())?,
            saved_for_jvp: saved,
            saved_for_vjp,
        })
    }

    /// Output, and its tangent along `v`, at a point: [`linearize`](Self::linearize) for a single use.
    ///
    /// # Errors
    ///
    /// As [`linearize`](Self::linearize) and [`VectorLinearization::jvp`].
    pub fn jvp(&self, at: &Params, batch: &B, v: &Params) -> Result<(Tensor<D>, Tensor<D>)> {
        let point = self.linearize(at, batch)?;
        Ok((point.value.clone(), point.jvp(v)?))
    }

    /// Output, and a cotangent of it carried back to the parameters, at a point: [`linearize`](Self::linearize) for a
    /// single use.
    ///
    /// # Errors
    ///
    /// As [`linearize`](Self::linearize) and [`VectorLinearization::vjp`].
    pub fn vjp(&self, at: &Params, batch: &B, w: &Tensor<D>) -> Result<(Tensor<D>, Params)> {
        let point = self.linearize(at, batch)?;
        Ok((point.value.clone(), point.vjp(w)?))
    }

    /// The same closure, drawing its random numbers from another key: [`Traced::keyed`].
    #[must_use]
    pub fn keyed(&self, key: Key) -> Self {
        Self { scalarised: self.scalarised.keyed(key), output: self.output.clone() }
    }

    /// The same closure on another device: [`Traced::to_device`].
    ///
    /// # Errors
    ///
    /// As [`Traced::to_device`].
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self { scalarised: self.scalarised.to_device(device)?, output: self.output.clone() })
    }

    /// Shape and type of the output.
    pub fn output(&self) -> &TensorSpec {
        &self.output
    }

    /// The parameters, in the order in which points and cotangents hold them.
    pub fn specs(&self) -> &[ParamSpec] {
        &self.scalarised.specs
    }

    /// The recorded graph of `<output, w>`, `w` its last input. Outputs: the inner product, its gradients, the output.
    pub fn graph(&self) -> &Graph {
        &self.scalarised.compiled.graph
    }

    fn verified(&self, inputs: &[Value], at: &Params) -> Result<()> {
        let Traced { compiled, device, .. } = &self.scalarised;
        if let Some(known) = compiled.verified.get() {
            return known.clone();
        }
        let n: usize = self.output.shape.iter().product();
        let w = (0..n).map(|i| (1.0 + 2.0 * i as f64).sin()).collect();
        let w = Value::from_host(w, &self.output, device);
        verify(compiled, device, &[inputs, &[w]].concat(), at)
    }
}

/// The output of a closure at a point, and its derivative there, the Jacobian J, as a linear map in both directions.
#[derive(Debug)]
pub struct VectorLinearization<const D: usize> {
    compiled: Arc<Compiled>,
    device: Device,
    specs: Arc<[ParamSpec]>,
    output: TensorSpec,
    value: Tensor<D>,
    saved_for_jvp: Vec<Value>,
    saved_for_vjp: Vec<Value>,
}

impl<const D: usize> VectorLinearization<D> {
    /// The output.
    pub fn value(&self) -> &Tensor<D> {
        &self.value
    }

    /// J v: how the output changes along a direction in parameter space. From any number of threads.
    ///
    /// # Errors
    ///
    /// [`Error::Execution`]; [`Error::Mismatch`] if `v` is of another module; [`Error::TwoDevices`].
    ///
    /// # Cost
    ///
    /// One to two forward passes.
    pub fn jvp(&self, v: &Params) -> Result<Tensor<D>> {
        v.expect_like("the direction", &self.specs, &self.device)?;
        let inputs = v.values().iter().chain(&self.saved_for_jvp).cloned().collect();
        typed(run(&self.device, &VectorPrograms::of(&self.compiled)?.jvp, inputs)?.pop())
    }

    /// J' w: how `<output, w>` changes with every parameter. From any number of threads.
    ///
    /// # Errors
    ///
    /// [`Error::Execution`]; [`Error::Mismatch`] if `w` has another shape or type than the output;
    /// [`Error::TwoDevices`].
    ///
    /// # Cost
    ///
    /// One backward pass.
    pub fn vjp(&self, w: &Tensor<D>) -> Result<Params> {
        let w = Value::new(w.clone());
        if w.spec() != self.output {
            return Err(mismatch("the cotangent".into(), &w.spec(), &self.output));
        }
        same_device("the cotangent", &w.device(), &self.device)?;
        let inputs = std::iter::once(&w).chain(&self.saved_for_vjp).cloned().collect();
        let outputs = run(&self.device, &VectorPrograms::of(&self.compiled)?.vjp, inputs)?;
        Ok(Params::new(self.specs.clone(), outputs))
    }

    /// Bytes that the residuals keep alive. Buffers shared with parameters or batch, or between the two directions, count
    /// in full.
    pub fn residual_bytes(&self) -> usize {
        self.saved_for_jvp.iter().chain(&self.saved_for_vjp).map(Value::bytes).sum()
    }
}

fn typed<const D: usize>(value: Option<Value>) -> Result<Tensor<D>> {
    let tensor = value.and_then(|value| value.tensor());
    tensor.ok_or_else(|| Error::Execution { message: "a program without the output that was recorded".into() })
}
