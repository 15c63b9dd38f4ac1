//! The classes of an HDF5 file, by the library `hdf5-reader`.
//!
//! Does not know: splits.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::layout::DataLayout;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions};

use super::heap::{Heap, Widths};
use crate::array::{Array, Dtype};
use crate::error::{one_line, printable};
use crate::forms::arrays::cifar_classes::{COARSE, FINE};
use crate::index::{Encoded, Images, IndexedClass};
use crate::mapped::SharedBytes;
use crate::{Error, Limits};

/// Groups within groups: a set, an alphabet, and one to spare.
const DEEPEST: usize = 4;

/// Groups that say what kind of file it is and nothing of the classes.
const TOPS: [&str; 3] = ["datasets", "images_background", "images_evaluation"];

/// All classes, in the order of their names.
pub(super) fn classes(path: &Path, bytes: SharedBytes, limits: Limits) -> Result<Vec<IndexedClass>, Error> {
    let size = (*bytes).as_ref().len() as u64;
    let most = usize::try_from(limits.for_input(size)).unwrap_or(usize::MAX);
    let options = OpenOptions::default().with_max_read_bytes(most).with_max_chunk_bytes(most.min(256 << 20));
    let file = Hdf5File::from_owner(View(bytes.clone()), options).map_err(|error| damaged(path, "file", &error))?;
    let block = file.superblock();
    let widths = Widths {
        base: block.base_address,
        offset: usize::from(block.offset_size),
        length: usize::from(block.length_size),
    };
    let heap = Heap::new((*bytes).as_ref(), widths);
    let mut reader = Reader { path, bytes: bytes.clone(), file: &file, limits, heap, base: widths.base, copied: 0 };
    let mut classes = Vec::new();
    let mut others = 0;
    for (names, dataset) in datasets(path, &file)? {
        match reader.images(&names.join("/"), &dataset)? {
            Some(images) => {
                let (name, group) = class_name(&names);
                classes.push(IndexedClass { name, group, images });
            }
            None => others += 1,
        }
    }
    if classes.is_empty() {
        let found = format!("an HDF5 file with {others} datasets, none of them in a group and of images");
        return Err(Error::Unrecognised { path: path.to_owned(), found });
    }
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(classes)
}

fn damaged(path: &Path, place: &str, error: &dyn std::error::Error) -> Error {
    Error::malformed(path, place, one_line(error))
}

/// The mapped file as the library wants it.
struct View(SharedBytes);

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// All datasets inside of groups, with the names that lead to them. Every group is visited once, for
/// groups may hold each other.
fn datasets(path: &Path, file: &Hdf5File) -> Result<Vec<(Vec<String>, Dataset)>, Error> {
    let failed = |names: &[String], error| damaged(path, &format!("group /{}", names.join("/")), &error);
    let root = file.root_group().map_err(|error| failed(&[], error))?;
    let mut visited = HashSet::from([root.address()]);
    let mut open = vec![(Vec::new(), root)];
    let mut found = Vec::new();
    while let Some((names, group)) = open.pop() {
        let (groups, datasets) = group.members().map_err(|error| failed(&names, error))?;
        let below = |name: &str| names.iter().cloned().chain([name.to_owned()]).collect::<Vec<_>>();
        for group in groups.into_iter().filter(|_| names.len() < DEEPEST) {
            if visited.insert(group.address()) {
                open.push((below(group.name()), group));
            }
        }
        found.extend(datasets.into_iter().map(|dataset| (below(dataset.name()), dataset)));
    }
    Ok(found)
}

/// Name and group of a class: `Greek/character01` and `Greek`. Of CIFAR-100, whose fine classes are
/// known by their names alone, `ray` and `fish`.
fn class_name(names: &[String]) -> (String, String) {
    if let [coarse, fine] = names
        && COARSE.contains(&coarse.as_str())
        && FINE.iter().any(|known| known.0 == fine)
    {
        return (fine.clone(), coarse.clone());
    }
    let names = match names {
        [top, rest @ ..] if TOPS.contains(&top.as_str()) && !rest.is_empty() => rest,
        all => all,
    };
    let group = if names.len() > 1 { names[0].clone() } else { String::new() };
    (names.join("/"), group)
}

struct Reader<'a> {
    path: &'a Path,
    bytes: SharedBytes,
    file: &'a Hdf5File,
    limits: Limits,
    heap: Heap<'a>,
    base: u64,
    /// Bytes allocated so far, for everything that could not be used in place.
    copied: u64,
}

