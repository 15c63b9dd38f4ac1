//! Images of one's own: labelled by the folder they are in, or without a label.
//!
//! Does not know: networks, how images are normalised.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use fewshot_data::{ImageKey, Layout, LooseImages, Pipeline, Scratch};

use crate::arguments::note;
use crate::failure::Failure;

/// How images are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// `[channels, size, size]`.
    pub shape: [usize; 3],
    /// What is done to them, as in training.
    pub pipeline: Pipeline,
    /// Whether light and dark change places: the network was trained on light ink on dark, and files are mostly of dark ink on
    /// light.
    pub inverted: bool,
}

/// Images of a folder.
#[derive(Clone, Debug)]
pub struct Images {
    images: LooseImages,
    /// Of the files, without the folder that all of them are in.
    names: Vec<String>,
    values: Vec<f32>,
}

impl Reading {
    /// The images of a folder, of those below it or of a zip archive, or one image.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] naming the file.
    pub fn read(&self, path: &Path) -> Result<Images, Failure> {
        let [channels, size, _] = self.shape;
        let images = LooseImages::read(path, channels, size)?;
        let (plan, length) = (self.pipeline.plan(self.shape)?, channels * size * size);
        let mut values = vec![0.0; images.len() * length];
        let mut scratch = Scratch::default();
        for (image, out) in images.images().zip(values.chunks_exact_mut(length)) {
            let inverted: Vec<u8> = image.iter().map(|byte| if self.inverted { 255 - byte } else { *byte }).collect();
            plan.apply(&inverted, Layout::Planar, ImageKey::default(), &mut scratch, out)?;
        }
        skipped(&images);
        let names = without_common_folder(images.names());
        Ok(Images { images, names, values })
    }
}

/// Says what is no image.
fn skipped(images: &LooseImages) {
    if let [first, more @ ..] = images.skipped() {
        let others = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        note(format!("warning: no PNG or JPEG image, and skipped: {first}{others}"));
    }
}

/// Archives often hold one folder, with everything in it.
fn without_common_folder(names: &[String]) -> Vec<String> {
    let common = names.first().and_then(|name| name.split_once('/')).map(|(folder, _)| format!("{folder}/"));
    let below = |name: &String| Some(name.strip_prefix(common.as_ref()?)?.to_owned());
    match names.iter().map(below).collect::<Option<Vec<_>>>() {
        // A folder of images is their class, and stays.
        Some(below) if below.iter().all(|name| name.contains('/')) => below,
        _ => names.to_vec(),
    }
}

impl Images {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Names of the files.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// `[n, channels, size, size]`.
    pub fn tensor(&self, device: &Device) -> Tensor<4> {
        let [channels, height, width] = self.images.shape();
        Tensor::from_data(TensorData::new(self.values.clone(), [self.len(), channels, height, width]), device)
    }

    /// The folder of each image.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.names().iter().map(|name| name.rsplit_once('/').map_or("", |(folder, _)| folder))
    }

    /// The classes, sorted: the folders that images are in.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for an image that is in none, or if there are fewer than two.
    pub fn classes(&self) -> Result<Vec<String>, Failure> {
        if let Some((_, name)) = self.folders().zip(self.names()).find(|(folder, _)| folder.is_empty()) {
            return Err(Failure::usage(format!(
                "{name} is in no folder of its class; expected a folder for each class"
            )));
        }
        let mut classes: Vec<String> = self.folders().map(str::to_owned).collect();
        classes.sort();
        classes.dedup();
        match classes.len() {
            0 | 1 => Err(Failure::usage("one class alone; expected images of at least two classes to tell apart")),
            _ => Ok(classes),
        }
    }

    /// The index of each image's class; none for one of another class.
    pub fn labels<'a>(&'a self, classes: &'a [String]) -> impl Iterator<Item = Option<usize>> + 'a {
        self.folders().map(|folder| classes.iter().position(|class| class == folder))
    }

    /// Labels as a tensor; images of no class have 0.
    pub fn label_tensor(&self, classes: &[String], device: &Device) -> Tensor<1, Int> {
        let labels: Vec<i64> = self.labels(classes).map(|label| label.unwrap_or(0) as i64).collect();
        let count = labels.len();
        Tensor::from_data(TensorData::new(labels, [count]), device)
    }
}
