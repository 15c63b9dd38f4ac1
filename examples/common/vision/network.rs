//! The network that sees images.
//!
//! Does not know: images, tasks.

use burn::tensor::Device;
use burn_meta::models::{Backbone as _, BackboneConfig, Network, NormConfig};
use clap::ValueEnum;

use super::Vision;
use crate::failure::Failure;
use crate::seed::seeded;
use crate::settings::{Count, NormName};

/// The network's settings for images of `[channels, size, size]`.
///
/// # Errors
///
/// [`Failure::Usage`] for settings that no network can be made with.
pub fn config(settings: &Vision, [channels, size, _]: [usize; 3]) -> Result<BackboneConfig, Failure> {
    let model = &settings.model;
    let name = model.backbone.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let config = || {
        let config = BackboneConfig::named(&name)?.with_images(channels, size).with_ways(settings.task.way.get());
        let config = match &model.filters {
            Some(filters) => config.with_filters(&filters.iter().copied().map(Count::get).collect::<Vec<_>>())?,
            None => config,
        };
        let config = match model.norm {
            Some(norm) => config.with_norm(norm_config(norm, settings)),
            None => config,
        };
        config.check().map(|()| config)
    };
    config().map_err(|error: burn_meta::Error| Failure::usage(error).at("[model]"))
}

fn norm_config(norm: NormName, settings: &Vision) -> NormConfig {
    match norm {
        NormName::Batch => NormConfig::Batch,
        NormName::PerStep => NormConfig::PerStep { steps: settings.inner.steps.get() },
        NormName::Layer => NormConfig::Layer,
        NormName::None => NormConfig::None,
    }
}

/// Makes a network whose weights depend on the seed alone.
///
/// # Errors
///
/// [`Failure::Usage`] for settings that no network can be made with.
pub fn init(config: &BackboneConfig, seed: u32, device: &Device) -> Result<Network, Failure> {
    config.check().map_err(Failure::usage)?;
    device.seed(seed.into());
    let net = config.init(device)?;
    seeded(seed.into(), device, |_| net)
}

/// The network with a fresh head for so many classes.
pub fn with_fresh_head(net: Network, ways: usize, seed: u32, device: &Device) -> Network {
    device.seed(seed.into());
    net.with_head(ways)
}
