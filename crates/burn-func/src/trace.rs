//! Records a closure, forward and backward, as one graph.
//!
//! The closure runs once on a capture device with autodiff on top, over placeholders that have the shapes and types of
//! the module's parameters and of the batch. Nothing is computed.
//!
//! Does not know: derivative rules, devices that execute.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, CapturedGraph, Device, Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_backend::AutodiffBackend;
use burn_backend::ops::FloatTensorOps;
use burn_backend::tensor::FloatTensor;
use burn_dispatch::backends::Capture;
use burn_dispatch::{Dispatch, DispatchKindConversion, DispatchTensor};
use burn_ir::{BaseOperationIr, CreationOpIr, FloatOperationIr, NumericOperationIr, OperationIr, TensorId, TensorIr};

use crate::batch::{Batch, BatchMapper, Output};
use crate::capture::Lease;
use crate::error::{Error, Result, Transform, panic_message};
use crate::graph::{Graph, Input, Role, normalized};
use crate::params::Params;
use crate::value::TensorSpec;

type Ad = Autodiff<Capture>;

/// A recorded closure: its graph and what is needed to run it.
pub(crate) struct Recording<A> {
    /// Inputs: parameters, batch, constants. Outputs: loss, one gradient per parameter, auxiliary tensors.
    pub graph: Graph,
    /// Values of the constants.
    pub constants: Vec<TensorData>,
    /// Shapes of the batch.
    pub batch: Signature,
    /// Structure of the auxiliary output; its tensors are empty.
    pub aux: A,
}

/// Shapes, types and structure of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Signature {
    pub tensors: Vec<TensorSpec>,
    pub structure: Vec<usize>,
}

/// Records `f` over placeholders like `params` and `batch`.
pub(crate) fn record<M, B, O, F>(model: &M, params: &Params, batch: &B, f: F) -> Result<Recording<O::Aux>>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    let mut lease = Lease::for_model_on(&params.device());
    let mut notes = None;
    let run = || {
        lease.capture(|device| {
            notes = Some(record_scope(model, params, batch, f, device)?);
            Ok(())
        })
    };
    let captured = catch_unwind(AssertUnwindSafe(run))
        .map_err(|panic| Error::Closure { message: explained(panic_message(panic)) })??;
    let notes = notes.ok_or(Error::NoGradient)?;
    assemble(captured, notes)
}

/// A panic's message, with what it comes from where that is known.
fn explained(message: String) -> String {
    // A second training-mode forward of one layer moves the statistics that the first one computed.
    if message.contains("Cannot move a tensor to a capture device with autodiff enabled") {
        return format!(
            "{message} This is either a `to_device` in the closure, or a layer with running statistics (batch normalisation \
             in training) that is used twice: run both inputs through it as one batch, or give each use a layer of its own."
        );
    }
    message
}

/// What the run of the closure leaves behind beside the operations.
struct Notes<A> {
    params: Vec<TensorIr>,
    batch: Vec<TensorIr>,
    signature: Signature,
    loss: TensorIr,
    grads: Vec<Option<TensorIr>>,
    aux: Vec<TensorIr>,
    template: A,
}

fn record_scope<M, B, O, F>(model: &M, params: &Params, batch: &B, f: F, capture: &Device) -> Result<Notes<O::Aux>>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    let device = capture.clone().autodiff();
    let mut lift = LiftModule::new(model, params, capture);
    // `valid` makes fresh running statistics, so that nothing below reaches the user's own; bare tensors move with
    // `to_device`; the mapper then puts placeholders in place of the parameters and restores the training flags.
    let model = model.valid().to_device(capture).map(&mut lift);
    let home = params.device();
    let mut inputs = LiftBatch::new(&device, &home);
    let batch = batch.map(&mut inputs);
    if let Some(problem) = inputs.problem {
        return Err(problem);
    }

    let (loss, aux) = f(&model, batch).into_parts();
    if loss.shape().num_elements() != 1 {
        return Err(Error::NotScalar { shape: loss.dims().to_vec() });
    }
    let on_capture = loss.device() == *capture;
    let Ok(loss) = loss.try_into_primitive::<Ad>() else {
        return Err(if on_capture { Error::NoGradient } else { foreign("the loss") });
    };
    if !loss.is_tracked() {
        return Err(Error::NoGradient);
    }

    let mut outputs = CollectAux { tensors: Vec::new(), foreign: false };
    aux.map(&mut outputs);
    if outputs.foreign {
        return Err(foreign("an auxiliary tensor"));
    }
    let template = aux.map(&mut Hollow { device: home.clone() });

    let loss_ir = primitive_ir(Ad::inner(loss.clone()));
    let mut grads = Ad::backward(loss);
    let grads: Vec<_> = lift.leaves.iter().map(|leaf| Ad::grad_remove(leaf, &mut grads).map(primitive_ir)).collect();
    if grads.iter().all(Option::is_none) {
        return Err(Error::NoGradient);
    }
    let params = lift.leaves.iter().map(|leaf| primitive_ir(Ad::inner(leaf.clone()))).collect();
    let (batch, signature) = (inputs.tensors, inputs.signature);
    Ok(Notes { params, batch, signature, loss: loss_ir, grads, aux: outputs.tensors, template })
}

