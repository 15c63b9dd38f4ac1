//! Base, numeric, float and activation operations as a user writes them: gradients against Burn's own, Hessian-vector
//! products against differences.
#![allow(missing_docs)]

mod common;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::activation::*;
use burn::tensor::ops::{GridSampleOptions, PadMode};
use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor, s};
use burn_func::{Params, trace};
use common::hvp::check_hvp;
use common::*;

/// One matrix. The operation under test sees a nonlinear function of it.
#[derive(Module, Debug)]
struct Weights {
    w: Param<Tensor<2>>,
}

/// Sees every element at its own place: a sum alone would hide where elements went.
fn score<const D: usize>(y: Tensor<D>) -> Tensor<1> {
    let y = y.clone().reshape([y.shape().num_elements()]);
    (y.clone().cumsum(0) * y.clone()).sum() + y.sin().sum()
}

/// Checks `score(f(w + 0.3 x w^2))`. No constant divides that is not a power of two: Burn's backward multiplies by its
/// reciprocal in single precision, and the Hessian of such a gradient is not symmetric to the digits asked for here.
fn check<const D: usize>(name: &str, f: impl Fn(Tensor<2>) -> Tensor<D>) {
    check_at(name, data([3, 4], 5), f);
}

fn check_at<const D: usize>(name: &str, w: Tensor<2>, f: impl Fn(Tensor<2>) -> Tensor<D>) {
    let x = data(w.dims(), 9);
    let model = Weights { w: Param::from_tensor(w) };
    let loss = |model: &Weights, x: Tensor<2>| {
        let w = model.w.val();
        score(f(w.clone() + w.clone() * w * x * 0.3))
    };
    gradient_is_burns_own(name, &model, &x, loss);
    check_hvp(name, &model, &x, loss);
}

/// To the last bit but for sums that the interpreter may order in another way.
fn gradient_is_burns_own(name: &str, model: &Weights, x: &Tensor<2>, loss: impl Fn(&Weights, Tensor<2>) -> Tensor<1>) {
    let traced = trace(model, x, &loss).unwrap_or_else(|error| panic!("{name}: {error}"));
    let at = Params::from_module(model).unwrap();
    let (_, grad, ()) = traced.value_and_grad(&at, x).unwrap();
    let eager = GradientsParams::from_grads(loss(model, x.clone()).backward(), model);
    let expected = eager.get::<2>(model.w.id).unwrap();
    let found = grad.get::<2>("w").unwrap().inner();
    let error: f64 = (found - expected.clone()).abs().max().into_scalar();
    let scale: f64 = expected.abs().max().into_scalar();
    assert!(error <= 1e-14 * scale, "{name}: gradient off by {error:.2e} of {scale:.2e}");
}

fn positive(x: Tensor<2>) -> Tensor<2> {
    x.clone() * x + 0.5
}

fn indices<const D: usize>(like: &Tensor<2>, shape: [usize; D], values: &[i64]) -> Tensor<D, Int> {
    Tensor::from_data(burn::tensor::TensorData::new(values.to_vec(), shape), &like.device())
}

fn mask(like: &Tensor<2>) -> Tensor<2, Bool> {
    let [rows, columns] = like.dims();
    let values: Vec<bool> = (0..rows * columns).map(|i| i % 3 == 1).collect();
    Tensor::from_data(burn::tensor::TensorData::new(values, [rows, columns]), &like.device())
}

#[test]
fn functions_of_one_variable() {
    check("log, log1p, sqrt", |x| positive(x.clone()).log() + positive(x.clone()).sqrt() + positive(x).log1p());
    check("exp, recip, erf", |x| x.clone().exp() + positive(x.clone()).recip() + x.erf());
    check("trigonometric", |x| x.clone().sin() * x.clone().cos() + (x * 0.5).tan());
    check("hyperbolic", |x| x.clone().sinh() + x.clone().cosh() * x.tanh());
    check("inverse trigonometric", |x| {
        let narrow = x.tanh() * 0.9;
        narrow.clone().asin() + narrow.clone().acos() * narrow.clone() + narrow.atan()
    });
    check("inverse hyperbolic", |x| x.clone().asinh() + (positive(x.clone()) + 1.0).acosh() + (x.tanh() * 0.9).atanh());
    check("steps", |x| x.clone() * (x.clone() * 3.0).floor() + x.clone().sign() * x.clone().square() + x.round());
}

