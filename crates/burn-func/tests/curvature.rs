//! Curvature against closed forms: dense, random and Krylov, Hessian and Gauss-Newton.
#![allow(missing_docs)]

mod common;

use burn::module::{Module, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_func::{
    DENSE_LIMIT, Error, LanczosConfig, Linearization, Params, cast, dense, estimate_diagonal, estimate_trace,
    gauss_newton, lanczos, lanczos_from, linearize, spectral_norm, spectral_norm_from, trace_vector,
};
use common::*;

/// One vector, so that `x' A x / 2` has the Hessian A.
#[derive(Module, Debug)]
struct Point {
    x: Param<Tensor<1>>,
}

fn point(n: usize, dtype: DType) -> Point {
    Point { x: Param::from_tensor(data([n], 3).cast(dtype)) }
}

fn like(n: usize) -> Params {
    Params::from_module(&point(n, DType::F64)).unwrap()
}

fn quadratic(a: &[Vec<f64>], dtype: DType) -> Linearization {
    let n = a.len();
    let matrix: Tensor<2> = Tensor::from_data(TensorData::new(a.concat(), [n, n]), (&device(), dtype));
    let f = |model: &Point, a: Tensor<2>| {
        let x = model.x.val().reshape([n, 1]);
        (x.clone() * a.matmul(x)).sum() * 0.5
    };
    linearize(&point(n, dtype), &matrix, f).unwrap()
}

/// A symmetric matrix with these eigenvalues: a reflection of the diagonal matrix. No element is zero.
fn with_spectrum(values: &[f64]) -> Vec<Vec<f64>> {
    let n = values.len();
    let u: Vec<f64> = (0..n).map(|i| 1.0 + 0.5 * wave(i, 2)).collect();
    let square: f64 = u.iter().map(|u| u * u).sum();
    let q = |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * u[i] * u[j] / square;
    let element = |i, j| (0..n).map(|k| q(i, k) * values[k] * q(k, j)).sum();
    (0..n).map(|i| (0..n).map(|j| element(i, j)).collect()).collect()
}

fn diagonal(values: &[f64]) -> Vec<Vec<f64>> {
    let n = values.len();
    (0..n).map(|i| (0..n).map(|j| if i == j { values[i] } else { 0.0 }).collect()).collect()
}

fn apply(a: &[Vec<f64>], v: &Params) -> burn_func::Result<Params> {
    let v = v.to_f64();
    let product: Vec<f64> = a.iter().map(|row| row.iter().zip(&v).map(|(a, v)| a * v).sum()).collect();
    like(v.len()).with_elements(&product)
}

fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |max, value| if value > max || value.is_nan() { value } else { max })
}

/// Largest difference of two matrices, relative to the largest element of the second.
fn off(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    largest(found.iter().zip(expected).map(|(a, b)| (a - b).abs())) / largest(expected.iter().map(|b| b.abs()))
}

/// Double precision, and single with its rounding times a few dozen sums.
const PRECISIONS: [(DType, f64); 2] = [(DType::F64, 1e-14), (DType::F32, 1e-5)];

#[test]
fn the_dense_hessian_of_a_quadratic_is_its_matrix() {
    let a = with_spectrum(&[3.0, -1.5, 0.25, 3.0, 10.0]);
    for (dtype, tolerance) in PRECISIONS {
        let hessian = quadratic(&a, dtype).hessian().unwrap();
        assert_eq!((hessian.dims(), hessian.dtype()), ([5, 5], dtype));
        assert!(off(&host(&hessian), &a.concat()) <= tolerance, "{dtype:?}");
        assert!(off(&host(&hessian.clone().transpose()), &host(&hessian)) <= tolerance, "{dtype:?}: not symmetric");
    }
}

