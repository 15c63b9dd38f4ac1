//! The images that networks are trained and tested on.
//!
//! Does not know: networks, estimators.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::{Device, Int, Tensor};
use burn_meta::Task;
use clap::{Args, ValueEnum};
use fewshot_data::{
    Benchmark, EpisodeSpec, Episodes, Error, ImageClasses, ImageTasks, LabeledImages, Parts, Pipeline, Sets, Source,
    Split, Tasks, Textures, ToDevice, split_fractions,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::arguments::note;
use crate::characters::Characters;
use crate::failure::Failure;

/// A dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatasetName {
    /// Coloured textures, drawn on the spot
    Textures,
    /// Omniglot; without --data, characters drawn on the spot
    Omniglot,
    /// miniImageNet; needs --data
    Mini,
    /// tieredImageNet; needs --data
    Tiered,
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value();
        f.write_str(name.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Options about data.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// What to train and test on [default: textures; with --data, omniglot]
    #[arg(long, value_enum)]
    pub dataset: Option<DatasetName>,

    /// The dataset, in any form it comes in. Omniglot: archives or folders to train on, every character with its rotations; a
    /// folder with images_background_small1.zip and images_background_small2.zip stands for --data with the one and
    /// --test-data with the other
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,

    /// Omniglot: archives to test on; characters that are among the training data are dropped, none is turned [default: a fifth
    /// of the alphabets, held out from training]
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "data")]
    pub test_data: Vec<PathBuf>,
}

impl DataArgs {
    /// The dataset asked for.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for data that does not belong to it.
    pub fn dataset(&self) -> Result<DatasetName, Failure> {
        let default = if self.data.is_empty() { DatasetName::Textures } else { DatasetName::Omniglot };
        let name = self.dataset.unwrap_or(default);
        match (name, &self.data[..]) {
            (DatasetName::Textures, [_, ..]) => Err(Failure::usage("--data: textures are drawn, not read")),
            (DatasetName::Mini | DatasetName::Tiered, []) => {
                Err(Failure::usage(format!("--dataset {name} needs --data")))
            }
            (DatasetName::Mini | DatasetName::Tiered, [_, _, ..]) => {
                Err(Failure::usage(format!("--dataset {name}: one --data path is expected")))
            }
            (DatasetName::Textures | DatasetName::Mini | DatasetName::Tiered, _) if !self.test_data.is_empty() => {
                Err(Failure::usage(format!("--test-data belongs to --dataset omniglot, not to {name}")))
            }
            _ => Ok(name),
        }
    }
}

/// Classes and examples of a task, as in `5way1shot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Classes.
    pub way: usize,
    /// Support images of each.
    pub shot: usize,
}

impl FromStr for Column {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.strip_suffix("shot").and_then(|rest| rest.split_once("way"));
        let number = |text: &str| text.parse().ok().filter(|n| (1..=1000).contains(n));
        let column = numbers
            .and_then(|(way, shot)| Some(Self { way: number(way).filter(|way| *way > 1)?, shot: number(shot)? }));
        column.ok_or_else(|| format!("`{text}`: expected something like 5way1shot"))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}way{}shot", self.way, self.shot)
    }
}

/// The classes of a dataset.
pub struct Images {
    origin: Origin,
    shape: [usize; 3],
}

enum Origin {
    /// Classes as they are.
    Parts(Parts<ImageClasses>),
    /// A benchmark with its own pipeline.
    Benchmark(Sets, fn(usize, usize) -> Benchmark),
}

/// Images `[n, channels, size, size]` and labels `[n]`.
pub type Batch = (Tensor<4>, Tensor<1, Int>);

/// Textures to draw, and images of each.
const TEXTURES: (usize, usize) = (100, 20);
/// Fractions of textures to train, validate and test on: those of miniImageNet.
const FRACTIONS: Parts<f64> = Parts { train: 0.64, val: 0.16, test: 0.2 };
/// Characters to draw.
const GLYPHS: usize = 200;

impl Images {
    /// Reads or draws them; textures in this size, others in their own.
    ///
    /// # Errors
    ///
    /// What reading and splitting report.
    pub fn load(name: DatasetName, args: &DataArgs, size: usize) -> Result<Self, Failure> {
        let benchmark = |make: fn(usize, usize) -> Benchmark| -> Result<Self, Failure> {
            let path = args.data.first().map(PathBuf::as_path).unwrap_or(Path::new("."));
            let sets = Source::open(path)?.with_size(84).with_channels(3).load()?;
            // Once, to hear what is wrong with it before hours of work.
            make(5, 1).load_sets(sets.clone())?;
            Ok(Self { origin: Origin::Benchmark(sets, make), shape: [3, 84, 84] })
        };
        let parts = match name {
            DatasetName::Mini => return benchmark(Benchmark::mini_imagenet),
            DatasetName::Tiered => return benchmark(Benchmark::tiered_imagenet),
            DatasetName::Textures => {
                split_fractions(&Textures::new(TEXTURES.0, TEXTURES.1).with_size(size).generate()?, &FRACTIONS, 0)?
            }
            DatasetName::Omniglot => {
                let (data, test_data) = small_archives(&args.data)
                    .filter(|_| args.test_data.is_empty())
                    .unwrap_or_else(|| (args.data.clone(), args.test_data.clone()));
                let Characters { train, test, held_out } = Characters::load(&data, &test_data, GLYPHS, true)?;
                note(format!(
                    "{} characters to train on, rotations included; {} to test on: {held_out}",
                    train.len(),
                    test.len()
                ));
                Parts { val: train.filter(|_| false), train, test }
            }
        };
        let shape = parts.train.shape();
        Ok(Self { origin: Origin::Parts(parts), shape })
    }

