//! Image classification: a dataset, its episodes and a pipeline.
//!
//! Does not know: how episodes are drawn, what transforms do.

use super::{SupportQuery, Tasks};
use crate::batch::{HostImages, gather};
use crate::{Episode, Episodes, Error, FrozenEpisodes, ImageClasses, ImageKey, Pipeline, Plan, Scratch, Split};

/// Positions of query images begin here, and those of another part at multiples of [`PART`].
const QUERY: u64 = 1 << 32;
const PART: u64 = 1 << 40;

/// Episodes without end, or those of a frozen list.
#[derive(Clone, Debug)]
pub enum EpisodeList {
    /// Every index has one.
    Drawn(Episodes),
    /// As many as the list has, by position in it.
    Frozen(FrozenEpisodes),
}

impl From<Episodes> for EpisodeList {
    fn from(episodes: Episodes) -> Self {
        Self::Drawn(episodes)
    }
}

impl From<FrozenEpisodes> for EpisodeList {
    fn from(episodes: FrozenEpisodes) -> Self {
        Self::Frozen(episodes)
    }
}

/// Image classification tasks: episodes of a dataset, each image through a pipeline.
///
/// Random transforms draw from the seed and part of the episodes, the index of the task and the
/// position of the image in it. In a frozen list they go by the index an episode was drawn with, so
/// that a list gives the same images as the episodes it was made of.
///
/// # Cost
/// Per task the buffers of its images, and nothing else that grows with the dataset but the draw
/// itself. 80 images of 84 x 84 x 3 take half a millisecond where the allocator keeps freed memory, and
/// up to three where it returns it to the system and each task's six megabytes are new pages. Cloning
/// shares the images.
///
/// # Example
/// ```
/// use fewshot_data::{EpisodeSpec, Episodes, Glyphs, ImageTasks, Pipeline, Tasks, ToDevice};
/// let data = Glyphs::new(10, 20).generate()?;
/// let episodes = Episodes::new(&data, EpisodeSpec::new(5, 1, 15), 42)?;
/// let tasks = ImageTasks::new(data, episodes, &Pipeline::new().normalize(&[0.1], &[0.3]))?;
/// let task = tasks.draw(7)?.to_device(&burn::tensor::Device::default());
/// assert_eq!(task.support.images.dims(), [5, 1, 28, 28]);
/// assert_eq!(task.query.labels.dims(), [75]);
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImageTasks {
    data: ImageClasses,
    episodes: EpisodeList,
    plan: Plan,
}

impl ImageTasks {
    /// Tasks of these episodes, which must have been made for this dataset.
    ///
    /// # Errors
    /// Those of [`Pipeline::plan`].
    pub fn new(data: ImageClasses, episodes: impl Into<EpisodeList>, pipeline: &Pipeline) -> Result<Self, Error> {
        let plan = pipeline.plan(data.shape())?;
        Ok(Self { data, episodes: episodes.into(), plan })
    }

    /// The dataset.
    pub fn data(&self) -> &ImageClasses {
        &self.data
    }

    /// The shape of the images of tasks, `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.plan.shape()
    }

    /// Which images the task with this index has.
    ///
    /// # Errors
    /// [`Error::TaskIndex`] beyond the end of a frozen list.
    pub fn episode(&self, index: u64) -> Result<Episode, Error> {
        match &self.episodes {
            EpisodeList::Drawn(episodes) => Ok(episodes.get(index)),
            EpisodeList::Frozen(list) => {
                let found = usize::try_from(index).ok().and_then(|at| list.episodes().get(at));
                found.cloned().ok_or(Error::TaskIndex { index, tasks: list.episodes().len() as u64 })
            }
        }
    }

    fn seed(&self) -> (u64, Split) {
        match &self.episodes {
            EpisodeList::Drawn(episodes) => (episodes.seed(), episodes.split()),
            EpisodeList::Frozen(list) => (list.seed(), list.split()),
        }
    }
}

/// Where the transforms of a task draw: the key of its first support image, and of its first query.
pub(super) fn keys(seed: u64, part: Split, task: u64) -> [ImageKey; 2] {
    [0, QUERY].map(|first| ImageKey { seed, task, image: part as u64 * PART + first })
}

impl Tasks for ImageTasks {
    type Task = SupportQuery<HostImages>;

