//! Weights of other libraries: the same logits and the same meta-gradient as PyTorch has with them; and what does not fit.
//!
//! The files are made by `weights/make.py`.
#![allow(missing_docs)]
#![cfg(feature = "store")]

mod common;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_func::{Params, cast};
use burn_meta::models::{
    Backbone, BackboneConfig, Cnn4Config, Loaded, MlpConfig, Network, NormConfig, ResNet12Config, Weights,
    WideResNetConfig, cross_entropy, save_weights,
};
use burn_meta::{Error, Estimator, InnerLoopConfig, MamlConfig, Task};
use common::*;
use safetensors::SafeTensors;

type Images = (Tensor<4>, Tensor<1, Int>);

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/weights").join(name)
}

/// The images of `make.py`: hashes of the index.
fn noise(shape: [usize; 4], salt: u32) -> Tensor<4> {
    let value = |i: u32| {
        let mut x = i.wrapping_add(salt * 1_000_003);
        for (shift, factor) in [(16, 0x85EB_CA6B), (13, 0xC2B2_AE35)] {
            x = (x ^ (x >> shift)).wrapping_mul(factor);
        }
        f64::from(x ^ (x >> 16)) / 2f64.powi(31) - 1.0
    };
    let values: Vec<f64> = (0..shape.iter().product::<usize>() as u32).map(value).collect();
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64))
}

fn cnn4() -> BackboneConfig {
    BackboneConfig::Cnn4(Cnn4Config::new(1, 32, 5).with_hidden(8))
}

fn fresh(config: &BackboneConfig, dtype: DType) -> Network {
    cast(&config.init(&device()).unwrap(), dtype)
}

fn loaded(name: &str, config: &BackboneConfig, dtype: DType) -> Loaded<Network> {
    Weights::open(file(name)).unwrap().load_into(fresh(config, dtype)).unwrap()
}

/// A tensor of double precision that PyTorch computed.
fn expected(folder: &Path, name: &str) -> Vec<f64> {
    let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor(name).unwrap().data();
    data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Largest difference of logits in a precision from PyTorch's in double precision.
fn error(net: &Network, images: [usize; 4], dtype: DType, expected: &[f64]) -> f64 {
    let logits: Vec<f64> = net.forward(noise(images, 3).cast(dtype)).into_data().iter().collect();
    assert_eq!(logits.len(), expected.len());
    logits.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max)
}

/// A wrong name, layout, order of flattening, stride or epsilon. Single precision is allowed 1e-5 of logits of size 1 to 10:
/// rounding is 1e-6; double precision 1e-10.
#[test]
fn logits_are_pytorchs() {
    let resnet = ResNet12Config::new(3, 32, 5).with_filters([2, 3, 3, 4]);
    let wide = WideResNetConfig::new(3, 16, 5).with_depth(10).with_width(1);
    let omniglot = BackboneConfig::named("omniglot").unwrap().with_filters(&[4]).unwrap();
    for (key, name, layout, prefix, config, images) in [
        ("cnn4", "cnn4.pt", "learn2learn", "state_dict.", cnn4(), [4, 1, 32, 32]),
        ("cnn4", "cnn4-torchmeta.pt", "torchmeta", "", cnn4(), [4, 1, 32, 32]),
        ("cnn4", "cnn4.safetensors", "burn-meta", "", cnn4(), [4, 1, 32, 32]),
        ("omniglot", "omniglot.pt", "learn2learn, twice named", "", omniglot, [4, 1, 28, 28]),
        (
            "resnet12",
            "resnet12.pt",
            "learn2learn, twice named",
            "module.",
            BackboneConfig::ResNet12(resnet),
            [4, 3, 32, 32],
        ),
        ("wrn", "wrn.pt", "learn2learn", "", BackboneConfig::WideResNet(wide), [4, 3, 16, 16]),
    ] {
        for (dtype, allowed) in [(DType::F32, 1e-5), (DType::F64, 1e-10)] {
            let found = loaded(name, &config, dtype);
            assert_eq!((found.layout, found.prefix.as_str()), (layout, prefix), "{name}");
            assert_eq!(found.statistics, name != "cnn4-torchmeta.pt");
            let folder = file("");
            let train = error(&found.module, images, dtype, &expected(&folder, &format!("{key}.train")));
            println!("{name} in {dtype:?}: logits differ by {train:.1e}");
            assert!(train <= allowed, "{name} in {dtype:?}: {train:.1e}");
            if found.statistics {
                let running = loaded(name, &config.clone().with_norm(NormConfig::Running), dtype).module;
                let eval = error(&running, images, dtype, &expected(&folder, &format!("{key}.eval")));
                println!("{name} in {dtype:?}, running statistics: logits differ by {eval:.1e}");
                assert!(eval <= allowed, "{name} in {dtype:?}, running statistics: {eval:.1e}");
            }
        }
    }
}

