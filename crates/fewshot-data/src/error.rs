//! What can go wrong, each case with the place and what was expected there.
//!
//! Does not know: how to recover. Every message is one line.

use std::io;
use std::path::{Path, PathBuf};

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

    /// A picked row that its array does not have.
    #[error("class {class} names image {row} of its array, which has {images}")]
    ClassRow {
        /// The class.
        class: String,
        /// The row.
        row: u32,
        /// Images the array has.
        images: usize,
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

    /// A file or directory in none of the forms that are read.
    #[error("{}: no dataset of a form known here; found {found}", path.display())]
    Unrecognised {
        /// The file or directory.
        path: PathBuf,
        /// What it is instead, as far as its bytes tell.
        found: String,
    },

    /// A web page in place of data.
    #[error("{}: a web page, most likely a server's refusal or quota notice, not the data; download the file again", path.display())]
    WebPage {
        /// The file.
        path: PathBuf,
    },

    /// A file of a known form that contradicts it.
    #[error("{}: {place}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it: a line, an entry, a key, a byte offset.
        place: String,
        /// What was found there, and what was expected.
        problem: String,
    },

    /// A pickle that cannot be read, because it is damaged or holds what no dataset has.
    #[error("{}: byte {offset} of the pickle: {problem}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// Offset of the opcode.
        offset: usize,
        /// What was found there, and what was expected.
        problem: String,
    },

    /// A pickle that names something to import. Pickles never run code here: only the names of
    /// arrays and plain containers are known.
    #[error(
        "{}: byte {offset} of the pickle names the global {global}; expected only arrays and plain containers, nothing to run", path.display()
    )]
    ForbiddenGlobal {
        /// The file.
        path: PathBuf,
        /// Offset of the opcode.
        offset: usize,
        /// Module and name.
        global: String,
    },

    /// A claim of a file's header that would take more memory than the limit.
    #[error("{}: {what} asks for {wanted} bytes; expected {limit} at most", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What asks.
        what: String,
        /// Bytes it would take.
        wanted: u64,
        /// Bytes allowed.
        limit: u64,
    },

    /// Images of different sizes where one is needed.
    #[error("{place} is {found}; expected {expected} as the first image has (set a size to scale all images to)")]
    MixedSizes {
        /// The image.
        place: String,
        /// Its size.
        found: String,
        /// Size of the first image.
        expected: String,
    },

    /// A dataset that comes without a split, where a split was asked for.
    #[error(
        "the dataset comes without a split; expected one with train, val and test parts (split it by class, by group or at random)"
    )]
    NoSplit,

    /// No folder for caches is known on this system.
    #[error("no folder for caches is known for this user; set FEWSHOT_CACHE, or choose a directory or memory")]
    NoCache,

    /// Data that are not the benchmark they should be.
    #[error("not {benchmark}: {found}; expected {expected}")]
    NotTheBenchmark {
        /// The benchmark.
        benchmark: &'static str,
        /// What was found.
        found: String,
        /// What it has.
        expected: String,
    },

    /// A dataset that has not the parts asked for.
    #[error("{}: no {wanted} in it; it has {found}", path.display())]
    MissingPart {
        /// The file or directory.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What is there.
        found: String,
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
    #[error(
        "none of the {groups} groups has {way} classes; expected one or more for {way}-way episodes from one group"
    )]
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
    /// A manifest of a dataset that says something it must not, or too little.
    #[error("{place}:{line}: {problem}")]
    Manifest {
        /// The file, or what the text was called.
        place: String,
        /// Line number, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },

    /// A dataset that no manifest of the crate is for.
    #[error("no dataset is called {name}; known are {known}, or give the path of a manifest of your own")]
    UnknownDataset {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },

    /// A file that the dataset's manifest does not have.
    #[error("{dataset} has no file {name}; it has {known}")]
    UnknownFile {
        /// The dataset.
        dataset: String,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },

    /// A file that no mirror gave.
    #[error("{}: cannot be downloaded: {attempts}{kept}", path.display())]
    Download {
        /// Where the file was to be.
        path: PathBuf,
        /// What each mirror said.
        attempts: String,
        /// What is kept for the next run, or nothing; begins with a separator.
        kept: String,
    },

    /// A file that a person must get, since a form or a quota stands before it.
    #[error("{}: no program can fetch this file; {how}, and put it there", path.display())]
    ByHand {
        /// Where the file is to be.
        path: PathBuf,
        /// How to get it.
        how: String,
    },

    /// A file that lies where a file of the dataset is to be, and is another one.
    #[error("{}: not the file of the manifest: {difference}; remove it, or let it be replaced", path.display())]
    WrongFile {
        /// The file.
        path: PathBuf,
        /// What differs.
        difference: String,
    },

    /// Too little space on the disk, told before anything is written.
    #[error("{}: {needed} bytes are still needed and the disk has {free} left", path.display())]
    NoSpace {
        /// Where the file was to be.
        path: PathBuf,
        /// Bytes that were still to be written.
        needed: u64,
        /// Bytes free.
        free: u64,
    },

    /// A disk that became full while a file was written.
    #[error("{}: the disk is full{kept}", path.display())]
    DiskFull {
        /// Where the file was to be.
        path: PathBuf,
        /// What is kept for the next run, or nothing; begins with a separator.
        kept: String,
    },

    /// A file that another process has been fetching for too long.
    #[error("{}: another process holds {} and did not let go within {seconds} s", path.display(), lock.display())]
    Locked {
        /// Where the file was to be.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
        /// How long was waited.
        seconds: u64,
    },

    /// A download that was cancelled.
    #[error("{}: cancelled{kept}", path.display())]
    Cancelled {
        /// Where the file was to be.
        path: PathBuf,
        /// What is kept for the next run, or nothing; begins with a separator.
        kept: String,
    },

    /// An archive that cannot be unpacked.
    #[error("{}: cannot be unpacked: {problem}", path.display())]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// What is wrong, with the entry.
        problem: String,
    },
}

impl Error {
    /// The error of an attempt to read: a missing file is its own case.
    pub(crate) fn reading(path: &Path, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::NotFound => Self::Missing { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), action: "read", cause },
        }
    }

    /// A contradiction in a file of a known form.
    pub(crate) fn malformed(path: &Path, place: impl Into<String>, problem: impl Into<String>) -> Self {
        let (place, problem) = (printable(&place.into()), printable(&problem.into()));
        Self::Malformed { path: path.to_owned(), place, problem }
    }
}

/// An error's message without line breaks.
pub(crate) fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().replace(['\r', '\n'], " ")
}

/// Text that may come from a file, on one line of a screen: line breaks and control characters escaped,
/// cut off when it is long.
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 400;
    let escaped = |c: char| if c.is_control() { c.escape_default().collect::<String>() } else { c.to_string() };
    let mut printable: String = text.chars().take(LONGEST).map(escaped).collect();
    if text.chars().nth(LONGEST).is_some() {
        printable.push_str("...");
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn names_from_files_cannot_break_a_line_or_fill_a_screen() {
        assert_eq!(printable("a\nb\u{1b}[2Jé"), "a\\nb\\u{1b}[2Jé");
        assert_eq!(printable(&"x".repeat(10_000)).len(), 403);
    }
}
