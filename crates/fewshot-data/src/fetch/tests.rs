//! Downloads from a server on this machine that misbehaves in each of the ways servers do.
//!
//! Every case looks at the message as a whole, and at what is left in the directory.
//!
//! Does not know: other machines.

mod archives;
mod mirrors;
mod parts;
mod places;
mod server;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use super::digest::{Digests, Sums};
use super::*;
use server::Server;

/// 100,000 bytes that do not repeat soon.
pub(super) fn body() -> Vec<u8> {
    (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(super) fn sums(bytes: &[u8]) -> Sums {
    let mut digests = Digests::default();
    digests.update(bytes);
    digests.finish()
}

/// A manifest of one file `a.bin` with these lines.
pub(super) fn manifest(urls: &[String], lines: &str) -> Manifest {
    let text =
        format!("name = \"t\"\nlicence = \"\"\ncitation = \"\"\n[[file]]\nname = \"a.bin\"\nurls = {urls:?}\n{lines}");
    Manifest::parse(&text, "t.toml").unwrap()
}

/// The line with the checksum of the body.
pub(super) fn md5() -> String {
    format!("md5 = \"{}\"", sums(&body()).md5)
}

/// Quick to give up: three tries, a millisecond between them.
pub(super) fn fetch(manifest: &Manifest, into: &Path) -> Fetch {
    let mut fetch = Fetch::new(manifest, into).with_retries(2);
    fetch = fetch.with_timeouts(Duration::from_secs(10), Duration::from_secs(10));
    fetch.settings.backoff = Duration::from_millis(1);
    fetch.settings.longest_wait = Duration::from_secs(1);
    fetch.settings.lock_patience = Duration::from_secs(20);
    fetch
}

/// The same with less time for bytes to come.
pub(super) fn hurried(fetch: Fetch) -> Fetch {
    fetch.with_timeouts(Duration::from_secs(10), Duration::from_millis(300))
}

/// The names in a directory, sorted, hidden ones too.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a complete download leaves.
pub(super) const WHOLE: [&str; 2] = [".a.bin.verified", "a.bin"];

/// What an interrupted one leaves.
pub(super) const PART: [&str; 2] = [".a.bin.part.json", "a.bin.part"];

/// Fetches `a.bin` as it should be.
pub(super) fn succeeds(fetch: &Fetch, directory: &Path) -> FetchedFile {
    let mut files = fetch.run().unwrap();
    assert_eq!(files.len(), 1);
    assert!(fs::read(directory.join("a.bin")).unwrap() == body(), "the file is another one");
    assert_eq!(names(directory), WHOLE);
    files.remove(0)
}

/// The message of a fetch that fails, with the directory as `DIR` and the servers as `SERVER`.
fn fails(fetch: &Fetch, directory: &Path, servers: &[&Server]) -> String {
    let message = fetch.run().unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    let message = message.replace(&directory.display().to_string(), "DIR");
    servers.iter().fold(message, |message, server| message.replace(&server.host(), "SERVER"))
}

#[test]
fn a_file_is_downloaded_verified_and_not_downloaded_again() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| request.whole(&body()));
    let manifest = manifest(&[server.url()], &md5());
    let fetched = succeeds(&fetch(&manifest, directory.path()), directory.path());
    assert_eq!(fetched.source, Source::Mirror(server.url()));
    assert_eq!((fetched.verified, fetched.bytes), (Verified::Checksum, 100_000));
    assert_eq!(fetched.sha256, sums(&body()).sha256);
    let again = succeeds(&fetch(&manifest, directory.path()), directory.path());
    assert_eq!((again.source, again.md5), (Source::There, fetched.md5));
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_stamp_spares_reading_and_counts_only_for_an_unchanged_file() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| request.whole(&body()));
    let manifest = manifest(&[server.url()], &md5());
    succeeds(&fetch(&manifest, directory.path()), directory.path());
    let read = Arc::new(Mutex::new(0));
    let counted = || {
        let read = read.clone();
        let count = move |event: &Event<'_>| *read.lock().unwrap() += u32::from(matches!(event, Event::Hashing { .. }));
        fetch(&manifest, directory.path()).with_progress(count)
    };
    succeeds(&counted(), directory.path());
    assert_eq!(*read.lock().unwrap(), 0);
    // The same bytes at another time are read again; other bytes of the same length are found out.
    fs::write(directory.path().join("a.bin"), body()).unwrap();
    succeeds(&counted(), directory.path());
    assert!(*read.lock().unwrap() > 0);
    let mut other = body();
    other[50_000] ^= 1;
    fs::write(directory.path().join("a.bin"), &other).unwrap();
    let message = fails(&counted(), directory.path(), &[]);
    let (found, expected) = (sums(&other).md5, sums(&body()).md5);
    let says = format!(
        "DIR/a.bin: not the file of the manifest: the md5 is {found}; expected {expected}; remove it, or let it be replaced"
    );
    assert_eq!(message, says);
    succeeds(&counted().with_replace(true), directory.path());
    assert_eq!(server.requests(), 2);
}

