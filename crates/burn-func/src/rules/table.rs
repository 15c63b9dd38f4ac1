//! The rows.
//!
//! Does not know: what the formulas are.

use burn_ir::ActivationOperationIr as A;
use burn_ir::BaseOperationIr as Base;
use burn_ir::FloatOperationIr as F;
use burn_ir::ModuleOperationIr as M;
use burn_ir::NumericOperationIr as N;
use burn_ir::OperationIr::{
    self, Activation, BaseBool, BaseFloat, BaseInt, Bool, Custom, Float, Int, Module, NumericFloat, NumericInt,
};

use super::Batching::{Elementwise, FoldIntoFirst, GroupedConvolution, Matmul, ShiftAxes, Unbatchable};
use super::Derivative::{Bilinear, Formula, Identity, Linear, LinearAll, Zero};
use super::Work::{self, PerInput, PerOutput, View};
use super::{Rule, nonlinear as f};

macro_rules! table {
    ($($pattern:pat => $name:literal, $derivative:expr, $batching:expr, $work:expr;)*) => {
        /// The row of an operation.
        pub fn rule(op: &OperationIr) -> Option<&'static Rule> {
            match op {
                $($pattern => {
                    static RULE: Rule =
                        Rule { name: $name, derivative: $derivative, batching: $batching, work: $work };
                    Some(&RULE)
                })*
                _ => None,
            }
        }

        /// All rows.
        pub fn rows() -> Vec<Rule> {
            vec![$(Rule { name: $name, derivative: $derivative, batching: $batching, work: $work },)*]
        }
    };
}

const FIRST: &[usize] = &[0];

