//! Settings of a meta-training run.
//!
//! Does not know: models, tasks, files.

use burn::config::Config;
use burn_func::Params;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Settings of meta-training, beside those of the meta-learner ([`MamlConfig`](crate::MamlConfig)).
#[derive(Config, Debug, PartialEq)]
pub struct MetaTrainerConfig {
    /// Meta-iterations in all, those before a resumption included. 0 trains nothing.
    pub iterations: u64,
    /// Tasks of a meta-batch.
    #[config(default = 4)]
    pub meta_batch: usize,
    /// Meta-iterations from one validation to the next, where there is a validation set; 0 for none.
    #[config(default = 500)]
    pub validate_every: u64,
    /// Early stopping: validations in a row that may pass without an improvement. By default training goes on to the end.
    pub patience: Option<usize>,
    /// Meta-iterations from one checkpoint to the next, where there is a directory; 0 for none but those at validations,
    /// at a stop and at the end.
    #[config(default = 500)]
    pub checkpoint_every: u64,
    /// A limit on the meta-gradient of the module; that of learned inner rates is not limited.
    pub clip: Option<MetaClip>,
    /// Tasks in memory at a time. By default all tasks of a meta-batch are; with 1 the memory is that of one task whatever
    /// the meta-batch, on one thread. The numbers are the same.
    pub accumulate: Option<usize>,
    /// Query examples in memory at a time: see [`MetaBatch::with_query_chunk`](crate::MetaBatch::with_query_chunk). Refused
    /// for models with batch statistics.
    pub query_chunk: Option<usize>,
}

/// A limit on the meta-gradient. Burn's own
/// [`GradientClippingConfig`](burn::optim::grad_clipping) of an optimizer takes the norm of one tensor at a time; this one is
/// over all parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetaClip {
    /// On its Euclidean norm over all parameters: longer ones are scaled down to it.
    Norm(f64),
    /// On the size of each element.
    Value(f64),
}

impl MetaTrainerConfig {
    pub(super) fn check(&self) -> Result<()> {
        at_least_one("meta_batch", self.meta_batch)?;
        for (setting, count) in
            [("patience", self.patience), ("accumulate", self.accumulate), ("query_chunk", self.query_chunk)]
        {
            at_least_one(setting, count.unwrap_or(1))?;
        }
        match self.clip {
            Some(MetaClip::Norm(most) | MetaClip::Value(most)) if !(most.is_finite() && most > 0.0) => {
                setting("clip", format!("{most}, expected a positive finite number"))
            }
            _ => Ok(()),
        }
    }
}

fn at_least_one(name: &'static str, count: usize) -> Result<()> {
    if count == 0 { setting(name, "0, expected at least 1".into()) } else { Ok(()) }
}

pub(super) fn setting<T>(setting: &'static str, problem: String) -> Result<T> {
    Err(Error::Trainer { setting, problem })
}

impl MetaClip {
    /// The gradient within the limit; `norm` is its Euclidean norm.
    pub(super) fn apply(self, gradient: Params, norm: f64) -> Result<Params> {
        match self {
            Self::Norm(most) if norm > most => Ok(gradient.scale(most / norm)),
            Self::Norm(_) => Ok(gradient),
            Self::Value(most) => Ok(gradient.with_flat(&gradient.flatten().clamp(-most, most))?),
        }
    }
}
