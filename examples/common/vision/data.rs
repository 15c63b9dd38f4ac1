//! Where the images of a run come from, and which classes it trains, validates and tests on.
//!
//! Does not know: networks, tasks.

use std::path::{Path, PathBuf};

use fewshot_data::{
    Affine, Benchmark, Class, ClassFingerprint, ColorJitter, EpisodeSpec, Episodes, Error, Fill, Fingerprint, Glyphs,
    ImageClasses, ImageTasks, Omniglot, Parts, Pipeline, Sets, Source, Split, Textures, split_fractions,
};
use serde_json::{Value, json};

use super::{Drawn, Program};
use crate::arguments::note;
use crate::characters::held_out;
use crate::failure::Failure;
use crate::progress::bar;
use crate::settings::{Data, Task};

/// Fractions of drawn classes to train, validate and test on: those of miniImageNet.
const FRACTIONS: Parts<f64> = Parts { train: 0.64, val: 0.16, test: 0.2 };

/// The classes of a run.
#[derive(Debug)]
pub struct Classes {
    /// To train on, rotations among them where they are asked for; to validate; to test on.
    pub parts: Parts<ImageClasses>,
    /// What is done to every image of a part.
    pub pipelines: Parts<Pipeline>,
    /// Where they come from, in words.
    pub origin: String,
}

impl Classes {
    /// The classes of a run.
    ///
    /// # Errors
    ///
    /// What reading and splitting report, with what can be done about it.
    pub fn load(program: &Program, data: &Data, validates: bool) -> Result<Self, Failure> {
        let benchmark = (program.benchmark)(5, 1).with_size(data.image_size.get());
        let benchmark = benchmark.with_rotations(Split::Train, data.rotations);
        let loading = Loading { program, data, benchmark: &benchmark, validates };
        let (parts, origin) = loading.parts()?;
        let train =
            if data.rotations && !is_turned(&parts.train) { parts.train.with_rotations()? } else { parts.train };
        let plain = benchmark.pipeline(Split::Test).clone();
        let pipelines =
            if data.augment { augmented(plain, benchmark.shape()).into_parts() } else { plain.into_parts() };
        Ok(Self { parts: Parts { train, ..parts }, pipelines, origin })
    }

    /// The shape of the images, `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.parts.train.shape()
    }

    /// The tasks of a part, with so many queries of each class.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for tasks larger than the data.
    pub fn tasks(&self, split: Split, task: &Task, query: usize, seed: u32) -> Result<ImageTasks, Failure> {
        let (data, spec) = (self.parts.get(split), EpisodeSpec::new(task.way.get(), task.shot.get(), query));
        let name = match split {
            Split::Train => "training data",
            Split::Val => "validation data",
            Split::Test => "test data",
        };
        let (episodes, pipeline) = (|| Episodes::new(data, spec, seed.into()), self.pipelines.get(split));
        let tasks = || ImageTasks::new(data.clone(), episodes()?.with_split(split), pipeline);
        tasks().map_err(|error| Failure::from(error).at(name))
    }

    /// What tells these classes from others, by names and the first image of each: a run that is resumed must have them again.
    pub fn summary(&self) -> Value {
        let of = |data: &ImageClasses| {
            let (images, fingerprint) = (data.image_count(), fingerprint(data).digest());
            json!({ "classes": data.len(), "images": images, "fingerprint": fingerprint })
        };
        let Parts { train, val, test } = &self.parts;
        json!({ "train": of(train), "validation": of(val), "test": of(test) })
    }

    /// A line about them.
    pub fn describe(&self) -> String {
        let Parts { train, val, test } = &self.parts;
        let [_, height, width] = self.shape();
        let turned = if is_turned(train) { " (rotations are classes)" } else { "" };
        let (train, val, test) = (train.len(), val.len(), test.len());
        format!(
            "{}; {height} x {width}; classes: {train} to train{turned}, {val} to validate, {test} to test on",
            self.origin
        )
    }
}

/// Of the first image of each class: the whole of the large datasets would take minutes.
fn fingerprint(data: &ImageClasses) -> Fingerprint {
    let of = |class: &Class| {
        let first = class.images().next().map_or(0, |image| crc32fast::hash(&image));
        ClassFingerprint { name: class.name().to_owned(), images: class.image_count(), hash: format!("{first:08x}") }
    };
    let mut classes: Vec<_> = data.classes().iter().map(of).collect();
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Fingerprint { shape: data.shape(), classes }
}

