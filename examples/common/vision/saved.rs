//! A network that was trained, with the settings it was trained with.
//!
//! Does not know: what is done with it.

use std::path::Path;

use burn::tensor::Device;
use burn_meta::Checkpoint;
use clap::ValueEnum;

use super::network::{Network, init};
use super::{Program, Vision};
use crate::failure::Failure;
use crate::learn::{SETTINGS, kept_settings};
use crate::settings::Layers;

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// The best in validation; the last one where there was no validation.
    Best,
    /// The last one.
    Latest,
}

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
        let layers = Layers::new::<Vision>(&place, &kept_settings(directory)?)?;
        let checkpoint = match which {
            Which::Best => Checkpoint::best(directory)?,
            Which::Latest => Checkpoint::latest(directory)?,
        };
        let (found, name) = (&checkpoint.settings()["own"]["program"], program.name);
        if *found != name {
            return Err(Failure::usage(format!("{}: a run of the program {found}, not of {name}", directory.display())));
        }
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

    /// The network.
    ///
    /// # Errors
    ///
    /// Those of the checkpoint.
    pub fn network(&self, program: &Program, device: &Device) -> Result<Network, Failure> {
        let Vision { model, task, .. } = &self.settings;
        Ok(self.checkpoint.load_model(init(model, self.shape(program), task.way.get(), 0, device)?)?)
    }
}
