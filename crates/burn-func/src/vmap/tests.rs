//! Batched graphs against the loop over items, operation by operation, with every combination of batched inputs, in f64 on
//! Flex. A sum over a batched operand may add in another order than over an item alone: 1e-13 relative to the largest
//! element leaves room for that, and for nothing else.

use burn::module::{Module, ModuleDisplay, Param};
use burn::nn::conv::{Conv1dConfig, Conv2dConfig, Conv3dConfig, ConvTranspose2dConfig};
use burn::nn::interpolate::{Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::{AvgPool1dConfig, AvgPool2dConfig, MaxPool1dConfig, MaxPool2dConfig};
use burn::nn::{BatchNormConfig, PaddingConfig2d};
use burn::tensor::activation::{log_softmax, relu, softmax};
use burn::tensor::module::{adaptive_avg_pool2d, embedding};
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};
use burn_backend::Distribution;
use burn_backend::TensorMetadata;
use burn_backend::ops::{BoolTensorOps, IntTensorOps};
use burn_dispatch::Dispatch;
use burn_ir::{
    ActivationOperationIr as A, AttentionOpIr, AttentionOptionsIr, BaseOperationIr as Base, BinaryOpIr,
    ConvTranspose1dOpIr, ConvTranspose1dOptionsIr, ConvTranspose3dOpIr, ConvTranspose3dOptionsIr, CustomOpIr,
    DeformConv2dBackwardOpIr, DeformConv2dOpIr, DeformableConv2dOptionsIr, DimOpIr, FloatOperationIr, LayerNormOpIr,
    LinearBiasBackwardOpIr, LinearOpIr, LinearWeightBackwardOpIr, LinearXBackwardOpIr, MaxPool2dOpIr,
    ModuleOperationIr as M, NumericOperationIr as N, PadModeIr, PadOpIr, RandomOpIr, ReduceDimOpIr, ReduceOpIr,
    ScalarIr, ScalarOpIr, UnaryOpIr, Unfold4dOpIr, Unfold4dOptionsIr,
};

use super::*;
use crate::batch::{Batch, Output};
use crate::cast::cast;
use crate::executor::run;
use crate::graph::Role;
use crate::many::{over_items, per_item};
use crate::params::Params;
use crate::program::Program;
use crate::transforms::trace;
use crate::value::{TensorSpec, Value};

const ITEMS: usize = 3;

fn device() -> Device {
    Device::flex().autodiff()
}

/// Smooth numbers in (-1, 1) without a pattern.
fn wave(i: usize, salt: usize) -> f64 {
    ((i * 7 + salt * 13) as f64 * 0.37 + 0.11).sin()
}

fn numbers(value: &Value) -> Vec<f64> {
    let tensor = value.clone().into_dispatch();
    let shape = [value.shape().num_elements()];
    let data = match tensor.dtype() {
        dtype if dtype.is_float() => return value.to_f64(),
        dtype if dtype.is_bool() => {
            Tensor::<1, burn::tensor::Bool>::from_dispatch(Dispatch::bool_reshape(tensor, shape.into())).into_data()
        }
        _ => Tensor::<1, Int>::from_dispatch(Dispatch::int_reshape(tensor, shape.into())).into_data(),
    };
    data.convert::<f64>().iter::<f64>().collect()
}

/// The class of an operation: what its row says, or for an operation without a row, what that should say.
fn class(op: &OperationIr) -> Option<Batching> {
    let known = rule(op).map(|rule| rule.batching);
    known.or(Some(match op {
        OperationIr::Module(_) => Batching::FoldIntoFirst,
        _ => Batching::ShiftAxes,
    }))
}

/// Holds the batched graph against the loop, for every choice of the inputs that `may_differ`.
fn compare(name: &str, graph: &Graph, items: &[Vec<Value>], may_differ: &[usize]) {
    compare_by(name, graph, items, may_differ, class);
}

