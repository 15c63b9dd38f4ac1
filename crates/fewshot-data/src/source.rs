//! A dataset on disk in whatever form it comes, recognised by its bytes.
//!
//! Does not know: how a form is read, which dataset it ought to be.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::archive::Archive;
use crate::fingerprint::hex;
use crate::index::{Encoded, Images, Index, IndexedSet};
use crate::picture::Preprocessing;
use crate::store::{self, Checksum, Header, Sink};
use crate::tree::{Tree, TreeFile};
use crate::{Class, Error, Filter, ImageClasses, Limits, Omniglot, Parts, Split, forms, mapped, prepare};

/// A dataset on disk: found, recognised and listed, but not yet decoded.
///
/// Takes a file or a directory in any of the forms of the table in the crate's documentation. The form is told by the
/// bytes, never by the name; names only say which split a file is, where nothing inside does.
///
/// # Example
/// ```
/// # use fewshot_data::{Cache, Source};
/// # let folder = tempfile::tempdir().unwrap();
/// # for class in ["cat", "dog"] {
/// #     std::fs::create_dir(folder.path().join(class)).unwrap();
/// #     let file = std::fs::File::create(folder.path().join(class).join("1.png")).unwrap();
/// #     let mut png = png::Encoder::new(file, 1, 1);
/// #     png.set_color(png::ColorType::Rgb);
/// #     png.write_header().unwrap().write_image_data(&[1, 2, 3]).unwrap();
/// # }
/// # let path = folder.path();
/// let sets = Source::open(path)?.with_size(84).with_cache(Cache::Memory).load()?;
/// let data = sets.whole()?; // here: a folder for each class
/// assert_eq!((data.len(), data.shape()), (2, [3, 84, 84]));
/// # Ok::<(), fewshot_data::Error>(())
/// ```
pub struct Source {
    path: PathBuf,
    index: Index,
    omniglot: bool,
    limits: Limits,
    channels: Option<usize>,
    size: Option<usize>,
    filter: Filter,
    cache: Cache,
    threads: usize,
    progress: Arc<dyn Fn(usize, usize) + Send + Sync>,
}

/// Where decoded images are kept. Arrays that need no decoding are used where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// In the user's folder for caches, or in `$FEWSHOT_CACHE` where that is set.
    #[default]
    User,
    /// In this folder.
    Directory(PathBuf),
    /// In memory, decoded anew each time.
    Memory,
}

/// What was loaded: one set of classes, or the parts of a split.
///
/// Datasets that are split by image (`train/cat`, `test/cat`) have each class in several parts. Neither
/// [`parts`](Self::parts) nor [`whole`](Self::whole) gives them; match on [`Parts`](Self::Parts) and take one part.
#[derive(Clone, Debug)]
// One is made for each dataset that is loaded; a box would only be in the way of matching.
#[allow(clippy::large_enum_variant)]
pub enum Sets {
    /// A dataset that comes without a split.
    Whole(ImageClasses),
    /// A dataset that comes with its split. A part that was not there has no classes.
    Parts(Parts<ImageClasses>),
}

impl Sets {
    /// The parts of the split the dataset came with.
    ///
    /// # Errors
    /// [`Error::NoSplit`] for a dataset without one; [`Error::SharedClass`] where a class is in two parts, since
    /// few-shot learning is tested on classes that were not trained on.
    pub fn parts(self) -> Result<Parts<ImageClasses>, Error> {
        match self {
            Self::Whole(_) => Err(Error::NoSplit),
            Self::Parts(parts) => parts.check_disjoint().map(|()| parts),
        }
    }

    /// All classes together, whichever part they are in.
    ///
    /// # Errors
    /// [`Error::DuplicateClass`] where a class is in two parts.
    pub fn whole(self) -> Result<ImageClasses, Error> {
        match self {
            Self::Whole(classes) => Ok(classes),
            Self::Parts(Parts { train, val, test }) => train.concat(&val)?.concat(&test),
        }
    }
}