#[test]
fn powers() {
    check("whole", |x| x.clone().powf_scalar(2.0) + x.clone().powf_scalar(3.0) + x.clone().powi_scalar(4));
    check("0 and 1", |x| x.clone().powf_scalar(0.0) + x.clone().powf_scalar(1.0) * x);
    check("negative", |x| x.clone().powi_scalar(-1) + x.clone().powi_scalar(-2) + x.powi_scalar(-3));
    check("broken", |x| positive(x.clone()).powf_scalar(0.5) + positive(x).powf_scalar(-1.7));
    check("both operands", |x| positive(x.clone()).powf(x));
    check("exponent held", |x| x.clone().powf(x.full_like(3.0)));
    check("base held", |x| x.full_like(1.7).powf(x));
}

/// Where base and exponent make `0 * inf` in a formula, the gradient is a number, and so is its derivative.
#[test]
fn powers_at_zero() {
    let w = Tensor::<2>::zeros([2, 2], (&device(), burn::tensor::DType::F64));
    let model = Weights { w: Param::from_tensor(w) };
    let f = |model: &Weights, x: Tensor<2>| {
        (model.w.val().powf(x.full_like(1.0)) * x.clone() + model.w.val().powf_scalar(2.0)).sum()
    };
    let x = data([2, 2], 3);
    let point = burn_func::linearize(&model, &x, f).unwrap();
    assert_eq!(point.grad().get::<2>("w").unwrap().to_data(), x.to_data());
    let v = waves(point.grad(), 1.0, 7);
    // The Hessian of the squares is 2, that of the first powers 0.
    assert_eq!(point.hvp(&v).unwrap().values()[0].to_f64(), v.scale(2.0).values()[0].to_f64());
}

#[test]
fn functions_of_two_variables() {
    check("div", |x| {
        x.clone() / positive(x.clone()) + x.clone().div_scalar(4.0) + positive(x.clone()).sum_dim(0) / positive(x)
    });
    check("atan2", |x| x.clone().sin().atan2(positive(x)));
    check("hypot", |x| x.clone().hypot(x.exp()));
    check("remainder", |x| {
        (positive(x.clone()) * 2.7).remainder(positive(x.clone().flip([0]))) + x.remainder_scalar(0.37)
    });
    check("fmod", |x| (positive(x.clone()) * 2.7).fmod(positive(x.flip([1]))));
    check("matmul", |x| x.clone().matmul(x.clone().transpose()).matmul(x.sin()));
    check_at("cross", data([4, 3], 2), |x| x.clone().cross(x.sin(), 1));
    check("pairs", |x| x.clone().max_pair(x.clone().flip([0])) + x.clone().min_pair(x.flip([1])));
}

#[test]
fn clamps() {
    check("clamp", |x| x.clone().square() + x.clamp(-0.4, 0.3));
    check("clamp below", |x| x.clone() * x.clamp_min(0.1));
    check("clamp above", |x| x.clone() * x.clamp_max(0.1));
    check("abs", |x| x.clone().abs() * x);
}

#[test]
fn reductions() {
    check("sum, mean", |x| x.clone().square().sum_dim(0) + x.clone().exp().mean_dim(0) * x.mean_dim(1).mean_dim(0));
    check("sum, mean of all", |x| x.clone().square().sum() * x.mean());
    check("sum along two", |x| x.square().sum_dims(&[0, 1]));
    check("prod", |x| x.prod());
    check("prod along axes", |x| x.clone().prod_dim(0).sum_dim(1) + x.prod_dim(1).sum_dim(0));
    check("prod along both", |x| x.prod_dims(&[0, 1]));
    check("variance", |x| x.clone().var(1) + x.var_bias(1));
    check("covariance", |x| x.cov(1, 1));
}

#[test]
fn extremes() {
    check("max, min", |x| x.clone().max().unsqueeze::<2>() * x.clone().square() + x.min().unsqueeze::<2>());
    check("max, min along axes", |x| x.clone().max_dim(1) * x.clone().min_dim(0) + x.square());
    check("max along both", |x| x.clone().max_dims(&[0, 1]) * x);
    check("largest magnitude", |x| x.clone().max_abs().unsqueeze::<2>() * x.clone().max_abs_dim(0) * x);
    check("with indices", |x| {
        let (max, at) = x.clone().max_dim_with_indices(1);
        let (min, _) = x.clone().min_dim_with_indices(0);
        max * min + x.gather(1, at)
    });
}

