//! From episodes to images and labels, on the host and as tensors.
//!
//! Does not know: how episodes are drawn; models.

use burn::tensor::{Device, Int, Tensor};

use crate::{Episode, Error, Floats, ImageClasses, ImageKey, Item, Labels, Layout, Pipeline, Plan, Scratch, ToDevice};

/// Images and their labels.
#[derive(Clone, Debug)]
pub struct LabeledImages {
    /// `[items, channels, height, width]` in [0, 1] where nothing normalised them, in the device's
    /// default float type.
    pub images: Tensor<4>,
    /// `[items]`, in the device's default integer type.
    pub labels: Tensor<1, Int>,
}

/// Images and their labels before they are on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct HostImages {
    /// `[items, channels, height, width]`.
    pub images: Floats<4>,
    /// `[items]`.
    pub labels: Labels,
}

impl ToDevice for HostImages {
    type Tensors = LabeledImages;

    fn to_device(self, device: &Device) -> LabeledImages {
        LabeledImages { images: self.images.to_device(device), labels: self.labels.to_device(device) }
    }
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
        plain(self.support(), data, device)
    }

    /// The query set as tensors on this device: see [`support_batch`](Self::support_batch).
    ///
    /// # Shapes
    /// `[way * query, channels, height, width]` and `[way * query]`, label by label.
    ///
    /// # Errors
    /// [`Error::ForeignEpisode`] where the dataset lacks an image of the episode.
    pub fn query_batch(&self, data: &ImageClasses, device: &Device) -> Result<LabeledImages, Error> {
        plain(self.query(), data, device)
    }
}

fn plain(items: &[Item], data: &ImageClasses, device: &Device) -> Result<LabeledImages, Error> {
    let plan = Pipeline::new().plan(data.shape())?;
    let batch = gather(items, data, &plan, ImageKey::default(), &mut Scratch::default())?;
    Ok(batch.to_device(device))
}

/// The images of these items through a plan. The key is that of the first; positions count up.
pub(crate) fn gather(
    items: &[Item],
    data: &ImageClasses,
    plan: &Plan,
    key: ImageKey,
    scratch: &mut Scratch,
) -> Result<HostImages, Error> {
    let [channels, height, width] = plan.shape();
    let size = channels * height * width;
    let mut values = vec![0.0; items.len() * size];
    for ((&Item { class, image, .. }, out), position) in items.iter().zip(values.chunks_exact_mut(size)).zip(key.image..) {
        let found = data.classes().get(class).and_then(|class| class.image(image));
        let found = found.ok_or(Error::ForeignEpisode { class, image })?;
        let bytes: &[u8] = &found;
        plan.apply(bytes, Layout::Planar, ImageKey { image: position, ..key }, scratch, out)?;
    }
    let images = Floats::new(values, [items.len(), channels, height, width])?;
    Ok(HostImages { images, labels: items.iter().map(|item| item.label).collect() })
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
