//! Backbones: sizes against published ones, derivatives against differences, and what each normalisation sees.
#![allow(missing_docs)]

mod common;

use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_func::{Params, cast, check};
use burn_meta::models::{
    Backbone, BackboneConfig, Cnn4Config, MlpConfig, Network, Norm, NormConfig, ResNet12Config, WideResNetConfig,
    cross_entropy,
};
use burn_meta::{Error, Estimator, InnerLoopConfig, InnerStep, MamlConfig, Task};
use common::*;

type Images = (Tensor<4>, Tensor<1, Int>);

const PER_STEP: NormConfig = NormConfig::PerStep { steps: 3 };

fn loss(net: &Network, (x, y): Images) -> (Tensor<1>, Tensor<2>) {
    let logits = net.forward(x);
    (cross_entropy(logits.clone(), y), logits)
}

/// Networks of three classes and one channel, with images of this size.
fn tiny() -> Vec<(&'static str, BackboneConfig, usize)> {
    let cnn = || Cnn4Config::new(1, 32, 3).with_hidden(3);
    let resnet = ResNet12Config::new(1, 32, 3).with_filters([2, 3, 3, 4]);
    let wide = WideResNetConfig::new(1, 6, 3).with_depth(10).with_width(1);
    let mlp = MlpConfig::new(vec![36, 8, 6, 3]);
    vec![
        ("cnn4, batch", BackboneConfig::Cnn4(cnn()), 32),
        ("cnn4, running", BackboneConfig::Cnn4(cnn().with_norm(NormConfig::Running)), 32),
        ("cnn4, per step", BackboneConfig::Cnn4(cnn().with_norm(PER_STEP)), 32),
        ("cnn4, layer", BackboneConfig::Cnn4(cnn().with_norm(NormConfig::Layer)), 32),
        ("cnn4, none", BackboneConfig::Cnn4(cnn().with_norm(NormConfig::None)), 32),
        ("omniglot", BackboneConfig::named("omniglot").unwrap().with_ways(3).with_filters(&[3]).unwrap(), 28),
        ("resnet12", BackboneConfig::ResNet12(resnet), 32),
        ("wide-resnet", BackboneConfig::WideResNet(wide), 6),
        ("mlp", BackboneConfig::Mlp(mlp.with_norm(NormConfig::Batch)), 6),
    ]
}

/// The same network every time: everything on a device draws from one generator, so one test at a time may.
fn fresh(config: &BackboneConfig) -> Network {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    device().seed(5);
    let net = config.init(&device()).unwrap();
    Params::from_module(&net).unwrap();
    net
}

/// In double precision, away from where it begins, so that no two rows, scales or shifts are the same.
fn network(config: &BackboneConfig) -> Network {
    let net = cast(&fresh(config), DType::F64);
    let at = Params::from_module(&net).unwrap();
    let at = at.axpy(0.1, &at.from_fn(|spec, i| ((i * 7 + spec.path.len()) as f64 * 0.7).sin()));
    at.into_module(net).unwrap()
}

fn batch(n: usize, side: usize, salt: usize) -> Images {
    let labels: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
    (wave([n, 1, side, side], salt), Tensor::from_data(TensorData::new(labels, [n]), &device()))
}

fn task(side: usize) -> Task<Images> {
    Task { support: batch(6, side, 1), query: batch(9, side, 2) }
}

fn count(config: BackboneConfig) -> usize {
    let params = Params::from_module(&fresh(&config)).unwrap();
    params.specs().iter().map(|param| param.spec.shape.iter().product::<usize>()).sum()
}

fn distance(a: Tensor<2>, b: Tensor<2>) -> f64 {
    (a.inner() - b.inner()).abs().max().into_scalar()
}

/// A missing bias, a layer too many, a wrong width.
#[test]
fn numbers_of_parameters_are_the_published_ones() {
    assert_eq!(count(BackboneConfig::named("cnn4").unwrap()), 32_901);
    assert_eq!(count(BackboneConfig::named("omniglot").unwrap()), 112_261);
    let head = |features: usize, ways: usize| (features + 1) * ways;
    assert_eq!(count(BackboneConfig::named("resnet12").unwrap()) - head(640, 5), 12_424_320);
    assert_eq!(count(BackboneConfig::named("resnet12-narrow").unwrap()) - head(512, 5), 7_996_800);
    let wide = WideResNetConfig::new(3, 32, 10).with_bias(false);
    assert_eq!(count(BackboneConfig::WideResNet(wide)), 36_479_194);
    // Layer normalisation has as many, none has fewer, and one for each of five steps has five times as many scales and shifts.
    let cnn = |norm| count(BackboneConfig::named("cnn4").unwrap().with_norm(norm));
    assert_eq!(cnn(NormConfig::Layer), 32_901);
    assert_eq!(cnn(NormConfig::None), 32_901 - 4 * 64);
    assert_eq!(cnn(NormConfig::PerStep { steps: 5 }), 32_901 + 4 * 4 * 64);
}

