//! Which parameters are differentiated, and parameters that are not plain tensors: lazy, mapped, reparameterised.
#![allow(missing_docs)]

mod common;

use burn::module::{Lora, Module, Param, ParamId, QLora, Quantizer, Reparameterization, Reparameterizer};
use burn::nn::{Linear, LinearConfig, LinearLayout};
use burn::optim::GradientsParams;
use burn::tensor::quantization::{Calibration, QuantValue};
use burn::tensor::{DType, Tensor};
use burn_func::{Error, Filter, Params, ProgramCache, Traced, cast, finite, trace, trace_filtered};
use common::*;

type Batch = (Tensor<2>, Tensor<2>);

fn batch() -> Batch {
    (data([5, 3], 1), data([5, 2], 2))
}

fn loss(model: &Mlp, (x, y): Batch) -> Tensor<1> {
    mse(model.forward(x, Act::Tanh), y)
}

fn chosen(model: &Mlp, filter: &Filter) -> (Traced<Batch>, Params) {
    let traced = trace_filtered(&ProgramCache::new(), model, &batch(), filter, loss).unwrap();
    (traced, Params::from_module_filtered(model, filter).unwrap())
}

fn paths(params: &Params) -> Vec<&str> {
    params.specs().iter().map(|spec| spec.path.as_str()).collect()
}

#[test]
fn a_filter_gives_its_block_of_gradient_and_hessian() {
    let model = Mlp::new(3, 4, 2);
    let filter = Filter::paths(["c.*", "*.bias"]);
    let (traced, at) = chosen(&model, &filter);
    assert_eq!(paths(&at), ["a.bias", "b.bias", "c.weight", "c.bias"]);

    let whole = trace(&model, &batch(), loss).unwrap();
    let all = Params::from_module(&model).unwrap();
    let (part, full) = (traced.linearize(&at, &batch()).unwrap(), whole.linearize(&all, &batch()).unwrap());
    // A vector on the chosen parameters, and the same with zeros elsewhere.
    let value = |path: &str, i: usize| wave(i, path.len());
    let v = at.from_fn(|spec, i| value(&spec.path, i));
    let padded =
        all.from_fn(|spec, i| if paths(&at).contains(&spec.path.as_str()) { value(&spec.path, i) } else { 0.0 });
    let (product, expected) = (part.hvp(&v).unwrap(), full.hvp(&padded).unwrap());
    assert!(product.norm() > 1e-3);
    for (found, expected) in [(part.grad(), full.grad()), (&product, &expected)] {
        let weight = |params: &Params| params.get::<2>("c.weight").unwrap();
        let bias = |params: &Params| params.get::<1>("a.bias").unwrap();
        // The same sums in another order.
        assert!((weight(found) - weight(expected)).abs().max().into_scalar::<f64>() <= 1e-14);
        assert!((bias(found) - bias(expected)).abs().max().into_scalar::<f64>() <= 1e-14);
    }
}

#[test]
fn a_gradient_of_some_parameters_is_that_part_of_the_whole() {
    let model = Mlp::new(3, 4, 2);
    let traced = trace(&model, &batch(), loss).unwrap();
    let all = Params::from_module(&model).unwrap();
    let (whole_loss, whole, ()) = traced.value_and_grad(&all, &batch()).unwrap();
    for filter in [Filter::paths(["c.*", "a.bias"]), Filter::paths(["*"])] {
        let (loss, part, ()) = traced.value_and_grad_of(&filter, &all, &batch()).unwrap();
        assert_eq!(part.to_f64(), whole.only(&filter).unwrap().to_f64());
        assert_eq!(paths(&part), paths(&whole.only(&filter).unwrap()));
        assert_eq!(finite(&loss).unwrap(), finite(&whole_loss).unwrap());
    }
    let nothing = traced.value_and_grad_of(&Filter::paths(["d.*"]), &all, &batch()).unwrap_err();
    assert!(matches!(nothing, Error::NothingChosen { .. }), "{nothing}");
}

#[test]
fn parts_and_flat_tensors_lead_there_and_back() {
    let all = Params::from_module(&Mlp::new(3, 4, 2)).unwrap();
    let flat = all.flatten();
    assert_eq!(all.with_flat(&flat).unwrap().to_f64(), all.to_f64());
    assert!(matches!(all.with_flat(&flat.clone().slice(1..5)), Err(Error::Argument { .. })));

    let part = all.only(&Filter::paths(["b.*"])).unwrap().scale(3.0);
    let replaced = all.with(&part).unwrap();
    for (spec, (old, new)) in all.specs().iter().zip(all.values().iter().zip(replaced.values())) {
        let factor = if spec.path.starts_with("b.") { 3.0 } else { 1.0 };
        assert_eq!(new.to_f64(), old.scale(factor).to_f64(), "{}", spec.path);
    }
    assert!(matches!(part.with(&all), Err(Error::Params { .. })));
    let other = Params::from_module(&Mlp::new(3, 4, 2)).unwrap();
    assert!(matches!(all.with(&other), Err(Error::Params { .. })), "other ids");
}

