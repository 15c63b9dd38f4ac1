//! What mirrors do instead of sending the file.
//!
//! Does not know: parts of earlier runs.

use super::*;

/// A server of one answer, fetched from with this manifest line: the message, and nothing left.
fn message(lines: &str, answer: impl Fn(server::Request) + Send + 'static) -> String {
    let directory = TempDir::new().unwrap();
    let server = Server::new(answer);
    let message = fails(&fetch(&manifest(&[server.url()], lines), directory.path()), directory.path(), &[&server]);
    assert_eq!(names(directory.path()), [""; 0], "{message}");
    let begins = "DIR/a.bin: cannot be downloaded: SERVER ";
    message.strip_prefix(begins).unwrap_or_else(|| panic!("{message}")).to_owned()
}

#[test]
fn a_status_that_lasts_is_told_at_once() {
    assert_eq!(message("", |request| request.send("404 Not Found\r\nContent-Length: 0", b"")), "404 Not Found");
    assert_eq!(message("", |request| request.send("403 Forbidden\r\nContent-Length: 0", b"")), "403 Forbidden");
}

#[test]
fn every_mirror_is_asked_in_order_and_quoted() {
    let directory = TempDir::new().unwrap();
    let first = Server::new(|request| request.send("404 Not Found\r\nContent-Length: 0", b""));
    let second = Server::new(|request| request.send("410 Gone\r\nContent-Length: 0", b""));
    let third = Server::new(|request| request.whole(&body()));
    let both = manifest(&[first.url(), second.url()], &md5());
    let said = fails(&fetch(&both, directory.path()), directory.path(), &[&first, &second]);
    assert_eq!(said, "DIR/a.bin: cannot be downloaded: SERVER 404 Not Found; SERVER 410 Gone");
    assert_eq!(names(directory.path()), [""; 0]);
    assert_eq!((first.requests(), second.requests()), (1, 1));
    let all = manifest(&[first.url(), second.url(), third.url()], &md5());
    let fetched = succeeds(&fetch(&all, directory.path()), directory.path());
    assert_eq!(fetched.source, Source::Mirror(third.url()));
}

#[test]
fn a_busy_server_is_asked_again() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| match request.index {
        0 => request.send("503 Service Unavailable\r\nContent-Length: 0", b""),
        1 => request.send("429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0", b""),
        _ => request.whole(&body()),
    });
    succeeds(&fetch(&manifest(&[server.url()], &md5()), directory.path()), directory.path());
    assert_eq!(server.requests(), 3);
}

#[test]
fn retries_end() {
    let said = message("", |request| request.send("500 Internal Server Error\r\nContent-Length: 0", b""));
    assert_eq!(said, "500 Internal Server Error (3 tries)");
}

#[test]
fn retry_after_is_honoured_up_to_a_limit() {
    let answer = |request: server::Request| match request.index {
        0 => request.send("503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0", b""),
        _ => request.whole(&body()),
    };
    let (directory, server) = (TempDir::new().unwrap(), Server::new(answer));
    let start = std::time::Instant::now();
    succeeds(&fetch(&manifest(&[server.url()], &md5()), directory.path()), directory.path());
    assert!(start.elapsed() >= Duration::from_secs(1));
    let said = message("", |r| r.send("503 Service Unavailable\r\nRetry-After: 3600\r\nContent-Length: 0", b""));
    assert_eq!(said, "503 Service Unavailable, and asks to wait 3600s; at most 1s are waited");
}

#[test]
fn a_page_in_place_of_the_file_is_told_with_its_title() {
    let page = b"\r\n<!DOCTYPE html><html><head><title>Google Drive -\n Quota exceeded</title></head></html>";
    let html = move |request: server::Request| {
        request
            .send(&format!("200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}", page.len()), page)
    };
    let expected = "sent an HTML page titled \"Google Drive - Quota exceeded\" instead of the file";
    assert_eq!(message("", html), expected);
    // Also where it is not called one, and where its title is not ASCII or not there.
    assert_eq!(message("", move |request| request.whole(page)), expected);
    let bare = "<html><title>Übergroß</title>".as_bytes();
    assert_eq!(message("", move |r| r.whole(bare)), "sent an HTML page titled \"Übergroß\" instead of the file");
    assert_eq!(message("", |r| r.whole(b"<HTML>")), "sent an HTML page instead of the file");
}