#[test]
fn a_dense_matrix_follows_the_order_of_the_parameters() {
    let model = Mlp::new(3, 4, 2);
    let batch = (data([5, 3], 1), data([5, 2], 2));
    let point = linearize(&model, &batch, |model: &Mlp, (x, y)| mse(model.forward(x, Act::Tanh), y)).unwrap();
    let hessian = point.hessian().unwrap();
    let n = point.grad().len();
    assert_eq!(hessian.dims(), [n, n]);
    let v = waves(point.grad(), 1.0, 5);
    let product = hessian.clone().matmul(v.flatten().reshape([n, 1]));
    assert!(off(&host(&product), &point.hvp(&v).unwrap().to_f64()) <= 1e-14);
    assert!(off(&host(&hessian.clone().transpose()), &host(&hessian)) <= 1e-14);
}

#[test]
fn a_matrix_that_would_not_fit_is_refused() {
    let n = DENSE_LIMIT + 1;
    let map = |_: &Params| -> burn_func::Result<Params> { panic!("no product must be taken") };
    let error = dense(&like(n), map).unwrap_err();
    assert_eq!(error, Error::TooLarge { parameters: n, bytes: n * n * 8, limit: DENSE_LIMIT });
    assert!(error.to_string().contains(&(n * n * 8).to_string()));
}

#[test]
fn a_diagonal_hessian_takes_one_probe() {
    let values = [4.0, -2.0, 0.0, 0.5, 7.0];
    for (dtype, tolerance) in PRECISIONS {
        let point = quadratic(&diagonal(&values), dtype);
        let one = point.hessian_diag(1, 9).unwrap();
        assert!(off(&one.value.to_f64(), &values) <= tolerance);
        assert!(one.standard_error.to_f64().iter().all(|error| *error == f64::INFINITY));
        assert!((point.hessian_trace(1, 9).unwrap().value - 9.5).abs() <= 9.5 * tolerance);
        let several = point.hessian_diag(8, 9).unwrap();
        assert!(off(&several.value.to_f64(), &values) <= tolerance);
        assert!(largest(several.standard_error.to_f64()) <= 10.0 * tolerance);
        assert!(point.hessian_trace(8, 9).unwrap().standard_error <= 10.0 * tolerance);
    }
}

/// What the theory says of the estimators: element i has the variance `sum over j != i of a_ij^2`, the trace twice that of
/// all rows together. With 4096 probes the spread is known to about a hundredth; 10 % is allowed.
#[test]
fn probes_err_as_much_as_they_say() {
    let a = with_spectrum(&[3.0, -1.5, 0.25, 3.0, 10.0, 1.0, -4.0, 2.0]);
    let n = a.len();
    let off_diagonal = |i: usize| (0..n).filter(|&j| j != i).map(|j| a[i][j] * a[i][j]).sum::<f64>();
    let trace: f64 = (0..n).map(|i| a[i][i]).sum();
    for (dtype, _) in PRECISIONS {
        let point = quadratic(&a, dtype);
        let (few, many) = (point.hessian_diag(256, 1).unwrap(), point.hessian_diag(4096, 2).unwrap());
        assert_eq!((few.probes, many.probes), (256, 4096));
        for (i, row) in a.iter().enumerate() {
            for estimate in [&few, &many] {
                let (value, error) = (estimate.value.to_f64()[i], estimate.standard_error.to_f64()[i]);
                // Five standard errors: once in a million elements.
                assert!((value - row[i]).abs() <= 5.0 * error, "element {i}: {value} +- {error}, is {}", row[i]);
            }
            let expected = (off_diagonal(i) / 4096.0).sqrt();
            let error = many.standard_error.to_f64()[i];
            assert!((error / expected - 1.0).abs() <= 0.1, "element {i}: error {error}, expected {expected}");
            let shrunk = few.standard_error.to_f64()[i] / error;
            assert!((shrunk / 4.0 - 1.0).abs() <= 0.3, "16 times the probes divide the error by {shrunk}");
        }
        let (few, many) = (point.hessian_trace(256, 1).unwrap(), point.hessian_trace(4096, 2).unwrap());
        for estimate in [few, many] {
            assert!((estimate.value - trace).abs() <= 5.0 * estimate.standard_error, "{estimate:?}, is {trace}");
        }
        let expected = (2.0 * (0..n).map(off_diagonal).sum::<f64>() / 4096.0).sqrt();
        assert!((many.standard_error / expected - 1.0).abs() <= 0.1, "{many:?}, expected {expected}");
        assert!((few.standard_error / many.standard_error / 4.0 - 1.0).abs() <= 0.3);
    }
}

