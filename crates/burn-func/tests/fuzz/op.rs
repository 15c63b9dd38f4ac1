//! The operations of random programs, each from values of rank 3 to a value of rank 3, defined and smooth (but for
//! kinks) wherever its operands lie.
//!
//! Does not know: how programs are drawn.

use burn::tensor::activation as act;
use burn::tensor::module as nn;
use burn::tensor::ops::{
    AvgPoolOptions, ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions, PadMode,
};
use burn::tensor::{Bool, IndexingUpdateOp, Int, Slice, Tensor, TensorData};

/// A value of a program.
pub type V = Tensor<3>;

#[derive(Clone, Copy, Debug)]
pub enum Unary {
    Neg,
    AddScalar,
    SubScalar,
    MulScalar,
    DivScalar,
    Tanh,
    Sin,
    Cos,
    Exp,
    Log,
    Log1p,
    Sqrt,
    Recip,
    Erf,
    Sigmoid,
    LogSigmoid,
    Softplus,
    Gelu,
    Silu,
    Mish,
    Elu,
    Softsign,
    Relu,
    LeakyRelu,
    Abs,
    PowfScalar,
    Square,
    Cube,
    Clamp,
    ClampMin,
    ClampMax,
    RemScalar,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
    Tril,
    Triu,
}

pub const UNARY: [Unary; 43] = {
    use Unary::*;
    [
        Neg, AddScalar, SubScalar, MulScalar, DivScalar, Tanh, Sin, Cos, Exp, Log, Log1p, Sqrt, Recip, Erf, Sigmoid,
        LogSigmoid, Softplus, Gelu, Silu, Mish, Elu, Softsign, Relu, LeakyRelu, Abs, PowfScalar, Square, Cube, Clamp,
        ClampMin, ClampMax, RemScalar, Tan, Asin, Acos, Atan, Sinh, Cosh, Asinh, Acosh, Atanh, Tril, Triu,
    ]
};

