//! The bytes of one class: its own, or a part of a shared store such as a mapped file.
//!
//! Does not know: image shapes, class names.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::Error;

/// The pixels of a class, one image after the other.
///
/// A clone shares the bytes, so datasets are selected, split and joined without copying images.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use fewshot_data::Pixels;
/// let own = Pixels::from(vec![0u8; 8]);
/// // A memory-mapped file would do as well as this vector.
/// let store = Arc::new((0..=255u8).collect::<Vec<_>>());
/// let part = Pixels::shared(store, 16..24)?;
/// assert_eq!(part.bytes(), &[16, 17, 18, 19, 20, 21, 22, 23]);
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Pixels {
    store: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Pixels {
    /// A part of a store that lives elsewhere. The store must go on returning the same bytes.
    ///
    /// # Errors
    /// [`Error::PixelRange`] where the range lies outside the store.
    pub fn shared(store: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Result<Self, Error> {
        let bytes = (*store).as_ref().len();
        if range.start > range.end || range.end > bytes {
            let Range { start, end } = range;
            return Err(Error::PixelRange { start, end, bytes });
        }
        Ok(Self { store, range })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // The range was checked; a store that shrank afterwards reads as empty rather than panics.
        let all: &[u8] = (*self.store).as_ref();
        all.get(self.range.clone()).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        let store = Arc::new(bytes);
        Self { store, range }
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pixels({} bytes)", self.range.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_outside_the_store_is_an_error() {
        let store = Arc::new(vec![0u8; 4]);
        let error = Pixels::shared(store.clone(), 2..5).unwrap_err();
        assert!(matches!(error, Error::PixelRange { start: 2, end: 5, bytes: 4 }));
        let backwards = Range { start: 3, end: 1 };
        assert!(Pixels::shared(store, backwards).is_err());
    }

    #[test]
    fn clones_share_the_bytes() {
        let pixels = Pixels::from(vec![1, 2, 3]);
        let clone = pixels.clone();
        assert_eq!(pixels.bytes().as_ptr(), clone.bytes().as_ptr());
    }
}
