//! Features where they meet: random numbers, residual policies, devices, filters, statistics, operations of one's own and
//! batches of every kind, in each other.
//!
//! Every reference is the same quantity taken another way: one by one, under another policy, from a whole matrix, or with
//! what is stopped handed in as a number. Two such ways differ in the order of sums alone: a few units in the last place,
//! below 1e-13 of the norm; a wrong term is near 1. Where the same program runs on the same numbers, equality is exact.
#![allow(missing_docs)]

mod common;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, DType, Device, Distribution, Int, Tensor, TensorData};
use burn_func::rules::{Batching, CustomOp, CustomRule, Derivative, register};
use burn_func::{
    Batch, CacheCounts, Claim, Error, Filter, Jvp, Key, Linearization, Params, ProgramCache, Residuals, Traced, Vmap,
    cast, check, finite, stop_gradient, trace, trace_filtered, trace_gauss_newton, trace_vector, trace_vector_with,
    trace_with,
};
use burn_ir::OperationIr;
use common::custom::soft_abs;
use common::*;

const TOLERANCE: f64 = 1e-13;

type Pair = (Tensor<2>, Tensor<2>);

fn close(name: &str, found: &Params, expected: &Params) {
    let error = relative(found, expected);
    assert!(error <= TOLERANCE, "{name}: off by {error:.1e}");
}

fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

