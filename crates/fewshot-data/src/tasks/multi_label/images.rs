//! Images that carry several labels each.
//!
//! Does not know: tasks, files.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::{EpisodeSpec, Error};

/// 8-bit images of one shape, each with any number of labels.
///
/// # Example
/// ```
/// use fewshot_data::MultiLabelImages;
/// let names = ["cat", "dog", "tree"].map(String::from).to_vec();
/// let labels = vec![vec![0, 2], vec![1], vec![]]; // the first image has a cat and a tree
/// let data = MultiLabelImages::new([3, 8, 8], names, vec![0u8; 3 * 3 * 8 * 8], labels)?;
/// assert_eq!((data.images_of(2), data.labels(0)), (&[0][..], &[0, 2][..]));
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone)]
pub struct MultiLabelImages {
    pub(super) shape: [usize; 3],
    store: Arc<dyn AsRef<[u8]> + Send + Sync>,
    pub(super) names: Vec<String>,
    /// By image, sorted.
    labels: Vec<Vec<usize>>,
    /// By class, sorted.
    images: Vec<Vec<usize>>,
}

impl fmt::Debug for MultiLabelImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MultiLabelImages({} images of {:?}, {} classes)", self.labels.len(), self.shape, self.names.len())
    }
}

impl MultiLabelImages {
    /// Images of shape `[channels, height, width]`, planar and one after the other in `store` (a vector
    /// or a mapped file, say), and the labels of each: indices into the names of the classes.
    ///
    /// # Errors
    /// [`Error::ValueCount`] where the bytes are not those of as many images as there are lists of
    /// labels; [`Error::ImageLabel`] for a label beyond the classes or given twice;
    /// [`Error::DuplicateClass`].
    pub fn new(
        shape: [usize; 3],
        names: Vec<String>,
        store: impl AsRef<[u8]> + Send + Sync + 'static,
        labels: Vec<Vec<usize>>,
    ) -> Result<Self, Error> {
        let mut seen = HashSet::new();
        if let Some(class) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(Error::DuplicateClass { class: class.clone() });
        }
        let size = shape.iter().try_fold(labels.len(), |product, &side| product.checked_mul(side));
        let found = store.as_ref().len();
        if size != Some(found) || shape.contains(&0) {
            let expected = format!("{} images of shape {shape:?}, a list of labels for each", labels.len());
            return Err(Error::ValueCount { what: "the images".to_owned(), found, expected });
        }
        let mut images = vec![Vec::new(); names.len()];
        for (image, labels) in labels.iter().enumerate() {
            for &label in labels {
                let classes = names.len();
                let of_class = images.get_mut(label).filter(|list| list.last() != Some(&image));
                of_class.ok_or(Error::ImageLabel { image, label, classes })?.push(image);
            }
        }
        let sorted = |mut labels: Vec<usize>| {
            labels.sort_unstable();
            labels
        };
        let labels = labels.into_iter().map(sorted).collect();
        Ok(Self { shape, store: Arc::new(store), names, labels, images })
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The names of the classes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The labels of an image, sorted; none beyond the last image.
    pub fn labels(&self, image: usize) -> &[usize] {
        self.labels.get(image).map_or(&[], Vec::as_slice)
    }

    /// The images that carry a label, sorted; none beyond the last class.
    pub fn images_of(&self, class: usize) -> &[usize] {
        self.images.get(class).map_or(&[], Vec::as_slice)
    }

    /// The bytes of an image.
    pub(super) fn image(&self, image: usize) -> Option<&[u8]> {
        let size = self.shape.iter().product();
        let all: &[u8] = (*self.store).as_ref();
        all.chunks_exact(size).nth(image)
    }

    /// Images that a class is sure to find when it comes last: those that the other classes of an
    /// episode, each with its most images, may have taken before are not counted.
    pub(super) fn sure(&self, class: usize, spec: &EpisodeSpec) -> usize {
        let images = self.images_of(class);
        let shared = images.iter().filter(|&&image| self.labels(image).len() > 1).count();
        let others = (spec.way.saturating_sub(1)).saturating_mul(spec.images_per_class());
        images.len() - shared.min(others)
    }

    /// An error about the images a class is sure of, with those it has.
    pub(super) fn in_full(&self, error: Error) -> Error {
        match error {
            Error::TooFewImages { class, images: sure, shot, query } => {
                let images = self.names.iter().position(|name| *name == class).map_or(0, |at| self.images_of(at).len());
                match images == sure {
                    true => Error::TooFewImages { class, images, shot, query },
                    false => Error::SharedImages { class, images, sure, shot, query },
                }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_an_error() {
        let make = |labels, bytes| {
            let names = ["a", "b"].map(String::from).to_vec();
            MultiLabelImages::new([1, 2, 2], names, vec![0; bytes], labels).unwrap_err().to_string()
        };
        assert_eq!(make(vec![vec![0], vec![2]], 8), "image 1 has label 2; expected labels below 2, each once");
        assert_eq!(make(vec![vec![0, 1, 0]], 4), "image 0 has label 0; expected labels below 2, each once");
        let few = make(vec![vec![0], vec![1]], 7);
        assert_eq!(few, "the images: 7 values; expected 2 images of shape [1, 2, 2], a list of labels for each");
        let twice = MultiLabelImages::new([1, 1, 1], vec!["a".to_owned(); 2], vec![], vec![]).unwrap_err();
        assert!(matches!(twice, Error::DuplicateClass { .. }));
    }
}
