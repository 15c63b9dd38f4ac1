//! Programs on every device: in single precision there, against double precision on Flex.
//!
//! `BURN_META_TEST_DEVICE` names the device. The tolerance is 1e-4 of the norm: single precision rounds at 6e-8, a few
//! hundred operations with sums of up to a thousand terms in any order add up to about 1e-5, and a wrong formula, index
//! or type is off by 1e-2 and more.
#![allow(missing_docs)]

mod common;

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use burn_func::{Batch, Error, Linearization, Params, cast, finite, linearize, trace};
use common::devices::{on, single, test_device};
use common::*;

const TOLERANCE: f64 = 1e-4;

fn plain() -> Device {
    test_device().without_autodiff()
}

/// Loss, gradient and a product with the Hessian, on the host.
fn numbers(point: &Linearization) -> [Vec<f64>; 3] {
    let product = point.hvp(&waves(point.grad(), 1.0, 3)).unwrap();
    [vec![finite(point.loss()).unwrap()], point.grad().to_f64(), product.to_f64()]
}

fn assert_close(what: &str, found: &[Vec<f64>; 3], expected: &[Vec<f64>; 3]) {
    for (part, (found, expected)) in ["loss", "gradient", "product"].iter().zip(found.iter().zip(expected)) {
        assert_eq!(found.len(), expected.len());
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let off = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
        let off = off / norm(&mut expected.iter().copied());
        assert!(off <= TOLERANCE, "{what}: {part} off by {off:e}");
    }
}

/// A closure traced on the device, and one traced on Flex and moved there, against double precision on Flex.
fn agrees<M: Module, B: Batch>(what: &str, model: &M, batch: &B, f: fn(&M, B) -> Tensor<1>) {
    let expected = numbers(&linearize(model, batch, f).unwrap());
    let model_there = single(&test_device(), model);
    let batch_there = on(&test_device(), batch);
    let there = linearize(&model_there, &batch_there, f).unwrap();
    assert!(there.grad().device() == plain());
    assert_close(what, &numbers(&there), &expected);

    let here = single(&device(), model);
    let traced = trace(&here, &on(&device(), batch), f).unwrap().to_device(&test_device()).unwrap();
    let at = Params::from_module(&here).unwrap().to_device(&test_device()).unwrap();
    let moved = traced.linearize(&at, &batch_there).unwrap();
    assert_close(&format!("{what}, traced on Flex"), &numbers(&moved), &expected);
}

fn regression() -> (Mlp, (Tensor<2>, Tensor<2>)) {
    (Mlp::new(3, 5, 2), (data([6, 3], 1), data([6, 2], 2)))
}

fn regression_loss(model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)) -> Tensor<1> {
    mse(model.forward(x, Act::Tanh), y)
}

macro_rules! activations {
    ($($name:ident => $act:ident;)*) => {$(
        #[test]
        fn $name() {
            let (model, batch) = regression();
            agrees(stringify!($name), &model, &batch, |model, (x, y)| mse(model.forward(x, Act::$act), y));
        }
    )*};
}

activations! {
    a_network_with_relu => Relu;
    a_network_with_tanh => Tanh;
    a_network_with_gelu => Gelu;
    a_network_with_silu => Silu;
    a_network_with_sigmoid => Sigmoid;
    a_network_with_softplus => Softplus;
}

#[test]
fn a_convolutional_network_with_pooling() {
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    agrees("convolutional network", &Cnn::new(), &batch, |model, batch| model.loss(batch));
}

#[derive(Module, Debug)]
struct Attention {
    embedding: Param<Tensor<2>>,
    norm: LayerNorm,
    query: Linear,
    key: Linear,
    head: Linear,
}

impl Attention {
    fn new() -> Self {
        let linear = |i, o| LinearConfig::new(i, o).init(&device());
        settled(&Self {
            embedding: Param::from_tensor(Tensor::<2>::zeros([7, 4], &device())),
            norm: LayerNormConfig::new(4).init(&device()),
            query: linear(4, 3),
            key: linear(4, 3),
            head: linear(4, 2),
        })
    }

    fn loss(&self, tokens: Tensor<2, Int>) -> Tensor<1> {
        let [rows, columns] = tokens.dims();
        let x = self.embedding.val().select(0, tokens.reshape([rows * columns])).reshape([rows, columns, 4]);
        let x = self.norm.forward(x);
        let scores = self.query.forward(x.clone()).matmul(self.key.forward(x.clone()).swap_dims(1, 2));
        let mixed = softmax(scores, 2).matmul(x);
        self.head.forward(mixed).powf_scalar(2.0).mean()
    }
}

#[test]
fn attention_over_embeddings() {
    let tokens: Vec<i64> = (0..10).map(|i| (i * 3 + 1) % 7).collect();
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [2, 5]), &device());
    agrees("attention", &Attention::new(), &tokens, |model, tokens| model.loss(tokens));
}

#[test]
fn indices_computed_and_given() {
    let rows: Vec<i64> = vec![4, 0, 2, 2];
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [4]), &device());
    let (model, (x, y)) = regression();
    agrees("indices", &model, &(x, y.slice([0..4, 0..2]), rows), |model, (x, y, rows)| {
        let out = model.forward(x, Act::Tanh).select(0, rows);
        let best = out.clone().argmax(1);
        let picked = out.clone().gather(1, best.clone());
        let weight = best.float().cast(out.dtype()) + 0.5;
        mse(out * weight, y) + picked.powf_scalar(3.0).mean()
    });
}

