//! From settings to what burn-meta is configured with.
//!
//! Does not know: data, networks, where settings came from.

use burn::module::Module;
use burn_meta::{Clip, InnerLoopConfig, InnerRates, InnerRatesConfig, Maml, MamlConfig, Rule};

use super::{Estimator, Inner, LearnedRates, RuleName, Run, Train};
use crate::arguments::EstimatorArgs;
use crate::failure::Failure;

impl Inner {
    /// The inner loop with this number of steps.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for a setting that the rule does not have.
    pub fn config(&self, steps: usize) -> Result<InnerLoopConfig, Failure> {
        let config = InnerLoopConfig::new(self.learning_rate.get())
            .with_steps(steps)
            .with_rule(self.rule()?)
            .with_weight_decay(self.weight_decay.map_or(0.0, f64::from))
            .with_proximal(self.proximal.map_or(0.0, f64::from))
            .with_clip(self.clip.map(|norm| Clip::Norm(norm.get())))
            .with_adapt(self.adapt.clone());
        config.check().map_err(|error| Failure::usage(error).at("[inner]"))?;
        Ok(config)
    }

    /// The learned inner rates of a network as they begin, where there are to be some.
    ///
    /// # Errors
    ///
    /// Those of [`config`](Self::config) and [`InnerRatesConfig::init`].
    pub fn rates<M: Module>(&self, net: &M) -> Result<Option<InnerRates>, Failure> {
        let config = match self.learned_rates {
            None => return Ok(None),
            Some(LearnedRates::MetaSgd) => InnerRatesConfig::meta_sgd(),
            Some(LearnedRates::PerLayer) => InnerRatesConfig::new().with_per_step(false),
            Some(LearnedRates::PerLayerPerStep) => InnerRatesConfig::per_layer_per_step(),
        };
        Ok(Some(config.init(net, &self.config(self.steps.get())?)?))
    }

    /// The same with the paths of a network's last layer in the place of `head`.
    #[must_use]
    pub fn with_head(mut self, head: &[String]) -> Self {
        let paths = |path: String| if path == "head" { head.to_vec() } else { vec![path] };
        self.adapt = self.adapt.map(|adapt| adapt.into_iter().flat_map(paths).collect());
        self
    }

    fn rule(&self) -> Result<Rule, Failure> {
        let momentum = self.momentum.map_or(0.9, f64::from);
        if self.momentum.is_some() && !matches!(self.rule, RuleName::Momentum | RuleName::Nesterov) {
            return Err(Failure::usage("--inner-momentum belongs to --inner-rule momentum or nesterov"));
        }
        Ok(match self.rule {
            RuleName::Sgd => Rule::sgd(),
            RuleName::Momentum => Rule::momentum(momentum),
            RuleName::Nesterov => Rule::nesterov(momentum),
            RuleName::Adam => Rule::adam(),
            RuleName::Rmsprop => Rule::rms_prop(),
        })
    }
}

impl Estimator {
    /// The estimator for a number of inner steps.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for a setting out of range, or one that the estimator does not have.
    pub fn estimator(&self, steps: usize) -> Result<burn_meta::Estimator, Failure> {
        let args = EstimatorArgs {
            estimator: self.name,
            order: self.order,
            scaled: self.scaled.unwrap_or(false),
            window: self.window,
            probe: self.probe,
            segments: self.segments,
            degree: self.degree,
            tolerance: self.tolerance.map(f64::from),
            proximal: None,
        };
        args.estimator(steps)
    }
}

/// What adapts a network in a number of inner steps, with learned inner rates or without.
///
/// # Errors
///
/// [`Failure::Usage`].
pub fn adapting(inner: &Inner, steps: usize, rates: Option<&InnerRates>, run: &Run) -> Result<Maml, Failure> {
    let inner = inner.config(steps)?;
    let config = MamlConfig::new(inner, burn_meta::Estimator::FirstOrder).with_threads(run.threads.map(usize::from));
    let maml = config.init().map_err(Failure::usage)?;
    Ok(rates.map_or_else(|| maml.clone(), |rates| maml.with_rates(rates)))
}

/// The meta-learner of these settings.
///
/// # Errors
///
/// [`Failure::Usage`].
pub fn maml(inner: &Inner, estimator: &Estimator, train: &Train, run: &Run) -> Result<Maml, Failure> {
    let steps = inner.steps.get();
    let config = MamlConfig::new(inner.config(steps)?, estimator.estimator(steps)?)
        .with_first_order_steps(train.first_order_steps as u64)
        .with_threads(run.threads.map(usize::from))
        .with_seed(run.seed.into());
    config.init().map_err(Failure::usage)
}
