//! Operands of which only the shape is read: backward passes of convolutions and poolings take the forward input, or the
//! weight, for nothing else. Such an operand need not stay in memory for it, where another value of the same shape does.
//!
//! Does not know: derivatives, sizes of buffers.

use std::collections::{HashMap, HashSet};

use burn_ir::{ModuleOperationIr as M, OperationIr, TensorId, TensorIr};

use crate::graph::{Graph, Role, with_tensors};

/// Points operands that only give a shape to a value of that shape and type which is in memory then anyway. Keeps every
/// bit.
pub(super) fn shape_operands(graph: &Graph) -> Graph {
    let lives = Lives::of(graph);
    let mut result = graph.clone();
    for (at, op) in result.ops.iter_mut().enumerate() {
        let mut operands: Vec<TensorIr> = op.inputs().cloned().collect();
        let mut changed = false;
        for &position in gives_shape(op) {
            let Some(other) = operands.get(position).and_then(|operand| lives.stand_in(operand, at)) else { continue };
            operands[position] = other;
            changed = true;
        }
        if changed {
            let outs: Vec<TensorIr> = op.outputs().cloned().collect();
            *op = with_tensors(op, &operands, &outs);
        }
    }
    // A value that is kept for the tangents may be made after the operation it stands in for: what depends on a tangent
    // comes last, as it does when the two parts are split.
    let (linear, primal): (Vec<_>, Vec<_>) =
        std::mem::take(&mut result.ops).into_iter().zip(&lives.active).partition(|(_, active)| **active);
    result.ops = primal.into_iter().chain(linear).map(|(op, _)| op).collect();
    result
}

/// Positions of operands of which an operation reads the shape alone, on every backend.
fn gives_shape(op: &OperationIr) -> &'static [usize] {
    let OperationIr::Module(op) = op else { return &[] };
    match op {
        M::Conv1dXBackward(_) | M::Conv2dXBackward(_) | M::Conv3dXBackward(_) => &[0],
        M::Conv1dWeightBackward(_) | M::Conv2dWeightBackward(_) | M::Conv3dWeightBackward(_) => &[1],
        M::Conv1dBiasBackward(_) | M::Conv2dBiasBackward(_) | M::Conv3dBiasBackward(_) => &[0],
        M::MaxPool1dWithIndicesBackward(_) | M::MaxPool2dWithIndicesBackward(_) => &[0],
        _ => &[],
    }
}

/// When values are made, and until when their numbers are read.
struct Lives<'a> {
    made: HashMap<TensorId, usize>,
    read_until: HashMap<TensorId, usize>,
    /// Operations that depend on a tangent; what they read of the others is kept for them.
    active: Vec<bool>,
    /// Values of the primal part that the linear part keeps.
    kept: HashSet<TensorId>,
    inputs: HashSet<TensorId>,
    /// Candidates in order of definition.
    values: Vec<&'a TensorIr>,
}

impl<'a> Lives<'a> {
    fn of(graph: &'a Graph) -> Self {
        let mut dependent: HashSet<TensorId> = graph.inputs_of(Role::Tangent).map(|tensor| tensor.id).collect();
        let inputs = graph.inputs.iter().map(|input| input.tensor.id).collect();
        let (mut made, mut read_until) = (HashMap::new(), HashMap::new());
        let (mut active, mut kept) = (Vec::new(), HashSet::new());
        let mut values: Vec<&TensorIr> = Vec::new();
        for (at, op) in graph.ops.iter().enumerate() {
            let depends = op.inputs().any(|read| dependent.contains(&read.id));
            for (position, read) in op.inputs().enumerate() {
                if !gives_shape(op).contains(&position) {
                    read_until.insert(read.id, at);
                    if depends && !dependent.contains(&read.id) {
                        kept.insert(read.id);
                    }
                }
            }
            for out in op.outputs() {
                made.insert(out.id, at);
                if depends {
                    dependent.insert(out.id);
                }
            }
            active.push(depends);
            // A layout may be a view out of order, which some kernels would copy first.
            if !matches!(op, OperationIr::BaseFloat(_) | OperationIr::BaseInt(_) | OperationIr::BaseBool(_)) {
                values.extend(op.outputs());
            }
        }
        read_until.extend(graph.outputs.iter().map(|out| (out.id, usize::MAX)));
        Self { made, read_until, active, kept, inputs, values }
    }