/// The exact meta-gradient of a folder's network, against PyTorch's.
fn meta_gradient_errors(folder: &Path, config: &BackboneConfig, images: [usize; 3]) -> Vec<(DType, f64, f64)> {
    let loss = |net: &Network, (x, y): Images| cross_entropy(net.forward(x), y);
    let of = |(dtype, key): (DType, &str)| {
        let net = Weights::open(folder.join("cnn4.pt")).unwrap().load_into(fresh(config, dtype)).unwrap().module;
        let batch = |n: usize, salt: u32| {
            let labels: Vec<i64> = (0..n as i64).map(|i| i % 5).collect();
            let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [n]), &device());
            let [channels, height, width] = images;
            (noise([n, channels, height, width], salt).cast(DType::F32).cast(dtype), labels)
        };
        let task = Task { support: batch(5, 1), query: batch(10, 2) };
        let maml = MamlConfig::new(InnerLoopConfig::new(0.01).with_steps(5), Estimator::Exact).init().unwrap();
        let step = maml.meta_gradient(&net, &[task], loss).unwrap();
        // Gradients have the names and layouts of weights.
        let golden = Weights::open(folder.join(format!("grads-{key}.safetensors"))).unwrap();
        let golden = Params::from_module(&golden.load_into(net).unwrap().module).unwrap();
        let query = (step.query_loss() - expected(folder, &format!("query_loss.{key}"))[0]).abs();
        (dtype, relative(&step.gradient, &golden), query)
    };
    [(DType::F32, "f32"), (DType::F64, "f64")].map(of).to_vec()
}

/// Allowed in single precision is 1e-4: rounding amplified by five steps; in double precision 1e-9.
#[test]
fn meta_gradient_is_pytorchs() {
    for (dtype, gradient, query) in meta_gradient_errors(&file(""), &cnn4(), [1, 32, 32]) {
        println!("meta-gradient in {dtype:?}: {gradient:.1e}, query loss {query:.1e}");
        let allowed = if dtype == DType::F64 { 1e-9 } else { 1e-4 };
        assert!(gradient <= allowed && query <= allowed, "{dtype:?}: {gradient:.1e}, {query:.1e}");
    }
}

/// `CNN4_FULL_SIZE=DIR`, a folder that `make.py --full-size DIR` has written. As above, of the 32-filter network for 84x84
/// images.
#[test]
#[ignore = "needs files of 300 kB that are made by `make.py --full-size`"]
fn full_size_is_pytorchs() {
    let folder = PathBuf::from(std::env::var("CNN4_FULL_SIZE").expect("CNN4_FULL_SIZE is a folder"));
    let config = BackboneConfig::named("cnn4").unwrap();
    let net = Weights::open(folder.join("cnn4.pt")).unwrap().load_into(fresh(&config, DType::F32)).unwrap().module;
    let logits = error(&net, [4, 3, 84, 84], DType::F32, &expected(&folder, "cnn4.train"));
    println!("logits in F32 differ by {logits:.1e}");
    let mut passed = logits <= 1e-5;
    for (dtype, gradient, query) in meta_gradient_errors(&folder, &config, [3, 84, 84]) {
        println!("meta-gradient in {dtype:?}: {gradient:.1e}, query loss {query:.1e}");
        let allowed = if dtype == DType::F64 { 1e-9 } else { 1e-4 };
        passed &= gradient <= allowed && query <= allowed;
    }
    assert!(passed);
}

fn problem(result: Result<Loaded<Network>, Error>) -> String {
    let error = result.map(|loaded| loaded.layout).unwrap_err();
    assert!(matches!(error, Error::WeightsFile { .. }));
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn what_does_not_fit_is_named() {
    let into = |name: &str, config: BackboneConfig| {
        problem(Weights::open(file(name)).unwrap().load_into(fresh(&config, DType::F32)))
    };
    let contains = |text: String, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
    };
    contains(
        into("cnn4.pt", cnn4().with_ways(20)),
        &[
            "cnn4.pt: of the network's 26 tensors it has 26 in the layout learn2learn under `state_dict`",
            "not as expected",
        ],
    );
    contains(
        into("cnn4.pt", cnn4().with_ways(20)),
        &["`state_dict.classifier.weight` has shape [5, 32], expected [20, 32]", "tried: burn-meta, learn2learn"],
    );
    contains(
        into("cnn4.pt", cnn4().with_norm(NormConfig::None)),
        &["left over: `state_dict.features.0.normalize.bias`"],
    );
    contains(
        into("cnn4-torchmeta.pt", cnn4().with_norm(NormConfig::Running)),
        &["missing: `features.layer1.norm.running_mean`", "4 more"],
    );
    contains(
        into("cnn4.pt", BackboneConfig::named("resnet12").unwrap().with_filters(&[2, 3, 3, 4]).unwrap()),
        &["it has 2 in the layout learn2learn", "missing: `state_dict.features.layer1.0.conv1.weight`"],
    );
    // Another number of classes is no hindrance where the head is left out.
    let more = Weights::open(file("cnn4.pt")).unwrap().without_head();
    let more = more.load_into(fresh(&cnn4().with_ways(20), DType::F32)).unwrap();
    assert_eq!((more.tensors, more.module.head().weight.dims()), (24, [32, 20]));
}

