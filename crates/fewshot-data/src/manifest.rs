//! Manifests: what is known of a dataset's files, and where they come from.
//!
//! A manifest is a TOML file. Those of the common few-shot datasets are part of this crate, and a
//! path reads one of your own. It names no path: where the files are to lie is for the caller to
//! say.
//!
//! Does not know: how to download, what the files hold.

mod raw;

use std::path::Path;
use std::{fs, io};

use crate::Error;

/// The manifests that come with the crate, by name.
const KNOWN: [(&str, &str); 6] = [
    ("omniglot", include_str!("../datasets/omniglot.toml")),
    ("mini-imagenet", include_str!("../datasets/mini-imagenet.toml")),
    ("tiered-imagenet", include_str!("../datasets/tiered-imagenet.toml")),
    ("cifar-fs", include_str!("../datasets/cifar-fs.toml")),
    ("fc100", include_str!("../datasets/fc100.toml")),
    ("cifar-100", include_str!("../datasets/cifar-100.toml")),
];

/// A dataset: its files, where they come from and what they must be.
///
/// # Example
/// ```
/// # use fewshot_data::Manifest;
/// let omniglot = Manifest::named("omniglot")?;
/// assert_eq!(omniglot.files[0].name, "images_background.zip");
/// assert_eq!(omniglot.files[0].size, Some(9_464_212));
/// let own = r#"
///     name = "mine"
///     licence = "CC0"
///     citation = "nobody"
///     [[file]]
///     name = "pictures.tar.gz"
///     urls = ["https://example.org/pictures.tar.gz", "http://mirror.example.net/pictures.tar.gz"]
///     md5 = "d41d8cd98f00b204e9800998ecf8427e"
///     unpack = "tar.gz"
/// "#;
/// assert_eq!(Manifest::parse(own, "mine.toml")?.files[0].urls.len(), 2);
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// Short name, which is also the name of its directory: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// One line on what it is.
    pub title: Option<String>,
    /// Where to read about it.
    pub homepage: Option<String>,
    /// What may be done with the data.
    pub licence: String,
    /// What to cite.
    pub citation: String,
    /// Size and kind of its images.
    pub images: Option<String>,
    /// The files; at least one.
    pub files: Vec<ManifestFile>,
    /// The published splits.
    pub splits: Vec<ManifestSplit>,
}

/// One file of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestFile {
    /// File name, without any path.
    pub name: String,
    /// Where it can be had, the first choice first. Empty where a program cannot fetch it.
    pub urls: Vec<String>,
    /// How a person gets a file that no program can fetch: a form or a quota stands before it.
    pub by_hand: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// MD5 as published, 32 lowercase hexadecimal digits.
    pub md5: Option<String>,
    /// SHA-256, 64 lowercase hexadecimal digits.
    pub sha256: Option<String>,
    /// An MD5 published for a file of this name that was uploaded elsewhere. Whether it is the same
    /// file is not known: agreement is good news, disagreement is reported and no error.
    pub md5_elsewhere: Option<String>,
    /// How it is unpacked.
    pub unpack: Unpack,
    /// What is in it.
    pub holds: Option<String>,
    /// Whether the dataset is complete without it: another form, or an extra.
    pub optional: bool,
}

/// How a file is unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[non_exhaustive]
pub enum Unpack {
    /// Not at all; a zip archive that is read in place, say.
    #[default]
    #[serde(rename = "none")]
    None,
    /// A zip archive.
    #[serde(rename = "zip")]
    Zip,
    /// A tar archive.
    #[serde(rename = "tar")]
    Tar,
    /// A tar archive compressed by gzip.
    #[serde(rename = "tar.gz")]
    TarGz,
}

/// A published split, in words.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ManifestSplit {
    /// The name it goes by.
    pub name: String,
    /// What is trained on.
    pub train: String,
    /// What hyperparameters are chosen on, where the split has such a part.
    pub val: Option<String>,
    /// What is tested on.
    pub test: String,
    /// Who made it.
    pub source: Option<String>,
}

