//! Lists of episodes in a file, for evaluations that are to be compared.
//!
//! The file is JSON: `format`, `version`, `spec`, `seed`, the `dataset`'s fingerprint, and the
//! `episodes`, each with its index, class names in label order and image indices per class. The
//! names and indices are what counts: a list means the same tasks whatever becomes of the
//! generator that drew it. Version 2 adds `part` and `weights` (by class name) and specifications
//! with drawn counts and classes; what needs none of it is written as version 1, byte for byte.
//!
//! Does not know: tensors, scores.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::episode::images_are_distinct;
use crate::{ClassDraw, Drawn, Episode, EpisodeSpec, Episodes, Error, Fingerprint, ImageClasses, Item, Least, Split};

const FORMAT: &str = "fewshot-episodes";
/// The newest version; the older one is read as well.
const VERSION: u64 = 2;

/// A list of episodes of one dataset, to be kept in a file.
///
/// # Example
/// ```
/// # use fewshot_data::{EpisodeSpec, FrozenEpisodes, Glyphs};
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("test-5way-1shot.json");
/// let data = Glyphs::new(10, 20).generate()?;
/// let frozen = FrozenEpisodes::draw(&data, EpisodeSpec::new(5, 1, 15), 0, 0..600)?;
/// frozen.save(&path)?;
/// assert_eq!(FrozenEpisodes::load(&path, &data)?, frozen);
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenEpisodes {
    spec: EpisodeSpec,
    seed: u64,
    part: Split,
    /// By class of the dataset, where they were given.
    weights: Option<Vec<u64>>,
    fingerprint: Fingerprint,
    /// Names of the dataset's classes in the dataset's order, to which episodes refer by index.
    names: Vec<String>,
    episodes: Vec<Episode>,
}

impl FrozenEpisodes {
    /// Draws the episodes with these indices, as [`Split::Train`] draws them: [`freeze`](Self::freeze)
    /// keeps those of another part.
    ///
    /// # Errors
    /// Those of [`Episodes::new`].
    pub fn draw(data: &ImageClasses, spec: EpisodeSpec, seed: u64, indices: Range<u64>) -> Result<Self, Error> {
        Self::freeze(data, &Episodes::new(data, spec, seed)?, indices)
    }

    /// Keeps the episodes with these indices, with whatever weights and part they are drawn.
    ///
    /// # Errors
    /// [`Error::ForeignEpisode`] where the episodes were made for another dataset and this one lacks
    /// an image of theirs.
    pub fn freeze(data: &ImageClasses, episodes: &Episodes, indices: Range<u64>) -> Result<Self, Error> {
        let list: Vec<Episode> = indices.map(|index| episodes.get(index)).collect();
        let mut items = list.iter().flat_map(|episode| episode.support().iter().chain(episode.query()));
        let lacks = |item: &&Item| data.classes().get(item.class).is_none_or(|c| item.image >= c.image_count());
        if let Some(&Item { class, image, .. }) = items.find(lacks) {
            return Err(Error::ForeignEpisode { class, image });
        }
        Ok(Self {
            spec: episodes.spec(),
            seed: episodes.seed(),
            part: episodes.split(),
            weights: episodes.weights().map(<[_]>::to_vec),
            fingerprint: data.fingerprint(),
            names: class_names(data),
            episodes: list,
        })
    }

    /// The specification all episodes have.
    pub fn spec(&self) -> EpisodeSpec {
        self.spec
    }

    /// The seed they were drawn with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What they were drawn for.
    pub fn split(&self) -> Split {
        self.part
    }

    /// What identifies the dataset they were drawn from.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The episodes, with class indices of the dataset the list was drawn from or loaded for.
    pub fn episodes(&self) -> &[Episode] {
        &self.episodes
    }