#[test]
fn what_a_filter_leaves_out_is_constant_until_taken_from_a_module() {
    let model = Mlp::new(3, 4, 2);
    let (traced, at) = chosen(&model, &Filter::by(|param| param.path.starts_with("c.")));
    let value = |traced: &Traced<Batch>| finite(&traced.value(&at, &batch()).unwrap().0).unwrap();
    let eager = |model: &Mlp| finite(&loss(model, batch()).detach()).unwrap();
    assert_eq!(value(&traced), eager(&model));

    let moved = waves(&Params::from_module(&model).unwrap(), 0.6, 4).into_module(model.clone()).unwrap();
    let moved = at.clone().into_module(moved).unwrap(); // other bodies, the same head
    assert_ne!(eager(&moved), eager(&model));
    let taken = traced.with_frozen_of(&moved).unwrap();
    assert_eq!(value(&taken), eager(&moved));
    assert_eq!(value(&traced), eager(&model), "the first trace changed");

    let grads = taken.value_and_grad(&at, &batch()).unwrap().1.into_grads();
    let eager = GradientsParams::from_grads(loss(&moved, batch()).backward(), &moved);
    let (found, expected) = (grads.get::<2>(model.c.weight.id), eager.get::<2>(model.c.weight.id));
    assert_eq!(found.unwrap().to_data(), expected.unwrap().to_data());
    assert!(grads.get::<2>(model.a.weight.id).is_none());
}

/// Value and gradient are eager Burn's, products agree with differences of the gradient, and a point goes into the module
/// and comes back.
fn check<M: Module>(name: &str, model: &M, batch: &Batch, f: impl Fn(&M, Batch) -> Tensor<1>) {
    let traced = trace(model, batch, &f).unwrap_or_else(|error| panic!("{name}: {error}"));
    let at = Params::from_module(model).unwrap();
    let (value, grad, ()) = traced.value_and_grad(&at, batch).unwrap();
    let eager = f(model, batch.clone());
    assert_eq!(value.to_data(), eager.clone().inner().to_data(), "{name}");
    let eager = GradientsParams::from_grads(eager.backward(), model);
    for spec in grad.specs() {
        let equal = match spec.spec.shape.len() {
            1 => grad.get::<1>(&spec.path).unwrap().to_data() == eager.get::<1>(spec.id).unwrap().to_data(),
            2 => grad.get::<2>(&spec.path).unwrap().to_data() == eager.get::<2>(spec.id).unwrap().to_data(),
            rank => panic!("rank {rank}"),
        };
        assert!(equal, "{name}: gradient at {}", spec.path);
    }
    let v = waves(&at, 1.0, 100);
    let product = traced.linearize(&at, batch).unwrap().hvp(&v).unwrap();
    let gradient = |step: f64| traced.value_and_grad(&at.axpy(step, &v), batch).unwrap().1;
    let central = |step: f64| gradient(step).sub(&gradient(-step)).scale(0.5 / step);
    let expected = central(2e-5).scale(4.0 / 3.0).axpy(-1.0 / 3.0, &central(4e-5));
    let error = relative(&product, &expected);
    assert!(error <= 1e-8, "{name}: HVP off by {error:.2e}"); // as for every other product

    let moved = at.axpy(0.1, &v);
    let filled = moved.clone().into_module(model.clone()).unwrap();
    let back = Params::from_module(&filled).unwrap();
    assert_eq!((paths(&back), back.to_f64()), (paths(&moved), moved.to_f64()), "{name}");
    let value = finite(&traced.value(&moved, batch).unwrap().0).unwrap();
    assert_eq!(finite(&f(&filled, batch.clone()).detach()).unwrap(), value, "{name}");
}

#[test]
fn lazy_parameters_are_made_when_they_are_traced() {
    let model = LinearConfig::new(3, 2).init(&device());
    assert!(!model.weight.is_initialized(), "Burn no longer makes these parameters lazily");
    let clone = model.clone();
    let x = data([5, 3], 1).cast(DType::F32);
    let f = |model: &Linear, x: Tensor<2>| model.forward(x).powf_scalar(2.0).mean();
    let traced = trace(&model, &x, f).unwrap();
    let at = Params::from_module(&model).unwrap();
    let found = finite(&traced.value(&at, &x).unwrap().0).unwrap();
    assert_eq!(found, finite(&f(&model, x.clone()).detach()).unwrap());
    assert_eq!(found, finite(&f(&clone, x).detach()).unwrap()); // a clone made before sees the same values
}

#[derive(Module, Debug)]
struct Single {
    weight: Param<Tensor<2>>,
}

