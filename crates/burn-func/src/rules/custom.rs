//! Rules for operations of a user's own.
//!
//! Such an operation is a [`CustomOpIr`] in a graph. A program never runs it: it is expanded into plain operations, so
//! that every device can. What it buys is a derivative of its own, in reverse and in forward mode: one that is more
//! stable, or shorter, than that of the operations it expands into.
//!
//! Does not know: how an operation comes into a trace ([`CustomOp::apply`] does).

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use burn_ir::{CustomOpIr, OperationIr, ScalarIr, TensorIr};

use super::{Batching, Derivative, Rule, Work};
use crate::emit::Emitter;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::stop;

/// Everything there is to know of an operation of one's own. All functions must depend on their arguments alone: they
/// are called once per graph, not once per run.
#[derive(Clone, Copy, Debug)]
pub struct CustomRule {
    /// Its name, unique in the process: `my_crate.soft_abs`.
    pub id: &'static str,
    /// Emits it in plain operations.
    pub lower: Lower,
    /// Emits its reverse mode.
    pub backward: Backward,
    /// Its forward mode. [`Derivative::Formula`] is handed the operation as `OperationIr::Custom`; the formula may use
    /// whatever the emitter can emit, registered operations of one's own included.
    pub derivative: Derivative,
    /// How it takes a leading batch axis.
    pub batching: Batching,
}

/// Emits the result of an operation in plain operations, from its inputs and its numbers. The result may be an input.
pub type Lower = fn(&mut Emitter, &[TensorIr], &[ScalarIr]) -> TensorIr;

/// Emits, from the operation and the gradient of its result, one gradient per input, each of the shape and type of that
/// input. What an input that nothing depends on gets is never computed. It is recorded without autodiff and differentiated
/// by the [table](super::rows): a maximum emitted without its indices counts as a constant there.
pub type Backward = fn(&mut Emitter, &CustomOpIr, &TensorIr) -> Vec<TensorIr>;

/// A registered operation: a name for its rule, to be kept in a static and [applied](CustomOp::apply) in closures.
#[derive(Clone, Copy, Debug)]
pub struct CustomOp(pub(crate) &'static Registered);

/// A rule as the registry holds it.
#[derive(Debug)]
pub(crate) struct Registered {
    pub row: Rule,
    pub lower: Lower,
    pub backward: Backward,
}

/// Rules live as long as the process and never change: programs are cached by graphs, which name operations by id alone.
static RULES: RwLock<BTreeMap<&'static str, &'static Registered>> = RwLock::new(BTreeMap::new());

/// Makes an operation known, once per process.
///
/// # Errors
///
/// [`Error::DuplicateRule`] if there is one of this id. Keep the result in a `static`, as a `LazyLock`, where several
/// threads or tests may come first.
///
/// # Example
///
/// `|x|` rounded off: `sqrt(x^2 + eps)`.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use burn_func::rules::{Batching, CustomRule, Derivative, register};
/// use burn_func::linearize;
///
/// let soft_abs = register(CustomRule {
///     id: "example.soft_abs",
///     lower: |emit, x, eps| {
///         let square = emit.mul(&x[0], &x[0]);
///         let shifted = emit.add_scalar(&square, eps[0].elem());
///         emit.sqrt(&shifted)
///     },
///     // d y / d x = x / y, towards the input and, below, from it.
///     backward: |emit, op, grad| {
///         let inverse = emit.recip(&op.outputs[0]);
///         let slope = emit.mul(&op.inputs[0], &inverse);
///         vec![emit.mul(grad, &slope)]
///     },
///     derivative: Derivative::Formula(|jvp, op| {
///         let (x, y) = (op.inputs().next().unwrap().clone(), op.outputs().next().unwrap().clone());
///         if let Some(tangent) = jvp.tangent(&x) {
///             let inverse = jvp.emit.recip(&y);
///             let slope = jvp.emit.mul(&x, &inverse);
///             let tangent = jvp.emit.mul(&slope, &tangent);
///             jvp.set(&y, tangent);
///         }
///         Ok(())
///     }),
///     batching: Batching::Elementwise,
/// })?;
///
/// let device = Device::flex().autodiff();
/// let model = LinearConfig::new(2, 1).init(&device);
/// let x = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
/// let point = linearize(&model, &x, |model: &Linear, x: Tensor<2>| {
///     let y: Tensor<2> = soft_abs.apply([model.forward(x)], &[1e-3]).expect("inside of a trace");
///     y.mean()
/// })?;
/// let _curvature = point.hvp(point.grad())?;
/// # Ok::<(), burn_func::Error>(())
/// ```
pub fn register(rule: CustomRule) -> Result<CustomOp> {
    let CustomRule { id, lower, backward, derivative, batching } = rule;
    let mut rules = RULES.write().unwrap_or_else(PoisonError::into_inner);
    if id == stop::ID || rules.contains_key(id) {
        return Err(Error::DuplicateRule { id: id.into() });
    }
    let row = Rule { name: id, derivative, batching, work: Work::PerOutput(0), note: "" };
    let registered: &'static Registered = Box::leak(Box::new(Registered { row, lower, backward }));
    rules.insert(id, registered);
    Ok(CustomOp(registered))
}

pub(crate) fn registered(id: &str) -> Option<&'static Registered> {
    match id {
        stop::ID => Some(&stop::RULE),
        _ => RULES.read().unwrap_or_else(PoisonError::into_inner).get(id).copied(),
    }
}

/// The row of an operation of somebody's own.
pub(super) fn row(op: &CustomOpIr) -> &'static Rule {
    static UNKNOWN: Rule = Rule {
        name: "Custom",
        derivative: Derivative::Unsupported(UNREGISTERED),
        batching: Batching::Unbatchable("no rule is registered for it"),
        work: Work::PerOutput(0),
        note: "",
    };
    registered(&op.id).map_or(&UNKNOWN, |known| &known.row)
}

pub(crate) const UNREGISTERED: &str = "register one with `burn_func::rules::register`";

impl Registered {
    /// Emits the operation in plain operations.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for something that is not plain, or a result unlike the operation's.
    pub(crate) fn lowered(&self, emit: &mut Emitter, op: &CustomOpIr) -> Result<TensorIr> {
        let start = emit.ops.len();
        let result = (self.lower)(emit, &op.inputs, &op.scalars);
        let plain = emit.ops[start..].iter().all(|op| !matches!(op, OperationIr::Custom(_)));
        let problem = match op.outputs.as_slice() {
            _ if !plain => "it is expanded into operations that are not plain".into(),
            [out] if out.shape == result.shape && out.dtype == result.dtype => return Ok(result),
            outs => format!("it is expanded into {result:?}, and its results are {outs:?}"),
        };
        Err(malformed(self.row.name, problem, &emit.ops[start..]))
    }
}

/// The error of a rule that does not do what it must.
pub(crate) fn malformed(id: &str, problem: String, ops: &[OperationIr]) -> Error {
    let context = Graph { ops: ops.to_vec(), ..Graph::default() }.to_string();
    Error::Malformed { problem: format!("`{id}`: {problem}"), context }
}
