//! Golden meta-gradients: fixtures computed elsewhere in double precision, and the comparison with ours.
//!
//! A fixture is a folder with `fixture.json` (model, loss, inner loop, estimators) and `fixture.safetensors`
//! (`params.*`, `support.x|y`, `query.x|y`, `adapted.*`, `grads.<key>.*`, of learned rates `rates` and `rate_grads.<key>`, in
//! PyTorch's names and layouts). Comparing them on another device or in another precision is a test of that device.
//!
//! Does not know: how the golden values were computed.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_func::{Batch, BatchMapper, Params, cast};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::estimator::{Estimator, Expansion};
use crate::implicit::Solver;
use crate::inner::{Clip, InnerLoopConfig};
use crate::maml::{Maml, MamlConfig, Task};
use crate::models::{Activation, Cnn4, Cnn4Config, Mlp, MlpConfig, cross_entropy, mean_squared_error};
use crate::rates::{InnerRates, InnerRatesConfig, RatesPer};
use crate::rule::Rule;

/// A fixture read from its folder.
#[derive(Debug)]
pub struct Fixture {
    path: PathBuf,
    spec: Spec,
    tensors: Vec<u8>,
}

#[derive(Debug, Deserialize)]
struct Spec {
    model: ModelSpec,
    loss: Loss,
    inner_lr: f64,
    inner_steps: usize,
    #[serde(default)]
    rule: Rule,
    #[serde(default)]
    weight_decay: f64,
    #[serde(default)]
    proximal: f64,
    clip: Option<Clip>,
    rates: Option<RatesSpec>,
    /// Beginnings of the names of the parameters that adapt.
    adapt: Option<Vec<String>>,
    query_weights: Option<Vec<f64>>,
    query_loss: f64,
    estimators: Vec<EstimatorSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum ModelSpec {
    Mlp { sizes: Vec<usize>, activation: Activation },
    Cnn4 { channels: usize, hidden: usize, image_size: usize, ways: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Loss {
    Mse,
    CrossEntropy,
}

/// What learned rates are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RatesSpec {
    PerStepPerTensor,
    PerParameter,
}

#[derive(Debug, Deserialize)]
struct EstimatorSpec {
    key: String,
    name: String,
    order: Option<usize>,
    window: Option<usize>,
    #[serde(default)]
    scaled: bool,
}

/// One compared quantity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What was compared: an estimator's key, `adapted` or `query_loss`.
    pub name: String,
    /// Norm of the difference over norm of the golden value.
    pub relative_error: f64,
    /// Largest error allowed.
    pub tolerance: f64,
}

impl Comparison {
    /// Whether the error is within the tolerance; one that is not a number never is.
    pub fn passed(&self) -> bool {
        self.relative_error <= self.tolerance
    }
}

/// Relative error allowed in a precision. Double: 1e-8, rounding amplified by a few inner steps of a deep network. Single:
/// 2e-3, the same from 1e-7, with max-pooling and ReLU choosing another side now and then.
pub fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { 1e-8 } else { 2e-3 }
}

impl Fixture {
    /// Reads a fixture's two files.
    ///
    /// # Errors
    ///
    /// [`Error::Fixture`] naming the file and what is wrong with it.
    pub fn open(folder: &Path) -> Result<Self> {
        let json = folder.join("fixture.json");
        let text = fs::read_to_string(&json).map_err(|error| broken(&json, error))?;
        let spec: Spec = serde_json::from_str(&text).map_err(|error| broken(&json, error))?;
        spec.check().map_err(|problem| broken(&json, problem))?;
        let path = folder.join("fixture.safetensors");
        let tensors = fs::read(&path).map_err(|error| broken(&path, error))?;
        SafeTensors::deserialize(&tensors).map_err(|error| broken(&path, error))?;
        Ok(Self { path, spec, tensors })
    }