#[test]
fn shapes_of_features_and_logits() {
    let shapes = |config: BackboneConfig, channels: usize, side: usize| {
        let net = fresh(&config.with_images(channels, side));
        let images = Tensor::<4>::ones([2, channels, side, side], &device());
        (net.features(images.clone()).dims(), net.forward(images).dims())
    };
    let named = |name| BackboneConfig::named(name).unwrap();
    assert_eq!(shapes(named("cnn4").with_filters(&[8]).unwrap(), 3, 84), ([2, 200], [2, 5]));
    assert_eq!(shapes(named("omniglot").with_ways(20), 1, 28), ([2, 64], [2, 20]));
    let resnet = ResNet12Config::new(3, 84, 5).with_filters([2, 3, 4, 5]);
    assert_eq!(shapes(BackboneConfig::ResNet12(resnet.clone()), 3, 84), ([2, 5], [2, 5]));
    assert_eq!(shapes(BackboneConfig::ResNet12(resnet.with_mean(false)), 3, 84), ([2, 125], [2, 5]));
    let wide = WideResNetConfig::new(3, 84, 5).with_depth(10).with_width(1);
    assert_eq!(shapes(BackboneConfig::WideResNet(wide), 3, 32), ([2, 64], [2, 5]));
    assert_eq!(shapes(named("mlp"), 1, 28), ([2, 64], [2, 5]));
    // Without padding 84 pixels become 82/2 = 41, 39/2 = 19, 17/2 = 8, 6/2 = 3.
    let bare = BackboneConfig::Cnn4(Cnn4Config::new(3, 84, 5).with_hidden(2).with_padding(0));
    assert_eq!(shapes(bare, 3, 84), ([2, 18], [2, 5]));
}

/// An operation without a rule, or one whose rule is wrong, in any layer.
#[test]
fn all_can_be_differentiated_twice() {
    for (name, config, side) in tiny() {
        let report = check(&network(&config), &batch(4, side, 3), loss).unwrap();
        assert!(report.passed(), "{name}\n{report}");
    }
}

/// The exact meta-gradient against differences of the whole adaptation, and binomial of full order against exact. Allowed is
/// 1e-5: differences have 1e-11 to 1e-6 with these steps, 1e-6 to 1e-11, and what a ReLU or a maximum adds that changes sides
/// within one. The best of six steps counts: a wrong gradient is wrong for all.
#[test]
fn meta_gradients_are_those_of_the_adaptation() {
    for (name, config, side) in tiny() {
        let (net, task) = (network(&config), task(side));
        let maml = |estimator| MamlConfig::new(InnerLoopConfig::new(0.02).with_steps(3), estimator).init().unwrap();
        let gradient = |estimator| {
            let step = maml(estimator).meta_gradient(&net, std::slice::from_ref(&task), loss).unwrap();
            step.gradient
        };
        let exact = gradient(Estimator::Exact);
        let at = Params::from_module(&net).unwrap();
        let query = |at: &Params| {
            let net = at.clone().into_module(net.clone()).unwrap();
            maml(Estimator::FirstOrder).evaluate(&net, &task, loss).unwrap().losses.query
        };
        let error = |length: f64| {
            let along = direction(&at, 3).scale(length);
            let (found, expected) = (exact.dot(&along), difference(&at, &along, query));
            (found - expected).abs() / (exact.norm() * along.norm())
        };
        let error = [2e-2, 2e-3, 2e-4, 2e-5, 2e-6, 2e-7].map(error).into_iter().fold(f64::INFINITY, f64::min);
        println!("{name}: {error:.1e}");
        assert!(error <= 1e-5, "{name}: {error:.1e}");
        let error = relative(&gradient(Estimator::binomial(3)), &exact);
        assert!(error <= 1e-10, "{name}: binomial differs from exact by {error:.1e}");
    }
}

