//! Where files lie and are put: other directories, links, directories in the way, two at once.
//!
//! Does not know: what servers do.

use super::*;

fn by_hand() -> Manifest {
    let text = format!(
        "name = \"t\"\nlicence = \"\"\ncitation = \"\"\n[[file]]\nname = \"a.bin\"\nby_hand = \"fill in the form\"\n{}",
        md5()
    );
    Manifest::parse(&text, "t.toml").unwrap()
}

#[test]
fn a_file_elsewhere_is_used_where_it_lies() {
    let (directory, shared) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let below = shared.path().join("t");
    fs::create_dir(&below).unwrap();
    for place in [shared.path(), &below] {
        fs::write(place.join("a.bin"), body()).unwrap();
        let files = fetch(&by_hand(), directory.path()).with_have([shared.path()]).run().unwrap();
        assert_eq!((&files[0].source, &files[0].path), (&Source::Elsewhere, &place.join("a.bin")));
        assert_eq!(names(directory.path()), [""; 0]);
        fs::remove_file(place.join("a.bin")).unwrap();
    }
    // No directory is made for nothing.
    fs::write(shared.path().join("a.bin"), body()).unwrap();
    let none = directory.path().join("none");
    fetch(&by_hand(), &none).with_have([shared.path()]).run().unwrap();
    assert!(!none.exists());
}

#[test]
fn a_wrong_file_elsewhere_is_told_and_passed_over() {
    let (directory, shared) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(shared.path().join("a.bin"), b"other").unwrap();
    let server = Server::new(|request| request.whole(&body()));
    let told = Arc::new(Mutex::new(String::new()));
    let note = told.clone();
    let fetch = fetch(&manifest(&[server.url()], "size = 100000"), directory.path()).with_have([shared.path()]);
    succeeds(
        &fetch.with_progress(move |event| {
            if let Event::Skipped { why, .. } = event {
                *note.lock().unwrap() = why.to_string();
            }
        }),
        directory.path(),
    );
    assert_eq!(*told.lock().unwrap(), "it has 5 bytes; expected 100000");
}

#[test]
fn what_no_program_can_fetch_is_told_after_all_else_was_fetched() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| request.whole(&body()));
    let mut manifest = manifest(&[server.url()], &md5());
    let mut hand = by_hand().files.remove(0);
    hand.name = "b.bin".to_owned();
    manifest.files.insert(0, hand);
    let said = fails(&fetch(&manifest, directory.path()), directory.path(), &[]);
    assert_eq!(said, "DIR/b.bin: no program can fetch this file; fill in the form, and put it there");
    assert_eq!(names(directory.path()), WHOLE);
    fs::write(directory.path().join("b.bin"), body()).unwrap();
    assert_eq!(fetch(&manifest, directory.path()).run().unwrap().len(), 2);
    manifest.files[0].optional = true;
    fs::remove_file(directory.path().join("b.bin")).unwrap();
    assert_eq!(fetch(&manifest, directory.path()).run().unwrap().len(), 1);
    assert!(fetch(&manifest, directory.path()).with_only(["b.bin"]).run().is_err());
    let said = fails(&fetch(&manifest, directory.path()).with_only(["c"]), directory.path(), &[]);
    assert_eq!(said, "t has no file c; it has b.bin, a.bin");
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_written_is_told() {
    // Nobody can make directories there, the superuser included.
    let server = Server::new(|request| request.whole(&body()));
    let said = fails(&fetch(&manifest(&[server.url()], &md5()), Path::new("/proc/none")), Path::new("/proc"), &[]);
    assert!(said.starts_with("DIR/none: cannot create: "), "{said}");
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_directory_in_the_way_is_told() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| request.whole(&body()));
    fs::create_dir(directory.path().join("a.bin")).unwrap();
    let fetch_it = fetch(&manifest(&[server.url()], &md5()), directory.path()).with_replace(true);
    let said = fails(&fetch_it, directory.path(), &[]);
    let expected = "DIR/a.bin: not the file of the manifest: it is a directory; remove it, or let it be replaced";
    assert_eq!(said, expected);
    assert_eq!(names(directory.path()), ["a.bin"]);
    // A file where the directory should be made.
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let said = fails(&fetch(&manifest(&[server.url()], &md5()), &file), directory.path(), &[]);
    assert!(said.starts_with("DIR/file/a.bin: cannot read: "), "{said}");
    let said = fails(&fetch(&manifest(&[server.url()], &md5()), Path::new("/dev/null/d")), directory.path(), &[]);
    assert!(said.starts_with("/dev/null/d"), "{said}");
    assert_eq!(server.requests(), 0);
}