fn close_numbers(name: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let scale = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
    let error = found.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() / scale;
    assert!(error <= TOLERANCE, "{name}: off by {error:.1e}");
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn vectors(like: &Params) -> Vec<Params> {
    (0..3).map(|k| waves(like, 1.0, 40 + k)).collect()
}

/// Losses, gradients and products over several points and batches are those one by one.
fn many<B: Batch>(name: &str, traced: &Traced<B>, at: &Params, batches: &[B]) {
    let vs = vectors(at);
    let points: Vec<Params> = (0..batches.len()).map(|k| at.axpy(0.1 * k as f64, &waves(at, 1.0, 30 * k))).collect();
    let found = traced.value_and_grad_many(&points, batches).unwrap();
    let linearized = traced.linearize_many(&points, batches).unwrap();
    let each = Linearization::hvp_each(&linearized, &vs[..batches.len()]).unwrap();
    for (k, batch) in batches.iter().enumerate() {
        let point = traced.linearize(&points[k], batch).unwrap();
        close_numbers(name, &host(&found[k].0), &host(point.loss()));
        close(&format!("{name}, gradient {k}"), &found[k].1, point.grad());
        close(&format!("{name}, linearized {k}"), linearized[k].grad(), point.grad());
        close(&format!("{name}, product {k}"), &each[k], &point.hvp(&vs[k]).unwrap());
        for (v, product) in vs.iter().zip(linearized[k].hvps(&vs).unwrap()) {
            close(&format!("{name}, products {k}"), &product, &point.hvp(v).unwrap());
        }
    }
}

/// Products are the same bit for bit under every policy, one at a time and together.
fn policies<B: Batch>(name: &str, traced: &Traced<B>, at: &Params, batches: &[B]) {
    let vs = vectors(at);
    let stored = traced.residual_bytes().unwrap();
    assert!(stored > 0, "{name}");
    let expected: Vec<Vec<f64>> = {
        let point = traced.linearize(at, &batches[0]).unwrap();
        vs.iter().map(|v| point.hvp(v).unwrap().to_f64()).collect()
    };
    for policy in [Residuals::Recompute, Residuals::Budget(stored / 2), Residuals::Store] {
        let name = format!("{name}, {policy:?}");
        let traced = traced.clone().with_residuals(policy);
        let point = traced.linearize(at, &batches[0]).unwrap();
        for (v, expected) in vs.iter().zip(&expected) {
            assert_eq!(&point.hvp(v).unwrap().to_f64(), expected, "{name}");
        }
        many(&name, &traced, at, batches);
    }
}

// Random numbers.

#[derive(Module, Debug)]
struct Dropped {
    net: Mlp,
    dropout: Dropout,
}

impl Dropped {
    fn new() -> Self {
        Self { net: Mlp::new(3, 8, 2), dropout: DropoutConfig::new(0.4).init() }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = self.dropout.forward(self.net.a.forward(x).tanh());
        self.net.c.forward(self.dropout.forward(self.net.b.forward(hidden).tanh()))
    }

    fn loss(&self, (x, y): Pair) -> Tensor<1> {
        mse(self.forward(x), y)
    }
}

fn pair(salt: usize) -> Pair {
    (data([5, 3], salt), data([5, 2], salt + 1))
}

fn pairs() -> [Pair; 3] {
    [1, 4, 9].map(pair)
}

/// A key under which no layer drops everything, and one under which another mask falls.
fn keys() -> [Key; 2] {
    [Key::new(7).fold(0), Key::new(7).fold(1)]
}

#[test]
fn forward_mode_sees_the_mask_of_the_gradient() {
    let model = Dropped::new();
    let at = Params::from_module(&model).unwrap();
    let traced = trace(&model, &pair(1), Dropped::loss).unwrap();
    let v = waves(&at, 1.0, 100);
    let derivatives = keys().map(|key| {
        let traced = traced.keyed(key);
        let (loss, grad, ()) = traced.value_and_grad(&at, &pair(1)).unwrap();
        let (same_loss, derivative, ()) = traced.jvp(&at, &pair(1), &v).unwrap();
        close_numbers("loss", &host(&same_loss), &host(&loss));
        let derivative = finite(&derivative).unwrap();
        let difference = (derivative - grad.dot(&v)).abs();
        assert!(difference <= TOLERANCE * grad.norm() * v.norm(), "off by {difference:.1e}");
        derivative
    });
    assert_ne!(derivatives[0], derivatives[1]);
}

#[test]
fn vector_closures_draw_what_scalar_ones_draw() {
    let (model, batch) = (Dropped::new(), pair(1));
    let at = Params::from_module(&model).unwrap();
    let scalar = trace(&model, &batch, |model: &Dropped, (x, y): Pair| {
        let output = model.forward(x);
        (mse(output.clone(), y), output)
    })
    .unwrap();
    let vector = trace_vector(&model, &batch, |model: &Dropped, (x, _): Pair| model.forward(x)).unwrap();
    let v = waves(&at, 1.0, 100);
    let outputs = keys().map(|key| {
        let (_, expected) = scalar.keyed(key).value(&at, &batch).unwrap();
        let vector = vector.keyed(key);
        assert_eq!(host(&vector.value(&at, &batch).unwrap()), host(&expected));
        let point = vector.linearize(&at, &batch).unwrap();
        assert_eq!(host(point.value()), host(&expected));
        let (tangent, w) = (point.jvp(&v).unwrap(), data([5, 2], 77));
        let (left, right) = (dot(&host(&tangent), &host(&w)), point.vjp(&w).unwrap().dot(&v));
        assert!((left - right).abs() <= TOLERANCE * tangent_scale(&host(&tangent), &host(&w)), "{left}, {right}");
        // The mean of squares has the gradient 2 (y - t) / n in y.
        let (_, grad, _) = scalar.keyed(key).value_and_grad(&at, &batch).unwrap();
        let residual = (expected.clone() - batch.1.clone()).mul_scalar(2.0 / 10.0);
        close("cotangent of the loss", &point.vjp(&residual).unwrap(), &grad);
        host(&expected)
    });
    assert_ne!(outputs[0], outputs[1]);
}

fn tangent_scale(a: &[f64], b: &[f64]) -> f64 {
    (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn gauss_newton_is_taken_under_one_mask() {
    let (model, batch) = (Dropped::new(), pair(1));
    let at = Params::from_module(&model).unwrap();
    let network = |model: &Dropped, (x, _): Pair| model.forward(x);
    let cache = ProgramCache::new();
    let whole = trace_gauss_newton(&cache, &model, &batch, network, |z, (_, y): Pair| mse(z, y)).unwrap();
    let vector = trace_vector_with(&cache, &model, &batch, network).unwrap();
    let scalar = trace_with(&cache, &model, &batch, Dropped::loss).unwrap();
    let v = waves(&at, 1.0, 100);
    for key in keys() {
        let found = whole.keyed(key).linearize(&at, &batch).unwrap();
        let point = vector.keyed(key).linearize(&at, &batch).unwrap();
        // The Hessian of a mean of squares over ten numbers is a fifth.
        let expected = point.vjp(&point.jvp(&v).unwrap().mul_scalar(0.2)).unwrap();
        close("product", &found.product(&v).unwrap(), &expected);
        close("gradient", found.gradient(), &scalar.keyed(key).value_and_grad(&at, &batch).unwrap().1);
        let moved = whole.keyed(key).to_device(&Device::flex()).unwrap().linearize(&at, &batch).unwrap();
        assert_eq!(moved.product(&v).unwrap().to_f64(), found.product(&v).unwrap().to_f64());
    }
}

#[test]
fn masks_with_many_items_and_every_policy() {
    let model = Dropped::new();
    let at = Params::from_module(&model).unwrap();
    let traced = trace(&model, &pair(1), Dropped::loss).unwrap();
    for key in keys() {
        policies("dropout", &traced.keyed(key), &at, &pairs());
    }
}

#[test]
fn points_under_different_masks_are_taken_together() {
    let model = Dropped::new();
    let at = Params::from_module(&model).unwrap();
    let traced = trace(&model, &pair(1), Dropped::loss).unwrap();
    let vs = vectors(&at);
    for policy in [Residuals::Store, Residuals::Recompute] {
        let keyed = |key: Key| traced.keyed(key).with_residuals(policy).linearize(&at, &pair(1)).unwrap();
        let points = keys().map(keyed);
        let products = Linearization::hvp_each(&points, &vs[..2]).unwrap();
        for ((point, v), product) in points.iter().zip(&vs).zip(&products) {
            close(&format!("{policy:?}"), product, &point.hvp(v).unwrap());
        }
    }
}

#[test]
fn a_report_on_a_closure_with_dropout() {
    let model = Dropped::new();
    let report = check(&model, &pair(1), Dropped::loss).unwrap();
    assert!(report.passed() && report.get(Claim::SameGraph).unwrap().value == 0.0, "{report}");
    assert!(report.get(Claim::Differences).is_some(), "{report}");
    let (single, (x, y)) = (cast(&model, DType::F32), pair(1));
    let report = check(&single, &(x.cast(DType::F32), y.cast(DType::F32)), Dropped::loss).unwrap();
    assert!(report.passed() && report.get(Claim::GradientRounding).is_some(), "{report}");
}

#[test]
fn a_report_on_a_distribution_that_changes() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let report = check(&Mlp::new(3, 4, 2), &pair(1), |model: &Mlp, (x, y): Pair| {
        let width = 0.1 + 0.01 * CALLS.fetch_add(1, Ordering::Relaxed) as f64;
        let noise = x.random_like(Distribution::Normal(0.0, width));
        mse(model.forward(x + noise, Act::Tanh), y)
    });
    let report = report.unwrap();
    let finding = report.get(Claim::SameGraph).unwrap();
    assert!(!finding.passed() && finding.note.contains("draws from"), "{report}");
}

// Devices.

/// Every device of this build that has double precision.
#[allow(deprecated, reason = "Burn deprecates its second CPU backend, and programs run on it")]
fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "ndarray")]
        Device::ndarray(),
    ]
}

