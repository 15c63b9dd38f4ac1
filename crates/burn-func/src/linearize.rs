//! Splits a differentiated graph in two: what depends on the point alone, and what is linear in the tangents.
//!
//! Does not know: names of operations, devices.

use std::collections::HashSet;

use burn_ir::{OperationIr, TensorId, TensorIr};

use crate::error::{Result, Transform};
use crate::graph::{Graph, Input, Role};
use crate::jvp::differentiate;
use crate::lower::expands;
use crate::passes::linear_merged;
use crate::residuals::{Plan, Residuals, plan};

/// The two parts of a linearized graph.
#[derive(Clone, Debug)]
pub struct Linearized {
    /// Same inputs as the graph. Outputs: those of the graph, then the residuals.
    pub primal: Graph,
    /// Inputs: one tangent per parameter, then the residuals. Outputs: the tangents asked for.
    pub linear: Graph,
    /// Number of residuals.
    pub residuals: usize,
    /// Bytes of the buffers that the residuals keep alive, beyond those of the graph's inputs.
    pub residual_bytes: usize,
}

/// Linearizes values of a graph in its parameters. Residuals are what their tangents read, and nothing else.
///
/// # Errors
///
/// [`Error::Unsupported`](crate::Error::Unsupported) for an operation without a rule.
pub fn linearize(graph: &Graph, of: &[TensorIr]) -> Result<Linearized> {
    linearize_keeping(graph, of, Residuals::Store)
}

/// As [`linearize`], with a choice of what is kept and what the linear part computes again.
pub(crate) fn linearize_keeping(graph: &Graph, of: &[TensorIr], policy: Residuals) -> Result<Linearized> {
    let differentiated = differentiate(graph, of)?;
    let tangents: Vec<Input> =
        differentiated.inputs.into_iter().map(|tensor| Input { tensor, role: Role::Tangent }).collect();
    let all = Graph {
        inputs: [graph.inputs.as_slice(), &tangents].concat(),
        ops: differentiated.ops,
        outputs: [graph.outputs.as_slice(), &differentiated.outputs].concat(),
    };
    all.check()?; // formulas of users may read what they have not made
    let Graph { ops, outputs, .. } = linear_merged(&all);
    let (outputs, tangent_outputs) = outputs.split_at(graph.outputs.len());

    let tangent_ids = tangents.iter().map(|input| input.tensor.id);
    let (linear, primal) = partition(ops, tangent_ids.collect());
    let reads = residuals(&linear, tangent_outputs, &tangents);
    let Plan { residuals, ops: linear, bytes } = plan(&primal, &linear, reads, policy);

    let primal = Graph { inputs: graph.inputs.clone(), ops: primal, outputs: Vec::new() }
        .restricted_to([outputs, &residuals].concat());
    let count = residuals.len();
    let residuals = residuals.into_iter().map(|tensor| Input { tensor, role: Role::Residual });
    let inputs = tangents.into_iter().chain(residuals).collect();
    let linear = Graph { inputs, ops: linear, outputs: tangent_outputs.to_vec() };
    if cfg!(debug_assertions) {
        primal.check()?;
        linear.check()?;
    }
    // Formulas of users may emit operations of their own.
    expands(&primal, Transform::Jvp)?;
    expands(&linear, Transform::Jvp)?;
    Ok(Linearized { primal, linear, residuals: count, residual_bytes: bytes })
}

/// Operations that depend on a tangent, and the others.
pub(crate) fn partition(
    ops: Vec<OperationIr>,
    mut dependent: HashSet<TensorId>,
) -> (Vec<OperationIr>, Vec<OperationIr>) {
    ops.into_iter().partition(|op| {
        let depends = op.inputs().any(|input| dependent.contains(&input.id));
        if depends {
            dependent.extend(op.outputs().map(|out| out.id));
        }
        depends
    })
}

/// Values the linear part reads and does not make, each once, in order of first use.
pub(crate) fn residuals(linear: &[OperationIr], outputs: &[TensorIr], tangents: &[Input]) -> Vec<TensorIr> {
    let made = linear.iter().flat_map(|op| op.outputs()).map(|out| out.id);
    let mut known: HashSet<TensorId> = tangents.iter().map(|input| input.tensor.id).chain(made).collect();
    let reads = linear.iter().flat_map(|op| op.inputs()).chain(outputs);
    reads.filter(|read| known.insert(read.id)).cloned().collect()
}