#[test]
fn sorts() {
    check("sort", |x| x.clone().sort(1) * x.sort_descending(0));
    check("sort with indices", |x| {
        let (sorted, at) = x.clone().sort_with_indices(0);
        sorted * x.gather(0, at)
    });
    check("argsort", |x| x.clone().gather(1, x.argsort(1)));
    check("topk", |x| x.clone().topk(2, 1) + x.topk_with_indices(2, 1).0.square());
    check("median", |x| x.median(1));
}

#[test]
fn running() {
    check("cumsum, cumprod", |x| x.clone().cumsum(1) * x.cumprod(0));
    check("cummax, cummin", |x| x.clone().cummax(1) * x.cummin(0));
}

#[test]
fn layout() {
    check("reshape, permute, flip", |x| x.reshape([2, 3, 2]).permute([2, 0, 1]).flip([0, 2]));
    check("swap, movedim, squeeze", |x| {
        let x: Tensor<3> = x.unsqueeze_dim(1);
        x.swap_dims(0, 2).movedim(0, 1).squeeze_dim::<2>(0)
    });
    check("expand, repeat", |x| {
        x.clone().sum_dim(0).expand([3, 4]) * x.clone().sum_dim(1).repeat_dim(1, 4) + x.repeat(&[1, 1])
    });
    check("cat, stack, split", |x| {
        let parts = x.clone().split(2, 1);
        let both = Tensor::cat(vec![parts[1].clone(), parts[0].clone() * 2.0, x.clone()], 1);
        Tensor::stack::<3>(vec![both.clone(), both.sin()], 0)
    });
    check("slices", |x| x.clone().slice(s![1..;-1, ..;2]) * x.slice(s![..2, 1..3]));
    check("narrow, chunk, roll", |x| {
        x.clone().narrow(1, 1, 2) * x.clone().chunk(2, 1)[1].clone() + x.roll(&[1], &[0]).narrow(1, 0, 2)
    });
    check("slice assignment", |x| {
        let corner = x.clone().slice(s![..2, ..2]).exp();
        x.clone().slice_assign(s![1.., 1..3], corner.clone()) * x.slice_assign(s![..;2, ..;3], corner).sin()
    });
    check("slice fill", |x| x.clone().slice_fill(s![1.., ..2], 3.0) * x);
    check("unfold", |x| x.unfold::<3, _>(1, 2, 1));
    check("triangles", |x| x.clone().triu(0) + x.clone().tril(-1).matmul(x.clone().transpose()).matmul(x));
    check("pad", |x| {
        x.clone().pad((1, 2, 0, 1), PadMode::Constant(3.0)) * x.clone().pad((1, 2, 0, 1), PadMode::Edge)
            + x.pad((1, 2, 0, 1), PadMode::Reflect)
    });
}

#[test]
fn indexing() {
    check("gather", |x| {
        let at = indices(&x, [2, 4], &[0, 2, 1, 2, 1, 1, 0, 0]);
        x.gather(0, at)
    });
    check("select", |x| {
        let at = indices(&x, [5], &[3, 1, 3, 3, 0]);
        x.select(1, at)
    });
    check("gather by pairs", |x| {
        let at = indices(&x, [3, 2], &[2, 3, 0, 1, 2, 3]);
        x.gather_nd::<2, 1>(at)
    });
    for update in [IndexingUpdateOp::Add, IndexingUpdateOp::Assign] {
        check("scatter", |x| {
            let at = indices(&x, [2, 4], &[0, 2, 1, 2, 1, 1, 0, 0]);
            let values = x.clone().slice(s![..2, ..]).exp();
            x.scatter(0, at, values, update)
        });
        check("select and update", |x| {
            let at = indices(&x, [2], &[3, 1]);
            let values = x.clone().slice(s![.., ..2]).exp();
            x.select_assign(1, at, values, update)
        });
        check("scatter by rows", |x| {
            let at = indices(&x, [2, 1], &[2, 0]);
            let values = x.clone().slice(s![..2, ..]).exp();
            x.scatter_nd(at, values, update)
        });
    }
    check("sampling of an image", |x| {
        let grid = (x.clone().tanh() * 0.8).reshape([1, 2, 3, 2]);
        x.reshape([1, 1, 3, 4]).grid_sample_2d(grid, GridSampleOptions::default())
    });
    check("mask", |x| {
        let mask = mask(&x);
        x.clone().mask_where(mask.clone(), x.clone().exp()) * x.mask_fill(mask, 2.0)
    });
    check("mask that depends on the values", |x| {
        let mask = x.clone().greater_elem(0.1);
        x.clone().mask_where(mask, x.square())
    });
}

