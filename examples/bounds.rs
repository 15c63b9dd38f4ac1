//! Draws the error bounds of the binomial, truncated and first-order meta-gradients against the order, as Figure 2 of the
//! binomial paper does.
//!
//! `cargo run --release --example bounds -- --plot bounds.svg`
//!
//! Does not know: networks, errors that were measured (see `sinusoid`).

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use burn_meta::{Bounds, Curvature};
use clap::Parser;
use common::arguments::{Screen, count, note, parse, positive};
use common::document::Document;
use common::failure::{Failure, exit};
use common::files;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
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
/// `sinusoid --error-curve`.
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

/// The bounds under one assumption.
#[derive(Serialize)]
struct Panel {
    title: &'static str,
    curves: Vec<Curve>,
}

/// Bounds of every order below K, over the first-order bound.
#[derive(Serialize)]
struct Curve {
    /// alpha H.
    reach: f64,
    /// The first-order bound, over the norm of the query gradient.
    first_order: f64,
    binomial: Vec<f64>,
    truncated: Vec<f64>,
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
    let panels = [
        panel(&args, "Lipschitz gradient", Curvature::Lipschitz)?,
        panel(&args, "convex", Curvature::Convex)?,
        panel(&args, "strongly convex", Curvature::StronglyConvex { least: args.least })?,
    ];
    if let Some(path) = &args.plot {
        files::write(path, &svg(&panels, &args).map_err(Failure::failed)?)?;
    }
    if let Some(path) = &args.json {
        let settings = serde_json::to_value(&args).map_err(Failure::failed)?;
        Document::new("bounds", settings, json!({ "panels": panels })).write(path)?;
    }
    note(format!("error bounds over the first-order bound, K = {}; exact at L = K", args.inner_steps));
    for panel in &panels {
        screen.result(table(panel));
    }
    Ok(())
}

fn panel(args: &Arguments, title: &'static str, curvature: Curvature) -> Result<Panel, Failure> {
    // Only the product of rate and norm matters: the norm is 1.
    let curve = |&reach: &f64| {
        let bounds = Bounds { steps: args.inner_steps, rate: reach, norm: 1.0, curvature };
        bounds.check().map_err(|error| Failure::usage(error).at(title))?;
        let first_order = bounds.first_order();
        let orders = |bound: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..args.inner_steps).map(|order| bound(order) / first_order).collect()
        };
        let (binomial, truncated) = (orders(&|order| bounds.binomial(order)), orders(&|order| bounds.truncated(order)));
        let all = binomial.iter().chain(&truncated);
        if !(first_order.is_finite() && all.clone().all(|bound| bound.is_finite())) {
            return Err(Failure::usage(format!("--reach {reach}: the bounds are too large for a number")));
        }
        Ok(Curve { reach, first_order, binomial, truncated })
    };
    Ok(Panel { title, curves: args.reach.iter().map(curve).collect::<Result<_, _>>()? })
}

/// A table of a panel, with a column for each curve.
fn table(panel: &Panel) -> String {
    let curves = panel.curves.iter();
    let heads = curves.clone().map(|c| format!("binomial, {}", c.reach));
    let heads: Vec<String> = heads.chain(curves.clone().map(|c| format!("truncated, {}", c.reach))).collect();
    let columns: Vec<&Vec<f64>> = curves.clone().map(|c| &c.binomial).chain(curves.map(|c| &c.truncated)).collect();
    let row = |first: String, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>14} |")).collect();
        format!("| {first:>2} |{cells}\n")
    };
    let mut text = format!("\n{}, by order L and alpha H\n\n{}", panel.title, row("L".into(), heads.clone()));
    text += &format!("|---:|{}\n", heads.iter().map(|_| format!("{}:|", "-".repeat(15))).collect::<String>());
    for order in 0..columns[0].len() {
        text += &row(order.to_string(), columns.iter().map(|column| format!("{:.2e}", column[order])).collect());
    }
    text.pop();
    text
}

/// Blue, vermilion and grey that are told apart by everybody (Okabe and Ito).
const BINOMIAL: RGBColor = RGBColor(0, 114, 178);
const TRUNCATED: RGBColor = RGBColor(213, 94, 0);
const FIRST_ORDER: RGBColor = RGBColor(110, 110, 110);