struct Move(Device);

impl burn_func::BatchMapper for Move {
    fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        Tensor::from_data(tensor.to_data(), (&self.0, tensor.dtype()))
    }

    fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
        Tensor::from_data(tensor.to_data(), &self.0)
    }

    fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool> {
        Tensor::from_data(tensor.to_data(), &self.0)
    }
}

#[test]
fn keys_and_policies_go_along_to_another_device() {
    let (model, batch) = (Dropped::new(), pair(1));
    let at = Params::from_module(&model).unwrap();
    let traced = trace(&model, &batch, Dropped::loss).unwrap().keyed(keys()[0]);
    let vector = trace_vector(&model, &batch, |model: &Dropped, (x, _): Pair| model.forward(x)).unwrap();
    let v = waves(&at, 1.0, 5);
    let expected = traced.linearize(&at, &batch).unwrap().hvp(&v).unwrap().to_f64();
    let output = host(&vector.keyed(keys()[0]).value(&at, &batch).unwrap());
    for device in devices() {
        let lean = traced.clone().with_residuals(Residuals::Recompute).to_device(&device).unwrap();
        assert_eq!((lean.key(), lean.residual_bytes().unwrap()), (keys()[0], 0));
        let (at, v) = (at.to_device(&device).unwrap(), v.to_device(&device).unwrap());
        let batch = Batch::map(&batch, &mut Move(device.clone()));
        let product = lean.linearize(&at, &batch).unwrap().hvp(&v).unwrap();
        close_numbers("product", &product.to_f64(), &expected);
        let moved = vector.to_device(&device).unwrap().keyed(keys()[0]);
        close_numbers("output", &host(&moved.value(&at, &batch).unwrap()), &output);
    }
}

