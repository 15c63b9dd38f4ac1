//! Decoded images in one file, mapped when it is used: a cache that is written once for a source and its
//! preprocessing.
//!
//! The file is a header and then all images, class by class, `[channels, height, width]` bytes each:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `FEWSHOT\0` |
//! | 4, 4 | version and length of the header, little-endian |
//! | 8 | the beginning of the header's SHA-256 |
//! | length | the header: JSON |
//! | up to the next multiple of 4,096 | zeros |
//! | the rest | pixels |
//!
//! Does not know: how images are decoded, forms.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fingerprint::hex;
use crate::index::{Images, Index, IndexedClass, IndexedSet};
use crate::mapped::{self, SharedBytes};
use crate::picture::Preprocessing;
use crate::{Error, Pixels, Split};

pub(crate) const MAGIC: &[u8; 8] = b"FEWSHOT\0";
const VERSION: u32 = 1;
const PREFIX: usize = 24;
/// Pixels begin on a page.
const PAGE: usize = 4096;
/// A file half-written by a process that was killed is removed after this time.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The form the images came in.
    pub form: String,
    /// What the source looked like from outside: names, sizes and times of its files.
    pub stamp: String,
    /// SHA-256 over the SHA-256 of every image as it was in the source, in order.
    pub checksum: String,
    pub preprocessing: Preprocessing,
    /// `[channels, height, width]`.
    pub shape: [usize; 3],
    pub sets: Vec<StoredSet>,
    pub problems: Vec<String>,
}

/// A set of classes as a store names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSet {
    pub split: Option<Split>,
    pub classes: Vec<StoredClass>,
}

/// A class as a store names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredClass {
    pub name: String,
    pub group: String,
    pub images: usize,
}

impl Header {
    /// What an index will look like in a store; the checksum is not known before all images were read.
    pub fn of(index: &Index, stamp: &str, preprocessing: Preprocessing, shape: [usize; 3]) -> Self {
        let class = |class: &IndexedClass| StoredClass {
            name: class.name.clone(),
            group: class.group.clone(),
            images: class.image_count(),
        };
        let set = |set: &IndexedSet| StoredSet { split: set.split, classes: set.classes.iter().map(class).collect() };
        Self {
            form: index.form.to_owned(),
            stamp: stamp.to_owned(),
            checksum: "0".repeat(64),
            preprocessing,
            shape,
            sets: index.sets.iter().map(set).collect(),
            problems: index.problems.clone(),
        }
    }

    /// The file up to the pixels.
    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let length = u32::try_from(json.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(&Sha256::digest(&json)[..8]);
        bytes.extend(json);
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        Ok(bytes)
    }

    /// The header of a store, and where its pixels begin; what is wrong with it in words otherwise.
    fn parse(bytes: &[u8]) -> Result<(Self, usize), String> {
        let part = |from: usize, to: usize| bytes.get(from..to).ok_or("cut short in its header".to_owned());
        let number = |from| Ok::<_, String>(u32::from_le_bytes(part(from, from + 4)?.try_into().unwrap_or_default()));
        if part(0, 8)? != MAGIC {
            return Err("not a store of images".to_owned());
        }
        let (version, length) = (number(8)?, number(12)? as usize);
        if version != VERSION {
            return Err(format!("a store of version {version}; expected version {VERSION}"));
        }
        let json = part(PREFIX, PREFIX + length)?;
        if Sha256::digest(json)[..8] != *part(16, PREFIX)? {
            return Err("a damaged header".to_owned());
        }
        let header: Self = serde_json::from_slice(json).map_err(|e| format!("header: {e}"))?;
        Ok((header, (PREFIX + length).next_multiple_of(PAGE)))
    }

    /// Bytes of all images; `None` where they are more than can be.
    fn pixel_bytes(&self) -> Option<usize> {
        let image = self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        let classes = self.sets.iter().flat_map(|set| &set.classes);
        classes.map(|class| class.images).try_fold(0usize, usize::checked_add)?.checked_mul(image)
    }

