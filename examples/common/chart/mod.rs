//! Charts: panels of curves on axes that are linear or logarithmic, as SVG and as PNG.
//!
//! `draw` does the drawing, on any backend of plotters; `raster` is the one that makes pixels, with a font of its own.
//!
//! Does not know: what was measured.

mod draw;
mod raster;

use std::error::Error;

use plotters::prelude::*;

use crate::failure::Failure;
use raster::Raster;

pub use draw::CYCLE;

/// A picture.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Above everything.
    pub title: String,
    /// Lines below the title: what was done, what bars and bands are.
    pub subtitle: Vec<String>,
    /// Side by side, at most three in a row.
    pub panels: Vec<Panel>,
    /// Whether all panels have one vertical axis.
    pub same_y: bool,
}

/// A pair of axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is on them. Curves of one name are to have one look in all panels: the legend shows each name once.
    pub curves: Vec<Curve>,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it is, with its unit.
    pub label: String,
    /// How it is divided.
    pub scale: Scale,
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// Evenly, with labels at whole numbers alone.
    Whole,
    /// By powers of ten; what is not positive has no place on it.
    Log,
}

/// A curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its colour.
    pub colour: RGBColor,
    /// Pixels of a dash and of the gap after it; none for a line without gaps.
    pub dash: Option<(i32, i32)>,
    /// Whether its points are marked.
    pub marks: bool,
    /// In the order in which they are joined.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper ends, at these places.
    pub spread: Vec<(f64, f64, f64)>,
    /// Whether the spread is a band along the curve, or a bar at each of its places.
    pub band: bool,
}

impl Axis {
    /// An axis.
    pub fn new(label: impl Into<String>, scale: Scale) -> Self {
        Self { label: label.into(), scale }
    }
}

impl Curve {
    /// A line with marks and without a spread.
    pub fn new(name: impl Into<String>, colour: RGBColor, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), colour, dash: None, marks: true, points, spread: Vec::new(), band: false }
    }

    /// The same as a dashed line.
    #[must_use]
    pub fn dashed(self, dash: (i32, i32)) -> Self {
        Self { dash: Some(dash), ..self }
    }

    /// The same without marks.
    #[must_use]
    pub fn bare(self) -> Self {
        Self { marks: false, ..self }
    }

    /// The same with a bar at each of these places.
    #[must_use]
    pub fn with_bars(self, spread: Vec<(f64, f64, f64)>) -> Self {
        Self { spread, band: false, ..self }
    }

    /// The same with a band through these places.
    #[must_use]
    pub fn with_band(self, spread: Vec<(f64, f64, f64)>) -> Self {
        Self { spread, band: true, ..self }
    }
}

/// Pixels of a PNG for one of an SVG, each way.
const SHARPNESS: u32 = 2;

impl Chart {
    /// The picture as SVG.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`] with what the plotting library reports.
    pub fn svg(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let drawn = draw::draw(&SVGBackend::with_string(&mut text, draw::size(self)).into_drawing_area(), self);
        drawn.map_err(Failure::failed)?;
        Ok(text)
    }

    /// The picture as PNG, in twice the pixels.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`].
    pub fn png(&self) -> Result<Vec<u8>, Failure> {
        self.pixels().map_err(Failure::failed)
    }

    fn pixels(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        let (width, height) = draw::size(self);
        let [across, down] = [width, height].map(|side| side * SHARPNESS);
        let mut pixels = vec![255; 3 * across as usize * down as usize];
        draw::draw(&Raster::new(&mut pixels, (width, height), SHARPNESS)?.into_drawing_area(), self)?;
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, across, down);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::High);
        encoder.write_header()?.write_image_data(&pixels)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        let curve = Curve::new("binomial", RGBColor(0, 114, 178), points.clone())
            .with_band(points.iter().map(|&(x, y)| (x, 0.5 * y, 2.0 * y)).collect());
        let (x, y) = (Axis::new("order L", Scale::Whole), Axis::new("relative error", Scale::Log));
        let panel = Panel { title: "trained".into(), x, y, curves: vec![curve.clone(), curve.dashed((4, 4))] };
        let panels = vec![panel.clone(), panel];
        Chart { title: "Errors".into(), subtitle: vec!["of estimators".into()], panels, same_y: true }
    }

    #[test]
    fn labels_are_in_the_picture_and_names_once() {
        let svg = chart(vec![(0.0, 1.0), (1.0, 1e-2), (2.0, 0.0)]).svg().unwrap();
        for text in ["Errors", "of estimators", "trained", "order L", "relative error", "1e-2"] {
            assert!(svg.contains(text), "no {text}");
        }
        assert_eq!(svg.matches("binomial").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn pixels_are_those_of_the_curve_and_of_text() {
        let file = chart(vec![(0.0, 1.0), (1.0, 1e-2)]).png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let count = |colour: [u8; 3]| pixels.chunks(3).filter(|pixel| **pixel == colour).count();
        // A line of 2 x 2 pixels across two panels, and letters with a dark middle: without them next to nothing would be.
        assert!(count([0, 114, 178]) > 500, "{}", count([0, 114, 178]));
        let dark = pixels.chunks(3).filter(|pixel| pixel.iter().all(|value| *value < 90)).count();
        assert!(dark > 1000, "{dark}");
    }

    #[test]
    fn a_chart_of_nothing_is_drawn() {
        for points in [vec![], vec![(1.0, 3.0)], vec![(f64::NAN, 1.0)]] {
            assert!(chart(points.clone()).svg().is_ok() && chart(points).png().is_ok());
        }
    }
}