    /// A value that may stand in for an operand that gives a shape at an operation, if the operand is there for no other
    /// reason.
    fn stand_in(&self, operand: &TensorIr, at: usize) -> Option<TensorIr> {
        if self.inputs.contains(&operand.id) || self.alive(operand.id, at) {
            return None;
        }
        let fits = |value: &&&TensorIr| {
            value.shape == operand.shape && value.dtype == operand.dtype && self.alive(value.id, at)
        };
        self.values.iter().find(fits).map(|value| (*value).clone())
    }

    /// Whether a value is in memory at an operation because of its numbers.
    fn alive(&self, value: TensorId, at: usize) -> bool {
        let Some(&made) = self.made.get(&value) else { return false };
        let kept = self.kept.contains(&value);
        match (self.active[made], self.active[at]) {
            (false, true) => kept,
            (true, false) => false,
            _ => made < at && (kept || self.read_until.get(&value).is_some_and(|&until| until >= at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use crate::graph::Input;
    use burn::tensor::DType;
    use burn_ir::MaxPool2dWithIndicesBackwardOpIr;

    /// `a = exp(x); b = exp(a); g = pool backward(b, indices, grad)`, and `a` read again afterwards or not.
    fn pool(read_again: bool) -> (Graph, [TensorIr; 2]) {
        let mut e = Emitter::starting_at(0);
        let x = e.value([1, 1, 4, 4].into(), DType::F64);
        let (indices, grad) = (e.value([1, 1, 2, 2].into(), DType::I64), e.value([1, 1, 2, 2].into(), DType::F64));
        let a = e.exp(&x);
        let b = e.exp(&a);
        let (size, none) = ([2, 2], [0, 0]);
        let out = e.like(&b);
        let backward = MaxPool2dWithIndicesBackwardOpIr {
            x: b.clone(),
            grad: grad.clone(),
            indices: indices.clone(),
            kernel_size: size,
            stride: size,
            padding: none,
            dilation: [1, 1],
            ceil_mode: false,
            out: out.clone(),
        };
        let g = e.push(OperationIr::Module(M::MaxPool2dWithIndicesBackward(backward)), out);
        let result = if read_again { e.mul(&g, &a) } else { g };
        let inputs = [x, indices, grad].map(|tensor| Input { tensor, role: Role::Batch }).to_vec();
        (Graph { inputs, ops: e.ops, outputs: vec![result] }, [a, b])
    }

    fn first_operand(graph: &Graph) -> TensorId {
        graph.ops[2].inputs().next().unwrap().id
    }

    #[test]
    fn a_value_that_is_alive_anyway_gives_the_shape() {
        let (graph, [a, b]) = pool(true);
        assert_eq!(first_operand(&graph), b.id);
        let graph = shape_operands(&graph);
        graph.check().unwrap();
        assert_eq!(first_operand(&graph), a.id);
    }

    #[test]
    fn without_one_the_operand_stays() {
        let (graph, [_, b]) = pool(false);
        assert_eq!(first_operand(&shape_operands(&graph)), b.id);
    }

    #[test]
    fn a_value_made_later_stands_in_for_an_operation_of_the_tangents() {
        let (mut graph, [_, b]) = pool(false);
        graph.inputs[2].role = Role::Tangent; // the gradient that the pooling passes back
        let mut e = Emitter::starting_at(100);
        let late = e.exp(&graph.inputs[0].tensor);
        let late = e.sin(&late);
        let result = e.mul(&graph.outputs[0], &late);
        graph.ops.extend(e.ops);
        graph.outputs = vec![result];
        graph.check().unwrap();
        let graph = shape_operands(&graph);
        graph.check().unwrap();
        let pool = graph.ops.iter().find(|op| matches!(op, OperationIr::Module(_))).unwrap();
        assert_ne!(pool.inputs().next().unwrap().id, b.id);
    }

    #[test]
    fn an_operand_whose_numbers_are_read_stays() {
        let (mut graph, [_, b]) = pool(true);
        graph.outputs.push(b.clone());
        assert_eq!(first_operand(&shape_operands(&graph)), b.id);
    }
}
