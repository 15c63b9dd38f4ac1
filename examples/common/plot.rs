//! Drawing the error curve.
//!
//! Does not know: how it was computed.

use std::error::Error;

use plotters::prelude::*;

use crate::error_curve::Point;
use crate::families::FAMILIES;

/// A colour for each family, told apart by everybody (Okabe and Ito).
pub const COLOURS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(150, 150, 150),
    RGBColor(204, 121, 167),
    RGBColor(128, 0, 96),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(220, 205, 40),
];

/// What stands around the curve.
#[derive(Clone, Debug)]
pub struct Labels {
    /// Above the plot.
    pub title: String,
    /// Below the title, what lines and bars are.
    pub subtitle: String,
}

/// The curve as an SVG picture: medians, and bars from the 10th to the 90th percentile, on a logarithmic axis.
///
/// The last order, K, is left out: every plain estimator is exact there, and a logarithm has no place for that.
///
/// # Errors
///
/// What the plotting library reports.
pub fn svg(curve: &[Point], steps: usize, labels: &Labels) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    draw(&SVGBackend::with_string(&mut text, (860, 560)).into_drawing_area(), curve, steps, labels)?;
    Ok(text)
}

fn draw<B>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    curve: &[Point],
    steps: usize,
    labels: &Labels,
) -> Result<(), Box<dyn Error>>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let shown: Vec<&Point> =
        curve.iter().filter(|point| point.order < steps && point.relative_error.p10 > 0.0).collect();
    let low = shown.iter().map(|point| point.relative_error.p10).fold(f64::INFINITY, f64::min);
    let high = shown.iter().map(|point| point.relative_error.p90).fold(0.0, f64::max);
    let (low, high) = if low <= high { (low, high) } else { (1e-16, 1.0) };
    let decades = 10f64.powf(low.log10().floor())..10f64.powf(high.log10().ceil().max(low.log10().floor() + 1.0));

    area.fill(&WHITE)?;
    let area = area.titled(&labels.title, ("sans-serif", 22))?;
    let area = area.titled(&labels.subtitle, ("sans-serif", 15))?;
    let mut chart = ChartBuilder::on(&area)
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(74)
        .build_cartesian_2d(-0.3..steps as f64 - 0.7, decades.log_scale())?;
    let mesh_colour = RGBColor(225, 225, 225);
    chart
        .configure_mesh()
        .x_desc("order L")
        .y_desc("relative error of the meta-gradient")
        .x_labels(steps)
        .x_label_formatter(&|x| if x.fract().abs() < 1e-9 { format!("{x:.0}") } else { String::new() })
        .y_label_formatter(&|y| format!("1e{}", y.log10().round() as i32))
        .axis_desc_style(("sans-serif", 17))
        .label_style(("sans-serif", 15))
        .bold_line_style(mesh_colour)
        .light_line_style(WHITE)
        .draw()?;

    for (at, (name, colour)) in FAMILIES.iter().map(|family| family.name).zip(COLOURS).enumerate() {
        // Side by side, so that bars do not hide one another.
        let x = |order: usize| order as f64 + 0.04 * (at as f64 - 4.0);
        let points: Vec<_> =
            shown.iter().filter(|point| point.estimator == name).map(|p| (x(p.order), p.relative_error)).collect();
        if points.is_empty() {
            continue;
        }
        let line = LineSeries::new(points.iter().map(|(x, error)| (*x, error.median)), colour.stroke_width(2));
        chart.draw_series(line)?.label(name).legend(move |(x, y)| {
            let shape = PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(2));
            EmptyElement::at((0, 0)) + shape + Circle::new((x + 11, y), 4, colour.filled())
        });
        chart.draw_series(
            points
                .iter()
                .map(|(x, error)| PathElement::new([(*x, error.p10), (*x, error.p90)], colour.stroke_width(1))),
        )?;
        chart.draw_series(points.iter().map(|(x, error)| Circle::new((*x, error.median), 4, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(180, 180, 180))
        .label_font(("sans-serif", 16))
        .draw()?;
    area.present()?;
    Ok(())
}
