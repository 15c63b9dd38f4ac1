//! The benchmarks of the literature, each with its split, preprocessing and protocol of evaluation.
//!
//! Does not know: models, how forms are read.

use std::path::Path;

use serde::Serialize;

use crate::forms::arrays::{cifar_fs_part, fc100_part};
use crate::{
    Cache, EpisodeSpec, Episodes, Error, FrozenEpisodes, ImageClasses, ImageTasks, Parts, Pipeline, Sets, Source,
    Split, split_random, vinyals_split,
};

/// A benchmark as the literature uses it: which classes, which preprocessing, which tasks it is judged on.
///
/// Where results in the literature were made differently, the choice made here is one of [`choices`](Self::choices),
/// with its source; every one of them can be changed.
///
/// # Example
/// ```no_run
/// # use fewshot_data::{Benchmark, Loader, Split};
/// let mini = Benchmark::mini_imagenet(5, 1).load("data/mini-imagenet")?; // in any form it comes in
/// let train = Loader::new(mini.tasks(Split::Train, 42)?); // endless
/// let test = Loader::new(mini.tasks(Split::Test, 0)?).iter_from(0).take(mini.evaluation_tasks()); // 600 tasks
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Benchmark {
    name: &'static str,
    spec: Parts<EpisodeSpec>,
    side: usize,
    channels: usize,
    classes: Parts<usize>,
    /// Images of each class; `None` where they differ.
    images: Option<usize>,
    split: Splitting,
    rotations: Parts<bool>,
    pipeline: Parts<Pipeline>,
    evaluation_tasks: usize,
    choices: &'static [Choice],
    #[serde(skip)]
    cache: Cache,
    #[serde(skip)]
    partial: bool,
}

/// How a dataset that comes without a split is split.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Splitting {
    /// It has to come with its split.
    Own,
    /// The lists of Vinyals et al. for Omniglot.
    Vinyals,
    /// 1,100 characters to train, 100 to validate and 423 to test on, by this seed.
    Random(u64),
    /// CIFAR-100's classes by the lists of CIFAR-FS.
    CifarFs,
    /// CIFAR-100's superclasses by those of FC100.
    Fc100,
}

/// One choice a benchmark makes, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// What is chosen.
    pub what: &'static str,
    /// The paper or the code it is from.
    pub source: &'static str,
}

const fn choice(what: &'static str, source: &'static str) -> Choice {
    Choice { what, source }
}

/// Mean and standard deviation of miniImageNet's training images, of 255.
const MINI: ([f64; 3], [f64; 3]) =
    ([120.39586422, 115.59361427, 104.54012653], [70.68188272, 68.27635443, 72.54505529]);
/// Those of CIFAR-FS's.
const CIFAR: ([f64; 3], [f64; 3]) =
    ([129.37731888, 124.10583864, 112.47758569], [68.20947949, 65.43124043, 70.45866994]);

fn normalized((mean, std): ([f64; 3], [f64; 3])) -> Pipeline {
    Pipeline::new().normalize(&mean.map(|value| value / 255.0), &std.map(|value| value / 255.0))
}

fn all<T: Clone>(one: T) -> Parts<T> {
    Parts { train: one.clone(), val: one.clone(), test: one }
}

impl Benchmark {
    /// Omniglot: handwritten characters, 28 x 28, one channel with ink 1 on 0.
    pub fn omniglot(way: usize, shot: usize) -> Self {
        Self {
            split: Splitting::Vinyals,
            rotations: Parts { train: true, val: false, test: false },
            choices: const {
                &[
                    choice(
                        "1,028, 172 and 423 characters",
                        "Vinyals et al. 2016, as lists in prototypical-networks (Snell et al. 2017)",
                    ),
                    choice(
                        "28 x 28 by Lanczos, inverted",
                        "Vinyals et al. 2016 for the size; learn2learn's pipeline for the filter",
                    ),
                    choice(
                        "training characters turned by 90, 180 and 270 degrees are classes of their own, test characters are not turned",
                        "Santoro et al. 2016; data_generator.py of Finn et al. 2017 turns in training alone",
                    ),
                    choice(
                        "15 queries per class in training and test, for 1 and 5 shots",
                        "Ravi and Larochelle 2017, for miniImageNet; Finn et al. 2017 take as many as shots",
                    ),
                    choice("600 test tasks", "Finn et al. 2017, main.py"),
                ]
            },
            side: 28,
            channels: 1,
            images: Some(20),
            pipeline: all(Pipeline::new()),
            ..Self::base("omniglot", way, shot, Parts { train: 1028, val: 172, test: 423 })
        }
    }

