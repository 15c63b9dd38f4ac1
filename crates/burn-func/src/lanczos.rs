//! Both ends of the spectrum of a symmetric linear map, from products with it.
//!
//! Does not know: what the map is.

use burn::config::Config;
use burn::tensor::DType;

use crate::error::{Error, Result};
use crate::params::Params;
use crate::transforms::Linearization;
use crate::tridiagonal::{eigenvalues, identity, unit};

/// Settings of the Lanczos iteration.
#[derive(Config, Copy, Debug, PartialEq)]
pub struct LanczosConfig {
    /// Most products taken. As many vectors of the size of the parameters are held.
    #[config(default = 64)]
    pub steps: usize,
    /// Residual at which an eigenvalue is settled, relative to the largest found in magnitude.
    #[config(default = 1e-4)]
    pub tolerance: f64,
    /// Seed of the start vector.
    #[config(default = 0)]
    pub seed: u64,
}

impl LanczosConfig {
    fn check(&self) -> Result<()> {
        if self.steps == 0 {
            return Err(Error::Argument { what: "the number of steps", problem: "must be at least one".into() });
        }
        let sound = self.tolerance.is_finite() && self.tolerance >= 0.0;
        let problem = format!("must be a number of at least zero, not {}", self.tolerance);
        if sound { Ok(()) } else { Err(Error::Argument { what: "the tolerance", problem }) }
    }
}

/// An approximate eigenvalue, by name of its inventor a Ritz value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ritz {
    /// The value.
    pub value: f64,
    /// An eigenvalue lies no further than this from `value`, up to rounding.
    pub residual: f64,
}

/// A Ritz value and its vector, of length one.
#[derive(Clone, Debug)]
pub struct RitzPair {
    /// The value.
    pub value: f64,
    /// An eigenvalue lies no further than this from `value`, up to rounding.
    pub residual: f64,
    /// The vector.
    pub vector: Params,
}

/// What [`lanczos`] found.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// All Ritz values, ascending. Those at the ends settle first; the inner ones only tell where eigenvalues lie dense.
    pub values: Vec<Ritz>,
    /// The smallest: an estimate from above of the smallest eigenvalue.
    pub smallest: RitzPair,
    /// The largest: an estimate from below of the largest eigenvalue.
    pub largest: RitzPair,
    /// Products taken.
    pub products: usize,
    /// Whether both ends are settled to the tolerance.
    pub converged: bool,
}

/// What [`spectral_norm`] found.
#[derive(Clone, Debug)]
pub struct SpectralNorm {
    /// Largest magnitude of an eigenvalue: an estimate from below.
    pub value: f64,
    /// An eigenvalue lies no further than this from the one that `value` is the magnitude of, up to rounding.
    pub residual: f64,
    /// The vector of that eigenvalue, of length one: a start for the next point.
    pub vector: Params,
    /// Products taken.
    pub products: usize,
    /// Whether the value is settled to the tolerance.
    pub converged: bool,
}

/// Smallest and largest eigenvalue of a symmetric linear map, by the Lanczos iteration from a random vector. `like` gives
/// the shapes and is not read.
///
/// # What the numbers mean
///
/// Every Ritz value lies between the smallest and the largest eigenvalue: the ends are estimates **from within**, never
/// bounds. The residual says that *some* eigenvalue is that close; that it is the extreme one is likely, not certain (an
/// eigenvector that the start vector hardly contains shows up late). A repeated eigenvalue is found once. Where the Krylov
/// space closes early (few distinct eigenvalues, no more parameters than steps, a zero map) the iteration stops, and what it
/// has is exact to rounding.
///
/// # Errors
///
/// [`Error::Argument`]; [`Error::NonFiniteValue`] if a product is; those of the map.
///
/// # Cost
///
/// One product a step, and 4 `steps` vector operations a step for full reorthogonalisation, without which rounding brings
/// back eigenvalues already found. Holds all vectors: `steps` times the parameters. Waits for the device.
///
/// # Source
///
/// Lanczos, Journal of Research of the National Bureau of Standards 45, 1950; Parlett, The symmetric eigenvalue problem,
/// 1980, chapters 11 to 13.
pub fn lanczos(like: &Params, config: &LanczosConfig, map: impl Fn(&Params) -> Result<Params>) -> Result<Spectrum> {
    config.check()?;
    let krylov = Krylov::grown(like.normal(config.seed, 0), config, map, Krylov::both_ends)?;
    krylov.spectrum(config.tolerance)
}

