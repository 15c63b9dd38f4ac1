#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![deny(unsafe_code)]

mod batch;
mod dataset;
mod draw;
mod episode;
mod error;
mod fingerprint;
mod frozen;
mod glyphs;
mod omniglot;
mod pixels;
mod regression;
mod resize;
mod rotate;
mod split;
mod tasks;
mod transform;

pub use batch::{HostImages, LabeledImages};
pub use dataset::{Class, ImageClasses};
pub use draw::{Part, Stream};
pub use episode::{ClassDraw, Drawn, Episode, EpisodeSpec, Episodes, Item, LabelOrder, Least, TooSmall};
pub use error::Error;
pub use fingerprint::{ClassFingerprint, Fingerprint};
pub use frozen::FrozenEpisodes;
pub use glyphs::Glyphs;
pub use omniglot::Omniglot;
pub use pixels::Pixels;
pub use regression::{
    Family, Function, Harmonic, HostPoints, Line, Points, Regression, Sinusoid, SinusoidOrLine, TwoWaves, Wave, WaveOrLine,
};
pub use resize::{Filter, resize};
pub use split::{
    Parts, parse_class_list, read_class_list, split_by_class, split_by_group, split_fractions, split_random,
};
pub use tasks::{
    ArrayClasses, ArrayTasks, EpisodeList, Floats, HostArrays, HostMultiLabel, ImageTasks, LabeledArrays, Labels,
    MultiLabelEpisode, MultiLabelImages, MultiLabelTasks, MultiLabeledImages, SupportQuery, Tasks, ToDevice,
};
pub use transform::{ColorJitter, Fill, ImageKey, Layout, Normalize, Pipeline, Plan, Scratch, Step};
