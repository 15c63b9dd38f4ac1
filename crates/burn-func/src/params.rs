//! Points and directions in a module's parameter space.
//!
//! Does not know: losses, graphs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::transfer::same_device;
use crate::value::{TensorSpec, Value};

/// One trainable parameter of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    /// Burn's id, by which optimizers find its gradient.
    pub id: ParamId,
    /// Path in the module, as in `blocks.0.conv.weight`.
    pub path: String,
    /// Shape and type.
    pub spec: TensorSpec,
}

impl ParamSpec {
    pub(crate) fn with_dtype(&self, dtype: burn::tensor::DType) -> Self {
        Self { spec: TensorSpec { dtype, ..self.spec.clone() }, ..self.clone() }
    }
}

/// One tensor per trainable parameter of a module, in the module's order: a point in parameter space, a gradient, a
/// tangent. Parameters with `require_grad` off are not in it; one shared between places is in it once.
///
/// Cloning shares the buffers. Arithmetic is elementwise on the device the tensors live on.
#[derive(Clone, Debug)]
pub struct Params {
    specs: Arc<[ParamSpec]>,
    values: Vec<Value>,
}

impl Params {
    /// The module's trainable parameters.
    ///
    /// # Errors
    ///
    /// [`Error::NotAutodiff`] if there are none, as on a plain device or after `valid()`; [`Error::TwoDevices`].
    pub fn from_module<M: Module>(module: &M) -> Result<Self> {
        let mut collect = Collect::default();
        module.visit(&mut collect);
        let Some(first) = collect.values.first() else {
            return Err(Error::NotAutodiff { parameters: collect.seen });
        };
        let device = first.device();
        for (spec, value) in collect.specs.iter().zip(&collect.values) {
            if value.device() != device {
                return Err(Error::TwoDevices {
                    what: format!("parameter `{}`", spec.path),
                    found: format!("{:?}", value.device()),
                    expected: format!("{device:?}"),
                });
            }
        }
        Ok(Self { specs: collect.specs.into(), values: collect.values })
    }

    /// Those of the module's trainable parameters that a filter chooses.
    ///
    /// # Errors
    ///
    /// As [`from_module`](Self::from_module); [`Error::NothingChosen`].
    pub fn from_module_filtered<M: Module>(module: &M, filter: &Filter) -> Result<Self> {
        Self::from_module(module)?.only(filter)
    }

    /// The module with these values in place of its trainable parameters, as fresh leaves that require gradients.
    ///
    /// # Errors
    ///
    /// [`Error::Params`] if the module lacks one of the parameters or has it in another shape.
    pub fn into_module<M: Module>(self, module: M) -> Result<M> {
        let ids = self.specs.iter().zip(self.values).map(|(spec, value)| (spec.id, value)).collect();
        let missing = self.specs.iter().map(|spec| spec.id).collect();
        let mut replace = Replace { values: ids, leaves: HashMap::new(), missing, problem: None };
        let module = module.map(&mut replace);
        if let Some((id, problem)) = replace.problem {
            return Err(params_error(&self.specs, id, problem));
        }
        match replace.missing.iter().next() {
            Some(&id) => Err(params_error(&self.specs, id, "is not in the module".into())),
            None => Ok(module),
        }
    }

    /// Burn's own container, for any Burn optimizer.
    pub fn into_grads(self) -> GradientsParams {
        let mut grads = GradientsParams::new();
        for (spec, value) in self.specs.iter().zip(&self.values) {
            register(&mut grads, spec.id, value);
        }
        grads
    }

    pub(crate) fn new(specs: Arc<[ParamSpec]>, values: Vec<Value>) -> Self {
        debug_assert_eq!(specs.len(), values.len());
        Self { specs, values }
    }

    /// What the parameters are, in order.
    pub fn specs(&self) -> &[ParamSpec] {
        &self.specs
    }

    pub(crate) fn shared_specs(&self) -> &Arc<[ParamSpec]> {
        &self.specs
    }

    /// The tensors, in the order of [`specs`](Self::specs).
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The tensor at a path, if there is one of rank `D`.
    pub fn get<const D: usize>(&self, path: &str) -> Option<Tensor<D>> {
        let at = self.specs.iter().position(|spec| spec.path == path)?;
        self.values[at].tensor()
    }

    /// The device all of them live on.
    pub fn device(&self) -> Device {
        self.values[0].device()
    }