    /// miniImageNet: 100 classes of ImageNet, 600 images of 84 x 84 in colour each.
    pub fn mini_imagenet(way: usize, shot: usize) -> Self {
        Self {
            choices: const {
                &[
                    choice("64, 16 and 20 classes", "Ravi and Larochelle 2017"),
                    choice(
                        "84 x 84 whatever the proportions were, by Lanczos",
                        "Finn et al. 2017, proc_images.py; Ravi and Larochelle 2017 scale with Torch's image library",
                    ),
                    choice(
                        "normalised by the mean and deviation of the training images",
                        "Gidaris and Komodakis 2018; Lee et al. 2019",
                    ),
                    choice("no augmentation", "Finn et al. 2017"),
                    choice(
                        "15 queries per class in training and test",
                        "Ravi and Larochelle 2017; Finn et al. 2017 train with 15 and test with as many as shots",
                    ),
                    choice("600 test tasks", "Finn et al. 2017, main.py"),
                ]
            },
            side: 84,
            channels: 3,
            images: Some(600),
            pipeline: all(normalized(MINI)),
            ..Self::base("mini_imagenet", way, shot, Parts { train: 64, val: 16, test: 20 })
        }
    }

    /// tieredImageNet: 608 classes of ImageNet in 34 categories, split by category, 84 x 84 in colour.
    pub fn tiered_imagenet(way: usize, shot: usize) -> Self {
        Self {
            choices: const {
                &[
                    choice("351, 97 and 160 classes of 20, 6 and 8 categories", "Ren et al. 2018"),
                    choice("normalised with the constants of miniImageNet", "Lee et al. 2019"),
                    choice("no augmentation", "Ren et al. 2018"),
                    choice(
                        "15 queries per class in training and test",
                        "Lee et al. 2019, test.py; Ren et al. 2018 take 5",
                    ),
                    choice("600 test tasks", "Ren et al. 2018, run_exp.py"),
                ]
            },
            side: 84,
            channels: 3,
            images: None,
            pipeline: all(normalized(MINI)),
            ..Self::base("tiered_imagenet", way, shot, Parts { train: 351, val: 97, test: 160 })
        }
    }

    /// CIFAR-FS: the classes of CIFAR-100 split at random, 600 images of 32 x 32 in colour each.
    pub fn cifar_fs(way: usize, shot: usize) -> Self {
        Self {
            split: Splitting::CifarFs,
            evaluation_tasks: 1000,
            choices: const {
                &[
                    choice("64, 16 and 20 classes", "Bertinetto et al. 2019"),
                    choice("normalised by the mean and deviation of the training images", "Lee et al. 2019"),
                    choice("no augmentation", "Bertinetto et al. 2019"),
                    choice("15 queries per class in training and test", "Lee et al. 2019, test.py"),
                    choice(
                        "1,000 test tasks",
                        "Bertinetto et al. 2019, the default of run_eval.py; their scripts take 10,000",
                    ),
                ]
            },
            side: 32,
            channels: 3,
            images: Some(600),
            pipeline: all(normalized(CIFAR)),
            ..Self::base("cifar_fs", way, shot, Parts { train: 64, val: 16, test: 20 })
        }
    }

