//! `fewshot inspect`: what a file or directory holds.
//!
//! Does not know: forms; the library recognises them.

use std::path::PathBuf;
use std::sync::Arc;

use fewshot_data::{Cache, Limits, Report, SetReport, Sets, Source};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, note, watched};

/// Class names shown of each part.
const NAMES: usize = 3;

/// Say what a file or directory holds: form, parts, classes, images, sizes, and what is odd about it.
///
/// The form is recognised by the bytes, never by the name. Nothing in a file is ever run, pickles included, and nothing is
/// written unless --decode is given.
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

    /// Decode every image as well, which finds damaged ones; keeps nothing.
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
    let limits =
        args.limit.map_or_else(Limits::default, |limit| Limits::default().with_floor(limit << 20).with_factor(0));
    let source = Source::open_with(&args.path, limits)?;
    let report = source.report();
    show(&report, args);
    let decoded = if args.decode { Some(decode(source, args)?) } else { None };
    let settings = json!({ "path": args.path, "decode": args.decode, "size": args.size });
    args.output.document("inspect", settings, json!({ "report": report, "decoded": decoded }))
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

/// Decodes all images, with a progress bar where somebody watches.
fn decode(source: Source, args: &Args) -> Result<Value, Failure> {
    let bar = Arc::new(match watched() {
        true => indicatif::ProgressBar::new(0),
        false => indicatif::ProgressBar::hidden(),
    });
    let progress = bar.clone();
    let mut source = source.with_cache(Cache::Memory).on_progress(move |done, all| {
        progress.set_length(all as u64);
        progress.set_position(done as u64);
    });
    if let Some(size) = args.size {
        source = source.with_size(size);
    }
    let sets = source.load();
    bar.finish_and_clear();
    let (images, shape) = match sets? {
        Sets::Whole(data) => (data.image_count(), data.shape()),
        Sets::Parts(parts) => {
            let all = [&parts.train, &parts.val, &parts.test];
            (all.iter().map(|part| part.image_count()).sum(), parts.train.shape())
        }
    };
    note(format!("all {images} images can be read, as {shape:?}"));
    Ok(json!({ "images": images, "shape": shape }))
}