impl Source {
    /// Finds out what lies at this path and lists it.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Io`]; [`Error::Unrecognised`] for what is in no form known, saying what it looks
    /// like; [`Error::WebPage`] for the answer of a server that refused a download; the errors of the form it is in.
    ///
    /// # Cost
    /// Arrays are mapped, pickles parsed (their arrays skipped), folders listed. No image is decoded.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, Limits::default())
    }

    /// As [`open`](Self::open), with other limits on what a file's header may claim.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, limits: Limits) -> Result<Self, Error> {
        let path = path.as_ref();
        let metadata = fs::metadata(path).map_err(|cause| Error::reading(path, cause))?;
        let index = if metadata.is_dir() { read_directory(path, limits) } else { read_file(path, limits) }?;
        let omniglot = index.form == forms::omniglot::FORM;
        Ok(Self {
            path: path.to_owned(),
            index,
            omniglot,
            limits,
            channels: None,
            size: None,
            filter: Filter::default(),
            cache: Cache::default(),
            threads: 0,
            progress: Arc::new(|_, _| ()),
        })
    }

    /// Sets the side that all images are scaled to, in pixels. By default they keep theirs, and must all have the
    /// same; Omniglot is scaled to 28.
    pub fn with_size(mut self, side: usize) -> Self {
        self.size = Some(side);
        self
    }

    /// Sets the number of channels: 1 for greyscale, 3 for colour. By default arrays keep theirs and image files have 3;
    /// Omniglot has 1 only.
    pub fn with_channels(mut self, channels: usize) -> Self {
        self.channels = Some(channels);
        self
    }

    /// Sets the filter images are scaled with (default: Lanczos, as Pillow does it; Omniglot has no other).
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Sets where decoded images are kept (default: the user's folder for caches).
    pub fn with_cache(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// Sets how many threads decode (default, and 0: one per core). The result is the same.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Calls this after every few hundred images decoded, with their number and that of all images.
    pub fn on_progress(mut self, progress: impl Fn(usize, usize) + Send + Sync + 'static) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The form it was found to be in, in words.
    pub fn form(&self) -> &'static str {
        self.index.form
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// The images.
    ///
    /// Arrays of the right size are used in place, in the mapped file. Everything else is decoded once into a store in
    /// the cache, which is used from then on as long as the source's files have the same names, sizes and times and the
    /// settings are the same; otherwise it is made again.
    ///
    /// # Errors
    /// [`Error::Setting`]; [`Error::MixedSizes`] for image files of different sizes without
    /// [`with_size`](Self::with_size); those of decoding, naming the image; [`Error::NoCache`], [`Error::Io`] for a cache
    /// that cannot be written; [`Error::DuplicateClass`].
    ///
    /// # Memory
    /// Mapped files cost none of their own: the system reads their pages when they are needed and may drop them again.
    /// Decoding holds 256 images.
    pub fn load(&self) -> Result<Sets, Error> {
        let preprocessing = self.preprocessing()?;
        if self.omniglot {
            return self.load_omniglot();
        }
        if prepare::is_in_place(&self.index, &preprocessing) {
            return to_sets(&self.index.sets);
        }
        let stamp = prepare::stamp(&self.index, &self.path)?;
        let sink = match self.store_path(&preprocessing)? {
            None => Sink::Memory(Vec::new()),
            Some(path) => match store::open_matching(&path, &stamp, preprocessing) {
                Some(index) => return to_sets(&index.sets),
                None => Sink::file(&path)?,
            },
        };
        let decode = || prepare::decode_into(sink, &self.index, &stamp, preprocessing, self.limits, &*self.progress);
        to_sets(&self.on_threads(decode)?.sets)
    }

    /// Decodes every image and keeps none: an error for each that cannot be read, where [`load`](Self::load) ends at the
    /// first. Of images of different sizes, without [`with_size`](Self::with_size), the first is told.
    ///
    /// # Errors
    /// [`Error::Setting`].
    ///
    /// # Memory
    /// 256 images at a time; of Omniglot all of them.
    pub fn check(&self) -> Result<Vec<Error>, Error> {
        let preprocessing = self.preprocessing()?;
        if self.omniglot {
            return Ok(self.omniglot()?.load().err().into_iter().collect());
        }
        let check = || prepare::faults(&self.index, preprocessing, self.limits, &*self.progress);
        Ok(self.on_threads(check))
    }

    /// Omniglot has a reader of its own: copies of a character are merged, ink and paper change places.
    fn omniglot(&self) -> Result<Omniglot, Error> {
        if let Some(channels) = self.channels.filter(|&channels| channels != 1) {
            let (found, expected) = (channels.to_string(), "1, as Omniglot's drawings have");
            return Err(Error::Setting { setting: "channels", found, expected });
        }
        let reader = Omniglot::new(&self.path).with_size(self.size.unwrap_or(28));
        Ok(if self.threads > 0 { reader.with_threads(self.threads) } else { reader })
    }

    fn load_omniglot(&self) -> Result<Sets, Error> {
        let reader = self.omniglot()?;
        let side = self.size.unwrap_or(28);
        let preprocessing = Preprocessing { channels: 1, size: Some([side, side]), filter: Filter::Lanczos };
        let Some(path) = self.store_path(&preprocessing)? else { return reader.load().map(Sets::Whole) };
        let stamp = prepare::stamp(&self.index, &self.path)?;
        if let Some(index) = store::open_matching(&path, &stamp, preprocessing) {
            return to_sets(&index.sets);
        }
        let data = reader.load()?;
        let header = Header::of(&self.index, &stamp, preprocessing, data.shape());
        let stored = Sink::file(&path)?.write(header, |put| {
            let mut checksum = Checksum::default();
            for image in data.classes().iter().flat_map(Class::images) {
                put(&image)?;
                checksum.add(Checksum::of_image(&image));
            }
            Ok(checksum.finish())
        })?;
        to_sets(&stored.sets)
    }

    fn on_threads<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match rayon::ThreadPoolBuilder::new().num_threads(self.threads).build() {
            Ok(pool) => pool.install(work),
            Err(_) => work(),
        }
    }

    fn preprocessing(&self) -> Result<Preprocessing, Error> {
        let out_of_range =
            |setting, found: usize, expected| Error::Setting { setting, found: found.to_string(), expected };
        let channels = match self.channels {
            None => self.channels_found(),
            Some(channels @ (1 | 3)) => channels,
            Some(other) => return Err(out_of_range("channels", other, "1 or 3")),
        };
        match self.size {
            Some(side) if !(1..=4096).contains(&side) => Err(out_of_range("image size", side, "1 to 4096 pixels")),
            size => Ok(Preprocessing { channels, size: size.map(|side| [side, side]), filter: self.filter }),
        }
    }

    fn channels_found(&self) -> usize {
        let mut classes = self.index.sets.iter().flat_map(|set| &set.classes);
        classes
            .find_map(|class| match class.images {
                Images::Rows { shape, .. } => Some(shape[0]),
                Images::Encoded(_) => None,
            })
            .unwrap_or(3)
    }

    /// Where the store of this source and preprocessing is kept; `None` for in memory.
    fn store_path(&self, preprocessing: &Preprocessing) -> Result<Option<PathBuf>, Error> {
        let folder = match &self.cache {
            Cache::Memory => return Ok(None),
            Cache::Directory(folder) => folder.clone(),
            Cache::User => match std::env::var_os("FEWSHOT_CACHE").filter(|value| !value.is_empty()) {
                Some(folder) => folder.into(),
                None => dirs::cache_dir().ok_or(Error::NoCache)?.join("fewshot"),
            },
        };
        let path = fs::canonicalize(&self.path).map_err(|cause| Error::reading(&self.path, cause))?;
        // The name is for people who look into the folder; file systems have no room for long ones.
        let name = path.file_stem().map_or("data".into(), |stem| stem.to_string_lossy().into_owned());
        let name: String = name.chars().take(40).collect();
        let mut key = hex(&Sha256::digest(format!("{}\0{preprocessing:?}", path.display())));
        key.truncate(16);
        Ok(Some(folder.join(format!("{name}-{key}.fewshot"))))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {})", self.path.display(), self.index.form)
    }
}

