//! Rewrites a recorded graph for the device it is to run on.
//!
//! A recording keeps the types that it was made with: integers of 64 bits where the device may have 32, booleans stored as
//! another device stores them. This pass puts the device's own in their place:
//!
//! - booleans are stored as the device stores them by default;
//! - integers keep their type where the device computes in it, and take its default integer type elsewhere;
//! - floats keep their type, always; one that the device does not compute in is an error;
//! - an operation that its backend has no kernel for is an error;
//! - a cast between integer types, which Burn's interpreter cannot run, goes through a float;
//! - `gelu` with its backward, and `sigmoid` in double precision, are spelled out wherever a backend's own version is an
//!   approximation (`gelu_backward` by `tanh`, `sigmoid` by way of single precision): every device computes the same
//!   function.
//!
//! Does not know: derivatives, programs.

use std::borrow::Cow;
use std::collections::HashMap;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::tensor::{DType, Device, DeviceSettings};
use burn_ir::{
    ActivationOperationIr as Act, BaseOperationIr as Base, CastOpIr, FloatOperationIr, IntOperationIr, IrVisitorMut,
    OperationIr, ScalarIr, TensorId, TensorIr, UnaryOpIr,
};

use crate::emit::Emitter;
use crate::error::{Error, Result};
use crate::executor::backend_name;
use crate::gaps::gap;
use crate::graph::{Graph, Input, Role, normalized, op_name};
use crate::params::ParamSpec;

/// The graph as `device` can run it; inputs and outputs stay in their places, integer and boolean ones may change type.
/// `params` names the parameters in errors.
///
/// # Errors
///
/// [`Error::UnsupportedType`] for a float type that the device does not compute in, [`Error::NoKernel`] for an operation that
/// its backend lacks, [`Error::Malformed`] for an integer literal that the device's integers cannot hold.
pub(crate) fn legalized<'a>(graph: &'a Graph, device: &Device, params: &[ParamSpec]) -> Result<Cow<'a, Graph>> {
    legalized_for(Target::new(device), graph, params)
}

fn legalized_for<'a>(mut target: Target, graph: &'a Graph, params: &[ParamSpec]) -> Result<Cow<'a, Graph>> {
    target.check_floats(graph, params)?;
    target.check_kernels(graph)?;
    if target.accepts(graph) {
        return Ok(Cow::Borrowed(graph));
    }
    let mut pass = Pass { target, emit: Emitter::starting_at(graph.next_id()), renamed: HashMap::new() };
    let inputs = graph.inputs.iter().map(|input| Input { tensor: pass.retyped(&input.tensor), role: input.role });
    let inputs = inputs.collect();
    for op in &graph.ops {
        pass.rewrite(op)?;
    }
    let outputs = graph.outputs.iter().map(|out| pass.retyped(out)).collect();
    let graph = normalized(Graph { inputs, ops: pass.emit.ops, outputs });
    graph.check()?;
    Ok(Cow::Owned(graph))
}

/// What a device computes in.
struct Target<'a> {
    device: &'a Device,
    settings: DeviceSettings,
    /// Answers of the device, which may be another machine's.
    asked: HashMap<DType, bool>,
    /// Name of its backend.
    backend: String,
    /// Whether its backend has kernels of its own for the activations, exact in every precision.
    exact: bool,
}

impl<'a> Target<'a> {
    fn new(device: &'a Device) -> Self {
        let backend = backend_name(device);
        Self { device, settings: device.settings(), asked: HashMap::new(), exact: backend == "Flex", backend }
    }

    fn supports(&mut self, dtype: DType) -> bool {
        *self.asked.entry(dtype).or_insert_with(|| self.device.supports_dtype(dtype))
    }

    /// The type that stands for `dtype` on the device.
    fn legal(&mut self, dtype: DType) -> DType {
        match dtype {
            DType::Bool(_) => self.settings.bool_dtype.into(),
            _ if is_integer(dtype) && !self.supports(dtype) => self.settings.int_dtype.into(),
            _ => dtype,
        }
    }

    fn accepts(&mut self, graph: &Graph) -> bool {
        let inputs = graph.inputs.iter().map(|input| &input.tensor);
        let mut tensors = inputs.chain(graph.ops.iter().flat_map(|op| op.outputs()));
        tensors.all(|tensor| self.legal(tensor.dtype) == tensor.dtype) && !graph.ops.iter().any(|op| self.expands(op))
    }