#[test]
fn vectors_of_another_device_are_refused() {
    let (model, batch) = (Mlp::new(3, 4, 2), pair(1));
    let f = |model: &Mlp, (x, y): Pair| mse(model.forward(x, Act::Tanh), y);
    let traced = trace(&model, &batch, f).unwrap();
    let vector = trace_vector(&model, &batch, |model: &Mlp, (x, _): Pair| model.forward(x, Act::Tanh)).unwrap();
    let at = Params::from_module(&model).unwrap();
    let (point, output) = (traced.linearize(&at, &batch).unwrap(), vector.linearize(&at, &batch).unwrap());
    // A device that computes nothing will do: nothing is to be computed.
    let capture = Device::capture();
    let scope = capture.capture_scope(|scope| {
        let elsewhere = [at.to_device(&capture).unwrap()];
        let refused = |name: &str, error: Option<Error>| match error {
            Some(Error::TwoDevices { found, .. }) => assert!(found.contains("Capture"), "{name}: {found}"),
            other => panic!("{name}: {other:?}"),
        };
        refused("hvp", point.hvp(&elsewhere[0]).err());
        refused("hvps", point.hvps(&elsewhere).err());
        refused("hvp_each", Linearization::hvp_each(std::slice::from_ref(&point), &elsewhere).err());
        refused("jvp", traced.jvp(&at, &batch, &elsewhere[0]).err());
        refused("vector jvp", output.jvp(&elsewhere[0]).err());
        refused("point", traced.value(&elsewhere[0], &batch).err());
        refused(
            "points",
            traced.value_and_grad_many(&[at.clone(), elsewhere[0].clone()], std::slice::from_ref(&batch)).err(),
        );
        refused("arithmetic", at.check_like(&elsewhere[0]).err());
        scope.complete([], [])
    });
    scope.unwrap();
}

// Running statistics and frozen parameters.

#[derive(Module, Debug)]
struct Normed {
    dropout: Dropout,
    a: Linear,
    norm: BatchNorm,
    b: Linear,
}

impl Normed {
    fn new() -> Self {
        let linear = |i, o| LinearConfig::new(i, o).init(&device());
        let norm = BatchNormConfig::new(4).init(&device());
        settled(&Self { dropout: DropoutConfig::new(0.3).init(), a: linear(3, 4), norm, b: linear(4, 2) })
    }

    /// The loss, and what the normalisation sees.
    fn loss(&self, (x, y): Pair) -> (Tensor<1>, Tensor<2>) {
        let seen = self.dropout.forward(self.a.forward(x));
        (mse(self.b.forward(self.norm.forward(seen.clone()).tanh()), y), seen)
    }
}

#[test]
fn statistics_are_of_the_key_on_every_device() {
    let (model, batch) = (Normed::new(), pair(1));
    let at = Params::from_module(&model).unwrap();
    let traced = trace(&model, &batch, Normed::loss).unwrap();
    let means = keys().map(|key| {
        let traced = traced.keyed(key);
        let (_, _, seen) = traced.value_and_grad(&at, &batch).unwrap();
        // Starts at zero and moves by a tenth.
        let expected = host(&seen.mean_dim(0).squeeze_dim::<1>(0).mul_scalar(0.1));
        for device in devices() {
            let traced = traced.to_device(&device).unwrap().with_residuals(Residuals::Recompute);
            let (at, batch) = (at.to_device(&device).unwrap(), Batch::map(&batch, &mut Move(device)));
            let buffers = traced.statistics(&at, &batch).unwrap();
            close_numbers("mean", &host(&buffers.get::<1>("norm.running_mean").unwrap()), &expected);
        }
        expected
    });
    assert_ne!(means[0], means[1]);
}

#[test]
fn normalisation_with_many_items_and_every_policy() {
    let model = Normed::new();
    let at = Params::from_module(&model).unwrap();
    let traced = trace(&model, &pair(1), |model: &Normed, batch| model.loss(batch).0).unwrap().keyed(keys()[0]);
    let before = traced.statistics(&at, &pair(1)).unwrap();
    policies("normalisation", &traced, &at, &pairs());
    let after = traced.statistics(&at, &pair(1)).unwrap();
    assert_eq!(host(&after.get::<1>("norm.running_var").unwrap()), host(&before.get::<1>("norm.running_var").unwrap()));
}

fn mlp_loss(model: &Mlp, (x, y): Pair) -> Tensor<1> {
    mse(model.forward(x, Act::Tanh), y)
}

