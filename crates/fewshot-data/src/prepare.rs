//! From an index to images one can draw from: arrays in place, everything else decoded once.
//!
//! Does not know: forms, how files are found.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::UNIX_EPOCH;
use std::{fs, io};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::fingerprint::hex;
use crate::index::{Encoded, Images, Index, IndexedSet};
use crate::picture::{Picture, Preprocessing};
use crate::store::{Checksum, Header, Sink};
use crate::{Error, Limits, Pixels};

/// Images decoded at a time: enough to keep all threads busy, few enough to fit in memory.
const CHUNK: usize = 256;

/// One image of an index, as it lies there.
enum Raw<'a> {
    Encoded(&'a Encoded),
    Row { pixels: &'a Pixels, shape: [usize; 3], row: usize },
}

/// Whether all images are rows of arrays of one shape that needs no change.
pub(crate) fn is_in_place(index: &Index, preprocessing: &Preprocessing) -> bool {
    let wanted = |shape: [usize; 3]| {
        let size = preprocessing.size.is_none_or(|size| size == shape[1..]);
        size && shape[0] == preprocessing.channels
    };
    let mut shapes = index.sets.iter().flat_map(|set| &set.classes).map(|class| match class.images {
        Images::Rows { shape, .. } => Some(shape),
        Images::Encoded(_) => None,
    });
    let first = shapes.next().flatten();
    first.is_some_and(wanted) && shapes.all(|shape| shape == first)
}

/// What the source looks like from outside, and what was found in it: when any file of it has another size or time,
/// or another class or image is found, this is another text.
///
/// Files are named from the source on, so that it does not matter from which folder somebody looks at it.
///
/// # Cost
/// Looks at the size and time of every file; reads none.
pub(crate) fn stamp(index: &Index, source: &Path) -> Result<String, Error> {
    let base = if source.is_dir() { source } else { source.parent().unwrap_or(source) };
    let mut digest = Sha256::new();
    digest.update(index.form);
    let mut archives = BTreeSet::new();
    for set in &index.sets {
        digest.update(format!("\0{:?}\0", set.split));
        digest.update(file_stamp(&set.path, base)?);
        for class in &set.classes {
            digest.update(format!("{}\0{}\0{}\0", class.name, class.group, class.image_count()));
            match &class.images {
                Images::Rows { pixels, shape } => digest.update(format!("{shape:?}{:?}", pixels.rows())),
                Images::Encoded(images) => {
                    for image in images {
                        match image {
                            Encoded::File(path) => digest.update(file_stamp(path, base)?),
                            Encoded::Slice(_, range) => digest.update(format!("{range:?}")),
                            Encoded::Entry(archive, entry) => {
                                archives.insert(archive.path());
                                digest.update(archive.name(*entry));
                            }
                        }
                    }
                }
            }
        }
    }
    for archive in archives {
        digest.update(file_stamp(archive, base)?);
    }
    Ok(hex(&digest.finalize()))
}

fn file_stamp(path: &Path, base: &Path) -> Result<String, Error> {
    let metadata = fs::metadata(path).map_err(|cause| Error::reading(path, cause))?;
    let path = path.strip_prefix(base).unwrap_or(path);
    if metadata.is_dir() {
        // Its own time changes with files that have nothing to do with the dataset.
        return Ok(format!("{}\0", path.display()));
    }
    let time = metadata.modified().map_or(0, |time| time.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos()));
    Ok(format!("{}\0{}\0{time}\0", path.display(), metadata.len()))
}

/// Decodes all images of an index into a sink, in order, on all threads of the current pool.
///
/// # Errors
/// The first error in the order of the images, whichever thread met it.
///
/// # Memory
/// 256 images at a time, and one file for each thread.
pub(crate) fn decode_into(
    sink: Sink,
    index: &Index,
    stamp: &str,
    preprocessing: Preprocessing,
    limits: Limits,
    progress: &(dyn Fn(usize, usize) + Send + Sync),
) -> Result<Index, Error> {
    let images: Vec<(&IndexedSet, &str, Raw)> = index.sets.iter().flat_map(raw_images).collect();
    let Some((set, class, first)) = images.first() else {
        return Err(Error::MissingPart {
            path: Path::new(index.form).to_owned(),
            wanted: "images".to_owned(),
            found: "none".to_owned(),
        });
    };
    let (first, _) = decode(set, class, first, preprocessing, limits)?;
    let size = [first.height, first.width];
    let shape = [preprocessing.channels, first.height, first.width];
    let header = Header::of(index, stamp, preprocessing, shape);
    sink.write(header, |put| {
        let mut checksum = Checksum::default();
        let mut done = 0;
        for chunk in images.chunks(CHUNK) {
            let decoded: Vec<Result<_, Error>> = chunk
                .par_iter()
                .map(|(set, class, raw)| {
                    let (picture, digest) = decode(set, class, raw, preprocessing, limits)?;
                    check_size(set, class, raw, &picture, size)?;
                    Ok((picture.pixels, digest))
                })
                .collect();
            for image in decoded {
                let (pixels, digest) = image?;
                put(&pixels)?;
                checksum.add(digest);
            }
            done += chunk.len();
            progress(done, images.len());
        }
        Ok(checksum.finish())
    })
}