    /// The shape of an image, `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The tasks of a part, by their number.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for tasks larger than the data.
    pub fn tasks(&self, split: Split, column: Column, query: usize, seed: u64) -> Result<ImageTasks, Failure> {
        let spec = EpisodeSpec::new(column.way, column.shot, query);
        let tasks = || match &self.origin {
            Origin::Parts(parts) => {
                let data = parts.get(split);
                let episodes = Episodes::new(data, spec, seed)?.with_split(split);
                ImageTasks::new(data.clone(), episodes, &Pipeline::new())
            }
            Origin::Benchmark(sets, make) => {
                make(column.way, column.shot).with_spec(split, spec).load_sets(sets.clone())?.tasks(split, seed)
            }
        };
        tasks().map_err(|error: Error| Failure::from(error).at(format!("{} data, {column}", split.name())))
    }

    /// Whether there are classes to validate on.
    pub fn validates(&self) -> bool {
        match &self.origin {
            Origin::Parts(parts) => !parts.val.is_empty(),
            Origin::Benchmark(..) => true,
        }
    }

    /// What tells these classes from others: a run that is resumed must have them again.
    ///
    /// # Errors
    ///
    /// What splitting reports.
    pub fn summary(&self) -> Result<Value, Failure> {
        let of = |data: &ImageClasses| json!({ "classes": data.len(), "images": data.image_count() });
        let of = |parts: &Parts<ImageClasses>| {
            let Parts { train, val, test } = parts;
            // Hashing what training is made of takes minutes on the large ones.
            let digest = test.fingerprint().digest();
            json!({ "train": of(train), "validation": of(val), "test": of(test), "test_fingerprint": digest })
        };
        Ok(match &self.origin {
            Origin::Parts(parts) => of(parts),
            Origin::Benchmark(sets, make) => of(make(5, 1).load_sets(sets.clone())?.parts()),
        })
    }
}

/// The two small sets of Omniglot, where a folder has both.
fn small_archives(data: &[PathBuf]) -> Option<(Vec<PathBuf>, Vec<PathBuf>)> {
    let [folder] = data else { return None };
    let [first, second] =
        ["images_background_small1.zip", "images_background_small2.zip"].map(|name| folder.join(name));
    (first.is_file() && second.is_file()).then(|| (vec![first], vec![second]))
}

/// The task with this number, on a device.
///
/// # Errors
///
/// What the data has against it.
pub fn task(tasks: &ImageTasks, index: u64, device: &Device) -> Result<Task<Batch>, Error> {
    let task = tasks.draw(index)?.to_device(device);
    let batch = |LabeledImages { images, labels }| (images, labels);
    Ok(Task { support: batch(task.support), query: batch(task.query) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_and_shown() {
        for text in ["5way1shot", "20way5shot"] {
            assert_eq!(text.parse::<Column>().unwrap().to_string(), text);
        }
        for text in ["", "5way", "1way1shot", "0way1shot", "5way0shot", "5-way 1-shot", "fiveway1shot", "5way1shots"] {
            assert!(text.parse::<Column>().is_err(), "{text}");
        }
    }

    #[test]
    fn data_belongs_to_its_dataset() {
        let args = |dataset, data: &[&str], test: &[&str]| {
            let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
            DataArgs { dataset, data: paths(data), test_data: paths(test) }
                .dataset()
                .map_err(|failure| failure.to_string())
        };
        assert_eq!(args(None, &[], &[]), Ok(DatasetName::Textures));
        assert_eq!(args(None, &["a.zip"], &["b.zip"]), Ok(DatasetName::Omniglot));
        assert!(args(Some(DatasetName::Mini), &[], &[]).unwrap_err().contains("needs --data"));
        assert!(args(Some(DatasetName::Textures), &["a"], &[]).is_err());
        assert!(args(Some(DatasetName::Tiered), &["a", "b"], &[]).is_err());
        assert!(args(Some(DatasetName::Tiered), &["a"], &["b"]).is_err());
    }
}