#[test]
fn constants_are_replaced_on_every_device_and_under_every_policy() {
    let (model, batch) = (Mlp::new(3, 4, 2), pair(1));
    let (middle, all) = (Filter::paths(["b.*"]), Params::from_module(&model).unwrap());
    let other = waves(&all, 0.7, 11).into_module(model.clone()).unwrap();
    let at = Params::from_module_filtered(&model, &middle).unwrap();
    let mixed = at.clone().into_module(other.clone()).unwrap();
    let v = waves(&at, 1.0, 5);
    let cache = ProgramCache::new();
    let product = |traced: &Traced<Pair>| traced.linearize(&at, &batch).unwrap().hvp(&v).unwrap().to_f64();
    let expected = product(&trace_filtered(&cache, &mixed, &batch, &middle, mlp_loss).unwrap());
    let traced = trace_filtered(&cache, &model, &batch, &middle, mlp_loss).unwrap();
    assert_ne!(product(&traced), expected);
    for policy in [Residuals::Store, Residuals::Recompute, Residuals::Budget(500)] {
        let traced = traced.clone().with_residuals(policy);
        assert_eq!(product(&traced.with_frozen_of(&other).unwrap()), expected, "{policy:?}");
        let moved = traced.to_device(&Device::flex()).unwrap().with_frozen_of(&other).unwrap();
        assert_eq!(product(&moved), expected, "{policy:?}, moved");
    }
    for device in devices() {
        let moved = traced.to_device(&device).unwrap();
        let there = other.clone().valid().to_device(&device).train();
        let moved = moved.with_frozen_of(&there).unwrap();
        let (at, v) = (at.to_device(&device).unwrap(), v.to_device(&device).unwrap());
        let point = moved.linearize(&at, &Batch::map(&batch, &mut Move(device))).unwrap();
        close_numbers("there", &point.hvp(&v).unwrap().to_f64(), &expected);
    }
}

// Filters.

/// Places of the chosen parameters in the flattened list of all.
fn places(all: &Params, chosen: &Params) -> Vec<usize> {
    let mut places = Vec::new();
    let mut start = 0;
    for spec in all.specs() {
        let n: usize = spec.spec.shape.iter().product();
        if chosen.specs().iter().any(|one| one.id == spec.id) {
            places.extend(start..start + n);
        }
        start += n;
    }
    places
}

fn block(matrix: &[f64], n: usize, places: &[usize]) -> Vec<f64> {
    places.iter().flat_map(|&i| places.iter().map(move |&j| matrix[i * n + j])).collect()
}

#[test]
fn a_filtered_hessian_is_a_block_of_the_whole() {
    let (model, batch) = (Dropped::new(), pair(1));
    let (filter, all) = (Filter::paths(["net.*.bias", "net.c.*"]), Params::from_module(&model).unwrap());
    let chosen = Params::from_module_filtered(&model, &filter).unwrap();
    let places = places(&all, &chosen);
    assert_eq!(places.len(), 8 + 8 + 2 + 16);
    let cache = ProgramCache::new();
    let whole = trace_with(&cache, &model, &batch, Dropped::loss).unwrap();
    let traced = trace_filtered(&cache, &model, &batch, &filter, Dropped::loss).unwrap();
    let other = waves(&all, 0.7, 11).into_module(model.clone()).unwrap();
    let mixed = Params::from_module(&chosen.clone().into_module(other.clone()).unwrap()).unwrap();
    for key in keys() {
        // What is differentiated does not change what is drawn.
        let (whole, traced) = (whole.keyed(key), traced.keyed(key));
        for (traced, at) in [(traced.clone(), &all), (traced.with_frozen_of(&other).unwrap(), &mixed)] {
            let expected = host(&whole.linearize(at, &batch).unwrap().hessian().unwrap());
            let found = traced.linearize(&chosen, &batch).unwrap().hessian().unwrap();
            close_numbers("block", &host(&found), &block(&expected, all.len(), &places));
        }
    }
}

#[test]
fn a_hessian_is_its_products_in_rows() {
    let model = Mlp::new(2, 3, 1);
    let batch = (data([5, 2], 1), data([5, 1], 2));
    let at = Params::from_module(&model).unwrap();
    assert_eq!(at.len(), 25); // more than one chunk, the last one of another length
    let point = trace(&model, &batch, mlp_loss).unwrap().linearize(&at, &batch).unwrap();
    let expected: Vec<f64> = (0..25).flat_map(|i| point.hvp(&at.basis(i)).unwrap().to_f64()).collect();
    let hessian = point.hessian().unwrap();
    assert_eq!(hessian.dims(), [25, 25]);
    close_numbers("Hessian", &host(&hessian), &expected);
}

// Operations of one's own.

static SOFT_ABS: LazyLock<CustomOp> = LazyLock::new(|| register(soft_abs("seams.soft_abs")).unwrap());

static ALONE: LazyLock<CustomOp> = LazyLock::new(|| {
    let batching = Batching::Unbatchable("for the test");
    register(CustomRule { batching, ..soft_abs("seams.alone") }).unwrap()
});

/// An operation whose expansion knows one shape only, whatever its batching says.
static RIGID: LazyLock<CustomOp> = LazyLock::new(|| {
    let rule = CustomRule {
        lower: |emit, x, _| {
            let flat = emit.reshape(&x[0], [5 * 2].into());
            let exp = emit.exp(&flat);
            emit.reshape(&exp, [5, 2].into())
        },
        backward: |emit, op, grad| vec![emit.mul(grad, &op.outputs[0])],
        derivative: Derivative::Formula(|jvp, op| {
            let (x, y) = (op.inputs().next().unwrap().clone(), op.outputs().next().unwrap().clone());
            if let Some(tangent) = jvp.tangent(&x) {
                let tangent = jvp.emit.mul(&y, &tangent);
                jvp.set(&y, tangent);
            }
            Ok(())
        }),
        ..soft_abs("seams.rigid")
    };
    register(rule).unwrap()
});