    /// Number of scalars.
    pub fn len(&self) -> usize {
        self.values.iter().map(|value| value.shape().num_elements()).sum()
    }

    /// Whether there is no scalar at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements in order, as `f64`. Waits for the device.
    pub fn to_f64(&self) -> Vec<f64> {
        self.values.iter().flat_map(Value::to_f64).collect()
    }

    /// Values from a function of (parameter, index of the element in it); made on the host.
    pub fn from_fn(&self, mut value: impl FnMut(&ParamSpec, usize) -> f64) -> Self {
        let device = self.device();
        let values = self.specs.iter().map(|spec| {
            let n = spec.spec.shape.iter().product();
            let data: Vec<f64> = (0..n).map(|i| value(spec, i)).collect();
            Value::from_host(data, &spec.spec, &device)
        });
        Self { specs: self.specs.clone(), values: values.collect() }
    }

    /// Checks that `other` has the same parameters: what [`add`](Self::add), [`sub`](Self::sub), [`axpy`](Self::axpy) and
    /// [`dot`](Self::dot) need.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`], naming the first parameter that differs; [`Error::TwoDevices`].
    pub fn check_like(&self, other: &Self) -> Result<()> {
        if Arc::ptr_eq(&self.specs, &other.specs) {
            return same_device("the vector", &other.device(), &self.device());
        }
        other.expect_like("the vector", &self.specs, &self.device())
    }

    /// `self + rhs`.
    ///
    /// # Panics
    ///
    /// If `rhs` has other shapes or types or is on another device ([`check_like`](Self::check_like) tells), as Burn's
    /// tensors do.
    #[must_use]
    pub fn add(&self, rhs: &Self) -> Self {
        self.zip(rhs, Value::add)
    }

    /// `self - rhs`.
    ///
    /// # Panics
    ///
    /// As [`add`](Self::add).
    #[must_use]
    pub fn sub(&self, rhs: &Self) -> Self {
        self.zip(rhs, Value::sub)
    }

    /// `scale * self`.
    #[must_use]
    pub fn scale(&self, scale: f64) -> Self {
        let values = self.values.iter().map(|value| value.scale(scale)).collect();
        Self { specs: self.specs.clone(), values }
    }

    /// `self + scale * rhs`.
    ///
    /// # Panics
    ///
    /// As [`add`](Self::add).
    #[must_use]
    pub fn axpy(&self, scale: f64, rhs: &Self) -> Self {
        self.zip(rhs, |a, b| a.add(&b.scale(scale)))
    }

    /// Inner product. Summed per tensor on the device in its own precision, over tensors in `f64` on the host. Waits for the
    /// device, and reads from it once.
    ///
    /// # Panics
    ///
    /// As [`add`](Self::add).
    pub fn dot(&self, rhs: &Self) -> f64 {
        self.dots(&[rhs]).into_iter().sum()
    }

    /// Inner products with several vectors, as [`dot`](Self::dot) has them. Reads from the device once for all.
    ///
    /// # Panics
    ///
    /// As [`add`](Self::add).
    pub fn dots(&self, others: &[&Self]) -> Vec<f64> {
        let dtype = self.widest();
        let mut sums = Vec::with_capacity(others.len() * self.values.len());
        for other in others {
            self.assert_like(other);
            sums.extend(self.values.iter().zip(&other.values).map(|(a, b)| a.dot(b).float_cast(dtype).flatten()));
        }
        if sums.is_empty() {
            return Vec::new();
        }
        let sums: Vec<f64> = Tensor::cat(sums, 0).into_data().iter().collect();
        sums.chunks(self.values.len()).map(|sums| sums.iter().sum()).collect()
    }

    /// A type that holds every number of the tensors'.
    fn widest(&self) -> DType {
        let first = self.values[0].dtype();
        let any = |test: &dyn Fn(DType) -> bool| self.values.iter().any(|value| test(value.dtype()));
        match any(&|dtype| dtype != first) {
            false => first,
            true if any(&|dtype| dtype == DType::F64) => DType::F64,
            true => DType::F32,
        }
    }

    /// Euclidean norm. As [`dot`](Self::dot), with one read.
    pub fn norm(&self) -> f64 {
        self.dot(self).sqrt()
    }