impl Reader<'_> {
    /// The images of a dataset; `None` for one that holds none, or is in no group.
    fn images(&mut self, name: &str, dataset: &Dataset) -> Result<Option<Images>, Error> {
        if !name.contains('/') {
            return Ok(None);
        }
        let byte = |kind: &Datatype| matches!(kind, Datatype::FixedPoint { size: 1, signed: false, .. });
        match dataset.dtype() {
            Datatype::VarLen { base, .. } if byte(base) && dataset.ndim() == 1 => self.encoded(name, dataset).map(Some),
            kind if byte(kind) && matches!(dataset.ndim(), 3 | 4) => self.rows(name, dataset).map(Some),
            Datatype::FloatingPoint { size, .. } if matches!(dataset.ndim(), 3 | 4) => {
                let problem = format!("images are float{}; expected uint8, 0 to 255", u32::from(*size) * 8);
                Err(Error::malformed(self.path, name, problem))
            }
            _ => Ok(None),
        }
    }

    fn rows(&mut self, name: &str, dataset: &Dataset) -> Result<Images, Error> {
        let failed = |problem: String| Error::malformed(self.path, name, problem);
        let dtype = Dtype::parse("u1").ok_or_else(|| failed("no type of bytes".to_owned()))?;
        let array = match self.place(dataset) {
            Some(range) => Array::new(dtype, dataset.shape(), false, self.bytes.clone(), range),
            None => {
                let bytes = self.read(name, dataset)?;
                let range = 0..bytes.len();
                Array::new(dtype, dataset.shape(), false, Arc::new(bytes), range)
            }
        };
        let failed = |problem: String| Error::malformed(self.path, name, problem);
        let (pixels, shape) = array.and_then(|array| array.images()).map_err(failed)?;
        Ok(Images::Rows { pixels, shape })
    }

    /// Where a dataset lies in the file, if it lies there in one piece.
    fn place(&self, dataset: &Dataset) -> Option<std::ops::Range<usize>> {
        let header = self.file.get_or_parse_header(dataset.address()).ok()?;
        let elsewhere = |message: &HdfMessage| matches!(message, HdfMessage::ExternalFiles(_));
        if header.messages.iter().any(elsewhere) {
            return None;
        }
        let layout = header.messages.iter().find_map(|message| match message {
            HdfMessage::DataLayout(layout) => Some(&layout.layout),
            _ => None,
        });
        let &DataLayout::Contiguous { address, size } = layout? else {
            return None;
        };
        let wanted = dataset.shape().iter().try_fold(1u64, |n, &d| n.checked_mul(d))?;
        let start = usize::try_from(self.base.checked_add(address)?).ok()?;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        (size == wanted && size > 0 && end <= (*self.bytes).as_ref().len()).then_some(start..end)
    }

    /// The bytes of a dataset, decompressed. The limit holds for all datasets of the file together.
    fn read(&mut self, name: &str, dataset: &Dataset) -> Result<Vec<u8>, Error> {
        let failed = |error| damaged(self.path, name, &error);
        let size = dataset.raw_byte_len().map_err(failed)?;
        let total = self.copied.saturating_add(size as u64);
        self.limits.check(
            self.path,
            &format!("dataset {}", printable(name)),
            total,
            (*self.bytes).as_ref().len() as u64,
        )?;
        self.copied = total;
        dataset.read_raw_bytes().map_err(failed)
    }

    /// Image files, in place.
    fn encoded(&mut self, name: &str, dataset: &Dataset) -> Result<Images, Error> {
        let references = self.read(name, dataset)?;
        let mut images = Vec::new();
        for (i, reference) in references.chunks_exact(dataset.vlen_reference_size().max(1)).enumerate() {
            let failed = |problem| Error::malformed(self.path, format!("{name}, image {i}"), problem);
            let range = self.heap.resolve(reference).map_err(failed)?;
            let range = range.ok_or_else(|| failed("nothing; expected the bytes of a PNG file".to_owned()))?;
            images.push(Encoded::Slice(self.bytes.clone(), range));
        }
        if images.is_empty() {
            return Err(Error::malformed(self.path, name, "no images; expected at least one"));
        }
        Ok(Images::Encoded(images))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_by_what_leads_to_them() {
        let name = |path: &str| class_name(&path.split('/').map(str::to_owned).collect::<Vec<_>>());
        let pair = |name: &str, group: &str| (name.to_owned(), group.to_owned());
        assert_eq!(name("datasets/n01532829"), pair("n01532829", ""));
        assert_eq!(name("images_background/Greek/character01"), pair("Greek/character01", "Greek"));
        assert_eq!(name("fish/ray"), pair("ray", "fish"));
        assert_eq!(name("fish/herring"), pair("fish/herring", "fish"));
    }
}
