//! Operations that name axes, or none.
//!
//! Does not know: operations whose operands play different parts.

use burn::tensor::Slice;
use burn_ir::{
    ActivationOperationIr as Act, BaseOperationIr as Base, FloatOperationIr, IntOperationIr,
    NumericOperationIr as Numeric, OperationIr, ReduceDimOpIr,
};

use super::folding::fold_into_first;
use super::indexing::{select, select_assign, with_item_coordinate};
use super::products::matmul;
use super::{refused, set_reshaped};
use crate::error::Result;
use crate::jvp::out;
use crate::vmap::Vmap;

/// The same operation, every axis counted from one on. What names no axis works element by element.
pub(super) fn shift_axes(vmap: &mut Vmap, op: &OperationIr) -> Result<()> {
    if let Some(along_axis) = whole_reduction(op) {
        reduce_items(vmap, op, along_axis);
        return Ok(());
    }
    match op {
        OperationIr::BaseFloat(layout) | OperationIr::BaseInt(layout) | OperationIr::BaseBool(layout) => match layout {
            Base::Expand(expand) => {
                let wide = vmap.wide(&expand.input, expand.out.shape.num_dims());
                let shape = vmap.shape(&expand.out);
                let expanded = vmap.emit.expand(&wide, &shape);
                vmap.set(&expand.out, expanded);
            }
            Base::Select(op) => select(vmap, op),
            Base::SelectAssign(op) => select_assign(vmap, op),
            Base::GatherNd(gather) => with_item_coordinate(vmap, op, &gather.indices),
            Base::ScatterNd(scatter) => with_item_coordinate(vmap, op, &scatter.indices),
            _ => vmap.same(&shifted(op)),
        },
        OperationIr::Float(_, FloatOperationIr::Matmul(_)) | OperationIr::Int(IntOperationIr::Matmul(_)) => {
            return matmul(vmap, op);
        }
        OperationIr::Float(_, FloatOperationIr::GridSample2d(_)) => return fold_into_first(vmap, op),
        OperationIr::Float(_, FloatOperationIr::Quantize(_) | FloatOperationIr::Dequantize(_))
        | OperationIr::Module(_)
        | OperationIr::Custom(_)
        | OperationIr::Init(_)
        | OperationIr::Drop(_) => {
            return refused(vmap, op);
        }
        _ => vmap.same(&shifted(op)),
    }
    Ok(())
}

/// The operation with its axes counted from one on, and a place for the new axis where all axes are listed.
fn shifted(op: &OperationIr) -> OperationIr {
    let mut op = op.clone();
    match &mut op {
        OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => shift_base(op),
        OperationIr::NumericFloat(_, op) | OperationIr::NumericInt(_, op) => shift_numeric(op),
        OperationIr::Float(_, FloatOperationIr::Cross(op)) => op.dim += 1,
        OperationIr::Activation(Act::Softmax(op) | Act::LogSoftmax(op) | Act::Softmin(op)) => op.axis += 1,
        _ => {}
    }
    op
}

fn shift_base(op: &mut Base) {
    match op {
        Base::SwapDims(op) => {
            op.dim1 += 1;
            op.dim2 += 1;
        }
        Base::Permute(op) => op.axes = std::iter::once(0).chain(op.axes.iter().map(|axis| axis + 1)).collect(),
        Base::Flip(op) => op.axes.iter_mut().for_each(|axis| *axis += 1),
        Base::Unfold(op) => op.dim += 1,
        Base::Slice(op) => op.ranges.insert(0, Slice::full()),
        Base::SliceAssign(op) => op.ranges.insert(0, Slice::full()),
        Base::Gather(op) => op.dim += 1,
        Base::Scatter(op) => op.dim += 1,
        Base::Select(op) => op.dim += 1,
        Base::SelectAssign(op) => op.dim += 1,
        Base::RepeatDim(op) => op.dim += 1,
        Base::Cat(op) => op.dim += 1,
        Base::AllDim(op) | Base::AnyDim(op) => op.axis += 1,
        _ => {}
    }
}

