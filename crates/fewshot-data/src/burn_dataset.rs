//! Tasks as Burn's `Dataset`, and meta-batches of them as its `DataLoader` makes batches.
//!
//! Burn's loader on several threads delivers batches in the order they are done; [`Loader`](crate::Loader) keeps that
//! of the tasks.
//!
//! Does not know: what a task is made of.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;

use crate::{Tasks, ToDevice};

/// A number of tasks as a [`Dataset`] whose items are tasks on the host.
///
/// # Example
/// ```
/// use burn::data::dataloader::DataLoaderBuilder;
/// # use fewshot_data::{EpisodeSpec, Episodes, Glyphs, ImageTasks, Pipeline, TaskBatcher, TaskDataset};
/// let data = Glyphs::new(20, 20).generate()?;
/// let episodes = Episodes::new(&data, EpisodeSpec::new(5, 1, 15), 42)?;
/// let tasks = TaskDataset::new(ImageTasks::new(data, episodes, &Pipeline::new())?, 100);
/// let loader = DataLoaderBuilder::new(TaskBatcher).batch_size(4).build(tasks);
/// let meta_batch = loader.iter().next().unwrap().unwrap(); // four tasks, each support and query
/// assert_eq!((meta_batch.len(), meta_batch[0].query.images.dims()), (4, [75, 1, 28, 28]));
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Debug)]
pub struct TaskDataset<T> {
    tasks: Arc<T>,
    length: usize,
}

impl<T: Tasks> TaskDataset<T> {
    /// The first `length` tasks; of a list no more than it has.
    pub fn new(tasks: T, length: usize) -> Self {
        let count = tasks.count().map_or(length, |count| usize::try_from(count).unwrap_or(usize::MAX));
        Self { tasks: Arc::new(tasks), length: length.min(count) }
    }
}

impl<T> Clone for TaskDataset<T> {
    fn clone(&self) -> Self {
        Self { tasks: self.tasks.clone(), length: self.length }
    }
}

impl<T: Tasks> Dataset<T::Task> for TaskDataset<T> {
    /// The task with this index.
    ///
    /// # Panics
    /// Beyond the last, as every dataset of Burn does.
    fn get(&self, index: usize) -> Result<T::Task, DatasetError> {
        assert!(index < self.length, "task {index} is out of range; there are {} tasks", self.length);
        self.tasks.draw(index as u64).map_err(DatasetError::new)
    }

    fn len(&self) -> usize {
        self.length
    }
}

/// Puts tasks on a device, one by one: a meta-batch is a vector, since tasks are adapted to one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskBatcher;

impl<T: ToDevice> Batcher<T, Vec<T::Tensors>> for TaskBatcher {
    fn batch(&self, tasks: Vec<T>, device: &Device) -> Vec<T::Tensors> {
        tasks.into_iter().map(|task| task.to_device(device)).collect()
    }
}
