//! Images by class, in memory.
//!
//! Does not know: where the images came from, episodes, tensors.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::rotate::character_of;
use crate::{Error, Layout, Pixels};

/// One class: a name, the group it belongs to (an alphabet, say), and its images.
#[derive(Clone, Debug)]
pub struct Class {
    name: String,
    group: String,
    pixels: Pixels,
    shape: [usize; 3],
}

impl Class {
    /// The full name, such as `Greek/character01` or `Greek/character01/rot090`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The group the class belongs to, such as `Greek`.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The name without a rotation: `Greek/character01/rot090` is the character
    /// `Greek/character01`.
    pub fn character(&self) -> &str {
        character_of(&self.name)
    }

    /// How many images the class has; at least one.
    pub fn image_count(&self) -> usize {
        self.pixels.rows().map_or_else(|| self.pixels.bytes().len() / self.image_bytes(), <[u32]>::len)
    }

    /// One image, `channels * height * width` bytes in that order; `None` beyond the last.
    ///
    /// # Cost
    /// Nothing for images that are stored so, a copy for the others (see [`raw_image`](Self::raw_image)).
    pub fn image(&self, index: usize) -> Option<Cow<'_, [u8]>> {
        let raw = self.raw_image(index)?;
        Some(match self.layout() {
            Layout::Planar => Cow::Borrowed(raw),
            _ if self.shape[0] == 1 => Cow::Borrowed(raw),
            layout => Cow::Owned(planes(raw, self.shape[0], layout)),
        })
    }

    /// One image in the order of bytes it is stored in; `None` beyond the last.
    pub fn raw_image(&self, index: usize) -> Option<&[u8]> {
        let row = match self.pixels.rows() {
            Some(rows) => *rows.get(index)? as usize,
            None => index,
        };
        let start = row.checked_mul(self.image_bytes())?;
        let end = start.checked_add(self.image_bytes())?;
        self.pixels.bytes().get(start..end)
    }

    /// The order of the bytes of [`raw_image`](Self::raw_image).
    pub fn layout(&self) -> Layout {
        self.pixels.layout()
    }

    /// All images in order, each as by [`image`](Self::image).
    pub fn images(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        (0..self.image_count()).filter_map(|index| self.image(index))
    }

    /// What the images are stored in.
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    fn image_bytes(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The bytes of an image channel by channel.
pub(crate) fn planes(raw: &[u8], channels: usize, layout: Layout) -> Vec<u8> {
    if layout == Layout::Planar {
        return raw.to_vec();
    }
    let channel = |c: usize| match layout {
        Layout::Reversed => channels - 1 - c,
        _ => c,
    };
    (0..channels).flat_map(|c| raw.iter().skip(channel(c)).step_by(channels).copied()).collect()
}

/// A few-shot image dataset: classes of 8-bit images of one shape, where 255 stands for 1.0.
///
/// The pixels are shared between clones and between the datasets made from one another, so
/// selecting, splitting and joining cost a few bytes per class. Only
/// [`with_rotations`](Self::with_rotations) makes new images.
///
/// # Example
/// ```
/// # use fewshot_data::ImageClasses;
/// let mut data = ImageClasses::new([1, 2, 2])?;
/// data.push("Greek/character01", "Greek", vec![0, 255, 0, 255])?;
/// assert_eq!(data.classes()[0].image_count(), 1);
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImageClasses {
    shape: [usize; 3],
    image_bytes: usize,
    classes: Vec<Class>,
    by_name: HashMap<String, usize>,
}

impl ImageClasses {
    /// An empty dataset of images of shape `[channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::Setting`] where a dimension is zero or the product overflows.
    pub fn new(shape: [usize; 3]) -> Result<Self, Error> {
        let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let image_bytes = product.filter(|&n| n > 0).ok_or_else(|| Error::Setting {
            setting: "image shape",
            found: format!("{shape:?}"),
            expected: "[channels, height, width], each at least 1",
        })?;
        Ok(Self { shape, image_bytes, classes: Vec::new(), by_name: HashMap::new() })
    }

    /// Adds a class at the end. The pixels are whole images, one after the other, in one of the
    /// layouts of [`Layout`] (a vector is planar), or picked rows of an array of such images.
    ///
    /// # Errors
    /// [`Error::DuplicateClass`] for a name that is there already; [`Error::ClassBytes`] where the
    /// pixels are not a whole, positive number of images, [`Error::ClassRow`] where a picked row is
    /// beyond the last image.
    pub fn push(
        &mut self,
        name: impl Into<String>,
        group: impl Into<String>,
        pixels: impl Into<Pixels>,
    ) -> Result<(), Error> {
        let (class, pixels) = (name.into(), pixels.into());
        let (bytes, image_bytes) = (pixels.bytes().len(), self.image_bytes);
        if bytes == 0 || bytes % image_bytes != 0 || pixels.rows().is_some_and(<[u32]>::is_empty) {
            let bytes = if pixels.rows().is_some() { 0 } else { bytes };
            return Err(Error::ClassBytes { class, bytes, image_bytes });
        }
        let images = bytes / image_bytes;
        if let Some(&row) = pixels.rows().and_then(|rows| rows.iter().find(|&&row| row as usize >= images)) {
            return Err(Error::ClassRow { class, row, images });
        }
        self.add(Class { name: class, group: group.into(), pixels, shape: self.shape })
    }

    fn add(&mut self, class: Class) -> Result<(), Error> {
        if self.by_name.contains_key(&class.name) {
            return Err(Error::DuplicateClass { class: class.name });
        }
        self.by_name.insert(class.name.clone(), self.classes.len());
        self.classes.push(class);
        Ok(())
    }

    /// Image shape, `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are no classes.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The classes in order.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// How many images all classes have together.
    pub fn image_count(&self) -> usize {
        self.classes.iter().map(Class::image_count).sum()
    }

    /// The index of a class by its full name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The group names, sorted, each with how many classes it has.
    pub fn groups(&self) -> BTreeMap<&str, usize> {
        let mut groups = BTreeMap::new();
        for class in &self.classes {
            *groups.entry(class.group()).or_default() += 1;
        }
        groups
    }

    /// The characters, sorted; rotations of one character count once.
    pub fn characters(&self) -> BTreeSet<&str> {
        self.classes.iter().map(Class::character).collect()
    }

    /// The classes at these indices, in this order.
    ///
    /// # Errors
    /// [`Error::ClassIndex`] beyond the last class, [`Error::DuplicateClass`] for an index given
    /// twice.
    pub fn select(&self, indices: &[usize]) -> Result<Self, Error> {
        let mut selected = Self::new(self.shape)?;
        for &index in indices {
            let classes = self.classes.len();
            let class = self.classes.get(index);
            let class = class.ok_or(Error::ClassIndex { index, classes })?;
            selected.add(class.clone())?;
        }
        Ok(selected)
    }

    /// The classes with these full names, in this order.
    ///
    /// # Errors
    /// [`Error::UnknownClass`], or [`Error::DuplicateClass`] for a name given twice.
    pub fn select_names<S: AsRef<str>>(&self, names: &[S]) -> Result<Self, Error> {
        let index = |name: &S| {
            let class = name.as_ref();
            self.index_of(class).ok_or_else(|| Error::UnknownClass { class: class.to_owned(), hint: String::new() })
        };
        let indices: Result<Vec<_>, _> = names.iter().map(index).collect();
        self.select(&indices?)
    }

    /// The classes for which `keep` holds, in order.
    pub fn filter(&self, mut keep: impl FnMut(&Class) -> bool) -> Self {
        let classes: Vec<_> = self.classes.iter().filter(|c| keep(c)).cloned().collect();
        let name = |(i, class): (usize, &Class)| (class.name.clone(), i);
        let by_name = classes.iter().enumerate().map(name).collect();
        Self { classes, by_name, ..*self }
    }

    /// The classes whose character does not occur in `other`, and how many classes were dropped.
    ///
    /// A character that occurs in any rotation on one side is dropped in every rotation on this.
    pub fn without(&self, other: &Self) -> (Self, usize) {
        let theirs: HashSet<&str> = other.classes.iter().map(Class::character).collect();
        let kept = self.filter(|class| !theirs.contains(class.character()));
        let dropped = self.len() - kept.len();
        (kept, dropped)
    }

    /// Checks that no character occurs in both datasets, whatever its rotation.
    ///
    /// # Errors
    /// [`Error::SharedClass`], naming the first shared class of this dataset.
    pub fn check_disjoint(&self, other: &Self) -> Result<(), Error> {
        let by_character = |class| (Class::character(class), class.name.as_str());
        let theirs: HashMap<&str, &str> = other.classes.iter().map(by_character).collect();
        for class in &self.classes {
            if let Some(&second) = theirs.get(class.character()) {
                let (first, second) = (class.name.clone(), second.to_owned());
                return Err(Error::SharedClass { first, second });
            }
        }
        Ok(())
    }

    /// The classes of both datasets, first these, then the other's.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], or [`Error::DuplicateClass`] for a class name in both.
    pub fn concat(&self, other: &Self) -> Result<Self, Error> {
        if self.shape != other.shape {
            let (expected, found) = (self.shape, other.shape);
            return Err(Error::ShapeMismatch { expected, found });
        }
        let mut joined = self.clone();
        for class in &other.classes {
            joined.add(class.clone())?;
        }
        Ok(joined)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// Classes `A/character01`, ... whose every pixel is `10 * class + image`.
    pub(crate) fn flat(groups: &[(&str, usize)], images: usize) -> ImageClasses {
        let mut data = ImageClasses::new([1, 2, 2]).unwrap();
        for &(group, classes) in groups {
            for class in 1..=classes {
                let value = |image| (10 * (data.len() + 1) + image) as u8;
                let pixels: Vec<u8> = (0..images).flat_map(|i| [value(i); 4]).collect();
                let name = format!("{group}/character{class:02}");
                data.push(name, group, pixels).unwrap();
            }
        }
        data
    }

    fn names(data: &ImageClasses) -> Vec<&str> {
        data.classes().iter().map(Class::name).collect()
    }

    #[test]
    fn images_are_slices_of_their_class() {
        let data = flat(&[("A", 2)], 3);
        assert_eq!(data.classes()[1].image(2).as_deref(), Some([22; 4].as_slice()));
        assert_eq!(data.classes()[1].image(3), None);
        assert_eq!(data.classes()[1].image(usize::MAX), None);
        assert_eq!((data.len(), data.image_count()), (2, 6));
    }

    #[test]
    fn bad_shapes_and_sizes_are_errors() {
        assert!(matches!(ImageClasses::new([1, 0, 2]), Err(Error::Setting { .. })));
        assert!(matches!(ImageClasses::new([2, usize::MAX, 2]), Err(Error::Setting { .. })));
        let mut data = flat(&[("A", 1)], 1);
        for bytes in [0, 3, 5] {
            let error = data.push("B/character01", "B", vec![0; bytes]).unwrap_err();
            assert!(matches!(error, Error::ClassBytes { image_bytes: 4, .. }), "{error}");
        }
        let error = data.push("A/character01", "A", vec![0; 4]).unwrap_err();
        assert!(matches!(error, Error::DuplicateClass { class } if class == "A/character01"));
    }

    #[test]
    fn classes_may_share_a_store() {
        let store: Arc<Vec<u8>> = Arc::new((0..16).collect());
        let mut data = ImageClasses::new([1, 2, 2]).unwrap();
        for (class, range) in [("a", 0..8), ("b", 8..16)] {
            let pixels = Pixels::shared(store.clone(), range).unwrap();
            data.push(class, "", pixels).unwrap();
        }
        assert_eq!(data.classes()[1].image(1).as_deref(), Some([12, 13, 14, 15].as_slice()));
        assert_eq!(data.classes()[0].image(2), None);
    }

    #[test]
    fn layouts_and_rows_are_seen_as_planar_images() {
        // Two images of 1 x 2 pixels in three channels; catches a swapped channel, axis or row.
        let bytes: Vec<u8> = (0..12).collect();
        let image = |layout, rows: &[u32]| {
            let mut data = ImageClasses::new([3, 1, 2]).unwrap();
            let pixels = Pixels::from(bytes.clone()).with_layout(layout).with_rows(rows);
            data.push("a", "", pixels).unwrap();
            let class = &data.classes()[0];
            assert_eq!(class.image_count(), rows.len());
            class.images().map(Cow::into_owned).collect::<Vec<_>>()
        };
        assert_eq!(image(Layout::Planar, &[1]), [[6, 7, 8, 9, 10, 11]]);
        assert_eq!(image(Layout::Interleaved, &[1, 0]), [[6, 9, 7, 10, 8, 11], [0, 3, 1, 4, 2, 5]]);
        assert_eq!(image(Layout::Reversed, &[0, 0]), [[2, 5, 1, 4, 0, 3]; 2]);
    }

    #[test]
    fn rows_beyond_the_array_are_errors() {
        let mut data = ImageClasses::new([1, 2, 2]).unwrap();
        let error = data.push("a", "", Pixels::from(vec![0; 8]).with_rows([0, 2])).unwrap_err();
        assert_eq!(error.to_string(), "class a names image 2 of its array, which has 2");
        let error = data.push("a", "", Pixels::from(vec![0; 8]).with_rows([])).unwrap_err();
        assert!(matches!(error, Error::ClassBytes { bytes: 0, .. }), "{error}");
    }

    #[test]
    fn selection_keeps_the_order_asked_for_and_the_bytes() {
        let data = flat(&[("A", 3)], 1);
        let picked = data.select(&[2, 0]).unwrap();
        assert_eq!(names(&picked), ["A/character03", "A/character01"]);
        assert_eq!(picked.index_of("A/character01"), Some(1));
        let (old, new) = (data.classes()[2].raw_image(0), picked.classes()[0].raw_image(0));
        assert_eq!(old.map(<[u8]>::as_ptr), new.map(<[u8]>::as_ptr));
        let by_name = data.select_names(&["A/character02"]).unwrap();
        assert_eq!(names(&by_name), ["A/character02"]);
    }

    #[test]
    fn selection_errors_name_the_class() {
        let data = flat(&[("A", 2)], 1);
        assert!(matches!(data.select(&[2]), Err(Error::ClassIndex { index: 2, classes: 2 })));
        assert!(matches!(data.select(&[1, 1]), Err(Error::DuplicateClass { .. })));
        let error = data.select_names(&["A/character09"]).unwrap_err();
        assert_eq!(error.to_string(), "class A/character09 is not in the dataset");
    }

    #[test]
    fn dropping_counts_rotations_as_their_character() {
        let plain = flat(&[("A", 2), ("B", 1)], 1);
        let rotated = flat(&[("A", 1)], 1).with_rotations().unwrap();
        let (kept, dropped) = plain.without(&rotated);
        assert_eq!((names(&kept), dropped), (vec!["A/character02", "B/character01"], 1));
        let (kept, dropped) = rotated.without(&plain);
        assert_eq!((kept.len(), dropped), (0, 4));
        assert_eq!(kept.index_of("A/character01/rot000"), None);
    }

    #[test]
    fn disjointness_counts_rotations_as_their_character() {
        let plain = flat(&[("A", 2)], 1);
        let rotated = flat(&[("A", 1)], 1).with_rotations().unwrap();
        let one = rotated.select_names(&["A/character01/rot270"]).unwrap();
        let error = plain.check_disjoint(&one).unwrap_err();
        let expected = "class A/character01 and class A/character01/rot270 are the same character";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(one.check_disjoint(&plain).is_err());
        assert!(one.check_disjoint(&plain.select(&[1]).unwrap()).is_ok());
    }

    #[test]
    fn joining_needs_one_shape_and_new_names() {
        let (a, b) = (flat(&[("A", 2)], 1), flat(&[("B", 1)], 1));
        let joined = a.concat(&b).unwrap();
        assert_eq!(names(&joined), ["A/character01", "A/character02", "B/character01"]);
        assert_eq!(joined.groups(), BTreeMap::from([("A", 2), ("B", 1)]));
        assert!(matches!(a.concat(&a), Err(Error::DuplicateClass { .. })));
        let other = ImageClasses::new([3, 2, 2]).unwrap();
        assert!(matches!(a.concat(&other), Err(Error::ShapeMismatch { .. })));
    }
}