fn compare_by(
    name: &str,
    graph: &Graph,
    items: &[Vec<Value>],
    may_differ: &[usize],
    class: fn(&OperationIr) -> Option<Batching>,
) {
    let device = Device::flex();
    let execute = |graph: &Graph, inputs: Vec<Value>| {
        run(&device, &Program::new(graph), inputs).unwrap_or_else(|error| panic!("{name}: {error}\n{graph}"))
    };
    for choice in 1..1_usize << may_differ.len() {
        let differs: Vec<bool> = (0..graph.inputs.len())
            .map(|at| may_differ.iter().position(|&other| other == at).is_some_and(|bit| choice >> bit & 1 == 1))
            .collect();
        let batched = vmap_by(graph, &differs, items.len(), class).unwrap_or_else(|error| panic!("{name}: {error}"));
        let all = over_items(graph, batched, &differs, items.len()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = execute(&all, per_item(items, &differs));
        let mut found = found.iter();
        for item in items {
            let pick = |(at, &differs): (usize, &bool)| if differs { item[at].clone() } else { items[0][at].clone() };
            let expected = execute(graph, differs.iter().enumerate().map(pick).collect());
            for (i, expected) in expected.iter().enumerate() {
                let found = found.next().unwrap();
                assert_eq!(found.spec(), expected.spec(), "{name}: output {i}, inputs {differs:?}");
                let error = distance(&numbers(found), &numbers(expected));
                assert!(error <= 1e-13, "{name}: output {i} off by {error:.1e}, inputs {differs:?}\n{graph}\n{all}");
            }
        }
        assert!(found.next().is_none());
    }
}

/// Largest difference over the largest reference, or over one where that is smaller. NaN counts as infinite.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0_f64, |max, x| max.max(x.abs()));
    let worst = |max: f64, d: f64| if d.is_nan() { f64::INFINITY } else { max.max(d) };
    found.iter().zip(expected).map(|(f, e)| (f - e).abs() / scale).fold(0.0, worst)
}

/// Compares loss, gradients and auxiliary tensors of a closure over parameters and batches.
fn check_closure<Mo: Module, B: Batch, O: Output>(name: &str, model: &Mo, batches: &[B], f: impl Fn(&Mo, B) -> O) {
    let traced = trace(model, &batches[0], f).unwrap_or_else(|error| panic!("{name}: {error}"));
    let like = Params::from_module(model).unwrap();
    let point =
        |item: usize| like.from_fn(|spec, i| wave(i, 10 * item + spec.path.len()) + spec.path.len() as f64 * 0.01);
    let items: Vec<Vec<Value>> =
        batches.iter().enumerate().map(|(item, batch)| traced.inputs(&point(item), batch).unwrap()).collect();
    let graph = traced.graph();
    let may_differ: Vec<usize> =
        (0..graph.inputs.len()).filter(|&at| graph.inputs[at].role != Role::Constant).collect();
    compare(name, graph, &items, &may_differ);
}

#[derive(Module, Debug)]
struct Pair {
    a: Param<Tensor<2>>,
    b: Param<Tensor<2>>,
}

fn pair(a: [usize; 2], b: [usize; 2]) -> Pair {
    let zeros = |shape| Param::from_tensor(Tensor::zeros(shape, (&device(), DType::F64)));
    Pair { a: zeros(a), b: zeros(b) }
}

/// Operations on two matrices that differ between items in every combination, with their gradients.
fn check<const D: usize>(name: &str, f: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<D>) {
    check_with(name, [4, 6], [4, 6], &[(), (), ()], |a, b, ()| f(a, b));
}

fn check_with<B: Batch, const D: usize>(
    name: &str,
    a: [usize; 2],
    b: [usize; 2],
    batches: &[B],
    f: impl Fn(Tensor<2>, Tensor<2>, B) -> Tensor<D>,
) {
    check_closure(name, &pair(a, b), batches, |model, batch| {
        let y = f(model.a.val(), model.b.val(), batch);
        ((y.clone() * y.clone()).sum() + model.a.val().sum() + model.b.val().sum(), y)
    });
}

/// An operation without a gradient: its results alone.
fn check_results<B: Batch, A: Batch>(name: &str, batches: &[B], f: impl Fn(Tensor<2>, Tensor<2>, B) -> A) {
    check_closure(name, &pair([4, 6], [4, 6]), batches, |model, batch| {
        let (a, b) = (model.a.val(), model.b.val());
        (a.clone().sum() + b.clone().sum(), f(a.detach(), b.detach(), batch))
    });
}

fn indices<const D: usize>(shape: [usize; D], bound: i64) -> Vec<Tensor<D, Int>> {
    let n: usize = shape.iter().product();
    let item = |item: usize| {
        let values: Vec<i64> = (0..n).map(|i| ((i * 5 + item * 3 + i * i) as i64) % bound).collect();
        Tensor::from_data(TensorData::new(values, shape), &device())
    };
    (0..ITEMS).map(item).collect()
}

