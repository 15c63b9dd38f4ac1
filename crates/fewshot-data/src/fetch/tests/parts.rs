//! Parts of earlier runs: gone on with, begun anew, or removed.
//!
//! Does not know: mirrors that never send anything.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Leaves the first 40,000 bytes behind, from a server that closes after them.
fn interrupted(directory: &Path, server: &Server, lines: &str) -> String {
    let fetch = fetch(&manifest(&[server.url()], lines), directory).with_retries(0);
    fails(&fetch, directory, &[server])
}

/// Cuts the first answer short and sends what is asked for after that.
fn resuming() -> Server {
    Server::new(|request| match request.index {
        0 => request.cut(&body(), "\"v1\"", 40_000),
        _ => request.ranged(&body(), "\"v1\""),
    })
}

#[test]
fn an_interruption_is_told_and_the_next_run_goes_on() {
    let (directory, server) = (TempDir::new().unwrap(), resuming());
    let lines = format!("size = 100000\n{}", md5());
    let said = interrupted(directory.path(), &server, &lines);
    assert_eq!(
        said,
        "DIR/a.bin: cannot be downloaded: SERVER closed the connection early (1 try); 40000 of 100000 bytes are kept \
         in DIR/a.bin.part and the next run goes on from there"
    );
    assert_eq!(names(directory.path()), PART);
    succeeds(&fetch(&manifest(&[server.url()], &lines), directory.path()), directory.path());
    assert_eq!(server.requests(), 2);
    let head = server.head(1);
    assert!(head.contains("range: bytes=40000-\r\n") && head.contains("if-range: \"v1\"\r\n"), "{head}");
}

#[test]
fn one_run_goes_on_by_itself() {
    // Without any checksum, too: the version of the file is the same.
    let (directory, server) = (TempDir::new().unwrap(), resuming());
    succeeds(&fetch(&manifest(&[server.url()], ""), directory.path()), directory.path());
    assert_eq!((server.requests(), server.head(1).contains("range: bytes=40000-")), (2, true));
}

#[test]
fn without_checksum_and_version_nothing_is_kept() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| match request.index {
        0 => request.send("200 OK\r\nETag: W/\"weak\"\r\nContent-Length: 100000", &body()[..40_000]),
        _ => request.whole(&body()),
    });
    let said = interrupted(directory.path(), &server, "");
    assert_eq!(said, "DIR/a.bin: cannot be downloaded: SERVER closed the connection early (1 try)");
    assert_eq!(names(directory.path()), [""; 0]);
    succeeds(&fetch(&manifest(&[server.url()], ""), directory.path()), directory.path());
    assert!(!server.head(1).contains("range:"));
}

#[test]
fn a_server_that_ignores_ranges_begins_anew() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| match request.index {
        0 => request.cut(&body(), "\"v1\"", 40_000),
        _ => request.whole(&body()),
    });
    interrupted(directory.path(), &server, &md5());
    succeeds(&fetch(&manifest(&[server.url()], &md5()), directory.path()), directory.path());
    assert_eq!(server.requests(), 2);
}

#[test]
fn a_mixture_of_two_files_is_found_out_and_begun_anew() {
    // The mirror has another version by now and takes no notice of If-Range.
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| match request.index {
        0 => request.cut(&vec![7; 100_000], "\"v0\"", 40_000),
        _ => request.ranged(&body(), "\"v1\""),
    });
    interrupted(directory.path(), &server, &md5());
    succeeds(&fetch(&manifest(&[server.url()], &md5()), directory.path()), directory.path());
    assert_eq!(server.requests(), 3);
    assert!(!server.head(2).contains("range:"));
}

#[test]
fn another_mirror_goes_on_where_a_checksum_will_tell() {
    let directory = TempDir::new().unwrap();
    let (first, second) = (resuming(), Server::new(|request| request.ranged(&body(), "\"other\"")));
    interrupted(directory.path(), &first, &md5());
    succeeds(&fetch(&manifest(&[second.url()], &md5()), directory.path()), directory.path());
    assert!(second.head(0).contains("range: bytes=40000-") && !second.head(0).contains("if-range"));
    // Without one it does not.
    let (directory, third) = (TempDir::new().unwrap(), resuming());
    interrupted(directory.path(), &third, "");
    succeeds(&fetch(&manifest(&[second.url()], ""), directory.path()), directory.path());
    assert!(!second.head(1).contains("range:"));
}

