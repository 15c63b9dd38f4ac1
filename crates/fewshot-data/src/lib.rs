#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![deny(unsafe_code)]

mod archive;
mod array;
mod batch;
mod benchmark;
#[cfg(feature = "dataset")]
mod burn_dataset;
mod dataset;
mod draw;
mod episode;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
mod fingerprint;
mod forms;
mod frozen;
mod glyphs;
mod index;
mod limits;
mod loader;
mod loose;
mod manifest;
mod mapped;
mod npy;
mod omniglot;
mod pickle;
mod picture;
mod pixels;
mod prepare;
mod regression;
mod report;
mod resize;
mod rotate;
mod source;
mod split;
mod store;
mod tasks;
mod textures;
mod transform;
mod tree;

pub use batch::{HostImages, LabeledImages};
pub use benchmark::{Benchmark, Choice, LoadedBenchmark};
#[cfg(feature = "dataset")]
pub use burn_dataset::{TaskBatcher, TaskDataset};
pub use dataset::{Class, ImageClasses};
pub use draw::Stream;
pub use episode::{ClassDraw, Drawn, Episode, EpisodeSpec, Episodes, Item, LabelOrder, Least, TooSmall};
pub use error::Error;
pub use fingerprint::{ClassFingerprint, Fingerprint};
pub use frozen::FrozenEpisodes;
pub use glyphs::Glyphs;
pub use limits::Limits;
pub use loader::{Loader, TaskIter, Throughput};
pub use loose::LooseImages;
pub use manifest::{Manifest, ManifestFile, ManifestSplit, Unpack};
pub use mapped::SharedBytes;
pub use omniglot::Omniglot;
pub use omniglot::runs::{OneShotRun, OneShotRuns, Runs};
pub use omniglot::split::vinyals_split;
pub use pixels::{Layout, Pixels};
pub use regression::{
    Family, Function, Harmonic, HostPoints, Line, Points, Regression, Sinusoid, SinusoidOrLine, TwoWaves, Wave,
    WaveOrLine,
};
pub use report::{Report, SetReport};
pub use resize::{Filter, resize};
pub use source::{Cache, Sets, Source};
pub use split::{
    Parts, Split, parse_class_list, read_class_list, split_by_class, split_by_group, split_fractions, split_random,
};
pub use tasks::{
    ArrayClasses, ArrayTasks, EpisodeList, Floats, HostArrays, HostMultiLabel, ImageTasks, LabeledArrays, Labels,
    MultiLabelEpisode, MultiLabelImages, MultiLabelTasks, MultiLabeledImages, SupportQuery, Tasks, ToDevice,
};
pub use textures::Textures;
pub use transform::{Affine, ColorJitter, Fill, ImageKey, Normalize, Pipeline, Plan, Scratch, Step};
