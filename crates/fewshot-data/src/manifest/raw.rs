//! Manifests as they are written, and the checks that make a typed manifest of one.
//!
//! Does not know: files, line numbers; a mistake is told with its place in the text in bytes.

use std::collections::HashSet;

use serde::Deserialize;
use toml::Spanned;

use super::{Manifest, ManifestFile, ManifestSplit, Unpack};

/// Where in the text, and what is wrong there.
type Mistake = (usize, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    name: Spanned<String>,
    title: Option<String>,
    homepage: Option<Spanned<String>>,
    licence: String,
    citation: String,
    images: Option<String>,
    #[serde(default, rename = "file")]
    files: Vec<RawFile>,
    #[serde(default, rename = "split")]
    splits: Vec<ManifestSplit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    name: Spanned<String>,
    #[serde(default)]
    urls: Vec<Spanned<String>>,
    by_hand: Option<String>,
    size: Option<u64>,
    md5: Option<Spanned<String>>,
    sha256: Option<Spanned<String>>,
    md5_elsewhere: Option<Spanned<String>>,
    #[serde(default)]
    unpack: Unpack,
    holds: Option<String>,
    #[serde(default)]
    optional: bool,
}

pub(super) fn parse(text: &str) -> Result<Manifest, Mistake> {
    let raw: RawManifest = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (at, error.message().lines().collect::<Vec<_>>().join("; "))
    })?;
    let end = raw.name.span().start;
    let name = plain_name("name", raw.name)?;
    let homepage = raw.homepage.map(url).transpose()?;
    if raw.files.is_empty() {
        return Err((end, format!("{name} has no files; expected at least one [[file]]")));
    }
    let mut seen = HashSet::new();
    let mut files = Vec::with_capacity(raw.files.len());
    for file in raw.files {
        let at = file.name.span().start;
        let file = checked(file)?;
        // Two names that differ in case alone would be one file on some systems.
        if !seen.insert(file.name.to_lowercase()) {
            return Err((at, format!("file {} occurs twice; file names must be unique", file.name)));
        }
        files.push(file);
    }
    let RawManifest { title, licence, citation, images, splits, .. } = raw;
    Ok(Manifest { name, title, homepage, licence, citation, images, files, splits })
}

fn checked(raw: RawFile) -> Result<ManifestFile, Mistake> {
    let at = raw.name.span().start;
    let name = plain_name("file name", raw.name)?;
    if raw.urls.is_empty() && raw.by_hand.is_none() {
        return Err((at, format!("file {name} has neither urls nor by_hand; expected one of them")));
    }
    let urls = raw.urls.into_iter().map(url).collect::<Result<_, _>>()?;
    let md5 = raw.md5.map(|text| hex("md5", 32, text)).transpose()?;
    let sha256 = raw.sha256.map(|text| hex("sha256", 64, text)).transpose()?;
    let md5_elsewhere = raw.md5_elsewhere.map(|text| hex("md5_elsewhere", 32, text)).transpose()?;
    let RawFile { by_hand, size, unpack, holds, optional, .. } = raw;
    Ok(ManifestFile { name, urls, by_hand, size, md5, sha256, md5_elsewhere, unpack, holds, optional })
}

/// A name that is one and the same plain file on every system: no path, no drive, no device, not
/// hidden, and none of the names used beside a file while it is downloaded.
fn plain_name(what: &str, text: Spanned<String>) -> Result<String, Mistake> {
    const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];
    let (at, name) = (text.span().start, text.into_inner());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '=' | '(' | ')');
    let lower = name.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    let device = DEVICES.contains(&stem.trim_end_matches(|c: char| c.is_ascii_digit()));
    let taken = lower.ends_with(".part");
    let fits = (1..=200).contains(&name.len()) && name.chars().all(plain);
    if !fits || name.starts_with('.') || name.ends_with('.') || device || taken {
        let expected = "expected letters, digits, -, _ and . without any path, no hidden or reserved name, no .part";
        return Err((at, format!("{what} {name:?}; {expected}")));
    }
    Ok(name)
}

fn url(text: Spanned<String>) -> Result<String, Mistake> {
    let (at, url) = (text.span().start, text.into_inner());
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let good = host.is_some_and(|host| !host.is_empty()) && url.chars().all(|c| c.is_ascii_graphic());
    match good {
        true => Ok(url),
        false => Err((at, format!("url {url:?}; expected https:// or http:// with a host and without spaces"))),
    }
}

fn hex(what: &str, digits: usize, text: Spanned<String>) -> Result<String, Mistake> {
    let (at, hex) = (text.span().start, text.into_inner());
    match hex.len() == digits && hex.chars().all(|c| c.is_ascii_hexdigit()) {
        true => Ok(hex.to_ascii_lowercase()),
        false => Err((at, format!("{what} {hex:?}; expected {digits} hexadecimal digits"))),
    }
}
