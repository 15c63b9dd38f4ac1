//! The network that sees images.
//!
//! Does not know: images, tasks.

use burn::tensor::Device;
use burn_meta::models::{Cnn4, Cnn4Config};

use crate::failure::Failure;
use crate::seed::seeded;
use crate::settings::Model;

/// The network of the programs for images.
pub type Network = Cnn4;

/// Makes the network of some settings for images of `[channels, size, size]` and so many classes.
///
/// # Errors
///
/// [`Failure::Usage`] for images too small for it.
pub fn init(model: &Model, [channels, size, _]: [usize; 3], ways: usize, seed: u32, device: &Device) -> Result<Network, Failure> {
    if size < 16 {
        return Err(Failure::usage(format!("--image-size {size}: the network needs at least 16 pixels")));
    }
    let config = Cnn4Config::new(channels, size, ways).with_hidden(model.filters.get());
    seeded(seed.into(), device, |device| config.init(device))
}

/// The network with a fresh head for so many classes.
///
/// # Errors
///
/// As [`init`].
pub fn with_fresh_head(
    net: Network,
    model: &Model,
    shape: [usize; 3],
    ways: usize,
    seed: u32,
    device: &Device,
) -> Result<Network, Failure> {
    let fresh = init(model, shape, ways, seed, device)?;
    Ok(Network { blocks: net.blocks, ..fresh })
}