/// A pipeline with the field's random changes before it: of photographs those of Lee et al. 2019 (MetaOptNet), of characters
/// affine ones, smaller than what turns a character into another.
fn augmented(plain: Pipeline, [channels, height, width]: [usize; 3]) -> Pipeline {
    let Pipeline { steps, normalize, .. } = plain;
    let changed = match channels {
        1 => {
            Pipeline::new().affine(Affine::new(15.0).with_scale(0.85, 1.15).with_shear(10.0).with_translate(2.0 / 28.0))
        }
        _ => Pipeline::new()
            .random_crop([height, width], height / 10, Fill::Zero)
            .flip(0.5)
            .jitter(ColorJitter::new(0.4, 0.4, 0.4, 0.0)),
    };
    Pipeline { steps: [steps, changed.steps].concat(), normalize, ..changed }
}

fn is_turned(data: &ImageClasses) -> bool {
    data.classes().iter().any(|class| class.name() != class.character())
}

/// What loading goes by.
struct Loading<'a> {
    program: &'a Program,
    data: &'a Data,
    benchmark: &'a Benchmark,
    validates: bool,
}

impl Loading<'_> {
    fn parts(&self) -> Result<(Parts<ImageClasses>, String), Failure> {
        let Data { path, test_path, split, .. } = self.data;
        if !test_path.is_empty() {
            return self.two_sources();
        }
        if let Some(fractions) = split {
            let [train, val, test] = fractions[..] else {
                let found = fractions.len();
                return Err(Failure::usage(format!(
                    "--split: {found} fractions; expected three, such as 0.64,0.16,0.2"
                )));
            };
            let fractions = Parts { train: train.get(), val: val.get(), test: test.get() };
            return Ok((split_fractions(&self.all()?, &fractions, 0)?, self.origin()));
        }
        match (path.is_empty(), self.program.drawn) {
            (true, Drawn::Textures) => Ok((split_fractions(&self.all()?, &FRACTIONS, 0)?, self.origin())),
            (true, Drawn::Glyphs) => self.by_alphabet(self.all()?),
            (false, _) => self.benchmark(),
        }
    }

    /// The benchmark, in whatever form it is there.
    fn benchmark(&self) -> Result<(Parts<ImageClasses>, String), Failure> {
        let path = &self.data.path;
        let benchmark = if self.data.partial { self.benchmark.clone().partial() } else { self.benchmark.clone() };
        let sets = read(path, self.benchmark)?;
        let refused = match benchmark.load_sets(sets.clone()) {
            Ok(loaded) => {
                return Ok((loaded.parts().clone(), format!("{} from {}", self.program.dataset, shown(path))));
            }
            Err(refused) => refused,
        };
        match (refused, sets) {
            (Error::NotTheBenchmark { .. } | Error::UnknownClass { .. }, Sets::Whole(all)) if self.alphabets(&all) => {
                self.by_alphabet(all)
            }
            (refused, sets) => Err(self.advice(&refused, &sets)),
        }
    }

    /// Whether classes are to be held out by alphabet.
    fn alphabets(&self, all: &ImageClasses) -> bool {
        self.program.drawn == Drawn::Glyphs && all.groups().keys().all(|group| !group.is_empty())
    }

    fn by_alphabet(&self, all: ImageClasses) -> Result<(Parts<ImageClasses>, String), Failure> {
        let (rest, test, words) = held_out(&all)?;
        let (train, val) = self.validation(rest)?;
        Ok((Parts { train, val, test }, format!("{}; to test on: {words}", self.origin())))
    }

    /// Classes to train and to validate on, where the data does not say.
    fn validation(&self, rest: ImageClasses) -> Result<(ImageClasses, ImageClasses), Failure> {
        if !self.validates {
            let nothing = rest.filter(|_| false);
            return Ok((rest, nothing));
        }
        let (train, val, words) = held_out(&rest)?;
        note(format!("to validate on: {words}"));
        Ok((train, val))
    }

    /// One dataset to train on and another to test on.
    fn two_sources(&self) -> Result<(Parts<ImageClasses>, String), Failure> {
        if self.data.split.is_some() {
            return Err(Failure::usage("--split and --test-data: one of them says what to test on"));
        }
        let all = self.all()?;
        let test = read(&self.data.test_path, self.benchmark)?.whole()?;
        let classes = test.len();
        let (test, dropped) = test.without(&all);
        note(format!("test data: {dropped} of {classes} classes occur in the training data and were dropped"));
        if test.is_empty() {
            return Err(Failure::usage("--test-data: every class of it occurs in the training data"));
        }
        let (train, val) = self.validation(all)?;
        let origin = format!("{}; to test on: {}", self.origin(), shown(&self.data.test_path));
        Ok((Parts { train, val, test }, origin))
    }

    /// All classes of the data, or drawn ones.
    fn all(&self) -> Result<ImageClasses, Failure> {
        let Data { path, image_size, drawn_classes, drawn_images, .. } = self.data;
        if !path.is_empty() {
            return Ok(read(path, self.benchmark)?.whole()?);
        }
        let (classes, images, size) = (drawn_classes.get(), drawn_images.get(), image_size.get());
        Ok(match self.program.drawn {
            Drawn::Textures => Textures::new(classes, images).with_size(size).generate()?,
            Drawn::Glyphs => Glyphs::new(classes, images).with_size(size).generate()?,
        })
    }

    fn origin(&self) -> String {
        if !self.data.path.is_empty() {
            return shown(&self.data.path);
        }
        let what = match self.program.drawn {
            Drawn::Textures => "drawn textures in the place of",
            Drawn::Glyphs => "drawn characters in the place of",
        };
        format!("{what} {} (--data PATH takes the real one)", self.program.dataset)
    }

    /// Data that are not the benchmark: what they are, and how to go on.
    fn advice(&self, refused: &Error, sets: &Sets) -> Failure {
        let found = match sets {
            Sets::Whole(all) => format!("{} classes of {} images without a split", all.len(), all.image_count()),
            Sets::Parts(Parts { train, val, test }) => {
                format!(
                    "{} + {} + {} classes of {} images",
                    train.len(),
                    val.len(),
                    test.len(),
                    count(&[train, val, test])
                )
            }
        };
        // Too few classes or images of it, and not the classes of something else.
        let few = |found: &str| found.starts_with(|first: char| first.is_ascii_digit());
        let taken = || self.benchmark.clone().partial().load_sets(sets.clone()).is_ok();
        let partial = match refused {
            Error::NotTheBenchmark { found, .. } if few(found) && !self.data.partial && taken() => {
                "pass --partial to take it as a part of the benchmark, or "
            }
            _ => "pass ",
        };
        let place = shown(&self.data.path);
        Failure::usage(format!(
            "{place}: {refused}; found {found}: {partial}--split 0.64,0.16,0.2 to split these classes at random, or --test-data for \
             others to test on"
        ))
    }
}