    /// Recomputes every golden value on a device in a precision (`F64` or `F32`) and compares.
    ///
    /// # Errors
    ///
    /// [`Error::Fixture`] for a tensor that is missing or of another shape or type; what the estimators report.
    pub fn compare(&self, device: &Device, dtype: DType) -> Result<Vec<Comparison>> {
        let device = device.clone().autodiff();
        let net = cast(&self.spec.model.init(&device), dtype);
        let shapes = Params::from_module(&net)?;
        let net = self.params("params", &shapes)?.into_module(net)?;
        let task =
            Task { support: self.batch("support", &device, dtype)?, query: self.batch("query", &device, dtype)? };
        let loss = |net: &Net, batch: Samples| net.loss(batch);

        let tolerance = tolerance(dtype);
        let row = |name: String, relative_error| Comparison { name, relative_error, tolerance };
        let inner = self.spec.inner_loop();
        let rates = self.rates(&net, &inner)?;
        let maml = |estimator| -> Result<Maml> {
            let maml = MamlConfig::new(inner.clone(), estimator).with_query_weights(self.spec.query_weights.clone());
            let maml = maml.init()?;
            Ok(rates.as_ref().map_or(maml.clone(), |rates| maml.with_rates(rates)))
        };
        let plain = maml(Estimator::FirstOrder)?;
        let adapted = Params::from_module(&plain.adapt(&net, &task.support, loss)?)?;
        let mut rows = vec![row("adapted".into(), self.error_of("adapted", &adapted)?)];
        let query = plain.evaluate(&net, &task, loss)?.losses.query;
        rows.push(row("query_loss".into(), (query - self.spec.query_loss).abs() / self.spec.query_loss.abs()));
        for golden in &self.spec.estimators {
            let key = &golden.key;
            let step = maml(golden.estimator(dtype)?)?.meta_gradient(&net, std::slice::from_ref(&task), loss)?;
            rows.push(row(key.clone(), self.error_of(&format!("grads.{key}"), &step.gradient)?));
            if let (Some(rates), Some(grads)) = (&rates, step.rate_grads) {
                let shapes = Params::from_module(rates)?;
                let found = shapes.specs().iter().filter_map(|spec| grads.get::<1>(spec.id));
                let found: Vec<f64> =
                    found.flat_map(|grad| grad.into_data().iter::<f64>().collect::<Vec<_>>()).collect();
                let golden = self.rate_values(&format!("rate_grads.{key}"), &adapted, &inner)?;
                rows.push(row(format!("{key}, rates"), relative_error(&found, &golden)));
            }
        }
        Ok(rows)
    }

    /// The learned rates, if the fixture has some.
    fn rates(&self, net: &Net, inner: &InnerLoopConfig) -> Result<Option<InnerRates>> {
        let Some(kind) = self.spec.rates else { return Ok(None) };
        let config = match kind {
            RatesSpec::PerStepPerTensor => InnerRatesConfig { per: RatesPer::Tensor, per_step: true },
            RatesSpec::PerParameter => InnerRatesConfig { per: RatesPer::Element, per_step: false },
        };
        let rates = config.init(net, inner)?;
        let shapes = Params::from_module(&rates)?;
        let values = self.rate_values("rates", &Params::from_module(net)?, inner)?;
        Ok(Some(shapes.with_elements(&values)?.into_module(rates)?))
    }

    /// Rates, or their gradients, in the order that [`InnerRates`] has them.
    fn rate_values(&self, name: &str, params: &Params, inner: &InnerLoopConfig) -> Result<Vec<f64>> {
        if self.spec.rates == Some(RatesSpec::PerStepPerTensor) {
            let (shape, values) = self.floats(name)?;
            self.check_shape(name, &shape, &[inner.steps, params.specs().len()])?;
            return Ok(values);
        }
        let of = params.specs().iter().map(|param| self.values(name, &param.path, &param.spec.shape));
        Ok(of.collect::<Result<Vec<_>>>()?.concat())
    }

    fn error_of(&self, group: &str, found: &Params) -> Result<f64> {
        let golden = found.specs().iter().map(|param| self.values(group, &param.path, &param.spec.shape));
        Ok(relative_error(&found.to_f64(), &golden.collect::<Result<Vec<_>>>()?.concat()))
    }

    fn params(&self, group: &str, like: &Params) -> Result<Params> {
        let values = like.specs().iter().map(|param| self.values(group, &param.path, &param.spec.shape));
        let values: Vec<Vec<f64>> = values.collect::<Result<_>>()?;
        let mut values = values.into_iter();
        let mut current = Vec::new();
        Ok(like.from_fn(|_, i| {
            if i == 0 {
                current = values.next().unwrap_or_default();
            }
            current[i]
        }))
    }