#[test]
fn layout() {
    check("reshape", |a, _| a.reshape([3, 2, 4]));
    check("swap_dims", |a, _| a.reshape([2, 2, 6]).swap_dims(0, 2));
    check("permute", |a, _| a.reshape([2, 2, 6]).permute([2, 0, 1]));
    check("flip", |a, b| a.flip([1]) + b.flip([0, 1]));
    check("slice", |a, b| a.slice(burn::tensor::s![1..3]) * b.slice([0..2, 0..6]));
    check("slice with steps", |a, _| a.slice(burn::tensor::s![..;2, ..;-2]));
    check("slice_assign", |a, b| a.slice_assign([1..3, 0..2], b.slice([0..2, 3..5])));
    check("repeat_dim", |a, _| a.repeat_dim(1, 2));
    check("cat", |a, b| Tensor::cat(vec![a.clone(), b, a], 1));
    check("expand", |a, _| a.slice([0..1, 0..6]).expand([5, 6]));
    check("expand to a higher rank", |a, _| a.expand([2, 4, 6]));
    check("unfold", |a, _| a.unfold::<3, _>(1, 3, 2));
    check("pad", |a, _| a.pad((1, 2, 0, 1), 0.5));
    check("a new axis", |a, b| a.unsqueeze_dim::<3>(1) * b.unsqueeze_dim::<3>(0));
}

#[test]
fn arithmetic_broadcasts() {
    check("same shape", |a, b| (a.clone() + b.clone()) * (a.clone() - b.clone()) / (b * a + 3.0));
    check_with("rows", [4, 6], [1, 6], &[(), ()], |a, b, ()| a.clone() * b.clone() + a - b);
    check_with("both", [4, 1], [1, 6], &[(), ()], |a, b, ()| a.clone() * b.clone() - a / (b + 2.0));
    check("scalars", |a, b| (a * 2.0 + 1.0) / 3.0 - (b.clone() - 0.5) * -b.neg());
    check("powers", |a, b| a.powi_scalar(3) + (b + 2.0).powf_scalar(1.5));
    check("clamp", |a, b| a.clamp(-0.5, 0.5) + b.clamp_min(0.1));
}

#[test]
fn functions_of_one_variable() {
    check("exp, log, sqrt", |a, b| a.clone().exp() + (b.clone() + 2.0).log().sqrt() + (a + 2.0).recip() + b.abs());
    check("sin, cos, tanh, erf", |a, b| a.clone().sin() + b.clone().cos() + a.tanh() + b.erf());
    check("activations", |a, b| {
        relu(a.clone()) + burn::tensor::activation::sigmoid(b.clone()) + burn::tensor::activation::gelu(a) + b.sign()
    });
}

#[test]
fn reductions() {
    check("sum", |a, b| a.sum() * b.mean());
    check("sum_dim", |a, b| a.sum_dim(1) * b.mean_dim(1));
    check("sum_dims", |a, _| a.reshape([2, 2, 6]).sum_dims(&[0, 2]));
    check("prod", |a, b| a.prod() + b.prod_dim(0).sum());
    check("max", |a, b| a.max() + b.min());
    check("max_dim", |a, b| a.max_dim(0) * b.min_dim(0));
    check("max_abs", |a, b| a.max_abs() + b.max_abs_dim(1).sum());
    check("cumsum", |a, b| a.cumsum(1) + b.cumsum(0));
    check("cumprod", |a, b| a.cumprod(1) + b.cumprod(0));
    check("cummax", |a, b| a.cummax(1) + b.cummin(0));
    check("softmax", |a, b| softmax(a, 1) * log_softmax(b, 0));
    check("var", |a, _| a.var(1));
    check("sort", |a, b| a.sort(1) + b.sort_descending(0));
    check("topk", |a, _| a.topk(2, 1));
    check_results("untracked maxima", &[(), ()], |a, b, ()| (a.clone().max_dim(1), a.max(), b.min_dim(0)));
}

#[test]
fn integers_and_booleans() {
    let masks = indices([4, 6], 4);
    check_results("comparisons", &masks, |a, b, i| {
        let mask = a.clone().greater(b.clone()).bool_and(a.clone().lower_elem(0.3)).bool_or(b.clone().equal(a.clone()));
        let any = i.clone().equal_elem(2);
        (mask.clone(), mask.clone().bool_not().int(), mask.clone().any(), mask.all_dim(0), any)
    });
    check_results("integers", &masks, |a, _, i| {
        let j = i.clone() * 3 + i.clone().flip([0]) - 2;
        let most = a.clone().argmax(1) + a.argmin(1);
        (j.clone().sum(), j.clone().max_dim(1), j.clone().float(), most, (j.reshape([24]), i.transpose()))
    });
    check_results("order", &masks, |a, b, i| (a.argsort(1), b.sort_with_indices(0).1, i.sort(1)));
    check_results("along an axis", &indices([4], 5), |_, _, i| {
        (i.clone().cumsum(0), i.unsqueeze_dim::<2>(1).repeat_dim(1, 3))
    });
    check_with("mask_where", [4, 6], [4, 6], &masks, |a, b, i| a.mask_where(i.equal_elem(1), b));
    check_with("mask_fill", [4, 6], [4, 6], &masks, |a, b, i| a.mask_fill(i.greater_elem(1), 0.5) * b);
}

