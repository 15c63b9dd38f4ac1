//! Tasks of every kind behind one trait, so that loaders, trainers and evaluations are written once.
//!
//! A task is drawn as plain numbers, on any thread and without a device; then it becomes tensors.
//!
//! Does not know: models, losses, how many threads draw.

mod arrays;
mod host;
mod images;
mod multi_label;

use std::sync::Arc;

use burn::tensor::Device;

use crate::Error;

pub use arrays::{ArrayClasses, ArrayTasks, HostArrays, LabeledArrays};
pub use host::{Floats, Labels};
pub use images::{EpisodeList, ImageTasks};
pub use multi_label::{HostMultiLabel, MultiLabelEpisode, MultiLabelImages, MultiLabelTasks, MultiLabeledImages};

/// Tasks by index: each a pure function of the settings and its index.
///
/// Nothing may be remembered between calls. Then workers can share it, tasks can be drawn ahead and in
/// any order, and a run that was interrupted goes on with the task it would have had.
///
/// # Example
/// A kind of task of one's own, parabolas known at five points:
/// ```
/// use fewshot_data::{Error, Floats, Split, Stream, SupportQuery, Tasks, ToDevice};
///
/// struct Parabolas { seed: u64, part: Split }
///
/// impl Tasks for Parabolas {
///     type Task = SupportQuery<(Floats<2>, Floats<2>)>; // inputs and targets, each [n, 1]
///
///     fn draw(&self, index: u64) -> Result<Self::Task, Error> {
///         let mut draws = Stream::for_task(self.seed, self.part, index);
///         let width = draws.uniform(-1.0, 1.0);
///         let mut points = |n: usize| {
///             let x: Vec<f32> = (0..n).map(|_| draws.uniform(-2.0, 2.0) as f32).collect();
///             let y = x.iter().map(|x| width as f32 * x * x).collect();
///             Ok::<_, Error>((Floats::new(x, [n, 1])?, Floats::new(y, [n, 1])?))
///         };
///         Ok(SupportQuery { support: points(5)?, query: points(20)? })
///     }
/// }
///
/// let tasks = Parabolas { seed: 42, part: Split::Train };
/// let task = tasks.draw(7)?.to_device(&burn::tensor::Device::default());
/// assert_eq!((task.support.0.dims(), task.query.1.dims()), ([5, 1], [20, 1]));
/// # Ok::<(), Error>(())
/// ```
pub trait Tasks: Send + Sync {
    /// A task on the host, mostly a [`SupportQuery`].
    type Task: ToDevice;

    /// The task with this index.
    ///
    /// # Errors
    /// [`Error::TaskIndex`] beyond the end of a list; whatever the data has against it.
    fn draw(&self, index: u64) -> Result<Self::Task, Error>;

    /// How many tasks there are; `None` where every index has one.
    fn count(&self) -> Option<u64> {
        None
    }
}

impl<T: Tasks + ?Sized> Tasks for &T {
    type Task = T::Task;

    fn draw(&self, index: u64) -> Result<Self::Task, Error> {
        (**self).draw(index)
    }

    fn count(&self) -> Option<u64> {
        (**self).count()
    }
}

impl<T: Tasks + ?Sized> Tasks for Arc<T> {
    type Task = T::Task;

    fn draw(&self, index: u64) -> Result<Self::Task, Error> {
        (**self).draw(index)
    }

    fn count(&self) -> Option<u64> {
        (**self).count()
    }
}

impl<T: Tasks + ?Sized> Tasks for Box<T> {
    type Task = T::Task;

    fn draw(&self, index: u64) -> Result<Self::Task, Error> {
        (**self).draw(index)
    }

    fn count(&self) -> Option<u64> {
        (**self).count()
    }
}

/// Plain numbers that can become tensors.
pub trait ToDevice: Send {
    /// What they become.
    type Tensors;

    /// The same on this device, which may be an autodiff one, in its default types.
    ///
    /// # Cost
    /// One copy to the device; on a CPU the numbers are moved and not copied.
    fn to_device(self, device: &Device) -> Self::Tensors;
}

impl<A: ToDevice, B: ToDevice> ToDevice for (A, B) {
    type Tensors = (A::Tensors, B::Tensors);

    fn to_device(self, device: &Device) -> Self::Tensors {
        (self.0.to_device(device), self.1.to_device(device))
    }
}

/// The two halves of a task: what is adapted to, and what the result is judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportQuery<S, Q = S> {
    /// The support set.
    pub support: S,
    /// The query set.
    pub query: Q,
}

impl<S, Q> SupportQuery<S, Q> {
    /// The same halves in another form.
    pub fn map<T, U>(self, support: impl FnOnce(S) -> T, query: impl FnOnce(Q) -> U) -> SupportQuery<T, U> {
        SupportQuery { support: support(self.support), query: query(self.query) }
    }
}

impl<S: ToDevice, Q: ToDevice> ToDevice for SupportQuery<S, Q> {
    type Tensors = SupportQuery<S::Tensors, Q::Tensors>;

    fn to_device(self, device: &Device) -> Self::Tensors {
        self.map(|support| support.to_device(device), |query| query.to_device(device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Squares;

    type Pair = SupportQuery<(Floats<2>, Labels)>;

    impl Tasks for Squares {
        type Task = Pair;

        fn draw(&self, index: u64) -> Result<Self::Task, Error> {
            let half =
                |n: u64| (Floats::new(vec![(n * n) as f32; 6], [3, 2]).unwrap(), Labels::from(vec![n as i64; 3]));
            Ok(SupportQuery { support: half(index), query: half(index + 1) })
        }

        fn count(&self) -> Option<u64> {
            Some(9)
        }
    }

    #[test]
    fn tasks_can_be_boxed_and_shared_and_drawn_on_other_threads() {
        let all: Vec<Box<dyn Tasks<Task = Pair>>> =
            vec![Box::new(Squares), Box::new(Arc::new(Squares)), Box::new(&Squares)];
        for tasks in all {
            assert_eq!(tasks.count(), Some(9));
            let drawn = std::thread::scope(|scope| scope.spawn(|| tasks.draw(3)).join().unwrap()).unwrap();
            let device = Device::flex().autodiff();
            let on_device = drawn.to_device(&device);
            let (features, labels) = on_device.query;
            assert_eq!((features.dims(), features.device(), labels.device()), ([3, 2], device.clone(), device));
            assert_eq!(features.into_data().iter::<f32>().collect::<Vec<_>>(), [16.0; 6]);
            assert_eq!(labels.into_data().iter::<i64>().collect::<Vec<_>>(), [4; 3]);
            assert_eq!(on_device.support.0.into_data().iter::<f32>().next(), Some(9.0));
        }
    }
}
