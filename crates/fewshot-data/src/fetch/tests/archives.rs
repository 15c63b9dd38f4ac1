//! Unpacking: what is inside, and what must not be.
//!
//! Does not know: downloads.

use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;
use crate::Unpack;
use crate::fetch::unpack::{Archive, bound, directory, unpack};

/// A tar archive of these names with these bytes, written without any check.
fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o777);
        header.set_entry_type(if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, bytes) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Unpacks these bytes in a new directory, which is given back with what went wrong.
fn unpacked(bytes: &[u8], kind: Unpack) -> (TempDir, String) {
    unpacked_within(1 << 20, bytes, kind)
}

fn unpacked_within(most: u64, bytes: &[u8], kind: Unpack) -> (TempDir, String) {
    let place = TempDir::new().unwrap();
    let path = place.path().join("a.tar.gz");
    fs::write(&path, bytes).unwrap();
    let archive = Archive { path: &path, kind, into: &place.path().join("a"), disk: &disk::System, most };
    let problem = unpack(&archive, |_| Ok(())).map_or_else(|error| error.to_string(), |()| String::new());
    let problem = problem.replace(&format!("{}: cannot be unpacked: ", path.display()), "");
    (place, problem)
}

#[test]
fn members_are_unpacked_and_a_single_directory_is_opened() {
    let entries: [(&str, &[u8]); 4] = [("top/", b""), ("top/b/c", b"one"), ("./top/d", b"two"), ("top/empty/", b"")];
    for (bytes, kind) in
        [(tar(&entries), Unpack::Tar), (gz(&tar(&entries)), Unpack::TarGz), (zip(&entries[1..2]), Unpack::Zip)]
    {
        let (place, problem) = unpacked(&bytes, kind);
        assert_eq!(problem, "");
        assert_eq!(names(place.path()), ["a", "a.tar.gz"]);
        assert_eq!(fs::read(place.path().join("a/b/c")).unwrap(), b"one");
    }
    let (place, _) = unpacked(&tar(&[("b", b"one"), ("c/d", b"two")]), Unpack::Tar);
    assert_eq!(names(&place.path().join("a")), ["b", "c"]);
}

#[test]
fn nothing_leaves_the_directory() {
    for name in ["../b", "c/../../b", "/b", "c\\..\\b", "C:b"] {
        for (bytes, kind) in
            [(tar(&[("ok", b"1"), (name, b"2")]), Unpack::Tar), (zip(&[("ok", b"1"), (name, b"2")]), Unpack::Zip)]
        {
            let (place, problem) = unpacked(&bytes, kind);
            assert_eq!(problem, format!("entry {name:?} leads out of the directory"));
            assert_eq!(names(place.path()), ["a.tar.gz"]);
        }
    }
}

#[test]
fn links_and_devices_are_refused() {
    let kinds = [
        (tar::EntryType::Symlink, "a symbolic link"),
        (tar::EntryType::Link, "a hard link"),
        (tar::EntryType::Fifo, "a device"),
        (tar::EntryType::Char, "a device"),
    ];
    for (kind, what) in kinds {
        let mut header = tar::Header::new_gnu();
        header.set_path("b").unwrap();
        header.set_link_name("/etc/passwd").unwrap();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, &b""[..]).unwrap();
        let (place, problem) = unpacked(&builder.into_inner().unwrap(), Unpack::Tar);
        assert_eq!(problem, format!("entry \"b\" is {what}"));
        assert_eq!(names(place.path()), ["a.tar.gz"]);
    }
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("b", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    let (_, problem) = unpacked(&writer.finish().unwrap().into_inner(), Unpack::Zip);
    assert_eq!(problem, "entry \"b\" is a symbolic link");
}