fn read_directory(path: &Path, limits: Limits) -> Result<Index, Error> {
    let tree = Tree::walk(path)?;
    // A folder of a hundred thousand images is not searched for arrays; a picture beside arrays is no dataset.
    let images = match tree.files_in("").any(|file| matches!(file.ending().as_str(), "csv" | "tsv")) {
        true => tree.files.iter().any(TreeFile::is_image),
        false => tree.files.iter().any(|file| file.is_image() && file.name.contains('/')),
    };
    if !images && let Some(index) = read_arrays(path, &tree, limits)? {
        return Ok(index);
    }
    let archives: Vec<&TreeFile> = tree.files_in("").filter(|file| file.ending() == "zip").collect();
    match (images, archives.as_slice()) {
        (false, [TreeFile { place: Encoded::File(only), .. }]) => read_file(only, limits),
        (false, [_, ..]) => read_archives(path, &archives),
        _ => read_images(tree, limits),
    }
}

fn read_file(path: &Path, limits: Limits) -> Result<Index, Error> {
    let bytes = mapped::map(path)?;
    let start = (*bytes).as_ref();
    if start.trim_ascii_start().starts_with(b"<") {
        return Err(Error::WebPage { path: path.to_owned() });
    }
    if start.starts_with(store::MAGIC) {
        return store::open(path).map(|(_, index)| index);
    }
    if let Some((form, sets, problems)) = forms::arrays::read_file(path, limits)? {
        return match sets.is_empty() {
            false => Ok(Index { form, sets, problems }),
            // Part of a dataset, such as its labels; the sentence says what is missing.
            true => Err(Error::Unrecognised { path: path.to_owned(), found: problems.join("; ") }),
        };
    }
    if start.starts_with(b"PK") {
        return read_images(Tree::of(&Arc::new(Archive::open(path)?)), limits);
    }
    if looks_like_text(start) {
        let name = path.file_name().map_or("table.csv".into(), |name| name.to_string_lossy().into_owned());
        let name = if name.to_lowercase().ends_with(".csv") { name } else { format!("{name}.csv") };
        let table = TreeFile { name, place: Encoded::File(path.to_owned()) };
        let tree = Tree { root: path.to_owned(), files: vec![table] };
        if let Some(index) = forms::tables::read(&tree, limits)? {
            return Ok(index);
        }
    }
    Err(Error::Unrecognised { path: path.to_owned(), found: look(start) })
}