/// As [`lanczos`], from a vector that is close to eigenvectors: those of a point near by, say. A tenth of its length is
/// added in a random direction, so that no eigenvector is out of reach.
///
/// # Errors
///
/// As [`lanczos`]; a start that is zero or not finite is an [`Error::Argument`].
pub fn lanczos_from(
    start: &Params,
    config: &LanczosConfig,
    map: impl Fn(&Params) -> Result<Params>,
) -> Result<Spectrum> {
    config.check()?;
    let krylov = Krylov::grown(warm(start, config.seed)?, config, map, Krylov::both_ends)?;
    krylov.spectrum(config.tolerance)
}

/// Largest magnitude of an eigenvalue of a symmetric linear map: its norm. Stops as soon as that end of the spectrum is
/// settled, which takes fewer products than a power iteration. `like` gives the shapes and is not read.
///
/// What the number means, errors and cost are told at [`lanczos`]: it is an estimate **from below**.
///
/// # Errors
///
/// As [`lanczos`].
pub fn spectral_norm(
    like: &Params,
    config: &LanczosConfig,
    map: impl Fn(&Params) -> Result<Params>,
) -> Result<SpectralNorm> {
    config.check()?;
    let krylov = Krylov::grown(like.normal(config.seed, 0), config, map, Krylov::larger_end)?;
    krylov.norm(config.tolerance)
}

/// As [`spectral_norm`], from a vector that is close to the eigenvector, as in [`lanczos_from`].
///
/// # Errors
///
/// As [`lanczos_from`].
pub fn spectral_norm_from(
    start: &Params,
    config: &LanczosConfig,
    map: impl Fn(&Params) -> Result<Params>,
) -> Result<SpectralNorm> {
    config.check()?;
    let krylov = Krylov::grown(warm(start, config.seed)?, config, map, Krylov::larger_end)?;
    krylov.norm(config.tolerance)
}

fn warm(start: &Params, seed: u64) -> Result<Params> {
    let problem = || "is zero or not finite".to_owned();
    let start = start.normalized().ok_or_else(|| Error::Argument { what: "the start vector", problem: problem() })?;
    let noise = start.normal(seed, 0);
    Ok(start.axpy(0.1 / noise.norm(), &noise))
}

/// An orthonormal basis of the span of start, A start, A A start and so on, and the map in it: a tridiagonal matrix.
struct Krylov {
    basis: Vec<Params>,
    diagonal: Vec<f64>,
    beside: Vec<f64>,
    /// Length of what the last product adds to the span.
    rest: f64,
    /// Whether that is nothing but rounding: the span is all that the start can reach.
    closed: bool,
    /// Ritz values, ascending.
    ritz: Vec<Ritz>,
}

impl Krylov {
    /// Takes products until `unsettled` is below the tolerance, the space closes, or the steps are used up.
    fn grown(
        start: Params,
        config: &LanczosConfig,
        map: impl Fn(&Params) -> Result<Params>,
        unsettled: fn(&Self) -> f64,
    ) -> Result<Self> {
        let first = start.normalized().ok_or_else(|| not_finite("the start vector"))?;
        let size = first.len();
        let rounding = 50.0 * epsilon(&first);
        let mut krylov = Self {
            basis: Vec::new(),
            diagonal: Vec::new(),
            beside: Vec::new(),
            rest: 0.0,
            closed: false,
            ritz: Vec::new(),
        };
        let (mut next, mut scale) = (first, 0.0_f64);
        loop {
            let product = map(&next)?;
            scale = scale.max(product.norm());
            let rest = krylov.extend(next, product)?;
            krylov.closed = krylov.rest <= rounding * scale || krylov.basis.len() == size;
            if krylov.closed || krylov.basis.len() == config.steps || unsettled(&krylov) <= config.tolerance {
                return Ok(krylov);
            }
            krylov.beside.push(krylov.rest);
            next = rest.scale(1.0 / krylov.rest);
        }
    }

    /// Takes up a vector and its product; hands back the part of the product that is not in the span.
    fn extend(&mut self, vector: Params, product: Params) -> Result<Params> {
        self.diagonal.push(vector.dot(&product));
        self.basis.push(vector);
        let mut rest = product;
        // Twice is enough: once leaves rounding of the size of what was taken away.
        for _ in 0..2 {
            for vector in &self.basis {
                rest = rest.axpy(-rest.dot(vector), vector);
            }
        }
        self.rest = rest.norm();
        if !self.rest.is_finite() {
            return Err(not_finite("a product with the map"));
        }
        let n = self.diagonal.len();
        let mut last = [unit(n, n - 1)];
        let values = eigenvalues(&self.diagonal, &self.beside, &mut last).ok_or_else(|| not_finite("an eigenvalue"))?;
        let ritz = values.into_iter().zip(&last[0]).map(|(value, s)| Ritz { value, residual: self.rest * s.abs() });
        self.ritz = ritz.collect();
        self.ritz.sort_by(|a, b| a.value.total_cmp(&b.value));
        Ok(rest)
    }

