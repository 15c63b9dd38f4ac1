//! Drawing a chart on a backend of plotters.
//!
//! Does not know: SVG, PNG.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::{Axis, Chart, Curve, Panel, Scale};

/// Colours that are told apart by everybody (Okabe and Ito, with grey, brown and purple), for one curve after the other.
pub const CYCLE: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(128, 0, 96),
    RGBColor(120, 70, 20),
    RGBColor(150, 150, 150),
    RGBColor(0, 0, 0),
];

/// Width and height of a panel.
const PANEL: (u32, u32) = (430, 350);
/// Heights of the title, of a line below it, and of a row of the legend.
const TITLE: u32 = 38;
const SUBTITLE: u32 = 22;
const ROW: u32 = 21;
/// A dash longer than any line.
const FULL: (i32, i32) = (100_000, 0);
const FONT: &str = "sans-serif";

fn columns(chart: &Chart) -> usize {
    chart.panels.len().clamp(1, 3)
}

fn width(chart: &Chart) -> u32 {
    (PANEL.0 * columns(chart) as u32).max(700)
}

/// Width and height of a chart, in pixels.
pub fn size(chart: &Chart) -> (u32, u32) {
    let rows = chart.panels.len().div_ceil(columns(chart)) as u32;
    let legend = legend(chart).last().map_or(0, |entry| entry.row + 1);
    (width(chart), TITLE + SUBTITLE * chart.subtitle.len() as u32 + PANEL.1 * rows + ROW * legend + 12)
}

/// Where a name of the legend stands.
struct Entry<'a> {
    curve: &'a Curve,
    x: u32,
    row: u32,
}

/// Every name once, from left to right and row by row.
fn legend(chart: &Chart) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let (mut x, mut row) = (16, 0);
    for curve in chart.panels.iter().flat_map(|panel| &panel.curves) {
        if curve.name.is_empty() || entries.iter().any(|entry| entry.curve.name == curve.name) {
            continue;
        }
        let wide = 62 + 8 * curve.name.chars().count() as u32;
        if x + wide > width(chart) && x > 16 {
            (x, row) = (16, row + 1);
        }
        entries.push(Entry { curve, x, row });
        x += wide;
    }
    entries
}

/// Draws a chart.
pub fn draw<B>(area: &DrawingArea<B, Shift>, chart: &Chart) -> Result<(), Box<dyn Error>>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    let middle = (width(chart) / 2) as i32;
    let centred = |size: i32| {
        TextStyle::from((FONT, size).into_font()).pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Center,
        ))
    };
    area.draw(&Text::new(chart.title.clone(), (middle, 22), centred(24)))?;
    for (at, line) in chart.subtitle.iter().enumerate() {
        let y = TITLE + SUBTITLE * at as u32 + SUBTITLE / 2;
        area.draw(&Text::new(line.clone(), (middle, y as i32), centred(17)))?;
    }
    let top = TITLE + SUBTITLE * chart.subtitle.len() as u32;
    let (_, below) = area.split_vertically(top);
    let rows = chart.panels.len().div_ceil(columns(chart));
    let (plots, below) = below.split_vertically(PANEL.1 * rows as u32);
    for (panel, area) in chart.panels.iter().zip(plots.split_evenly((rows.max(1), columns(chart)))) {
        let all: Vec<&Panel> = if chart.same_y { chart.panels.iter().collect() } else { vec![panel] };
        draw_panel(&area, panel, &all)?;
    }
    for Entry { curve, x, row } in legend(chart) {
        let (x, y) = (x as i32, (row * ROW + ROW / 2) as i32);
        let dash = curve.dash.unwrap_or(FULL);
        below.draw(&DashedPathElement::new([(x, y), (x + 34, y)], dash.0, dash.1, curve.colour.stroke_width(2)))?;
        if curve.marks {
            below.draw(&Circle::new((x + 17, y), 3, curve.colour.filled()))?;
        }
        let left = plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Left,
            plotters::style::text_anchor::VPos::Center,
        );
        let style = TextStyle::from((FONT, 17).into_font()).pos(left);
        below.draw(&Text::new(curve.name.clone(), (x + 41, y), style))?;
    }
    area.present()?;
    Ok(())
}

