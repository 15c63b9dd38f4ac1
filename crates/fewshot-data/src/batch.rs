//! From episodes to tensors.
//!
//! Does not know: how episodes are drawn; models.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{Episode, Error, ImageClasses, Item};

/// Images and their labels.
#[derive(Clone, Debug)]
pub struct LabeledImages {
    /// `[items, channels, height, width]` in [0, 1], in the device's default float type.
    pub images: Tensor<4>,
    /// `[items]`, in the device's default integer type.
    pub labels: Tensor<1, Int>,
}

impl Episode {
    /// The support set as tensors on this device, which may be an autodiff one.
    ///
    /// # Shapes
    /// `[way * shot, channels, height, width]` and `[way * shot]`, label by label.
    ///
    /// # Errors
    /// [`Error::ForeignEpisode`] where the dataset lacks an image of the episode. Another dataset that
    /// has all these indices cannot be told from the right one.
    ///
    /// # Example
    /// ```
    /// # use fewshot_data::{EpisodeSpec, Episodes, Glyphs};
    /// # let data = Glyphs::new(5, 3).generate()?;
    /// # let episode = Episodes::new(&data, EpisodeSpec::new(5, 1, 2), 0)?.get(0);
    /// let device = burn::tensor::Device::default().autodiff();
    /// let support = episode.support_batch(&data, &device)?;
    /// assert_eq!(support.images.dims(), [5, 1, 28, 28]);
    /// # Ok::<(), fewshot_data::Error>(())
    /// ```
    pub fn support_batch(&self, data: &ImageClasses, device: &Device) -> Result<LabeledImages, Error> {
        gather(self.support(), data, device)
    }

    /// The query set as tensors on this device: see [`support_batch`](Self::support_batch).
    ///
    /// # Shapes
    /// `[way * query, channels, height, width]` and `[way * query]`, label by label.
    ///
    /// # Errors
    /// [`Error::ForeignEpisode`] where the dataset lacks an image of the episode.
    pub fn query_batch(&self, data: &ImageClasses, device: &Device) -> Result<LabeledImages, Error> {
        gather(self.query(), data, device)
    }
}

fn gather(items: &[Item], data: &ImageClasses, device: &Device) -> Result<LabeledImages, Error> {
    let [channels, height, width] = data.shape();
    let mut values = Vec::with_capacity(items.len() * channels * height * width);
    for &Item { class, image, .. } in items {
        let found = data.classes().get(class).and_then(|c| c.image(image));
        let bytes = found.ok_or(Error::ForeignEpisode { class, image })?;
        values.extend(bytes.iter().map(|&byte| f32::from(byte) / 255.0));
    }
    let labels: Vec<i64> = items.iter().map(|item| item.label as i64).collect();
    let images = TensorData::new(values, [items.len(), channels, height, width]);
    let labels = TensorData::new(labels, [items.len()]);
    Ok(LabeledImages { images: Tensor::from_data(images, device), labels: Tensor::from_data(labels, device) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::flat;
    use crate::{EpisodeSpec, Episodes};

    #[test]
    fn tensors_hold_the_items_images_and_labels() {
        // Class k, image i of this dataset is 10 * (k + 1) + i everywhere.
        let data = flat(&[("A", 6)], 5);
        let episode = Episodes::new(&data, EpisodeSpec::new(4, 2, 3), 1).unwrap().get(3);
        let device = Device::flex();
        for (batch, items) in [
            (episode.support_batch(&data, &device).unwrap(), episode.support()),
            (episode.query_batch(&data, &device).unwrap(), episode.query()),
        ] {
            assert_eq!(batch.images.dims(), [items.len(), 1, 2, 2]);
            let images = batch.images.into_data();
            let expected: Vec<f32> =
                items.iter().flat_map(|item| [(10 * (item.class + 1) + item.image) as f32 / 255.0; 4]).collect();
            assert_eq!(images.iter::<f32>().collect::<Vec<_>>(), expected);
            let labels: Vec<i64> = batch.labels.into_data().iter::<i64>().collect();
            assert!(labels.iter().zip(items).all(|(&label, item)| label == item.label as i64));
        }
    }

    #[test]
    fn full_ink_is_one() {
        let mut data = ImageClasses::new([1, 1, 2]).unwrap();
        data.push("A/character01", "A", vec![0, 255, 255, 0]).unwrap();
        let episode = Episodes::new(&data, EpisodeSpec::new(1, 1, 1), 0).unwrap().get(0);
        let batch = episode.support_batch(&data, &Device::flex()).unwrap();
        let mut values: Vec<f32> = batch.images.into_data().iter::<f32>().collect();
        values.sort_by(f32::total_cmp);
        assert_eq!(values, [0.0, 1.0]);
    }

    #[test]
    fn tensors_are_made_on_the_device_given() {
        let data = flat(&[("A", 2)], 2);
        let episode = Episodes::new(&data, EpisodeSpec::new(2, 1, 1), 0).unwrap().get(0);
        let device = Device::flex().autodiff();
        let batch = episode.support_batch(&data, &device).unwrap();
        assert_eq!(batch.images.device(), device);
        assert_eq!(batch.labels.device(), device);
    }

    #[test]
    fn another_dataset_is_an_error() {
        let data = flat(&[("A", 4)], 6);
        let episode = Episodes::new(&data, EpisodeSpec::new(4, 3, 3), 0).unwrap().get(0);
        for other in [flat(&[("A", 3)], 6), flat(&[("A", 4)], 2)] {
            let error = episode.support_batch(&other, &Device::flex()).unwrap_err();
            assert!(matches!(error, Error::ForeignEpisode { .. }), "{error}");
        }
    }
}