    fn smallest(&self) -> Ritz {
        self.ritz[0]
    }

    fn largest(&self) -> Ritz {
        self.ritz[self.ritz.len() - 1]
    }

    fn larger(&self) -> Ritz {
        if self.largest().value.abs() >= self.smallest().value.abs() { self.largest() } else { self.smallest() }
    }

    /// Residual of both ends, relative to the norm.
    fn both_ends(&self) -> f64 {
        relative(self.smallest().residual.max(self.largest().residual), self.larger().value)
    }

    /// Residual of the end of larger magnitude, relative to it.
    fn larger_end(&self) -> f64 {
        relative(self.larger().residual, self.larger().value)
    }

    /// The vector of the `at`-th Ritz value.
    fn pair(&self, at: usize) -> Result<RitzPair> {
        let n = self.diagonal.len();
        let mut rows = identity(n);
        let values = eigenvalues(&self.diagonal, &self.beside, &mut rows).ok_or_else(|| not_finite("an eigenvalue"))?;
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let column = order[at];
        let zero = self.basis[0].zeros_like();
        let vector = self.basis.iter().zip(&rows).fold(zero, |sum, (vector, row)| sum.axpy(row[column], vector));
        let Ritz { value, residual } = self.ritz[at];
        Ok(RitzPair { value, residual, vector })
    }

    fn spectrum(self, tolerance: f64) -> Result<Spectrum> {
        let (smallest, largest) = (self.pair(0)?, self.pair(self.ritz.len() - 1)?);
        let converged = self.closed || self.both_ends() <= tolerance;
        Ok(Spectrum { smallest, largest, products: self.basis.len(), converged, values: self.ritz })
    }

    fn norm(self, tolerance: f64) -> Result<SpectralNorm> {
        let at = if self.larger() == self.largest() { self.ritz.len() - 1 } else { 0 };
        let RitzPair { value, residual, vector } = self.pair(at)?;
        let converged = self.closed || self.larger_end() <= tolerance;
        Ok(SpectralNorm { value: value.abs(), residual, vector, products: self.basis.len(), converged })
    }
}

fn relative(residual: f64, value: f64) -> f64 {
    if residual == 0.0 { 0.0 } else { residual / value.abs() }
}

fn epsilon(params: &Params) -> f64 {
    match params.values()[0].dtype() {
        DType::F64 => f64::EPSILON,
        DType::F32 => f64::from(f32::EPSILON),
        _ => 1e-3,
    }
}

fn not_finite(what: &str) -> Error {
    Error::NonFiniteValue { what: what.into() }
}

impl Linearization {
    /// Smallest and largest eigenvalue of the Hessian: see [`lanczos`].
    ///
    /// # Errors
    ///
    /// As [`lanczos`] and [`hvp`](Self::hvp).
    ///
    /// # Example
    ///
    /// ```
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::tensor::{Device, Tensor};
    /// use burn_func::{LanczosConfig, linearize};
    ///
    /// let device = Device::flex().autodiff();
    /// let model = LinearConfig::new(2, 1).with_bias(false).init(&device);
    /// let x = Tensor::<2>::from_data([[3.0, 0.0], [0.0, 1.0]], &device);
    /// let point = linearize(&model, &x, |model: &Linear, x| model.forward(x).powf_scalar(2.0).sum())?;
    /// let spectrum = point.eigenvalues(&LanczosConfig::new())?; // of the matrix with 18 and 2 on its diagonal
    /// assert!((spectrum.largest.value - 18.0).abs() < 1e-4 && (spectrum.smallest.value - 2.0).abs() < 1e-4);
    /// # Ok::<(), burn_func::Error>(())
    /// ```
    pub fn eigenvalues(&self, config: &LanczosConfig) -> Result<Spectrum> {
        lanczos(self.grad(), config, |v| self.hvp(v))
    }

    /// Largest magnitude of an eigenvalue of the Hessian, from below: see [`spectral_norm`].
    ///
    /// # Errors
    ///
    /// As [`spectral_norm`] and [`hvp`](Self::hvp).
    pub fn spectral_norm(&self, config: &LanczosConfig) -> Result<SpectralNorm> {
        spectral_norm(self.grad(), config, |v| self.hvp(v))
    }
}
