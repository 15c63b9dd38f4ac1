//! Random quadratic losses with spectra like those of networks, whose curvature drifts as one walks through them.
//!
//! A loss is `(z - c)' A (z - c) / 2 + sum_j w_j (1 - cos(a_j' z + p_j))`. Most eigenvalues of A are near zero, one in twenty
//! is large (from 0.1 to 1), one in eight slightly negative. The waves change the Hessian along the way, in directions in
//! which there is curvature; they do not commute with A.
//!
//! Does not know: networks, estimators.

use std::f64::consts::PI;

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_meta::Task;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The parameters: a point, `[1, n]`.
#[derive(Module, Debug)]
pub struct Position {
    at: Param<Tensor<2>>,
}

/// A loss: A `[n, n]`, c `[1, n]`, the `a_j` as columns `[n, m]`, the `p_j` and the `w_j`, `[1, m]` each.
pub type Terrain = (Tensor<2>, Tensor<2>, Tensor<2>, Tensor<2>, Tensor<2>);

/// All losses of one seed.
#[derive(Clone, Copy, Debug)]
pub struct Landscapes {
    /// Seed.
    pub seed: u64,
    /// Number of parameters, n.
    pub dimension: usize,
    /// Largest curvature of a wave, where that of A is 1.
    pub drift: f64,
}

/// Number of waves, m.
const WAVES: usize = 10;

/// Where every loop starts: the origin.
pub fn origin(dimension: usize, device: &Device) -> Position {
    Position { at: Initializer::Zeros.init([1, dimension], device) }
}

/// The loss at a position.
pub fn height(position: &Position, (a, centre, directions, phases, weights): Terrain) -> Tensor<1> {
    let from_centre = position.at.val() - centre;
    let bowl = (from_centre.clone().matmul(a) * from_centre).sum() * 0.5;
    let waves = ((position.at.val().matmul(directions) + phases).cos().neg() + 1.0) * weights;
    bowl + waves.sum()
}

impl Landscapes {
    /// The task with this index. The query loss has another centre, and half of its A is a draw of its own.
    pub fn task(&self, index: u64, on: (&Device, DType)) -> Task<Terrain> {
        let n = self.dimension;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        let (own, other) = (Spectrum::draw(n, &mut rng), Spectrum::draw(n, &mut rng));
        let (a, b) = (own.matrix(), other.matrix());
        let mixed = a.iter().zip(&b).map(|(a, b)| 0.5 * (a + b)).collect();
        let centre = normal(n, &mut rng);
        let elsewhere = centre.iter().zip(normal(n, &mut rng)).map(|(c, z)| c + 0.5 * z).collect();
        let columns: Vec<Vec<f64>> = (0..WAVES).map(|_| own.direction(&mut rng)).collect();
        let directions = (0..n * WAVES).map(|at| columns[at % WAVES][at / WAVES]).collect();
        let phases = (0..WAVES).map(|_| rng.random_range(0.0..2.0 * PI)).collect();
        let weights = (0..WAVES).map(|_| self.drift * rng.random_range(-1.0..=1.0)).collect();

        let tensor = |values: Vec<f64>, shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(values, shape), on);
        let waves = (tensor(directions, [n, WAVES]), tensor(phases, [1, WAVES]), tensor(weights, [1, WAVES]));
        let terrain = |a, centre| {
            let (directions, phases, weights) = waves.clone();
            (tensor(a, [n, n]), tensor(centre, [1, n]), directions, phases, weights)
        };
        Task { support: terrain(a, centre), query: terrain(mixed, elsewhere) }
    }
}

/// A symmetric matrix by its eigenvalues and eigenvectors.
struct Spectrum {
    values: Vec<f64>,
    vectors: Vec<Vec<f64>>,
}

impl Spectrum {
    fn draw(n: usize, rng: &mut impl Rng) -> Self {
        let (large, negative) = (n.div_ceil(20), n / 8);
        let value = |at: usize, rng: &mut _| match at {
            // From 1 down to 0.1, evenly in the logarithm.
            at if at < large => 10f64.powf(-(at as f64) / large as f64),
            at if at < large + negative => -0.03 * uniform(rng),
            _ => -0.01 * uniform(rng).ln(),
        };
        Self { values: (0..n).map(|at| value(at, rng)).collect(), vectors: orthonormal(n, rng) }
    }

    fn matrix(&self) -> Vec<f64> {
        let n = self.values.len();
        let entry = |at: usize| {
            let pairs = self.values.iter().zip(&self.vectors);
            pairs.map(|(value, vector)| value * vector[at / n] * vector[at % n]).sum()
        };
        (0..n * n).map(entry).collect()
    }

    /// A random direction of length 1, mostly along large eigenvalues.
    fn direction(&self, rng: &mut impl Rng) -> Vec<f64> {
        let n = self.values.len();
        let along: Vec<f64> = self.values.iter().zip(normal(n, rng)).map(|(value, z)| value.abs().sqrt() * z).collect();
        let sum = |i: usize| self.vectors.iter().zip(&along).map(|(vector, along)| vector[i] * along).sum();
        unit((0..n).map(sum).collect())
    }
}

/// An orthonormal basis, by the Gram-Schmidt process.
fn orthonormal(n: usize, rng: &mut impl Rng) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(n);
    for _ in 0..n {
        let mut v = normal(n, rng);
        // Twice, for what rounding leaves of the first time.
        for _ in 0..2 {
            for other in &basis {
                let along = dot(&v, other);
                v.iter_mut().zip(other).for_each(|(v, other)| *v -= along * other);
            }
            v = unit(v);
        }
        basis.push(v);
    }
    basis
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(v: Vec<f64>) -> Vec<f64> {
    let norm = dot(&v, &v).sqrt();
    v.into_iter().map(|x| x / norm).collect()
}

/// Of (0, 1].
fn uniform(rng: &mut impl Rng) -> f64 {
    1.0 - rng.random::<f64>()
}

/// Standard normal numbers, by Box and Muller.
fn normal(n: usize, rng: &mut impl Rng) -> Vec<f64> {
    let one = |_| (-2.0 * uniform(rng).ln()).sqrt() * (2.0 * PI * uniform(rng)).cos();
    (0..n).map(one).collect()
}

#[cfg(test)]
mod tests {
    use burn_func::{cast, linearize};

    use super::*;

    #[test]
    fn spectra_are_as_told_and_tasks_a_pure_function_of_their_index() {
        let device = Device::flex().autodiff();
        let flat = Landscapes { seed: 1, dimension: 40, drift: 0.0 };
        let position = cast(&origin(40, &device), DType::F64);
        let task = flat.task(3, (&device, DType::F64));
        let point = linearize(&position, &task.support, height).unwrap();
        let found = point.eigenvalues(&burn_func::LanczosConfig::new()).unwrap();
        assert!((found.largest.value - 1.0).abs() < 1e-6, "{}", found.largest.value);
        assert!((-0.03..0.0).contains(&found.smallest.value), "{}", found.smallest.value);

        let same = |a: &Task<Terrain>, b: &Task<Terrain>| a.support.1.to_data() == b.support.1.to_data();
        assert!(
            same(&task, &flat.task(3, (&device, DType::F64))) && !same(&task, &flat.task(4, (&device, DType::F64)))
        );
    }
}