/// The array files of a directory, or of one directly below it; `None` where there are none.
fn read_arrays(path: &Path, tree: &Tree, limits: Limits) -> Result<Option<Index>, Error> {
    let folders = tree.files.iter().filter_map(|file| Some(file.name.split_once('/')?.0));
    let mut folders: Vec<PathBuf> = folders.map(|folder| path.join(folder)).collect();
    folders.dedup();
    folders.insert(0, path.to_owned());
    for folder in folders {
        let Some((form, mut sets, problems)) = forms::arrays::read_directory(&folder, limits)? else { continue };
        sets.sort_by_key(|set| set.split);
        let twice = sets.windows(2).find(|pair| pair[0].split == pair[1].split);
        if let Some([first, second]) = twice {
            let split = first.split.map_or("whole dataset", Split::name);
            let problem = format!("a second {split} beside {}; expected one (point at one file)", first.path.display());
            return Err(Error::malformed(&second.path, "split", problem));
        }
        return Ok(Some(Index { form, sets, problems }));
    }
    Ok(None)
}

/// Image files in a tree.
fn read_images(tree: Tree, limits: Limits) -> Result<Index, Error> {
    if forms::omniglot::is_omniglot(&tree) {
        return forms::omniglot::read(&tree.root.clone(), &[tree]);
    }
    let tree = tree.unwrapped();
    if let Some(index) = forms::read_tree(&tree, limits)? {
        return Ok(index);
    }
    if let Some(image) = tree.files.iter().find(|file| file.is_image()) {
        let found =
            format!("images in no folder of their class, such as {}, and no table of their classes", image.name);
        return Err(Error::Unrecognised { path: tree.root, found });
    }
    let example = tree.files.first().map(|file| format!("{} files, such as {}", tree.files.len(), file.name));
    let mut found = example.unwrap_or("an empty folder or archive".to_owned());
    if tree.files.iter().any(|file| matches!(file.ending().as_str(), "pkl" | "pickle" | "npz" | "hdf5" | "zip")) {
        found += "; what is packed twice has to be unpacked first";
    }
    Err(Error::Unrecognised { path: tree.root, found })
}