#[test]
fn progress_grows_to_the_total() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| request.whole(&body()));
    let manifest = manifest(&[server.url()], "size = 100000");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    let fetch = fetch(&manifest, directory.path()).with_progress(move |event| {
        if let Event::Receiving { done, total, .. } = event {
            note.lock().unwrap().push((*done, *total));
        }
    });
    assert_eq!(succeeds(&fetch, directory.path()).verified, Verified::Size);
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted() && seen.iter().all(|(_, total)| *total == Some(100_000)), "{seen:?}");
    assert_eq!(seen.last(), Some(&(100_000, Some(100_000))));
}

#[test]
fn a_checksum_published_elsewhere_is_compared_and_never_stops() {
    let server = Server::new(|request| request.whole(&body()));
    let verified = |md5: &str| {
        let directory = TempDir::new().unwrap();
        let manifest = manifest(&[server.url()], &format!("md5_elsewhere = \"{md5}\""));
        succeeds(&fetch(&manifest, directory.path()), directory.path()).verified
    };
    assert_eq!(verified(&sums(&body()).md5), Verified::ChecksumElsewhere);
    assert_eq!(verified("00000000000000000000000000000000"), Verified::UnlikeElsewhere);
}

#[test]
fn verify_says_what_is_there_and_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let text = format!(
        "name = \"t\"\nlicence = \"\"\ncitation = \"\"\n\
         [[file]]\nname = \"a.bin\"\nby_hand = \"ask\"\n{}\n[[file]]\nname = \"b.bin\"\nby_hand = \"ask\"\nsize = 3\n\
         [[file]]\nname = \"c.bin\"\nby_hand = \"ask\"\noptional = true\n",
        md5()
    );
    let manifest = Manifest::parse(&text, "t.toml").unwrap();
    fs::write(directory.path().join("a.bin"), body()).unwrap();
    fs::write(directory.path().join("b.bin"), b"four").unwrap();
    let verdicts = verify(&manifest, directory.path(), &[], |_| ()).unwrap();
    assert!(matches!(&verdicts[0], Verdict::Right(file) if file.verified == Verified::Checksum));
    assert!(matches!(&verdicts[1], Verdict::Wrong { difference, .. } if difference == "it has 4 bytes; expected 3"));
    assert!(matches!(&verdicts[2], Verdict::Missing { optional: true, .. }));
    assert_eq!(verdicts.iter().map(Verdict::is_fine).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(names(directory.path()), ["a.bin", "b.bin"]);
    let one = verify(&manifest, directory.path(), &["c.bin".to_owned()], |_| ()).unwrap();
    assert_eq!(one.len(), 1);
    assert!(verify(&manifest, directory.path().join("no"), &[], |_| ()).is_err());
}
