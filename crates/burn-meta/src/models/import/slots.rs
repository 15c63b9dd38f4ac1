//! The weights of a module, as PyTorch would name and shape them.
//!
//! Does not know: files, other libraries' names.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use crate::training::is_training;

/// A float tensor of a module.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Path in the module.
    pub path: String,
    /// PyTorch's name: without the variants of enums, scale and shift as weight and bias.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// Whether it may be missing: running statistics that nothing reads in training.
    pub optional: bool,
}

/// All weights and running statistics of a module, in its order.
pub(super) fn slots<M: Module>(module: &M) -> Vec<Slot> {
    let mut collect = Collect { here: Here::default(), slots: Vec::new(), data: None };
    module.visit(&mut collect);
    collect.slots
}

/// The same with their values in PyTorch's layout.
pub(super) fn values<M: Module>(module: &M) -> Vec<(Slot, TensorData)> {
    let mut collect = Collect { here: Here::default(), slots: Vec::new(), data: Some(Vec::new()) };
    // `valid` brings running statistics up to date, in a copy.
    module.valid().visit(&mut collect);
    collect.slots.into_iter().zip(collect.data.unwrap_or_default()).collect()
}

/// The module with other values for some of its tensors, by path, in PyTorch's layout. Shapes must fit.
pub(super) fn with_values<M: Module>(module: M, values: HashMap<String, TensorData>) -> M {
    let training = is_training(&module);
    // `valid` and `train` make running statistics of the module's own: clones share theirs.
    let module = module.valid().map(&mut Put { here: Here::default(), values });
    if training { module.train() } else { module }
}

/// Where in a module a visit is.
#[derive(Default)]
struct Here {
    path: Vec<String>,
    containers: Vec<String>,
}

impl Here {
    fn enter(&mut self, name: &str, container: &str) {
        self.path.push(name.into());
        self.containers.push(container.into());
    }

    fn exit(&mut self) {
        self.path.pop();
        self.containers.pop();
    }

    /// Weights of fully connected layers are `[in, out]` here and `[out, in]` there.
    fn is_linear(&self, rank: usize) -> bool {
        rank == 2 && self.containers.last().is_some_and(|container| container == "Struct:Linear")
    }

    /// None for what is no weight.
    fn slot(&self, dims: &[usize]) -> Option<Slot> {
        let mut parts: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let field = parts.pop()?;
        let field = match field {
            "inner_step" => return None,
            "gamma" => "weight",
            "beta" => "bias",
            other => other,
        };
        let running = parts.last() == Some(&"Running");
        let named = parts.into_iter().filter(|part| !part.starts_with(char::is_uppercase));
        let name = named.chain([field]).collect::<Vec<_>>().join(".");
        let mut shape = dims.to_vec();
        if self.is_linear(dims.len()) {
            shape.reverse();
        }
        let optional = field.starts_with("running_") && !running;
        Some(Slot { path: self.path.join("."), name, shape, optional })
    }
}

struct Collect {
    here: Here,
    slots: Vec<Slot>,
    data: Option<Vec<TensorData>>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.here.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.here.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.base();
        let Some(slot) = self.here.slot(&tensor.dims()) else { return };
        self.slots.push(slot);
        if let Some(data) = &mut self.data {
            let linear = self.here.is_linear(D);
            data.push(if linear { tensor.clone().swap_dims(0, 1).into_data() } else { tensor.to_data() });
        }
    }
}

struct Put {
    here: Here,
    values: HashMap<String, TensorData>,
}

impl ModuleMapper for Put {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.here.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.here.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = self.values.remove(&self.here.path.join(".")) else { return param };
        let linear = self.here.is_linear(D);
        param.map(|tensor| {
            let at = (&tensor.device(), tensor.dtype());
            let read = Tensor::<D>::from_data(data, at);
            // Through the host, so that it lies in memory in the order of its axes.
            if linear { Tensor::from_data(read.swap_dims(0, 1).into_data(), at) } else { read }
        })
    }
}
