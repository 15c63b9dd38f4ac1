//! Batches of any structure: what goes in comes to the closure as it was, and a batch of another structure is refused.
#![allow(missing_docs)]

mod common;

use burn::tensor::{Bool, DType, Int, Tensor};
use burn_func::{Batch, BatchMapper, Error, Params, finite, trace};
use common::*;

/// Evaluates by trace and by eager Burn, on one batch while tracing and on another when evaluated.
fn check<B: Batch>(name: &str, traced_with: &B, batch: &B, f: impl Fn(&Mlp, B) -> Tensor<1>) {
    let model = Mlp::new(3, 4, 2);
    let traced = trace(&model, traced_with, &f).unwrap_or_else(|error| panic!("{name}: {error}"));
    let at = Params::from_module(&model).unwrap();
    let (found, _, ()) = traced.value_and_grad(&at, batch).unwrap_or_else(|error| panic!("{name}: {error}"));
    let eager = finite(&f(&model, batch.clone()).detach()).unwrap();
    assert_eq!(finite(&found).unwrap(), eager, "{name}");
}

fn net(model: &Mlp, x: Tensor<2>) -> Tensor<1> {
    model.forward(x, Act::Tanh).powf_scalar(2.0).mean()
}

fn x(salt: usize) -> Tensor<2> {
    data([5, 3], salt)
}

fn mask(salt: usize) -> Tensor<2, Bool> {
    data([5, 3], salt).greater_elem(0.0)
}

fn rows(first: i64) -> Tensor<1, Int> {
    Tensor::from_data([first, 2, 4], &device())
}

#[test]
fn structures_of_the_standard_library() {
    check("()", &(), &(), |model: &Mlp, ()| model.a.weight.val().powf_scalar(2.0).sum());
    check("tensor", &x(1), &x(2), net);
    check("tuple", &(x(1), mask(1), rows(0)), &(x(2), mask(2), rows(1)), |model: &Mlp, (x, mask, rows)| {
        net(model, x.mask_fill(mask, 0.5).select(0, rows))
    });
    check("list", &vec![x(1), x(2)], &vec![x(3), x(4)], |model: &Mlp, xs: Vec<Tensor<2>>| {
        xs.into_iter().map(|x| net(model, x)).reduce(|a, b| a * 2.0 + b).unwrap()
    });
    check("array", &[x(1), x(2)], &[x(3), x(4)], |model: &Mlp, [a, b]| net(model, a) * 2.0 + net(model, b));
    let options = |a, b| (Some(x(a)), None::<Tensor<2>>, Box::new((x(b), [Some(rows(1)), None])));
    check("nested", &options(1, 2), &options(3, 4), |model: &Mlp, (a, none, rest)| {
        let (b, [rows, _]) = *rest;
        let b = rows.map_or_else(|| b.clone(), |rows| b.clone().select(0, rows));
        net(model, a.unwrap()) + net(model, b) + f64::from(u8::from(none.is_some()))
    });
    check("both precisions", &(x(1), x(1).cast(DType::F32)), &(x(2), x(2).cast(DType::F32)), |model: &Mlp, (a, b)| {
        net(model, a * b.cast(DType::F64))
    });
}

#[derive(Batch, Clone)]
struct Named {
    x: Tensor<2>,
    mask: Option<Tensor<2, Bool>>,
    factor: f64,
    label: String,
    #[batch(skip)]
    path: std::path::PathBuf,
}

#[derive(Batch, Clone)]
struct Pair<A, B>(A, Vec<B>);

#[derive(Batch, Clone)]
struct Tagged<T, P>
where
    T: std::fmt::Debug,
{
    tensor: T,
    #[batch(skip)]
    tag: P,
}

#[derive(Batch, Clone)]
struct Blocks<const N: usize> {
    parts: [Tensor<2>; N],
}

#[derive(Batch, Clone)]
#[batch(crate = "burn_func")]
struct Nothing;