#[test]
fn a_seed_gives_the_same_probes() {
    let point = quadratic(&with_spectrum(&[3.0, -1.5, 10.0]), DType::F64);
    assert_eq!(point.hessian_trace(3, 5).unwrap(), point.hessian_trace(3, 5).unwrap());
    assert_ne!(point.hessian_trace(3, 5).unwrap(), point.hessian_trace(3, 6).unwrap());
    let n = 2000;
    let (signs, normal) = (like(n).rademacher(1, 0).to_f64(), like(n).normal(1, 0).to_f64());
    let mean = |values: &[f64], power: i32| values.iter().map(|x| x.powi(power)).sum::<f64>() / n as f64;
    // Four standard errors of the mean of 2000: 0.09; of the square of a normal number: 0.13; of its cube: 0.35.
    assert!(signs.iter().all(|sign| sign.abs() == 1.0) && mean(&signs, 1).abs() <= 0.09);
    assert!(mean(&normal, 1).abs() <= 0.09 && (mean(&normal, 2) - 1.0).abs() <= 0.13 && mean(&normal, 3).abs() <= 0.35);
    assert_ne!(signs, like(n).rademacher(1, 1).to_f64());
}

#[test]
fn both_ends_of_a_known_spectrum() {
    // Indefinite, with repeated values and a dominant negative one.
    let values = [-7.0, -7.0, -1.0, 0.0, 0.0, 0.5, 2.0, 3.0, 5.0, 5.0];
    let config = LanczosConfig::new();
    for (dtype, tolerance) in PRECISIONS {
        let point = quadratic(&with_spectrum(&values), dtype);
        let spectrum = point.eigenvalues(&config).unwrap();
        assert!(spectrum.converged && spectrum.products <= 10);
        assert!((spectrum.smallest.value + 7.0).abs() <= 7.0 * tolerance, "{dtype:?}: {}", spectrum.smallest.value);
        assert!((spectrum.largest.value - 5.0).abs() <= 7.0 * tolerance, "{dtype:?}: {}", spectrum.largest.value);
        for pair in [&spectrum.smallest, &spectrum.largest] {
            let rest = point.hvp(&pair.vector).unwrap().axpy(-pair.value, &pair.vector).norm();
            assert!(rest <= pair.residual + 70.0 * tolerance, "residual {rest}, said to be {}", pair.residual);
            assert!((pair.vector.norm() - 1.0).abs() <= 10.0 * tolerance);
        }
        let norm = point.spectral_norm(&config).unwrap();
        // It stops at a residual of 1e-4; the error is about its square over the distance to the next eigenvalue.
        assert!(norm.converged && norm.residual <= 7e-4 && (norm.value - 7.0).abs() <= 1e-6_f64.max(7.0 * tolerance));
        assert!(norm.products <= spectrum.products);
    }
}