#[test]
fn indexing() {
    for (dim, shape) in [(0, [3, 6]), (1, [4, 3])] {
        let (name, bound) = (|what: &str| format!("{what} along {dim}"), [4, 6][dim]);
        check_with(&name("select"), [4, 6], [1, 1], &indices([5], bound), |a, _, i| a.select(dim, i));
        check_with(&name("gather"), [4, 6], shape, &indices(shape, bound), |a, b, i| a.gather(dim, i) * b);
        let update = |a: Tensor<2>, b: Tensor<2>, i| a.scatter(dim, i, b, IndexingUpdateOp::Add);
        check_with(&name("scatter"), [4, 6], shape, &indices(shape, bound), update);
        let update = |a: Tensor<2>, b: Tensor<2>, i| a.select_assign(dim, i, b, IndexingUpdateOp::Add);
        check_with(&name("select_assign"), [4, 6], shape, &indices([3], bound), update);
    }
    check_results("select of integers", &indices([5], 4), |_, _, i| i.clone().select(0, i.clone()) + i);
    check_results("gather_nd", &indices([3, 1], 4), |a, _, i| a.gather_nd::<2, 2>(i));
    let update = |a: Tensor<2>, b: Tensor<2>, i| a.scatter_nd(i, b.slice([0..3, 0..6]), IndexingUpdateOp::Add);
    check_results("scatter_nd", &indices([3, 1], 4), update);
}

#[test]
fn products() {
    check_with("matmul", [4, 6], [6, 3], &[(), ()], |a, b, ()| a.matmul(b));
    check("matmul with leading axes", |a, b| {
        let a = a.reshape([2, 1, 2, 6]).expand([2, 3, 2, 6]);
        a.matmul(b.reshape([1, 1, 6, 4]).expand([1, 3, 6, 4]))
    });
    check("cross", |a, b| a.reshape([8, 3]).cross(b.reshape([8, 3]), 1));
}

fn images<const D: usize>(shape: [usize; D]) -> Vec<Tensor<D>> {
    let n: usize = shape.iter().product();
    let item = |item: usize| {
        let values: Vec<f64> = (0..n).map(|i| wave(i, 50 + item)).collect();
        Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64))
    };
    (0..ITEMS).map(item).collect()
}

fn squared<const D: usize>(y: Tensor<D>) -> (Tensor<1>, Tensor<D>) {
    ((y.clone() * y.clone()).mean(), y)
}

/// A layer on images that depend on a parameter, so that the gradient with respect to the image is in the graph, too.
#[derive(Module, Debug)]
struct Scaled<L> {
    layer: L,
    scale: Param<Tensor<1>>,
}

fn check_layer<L: Module + ModuleDisplay, const D: usize>(
    name: &str,
    layer: L,
    image: [usize; D],
    f: impl Fn(&L, Tensor<D>) -> Tensor<D>,
) {
    let scale = Param::from_tensor(Tensor::ones([1], &device()));
    let model = cast(&Scaled { layer, scale }, DType::F64);
    check_closure(name, &model, &images(image), |model, x| {
        let scale = model.scale.val().reshape([1; D]);
        squared(f(&model.layer, x.clone() * scale + x.cos()))
    });
}

#[test]
fn convolutions() {
    for groups in [1, 2] {
        let conv = Conv2dConfig::new([4, 6], [3, 2]).with_groups(groups).with_stride([2, 1]);
        let conv = conv.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).with_dilation([1, 2]).init(&device());
        check_layer("conv2d", conv, [2, 4, 5, 5], |conv, x| conv.forward(x));
        let conv = Conv1dConfig::new(4, 2, 3).with_groups(groups).init(&device());
        check_layer("conv1d", conv, [2, 4, 6], |conv, x| conv.forward(x));
        // A stride that leaves a rest: Burn's kernel for the weights of groups, which items become, is wrong there.
        let conv = Conv1dConfig::new(4, 4, 2).with_groups(groups).with_stride(3).init(&device());
        check_layer("conv1d with a rest", conv, [2, 4, 6], |conv, x| conv.forward(x));
        let conv = Conv3dConfig::new([2, 4], [2, 2, 2]).with_groups(groups).init(&device());
        check_layer("conv3d", conv, [2, 2, 3, 3, 4], |conv, x| conv.forward(x));
        let conv = ConvTranspose2dConfig::new([4, 2], [3, 3]).with_groups(groups).with_stride([2, 2]).init(&device());
        check_layer("conv_transpose2d", conv, [2, 4, 3, 3], |conv, x| conv.forward(x));
    }
    let conv = Conv2dConfig::new([2, 3], [3, 3]).with_bias(false);
    let conv = conv.with_padding(PaddingConfig2d::Explicit(0, 1, 1, 2)).init(&device());
    check_layer("conv2d with uneven padding", conv, [2, 2, 5, 5], |conv, x| conv.forward(x));
}

