//! The number of the inner step, for layers whose parameters differ from step to step.
//!
//! Does not know: what such layers compute.

use burn::module::{Module, ModuleMapper, Param, RunningState};
use burn::tensor::{Device, Tensor};
use burn_func::{Batch, Traced};

use crate::training::is_training;

/// Name of the tensor that the inner loop writes the number of the step into.
const NAME: &str = "inner_step";

/// Which inner step a network is in: a part of a module that has parameters of its own for each step (MAML++, arXiv
/// 1810.09502).
///
/// [`Maml`](crate::Maml) and [`MetaBatch`](crate::MetaBatch) set it: inner step k, from 0, computes the support loss with k; the
/// query loss after k steps is computed with k - 1, as MAML++ does, and so is the proximal problem of the implicit estimator. A
/// module that comes from [`Maml::adapt`](crate::Maml::adapt) has the number of its last step. Everywhere else it is what
/// [`at`](Self::at) says, at first the last step. It is a buffer of the module: saved with it, and never differentiated.
///
/// # Example
///
/// ```
/// use burn::module::{Module, Param};
/// use burn::tensor::{Device, Tensor};
/// use burn_meta::{Estimator, InnerLoopConfig, InnerStep, MamlConfig, Task};
///
/// #[derive(Module, Debug)]
/// struct Scaled {
///     slope: Param<Tensor<1>>,
///     scales: Param<Tensor<2>>, // [steps, 1]
///     step: InnerStep,
/// }
///
/// let device = Device::flex().autodiff();
/// let net = Scaled {
///     slope: Param::from_tensor(Tensor::from_data([1.0], &device)),
///     scales: Param::from_tensor(Tensor::from_data([[0.5], [1.0], [2.0]], &device)),
///     step: InnerStep::new(3, &device),
/// };
/// let loss = |net: &Scaled, (x, y): (Tensor<1>, Tensor<1>)| {
///     (net.slope.val() * net.step.row(net.scales.val()) * x - y).powf_scalar(2.0).mean()
/// };
/// let x = Tensor::<1>::from_data([1.0, 2.0], &device);
/// let task = Task { support: (x.clone(), x.clone() * 3.0), query: (x.clone(), x * 3.0) };
/// let maml = MamlConfig::new(InnerLoopConfig::new(0.01).with_steps(3), Estimator::Exact).init()?;
/// let losses = maml.evaluate(&net, &task, loss)?.losses;
/// assert!((losses.support[0] - 2.5f64.powi(2) * 2.5).abs() < 1e-4); // (0.5 x - 3 x)^2
/// # Ok::<(), burn_meta::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct InnerStep {
    inner_step: RunningState<Tensor<1>>,
}

impl InnerStep {
    /// Of this many steps, at the last.
    pub fn new(steps: usize, device: &Device) -> Self {
        let last = steps.saturating_sub(1) as f64;
        Self { inner_step: RunningState::new(Tensor::full([1], last, device)) }
    }

    /// The row of a table `[steps, n]` for the step it is; of steps beyond the last row, that one.
    pub fn row(&self, table: Tensor<2>) -> Tensor<1> {
        let [steps, n] = table.dims();
        let step = self.inner_step.value().to_device(&table.device());
        let row = step.clamp(0.0, steps.saturating_sub(1) as f64).int();
        table.select(0, row).reshape([n])
    }

    /// The module at another step: all that it holds of these. Clones of the module stay where they are.
    pub fn at<M: Module>(module: M, step: usize) -> M {
        let training = is_training(&module);
        // `valid` and `train` make running state of the module's own.
        let module = module.valid().map(&mut Set { step: step as f64, here: Vec::new() });
        if training { module.train() } else { module }
    }
}

/// Fills what is called by the name.
struct Set {
    step: f64,
    here: Vec<String>,
}

impl ModuleMapper for Set {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.here.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.here.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.here.last() {
            Some(name) if name == NAME => {
                let step = self.step;
                param.map(|tensor| tensor.full_like(step))
            }
            _ => param,
        }
    }
}

/// The same closure, at an inner step.
pub(crate) fn at_step<B: Batch, A: Batch>(traced: &Traced<B, A>, step: usize) -> Traced<B, A> {
    traced.with_frozen_filled(NAME, step as f64)
}

/// The same closure, as the query set sees it after this many steps.
pub(crate) fn after_steps<B: Batch, A: Batch>(traced: &Traced<B, A>, steps: usize) -> Traced<B, A> {
    at_step(traced, steps.saturating_sub(1))
}

/// Whether a module has a number of the inner step anywhere.
pub(crate) fn is_stepped<B: Batch, A: Batch>(traced: &Traced<B, A>) -> bool {
    traced.has_frozen(NAME)
}