    /// Whether the operation is run as others.
    fn expands(&self, op: &OperationIr) -> bool {
        match op {
            OperationIr::BaseInt(Base::Cast(_)) => true,
            OperationIr::Activation(Act::Gelu(_) | Act::GeluBackward(_)) => !self.exact,
            OperationIr::Activation(Act::Sigmoid(sigmoid)) => !self.exact && sigmoid.out.dtype == DType::F64,
            _ => false,
        }
    }

    fn check_floats(&mut self, graph: &Graph, params: &[ParamSpec]) -> Result<()> {
        let (mut parameters, mut batch) = (params.iter(), 0..);
        for Input { tensor, role } in &graph.inputs {
            let what = match role {
                Role::Parameter => parameters.next().map(|param| format!("parameter `{}`", param.path)),
                Role::Batch => batch.next().map(|at: usize| format!("batch tensor {at}")),
                _ => None,
            };
            self.check_float(tensor.dtype, || what.unwrap_or_else(|| "a constant of the closure".into()))?;
        }
        for op in &graph.ops {
            for out in op.outputs() {
                self.check_float(out.dtype, || format!("a result of `{}`", op_name(op)))?;
            }
        }
        Ok(())
    }

    fn check_kernels(&self, graph: &Graph) -> Result<()> {
        match graph.ops.iter().find_map(|op| gap(&self.backend, op).map(|reason| (op, reason))) {
            None => Ok(()),
            Some((op, reason)) => {
                Err(Error::NoKernel { op: op_name(op), device: format!("{:?}", self.device), reason })
            }
        }
    }

    fn check_float(&mut self, dtype: DType, what: impl FnOnce() -> String) -> Result<()> {
        if !dtype.is_float() || self.supports(dtype) {
            return Ok(());
        }
        Err(unsupported_type(what(), dtype, self.device))
    }
}

/// The error for a float type that a device does not compute in.
pub(crate) fn unsupported_type(what: String, dtype: DType, device: &Device) -> Error {
    let floats = [DType::F64, DType::F32, DType::F16, DType::BF16];
    let supported = floats.into_iter().filter(|&dtype| device.supports_dtype(dtype)).collect();
    Error::UnsupportedType { what, dtype, device: format!("{device:?}"), supported }
}

/// Whether tensors of this type are Burn's `Int` tensors.
pub(crate) fn is_integer(dtype: DType) -> bool {
    dtype.is_int() || dtype.is_uint()
}

/// Whether an integer type holds a value.
pub(crate) fn holds(dtype: DType, value: i128) -> bool {
    let range = match dtype {
        DType::I64 => i64::MIN.into()..=i64::MAX.into(),
        DType::I32 => i32::MIN.into()..=i32::MAX.into(),
        DType::I16 => i16::MIN.into()..=i16::MAX.into(),
        DType::I8 => i8::MIN.into()..=i8::MAX.into(),
        DType::U64 => 0..=u64::MAX.into(),
        DType::U32 => 0..=u32::MAX.into(),
        DType::U16 => 0..=u16::MAX.into(),
        DType::U8 => 0..=u8::MAX.into(),
        _ => return true,
    };
    range.contains(&value)
}

struct Pass<'a> {
    target: Target<'a>,
    emit: Emitter,
    /// Values that are now computed under another id.
    renamed: HashMap<TensorId, TensorId>,
}