/// Several archives side by side: Omniglot's, or more than one dataset.
fn read_archives(path: &Path, archives: &[&TreeFile]) -> Result<Index, Error> {
    let mut trees = Vec::new();
    for file in archives {
        let Encoded::File(archive) = &file.place else { continue };
        let tree = Tree::of(&Arc::new(Archive::open(archive)?));
        if forms::omniglot::is_omniglot(&tree) {
            trees.push(tree);
        }
    }
    if trees.is_empty() {
        let found = format!("{} archives; point at one of them", archives.len());
        return Err(Error::Unrecognised { path: path.to_owned(), found });
    }
    forms::omniglot::read(path, &trees)
}

fn to_sets(sets: &[IndexedSet]) -> Result<Sets, Error> {
    let mut classes = sets.iter().flat_map(|set| &set.classes);
    let shape = classes.find_map(|class| match &class.images {
        Images::Rows { shape, .. } => Some(*shape),
        Images::Encoded(_) => None,
    });
    let Some(shape) = shape else {
        return Err(Error::Setting { setting: "classes", found: "0".to_owned(), expected: "at least 1" });
    };
    let empty = ImageClasses::new(shape)?;
    let mut parts = Parts { train: empty.clone(), val: empty.clone(), test: empty.clone() };
    let mut whole = empty;
    for set in sets {
        let data = match set.split {
            Some(split) => parts.get_mut(split),
            None => &mut whole,
        };
        for class in &set.classes {
            if let Images::Rows { pixels, .. } = &class.images {
                data.push(&class.name, &class.group, pixels.clone())?;
            }
        }
    }
    Ok(if whole.is_empty() { Sets::Parts(parts) } else { Sets::Whole(whole) })
}

fn looks_like_text(start: &[u8]) -> bool {
    let start = &start[..start.len().min(4096)];
    !start.is_empty()
        && !start.contains(&0)
        && std::str::from_utf8(start).map_or_else(|e| e.error_len().is_none(), |_| true)
}

/// What bytes look like, for somebody who expected a dataset.
fn look(start: &[u8]) -> String {
    let named = match start {
        [] => "an empty file",
        [0x1f, 0x8b, ..] => "a gzip archive; unpack it first",
        [b'B', b'Z', b'h', ..] => "a bzip2 archive; unpack it first",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "an xz archive; unpack it first",
        [b'R', b'a', b'r', b'!', ..] => "a rar archive; unpack it first",
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] => {
            "a single image; expected a folder or an archive of images"
        }
        _ if start.get(257..262) == Some(b"ustar") => "a tar archive; unpack it first",
        _ if looks_like_text(start) => "text that is no table of images and classes",
        _ => {
            let bytes = start[..start.len().min(8)].escape_ascii();
            return format!("a file that begins with \"{bytes}\"");
        }
    };
    named.to_owned()
}
