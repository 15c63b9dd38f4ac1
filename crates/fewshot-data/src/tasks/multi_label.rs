//! Tasks of several labels at once.
//!
//! Does not know: files, how scores are counted.

mod images;

use std::collections::HashSet;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::images::keys;
use super::{Floats, SupportQuery, Tasks, ToDevice};
use crate::draw::Domain;
use crate::episode::{ClassPool, ClassSize, Place, Sizes, What};
use crate::{EpisodeSpec, Error, ImageKey, LabelOrder, Layout, Pipeline, Plan, Scratch, Split};

pub use images::MultiLabelImages;

/// Which images a multi-label task has, and what its labels stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiLabelEpisode {
    /// Indices of the classes; the position is the column of the targets.
    pub classes: Vec<usize>,
    /// Indices of the support images: for each class in order, those drawn for it.
    pub support: Vec<usize>,
    /// Indices of the query images.
    pub query: Vec<usize>,
}

/// Tasks of several labels at once: some classes, and for each of them `shot` support and `query` query
/// images that carry it. Images carry whichever of the classes they have, so a class has `shot` positive
/// examples at least and mostly more. No image occurs twice in a task.
///
/// Classes of a drawn task come one after the other and take no image that was taken before. So a class
/// counts as having only the images that it is sure to find then; where that is too few for the
/// specification, `too_small` decides.
///
/// # Cost
/// As for image tasks, and the images that a drawn class has.
///
/// # Example
/// ```
/// use fewshot_data::{EpisodeSpec, MultiLabelImages, MultiLabelTasks, Pipeline, Tasks, ToDevice};
/// let names = ["cat", "dog", "tree"].map(String::from).to_vec();
/// let labels = (0..60).map(|image| if image % 4 == 0 { vec![image % 3, (image + 1) % 3] } else { vec![image % 3] });
/// let data = MultiLabelImages::new([1, 4, 4], names, vec![0u8; 60 * 16], labels.collect())?;
/// let tasks = MultiLabelTasks::new(data, EpisodeSpec::new(2, 1, 3), 42, &Pipeline::new())?;
/// let task = tasks.draw(7)?.to_device(&burn::tensor::Device::default());
/// assert_eq!((task.query.images.dims(), task.query.targets.dims()), ([6, 1, 4, 4], [6, 2]));
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MultiLabelTasks {
    data: Arc<MultiLabelImages>,
    spec: EpisodeSpec,
    seed: u64,
    part: Split,
    pool: ClassPool,
    plan: Plan,
}

impl MultiLabelTasks {
    /// Tasks of this size and seed. Classes are drawn uniformly, or by size by their images; they have
    /// no groups.
    ///
    /// # Errors
    /// Those of [`Episodes::new`](crate::Episodes::new), counting for each class the images it is sure
    /// to find, [`Error::SharedImages`] where these alone are too few, and those of
    /// [`Pipeline::plan`].
    pub fn new(
        data: impl Into<Arc<MultiLabelImages>>,
        spec: EpisodeSpec,
        seed: u64,
        pipeline: &Pipeline,
    ) -> Result<Self, Error> {
        let data = data.into();
        let named = data.names.iter().enumerate();
        let sizes = named.map(|(class, name)| ClassSize { name, group: "", images: data.sure(class, &spec) });
        let sizes: Vec<ClassSize> = sizes.collect();
        let pool = ClassPool::new(&sizes, &spec, None).map_err(|error| data.in_full(error))?;
        let plan = pipeline.plan(data.shape)?;
        Ok(Self { data, spec, seed, part: Split::default(), pool, plan })
    }

    /// Sets what the tasks are for.
    pub fn with_split(mut self, part: Split) -> Self {
        self.part = part;
        self
    }