#[test]
fn normalisation() {
    let norm = BatchNormConfig::new(3).init(&device());
    check_layer("batch statistics", norm, [4, 3, 2, 2], |norm, x| norm.forward(x));
    let norm = BatchNormConfig::new(3).init(&device()).freeze().set_require_grad(true);
    check_layer("running statistics", norm, [4, 3, 2, 2], |norm, x| norm.forward(x));
    let norm = burn::nn::LayerNormConfig::new(4).init(&device());
    check_layer("layer norm", norm, [2, 3, 4], |norm, x| norm.forward(x));
}

fn check_image<const D: usize, const E: usize>(name: &str, image: [usize; D], f: impl Fn(Tensor<D>) -> Tensor<E>) {
    check_closure(name, &pair([1, 1], [1, 1]), &images(image), |model, x| {
        squared(f(x.clone() * model.a.val().reshape([1; D]) + x))
    });
}

#[test]
fn pooling() {
    check_image("max_pool2d", [2, 3, 5, 6], |x| {
        let pool = MaxPool2dConfig::new([2, 3]).with_strides([2, 1]);
        pool.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init().forward(x)
    });
    check_image("max_pool1d", [2, 3, 7], |x| MaxPool1dConfig::new(3).with_stride(2).init().forward(x));
    check_image("avg_pool2d", [2, 3, 5, 6], |x| {
        let pool = AvgPool2dConfig::new([2, 3]).with_strides([2, 1]).with_count_include_pad(false);
        pool.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init().forward(x)
    });
    check_image("avg_pool1d", [2, 3, 7], |x| AvgPool1dConfig::new(3).with_stride(2).init().forward(x));
    check_image("adaptive_avg_pool2d", [2, 3, 5, 6], |x| adaptive_avg_pool2d(x, [2, 3]));
    check_image("interpolate", [2, 3, 3, 4], |x| {
        let resize = Interpolate2dConfig::new().with_output_size(Some([5, 6]));
        resize.with_mode(InterpolateMode::Linear).init().forward(x)
    });
}

#[test]
fn embeddings() {
    check_closure("embedding", &pair([4, 6], [1, 1]), &indices([2, 3], 4), |model, i| {
        squared(embedding(model.a.val(), i) * model.b.val().unsqueeze::<3>())
    });
}

/// Operations that no closure records, written down as they are.
fn check_operation(name: &str, shapes: &[&[usize]], build: impl Fn(&mut Emitter, &[TensorIr]) -> Vec<TensorIr>) {
    check_items(name, shapes, ITEMS, build);
}

pub(super) fn check_items(
    name: &str,
    shapes: &[&[usize]],
    items: usize,
    build: impl Fn(&mut Emitter, &[TensorIr]) -> Vec<TensorIr>,
) {
    let mut emit = Emitter::starting_at(0);
    let operands: Vec<TensorIr> = shapes.iter().map(|shape| emit.value(shape.to_vec().into(), DType::F64)).collect();
    let outputs = build(&mut emit, &operands);
    let value = |item: usize, at: usize| {
        let spec = TensorSpec { shape: shapes[at].to_vec(), dtype: DType::F64 };
        let values = (0..shapes[at].iter().product()).map(|i| wave(i, 10 * at + item)).collect();
        Value::from_host(values, &spec, &Device::flex())
    };
    let items: Vec<Vec<Value>> = (0..items).map(|item| (0..shapes.len()).map(|at| value(item, at)).collect()).collect();
    let inputs = operands.into_iter().map(|tensor| Input { tensor, role: Role::Batch }).collect();
    compare(name, &Graph { inputs, ops: emit.ops, outputs }, &items, &Vec::from_iter(0..shapes.len()));
}

fn module(emit: &mut Emitter, shape: &[usize], op: impl Fn(TensorIr) -> M) -> Vec<TensorIr> {
    let out = emit.value(shape.to_vec().into(), DType::F64);
    vec![emit.push(OperationIr::Module(op(out.clone())), out)]
}