#[cfg(unix)]
#[test]
fn links_are_followed_to_files_and_never_written_through() {
    use std::os::unix::fs::symlink;
    let (directory, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let server = Server::new(|request| request.whole(&body()));
    let manifest = manifest(&[server.url()], &md5());
    let (link, victim) = (directory.path().join("a.bin"), other.path().join("victim"));
    symlink(&victim, &link).unwrap();
    let said = fails(&fetch(&manifest, directory.path()).with_replace(true), directory.path(), &[]);
    assert!(
        said.starts_with("DIR/a.bin: not the file of the manifest: it is a symbolic link that leads nowhere"),
        "{said}"
    );
    fs::write(&victim, b"precious").unwrap();
    let said = fails(&fetch(&manifest, directory.path()).with_replace(true), directory.path(), &[]);
    assert!(said.starts_with("DIR/a.bin: not the file of the manifest: the md5 is"), "{said}");
    fs::write(&victim, body()).unwrap();
    assert_eq!(fetch(&manifest, directory.path()).run().unwrap()[0].source, Source::There);
    // A link in place of the part or of the lock.
    for (name, action) in [("a.bin.part", "create"), (".a.bin.lock", "lock")] {
        let directory = TempDir::new().unwrap();
        fs::write(&victim, b"precious").unwrap();
        symlink(&victim, directory.path().join(name)).unwrap();
        let said = fails(&fetch(&manifest, directory.path()), directory.path(), &[]);
        assert_eq!(said, format!("DIR/{name}: cannot {action}: it is a symbolic link; remove it"));
        assert_eq!(
            (names(directory.path()), fs::read(&victim).unwrap()),
            (vec![name.to_owned()], b"precious".to_vec())
        );
    }
}

#[test]
fn two_at_once_download_once() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| {
        std::thread::sleep(Duration::from_millis(150));
        request.whole(&body());
    });
    let manifest = manifest(&[server.url()], &md5());
    std::thread::scope(|scope| {
        let run = || scope.spawn(|| fetch(&manifest, directory.path()).run().unwrap().remove(0));
        let threads = [run(), run(), run(), run()];
        let mirrors = threads.map(|thread| thread.join().unwrap().source).map(|source| source != Source::There);
        assert_eq!(mirrors.iter().filter(|&&mirror| mirror).count(), 1);
    });
    assert_eq!(server.requests(), 1);
    assert_eq!(names(directory.path()), WHOLE);
}

#[test]
fn a_lock_of_a_dead_process_blocks_nobody_and_a_live_one_only_for_a_while() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| request.whole(&body()));
    let manifest = manifest(&[server.url()], &md5());
    let path = directory.path().join(".a.bin.lock");
    fs::write(&path, b"").unwrap();
    let held = fs::File::open(&path).unwrap();
    held.lock().unwrap();
    let mut waits = fetch(&manifest, directory.path());
    waits.settings.lock_patience = Duration::ZERO;
    let said = fails(&waits, directory.path(), &[]);
    assert_eq!(said, "DIR/a.bin: another process holds DIR/.a.bin.lock and did not let go within 0 s");
    drop(held);
    assert!(path.exists());
    succeeds(&waits, directory.path());
}