    fn draw(&self, index: u64) -> Result<Self::Task, Error> {
        let episode = self.episode(index)?;
        let (seed, part) = self.seed();
        let [support, query] = keys(seed, part, episode.index());
        let scratch = &mut Scratch::default();
        Ok(SupportQuery {
            support: gather(episode.support(), &self.data, &self.plan, support, scratch)?,
            query: gather(episode.query(), &self.data, &self.plan, query, scratch)?,
        })
    }

    fn count(&self) -> Option<u64> {
        match &self.episodes {
            EpisodeList::Drawn(_) => None,
            EpisodeList::Frozen(list) => Some(list.episodes().len() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColorJitter, EpisodeSpec, Fill, Glyphs, ToDevice};
    use burn::tensor::Device;

    fn data() -> ImageClasses {
        Glyphs::new(8, 6).generate().unwrap()
    }

    fn training() -> Pipeline {
        Pipeline::new().random_crop([28, 28], 4, Fill::Zero).flip(0.5).jitter(ColorJitter::new(0.4, 0.4, 0.0, 0.0))
    }

    fn tasks(part: Split, pipeline: &Pipeline) -> ImageTasks {
        let episodes = Episodes::new(&data(), EpisodeSpec::new(3, 2, 3), 4).unwrap().with_split(part);
        ImageTasks::new(data(), episodes, pipeline).unwrap()
    }

    #[test]
    fn plain_tasks_are_the_batches_of_their_episode() {
        let (tasks, device) = (tasks(Split::Train, &Pipeline::new()), Device::flex());
        let task = tasks.draw(9).unwrap().to_device(&device);
        let episode = tasks.episode(9).unwrap();
        let query = episode.query_batch(tasks.data(), &device).unwrap();
        assert_eq!(task.query.images.into_data(), query.images.into_data());
        assert_eq!(task.query.labels.into_data(), query.labels.into_data());
        assert_eq!(task.support.labels.into_data().iter::<i64>().collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
        assert_eq!(tasks.count(), None);
    }

    #[test]
    fn threads_and_order_do_not_matter() {
        let tasks = tasks(Split::Train, &training());
        let alone: Vec<_> = (0..12).map(|i| tasks.draw(i).unwrap()).collect();
        let drawn = std::thread::scope(|scope| {
            let draw = |i| {
                scope.spawn({
                    let tasks = &tasks;
                    move || tasks.draw(i).unwrap()
                })
            };
            let threads: Vec<_> = (0..12).rev().map(draw).collect();
            threads.into_iter().rev().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(alone, drawn);
    }

    #[test]
    fn each_image_part_and_half_has_its_own_transforms() {
        // One image everywhere, so that only transforms can differ.
        let mut same = ImageClasses::new([1, 6, 6]).unwrap();
        let image: Vec<u8> = (0..36).map(|i| 7 * i).collect();
        same.push("a", "", image.repeat(4)).unwrap();
        let pipeline = Pipeline::new().random_crop([6, 6], 5, Fill::Zero).jitter(ColorJitter::new(0.9, 0.0, 0.0, 0.0));
        let tasks = |part| {
            let episodes = Episodes::new(&same, EpisodeSpec::new(1, 2, 2), 0).unwrap().with_split(part);
            ImageTasks::new(same.clone(), episodes, &pipeline).unwrap()
        };
        let mut seen = Vec::new();
        for (part, index) in [(Split::Train, 0), (Split::Train, 1), (Split::Val, 0), (Split::Test, 0)] {
            let task = tasks(part).draw(index).unwrap();
            let halves = [task.support.images, task.query.images];
            seen.extend(
                halves.iter().flat_map(|half| half.values().chunks(36).map(<[f32]>::to_vec)).collect::<Vec<_>>(),
            );
        }
        assert_eq!(seen.len(), 16);
        assert!((1..16).all(|i| !seen[..i].contains(&seen[i])));
    }

    #[test]
    fn a_frozen_list_gives_the_same_images_and_ends() {
        let (tasks, data) = (tasks(Split::Val, &training()), data());
        let EpisodeList::Drawn(episodes) = &tasks.episodes else { unreachable!() };
        let frozen = FrozenEpisodes::freeze(&data, episodes, 5..8).unwrap();
        let listed = ImageTasks::new(data, frozen, &training()).unwrap();
        assert_eq!(listed.count(), Some(3));
        for position in 0..3 {
            assert_eq!(listed.draw(position).unwrap(), tasks.draw(position + 5).unwrap());
        }
        let error = listed.draw(3).unwrap_err();
        assert_eq!(error.to_string(), "task 3 is out of range; there are 3 tasks");
    }
}
