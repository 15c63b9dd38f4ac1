//! What identifies a dataset: image shape, class names, image counts and a hash of the pixels.
//!
//! Does not know: episodes, files.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Class, ImageClasses, Layout};

/// What identifies one class of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassFingerprint {
    /// The full class name.
    pub name: String,
    /// How many images it has.
    pub images: usize,
    /// The first 16 hexadecimal digits of the SHA-256 of its pixels.
    pub hash: String,
}

/// What identifies a dataset. Classes are sorted by name, so their order does not matter.
///
/// # Example
/// ```
/// # use fewshot_data::Glyphs;
/// let data = Glyphs::new(3, 2).generate()?;
/// let reversed = data.select(&[2, 1, 0])?;
/// assert_eq!(data.fingerprint().digest(), reversed.fingerprint().digest());
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Image shape, `[channels, height, width]`.
    pub shape: [usize; 3],
    /// The classes, sorted by name.
    pub classes: Vec<ClassFingerprint>,
}

impl ImageClasses {
    /// What identifies this dataset.
    ///
    /// # Cost
    /// One SHA-256 over all pixels.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut classes: Vec<_> = self.classes().iter().map(class_fingerprint).collect();
        classes.sort_by(|a, b| a.name.cmp(&b.name));
        let shape = self.shape();
        Fingerprint { shape, classes }
    }
}

fn class_fingerprint(class: &Class) -> ClassFingerprint {
    let mut digest = Sha256::new();
    match (class.layout(), class.pixels().rows()) {
        (Layout::Planar, None) => digest.update(class.pixels().bytes()),
        // As planar images, so that the same pictures have the same hash in every form.
        _ => class.images().for_each(|image| digest.update(&image)),
    }
    let mut hash = hex(&digest.finalize());
    hash.truncate(16);
    ClassFingerprint { name: class.name().to_owned(), images: class.image_count(), hash }
}

impl Fingerprint {
    /// One hash for all of it, 64 hexadecimal digits: for reports and checkpoints.
    pub fn digest(&self) -> String {
        let mut text = format!("{:?}\n", self.shape);
        for ClassFingerprint { name, images, hash } in &self.classes {
            text.push_str(&format!("{name}\t{images}\t{hash}\n"));
        }
        hex(&Sha256::digest(text.as_bytes()))
    }

    /// The first difference to what `found` identifies, in words; `None` where there is none.
    pub fn difference(&self, found: &Self) -> Option<String> {
        if self.shape != found.shape {
            let (expected, found) = (self.shape, found.shape);
            return Some(format!("images are {found:?}; expected {expected:?}"));
        }
        let by_name = |f: &Self| -> BTreeMap<String, ClassFingerprint> {
            f.classes.iter().map(|c| (c.name.clone(), c.clone())).collect()
        };
        let (ours, theirs) = (by_name(self), by_name(found));
        for (name, class) in &ours {
            let Some(other) = theirs.get(name) else {
                return Some(format!("class {name} is not in the dataset"));
            };
            if class.images != other.images {
                let (expected, found) = (class.images, other.images);
                return Some(format!("class {name} has {found} images; expected {expected}"));
            }
            if class.hash != other.hash {
                return Some(format!(
                    "the images of class {name} are others (hash {}; expected {})",
                    other.hash, class.hash
                ));
            }
        }
        let extra = theirs.keys().find(|name| !ours.contains_key(*name));
        extra.map(|name| format!("the dataset has class {name} as well"))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::flat;

    #[test]
    fn the_hash_is_sha_256() {
        // `printf '\012\012\012\012' | sha256sum`: catches a hash that is not the stable one.
        let data = flat(&[("A", 1)], 1);
        assert_eq!(data.classes()[0].image(0).as_deref(), Some([10; 4].as_slice()));
        assert_eq!(data.fingerprint().classes[0].hash, HASH);
    }

    const HASH: &str = "545c38b0922de197";

    #[test]
    fn class_order_does_not_matter() {
        let data = flat(&[("A", 2), ("B", 2)], 2);
        let other = data.select(&[3, 1, 0, 2]).unwrap();
        assert_eq!(data.fingerprint(), other.fingerprint());
        assert_eq!(data.fingerprint().digest(), other.fingerprint().digest());
    }

    #[test]
    fn every_difference_is_named() {
        let data = flat(&[("A", 2)], 2);
        let ours = data.fingerprint();
        let says = |found: &ImageClasses| ours.difference(&found.fingerprint()).unwrap_or_default();
        assert_eq!(says(&data), "");
        assert_eq!(says(&data.select(&[0]).unwrap()), "class A/character02 is not in the dataset");
        let more = flat(&[("A", 2), ("B", 1)], 2);
        assert_eq!(says(&more), "the dataset has class B/character01 as well");
        let fewer = flat(&[("A", 2)], 1);
        assert_eq!(says(&fewer), "class A/character01 has 1 images; expected 2");
        let mut changed = data.select(&[0]).unwrap();
        changed.push("A/character02", "A", vec![0; 8]).unwrap();
        assert!(says(&changed).starts_with("the images of class A/character02 are others"));
        let shape = ImageClasses::new([1, 3, 3]).unwrap();
        assert_eq!(says(&shape), "images are [1, 3, 3]; expected [1, 2, 2]");
    }
}