fn named(salt: usize) -> Named {
    Named { x: x(salt), mask: Some(mask(salt)), factor: 2.0, label: "a".into(), path: "images".into() }
}

#[test]
fn structs_of_ones_own() {
    check("named fields", &named(1), &named(2), |model: &Mlp, batch: Named| {
        assert_eq!((batch.label.as_str(), batch.path.to_str()), ("a", Some("images")));
        net(model, batch.x.mask_fill(batch.mask.unwrap(), 0.5)) * batch.factor
    });
    let pair = |salt| Pair(named(salt), vec![(x(salt + 1), Nothing), (x(salt + 2), Nothing)]);
    check("generic, nested", &pair(1), &pair(5), |model: &Mlp, Pair(named, list)| {
        list.into_iter().fold(net(model, named.x), |sum, (x, Nothing)| sum * 0.5 + net(model, x))
    });
    let tagged = |salt| Tagged { tensor: x(salt), tag: salt };
    check("generic, skipped", &tagged(1), &tagged(2), |model: &Mlp, batch: Tagged<Tensor<2>, usize>| {
        let _ = batch.tag;
        net(model, batch.tensor)
    });
    let blocks = |salt| Blocks { parts: [x(salt), x(salt + 1), x(salt + 2)] };
    check("const generic", &blocks(1), &blocks(4), |model: &Mlp, Blocks { parts: [a, b, c] }: Blocks<3>| {
        net(model, a) + net(model, b) * 2.0 + net(model, c) * 3.0
    });
}

#[test]
fn tensors_pass_in_the_order_of_declaration() {
    struct Order(Vec<Vec<usize>>);
    impl BatchMapper for Order {
        fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
            self.0.push(tensor.dims().to_vec());
            tensor.clone()
        }
        fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
            self.0.push(tensor.dims().to_vec());
            tensor.clone()
        }
        fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool> {
            self.0.push(tensor.dims().to_vec());
            tensor.clone()
        }
    }
    let mut order = Order(Vec::new());
    let _ = Batch::map(&Pair(rows(0), vec![data([2, 1], 0), data([7, 3], 0)]), &mut order);
    assert_eq!(order.0, [vec![3], vec![2, 1], vec![7, 3]]);
}

#[test]
fn another_structure_or_constant_is_refused() {
    let model = Mlp::new(3, 4, 2);
    let at = Params::from_module(&model).unwrap();
    let traced = trace(&model, &named(1), |model: &Mlp, batch: Named| net(model, batch.x) * batch.factor).unwrap();
    assert!(traced.accepts(&named(2)));
    let others = [
        Named { mask: None, ..named(1) },
        Named { factor: 3.0, ..named(1) }, // would be ignored: the trace has a factor of 2
        Named { label: "b".into(), ..named(1) },
    ];
    for other in others {
        assert!(!traced.accepts(&other));
        match traced.value(&at, &other).unwrap_err() {
            Error::Mismatch { what, .. } => assert_eq!(what, "the structure of the batch"),
            other => panic!("{other}"),
        }
    }
    assert!(traced.accepts(&Named { path: "elsewhere".into(), ..named(1) })); // skipped
}

#[test]
fn structures_come_back_beside_the_loss() {
    let model = Mlp::new(3, 4, 2);
    let at = Params::from_module(&model).unwrap();
    let traced = trace(&model, &named(1), |model: &Mlp, batch: Named| {
        let doubled = Named { x: batch.x.clone() * 2.0, ..batch.clone() };
        (net(model, batch.x), doubled)
    });
    let (_, back) = traced.unwrap().value(&at, &named(3)).unwrap();
    assert_eq!(back.x.to_data(), (x(3) * 2.0).to_data());
    assert_eq!(back.mask.unwrap().to_data(), mask(3).to_data());
    assert_eq!((back.factor, back.label.as_str()), (2.0, "a"));
}