    /// The header's classes over these pixels.
    pub fn into_index(self, path: &Path, bytes: &SharedBytes, start: usize) -> Result<Index, Error> {
        let image: usize = self.shape.iter().product();
        let mut at = start;
        let mut sets = Vec::with_capacity(self.sets.len());
        for StoredSet { split, classes } in self.sets {
            let mut indexed = Vec::with_capacity(classes.len());
            for StoredClass { name, group, images } in classes {
                let end = at + images * image;
                let pixels = Pixels::shared(bytes.clone(), at..end)?;
                at = end;
                indexed.push(IndexedClass { name, group, images: Images::Rows { pixels, shape: self.shape } });
            }
            sets.push(IndexedSet { split, path: path.to_owned(), classes: indexed });
        }
        Ok(Index { form: "a store of decoded images", sets, problems: self.problems })
    }
}

/// Opens a store.
///
/// # Errors
/// [`Error::Malformed`] for a store that is damaged, cut short or of another version; those of mapping.
pub(crate) fn open(path: &Path) -> Result<(Header, Index), Error> {
    let bytes = mapped::map(path)?;
    let malformed = |problem: String| Error::malformed(path, "store", problem);
    let (header, start) = Header::parse((*bytes).as_ref()).map_err(malformed)?;
    let (end, length) = (header.pixel_bytes().and_then(|n| n.checked_add(start)), (*bytes).as_ref().len());
    if end != Some(length) {
        let expected = end.map_or("an impossible number of".to_owned(), |end| end.to_string());
        return Err(malformed(format!("{length} bytes; expected {expected} as its header says")));
    }
    let index = header.clone().into_index(path, &bytes, start)?;
    Ok((header, index))
}

/// Opens a store if it is there, whole, and was made of this source in this way.
pub(crate) fn open_matching(path: &Path, stamp: &str, preprocessing: Preprocessing) -> Option<Index> {
    let (header, index) = open(path).ok()?;
    (header.stamp == stamp && header.preprocessing == preprocessing).then_some(index)
}

/// Where pixels are written: a file beside its place until it is whole, or memory.
pub(crate) enum Sink {
    File { part: tempfile::NamedTempFile, path: PathBuf },
    Memory(Vec<u8>),
}

impl Sink {
    /// A file that appears at `path` when it is finished; its folder is made.
    pub fn file(path: &Path) -> Result<Self, Error> {
        let failed = |cause| Error::Io { path: path.to_owned(), action: "write", cause };
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|cause| Error::Io {
            path: folder.to_owned(),
            action: "make the folder",
            cause,
        })?;
        remove_abandoned(folder);
        let part = part_in(folder).map_err(failed)?;
        Ok(Self::File { part, path: path.to_owned() })
    }

    /// Writes the header, then lets `pixels` write all images and return their checksum, and finishes.
    ///
    /// # Errors
    /// [`Error::Io`], those of `pixels`. Nothing is left of a store that fails.
    pub fn write(
        self,
        mut header: Header,
        pixels: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<String, Error>,
    ) -> Result<Index, Error> {
        match self {
            Self::Memory(mut bytes) => {
                let checksum = pixels(&mut |image| {
                    bytes.extend_from_slice(image);
                    Ok(())
                })?;
                header.checksum = checksum;
                let bytes: SharedBytes = Arc::new(bytes);
                header.into_index(Path::new("memory"), &bytes, 0)
            }
            Self::File { part, path } => {
                let failed = |cause| Error::Io { path: path.clone(), action: "write", cause };
                let mut file = BufWriter::with_capacity(1 << 20, part.as_file());
                file.write_all(&header.to_bytes().map_err(failed)?).map_err(failed)?;
                header.checksum = pixels(&mut |image| file.write_all(image).map_err(failed))?;
                // The same number of bytes again: only the digits of the checksum are others.
                finish(file, &header).map_err(failed)?;
                part.persist(&path).map_err(|e| failed(e.error))?;
                Ok(open(&path)?.1)
            }
        }
    }
}

fn finish(mut file: BufWriter<&File>, header: &Header) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header.to_bytes()?)?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// A file to be renamed, with the rights any new file has: temporary ones are their owner's alone, but a store may be
/// everybody's.
fn part_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut part = tempfile::Builder::new();
    part.prefix(".part-");
    #[cfg(unix)]
    part.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    part.tempfile_in(folder)
}