impl Manifest {
    /// The names of the manifests that come with the crate.
    pub fn known() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|&(name, _)| name)
    }

    /// A manifest that comes with the crate.
    ///
    /// # Errors
    /// [`Error::UnknownDataset`], naming those there are.
    pub fn named(name: &str) -> Result<Self, Error> {
        let found = KNOWN.iter().find(|(known, _)| *known == name);
        let (known, text) = found.ok_or_else(|| Error::UnknownDataset {
            name: name.to_owned(),
            known: Self::known().collect::<Vec<_>>().join(", "),
        })?;
        Self::parse(text, known)
    }

    /// Reads a manifest of your own.
    ///
    /// # Errors
    /// [`Error::Manifest`] with the line; [`Error::Missing`] and [`Error::Io`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        // A manifest is a page or two; a data set given by mistake is not read into memory.
        const MOST: u64 = 1 << 20;
        let path = path.as_ref();
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
            _ => Error::Io { path: path.to_owned(), action: "read", cause },
        };
        let about = fs::metadata(path).map_err(failed)?;
        if about.len() > MOST || !about.is_file() {
            let problem = format!("not a manifest; expected a TOML file of at most {MOST} bytes");
            return Err(Error::Manifest { place: path.display().to_string(), line: 1, problem });
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses the text of a manifest; `place` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Manifest`] with the line.
    pub fn parse(text: &str, place: &str) -> Result<Self, Error> {
        raw::parse(text).map_err(|(at, problem)| {
            let before = text.get(..at).unwrap_or(text);
            let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
            Error::Manifest { place: place.to_owned(), line, problem }
        })
    }

    /// The file with this name.
    ///
    /// # Errors
    /// [`Error::UnknownFile`], naming those there are.
    pub fn file(&self, name: &str) -> Result<&ManifestFile, Error> {
        self.files.iter().find(|file| file.name == name).ok_or_else(|| Error::UnknownFile {
            dataset: self.name.clone(),
            name: name.to_owned(),
            known: self.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

impl ManifestFile {
    /// Whether there is a checksum that the file must have.
    pub fn has_checksum(&self) -> bool {
        self.md5.is_some() || self.sha256.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_of_the_crate_parses_under_its_own_name() {
        for name in Manifest::known() {
            let manifest = Manifest::named(name).unwrap();
            assert_eq!(manifest.name, name);
            assert!(manifest.homepage.is_some() && manifest.title.is_some() && !manifest.splits.is_empty(), "{name}");
            assert!(manifest.files.iter().any(|file| !file.optional && !file.urls.is_empty()), "{name}");
        }
    }

    #[test]
    fn names_that_are_not_there_are_answered_with_those_that_are() {
        let error = Manifest::named("omniglott").unwrap_err().to_string();
        assert!(error.starts_with("no dataset is called omniglott; known are omniglot, mini-imagenet, "), "{error}");
        let error = Manifest::named("cifar-100").unwrap().file("cifar.zip").unwrap_err().to_string();
        assert_eq!(error, "cifar-100 has no file cifar.zip; it has cifar-100-python.tar.gz");
    }

    #[test]
    fn a_manifest_is_read_from_a_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own.toml");
        fs::write(&path, include_str!("../datasets/omniglot.toml")).unwrap();
        assert_eq!(Manifest::read(&path).unwrap(), Manifest::named("omniglot").unwrap());
        fs::write(&path, "name = \"a\"\nname = \"b\"\n").unwrap();
        let error = Manifest::read(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:2: duplicate key", path.display())), "{error}");
        let error = Manifest::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("not a manifest"), "{error}");
        assert!(matches!(Manifest::read(directory.path().join("no")), Err(Error::Missing { .. })));
    }

    /// The error of a manifest with this line as the 6th.
    fn error(line: &str) -> String {
        let text = format!(
            "name = \"own\"\nlicence = \"none\"\ncitation = \"none\"\n[[file]]\nname = \"a.zip\"\n{line}\n[[file]]\n\
             name = \"b\"\nurls = [\"http://example.org/b\"]\n"
        );
        match Manifest::parse(&text, "own.toml") {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert_eq!(error("urls = [\"https://example.org/a.zip\"]"), "");
        for (line, expected) in [
            (
                "urls = [\"ftp://example.org/a\"]",
                "own.toml:6: url \"ftp://example.org/a\"; expected https:// or http://",
            ),
            ("urls = [\"https://\"]", "own.toml:6: url \"https://\"; expected https:// or http://"),
            ("urls = [\"https://a b/c\"]", "own.toml:6: url \"https://a b/c\"; expected https:// or http://"),
            ("urls = []", "own.toml:5: file a.zip has neither urls nor by_hand; expected one of them"),
            ("size = -1", "own.toml:6: "),
            ("md5 = \"68d2\"\nby_hand = \"ask\"", "own.toml:6: md5 \"68d2\"; expected 32 hexadecimal digits"),
            ("sha256 = \"zz\"\nby_hand = \"ask\"", "own.toml:6: sha256 \"zz\"; expected 64 hexadecimal digits"),
            ("unpack = \"rar\"", "own.toml:6: unknown variant `rar`"),
            ("colour = 3", "own.toml:6: unknown field `colour`"),
        ] {
            let error = error(line);
            assert!(error.starts_with(expected), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn file_names_cannot_leave_their_directory() {
        let hidden = ["../a", "a/b", "/a", "a\\\\b", "..", ".", "", ".a", "a\\u0000", "C:a", "b.part", "a b", "NUL"];
        for name in hidden {
            let text = format!(
                "name = \"own\"\nlicence = \"\"\ncitation = \"\"\n[[file]]\nname = \"{name}\"\nurls = [\"http://e.org/\"]"
            );
            let error = Manifest::parse(&text, "own.toml").unwrap_err().to_string();
            assert!(
                error.starts_with("own.toml:5: name ") || error.starts_with("own.toml:5: file name "),
                "{name} {error}"
            );
        }
        let twice = error("urls = [\"http://e.org/\"]\n[[file]]\nname = \"a.zip\"\nurls = [\"http://e.org/\"]");
        assert_eq!(twice, "own.toml:8: file a.zip occurs twice; file names must be unique");
    }

    proptest::proptest! {
        #[test]
        fn damaged_manifests_are_errors_of_one_line(at: proptest::sample::Index, with: char, cut: bool) {
            // Catches a panic on a place inside a character, and messages that go over several lines.
            let text: Vec<char> = include_str!("../datasets/mini-imagenet.toml").chars().collect();
            let at = at.index(text.len());
            let tail: &[char] = if cut { &[] } else { &text[at + 1..] };
            let text: String = text[..at].iter().chain([&with]).chain(tail).collect();
            if let Err(error) = Manifest::parse(&text, "m.toml") {
                proptest::prop_assert_eq!(error.to_string().lines().count(), 1);
            }
        }
    }
}
