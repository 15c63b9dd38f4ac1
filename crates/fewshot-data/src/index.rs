//! What a source holds, before any image is decoded: the one thing every form is read into.
//!
//! Does not know: how forms are told apart, how images are decoded.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::Archive;
use crate::mapped::SharedBytes;
use crate::{Error, Pixels, Split};

/// What a source holds.
#[derive(Debug)]
pub(crate) struct Index {
    /// The form, in words, such as `category pickle`.
    pub form: &'static str,
    pub sets: Vec<IndexedSet>,
    /// What is odd about it but can be lived with, a sentence each.
    pub problems: Vec<String>,
}

/// The classes of one split, or of a source without splits.
#[derive(Debug)]
pub(crate) struct IndexedSet {
    pub split: Option<Split>,
    /// What was read, file or directory.
    pub path: PathBuf,
    pub classes: Vec<IndexedClass>,
}

/// A class whose images are known but not decoded.
#[derive(Debug)]
pub(crate) struct IndexedClass {
    pub name: String,
    /// The category, alphabet or coarse class; empty where the form has none.
    pub group: String,
    pub images: Images,
}

/// The images of a class.
#[derive(Clone, Debug)]
pub(crate) enum Images {
    /// Rows of an array of decoded images.
    Rows {
        pixels: Pixels,
        /// `[channels, height, width]`.
        shape: [usize; 3],
    },
    /// Image files, wherever they lie.
    Encoded(Vec<Encoded>),
}

/// One image file: PNG or JPEG.
#[derive(Clone)]
pub(crate) enum Encoded {
    File(PathBuf),
    /// Part of a mapped file.
    Slice(SharedBytes, Range<usize>),
    /// An entry of a zip archive, by its index.
    Entry(Arc<Archive>, usize),
}

impl IndexedClass {
    /// How many images the class has.
    pub fn image_count(&self) -> usize {
        match &self.images {
            Images::Encoded(images) => images.len(),
            Images::Rows { pixels, shape } => {
                let each = shape.iter().product::<usize>().max(1);
                pixels.rows().map_or(pixels.bytes().len() / each, <[u32]>::len)
            }
        }
    }
}

impl IndexedSet {
    /// How many images the set has.
    pub fn image_count(&self) -> usize {
        self.classes.iter().map(IndexedClass::image_count).sum()
    }
}

impl std::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Slice(_, range) => write!(f, "bytes {range:?}"),
            Self::Entry(archive, entry) => write!(f, "{}", archive.name(*entry)),
        }
    }
}

/// The rows of each class of an array of `images` images with one label each, classes by label in
/// increasing order. Contiguous runs stay ranges of the array, so that they cost nothing.
pub(crate) fn rows_by_label(
    path: &Path,
    pixels: &Pixels,
    shape: [usize; 3],
    labels: &[i64],
    name: impl Fn(i64) -> (String, String),
) -> Result<Vec<IndexedClass>, Error> {
    let each = shape.iter().product::<usize>().max(1);
    let images = pixels.bytes().len() / each;
    if labels.len() != images {
        let problem = format!("{} labels for {images} images; expected one for each", labels.len());
        return Err(Error::malformed(path, "labels", problem));
    }
    let mut order: Vec<u32> = (0..u32::try_from(images).unwrap_or(u32::MAX)).collect();
    // Stable, so that images keep their order within a class.
    order.sort_by_key(|&row| labels[row as usize]);
    let same = |a: &u32, b: &u32| labels[*a as usize] == labels[*b as usize];
    let class = |rows: &[u32]| {
        let (name, group) = name(labels[rows[0] as usize]);
        IndexedClass { name, group, images: Images::Rows { pixels: pixels.clone().with_rows(rows), shape } }
    };
    Ok(order.chunk_by(same).map(class).collect())
}
