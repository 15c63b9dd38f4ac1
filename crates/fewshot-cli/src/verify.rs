//! `fewshot verify`: whether the files in a directory are those of a dataset.
//!
//! Does not know: downloads.

use std::path::PathBuf;

use fewshot_data::fetch::{Verdict, verify};
use serde_json::json;

use crate::dataset;
use crate::failure::Failure;
use crate::fetch::verified;
use crate::output::{Output, bytes};
use crate::progress::Progress;

/// Read the files of a dataset in a directory and compare sizes and checksums.
///
/// Every file is read in full, whatever was found earlier; nothing is written. Optional files that are not there are passed
/// over.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fewshot verify omniglot data/omniglot
  fewshot verify cifar-100 /shared/cifar --only cifar-100-python.tar.gz --json -")]
pub struct Args {
    /// The name of a dataset (see fewshot fetch --list), or the path of a manifest.
    #[arg(value_name = "NAME|MANIFEST.toml")]
    dataset: String,

    /// The directory with its files. Without this where fewshot fetch puts them.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,

    /// Only this file; may be given several times.
    #[arg(long, value_name = "FILE")]
    only: Vec<String>,

    #[command(flatten)]
    output: Output,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let manifest = dataset::manifest(&args.dataset)?;
    let directory = args.directory.clone().map_or_else(|| dataset::home(&manifest.name), Ok)?;
    let progress = Progress::new();
    let verdicts = verify(&manifest, &directory, &args.only, |event| progress.event(event));
    progress.end();
    let verdicts = verdicts?;
    verdicts.iter().for_each(|verdict| show(args, verdict));
    let settings = json!({ "dataset": manifest.name, "directory": directory, "only": args.only });
    // A file that was asked for by name must be there.
    let fine = |verdict: &Verdict| verdict.is_fine() && (args.only.is_empty() || matches!(verdict, Verdict::Right(_)));
    let bad = verdicts.iter().filter(|verdict| !fine(verdict)).count();
    args.output.document("verify", settings, json!({ "files": verdicts, "bad": bad }))?;
    match bad {
        0 => Ok(()),
        _ => Err(Failure::failed(format!("{bad} of {} files are missing or not what they should be", verdicts.len()))),
    }
}

fn show(args: &Args, verdict: &Verdict) {
    match verdict {
        Verdict::Right(file) => {
            let right = verified(file.verified);
            args.output.line(format!("{}  {}, {right}", file.path.display(), bytes(file.bytes)));
        }
        Verdict::Missing { path, optional: true } => {
            args.output.line(format!("{}  not there, optional", path.display()))
        }
        Verdict::Missing { path, .. } => args.output.line(format!("{}  not there", path.display())),
        Verdict::Wrong { path, difference } => args.output.line(format!("{}  wrong: {difference}", path.display())),
        _ => (),
    }
}
