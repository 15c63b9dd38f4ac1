//! Classification of anything that is an array of numbers: features of another network, signals, tables.
//!
//! Does not know: what the numbers are, files.

use std::collections::HashSet;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor};

use super::{Floats, Labels, SupportQuery, Tasks, ToDevice};
use crate::episode::ClassSize;
use crate::{EpisodeSpec, Episodes, Error, Item, Split};

/// Items of one shape by class, in memory. `D` is the rank of a batch of them: 2 for feature vectors,
/// 3 for sequences of vectors, 4 for images.
///
/// # Example
/// ```
/// use fewshot_data::{ArrayClasses, ArrayTasks, EpisodeSpec, Tasks, ToDevice};
/// let mut data = ArrayClasses::<2>::new(&[3])?; // vectors of three numbers
/// data.push("cat", "", vec![0.0; 4 * 3])?; // four of them
/// data.push("dog", "", vec![1.0; 6 * 3])?;
/// let tasks = ArrayTasks::new(data, EpisodeSpec::new(2, 1, 3), 42)?;
/// let task = tasks.draw(7)?.to_device(&burn::tensor::Device::default());
/// assert_eq!((task.support.features.dims(), task.query.features.dims()), ([2, 3], [6, 3]));
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ArrayClasses<const D: usize> {
    shape: [usize; D],
    size: usize,
    classes: Vec<ArrayClass>,
    names: HashSet<String>,
}

#[derive(Clone, Debug)]
struct ArrayClass {
    name: String,
    group: String,
    values: Vec<f32>,
}

impl<const D: usize> ArrayClasses<D> {
    /// No classes yet, of items of this shape.
    ///
    /// # Errors
    /// [`Error::Setting`] where the shape has not `D - 1` dimensions of at least 1.
    pub fn new(item: &[usize]) -> Result<Self, Error> {
        let size = item.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
        match size {
            Some(size) if size > 0 && item.len() + 1 == D => {
                let shape = std::array::from_fn(|i| if i == 0 { 1 } else { item[i - 1] });
                Ok(Self { shape, size, classes: Vec::new(), names: HashSet::new() })
            }
            _ => {
                let expected = "one dimension fewer than a batch has, each at least 1";
                Err(Error::Setting { setting: "item shape", found: format!("{item:?} for {D} in a batch"), expected })
            }
        }
    }

    /// Adds a class at the end: its items, one after the other.
    ///
    /// # Errors
    /// [`Error::DuplicateClass`] for a name that is there already; [`Error::ValueCount`] where the
    /// values are not a whole, positive number of items.
    pub fn push(&mut self, name: impl Into<String>, group: impl Into<String>, values: Vec<f32>) -> Result<(), Error> {
        let (name, found) = (name.into(), values.len());
        if found == 0 || found % self.size != 0 {
            let expected = format!("a positive multiple of the {} of an item", self.size);
            return Err(Error::ValueCount { what: format!("class {name}"), found, expected });
        }
        if !self.names.insert(name.clone()) {
            return Err(Error::DuplicateClass { class: name });
        }
        self.classes.push(ArrayClass { name, group: group.into(), values });
        Ok(())
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are no classes.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The name of each class.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().map(|class| class.name.as_str())
    }

    fn gather(&self, items: &[Item]) -> Result<HostArrays<D>, Error> {
        let mut values = Vec::with_capacity(items.len() * self.size);
        for &Item { class, image, .. } in items {
            let found = self.classes.get(class).and_then(|class| class.values.chunks_exact(self.size).nth(image));
            values.extend_from_slice(found.ok_or(Error::ForeignEpisode { class, image })?);
        }
        let mut shape = self.shape;
        shape[0] = items.len();
        let labels = items.iter().map(|item| item.label).collect();
        Ok(HostArrays { features: Floats::new(values, shape)?, labels })
    }
}

/// Items and their labels before they are on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct HostArrays<const D: usize> {
    /// `[items, ...]`.
    pub features: Floats<D>,
    /// `[items]`.
    pub labels: Labels,
}

/// Items and their labels.
#[derive(Clone, Debug)]
pub struct LabeledArrays<const D: usize> {
    /// `[items, ...]`, in the device's default float type.
    pub features: Tensor<D>,
    /// `[items]`, in the device's default integer type.
    pub labels: Tensor<1, Int>,
}

