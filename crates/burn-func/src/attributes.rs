//! What an operation says besides its operands, in words short enough for a listing: numbers, axes, ranges, windows.
//!
//! Does not know: graphs, what the numbers mean.

use burn_ir::{
    BaseOperationIr as Base, IrVisitorMut, ModuleOperationIr as M, NumericOperationIr as N, OperationIr, ScalarIr,
};

/// The attributes that matter to a reader: `0.5`, `dim 1`, `axes [0, 2]`. Shapes stand with the results.
pub(crate) fn attributes(op: &OperationIr) -> Vec<String> {
    let mut words = match op {
        OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => base(op),
        OperationIr::NumericFloat(_, op) | OperationIr::NumericInt(_, op) => numeric(op),
        OperationIr::Module(op) => module(op),
        _ => Vec::new(),
    };
    let mut scalars = Scalars(Vec::new());
    op.clone().visit_mut(&mut scalars);
    words.extend(scalars.0);
    words
}

struct Scalars(Vec<String>);

impl IrVisitorMut for Scalars {
    fn visit_scalar_mut(&mut self, scalar: &mut ScalarIr) {
        self.0.push(match scalar {
            ScalarIr::Float(number) => format!("{number:?}"),
            ScalarIr::Int(number) => number.to_string(),
            ScalarIr::UInt(number) => number.to_string(),
            ScalarIr::Bool(value) => value.to_string(),
        });
    }
}

fn dim(dim: usize) -> Vec<String> {
    vec![format!("dim {dim}")]
}

fn base(op: &Base) -> Vec<String> {
    match op {
        Base::SwapDims(op) => vec![format!("dims {} {}", op.dim1, op.dim2)],
        Base::Permute(op) => vec![format!("axes {:?}", op.axes)],
        Base::Flip(op) => vec![format!("axes {:?}", op.axes)],
        Base::Slice(op) => vec![ranges(&op.ranges)],
        Base::SliceAssign(op) => vec![ranges(&op.ranges)],
        Base::Select(op) => dim(op.dim),
        Base::SelectAssign(op) => vec![format!("dim {}", op.dim), format!("{:?}", op.update)],
        Base::Gather(op) => dim(op.dim),
        Base::Scatter(op) => vec![format!("dim {}", op.dim), format!("{:?}", op.update)],
        Base::RepeatDim(op) => vec![format!("dim {}", op.dim), format!("{} times", op.times)],
        Base::Cat(op) => dim(op.dim),
        Base::AllDim(op) | Base::AnyDim(op) => dim(op.axis),
        _ => Vec::new(),
    }
}

fn ranges(ranges: &[burn::tensor::Slice]) -> String {
    let range = |range: &burn::tensor::Slice| {
        let end = range.end.map_or(String::new(), |end| end.to_string());
        let step = if range.step == 1 { String::new() } else { format!(";{}", range.step) };
        format!("{}..{end}{step}", range.start)
    };
    format!("[{}]", ranges.iter().map(range).collect::<Vec<_>>().join(", "))
}

fn numeric(op: &N) -> Vec<String> {
    match op {
        N::SumDim(op) | N::MeanDim(op) | N::ProdDim(op) | N::ArgMax(op) | N::ArgMin(op) => dim(op.axis),
        N::MaxDim(op) | N::MinDim(op) => dim(op.axis),
        N::MaxDimWithIndices(op) | N::MinDimWithIndices(op) => dim(op.dim),
        N::SumDims(op) => vec![format!("dims {:?}", op.axes)],
        N::CumSum(op) | N::CumProd(op) | N::CumMin(op) | N::CumMax(op) => dim(op.axis),
        _ => Vec::new(),
    }
}

fn module(op: &M) -> Vec<String> {
    match op {
        M::Conv2d(op) => vec![format!("stride {:?}", op.options.stride), format!("padding {:?}", op.options.padding)],
        M::MaxPool2dWithIndices(op) => {
            vec![format!("kernel {:?}", op.kernel_size), format!("stride {:?}", op.stride)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::{Emitter, base as layout};
    use burn::tensor::{DType, Slice};
    use burn_ir::{ReduceDimOpIr, SliceOpIr, SwapDimsOpIr};

    #[test]
    fn numbers_axes_and_ranges_are_told() {
        let mut e = Emitter::starting_at(0);
        let x = e.value([4, 3].into(), DType::F32);
        e.mul_scalar(&x, 0.5);
        e.exp(&x);
        let out = e.value([4, 1].into(), DType::F32);
        let sum = ReduceDimOpIr { input: x.clone(), out: out.clone(), axis: 1, accumulator_len: 3 };
        e.push(OperationIr::NumericFloat(DType::F32, N::SumDim(sum)), out);
        let out = e.value([3, 4].into(), DType::F32);
        e.push(layout(&x, Base::SwapDims(SwapDimsOpIr { input: x.clone(), out: out.clone(), dim1: 0, dim2: 1 })), out);
        let out = e.value([2, 3].into(), DType::F32);
        let ranges = vec![Slice::new(0, Some(4), 2), Slice::new(0, None, 1)];
        e.push(layout(&x, Base::Slice(SliceOpIr { tensor: x.clone(), ranges, out: out.clone() })), out);
        let told: Vec<String> = e.ops.iter().map(|op| attributes(op).join(", ")).collect();
        assert_eq!(told, ["0.5", "", "dim 1", "dims 0 1", "[0..4;2, 0..]"]);
    }
}
