//! The error bounds of the binomial paper's theorems against the order, as its Figure 2 has them.
//!
//! Does not know: networks, errors that were measured.

use burn_meta::{Bounds, Curvature};
use plotters::prelude::RGBColor;
use serde::Serialize;

use crate::chart::{self, Axis, Chart, Scale};
use crate::failure::Failure;

/// The bounds under one assumption.
#[derive(Clone, Debug, Serialize)]
pub struct Panel {
    /// The assumption in words.
    pub title: &'static str,
    /// Bounds for one reach after the other.
    pub curves: Vec<Curve>,
}

/// Bounds of every order below K, over the first-order bound.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// Inner learning rate times Lipschitz constant.
    pub reach: f64,
    /// The first-order bound, over the norm of the query gradient.
    pub first_order: f64,
    /// Of the binomial estimator, by order.
    pub binomial: Vec<f64>,
    /// Of the truncated estimator, by order.
    pub truncated: Vec<f64>,
}

/// The bounds for a Lipschitz gradient (Theorem 3.6 of arXiv 2604.13263), for a convex loss too (3.8) and for a strongly convex
/// one (3.10) whose least eigenvalue is the share `least` of the Lipschitz constant.
///
/// # Errors
///
/// [`Failure::Usage`] for settings that a theorem does not hold for, or bounds too large for a number.
pub fn panels(steps: usize, reaches: &[f64], least: f64) -> Result<[Panel; 3], Failure> {
    let panel = |title, curvature| panel(steps, reaches, title, curvature);
    Ok([
        panel("Lipschitz gradient", Curvature::Lipschitz)?,
        panel("convex", Curvature::Convex)?,
        panel("strongly convex", Curvature::StronglyConvex { least })?,
    ])
}

fn panel(steps: usize, reaches: &[f64], title: &'static str, curvature: Curvature) -> Result<Panel, Failure> {
    // Only the product of rate and norm matters: the norm is 1.
    let curve = |&reach: &f64| {
        let bounds = Bounds { steps, rate: reach, norm: 1.0, curvature };
        bounds.check().map_err(|error| Failure::usage(error).at(title))?;
        let first_order = bounds.first_order();
        let orders =
            |bound: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..steps).map(|order| bound(order) / first_order).collect() };
        let (binomial, truncated) = (orders(&|order| bounds.binomial(order)), orders(&|order| bounds.truncated(order)));
        let mut all = binomial.iter().chain(&truncated);
        if !(first_order.is_finite() && all.all(|bound| bound.is_finite())) {
            return Err(Failure::usage(format!("--reach {reach}: the bounds are too large for a number")));
        }
        Ok(Curve { reach, first_order, binomial, truncated })
    };
    Ok(Panel { title, curves: reaches.iter().map(curve).collect::<Result<_, _>>()? })
}

/// A Markdown table of a panel, with a column for each curve.
pub fn table(panel: &Panel) -> String {
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
    for order in 0..columns.first().map_or(0, |column| column.len()) {
        text += &row(order.to_string(), columns.iter().map(|column| format!("{:.2e}", column[order])).collect());
    }
    text.pop();
    text
}

/// Blue, vermilion and grey that are told apart by everybody (Okabe and Ito).
const BINOMIAL: RGBColor = RGBColor(0, 114, 178);
const TRUNCATED: RGBColor = RGBColor(213, 94, 0);
const FIRST_ORDER: RGBColor = RGBColor(110, 110, 110);

/// Pixels of a dash and of the gap after it, for one reach after the other.
const DASHES: [Option<(i32, i32)>; 4] = [Some((2, 5)), Some((9, 5)), None, Some((16, 4))];

/// The panels as a picture.
pub fn chart(panels: &[Panel], steps: usize, least: f64) -> Chart {
    Chart {
        title: format!("Error bounds of meta-gradient estimators over the first-order bound, K = {steps}"),
        subtitle: vec![format!(
            "exact at L = K; convex: truncated is the same for every alpha H; strongly convex: least eigenvalue {least} H"
        )],
        panels: panels.iter().map(|panel| drawn(panel, steps)).collect(),
        same_y: true,
    }
}

fn drawn(panel: &Panel, steps: usize) -> chart::Panel {
    let by_order = |bounds: &[f64]| -> Vec<(f64, f64)> {
        bounds.iter().enumerate().map(|(order, bound)| (order as f64, *bound)).collect()
    };
    let level = vec![(0.0, 1.0), (steps as f64 - 1.0, 1.0)];
    let mut curves = vec![chart::Curve::new("first-order", FIRST_ORDER, level).bare()];
    let look = |curve: chart::Curve, at: usize| match DASHES[at % DASHES.len()] {
        Some(dash) => curve.dashed(dash),
        None => curve,
    };
    for (at, curve) in panel.curves.iter().enumerate() {
        let name = format!("truncated, alpha H = {}", curve.reach);
        curves.push(look(chart::Curve::new(name, TRUNCATED, by_order(&curve.truncated)).bare(), at));
    }
    for (at, curve) in panel.curves.iter().enumerate() {
        let name = format!("binomial, alpha H = {}", curve.reach);
        curves.push(look(chart::Curve::new(name, BINOMIAL, by_order(&curve.binomial)), at));
    }
    let y = Axis::new("bound over first-order bound", Scale::Log);
    chart::Panel { title: panel.title.into(), x: Axis::new("order L", Scale::Whole), y, curves }
}