    /// Zeros of the same shapes.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        Self { specs: self.specs.clone(), values: self.values.iter().map(Value::zeros_like).collect() }
    }

    /// `self * rhs`, elementwise.
    ///
    /// # Panics
    ///
    /// As [`add`](Self::add).
    #[must_use]
    pub fn mul(&self, rhs: &Self) -> Self {
        self.zip(rhs, Value::mul)
    }

    /// Elementwise square root.
    #[must_use]
    pub fn sqrt(&self) -> Self {
        Self { specs: self.specs.clone(), values: self.values.iter().map(Value::sqrt).collect() }
    }

    /// Length one in the same direction; `None` if the length is zero or not finite. Waits for the device.
    pub fn normalized(&self) -> Option<Self> {
        let norm = self.norm();
        (norm > 0.0 && norm.is_finite()).then(|| self.scale(1.0 / norm))
    }

    /// Random signs of the same shapes, either as likely. The same `seed` and `draw` give the same signs anywhere.
    #[must_use]
    pub fn rademacher(&self, seed: u64, draw: u64) -> Self {
        let mut random = generator(seed, draw);
        self.from_fn(|_, _| if random.random() { 1.0 } else { -1.0 })
    }

    /// Standard normal numbers of the same shapes: a direction that prefers none. The same `seed` and `draw` give the
    /// same numbers anywhere.
    #[must_use]
    pub fn normal(&self, seed: u64, draw: u64) -> Self {
        let mut random = generator(seed, draw);
        // Box and Muller; the logarithm's argument is never zero.
        self.from_fn(|_, _| {
            let (u, v): (f64, f64) = (random.random(), random.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        })
    }

    /// One at an element, counted over all tensors in order, and zero elsewhere.
    #[must_use]
    pub fn basis(&self, at: usize) -> Self {
        let mut count = 0;
        self.from_fn(|_, _| {
            count += 1;
            f64::from(u8::from(count == at + 1))
        })
    }

    /// All elements in one tensor: parameters in order, each row-major, in the type of the first.
    pub fn flatten(&self) -> Tensor<1> {
        let dtype = self.values[0].dtype();
        Tensor::cat(self.values.iter().map(|value| value.float_cast(dtype).flatten()).collect(), 0)
    }

    /// The reverse of [`to_f64`](Self::to_f64): values of the same shapes from all elements in order.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for another number of elements.
    pub fn with_elements(&self, elements: &[f64]) -> Result<Self> {
        if elements.len() != self.len() {
            let problem = format!("{} numbers for {} elements", elements.len(), self.len());
            return Err(Error::Argument { what: "the elements", problem });
        }
        let mut elements = elements.iter();
        Ok(self.from_fn(|_, _| elements.next().copied().unwrap_or(f64::NAN)))
    }

    /// The reverse of [`flatten`](Self::flatten): values of the same shapes and types from one tensor, on its device.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for another number of elements.
    pub fn with_flat(&self, flat: &Tensor<1>) -> Result<Self> {
        let [found] = flat.dims();
        if found != self.len() {
            let problem = format!("{found} elements for {}", self.len());
            return Err(Error::Argument { what: "the flat tensor", problem });
        }
        let mut end = 0;
        let values = self.specs.iter().map(|param| {
            let start = end;
            end += param.spec.shape.iter().product::<usize>();
            Value::new(flat.clone().slice(start..end)).shaped(&param.spec)
        });
        Ok(Self { specs: self.specs.clone(), values: values.collect() })
    }

    /// Those of the parameters that a filter chooses.
    ///
    /// # Errors
    ///
    /// [`Error::NothingChosen`].
    pub fn only(&self, filter: &Filter) -> Result<Self> {
        let chosen = filter.choose(&self.specs)?;
        let pairs = self.specs.iter().cloned().zip(self.values.iter().cloned()).zip(chosen);
        let (specs, values): (Vec<_>, Vec<_>) = pairs.filter_map(|(pair, chosen)| chosen.then_some(pair)).unzip();
        Ok(Self { specs: specs.into(), values })
    }

    /// These with the values of some of them replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Params`] for a parameter in `part` that is not among these, or has another shape or type here.
    pub fn with(&self, part: &Self) -> Result<Self> {
        let mut values = self.values.clone();
        for (param, value) in part.specs.iter().zip(&part.values) {
            let wrong = |problem: String| Error::Params { path: param.path.clone(), problem };
            let at = self.specs.iter().position(|own| own.id == param.id);
            let at = at.ok_or_else(|| wrong("is not among the parameters".into()))?;
            if self.specs[at].spec != param.spec {
                return Err(wrong(format!("is {}, expected {}", param.spec, self.specs[at].spec)));
            }
            values[at] = value.clone();
        }
        Ok(Self { specs: self.specs.clone(), values })
    }

    /// The same values in another precision.
    pub(crate) fn cast(&self, dtype: burn::tensor::DType) -> Self {
        let specs = self.specs.iter().map(|spec| spec.with_dtype(dtype)).collect();
        Self { specs, values: self.values.iter().map(|value| value.float_cast(dtype)).collect() }
    }

    /// An error unless shapes and types are those of `specs`, and all is on the device.
    pub(crate) fn expect_like(&self, what: &str, specs: &[ParamSpec], device: &Device) -> Result<()> {
        if self.values.len() != specs.len() {
            let (found, expected) = (self.values.len(), specs.len());
            return Err(Error::Mismatch {
                what: what.into(),
                found: format!("{found} parameters"),
                expected: expected.to_string(),
            });
        }
        match self.values.iter().zip(specs).find(|(value, param)| value.spec() != param.spec) {
            None => same_device(what, &self.device(), device),
            Some((value, param)) => Err(Error::Mismatch {
                what: format!("{what} at `{}`", param.path),
                found: value.spec().to_string(),
                expected: param.spec.to_string(),
            }),
        }
    }

    /// Arithmetic of two modules has no answer, and a truncated one would be a wrong number.
    fn assert_like(&self, rhs: &Self) {
        if let Err(error) = self.check_like(rhs) {
            panic!("arithmetic on parameters of two modules: {error}");
        }
    }

    fn zip(&self, rhs: &Self, f: impl Fn(&Value, &Value) -> Value) -> Self {
        self.assert_like(rhs);
        let values = self.values.iter().zip(&rhs.values).map(|(a, b)| f(a, b)).collect();
        Self { specs: self.specs.clone(), values }
    }
}