#[test]
fn a_space_that_closes_ends_the_iteration() {
    let config = LanczosConfig::new().with_tolerance(0.0);
    // Three distinct eigenvalues: three products, whatever the size.
    let values: Vec<f64> = (0..30).map(|i| [-2.0, 1.0, 5.0][i % 3]).collect();
    let a = with_spectrum(&values);
    let spectrum = lanczos(&like(30), &config, |v| apply(&a, v)).unwrap();
    assert!(spectrum.converged);
    assert_eq!(spectrum.products, 3);
    for (ritz, expected) in spectrum.values.iter().zip([-2.0, 1.0, 5.0]) {
        assert!((ritz.value - expected).abs() <= 1e-13, "{ritz:?}");
    }
    // Fewer parameters than steps.
    let a = with_spectrum(&[1.0, 2.0, 4.0]);
    let spectrum = lanczos(&like(3), &config, |v| apply(&a, v)).unwrap();
    assert!(spectrum.converged && spectrum.products == 3);
    assert!(off(&spectrum.values.iter().map(|ritz| ritz.value).collect::<Vec<_>>(), &[1.0, 2.0, 4.0]) <= 1e-14);
    // A multiple of the identity, and a single parameter.
    for n in [1, 6] {
        let spectrum = lanczos(&like(n), &config, |v| Ok(v.scale(-3.0))).unwrap();
        assert!(spectrum.converged && spectrum.products == 1);
        assert!((spectrum.smallest.value + 3.0).abs() <= 1e-15 && spectrum.smallest.value == spectrum.largest.value);
    }
}

#[test]
fn a_hessian_that_is_zero() {
    for (dtype, _) in PRECISIONS {
        let f = |model: &Point, b: Tensor<1>| (model.x.val() * b).sum();
        let point = linearize(&point(6, dtype), &data([6], 8).cast(dtype), f).unwrap();
        let spectrum = point.eigenvalues(&LanczosConfig::new()).unwrap();
        assert_eq!((spectrum.smallest.value, spectrum.largest.value, spectrum.products), (0.0, 0.0, 1));
        assert!(spectrum.converged);
        let norm = point.spectral_norm(&LanczosConfig::new()).unwrap();
        assert!(norm.converged && norm.value == 0.0 && norm.residual == 0.0);
        assert_eq!(point.hessian_trace(2, 0).unwrap().value, 0.0);
        assert_eq!(host(&point.hessian().unwrap()), [0.0; 36]);
    }
}

#[test]
fn an_iteration_cut_short_stays_within_and_says_how_far() {
    let values: Vec<f64> = (0..60).map(|i| (i as f64 * 0.7).sin() * (1.0 + i as f64 / 10.0)).collect();
    let (least, most) = values.iter().fold((0.0_f64, 0.0_f64), |(a, b), &x| (a.min(x), b.max(x)));
    let a = with_spectrum(&values);
    let mut last = (0.0, 0.0);
    for steps in [1, 2, 5, 10, 20, 40] {
        let config = LanczosConfig::new().with_steps(steps).with_tolerance(1e-10);
        let spectrum = lanczos(&like(60), &config, |v| apply(&a, v)).unwrap();
        assert_eq!(spectrum.products, spectrum.values.len());
        assert!(if steps < 40 { spectrum.products == steps } else { spectrum.products < steps });
        assert_eq!(spectrum.converged, steps >= 40, "{steps} steps");
        for ritz in &spectrum.values {
            let nearest = values.iter().map(|value| (value - ritz.value).abs()).fold(f64::INFINITY, f64::min);
            assert!(nearest <= ritz.residual + 1e-12, "{ritz:?} is {nearest} away from the nearest eigenvalue");
        }
        let (smallest, largest) = (spectrum.smallest.value, spectrum.largest.value);
        assert!(smallest >= least - 1e-12 && largest <= most + 1e-12, "estimates lie within");
        assert!(steps == 1 || smallest <= last.0 && largest >= last.1, "more steps come closer");
        last = (smallest, largest);
    }
    assert!((last.0 - least).abs() <= 1e-6 && (last.1 - most).abs() <= 1e-6, "{last:?} for {least}, {most}");
}