/// What is wrong with the images of an index, in their order: decodes all of them and keeps none. Of images of different
/// sizes the first is told.
///
/// # Memory
/// As [`decode_into`].
pub(crate) fn faults(
    index: &Index,
    preprocessing: Preprocessing,
    limits: Limits,
    progress: &(dyn Fn(usize, usize) + Send + Sync),
) -> Vec<Error> {
    let images: Vec<(&IndexedSet, &str, Raw)> = index.sets.iter().flat_map(raw_images).collect();
    let (mut faults, mut mixed, mut size, mut done) = (Vec::new(), false, None, 0);
    for chunk in images.chunks(CHUNK) {
        let decoded: Vec<Result<Picture, Error>> =
            chunk.par_iter().map(|(set, class, raw)| Ok(decode(set, class, raw, preprocessing, limits)?.0)).collect();
        for ((set, class, raw), picture) in chunk.iter().zip(decoded) {
            let fault = picture.and_then(|picture| {
                let first = *size.get_or_insert([picture.height, picture.width]);
                let fits = check_size(set, class, raw, &picture, first);
                if mixed { Ok(()) } else { fits.inspect_err(|_| mixed = true) }
            });
            faults.extend(fault.err());
        }
        done += chunk.len();
        progress(done, images.len());
    }
    faults
}

fn raw_images(set: &IndexedSet) -> Vec<(&IndexedSet, &str, Raw<'_>)> {
    let mut images = Vec::with_capacity(set.image_count());
    for class in &set.classes {
        match &class.images {
            Images::Encoded(encoded) => {
                images.extend(encoded.iter().map(|image| (set, class.name.as_str(), Raw::Encoded(image))));
            }
            Images::Rows { pixels, shape } => {
                let row = |at: usize| pixels.rows().map_or(at, |rows| rows.get(at).map_or(at, |&row| row as usize));
                let raw = |at| (set, class.name.as_str(), Raw::Row { pixels, shape: *shape, row: row(at) });
                images.extend((0..class.image_count()).map(raw));
            }
        }
    }
    images
}

/// One image, scaled, and the digest of the bytes it was made of.
fn decode(
    set: &IndexedSet,
    class: &str,
    raw: &Raw,
    preprocessing: Preprocessing,
    limits: Limits,
) -> Result<(Picture, [u8; 32]), Error> {
    let Preprocessing { channels, size, filter } = preprocessing;
    let (picture, digest) = match raw {
        Raw::Encoded(image) => {
            let bytes: Cow<[u8]> = image.read(limits)?;
            let picture = Picture::decode(&bytes, channels, &set.path, &place(class, raw), limits)?;
            (picture, Checksum::of_image(&bytes))
        }
        &Raw::Row { pixels, shape, row } => {
            let each: usize = shape.iter().product();
            let bytes = pixels.bytes().get(row * each..(row + 1) * each).ok_or_else(|| {
                Error::reading(&set.path, io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"))
            })?;
            (Picture::from_row(bytes, shape, pixels.layout(), channels), Checksum::of_image(bytes))
        }
    };
    let picture = match size {
        Some(size) => {
            let scaled = picture.scaled(size, filter);
            scaled.map_err(|e| Error::malformed(&set.path, place(class, raw), e.to_string()))?
        }
        None => picture,
    };
    Ok((picture, digest))
}

fn check_size(set: &IndexedSet, class: &str, raw: &Raw, picture: &Picture, size: [usize; 2]) -> Result<(), Error> {
    if [picture.height, picture.width] == size {
        return Ok(());
    }
    let words = |[height, width]: [usize; 2]| format!("{height} x {width}");
    Err(Error::MixedSizes {
        place: format!("{}: {}", set.path.display(), place(class, raw)),
        found: words([picture.height, picture.width]),
        expected: words(size),
    })
}

fn place(class: &str, raw: &Raw) -> String {
    match raw {
        Raw::Encoded(image) => format!("image {image:?} of class {class}"),
        Raw::Row { row, .. } => format!("image {row} of class {class}"),
    }
}