impl<const D: usize> ToDevice for HostArrays<D> {
    type Tensors = LabeledArrays<D>;

    fn to_device(self, device: &Device) -> LabeledArrays<D> {
        LabeledArrays { features: self.features.to_device(device), labels: self.labels.to_device(device) }
    }
}

/// Classification tasks over [`ArrayClasses`], drawn as image episodes are.
#[derive(Clone, Debug)]
pub struct ArrayTasks<const D: usize> {
    data: Arc<ArrayClasses<D>>,
    episodes: Episodes,
}

impl<const D: usize> ArrayTasks<D> {
    /// Tasks of this size and seed.
    ///
    /// # Errors
    /// Those of [`Episodes::new`].
    pub fn new(data: impl Into<Arc<ArrayClasses<D>>>, spec: EpisodeSpec, seed: u64) -> Result<Self, Error> {
        let data = data.into();
        let size = |class: &ArrayClass| class.values.len() / data.size;
        let sizes =
            data.classes.iter().map(|class| ClassSize { name: &class.name, group: &class.group, images: size(class) });
        let episodes = Episodes::of(&sizes.collect::<Vec<_>>(), spec, seed, None)?;
        Ok(Self { data, episodes })
    }

    /// Sets what the tasks are for.
    pub fn with_split(mut self, part: Split) -> Self {
        self.episodes = self.episodes.with_split(part);
        self
    }

    /// Which items tasks have; an item is called an image there.
    pub fn episodes(&self) -> &Episodes {
        &self.episodes
    }
}

impl<const D: usize> Tasks for ArrayTasks<D> {
    type Task = SupportQuery<HostArrays<D>>;

    fn draw(&self, index: u64) -> Result<Self::Task, Error> {
        let episode = self.episodes.get(index);
        Ok(SupportQuery { support: self.data.gather(episode.support())?, query: self.data.gather(episode.query())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class k, item i is the 2 x 3 matrix of 100 k + 10 i + 0 to 5.
    fn data() -> ArrayClasses<3> {
        let mut data = ArrayClasses::new(&[2, 3]).unwrap();
        for class in 0..4 {
            let values = (0..5 * 6).map(|i| (100 * class + 10 * (i / 6) + i % 6) as f32).collect();
            data.push(format!("class {class}"), "", values).unwrap();
        }
        data
    }

    #[test]
    fn items_keep_their_shape_and_label() {
        let tasks = ArrayTasks::new(data(), EpisodeSpec::new(3, 2, 1), 7).unwrap().with_split(Split::Test);
        let episode = tasks.episodes().get(4);
        let task = tasks.draw(4).unwrap();
        for (half, items) in [(&task.support, episode.support()), (&task.query, episode.query())] {
            assert_eq!(half.features.shape(), [items.len(), 2, 3]);
            for ((values, item), label) in half.features.values().chunks(6).zip(items).zip(half.labels.values()) {
                let first = (100 * item.class + 10 * item.image) as f32;
                assert_eq!(values, std::array::from_fn::<f32, 6, _>(|i| first + i as f32));
                assert_eq!(*label, item.label as i64);
            }
        }
        let tensors = task.to_device(&Device::flex());
        assert_eq!((tensors.support.features.dims(), tensors.support.labels.dims()), ([6, 2, 3], [6]));
        assert_ne!(tasks.clone().with_split(Split::Train).draw(4).unwrap(), tasks.draw(4).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(ArrayClasses::<2>::new(&[2, 3]).is_err() && ArrayClasses::<3>::new(&[2, 0]).is_err());
        let mut data = data();
        assert!(matches!(data.push("class 1", "", vec![0.0; 6]), Err(Error::DuplicateClass { .. })));
        let error = data.push("x", "", vec![0.0; 7]).unwrap_err();
        assert_eq!(error.to_string(), "class x: 7 values; expected a positive multiple of the 6 of an item");
        // A class that was refused leaves no trace.
        data.push("x", "", vec![0.0; 6]).unwrap();
        assert_eq!((data.len(), data.names().last()), (5, Some("x")));
        let error = ArrayTasks::new(data, EpisodeSpec::new(2, 1, 1), 0).unwrap_err();
        assert!(error.to_string().starts_with("class x has 1 images"), "{error}");
    }
}