fn count(parts: &[&ImageClasses]) -> usize {
    parts.iter().flat_map(|part| part.classes()).map(Class::image_count).sum()
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// What lies at some paths, in the size and with the channels of a benchmark; of more than one path all classes together.
fn read(paths: &[PathBuf], benchmark: &Benchmark) -> Result<Sets, Failure> {
    let [channels, side, _] = benchmark.shape();
    match paths {
        [one] => open(one, channels, side),
        // Copies of a character in several archives are one class.
        [first, more @ ..] if channels == 1 => {
            let archives = more.iter().fold(Omniglot::new(first).with_size(side), |archives, path| archives.and(path));
            Ok(Sets::Whole(archives.load()?))
        }
        [first, more @ ..] => {
            let mut all = open(first, channels, side)?.whole()?;
            for path in more {
                all = all.concat(&open(path, channels, side)?.whole()?)?;
            }
            Ok(Sets::Whole(all))
        }
        [] => Err(Failure::failed("no path to read")),
    }
}

fn open(path: &Path, channels: usize, side: usize) -> Result<Sets, Failure> {
    let source = Source::open(path)?.with_size(side).with_channels(channels);
    let bar = bar(0, "decoding");
    let shown = bar.clone();
    let source = source.on_progress(move |done, all| {
        shown.set_length(all as u64);
        shown.set_position(done as u64);
    });
    let sets = source.load();
    bar.finish_and_clear();
    Ok(sets?)
}