    /// Writes the list. The file appears whole or not at all: it is written beside its place and
    /// then renamed. Equal lists give equal bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let failed = |cause| Error::Io { path: path.to_owned(), action: "write", cause };
        let mut bytes = serde_json::to_vec(&self.to_file()).map_err(|e| failed(e.into()))?;
        bytes.push(b'\n');
        write_atomically(path, &bytes).map_err(failed)
    }

    /// Reads a list and finds its classes in the dataset, by name.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Io`]; [`Error::NotFrozen`] for a file of something else,
    /// [`Error::FrozenVersion`] for one of another version; [`Error::OtherData`] where the dataset
    /// is not the one the list was drawn from, naming the first difference;
    /// [`Error::FrozenEpisode`] for an episode that contradicts the list's own specification.
    pub fn load(path: impl AsRef<Path>, data: &ImageClasses) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = read(path)?;
        let found = data.fingerprint();
        if let Some(difference) = file.dataset.difference(&found) {
            let path = path.to_owned();
            return Err(Error::OtherData { path, difference });
        }
        let episode = |(position, record): (usize, &Record)| {
            let checked = record.resolve(&file.spec, data);
            checked.map_err(|problem| Error::FrozenEpisode { path: path.to_owned(), position, problem })
        };
        let episodes: Result<_, _> = file.episodes.iter().enumerate().map(episode).collect();
        let names = class_names(data);
        let weight = |name: &String, weights: &BTreeMap<String, u64>| weights.get(name).copied().unwrap_or_default();
        let weights = file.weights.map(|weights| names.iter().map(|name| weight(name, &weights)).collect());
        let FileForm { spec, seed, part, .. } = file;
        Ok(Self { spec, seed, part, weights, fingerprint: found, names, episodes: episodes? })
    }

    fn to_file(&self) -> FileForm {
        let record = |episode: &Episode| Record {
            index: episode.index(),
            classes: episode.classes().iter().map(|&c| self.names[c].clone()).collect(),
            support: per_class(episode.support(), episode.classes().len()),
            query: per_class(episode.query(), episode.classes().len()),
        };
        let by_name = |weights: &Vec<u64>| self.names.iter().cloned().zip(weights.iter().copied()).collect();
        let is_plain = self.spec.is_plain() && self.part == Split::default() && self.weights.is_none();
        FileForm {
            format: FORMAT.to_owned(),
            version: if is_plain { 1 } else { VERSION },
            spec: self.spec,
            seed: self.seed,
            part: self.part,
            weights: self.weights.as_ref().map(by_name),
            dataset: self.fingerprint.clone(),
            episodes: self.episodes.iter().map(record).collect(),
        }
    }
}

/// What every version has.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

/// The file of either version.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    format: String,
    version: u64,
    spec: EpisodeSpec,
    seed: u64,
    #[serde(default, skip_serializing_if = "is_train")]
    part: Split,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weights: Option<BTreeMap<String, u64>>,
    dataset: Fingerprint,
    episodes: Vec<Record>,
}

fn is_train(part: &Split) -> bool {
    *part == Split::Train
}

/// One episode as written: image indices per class, classes in label order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    index: u64,
    classes: Vec<String>,
    support: Vec<Vec<usize>>,
    query: Vec<Vec<usize>>,
}

impl Record {
    /// The episode, or what is wrong with it.
    fn resolve(&self, spec: &EpisodeSpec, data: &ImageClasses) -> Result<Episode, String> {
        let find = |name: &String| {
            let index = data.index_of(name);
            index.ok_or_else(|| format!("class {name} is not in the dataset"))
        };
        let classes: Vec<usize> = self.classes.iter().map(find).collect::<Result<_, _>>()?;
        let ([ways, shots, queries], way) = (spec.bounds(), classes.len());
        if !ways.contains(&way) {
            return Err(format!("{way} classes; expected {}", in_words(&ways)));
        }
        check_counts("support", &self.support, way, (&shots, spec.least_shot))?;
        check_counts("query", &self.query, way, (&queries, spec.least_query))?;
        for (images, what) in [(&self.support, "support"), (&self.query, "query")] {
            for (&class, images) in classes.iter().zip(images) {
                let class = &data.classes()[class];
                if let Some(image) = images.iter().find(|&&i| i >= class.image_count()) {
                    let (name, n) = (class.name(), class.image_count());
                    return Err(format!("{what} image {image} of {name}, which has {n}"));
                }
            }
        }
        let episode = Episode::new(self.index, classes, &self.support, &self.query);
        // A class named twice, with different images each time, would have two labels.
        let names: BTreeSet<_> = self.classes.iter().collect();
        if names.len() != way || !images_are_distinct(&episode) {
            return Err("a class or an image occurs twice".to_owned());
        }
        check_groups(&episode, spec.class_draw, data)?;
        Ok(episode)
    }
}