#[test]
fn bombs_are_bounded() {
    // Three members of 10,000 bytes, each counted with 512 more.
    let zeros = vec![0; 10_000];
    let three = [("b", &*zeros), ("c", &*zeros), ("d", &*zeros)];
    for (bytes, kind) in [(gz(&tar(&three)), Unpack::TarGz), (zip(&three), Unpack::Zip)] {
        assert_eq!(unpacked_within(31_536, &bytes, kind).1, "");
        let (place, problem) = unpacked_within(31_535, &bytes, kind);
        assert_eq!(problem, "up to entry \"d\" its members have more than 31535 bytes");
        assert_eq!(names(place.path()), ["a.tar.gz"]);
    }
    // Members without bytes count too.
    let (_, problem) = unpacked_within(1_000, &tar(&[("b/", b""), ("c/", b"")]), Unpack::Tar);
    assert_eq!(problem, "up to entry \"c/\" its members have more than 1000 bytes");
    assert_eq!((bound(10), bound(1 << 20), bound(u64::MAX)), (64 << 20, 1_100 << 20, u64::MAX));
}

#[test]
fn what_is_damaged_or_double_is_told_and_leaves_nothing() {
    let (whole, short) = (gz(&tar(&[("b", &body())])), |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec());
    let (place, problem) = unpacked(&short(&whole), Unpack::TarGz);
    assert!(problem.starts_with("entry \"b\": ") || problem.contains("unexpected"), "{problem}");
    assert_eq!(names(place.path()), ["a.tar.gz"]);
    for (bytes, kind) in
        [(b"not an archive".to_vec(), Unpack::TarGz), (vec![7; 2_000], Unpack::Tar), (b"PK".to_vec(), Unpack::Zip)]
    {
        let (place, problem) = unpacked(&bytes, kind);
        assert!(!problem.is_empty() && problem.lines().count() == 1, "{problem}");
        assert_eq!(names(place.path()), ["a.tar.gz"]);
    }
    let (place, problem) = unpacked(&tar(&[("b", b"1"), ("b", b"2")]), Unpack::Tar);
    assert!(problem.starts_with("entry \"b\": ") && problem.contains("exists"), "{problem}");
    assert_eq!(names(place.path()), ["a.tar.gz"]);
}

#[test]
fn a_download_is_unpacked_once() {
    let place = TempDir::new().unwrap();
    let server = Server::new(|request| request.whole(&gz(&tar(&[("top/b", b"one")]))));
    let mut manifest = manifest(&[server.url()], "unpack = \"tar.gz\"");
    manifest.files[0].name = "a.tar.gz".to_owned();
    let files = fetch(&manifest, place.path()).run().unwrap();
    let into = place.path().join("a");
    assert_eq!(files[0].unpacked.as_deref(), Some(&*into));
    assert_eq!(names(place.path()), [".a.tar.gz.verified", "a", "a.tar.gz"]);
    fs::write(into.join("mine"), b"").unwrap();
    fetch(&manifest, place.path()).run().unwrap();
    assert_eq!(names(&into), ["b", "mine"]);
    assert_eq!(directory(Path::new("x/b.bin"), Unpack::Tar), Some("x/b.bin.unpacked".into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damaged_archives_never_leave_half_of_anything(kind in 0usize..3, at: prop::sample::Index, byte: u8, cut: bool) {
        let entries: [(&str, &[u8]); 3] = [("top/", b""), ("top/b", b"one"), ("top/c/d", b"two")];
        let (mut bytes, kind) = match kind {
            0 => (tar(&entries), Unpack::Tar),
            1 => (gz(&tar(&entries)), Unpack::TarGz),
            _ => (zip(&entries[1..]), Unpack::Zip),
        };
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(if cut { at } else { bytes.len() });
        let (place, problem) = unpacked(&bytes, kind);
        prop_assert!(problem.lines().count() <= 1);
        let left = names(place.path());
        let expected: &[&str] = if problem.is_empty() { &["a", "a.tar.gz"] } else { &["a.tar.gz"] };
        prop_assert_eq!(left, expected);
    }
}