#[test]
fn any_sequence_of_cuts_gives_the_same_file() {
    // Catches bytes lost or doubled where two pieces meet: pieces of 0 to 9,999 bytes, from a fixed sequence.
    for seed in 1..=5usize {
        let directory = TempDir::new().unwrap();
        let server = Server::new(move |request| {
            let piece = (request.index + seed).wrapping_mul(7_919 * seed) % 10_000;
            let from = request.from().unwrap_or(0);
            let (left, to) = (100_000 - from, (from + piece).min(100_000));
            let range = format!("206 Partial Content\r\nContent-Range: bytes {from}-99999/100000");
            let status = if from == 0 { "200 OK".to_owned() } else { range };
            request.send(&format!("{status}\r\nETag: \"v1\"\r\nContent-Length: {left}"), &body()[from..to]);
        });
        let mut fetch = fetch(&manifest(&[server.url()], &md5()), directory.path()).with_retries(90);
        fetch.settings.backoff = Duration::ZERO;
        succeeds(&fetch, directory.path());
        assert!(server.requests() > 10, "{}", server.requests());
    }
}

/// A part of this length as an interrupted run leaves it.
fn leave(directory: &Path, bytes: &[u8], url: &str) {
    fs::write(directory.join("a.bin.part"), bytes).unwrap();
    let origin = format!("{{\"schema_version\": 1, \"url\": \"{url}\", \"version\": \"\\\"v1\\\"\"}}");
    fs::write(directory.join(".a.bin.part.json"), origin).unwrap();
}

#[test]
fn a_part_longer_than_the_file_is_begun_anew() {
    // Told by the manifest, or by the server with 416.
    for lines in [format!("size = 100000\n{}", md5()), md5()] {
        let directory = TempDir::new().unwrap();
        let server = Server::new(|request| match request.from() {
            Some(from) if from >= 100_000 => {
                request.send("416 Range Not Satisfiable\r\nContent-Range: bytes */100000\r\nContent-Length: 0", b"")
            }
            _ => request.ranged(&body(), "\"v1\""),
        });
        leave(directory.path(), &vec![1; 120_000], &server.url());
        succeeds(&fetch(&manifest(&[server.url()], &lines), directory.path()), directory.path());
    }
}

#[test]
fn a_complete_part_is_verified_without_a_request() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| request.whole(&body()));
    leave(directory.path(), &body(), &server.url());
    let lines = format!("size = 100000\n{}", md5());
    succeeds(&fetch(&manifest(&[server.url()], &lines), directory.path()), directory.path());
    assert_eq!(server.requests(), 0);
    // One that is not the file is not believed.
    let directory = TempDir::new().unwrap();
    leave(directory.path(), &vec![1; 100_000], &server.url());
    succeeds(&fetch(&manifest(&[server.url()], &lines), directory.path()), directory.path());
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_range_that_was_not_asked_for_is_not_believed() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| match request.from() {
        Some(_) => {
            request.send("206 Partial Content\r\nContent-Range: bytes 0-9/100000\r\nContent-Length: 10", &[0; 10])
        }
        None => request.send("404 Not Found\r\nContent-Length: 0", b""),
    });
    leave(directory.path(), &body()[..500], &server.url());
    let said = fails(&fetch(&manifest(&[server.url()], &md5()), directory.path()), directory.path(), &[&server]);
    assert_eq!(said, "DIR/a.bin: cannot be downloaded: SERVER 404 Not Found");
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
fn a_server_that_always_closes_early_is_given_up() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| {
        let from = request.from().unwrap_or(0);
        let head = match from {
            0 => "200 OK\r\nETag: \"v1\"\r\nContent-Length: 100000".to_owned(),
            _ => format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-99999/100000\r\nContent-Length: {}",
                100_000 - from
            ),
        };
        request.send(&head, &body()[from..from + 1_000]);
    });
    let said = fails(&fetch(&manifest(&[server.url()], &md5()), directory.path()), directory.path(), &[&server]);
    assert_eq!(
        said,
        "DIR/a.bin: cannot be downloaded: SERVER closed the connection early (3 tries); 3000 bytes are kept in \
         DIR/a.bin.part and the next run goes on from there"
    );
    assert_eq!(names(directory.path()), PART);
}