impl Axis {
    /// The place of a number; none where it has none.
    fn place(&self, value: f64) -> Option<f64> {
        let place = if self.scale == Scale::Log { value.log10() } else { value };
        place.is_finite().then_some(place)
    }

    fn tick(&self, place: f64) -> String {
        let whole = (place - place.round()).abs() < 1e-9;
        match self.scale {
            Scale::Whole if !whole => String::new(),
            Scale::Whole => format!("{place:.0}"),
            Scale::Log if whole => format!("1e{place:.0}"),
            Scale::Log => format!("{:.1e}", 10f64.powf(place)),
            Scale::Linear => number(place),
        }
    }

    /// From the least to the greatest of some places, with some room; a logarithmic one by whole powers of ten.
    fn range(&self, places: impl Iterator<Item = f64>) -> Range<f64> {
        let (low, high) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        match self.scale {
            // Rounding is no error of anything.
            Scale::Log => {
                let low = low.max(high - 17.0).floor();
                low..high.ceil().max(low + 1.0)
            }
            Scale::Whole => low - 0.3..high.max(low + 1.0) + 0.3,
            Scale::Linear => {
                let room = if high > low { 0.04 * (high - low) } else { 0.5 };
                low - room..high + room
            }
        }
    }
}

/// A number without noise behind the point.
fn number(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e6).contains(&value.abs()) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn draw_panel<B>(area: &DrawingArea<B, Shift>, panel: &Panel, all: &[&Panel]) -> Result<(), Box<dyn Error>>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let xs = panel.curves.iter().flat_map(|curve| curve.points.iter().filter_map(|(x, _)| panel.x.place(*x)));
    let shown = all.iter().flat_map(|panel| &panel.curves);
    let ys = shown.flat_map(|curve| {
        let ends = curve.spread.iter().flat_map(|(_, low, high)| [*low, *high]);
        curve.points.iter().map(|(_, y)| *y).chain(ends).filter_map(|y| panel.y.place(y))
    });
    let (across, up) = (panel.x.range(xs), panel.y.range(ys));
    let (labels_x, labels_y) = (8, if panel.y.scale == Scale::Log { 9 } else { 8 });
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (FONT, 19))
        .margin(10)
        .margin_right(16)
        .x_label_area_size(46)
        .y_label_area_size(68)
        .build_cartesian_2d(across, up.clone())?;
    chart
        .configure_mesh()
        .x_desc(&panel.x.label)
        .y_desc(&panel.y.label)
        .x_labels(labels_x)
        .y_labels(labels_y)
        .x_label_formatter(&|x| panel.x.tick(*x))
        .y_label_formatter(&|y| panel.y.tick(*y))
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .bold_line_style(RGBColor(225, 225, 225))
        .light_line_style(WHITE)
        .draw()?;
    let place = |x: f64, y: f64| Some((panel.x.place(x)?, panel.y.place(y)?.max(up.start)));
    for curve in &panel.curves {
        let ends: Vec<[(f64, f64); 2]> =
            curve.spread.iter().filter_map(|&(x, low, high)| Some([place(x, low)?, place(x, high)?])).collect();
        if curve.band {
            let lower = ends.iter().map(|[low, _]| *low);
            let round: Vec<_> = lower.chain(ends.iter().rev().map(|[_, high]| *high)).collect();
            chart.draw_series(std::iter::once(Polygon::new(round, curve.colour.mix(0.15))))?;
        } else {
            chart.draw_series(ends.iter().map(|bar| PathElement::new(*bar, curve.colour.stroke_width(1))))?;
        }
    }
    for curve in &panel.curves {
        let points: Vec<(f64, f64)> = curve.points.iter().filter_map(|&(x, y)| place(x, y)).collect();
        let style = curve.colour.stroke_width(2);
        match curve.dash {
            None => chart.draw_series(LineSeries::new(points.iter().copied(), style))?,
            Some((dash, gap)) => chart.draw_series(DashedLineSeries::new(points.iter().copied(), dash, gap, style))?,
        };
        if curve.marks {
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, curve.colour.filled())))?;
        }
    }
    Ok(())
}