    /// FC100: the classes of CIFAR-100 split by superclass, 600 images of 32 x 32 in colour each.
    pub fn fc100(way: usize, shot: usize) -> Self {
        Self {
            split: Splitting::Fc100,
            evaluation_tasks: 1000,
            choices: const {
                &[
                    choice("60, 20 and 20 classes of 12, 4 and 4 superclasses", "Oreshkin et al. 2018"),
                    choice("normalised with the constants of CIFAR-FS", "Lee et al. 2019"),
                    choice("no augmentation", "the same protocol for all benchmarks here"),
                    choice("15 queries per class in training and test", "Lee et al. 2019, test.py"),
                    choice("1,000 test tasks", "Lee et al. 2019, test.py"),
                ]
            },
            side: 32,
            channels: 3,
            images: Some(600),
            pipeline: all(normalized(CIFAR)),
            ..Self::base("fc100", way, shot, Parts { train: 60, val: 20, test: 20 })
        }
    }

    /// What benchmarks have in common; most are of 84 x 84 in colour.
    fn base(name: &'static str, way: usize, shot: usize, classes: Parts<usize>) -> Self {
        Self {
            name,
            spec: all(EpisodeSpec::new(way, shot, 15)),
            side: 84,
            channels: 3,
            classes,
            images: None,
            split: Splitting::Own,
            rotations: all(false),
            pipeline: all(Pipeline::new()),
            evaluation_tasks: 600,
            choices: &[],
            cache: Cache::default(),
            partial: false,
        }
    }

    /// The part of a benchmark that has as many classes of as many images, in words; nothing where two have.
    pub(crate) fn like(split: Option<Split>, images: &[usize], size: Option<[usize; 2]>) -> Option<String> {
        let known = [Self::mini_imagenet, Self::tiered_imagenet, Self::cifar_fs, Self::fc100].map(|known| known(5, 1));
        let fits = |benchmark: &Self, part: Split| {
            let each = benchmark.images.is_none_or(|each| images.iter().all(|&found| found == each));
            let side = benchmark.side;
            *benchmark.classes.get(part) == images.len() && each && size.is_none_or(|size| size == [side, side])
        };
        let mut found = Vec::new();
        for benchmark in &known {
            let parts = Split::ALL.into_iter().filter(|&part| split.is_none_or(|split| split == part));
            found.extend(
                parts
                    .filter(|&part| fits(benchmark, part))
                    .map(|part| format!("the {part} part of {}", benchmark.name)),
            );
        }
        match found.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// Its name, such as `mini_imagenet`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it chooses, each with its source.
    pub fn choices(&self) -> &'static [Choice] {
        self.choices
    }

    /// The episodes of a part.
    pub fn spec(&self, split: Split) -> EpisodeSpec {
        *self.spec.get(split)
    }

    /// What is done to the images of a part.
    pub fn pipeline(&self, split: Split) -> &Pipeline {
        self.pipeline.get(split)
    }