impl Unary {
    fn apply(self, x: V) -> V {
        let bounded = || x.clone().sin() * 0.75;
        let positive = || x.clone() * x.clone() + 0.5;
        match self {
            Self::Neg => -x,
            Self::AddScalar => x + 0.375,
            Self::SubScalar => x - 0.625,
            Self::MulScalar => x * 1.25,
            Self::DivScalar => x / 2.0,
            Self::Tanh => x.tanh(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Exp => bounded().exp(),
            Self::Log => positive().log(),
            Self::Log1p => positive().log1p(),
            Self::Sqrt => positive().sqrt(),
            Self::Recip => positive().recip(),
            Self::Erf => x.erf(),
            Self::Sigmoid => act::sigmoid(x),
            Self::LogSigmoid => act::log_sigmoid(x),
            Self::Softplus => act::softplus(x, 2.0),
            Self::Gelu => act::gelu(x),
            Self::Silu => act::silu(x),
            Self::Mish => act::mish(x),
            Self::Elu => act::elu(x, 1.0),
            Self::Softsign => act::softsign(x),
            Self::Relu => act::relu(x),
            Self::LeakyRelu => act::leaky_relu(x, 0.25),
            Self::Abs => x.abs(),
            Self::PowfScalar => positive().powf_scalar(1.25),
            Self::Square => x.powi_scalar(2),
            Self::Cube => x.powi_scalar(3),
            Self::Clamp => x.clamp(-0.40625, 0.59375),
            Self::ClampMin => x.clamp_min(-0.21875),
            Self::ClampMax => x.clamp_max(0.34375),
            Self::RemScalar => x.remainder_scalar(0.875),
            Self::Tan => bounded().tan(),
            Self::Asin => bounded().asin(),
            Self::Acos => bounded().acos(),
            Self::Atan => x.atan(),
            Self::Sinh => bounded().sinh(),
            Self::Cosh => bounded().cosh(),
            Self::Asinh => x.asinh(),
            Self::Acosh => (positive() + 1.0).acosh(),
            Self::Atanh => bounded().atanh(),
            Self::Tril => x.tril(0),
            Self::Triu => x.triu(0),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Powf,
    Atan2,
    Hypot,
    WhereGreater,
    Remainder,
}

pub const BINARY: [Binary; 11] = {
    use Binary::*;
    [Add, Sub, Mul, Div, Max, Min, Powf, Atan2, Hypot, WhereGreater, Remainder]
};

impl Binary {
    fn apply(self, a: V, b: V) -> V {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / (b.sin() + 1.5),
            Self::Powf => (a.clone() * a + 0.5).powf(b.tanh()),
            Self::Atan2 => a.atan2(b.sin() + 1.5),
            Self::Hypot => a.hypot(b.clone() * b + 0.5),
            Self::Remainder => a.remainder(b.sin() + 1.75),
            // Masks must have the shape of what they are applied to.
            Self::Max => (a.clone() + b.zeros_like()).max_pair(b + a.zeros_like()),
            Self::Min => (a.clone() + b.zeros_like()).min_pair(b + a.zeros_like()),
            Self::WhereGreater => {
                let (a, b) = (a.clone() + b.zeros_like(), b + a.zeros_like());
                // Values that are the same but for rounding, a mean of equal ones say, must not lie at the jump.
                a.clone().sin().mask_where(a.greater(b.clone() + 0.0371), b)
            }
        }
    }
}

/// What is done along one axis.
#[derive(Clone, Copy, Debug)]
pub enum Along {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    CumSum,
    CumProd,
    CumMax,
    CumMin,
    Sort,
    SortDescending,
    TopK,
    Softmax,
    LogSoftmax,
    LogSumExp,
    Variance,
    Unit,
    Flip,
    Roll,
    Repeat,
    MaxAndWhere,
    Median,
}

pub const ALONG: [Along; 22] = {
    use Along::*;
    [
        Sum,
        Mean,
        Max,
        Min,
        Prod,
        CumSum,
        CumProd,
        CumMax,
        CumMin,
        Sort,
        SortDescending,
        TopK,
        Softmax,
        LogSoftmax,
        LogSumExp,
        Variance,
        Unit,
        Flip,
        Roll,
        Repeat,
        MaxAndWhere,
        Median,
    ]
};

impl Along {
    fn apply(self, x: V, dim: usize) -> V {
        let n = x.dims()[dim];
        let positive = || x.clone().sin() * 0.5 + 1.25;
        match self {
            Self::Sum => x.sum_dim(dim),
            Self::Mean => x.mean_dim(dim),
            Self::Max => x.max_dim(dim),
            Self::Min => x.min_dim(dim),
            Self::Prod => positive().prod_dim(dim),
            Self::CumSum => x.cumsum(dim),
            Self::CumProd => positive().cumprod(dim),
            Self::CumMax => x.cummax(dim),
            Self::CumMin => x.cummin(dim),
            Self::Sort => x.sort(dim),
            Self::SortDescending => x.sort_descending(dim),
            Self::TopK => x.topk(n.div_ceil(2), dim),
            Self::Softmax => act::softmax(x, dim),
            Self::LogSoftmax => act::log_softmax(x, dim),
            Self::LogSumExp => x.exp().sum_dim(dim).log(),
            Self::Variance => x.var_bias(dim),
            Self::Unit => x.clone() / ((x.clone() * x).sum_dim(dim) + 0.125).sqrt(),
            Self::Flip => x.flip([dim]),
            Self::Roll => x.roll_dim(1, dim),
            Self::Repeat => x.repeat_dim(dim, 2),
            Self::MaxAndWhere => {
                let (top, at) = x.clone().max_dim_with_indices(dim);
                top * x.sin().gather(dim, at)
            }
            Self::Median => x.median(dim),
        }
    }
}

/// Stride, padding, dilation and groups of a convolution, or the window of a pooling.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub dilation: usize,
    pub groups: usize,
    /// Channels out per group.
    pub out: usize,
}

/// A resolved operation.
#[derive(Clone, Debug)]
pub enum Op {
    Unary(Unary),
    Binary(Binary),
    Along(Along, usize),
    Scale(f64),
    /// Elements repeated or dropped to fill a shape.
    Resize([usize; 3]),
    Reshape([usize; 3]),
    Permute([usize; 3]),
    Slice([(isize, isize, isize); 3]),
    Select(usize, Vec<i64>),
    Gather(usize, Vec<i64>, [usize; 3]),
    Embedding(Vec<i64>),
    Cat(usize),
    Expand([usize; 3]),
    Pad(u8, [(usize, usize); 2]),
    Unfold(usize, usize, usize),
    SliceAssign([(isize, isize, isize); 3]),
    Scatter(usize, Vec<i64>),
    SelectAssign(usize, Vec<i64>),
    MaskWhere(usize),
    MaskFill(usize),
    Matmul,
    Linear,
    Cross,
    LayerNorm,
    BatchNorm,
    Conv1d(Window),
    Conv2d(Window),
    Conv3d(Window),
    ConvTranspose1d(Window),
    ConvTranspose2d(Window),
    ConvTranspose3d(Window),
    MaxPool1d(Window),
    MaxPool2d(Window),
    AvgPool1d(Window),
    AvgPool2d(Window),
    AdaptiveAvgPool1d(usize),
    AdaptiveAvgPool2d(usize, usize),
    Interpolate(u8, bool, usize, usize),
}

/// Integers of a program, constants of its closure.
fn ints<const D: usize>(like: &V, shape: [usize; D], values: &[i64]) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &like.device())
}

