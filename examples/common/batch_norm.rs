//! Batch normalisation of an adapted network that is used by itself, with running statistics.
//!
//! Does not know: networks, how they were adapted.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_func::{Batch, Error, Params, trace};

/// Passes over the batch: with the usual momentum of 0.1 less than a hundredth is left of what was there before.
const PASSES: usize = 50;

/// The module with the statistics of a batch as its running ones. It has to be in training on an autodiff device.
///
/// # Errors
///
/// Those of [`trace`] and [`burn_func::Traced::statistics`].
pub fn settled<M, B, F, A>(mut module: M, batch: &B, loss: F) -> Result<M, Error>
where
    M: Module,
    B: Batch,
    A: Batch,
    F: Fn(&M, B) -> (Tensor<1>, A),
{
    let traced = trace(&module, batch, loss)?;
    let at = Params::from_module(&module)?;
    for _ in 0..PASSES {
        module = traced.with_frozen_of(&module)?.statistics(&at, batch)?.into_module(module)?;
    }
    Ok(module)
}

#[cfg(test)]
mod tests {
    use burn::nn::{BatchNorm, BatchNormConfig};
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn running_statistics_become_the_batchs() {
        let device = Device::flex().autodiff();
        let norm: BatchNorm = BatchNormConfig::new(2).init(&device);
        let x = Tensor::<2>::from_data(TensorData::from([[1.0f32, 10.0], [3.0, 30.0]]), &device);
        let loss = |norm: &BatchNorm, x: Tensor<2>| (norm.forward(x).powf_scalar(2.0).mean(), ());
        let settled = settled(norm, &x, loss).unwrap();
        let means: Vec<f32> = settled.running_mean.value_sync().into_data().iter().collect();
        assert!((means[0] - 2.0).abs() < 0.02 && (means[1] - 20.0).abs() < 0.2, "{means:?}");
    }
}
