//! How well one number tells two kinds of things apart.
//!
//! Does not know: what the number is.

use std::error::Error;

use plotters::prelude::*;
use serde::Serialize;

use crate::plot::Labels;

/// Two kinds of things with a number each.
#[derive(Clone, Debug)]
pub struct Kinds {
    /// Those that should have the larger numbers.
    pub larger: Vec<f64>,
    /// Those that should have the smaller ones.
    pub smaller: Vec<f64>,
}

/// How far apart they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Separation {
    /// Mean of those that should be larger; none of nothing.
    pub mean_larger: Option<f64>,
    /// Mean of those that should be smaller; none of nothing.
    pub mean_smaller: Option<f64>,
    /// The share of pairs, one of each kind, whose numbers are in the right order; ties count half. That is the area under
    /// the ROC curve: 1/2 by chance, 1 where one threshold tells all apart. None where a kind has no things.
    pub auc: Option<f64>,
}

impl Kinds {
    /// Numbers, by whether they should be larger.
    pub fn of(values: &[f64], is_larger: impl Fn(usize) -> bool) -> Self {
        let pick = |larger| (0..values.len()).filter(|&at| is_larger(at) == larger).map(|at| values[at]).collect();
        Self { larger: pick(true), smaller: pick(false) }
    }

    /// How far apart they are. Takes time with the product of their numbers.
    pub fn separation(&self) -> Separation {
        let mean = |of: &[f64]| (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64);
        let order = |a: f64, b: f64| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
        let right: f64 = self.larger.iter().flat_map(|a| self.smaller.iter().map(|b| order(*a, *b))).sum();
        let pairs = self.larger.len() * self.smaller.len();
        Separation {
            mean_larger: mean(&self.larger),
            mean_smaller: mean(&self.smaller),
            auc: (pairs > 0).then(|| right / pairs as f64),
        }
    }
}

/// Bars of the histogram, over [0, 1].
const BARS: usize = 25;

/// Histograms of both kinds, whose numbers are in [0, 1], as an SVG picture; `names` of the larger and the smaller ones.
///
/// # Errors
///
/// What the plotting library reports.
pub fn svg(kinds: &Kinds, names: [&str; 2], what: &str, labels: &Labels) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (860, 520)).into_drawing_area();
        area.fill(&WHITE)?;
        let area = area.titled(&labels.title, ("sans-serif", 22))?;
        let area = area.titled(&labels.subtitle, ("sans-serif", 15))?;
        let bars = [&kinds.larger, &kinds.smaller].map(|values| histogram(values));
        let most = bars.iter().flatten().copied().max().unwrap_or(0).max(1);
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..1.0, 0.0..1.05 * most as f64)?;
        chart
            .configure_mesh()
            .x_desc(what)
            .y_desc("samples")
            .y_label_formatter(&|y| format!("{y:.0}"))
            .axis_desc_style(("sans-serif", 17))
            .label_style(("sans-serif", 15))
            .bold_line_style(RGBColor(225, 225, 225))
            .light_line_style(WHITE)
            .draw()?;
        // Blue and vermilion are told apart by everybody (Okabe and Ito).
        for ((bars, name), colour) in bars.iter().zip(names).zip([RGBColor(0, 114, 178), RGBColor(213, 94, 0)]) {
            let bar = |(at, &count): (usize, &usize)| {
                let edge = |at: usize| at as f64 / BARS as f64;
                Rectangle::new([(edge(at), 0.0), (edge(at + 1), count as f64)], colour.mix(0.55).filled())
            };
            chart
                .draw_series(bars.iter().enumerate().filter(|(_, count)| **count > 0).map(bar))?
                .label(name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 16, y + 6)], colour.mix(0.55).filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperMiddle)
            .background_style(WHITE.mix(0.9))
            .border_style(RGBColor(180, 180, 180))
            .label_font(("sans-serif", 16))
            .draw()?;
        area.present()?;
    }
    Ok(text)
}

fn histogram(values: &[f64]) -> [usize; BARS] {
    let mut bars = [0; BARS];
    for value in values {
        // A number that is none lands in the first.
        bars[((value * BARS as f64) as usize).min(BARS - 1)] += 1;
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_by_hand() {
        let kinds = Kinds::of(&[0.9, 0.2, 0.5, 0.5], |at| at % 2 == 0);
        assert_eq!((&kinds.larger, &kinds.smaller), (&vec![0.9, 0.5], &vec![0.2, 0.5]));
        // Of four pairs three are in order and one is a tie.
        let Separation { mean_larger, mean_smaller, auc } = kinds.separation();
        assert_eq!((mean_larger, mean_smaller, auc), (Some(0.7), Some(0.35), Some(0.875)));
        let none = Kinds::of(&[0.1], |_| true).separation();
        assert_eq!((none.mean_smaller, none.auc), (None, None));
    }

    #[test]
    fn every_number_is_in_one_bar() {
        let bars = histogram(&[0.0, 0.039, 0.041, 1.0, 0.999]);
        assert_eq!((bars[0], bars[1], bars[24], bars.iter().sum::<usize>()), (2, 1, 2, 5));
        let kinds = Kinds { larger: vec![0.9], smaller: vec![] };
        let labels = Labels { title: "title".into(), subtitle: "subtitle".into() };
        assert!(svg(&kinds, ["clean", "wrong"], "weight", &labels).unwrap().contains("clean"));
    }
}