fn mask(like: &V, phase: usize) -> Tensor<3, Bool> {
    let values: Vec<bool> =
        (0..like.dims().iter().product::<usize>()).map(|i| (i * 5 + phase).is_multiple_of(3)).collect();
    Tensor::from_data(TensorData::new(values, like.dims()), &like.device())
}

/// The elements of `x` over and over, in another shape.
fn filled<const D: usize>(x: V, shape: [usize; D]) -> Tensor<D> {
    let n = x.dims().iter().product::<usize>();
    let wanted = shape.iter().product::<usize>();
    let indices: Vec<i64> = (0..wanted).map(|i| (i % n) as i64).collect();
    let indices = ints(&x, [wanted], &indices);
    x.reshape([n]).select(0, indices).reshape(shape)
}

fn slices(ranges: &[(isize, isize, isize); 3]) -> [Slice; 3] {
    ranges.map(|(start, end, step)| Slice::new(start, Some(end), step))
}

/// The shape of what a slice with these ranges selects.
pub fn sliced(ranges: &[(isize, isize, isize); 3]) -> [usize; 3] {
    ranges.map(|(start, end, step)| ((end - start) as usize).div_ceil(step.unsigned_abs()))
}

/// Drops the leading axis, of length one, of what a module of rank 4 gives.
fn plane(x: Tensor<4>) -> V {
    x.squeeze_dim(0)
}

