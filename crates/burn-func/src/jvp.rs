//! Forward-mode differentiation of a graph: emits, after every operation, the tangents of its results.
//!
//! Does not know: names of operations ([`rules`](crate::rules) does), what is done with the tangents.

use std::collections::{HashMap, HashSet};

use burn::tensor::{DType, Shape};
use burn_ir::{OperationIr, TensorId, TensorIr};

use crate::emit::Emitter;
use crate::error::{Error, Result, Transform};
use crate::graph::{Graph, Role, op_name, with_tensors};
use crate::rules::custom::malformed;
use crate::rules::{Derivative, rule};

/// The state of a pass: what has been emitted, and the tangents known so far. A value without one is constant.
#[derive(Debug)]
pub struct Jvp {
    /// Where operations go.
    pub emit: Emitter,
    tangents: HashMap<TensorId, TensorIr>,
}

/// A graph's operations interleaved with those of the tangents.
pub(crate) struct Differentiated {
    pub ops: Vec<OperationIr>,
    /// Tangent inputs, one per parameter.
    pub inputs: Vec<TensorIr>,
    /// Tangents of the values asked for.
    pub outputs: Vec<TensorIr>,
}

/// Differentiates values of a graph with respect to its parameters.
pub(crate) fn differentiate(graph: &Graph, of: &[TensorIr]) -> Result<Differentiated> {
    let mut jvp = Jvp { emit: Emitter::extending(graph), tangents: HashMap::new() };
    let mut inputs = Vec::new();
    for parameter in graph.inputs_of(Role::Parameter) {
        let tangent = jvp.emit.like(parameter);
        jvp.set(parameter, tangent.clone());
        inputs.push(tangent);
    }
    // What the values asked for do not read needs no tangent, and no rule.
    let wanted: HashSet<TensorId> =
        graph.restricted_to(of.to_vec()).ops.iter().flat_map(|op| op.outputs()).map(|out| out.id).collect();
    for op in &graph.ops {
        jvp.emit.ops.push(op.clone());
        if op.outputs().any(|out| wanted.contains(&out.id)) {
            jvp.step(op)?;
        }
    }
    let outputs = of.iter().map(|value| jvp.tangent_or_zeros(value)).collect();
    Ok(Differentiated { ops: jvp.emit.ops, inputs, outputs })
}

impl Jvp {
    /// The tangent of a value, if it depends on a parameter.
    pub fn tangent(&self, of: &TensorIr) -> Option<TensorIr> {
        self.tangents.get(&of.id).cloned()
    }

    /// The tangent of a value, or zeros.
    pub fn tangent_or_zeros(&mut self, of: &TensorIr) -> TensorIr {
        self.tangent(of).unwrap_or_else(|| self.emit.zeros_like(of))
    }

    /// Says what the tangent of a value is, a tensor of its shape and type.
    pub fn set(&mut self, of: &TensorIr, tangent: TensorIr) {
        self.tangents.insert(of.id, tangent);
    }

    /// Sets the tangent to a sum of terms, broadcast to the value's shape; none at all leaves it constant.
    pub fn set_sum(&mut self, of: &TensorIr, terms: impl IntoIterator<Item = TensorIr>) {
        let emit = &mut self.emit;
        let sum = terms.into_iter().reduce(|a, b| emit.add(&a, &b));
        if let Some(sum) = sum {
            let sum = self.emit.expand(&sum, &of.shape);
            self.set(of, sum);
        }
    }

    fn step(&mut self, op: &OperationIr) -> Result<()> {
        if !op.inputs().any(|input| self.tangents.contains_key(&input.id)) {
            return Ok(());
        }
        let Some(rule) = rule(op) else {
            return Err(unsupported(op, "no derivative is known here for it"));
        };
        self.apply(op, rule.derivative)?;
        for out in op.outputs() {
            expect_alike("a tangent", op, self.tangents.get(&out.id), &out.shape, out.dtype)?;
        }
        Ok(())
    }

    fn apply(&mut self, op: &OperationIr, derivative: Derivative) -> Result<()> {
        match derivative {
            Derivative::Zero => Ok(()),
            Derivative::Identity => self.identity(op),
            Derivative::Linear(at) => self.linear(op, at),
            Derivative::LinearAll => self.linear(op, &Vec::from_iter(0..op.inputs().count())),
            Derivative::Bilinear(a, b) => self.bilinear(op, a, b),
            Derivative::Formula(formula) => formula(self, op),
            Derivative::Unsupported(reason) => Err(unsupported(op, reason)),
        }
    }

    fn identity(&mut self, op: &OperationIr) -> Result<()> {
        let (input, out) = only(op);
        self.set_sum(out, self.tangent(input));
        Ok(())
    }

    fn linear(&mut self, op: &OperationIr, at: &[usize]) -> Result<()> {
        let mut operands: Vec<TensorIr> = op.inputs().cloned().collect();
        if !at.iter().any(|&i| self.tangents.contains_key(&operands[i].id)) {
            return Ok(());
        }
        for &i in at {
            operands[i] = self.tangent_or_zeros(&operands[i]);
        }
        let tangent = self.same(op, &operands);
        self.set(&out(op), tangent);
        Ok(())
    }

    fn bilinear(&mut self, op: &OperationIr, a: usize, b: usize) -> Result<()> {
        let operands: Vec<TensorIr> = op.inputs().cloned().collect();
        let mut terms = Vec::new();
        for at in [a, b] {
            if let Some(tangent) = self.tangent(&operands[at]) {
                let mut operands = operands.clone();
                operands[at] = tangent;
                terms.push(self.same(op, &operands));
            }
        }
        self.set_sum(&out(op), terms);
        Ok(())
    }

    /// Emits the same operation on other operands. It must have one result.
    pub fn same(&mut self, op: &OperationIr, operands: &[TensorIr]) -> TensorIr {
        let result = self.emit.like(&out(op));
        let op = with_tensors(op, operands, std::slice::from_ref(&result));
        self.emit.push(op, result)
    }
}

/// First result of an operation.
pub fn out(op: &OperationIr) -> TensorIr {
    op.outputs().next().expect("an operation that is differentiated has a result").clone()
}

/// First input and first result of an operation.
pub fn only(op: &OperationIr) -> (&TensorIr, &TensorIr) {
    let input = op.inputs().next().expect("an operation with a tangent has an input");
    (input, op.outputs().next().expect("an operation that is differentiated has a result"))
}

/// An error where a rule, which may be a user's, has made a value of another shape or type than the operation calls for.
pub(crate) fn expect_alike(
    what: &str,
    op: &OperationIr,
    made: Option<&TensorIr>,
    shape: &Shape,
    dtype: DType,
) -> Result<()> {
    match made.filter(|made| made.shape != *shape || made.dtype != dtype) {
        None => Ok(()),
        Some(made) => {
            let problem = format!("{what} is {:?} of {:?}, not {shape:?} of {dtype:?}", made.shape, made.dtype);
            Err(malformed(&op_name(op), problem, std::slice::from_ref(op)))
        }
    }
}

pub(crate) fn unsupported(op: &OperationIr, reason: &str) -> Error {
    Error::Unsupported { op: op_name(op), transform: Transform::Jvp, reason: reason.into() }
}