#[test]
fn a_warm_start_saves_products_and_hides_nothing() {
    let values: Vec<f64> = (0..80).map(|i| 1.0 / (1.0 + i as f64)).chain([-0.9]).collect();
    let a = with_spectrum(&values);
    let config = LanczosConfig::new();
    let map = |v: &Params| apply(&a, v);
    let cold = spectral_norm(&like(81), &config, map).unwrap();
    let warm = spectral_norm_from(&cold.vector, &config, map).unwrap();
    assert!(warm.products < cold.products, "{} and {} products", warm.products, cold.products);
    assert!((warm.value - 1.0).abs() <= 1e-6 && (cold.value - 1.0).abs() <= 1e-6);
    // Started at an eigenvector, which by itself spans a space that the map does not leave.
    let spectrum = lanczos_from(&cold.vector, &config, map).unwrap();
    assert!(spectrum.converged && (spectrum.smallest.value + 0.9).abs() <= 1e-6);
    let zero = lanczos_from(&like(81).zeros_like(), &config, map).unwrap_err();
    assert!(matches!(zero, Error::Argument { what: "the start vector", .. }), "{zero}");
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let point = quadratic(&with_spectrum(&[3.0, -1.5, 10.0]), DType::F64);
    for config in [
        LanczosConfig::new().with_steps(0),
        LanczosConfig::new().with_tolerance(f64::NAN),
        LanczosConfig::new().with_tolerance(-1.0),
    ] {
        assert!(matches!(point.eigenvalues(&config), Err(Error::Argument { .. })));
        assert!(matches!(point.spectral_norm(&config), Err(Error::Argument { .. })));
    }
    assert!(matches!(point.hessian_diag(0, 1), Err(Error::Argument { .. })));
    assert!(matches!(point.hessian_trace(0, 1), Err(Error::Argument { .. })));
    assert!(matches!(like(3).with_elements(&[1.0]), Err(Error::Argument { .. })));
    for poison in [f64::NAN, f64::INFINITY] {
        let map = |v: &Params| Ok(v.scale(poison));
        let config = LanczosConfig::new();
        assert!(matches!(lanczos(&like(4), &config, map), Err(Error::NonFiniteValue { .. })));
        assert!(matches!(spectral_norm(&like(4), &config, map), Err(Error::NonFiniteValue { .. })));
        assert!(matches!(estimate_diagonal(&like(4), 2, 0, map), Err(Error::NonFiniteValue { .. })));
        assert!(matches!(estimate_trace(&like(4), 2, 0, map), Err(Error::NonFiniteValue { .. })));
    }
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let sum: f64 = row.iter().map(|z| z.exp()).sum();
    row.iter().map(|z| z.exp() / sum).collect()
}

fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
}

/// Softmax regression without bias: the Hessian is the mean over the examples of `x x'` times `diag(p) - p p'`, and the
/// network is linear in its parameters, so that the Gauss-Newton matrix is the same.
#[test]
fn softmax_regression() {
    let (n, inputs, classes) = (7, 3, 4);
    let x = data([n, inputs], 1);
    for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 1e-5)] {
        let model: Linear = settled(&LinearConfig::new(inputs, classes).with_bias(false).init(&device()));
        let (model, batch) = (cast(&model, dtype), (x.clone().cast(dtype), labels(n, classes)));
        let (rows, logits) = (host(&batch.0), host(&model.forward(batch.0.clone())));
        let mut expected = vec![0.0; (inputs * classes).pow(2)];
        for (x, z) in rows.chunks(inputs).zip(logits.chunks(classes)) {
            let p = softmax(z);
            for (i, j) in (0..inputs * classes).flat_map(|i| (0..inputs * classes).map(move |j| (i, j))) {
                // Burn's weight is [inputs, classes].
                let (a, k, b, l) = (i / classes, i % classes, j / classes, j % classes);
                let curvature = if k == l { p[k] } else { 0.0 } - p[k] * p[l];
                expected[i * inputs * classes + j] += x[a] * x[b] * curvature / n as f64;
            }
        }
        let hessian = linearize(&model, &batch, |model: &Linear, (x, y)| cross_entropy(model.forward(x), y)).unwrap();
        let network = |model: &Linear, (x, _): (Tensor<2>, Tensor<1, Int>)| model.forward(x);
        let gauss = gauss_newton(&model, &batch, network, |z, (_, y)| cross_entropy(z, y)).unwrap();
        assert!(off(&host(&hessian.hessian().unwrap()), &expected) <= tolerance, "{dtype:?}");
        let matrix = dense(gauss.gradient(), |v| gauss.product(v)).unwrap();
        assert!(off(&host(&matrix), &expected) <= tolerance, "{dtype:?}");
        assert!(relative(gauss.gradient(), hessian.grad()) <= tolerance);
        let losses = (gauss.loss().clone().into_scalar::<f64>(), hessian.loss().clone().into_scalar::<f64>());
        assert!((losses.0 - losses.1).abs() <= tolerance * losses.1);
        assert!(off(&host(gauss.output()), &logits) <= tolerance);
    }
}