#[test]
fn linear_layers() {
    for lead in [&[5][..], &[2, 3][..]] {
        let x = [lead, &[4]].concat();
        let y = [lead, &[3]].concat();
        check_operation("linear", &[&x, &[4, 3], &[3]], |e, t| {
            let [x, weight, bias] = [0, 1, 2].map(|at: usize| t[at].clone());
            module(e, &y, |out| {
                M::Linear(LinearOpIr { x: x.clone(), weight: weight.clone(), bias: Some(bias.clone()), out })
            })
        });
        check_operation("linear_x_backward", &[&[4, 3], &y], |e, t| {
            module(e, &x, |out| {
                M::LinearXBackward(LinearXBackwardOpIr { weight: t[0].clone(), output_grad: t[1].clone(), out })
            })
        });
        check_operation("linear_weight_backward", &[&x, &y], |e, t| {
            module(e, &[4, 3], |out| {
                M::LinearWeightBackward(LinearWeightBackwardOpIr { x: t[0].clone(), output_grad: t[1].clone(), out })
            })
        });
        check_operation("linear_bias_backward", &[&y], |e, t| {
            module(e, &[3], |out| M::LinearBiasBackward(LinearBiasBackwardOpIr { output_grad: t[0].clone(), out }))
        });
    }
}

#[test]
fn layer_normalisation() {
    check_operation("layer_norm", &[&[2, 3, 4], &[4], &[4]], |e, t| {
        let (input, gamma, beta) = (t[0].clone(), t[1].clone(), Some(t[2].clone()));
        let (epsilon, beta) = (ScalarIr::Float(1e-5), &beta);
        module(e, &[2, 3, 4], |out| {
            M::LayerNorm(LayerNormOpIr { input: input.clone(), gamma: gamma.clone(), beta: beta.clone(), epsilon, out })
        })
    });
}

#[test]
fn deformable_convolutions() {
    let options = DeformableConv2dOptionsIr {
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
        weight_groups: 2,
        offset_groups: 2,
    };
    let shapes: [&[usize]; 5] = [&[2, 4, 4, 4], &[2, 36, 4, 4], &[6, 2, 3, 3], &[2, 18, 4, 4], &[6]];
    check_operation("deform_conv2d", &shapes, |e, t| {
        let [x, offset, weight, mask, bias] = [0, 1, 2, 3, 4].map(|at: usize| t[at].clone());
        let (mask, bias, options) = (Some(mask), Some(bias), options.clone());
        let out = e.value([2, 6, 4, 4].into(), DType::F64);
        let op = DeformConv2dOpIr { x, offset, weight, mask, bias, options, out: out.clone() };
        vec![e.push(OperationIr::Module(M::DeformableConv2d(Box::new(op))), out)]
    });
    check_operation("deform_conv2d_backward", &[&shapes[..], &[&[2, 6, 4, 4]]].concat(), |e, t| {
        let [x, offset, weight, mask, bias, out_grad] = [0, 1, 2, 3, 4, 5].map(|at: usize| t[at].clone());
        let results: Vec<TensorIr> = t[..5].iter().map(|of| e.like(of)).collect();
        let [input_grad, offset_grad, weight_grad, mask_grad, bias_grad] =
            [0, 1, 2, 3, 4].map(|at: usize| results[at].clone());
        let (mask, bias, options) = (Some(mask), Some(bias), options.clone());
        let (mask_grad, bias_grad) = (Some(mask_grad), Some(bias_grad));
        e.ops.push(OperationIr::Module(M::DeformableConv2dBackward(Box::new(DeformConv2dBackwardOpIr {
            x,
            offset,
            weight,
            mask,
            bias,
            out_grad,
            options,
            input_grad,
            offset_grad,
            weight_grad,
            mask_grad,
            bias_grad,
        }))));
        results
    });
}

fn float(emit: &mut Emitter, shape: &[usize], op: impl FnOnce(TensorIr) -> OperationIr) -> Vec<TensorIr> {
    let out = emit.value(shape.to_vec().into(), DType::F64);
    vec![emit.push(op(out.clone()), out)]
}

