//! A recorded closure in double precision, whatever it was recorded in: the reference that rounding is measured against.
//!
//! Does not know: what is compared.

use std::sync::Arc;

use burn::tensor::{Bool, DType, Int, Tensor};
use burn_ir::{IrVisitorMut, OperationIr, TensorIr};

use crate::batch::{Batch, BatchMapper};
use crate::compiled::ProgramCache;
use crate::error::Result;
use crate::graph::Graph;
use crate::transforms::Traced;

impl<B: Batch, A: Batch> Traced<B, A> {
    /// The same operations with every float tensor in double precision.
    pub(crate) fn doubled(&self) -> Result<Self> {
        let mut batch = (*self.batch).clone();
        batch.tensors.iter_mut().filter(|spec| spec.dtype.is_float()).for_each(|spec| spec.dtype = DType::F64);
        let drawn = self.drawn()?;
        Ok(Self {
            compiled: ProgramCache::new().compiled(
                &doubled_graph(&self.compiled.graph),
                self.compiled.parameters,
                self.compiled.bool_dtype,
            ),
            specs: self.specs.iter().map(|spec| spec.with_dtype(DType::F64)).collect(),
            constants: drawn.constants.iter().map(|value| value.float_cast(DType::F64)).collect(),
            batch: Arc::new(batch),
            ..drawn
        })
    }
}

fn doubled_graph(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    graph.inputs.iter_mut().for_each(|input| Double.visit_tensor_mut(&mut input.tensor));
    graph.outputs.iter_mut().for_each(|out| Double.visit_tensor_mut(out));
    for op in &mut graph.ops {
        op.visit_mut(&mut Double);
        if let OperationIr::NumericFloat(dtype, _) | OperationIr::Float(dtype, _) = op {
            *dtype = DType::F64;
        }
    }
    graph
}

struct Double;

impl IrVisitorMut for Double {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        if tensor.dtype.is_float() {
            tensor.dtype = DType::F64;
        }
    }
}

/// A batch with every float tensor in double precision.
pub(crate) fn doubled<B: Batch>(batch: &B) -> B {
    batch.map(&mut DoubleBatch)
}

struct DoubleBatch;

impl BatchMapper for DoubleBatch {
    fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        tensor.clone().cast(DType::F64)
    }

    fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
        tensor.clone()
    }

    fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool> {
        tensor.clone()
    }
}
