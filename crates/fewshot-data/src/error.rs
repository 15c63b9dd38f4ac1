//! What can go wrong, each case with the place and what was expected there.
//!
//! Does not know: how to recover. Every message is one line.

use std::io;
use std::path::PathBuf;

/// Every error of this crate. Messages are one line and name the file, class or setting at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path that does not exist.
    #[error("{}: no such file or directory", path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },

    /// The operating system refused to read or write a file.
    #[error("{}: cannot {action}: {cause}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done, in the infinitive.
        action: &'static str,
        /// The system's own error.
        cause: io::Error,
    },

    /// A setting outside the values it can take.
    #[error("{setting} is {found}; expected {expected}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// The value given.
        found: String,
        /// The values that would do.
        expected: &'static str,
    },

    /// The bytes of a class are not a whole, positive number of images.
    #[error("class {class} has {bytes} bytes; expected a positive multiple of the {image_bytes} bytes of one image")]
    ClassBytes {
        /// The class.
        class: String,
        /// Bytes found.
        bytes: usize,
        /// Bytes of one image of the dataset's shape.
        image_bytes: usize,
    },

    /// A byte range that lies outside its store.
    #[error("pixels {start}..{end} lie outside a store of {bytes} bytes")]
    PixelRange {
        /// First byte asked for.
        start: usize,
        /// One past the last byte asked for.
        end: usize,
        /// Bytes the store has.
        bytes: usize,
    },

    /// Two classes of one dataset, or two picks of one selection, have the same name.
    #[error("class {class} occurs twice; class names must be unique")]
    DuplicateClass {
        /// The class.
        class: String,
    },

    /// A class index beyond the dataset.
    #[error("class index {index} is out of range; the dataset has {classes} classes")]
    ClassIndex {
        /// The index asked for.
        index: usize,
        /// How many classes there are.
        classes: usize,
    },

    /// A class name that the dataset does not have.
    #[error("class {class} is not in the dataset{hint}")]
    UnknownClass {
        /// The class asked for.
        class: String,
        /// What may help, or nothing; begins with a separator.
        hint: String,
    },

    /// A group (alphabet) name that the dataset does not have.
    #[error("group {group} is not in the dataset; it has {known}")]
    UnknownGroup {
        /// The group asked for.
        group: String,
        /// The groups there are.
        known: String,
    },

    /// Two datasets that must be disjoint hold the same class, or rotations of the same class.
    #[error("class {first} and class {second} are the same character; the two sets must be disjoint")]
    SharedClass {
        /// The name in the first set.
        first: String,
        /// The name in the second set.
        second: String,
    },

    /// Two datasets to be joined have images of different shapes.
    #[error("images are {found:?} here and {expected:?} there; expected one [channels, height, width]")]
    ShapeMismatch {
        /// Shape of the dataset that was there.
        expected: [usize; 3],
        /// Shape of the dataset to be joined to it.
        found: [usize; 3],
    },

    /// Rotations of images that are not square would change their shape.
    #[error("images are {height} x {width}; expected square images for rotation by 90 degrees")]
    NotSquare {
        /// Image height in pixels.
        height: usize,
        /// Image width in pixels.
        width: usize,
    },

    /// A class that is a rotation already.
    #[error("class {class} is a rotated class already; expected a dataset without rotations")]
    AlreadyRotated {
        /// The class.
        class: String,
    },

    /// A file that does not begin as a zip archive does.
    #[error("{}: not a zip archive; it begins with {found}, expected \"PK\"", path.display())]
    NotAZip {
        /// The file.
        path: PathBuf,
        /// The first bytes, printable.
        found: String,
    },

    /// A zip archive whose directory cannot be read, as when the file was cut short.
    #[error("{}: damaged or truncated zip archive: {cause}", path.display())]
    DamagedArchive {
        /// The archive.
        path: PathBuf,
        /// What the zip reader said.
        cause: String,
    },

    /// An archive entry that cannot be read or decoded.
    #[error("{}: entry {entry} is damaged: {cause}", path.display())]
    DamagedEntry {
        /// The archive.
        path: PathBuf,
        /// The entry inside it.
        entry: String,
        /// What the reader said.
        cause: String,
    },

    /// A zip archive of something else.
    #[error(
        "{}: no Omniglot characters in it; expected entries like images_background/Greek/character01/0394_01.png, found {found}", path.display()
    )]
    NotOmniglot {
        /// The archive.
        path: PathBuf,
        /// An example of an entry that was found, or a word on there being none.
        found: String,
    },

    /// A directory without zip archives.
    #[error("{}: no .zip files in this directory; expected Omniglot archives such as images_background.zip", path.display())]
    NoArchives {
        /// The directory.
        path: PathBuf,
    },

    /// A PNG file among the characters whose name does not say which character it is.
    #[error("{}: entry {entry} is not named like an Omniglot drawing; expected <set>/<Alphabet>/characterNN/GGGG_DD.png", path.display())]
    UnexpectedEntry {
        /// The archive.
        path: PathBuf,
        /// The entry.
        entry: String,
    },

    /// A PNG file of another size or kind.
    #[error("{}: entry {entry} is {found}; expected a 105 x 105 greyscale PNG of 1 bit", path.display())]
    WrongImage {
        /// The archive.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// Size and kind found.
        found: String,
    },

    /// A character with two drawings by one drawer.
    #[error("{}: {class} has two drawings by drawer {drawer}: {first} and {second}; expected one", path.display())]
    DuplicateImage {
        /// The archive.
        path: PathBuf,
        /// The character.
        class: String,
        /// The drawer's number.
        drawer: u32,
        /// One entry.
        first: String,
        /// The other entry.
        second: String,
    },

    /// A character found in two places with different drawings.
    #[error("{}: {class} differs from the one in {}: {difference}", path.display(), other.display())]
    ConflictingClass {
        /// The archive read later.
        path: PathBuf,
        /// The archive read first.
        other: PathBuf,
        /// The character.
        class: String,
        /// What differs.
        difference: String,
    },

    /// A line of a class list that is not a class name.
    #[error(
        "{place}:{line}: {text:?} is not a class; expected Alphabet/characterNN, with /rot000, /rot090, /rot180 or /rot270 at most"
    )]
    ClassLine {
        /// The file, or what the text was called.
        place: String,
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
    },

    /// A random split that asks for more characters than there are.
    #[error("the split asks for {wanted} characters; the dataset has {available}")]
    SplitTooLarge {
        /// Sum over train, val and test.
        wanted: usize,
        /// Characters in the dataset (rotations of one character count once).
        available: usize,
    },

    /// An episode with more classes than the dataset has.
    #[error("{way}-way episodes need {way} classes; the dataset has {classes}")]
    TooFewClasses {
        /// Classes per episode.
        way: usize,
        /// Classes in the dataset.
        classes: usize,
    },

    /// An episode with more images per class than the smallest class has.
    #[error("class {class} has {images} images; expected at least {shot} support + {query} query images per class")]
    TooFewImages {
        /// The smallest class (the first of them in dataset order).
        class: String,
        /// Its images.
        images: usize,
        /// Support images per class.
        shot: usize,
        /// Query images per class.
        query: usize,
    },

    /// An episode applied to a dataset it was not drawn from.
    #[error(
        "the episode names image {image} of class index {class}, which this dataset does not have; expected the dataset the episode was drawn from"
    )]
    ForeignEpisode {
        /// Class index.
        class: usize,
        /// Image index in the class.
        image: usize,
    },

    /// Too few classes are left of a dataset without those that have too few images.
    #[error(
        "{way}-way episodes need {way} classes; {usable} of the dataset's {classes} have the {shot} support + {query} query images asked of each"
    )]
    TooFewUsable {
        /// Classes per episode.
        way: usize,
        /// Classes with enough images.
        usable: usize,
        /// Classes in the dataset.
        classes: usize,
        /// Support images per class.
        shot: usize,
        /// Query images per class.
        query: usize,
    },

    /// An episode with more groups than the dataset has.
    #[error("{way}-way episodes with each class from another group need {way} groups; the dataset has {groups}")]
    TooFewGroups {
        /// Classes, and so groups, per episode.
        way: usize,
        /// Groups in the dataset.
        groups: usize,
    },

    /// A group with too few classes for episodes from one group.
    #[error("group {group} has {classes} classes; expected at least {way} for {way}-way episodes from one group")]
    SmallGroup {
        /// The smallest group.
        group: String,
        /// Its classes.
        classes: usize,
        /// Classes per episode.
        way: usize,
    },

    /// No group with enough classes for episodes from one group.
    #[error("none of the {groups} groups has {way} classes; expected one or more for {way}-way episodes from one group")]
    NoLargeGroup {
        /// Classes per episode.
        way: usize,
        /// Groups with any usable class.
        groups: usize,
    },

    /// A class that shares so many images with other classes that too few may be left for it.
    #[error(
        "class {class} has {images} images and is sure of {sure} of them when other classes of a task take theirs; expected to be sure of {shot} support + {query} query images"
    )]
    SharedImages {
        /// The class.
        class: String,
        /// Its images.
        images: usize,
        /// Those that are left in the worst case.
        sure: usize,
        /// Support images per class.
        shot: usize,
        /// Query images per class.
        query: usize,
    },

    /// A task beyond the end of a list.
    #[error("task {index} is out of range; there are {tasks} tasks")]
    TaskIndex {
        /// The index asked for.
        index: u64,
        /// How many there are.
        tasks: u64,
    },

    /// An image transform that its image does not fit, or a setting it cannot have.
    #[error("transform {step}: {found}; expected {expected}")]
    Transform {
        /// The transform as it is called in settings.
        step: &'static str,
        /// What is the matter.
        found: String,
        /// What would do.
        expected: String,
    },

    /// Values or bytes that do not fill the shape they are said to have.
    #[error("{what}: {found} values; expected {expected}")]
    ValueCount {
        /// What the values are of.
        what: String,
        /// Values found.
        found: usize,
        /// Values of the shape.
        expected: String,
    },

    /// A label that is not the index of a class.
    #[error("image {image} has label {label}; expected labels below {classes}, each once")]
    ImageLabel {
        /// Index of the image.
        image: usize,
        /// The label.
        label: usize,
        /// How many classes there are.
        classes: usize,
    },

    /// A file that is not a list of frozen episodes.
    #[error("{}: not a list of frozen episodes: {cause}", path.display())]
    NotFrozen {
        /// The file.
        path: PathBuf,
        /// What was found.
        cause: String,
    },

    /// A list of frozen episodes of a version that this crate does not read.
    #[error("{}: frozen episodes of version {found}; expected 1 to {expected}", path.display())]
    FrozenVersion {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: u64,
        /// The newest version this crate reads.
        expected: u64,
    },

    /// An episode of a frozen list that contradicts the list's specification or dataset.
    #[error("{}: episode {position}: {problem}", path.display())]
    FrozenEpisode {
        /// The file.
        path: PathBuf,
        /// Position in the list, from 0.
        position: usize,
        /// What is wrong with it.
        problem: String,
    },

    /// A frozen list drawn from other data.
    #[error("{}: drawn from other data: {difference}", path.display())]
    OtherData {
        /// The file.
        path: PathBuf,
        /// The first difference found.
        difference: String,
    },
}