    /// Which images the task with this index has.
    pub fn episode(&self, index: u64) -> MultiLabelEpisode {
        let place = Place { domain: Domain::MultiLabel, seed: self.seed, part: self.part, index };
        let Sizes { way, shots, queries } = self.spec.sizes(&place);
        let mut classes = self.pool.draw(&place, way);
        if self.spec.label_order == LabelOrder::ByClass {
            classes.sort_unstable();
        }
        let (mut support, mut query, mut taken) = (Vec::new(), Vec::new(), HashSet::<usize>::new());
        let mut stream = place.stream(What::Classes);
        for (((&class, shot), queries), section) in classes.iter().zip(shots).zip(queries).zip(1..) {
            stream.seek(section);
            let images = self.data.images_of(class);
            // However many were taken, so many more than needed are enough.
            let drawn = stream.choose(images.len(), shot + queries + taken.len());
            let free = drawn.into_iter().map(|at| images[at]).filter(|image| !taken.contains(image));
            let free: Vec<usize> = free.take(shot + queries).collect();
            taken.extend(&free);
            let (of_support, of_query) = free.split_at(shot.min(free.len()));
            support.extend(of_support);
            query.extend(of_query);
        }
        MultiLabelEpisode { classes, support, query }
    }

    fn gather(&self, classes: &[usize], images: &[usize], key: ImageKey) -> Result<HostMultiLabel, Error> {
        let [channels, height, width] = self.plan.shape();
        let size = channels * height * width;
        let (mut values, scratch) = (vec![0.0; images.len() * size], &mut Scratch::default());
        for ((&image, out), position) in images.iter().zip(values.chunks_exact_mut(size)).zip(key.image..) {
            let bytes = self.data.image(image).ok_or(Error::ForeignEpisode { class: 0, image })?;
            self.plan.apply(bytes, Layout::Planar, ImageKey { image: position, ..key }, scratch, out)?;
        }
        let has = |image: usize, class: &usize| if self.data.labels(image).contains(class) { 1.0 } else { 0.0 };
        let targets = images.iter().flat_map(|&image| classes.iter().map(move |class| has(image, class))).collect();
        Ok(HostMultiLabel {
            images: Floats::new(values, [images.len(), channels, height, width])?,
            targets: Floats::new(targets, [images.len(), classes.len()])?,
        })
    }
}

/// Images and their targets before they are on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct HostMultiLabel {
    /// `[items, channels, height, width]`.
    pub images: Floats<4>,
    /// `[items, classes]`, 1 where an image carries a class and 0 where not.
    pub targets: Floats<2>,
}

/// Images and which of the task's classes they carry.
#[derive(Clone, Debug)]
pub struct MultiLabeledImages {
    /// `[items, channels, height, width]`, in the device's default float type.
    pub images: Tensor<4>,
    /// `[items, classes]`, 1 where an image carries a class and 0 where not: floats, as a binary
    /// cross-entropy wants them.
    pub targets: Tensor<2>,
}

impl ToDevice for HostMultiLabel {
    type Tensors = MultiLabeledImages;

    fn to_device(self, device: &Device) -> MultiLabeledImages {
        MultiLabeledImages { images: self.images.to_device(device), targets: self.targets.to_device(device) }
    }
}

impl Tasks for MultiLabelTasks {
    type Task = SupportQuery<HostMultiLabel>;

