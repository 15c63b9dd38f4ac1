//! Random operations in a closure: a function of the key alone, the same for the gradient and every product.
#![allow(missing_docs)]

mod common;

use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, GaussianNoise, GaussianNoiseConfig, Linear, LinearConfig};
use burn::tensor::{DType, Distribution, Int, Tensor};
use burn_func::{Error, Key, Params, ProgramCache, Traced, finite, trace, trace_with};
use common::*;

type Batch = (Tensor<2>, Tensor<2>);

/// Held by a test that seeds the device's generator, or whose draws must not be begun again by one that does.
static GENERATOR: Mutex<()> = Mutex::new(());

#[derive(Module, Debug)]
struct Dropped {
    net: Mlp,
    dropout: Dropout,
}

fn dropped(rate: f64) -> Dropped {
    Dropped { net: Mlp::new(3, 8, 2), dropout: DropoutConfig::new(rate).init() }
}

fn batch() -> Batch {
    (data([5, 3], 1), data([5, 2], 2))
}

fn loss(model: &Dropped, (x, y): Batch) -> Tensor<1> {
    let hidden = model.dropout.forward(model.net.a.forward(x).tanh());
    let hidden = model.dropout.forward(model.net.b.forward(hidden).tanh());
    mse(model.net.c.forward(hidden), y)
}

fn differences<B: burn_func::Batch>(traced: &Traced<B>, at: &Params, batch: &B, v: &Params) -> Params {
    let grad = |step: f64| traced.value_and_grad(&at.axpy(step, v), batch).unwrap().1;
    let central = |step: f64| grad(step).sub(&grad(-step)).scale(0.5 / step);
    central(2e-5).scale(4.0 / 3.0).axpy(-1.0 / 3.0, &central(4e-5))
}

/// The tolerance is that of the other products: rounding of the differences is about 1e-11 relative.
fn check_hvp<M: Module, B: burn_func::Batch>(name: &str, model: &M, batch: &B, f: impl Fn(&M, B) -> Tensor<1>) {
    let traced = trace(model, batch, f).unwrap_or_else(|error| panic!("{name}: {error}"));
    let at = Params::from_module(model).unwrap();
    let v = waves(&at, 1.0, 100);
    for seed in 0..3 {
        let traced = traced.keyed(Key::new(seed));
        let product = traced.linearize(&at, batch).unwrap().hvp(&v).unwrap();
        let error = relative(&product, &differences(&traced, &at, batch, &v));
        assert!(error <= 1e-8, "{name}, key {seed}: HVP off by {error:.2e}");
    }
}

#[test]
fn a_product_sees_the_mask_of_the_gradient() {
    check_hvp("dropout", &dropped(0.4), &batch(), loss);
}

#[test]
fn every_distribution_is_drawn_in_a_closure() {
    let model = Mlp::new(3, 8, 2);
    check_hvp("all", &model, &batch(), |model: &Mlp, (x, y): Batch| {
        let hidden = model.a.forward(x).tanh();
        let noise = [Distribution::Default, Distribution::Normal(0.0, 0.3), Distribution::Uniform(-1.0, 2.0)];
        let hidden = noise.into_iter().fold(hidden, |h, each| h.clone() * (h.random_like(each) + 1.0));
        let rows = Tensor::<1, Int>::random([3], Distribution::Uniform(0.0, 5.0), &hidden.device());
        let (picked, target) = (hidden.select(0, rows.clone()), y.select(0, rows));
        mse(model.c.forward(model.b.forward(picked)), target)
    });
}

#[test]
fn the_value_and_the_linearization_at_a_point_agree() {
    let (model, batch) = (dropped(0.5), batch());
    let traced = trace(&model, &batch, loss).unwrap();
    assert!(traced.is_random());
    let at = Params::from_module(&model).unwrap();
    let value = finite(&traced.value(&at, &batch).unwrap().0).unwrap();
    let point = traced.linearize(&at, &batch).unwrap();
    assert_eq!(value, finite(point.loss()).unwrap());
    let (_, grad, ()) = traced.value_and_grad(&at, &batch).unwrap();
    assert!(relative(point.grad(), &grad) <= 1e-14); // the same operations in another order
}

