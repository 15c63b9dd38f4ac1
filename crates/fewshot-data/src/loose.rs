//! Images without classes: what a trained network is to be asked about.
//!
//! Does not know: datasets, labels, transforms.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use crate::archive::Archive;
use crate::index::Encoded;
use crate::picture::Picture;
use crate::tree::{Tree, TreeFile};
use crate::{Error, Filter, Limits};

/// Images by the name of their file, all of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LooseImages {
    names: Vec<String>,
    skipped: Vec<String>,
    pixels: Vec<u8>,
    shape: [usize; 3],
}

impl LooseImages {
    /// Reads every PNG and JPEG file of a folder, of the folders in it, or of a zip archive; or a single image. They are
    /// decoded and scaled as [`Source`](crate::Source) does it, to `channels` of 1 or 3 and `side` pixels in height and width.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Unrecognised`] where there are no images; those of decoding, naming the
    /// image; [`Error::Setting`].
    ///
    /// # Example
    /// ```
    /// # use fewshot_data::LooseImages;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let file = std::fs::File::create(folder.path().join("1.png")).unwrap();
    /// # let mut png = png::Encoder::new(file, 1, 1);
    /// # png.set_color(png::ColorType::Rgb);
    /// # png.write_header().unwrap().write_image_data(&[1, 2, 3]).unwrap();
    /// # let path = folder.path();
    /// let images = LooseImages::read(path, 3, 84)?;
    /// assert_eq!((images.names(), images.shape()), (["1.png".to_owned()].as_slice(), [3, 84, 84]));
    /// # Ok::<(), fewshot_data::Error>(())
    /// ```
    pub fn read(path: impl AsRef<Path>, channels: usize, side: usize) -> Result<Self, Error> {
        let (path, limits) = (path.as_ref(), Limits::default());
        if !matches!(channels, 1 | 3) {
            let found = channels.to_string();
            return Err(Error::Setting { setting: "channels", found, expected: "1 or 3" });
        }
        let (files, skipped) = files_of(path)?;
        let decode = |file: &TreeFile| {
            let bytes = file.place.read(limits)?;
            let picture = Picture::decode(&bytes, channels, path, &file.name, limits)?;
            Ok(picture.scaled([side, side], Filter::default())?.pixels)
        };
        let pixels: Vec<Vec<u8>> = files.par_iter().map(decode).collect::<Result<_, Error>>()?;
        let names = files.into_iter().map(|file| file.name).collect();
        Ok(Self { names, skipped, pixels: pixels.concat(), shape: [channels, side, side] })
    }

    /// Names of the files below the path that was read, with `/` between folders, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Names of the files that are no PNG or JPEG image, sorted.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The images in the order of their names, `channels * height * width` bytes each.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.pixels.chunks_exact(self.shape.iter().product())
    }

    /// How many there are; at least one.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never: without images reading is an error.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// The images, and the names of the other files.
fn files_of(path: &Path) -> Result<(Vec<TreeFile>, Vec<String>), Error> {
    let metadata = std::fs::metadata(path).map_err(|cause| Error::reading(path, cause))?;
    let tree = if metadata.is_dir() {
        Tree::walk(path)?
    } else {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let file = TreeFile { name, place: Encoded::File(path.to_owned()) };
        match file.is_image() {
            true => return Ok((vec![file], vec![])),
            false => Tree::of(&Arc::new(Archive::open(path)?)),
        }
    };
    let found = format!("{} files and no PNG or JPEG image among them", tree.files.len());
    let (images, others): (Vec<_>, Vec<_>) = tree.files.into_iter().partition(TreeFile::is_image);
    match images.is_empty() {
        true => Err(Error::Unrecognised { path: path.to_owned(), found }),
        false => Ok((images, others.into_iter().map(|file| file.name).collect())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn png(value: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 4);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&[value; 8]).unwrap();
        bytes
    }

    #[test]
    fn folders_archives_and_single_files_are_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("b/2.png"), png(20)).unwrap();
        fs::write(folder.path().join("a.png"), png(10)).unwrap();
        fs::write(folder.path().join("notes.txt"), "no image").unwrap();
        let images = LooseImages::read(folder.path(), 3, 8).unwrap();
        assert_eq!(
            (images.names(), images.skipped()),
            (&["a.png".into(), "b/2.png".into()][..], &["notes.txt".into()][..])
        );
        // Catches images that change places with names on the way through threads.
        let first: Vec<u8> = images.images().map(|image| image[0]).collect();
        assert_eq!((first.as_slice(), images.shape(), images.len()), ([10, 20].as_slice(), [3, 8, 8], 2));

        let mut zip = zip::ZipWriter::new(fs::File::create(folder.path().join("all.zip")).unwrap());
        for (name, value) in [("b/2.png", 20), ("a.png", 10)] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&png(value)).unwrap();
        }
        zip.start_file("notes.txt", zip::write::SimpleFileOptions::default()).unwrap();
        zip.finish().unwrap();
        assert_eq!(LooseImages::read(folder.path().join("all.zip"), 3, 8).unwrap(), images);
        let one = LooseImages::read(folder.path().join("a.png"), 1, 8).unwrap();
        assert_eq!((one.names(), one.images().next().unwrap()), (["a.png".to_owned()].as_slice(), [10; 64].as_slice()));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let says = || LooseImages::read(folder.path(), 3, 8).unwrap_err().to_string();
        assert!(says().contains("no PNG or JPEG image"), "{}", says());
        fs::write(folder.path().join("cut.png"), &png(3)[..20]).unwrap();
        assert!(says().contains("cut.png"), "{}", says());
        assert!(LooseImages::read(folder.path().join("nowhere"), 3, 8).is_err());
        assert!(LooseImages::read(folder.path(), 2, 8).unwrap_err().to_string().contains("channels"));
    }
}
