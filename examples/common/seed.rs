//! Networks that are the same for the same seed.
//!
//! Does not know: which network.

use burn::module::Module;
use burn::tensor::Device;
use burn_func::Params;

use crate::failure::Failure;

/// Makes a network whose random weights depend on the seed alone.
///
/// Burn draws a parameter when it is first looked at, from a generator that everything on the device shares: so the
/// generator is seeded right before, and all parameters are looked at right after.
///
/// # Errors
///
/// Those of [`Params::from_module`].
pub fn seeded<M: Module>(seed: u64, device: &Device, init: impl FnOnce(&Device) -> M) -> Result<M, Failure> {
    device.seed(seed);
    let net = init(device);
    Params::from_module(&net)?;
    Ok(net)
}
