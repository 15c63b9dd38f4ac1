//! Files by name, whether they lie in a directory or in a zip archive.
//!
//! Does not know: what the names mean.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::Archive;
use crate::forms::names::is_image_name;
use crate::forms::names::split_of;
use crate::index::Encoded;
use crate::{Error, Limits};

/// Folders below folders below folders: deeper than any dataset, and an end to links in circles.
const DEEPEST: usize = 16;

/// The files of a directory or an archive, sorted by name.
#[derive(Debug)]
pub(crate) struct Tree {
    pub root: PathBuf,
    pub files: Vec<TreeFile>,
}

/// One file of a tree.
#[derive(Clone, Debug)]
pub(crate) struct TreeFile {
    /// The name below the root, with `/` between folders.
    pub name: String,
    pub place: Encoded,
}

impl TreeFile {
    /// The folder the file is in, empty at the top, and its name there.
    pub fn split(&self) -> (&str, &str) {
        self.name.rsplit_once('/').unwrap_or(("", &self.name))
    }

    /// The ending of the name in lower case, without the dot.
    pub fn ending(&self) -> String {
        let (_, file) = self.split();
        file.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase())
    }

    /// Whether the name ends as image files do. A tree of a hundred thousand files is not opened file by
    /// file to find out; a file that is none after all is an error when it is decoded.
    pub fn is_image(&self) -> bool {
        is_image_name(&self.split().1.to_ascii_lowercase())
    }
}

impl Tree {
    /// The files below a directory. Hidden ones, and what a Macintosh adds, are passed over; links are followed.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Malformed`] for a name that is not UTF-8, or folders deeper than
    /// 16.
    pub fn walk(root: &Path) -> Result<Self, Error> {
        let mut files = Vec::new();
        let mut folders = vec![(root.to_owned(), String::new(), 0)];
        while let Some((folder, prefix, depth)) = folders.pop() {
            let failed = |cause| Error::reading(&folder, cause);
            if depth > DEEPEST {
                return Err(Error::malformed(&folder, "folder", format!("more than {DEEPEST} folders deep")));
            }
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    return Err(Error::malformed(&folder, format!("file {name:?}"), "its name is not UTF-8"));
                };
                if name.starts_with('.') || name == "__MACOSX" {
                    continue;
                }
                let (path, name) = (entry.path(), format!("{prefix}{name}"));
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
                    folders.push((path, format!("{name}/"), depth + 1));
                } else if kind.is_file() || (kind.is_symlink() && path.is_file()) {
                    // Not pipes and devices, which to read may take forever.
                    files.push(TreeFile { name, place: Encoded::File(path) });
                }
            }
        }
        Ok(Self::new(root, files))
    }

    /// The files of an archive.
    pub fn of(archive: &Arc<Archive>) -> Self {
        let file = |(entry, name): (usize, &str)| TreeFile {
            // Some programs write the separators of Windows, which the format does not allow.
            name: name.replace('\\', "/").trim_start_matches("./").trim_start_matches('/').to_owned(),
            place: Encoded::Entry(archive.clone(), entry),
        };
        Self::new(archive.path(), archive.files().map(file).collect())
    }

    fn new(root: &Path, mut files: Vec<TreeFile>) -> Self {
        // Names become those of classes and stand in messages of one line; files are found by their place.
        for file in files.iter_mut().filter(|file| file.name.contains(char::is_control)) {
            file.name = file.name.replace(char::is_control, "\u{fffd}");
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Self { root: root.to_owned(), files }
    }

    /// The tree without the folders that hold all of it, as most archives begin with one. The last folder of a file
    /// stays, since it may be a class, and so does one that is called like a split.
    pub fn unwrapped(mut self) -> Self {
        while let Some(top) = self.only_top() {
            let skip = top.len() + 1;
            self.files.iter_mut().for_each(|file| drop(file.name.drain(..skip)));
        }
        self
    }

    fn only_top(&self) -> Option<String> {
        let tops: BTreeSet<_> = self.files.iter().map(|file| file.name.split_once('/')).collect();
        let (top, _) = (*tops.first()?)?;
        let inside = |file: &TreeFile| file.name.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'));
        let deeper = self.files.iter().any(|file| file.name.matches('/').count() > 1);
        let split = split_of(top).is_some();
        (deeper && !split && self.files.iter().all(inside)).then(|| top.to_owned())
    }

    /// The files in this folder itself, not below it.
    pub fn files_in<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a TreeFile> {
        self.files.iter().filter(move |file| file.split().0 == folder)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// Those of reading; [`Error::Malformed`] for what is not UTF-8, [`Error::TooLarge`].
    pub fn text(&self, file: &TreeFile, limits: Limits) -> Result<String, Error> {
        let bytes = file.place.read(limits)?;
        let bytes: &[u8] = &bytes;
        // Spreadsheet programs begin files with a byte order mark.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes);
        text.map(str::to_owned).map_err(|e| Error::malformed(&self.root, &file.name, format!("not text: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: &[&str]) -> Tree {
        let place = || Encoded::File(PathBuf::new());
        let file = |&name: &&str| TreeFile { name: name.to_owned(), place: place() };
        Tree::new(Path::new("root"), names.iter().map(file).collect())
    }

    fn names(tree: &Tree) -> Vec<&str> {
        tree.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn common_folders_fall_away_and_class_folders_stay() {
        assert_eq!(names(&tree(&["a/b/cat/1.png", "a/b/dog/1.png"]).unwrapped()), ["cat/1.png", "dog/1.png"]);
        assert_eq!(names(&tree(&["cat/1.png", "cat/2.png"]).unwrapped()), ["cat/1.png", "cat/2.png"]);
        assert_eq!(names(&tree(&["a/train/cat/1.png", "a/train/dog/1.png"]).unwrapped())[0], "train/cat/1.png");
        assert_eq!(names(&tree(&["a/cat/1.png", "b.txt"]).unwrapped()), ["a/cat/1.png", "b.txt"]);
        assert_eq!(names(&tree(&["ab/cat/1.png", "a/cat/1.png"]).unwrapped()), ["a/cat/1.png", "ab/cat/1.png"]);
    }

    #[test]
    fn names_cannot_break_a_line() {
        assert_eq!(names(&tree(&["a\nb/1\r.png"])), ["a\u{fffd}b/1\u{fffd}.png"]);
    }

    #[test]
    fn directories_are_walked_in_order_without_hidden_files() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b/2.png", "b/1.png", "a/x/3.PNG", ".hidden/4.png", "b/.DS_Store", "__MACOSX/5.png"] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let tree = Tree::walk(directory.path()).unwrap();
        assert_eq!(names(&tree), ["a/x/3.PNG", "b/1.png", "b/2.png"]);
        assert!(tree.files.iter().all(TreeFile::is_image));
        assert_eq!(tree.text(&tree.files[1], Limits::default()).unwrap(), "b/1.png");
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(directory.path(), directory.path().join("again")).unwrap();
        let error = Tree::walk(directory.path()).unwrap_err();
        assert!(error.to_string().ends_with("more than 16 folders deep"), "{error}");
    }
}
