//! The float tensors of a module that are not differentiated: running statistics and frozen parameters.
//!
//! Does not know: graphs, losses.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Float, Tensor};

use crate::error::{Error, Result};
use crate::params::ParamSpec;
use crate::value::Value;

/// Running statistics of a module, as a traced closure leaves them behind: see
/// [`Traced::statistics`](crate::Traced::statistics).
///
/// Cloning shares the tensors.
#[derive(Clone, Debug)]
pub struct Buffers {
    specs: Arc<[ParamSpec]>,
    values: Vec<Value>,
}

impl Buffers {
    pub(crate) fn new(specs: Arc<[ParamSpec]>, values: Vec<Value>) -> Self {
        Self { specs, values }
    }

    /// What they are, in the module's order.
    pub fn specs(&self) -> &[ParamSpec] {
        &self.specs
    }

    /// The tensors, in the order of [`specs`](Self::specs).
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The tensor at a path (`norm1.running_mean`), if there is one of rank `D`.
    pub fn get<const D: usize>(&self, path: &str) -> Option<Tensor<D>> {
        let at = self.specs.iter().position(|spec| spec.path == path)?;
        self.values[at].tensor()
    }

    /// The module with these running statistics, and with fresh parameters of the same values and ids.
    ///
    /// Clones of a module share its running statistics; the module given back has its own, so that no clone of the one
    /// given changes. The statistics stay on the device of the trace: a module that lives on another one is moved there
    /// before, or the result to one of the two after.
    ///
    /// # Errors
    ///
    /// [`Error::Params`] if the module lacks one of them or has it in another shape.
    pub fn into_module<M: Module>(self, module: M) -> Result<M> {
        let values = self.specs.iter().zip(&self.values).map(|(spec, value)| (spec.id, value.clone())).collect();
        let mut put = Put { values, done: HashSet::new(), problem: None };
        let mut training = Training(false);
        module.visit(&mut training);
        // `valid` and `train` make running statistics of the module's own, without updates of other threads in waiting.
        let module = module.valid().map(&mut put);
        if let Some(spec) = self.specs.iter().find(|spec| !put.done.contains(&spec.id)) {
            let problem = put.problem.unwrap_or_else(|| "is not in the module".into());
            return Err(Error::Params { path: spec.path.clone(), problem });
        }
        Ok(if training.0 { module.train() } else { module })
    }
}

struct Put {
    values: HashMap<ParamId, Value>,
    done: HashSet<ParamId>,
    problem: Option<String>,
}

impl ModuleMapper for Put {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(value) = self.values.get(&param.id) else { return param };
        let expected = param.base().dims();
        match value.tensor::<D, Float>() {
            Some(tensor) if tensor.dims() == expected => {
                self.done.insert(param.id);
                param.map(|_| tensor)
            }
            _ => {
                self.problem = Some(format!("has shape {expected:?} in the module, {:?} here", value.spec().shape));
                param
            }
        }
    }
}

/// Whether any float tensor is on an autodiff device.
struct Training(bool);

impl ModuleVisitor for Training {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 |= param.base().is_autodiff();
    }
}

/// The float tensors of a module by id, up to date.
pub(crate) fn float_tensors<M: Module>(module: &M) -> HashMap<ParamId, Value> {
    let mut collect = Collect(HashMap::new());
    // `valid` brings running statistics up to date, in a copy.
    module.valid().visit(&mut collect);
    collect.0
}

struct Collect(HashMap<ParamId, Value>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id, Value::new(param.base()));
    }
}
