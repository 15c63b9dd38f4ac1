//! Constants of a traced closure that are set from outside between evaluations.
//!
//! Does not know: what they mean.

use crate::batch::Batch;
use crate::params::ParamSpec;
use crate::transforms::Traced;
use crate::value::Value;

impl<B: Batch, A: Batch> Traced<B, A> {
    /// The same closure, with every element of the module's frozen tensors of a name (the last part of their path) set to a
    /// value: running statistics and parameters that are constant in it. Shares everything else; cheap. A closure that reads no
    /// such tensor stays as it is.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::module::{Module, Param, RunningState};
    /// use burn::tensor::{Device, Tensor};
    /// use burn_func::{Params, finite, trace};
    ///
    /// #[derive(Module, Debug)]
    /// struct Power {
    ///     weight: Param<Tensor<1>>,
    ///     scale: RunningState<Tensor<1>>,
    /// }
    ///
    /// let device = Device::flex().autodiff();
    /// let net = Power {
    ///     weight: Param::from_tensor(Tensor::from_data([3.0], &device)),
    ///     scale: RunningState::new(Tensor::from_data([1.0], &device)),
    /// };
    /// let x = Tensor::<1>::from_data([2.0], &device);
    /// let traced = trace(&net, &x, |net: &Power, x| (net.weight.val() * net.scale.value() * x).sum())?;
    /// let at = Params::from_module(&net)?;
    /// assert_eq!(finite(&traced.value(&at, &x)?.0)?, 6.0);
    /// assert_eq!(finite(&traced.with_frozen_filled("scale", 5.0).value(&at, &x)?.0)?, 30.0);
    /// # Ok::<(), burn_func::Error>(())
    /// ```
    #[must_use]
    pub fn with_frozen_filled(&self, name: &str, value: f64) -> Self {
        if !self.has_frozen(name) {
            return self.clone();
        }
        let filled = self.constants.iter().zip(self.frozen.iter()).map(|(constant, spec)| match spec {
            Some(spec) if is_named(spec, name) => {
                let elements = constant.shape().num_elements();
                Value::from_host(vec![value; elements], &constant.spec(), &self.device)
            }
            _ => constant.clone(),
        });
        Self { constants: filled.collect(), ..self.clone() }
    }

    /// Whether the closure reads a frozen tensor of this name.
    pub fn has_frozen(&self, name: &str) -> bool {
        self.frozen.iter().flatten().any(|spec| is_named(spec, name))
    }
}

fn is_named(spec: &ParamSpec, name: &str) -> bool {
    spec.path.rsplit('.').next() == Some(name)
}
