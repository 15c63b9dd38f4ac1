//! Derivatives in both directions: how the output of a network moves when its parameters do (`J v`, forward mode), and what
//! a direction of the output means for the parameters (`J' w`, reverse mode).
//!
//! `cargo run --release --example func_02_jvp_vjp`

use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::tanh;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_func::{Error, Params, cast, jvp, trace_vector};

type Net = (Linear, Linear);

fn forward((hidden, output): &Net, x: Tensor<2>) -> Tensor<2> {
    output.forward(tanh(hidden.forward(x)))
}

fn main() -> Result<(), Error> {
    let device = Device::flex().autodiff();
    device.seed(0);
    let net = (LinearConfig::new(2, 16).init(&device), LinearConfig::new(16, 3).init(&device));
    let net: Net = cast(&net, DType::F64);
    let values: Vec<f64> = (0..10).map(|i| f64::from(i).sin()).collect();
    let x = Tensor::<2>::from_data(TensorData::new(values, [5, 2]), (&device, DType::F64));

    let at = Params::from_module(&net)?;
    let v = at.normal(0, 0); // a direction in parameter space, from a seed
    let traced = trace_vector(&net, &x, forward)?;
    let point = traced.linearize(&at, &x)?; // one forward pass, for any number of products
    let tangent = point.jvp(&v)?;
    println!("output {:?}, its derivative along v {:?}", point.value().dims(), tangent.dims());

    let step = 1e-6;
    let moved = traced.value(&at.axpy(step, &v), &x)? - traced.value(&at.axpy(-step, &v), &x)?;
    let difference: f64 = (moved / (2.0 * step) - tangent.clone()).abs().max().into_scalar();
    println!("largest difference from central differences: {difference:.1e}");
    assert!(difference < 1e-7);

    // The two are transposes of each other: w'(J v) = (J'w)'v.
    let w = tangent.clone().sin();
    let cotangent = point.vjp(&w)?;
    let (forwards, backwards): (f64, f64) = ((w * tangent).sum().into_scalar(), cotangent.dot(&v));
    println!("w'(Jv) = {forwards:.12}, (J'w)'v = {backwards:.12}");
    assert!((forwards - backwards).abs() < 1e-10 * forwards.abs());

    // A loss is a vector of length one: its derivative along v costs one forward pass and a half, and no backward pass.
    let loss = |net: &Net, x| forward(net, x).powf_scalar(2.0).mean();
    let (value, derivative, ()) = jvp(&net, &x, loss, &v)?;
    println!("loss {value:.6}, its derivative along v {derivative:.6}");
    Ok(())
}