#[test]
fn a_stalled_connection_is_given_up_and_what_came_is_kept() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| {
        request.stall("200 OK\r\nETag: \"v1\"\r\nContent-Length: 100000", &body()[..5_000], Duration::from_millis(700))
    });
    let fetch = hurried(fetch(&manifest(&[server.url()], &md5()), directory.path())).with_retries(0);
    let said = fails(&fetch, directory.path(), &[&server]);
    assert_eq!(
        said,
        "DIR/a.bin: cannot be downloaded: SERVER nothing came for 300ms (1 try); 5000 bytes are kept in \
         DIR/a.bin.part and the next run goes on from there"
    );
}

#[test]
fn a_chunked_body_that_ends_too_soon_is_an_interruption() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| match request.index {
        0 => request.send("200 OK\r\nETag: \"v1\"\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        _ => request.send("404 Not Found\r\nContent-Length: 0", b""),
    });
    let said = interrupted(directory.path(), &server, "size = 100000");
    assert!(said.contains("SERVER sent 5 of 100000 bytes (1 try); 5 of 100000 bytes are kept"), "{said}");
}

/// A disk with so much space, of which a download learns before it writes, or not.
struct Small {
    left: AtomicU64,
    tells: bool,
}

impl Disk for Small {
    fn free(&self, _: &Path) -> Option<u64> {
        self.tells.then(|| self.left.load(Ordering::SeqCst))
    }

    fn write(&self, file: &mut fs::File, bytes: &[u8]) -> io::Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        let fits = left.min(bytes.len() as u64);
        io::Write::write_all(file, &bytes[..fits as usize])?;
        self.left.store(left - fits, Ordering::SeqCst);
        match fits < bytes.len() as u64 {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

#[test]
fn too_little_space_is_told_before_anything_is_written() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| request.whole(&body()));
    let mut fetch = fetch(&manifest(&[server.url()], &md5()), directory.path());
    fetch.settings.disk = Box::new(Small { left: 99_999.into(), tells: true });
    let said = fails(&fetch, directory.path(), &[]);
    assert_eq!(said, "DIR/a.bin: 100000 bytes are still needed and the disk has 99999 left");
    assert_eq!(names(directory.path()), [""; 0]);
    fetch.settings.disk = Box::new(Small { left: 100_000.into(), tells: true });
    succeeds(&fetch, directory.path());
}

#[test]
fn a_full_disk_is_told_and_the_part_is_whole_as_far_as_it_goes() {
    let (directory, server) = (TempDir::new().unwrap(), Server::new(|request| request.ranged(&body(), "\"v1\"")));
    let mut fetch = fetch(&manifest(&[server.url()], &md5()), directory.path());
    fetch.settings.disk = Box::new(Small { left: 60_000.into(), tells: false });
    let said = fails(&fetch, directory.path(), &[]);
    assert!(
        said.starts_with("DIR/a.bin: the disk is full; ") && said.contains(" bytes are kept in DIR/a.bin.part"),
        "{said}"
    );
    assert_eq!(names(directory.path()), PART);
    let part = fs::read(directory.path().join("a.bin.part")).unwrap();
    assert!(part.len() <= 60_000 && part == body()[..part.len()], "{}", part.len());
    // With space again it goes on.
    fetch.settings.disk = Box::new(Small { left: 1_000_000.into(), tells: true });
    succeeds(&fetch, directory.path());
    assert!(server.head(1).contains("range: bytes="));
}

#[test]
fn cancelling_keeps_what_came() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| request.ranged(&body(), "\"v1\""));
    let cancel = Cancel::new();
    let inner = cancel.clone();
    let fetch = fetch(&manifest(&[server.url()], &md5()), directory.path()).with_cancel(&cancel);
    let stops = fetch.with_progress(move |event| {
        if matches!(event, Event::Receiving { done, .. } if *done > 0) {
            inner.cancel();
        }
    });
    let said = fails(&stops, directory.path(), &[]);
    assert!(said.starts_with("DIR/a.bin: cancelled; ") && said.ends_with("goes on from there"), "{said}");
    assert_eq!(names(directory.path()), PART);
    assert!(matches!(stops.run(), Err(Error::Cancelled { .. })), "it stays cancelled");
    succeeds(&super::fetch(&manifest(&[server.url()], &md5()), directory.path()), directory.path());
}
