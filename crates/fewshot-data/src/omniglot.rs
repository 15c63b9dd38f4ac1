//! Omniglot, read in place from the zip archives it is distributed in.
//!
//! Does not know: splits, rotations, where the archives can be had.

mod drawing;
mod listing;
pub(crate) mod runs;
pub(crate) mod split;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::archive::Archive;
use crate::tree::{Tree, TreeFile};
use crate::{Error, ImageClasses};
use listing::Drawing;
pub(crate) use listing::parse as drawing_name;

/// Reads Omniglot from its zip archives, or from what they unpack to, into 28 x 28 images with ink 255 on 0.
///
/// Entries are `<set>/<Alphabet>/characterNN/GGGG_DD.png` (global character number, drawer), each a
/// 105 x 105 PNG of 1 bit in which 1 is white paper. Each is scaled as 8-bit greyscale with a
/// Lanczos filter of three lobes, as Pillow does in mode L, and then inverted. (Pillow scales images
/// of mode 1 to the nearest neighbour without a word; pipelines that forgot to convert had that.)
///
/// Classes are named `Alphabet/characterNN`, sorted by name, grouped by alphabet; images are sorted
/// by drawer. The result depends on nothing else: not on the order of entries, archives or threads.
///
/// The same character may come more than once, as in `images_background_small1.zip` and
/// `images_background.zip`. Copies with the same drawings are merged into one class; copies that
/// differ are an error, since one of them must be wrong.
///
/// # Example
/// ```no_run
/// # use fewshot_data::Omniglot;
/// let data = Omniglot::new("images_background.zip")
///     .and("images_evaluation.zip")
///     .load()?;
/// assert_eq!((data.len(), data.shape()), (1623, [1, 28, 28]));
/// # Ok::<(), fewshot_data::Error>(())
/// ```
///
/// # Source
/// Lake, Salakhutdinov and Tenenbaum, "Human-level concept learning through probabilistic program
/// induction", Science 350 (2015); archives at <https://github.com/brendenlake/omniglot>.
#[derive(Clone, Debug)]
pub struct Omniglot {
    paths: Vec<PathBuf>,
    size: usize,
    threads: usize,
}

impl Omniglot {
    /// Reads this archive, or every `.zip` file of this directory that holds characters (not those
    /// of its subdirectories), or, in a directory without archives, the drawings they unpack to.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self { paths: vec![path.into()], size: 28, threads: threads.min(16) }
    }

    /// Reads this archive or directory as well.
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Sets the side of the images in pixels, 1 to 1024 (default 28; 105 keeps the drawings as
    /// they are).
    pub fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Sets how many threads decode (default: one per core, 16 at most). The result is the same.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Reads the archives.
    ///
    /// # Shapes
    /// Images are `[1, size, size]`.
    ///
    /// # Errors
    /// One line naming the file and the cause: a path that does not exist, a directory without
    /// archives, a file that is not a zip archive, was cut short or holds something else, a drawing
    /// of another size or kind or without a place, two drawings of a character by one drawer, a
    /// character whose copies differ. In a directory, archives without characters are passed over
    /// as long as another has some.
    ///
    /// # Cost
    /// Reads each archive once; holds the compressed drawings (some 400 bytes each) and the
    /// result (`size * size` bytes per image) in memory.
    pub fn load(&self) -> Result<ImageClasses, Error> {
        check_size(self.size)?;
        let mut merged = BTreeMap::new();
        for path in &self.paths {
            self.load_path(path, &mut merged)?;
        }
        let mut data = ImageClasses::new([1, self.size, self.size])?;
        for (name, character) in merged {
            let group = name.split('/').next().unwrap_or_default().to_owned();
            data.push(name, group, character.pixels)?;
        }
        Ok(data)
    }

    fn load_path(&self, path: &Path, merged: &mut Merged) -> Result<(), Error> {
        if !path.is_dir() {
            return self.load_archive(&Tree::of(&Arc::new(Archive::open(path)?)), merged);
        }
        let archives = archives_in(path)?;
        if archives.is_empty() {
            return match Tree::walk(path)? {
                // No archives and not one image that somebody unpacked.
                tree if !tree.files.iter().any(TreeFile::is_image) => Err(Error::NoArchives { path: path.to_owned() }),
                tree => self.load_archive(&tree, merged),
            };
        }
        let mut foreign = None;
        let mut found = false;
        for archive in archives {
            match self.load_archive(&Tree::of(&Arc::new(Archive::open(&archive)?)), merged) {
                Ok(()) => found = true,
                // The original directory has archives of pen strokes beside those of images.
                Err(error @ Error::NotOmniglot { .. }) => foreign = foreign.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match foreign {
            Some(error) if !found => Err(error),
            _ => Ok(()),
        }
    }

    fn load_archive(&self, tree: &Tree, merged: &mut Merged) -> Result<(), Error> {
        let (path, drawings) = (&tree.root, listing::read(tree)?);
        let images = drawing::decode_all(path, &drawings, self.size, self.threads)?;
        let same = |a: &Drawing, b: &Drawing| (&a.set, &a.class) == (&b.set, &b.class);
        let mut start = 0;
        for drawings in drawings.chunk_by(same) {
            let end = start + drawings.len();
            let character = Character {
                archive: path.to_owned(),
                drawers: drawings.iter().map(|d| d.drawer).collect(),
                pixels: images[start..end].concat(),
            };
            merge(merged, &drawings[0].class, character)?;
            start = end;
        }
        Ok(())
    }
}

fn check_size(size: usize) -> Result<(), Error> {
    let (setting, found) = ("Omniglot image size", size.to_string());
    match size {
        1..=1024 => Ok(()),
        _ => Err(Error::Setting { setting, found, expected: "1 to 1024 pixels" }),
    }
}

/// Characters by class name.
type Merged = BTreeMap<String, Character>;

/// One character as read: who drew it, and the scaled drawings.
struct Character {
    archive: PathBuf,
    drawers: Vec<u32>,
    pixels: Vec<u8>,
}

fn merge(merged: &mut Merged, class: &str, new: Character) -> Result<(), Error> {
    match merged.entry(class.to_owned()) {
        Slot::Vacant(slot) => {
            slot.insert(new);
            Ok(())
        }
        Slot::Occupied(slot) => match difference(slot.get(), &new) {
            None => Ok(()),
            Some(difference) => Err(Error::ConflictingClass {
                path: new.archive,
                other: slot.get().archive.clone(),
                class: class.to_owned(),
                difference,
            }),
        },
    }
}

fn difference(old: &Character, new: &Character) -> Option<String> {
    if old.drawers != new.drawers {
        let (n, m) = (new.drawers.len(), old.drawers.len());
        return Some(format!("{n} drawings, by other drawers than the {m} there"));
    }
    let image_bytes = old.pixels.len() / old.drawers.len().max(1);
    let position = (old.pixels.iter().zip(&new.pixels)).position(|(a, b)| a != b)?;
    let drawer = old.drawers.get(position / image_bytes.max(1))?;
    Some(format!("another drawing by drawer {drawer}"))
}

/// The `.zip` files of a directory, sorted by name.
fn archives_in(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |cause| Error::Io { path: directory.to_owned(), action: "list", cause };
    let mut archives = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let zip = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip"));
        // Names beginning with a dot are a system's shadows of other files.
        let shadow = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if zip && !shadow && path.is_file() {
            archives.push(path);
        }
    }
    archives.sort();
    Ok(archives)
}