#[test]
fn a_redirect_is_followed_and_a_loop_is_not() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|request| match request.index {
        0 => request.send("302 Found\r\nLocation: /there\r\nContent-Length: 0", b""),
        _ => request.whole(&body()),
    });
    succeeds(&fetch(&manifest(&[server.url()], &md5()), directory.path()), directory.path());
    assert!(server.head(1).starts_with("get /there "), "{}", server.head(1));
    let said = message("", |request| request.send("302 Found\r\nLocation: /a.bin\r\nContent-Length: 0", b""));
    assert_eq!(said, "redirects more than 10 times");
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let expected = "00000000000000000000000000000000";
    let said = message(&format!("md5 = \"{expected}\""), |request| request.whole(&body()));
    assert_eq!(said, format!("sent another file: the md5 is {}; expected {expected}", sums(&body()).md5));
    let expected = "0".repeat(64);
    let said = message(&format!("sha256 = \"{expected}\""), |request| request.whole(&body()));
    assert_eq!(said, format!("sent another file: the sha256 is {}; expected {expected}", sums(&body()).sha256));
}

#[test]
fn another_size_is_told_before_anything_is_written() {
    let said = message("size = 99999", |request| request.whole(&body()));
    assert_eq!(said, "has 100000 bytes; expected 99999");
}

#[test]
fn a_body_too_long_is_cut_off() {
    let chunked = |request: server::Request| {
        let mut sent = Vec::new();
        for chunk in body().chunks(10_000) {
            sent.extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
        }
        sent.extend(b"0\r\n\r\n");
        request.send("200 OK\r\nTransfer-Encoding: chunked", &sent);
    };
    assert_eq!(message("size = 50000", chunked), "sent more than the 50000 bytes of the file");
    let (directory, server) = (TempDir::new().unwrap(), Server::new(chunked));
    succeeds(&fetch(&manifest(&[server.url()], "size = 100000"), directory.path()), directory.path());
}

#[test]
fn no_server_is_told() {
    let directory = TempDir::new().unwrap();
    let server = Server::new(|_| ());
    let (url, host) = (server.url(), server.host());
    drop(server);
    let said = fails(&fetch(&manifest(&[url], ""), directory.path()), directory.path(), &[]);
    assert_eq!(said, format!("DIR/a.bin: cannot be downloaded: {host} refuses connections"));
    let said = message("", |_| ());
    assert_eq!(said, "closed the connection early (3 tries)");
    let server = Server::new(|r| r.stall("200 OK\r\nContent-Length: 9", b"", Duration::from_millis(600)));
    let said = fails(&hurried(fetch(&manifest(&[server.url()], ""), directory.path())), directory.path(), &[&server]);
    assert_eq!(said, "DIR/a.bin: cannot be downloaded: SERVER nothing came for 300ms (3 tries)");
}

#[test]
fn nonsense_is_told_in_one_line() {
    let said = message("", |request| request.send("what\r\n\r\nis this", b"\r\n\r\n"));
    assert!(said.contains("tries") || said.contains("http") || said.contains("protocol"), "{said}");
}

#[test]
fn a_body_that_cannot_be_known_to_be_whole_is_refused() {
    // Without length and chunks it ends where the connection does.
    let plain = |request: server::Request| request.send("200 OK", &body());
    let expected = "says nowhere how long the file is, and the manifest has neither size nor checksum";
    assert_eq!(message("", plain), expected);
    for lines in [md5(), "size = 100000".to_owned()] {
        let (directory, server) = (TempDir::new().unwrap(), Server::new(plain));
        succeeds(&fetch(&manifest(&[server.url()], &lines), directory.path()), directory.path());
    }
    assert_eq!(message("", |request| request.whole(b"")), "sent nothing");
    let zipped =
        |request: server::Request| request.send("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2", b"..");
    assert_eq!(message("", zipped), "sent the file encoded as \"gzip\", which was not asked for");
}