    /// A parameter's golden values in Burn's layout, found under PyTorch's name.
    fn values(&self, group: &str, path: &str, shape: &[usize]) -> Result<Vec<f64>> {
        let name = format!("{group}.{}", torch_name(path));
        let is_linear = shape.len() == 2;
        let stored: Vec<usize> = if is_linear { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        let (found, values) = self.floats(&name)?;
        if found != stored {
            return Err(broken(&self.path, format!("tensor `{name}` has shape {found:?}, expected {stored:?}")));
        }
        Ok(if is_linear { transposed(&values, shape) } else { values })
    }

    fn batch(&self, set: &str, device: &Device, dtype: DType) -> Result<Samples> {
        let (x_name, y_name) = (format!("{set}.x"), format!("{set}.y"));
        let (shape, values) = self.floats(&x_name)?;
        let n = shape.first().copied().unwrap_or(0);
        self.check_shape(&x_name, &shape, &self.spec.model.input_shape(n))?;
        let data = TensorData::new(values, shape);
        let x = match self.spec.model {
            ModelSpec::Mlp { .. } => Inputs::Flat(Tensor::from_data(data, (device, dtype))),
            ModelSpec::Cnn4 { .. } => Inputs::Images(Tensor::from_data(data, (device, dtype))),
        };
        let outputs = self.spec.model.outputs();
        let y = match self.spec.loss {
            Loss::Mse => {
                let (shape, values) = self.floats(&y_name)?;
                self.check_shape(&y_name, &shape, &[n, outputs])?;
                Targets::Values(Tensor::from_data(TensorData::new(values, shape), (device, dtype)))
            }
            Loss::CrossEntropy => {
                let (shape, labels) = self.labels(&y_name)?;
                self.check_shape(&y_name, &shape, &[n])?;
                if let Some(label) = labels.iter().find(|&&label| label < 0 || label >= outputs as i64) {
                    let problem = format!("tensor `{y_name}` has label {label}, expected 0 to {}", outputs - 1);
                    return Err(broken(&self.path, problem));
                }
                Targets::Classes(Tensor::from_data(TensorData::new(labels, shape), device))
            }
        };
        Ok(Samples { x, y })
    }

    fn check_shape(&self, name: &str, found: &[usize], expected: &[usize]) -> Result<()> {
        if found == expected && !found.contains(&0) {
            return Ok(());
        }
        Err(broken(
            &self.path,
            format!("tensor `{name}` has shape {found:?}, expected {expected:?} and none of it zero"),
        ))
    }

    fn floats(&self, name: &str) -> Result<(Vec<usize>, Vec<f64>)> {
        let (shape, bytes) = self.tensor(name, Dtype::F64)?;
        Ok((shape, bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default())).collect()))
    }

    fn labels(&self, name: &str) -> Result<(Vec<usize>, Vec<i64>)> {
        let (shape, bytes) = self.tensor(name, Dtype::I64)?;
        Ok((shape, bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap_or_default())).collect()))
    }

    fn tensor(&self, name: &str, dtype: Dtype) -> Result<(Vec<usize>, Vec<u8>)> {
        let file = SafeTensors::deserialize(&self.tensors).map_err(|error| broken(&self.path, error))?;
        let tensor = file.tensor(name).map_err(|_| broken(&self.path, format!("tensor `{name}` is missing")))?;
        if tensor.dtype() != dtype {
            let found = tensor.dtype();
            return Err(broken(&self.path, format!("tensor `{name}` is {found:?}, expected {dtype:?}")));
        }
        Ok((tensor.shape().to_vec(), tensor.data().to_vec()))
    }
}

fn broken(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::Fixture { path: path.display().to_string(), problem: problem.to_string() }
}

/// PyTorch's name of a parameter of [`Net`]: without the variants of enums, which alone are capitalised.
fn torch_name(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').filter(|part| !part.starts_with(char::is_uppercase)).collect();
    parts.join(".").replace(".gamma", ".weight").replace(".beta", ".bias")
}

/// Norm of the difference over norm of the golden values.
fn relative_error(found: &[f64], golden: &[f64]) -> f64 {
    let difference: f64 = found.iter().zip(golden).map(|(found, golden)| (found - golden).powi(2)).sum();
    let reference: f64 = golden.iter().map(|golden| golden.powi(2)).sum();
    if found.len() == golden.len() { (difference / reference).sqrt() } else { f64::NAN }
}

/// `[out, in]` row-major to `[in, out]` = `shape` row-major.
fn transposed(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let (rows, columns) = (shape[0], shape[1]);
    (0..rows * columns).map(|i| values[(i % columns) * rows + i / columns]).collect()
}

impl Spec {
    fn inner_loop(&self) -> InnerLoopConfig {
        // Paths of a `Net` begin with the variant.
        let adapt = self.adapt.as_ref().map(|names| names.iter().map(|name| format!("*.{name}*")).collect());
        InnerLoopConfig::new(self.inner_lr)
            .with_steps(self.inner_steps)
            .with_rule(self.rule)
            .with_weight_decay(self.weight_decay)
            .with_proximal(self.proximal)
            .with_clip(self.clip)
            .with_adapt(adapt)
    }