    /// The shape that images are loaded in, `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.side, self.side]
    }

    /// Sets height and width of the images, in pixels: smaller ones than the benchmark's are cheaper, and their results do not
    /// compare with those of the literature.
    pub fn with_size(mut self, side: usize) -> Self {
        self.side = side;
        self
    }

    /// Sets the episodes of a part: ways, shots and queries of training need not be those of the test.
    pub fn with_spec(mut self, split: Split, spec: EpisodeSpec) -> Self {
        *self.spec.get_mut(split) = spec;
        self
    }

    /// Sets what is done to the images of a part, such as augmentation of those of training.
    pub fn with_pipeline(mut self, split: Split, pipeline: Pipeline) -> Self {
        *self.pipeline.get_mut(split) = pipeline;
        self
    }

    /// Sets whether the classes of a part are turned into four each (Omniglot: those of training are).
    pub fn with_rotations(mut self, split: Split, rotations: bool) -> Self {
        *self.rotations.get_mut(split) = rotations;
        self
    }

    /// Splits Omniglot at random into 1,100, 100 and 423 characters instead, as learn2learn and the code of Finn et al.
    /// 2017 do. There is no customary seed; say which one was used.
    pub fn with_random_split(mut self, seed: u64) -> Self {
        if self.name == "omniglot" {
            self.split = Splitting::Random(seed);
            self.classes = Parts { train: 1100, val: 100, test: 423 };
        }
        self
    }

    /// Sets where decoded images are kept: see [`Source::with_cache`].
    pub fn with_cache(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// Loads what is there of it, without the check that it is all there: a part of the files, or a smaller copy.
    pub fn partial(mut self) -> Self {
        self.partial = true;
        self
    }

    /// Loads it from a path, in any form it comes in.
    ///
    /// # Errors
    /// Those of [`Source::open`] and [`Source::load`]; [`Error::NotTheBenchmark`] where a part has not as many classes
    /// or images as it should have, naming it, or where the classes are by their names those of another dataset;
    /// [`Error::NoSplit`] for a benchmark that has to come with its split; [`Error::SharedClass`].
    ///
    /// # Cost
    /// The first time image files are decoded into the cache; see [`Source::load`].
    pub fn load(&self, path: impl AsRef<Path>) -> Result<LoadedBenchmark, Error> {
        let source =
            Source::open(path)?.with_size(self.side).with_channels(self.channels).with_cache(self.cache.clone());
        self.load_sets(source.load()?)
    }

    /// The same from what was loaded already.
    ///
    /// # Errors
    /// Those of [`load`](Self::load) but for reading.
    pub fn load_sets(&self, sets: Sets) -> Result<LoadedBenchmark, Error> {
        let parts = match sets {
            Sets::Whole(data) => self.split(&data)?,
            parts => parts.parts()?,
        };
        if !self.partial {
            for split in Split::ALL {
                self.check(split, parts.get(split))?;
            }
        }
        self.check_origin(&parts)?;
        let mut rotated = parts.clone();
        for split in Split::ALL {
            *rotated.get_mut(split) = turned(parts.get(split), *self.rotations.get(split))?;
        }
        Ok(LoadedBenchmark { benchmark: self.clone(), parts: rotated })
    }

    fn split(&self, data: &ImageClasses) -> Result<Parts<ImageClasses>, Error> {
        match self.split {
            Splitting::Own => Err(Error::NoSplit),
            Splitting::Vinyals => vinyals_split(data),
            Splitting::Random(seed) => split_random(data, &self.classes, seed),
            Splitting::CifarFs => self.split_by(data, cifar_fs_part),
            Splitting::Fc100 => self.split_by(data, fc100_part),
        }
    }

    /// The classes of CIFAR-100 by the part each belongs to.
    fn split_by(&self, data: &ImageClasses, part: fn(&str) -> Option<Split>) -> Result<Parts<ImageClasses>, Error> {
        if let Some(class) = data.classes().iter().find(|class| part(class.name()).is_none()) {
            let (found, expected) =
                (format!("class {}", class.name()), "a split, or the classes of CIFAR-100".to_owned());
            return Err(Error::NotTheBenchmark { benchmark: self.name, found, expected });
        }
        let of = |split| data.filter(|class| part(class.name()) == Some(split));
        Ok(Parts { train: of(Split::Train), val: of(Split::Val), test: of(Split::Test) })
    }

    /// miniImageNet and CIFAR-FS have the same numbers of classes and images; only the names tell them apart.
    fn check_origin(&self, parts: &Parts<ImageClasses>) -> Result<(), Error> {
        let expected = match self.split {
            Splitting::Own => IMAGENET,
            Splitting::CifarFs | Splitting::Fc100 => CIFAR_100,
            Splitting::Vinyals | Splitting::Random(_) => return Ok(()),
        };
        match origin(parts) {
            Some(found) if found != expected => {
                let (found, expected) = (format!("classes of {found}"), format!("classes of {expected}"));
                Err(Error::NotTheBenchmark { benchmark: self.name, found, expected })
            }
            _ => Ok(()),
        }
    }

    fn check(&self, split: Split, data: &ImageClasses) -> Result<(), Error> {
        let wrong =
            |found: String, expected: String| Err(Error::NotTheBenchmark { benchmark: self.name, found, expected });
        let (found, expected) = (data.characters().len(), *self.classes.get(split));
        if found != expected {
            return wrong(format!("{found} classes in its {split} part"), expected.to_string());
        }
        let Some(images) = self.images else { return Ok(()) };
        match data.classes().iter().find(|class| class.image_count() != images) {
            Some(class) => {
                wrong(format!("{} images of class {}", class.image_count(), class.name()), images.to_string())
            }
            None => Ok(()),
        }
    }
}

