//! The rows.
//!
//! Does not know: what the formulas are.

use burn_ir::ActivationOperationIr as A;
use burn_ir::BaseOperationIr as Base;
use burn_ir::DistributedOperationIr as D;
use burn_ir::FloatOperationIr as F;
use burn_ir::ModuleOperationIr as M;
use burn_ir::NumericOperationIr as N;
use burn_ir::OperationIr::{
    self, Activation, BaseBool, BaseFloat, BaseInt, Bool, Custom, Distributed, Drop, Float, Init, Int, Module,
    NumericFloat, NumericInt,
};

use super::Batching::{
    Elementwise, FoldIntoChannels, FoldIntoFirst, GroupedConvolution, Matmul, ShiftAxes, Unbatchable,
};
use super::Derivative::{Bilinear, Formula, Identity, Linear, LinearAll, Unsupported, Zero};
use super::Work::{self, PerInput, PerOutput, View};
use super::{Rule, convolutions, nonlinear as f, normalisation, pooling};

macro_rules! row {
    ($name:expr, $derivative:expr, $batching:expr, $work:expr $(, $note:literal)?) => {
        Rule { name: $name, derivative: $derivative, batching: $batching, work: $work, note: concat!("" $(, $note)?) }
    };
}

// Exhaustive: an operation that a later version of the representation adds does not compile without a row.
macro_rules! table {
    ($($pattern:pat => $name:literal, $derivative:expr, $batching:expr, $work:expr $(, $note:literal)?;)*) => {
        /// The row of an operation.
        pub fn rule(op: &OperationIr) -> Option<&'static Rule> {
            match op {
                $($pattern => {
                    static RULE: Rule = row!($name, $derivative, $batching, $work $(, $note)?);
                    Some(&RULE)
                })*
                // A custom operation brings its own.
                Custom(_) => None,
            }
        }

        /// All rows.
        pub fn rows() -> Vec<Rule> {
            vec![$(row!($name, $derivative, $batching, $work $(, $note)?),)*]
        }
    };
}

const FIRST: &[usize] = &[0];
const ATTENTION: &str = "fused attention has no derivative here: call it on an autodiff tensor, where Burn takes it apart \
                         into operations that have one";
