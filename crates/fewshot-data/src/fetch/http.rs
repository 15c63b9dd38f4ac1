//! One request to one mirror, and what its answer means for a download.
//!
//! Does not know: files, parts, how often to try.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body};

/// Redirects followed for one request.
const REDIRECTS: u32 = 10;

/// Why a request, or the reading of its answer, came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may pass: the same mirror can be asked again, after this time where it said one.
    Passing(String, Option<Duration>),
    /// What is there of the file does not fit what the mirror has: it must come from the start.
    Stale(String),
    /// This mirror is of no use.
    Lasting(String),
}

/// What is asked for.
pub(super) struct Request<'a> {
    pub(super) url: &'a str,
    /// Bytes that are there already.
    pub(super) from: u64,
    /// Send the rest only if the file is still this version.
    pub(super) if_range: Option<&'a str>,
}

/// The start of an answer that holds the file, or its rest.
pub(super) struct Answer {
    /// Where in the file the body begins.
    pub(super) from: u64,
    /// Bytes of the whole file, where the server says.
    pub(super) total: Option<u64>,
    /// What the server calls this version, fit for `If-Range`.
    pub(super) version: Option<String>,
    /// Whether the body ends where the connection does, so that nobody can tell whether it is whole.
    pub(super) endless: bool,
    pub(super) body: Box<dyn Read>,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    pub(super) read: Duration,
}

pub(super) fn agent(timeouts: Timeouts) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(REDIRECTS)
        .timeout_resolve(Some(timeouts.connect))
        .timeout_connect(Some(timeouts.connect))
        .timeout_recv_response(Some(timeouts.read))
        .timeout_per_read(Some(timeouts.read))
        .user_agent(concat!("fewshot-data/", env!("CARGO_PKG_VERSION")))
        // The bytes of the file as they are, so that lengths and ranges are those of the file.
        .accept_encoding("identity");
    // Tests reach this machine alone, whatever proxy the environment names.
    #[cfg(test)]
    let config = config.proxy(None);
    config.build().into()
}