const IMAGENET: &str = "ImageNet";
const CIFAR_100: &str = "CIFAR-100";

/// What dataset the classes of all parts are from, by their names; `None` for names that do not say it.
fn origin(parts: &Parts<ImageClasses>) -> Option<&'static str> {
    let of_name = |name: &str| {
        let digits = |number: &str| number.len() == 8 && number.bytes().all(|byte| byte.is_ascii_digit());
        match name.strip_prefix('n').is_some_and(digits) {
            true => Some(IMAGENET),
            false => cifar_fs_part(name).map(|_| CIFAR_100),
        }
    };
    let classes = Split::ALL.into_iter().flat_map(|split| parts.get(split).classes());
    let mut origins = classes.map(|class| of_name(class.name().rsplit('/').next().unwrap_or_default()));
    let first = origins.next()??;
    origins.all(|origin| origin == Some(first)).then_some(first)
}

/// The classes with their rotations, or without: some forms of Omniglot come with them.
fn turned(data: &ImageClasses, wanted: bool) -> Result<ImageClasses, Error> {
    let has = data.classes().iter().any(|class| class.character() != class.name());
    match (wanted, has) {
        (true, false) => data.with_rotations(),
        (false, true) => {
            Ok(data.filter(|class| class.character() == class.name() || class.name().ends_with("/rot000")))
        }
        _ => Ok(data.clone()),
    }
}

/// A benchmark with its images.
#[derive(Clone, Debug)]
pub struct LoadedBenchmark {
    benchmark: Benchmark,
    parts: Parts<ImageClasses>,
}

impl LoadedBenchmark {
    /// The classes of its parts; rotations included where it has them.
    pub fn parts(&self) -> &Parts<ImageClasses> {
        &self.parts
    }

    /// The benchmark.
    pub fn benchmark(&self) -> &Benchmark {
        &self.benchmark
    }

    /// How many tasks it is customarily judged on.
    pub fn evaluation_tasks(&self) -> usize {
        self.benchmark.evaluation_tasks
    }

    /// Which images the tasks of a part have, without end.
    ///
    /// # Errors
    /// Those of [`Episodes::new`].
    pub fn episodes(&self, split: Split, seed: u64) -> Result<Episodes, Error> {
        Ok(Episodes::new(self.parts.get(split), self.benchmark.spec(split), seed)?.with_split(split))
    }

    /// The tasks of a part, without end.
    ///
    /// # Errors
    /// Those of [`Episodes::new`] and of the pipeline.
    pub fn tasks(&self, split: Split, seed: u64) -> Result<ImageTasks, Error> {
        let episodes = self.episodes(split, seed)?;
        ImageTasks::new(self.parts.get(split).clone(), episodes, self.benchmark.pipeline.get(split))
    }

    /// The tasks a part is judged on, as a list that can be saved and shared.
    ///
    /// # Errors
    /// Those of [`Episodes::new`].
    ///
    /// # Cost
    /// One SHA-256 over all images of the part.
    pub fn frozen(&self, split: Split, seed: u64) -> Result<FrozenEpisodes, Error> {
        let count = self.benchmark.evaluation_tasks as u64;
        FrozenEpisodes::freeze(self.parts.get(split), &self.episodes(split, seed)?, 0..count)
    }
}