/// The wrong row in a step, in the query set or after adaptation; a row that no step had moved.
#[test]
fn parameters_by_step_are_those_of_the_step() {
    let norm = NormConfig::PerStep { steps: 4 };
    let config = BackboneConfig::Cnn4(Cnn4Config::new(1, 16, 3).with_hidden(3).with_norm(norm));
    let (net, task) = (network(&config), task(16));
    let at = |rate, steps| {
        let inner = InnerLoopConfig::new(rate).with_steps(steps);
        MamlConfig::new(inner, Estimator::Exact).init().unwrap()
    };
    // Steps that go nowhere: only the row differs from step to step.
    let logits_at = |step| InnerStep::at(net.clone(), step).forward(task.support.0.clone());
    assert!(distance(logits_at(0), logits_at(1)) > 1e-3);
    let losses = at(1e-14, 6).evaluate(&net, &task, loss).unwrap().losses;
    for (step, found) in losses.support.iter().enumerate() {
        let expected: f64 = cross_entropy(logits_at(step.min(3)), task.support.1.clone()).into_scalar();
        assert!((found - expected).abs() <= 1e-10, "step {step}: {found}, expected {expected}");
    }
    let maml = at(0.1, 2);
    let evaluated = maml.evaluate(&net, &task, loss).unwrap().outputs;
    let adapted = maml.adapt(&net, &task.support, loss).unwrap();
    assert!(distance(adapted.forward(task.query.0.clone()), evaluated.clone()) <= 1e-10);
    assert!(distance(InnerStep::at(adapted, 0).forward(task.query.0.clone()), evaluated) > 1e-3);

    let gradient = maml.meta_gradient(&net, &[task], loss).unwrap().gradient;
    let rows = gradient.get::<2>("Cnn4.blocks.0.norm.PerStep.gamma").unwrap();
    let sizes: Vec<f64> = rows.abs().sum_dim(1).into_data().iter().collect();
    assert!(sizes[0] > 1e-6 && sizes[1] > 1e-6 && sizes[2] == 0.0 && sizes[3] == 0.0, "{sizes:?}");
}

/// Statistics of the batch where running ones were asked for; statistics that move a clone, or not at all.
#[test]
fn running_statistics_are_what_they_say() {
    let config = BackboneConfig::Cnn4(Cnn4Config::new(1, 16, 3).with_hidden(3).with_norm(NormConfig::Running));
    let initial = network(&config);
    let (images, _) = batch(6, 16, 4);
    let before = initial.forward(images.clone());
    let net = initial.clone().with_statistics_of(images.clone(), 1.0);
    assert_eq!(initial.forward(images.clone()).to_data(), before.to_data());
    // With the images' own statistics it is the network of batch statistics.
    let batch_net = fresh(&config.clone().with_norm(NormConfig::Batch));
    let values = Params::from_module(&net).unwrap().to_f64();
    let batch_net = cast(&batch_net, DType::F64);
    let batch_net = Params::from_module(&batch_net).unwrap().with_elements(&values).unwrap().into_module(batch_net);
    assert!(distance(batch_net.unwrap().forward(images.clone()), net.forward(images.clone())) <= 1e-9);
    // An image does not see the others, in training or not.
    let third = |logits: Tensor<2>| logits.narrow(0, 2, 1);
    let alone = net.forward(images.clone().narrow(0, 2, 1));
    assert!(distance(third(net.forward(images.clone())), alone.clone()) <= 1e-12);
    assert!(distance(net.valid().forward(images.clone().narrow(0, 2, 1).inner()), alone) <= 1e-12);
    // A momentum of a quarter, in the first layer.
    let mean = |net: &Network| -> Vec<f64> {
        let norm = net.norms()[0].batch_norm().unwrap().running_mean.value_sync();
        norm.into_data().iter().collect()
    };
    let quarter = mean(&initial.clone().with_statistics_of(images, 0.25));
    for (quarter, whole) in quarter.iter().zip(mean(&net)) {
        assert!((quarter - 0.25 * whole).abs() <= 1e-12 && whole != 0.0);
    }
    assert!(matches!(net.norms()[0], Norm::Running(_)));
}

/// A network of batch statistics that is used alone takes those that it was given, and shows them to nobody else.
#[test]
fn a_network_of_batch_statistics_is_deployed_with_those_of_a_set() {
    let of = |norm| BackboneConfig::Cnn4(Cnn4Config::new(1, 16, 3).with_hidden(3).with_norm(norm));
    let (support, query) = (batch(6, 16, 4).0, batch(9, 16, 7).0);
    let [running, initial] = [NormConfig::Running, NormConfig::Batch].map(|norm| network(&of(norm)));
    // Values were given by the lengths of paths, which name the kind of layer.
    let values = Params::from_module(&initial).unwrap().to_f64();
    let running = Params::from_module(&running).unwrap().with_elements(&values).unwrap().into_module(running).unwrap();
    let net = initial.clone().with_statistics_of(support.clone(), 1.0);
    let judged = net.clone().valid().forward(query.clone().inner());
    let alone = net.valid().forward(query.clone().narrow(0, 2, 1).inner());
    assert!(distance(judged.clone().narrow(0, 2, 1), alone) <= 1e-12);
    let running = running.with_statistics_of(support, 1.0).valid().forward(query.clone().inner());
    assert!(distance(judged.clone(), running) <= 1e-12);
    assert!(distance(judged.clone(), initial.forward(query.clone()).inner()) >= 1e-3);
    assert!(distance(judged, initial.valid().forward(query.inner())) >= 1e-3);
}