#[test]
fn lazy_parameters_with_a_mapper_are_what_the_mapper_made() {
    let make = |device: &burn::tensor::Device, require_grad: bool| {
        let values = data([3, 2], 5).inner();
        let values = if device.is_autodiff() { Tensor::from_inner(values) } else { values };
        values.set_require_grad(require_grad)
    };
    let lazy = Param::uninitialized(ParamId::new(), make, device(), true, [3, 2].into());
    let model = Single { weight: lazy.init_mapper(|weight| weight.mul_scalar(3.0)) };
    assert!(!model.weight.is_initialized());
    check("init mapper", &model, &batch(), |model, (x, y)| mse(x.matmul(model.weight.val()).tanh(), y));
    let first = Params::from_module(&model).unwrap().to_f64()[0];
    assert_eq!(first, 3.0 * wave(0, 5));
}

#[test]
fn parameters_that_are_stored_in_another_layout_keep_it() {
    let model = LinearConfig::new(3, 2).with_layout(LinearLayout::Col).init(&device());
    let model = settled(&model);
    check("column layout", &model, &batch(), |model: &Linear, (x, y)| mse(model.forward(x).tanh(), y));
}

/// Weight normalisation: the direction is the stored weight, the length a parameter of its own.
#[derive(Module, Debug)]
struct WeightNorm {
    length: Param<Tensor<1>>,
}

impl Reparameterization for WeightNorm {
    const NAME: &'static str = "weight_norm";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let length = base.clone().powf_scalar(2.0).sum().sqrt();
        base * (self.length.val() / length).reshape([1; D])
    }
}

struct Normalize;

impl Reparameterizer for Normalize {
    type Reparam = WeightNorm;

    fn reparameterize<const D: usize>(
        &mut self,
        _: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<WeightNorm>) {
        let length = Param::from_tensor(data([1], 4));
        (param, (D == 2).then_some(WeightNorm { length }))
    }
}

#[test]
fn weights_with_a_reparameterization() {
    let model = Mlp::new(3, 4, 2).apply_reparameterization(Normalize);
    let at = Params::from_module(&model).unwrap();
    assert_eq!(paths(&at)[..3], ["a.weight", "a.weight.weight_norm.length", "a.bias"]);
    check("weight norm", &model, &batch(), loss);
}

#[test]
fn adapters_are_what_is_trained() {
    let model = Mlp::new(3, 4, 2).apply_lora(Lora::new(2, 4.0));
    let model = cast(&model, DType::F64);
    let at = Params::from_module(&model).unwrap();
    assert_eq!(paths(&at)[..2], ["a.weight.lora.a", "a.weight.lora.b"]);
    let model = waves(&at, 0.7, 2).into_module(model).unwrap(); // LoRA starts with a zero factor
    check("LoRA", &model, &batch(), loss);
}

#[test]
fn quantized_weights_are_refused_with_the_reason() {
    let scheme = device().settings().quantization.scheme.with_value(QuantValue::Q8S);
    let adapters = QLora::new(Lora::new(2, 4.0), Quantizer::new(Calibration::MinMax, scheme));
    let model = LinearConfig::new(8, 8).init(&device()).apply_qlora(adapters);
    let x = Tensor::<2>::ones([4, 8], &device());
    let error = trace(&model, &x, |model: &Linear, x: Tensor<2>| model.forward(x).mean()).unwrap_err();
    assert!(matches!(&error, Error::Closure { message } if message.contains("quantized tensors")), "{error}");
}

/// Each tensor in its own precision, all of them in double.
#[test]
fn inner_products_of_mixed_types_keep_every_digit() {
    let tensor = |value: f64, dtype: DType| Tensor::<1>::from_data([value], (&device(), dtype));
    let sum = |types: &[(f64, DType)]| {
        let model: Vec<Param<Tensor<1>>> =
            types.iter().map(|&(value, dtype)| Param::from_tensor(tensor(value, dtype))).collect();
        let at = Params::from_module(&model).unwrap();
        (at.dot(&at), at.norm())
    };
    let tiny = 2.0_f64.powi(-11);
    let rounded = 1.0 + tiny * tiny;
    for types in [[DType::F32, DType::BF16], [DType::F16, DType::BF16], [DType::F64, DType::F16], [DType::F32; 2]] {
        // The smaller square is below the last digit of the larger one in every type but F32 and F64.
        assert_eq!(sum(&[(1.0, types[0]), (tiny, types[1])]), (rounded, rounded.sqrt()), "{types:?}");
    }
    // Two partial sums that single precision could not add.
    let (large, small) = (4096.0, 2.0_f64.powi(-4));
    assert_eq!(sum(&[(large, DType::F32), (small, DType::F32)]).0, large * large + small * small);
    assert_eq!(sum(&[(large, DType::F32), (small, DType::BF16)]).0, large * large + small * small);
}
