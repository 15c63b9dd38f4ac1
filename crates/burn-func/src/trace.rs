//! Records a closure, forward and backward, as one graph.
//!
//! The closure runs once on a capture device with autodiff on top, over placeholders that have the shapes and types of
//! the module's parameters and of the batch. Nothing is computed.
//!
//! Does not know: derivative rules, devices that execute.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, CapturedGraph, Device, Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_backend::AutodiffBackend;
use burn_backend::ops::FloatTensorOps;
use burn_backend::tensor::FloatTensor;
use burn_dispatch::backends::Capture;
use burn_dispatch::{Dispatch, DispatchKindConversion, DispatchTensor};
use burn_ir::{BaseOperationIr, CreationOpIr, OperationIr, RandomOpIr, TensorId, TensorIr};

use crate::batch::{Batch, BatchMapper, Output};
use crate::capture::Lease;
use crate::error::{Error, Result, Transform};
use crate::graph::{Graph, Input, Role, as_random, normalized, op_name};
use crate::lower::expands;
use crate::params::{ParamSpec, Params};
use crate::quiet::caught;
use crate::random::Draw;
use crate::value::TensorSpec;

type Ad = Autodiff<Capture>;

/// A recorded closure: its graph and what is needed to run it.
pub(crate) struct Recording<A> {
    /// Inputs: parameters, batch, constants, random numbers. Outputs: loss, one gradient per parameter, auxiliary tensors.
    pub graph: Graph,
    /// The same inputs. Outputs: running statistics after the forward pass.
    pub statistics: Graph,
    /// What the outputs of `statistics` are.
    pub buffers: Vec<ParamSpec>,
    /// Values of the constants.
    pub constants: Vec<Constant>,
    /// What the random operations draw.
    pub draws: Vec<Draw>,
    /// Shapes of the batch.
    pub batch: Signature,
    /// Structure of the auxiliary output; its tensors are empty.
    pub aux: A,
}

/// A value that was frozen when the closure was traced.
#[derive(PartialEq)]
pub(crate) struct Constant {
    pub data: TensorData,
    /// The frozen parameter or running statistic of the module that it is, if it is one.
    pub of: Option<ParamSpec>,
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
    let captured = caught(run).map_err(|message| Error::Closure { message: explained(message) })??;
    let notes = notes.ok_or(Error::NoGradient)?;
    assemble(captured, notes)
}

/// What panics of Burn in a traced closure come from, by a part of their message.
const ADVICE: [(&str, &str); 8] = [
    (
        "not on the same device",
        "a tensor from outside the closure meets one of the trace: pass it in with the batch, or keep it in the module; make \
         new tensors on the device of the batch (`x.device()`)",
    ),
    (
        "is on the wrong backend",
        "a tensor or module from outside the closure meets one of the trace: pass the tensor in with the batch, or keep it \
         in the module; make new tensors on the device of the batch (`x.device()`)",
    ),
    (
        "Error while reading data",
        "no value is known yet while a closure is traced, so that none can be read in it (`into_data`, `into_scalar`): \
         compute with tensors, or return what is to be read beside the loss",
    ),
    (
        "Capture tensors do not support autodiff",
        "`backward`, `inner`, `valid` and `train` cannot be called in a traced closure: return the loss and its gradient is \
         taken; a value to be held constant goes through `burn_func::stop_gradient`",
    ),
    (
        // A second training-mode forward of one layer moves the statistics that the first one computed.
        "Cannot move a tensor to a capture device with autodiff enabled",
        "this is either a `to_device` in the closure, or a layer with running statistics (batch normalisation in training) \
         that is used twice: run both inputs through it as one batch, or give each use a layer of its own",
    ),
    (
        "Cannot move",
        "a traced closure has one device: drop the `to_device`, and pass what lives elsewhere in with the batch",
    ),
    // Named by the place alone.
    ("qtensor.rs", "quantized tensors cannot be recorded: trace the module with weights that are not quantized"),
    ("DTypeMismatch", "two tensors of different element types meet: cast one of them"),
];

/// A panic's message, with what it comes from and what to do where that is known.
fn explained(message: String) -> String {
    match ADVICE.iter().find(|(part, _)| message.contains(part)) {
        Some((_, advice)) => format!("{message}\nHere: {advice}."),
        None => message,
    }
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
    frozen: Vec<Frozen>,
    updated: Vec<Frozen>,
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
    // `to_device`; the mapper then puts placeholders in place of the parameters and restores the training flags. What the
    // placeholders stand for stays where it is: moving it would read every parameter back from its device.
    let model = model.valid().map(&mut Vacate { params: &lift.order, capture }).to_device(capture).map(&mut lift);
    let home = params.device();
    let frozen = Frozen::of(&model, params);
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
    let updated = updated(model, params, &frozen);
    let params = lift.leaves.iter().map(|leaf| primitive_ir(Ad::inner(leaf.clone()))).collect();
    let (batch, signature) = (inputs.tensors, inputs.signature);
    Ok(Notes { params, batch, signature, loss: loss_ir, grads, aux: outputs.tensors, template, frozen, updated })
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

/// A float tensor of the module that is no placeholder, and what it is recorded as.
struct Frozen {
    spec: ParamSpec,
    ir: TensorIr,
}

impl Frozen {
    fn of<M: Module>(model: &M, params: &Params) -> Vec<Self> {
        let trainable = params.specs().iter().map(|spec| spec.id).collect();
        let mut collect = CollectFrozen { path: Vec::new(), trainable, found: Vec::new() };
        model.visit(&mut collect);
        collect.found
    }
}

struct CollectFrozen {
    path: Vec<String>,
    trainable: HashSet<ParamId>,
    found: Vec<Frozen>,
}

impl ModuleVisitor for CollectFrozen {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.base();
        if self.trainable.contains(&param.id) {
            return;
        }
        let Some(ir) = float_ir(&tensor) else { return };
        let spec = TensorSpec { shape: tensor.dims().to_vec(), dtype: tensor.dtype() };
        self.found.push(Frozen { spec: ParamSpec { id: param.id, path: self.path.join("."), spec }, ir });
    }
}