impl Pass<'_> {
    fn rewrite(&mut self, op: &OperationIr) -> Result<()> {
        let recorded = op;
        let mut op = op.clone();
        op.visit_mut(self);
        if let OperationIr::NumericInt(dtype, _) = &mut op {
            *dtype = self.target.legal(*dtype);
        }
        check_literals(recorded, &op)?;
        if !self.target.expands(&op) {
            self.emit.ops.push(op);
            return Ok(());
        }
        let (out, new) = match &op {
            OperationIr::BaseInt(Base::Cast(cast)) => (&cast.out, self.int_cast(cast)),
            OperationIr::Activation(Act::Gelu(gelu)) => (&gelu.out, self.gelu(&gelu.input)),
            OperationIr::Activation(Act::GeluBackward(gelu)) => (&gelu.out, self.gelu_backward(&gelu.lhs, &gelu.rhs)),
            OperationIr::Activation(Act::Sigmoid(sigmoid)) => (&sigmoid.out, self.sigmoid(&sigmoid.input)),
            _ => unreachable!("every operation that expands has its expansion here"),
        };
        self.renamed.insert(out.id, new.id);
        Ok(())
    }

    fn retyped(&mut self, tensor: &TensorIr) -> TensorIr {
        let mut tensor = tensor.clone();
        self.visit_tensor_mut(&mut tensor);
        tensor
    }

    /// Exact for what the float between holds: up to 2^53, or up to 2^24 on a device without double precision.
    fn int_cast(&mut self, cast: &CastOpIr) -> TensorIr {
        if cast.input.dtype == cast.out.dtype {
            return cast.input.clone();
        }
        let between = if self.target.supports(DType::F64) { DType::F64 } else { DType::F32 };
        let float = self.emit.value(cast.input.shape.clone(), between);
        let op = CastOpIr { input: cast.input.clone(), out: float.clone() };
        let float = self.emit.push(OperationIr::Int(IntOperationIr::IntoFloat(op)), float);
        let int = self.emit.like(&cast.out);
        let op = FloatOperationIr::IntoInt(CastOpIr { input: float, out: int.clone() });
        self.emit.push(OperationIr::Float(between, op), int)
    }

    /// `x cdf(x)`.
    fn gelu(&mut self, x: &TensorIr) -> TensorIr {
        let cdf = self.normal_cdf(x);
        self.emit.mul(x, &cdf)
    }

    /// `(cdf(x) + x density(x)) grad`.
    fn gelu_backward(&mut self, x: &TensorIr, grad: &TensorIr) -> TensorIr {
        let cdf = self.normal_cdf(x);
        let emit = &mut self.emit;
        let square = emit.mul(x, x);
        let half = emit.mul_scalar(&square, -0.5);
        let bell = emit.exp(&half);
        let density = emit.mul_scalar(&bell, 1.0 / (2.0 * PI).sqrt());
        let rest = emit.mul(x, &density);
        let slope = emit.add(&cdf, &rest);
        emit.mul(&slope, grad)
    }

    /// `(1 + erf(x / sqrt(2))) / 2`.
    fn normal_cdf(&mut self, x: &TensorIr) -> TensorIr {
        let scaled = self.emit.mul_scalar(x, FRAC_1_SQRT_2);
        let out = self.emit.like(&scaled);
        let erf = FloatOperationIr::Erf(UnaryOpIr { input: scaled, out: out.clone() });
        let erf = self.emit.push(OperationIr::Float(out.dtype, erf), out);
        let shifted = self.emit.add_scalar(&erf, 1.0);
        self.emit.mul_scalar(&shifted, 0.5)
    }

    /// `1 / (1 + exp(-x))`.
    fn sigmoid(&mut self, x: &TensorIr) -> TensorIr {
        let negative = self.emit.neg(x);
        let exp = self.emit.exp(&negative);
        let shifted = self.emit.add_scalar(&exp, 1.0);
        self.emit.recip(&shifted)
    }
}

impl IrVisitorMut for Pass<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.id = self.renamed.get(&tensor.id).copied().unwrap_or(tensor.id);
        tensor.dtype = self.target.legal(tensor.dtype);
    }
}

/// Checks that the literals of an operation on integers fit in the type its tensors have now.
fn check_literals(recorded: &OperationIr, legal: &OperationIr) -> Result<()> {
    if !matches!(recorded, OperationIr::BaseInt(_) | OperationIr::NumericInt(..) | OperationIr::Int(_)) {
        return Ok(());
    }
    let changed = recorded
        .nodes()
        .into_iter()
        .zip(legal.nodes())
        .find(|(was, is)| is_integer(was.dtype) && was.dtype != is.dtype);
    let Some((was, is)) = changed else { return Ok(()) };
    let mut literals = Literals { dtype: is.dtype, outside: None };
    legal.clone().visit_mut(&mut literals);
    match literals.outside {
        None => Ok(()),
        Some(value) => Err(Error::Malformed {
            problem: format!("{value}, recorded as {:?}, does not fit in the device's {:?}", was.dtype, is.dtype),
            context: op_name(recorded),
        }),
    }
}

struct Literals {
    dtype: DType,
    outside: Option<i128>,
}

