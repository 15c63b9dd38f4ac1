//! `fewshot fetch` and `fewshot verify` as a user runs them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

/// 2,000 bytes.
const BODY: &[u8] = {
    const TENS: [[u8; 10]; 200] = [*b"ten bytes."; 200];
    TENS.as_flattened()
};
const MD5: &str = "d89a003396fa13a3df232924d4159c99";

/// Sends `BODY` for `/a.bin`, half of it and then nothing for `/slow.bin`, its rest where a range is asked for, and 404 for
/// all else, to a bounded number of requests; ends when dropped.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        let thread = std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming().take(20).flatten() {
                let Some(path) = answer(&stream) else { continue };
                // The slow one stays open.
                open.extend((path == "/slow.bin").then_some(stream));
                if path == "/stop" {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, requests, thread: Some(thread) }
    }

    fn manifest(&self, directory: &Path, file: &str, md5: &str) -> String {
        let text = format!(
            "name = \"own\"\nlicence = \"CC0\"\ncitation = \"Nobody (2020)\"\n[[file]]\nname = \"a.bin\"\n\
             urls = [\"http://{}/{file}\"]\nmd5 = \"{md5}\"\n",
            self.address
        );
        let path = directory.join("own.toml");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn answer(mut stream: &TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).ok()?;
    let mut lines = BufReader::new(stream.take(64 << 10)).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut ranged = false;
    loop {
        let line = lines.next()?.ok()?.to_lowercase();
        ranged |= line == "range: bytes=1000-";
        if line.is_empty() {
            break;
        }
    }
    let (head, body) = match (path.as_str(), ranged) {
        ("/a.bin", _) => ("200 OK\r\nContent-Length: 2000\r\nConnection: close", BODY),
        ("/slow.bin", false) => ("200 OK\r\nContent-Length: 2000", &BODY[..1000]),
        ("/slow.bin", true) => {
            ("206 Partial Content\r\nContent-Range: bytes 1000-1999/2000\r\nContent-Length: 1000", &BODY[1000..])
        }
        _ => ("404 Not Found\r\nContent-Length: 0\r\nConnection: close", &b""[..]),
    };
    let head = format!("HTTP/1.1 {head}\r\n\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()?;
    Some(path)
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            stream.write_all(b"GET /stop HTTP/1.1\r\n\r\n").ok();
            stream.read_to_end(&mut Vec::new()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn fewshot(arguments: &[&str], home: &Path) -> Output {
    command(arguments, home).output().unwrap()
}

fn command(arguments: &[&str], home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fewshot"));
    for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command.args(arguments).env("FEWSHOT_DATA", home);
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_manifest_is_fetched_once_and_verified() {
    let (home, server) = (TempDir::new().unwrap(), Server::new());
    let manifest = server.manifest(home.path(), "a.bin", MD5);
    let json = home.path().join("out.json").display().to_string();
    let first = fewshot(&["fetch", &manifest, "--json", &json], home.path());
    assert_eq!(code(&first), 0, "{}", err(&first));
    let path = home.path().join("own").join("a.bin");
    assert_eq!(fs::read(&path).unwrap(), BODY);
    let lines = out(&first);
    let downloaded = format!(
        "{}  1.95 KiB, downloaded from http://{}/a.bin, checksum right\n{} in {}\nlicence: CC0\ncite: Nobody (2020)\n",
        path.display(),
        server.address,
        "own",
        path.parent().unwrap().display()
    );
    assert_eq!(lines, downloaded);
    assert_eq!(err(&first), format!("a.bin: from http://{}/a.bin\n", server.address));
    let document: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!((&document["schema_version"], &document["program"]), (&1.into(), &"fewshot fetch".into()));
    let file = &document["results"]["files"][0];
    assert_eq!((&file["md5"], &file["verified"]), (&MD5.into(), &"checksum".into()));
    // Standard output is the document alone.
    let again = fewshot(&["fetch", &manifest, "--json", "-"], home.path());
    let document: Value = serde_json::from_str(&out(&again)).unwrap();
    assert_eq!(document["results"]["files"][0]["source"], "there");
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    let verified = fewshot(&["verify", &manifest], home.path());
    assert_eq!((code(&verified), out(&verified)), (0, format!("{}  1.95 KiB, checksum right\n", path.display())));
}

#[test]
fn verify_finds_a_changed_file() {
    let (home, server) = (TempDir::new().unwrap(), Server::new());
    let manifest = server.manifest(home.path(), "a.bin", MD5);
    let directory = home.path().display().to_string();
    let missing = fewshot(&["verify", &manifest, &directory], home.path());
    assert_eq!((code(&missing), out(&missing)), (1, format!("{directory}/a.bin  not there\n")));
    fs::write(home.path().join("a.bin"), BODY.to_ascii_uppercase()).unwrap();
    let wrong = fewshot(&["verify", &manifest, &directory, "--json", "-"], home.path());
    assert_eq!(code(&wrong), 1);
    let document: Value = serde_json::from_str(&out(&wrong)).unwrap();
    assert_eq!(document["results"]["files"][0]["verdict"], "wrong");
    assert_eq!(document["results"]["bad"], 1);
    assert!(err(&wrong).ends_with("error: 1 of 1 files are missing or not what they should be\n"), "{}", err(&wrong));
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn a_killed_download_goes_on() {
    let (home, server) = (TempDir::new().unwrap(), Server::new());
    let manifest = server.manifest(home.path(), "slow.bin", MD5);
    let directory = home.path().join("own");
    let part = directory.join("a.bin.part");
    let mut child = command(&["fetch", &manifest], home.path()).spawn().unwrap();
    let came = |_: &u32| fs::metadata(&part).is_ok_and(|about| about.len() == 1000);
    let wait = |_| std::thread::sleep(std::time::Duration::from_millis(10));
    let seen = (0..1_000).inspect(|&i| wait(i)).any(|i| came(&i));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen, "no part came within 10 s");
    // The lock it held ended with it.
    let again = fewshot(&["fetch", &manifest], home.path());
    assert_eq!(code(&again), 0, "{}", err(&again));
    assert!(err(&again).starts_with("a.bin: going on after 1000 B from "), "{}", err(&again));
    assert_eq!(fs::read(directory.join("a.bin")).unwrap(), BODY);
    let mut names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".a.bin.verified", "a.bin"]);
}

#[test]
fn what_fails_is_code_1_and_told_in_the_document_too() {
    let (home, server) = (TempDir::new().unwrap(), Server::new());
    let manifest = server.manifest(home.path(), "b.bin", MD5);
    let failed = fewshot(&["fetch", &manifest, "--json", "-"], home.path());
    let message = format!(
        "{}: cannot be downloaded: {} 404 Not Found",
        home.path().join("own").join("a.bin").display(),
        server.address
    );
    assert_eq!(code(&failed), 1);
    assert!(err(&failed).ends_with(&format!("\nerror: {message}\n")), "{}", err(&failed));
    let document: Value = serde_json::from_str(&out(&failed)).unwrap();
    assert_eq!(document["results"]["error"], message.as_str());
    assert_eq!(fs::read_dir(home.path().join("own")).unwrap().count(), 0);
}

#[test]
fn files_elsewhere_are_used() {
    let (home, shared, server) = (TempDir::new().unwrap(), TempDir::new().unwrap(), Server::new());
    let manifest = server.manifest(home.path(), "b.bin", MD5);
    fs::write(shared.path().join("a.bin"), BODY).unwrap();
    let have = shared.path().display().to_string();
    let found = fewshot(&["fetch", &manifest, "--have", &have], home.path());
    assert_eq!(code(&found), 0, "{}", err(&found));
    assert!(
        out(&found).starts_with(&format!("{have}/a.bin  1.95 KiB, was there, checksum right\n")),
        "{}",
        out(&found)
    );
    let wrong = fewshot(&["fetch", &manifest, "--have", "/no/such"], home.path());
    assert_eq!((code(&wrong), err(&wrong)), (2, "error: --have /no/such: no such directory\n".to_owned()));
}

#[test]
fn mistakes_are_code_2() {
    let home = TempDir::new().unwrap();
    let bad = home.path().join("bad.toml");
    fs::write(&bad, "name = \"a\"\nlicence = 3\n").unwrap();
    let bad = bad.display().to_string();
    let nowhere = home.path().join("no.toml").display().to_string();
    for (arguments, says) in [
        (&["fetch"][..], "required"),
        (&["fetch", "omniglott"], "error: no dataset is called omniglott; known are omniglot, mini-imagenet"),
        (&["fetch", "omniglot", "--only", "x"], "error: omniglot has no file x; it has images_background.zip"),
        (&["fetch", &bad], &format!("error: {bad}:2: invalid type: integer `3`, expected a string")),
        (&["fetch", &nowhere], &format!("error: {nowhere}: no such file or directory")),
        (&["verify", "omniglot", &nowhere], &format!("error: {nowhere}: no such file or directory")),
        (&["fetch", "--list", "--into", "x"], "cannot be used with"),
        (&["look"], "unrecognized subcommand"),
    ] {
        let output = fewshot(arguments, home.path());
        assert_eq!(code(&output), 2, "{arguments:?} {}", err(&output));
        assert!(err(&output).contains(says), "{arguments:?} {}", err(&output));
    }
    // No directory was made for them.
    assert!(!home.path().join("omniglot").exists());
}

#[test]
fn the_list_names_every_dataset_and_what_is_got_by_hand() {
    let home = TempDir::new().unwrap();
    let list = fewshot(&["fetch", "--list", "--json", "-"], home.path());
    let document: Value = serde_json::from_str(&out(&list)).unwrap();
    let datasets = document["results"]["datasets"].as_array().unwrap();
    let names: Vec<_> = datasets.iter().map(|dataset| dataset["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["omniglot", "mini-imagenet", "tiered-imagenet", "cifar-fs", "fc100", "cifar-100"]);
    let one = fewshot(&["fetch", "--list", "tiered-imagenet"], home.path());
    assert!(out(&one).contains("tiered-imagenet.tar, optional, by hand: "), "{}", out(&one));
    assert!(out(&one).contains("cite: Ren, ") && !out(&one).contains("omniglot"), "{}", out(&one));
}

#[test]
fn help_explains() {
    let home = TempDir::new().unwrap();
    for (arguments, says) in [
        (&["--help"][..], "exit code 0"),
        (&["fetch", "--help"], "goes on where it stopped"),
        (&["verify", "--help"], "compare sizes and checksums"),
    ] {
        let output = fewshot(arguments, home.path());
        assert_eq!(code(&output), 0);
        let text = out(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(says), "{text}");
    }
}
