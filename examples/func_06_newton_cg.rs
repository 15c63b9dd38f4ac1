//! Newton's method on a logistic regression, its linear systems solved by conjugate gradients over Hessian-vector
//! products. The Hessian is never formed: each product costs about a gradient, whatever the number of parameters.
//!
//! Every step is held against iteratively reweighted least squares, which here has a closed form:
//! `d = -(X'SX/n + lambda I)^-1 grad` with `S = diag(p (1 - p))`.
//!
//! `cargo run --release --example func_06_newton_cg`

use burn::module::{Module, Param};
use burn::tensor::activation::softplus;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_func::{Error, Linearization, Params, trace};

const POINTS: usize = 200;
const FEATURES: usize = 6;
const LAMBDA: f64 = 1e-2;

#[derive(Module, Debug)]
struct Logistic {
    weight: Param<Tensor<2>>,
}

/// Mean of `log(1 + exp(-y x'w))`, for labels of -1 and 1, plus `lambda |w|^2 / 2`.
fn loss(model: &Logistic, (x, y): (Tensor<2>, Tensor<2>)) -> Tensor<1> {
    let weight = model.weight.val();
    let margin = x.matmul(weight.clone()) * y;
    softplus(-margin, 1.0).mean() + weight.powf_scalar(2.0).sum() * (LAMBDA / 2.0)
}

/// Solves `H d = -grad` to a relative residual of 1e-10; returns the step and the number of products.
fn conjugate_gradients(point: &Linearization) -> Result<(Params, usize), Error> {
    let mut residual = point.grad().scale(-1.0);
    let (mut step, mut direction) = (residual.zeros_like(), residual.clone());
    let (mut squared, first) = (residual.dot(&residual), residual.norm());
    for products in 1..=10 * FEATURES {
        let product = point.hvp(&direction)?;
        let length = squared / direction.dot(&product);
        step = step.axpy(length, &direction);
        residual = residual.axpy(-length, &product);
        let next = residual.dot(&residual);
        if next.sqrt() <= 1e-10 * first {
            return Ok((step, products));
        }
        direction = residual.axpy(next / squared, &direction);
        squared = next;
    }
    Ok((step, 10 * FEATURES))
}

/// Rows of features, and labels, drawn from a formula.
fn data() -> (Vec<[f64; FEATURES]>, Vec<f64>) {
    let wave = |i: usize, j: usize| ((i * i + 29 * j * j + 13 * i * j) as f64 * 0.731).sin();
    let rows: Vec<[f64; FEATURES]> = (0..POINTS).map(|i| std::array::from_fn(|j| wave(i, j))).collect();
    let score = |(i, row): (usize, &[f64; FEATURES])| row[0] - 0.5 * row[1] + 0.8 * wave(i, 99);
    let labels = rows.iter().enumerate().map(|at| if score(at) > 0.0 { 1.0 } else { -1.0 }).collect();
    (rows, labels)
}

/// The Newton step by its closed form, on the host.
fn reweighted_least_squares(rows: &[[f64; FEATURES]], labels: &[f64], weight: &[f64]) -> Vec<f64> {
    let n = rows.len() as f64;
    let mut hessian = vec![vec![0.0; FEATURES]; FEATURES];
    let mut negative: Vec<f64> = weight.iter().map(|w| -LAMBDA * w).collect();
    for (row, y) in rows.iter().zip(labels) {
        let score: f64 = row.iter().zip(weight).map(|(x, w)| x * w).sum();
        let p = 1.0 / (1.0 + (y * score).exp()); // probability of the wrong label
        for j in 0..FEATURES {
            negative[j] += p * y * row[j] / n;
            for k in 0..FEATURES {
                hessian[j][k] += p * (1.0 - p) * row[j] * row[k] / n;
            }
        }
    }
    (0..FEATURES).for_each(|j| hessian[j][j] += LAMBDA);
    solve(hessian, negative)
}

/// Gaussian elimination; enough for a positive definite matrix of this size.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        for j in i + 1..n {
            let factor = a[j][i] / a[i][i];
            (i..n).for_each(|k| a[j][k] -= factor * a[i][k]);
            b[j] -= factor * b[i];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

fn main() -> Result<(), Error> {
    let device = Device::flex().autodiff();
    let (rows, labels) = data();
    let tensor = |values: Vec<f64>, columns: usize| {
        Tensor::<2>::from_data(TensorData::new(values, [POINTS, columns]), (&device, DType::F64))
    };
    let batch = (tensor(rows.concat(), FEATURES), tensor(labels.clone(), 1));
    let model = Logistic { weight: Param::from_tensor(Tensor::zeros([FEATURES, 1], (&device, DType::F64))) };

    let traced = trace(&model, &batch, loss)?;
    let mut at = Params::from_module(&model)?;
    println!("step       loss          |gradient|   products   difference from the closed form");
    for count in 1..=8 {
        let point = traced.linearize(&at, &batch)?;
        let (step, products) = conjugate_gradients(&point)?;
        let expected = reweighted_least_squares(&rows, &labels, &at.to_f64());
        let difference = step.to_f64().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let (value, slope) = (point.loss().clone().into_scalar::<f64>(), point.grad().norm());
        println!("{count:4}   {value:.12}   {slope:.3e}   {products:8}   {difference:.1e}");
        assert!(difference <= 1e-8, "the step by products differs from the closed form by {difference}");
        at = at.add(&step);
        if slope <= 1e-10 {
            break;
        }
    }
    let trained = at.into_module(model)?;
    println!("weights: {}", trained.weight.val().reshape([FEATURES as i32]).to_data());
    Ok(())
}