    fn check(&self) -> std::result::Result<(), String> {
        match &self.model {
            ModelSpec::Mlp { sizes, .. } if sizes.len() < 2 || sizes.contains(&0) => {
                Err(format!("model sizes {sizes:?}: at least two positive widths are needed"))
            }
            ModelSpec::Cnn4 { channels, hidden, image_size, ways }
                if *channels == 0 || *hidden == 0 || *image_size < 16 || *ways == 0 =>
            {
                Err(format!(
                    "cnn4 of {channels} channels, {hidden} filters, {image_size} pixels, {ways} classes: \
                             positive numbers and at least 16 pixels are needed"
                ))
            }
            _ => Ok(()),
        }
    }
}

impl EstimatorSpec {
    fn estimator(&self, dtype: DType) -> Result<Estimator> {
        let problem = |problem: String| Error::Fixture { path: format!("estimator `{}`", self.key), problem };
        let order = || self.order.ok_or_else(|| problem("has no `order`".into()));
        match self.name.as_str() {
            "maml" => Ok(Estimator::Exact),
            "fomaml" => Ok(Estimator::FirstOrder),
            "truncated" => Ok(Estimator::truncated(order()?)),
            "binomial" => {
                let expansion = if self.scaled { Expansion::Scaled } else { Expansion::Plain };
                Ok(Estimator::Binomial { order: order()?, expansion })
            }
            "hybrid" => {
                let window = self.window.ok_or_else(|| problem("has no `window`".into()))?;
                Ok(Estimator::Hybrid { order: order()?, window })
            }
            "implicit" => {
                // What rounding leaves of the residual.
                let tolerance = if dtype == DType::F64 { 1e-12 } else { 1e-5 };
                Ok(Estimator::Implicit { solver: Solver::ConjugateGradients { iterations: 1000, tolerance } })
            }
            name => {
                Err(problem(format!("name `{name}` is none of maml, fomaml, truncated, binomial, hybrid, implicit")))
            }
        }
    }
}

impl ModelSpec {
    /// Shape of a batch of n inputs.
    fn input_shape(&self, n: usize) -> Vec<usize> {
        match self {
            Self::Mlp { sizes, .. } => vec![n, sizes[0]],
            Self::Cnn4 { channels, image_size, .. } => vec![n, *channels, *image_size, *image_size],
        }
    }

    /// Width of the last layer.
    fn outputs(&self) -> usize {
        match self {
            Self::Mlp { sizes, .. } => sizes[sizes.len() - 1],
            Self::Cnn4 { ways, .. } => *ways,
        }
    }

    fn init(&self, device: &Device) -> Net {
        match self {
            Self::Mlp { sizes, activation } => {
                Net::Mlp(MlpConfig::new(sizes.clone()).with_activation(*activation).init(device))
            }
            Self::Cnn4 { channels, hidden, image_size, ways } => {
                Net::Cnn4(Cnn4Config::new(*channels, *image_size, *ways).with_hidden(*hidden).init(device))
            }
        }
    }
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Net {
    Mlp(Mlp),
    Cnn4(Cnn4),
}

impl Net {
    fn loss(&self, Samples { x, y }: Samples) -> Tensor<1> {
        let prediction = match (self, x) {
            (Self::Mlp(mlp), Inputs::Flat(x)) => mlp.forward(x),
            (Self::Cnn4(cnn), Inputs::Images(x)) => cnn.forward(x),
            (_, _) => unreachable!("inputs are read in the rank of the model"),
        };
        match y {
            Targets::Values(y) => mean_squared_error(prediction, y),
            Targets::Classes(y) => cross_entropy(prediction, y),
        }
    }
}

#[derive(Clone, Debug)]
struct Samples {
    x: Inputs,
    y: Targets,
}

#[derive(Clone, Debug)]
enum Inputs {
    Flat(Tensor<2>),
    Images(Tensor<4>),
}

#[derive(Clone, Debug)]
enum Targets {
    Values(Tensor<2>),
    Classes(Tensor<1, Int>),
}

impl Batch for Samples {
    fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
        let x = match &self.x {
            Inputs::Flat(x) => Inputs::Flat(mapper.float(x)),
            Inputs::Images(x) => Inputs::Images(mapper.float(x)),
        };
        let y = match &self.y {
            Targets::Values(y) => Targets::Values(mapper.float(y)),
            Targets::Classes(y) => Targets::Classes(mapper.int(y)),
        };
        Self { x, y }
    }
}
