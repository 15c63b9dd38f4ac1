//! From a zip archive to the compressed drawings in it, sorted.
//!
//! Does not know: pixels.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use zip::ZipArchive;

use crate::Error;

/// A drawing of 105 x 105 bits has 1.5 kB; whatever is longer than this is not one.
const LONGEST_ENTRY: u64 = 1 << 20;

/// One PNG file of an archive and what its name says.
#[derive(Debug)]
pub(super) struct Drawing {
    /// What stands before the alphabet, such as `images_background`.
    pub set: String,
    /// `Alphabet/characterNN`.
    pub class: String,
    pub drawer: u32,
    pub entry: String,
    pub png: Vec<u8>,
}

/// The drawings of an archive, sorted by set, class and drawer; at least one.
pub(super) fn read(path: &Path) -> Result<Vec<Drawing>, Error> {
    let mut archive = open(path)?;
    let mut drawings = Vec::new();
    let mut stray = None;
    for index in 0..archive.len() {
        let Some(entry) = archive.name_for_index(index).map(str::to_owned) else {
            continue;
        };
        if is_noise(&entry) || !entry.ends_with(".png") {
            continue;
        }
        match parse(&entry) {
            Some((set, class, drawer)) => {
                let png = read_entry(path, &mut archive, index, &entry)?;
                drawings.push(Drawing { set, class, drawer, entry, png });
            }
            None => stray = stray.or(Some(entry)),
        }
    }
    if drawings.is_empty() {
        return Err(not_omniglot(path, &archive));
    }
    if let Some(entry) = stray {
        let path = path.to_owned();
        return Err(Error::UnexpectedEntry { path, entry });
    }
    drawings.sort_by(|a, b| key(a).cmp(&key(b)));
    check_drawers(path, &drawings)?;
    Ok(drawings)
}

fn key(drawing: &Drawing) -> (&str, &str, u32, &str) {
    let Drawing { set, class, drawer, entry, .. } = drawing;
    (set, class, *drawer, entry)
}

fn open(path: &Path) -> Result<ZipArchive<BufReader<File>>, Error> {
    let io_error = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), action: "read", cause },
    };
    let mut file = File::open(path).map_err(io_error)?;
    let mut start = Vec::new();
    file.by_ref().take(16).read_to_end(&mut start).map_err(io_error)?;
    if !start.starts_with(b"PK") {
        // Most often this is the page of a server that refused the download.
        let found = match start.is_empty() {
            true => "nothing (0 bytes)".to_owned(),
            false => format!("{:?}", start.escape_ascii().to_string()),
        };
        let path = path.to_owned();
        return Err(Error::NotAZip { path, found });
    }
    file.rewind().map_err(io_error)?;
    ZipArchive::new(BufReader::new(file))
        .map_err(|error| Error::DamagedArchive { path: path.to_owned(), cause: one_line(&error) })
}

fn read_entry(
    path: &Path,
    archive: &mut ZipArchive<BufReader<File>>,
    index: usize,
    entry: &str,
) -> Result<Vec<u8>, Error> {
    let damaged = |cause: String| Error::DamagedEntry { path: path.to_owned(), entry: entry.to_owned(), cause };
    let file = archive.by_index(index).map_err(|e| damaged(one_line(&e)))?;
    let mut png = Vec::new();
    let mut file = file.take(LONGEST_ENTRY + 1);
    file.read_to_end(&mut png).map_err(|e| damaged(one_line(&e)))?;
    if png.len() as u64 > LONGEST_ENTRY {
        return Err(damaged(format!("longer than {LONGEST_ENTRY} bytes")));
    }
    Ok(png)
}

/// What a Macintosh adds to an archive.
fn is_noise(entry: &str) -> bool {
    let noise = |part: &str| part == "__MACOSX" || part == ".DS_Store" || part.starts_with("._");
    entry.split('/').any(noise)
}

/// `<set>/<Alphabet>/characterNN/GGGG_DD.png` as set, class and drawer.
fn parse(entry: &str) -> Option<(String, String, u32)> {
    let (folder, file) = entry.rsplit_once('/')?;
    let (folder, character) = folder.rsplit_once('/')?;
    let (set, alphabet) = folder.rsplit_once('/').unwrap_or(("", folder));
    let (global, drawer) = file.strip_suffix(".png")?.split_once('_')?;
    let number = character.strip_prefix("character")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if alphabet.is_empty() || !digits(number) || !digits(global) || !digits(drawer) {
        return None;
    }
    let class = format!("{alphabet}/{character}");
    Some((set.to_owned(), class, drawer.parse().ok()?))
}

fn check_drawers(path: &Path, sorted: &[Drawing]) -> Result<(), Error> {
    let clash = |pair: &&[Drawing]| {
        let [a, b] = pair else { return false };
        (&a.set, &a.class, a.drawer) == (&b.set, &b.class, b.drawer)
    };
    match sorted.windows(2).find(clash) {
        Some([a, b]) => Err(Error::DuplicateImage {
            path: path.to_owned(),
            class: a.class.clone(),
            drawer: a.drawer,
            first: a.entry.clone(),
            second: b.entry.clone(),
        }),
        _ => Ok(()),
    }
}

fn not_omniglot(path: &Path, archive: &ZipArchive<BufReader<File>>) -> Error {
    // A file says more than the folder it is in.
    let files = || archive.file_names().filter(|name| !is_noise(name));
    let example = files().find(|name| !name.ends_with('/')).or_else(|| files().next());
    Error::NotOmniglot {
        path: path.to_owned(),
        found: example.map_or("an empty archive".to_owned(), |name| format!("{name:?}")),
    }
}

/// An error's message without line breaks.
pub(super) fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_set_class_and_drawer() {
        let entry = "images_background/Malay_(Jawi_-_Arabic)/character03/0512_07.png";
        let (set, class, drawer) = parse(entry).unwrap();
        assert_eq!(set, "images_background");
        assert_eq!((class.as_str(), drawer), ("Malay_(Jawi_-_Arabic)/character03", 7));
        let (set, class, _) = parse("Greek/character01/0394_01.png").unwrap();
        assert_eq!((set.as_str(), class.as_str()), ("", "Greek/character01"));
    }

    #[test]
    fn other_names_are_no_drawings() {
        for entry in [
            "run01/training/class01.png",
            "images/Greek/character01/0394_01 (1).png",
            "images/Greek/character/0394_01.png",
            "images/Greek/letter01/0394_01.png",
            "images/Greek/character01/0394_.png",
            "character01/0394_01.png",
            "/character01/0394_01.png",
        ] {
            assert!(parse(entry).is_none(), "{entry}");
        }
    }
}
