//! Lists of episodes in a file, for evaluations that are to be compared.
//!
//! The file is JSON: `format`, `version`, `spec`, `seed`, the `dataset`'s fingerprint, and the
//! `episodes`, each with its index, class names in label order and image indices per class. The
//! names and indices are what counts: a list means the same tasks whatever becomes of the
//! generator that drew it.
//!
//! Does not know: tensors, scores.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::episode::images_are_distinct;
use crate::{Episode, EpisodeSpec, Episodes, Error, Fingerprint, ImageClasses, Item};

const FORMAT: &str = "fewshot-episodes";
const VERSION: u64 = 1;

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
    fingerprint: Fingerprint,
    /// Names of the dataset's classes in the dataset's order, to which episodes refer by index.
    names: Vec<String>,
    episodes: Vec<Episode>,
}

impl FrozenEpisodes {
    /// Draws the episodes with these indices.
    ///
    /// # Errors
    /// Those of [`Episodes::new`].
    pub fn draw(data: &ImageClasses, spec: EpisodeSpec, seed: u64, indices: Range<u64>) -> Result<Self, Error> {
        let episodes = Episodes::new(data, spec, seed)?;
        Ok(Self {
            spec,
            seed,
            fingerprint: data.fingerprint(),
            names: class_names(data),
            episodes: indices.map(|index| episodes.get(index)).collect(),
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
        Ok(Self { spec: file.spec, seed: file.seed, fingerprint: found, names: class_names(data), episodes: episodes? })
    }

    fn to_file(&self) -> FileForm {
        let record = |episode: &Episode| Record {
            index: episode.index(),
            classes: episode.classes().iter().map(|&c| self.names[c].clone()).collect(),
            support: per_class(episode.support(), self.spec.shot),
            query: per_class(episode.query(), self.spec.query),
        };
        FileForm {
            format: FORMAT.to_owned(),
            version: VERSION,
            spec: self.spec,
            seed: self.seed,
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

/// The file of this version.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    format: String,
    version: u64,
    spec: EpisodeSpec,
    seed: u64,
    dataset: Fingerprint,
    episodes: Vec<Record>,
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
        if classes.len() != spec.way {
            return Err(format!("{} classes; expected {}", classes.len(), spec.way));
        }
        check_counts("support", &self.support, spec.way, spec.shot)?;
        check_counts("query", &self.query, spec.way, spec.query)?;
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
        if names.len() != spec.way || !images_are_distinct(&episode) {
            return Err("a class or an image occurs twice".to_owned());
        }
        Ok(episode)
    }
}

fn check_counts(what: &str, images: &[Vec<usize>], way: usize, each: usize) -> Result<(), String> {
    if images.len() == way && images.iter().all(|class| class.len() == each) {
        return Ok(());
    }
    let found: Vec<usize> = images.iter().map(Vec::len).collect();
    Err(format!("{what} images per class are {found:?}; expected {each} for each of {way} classes"))
}

fn per_class(items: &[Item], each: usize) -> Vec<Vec<usize>> {
    let images = |items: &[Item]| items.iter().map(|item| item.image).collect();
    items.chunks(each.max(1)).map(images).collect()
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
    if header.version != VERSION {
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
mod tests {
    use super::*;
    use crate::dataset::tests::flat;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    fn list(data: &ImageClasses) -> FrozenEpisodes {
        FrozenEpisodes::draw(data, EpisodeSpec::new(3, 1, 2), 5, 10..14).unwrap()
    }

    /// A saved list of a dataset of 6 classes, changed by `change`, and what loading it says.
    fn load_changed(change: impl FnOnce(&mut Value)) -> Result<FrozenEpisodes, Error> {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("list.json");
        let data = flat(&[("A", 6)], 4);
        list(&data).save(&path).unwrap();
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(&path, value.to_string()).unwrap();
        FrozenEpisodes::load(&path, &data)
    }

    fn problem(change: impl FnOnce(&mut Value)) -> String {
        match load_changed(change) {
            Err(Error::FrozenEpisode { position, problem, .. }) => format!("{position}: {problem}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_list_comes_back_as_it_was() {
        let directory = TempDir::new().unwrap();
        let (first, second) = (directory.path().join("a.json"), directory.path().join("b.json"));
        let data = flat(&[("A", 6)], 4);
        let frozen = list(&data);
        frozen.save(&first).unwrap();
        let loaded = FrozenEpisodes::load(&first, &data).unwrap();
        assert_eq!(loaded, frozen);
        assert_eq!((loaded.seed(), loaded.spec().way, loaded.episodes().len()), (5, 3, 4));
        assert_eq!(loaded.episodes()[1].index(), 11);
        loaded.save(&second).unwrap();
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
        // Nothing is left of the writing.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn classes_are_found_by_name_in_another_order() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("a.json");
        let data = flat(&[("A", 6)], 4);
        let frozen = list(&data);
        frozen.save(&path).unwrap();
        let turned = data.select(&[5, 4, 3, 2, 1, 0]).unwrap();
        let loaded = FrozenEpisodes::load(&path, &turned).unwrap();
        for (ours, theirs) in frozen.episodes().iter().zip(loaded.episodes()) {
            let turn: Vec<_> = theirs.classes().iter().map(|class| 5 - class).collect();
            assert_eq!(ours.classes(), turn);
            assert!(ours.query().iter().zip(theirs.query()).all(|(a, b)| a.image == b.image));
        }
        // Saved again, it is the same file.
        let again = directory.path().join("b.json");
        loaded.save(&again).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
    }

    #[test]
    fn other_data_is_an_error_naming_the_difference() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("a.json");
        list(&flat(&[("A", 6)], 4)).save(&path).unwrap();
        let says = |data: &ImageClasses| match FrozenEpisodes::load(&path, data) {
            Err(Error::OtherData { difference, .. }) => difference,
            other => format!("{other:?}"),
        };
        let fewer = flat(&[("A", 5)], 4);
        assert_eq!(says(&fewer), "class A/character06 is not in the dataset");
        let longer = flat(&[("A", 6)], 5);
        assert_eq!(says(&longer), "class A/character01 has 5 images; expected 4");
    }

    #[test]
    fn files_of_something_else_are_errors() {
        let directory = TempDir::new().unwrap();
        let data = flat(&[("A", 6)], 4);
        let path = directory.path().join("a.json");
        let missing = FrozenEpisodes::load(&path, &data).unwrap_err();
        assert!(matches!(missing, Error::Missing { .. }));
        let folder = FrozenEpisodes::load(directory.path(), &data).unwrap_err();
        assert!(matches!(folder, Error::Io { .. }), "{folder}");
        for text in ["", "[]", "{\"format\": 3}", "{\"format\": \"other\", \"version\": 1}"] {
            fs::write(&path, text).unwrap();
            let error = FrozenEpisodes::load(&path, &data).unwrap_err();
            assert!(matches!(error, Error::NotFrozen { .. }), "{text}: {error}");
        }
        let whole = {
            list(&data).save(&path).unwrap();
            fs::read(&path).unwrap()
        };
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let cut = FrozenEpisodes::load(&path, &data).unwrap_err();
        assert!(matches!(cut, Error::NotFrozen { .. }), "{cut}");
        assert!(!cut.to_string().contains('\n'));
    }

    #[test]
    fn another_version_is_an_error() {
        let error = load_changed(|value| value["version"] = json!(2)).unwrap_err();
        assert!(matches!(error, Error::FrozenVersion { found: 2, expected: 1, .. }), "{error}");
        let error = load_changed(|value| value["spec"]["way"] = json!(0)).unwrap_err();
        assert!(matches!(error, Error::NotFrozen { .. }), "{error}");
    }

    #[test]
    fn episodes_that_contradict_the_list_are_errors() {
        assert!(load_changed(|_| ()).is_ok());
        let episode = |value: &mut Value| value["episodes"][2].take();
        let says = problem(|value| {
            let mut changed = episode(value);
            changed["classes"][0] = json!("A/character77");
            value["episodes"][2] = changed;
        });
        assert_eq!(says, "2: class A/character77 is not in the dataset");
        let says = problem(|value| {
            let second = value["episodes"][0]["classes"][1].clone();
            value["episodes"][0]["classes"][0] = second;
        });
        assert_eq!(says, "0: a class or an image occurs twice");
        let says = problem(|value| {
            let support = value["episodes"][1]["support"][0][0].clone();
            value["episodes"][1]["query"][0][1] = support;
        });
        assert_eq!(says, "1: a class or an image occurs twice");
        let says = problem(|value| value["episodes"][0]["query"][2] = json!([1]));
        assert!(says.starts_with("0: query images per class are [2, 2, 1]"), "{says}");
        let says = problem(|value| value["episodes"][0]["support"][0] = json!([4]));
        assert!(says.starts_with("0: support image 4 of A/character0"), "{says}");
        let says = problem(|value| value["spec"]["way"] = json!(4));
        assert_eq!(says, "0: 3 classes; expected 4");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let directory = TempDir::new().unwrap();
        let frozen = list(&flat(&[("A", 6)], 4));
        let nowhere = directory.path().join("no-such-folder").join("a.json");
        let error = frozen.save(&nowhere).unwrap_err();
        assert!(matches!(error, Error::Io { action: "write", .. }), "{error}");
        // A directory in the place cannot be replaced; what was written beside it goes again.
        let taken = directory.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(frozen.save(&taken).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
