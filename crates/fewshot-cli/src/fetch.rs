//! `fewshot fetch`: the files of a dataset, downloaded and verified.
//!
//! Does not know: how downloads are done or shown.

use std::path::{Path, PathBuf};

use fewshot_data::Manifest;
use fewshot_data::fetch::{Fetch, FetchedFile, Source, Verified};
use serde_json::json;

use crate::dataset;
use crate::failure::Failure;
use crate::list;
use crate::output::{Output, bytes, note};
use crate::progress::Progress;

/// Download the files of a dataset, or find those that are there, and verify them.
///
/// Files that are there already are verified instead of downloaded. A download that was interrupted goes on where it stopped
/// when the command is given again. A file gets its name only once its size and checksum are right; mirrors are tried in
/// order, and the error says what each of them said.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fewshot fetch --list                               what there is
  fewshot fetch omniglot                             into $FEWSHOT_DATA/omniglot, or the user's data directory
  fewshot fetch omniglot --have /shared/datasets     use the files there, download the others
  fewshot fetch mini-imagenet --only train.csv --into data
  fewshot fetch ./my-dataset.toml --into data --json -")]
pub struct Args {
    /// The name of a dataset (see --list), or the path of a manifest (what ends in .toml or has a slash in it).
    #[arg(value_name = "NAME|MANIFEST.toml", required_unless_present = "list")]
    dataset: Option<String>,

    /// Say which datasets there are, with their files; with a NAME, that one in full.
    #[arg(long, conflicts_with_all = ["into", "have", "only", "replace"])]
    list: bool,

    /// The directory the files go to; made if it is not there. Without this $FEWSHOT_DATA/NAME, and without that variable
    /// fewshot/NAME in the user's data directory ($XDG_DATA_HOME or ~/.local/share).
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,

    /// A directory where files may be already, as DIR/FILE or DIR/NAME/FILE; may be given several times. A file found there
    /// is verified and used where it lies.
    #[arg(long, value_name = "DIR")]
    have: Vec<PathBuf>,

    /// Only this file; may be given several times. Optional files are fetched only so.
    #[arg(long, value_name = "FILE")]
    only: Vec<String>,

    /// Replace a file that is there and is another one, once the right one has come.
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    output: Output,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let manifest = args.dataset.as_deref().map(dataset::manifest).transpose()?;
    match (manifest, args.list) {
        (Some(manifest), false) => fetch(args, &manifest),
        (manifest, _) => list::run(manifest, &args.output),
    }
}

fn fetch(args: &Args, manifest: &Manifest) -> Result<(), Failure> {
    let into = args.into.clone().map_or_else(|| dataset::home(&manifest.name), Ok)?;
    if let Some(directory) = args.have.iter().find(|directory| !directory.is_dir()) {
        return Err(Failure::usage(format!("--have {}: no such directory", directory.display())));
    }
    let progress = Progress::new();
    let told = progress.clone();
    let outcome = Fetch::new(manifest, &into)
        .with_have(&args.have)
        .with_only(&args.only)
        .with_replace(args.replace)
        .with_progress(move |event| told.event(event))
        .run();
    progress.end();
    let settings = json!({ "dataset": manifest.name, "into": into, "have": args.have, "only": args.only });
    match outcome {
        Ok(files) => {
            files.iter().for_each(|file| show(args, file));
            notice(args, manifest, &into);
            args.output.document("fetch", settings, json!({ "files": files }))
        }
        Err(error) => {
            args.output.document("fetch", settings, json!({ "error": error.to_string() }))?;
            Err(error.into())
        }
    }
}

fn show(args: &Args, file: &FetchedFile) {
    let source = match &file.source {
        Source::Mirror(url) => format!("downloaded from {url}"),
        _ => "was there".to_owned(),
    };
    args.output.line(format!("{}  {}, {source}, {}", file.path.display(), bytes(file.bytes), verified(file.verified)));
    if let Some(directory) = &file.unpacked {
        args.output.line(format!("{}  unpacked", directory.display()));
    }
    if matches!(file.verified, Verified::Nothing | Verified::UnlikeElsewhere) {
        note(format!("{}: nobody vouches for it; its sha256 is {}", file.name, file.sha256));
    }
}

/// By what a file was verified, in words.
pub fn verified(verified: Verified) -> &'static str {
    match verified {
        Verified::Checksum => "checksum right",
        Verified::ChecksumElsewhere => "checksum as published elsewhere",
        Verified::Size => "size right, no checksum known",
        Verified::UnlikeElsewhere => "no checksum known, and other than a file of this name published elsewhere",
        _ => "no checksum known",
    }
}

fn notice(args: &Args, manifest: &Manifest, into: &Path) {
    args.output.line(format!("{} in {}", manifest.name, into.display()));
    args.output.line(format!("licence: {}", manifest.licence));
    args.output.line(format!("cite: {}", manifest.citation));
}
