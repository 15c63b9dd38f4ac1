//! Cases: operations on operands, each checked in every way in which the operands can come.

use burn::tensor::DType;
use burn_ir::{
    BaseOperationIr, FlipOpIr, FloatOperationIr, NumericOperationIr, OperationIr, SwapDimsOpIr, TensorId, TensorIr,
};

use super::harness::{Build, Operand, check, check_each, graph};
use crate::emit::Emitter;
use crate::error::Result;
use crate::graph::op_name;
use crate::linearize::{Linearized, linearize};

/// An operation on operands.
pub struct Case {
    name: String,
    operands: Vec<Operand>,
    build: Box<Build>,
}

/// A case with one result.
pub fn case(
    name: impl Into<String>,
    operands: Vec<Operand>,
    build: impl Fn(&mut Emitter, &[TensorIr]) -> TensorIr + 'static,
) -> Case {
    Case { name: name.into(), operands, build: Box::new(move |e, x| vec![build(e, x)]) }
}

impl Case {
    /// Every choice of active operands, and all as views whose elements do not lie in order.
    pub fn check(&self) {
        let is_active: Vec<bool> = self.operands.iter().map(|x| matches!(x, Operand::Active(..))).collect();
        let active: Vec<usize> = (0..is_active.len()).filter(|&at| is_active[at]).collect();
        check_each(&self.name, &self.operands, &active, &self.build);
        let stored: Vec<Operand> = self.operands.iter().map(turned).collect();
        check(&format!("{}, views", self.name), &stored, |e: &mut Emitter, x: &[TensorIr]| {
            let views: Vec<TensorIr> = x.iter().zip(&is_active).map(|(x, &on)| view(e, x, on)).collect();
            (self.build)(e, &views)
        });
    }

    /// Its graph, linearized.
    pub fn linearized(&self) -> Result<Linearized> {
        let (graph, _) = graph(&self.operands, &self.build);
        linearize(&graph, &graph.outputs)
    }

    /// Names of the operations in it.
    pub fn operations(&self) -> Vec<String> {
        graph(&self.operands, &self.build).0.ops.iter().map(op_name).collect()
    }
}

/// An active operand with its last two axes exchanged, for [`view`] to exchange them back.
fn turned(operand: &Operand) -> Operand {
    let Operand::Active(spec, values) = operand else { return operand.clone() };
    let rank = spec.shape.len();
    if rank < 2 {
        return operand.clone();
    }
    let (rows, columns) = (spec.shape[rank - 2], spec.shape[rank - 1]);
    let mut shape = spec.shape.clone();
    shape.swap(rank - 2, rank - 1);
    Operand::active(&shape, |i| {
        let (plane, at) = (i / (rows * columns), i % (rows * columns));
        values[plane * rows * columns + (at % rows) * columns + at / rows]
    })
}

/// The operand again, with strides that do not fall: its axes are exchanged, the first is flipped twice.
fn view(e: &mut Emitter, stored: &TensorIr, active: bool) -> TensorIr {
    let rank = stored.shape.num_dims();
    if !active {
        return stored.clone();
    }
    let straight = match rank {
        0 | 1 => stored.clone(),
        _ => {
            let swap = SwapDimsOpIr::create(stored.clone(), rank - 2, rank - 1, || id(e));
            let out = swap.out.clone();
            e.push(OperationIr::BaseFloat(BaseOperationIr::SwapDims(swap)), out)
        }
    };
    let flipped = flip(e, &straight);
    flip(e, &flipped)
}

fn flip(e: &mut Emitter, input: &TensorIr) -> TensorIr {
    let flip = FlipOpIr::create(input.clone(), vec![0], || id(e));
    base(e, BaseOperationIr::Flip(flip))
}

/// A fresh id.
pub fn id(e: &mut Emitter) -> TensorId {
    e.value([1].into(), DType::F64).id
}

/// Appends a layout operation; its first result.
pub fn base(e: &mut Emitter, op: BaseOperationIr) -> TensorIr {
    push(e, OperationIr::BaseFloat(op))
}

/// Appends a numeric operation; its first result.
pub fn numeric(e: &mut Emitter, op: NumericOperationIr) -> TensorIr {
    push(e, OperationIr::NumericFloat(DType::F64, op))
}

/// Appends a float operation; its first result.
pub fn float(e: &mut Emitter, op: FloatOperationIr) -> TensorIr {
    push(e, OperationIr::Float(DType::F64, op))
}

/// Appends an operation; its first result.
pub fn push(e: &mut Emitter, op: OperationIr) -> TensorIr {
    let out = op.outputs().next().expect("an operation under test has a result").clone();
    e.push(op, out)
}
