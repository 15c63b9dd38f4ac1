//! Drawn characters to tell apart, some of them labelled wrongly.
//!
//! Does not know: networks, losses, what is done about the wrong labels.

use burn::tensor::{Device, Tensor, TensorData};
use fewshot_data::Glyphs;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::failure::Failure;

/// Images `[n, pixels]` of mean zero, and their labels, `[n, classes]`, a one in the column of each one's class.
pub type Batch = (Tensor<2>, Tensor<2>);

/// Settings of [`NoisyLabels`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NoisyLabelsConfig {
    /// Characters.
    pub classes: usize,
    /// Side of an image in pixels.
    pub side: usize,
    /// Training images of each.
    pub train: usize,
    /// Validation images of each.
    pub validation: usize,
    /// Test images of each.
    pub test: usize,
    /// The share of the training images whose label is wrong, below 1.
    pub noise: f64,
    /// Seed of characters and noise.
    pub seed: u64,
}

/// A training set with wrong labels, and clean sets to validate and test on. No image is in two of them.
#[derive(Clone, Debug)]
pub struct NoisyLabels {
    /// What to train on.
    pub train: Samples,
    /// Which of its labels are wrong.
    pub wrong: Vec<bool>,
    /// Clean.
    pub validation: Samples,
    /// Clean.
    pub test: Samples,
}

/// Images and labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    images: Vec<Vec<f32>>,
    /// The class of each.
    pub labels: Vec<usize>,
    classes: usize,
}

impl NoisyLabelsConfig {
    /// Draws the characters: a pure function of the settings.
    ///
    /// # Errors
    ///
    /// What drawing reports.
    pub fn generate(&self) -> Result<NoisyLabels, Failure> {
        let each = self.train + self.validation + self.test;
        let data = Glyphs::new(self.classes, each).with_size(self.side).with_seed(self.seed).generate()?;
        let samples = |from: usize, n: usize| {
            let places = (0..self.classes).flat_map(|class| (from..from + n).map(move |at| (class, at)));
            let image = |(class, at): (usize, usize)| {
                data.classes()[class].image(at).map_or(Vec::new(), |bytes| scaled(&bytes))
            };
            Samples {
                images: places.clone().map(image).collect(),
                labels: places.map(|(class, _)| class).collect(),
                classes: self.classes,
            }
        };
        let mut train = samples(0, self.train);
        let wrong = self.mislabel(&mut train.labels);
        let validation = samples(self.train, self.validation);
        Ok(NoisyLabels { train, wrong, validation, test: samples(self.train + self.validation, self.test) })
    }

    /// Gives some another label, any of the others being as likely, and says which.
    fn mislabel(&self, labels: &mut [usize]) -> Vec<bool> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.shuffle(&mut rng);
        let mut wrong = vec![false; labels.len()];
        for &at in order.iter().take((self.noise * labels.len() as f64).round() as usize) {
            labels[at] = (labels[at] + rng.random_range(1..self.classes)) % self.classes;
            wrong[at] = true;
        }
        wrong
    }
}

/// Pixels in [0, 1], less their mean.
fn scaled(pixels: &[u8]) -> Vec<f32> {
    let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    values.iter().map(|value| value - mean).collect()
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Those at which `keep` is true.
    #[must_use]
    pub fn only(&self, keep: impl Fn(usize) -> bool) -> Self {
        let places = (0..self.len()).filter(|&at| keep(at));
        Self {
            images: places.clone().map(|at| self.images[at].clone()).collect(),
            labels: places.map(|at| self.labels[at]).collect(),
            classes: self.classes,
        }
    }

    /// These, and then the others.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self {
            images: [self.images.as_slice(), &others.images].concat(),
            labels: [self.labels.as_slice(), &others.labels].concat(),
            classes: self.classes,
        }
    }

    /// As tensors.
    pub fn tensors(&self, device: &Device) -> Batch {
        let pixels = self.images.first().map_or(0, Vec::len);
        let one_hot = |&label: &usize| (0..self.classes).map(move |class| f32::from(u8::from(class == label)));
        let tensor =
            |values: Vec<f32>, columns| Tensor::from_data(TensorData::new(values, [self.len(), columns]), device);
        (tensor(self.images.concat(), pixels), tensor(self.labels.iter().flat_map(one_hot).collect(), self.classes))
    }

    /// Which of these logits `[n, classes]` are largest at the label: 1 for each that is, else 0.
    pub fn right(&self, logits: &Tensor<2>) -> Vec<f64> {
        let logits: Vec<f32> = logits.to_data().iter::<f32>().collect();
        let answer = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        let right = |(row, &label): (&[f32], &usize)| f64::from(u8::from(answer(row) == Some(label)));
        logits.chunks(self.classes).zip(&self.labels).map(right).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: NoisyLabelsConfig =
        NoisyLabelsConfig { classes: 5, side: 8, train: 8, validation: 2, test: 3, noise: 0.3, seed: 1 };

    #[test]
    fn as_many_labels_are_wrong_as_was_said() {
        let data = SETTINGS.generate().unwrap();
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (40, 10, 15));
        let differ = (0..40).map(|at| data.train.labels[at] != at / 8);
        assert_eq!(differ.collect::<Vec<_>>(), data.wrong);
        assert_eq!(data.wrong.iter().filter(|wrong| **wrong).count(), 12);
        // The images are those of the same settings without noise.
        let clean = NoisyLabelsConfig { noise: 0.0, ..SETTINGS }.generate().unwrap();
        assert_eq!((&data.train.images, &data.test), (&clean.train.images, &clean.test));
        assert!(clean.wrong.iter().all(|wrong| !wrong));
        assert!(data.train.images.iter().all(|image| !data.test.images.contains(image)));
    }

    #[test]
    fn tensors_have_a_one_at_the_label() {
        let data = SETTINGS.generate().unwrap();
        let kept = data.train.only(|at| !data.wrong[at]).and(&data.validation);
        let (images, labels) = kept.tensors(&Device::flex());
        assert_eq!((images.dims(), labels.dims()), ([38, 64], [38, 5]));
        assert_eq!(kept.right(&labels).iter().sum::<f64>(), 38.0);
        assert_eq!(kept.right(&(-labels)).iter().sum::<f64>(), 0.0);
    }
}