fn shift_numeric(op: &mut Numeric) {
    match op {
        Numeric::SumDim(op)
        | Numeric::MeanDim(op)
        | Numeric::ProdDim(op)
        | Numeric::MaxDim(op)
        | Numeric::MinDim(op)
        | Numeric::MaxAbsDim(op)
        | Numeric::ArgMax(op)
        | Numeric::ArgMin(op)
        | Numeric::ArgTopK(op)
        | Numeric::TopK(op) => op.axis += 1,
        Numeric::SumDims(op) => op.axes.iter_mut().for_each(|axis| *axis += 1),
        Numeric::MaxDimWithIndices(op) | Numeric::MinDimWithIndices(op) => op.dim += 1,
        Numeric::TopKWithIndices(op) => op.dim += 1,
        Numeric::CumSum(op) | Numeric::CumProd(op) | Numeric::CumMin(op) | Numeric::CumMax(op) => op.axis += 1,
        Numeric::Sort(op) | Numeric::ArgSort(op) => op.dim += 1,
        Numeric::SortWithIndices(op) => op.dim += 1,
        Numeric::Pad(op) => op.padding.insert(0, (0, 0)),
        _ => {}
    }
}

type AlongAxis = Box<dyn FnOnce(ReduceDimOpIr) -> OperationIr>;

/// For a reduction over everything: the same along an axis.
fn whole_reduction(op: &OperationIr) -> Option<AlongAxis> {
    match op {
        OperationIr::BaseFloat(op) => {
            base_along(op).map(|f| Box::new(move |r| OperationIr::BaseFloat(f(r))) as AlongAxis)
        }
        OperationIr::BaseInt(op) => base_along(op).map(|f| Box::new(move |r| OperationIr::BaseInt(f(r))) as AlongAxis),
        OperationIr::BaseBool(op) => {
            base_along(op).map(|f| Box::new(move |r| OperationIr::BaseBool(f(r))) as AlongAxis)
        }
        OperationIr::NumericFloat(dtype, op) => {
            let dtype = *dtype;
            numeric_along(op).map(|f| Box::new(move |r| OperationIr::NumericFloat(dtype, f(r))) as AlongAxis)
        }
        OperationIr::NumericInt(dtype, op) => {
            let dtype = *dtype;
            numeric_along(op).map(|f| Box::new(move |r| OperationIr::NumericInt(dtype, f(r))) as AlongAxis)
        }
        _ => None,
    }
}

fn base_along(op: &Base) -> Option<fn(ReduceDimOpIr) -> Base> {
    match op {
        Base::All(_) => Some(Base::AllDim),
        Base::Any(_) => Some(Base::AnyDim),
        _ => None,
    }
}

fn numeric_along(op: &Numeric) -> Option<fn(ReduceDimOpIr) -> Numeric> {
    match op {
        Numeric::Sum(_) => Some(Numeric::SumDim),
        Numeric::Mean(_) => Some(Numeric::MeanDim),
        Numeric::Prod(_) => Some(Numeric::ProdDim),
        Numeric::Max(_) => Some(Numeric::MaxDim),
        Numeric::Min(_) => Some(Numeric::MinDim),
        Numeric::MaxAbs(_) => Some(Numeric::MaxAbsDim),
        _ => None,
    }
}

/// Over everything within an item: an item in a row, and the reduction along the row.
fn reduce_items(vmap: &mut Vmap, op: &OperationIr, along_axis: AlongAxis) {
    let (input, result) = (op.inputs().next().expect("a reduction has an input"), out(op));
    let items = vmap.full(input);
    let input = vmap.emit.reshape(&items, [vmap.items(), input.shape.num_elements()].into());
    let reduced = vmap.emit.value([vmap.items(), 1].into(), result.dtype);
    let reduction = along_axis(ReduceDimOpIr { input, out: reduced.clone(), axis: 1, accumulator_len: 1 });
    let reduced = vmap.emit.push(reduction, reduced);
    set_reshaped(vmap, &result, &reduced);
}