/// An operation by name, made of `R`.
type Named<R, O> = (&'static str, fn(R) -> O);

#[test]
fn activations_in_one_operation() {
    let unary: [Named<(TensorIr, TensorIr), A>; 5] = [
        ("softmax", |(input, out)| A::Softmax(DimOpIr { input, out, axis: 1 })),
        ("log_softmax", |(input, out)| A::LogSoftmax(DimOpIr { input, out, axis: 0 })),
        ("softmin", |(input, out)| A::Softmin(DimOpIr { input, out, axis: 1 })),
        ("leaky_relu", |(lhs, out)| A::LeakyRelu(ScalarOpIr { lhs, rhs: ScalarIr::Float(0.1), out })),
        ("log_sigmoid", |(input, out)| A::LogSigmoid(UnaryOpIr { input, out })),
    ];
    for (name, op) in unary {
        check_operation(name, &[&[4, 3]], |e, t| {
            float(e, &[4, 3], |out| OperationIr::Activation(op((t[0].clone(), out))))
        });
    }
    check_operation("prelu", &[&[2, 3, 4], &[1, 3, 1]], |e, t| {
        let (lhs, rhs) = (t[0].clone(), t[1].clone());
        float(e, &[2, 3, 4], |out| OperationIr::Activation(A::PRelu(BinaryOpIr { lhs, rhs, out })))
    });
    check_operation("log_sigmoid_backward", &[&[4, 3], &[4, 3]], |e, t| {
        let (lhs, rhs) = (t[0].clone(), t[1].clone());
        float(e, &[4, 3], |out| OperationIr::Activation(A::LogSigmoidBackward(BinaryOpIr { lhs, rhs, out })))
    });
}

#[test]
fn reductions_in_one_operation() {
    let whole: [Named<ReduceOpIr, N>; 4] =
        [("max", N::Max), ("min", N::Min), ("max_abs", N::MaxAbs), ("prod", N::Prod)];
    for (name, op) in whole {
        check_operation(name, &[&[4, 3]], |e, t| {
            let input = t[0].clone();
            float(e, &[1], |out| OperationIr::NumericFloat(DType::F64, op(ReduceOpIr { input, out })))
        });
    }
    let along: [(Named<ReduceDimOpIr, N>, usize); 5] = [
        (("max_dim", N::MaxDim), 1),
        (("min_dim", N::MinDim), 1),
        (("max_abs_dim", N::MaxAbsDim), 1),
        (("prod_dim", N::ProdDim), 1),
        (("topk", N::TopK), 2),
    ];
    for ((name, op), accumulator_len) in along {
        check_operation(name, &[&[2, 4, 3]], |e, t| {
            let input = t[0].clone();
            float(e, &[2, accumulator_len, 3], |out| {
                OperationIr::NumericFloat(DType::F64, op(ReduceDimOpIr { input, out, axis: 1, accumulator_len }))
            })
        });
    }
    let logical: [Named<ReduceOpIr, Base>; 2] = [("all", Base::All), ("any", Base::Any)];
    for (name, op) in logical {
        check_operation(name, &[&[4, 3]], |e, t| {
            let (input, out) = (t[0].clone(), e.value([1].into(), DType::Bool(burn::tensor::BoolStore::Native)));
            vec![e.push(OperationIr::BaseFloat(op(ReduceOpIr { input, out: out.clone() })), out)]
        });
    }
}

#[test]
fn images_and_attention_in_one_operation() {
    check_operation("max_pool2d", &[&[2, 3, 4, 5]], |e, t| {
        module(e, &[2, 3, 2, 2], |out| {
            let (x, kernel_size, stride) = (t[0].clone(), [2, 2], [2, 2]);
            M::MaxPool2d(MaxPool2dOpIr {
                x,
                kernel_size,
                stride,
                padding: [0, 0],
                dilation: [1, 1],
                ceil_mode: false,
                out,
            })
        })
    });
    check_operation("unfold4d", &[&[2, 3, 4, 5]], |e, t| {
        let options = Unfold4dOptionsIr { stride: [1, 1], padding: [0, 0], dilation: [1, 1] };
        module(e, &[2, 12, 12], |out| {
            M::Unfold4d(Unfold4dOpIr { x: t[0].clone(), kernel_size: [2, 2], options: options.clone(), out })
        })
    });
    check_operation("attention", &[&[2, 2, 4, 3], &[2, 2, 5, 3], &[2, 2, 5, 6], &[1, 1, 4, 5]], |e, t| {
        let [query, key, value, attn_bias] = [0, 1, 2, 3].map(|at: usize| t[at].clone());
        let options = AttentionOptionsIr { scale: None, softcap: None, is_causal: false };
        let attention =
            AttentionOpIr { query, key, value, mask: None, attn_bias: Some(attn_bias), options, out: t[0].clone() };
        module(e, &[2, 2, 4, 6], |out| M::Attention(AttentionOpIr { out, ..attention.clone() }))
    });
    check_operation("reflecting pad", &[&[4, 5]], |e, t| {
        let (input, padding) = (t[0].clone(), vec![(1, 2), (0, 3)]);
        float(e, &[7, 8], |out| {
            OperationIr::NumericFloat(DType::F64, N::Pad(PadOpIr { input, out, padding, mode: PadModeIr::Reflect }))
        })
    });
}

#[test]
fn other_transposed_convolutions() {
    check_operation("conv_transpose1d", &[&[2, 4, 3], &[4, 1, 3], &[2]], |e, t| {
        let [x, weight, bias] = [0, 1, 2].map(|at: usize| t[at].clone());
        let options =
            ConvTranspose1dOptionsIr { stride: [2], padding: [1], padding_out: [1], dilation: [1], groups: 2 };
        let conv = ConvTranspose1dOpIr { x, weight, bias: Some(bias), options, out: t[0].clone() };
        module(e, &[2, 2, 6], |out| M::ConvTranspose1d(ConvTranspose1dOpIr { out, ..conv.clone() }))
    });
    check_operation("conv_transpose3d", &[&[2, 2, 2, 2, 2], &[2, 3, 2, 2, 2]], |e, t| {
        let options = ConvTranspose3dOptionsIr {
            stride: [1; 3],
            padding: [0; 3],
            padding_out: [0; 3],
            dilation: [1; 3],
            groups: 1,
        };
        let (x, weight) = (t[0].clone(), t[1].clone());
        let conv = ConvTranspose3dOpIr { x, weight, bias: None, options, out: t[0].clone() };
        module(e, &[2, 3, 3, 3, 3], |out| M::ConvTranspose3d(ConvTranspose3dOpIr { out, ..conv.clone() }))
    });
}

#[test]
#[should_panic(expected = "off by")]
fn a_wrong_form_is_found() {
    // The form of an identity for an exponential.
    const IDENTITY: crate::rules::BatchFormula = |vmap, op| {
        let (input, out) = crate::jvp::only(op);
        let full = vmap.full(input);
        vmap.set(out, full);
        Ok(())
    };
    let mut emit = Emitter::starting_at(0);
    let x = emit.value([2].into(), DType::F64);
    let y = emit.exp(&x);
    let graph = Graph { inputs: vec![Input { tensor: x, role: Role::Batch }], ops: emit.ops, outputs: vec![y] };
    let spec = TensorSpec { shape: vec![2], dtype: DType::F64 };
    let items: Vec<Vec<Value>> =
        (0..ITEMS).map(|item| vec![Value::from_host(vec![wave(item, 0); 2], &spec, &Device::flex())]).collect();
    compare_by("exp", &graph, &items, &[0], |_| Some(Batching::Formula(IDENTITY)));
}

#[test]
fn random_numbers_are_drawn_per_item() {
    let mut emit = Emitter::starting_at(0);
    let x = emit.value([50].into(), DType::F64);
    let noise = emit.like(&x);
    let random = RandomOpIr { out: noise.clone(), distribution: Distribution::Uniform(0.0, 1.0) };
    let noise = emit.push(OperationIr::Float(DType::F64, FloatOperationIr::Random(random)), noise);
    let y = emit.mul(&x, &noise);
    let graph = Graph { inputs: vec![Input { tensor: x, role: Role::Batch }], ops: emit.ops, outputs: vec![y] };
    let batched = vmap(&graph, &[false], 2).unwrap();
    let ones = Value::from_host(vec![1.0; 50], &TensorSpec { shape: vec![50], dtype: DType::F64 }, &Device::flex());
    let drawn = run(&Device::flex(), &Program::new(&batched), vec![ones]).unwrap()[0].to_f64();
    assert_eq!(drawn.len(), 100);
    assert_ne!(drawn[..50], drawn[50..]);
}

#[test]
fn what_cannot_be_batched_is_named() {
    let mut emit = Emitter::starting_at(0);
    let x = emit.value([2].into(), DType::F64);
    let y = emit.like(&x);
    let custom = CustomOpIr::new("other", std::slice::from_ref(&x), std::slice::from_ref(&y));
    let y = emit.push(OperationIr::Custom(custom), y);
    let graph = Graph { inputs: vec![Input { tensor: x, role: Role::Batch }], ops: emit.ops, outputs: vec![y] };
    match vmap(&graph, &[true], 2) {
        Err(Error::Unsupported { op, transform: Transform::Vmap, .. }) => assert_eq!(op, "Custom::other"),
        other => panic!("{other:?}"),
    }
    assert!(vmap(&graph, &[false], 2).is_ok(), "nothing it depends on is batched");
    for (flags, n) in [(&[][..], 2), (&[true][..], 0)] {
        assert!(matches!(vmap(&graph, flags, n), Err(Error::Mismatch { .. })));
    }
}