#[test]
fn numbers_belong_to_keys_and_not_to_threads() {
    let (model, batch) = (dropped(0.5), batch());
    let traced = trace(&model, &batch, loss).unwrap();
    let at = Params::from_module(&model).unwrap();
    let one = |step: u64| {
        let point = traced.keyed(Key::new(1).fold(step)).linearize(&at, &batch).unwrap();
        (point.grad().to_f64(), point.hvp(point.grad()).unwrap().to_f64())
    };
    let alone: Vec<_> = (0..8).map(one).collect();
    assert!((1..8).all(|step| alone[step] != alone[0]));
    let together: Vec<_> = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..4).map(|t| scope.spawn(move || [2 * t, 2 * t + 1].map(one))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(together, alone);
}

#[test]
fn dropout_keeps_the_mean_and_drops_at_its_rate() {
    let model = DropoutConfig::new(0.3).init();
    let model = (model, LinearConfig::new(1, 1).init(&device()));
    let x = Tensor::<2>::ones([200, 100], &device());
    let f = |(dropout, linear): &(Dropout, Linear), x: Tensor<2>| {
        let dropped = dropout.forward(x);
        (linear.weight.val().sum() + dropped.clone().sum(), dropped)
    };
    let traced = trace(&model, &x, f).unwrap();
    let at = Params::from_module(&model).unwrap();
    let dropped = traced.keyed(Key::new(3)).value(&at, &x).unwrap().1.into_data();
    let (mut kept, scale) = (0, 1.0 / 0.7);
    for value in dropped.iter::<f64>() {
        assert!(value == 0.0 || (value - scale).abs() <= 1e-6, "{value}");
        kept += usize::from(value > 0.0);
    }
    // 20,000 coins: five standard errors of the share kept. The mean of what comes out is that share over 0.7.
    let share = kept as f64 / 20_000.0;
    assert!((share - 0.7).abs() <= 5.0 * (0.21_f64 / 20_000.0).sqrt(), "{share}");
}

#[derive(Module, Debug)]
struct Noisy {
    linear: Linear,
    noise: GaussianNoise,
}

#[test]
fn gaussian_noise_has_its_deviation() {
    let model =
        Noisy { linear: LinearConfig::new(50, 50).init(&device()), noise: GaussianNoiseConfig::new(0.2).init() };
    let x = Tensor::<2>::zeros([400, 50], &device());
    let f = |model: &Noisy, x: Tensor<2>| {
        let noisy = model.noise.forward(x);
        (model.linear.forward(noisy.clone()).powf_scalar(2.0).mean(), noisy)
    };
    let traced = trace(&model, &x, f).unwrap().keyed(Key::new(5));
    let at = Params::from_module(&model).unwrap();
    let (_, _, noise) = traced.value_and_grad(&at, &x).unwrap();
    let noise: Vec<f64> = noise.into_data().iter::<f64>().collect();
    let n = noise.len() as f64;
    let (mean, square) = (noise.iter().sum::<f64>() / n, noise.iter().map(|x| x * x).sum::<f64>() / n);
    // Five standard errors: 0.2 / sqrt(n) of the mean, sqrt(2) 0.04 / sqrt(n) of the square.
    assert!(mean.abs() <= 5.0 * 0.2 / n.sqrt(), "{mean}");
    assert!((square - 0.04).abs() <= 5.0 * 0.04 * (2.0 / n).sqrt(), "{square}");
}

#[test]
fn a_trace_without_a_key_takes_one_from_the_seeded_device() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let (model, batch) = (dropped(0.5), batch());
    let at = Params::from_module(&model).unwrap();
    let run = |seed: u64| {
        device().seed(seed);
        let keys = [(); 2].map(|()| trace(&model, &batch, loss).unwrap());
        keys.map(|traced| (traced.key(), finite(&traced.value(&at, &batch).unwrap().0).unwrap()))
    };
    // Other tests draw from the same generator: two runs in a row that were not disturbed must come, and are equal.
    let repeated = (0..50).any(|_| run(9) == run(9));
    assert!(repeated, "a seeded device gave different keys every time");
    let [first, second] = run(10);
    assert!(first.0 != second.0 && first.1 != second.1, "two traces drew the same mask");
}

