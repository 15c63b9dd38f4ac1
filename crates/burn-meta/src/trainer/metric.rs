//! Numbers by which the outputs on a query set are judged.
//!
//! Does not know: training.

use burn::tensor::{Int, Tensor};
use burn_func::Batch;
use serde::{Deserialize, Serialize};

/// Which way a metric gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Accuracies.
    Higher,
    /// Errors, losses.
    Lower,
}

impl Better {
    /// Whether `new` is better than `old`. Nothing is better than itself, and nothing that is not a number is better.
    pub fn improves(self, new: f64, old: f64) -> bool {
        match self {
            Self::Higher => new > old,
            Self::Lower => new < old,
        }
    }
}

/// From a query batch and what the closure returned beside the loss on it.
type Number<Q, A> = Box<dyn Fn(&Q, &A) -> f64>;

/// A number for each task, of its query batch and of what the closure returned beside the loss on it.
pub struct Metric<Q, A> {
    pub(super) name: String,
    pub(super) better: Better,
    pub(super) of: Number<Q, A>,
}

impl<Q, A> Metric<Q, A> {
    /// A metric that is better when it is higher.
    pub fn higher(name: impl Into<String>, of: impl Fn(&Q, &A) -> f64 + 'static) -> Self {
        Self { name: name.into(), better: Better::Higher, of: Box::new(of) }
    }

    /// A metric that is better when it is lower.
    pub fn lower(name: impl Into<String>, of: impl Fn(&Q, &A) -> f64 + 'static) -> Self {
        Self { name: name.into(), better: Better::Lower, of: Box::new(of) }
    }
}

/// The share of examples whose largest logit is that of their label, of 1: a [`Metric`] of batches `(inputs, labels)` with
/// labels `[n]` and logits `[n, ways]`. Waits for the device.
pub fn accuracy<X: Batch>((_, labels): &(X, Tensor<1, Int>), logits: &Tensor<2>) -> f64 {
    let found = logits.clone().argmax(1).squeeze_dim::<1>(1).into_data();
    let labels = labels.clone().into_data();
    let right = found.iter::<i64>().zip(labels.iter::<i64>()).filter(|(found, label)| found == label).count();
    right as f64 / labels.num_elements() as f64
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn accuracy_counts_right_answers() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 4.0]], &device);
        let labels = Tensor::<1, Int>::from_data([1, 0, 0, 0], &device);
        assert_eq!(accuracy(&((), labels), &logits), 0.75);
    }

    #[test]
    fn what_is_not_a_number_is_never_better() {
        for better in [Better::Higher, Better::Lower] {
            assert!(!better.improves(f64::NAN, 0.0) && !better.improves(1.0, 1.0));
        }
        assert!(Better::Higher.improves(2.0, 1.0) && Better::Lower.improves(1.0, 2.0));
    }
}