#[test]
fn which_normalisations_see_the_batch() {
    for (norm, expected) in [
        (NormConfig::Batch, true),
        (NormConfig::Running, false),
        (PER_STEP, true),
        (NormConfig::Layer, false),
        (NormConfig::None, false),
    ] {
        let config = BackboneConfig::Cnn4(Cnn4Config::new(1, 16, 3).with_hidden(3).with_norm(norm));
        let net = network(&config);
        let (images, _) = batch(6, 16, 4);
        let apart = distance(net.forward(images.clone()).narrow(0, 0, 2), net.forward(images.narrow(0, 0, 2)));
        assert_eq!((net.batch_statistics(), apart > 1e-6), (expected, expected), "{norm:?}: {apart:.1e}");
    }
}

#[test]
fn settings_are_read_written_and_refused() {
    for (_, config, _) in tiny() {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<BackboneConfig>(&text).unwrap(), config);
    }
    let read = |text: &str| serde_json::from_str::<BackboneConfig>(text).unwrap_err().to_string();
    for (text, expected) in [
        (r#"{ "name": "vgg" }"#, "vgg: is no backbone, expected one of cnn4, omniglot"),
        (r#"{ "hidden": 3 }"#, "`name` is none"),
        (r#"{ "name": "cnn4", "depth": 3 }"#, "cnn4: has no setting `depth`, expected"),
        (r#"{ "name": "cnn4", "hidden": "many" }"#, "cnn4: invalid type"),
        (r#"{ "name": "cnn4", "norm": "group" }"#, "cnn4: unknown variant `group`"),
    ] {
        assert!(read(text).contains(expected), "{}", read(text));
    }
    let named = |name| BackboneConfig::named(name).unwrap();
    for (config, expected) in [
        (named("cnn4").with_images(1, 15), "cnn4: `image_size` is 15"),
        (named("cnn4").with_ways(0), "cnn4: `ways` is 0"),
        (named("resnet12").with_images(0, 84), "resnet12: `channels` is 0"),
        (named("resnet12").with_images(3, 8), "resnet12: `image_size` is 8"),
        (BackboneConfig::WideResNet(WideResNetConfig::new(3, 84, 5).with_depth(27)), "wide-resnet: `depth` is 27"),
        (named("mlp").with_norm(NormConfig::PerStep { steps: 0 }), "mlp: `norm` has parameters for 0 steps"),
        (BackboneConfig::Mlp(MlpConfig::new(vec![3])), "mlp: `sizes` is [3]"),
        (BackboneConfig::ResNet12(ResNet12Config::new(3, 84, 5).with_dropout(1.0)), "resnet12: `dropout` is 1"),
    ] {
        let error = config.init(&device()).unwrap_err();
        assert!(matches!(error, Error::Backbone { .. }));
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    assert!(named("resnet12").with_filters(&[8]).is_err());
}

/// ANIL by the paths that the network gives: the body stays where it is.
#[test]
fn the_head_is_found_by_its_paths() {
    for (name, config, side) in tiny() {
        let (net, task) = (network(&config), task(side));
        assert_eq!(net.head_paths(), config.head_paths());
        let inner = InnerLoopConfig::new(0.1).with_steps(1).with_adapt(Some(net.head_paths()));
        let maml = MamlConfig::new(inner, Estimator::Exact).init().unwrap();
        let adapted = maml.adapt(&net, &task.support, loss).unwrap();
        let [before, after] = [&net, &adapted].map(|net| Params::from_module(net).unwrap());
        let moved = before.sub(&after);
        let by_param: Vec<f64> = moved.values().iter().map(|value| value.dot(value).to_f64()[0]).collect();
        // Its weight and its bias.
        assert_eq!(by_param.iter().filter(|size| **size > 0.0).count(), 2, "{name}: {by_param:?}");
        let weight = net.head().weight.val() - adapted.head().weight.val();
        assert!(weight.abs().max().into_scalar::<f64>() > 0.0, "{name}");
    }
    let net = network(&tiny()[0].1).with_head(7);
    assert_eq!(net.forward(batch(2, 32, 1).0).dims(), [2, 7]);
}
