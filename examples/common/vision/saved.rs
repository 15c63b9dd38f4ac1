//! A network that was trained, with the settings it was trained with.
//!
//! Does not know: what is done with it.

use std::path::Path;

use burn::tensor::Device;
use burn_meta::models::{BackboneConfig, Network};
use burn_meta::{Checkpoint, InnerRates};

use super::network;
use super::{Program, Vision};
use crate::failure::Failure;
use crate::run_directory::{SETTINGS, Which, kept_settings};
use crate::settings::Layers;

/// A run that was trained.
#[derive(Debug)]
pub struct Saved {
    /// Its settings, for others to be put over them.
    pub layers: Layers,
    /// Its settings.
    pub settings: Vision,
    checkpoint: Checkpoint,
}

impl Saved {
    /// The run in a directory.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] where there is none, or one of another program.
    pub fn open(program: &Program, directory: &Path, which: Which) -> Result<Self, Failure> {
        let place = directory.join(SETTINGS).display().to_string();
        let checkpoint = which.of(directory, program.name)?;
        let layers = Layers::new::<Vision>(&place, &kept_settings(directory)?)?;
        Ok(Self { settings: layers.settings()?, layers, checkpoint })
    }

    /// Meta-steps that were done.
    pub fn iteration(&self) -> u64 {
        self.checkpoint.iteration()
    }

    /// The shape of the images it was trained on.
    pub fn shape(&self, program: &Program) -> [usize; 3] {
        let size = self.settings.data.image_size.get();
        (program.benchmark)(5, 1).with_size(size).shape()
    }

    /// The network's settings.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`].
    pub fn config(&self, program: &Program) -> Result<BackboneConfig, Failure> {
        network::config(&self.settings, self.shape(program))
    }

    /// The network.
    ///
    /// # Errors
    ///
    /// Those of the checkpoint.
    pub fn network(&self, program: &Program, device: &Device) -> Result<Network, Failure> {
        Ok(self.checkpoint.load_model(network::init(&self.config(program)?, 0, device)?)?)
    }

    /// The learned inner rates of the network, where it has any.
    ///
    /// # Errors
    ///
    /// Those of the checkpoint.
    pub fn rates(&self, net: &Network) -> Result<Option<InnerRates>, Failure> {
        Ok(self.settings.inner.rates(net)?.map(|rates| self.checkpoint.load_rates(rates)).transpose()?)
    }
}
