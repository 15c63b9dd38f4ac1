//! Laplace's approximation: the posterior of a model's parameters as a normal distribution around the most likely ones,
//! its precision the Hessian of the negative log posterior. From it, error bars on predictions and the evidence, by which
//! models are compared.
//!
//! For linear regression with a normal prior the approximation is exact, so that every number here has a closed form to
//! be held against: the evidence is the density of the data under a normal distribution with covariance
//! `sigma^2 I + X X' / lambda`. For a network the same lines give the approximation.
//!
//! `cargo run --release --example func_07_laplace`

use std::f64::consts::PI;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_func::{Error, Params, trace};

const POINTS: usize = 25;
const FEATURES: usize = 4;
const NOISE: f64 = 0.3;
const LAMBDA: f64 = 2.0;

#[derive(Module, Debug)]
struct Regression {
    weight: Param<Tensor<2>>,
}

/// Minus the logarithm of likelihood times prior, without their normalising constants.
fn negative_log_posterior(model: &Regression, (x, y): (Tensor<2>, Tensor<2>)) -> Tensor<1> {
    let weight = model.weight.val();
    // A product and not a quotient: Burn's backward pass of a division by a number rounds to single precision.
    let misfit = (x.matmul(weight.clone()) - y).powf_scalar(2.0).sum() * (0.5 / (NOISE * NOISE));
    misfit + weight.powf_scalar(2.0).sum() * (LAMBDA / 2.0)
}

/// A symmetric positive definite matrix as `L L'`, row-major.
struct Cholesky {
    n: usize,
    l: Vec<f64>,
}

impl Cholesky {
    fn of(a: &[f64], n: usize) -> Self {
        let mut l = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
                let rest = a[i * n + j] - known;
                l[i * n + j] = if i == j { rest.sqrt() } else { rest / l[j * n + j] };
            }
        }
        Self { n, l }
    }

    fn log_determinant(&self) -> f64 {
        (0..self.n).map(|i| 2.0 * self.l[i * self.n + i].ln()).sum()
    }

    /// `L^-1 b`; the square of its length is `b' A^-1 b`.
    fn half_solved(&self, b: &[f64]) -> Vec<f64> {
        let mut x: Vec<f64> = Vec::with_capacity(self.n);
        for (i, b) in b.iter().enumerate() {
            let known: f64 = (0..i).map(|k| self.l[i * self.n + k] * x[k]).sum();
            x.push((b - known) / self.l[i * self.n + i]);
        }
        x
    }

    fn quadratic(&self, b: &[f64]) -> f64 {
        self.half_solved(b).iter().map(|x| x * x).sum()
    }

    fn solved(&self, b: &[f64]) -> Vec<f64> {
        let mut x = self.half_solved(b);
        for i in (0..self.n).rev() {
            let known: f64 = (i + 1..self.n).map(|k| self.l[k * self.n + i] * x[k]).sum();
            x[i] = (x[i] - known) / self.l[i * self.n + i];
        }
        x
    }
}

/// Logarithm of the density of the data, by the covariance of the observations.
fn closed_form_evidence(x: &[f64], y: &[f64]) -> f64 {
    let entry = |i: usize, j: usize| {
        let inner: f64 = (0..FEATURES).map(|k| x[i * FEATURES + k] * x[j * FEATURES + k]).sum();
        inner / LAMBDA + if i == j { NOISE * NOISE } else { 0.0 }
    };
    let covariance: Vec<f64> = (0..POINTS * POINTS).map(|at| entry(at / POINTS, at % POINTS)).collect();
    let factor = Cholesky::of(&covariance, POINTS);
    -0.5 * (factor.quadratic(y) + factor.log_determinant() + POINTS as f64 * (2.0 * PI).ln())
}

fn main() -> Result<(), Error> {
    let device = Device::flex().autodiff();
    let wave = |i: usize| ((i * i) as f64 * 0.917 + 0.2).sin();
    let x: Vec<f64> = (0..POINTS * FEATURES).map(wave).collect();
    let y: Vec<f64> =
        (0..POINTS).map(|i| x[i * FEATURES] - 0.5 * x[i * FEATURES + 1] + NOISE * wave(1000 + i)).collect();
    let tensor = |values: &[f64], columns: usize| {
        let data = TensorData::new(values.to_vec(), [POINTS, columns]);
        Tensor::<2>::from_data(data, (&device, DType::F64))
    };
    let batch = (tensor(&x, FEATURES), tensor(&y, 1));
    let model = Regression { weight: Param::from_tensor(Tensor::zeros([FEATURES, 1], (&device, DType::F64))) };

    // The most likely weights: one Newton step for a quadratic, more for a network.
    let traced = trace(&model, &batch, negative_log_posterior)?;
    let start = Params::from_module(&model)?;
    let point = traced.linearize(&start, &batch)?;
    let precision = Cholesky::of(&point.hessian()?.to_data().iter::<f64>().collect::<Vec<_>>(), FEATURES);
    let step = precision.solved(&point.grad().to_f64());
    let at = start.sub(&start.with_elements(&step)?);

    let point = traced.linearize(&at, &batch)?;
    let hessian: Vec<f64> = point.hessian()?.to_data().iter::<f64>().collect();
    let precision = Cholesky::of(&hessian, FEATURES);
    println!("gradient at the most likely weights: {:.1e}", point.grad().norm());
    assert!(point.grad().norm() <= 1e-10);

    // The precision has a closed form: X'X / sigma^2 + lambda I.
    let worst = (0..FEATURES * FEATURES).map(|at| {
        let (j, k) = (at / FEATURES, at % FEATURES);
        let inner: f64 = (0..POINTS).map(|i| x[i * FEATURES + j] * x[i * FEATURES + k]).sum();
        (hessian[at] - inner / (NOISE * NOISE) - if j == k { LAMBDA } else { 0.0 }).abs()
    });
    let worst = worst.fold(0.0, f64::max);
    println!("precision: differs from the closed form by {worst:.1e}");
    assert!(worst <= 1e-10);

    let loss = point.loss().clone().into_scalar::<f64>();
    let normalised = 0.5 * FEATURES as f64 * LAMBDA.ln() - 0.5 * POINTS as f64 * (2.0 * PI * NOISE * NOISE).ln();
    let evidence = normalised - loss - 0.5 * precision.log_determinant();
    let expected = closed_form_evidence(&x, &y);
    println!("log evidence {evidence:.12}, closed form {expected:.12}");
    assert!((evidence - expected).abs() <= 1e-9);

    // Error bars: the variance of a prediction is x' H^-1 x, and the noise.
    for new in [[1.0, 0.0, 0.0, 0.0], [3.0, -3.0, 3.0, -3.0]] {
        let mean: f64 = new.iter().zip(at.to_f64()).map(|(x, w)| x * w).sum();
        let deviation = (precision.quadratic(&new) + NOISE * NOISE).sqrt();
        println!("at {new:?}: {mean:.3} +- {deviation:.3}");
    }
    Ok(())
}
