//! Tasks drawn ahead on worker threads, delivered in order.
//!
//! Does not know: what a task is made of, models.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use burn::tensor::Device;

use crate::{Error, Tasks, ToDevice};

/// Draws tasks ahead on worker threads while a model computes, and delivers them in order.
///
/// The tasks are the same whatever the number of threads: each is a pure function of its index.
///
/// # Example
/// ```
/// # use fewshot_data::{EpisodeSpec, Episodes, Error, Glyphs, ImageTasks, Loader, Pipeline};
/// let data = Glyphs::new(20, 20).generate()?;
/// let episodes = Episodes::new(&data, EpisodeSpec::new(5, 1, 15), 42)?;
/// let loader = Loader::new(ImageTasks::new(data, episodes, &Pipeline::new())?).with_threads(2);
/// let device = burn::tensor::Device::default();
/// let mut tasks = loader.iter_from(0); // or from the task a resumed run goes on with
/// for _ in 0..3 {
///     let meta_batch: Vec<_> = tasks.on(&device).take(4).collect::<Result<_, Error>>()?;
///     assert_eq!(meta_batch[0].query.images.dims(), [75, 1, 28, 28]);
/// }
/// println!("{}", tasks.throughput()); // tasks a second, and how long the model waited for them
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Loader<T> {
    tasks: Arc<T>,
    threads: usize,
    /// Four for each thread where nothing is set.
    ahead: Option<u64>,
}

impl<T> Clone for Loader<T> {
    fn clone(&self) -> Self {
        Self { tasks: self.tasks.clone(), ..*self }
    }
}

impl<T: Tasks + 'static> Loader<T> {
    /// A loader with a thread for each core, 16 at most, and four tasks for each thread drawn ahead.
    pub fn new(tasks: T) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(16);
        Self { tasks: Arc::new(tasks), threads, ahead: None }
    }

    /// Sets how many threads draw; 0 draws on the thread that asks, when it asks. No more are started than tasks may be
    /// ahead, nor than the system allows.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets how many tasks may be drawn before they are asked for, at least 1: the memory that is held (default: four for
    /// each thread).
    pub fn with_ahead(mut self, tasks: usize) -> Self {
        self.ahead = Some((tasks as u64).max(1));
        self
    }

    /// The tasks.
    pub fn tasks(&self) -> &T {
        &self.tasks
    }

    /// The tasks from this index on, to the end of a list or without end. The threads end with the iterator.
    pub fn iter_from(&self, first: u64) -> TaskIter<T> {
        let ahead = self.ahead.unwrap_or((self.threads as u64).saturating_mul(4).max(1));
        let shared = Arc::new(Shared {
            next: AtomicU64::new(first),
            end: self.tasks.count().unwrap_or(u64::MAX),
            window: Mutex::new(first.saturating_add(ahead)),
            moved: Condvar::new(),
        });
        let (sender, drawn) = channel();
        let worker = |_| {
            let (tasks, shared, sender) = (self.tasks.clone(), shared.clone(), sender.clone());
            thread::Builder::new().spawn(move || draw_ahead(&*tasks, &shared, &sender))
        };
        let threads = (self.threads as u64).min(ahead);
        let workers = (0..threads).map(worker).map_while(Result::ok).collect();
        let started = Instant::now();
        let tasks = self.tasks.clone();
        TaskIter {
            tasks,
            shared,
            drawn,
            workers,
            early: BTreeMap::new(),
            next: first,
            ahead,
            failed: false,
            delivered: 0,
            waited: Duration::ZERO,
            started,
        }
    }
}

/// What the workers of an iterator share.
struct Shared {
    /// The index that is drawn next.
    next: AtomicU64,
    /// One past the last index.
    end: u64,
    /// Indices below this may be drawn; 0 when the iterator is gone.
    window: Mutex<u64>,
    moved: Condvar,
}

impl Shared {
    /// Waits until this index may be drawn; false when nothing more is wanted.
    fn wait_for(&self, index: u64) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        while index >= *window && *window > 0 {
            window = self.moved.wait(window).unwrap_or_else(PoisonError::into_inner);
        }
        *window > 0
    }

    fn move_window(&self, to: u64) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // Once shut it stays shut.
        if *window > 0 {
            *window = to;
        }
        self.moved.notify_all();
    }
}

