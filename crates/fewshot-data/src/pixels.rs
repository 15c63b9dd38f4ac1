//! The bytes of one class: its own, or images of a shared array such as a mapped file.
//!
//! Does not know: image shapes, class names.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::mapped::SharedBytes;

/// The order of the bytes of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Channel by channel: `[channels, height, width]`.
    #[default]
    Planar,
    /// Pixel by pixel: `[height, width, channels]`.
    Interleaved,
    /// Pixel by pixel with the channels backwards, as OpenCV writes colours: blue, green, red.
    Reversed,
}

/// The pixels of a class, one image after the other.
///
/// A clone shares the bytes, so datasets are selected, split and joined without copying images, and
/// arrays in mapped files are used where they are.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use fewshot_data::{Layout, Pixels};
/// let own = Pixels::from(vec![0u8; 8]);
/// // A memory-mapped file would do as well as this vector.
/// let store = Arc::new((0..=255u8).collect::<Vec<_>>());
/// let part = Pixels::shared(store, 16..24)?.with_layout(Layout::Interleaved);
/// assert_eq!(part.bytes(), &[16, 17, 18, 19, 20, 21, 22, 23]);
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Pixels {
    store: SharedBytes,
    range: Range<usize>,
    layout: Layout,
    rows: Option<Arc<[u32]>>,
}

impl Pixels {
    /// A part of a store that lives elsewhere, in planar layout. The store must go on returning the
    /// same bytes.
    ///
    /// # Errors
    /// [`Error::PixelRange`] where the range lies outside the store.
    pub fn shared(store: SharedBytes, range: Range<usize>) -> Result<Self, Error> {
        let bytes = (*store).as_ref().len();
        if range.start > range.end || range.end > bytes {
            let Range { start, end } = range;
            return Err(Error::PixelRange { start, end, bytes });
        }
        Ok(Self { store, range, layout: Layout::Planar, rows: None })
    }

    /// Sets the order of the bytes of each image.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Only the images with these numbers, in this order. A dataset refuses a number beyond the last
    /// image when the class is added to it.
    pub fn with_rows(mut self, rows: impl Into<Arc<[u32]>>) -> Self {
        self.rows = Some(rows.into());
        self
    }

    /// The bytes of all images of the array, picked or not.
    pub fn bytes(&self) -> &[u8] {
        // The range was checked; a store that shrank afterwards reads as empty rather than panics.
        let all: &[u8] = (*self.store).as_ref();
        all.get(self.range.clone()).unwrap_or_default()
    }

    /// The order of the bytes of each image.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The numbers of the images picked; `None` for all of them.
    pub fn rows(&self) -> Option<&[u32]> {
        self.rows.as_deref()
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { store: Arc::new(bytes), range, layout: Layout::Planar, rows: None }
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { range, layout, .. } = self;
        match &self.rows {
            Some(rows) => write!(f, "Pixels({} images of {} bytes, {layout:?})", rows.len(), range.len()),
            None => write!(f, "Pixels({} bytes, {layout:?})", range.len()),
        }
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
