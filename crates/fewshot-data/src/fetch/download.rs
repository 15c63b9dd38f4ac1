//! One file from its mirrors: which is asked when, and when to give up.
//!
//! Does not know: how requests are made, other files.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use super::Fetch;
use super::digest::{CHUNK, Sums, Verified, check};
use super::disk::is_full;
use super::event::Event;
use super::http::{self, Answer, Request, Trouble};
use super::part::{Open, Origin, Part};
use crate::{Error, ManifestFile};

/// After so much came the tries are counted anew.
const PROGRESS: u64 = 16 << 20;

/// The longest wait between two tries that a server did not ask for.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// A file to download.
pub(super) struct Job<'a> {
    pub(super) fetch: &'a Fetch,
    pub(super) file: &'a ManifestFile,
    pub(super) target: PathBuf,
    /// The part between two tries, so that it is not read again for its sums.
    pub(super) held: RefCell<Option<Open>>,
}

/// Why there is no file: for good, or from this mirror.
enum Failure {
    Final(Error),
    Mirror(Trouble),
}

/// What came, and from where.
pub(super) struct Downloaded {
    pub(super) url: String,
    pub(super) sums: Sums,
    pub(super) verified: Verified,
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Mirror(trouble)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Job<'_> {
    /// Downloads the file. Its lock is held, and it is not there yet.
    pub(super) fn run(&self) -> Result<Downloaded, Error> {
        let mut attempts = Vec::new();
        for url in &self.file.urls {
            match self.mirror(url) {
                Ok((sums, verified)) => return Ok(Downloaded { url: url.clone(), sums, verified }),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Mirror(Trouble::Passing(why, _) | Trouble::Stale(why) | Trouble::Lasting(why))) => {
                    self.fetch.tell(&Event::GaveUp { file: &self.file.name, url, why: &why });
                    attempts.push(format!("{} {why}", host(url)));
                }
            }
        }
        let (path, attempts) = (self.target.clone(), attempts.join("; "));
        Err(Error::Download { path, attempts, kept: self.kept() })
    }

    /// Asks one mirror until it has sent the file, or will not.
    fn mirror(&self, url: &str) -> Result<(Sums, Verified), Failure> {
        let (mut tries, mut afresh) = (0, false);
        loop {
            let before = self.part().bytes();
            let (why, wait) = match self.once(url) {
                // A part that did not fit is dropped, and the file comes from the start: once.
                Err(Failure::Mirror(Trouble::Stale(why))) => {
                    self.discard();
                    if afresh {
                        return Err(Trouble::Lasting(why).into());
                    }
                    afresh = true;
                    (why, Some(Duration::ZERO))
                }
                Err(Failure::Mirror(Trouble::Passing(why, wait))) => (why, wait),
                other => return other,
            };
            if self.part().bytes() >= before.saturating_add(PROGRESS) {
                tries = 0;
            }
            tries += 1;
            let most = self.fetch.settings.retries;
            if tries > most {
                let tries = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
                return Err(Trouble::Lasting(format!("{why} ({tries})")).into());
            }
            let wait = self.patience(&why, wait, tries)?;
            self.fetch.tell(&Event::Retrying { file: &self.file.name, url, why: &why, wait });
            self.sleep(wait)?;
        }
    }

    /// How long to wait before the next try.
    fn patience(&self, why: &str, asked: Option<Duration>, tries: u32) -> Result<Duration, Trouble> {
        let longest = self.fetch.settings.longest_wait;
        match asked {
            Some(wait) if wait > longest => {
                Err(Trouble::Lasting(format!("{why}, and asks to wait {wait:?}; at most {longest:?} are waited")))
            }
            Some(wait) => Ok(wait),
            None => {
                let doubled = 1u32.checked_shl(tries - 1).unwrap_or(u32::MAX);
                Ok(self.fetch.settings.backoff.saturating_mul(doubled).min(LONGEST_BACKOFF))
            }
        }
    }

    fn sleep(&self, wait: Duration) -> Result<(), Error> {
        const SLICE: Duration = Duration::from_millis(50);
        let end = std::time::Instant::now() + wait;
        loop {
            self.stop()?;
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(SLICE));
        }
    }

    /// One request, its body, and the check of the whole.
    fn once(&self, url: &str) -> Result<(Sums, Verified), Failure> {
        self.stop()?;
        let origin = self.usable(url);
        let part = origin.is_some().then(|| self.resume()).transpose()?;
        let from = part.as_ref().map_or(0, Open::bytes);
        if let Some(part) = part {
            if Some(from) == self.file.size {
                return self.finish(part, true);
            }
            self.held.replace(Some(part));
        }
        let same = origin.as_ref().filter(|origin| origin.url == url);
        let if_range = same.and_then(|origin| origin.version.as_deref());
        self.fetch.tell(&Event::Asking { file: &self.file.name, url, done: from });
        let timeouts = self.fetch.settings.timeouts;
        let mut answer = http::ask(&self.fetch.agent, &Request { url, from, if_range }, timeouts)?;
        self.fits(&answer)?;
        let resumed = answer.from > 0;
        let part = if resumed { self.resume()? } else { self.begin(url, &mut answer)? };
        let part = self.receive(part, &mut answer)?;
        self.finish(part, resumed)
    }

    /// Where the part came from, if the rest may be asked of this mirror. With a checksum any mirror
    /// will do, since a mixture of two files would be found out; without, it must be the same mirror
    /// with the same version.
    fn usable(&self, url: &str) -> Option<Origin> {
        let part = self.part();
        let bytes = part.bytes();
        let origin = part.origin().filter(|_| bytes > 0 && self.file.size.is_none_or(|size| bytes <= size));
        origin.filter(|o| self.file.has_checksum() || (o.url == url && o.version.is_some()))
    }

    /// Whether what the mirror has can be the file, and the disk can take it.
    fn fits(&self, answer: &Answer) -> Result<(), Failure> {
        if let (Some(size), Some(total)) = (self.file.size, answer.total)
            && size != total
        {
            return Err(Trouble::Lasting(format!("has {total} bytes; expected {size}")).into());
        }
        if answer.endless && self.file.size.is_none() && !self.file.has_checksum() {
            let why = "says nowhere how long the file is, and the manifest has neither size nor checksum".to_owned();
            return Err(Trouble::Lasting(why).into());
        }
        let needed = self.file.size.or(answer.total).unwrap_or(0).saturating_sub(answer.from);
        let directory = self.target.parent().unwrap_or(&self.target);
        // A part that will be replaced gives its space back first.
        let freed = if answer.from == 0 { self.part().bytes() } else { 0 };
        match self.fetch.settings.disk.free(directory) {
            Some(free) if free.saturating_add(freed) < needed => {
                Err(Error::NoSpace { path: self.target.clone(), needed, free }.into())
            }
            _ => Ok(()),
        }
    }

    /// A new part, once the first bytes are known not to be an HTML page.
    fn begin(&self, url: &str, answer: &mut Answer) -> Result<Open, Failure> {
        let mut first = vec![0; 512];
        let mut filled = 0;
        while filled < first.len() {
            match answer.body.read(&mut first[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => return Err(http::broken(error, self.fetch.settings.timeouts).into()),
            }
        }
        first.truncate(filled);
        if filled == 0 && self.file.size != Some(0) {
            return Err(Trouble::Lasting("sent nothing".to_owned()).into());
        }
        if let Some(page) = http::html(&first) {
            return Err(page.into());
        }
        let origin = Origin::new(url, answer.version.clone());
        self.held.take();
        let mut part = self.part().create(&origin).map_err(|cause| self.failed("create", cause))?;
        self.append(&mut part, &first)?;
        Ok(part)
    }

    fn resume(&self) -> Result<Open, Error> {
        if let Some(held) = self.held.take() {
            return Ok(held);
        }
        let part = self.part();
        let (file, total) = (self.file.name.as_str(), part.bytes());
        part.resume(|done| {
            self.fetch.tell(&Event::Hashing { file, done, total });
            self.stop()
        })
    }

    /// Writes the body to the part.
    fn receive(&self, mut part: Open, answer: &mut Answer) -> Result<Open, Failure> {
        let total = self.file.size.or(answer.total);
        let mut buffer = vec![0; CHUNK];
        loop {
            let done = part.bytes();
            self.fetch.tell(&Event::Receiving { file: &self.file.name, done, total });
            self.stop()?;
            let read = match answer.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => {
                    self.held.replace(Some(part));
                    return Err(http::broken(error, self.fetch.settings.timeouts).into());
                }
            };
            if let Some(total) = total.filter(|&total| done.saturating_add(read as u64) > total) {
                self.discard();
                return Err(Trouble::Lasting(format!("sent more than the {total} bytes of the file")).into());
            }
            self.append(&mut part, &buffer[..read])?;
        }
        match total.filter(|&total| part.bytes() < total) {
            Some(total) => {
                let why = format!("sent {} of {total} bytes", part.bytes());
                self.held.replace(Some(part));
                Err(Trouble::Passing(why, None).into())
            }
            None => Ok(part),
        }
    }

    fn append(&self, part: &mut Open, bytes: &[u8]) -> Result<(), Error> {
        part.append(&*self.fetch.settings.disk, bytes).map_err(|cause| self.failed("write", cause))
    }

    /// Checks the whole and gives it its name. A part that fails is removed.
    fn finish(&self, open: Open, resumed: bool) -> Result<(Sums, Verified), Failure> {
        let sums = open.sums();
        match check(self.file, &sums) {
            Ok(verified) => {
                open.finish().map_err(|cause| self.failed("write", cause))?;
                Ok((sums, verified))
            }
            Err(difference) => {
                drop(open);
                self.discard();
                let why = format!("sent another file: {difference}");
                Err(if resumed { Trouble::Stale(why) } else { Trouble::Lasting(why) }.into())
            }
        }
    }

    fn discard(&self) {
        self.held.take();
        self.part().discard();
    }

    fn part(&self) -> Part {
        Part::of(&self.target)
    }

    fn failed(&self, action: &'static str, cause: std::io::Error) -> Error {
        let kept = self.kept();
        match is_full(&cause) {
            true => Error::DiskFull { path: self.target.clone(), kept },
            false => Error::Io { path: self.part().path().to_owned(), action, cause },
        }
    }

    fn stop(&self) -> Result<(), Error> {
        match self.fetch.settings.cancel.is_cancelled() {
            true => Err(Error::Cancelled { path: self.target.clone(), kept: self.kept() }),
            false => Ok(()),
        }
    }

    /// What is kept for the next run. A part that no mirror can go on with is removed.
    fn kept(&self) -> String {
        let part = self.part();
        if !self.file.urls.iter().any(|url| self.usable(url).is_some()) {
            self.discard();
            return String::new();
        }
        let of = self.file.size.map_or(String::new(), |size| format!(" of {size}"));
        format!(
            "; {}{of} bytes are kept in {} and the next run goes on from there",
            part.bytes(),
            part.path().display()
        )
    }
}

/// The host of a URL, with its port.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}