/// A task as a worker drew it, or the panic of the code that drew it.
type Numbered<T> = (u64, thread::Result<Result<T, Error>>);

fn draw_ahead<T: Tasks>(tasks: &T, shared: &Shared, drawn: &Sender<Numbered<T::Task>>) {
    loop {
        // The end is looked at first, so that the counter cannot run over it.
        let claimed = shared
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| (next < shared.end).then(|| next + 1));
        let Ok(index) = claimed else { return };
        if !shared.wait_for(index) {
            return;
        }
        // A panic is carried to whoever asks for the task; lost here, they would wait for it forever.
        let task = catch_unwind(AssertUnwindSafe(|| tasks.draw(index)));
        if drawn.send((index, task)).is_err() {
            return;
        }
    }
}

/// Tasks in order, drawn ahead: see [`Loader::iter_from`].
///
/// After an error, or a panic in a task, there are no more.
pub struct TaskIter<T: Tasks> {
    tasks: Arc<T>,
    shared: Arc<Shared>,
    drawn: Receiver<Numbered<T::Task>>,
    workers: Vec<JoinHandle<()>>,
    /// Tasks that came before their turn.
    early: BTreeMap<u64, thread::Result<Result<T::Task, Error>>>,
    next: u64,
    ahead: u64,
    failed: bool,
    delivered: u64,
    waited: Duration,
    started: Instant,
}

impl<T: Tasks> TaskIter<T> {
    /// The same tasks as tensors on this device, which may be an autodiff one.
    pub fn on<'a>(&'a mut self, device: &'a Device) -> impl Iterator<Item = Result<Tensors<T>, Error>> + 'a {
        self.map(move |task| Ok(task?.to_device(device)))
    }

    /// The index of the task that comes next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// How fast tasks came so far.
    pub fn throughput(&self) -> Throughput {
        Throughput { tasks: self.delivered, elapsed: self.started.elapsed(), waited: self.waited }
    }

    /// The task with the next index, from the workers or drawn here.
    fn receive(&mut self) -> Result<T::Task, Error> {
        if self.workers.is_empty() {
            return self.tasks.draw(self.next);
        }
        loop {
            if let Some(task) = self.early.remove(&self.next) {
                return task.unwrap_or_else(|fault| resume_unwind(fault));
            }
            // Workers end before the iterator only when all they had to draw has been sent.
            let Ok((index, task)) = self.drawn.recv() else { return self.tasks.draw(self.next) };
            self.early.insert(index, task);
        }
    }
}

/// The tensors of a task.
type Tensors<T> = <<T as Tasks>::Task as ToDevice>::Tensors;

impl<T: Tasks> Iterator for TaskIter<T> {
    type Item = Result<T::Task, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.next >= self.shared.end {
            return None;
        }
        let asked = Instant::now();
        // A panic that comes out of here is in the place of its task, which nobody would draw again.
        self.failed = true;
        let task = self.receive();
        self.waited += asked.elapsed();
        self.next += 1;
        self.shared.move_window(self.next.saturating_add(self.ahead));
        self.failed = task.is_err();
        self.delivered += u64::from(task.is_ok());
        Some(task)
    }
}

impl<T: Tasks> Drop for TaskIter<T> {
    fn drop(&mut self) {
        self.shared.move_window(0);
        for worker in self.workers.drain(..) {
            // Panics of tasks were caught; there is nothing else to hear of.
            let _ = worker.join();
        }
    }
}

impl<T: Tasks> fmt::Debug for TaskIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskIter(at task {}, {} threads)", self.next, self.workers.len())
    }
}

/// How fast tasks came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throughput {
    /// Tasks delivered.
    pub tasks: u64,
    /// Since the iterator was made.
    pub elapsed: Duration,
    /// Time the caller spent waiting for tasks: close to all of it where drawing is the bottleneck.
    pub waited: Duration,
}

