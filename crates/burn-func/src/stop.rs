//! `stop_gradient`: a `detach` that leaves a mark in a trace.
//!
//! Does not know: how the mark is expanded, who else has operations of their own.

use burn::tensor::Tensor;
use burn_autodiff::Autodiff;
use burn_backend::AutodiffBackend;
use burn_dispatch::DispatchDevice;
use burn_dispatch::backends::Capture;
use burn_ir::{OperationIr, TensorIr};

use crate::batch::Batch;
use crate::compiled::ProgramCache;
use crate::custom::record;
use crate::error::Result;
use crate::executor::run;
use crate::graph::{Input, Role};
use crate::params::Params;
use crate::rules::custom::Registered;
use crate::rules::{Batching, Derivative, Rule, Work};
use crate::transforms::Traced;

pub(crate) const ID: &str = "burn_func.stop_gradient";

/// The mark: its result is its input, and carries no derivative.
pub(crate) static RULE: Registered = Registered {
    row: Rule { name: ID, derivative: Derivative::Zero, batching: Batching::Elementwise, work: Work::View, note: "" },
    lower: |_, inputs, _| inputs[0].clone(),
    backward: |emit, _, grad| vec![emit.zeros_like(grad)],
};

/// Whether an operation is the mark of [`stop_gradient`].
pub(crate) fn is_stop(op: &OperationIr) -> bool {
    matches!(op, OperationIr::Custom(custom) if custom.id == ID)
}

/// The tensor as a constant: no derivative of any order passes through it. Inside and outside of traced closures.
///
/// Burn's own `detach` leaves no trace in a recorded graph; used on something that depends on a parameter it is found and
/// reported by the first linearization.
#[must_use]
pub fn stop_gradient<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let device = tensor.device().without_autodiff();
    if !matches!(device.as_dispatch(), DispatchDevice::Capture(_)) {
        return tensor.detach();
    }
    let tracked = tensor.is_autodiff();
    let inner = match tracked {
        true => tensor.clone().try_into_primitive::<Autodiff<Capture>>().map(Autodiff::<Capture>::inner),
        false => tensor.clone().try_into_primitive::<Capture>(),
    };
    let Ok(inner) = inner else { return tensor.detach() };
    let like = inner.clone().into_ir();
    let stopped = record(ID, &[inner], &[], &like);
    match tracked {
        true => Tensor::from_primitive::<Autodiff<Capture>>(Autodiff::<Capture>::from_inner(stopped)),
        false => Tensor::from_primitive::<Capture>(stopped),
    }
}

impl<B: Batch, A: Batch> Traced<B, A> {
    /// The recording with what is stopped held at its values at a point. Its gradient is a gradient there, and changes
    /// along a direction as the products with the Hessian say; that of a recording with stops does not.
    pub(crate) fn with_stops_held(self, at: &Params, batch: &B) -> Result<Self> {
        let mut graph = self.compiled.graph.clone();
        let stopped: Vec<TensorIr> =
            graph.ops.iter().filter(|op| is_stop(op)).flat_map(|op| op.outputs()).cloned().collect();
        if stopped.is_empty() {
            return Ok(self);
        }
        let program = self.compiled.program(&graph.restricted_to(stopped.clone()));
        let values = run(&self.device, &program, self.inputs(at, batch)?)?;
        graph.ops.retain(|op| !is_stop(op));
        graph.inputs.extend(stopped.iter().cloned().map(|tensor| Input { tensor, role: Role::Constant }));
        let compiled = ProgramCache::new().compiled(&graph, self.compiled.parameters, self.compiled.bool_dtype);
        let drawn = self.drawn()?;
        let constants = drawn.constants.iter().cloned().chain(values).collect();
        let frozen = drawn.frozen.iter().cloned().chain(stopped.iter().map(|_| None)).collect();
        Ok(Self { compiled, constants, frozen, ..drawn })
    }
}
