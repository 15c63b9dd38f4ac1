#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![deny(unsafe_code)]

mod archive;
mod array;
mod batch;
mod dataset;
mod draw;
mod episode;
mod error;
mod fingerprint;
mod forms;
mod frozen;
mod glyphs;
mod index;
mod limits;
mod mapped;
mod npy;
mod omniglot;
mod pickle;
mod pixels;
mod rotate;
mod split;

pub use batch::LabeledImages;
pub use dataset::{Class, ImageClasses};
pub use episode::{Episode, EpisodeSpec, Episodes, Item, LabelOrder};
pub use error::Error;
pub use fingerprint::{ClassFingerprint, Fingerprint};
pub use frozen::FrozenEpisodes;
pub use glyphs::Glyphs;
pub use limits::Limits;
pub use mapped::SharedBytes;
pub use omniglot::Omniglot;
pub use pixels::{Layout, Pixels};
pub use split::{
    Parts, Split, parse_class_list, read_class_list, split_by_class, split_by_group, split_fractions, split_random,
};