/// Pixels of a dash and of the gap after it, for one value of `--reach` after the other.
const DASHES: [(i32, i32); 4] = [(2, 5), (9, 5), FULL, (16, 4)];
/// A dash longer than any line.
const FULL: (i32, i32) = (100_000, 0);

fn svg(panels: &[Panel], args: &Arguments) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (1260, 520)).into_drawing_area();
        area.fill(&WHITE)?;
        let title =
            format!("Error bounds of meta-gradient estimators over the first-order bound, K = {}", args.inner_steps);
        let area = area.titled(&title, ("sans-serif", 22))?;
        let subtitle = format!(
            "exact at L = K; convex: truncated is the same for every alpha H; strongly convex: least eigenvalue {} H",
            args.least
        );
        let area = area.titled(&subtitle, ("sans-serif", 15))?;
        let curves = panels.iter().flat_map(|panel| &panel.curves);
        let bounds: Vec<f64> = curves.flat_map(|c| c.binomial.iter().chain(&c.truncated)).copied().collect();
        let least = bounds.iter().copied().fold(1.0, f64::min).max(1e-300);
        let most = bounds.iter().copied().fold(1.0, f64::max);
        let decades = 10f64.powf(least.log10().floor())..10f64.powf(most.log10().floor() + 1.0);
        for (at, (area, panel)) in area.split_evenly((1, panels.len())).iter().zip(panels).enumerate() {
            draw(area, panel, args.inner_steps, decades.clone(), at == 0)?;
        }
        area.present()?;
    }
    Ok(text)
}

fn draw<B>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    panel: &Panel,
    steps: usize,
    decades: std::ops::Range<f64>,
    first: bool,
) -> Result<(), Box<dyn Error>>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(if first { 78 } else { 56 })
        .build_cartesian_2d(-0.3..steps as f64 - 0.7, decades.log_scale())?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("order L")
        .x_labels(steps.min(12))
        .x_label_formatter(&|x| if x.fract().abs() < 1e-9 { format!("{x:.0}") } else { String::new() })
        .y_label_formatter(&|y| format!("1e{}", y.log10().round() as i32))
        .axis_desc_style(("sans-serif", 17))
        .label_style(("sans-serif", 15))
        .bold_line_style(RGBColor(225, 225, 225))
        .light_line_style(WHITE);
    if first {
        mesh.y_desc("bound over the first-order bound");
    }
    mesh.draw()?;

    let line = |points: Vec<(f64, f64)>, dash: (i32, i32), colour: RGBColor| {
        DashedLineSeries::new(points, dash.0, dash.1, colour.stroke_width(2))
    };
    let legend = |dash: (i32, i32), colour: RGBColor| {
        move |(x, y)| DashedPathElement::new([(x, y), (x + 38, y)], dash.0, dash.1, colour.stroke_width(2))
    };
    let by_order = |bounds: &[f64]| -> Vec<(f64, f64)> {
        bounds.iter().enumerate().map(|(order, bound)| (order as f64, *bound)).collect()
    };
    let level = line(vec![(0.0, 1.0), (steps as f64 - 1.0, 1.0)], FULL, FIRST_ORDER);
    chart.draw_series(level)?.label("first-order").legend(legend(FULL, FIRST_ORDER));
    for (curve, &dash) in panel.curves.iter().zip(DASHES.iter().cycle()) {
        let name = format!("truncated, alpha H = {}", curve.reach);
        let series = line(by_order(&curve.truncated), dash, TRUNCATED);
        chart.draw_series(series)?.label(name).legend(legend(dash, TRUNCATED));
    }
    for (curve, &dash) in panel.curves.iter().zip(DASHES.iter().cycle()) {
        let name = format!("binomial, alpha H = {}", curve.reach);
        chart.draw_series(line(by_order(&curve.binomial), dash, BINOMIAL))?.label(name).legend(legend(dash, BINOMIAL));
        let ends = by_order(&curve.binomial);
        chart.draw_series(ends.iter().map(|point| Circle::new(*point, 3, BINOMIAL.filled())))?;
    }
    if first {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .legend_area_size(44)
            .background_style(WHITE.mix(0.9))
            .border_style(RGBColor(180, 180, 180))
            .label_font(("sans-serif", 13))
            .draw()?;
    }
    Ok(())
}
