//! Rewrites of a graph that leave its results as they are.
//!
//! [`simplified`] keeps every bit, but for the sign of a zero; [`linear_merged`] merges arithmetic of tangents and moves
//! their last digits.
//!
//! Does not know: derivatives, devices.

mod common;
mod constants;
mod identities;
mod layout;
mod rewrite;
mod scalars;
mod shapes;

use std::collections::HashSet;

use burn_ir::TensorId;

use crate::graph::Graph;
use rewrite::rewritten;

/// A walk finds what the one before has uncovered; more than a few are never needed, and none is needed to be right.
const ROUNDS: usize = 4;

/// Folds constants, identities and chains of layouts, computes equal things once, frees operands that only give a shape,
/// and drops what no output needs.
///
/// Reverse mode recomputes forward values (the `tanh` of its own derivative, say), and so do derivative formulas. Every
/// result is the same number as before; a zero may change its sign.
pub(crate) fn simplified(graph: &Graph) -> Graph {
    finished(settled(graph.clone()))
}

/// [`simplified`], with chains of scalar factors of tangents merged as well.
///
/// Only what depends on a tangent changes, and by no more than rounding: a few units in the last place of each term.
pub(crate) fn linear_merged(graph: &Graph) -> Graph {
    let mut graph = settled(graph.clone());
    for _ in 0..ROUNDS {
        let (merged, changed) = scalars::scalar_chains(graph);
        graph = merged;
        if !changed {
            break;
        }
        graph = settled(graph);
    }
    finished(graph)
}

/// The passes that uncover work for each other, until they find no more.
fn settled(graph: Graph) -> Graph {
    let mut graph = live(graph);
    for _ in 0..ROUNDS {
        let (folded, changed) = rewritten(graph, |walk, op| {
            constants::fold(walk, op).or_else(|| identities::fold(walk, op)).or_else(|| layout::fold(walk, op))
        });
        let before = folded.ops.len();
        graph = live(common::common_subexpressions(folded));
        debug_assert_eq!(graph.check(), Ok(()));
        if !changed && graph.ops.len() == before {
            break;
        }
    }
    graph
}

/// What others do not wait for.
fn finished(graph: Graph) -> Graph {
    let graph = live(shapes::shape_operands(&graph));
    debug_assert_eq!(graph.check(), Ok(()));
    graph
}

/// Without the operations that no output needs.
fn live(mut graph: Graph) -> Graph {
    let mut needed: HashSet<TensorId> = graph.outputs.iter().map(|out| out.id).collect();
    graph.ops.reverse();
    graph.ops.retain(|op| {
        let wanted = op.outputs().any(|out| needed.contains(&out.id));
        if wanted {
            needed.extend(op.inputs().map(|read| read.id));
        }
        wanted
    });
    graph.ops.reverse();
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use crate::graph::{Input, Role};
    use burn::tensor::DType;

    #[test]
    fn equal_operations_merge_and_unused_ones_go() {
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([4].into(), DType::F32);
        let (a, b) = (emit.exp(&x), emit.exp(&x));
        let (p, q) = (emit.mul_scalar(&a, 2.0), emit.mul_scalar(&b, 2.0)); // equal once `b` is `a`
        let other = emit.mul_scalar(&a, 3.0); // differs in the number alone
        let _unused = emit.sqrt(&x);
        let pq = emit.add(&p, &q);
        let out = emit.add(&pq, &other);
        let graph = Graph { inputs: vec![Input { tensor: x, role: Role::Batch }], ops: emit.ops, outputs: vec![out] };
        let simple = simplified(&graph);
        simple.check().unwrap();
        assert_eq!(graph.ops.len(), 8);
        assert_eq!(simple.ops.len(), 5);
    }

    #[test]
    fn what_one_pass_uncovers_the_next_one_takes() {
        // reshape(neg(neg(x)) + 0) back to the shape of x, against x itself: all of it is x.
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([2, 3].into(), DType::F64);
        let zeros = emit.zeros_like(&x);
        let (n, flat) = (emit.neg(&x), emit.reshape(&zeros, [6].into()));
        let n = emit.neg(&n);
        let flat_n = emit.reshape(&n, [6].into());
        let sum = emit.add(&flat_n, &flat);
        let back = emit.reshape(&sum, [2, 3].into());
        let (left, right) = (emit.exp(&back), emit.exp(&x));
        let out = emit.add(&left, &right);
        let graph = Graph { inputs: vec![Input { tensor: x, role: Role::Batch }], ops: emit.ops, outputs: vec![out] };
        let names: Vec<String> = simplified(&graph).ops.iter().map(crate::graph::op_name).collect();
        assert_eq!(names, ["Float::Exp", "NumericFloat::Add"]);
    }
}
