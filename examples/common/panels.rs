//! Small multiples: the same curves under several conditions, side by side on the same axes.
//!
//! Does not know: what was measured.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::plot::Labels;

/// One condition.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// The curves; those of one index have one colour in all panels.
    pub curves: Vec<Curve>,
    /// A horizontal line to compare with.
    pub level: f64,
}

/// A curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its name in the legend.
    pub name: &'static str,
    /// Its colour.
    pub colour: RGBColor,
    /// Its points, in the order in which they are joined. Those that are not positive have no place on the axes.
    pub points: Vec<(f64, f64)>,
}

/// What the axes are.
#[derive(Clone, Debug)]
pub struct Axes {
    /// Below the horizontal one.
    pub x: String,
    /// Beside the vertical one.
    pub y: String,
    /// What [`Panel::level`] is, in the legend.
    pub level: String,
    /// Where a vertical line stands, and what it is.
    pub mark: (f64, String),
}

/// Width and height of a panel, and height of the legend.
const SIZE: (u32, u32) = (420, 330);
const LEGEND: u32 = 56;

/// Nothing above a hundred times its measure is worth a place.
const TOP: f64 = 100.0;

/// The panels as an SVG picture, both axes logarithmic.
///
/// # Errors
///
/// What the plotting library reports.
pub fn svg(panels: &[Panel], axes: &Axes, labels: &Labels) -> Result<String, Box<dyn Error>> {
    let columns = panels.len().clamp(1, 3);
    let rows = panels.len().div_ceil(columns);
    let size = (SIZE.0 * columns as u32, SIZE.1 * rows as u32 + LEGEND + 50);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE)?;
        let area = area.titled(&labels.title, ("sans-serif", 22))?;
        let area = area.titled(&labels.subtitle, ("sans-serif", 15))?;
        let (plots, legend) = area.split_vertically(SIZE.1 * rows as u32);
        for (panel, area) in panels.iter().zip(plots.split_evenly((rows, columns))) {
            draw(&area, panel, panels, axes)?;
        }
        if let Some(first) = panels.first() {
            draw_legend(&legend, first, axes)?;
        }
        legend.present()?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(area: &Area<'_>, panel: &Panel, all: &[Panel], axes: &Axes) -> Result<(), Box<dyn Error>> {
    let points = || all.iter().flat_map(|panel| panel.curves.iter().flat_map(|curve| curve.points.iter().copied()));
    let (right, low, high) = points()
        .filter(|(x, y)| *x > 0.0 && *y > 0.0)
        .fold((axes.mark.0, f64::INFINITY, 0.0f64), |(right, low, high), (x, y)| {
            (right.max(x), low.min(y), high.max(y))
        });
    let (low, high) = if low <= high { (low, high.min(TOP)) } else { (1e-3, 1.0) };
    // Rounding is no error of an estimator.
    let bottom = 10f64.powf(low.max(1e-14).log10().floor());
    let decades = bottom..10f64.powf(high.log10().ceil()).max(10.0 * bottom);
    let inside = |(x, y): &(f64, f64)| *x > 0.0 && decades.contains(y);

    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 17))
        .margin(8)
        .x_label_area_size(38)
        .y_label_area_size(62)
        .build_cartesian_2d((0.85..1.2 * right).log_scale(), decades.clone().log_scale())?;
    chart
        .configure_mesh()
        .x_desc(&axes.x)
        .y_desc(&axes.y)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("1e{}", y.log10().round() as i32))
        .axis_desc_style(("sans-serif", 14))
        .label_style(("sans-serif", 12))
        .bold_line_style(RGBColor(225, 225, 225))
        .light_line_style(WHITE)
        .draw()?;
    let grey = RGBColor(120, 120, 120).stroke_width(1);
    if decades.contains(&panel.level) {
        chart
            .draw_series(std::iter::once(PathElement::new([(0.85, panel.level), (1.2 * right, panel.level)], grey)))?;
    }
    let mark = axes.mark.0;
    chart.draw_series(std::iter::once(PathElement::new([(mark, decades.start), (mark, decades.end)], grey)))?;
    for Curve { colour, points, .. } in &panel.curves {
        let points: Vec<(f64, f64)> = points.iter().copied().filter(inside).collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    Ok(())
}

fn draw_legend(area: &Area<'_>, panel: &Panel, axes: &Axes) -> Result<(), Box<dyn Error>> {
    let style = ("sans-serif", 14).into_font();
    let columns = panel.curves.len().div_ceil(2).max(1);
    let width = area.dim_in_pixel().0 as i32 / columns as i32;
    for (at, Curve { name, colour, .. }) in panel.curves.iter().enumerate() {
        let (x, y) = ((at % columns) as i32 * width + 16, (at / columns) as i32 * 17 + 8);
        area.draw(&PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(2)))?;
        area.draw(&Circle::new((x + 11, y), 3, colour.filled()))?;
        area.draw(&Text::new(*name, (x + 28, y - 7), style.clone()))?;
    }
    let lines = format!("grey: {} (across), {} (upright)", axes.level, axes.mark.1);
    area.draw(&Text::new(lines, (16, 36), style))?;
    Ok(())
}