/// Asks for a file.
pub(super) fn ask(agent: &Agent, request: &Request<'_>, timeouts: Timeouts) -> Result<Answer, Trouble> {
    let mut call = agent.get(request.url);
    if request.from > 0 {
        call = call.header(header::RANGE, format!("bytes={}-", request.from));
        if let Some(version) = request.if_range {
            call = call.header(header::IF_RANGE, version);
        }
    }
    let answer = call.call().map_err(|error| trouble(error, timeouts))?;
    let encoding = text(answer.headers(), header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity");
    if let Some(encoding) = encoding.filter(|_| answer.status().is_success()) {
        return Err(Trouble::Lasting(format!("sent the file encoded as {encoding:?}, which was not asked for")));
    }
    match answer.status() {
        StatusCode::OK => whole(answer),
        StatusCode::PARTIAL_CONTENT if request.from > 0 => rest(answer, request.from),
        StatusCode::RANGE_NOT_SATISFIABLE if request.from > 0 => {
            let total = range(answer.headers()).and_then(|(_, total)| total);
            let has = total.map_or(String::new(), |total| format!(" of {total}"));
            Err(Trouble::Stale(format!("has no byte {}{has}", request.from)))
        }
        status => Err(refusal(status, answer.headers())),
    }
}

fn whole(answer: Response<Body>) -> Result<Answer, Trouble> {
    let total = text(answer.headers(), header::CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
    let version = version(answer.headers());
    let html = text(answer.headers(), header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html"));
    let endless = total.is_none() && text(answer.headers(), header::TRANSFER_ENCODING).is_none();
    let mut body = answer.into_body().into_reader();
    if html {
        return Err(page(&mut body));
    }
    Ok(Answer { from: 0, total, version, endless, body: Box::new(body) })
}

fn rest(answer: Response<Body>, from: u64) -> Result<Answer, Trouble> {
    let version = version(answer.headers());
    let total = match range(answer.headers()) {
        Some((Some(start), total)) if start == from => total,
        _ => return Err(Trouble::Stale(format!("was asked for the bytes from {from} on and sent others"))),
    };
    Ok(Answer { from, total, version, endless: false, body: Box::new(answer.into_body().into_reader()) })
}

/// An HTML page in place of the file, told with its title: a quota, a form, a login.
fn page(body: &mut impl Read) -> Trouble {
    let mut start = Vec::new();
    body.take(16 << 10).read_to_end(&mut start).ok();
    html(&start).unwrap_or_else(|| Trouble::Lasting("sent an HTML page instead of the file".to_owned()))
}

/// Trouble where these first bytes are those of an HTML page.
pub(super) fn html(start: &[u8]) -> Option<Trouble> {
    let text = String::from_utf8_lossy(start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start)).into_owned();
    let lower = text.trim_start().to_ascii_lowercase();
    if !(lower.starts_with("<!doctype html") || lower.starts_with("<html")) {
        return None;
    }
    // Lower case in ASCII moves no byte, so places in one text are places in the other.
    let offset = text.len() - text.trim_start().len();
    let title = lower.find("<title>").and_then(|at| {
        let title = text.get(offset + at + "<title>".len()..)?.split('<').next()?;
        let title: String = title.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(80).collect();
        (!title.is_empty()).then(|| format!(" titled {title:?}"))
    });
    let title = title.unwrap_or_default();
    Some(Trouble::Lasting(format!("sent an HTML page{title} instead of the file")))
}

fn refusal(status: StatusCode, headers: &HeaderMap) -> Trouble {
    let said = status.to_string();
    match status.as_u16() {
        408 | 425 | 429 | 500 | 502 | 503 | 504 => {
            let wait = text(headers, header::RETRY_AFTER).and_then(|wait| wait.trim().parse().ok());
            Trouble::Passing(said, wait.map(Duration::from_secs))
        }
        _ => Trouble::Lasting(said),
    }
}

/// What became of a connection.
fn trouble(error: ureq::Error, Timeouts { connect, read }: Timeouts) -> Trouble {
    use ureq::{Error, Timeout};
    match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            Trouble::Passing(format!("no connection within {connect:?}"), None)
        }
        Error::Timeout(_) => Trouble::Passing(format!("nothing came for {read:?}"), None),
        Error::TooManyRedirects => Trouble::Lasting(format!("redirects more than {REDIRECTS} times")),
        Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Trouble::Lasting("refuses connections".to_owned()),
            // What is wrong with a certificate comes as this.
            io::ErrorKind::InvalidData => Trouble::Lasting(one_line(&error.to_string())),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                Trouble::Passing("closed the connection early".to_owned(), None)
            }
            _ => Trouble::Passing(one_line(&error.to_string()), None),
        },
        Error::HostNotFound => Trouble::Lasting("no host of this name was found".to_owned()),
        other => Trouble::Lasting(one_line(&other.to_string())),
    }
}

/// What became of a body while it was read.
pub(super) fn broken(error: io::Error, timeouts: Timeouts) -> Trouble {
    match trouble(ureq::Error::from(error), timeouts) {
        Trouble::Lasting(why) => Trouble::Passing(why, None),
        other => other,
    }
}

/// The version of the file for `If-Range`, which takes strong entity tags and dates only.
fn version(headers: &HeaderMap) -> Option<String> {
    let strong = text(headers, header::ETAG).filter(|tag| !tag.starts_with("W/"));
    strong.or_else(|| text(headers, header::LAST_MODIFIED)).map(str::to_owned)
}

/// First byte and size of the whole of `bytes 5-9/10`, `bytes 5-9/*` or `bytes */10`.
fn range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let (span, total) = text(headers, header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let start = span.split('-').next()?.trim().parse().ok();
    Some((start, total.trim().parse().ok()))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