fn own(op: CustomOp) -> impl Fn(Tensor<2>) -> Tensor<2> {
    move |x| op.apply([x.clone()], &[0.1]).unwrap_or_else(|_| plain(x))
}

fn plain(x: Tensor<2>) -> Tensor<2> {
    x.powf_scalar(2.0).add_scalar(0.1).sqrt()
}

#[test]
fn operations_of_ones_own_in_every_transform() {
    let model = Mlp::new(3, 5, 2);
    let at = Params::from_module(&model).unwrap();
    let v = waves(&at, 1.0, 5);
    let reference = trace(&model, &pair(1), |model: &Mlp, (x, y)| mse(plain(model.forward(x, Act::Tanh)), y)).unwrap();
    for (name, op) in [("batched", *SOFT_ABS), ("alone", *ALONE)] {
        let f = |model: &Mlp, (x, y): Pair| mse(own(op)(model.forward(x, Act::Tanh)), y);
        let traced = trace(&model, &pair(1), f).unwrap();
        assert!(traced.graph().to_string().contains("Custom::seams"), "{name}");
        policies(name, &traced, &at, &pairs());
        let expected = reference.linearize(&at, &pair(1)).unwrap();
        let found = traced.linearize(&at, &pair(1)).unwrap();
        for (found, expected) in found.hvps(&vectors(&at)).unwrap().iter().zip(expected.hvps(&vectors(&at)).unwrap()) {
            // Roundings of other formulas, which a square root of small numbers enlarges.
            assert!(relative(found, &expected) <= 1e-12, "{name}");
        }
        let found = finite(&traced.jvp(&at, &pair(1), &v).unwrap().1).unwrap();
        let expected = finite(&reference.jvp(&at, &pair(1), &v).unwrap().1).unwrap();
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{name}: {found}, {expected}");
        let report = check(&model, &pair(1), f).unwrap();
        assert!(report.passed(), "{name}: {report}");

        let network = |model: &Mlp, (x, _): Pair| own(op)(model.forward(x, Act::Tanh));
        let vector = trace_vector(&model, &pair(1), network).unwrap().linearize(&at, &pair(1)).unwrap();
        let eager = trace_vector(&model, &pair(1), |model: &Mlp, (x, _): Pair| plain(model.forward(x, Act::Tanh)));
        let eager = eager.unwrap().linearize(&at, &pair(1)).unwrap();
        let w = data([5, 2], 9);
        assert!(relative(&vector.vjp(&w).unwrap(), &eager.vjp(&w).unwrap()) <= 1e-12, "{name}");
        let (found, expected) = (host(&vector.jvp(&v).unwrap()), host(&eager.jvp(&v).unwrap()));
        let error: f64 = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error <= 1e-12 * dot(&expected, &expected).sqrt(), "{name}: {error:.1e}");
    }
}

