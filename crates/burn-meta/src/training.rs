//! Whether a module is in training.
//!
//! Does not know: what it is trained for.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Whether any float tensor of the module is on an autodiff device.
pub(crate) fn is_training<M: Module>(module: &M) -> bool {
    let mut found = Found(false);
    module.visit(&mut found);
    found.0
}

struct Found(bool);

impl ModuleVisitor for Found {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 |= param.base().is_autodiff();
    }
}