#[test]
fn activations() {
    check("relu, leaky, hard", |x| {
        relu(x.clone()) * leaky_relu(x.clone(), 0.1) + hardtanh(x.clone(), -0.3, 0.4) + relu6(x)
    });
    check("gelu", |x| gelu(x.clone()) + gelu_approximate(x));
    check("sigmoid, log sigmoid", |x| sigmoid(x.clone()) * log_sigmoid(x.clone() * 3.0) + silu(x));
    check("softplus, mish", |x| softplus(x.clone(), 2.0) + mish(x.clone()) + softsign(x));
    check("elu, celu, selu", |x| elu(x.clone(), 1.3) + celu(x.clone(), 0.5) + selu(x));
    check("softmax", |x| softmax(x.clone(), 1) * softmax(x.clone(), 0) + softmin(x.clone(), 1) + quiet_softmax(x, 0));
    check("log softmax", |x| log_softmax(x.clone() * 4.0, 1) + log_softmax(x, 0));
    check("glu", |x| glu(x, 1));
    check("shrink", |x| {
        hard_shrink(x.clone(), 0.2) + soft_shrink(x.clone(), 0.2) + shrink(x.clone(), 0.2, 0.1) + tanhshrink(x)
    });
    check("threshold", |x| thresholded_relu(x.clone(), 0.2) * x.clone() + threshold(x.clone(), 0.1, 0.5) * x);
    check("prelu", |x| {
        let slope = x.clone().slice(s![0..1, 0..1]).reshape([1]);
        prelu(x, slope)
    });
}

/// What a formula and Burn's backward both compute is computed once: the primal part holds each of these operations as
/// often as the gradient and its derivative need different ones.
#[test]
fn factors_are_shared_with_burns_backward() {
    let count = |operation: &str, f: &dyn Fn(Tensor<2>) -> Tensor<2>| {
        let model = Weights { w: Param::from_tensor(data([3, 4], 5)) };
        let loss = |model: &Weights, ()| f(positive(model.w.val()) * 0.5).square().sum();
        let primal = trace(&model, &(), loss).unwrap().linearized_graph().unwrap().primal;
        primal.ops.iter().filter(|op| burn_func::graph::op_name(op) == operation).count()
    };
    assert_eq!(count("Float::Recip", &|x| x.sqrt()), 0);
    assert_eq!(count("Float::PowfScalar", &|x| x.sqrt()), 2); // x^-1/2 and, for its derivative, x^-3/2
    assert_eq!(count("Float::Tanh", &|x| x.tanh()), 1);
    assert_eq!(count("Float::Exp", &|x| x.erf()), 1);
    assert_eq!(count("Float::Sqrt", &|x| x.asin()), 1);
    assert_eq!(count("Float::Powf", &|x| x.clone().powf(x)), 3); // x^x, x^(x-1), x^(x-2)
    assert_eq!(count("NumericFloat::ProdDim", &|x| x.prod_dim(1)), 3); // of x, of x without zeros, and for its derivative
}

/// What the table says of products: Burn's backward of a product masks, for every factor, the case that there is a zero,
/// and its derivative keeps the masks. Of the Hessian of `a b c` at `b = 0` the column by `b` is lost.
#[test]
fn the_hessian_of_a_product_lacks_terms_at_a_zero() {
    let hessian_column = |along: usize| {
        let w = Tensor::<2>::from_data([[2.0_f64, 0.0, 5.0]], (&device(), burn::tensor::DType::F64));
        let model = Weights { w: Param::from_tensor(w) };
        let point = burn_func::linearize(&model, &(), |model: &Weights, ()| model.w.val().prod()).unwrap();
        assert_eq!(point.grad().values()[0].to_f64(), [0.0, 10.0, 0.0]);
        let v = point.grad().from_fn(|_, i| f64::from(u8::from(i == along)));
        point.hvp(&v).unwrap().values()[0].to_f64()
    };
    assert_eq!(hessian_column(0), [0.0, 5.0, 0.0]);
    assert_eq!(hessian_column(1), [0.0, 0.0, 0.0]); // [5, 0, 2] by the closed form
    assert_eq!(hessian_column(2), [0.0, 2.0, 0.0]);
}
