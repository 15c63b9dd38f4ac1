//! Modules in another precision.
//!
//! Does not know: graphs, derivatives.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};

/// The module with every float tensor in another precision; a module in training stays so, with fresh parameters.
///
/// Double precision on the CPU is what derivatives are checked in. The module given is left as it is, running statistics
/// included, even where a clone shares them.
pub fn cast<M: Module>(module: &M, dtype: DType) -> M {
    let mut training = Training(false);
    module.visit(&mut training);
    let module = module.valid().map(&mut Cast(dtype));
    if training.0 { module.train() } else { module }
}

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}

/// Whether any float tensor is on an autodiff device.
struct Training(bool);

impl ModuleVisitor for Training {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 |= param.base().is_autodiff();
    }
}