impl Op {
    pub fn apply(&self, args: &[V]) -> V {
        let x = args[0].clone();
        let y = || args[1].clone();
        let [a, b, c] = x.dims();
        match self {
            Self::Unary(op) => op.apply(x),
            Self::Binary(op) => op.apply(x, y()),
            Self::Along(op, dim) => op.apply(x, *dim),
            Self::Scale(by) => x * *by,
            Self::Resize(shape) => filled(x, *shape),
            Self::Reshape(shape) => x.reshape(*shape),
            Self::Permute(axes) => x.permute(*axes),
            Self::Slice(ranges) => x.slice(slices(ranges)),
            Self::Select(dim, at) => {
                let at = ints(&x, [at.len()], at);
                x.select(*dim, at)
            }
            Self::Gather(dim, at, shape) => {
                let at = ints(&x, *shape, at);
                x.gather(*dim, at)
            }
            Self::Embedding(at) => {
                let at = ints(&x, [1, at.len()], at);
                nn::embedding(x.reshape([a * b, c]), at)
            }
            Self::Cat(dim) => Tensor::cat(vec![x, y()], *dim),
            Self::Expand(shape) => x.expand(*shape),
            Self::Pad(mode, pairs) => {
                let mode = [PadMode::Constant(0.5), PadMode::Reflect, PadMode::Edge][usize::from(*mode)];
                x.pad(*pairs, mode)
            }
            Self::Unfold(dim, size, step) => {
                let windows: Tensor<4> = x.unfold(*dim, *size, *step);
                let [i, j, k, l] = windows.dims();
                windows.reshape([i, j, k * l])
            }
            Self::SliceAssign(ranges) => {
                let values = filled(y(), sliced(ranges));
                x.slice_assign(slices(ranges), values)
            }
            Self::Scatter(dim, at) => {
                let values: V = filled(y(), x.dims());
                let at = ints(&x, x.dims(), at);
                x.scatter(*dim, at, values, IndexingUpdateOp::Add)
            }
            Self::SelectAssign(dim, at) => {
                let mut shape = x.dims();
                shape[*dim] = at.len();
                let at = ints(&x, [at.len()], at);
                x.select_assign(*dim, at, filled(y(), shape), IndexingUpdateOp::Add)
            }
            Self::MaskWhere(phase) => {
                let (mask, values) = (mask(&x, *phase), filled(y(), x.dims()));
                x.mask_where(mask, values)
            }
            Self::MaskFill(phase) => {
                let mask = mask(&x, *phase);
                x.mask_fill(mask, 0.25)
            }
            Self::Matmul => x.matmul(y()),
            Self::Linear => nn::linear(x, filled(y(), [c, 2]), Some(filled(args[2].clone(), [2]))),
            Self::Cross => filled::<3>(x, [1, 2, 3]).cross(filled(y(), [1, 2, 3]), 2),
            Self::LayerNorm => nn::layer_norm(x, filled(y(), [c]), Some(filled(args[2].clone(), [c])), 0.125),
            Self::BatchNorm => nn::batch_norm_train(x, filled(y(), [b]), filled(args[2].clone(), [b]), 0.125).output,
            Self::Conv1d(w) => {
                let weight = filled(y(), [w.groups * w.out, b / w.groups, w.kernel]);
                let bias = Some(filled(args[2].clone(), [w.groups * w.out]));
                nn::conv1d(x, weight, bias, ConvOptions::new([w.stride], [w.padding], [w.dilation], w.groups))
            }
            Self::Conv2d(w) => {
                let weight = filled(y(), [w.groups * w.out, a / w.groups, w.kernel, 1 + w.kernel / 2]);
                let options = ConvOptions::new([w.stride, 1], [w.padding; 2], [w.dilation, 1], w.groups);
                plane(nn::conv2d(x.unsqueeze_dim(0), weight, None, options))
            }
            Self::Conv3d(w) => {
                let weight = filled(y(), [1, 1, w.kernel, 1, w.kernel]);
                let options = ConvOptions::new([w.stride, 1, 1], [w.padding; 3], [w.dilation, 1, 1], 1);
                let out: Tensor<5> = nn::conv3d(x.reshape([1, 1, a, b, c]), weight, None, options);
                let [_, _, a, b, c] = out.dims();
                out.reshape([a, b, c])
            }
            Self::ConvTranspose1d(w) => {
                let weight = filled(y(), [b, w.out, w.kernel]);
                let bias = Some(filled(args[2].clone(), [w.groups * w.out]));
                let options = ConvTransposeOptions::new([w.stride], [w.padding], [0], [w.dilation], w.groups);
                nn::conv_transpose1d(x, weight, bias, options)
            }
            Self::ConvTranspose2d(w) => {
                let weight = filled(y(), [a, w.out, w.kernel, 1 + w.kernel / 2]);
                let options =
                    ConvTransposeOptions::new([w.stride, 1], [w.padding, 0], [0, 0], [w.dilation, 1], w.groups);
                plane(nn::conv_transpose2d(x.unsqueeze_dim(0), weight, None, options))
            }
            Self::ConvTranspose3d(w) => {
                let weight = filled(y(), [1, 1, w.kernel, 1, w.kernel]);
                let options = ConvTransposeOptions::new([w.stride, 1, 1], [0; 3], [0; 3], [1, 1, w.dilation], 1);
                let out: Tensor<5> = nn::conv_transpose3d(x.reshape([1, 1, a, b, c]), weight, None, options);
                let [_, _, a, b, c] = out.dims();
                out.reshape([a, b, c])
            }
            Self::MaxPool1d(w) => {
                let options = MaxPoolOptions::new([w.kernel]).with_stride([w.stride]).with_padding([w.padding]);
                nn::max_pool1d(x, options.with_dilation([w.dilation]))
            }
            Self::MaxPool2d(w) => {
                let options = MaxPoolOptions::new([w.kernel, 1]).with_stride([w.stride, 1]);
                let options = options.with_padding([w.padding, 0]).with_dilation([w.dilation, 1]);
                plane(nn::max_pool2d(x.unsqueeze_dim(0), options))
            }
            Self::AvgPool1d(w) => {
                let options = AvgPoolOptions::new([w.kernel]).with_stride([w.stride]).with_padding([w.padding]);
                nn::avg_pool1d(x, options.with_count_include_pad(w.groups == 1))
            }
            Self::AvgPool2d(w) => {
                let options = AvgPoolOptions::new([w.kernel, 1]).with_stride([w.stride, 1]);
                let options = options.with_padding([w.padding, 0]).with_count_include_pad(w.groups == 1);
                plane(nn::avg_pool2d(x.unsqueeze_dim(0), options))
            }
            Self::AdaptiveAvgPool1d(size) => nn::adaptive_avg_pool1d(x, *size),
            Self::AdaptiveAvgPool2d(h, w) => plane(nn::adaptive_avg_pool2d(x.unsqueeze_dim(0), [*h, *w])),
            Self::Interpolate(mode, align, h, w) => {
                let modes = [InterpolateMode::Nearest, InterpolateMode::Bilinear, InterpolateMode::Bicubic];
                let options = InterpolateOptions::new(modes[usize::from(*mode)].clone()).with_output_size([*h, *w]);
                plane(nn::interpolate(x.unsqueeze_dim(0), options.with_align_corners(*align)))
            }
        }
    }
}