#[test]
fn an_expansion_that_does_not_take_a_batch_axis_is_named() {
    let model = Mlp::new(3, 5, 2);
    let at = Params::from_module(&model).unwrap();
    let f = |model: &Mlp, (x, y): Pair| {
        mse(RIGID.apply::<1, 2, 2>([model.forward(x, Act::Tanh)], &[]).expect("in a trace"), y)
    };
    let traced = trace(&model, &pair(1), f).unwrap();
    traced.linearize(&at, &pair(1)).unwrap().hvp(&at).unwrap();
    match traced.value_and_grad_many(std::slice::from_ref(&at), &pairs()) {
        Err(Error::Malformed { problem, .. }) => assert!(problem.contains("seams.rigid"), "{problem}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_formulas_are_errors_that_name_them() {
    let model = Mlp::new(3, 5, 2);
    let at = Params::from_module(&model).unwrap();
    let traced = |rule: CustomRule| {
        let op = register(rule).unwrap();
        trace(&model, &pair(1), move |model: &Mlp, (x, y): Pair| mse(own(op)(model.forward(x, Act::Tanh)), y)).unwrap()
    };
    let malformed = |error: Error, id: &str| match error {
        Error::Malformed { problem, context } => assert!(problem.contains(id) || context.contains(id), "{problem}"),
        other => panic!("{other}"),
    };
    let summed = |jvp: &mut Jvp, op: &OperationIr| {
        let (x, y) = (op.inputs().next().unwrap().clone(), op.outputs().next().unwrap().clone());
        if let Some(tangent) = jvp.tangent(&x) {
            let tangent = jvp.emit.sum_dim(&tangent, 1);
            jvp.set(&y, tangent);
        }
        Ok(())
    };
    let rule = soft_abs("seams.wrong_shape");
    let error = traced(CustomRule { derivative: Derivative::Formula(summed), ..rule }).linearize(&at, &pair(1));
    malformed(error.unwrap_err(), "seams.wrong_shape");
    let unmade = |jvp: &mut Jvp, op: &OperationIr| {
        let y = op.outputs().next().unwrap().clone();
        let tangent = jvp.emit.like(&y);
        jvp.set(&y, tangent);
        Ok(())
    };
    let rule = soft_abs("seams.unmade");
    let error = traced(CustomRule { derivative: Derivative::Formula(unmade), ..rule }).linearize(&at, &pair(1));
    assert!(matches!(error, Err(Error::Malformed { .. })), "{error:?}");

    for (id, formula) in [
        ("seams.forgotten", (|_, _| Ok(())) as fn(&mut Vmap, &OperationIr) -> Result<(), Error>),
        ("seams.unbatched", |vmap, op| {
            let y = op.outputs().next().unwrap().clone();
            vmap.emit.ops.push(op.clone());
            vmap.set(&y, y.clone());
            Ok(())
        }),
    ] {
        let traced = traced(CustomRule { batching: Batching::Formula(formula), ..soft_abs(id) });
        traced.linearize(&at, &pair(1)).unwrap();
        let error = traced.value_and_grad_many(std::slice::from_ref(&at), &pairs());
        assert!(matches!(error, Err(Error::Malformed { .. })), "{id}: {error:?}");
    }
}

/// What is stopped, against the same closure with its value at the point handed in with the batch.
#[test]
fn what_is_stopped_is_a_number_in_every_transform() {
    let (model, x) = (Mlp::new(3, 5, 2), data([5, 3], 1));
    let at = Params::from_module(&model).unwrap();
    let output = |model: &Mlp, x: Tensor<2>| own(*SOFT_ABS)(model.forward(x, Act::Tanh));
    let held = trace_vector(&model, &x, output).unwrap().value(&at, &x).unwrap();
    let stopped = |model: &Mlp, x: Tensor<2>| {
        let y = output(model, x);
        y.clone() * stop_gradient(y)
    };
    let given = |model: &Mlp, (x, held): Pair| output(model, x) * held;
    let batch = (x.clone(), held);
    let square = |y: Tensor<2>| y.powf_scalar(2.0).mean();
    let found = trace(&model, &x, |model: &Mlp, x| square(stopped(model, x))).unwrap();
    let expected = trace(&model, &batch, |model: &Mlp, batch| square(given(model, batch))).unwrap();
    let vs = vectors(&at);
    let products = expected.linearize(&at, &batch).unwrap().hvps(&vs).unwrap();
    for policy in [Residuals::Store, Residuals::Recompute, Residuals::Budget(400)] {
        let found = found.clone().with_residuals(policy);
        let point = found.linearize(&at, &x).unwrap();
        let points = found.linearize_many(&vec![at.clone(); 3], &vec![x.clone(); 3]).unwrap();
        let each = Linearization::hvp_each(&points, &vs).unwrap();
        for (k, v) in vs.iter().enumerate() {
            close("hvp", &point.hvp(v).unwrap(), &products[k]);
            close("hvps", &point.hvps(&vs).unwrap()[k], &products[k]);
            close("hvp_each", &each[k], &products[k]);
        }
    }
    let (_, found, ()) = found.jvp(&at, &x, &vs[0]).unwrap();
    let (_, expected, ()) = expected.jvp(&at, &batch, &vs[0]).unwrap();
    close_numbers("jvp", &host(&found), &host(&expected));

    let found = trace_vector(&model, &x, stopped).unwrap().linearize(&at, &x).unwrap();
    let expected = trace_vector(&model, &batch, given).unwrap().linearize(&at, &batch).unwrap();
    let w = data([5, 2], 9);
    close("vector vjp", &found.vjp(&w).unwrap(), &expected.vjp(&w).unwrap());
    close_numbers("vector jvp", &host(&found.jvp(&vs[0]).unwrap()), &host(&expected.jvp(&vs[0]).unwrap()));
    let report = check(&model, &x, |model: &Mlp, x| square(stopped(model, x))).unwrap();
    assert!(report.passed(), "{report}");
}

// Batches of integers and booleans.

type Labelled = (Tensor<2>, Tensor<1, Int>, Tensor<2, Bool>);

fn labelled(salt: usize, dtype: DType) -> Labelled {
    let labels: Vec<i64> = (0..5).map(|i| ((i * 3 + salt) % 2) as i64).collect();
    let labels = TensorData::new(labels, [5]).convert_dtype(dtype);
    let mask: Vec<bool> = (0..15).map(|i| (i + salt).is_multiple_of(4)).collect();
    let mask = TensorData::new(mask, [5, 3]);
    (data([5, 3], salt), Tensor::from_data(labels, (&device(), dtype)), Tensor::from_data(mask, &device()))
}

fn masked_loss(model: &Mlp, (x, labels, mask): Labelled) -> Tensor<1> {
    let rows = model.a.weight.val().swap_dims(0, 1).select(0, labels.clone()); // one of the hidden units' weights
    let x = x.mask_fill(mask.clone(), 0.5) + rows.mask_fill(mask, -0.25);
    let logits = log_softmax(model.forward(x, Act::Tanh), 1);
    -logits.gather(1, labels.clone().unsqueeze_dim(1)).mean() + (labels.float().cast(DType::F64) * 0.1).mean()
}

#[test]
fn labels_and_masks_of_every_width_with_many_items_and_every_policy() {
    let model = Mlp::new(3, 5, 2);
    let at = Params::from_module(&model).unwrap();
    let loss_at = |traced: &Traced<Labelled>, dtype| {
        let point = traced.linearize(&at, &labelled(1, dtype)).unwrap();
        (host(point.loss()), point.grad().to_f64(), point.hvp(&waves(&at, 1.0, 5)).unwrap().to_f64())
    };
    for dtype in [DType::I64, DType::I32] {
        let traced = trace(&model, &labelled(1, dtype), masked_loss).unwrap();
        assert_eq!(loss_at(&traced, DType::I64), loss_at(&traced, DType::I32));
        let mixed = [labelled(1, DType::I64), labelled(4, DType::I32), labelled(8, dtype)];
        policies(&format!("{dtype:?}"), &traced, &at, &mixed);
    }
}

#[test]
fn derivatives_that_choose_by_masks_of_their_own() {
    let model = Mlp::new(3, 4, 2);
    let at = Params::from_module(&model).unwrap();
    let f = |model: &Mlp, (x, y): Pair| {
        let z = model.forward(x, Act::Tanh);
        let positive = z.clone().abs() + 0.1;
        let parts = z.clone().clamp(-0.4, 0.6) + z.clone().max_pair(y.clone()) + positive.powf(y);
        (parts * z.prod_dim(1)).powf_scalar(2.0).mean()
    };
    let traced = trace(&model, &pair(1), f).unwrap();
    policies("masks", &traced, &at, &pairs());
    let report = check(&model, &pair(1), f).unwrap();
    assert!(report.passed(), "{report}");
}

// One cache for all.

#[test]
fn one_cache_serves_every_form_of_a_closure() {
    let (model, batch) = (Mlp::new(3, 4, 2), pair(1));
    let (all, head) = (Params::from_module(&model).unwrap(), Filter::paths(["c.*"]));
    let chosen = Params::from_module_filtered(&model, &head).unwrap();
    let cache = ProgramCache::new();
    let counts = |hits, misses| CacheCounts { hits, misses, evictions: 0 };
    let network = |model: &Mlp, (x, _): Pair| model.forward(x, Act::Tanh);
    let mut seen = Vec::new();
    for round in 0..2 {
        let traced = trace_with(&cache, &model, &batch, mlp_loss).unwrap();
        let lean = traced.clone().with_residuals(Residuals::Recompute);
        let filtered = trace_filtered(&cache, &model, &batch, &head, mlp_loss).unwrap();
        let vector = trace_vector_with(&cache, &model, &batch, network).unwrap();
        let moved = filtered.to_device(&Device::flex()).unwrap();
        assert_eq!((cache.len(), cache.counts()), (3, counts(3 * round, 3)));
        let product = |traced: &Traced<Pair>, at: &Params| {
            let point = traced.linearize(at, &batch).unwrap();
            point.hvp(&waves(at, 1.0, 5)).unwrap().to_f64()
        };
        assert_eq!(product(&lean, &all), product(&traced, &all));
        assert_eq!(product(&moved, &chosen), product(&filtered, &chosen));
        assert_ne!(lean.residual_bytes(), traced.residual_bytes());
        let tangent = vector.linearize(&all, &batch).unwrap().jvp(&waves(&all, 1.0, 5)).unwrap();
        seen.push((product(&traced, &all), product(&filtered, &chosen), host(&tangent)));
    }
    assert_eq!(seen[0], seen[1]);
}