#[test]
fn masks_computed_and_given() {
    let mask: Vec<bool> = (0..12).map(|i| i % 3 == 0).collect();
    let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, [6, 2]), &device());
    let (model, (x, y)) = regression();
    agrees("masks", &model, &(x, y, mask), |model, (x, y, mask)| {
        let out = model.forward(x, Act::Tanh);
        let positive = out.clone().greater_elem(0.0);
        let chosen = out.clone().mask_where(mask, y.clone()).mask_fill(positive.clone().bool_not(), 0.25);
        mse(chosen, y) + out.mask_fill(positive, -0.5).powf_scalar(2.0).sum()
    });
}

#[test]
fn layouts_turned_and_products_of_integers() {
    let mask: Vec<bool> = (0..12).map(|i| i % 3 == 0).collect();
    let mask = Tensor::<3, Bool>::from_data(TensorData::new(mask, [2, 3, 2]), &device());
    let counts = Tensor::<3, Int>::from_data(TensorData::new((0..12).collect::<Vec<i64>>(), [2, 2, 3]), &device());
    let (model, (x, y)) = regression();
    agrees("layouts", &model, &(x, y, mask, counts), |model, (x, y, mask, counts)| {
        let out = model.forward(x, Act::Tanh).reshape([3, 2, 2]);
        let turned = out.clone().permute([2, 0, 1]).flip([0, 2]).permute([1, 2, 0]);
        let weight = counts.clone().matmul(counts.narrow(0, 0, 1).swap_dims(1, 2)).sum_dim(0).float().cast(out.dtype());
        let chosen = (turned * weight * 0.01 + out).mask_fill(mask.permute([1, 2, 0]), 0.25);
        mse(chosen.reshape([6, 2]), y)
    });
}

#[test]
fn integers_of_another_width_are_the_same_labels() {
    let model = single(&test_device(), &Cnn::new());
    let (x, y) = (data([4, 2, 9, 8], 1), labels(4, 4));
    let batch = on(&test_device(), &(x, y.clone()));
    let traced = trace(&model, &batch, |model: &Cnn, batch| model.loss(batch)).unwrap();
    let at = Params::from_module(&model).unwrap();
    let expected = finite(&traced.value(&at, &batch).unwrap().0).unwrap();
    for dtype in [DType::I64, DType::I32].into_iter().filter(|&dtype| plain().supports_dtype(dtype)) {
        let labels = Tensor::from_data(y.to_data().convert_dtype(dtype), (&test_device(), dtype));
        let found = finite(&traced.value(&at, &(batch.0.clone(), labels)).unwrap().0).unwrap();
        assert_eq!(found, expected, "{dtype:?}");
    }
}

#[test]
fn a_cast_between_integer_types_runs() {
    let (model, (x, _)) = regression();
    let rows: Vec<i64> = vec![5, 0, 300];
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [3]), &device());
    agrees("cast", &model, &(x, rows), |model, (x, rows)| {
        let rows = rows.cast(DType::I64).remainder_scalar(6).cast(DType::I32);
        model.forward(x, Act::Tanh).select(0, rows).powf_scalar(2.0).mean()
    });
}

#[test]
fn a_float_type_the_device_lacks_is_refused_by_name() {
    let model = Mlp::new(3, 4, 2);
    let x = data([5, 3], 1);
    let f = |model: &Mlp, x: Tensor<2>| model.forward(x, Act::Tanh).mean();
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let (model, x) = (cast(&model, dtype), x.clone().cast(dtype));
        let params = Params::from_module(&model).unwrap().to_device(&test_device());
        let traced = trace(&model, &x, f).unwrap().to_device(&test_device());
        if plain().supports_dtype(dtype) {
            assert!(params.is_ok() && traced.is_ok(), "{dtype:?}: {params:?}");
            continue;
        }
        for error in [params.map(drop).unwrap_err(), traced.map(drop).unwrap_err()] {
            match error {
                Error::UnsupportedType { what, dtype: found, supported, .. } => {
                    assert_eq!((what.as_str(), found), ("parameter `a.weight`", dtype));
                    assert!(supported.contains(&DType::F32) && !supported.contains(&dtype), "{supported:?}");
                }
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_point_on_another_device_is_refused() {
    let (model, batch) = regression();
    let (here, there) = (single(&device(), &model), on(&test_device(), &batch));
    let traced = trace(&single(&test_device(), &model), &there, regression_loss).unwrap();
    let elsewhere = Params::from_module(&here).unwrap();
    match traced.linearize(&elsewhere, &there) {
        Err(Error::TwoDevices { what, .. }) if plain() != device() => assert_eq!(what, "the point"),
        Ok(_) if plain() == device() => (),
        other => panic!("{other:?}"),
    }
}

#[test]
fn threads_share_programs_and_points() {
    let (model, batch) = regression();
    let expected = numbers(&linearize(&model, &batch, regression_loss).unwrap());
    let (model, batch) = (single(&test_device(), &model), on(&test_device(), &batch));
    let traced = trace(&model, &batch, regression_loss).unwrap();
    let at = Params::from_module(&model).unwrap();
    let point = traced.linearize(&at, &batch).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..10 {
                    // A point of this thread, and one that another thread made.
                    assert_close("own point", &numbers(&traced.linearize(&at, &batch).unwrap()), &expected);
                    assert_close("shared point", &numbers(&point), &expected);
                }
            });
        }
    });
    assert_close("after the threads", &numbers(&point), &expected);
}