/// Removes what killed processes left in the folder of stores.
fn remove_abandoned(folder: &Path) {
    let old = |path: &Path| -> io::Result<bool> {
        let age = SystemTime::now().duration_since(fs::metadata(path)?.modified()?);
        Ok(age.is_ok_and(|age| age > ABANDONED))
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let part = entry.file_name().to_string_lossy().starts_with(".part-");
        if part && old(&entry.path()).unwrap_or(false) {
            // Another process may have been faster; either way it is gone.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Digest of the digests of images, added in order.
#[derive(Default)]
pub(crate) struct Checksum(Sha256);

impl Checksum {
    /// The digest of one image's bytes, to be added later.
    pub fn of_image(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    pub fn add(&mut self, image: [u8; 32]) {
        self.0.update(image);
    }

    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    fn header(images: usize) -> Header {
        let class = StoredClass { name: "a".to_owned(), group: String::new(), images };
        Header {
            form: "test".to_owned(),
            stamp: "s".to_owned(),
            checksum: "0".repeat(64),
            preprocessing: Preprocessing { channels: 1, size: None, filter: Filter::default() },
            shape: [1, 2, 2],
            sets: vec![StoredSet { split: Some(Split::Val), classes: vec![class] }],
            problems: Vec::new(),
        }
    }

    fn write(path: &Path, images: &[[u8; 4]]) -> Result<Index, Error> {
        let checksum = |put: &mut dyn FnMut(&[u8]) -> Result<(), Error>| {
            images.iter().try_for_each(|image| put(image))?;
            Ok("c".repeat(64))
        };
        Sink::file(path)?.write(header(images.len()), checksum)
    }

    #[test]
    fn a_store_comes_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/folder/a.fewshot");
        write(&path, &[[1, 2, 3, 4], [5, 6, 7, 8]]).unwrap();
        let (header, index) = open(&path).unwrap();
        assert_eq!((header.checksum, header.stamp.as_str()), ("c".repeat(64), "s"));
        let class = &index.sets[0].classes[0];
        let Images::Rows { pixels, .. } = &class.images else { panic!() };
        assert_eq!((class.image_count(), pixels.bytes()), (2, [1, 2, 3, 4, 5, 6, 7, 8].as_slice()));
        assert_eq!(index.sets[0].split, Some(Split::Val));
        // Nothing is left of the writing.
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_store_of_something_else_does_not_match() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write(&path, &[[0; 4]]).unwrap();
        let same = header(1).preprocessing;
        assert!(open_matching(&path, "s", same).is_some());
        assert!(open_matching(&path, "t", same).is_none());
        assert!(open_matching(&path, "s", Preprocessing { channels: 3, ..same }).is_none());
        assert!(open_matching(&path, "s", Preprocessing { size: Some([2, 2]), ..same }).is_none());
        assert!(open_matching(&directory.path().join("b"), "s", same).is_none());
    }

    #[test]
    fn damage_is_found_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write(&path, &[[7; 4], [8; 4]]).unwrap();
        let whole = fs::read(&path).unwrap();
        let says = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            open(&path).unwrap_err().to_string().split_once("store: ").unwrap().1.to_owned()
        };
        assert_eq!(says(&whole[..20]), "cut short in its header");
        assert_eq!(says(&whole[..whole.len() - 1]), "4103 bytes; expected 4104 as its header says");
        let changed = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            bytes
        };
        assert_eq!(says(&changed(0)), "not a store of images");
        assert_eq!(says(&changed(8)), "a store of version 5; expected version 1");
        assert_eq!(says(&changed(40)), "a damaged header");
    }

    #[test]
    fn a_failed_write_leaves_nothing_and_the_old_store() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write(&path, &[[1; 4]]).unwrap();
        let failing = |put: &mut dyn FnMut(&[u8]) -> Result<(), Error>| {
            put(&[0; 4])?;
            Err(Error::WebPage { path: PathBuf::from("image") })
        };
        assert!(Sink::file(&path).unwrap().write(header(2), failing).is_err());
        assert_eq!(open(&path).unwrap().1.sets[0].image_count(), 1);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let nowhere = Sink::file(&path.join("below-a-file")).err().unwrap();
        assert!(matches!(nowhere, Error::Io { action: "make the folder", .. }), "{nowhere}");
    }
}