#[test]
fn randomness_that_nothing_depends_on_vanishes() {
    let model = Mlp::new(3, 4, 2);
    let traced = trace(&model, &batch(), |model: &Mlp, (x, y): Batch| {
        let _unused = x.random_like(Distribution::Default);
        mse(model.forward(x, Act::Tanh), y)
    });
    assert!(!traced.unwrap().is_random());
}

#[test]
fn what_is_returned_beside_the_loss_does_not_change_the_mask() {
    let (model, batch) = (dropped(0.5), batch());
    let at = Params::from_module(&model).unwrap();
    let noise = |x: &Tensor<2>| x.random_like(Distribution::Default);
    let alone = trace(&model, &batch, |model: &Dropped, (x, y)| {
        let _ = noise(&x);
        loss(model, (x, y))
    });
    let both = trace(&model, &batch, |model: &Dropped, (x, y)| {
        let extra = noise(&x);
        (loss(model, (x, y)), extra)
    });
    let alone = alone.unwrap().keyed(Key::new(2)).value(&at, &batch).unwrap().0;
    let both = both.unwrap().keyed(Key::new(2)).value(&at, &batch).unwrap().0;
    assert_eq!(alone.to_data(), both.to_data());
}

#[test]
fn another_rate_is_another_program_but_another_key_is_not() {
    let cache = ProgramCache::new();
    let (model, batch) = (dropped(0.5), batch());
    let traced = trace_with(&cache, &model, &batch, loss).unwrap();
    let _ = traced.keyed(Key::new(1));
    trace_with(&cache, &model, &batch, loss).unwrap();
    assert_eq!((cache.len(), cache.hits()), (1, 1));
}

#[test]
fn a_distribution_that_cannot_be_drawn_from_is_named() {
    let model = Mlp::new(3, 4, 2);
    let f =
        |model: &Mlp, (x, _): Batch| (model.a.forward(x.clone() * x.random_like(Distribution::Bernoulli(1.5)))).mean();
    match trace(&model, &batch(), f).unwrap_err() {
        Error::Unsupported { op, reason, .. } => {
            assert_eq!(op, "Float::Random");
            assert!(reason.starts_with("Bernoulli(1.5) cannot be drawn from"), "{reason}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn single_precision_passes_the_gradients_check_with_a_mask() {
    let model = burn_func::cast(&dropped(0.5), DType::F32);
    let (x, y) = batch();
    let batch = (x.cast(DType::F32), y.cast(DType::F32));
    let traced = trace(&model, &batch, loss).unwrap();
    let at = Params::from_module(&model).unwrap();
    for seed in 0..5 {
        traced.keyed(Key::new(seed)).linearize(&at, &batch).unwrap();
    }
}

#[test]
fn a_detach_is_found_behind_a_mask_too() {
    let (model, batch) = (dropped(0.5), batch());
    let hidden =
        |model: &Dropped, batch| loss(model, batch) + model.net.c.weight.val().powf_scalar(2.0).mean().detach();
    let traced = trace(&model, &batch, hidden).unwrap();
    let error = traced.linearize(&Params::from_module(&model).unwrap(), &batch).unwrap_err();
    assert!(matches!(error, Error::GradientMismatch { .. }), "{error}");
}

#[test]
fn a_training_loop_of_free_functions_sees_another_mask_every_time() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let (model, batch) = (dropped(0.5), batch());
    let losses: Vec<f64> = (0..4).map(|_| burn_func::value_and_grad(&model, &batch, loss).unwrap().0).collect();
    assert!((1..4).all(|i| losses[i] != losses[i - 1]), "{losses:?}");
}