/// Numbers that depend on nothing but these two.
fn generator(seed: u64, draw: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(draw);
    random
}

fn params_error(specs: &[ParamSpec], id: ParamId, problem: String) -> Error {
    let path = specs.iter().find(|spec| spec.id == id).map_or_else(|| id.to_string(), |spec| spec.path.clone());
    Error::Params { path, problem }
}

fn register(grads: &mut GradientsParams, id: ParamId, value: &Value) {
    // The container is typed by rank, a value is not: the one place where the ranks are spelled out.
    macro_rules! by_rank {
        ($($rank:literal)*) => {
            match value.shape().num_dims() {
                $($rank => if let Some(tensor) = value.tensor::<$rank, burn::tensor::Float>() {
                    grads.register(id, tensor);
                })*
                rank => unreachable!("Burn has no parameter of rank {rank}"),
            }
        };
    }
    by_rank!(1 2 3 4 5 6 7 8 9 10 11 12);
}

#[derive(Default)]
struct Collect {
    path: Vec<String>,
    seen: usize,
    ids: HashSet<ParamId>,
    specs: Vec<ParamSpec>,
    values: Vec<Value>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.seen += 1;
        let tensor = param.base();
        if !tensor.is_require_grad() || !self.ids.insert(param.id) {
            return;
        }
        let value = Value::new(tensor);
        self.specs.push(ParamSpec { id: param.id, path: self.path.join("."), spec: value.spec() });
        self.values.push(value);
    }
}

struct Replace {
    values: HashMap<ParamId, Value>,
    /// Tracked tensors: a parameter shared between places stays one leaf, whose gradient is the sum over its places.
    leaves: HashMap<ParamId, Value>,
    missing: HashSet<ParamId>,
    problem: Option<(ParamId, String)>,
}

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let Some(value) = self.values.get(&id) else { return param };
        self.missing.remove(&id);
        let expected = param.base().dims();
        match value.tensor::<D, burn::tensor::Float>() {
            Some(tensor) if tensor.dims() == expected => {
                let leaf = || Value::from_dispatch(Tensor::<D>::from_inner(tensor).require_grad().into_dispatch());
                let leaf = self.leaves.entry(id).or_insert_with(leaf).tensor();
                param.map(|old| leaf.unwrap_or(old))
            }
            _ => {
                self.problem =
                    Some((id, format!("has shape {expected:?} in the module, {:?} here", value.spec().shape)));
                param
            }
        }
    }
}
