//! Whether the files in a directory are those of a manifest.
//!
//! Does not know: downloads; it writes nothing.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::find::{Found, look};
use super::{Event, FetchedFile, Source, wanted};
use crate::{Error, Manifest};

/// What was found of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
#[non_exhaustive]
pub enum Verdict {
    /// It is the file of the manifest.
    Right(FetchedFile),
    /// It is not there.
    Missing {
        /// Where it would be.
        path: PathBuf,
        /// Whether the dataset is complete without it.
        optional: bool,
    },
    /// It is another file.
    Wrong {
        /// The file.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
}

impl Verdict {
    /// Whether a dataset with this file as it is can be used.
    pub fn is_fine(&self) -> bool {
        matches!(self, Self::Right(_) | Self::Missing { optional: true, .. })
    }
}

/// Reads the files of a manifest that lie in a directory and compares their checksums, stamps or
/// no stamps. `only` names some of the files; none named are all.
///
/// # Errors
/// [`Error::UnknownFile`]; [`Error::Missing`] where there is no such directory; [`Error::Io`].
pub fn verify(
    manifest: &Manifest,
    directory: impl AsRef<Path>,
    only: &[String],
    tell: impl Fn(&Event<'_>),
) -> Result<Vec<Verdict>, Error> {
    let directory = directory.as_ref();
    if !directory.is_dir() {
        return Err(Error::Missing { path: directory.to_owned() });
    }
    let files = match only {
        [] => manifest.files.iter().collect(),
        names => wanted(manifest, names)?,
    };
    let verdict = |file: &crate::ManifestFile| {
        let path = directory.join(&file.name);
        let found = look(&path, file, false, |done, total| {
            tell(&Event::Hashing { file: &file.name, done, total });
            Ok(())
        })?;
        Ok(match found {
            Found::Nothing => Verdict::Missing { path, optional: file.optional },
            Found::Wrong(difference) => Verdict::Wrong { path, difference },
            Found::Right(sums, verified) => {
                Verdict::Right(FetchedFile::new(file, &path, Source::There, verified, sums))
            }
        })
    };
    files.into_iter().map(verdict).collect()
}