table! {
    // Integers and booleans, whatever is done to them.
    BaseInt(_)                       => "BaseInt", Zero, ShiftAxes, PerOutput(1);
    BaseBool(_)                      => "BaseBool", Zero, ShiftAxes, PerOutput(1);
    NumericInt(..)                   => "NumericInt", Zero, ShiftAxes, PerOutput(1);
    Int(_)                           => "Int", Zero, ShiftAxes, PerOutput(1);
    Bool(_)                          => "Bool", Zero, Elementwise, PerOutput(1);

    // Constants.
    BaseFloat(Base::Zeros(_))        => "BaseFloat::Zeros", Zero, Elementwise, View;
    BaseFloat(Base::Ones(_))         => "BaseFloat::Ones", Zero, Elementwise, View;
    BaseFloat(Base::Empty(_))        => "BaseFloat::Empty", Zero, Elementwise, View;
    NumericFloat(_, N::Full(_))      => "NumericFloat::Full", Zero, Elementwise, View;

    // Comparisons and steps.
    BaseFloat(Base::Equal(_))               => "BaseFloat::Equal", Zero, Elementwise, PerOutput(1);
    BaseFloat(Base::EqualElem(_))           => "BaseFloat::EqualElem", Zero, Elementwise, PerOutput(1);
    BaseFloat(Base::NotEqual(_))            => "BaseFloat::NotEqual", Zero, Elementwise, PerOutput(1);
    BaseFloat(Base::NotEqualElem(_))        => "BaseFloat::NotEqualElem", Zero, Elementwise, PerOutput(1);
    NumericFloat(_, N::Greater(_))          => "NumericFloat::Greater", Zero, Elementwise, PerOutput(1);
    NumericFloat(_, N::GreaterElem(_))      => "NumericFloat::GreaterElem", Zero, Elementwise, PerOutput(1);
    NumericFloat(_, N::GreaterEqual(_))     => "NumericFloat::GreaterEqual", Zero, Elementwise, PerOutput(1);
    NumericFloat(_, N::GreaterEqualElem(_)) => "NumericFloat::GreaterEqualElem", Zero, Elementwise, PerOutput(1);
    NumericFloat(_, N::Lower(_))            => "NumericFloat::Lower", Zero, Elementwise, PerOutput(1);
    NumericFloat(_, N::LowerElem(_))        => "NumericFloat::LowerElem", Zero, Elementwise, PerOutput(1);
    NumericFloat(_, N::LowerEqual(_))       => "NumericFloat::LowerEqual", Zero, Elementwise, PerOutput(1);
    NumericFloat(_, N::LowerEqualElem(_))   => "NumericFloat::LowerEqualElem", Zero, Elementwise, PerOutput(1);
    NumericFloat(_, N::Sign(_))             => "NumericFloat::Sign", Zero, Elementwise, PerOutput(1);
    NumericFloat(_, N::ArgMax(_))           => "NumericFloat::ArgMax", Zero, ShiftAxes, PerInput(1);
    NumericFloat(_, N::ArgMin(_))           => "NumericFloat::ArgMin", Zero, ShiftAxes, PerInput(1);
    Float(_, F::Round(_))                   => "Float::Round", Zero, Elementwise, PerOutput(1);
    Float(_, F::Floor(_))                   => "Float::Floor", Zero, Elementwise, PerOutput(1);
    Float(_, F::Ceil(_))                    => "Float::Ceil", Zero, Elementwise, PerOutput(1);
    Float(_, F::Trunc(_))                   => "Float::Trunc", Zero, Elementwise, PerOutput(1);
    Float(_, F::IntoInt(_))                 => "Float::IntoInt", Zero, Elementwise, PerOutput(1);
    Float(_, F::IsNan(_))                   => "Float::IsNan", Zero, Elementwise, PerOutput(1);
    Float(_, F::IsInf(_))                   => "Float::IsInf", Zero, Elementwise, PerOutput(1);
    // Autodiff records these, without indices, for untracked inputs alone (the maximum inside a softmax).
    NumericFloat(_, N::MaxDim(_))           => "NumericFloat::MaxDim", Zero, ShiftAxes, PerInput(1);
    NumericFloat(_, N::MinDim(_))           => "NumericFloat::MinDim", Zero, ShiftAxes, PerInput(1);
    Custom(_)                        => "Custom", Formula(f::custom), Unbatchable("a custom operation brings its own rule"), PerOutput(0);

    // Layout.
    BaseFloat(Base::Reshape(_))      => "BaseFloat::Reshape", Linear(FIRST), ShiftAxes, View;
    BaseFloat(Base::SwapDims(_))     => "BaseFloat::SwapDims", Linear(FIRST), ShiftAxes, View;
    BaseFloat(Base::Permute(_))      => "BaseFloat::Permute", Linear(FIRST), ShiftAxes, View;
    BaseFloat(Base::Expand(_))       => "BaseFloat::Expand", Linear(FIRST), ShiftAxes, View;
    BaseFloat(Base::Flip(_))         => "BaseFloat::Flip", Linear(FIRST), ShiftAxes, PerOutput(0);
    BaseFloat(Base::Slice(_))        => "BaseFloat::Slice", Linear(FIRST), ShiftAxes, PerOutput(0);
    BaseFloat(Base::SliceAssign(_))  => "BaseFloat::SliceAssign", Linear(&[0, 1]), ShiftAxes, PerOutput(0);
    BaseFloat(Base::RepeatDim(_))    => "BaseFloat::RepeatDim", Linear(FIRST), ShiftAxes, PerOutput(0);
    BaseFloat(Base::Cat(_))          => "BaseFloat::Cat", LinearAll, ShiftAxes, PerOutput(0);
    BaseFloat(Base::Cast(_))         => "BaseFloat::Cast", Linear(FIRST), Elementwise, PerOutput(0);
    BaseFloat(Base::Gather(_))       => "BaseFloat::Gather", Linear(FIRST), ShiftAxes, PerOutput(0);
    BaseFloat(Base::Select(_))       => "BaseFloat::Select", Linear(FIRST), ShiftAxes, PerOutput(0);
    BaseFloat(Base::Scatter(_))      => "BaseFloat::Scatter", Formula(f::scatter), ShiftAxes, PerOutput(1);
    BaseFloat(Base::SelectAssign(_)) => "BaseFloat::SelectAssign", Formula(f::select_assign), ShiftAxes, PerOutput(1);
    BaseFloat(Base::MaskWhere(_))    => "BaseFloat::MaskWhere", Linear(&[0, 2]), Elementwise, PerOutput(0);
    BaseFloat(Base::MaskFill(_))     => "BaseFloat::MaskFill", Formula(f::mask_fill), Elementwise, PerOutput(0);

    // Arithmetic.
    NumericFloat(_, N::Add(_))       => "NumericFloat::Add", Formula(f::add), Elementwise, PerOutput(1);
    NumericFloat(_, N::Sub(_))       => "NumericFloat::Sub", Formula(f::sub), Elementwise, PerOutput(1);
    NumericFloat(_, N::Mul(_))       => "NumericFloat::Mul", Bilinear(0, 1), Elementwise, PerOutput(1);
    NumericFloat(_, N::Div(_))       => "NumericFloat::Div", Formula(f::div), Elementwise, PerOutput(1);
    NumericFloat(_, N::Neg(_))       => "NumericFloat::Neg", Linear(FIRST), Elementwise, PerOutput(1);
    NumericFloat(_, N::AddScalar(_)) => "NumericFloat::AddScalar", Identity, Elementwise, PerOutput(1);
    NumericFloat(_, N::SubScalar(_)) => "NumericFloat::SubScalar", Identity, Elementwise, PerOutput(1);
    NumericFloat(_, N::RemScalar(_)) => "NumericFloat::RemScalar", Identity, Elementwise, PerOutput(1);
    NumericFloat(_, N::MulScalar(_)) => "NumericFloat::MulScalar", Linear(FIRST), Elementwise, PerOutput(1);
    NumericFloat(_, N::DivScalar(_)) => "NumericFloat::DivScalar", Linear(FIRST), Elementwise, PerOutput(1);
    NumericFloat(_, N::Abs(_))       => "NumericFloat::Abs", Formula(f::abs), Elementwise, PerOutput(1);
    NumericFloat(_, N::PowiScalar(_)) => "NumericFloat::PowiScalar", Formula(f::powi_scalar), Elementwise, PerOutput(1);
    NumericFloat(_, N::Sum(_))       => "NumericFloat::Sum", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::SumDim(_))    => "NumericFloat::SumDim", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::SumDims(_))   => "NumericFloat::SumDims", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::Mean(_))      => "NumericFloat::Mean", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::MeanDim(_))   => "NumericFloat::MeanDim", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::CumSum(_))    => "NumericFloat::CumSum", Linear(FIRST), ShiftAxes, PerInput(1);
    Float(_, F::Matmul(_))           => "Float::Matmul", Bilinear(0, 1), Matmul, Work::Matmul;

    // Functions of one variable.
    Float(_, F::Exp(_))              => "Float::Exp", Formula(f::exp), Elementwise, PerOutput(1);
    Float(_, F::Log(_))              => "Float::Log", Formula(f::log), Elementwise, PerOutput(1);
    Float(_, F::Log1p(_))            => "Float::Log1p", Formula(f::log1p), Elementwise, PerOutput(1);
    Float(_, F::Sqrt(_))             => "Float::Sqrt", Formula(f::sqrt), Elementwise, PerOutput(1);
    Float(_, F::Recip(_))            => "Float::Recip", Formula(f::recip), Elementwise, PerOutput(1);
    Float(_, F::Erf(_))              => "Float::Erf", Formula(f::erf), Elementwise, PerOutput(1);
    Float(_, F::Sin(_))              => "Float::Sin", Formula(f::sin), Elementwise, PerOutput(1);
    Float(_, F::Cos(_))              => "Float::Cos", Formula(f::cos), Elementwise, PerOutput(1);
    Float(_, F::Tanh(_))             => "Float::Tanh", Formula(f::tanh), Elementwise, PerOutput(1);
    Float(_, F::PowfScalar(_))       => "Float::PowfScalar", Formula(f::powf_scalar), Elementwise, PerOutput(1);

    // Activations and their backwards.
    Activation(A::Relu(_))            => "Activation::Relu", Formula(f::relu), Elementwise, PerOutput(1);
    Activation(A::ReluBackward(_))    => "Activation::ReluBackward", Linear(&[1]), Elementwise, PerOutput(1);
    Activation(A::Sigmoid(_))         => "Activation::Sigmoid", Formula(f::sigmoid), Elementwise, PerOutput(4);
    Activation(A::SigmoidBackward(_)) => "Activation::SigmoidBackward", Formula(f::sigmoid_backward), Elementwise, PerOutput(3);
    Activation(A::Gelu(_))            => "Activation::Gelu", Formula(f::gelu), Elementwise, PerOutput(8);
    Activation(A::GeluBackward(_))    => "Activation::GeluBackward", Formula(f::gelu_backward), Elementwise, PerOutput(12);

    // Modules.
    Module(M::Conv2d(_))               => "Module::Conv2d", Formula(f::conv2d), GroupedConvolution, Work::Convolution;
    Module(M::Conv2dXBackward(_))      => "Module::Conv2dXBackward", Bilinear(1, 2), GroupedConvolution, Work::Convolution;
    Module(M::Conv2dWeightBackward(_)) => "Module::Conv2dWeightBackward", Bilinear(0, 2), GroupedConvolution, Work::Convolution;
    Module(M::Conv2dBiasBackward(_))   => "Module::Conv2dBiasBackward", Linear(&[2]), ShiftAxes, PerInput(1);
    Module(M::BatchNorm(_))            => "Module::BatchNorm", Formula(f::batch_norm), Unbatchable("the channel axis is fixed: expand it to elementwise operations"), PerOutput(4);
    Module(M::MaxPool2dWithIndices(_)) => "Module::MaxPool2dWithIndices", Formula(f::max_pool2d), FoldIntoFirst, PerInput(1);
    Module(M::MaxPool2dWithIndicesBackward(_)) => "Module::MaxPool2dWithIndicesBackward", Linear(&[2]), FoldIntoFirst, PerInput(1);
}

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<&str> = rows().iter().map(|row| row.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
