//! What the Hessian of a small network looks like: its largest and smallest eigenvalues, trace and diagonal from products
//! alone, held against the dense matrix; and the Gauss-Newton matrix, which has no negative eigenvalues.
//!
//! `cargo run --release --example func_04_curvature`

use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::tanh;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_func::{Error, LanczosConfig, Params, cast, check, gauss_newton, lanczos, linearize};

type Net = (Linear, Linear);
type Batch = (Tensor<2>, Tensor<2>);

fn predict((hidden, output): &Net, (x, _): Batch) -> Tensor<2> {
    output.forward(tanh(hidden.forward(x)))
}

fn squared_error(prediction: Tensor<2>, (_, y): Batch) -> Tensor<1> {
    (prediction - y).powf_scalar(2.0).mean()
}

fn loss(net: &Net, batch: Batch) -> Tensor<1> {
    squared_error(predict(net, batch.clone()), batch)
}

fn main() -> Result<(), Error> {
    let device = Device::flex().autodiff();
    device.seed(0);
    let net: Net = (LinearConfig::new(1, 24).init(&device), LinearConfig::new(24, 1).init(&device));
    let net = cast(&net, DType::F64);
    let values: Vec<f64> = (0..32).map(|i| f64::from(i) / 5.0 - 3.2).collect();
    let x = Tensor::<2>::from_data(TensorData::new(values, [32, 1]), (&device, DType::F64));
    let batch = (x.clone(), x.sin());

    // A closure that is new is best checked once: hidden randomness, `detach`, every rule it needs.
    let report = check(&net, &batch, loss)?;
    println!("{report}\n");
    assert!(report.passed());

    let point = linearize(&net, &batch, loss)?;
    let parameters = Params::from_module(&net)?.len();
    let spectrum = point.eigenvalues(&LanczosConfig::new())?;
    println!(
        "{parameters} parameters; eigenvalues from {:.4e} to {:.4e}, by {} products",
        spectrum.smallest.value, spectrum.largest.value, spectrum.products
    );
    let trace = point.hessian_trace(400, 0)?;
    println!("trace {:.4} with a standard error of {:.4}", trace.value, trace.standard_error);
    let diagonal = point.hessian_diag(400, 0)?;

    // For a model as small as this the matrix itself can be had, and the estimates be checked.
    let hessian = point.hessian()?;
    let exact: Vec<f64> = hessian.to_data().iter::<f64>().step_by(parameters + 1).collect();
    let sum: f64 = exact.iter().sum();
    println!("trace of the dense matrix {sum:.4}");
    assert!((trace.value - sum).abs() <= 5.0 * trace.standard_error);
    let (found, errors) = (diagonal.value.to_f64(), diagonal.standard_error.to_f64());
    let mut within = found.iter().zip(&exact).zip(&errors);
    assert!(within.all(|((found, exact), error)| (found - exact).abs() <= 6.0 * error + 1e-12));
    let largest = spectrum.largest.vector.flatten();
    let image = hessian.matmul(largest.clone().reshape([parameters, 1])).reshape([parameters]);
    let rest: f64 = (image - largest * spectrum.largest.value).powf_scalar(2.0).sum().sqrt().into_scalar();
    println!("|Hv - lambda v| = {rest:.1e}, reported as {:.1e}", spectrum.largest.residual);
    assert!(rest <= 1e-3 * spectrum.largest.value);

    let gn = gauss_newton(&net, &batch, predict, squared_error)?;
    let spectrum = lanczos(gn.gradient(), &LanczosConfig::new(), |v| gn.product(v))?;
    println!("Gauss-Newton: from {:.1e} to {:.4e}", spectrum.smallest.value, spectrum.largest.value);
    assert!(spectrum.smallest.value >= -1e-9);
    Ok(())
}
