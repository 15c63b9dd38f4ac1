//! `fewshot inspect`: what a file or directory holds.
//!
//! Does not know: forms; the library recognises them.

use std::path::PathBuf;
use std::sync::Arc;

use fewshot_data::{Limits, Report, SetReport, Source};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Output, note, watched};

/// Class names shown of each part.
const NAMES: usize = 3;

/// Say what a file or directory holds: form, parts, classes, images, sizes, and what is odd about it.
///
/// The form is recognised by the bytes, never by the name. Nothing in a file is ever run, pickles included, and nothing
/// is kept: images are decoded only with --decode, and then forgotten.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fewshot inspect mini-imagenet-cache-train.pkl
  fewshot inspect my-photos/ --classes
  fewshot inspect images_background.zip --decode --json -")]
pub struct Args {
    /// A dataset in any form: a folder, an archive, a pickle, a table, arrays.
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// Name every class, with its number of images.
    #[arg(long)]
    classes: bool,

    /// Decode every image as well and name each that is damaged; keeps nothing.
    #[arg(long)]
    decode: bool,

    /// With --decode: scale all images to this side, in pixels (needed where they differ in size).
    #[arg(long, value_name = "PIXELS", requires = "decode")]
    size: Option<usize>,

    /// The most memory one step may take, in MiB, whatever a file's header claims (default: 64, or 1,100 times the file).
    #[arg(long, value_name = "MIB")]
    limit: Option<u64>,

    #[command(flatten)]
    output: Output,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let exactly = |limit: u64| Limits::default().with_floor(limit.saturating_mul(1 << 20)).with_factor(0);
    let limits = args.limit.map_or_else(Limits::default, exactly);
    let source = Source::open_with(&args.path, limits)?;
    let report = source.report();
    show(&report, args);
    let damaged = if args.decode { Some(decode(source, args)?) } else { None };
    let settings = json!({ "path": args.path, "decode": args.decode, "size": args.size });
    let images: usize = report.sets.iter().map(|set| set.images).sum();
    let decoded = damaged.as_ref().map(|damaged| json!({ "images": images, "damaged": damaged }));
    args.output.document("inspect", settings, json!({ "report": report, "decoded": decoded }))?;
    match damaged {
        Some(damaged) if damaged.is_empty() => note(format!("all {images} images can be read")),
        Some(damaged) => return Err(Failure::failed(format!("{} of {images} images cannot be used", damaged.len()))),
        None => {}
    }
    Ok(())
}

fn show(report: &Report, args: &Args) {
    args.output.line(format!("{}: {}", report.path.display(), report.form));
    for set in &report.sets {
        args.output.line(format!("  {}", summary(set)));
        if args.classes {
            let lines = set.class_names.iter().zip(&set.class_images);
            lines.for_each(|(name, images)| args.output.line(format!("    {name}: {images} images")));
        }
    }
    for problem in &report.problems {
        args.output.line(format!("  problem: {problem}"));
    }
}

fn summary(set: &SetReport) -> String {
    let split = set.split.map_or("all".to_owned(), |split| split.to_string());
    let groups = if set.groups > 0 { format!(" in {} groups", set.groups) } else { String::new() };
    let each = match set.images_per_class {
        [least, most] if least == most => format!("{least} each"),
        [least, most] => format!("{least} to {most} each"),
    };
    let size = |[height, width]: &[usize; 2]| format!("{width} x {height}");
    let sizes = match set.sizes.as_slice() {
        [] => "size unknown".to_owned(),
        [only] => size(only),
        [first, .., last] => format!("{} to {}", size(first), size(last)),
    };
    let place = if set.in_place { "used in place" } else { "decoded once into a cache" };
    let names = set.class_names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    let more = if set.class_names.len() > NAMES { ", ..." } else { "" };
    let like = set.like.as_ref().map_or(String::new(), |like| format!("\n    as {like} has"));
    format!(
        "{split}: {} classes{groups}, {} images, {each}, {sizes}, {place} ({names}{more}){like}",
        set.classes, set.images
    )
}

/// Decodes all images and says what is wrong with them, with a progress bar where somebody watches.
fn decode(source: Source, args: &Args) -> Result<Vec<String>, Failure> {
    let bar = Arc::new(match watched() {
        true => indicatif::ProgressBar::new(0),
        false => indicatif::ProgressBar::hidden(),
    });
    let progress = bar.clone();
    let mut source = source.on_progress(move |done, all| {
        progress.set_length(all as u64);
        progress.set_position(done as u64);
    });
    if let Some(size) = args.size {
        source = source.with_size(size);
    }
    let faults = source.check();
    bar.finish_and_clear();
    let faults: Vec<String> = faults?.iter().map(ToString::to_string).collect();
    faults.iter().for_each(|fault| note(format!("error: {fault}")));
    Ok(faults)
}
