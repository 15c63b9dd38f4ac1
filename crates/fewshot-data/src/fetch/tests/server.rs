//! An HTTP server for tests: 127.0.0.1, one thread, a bounded number of requests, gone when dropped.
//!
//! Does not know: downloads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// More requests than any test makes; beyond them connections are closed unanswered.
const MOST: usize = 100;

pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A request, and the connection to answer on.
pub(super) struct Request {
    /// How many requests there were before.
    pub(super) index: usize,
    /// Its lines in lower case.
    pub(super) head: String,
    stream: TcpStream,
}

impl Server {
    /// Answers each request by `answer`, one after the other.
    pub(super) fn new(answer: impl Fn(Request) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stopped, count) = (seen.clone(), stop.clone(), AtomicUsize::new(0));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let index = count.fetch_add(1, Ordering::SeqCst);
                let Some(request) = stream.ok().and_then(|stream| Request::read(stream, index)) else { continue };
                log.lock().unwrap().push(request.head.clone());
                if index < MOST {
                    answer(request);
                }
            }
        });
        Self { address, seen, stop, thread: Some(thread) }
    }

    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/a.bin", self.address)
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The lines of a request in lower case.
    pub(super) fn head(&self, index: usize) -> String {
        self.seen.lock().unwrap()[index].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread up.
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Request {
    fn read(stream: TcpStream, index: usize) -> Option<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().ok()?.take(64 << 10));
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                return Some(Self { index, head: head.to_lowercase(), stream });
            }
            head.push_str(&line);
        }
    }

    /// Sends these bytes and closes the connection.
    pub(super) fn send(mut self, head: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        self.stream.write_all(head.as_bytes()).and_then(|()| self.stream.write_all(body)).ok();
    }

    /// Sends these bytes, then nothing more for a while.
    pub(super) fn stall(mut self, head: &str, body: &[u8], wait: Duration) {
        let head = format!("HTTP/1.1 {head}\r\n\r\n");
        self.stream.write_all(head.as_bytes()).and_then(|()| self.stream.write_all(body)).ok();
        std::thread::sleep(wait);
    }

    /// The whole file.
    pub(super) fn whole(self, body: &[u8]) {
        self.send(&format!("200 OK\r\nContent-Length: {}", body.len()), body);
    }

    /// The first byte asked for, where a range is.
    pub(super) fn from(&self) -> Option<usize> {
        let line = self.head.lines().find_map(|line| line.strip_prefix("range: bytes="))?;
        line.trim_end_matches('-').parse().ok()
    }

    /// The file, or its rest from the byte asked for.
    pub(super) fn ranged(self, body: &[u8], tag: &str) {
        match self.from() {
            Some(from) => {
                let head = format!(
                    "206 Partial Content\r\nETag: {tag}\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}",
                    body.len() - from,
                    body.len() - 1,
                    body.len()
                );
                self.send(&head, &body[from..]);
            }
            None => self.send(&format!("200 OK\r\nETag: {tag}\r\nContent-Length: {}", body.len()), body),
        }
    }

    /// The beginning of the file, after which the connection is closed.
    pub(super) fn cut(self, body: &[u8], tag: &str, after: usize) {
        self.send(&format!("200 OK\r\nETag: {tag}\r\nContent-Length: {}", body.len()), &body[..after]);
    }
}