fn foreign(what: &str) -> Error {
    Error::ForeignOutput { what: what.into() }
}

fn primitive_ir(tensor: FloatTensor<Capture>) -> TensorIr {
    tensor.into_ir()
}

/// Puts placeholders in place of a module's trainable parameters.
struct LiftModule {
    order: HashMap<ParamId, usize>,
    leaves: Vec<FloatTensor<Ad>>,
    flags: HashMap<ParamId, bool>,
}

impl LiftModule {
    fn new<M: Module>(model: &M, params: &Params, capture: &Device) -> Self {
        let order = params.specs().iter().enumerate().map(|(at, spec)| (spec.id, at)).collect();
        let leaves = params.specs().iter().map(|param| placeholder(&param.spec, capture)).collect();
        let mut flags = Flags::default();
        model.visit(&mut flags);
        Self { order, leaves, flags: flags.0 }
    }
}

/// An `Empty` tensor that requires a gradient. Its operation is dropped from the graph: it becomes an input.
fn placeholder(spec: &TensorSpec, capture: &Device) -> FloatTensor<Ad> {
    let empty = Dispatch::float_empty(spec.shape.clone().into(), capture.as_dispatch(), spec.dtype.into());
    let empty = <DispatchTensor as DispatchKindConversion<Capture>>::try_into_backend(empty);
    let empty = empty.expect("a tensor made on a capture device is a capture tensor").float();
    Ad::float_set_require_grad(Ad::from_inner(empty), true)
}

impl ModuleMapper for LiftModule {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.order.get(&param.id) {
            Some(&at) => Param::initialized(param.id, Tensor::from_primitive::<Ad>(self.leaves[at].clone())),
            None => param,
        }
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        let enabled = self.flags.get(&flag.id).copied().unwrap_or(false);
        flag.with_value(enabled)
    }
}

/// The training flags of a module, as they are now.
#[derive(Default)]
struct Flags(HashMap<ParamId, bool>);

impl ModuleVisitor for Flags {
    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.0.insert(flag.id, flag.is_enabled());
    }
}

/// Puts placeholders in place of a batch's tensors, and notes what they are.
struct LiftBatch<'a> {
    capture: &'a Device,
    model: &'a Device,
    tensors: Vec<TensorIr>,
    signature: Signature,
    problem: Option<Error>,
}

impl<'a> LiftBatch<'a> {
    fn new(capture: &'a Device, model: &'a Device) -> Self {
        Self { capture, model, tensors: Vec::new(), signature: Signature::default(), problem: None }
    }

    fn note(&mut self, spec: TensorSpec, device: &Device, ir: TensorIr) {
        if device != self.model {
            let what = format!("batch tensor {}", self.tensors.len());
            let (found, expected) = (format!("{device:?}"), format!("{:?}", self.model));
            self.problem.get_or_insert(Error::TwoDevices { what, found, expected });
        }
        self.signature.tensors.push(spec);
        self.tensors.push(ir);
    }
}

/// The recorded value of a float tensor on a capture device, with or without autodiff.
fn float_ir<const D: usize>(tensor: &Tensor<D>) -> Option<TensorIr> {
    let tensor = tensor.clone();
    let primitive = match tensor.is_autodiff() {
        true => Ad::inner(tensor.try_into_primitive::<Ad>().ok()?),
        false => tensor.try_into_primitive::<Capture>().ok()?,
    };
    Some(primitive.into_ir())
}

fn int_ir<const D: usize>(tensor: &Tensor<D, Int>) -> Option<TensorIr> {
    Some(tensor.clone().inner().try_into_primitive::<Capture>().ok()?.into_ir())
}

fn bool_ir<const D: usize>(tensor: &Tensor<D, Bool>) -> Option<TensorIr> {
    Some(tensor.clone().inner().try_into_primitive::<Capture>().ok()?.into_ir())
}

macro_rules! lift {
    ($self:ident, $tensor:ident, $ir:ident) => {{
        let lifted = Tensor::empty($tensor.shape(), ($self.capture, $tensor.dtype()));
        if let Some(ir) = $ir(&lifted) {
            let spec = TensorSpec { shape: $tensor.dims().to_vec(), dtype: $tensor.dtype() };
            $self.note(spec, &$tensor.device(), ir);
        }
        lifted
    }};
}

