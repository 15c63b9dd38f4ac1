//! Draws the error bounds of the binomial, truncated and first-order meta-gradients against the order, as Figure 2 of the
//! binomial paper does.
//!
//! `cargo run --release --example bounds -- --plot bounds.svg`
//!
//! Does not know: networks, errors that were measured (see `paper figure3`).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::arguments::{Screen, count, note, parse, positive};
use common::bounds;
use common::document::Document;
use common::failure::{Failure, exit};
use common::files;
use serde::Serialize;
use serde_json::json;

/// Print and draw the error bounds of the meta-gradient estimators against their order L.
///
/// Each bound is normalised by that of the first-order meta-gradient under the same assumption on the inner loss: its gradient
/// is Lipschitz with constant H (Theorem 3.6 of arXiv 2604.13263), it is convex too (Theorem 3.8), or strongly convex
/// (Theorem 3.10). For convex losses the bound of binomial is above that of first-order where alpha H is not small, in
/// the middle orders by far. The constants of the paper's Figure 2 are not known to us; the defaults are our own. Order K, where binomial
/// and truncated are exact, is left out.
///
/// The theorems are for any loss within their assumptions. What the estimators do on one at hand is measured by
/// `paper figure3`.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(version)]
struct Arguments {
    /// Inner steps K, up to 100
    #[arg(long, value_name = "K", default_value = "10", value_parser = count)]
    inner_steps: usize,

    /// Inner learning rate times Lipschitz constant, alpha H; several, divided by commas. The bound for convex losses needs 2 or
    /// less
    #[arg(long, value_name = "X", default_value = "0.1,0.5,1", value_delimiter = ',', value_parser = positive)]
    reach: Vec<f64>,

    /// Least eigenvalue of the strongly convex loss, over H; at most 1
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = positive)]
    least: f64,

    /// Draw the bounds as an SVG picture
    #[arg(long, value_name = "FILE.svg")]
    #[serde(skip)]
    plot: Option<PathBuf>,

    /// Write settings and bounds as JSON; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit(parse().and_then(run))
}

fn run(args: Arguments) -> Result<(), Failure> {
    let screen = Screen::new(args.json.as_deref());
    args.json.as_deref().map_or(Ok(()), files::check_file)?;
    args.plot.as_deref().map_or(Ok(()), files::check_file)?;
    if args.inner_steps > 100 {
        return Err(Failure::usage(format!("--inner-steps {}: expected 100 or less", args.inner_steps)));
    }
    let panels = bounds::panels(args.inner_steps, &args.reach, args.least)?;
    if let Some(path) = &args.plot {
        files::write(path, &bounds::chart(&panels, args.inner_steps, args.least).svg()?)?;
    }
    if let Some(path) = &args.json {
        let settings = serde_json::to_value(&args).map_err(Failure::failed)?;
        Document::new("bounds", settings, json!({ "panels": panels })).write(path)?;
    }
    note(format!("error bounds over the first-order bound, K = {}; exact at L = K", args.inner_steps));
    for panel in &panels {
        screen.result(bounds::table(panel));
    }
    Ok(())
}
