//! Drawing training curves.
//!
//! Does not know: how they came about.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::curves::{Axis, Curve};
use crate::plot::Labels;

/// Colours that are told apart by everybody (Okabe and Ito, with grey and brown for the yellow). Further estimators use them
/// again.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(150, 150, 150),
    RGBColor(120, 70, 20),
];

/// Places at which runs are averaged.
const PLACES: usize = 120;

/// The curves as an SVG picture, along seconds on the left and along meta-steps on the right: thin lines are runs, thick ones
/// their means, on a logarithmic axis.
///
/// # Errors
///
/// What the plotting library reports.
pub fn svg(curves: &[Curve], labels: &Labels) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    draw(&SVGBackend::with_string(&mut text, (1180, 600)).into_drawing_area(), curves, labels)?;
    Ok(text)
}

fn draw<B>(area: &DrawingArea<B, Shift>, curves: &[Curve], labels: &Labels) -> Result<(), Box<dyn Error>>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    let area = area.titled(&labels.title, ("sans-serif", 22))?;
    let area = area.titled(&labels.subtitle, ("sans-serif", 15))?;
    let (left, right) = area.split_horizontally(590);
    panel(&left, curves, Axis::Time, "seconds of training", true)?;
    panel(&right, curves, Axis::MetaSteps, "meta-steps", false)?;
    area.present()?;
    Ok(())
}

fn panel<B>(
    area: &DrawingArea<B, Shift>,
    curves: &[Curve],
    axis: Axis,
    description: &str,
    legend: bool,
) -> Result<(), Box<dyn Error>>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let losses =
        || curves.iter().flat_map(|curve| &curve.readings).map(|reading| reading.loss).filter(|loss| *loss > 0.0);
    let (low, high) = (losses().fold(f64::INFINITY, f64::min), losses().fold(0.0, f64::max));
    let (low, high) = if low < high { (0.9 * low, 1.1 * high) } else { (0.1, 1.0) };
    let end = curves.iter().map(|curve| curve.end(axis)).fold(0.0, f64::max).max(1e-9);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..end, (low..high).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(description)
        .y_desc("validation loss")
        .x_label_formatter(&|x| format!("{:.3}", x).trim_end_matches('0').trim_end_matches('.').to_owned())
        .y_label_formatter(&|y| format!("{y:.2}"))
        .axis_desc_style(("sans-serif", 17))
        .label_style(("sans-serif", 15))
        .bold_line_style(RGBColor(225, 225, 225))
        .light_line_style(WHITE)
        .draw()?;
    for (at, name) in names(curves).into_iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let runs: Vec<&Curve> = curves.iter().filter(|curve| curve.estimator == name).collect();
        for run in runs.iter().filter(|_| runs.len() > 1) {
            let line = run.readings.iter().map(|reading| (axis.of(reading), reading.loss));
            chart.draw_series(LineSeries::new(line, colour.mix(0.25).stroke_width(1)))?;
        }
        // As far as all go.
        let reach = runs.iter().map(|run| run.end(axis)).fold(f64::INFINITY, f64::min);
        let mean = (0..=PLACES).map(|place| reach * place as f64 / PLACES as f64).filter_map(|place| {
            let losses: Option<Vec<f64>> = runs.iter().map(|run| run.at(axis, place)).collect();
            losses.map(|losses| (place, losses.iter().sum::<f64>() / losses.len() as f64))
        });
        let series = chart.draw_series(LineSeries::new(mean, colour.stroke_width(2)))?;
        if legend {
            let line = move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(2));
            series.label(name).legend(line);
        }
    }
    if legend {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .background_style(WHITE.mix(0.9))
            .border_style(RGBColor(180, 180, 180))
            .label_font(("sans-serif", 16))
            .draw()?;
    }
    Ok(())
}

/// Names in the order in which they first occur.
fn names(curves: &[Curve]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for curve in curves {
        if !names.contains(&curve.estimator.as_str()) {
            names.push(&curve.estimator);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curves::Reading;

    #[test]
    fn every_estimator_has_a_line() {
        let curve = |estimator: &str, repeat| Curve {
            estimator: estimator.into(),
            repeat,
            products: 0,
            readings: [4.0, 2.0, 1.0]
                .into_iter()
                .enumerate()
                .map(|(at, loss)| Reading { meta_step: at, seconds: at as f64, loss })
                .collect(),
            diverged_at: None,
        };
        let curves = [curve("one", 0), curve("two", 0), curve("one", 1)];
        let labels = Labels { title: "title".into(), subtitle: "subtitle".into() };
        let text = svg(&curves, &labels).unwrap();
        assert!(["one", "two", "title", "meta-steps", "seconds of training"].iter().all(|word| text.contains(word)));
        // Nothing to draw is no error.
        svg(&[], &labels).unwrap();
    }
}