impl Throughput {
    /// Tasks in a second of all time elapsed.
    pub fn per_second(&self) -> f64 {
        self.tasks as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = 100.0 * self.waited.as_secs_f64() / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        write!(f, "{:.1} tasks/s ({waiting:.0} % of the time spent waiting for them)", self.per_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks that are their index, drawn slower when it is even; fails at one index, ends at another.
    struct Numbers {
        end: Option<u64>,
        fails: u64,
        drawn: Arc<AtomicU64>,
    }

    struct Number(u64);

    impl ToDevice for Number {
        type Tensors = u64;

        fn to_device(self, _: &Device) -> u64 {
            self.0
        }
    }

    impl Tasks for Numbers {
        type Task = Number;

        fn draw(&self, index: u64) -> Result<Number, Error> {
            self.drawn.fetch_add(1, Ordering::SeqCst);
            if index.is_multiple_of(2) {
                thread::sleep(Duration::from_micros(300));
            }
            match index == self.fails {
                true => Err(Error::NoSplit),
                false => Ok(Number(index)),
            }
        }

        fn count(&self) -> Option<u64> {
            self.end
        }
    }

    fn loader(end: Option<u64>, fails: u64, threads: usize) -> (Loader<Numbers>, Arc<AtomicU64>) {
        let drawn = Arc::new(AtomicU64::new(0));
        let numbers = Numbers { end, fails, drawn: drawn.clone() };
        (Loader::new(numbers).with_threads(threads).with_ahead(5), drawn)
    }

    #[test]
    fn tasks_come_in_order_on_any_number_of_threads() {
        for threads in [0, 1, 3, 8] {
            let (loader, _) = loader(Some(60), u64::MAX, threads);
            let device = Device::flex();
            let all: Vec<u64> = loader.iter_from(7).on(&device).map(Result::unwrap).collect();
            assert_eq!(all, (7..60).collect::<Vec<_>>(), "{threads} threads");
        }
    }

    #[test]
    fn no_more_are_drawn_than_may_be_ahead() {
        // Catches a queue without bounds: a fast loader would fill the memory while a model is slow.
        let (loader, drawn) = loader(None, u64::MAX, 4);
        let mut tasks = loader.iter_from(0);
        assert!(tasks.by_ref().take(10).all(|task| task.is_ok()));
        thread::sleep(Duration::from_millis(50));
        assert_eq!(drawn.load(Ordering::SeqCst), 15);
        assert_eq!((tasks.position(), tasks.throughput().tasks), (10, 10));
    }

    #[test]
    fn an_error_comes_in_its_place_and_ends_it() {
        for threads in [0, 3] {
            let (loader, _) = loader(None, 4, threads);
            let all: Vec<_> = loader.iter_from(2).map(|task| task.map(|n| n.0).ok()).collect();
            assert_eq!(all, [Some(2), Some(3), None]);
        }
    }

    #[test]
    fn dropping_an_iterator_ends_its_threads() {
        let (loader, drawn) = loader(None, u64::MAX, 3);
        drop(loader.iter_from(0));
        let after = drawn.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(drawn.load(Ordering::SeqCst), after);
        // The last index there is does not overflow.
        let last: Vec<u64> = loader.iter_from(u64::MAX - 2).map(|task| task.unwrap().0).collect();
        assert_eq!(last, [u64::MAX - 2, u64::MAX - 1]);
    }

    #[test]
    fn a_panic_in_a_task_is_not_lost() {
        struct Panics;
        impl Tasks for Panics {
            type Task = Number;
            fn draw(&self, _: u64) -> Result<Number, Error> {
                panic!("the code of a task");
            }
        }
        for threads in [0, 2] {
            let mut tasks = Loader::new(Panics).with_threads(threads).iter_from(0);
            assert!(catch_unwind(AssertUnwindSafe(|| tasks.next().is_some())).is_err());
            // Catches waiting forever for a task whose thread has sent its panic already.
            assert!(tasks.next().is_none());
        }
    }

    #[test]
    fn threads_are_no_more_than_can_be_of_use() {
        let (loader, _) = loader(Some(40), u64::MAX, usize::MAX);
        let tasks = loader.iter_from(0);
        assert_eq!(tasks.workers.len(), 5);
        assert_eq!(tasks.map(|task| task.unwrap().0).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    }
}
