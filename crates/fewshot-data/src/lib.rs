#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![deny(unsafe_code)]

mod batch;
mod dataset;
mod draw;
mod episode;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
mod fingerprint;
mod frozen;
mod glyphs;
mod manifest;
mod omniglot;
mod pixels;
mod rotate;
mod split;
mod textures;

pub use batch::LabeledImages;
pub use dataset::{Class, ImageClasses};
pub use episode::{Episode, EpisodeSpec, Episodes, Item, LabelOrder};
pub use error::Error;
pub use fingerprint::{ClassFingerprint, Fingerprint};
pub use frozen::FrozenEpisodes;
pub use glyphs::Glyphs;
pub use manifest::{Manifest, ManifestFile, ManifestSplit, Unpack};
pub use omniglot::Omniglot;
pub use pixels::Pixels;
pub use split::{
    Parts, parse_class_list, read_class_list, split_by_class, split_by_group, split_fractions, split_random,
};
pub use textures::Textures;