/// The running statistics that the closure has updated: what is another tensor now than it was before.
fn updated<M: Module>(model: M, params: &Params, before: &[Frozen]) -> Vec<Frozen> {
    if before.is_empty() {
        return Vec::new();
    }
    let mut now = up_to_date(model, before.len()).map_or_else(Vec::new, |model| Frozen::of(&model, params));
    now.retain(|now| before.iter().any(|then| then.spec.id == now.spec.id && then.ir.id != now.ir.id));
    now
}

/// The module with its running statistics up to date.
///
/// An update waits in the running state until the state is asked for its value by name, or the module for `train` or
/// `valid`. But `train` panics at a tensor of a capture device that is not on autodiff, `valid` at one that is.
fn up_to_date<M: Module>(mut model: M, statistics: usize) -> Option<M> {
    let tracked = model.clone().map(&mut Tracked);
    if let Ok(model) = caught(move || tracked.train()) {
        return Some(model);
    }
    // A tensor that is no parameter cannot be put on autodiff. Then `valid`, as often as there are statistics: it brings up
    // to date the one that it panics at, which can be made plain for the next attempt.
    for _ in 0..=statistics {
        model = model.map(&mut Plain);
        if let Ok(model) = caught(|| model.valid()) {
            return Some(model);
        }
    }
    None
}

/// Puts the parameters and statistics of a module on autodiff.
struct Tracked;

impl ModuleMapper for Tracked {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match param.base().try_into_primitive::<Capture>() {
            Ok(tensor) => Param::initialized(param.id, Tensor::from_primitive::<Ad>(Ad::from_inner(tensor))),
            Err(_) => param,
        }
    }
}

/// Takes the parameters and statistics of a module out of autodiff.
struct Plain;

impl ModuleMapper for Plain {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match param.base().try_into_primitive::<Ad>() {
            Ok(tensor) => Param::initialized(param.id, Tensor::from_primitive::<Capture>(Ad::inner(tensor))),
            Err(_) => param,
        }
    }
}

/// Puts empty tensors of the capture device in place of a module's trainable parameters.
struct Vacate<'a> {
    params: &'a HashMap<ParamId, usize>,
    capture: &'a Device,
}

impl ModuleMapper for Vacate<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.params.contains_key(&param.id) {
            true => Param::initialized(param.id, Tensor::empty([1; D], self.capture)),
            false => param,
        }
    }
}

/// The training flags of a module, as they are now.
#[derive(Default)]
pub(crate) struct Flags(pub HashMap<ParamId, bool>);

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
    let streams = ops.iter().filter_map(as_random).map(|random| random.out.id).zip(0..).collect();

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
    let (buffers, updated): (Vec<_>, Vec<_>) = notes.updated.into_iter().map(|buffer| (buffer.spec, buffer.ir)).unzip();
    let all = [outputs.as_slice(), &updated].concat();
    let mut both = Graph { inputs, ops, outputs: Vec::new() }.restricted_to(all);
    let (randoms, draws) = take_random(&mut both, &streams)?;
    let constants = add_constants(&mut both, captured.values, notes.frozen);
    both.inputs.extend(randoms);

    let graph = normalized(both.restricted_to(outputs));
    graph.check()?;
    expands(&graph, Transform::Trace)?;
    let statistics = normalized(both.restricted_to(updated));
    Ok(Recording { graph, statistics, buffers, constants, draws, batch: notes.signature, aux: notes.template })
}

/// Makes the result of every random operation an input. Which of a key's streams each reads is its place among all that
/// were recorded, so that what a closure returns beside the loss does not change what its loss sees.
fn take_random(graph: &mut Graph, streams: &HashMap<TensorId, u64>) -> Result<(Vec<Input>, Vec<Draw>)> {
    let (mut inputs, mut draws) = (Vec::new(), Vec::new());
    let (random, ops): (Vec<_>, Vec<_>) =
        std::mem::take(&mut graph.ops).into_iter().partition(|op| as_random(op).is_some());
    graph.ops = ops;
    for op in &random {
        let Some(RandomOpIr { out, distribution }) = as_random(op) else { continue };
        let spec = TensorSpec { shape: out.shape.to_vec(), dtype: out.dtype };
        let draw = Draw { spec, distribution: *distribution, stream: streams[&out.id] };
        draws.push(draw.check(|| op_name(op))?);
        inputs.push(Input { tensor: out.clone(), role: Role::Random });
    }
    Ok((inputs, draws))
}

/// Makes every recorded value that the graph reads an input.
fn add_constants(graph: &mut Graph, mut values: BTreeMap<TensorId, TensorData>, frozen: Vec<Frozen>) -> Vec<Constant> {
    let mut frozen: HashMap<TensorId, ParamSpec> = frozen.into_iter().map(|each| (each.ir.id, each.spec)).collect();
    let mut constants = Vec::new();
    let reads = graph.ops.iter().flat_map(|op| op.inputs()).chain(&graph.outputs);
    for read in reads {
        if let Some(data) = values.remove(&read.id) {
            graph.inputs.push(Input { tensor: read.clone(), role: Role::Constant });
            constants.push(Constant { data, of: frozen.remove(&read.id) });
        }
    }
    constants
}