impl BatchMapper for LiftBatch<'_> {
    fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        lift!(self, tensor, float_ir)
    }

    fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
        lift!(self, tensor, int_ir)
    }

    fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool> {
        lift!(self, tensor, bool_ir)
    }

    fn structure(&mut self, size: usize) {
        self.signature.structure.push(size);
    }
}

/// Notes the tensors of an auxiliary output.
struct CollectAux {
    tensors: Vec<TensorIr>,
    foreign: bool,
}

impl CollectAux {
    fn note(&mut self, ir: Option<TensorIr>) {
        match ir {
            Some(ir) => self.tensors.push(ir),
            None => self.foreign = true,
        }
    }
}

impl BatchMapper for CollectAux {
    fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        self.note(float_ir(tensor));
        tensor.clone()
    }

    fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
        self.note(int_ir(tensor));
        tensor.clone()
    }

    fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool> {
        self.note(bool_ir(tensor));
        tensor.clone()
    }
}

/// Replaces tensors by empty ones of the same rank, to keep a structure without what the capture device holds.
struct Hollow {
    device: Device,
}

impl BatchMapper for Hollow {
    fn float<const D: usize>(&mut self, _: &Tensor<D>) -> Tensor<D> {
        Tensor::empty([0; D], &self.device)
    }

    fn int<const D: usize>(&mut self, _: &Tensor<D, Int>) -> Tensor<D, Int> {
        Tensor::empty([0; D], &self.device)
    }

    fn bool<const D: usize>(&mut self, _: &Tensor<D, Bool>) -> Tensor<D, Bool> {
        Tensor::empty([0; D], &self.device)
    }
}

/// Turns captured operations and notes into a graph.
fn assemble<A>(captured: CapturedGraph, notes: Notes<A>) -> Result<Recording<A>> {
    let placeholders: HashSet<TensorId> = notes.params.iter().chain(&notes.batch).map(|tensor| tensor.id).collect();
    let is_placeholder = |op: &OperationIr| op.outputs().any(|out| placeholders.contains(&out.id));
    let mut ops: Vec<OperationIr> = captured.graph.operations;
    ops.retain(|op| !matches!(op, OperationIr::Init(_) | OperationIr::Drop(_)) && !is_placeholder(op));

    let mut next = 1 + ops.iter().flat_map(|op| op.nodes()).map(|tensor| tensor.id.value()).max().unwrap_or(0);
    let mut outputs = vec![notes.loss];
    for (grad, param) in notes.grads.into_iter().zip(&notes.params) {
        outputs.push(grad.unwrap_or_else(|| {
            // A parameter that the loss never touches has the gradient zero.
            let out = TensorIr::uninit(TensorId::new(next), param.shape.clone(), param.dtype);
            next += 1;
            ops.push(OperationIr::BaseFloat(BaseOperationIr::Zeros(CreationOpIr { out: out.clone() })));
            out
        }));
    }
    outputs.extend(notes.aux);

    let as_input = |role| move |tensor| Input { tensor, role };
    let mut inputs: Vec<Input> = notes.params.into_iter().map(as_input(Role::Parameter)).collect();
    inputs.extend(notes.batch.into_iter().map(as_input(Role::Batch)));
    let mut graph = Graph { inputs, ops, outputs: Vec::new() }.restricted_to(outputs);
    if let Some(op) = graph.ops.iter().find(|op| is_random(op)) {
        return Err(Error::Unsupported {
            op: crate::graph::op_name(op),
            transform: Transform::Trace,
            reason: "randomness inside a closure is not supported yet: pass the random numbers in with the batch, or \
                     disable the layer's training flag"
                .into(),
        });
    }
    let constants = add_constants(&mut graph, captured.values);
    let graph = normalized(graph);
    graph.check()?;
    Ok(Recording { graph, constants, batch: notes.signature, aux: notes.template })
}

fn is_random(op: &OperationIr) -> bool {
    matches!(
        op,
        OperationIr::Float(_, FloatOperationIr::Random(_))
            | OperationIr::NumericInt(_, NumericOperationIr::IntRandom(_))
    )
}

/// Makes every recorded value that the graph reads an input.
fn add_constants(graph: &mut Graph, mut values: std::collections::BTreeMap<TensorId, TensorData>) -> Vec<TensorData> {
    let mut constants = Vec::new();
    let reads = graph.ops.iter().flat_map(|op| op.inputs()).chain(&graph.outputs);
    for read in reads {
        if let Some(data) = values.remove(&read.id) {
            graph.inputs.push(Input { tensor: read.clone(), role: Role::Constant });
            constants.push(data);
        }
    }
    constants
}