    fn draw(&self, index: u64) -> Result<Self::Task, Error> {
        let MultiLabelEpisode { classes, support, query } = self.episode(index);
        let [of_support, of_query] = keys(self.seed, self.part, index);
        Ok(SupportQuery {
            support: self.gather(&classes, &support, of_support)?,
            query: self.gather(&classes, &query, of_query)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TooSmall;

    /// 120 images of 2 x 1 pixels that hold their index twice; image i has label i % 6, every third one
    /// the next label too.
    fn data() -> MultiLabelImages {
        let names = (0..6).map(|class| format!("class {class}")).collect();
        let labels = |i: usize| if i.is_multiple_of(3) { vec![(i + 1) % 6, i % 6] } else { vec![i % 6] };
        let bytes: Vec<u8> = (0..240).map(|at| (at / 2) as u8).collect();
        MultiLabelImages::new([1, 2, 1], names, bytes, (0..120).map(labels).collect()).unwrap()
    }

    #[test]
    fn images_targets_and_classes_belong_together() {
        let tasks = MultiLabelTasks::new(data(), EpisodeSpec::new(3, 2, 4), 5, &Pipeline::new()).unwrap();
        let (mut several, data) = (0, data());
        for index in 0..200 {
            let (episode, task) = (tasks.episode(index), tasks.draw(index).unwrap());
            let all: HashSet<_> = episode.support.iter().chain(&episode.query).collect();
            assert_eq!((episode.support.len(), episode.query.len(), all.len()), (6, 12, 18));
            for (images, half, each) in [(&episode.support, &task.support, 2), (&episode.query, &task.query, 4)] {
                assert_eq!((half.images.shape(), half.targets.shape()), ([3 * each, 1, 2, 1], [3 * each, 3]));
                for (position, (&image, targets)) in images.iter().zip(half.targets.values().chunks(3)).enumerate() {
                    assert_eq!(half.images.values()[2 * position], image as f32 / 255.0);
                    let carries = |class: &usize| f32::from(u8::from(data.labels(image).contains(class)));
                    assert_eq!(targets, episode.classes.iter().map(carries).collect::<Vec<_>>());
                    // An image was drawn for a class that it carries.
                    assert_eq!(targets[position / each], 1.0);
                    several += usize::from(targets.iter().sum::<f32>() > 1.0);
                }
            }
        }
        // Catches targets of the one class that an image was drawn for.
        assert!(several > 100, "{several}");
    }

    #[test]
    fn tasks_are_a_pure_function_of_their_place() {
        let make = |seed, part| {
            MultiLabelTasks::new(data(), EpisodeSpec::new(3, 1, 2), seed, &Pipeline::new()).unwrap().with_split(part)
        };
        let tasks = make(1, Split::Train);
        let forward: Vec<_> = (0..20).map(|i| tasks.episode(i)).collect();
        assert!((0..20).rev().all(|i| tasks.episode(i) == forward[i as usize]));
        assert!((1..20).all(|i| !forward[..i].contains(&forward[i])));
        assert!(
            !forward.contains(&make(2, Split::Train).episode(0)) && !forward.contains(&make(1, Split::Test).episode(0))
        );
        let spec = EpisodeSpec::new(3, 1, 2).with_label_order(LabelOrder::ByClass);
        let ordered = MultiLabelTasks::new(data(), spec, 1, &Pipeline::new()).unwrap();
        assert!((0..20).all(|i| ordered.episode(i).classes.is_sorted()));
    }

    #[test]
    fn a_class_that_others_may_exhaust_is_too_small() {
        // All images of class 1 carry class 0 as well, which may take them all.
        let labels = (0..12).map(|i| if i < 4 { vec![0, 1] } else { vec![i % 2 * 2] }).collect();
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let data = MultiLabelImages::new([1, 1, 1], names, vec![0; 12], labels).unwrap();
        let spec = EpisodeSpec::new(2, 1, 1);
        let make = |spec| MultiLabelTasks::new(data.clone(), spec, 0, &Pipeline::new());
        let error = make(EpisodeSpec::new(2, 1, 2)).unwrap_err().to_string();
        let expected = "class b has 4 images and is sure of 1 of them when other classes of a task take theirs; \
                        expected to be sure of 1 support + 2 query images";
        assert_eq!(error, expected);
        let error = make(EpisodeSpec::new(1, 2, 3)).unwrap_err().to_string();
        assert!(error.starts_with("class b has 4 images; expected at least 2 support"), "{error}");
        let left = make(EpisodeSpec::new(2, 1, 2).with_too_small(TooSmall::LeaveOut)).unwrap();
        assert!((0..50).all(|i| !left.episode(i).classes.contains(&1)));
        let tasks = make(spec).unwrap();
        assert!((0..200).all(|i| tasks.episode(i).query.len() == 2));
    }
}