impl IrVisitorMut for Literals {
    fn visit_scalar_mut(&mut self, scalar: &mut ScalarIr) {
        let value = match *scalar {
            ScalarIr::Int(value) => i128::from(value),
            ScalarIr::UInt(value) => i128::from(value),
            ScalarIr::Float(_) | ScalarIr::Bool(_) => return,
        };
        if !holds(self.dtype, value) {
            self.outside = Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::run;
    use crate::program::Program;
    use crate::value::{TensorSpec, Value};
    use burn::module::ParamId;
    use burn::tensor::{BoolDType, BoolStore, IntDType};
    use burn_ir::{
        BinaryOpIr, InterpolateBackwardOpIr, InterpolateModeIr, InterpolateOptionsIr, ModuleOperationIr,
        NumericOperationIr, ScalarOpIr,
    };

    /// A device without numbers of 64 bits, which stores booleans in 32 and has no activations of its own.
    fn small(device: &Device) -> Target<'_> {
        let settings = DeviceSettings { int_dtype: IntDType::I32, bool_dtype: BoolDType::U32, ..device.settings() };
        let asked = HashMap::from([(DType::I64, false), (DType::F64, false)]);
        Target { device, settings, asked, backend: "small".into(), exact: false }
    }

    fn input(emit: &mut Emitter, dtype: DType, role: Role) -> Input {
        Input { tensor: emit.value([3].into(), dtype), role }
    }

    fn add_scalar(emit: &mut Emitter, lhs: &TensorIr, rhs: i64) -> TensorIr {
        let out = emit.like(lhs);
        let op =
            NumericOperationIr::AddScalar(ScalarOpIr { lhs: lhs.clone(), rhs: ScalarIr::Int(rhs), out: out.clone() });
        emit.push(OperationIr::NumericInt(out.dtype, op), out)
    }

    fn cast(emit: &mut Emitter, input: &TensorIr, dtype: DType) -> TensorIr {
        let out = emit.value(input.shape.clone(), dtype);
        let op = Base::Cast(CastOpIr { input: input.clone(), out: out.clone() });
        emit.push(OperationIr::BaseInt(op), out)
    }

    /// `labels + literal > labels`, with labels of 64 bits.
    fn comparison(literal: i64) -> Graph {
        let mut emit = Emitter::starting_at(0);
        let labels = input(&mut emit, DType::I64, Role::Batch);
        let lhs = add_scalar(&mut emit, &labels.tensor, literal);
        let out = emit.value([3].into(), DType::Bool(BoolStore::Native));
        let greater = BinaryOpIr { lhs, rhs: labels.tensor.clone(), out: out.clone() };
        let out = emit.push(OperationIr::NumericInt(DType::I64, NumericOperationIr::Greater(greater)), out);
        Graph { inputs: vec![labels], ops: emit.ops, outputs: vec![out] }
    }

    #[test]
    fn integers_and_booleans_take_the_types_of_the_device() {
        let device = Device::flex();
        let graph = comparison(1);
        let legal = legalized_for(small(&device), &graph, &[]).unwrap();
        assert_eq!(legal.inputs[0].tensor.dtype, DType::I32);
        assert_eq!(legal.outputs[0].dtype, DType::Bool(BoolStore::U32));
        assert!(legal.ops.iter().all(|op| matches!(op, OperationIr::NumericInt(DType::I32, _))), "{legal}");
    }

    #[test]
    fn a_graph_that_the_device_can_run_stays_as_it_is() {
        let (device, graph) = (Device::flex(), comparison(1));
        assert!(matches!(legalized(&graph, &device, &[]), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn a_literal_that_does_not_fit_is_an_error() {
        let (device, graph) = (Device::flex(), comparison(1 << 40));
        match legalized_for(small(&device), &graph, &[]) {
            Err(Error::Malformed { problem, .. }) => assert!(problem.starts_with("1099511627776"), "{problem}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn integer_casts_go_through_a_float_or_away() {
        let mut emit = Emitter::starting_at(0);
        let labels = input(&mut emit, DType::I32, Role::Batch);
        let wide = cast(&mut emit, &labels.tensor, DType::I64);
        let graph = Graph { inputs: vec![labels], ops: emit.ops, outputs: vec![wide] };
        let device = Device::flex();

        let gone = legalized_for(small(&device), &graph, &[]).unwrap();
        assert!(gone.ops.is_empty() && gone.outputs[0].id == gone.inputs[0].tensor.id, "{gone}");

        let legal = legalized(&graph, &device, &[]).unwrap();
        let numbers = burn::tensor::TensorData::from([7i32, -3, 1 << 30]);
        let found = run(&device, &Program::new(&legal), vec![Value::from_data(numbers, &device)]).unwrap();
        assert_eq!(found[0].dtype(), DType::I64);
        let found = found.into_iter().next().unwrap().tensor::<1, burn::tensor::Int>().unwrap();
        assert_eq!(found.into_data().iter::<i64>().collect::<Vec<_>>(), [7, -3, 1 << 30]);
    }

    #[test]
    fn a_float_type_is_refused_with_the_name_of_its_parameter() {
        let mut emit = Emitter::starting_at(0);
        let weight = input(&mut emit, DType::F64, Role::Parameter);
        let out = emit.exp(&weight.tensor);
        let graph = Graph { inputs: vec![weight], ops: emit.ops, outputs: vec![out] };
        let spec = TensorSpec { shape: vec![3], dtype: DType::F64 };
        let params = [ParamSpec { id: ParamId::new(), path: "head.weight".into(), spec }];
        let device = Device::flex();
        match legalized_for(small(&device), &graph, &params) {
            Err(Error::UnsupportedType { what, dtype, supported, .. }) => {
                assert_eq!((what.as_str(), dtype), ("parameter `head.weight`", DType::F64));
                assert!(supported.contains(&DType::F32));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_operation_without_a_kernel_is_refused_by_name() {
        let mut emit = Emitter::starting_at(0);
        let mut image = || Input { tensor: emit.value([1, 2, 6, 4].into(), DType::F32), role: Role::Batch };
        let (x, grad) = (image(), image());
        let out = emit.like(&x.tensor);
        let options = InterpolateOptionsIr { mode: InterpolateModeIr::Bilinear, align_corners: false };
        let (grad_of, output_size) = (grad.tensor.clone(), [6, 4]);
        let op = InterpolateBackwardOpIr { x: x.tensor.clone(), grad: grad_of, output_size, options, out: out.clone() };
        let out = emit.push(OperationIr::Module(ModuleOperationIr::InterpolateBackward(op)), out);
        let graph = Graph { inputs: vec![x, grad], ops: emit.ops, outputs: vec![out] };

        let device = Device::flex();
        assert!(legalized(&graph, &device, &[]).is_ok());
        let elsewhere = Target { backend: "Cube".into(), ..Target::new(&device) };
        let error = legalized_for(elsewhere, &graph, &[]).unwrap_err().to_string();
        assert!(error.starts_with("`Module::InterpolateBackward` does not run on Device<Flex(Cpu)>: "), "{error}");
        assert!(error.contains("InterpolateMode::Nearest"), "{error}");
    }

    #[test]
    fn activations_spelled_out_are_the_ones_of_flex() {
        let mut emit = Emitter::starting_at(0);
        let (x, grad) = (input(&mut emit, DType::F64, Role::Batch), input(&mut emit, DType::F64, Role::Batch));
        let unary = |emit: &mut Emitter, kind: fn(UnaryOpIr) -> Act| {
            let out = emit.like(&x.tensor);
            emit.push(OperationIr::Activation(kind(UnaryOpIr { input: x.tensor.clone(), out: out.clone() })), out)
        };
        let (gelu, sigmoid) = (unary(&mut emit, Act::Gelu), unary(&mut emit, Act::Sigmoid));
        let backward = emit.activation(Act::GeluBackward, &x.tensor, &grad.tensor);
        let graph = Graph { inputs: vec![x, grad], ops: emit.ops, outputs: vec![gelu, sigmoid, backward] };

        let device = Device::flex();
        let other = Target { exact: false, ..Target::new(&device) };
        let spelled = legalized_for(other, &graph, &[]).unwrap();
        assert!(!spelled.ops.iter().any(|op| matches!(op, OperationIr::Activation(_))), "{spelled}");
        let values = || {
            let data = [[-2.5, 0.3, 40.0], [1.0, -0.7, 2.0]].map(burn::tensor::TensorData::from);
            data.map(|data| Value::from_data(data, &device)).to_vec()
        };
        let own = run(&device, &Program::new(&graph), values()).unwrap();
        let spelled = run(&device, &Program::new(&spelled), values()).unwrap();
        for (own, spelled) in own.iter().zip(&spelled) {
            for (own, spelled) in own.to_f64().iter().zip(spelled.to_f64()) {
                // A few roundings; the approximation by tanh is off by up to 9e-4.
                assert!((own - spelled).abs() <= 1e-14 * (1.0 + own.abs()), "{own} {spelled}");
            }
        }
    }
}