const CTC: &str = "the fused CTC loss has no derivative here: call the loss on an autodiff tensor, where Burn takes \
                   it apart into operations that have one";

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
    Float(_, F::Random(_))           => "Float::Random", Zero, Unbatchable("every member of a batch needs draws of its own: pass them in"), PerOutput(1);
    NumericFloat(_, N::IntRandom(_)) => "NumericFloat::IntRandom", Zero, Unbatchable("every member of a batch needs draws of its own: pass them in"), PerOutput(1), "stands in the integer family; listed for completeness";

    // Marks without arithmetic.
    Init(_)                          => "Init", Zero, Unbatchable("it says that a buffer exists, and computes nothing"), View, "no graph holds one: values are inputs";
    Drop(_)                          => "Drop", Zero, Unbatchable("it says that a buffer is free, and computes nothing"), View, "no graph holds one: a program places them";

    // Comparisons and steps.
    BaseFloat(Base::All(_))                 => "BaseFloat::All", Zero, ShiftAxes, PerInput(1);
    BaseFloat(Base::AllDim(_))              => "BaseFloat::AllDim", Zero, ShiftAxes, PerInput(1);
    BaseFloat(Base::Any(_))                 => "BaseFloat::Any", Zero, ShiftAxes, PerInput(1);
    BaseFloat(Base::AnyDim(_))              => "BaseFloat::AnyDim", Zero, ShiftAxes, PerInput(1);
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
    NumericFloat(_, N::ArgTopK(_))          => "NumericFloat::ArgTopK", Zero, ShiftAxes, PerInput(10);
    NumericFloat(_, N::ArgSort(_))          => "NumericFloat::ArgSort", Zero, ShiftAxes, PerInput(10);
    Float(_, F::Round(_))                   => "Float::Round", Zero, Elementwise, PerOutput(1);
    Float(_, F::Floor(_))                   => "Float::Floor", Zero, Elementwise, PerOutput(1);
    Float(_, F::Ceil(_))                    => "Float::Ceil", Zero, Elementwise, PerOutput(1);
    Float(_, F::Trunc(_))                   => "Float::Trunc", Zero, Elementwise, PerOutput(1);
    Float(_, F::IntoInt(_))                 => "Float::IntoInt", Zero, Elementwise, PerOutput(1);
    Float(_, F::IsNan(_))                   => "Float::IsNan", Zero, Elementwise, PerOutput(1);
    Float(_, F::IsInf(_))                   => "Float::IsInf", Zero, Elementwise, PerOutput(1);
    // Autodiff records these, without indices, for untracked inputs alone (the maximum inside a softmax): what it tracks, it
    // records with indices. A sort of a thousand elements compares each ten times.
    NumericFloat(_, N::MaxDim(_))    => "NumericFloat::MaxDim", Zero, ShiftAxes, PerInput(1), "recorded for detached inputs alone: a stopped gradient";
    NumericFloat(_, N::MinDim(_))    => "NumericFloat::MinDim", Zero, ShiftAxes, PerInput(1), "recorded for detached inputs alone: a stopped gradient";
    NumericFloat(_, N::TopK(_))      => "NumericFloat::TopK", Zero, ShiftAxes, PerInput(10), "recorded for detached inputs alone: a stopped gradient";
    NumericFloat(_, N::Sort(_))      => "NumericFloat::Sort", Zero, ShiftAxes, PerInput(10), "recorded for detached inputs alone: a stopped gradient";

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
    BaseFloat(Base::GatherNd(_))     => "BaseFloat::GatherNd", Linear(FIRST), ShiftAxes, PerOutput(0);
    BaseFloat(Base::Select(_))       => "BaseFloat::Select", Linear(FIRST), ShiftAxes, PerOutput(0);
    BaseFloat(Base::Scatter(_))      => "BaseFloat::Scatter", Formula(f::scatter), ShiftAxes, PerOutput(1), "updates that add or assign; others are an error";
    BaseFloat(Base::ScatterNd(_))    => "BaseFloat::ScatterNd", Formula(f::scatter_nd), ShiftAxes, PerOutput(1), "updates that add or assign; others are an error";
    BaseFloat(Base::SelectAssign(_)) => "BaseFloat::SelectAssign", Formula(f::select_assign), ShiftAxes, PerOutput(1), "updates that add or assign; others are an error";
    BaseFloat(Base::MaskWhere(_))    => "BaseFloat::MaskWhere", Linear(&[0, 2]), Elementwise, PerOutput(0);
    BaseFloat(Base::MaskFill(_))     => "BaseFloat::MaskFill", Formula(f::mask_fill), Elementwise, PerOutput(0);
    BaseFloat(Base::Unfold(_))       => "BaseFloat::Unfold", Linear(FIRST), ShiftAxes, View;
    NumericFloat(_, N::Pad(_))       => "NumericFloat::Pad", Formula(f::pad), ShiftAxes, PerOutput(0), "a constant border is constant";

    // Arithmetic.
    NumericFloat(_, N::Add(_))       => "NumericFloat::Add", Formula(f::add), Elementwise, PerOutput(1);
    NumericFloat(_, N::Sub(_))       => "NumericFloat::Sub", Formula(f::sub), Elementwise, PerOutput(1);
    NumericFloat(_, N::Mul(_))       => "NumericFloat::Mul", Bilinear(0, 1), Elementwise, PerOutput(1);
    NumericFloat(_, N::Div(_))       => "NumericFloat::Div", Formula(f::div), Elementwise, PerOutput(1);
    NumericFloat(_, N::Neg(_))       => "NumericFloat::Neg", Linear(FIRST), Elementwise, PerOutput(1);
    NumericFloat(_, N::AddScalar(_)) => "NumericFloat::AddScalar", Identity, Elementwise, PerOutput(1);
    NumericFloat(_, N::SubScalar(_)) => "NumericFloat::SubScalar", Identity, Elementwise, PerOutput(1);
    NumericFloat(_, N::RemScalar(_)) => "NumericFloat::RemScalar", Identity, Elementwise, PerOutput(4);
    NumericFloat(_, N::MulScalar(_)) => "NumericFloat::MulScalar", Linear(FIRST), Elementwise, PerOutput(1);
    NumericFloat(_, N::DivScalar(_)) => "NumericFloat::DivScalar", Linear(FIRST), Elementwise, PerOutput(1);
    NumericFloat(_, N::Abs(_))       => "NumericFloat::Abs", Formula(f::abs), Elementwise, PerOutput(1), "zero at zero";
    NumericFloat(_, N::Rem(_))       => "NumericFloat::Rem", Formula(f::rem), Elementwise, PerOutput(4);
    NumericFloat(_, N::Clamp(_))     => "NumericFloat::Clamp", Formula(f::clamp), Elementwise, PerOutput(2), "one on the bounds themselves";
    NumericFloat(_, N::ClampMin(_))  => "NumericFloat::ClampMin", Formula(f::clamp), Elementwise, PerOutput(1), "one on the bound itself";
    NumericFloat(_, N::ClampMax(_))  => "NumericFloat::ClampMax", Formula(f::clamp), Elementwise, PerOutput(1), "one on the bound itself";
    NumericFloat(_, N::Powi(_))      => "NumericFloat::Powi", Formula(f::powi_tensor), Elementwise, PerOutput(1), "zero where the exponent is zero";
    NumericFloat(_, N::PowiScalar(_)) => "NumericFloat::PowiScalar", Formula(f::powi_scalar), Elementwise, PerOutput(1);
    NumericFloat(_, N::Sum(_))       => "NumericFloat::Sum", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::SumDim(_))    => "NumericFloat::SumDim", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::SumDims(_))   => "NumericFloat::SumDims", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::Mean(_))      => "NumericFloat::Mean", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::MeanDim(_))   => "NumericFloat::MeanDim", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::CumSum(_))    => "NumericFloat::CumSum", Linear(FIRST), ShiftAxes, PerInput(1);
    NumericFloat(_, N::CumProd(_))   => "NumericFloat::CumProd", Formula(f::cumprod), ShiftAxes, PerInput(1), "exact at zeros; the second derivative lacks terms there, as Burn's backward is a formula by cases";
    NumericFloat(_, N::CumMax(_))    => "NumericFloat::CumMax", Formula(f::running_extreme), ShiftAxes, PerInput(1), "of equal elements, the last";
    NumericFloat(_, N::CumMin(_))    => "NumericFloat::CumMin", Formula(f::running_extreme), ShiftAxes, PerInput(1), "of equal elements, the last";
    NumericFloat(_, N::Prod(_))      => "NumericFloat::Prod", Formula(f::prod), ShiftAxes, PerInput(1), "exact at zeros; the second derivative lacks terms there, as Burn's backward is a formula by cases";
    NumericFloat(_, N::ProdDim(_))   => "NumericFloat::ProdDim", Formula(f::prod_dim), ShiftAxes, PerInput(1), "exact at zeros; the second derivative lacks terms there, as Burn's backward is a formula by cases";
    NumericFloat(_, N::Max(_))       => "NumericFloat::Max", Formula(f::max), ShiftAxes, PerInput(1), "of equal elements, the first";
    NumericFloat(_, N::Min(_))       => "NumericFloat::Min", Formula(f::min), ShiftAxes, PerInput(1), "of equal elements, the first";
    NumericFloat(_, N::MaxAbs(_))    => "NumericFloat::MaxAbs", Formula(f::max_abs), ShiftAxes, PerInput(2), "of equal elements, the first";
    NumericFloat(_, N::MaxAbsDim(_)) => "NumericFloat::MaxAbsDim", Formula(f::max_abs_dim), ShiftAxes, PerInput(2), "of equal elements, the first";
    NumericFloat(_, N::MaxDimWithIndices(_)) => "NumericFloat::MaxDimWithIndices", Formula(f::with_indices), ShiftAxes, PerInput(1), "at the reported indices";
    NumericFloat(_, N::MinDimWithIndices(_)) => "NumericFloat::MinDimWithIndices", Formula(f::with_indices), ShiftAxes, PerInput(1), "at the reported indices";
    NumericFloat(_, N::TopKWithIndices(_)) => "NumericFloat::TopKWithIndices", Formula(f::with_indices), ShiftAxes, PerInput(10), "at the reported indices";
    NumericFloat(_, N::SortWithIndices(_)) => "NumericFloat::SortWithIndices", Formula(f::with_indices), ShiftAxes, PerInput(10), "at the reported indices";
    Float(_, F::Matmul(_))           => "Float::Matmul", Bilinear(0, 1), Matmul, Work::Matmul;
    Float(_, F::Cross(_))            => "Float::Cross", Bilinear(0, 1), ShiftAxes, PerOutput(3);
    Float(_, F::GridSample2d(_))     => "Float::GridSample2d", Formula(f::grid_sample), FoldIntoFirst, PerOutput(20), "in the image alone; autodiff takes a sampling with tracked operands apart";

    // Functions of one variable.
    Float(_, F::Exp(_))              => "Float::Exp", Formula(f::exp), Elementwise, PerOutput(1);
    Float(_, F::Log(_))              => "Float::Log", Formula(f::log), Elementwise, PerOutput(1);
    Float(_, F::Log1p(_))            => "Float::Log1p", Formula(f::log1p), Elementwise, PerOutput(1);
    Float(_, F::Sqrt(_))             => "Float::Sqrt", Formula(f::sqrt), Elementwise, PerOutput(1);
    Float(_, F::Recip(_))            => "Float::Recip", Formula(f::recip), Elementwise, PerOutput(1);
    Float(_, F::Erf(_))              => "Float::Erf", Formula(f::erf), Elementwise, PerOutput(1);
    Float(_, F::Sin(_))              => "Float::Sin", Formula(f::sin), Elementwise, PerOutput(1);
    Float(_, F::Cos(_))              => "Float::Cos", Formula(f::cos), Elementwise, PerOutput(1);
    Float(_, F::Tan(_))              => "Float::Tan", Formula(f::tan), Elementwise, PerOutput(1);
    Float(_, F::Sinh(_))             => "Float::Sinh", Formula(f::sinh), Elementwise, PerOutput(1);
    Float(_, F::Cosh(_))             => "Float::Cosh", Formula(f::cosh), Elementwise, PerOutput(1);
    Float(_, F::Tanh(_))             => "Float::Tanh", Formula(f::tanh), Elementwise, PerOutput(1);
    Float(_, F::ArcSin(_))           => "Float::ArcSin", Formula(f::asin), Elementwise, PerOutput(1);
    Float(_, F::ArcCos(_))           => "Float::ArcCos", Formula(f::acos), Elementwise, PerOutput(1);
    Float(_, F::ArcTan(_))           => "Float::ArcTan", Formula(f::atan), Elementwise, PerOutput(1);
    Float(_, F::ArcSinh(_))          => "Float::ArcSinh", Formula(f::asinh), Elementwise, PerOutput(1);
    Float(_, F::ArcCosh(_))          => "Float::ArcCosh", Formula(f::acosh), Elementwise, PerOutput(1);
    Float(_, F::ArcTanh(_))          => "Float::ArcTanh", Formula(f::atanh), Elementwise, PerOutput(1);
    Float(_, F::PowfScalar(_))       => "Float::PowfScalar", Formula(f::powf_scalar), Elementwise, PerOutput(1);

    // Functions of two variables.
    Float(_, F::Powf(_))             => "Float::Powf", Formula(f::powf), Elementwise, PerOutput(1), "in the base, zero where the exponent is zero; in the exponent, not a number where the base is not positive, as in Burn";
    Float(_, F::ArcTan2(_))          => "Float::ArcTan2", Formula(f::atan2), Elementwise, PerOutput(2);
    Float(_, F::Hypot(_))            => "Float::Hypot", Formula(f::hypot), Elementwise, PerOutput(4);

    // Activations and their backwards.
    Activation(A::Relu(_))            => "Activation::Relu", Formula(f::relu), Elementwise, PerOutput(1);
    Activation(A::ReluBackward(_))    => "Activation::ReluBackward", Linear(&[1]), Elementwise, PerOutput(1);
    Activation(A::Sigmoid(_))         => "Activation::Sigmoid", Formula(f::sigmoid), Elementwise, PerOutput(4);
    Activation(A::SigmoidBackward(_)) => "Activation::SigmoidBackward", Formula(f::sigmoid_backward), Elementwise, PerOutput(3);
    Activation(A::Gelu(_))            => "Activation::Gelu", Formula(f::gelu), Elementwise, PerOutput(8);
    Activation(A::GeluBackward(_))    => "Activation::GeluBackward", Formula(f::gelu_backward), Elementwise, PerOutput(12), "of the exact GELU, not of its tanh form";
    Activation(A::LogSigmoid(_))      => "Activation::LogSigmoid", Formula(f::log_sigmoid), Elementwise, PerOutput(4);
    Activation(A::LogSigmoidBackward(_)) => "Activation::LogSigmoidBackward", Formula(f::log_sigmoid_backward), Elementwise, PerOutput(5);
    Activation(A::LeakyRelu(_))       => "Activation::LeakyRelu", Formula(f::leaky_relu), Elementwise, PerOutput(2), "one at zero";
    Activation(A::PRelu(_))           => "Activation::PRelu", Formula(f::prelu), Elementwise, PerOutput(2), "one at zero";
    Activation(A::HardSigmoid(_))     => "Activation::HardSigmoid", Formula(f::hard_sigmoid), Elementwise, PerOutput(4), "the slope where the line meets a bound";
    Activation(A::Softmax(_))         => "Activation::Softmax", Formula(f::softmax), ShiftAxes, PerOutput(5);
    Activation(A::LogSoftmax(_))      => "Activation::LogSoftmax", Formula(f::log_softmax), ShiftAxes, PerOutput(5);
    Activation(A::Softmin(_))         => "Activation::Softmin", Formula(f::softmin), ShiftAxes, PerOutput(6);

    // Without a derivative.
    Float(_, F::Quantize(_))   => "Float::Quantize", Unsupported("quantised values are rounded: mark the input with `burn_func::stop_gradient`, or keep the tensor in floating point"), Unbatchable("no interpreter runs it"), PerOutput(2);
    Float(_, F::Dequantize(_)) => "Float::Dequantize", Unsupported("quantised values are rounded: dequantise the tensor before the closure and pass it in with the batch"), Unbatchable("no interpreter runs it"), PerOutput(1);
    Distributed(D::AllReduce(_)) => "Distributed::AllReduce", Unsupported("a collective is ordered in time against those of other devices, and a graph of values holds no such order: reduce losses and gradients outside the closure"), Unbatchable("its other ends know nothing of the batch"), PerOutput(1);
    Distributed(D::SyncCollective) => "Distributed::SyncCollective", Zero, Unbatchable("it orders collectives, and computes nothing"), View, "has no operands and no result";

    // Modules. An operand that stands in no derivative class gives a shape, an index or a mask. Positions are those of the
    // operation's inputs, which differ between the backwards: weight and output gradient; x, weight and output gradient.
    Module(M::Linear(_))                        => "Module::Linear", Formula(convolutions::affine), Matmul, Work::Matmul;
    Module(M::LinearXBackward(_))               => "Module::LinearXBackward", Bilinear(0, 1), Matmul, Work::Matmul;
    Module(M::LinearWeightBackward(_))          => "Module::LinearWeightBackward", Bilinear(0, 1), Matmul, Work::WeightGradient;
    Module(M::LinearBiasBackward(_))            => "Module::LinearBiasBackward", Linear(FIRST), ShiftAxes, PerInput(1);
    Module(M::Conv1d(_))                        => "Module::Conv1d", Formula(convolutions::affine), GroupedConvolution, Work::Convolution;
    Module(M::Conv1dXBackward(_))               => "Module::Conv1dXBackward", Bilinear(1, 2), GroupedConvolution, Work::Convolution;
    Module(M::Conv1dWeightBackward(_))          => "Module::Conv1dWeightBackward", Bilinear(0, 2), GroupedConvolution, Work::Convolution;
    Module(M::Conv1dBiasBackward(_))            => "Module::Conv1dBiasBackward", Linear(&[2]), FoldIntoChannels, Work::PerLast(1);
    Module(M::Conv2d(_))                        => "Module::Conv2d", Formula(convolutions::affine), GroupedConvolution, Work::Convolution;
    Module(M::Conv2dXBackward(_))               => "Module::Conv2dXBackward", Bilinear(1, 2), GroupedConvolution, Work::Convolution;
    Module(M::Conv2dWeightBackward(_))          => "Module::Conv2dWeightBackward", Bilinear(0, 2), GroupedConvolution, Work::Convolution;
    Module(M::Conv2dBiasBackward(_))            => "Module::Conv2dBiasBackward", Linear(&[2]), FoldIntoChannels, Work::PerLast(1);
    Module(M::Conv3d(_))                        => "Module::Conv3d", Formula(convolutions::affine), GroupedConvolution, Work::Convolution;
    Module(M::Conv3dXBackward(_))               => "Module::Conv3dXBackward", Bilinear(1, 2), GroupedConvolution, Work::Convolution;
    Module(M::Conv3dWeightBackward(_))          => "Module::Conv3dWeightBackward", Bilinear(0, 2), GroupedConvolution, Work::Convolution;
    Module(M::Conv3dBiasBackward(_))            => "Module::Conv3dBiasBackward", Linear(&[2]), FoldIntoChannels, Work::PerLast(1);
    // The x-backward of a transposed convolution is a convolution.
    Module(M::ConvTranspose1d(_))               => "Module::ConvTranspose1d", Formula(convolutions::affine), GroupedConvolution, Work::Convolution;
    Module(M::ConvTranspose1dWeightBackward(_)) => "Module::ConvTranspose1dWeightBackward", Bilinear(0, 2), GroupedConvolution, Work::Convolution;
    Module(M::ConvTranspose1dBiasBackward(_))   => "Module::ConvTranspose1dBiasBackward", Linear(&[2]), FoldIntoChannels, Work::PerLast(1);
    Module(M::ConvTranspose2d(_))               => "Module::ConvTranspose2d", Formula(convolutions::affine), GroupedConvolution, Work::Convolution;
    Module(M::ConvTranspose2dWeightBackward(_)) => "Module::ConvTranspose2dWeightBackward", Bilinear(0, 2), GroupedConvolution, Work::Convolution;
    Module(M::ConvTranspose2dBiasBackward(_))   => "Module::ConvTranspose2dBiasBackward", Linear(&[2]), FoldIntoChannels, Work::PerLast(1);
    Module(M::ConvTranspose3d(_))               => "Module::ConvTranspose3d", Formula(convolutions::affine), GroupedConvolution, Work::Convolution;
    Module(M::ConvTranspose3dWeightBackward(_)) => "Module::ConvTranspose3dWeightBackward", Bilinear(0, 2), GroupedConvolution, Work::Convolution;
    Module(M::ConvTranspose3dBiasBackward(_))   => "Module::ConvTranspose3dBiasBackward", Linear(&[2]), FoldIntoChannels, Work::PerLast(1);
    Module(M::DeformableConv2d(_))              => "Module::DeformableConv2d", Formula(convolutions::deform_conv2d), FoldIntoChannels, Work::Convolution;
    Module(M::DeformableConv2dBackward(_))      => "Module::DeformableConv2dBackward", Formula(convolutions::deform_conv2d_backward), FoldIntoChannels, Work::Convolution;
    Module(M::AvgPool1d(_))                     => "Module::AvgPool1d", Linear(FIRST), FoldIntoFirst, Work::Window;
    Module(M::AvgPool1dBackward(_))             => "Module::AvgPool1dBackward", Linear(&[1]), FoldIntoFirst, Work::Window;
    Module(M::AvgPool2d(_))                     => "Module::AvgPool2d", Linear(FIRST), FoldIntoFirst, Work::Window;
    Module(M::AvgPool2dBackward(_))             => "Module::AvgPool2dBackward", Linear(&[1]), FoldIntoFirst, Work::Window;
    Module(M::AdaptiveAvgPool1d(_))             => "Module::AdaptiveAvgPool1d", Linear(FIRST), FoldIntoFirst, Work::Window;
    Module(M::AdaptiveAvgPool1dBackward(_))     => "Module::AdaptiveAvgPool1dBackward", Linear(&[1]), FoldIntoFirst, Work::Window;
    Module(M::AdaptiveAvgPool2d(_))             => "Module::AdaptiveAvgPool2d", Linear(FIRST), FoldIntoFirst, Work::Window;
    Module(M::AdaptiveAvgPool2dBackward(_))     => "Module::AdaptiveAvgPool2dBackward", Linear(&[1]), FoldIntoFirst, Work::Window;
    Module(M::AdaptiveAvgPool3d(_))             => "Module::AdaptiveAvgPool3d", Linear(FIRST), FoldIntoFirst, Work::Window;
    Module(M::AdaptiveAvgPool3dBackward(_))     => "Module::AdaptiveAvgPool3dBackward", Linear(&[1]), FoldIntoFirst, Work::Window;
    // Autodiff records these, without indices, for untracked inputs alone.
    Module(M::MaxPool1d(_))                     => "Module::MaxPool1d", Zero, FoldIntoFirst, Work::Window;
    Module(M::MaxPool2d(_))                     => "Module::MaxPool2d", Zero, FoldIntoFirst, Work::Window;
    Module(M::MaxPool1dWithIndices(_))          => "Module::MaxPool1dWithIndices", Formula(pooling::max_pool), FoldIntoFirst, Work::Window;
    Module(M::MaxPool1dWithIndicesBackward(_))  => "Module::MaxPool1dWithIndicesBackward", Linear(&[2]), FoldIntoFirst, Work::PerLast(1);
    Module(M::MaxPool2dWithIndices(_))          => "Module::MaxPool2dWithIndices", Formula(pooling::max_pool), FoldIntoFirst, Work::Window;
    Module(M::MaxPool2dWithIndicesBackward(_))  => "Module::MaxPool2dWithIndicesBackward", Linear(&[2]), FoldIntoFirst, Work::PerLast(1);
    Module(M::Interpolate(_))                   => "Module::Interpolate", Linear(FIRST), FoldIntoFirst, Work::Window;
    Module(M::InterpolateBackward(_))           => "Module::InterpolateBackward", Linear(&[1]), FoldIntoFirst, Work::Window;
    Module(M::Unfold4d(_))                      => "Module::Unfold4d", Linear(FIRST), FoldIntoFirst, PerOutput(0);
    Module(M::Embedding(_))                     => "Module::Embedding", Linear(FIRST), FoldIntoChannels, PerOutput(0);
    Module(M::EmbeddingBackward(_))             => "Module::EmbeddingBackward", Linear(&[1]), FoldIntoChannels, PerOutput(1);
    Module(M::BatchNorm(_))                     => "Module::BatchNorm", Formula(normalisation::batch_norm), FoldIntoChannels, PerOutput(4);
    Module(M::LayerNorm(_))                     => "Module::LayerNorm", Formula(normalisation::layer_norm), FoldIntoChannels, PerOutput(8);
    // Burn's autodiff records none of these: it takes them apart into operations that have rules.
    Module(M::Attention(_))                     => "Module::Attention", Unsupported(ATTENTION), FoldIntoFirst, Work::Attention;
    Module(M::CtcLoss(_))                       => "Module::CtcLoss", Unsupported(CTC), Unbatchable("it has no batched form"), PerInput(8);
    Module(M::CtcLossBackward(_))               => "Module::CtcLossBackward", Unsupported(CTC), Unbatchable("it has no batched form"), PerInput(16);
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