/// J' H J from the columns of J and the known Hessian of the cross-entropy in the logits.
#[test]
fn gauss_newton_is_built_from_the_jacobian() {
    let model = Mlp::new(3, 4, 3);
    let (n, classes) = (5, 3);
    let x = data([n, 3], 1);
    for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 2e-5)] {
        let (model, batch) = (cast(&model, dtype), (x.clone().cast(dtype), labels(n, classes)));
        let network = |model: &Mlp, (x, _): (Tensor<2>, Tensor<1, Int>)| model.forward(x, Act::Tanh);
        let gauss = gauss_newton(&model, &batch, network, |z, (_, y)| cross_entropy(z, y)).unwrap();
        let at = Params::from_module(&model).unwrap();
        let jacobian = trace_vector(&model, &batch, network).unwrap().linearize(&at, &batch).unwrap();
        let columns: Vec<Vec<f64>> = (0..at.len()).map(|i| host(&jacobian.jvp(&at.basis(i)).unwrap())).collect();
        let logits = host(jacobian.value());
        let curved = |column: &[f64]| -> Vec<f64> {
            let rows = column.chunks(classes).zip(logits.chunks(classes));
            rows.flat_map(|(v, z)| {
                let p = softmax(z);
                let pv: f64 = p.iter().zip(v).map(|(p, v)| p * v).sum();
                p.iter().zip(v).map(|(p, v)| p * (v - pv) / n as f64).collect::<Vec<_>>()
            })
            .collect()
        };
        let mut expected = Vec::new();
        for column in &columns {
            let curved = curved(column);
            expected.extend(columns.iter().map(|other| curved.iter().zip(other).map(|(a, b)| a * b).sum::<f64>()));
        }
        let matrix = dense(gauss.gradient(), |v| gauss.product(v)).unwrap();
        assert!(off(&host(&matrix), &expected) <= tolerance, "{dtype:?}: {}", off(&host(&matrix), &expected));
        let full =
            linearize(&model, &batch, |model: &Mlp, batch| cross_entropy(network(model, batch.clone()), batch.1));
        let full = full.unwrap();
        assert!(relative(gauss.gradient(), full.grad()) <= tolerance);
        let hessian = full.hessian().unwrap();
        assert!(off(&host(&matrix), &host(&hessian)) > 1e-2, "the network is not linear: the Hessian differs");

        // Semidefinite where the Hessian is not: the ends of both spectra, up to rounding.
        let config = LanczosConfig::new();
        let ends = lanczos(gauss.gradient(), &config, |v| gauss.product(v)).unwrap();
        assert!(ends.smallest.value >= -10.0 * tolerance && ends.largest.value > 0.0);
        assert!(full.eigenvalues(&config).unwrap().smallest.value < -1e-3);
        let mismatch = gauss.product(&like(3)).unwrap_err();
        assert!(matches!(mismatch, Error::Mismatch { .. }), "{mismatch}");
    }
}