fn check_counts(
    what: &str,
    images: &[Vec<usize>],
    way: usize,
    (bounds, least): (&RangeInclusive<usize>, Option<Least>),
) -> Result<(), String> {
    let found: Vec<usize> = images.iter().map(Vec::len).collect();
    let one_count = least.is_none_or(|least| least.drawn == Drawn::PerEpisode);
    let equal = !one_count || found.iter().all(|count| Some(count) == found.first());
    if found.len() == way && equal && found.iter().all(|count| bounds.contains(count)) {
        return Ok(());
    }
    let (same, each) = (if least.is_some() && one_count { "the same " } else { "" }, in_words(bounds));
    Err(format!("{what} images per class are {found:?}; expected {same}{each} for each of {way} classes"))
}

fn in_words(bounds: &RangeInclusive<usize>) -> String {
    let (least, most) = (bounds.start(), bounds.end());
    if least == most { most.to_string() } else { format!("{least} to {most}") }
}

fn check_groups(episode: &Episode, draw: ClassDraw, data: &ImageClasses) -> Result<(), String> {
    let groups: BTreeSet<&str> = episode.classes().iter().map(|&class| data.classes()[class].group()).collect();
    let way = episode.classes().len();
    match (draw, groups.len()) {
        (ClassDraw::OneGroup, found) if found != 1 => Err(format!("classes of {found} groups; expected one group")),
        (ClassDraw::EachItsGroup, found) if found != way => {
            Err(format!("{way} classes of {found} groups; expected a group for each"))
        }
        _ => Ok(()),
    }
}

fn per_class(items: &[Item], way: usize) -> Vec<Vec<usize>> {
    let mut classes = vec![Vec::new(); way];
    // Labels are positions of classes in every episode, however it was made.
    items.iter().for_each(|item| classes[item.label].push(item.image));
    classes
}

fn class_names(data: &ImageClasses) -> Vec<String> {
    data.classes().iter().map(|class| class.name().to_owned()).collect()
}

fn read(path: &Path) -> Result<FileForm, Error> {
    let text = fs::read(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), action: "read", cause },
    })?;
    let foreign = |cause: String| Error::NotFrozen { path: path.to_owned(), cause };
    let header: Header = serde_json::from_slice(&text).map_err(|e| foreign(e.to_string()))?;
    if header.format != FORMAT {
        return Err(foreign(format!("format is {:?}; expected {FORMAT:?}", header.format)));
    }
    if !(1..=VERSION).contains(&header.version) {
        return Err(Error::FrozenVersion { path: path.to_owned(), found: header.version, expected: VERSION });
    }
    let file: FileForm = serde_json::from_slice(&text).map_err(|e| foreign(e.to_string()))?;
    file.spec.check().map_err(|e| foreign(e.to_string()))?;
    Ok(file)
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let (process, thread) = (std::process::id(), std::thread::current().id());
    hidden.push(format!(".{process}.{thread:?}.part"));
    let part = path.with_file_name(hidden);
    let written = write_new(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // What is left of a failed write is of no use; the first error is the one to report.
        let _ = fs::remove_file(&part);
    }
    written
}

fn write_new(part: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).open(part)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
