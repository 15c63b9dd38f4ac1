//! Puts operations of somebody's own into a trace, with their reverse mode.
//!
//! Does not know: which operations there are.

use std::collections::HashMap;

use burn::tensor::Tensor;
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::tensor::FloatTensor;
use burn_backend::{AutodiffBackend, TensorMetadata};
use burn_dispatch::DispatchDevice;
use burn_dispatch::backends::Capture;
use burn_ir::{CustomOpIr, IrVisitorMut, OperationIr, ScalarIr, TensorId, TensorIr};
use burn_router::{RouterClient, RouterTensor};

use crate::emit::Emitter;
use crate::error::{Error, Result, Transform};
use crate::rules::custom::{CustomOp, Registered, malformed};

type Ad = Autodiff<Capture>;
type Primitive = FloatTensor<Capture>;

/// Ids of what a rule emits, until the recording has given them its own. No recording comes near.
const LOCAL: u64 = 1 << 62;

impl CustomOp {
    /// Records the operation on tensors of a traced closure, of one rank and on one device, with its numbers.
    ///
    /// # Errors
    ///
    /// Operations of one's own exist in traces alone: [`Error::Unsupported`] on the tensors of any other device. A module
    /// that must run eagerly too falls back to plain operations there:
    /// `op.apply([x.clone()], &[]).unwrap_or_else(|_| plain(x))`. [`Error::Malformed`] for a result of another rank than
    /// `R`; what else is wrong with the expansion is found when the trace is complete.
    ///
    /// A backward pass that emits the wrong gradients fails the trace with [`Error::Closure`].
    pub fn apply<const N: usize, const D: usize, const R: usize>(
        &self,
        inputs: [Tensor<D>; N],
        numbers: &[f64],
    ) -> Result<Tensor<R>> {
        let recorded = inputs.iter().all(is_recorded);
        let tracked = inputs.iter().any(Tensor::is_autodiff);
        let lifted: Vec<_> = inputs.into_iter().filter_map(lift).collect();
        let Some(inputs) = <[_; N]>::try_from(lifted).ok().filter(|_| recorded && N > 0) else {
            return Err(Error::Unsupported {
                op: format!("Custom::{}", self.0.row.name),
                transform: Transform::Trace,
                reason: "it can be applied to one or more tensors of a traced closure, not outside of one".into(),
            });
        };
        let scalars: Vec<ScalarIr> = numbers.iter().map(|&number| ScalarIr::Float(number)).collect();
        let primitives: Vec<Primitive> = inputs.iter().map(|input| input.primitive().clone()).collect();
        let output = record(self.0.row.name, &primitives, &scalars, &self.result(&primitives, &scalars)?);
        if output.rank() != R {
            let problem = format!("its result has shape {:?}, a rank of {R} was asked for", output.shape());
            return Err(malformed(self.0.row.name, problem, &[]));
        }
        if !tracked {
            return Ok(Tensor::from_primitive::<Capture>(output));
        }
        let prepared = Step(self.0).prepare::<NoCheckpointing>(inputs.each_ref().map(|input| input.node()));
        Ok(Tensor::from_primitive::<Ad>(match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((primitives, output.clone(), scalars), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }))
    }

    /// Shape and type of the result, found by expanding the operation.
    fn result(&self, inputs: &[Primitive], scalars: &[ScalarIr]) -> Result<TensorIr> {
        let inputs: Vec<TensorIr> = inputs.iter().map(ir).collect();
        Ok((self.0.lower)(&mut Emitter::starting_at(LOCAL), &inputs, scalars))
    }
}

fn is_recorded<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.device().without_autodiff().as_dispatch(), DispatchDevice::Capture(_))
}

/// A tensor of a trace with autodiff, whether or not it had it.
fn lift<const D: usize>(tensor: Tensor<D>) -> Option<FloatTensor<Ad>> {
    match tensor.is_autodiff() {
        true => tensor.try_into_primitive::<Ad>().ok(),
        false => tensor.try_into_primitive::<Capture>().ok().map(Ad::from_inner),
    }
}

fn ir(tensor: &Primitive) -> TensorIr {
    tensor.clone().into_ir()
}

/// Records an operation by its id, with a result like `out`.
pub(crate) fn record(id: &str, inputs: &[Primitive], scalars: &[ScalarIr], out: &TensorIr) -> Primitive {
    let client = inputs[0].client.clone();
    let out = TensorIr::uninit(client.create_empty_handle(), out.shape.clone(), out.dtype);
    client.register_op(OperationIr::Custom(CustomOpIr {
        id: id.into(),
        inputs: inputs.iter().map(ir).collect(),
        outputs: vec![out.clone()],
        scalars: scalars.to_vec(),
    }));
    RouterTensor::new(out.id, out.shape, out.dtype, client)
}

/// The reverse mode of an operation: records what its rule emits.
#[derive(Debug)]
struct Step(&'static Registered);

impl<const N: usize> Backward<Capture, N> for Step {
    type State = (Vec<Primitive>, Primitive, Vec<ScalarIr>);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (inputs, output, scalars) = ops.state;
        let grad = grads.consume::<Capture>(&ops.node);
        let op = CustomOpIr {
            id: self.0.row.name.into(),
            inputs: inputs.iter().map(ir).collect(),
            outputs: vec![ir(&output)],
            scalars,
        };
        let mut emit = Emitter::starting_at(LOCAL);
        let found = (self.0.backward)(&mut emit, &op, &ir(&grad));
        let alike = |(found, input): (&TensorIr, &TensorIr)| found.shape == input.shape && found.dtype == input.dtype;
        // There is no way to hand an error through Burn's backward pass: the trace catches the panic and reports it.
        assert!(
            found.len() == N && found.iter().zip(&op.inputs).all(alike),
            "the backward pass of `{}` emits {found:?} as gradients of {:?}",
            op.id,
            op.inputs
        );
        let known: Vec<Primitive> = inputs.into_iter().chain([output, grad]).collect();
        for (parent, grad) in ops.parents.into_iter().zip(replay(emit.ops, &found, &known)) {
            if let Some(node) = parent {
                grads.register::<Capture>(node.id, grad);
            }
        }
    }
}

/// Records emitted operations under ids of the recording. Results may be among `known`.
fn replay(ops: Vec<OperationIr>, results: &[TensorIr], known: &[Primitive]) -> Vec<Primitive> {
    let client = &known[0].client;
    let mut ids = Recorded { ids: HashMap::new(), fresh: &mut || client.create_empty_handle() };
    for mut op in ops {
        op.visit_mut(&mut ids);
        client.register_op(op);
    }
    let mut primitive = |result: &TensorIr| match known.iter().find(|tensor| tensor.id() == result.id) {
        Some(known) => known.clone(),
        None => {
            let mut result = result.clone();
            ids.visit_tensor_mut(&mut result);
            RouterTensor::new(result.id, result.shape, result.dtype, client.clone())
        }
    };
    results.iter().map(&mut primitive).collect()
}

/// Gives every local id one of the recording.
struct Recorded<'a> {
    ids: HashMap<TensorId, TensorId>,
    fresh: &'a mut dyn FnMut() -> TensorId,
}

impl IrVisitorMut for Recorded<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        if tensor.id.value() >= LOCAL {
            tensor.id = *self.ids.entry(tensor.id).or_insert_with(|| (self.fresh)());
        }
    }
}