fn write(path: &Path, tensors: &[(&str, &[usize])]) {
    let data: Vec<Vec<u8>> = tensors.iter().map(|(_, shape)| vec![0; 4 * shape.iter().product::<usize>()]).collect();
    let views = tensors.iter().zip(&data).map(|((name, shape), data)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), data).unwrap();
        (name.to_string(), view)
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn files_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let linear = || fresh(&BackboneConfig::Mlp(MlpConfig::new(vec![3, 2])), DType::F32);
    let open = |path: &Path| Weights::open(path).map(|_| ()).unwrap_err().to_string();
    assert!(open(&path).contains("weights: "), "{}", open(&path));
    std::fs::write(&path, "no weights at all").unwrap();
    assert!(!open(&path).contains('\n'));
    // A safetensors file that ends too early, and a PyTorch file that does.
    for whole in ["cnn4.safetensors", "cnn4.pt", "cnn4-torchmeta.pt"] {
        let bytes = std::fs::read(file(whole)).unwrap();
        for length in [0, 5, 9, 100, bytes.len() / 2] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let opened = Weights::open(&path).and_then(|weights| weights.load_into(fresh(&cnn4(), DType::F32)));
            assert!(opened.is_err(), "{length} bytes of {whole}");
        }
    }
    write(&path, &[("body.w", &[2, 2])]);
    let text = problem(Weights::open(&path).unwrap().load_into(linear()));
    assert!(
        text.contains("found `body.w`, expected the first to be one of `classifier.weight`, `layers.0.weight`"),
        "{text}"
    );
    write(&path, &[("layer_dict.conv0.conv.weight", &[2, 2])]);
    assert!(problem(Weights::open(&path).unwrap().load_into(linear())).contains("HowToTrainYourMAML"));

    write(
        &path,
        &[
            ("a.layers.0.weight", &[2, 3]),
            ("a.layers.0.bias", &[2]),
            ("b.layers.0.weight", &[2, 3]),
            ("b.layers.0.bias", &[2]),
        ],
    );
    let weights = || Weights::open(&path).unwrap();
    let text = problem(weights().load_into(linear()));
    assert!(text.contains("two networks fit, under `a` and `b`"), "{text}");
    assert_eq!(weights().under("b").load_into(linear()).unwrap().prefix, "b.");
    assert_eq!(weights().tensors().next(), Some(("a.layers.0.bias", vec![2])));

    write(&path, &[("layers.0.weight", &[2, 3]), ("layers.0.bias", &[2]), ("optimizer", &[1])]);
    assert!(problem(weights().load_into(linear())).contains("left over: `optimizer`"));
    assert_eq!(weights().allow_unused().load_into(linear()).unwrap().tensors, 2);
}

/// Every backbone and normalisation, there and back; a clone that was not meant; half a file.
#[test]
fn what_is_saved_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let per_step = NormConfig::PerStep { steps: 3 };
    for (config, images) in [
        (cnn4(), [2, 1, 32, 32]),
        (cnn4().with_norm(NormConfig::Running), [2, 1, 32, 32]),
        (cnn4().with_norm(per_step), [2, 1, 32, 32]),
        (cnn4().with_norm(NormConfig::Layer), [2, 1, 32, 32]),
        (BackboneConfig::named("mlp").unwrap().with_images(1, 8).with_filters(&[6, 5]).unwrap(), [2, 1, 8, 8]),
    ] {
        device().seed(1);
        let net = fresh(&config, DType::F64).with_statistics_of(noise(images, 1), 1.0);
        save_weights(&net, &path).unwrap();
        device().seed(2);
        let other = fresh(&config, DType::F64);
        let before = other.valid().forward(noise(images, 3).inner()).into_data();
        let again = Weights::open(&path).unwrap().load_into(other.clone()).unwrap();
        assert_eq!(again.layout, "burn-meta");
        let logits = |net: &Network| net.valid().forward(noise(images, 3).inner()).into_data();
        assert_eq!(logits(&again.module), logits(&net), "{config:?}");
        assert_eq!(logits(&other), before, "{config:?}");
        assert_ne!(before, logits(&net));
    }
    let nowhere = folder.path().join("nowhere/weights.safetensors");
    assert!(matches!(save_weights(&fresh(&cnn4(), DType::F32), nowhere), Err(Error::WeightsFile { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
