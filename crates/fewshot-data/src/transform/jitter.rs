//! Colour jitter, in the definitions of torchvision for images of floats.
//!
//! Does not know: bytes, crops, where images come from.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::draw::Stream;

/// Shares of red, green and blue in the grey of a colour.
const GREY: [f32; 3] = [0.2989, 0.587, 0.114];

/// Brightness, contrast, saturation and hue changed by factors drawn between bounds, in random order.
///
/// Images of one channel have no saturation and no hue, which then stay. Colours need RGB.
///
/// # Cost
/// 0.03 ms for 84 x 84 x 3, and 0.1 ms with hue: leave that at 0 where it does not matter.
///
/// # Source
/// torchvision's `ColorJitter` on float tensors: a blend with black, with the mean grey, with the grey
/// image; hue as a fraction of the colour circle. Every result is clipped to [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorJitter {
    /// Bounds of the factor; 1 changes nothing, 0 is black.
    pub brightness: [f32; 2],
    /// Bounds of the factor; 1 changes nothing, 0 is grey all over.
    pub contrast: [f32; 2],
    /// Bounds of the factor; 1 changes nothing, 0 is a grey image.
    pub saturation: [f32; 2],
    /// Bounds of the shift, -0.5 to 0.5; 0 changes nothing.
    pub hue: [f32; 2],
}

impl ColorJitter {
    /// Factors from `1 - strength` (0 at least) to `1 + strength`, and a hue shift from `-hue` to `hue`.
    pub fn new(brightness: f32, contrast: f32, saturation: f32, hue: f32) -> Self {
        let about_one = |strength: f32| [(1.0 - strength).max(0.0), 1.0 + strength];
        let [brightness, contrast, saturation] = [brightness, contrast, saturation].map(about_one);
        Self { brightness, contrast, saturation, hue: [-hue, hue] }
    }

    pub(super) fn check(&self, channels: usize) -> Result<(), Error> {
        let wrong = |found: String, expected: &str| {
            Err(Error::Transform { step: "color_jitter", found, expected: expected.to_owned() })
        };
        let all = [
            ("brightness", self.brightness, [0.0, f32::MAX]),
            ("contrast", self.contrast, [0.0, f32::MAX]),
            ("saturation", self.saturation, [0.0, f32::MAX]),
            ("hue", self.hue, [-0.5, 0.5]),
        ];
        for (name, [low, high], [least, most]) in all {
            // Written so that NaN fails.
            if !(least <= low && low <= high && high <= most) {
                let expected = "bounds in order, factors of at least 0, hue within -0.5 and 0.5";
                return wrong(format!("{name} {low} to {high}"), expected);
            }
        }
        if channels == 1 || channels == 3 { Ok(()) } else { wrong(format!("{channels} channels"), "1 or 3") }
    }

    /// Changes a planar image in [0, 1].
    pub(super) fn run(&self, image: &mut [f32], channels: usize, draws: &mut Stream) {
        let mut order = [0, 1, 2, 3];
        draws.shuffle(&mut order);
        let factors = [self.brightness, self.contrast, self.saturation, self.hue].map(|[a, b]| draws.between(a, b));
        for change in order {
            match (change, factors[change]) {
                // What changes nothing is not worth rounding for.
                (3, 0.0) | (0..=2, 1.0) => (),
                (0, factor) => blend(image, 0.0, factor),
                (1, factor) => blend(image, mean_grey(image, channels), factor),
                (2, factor) if channels == 3 => saturate(image, factor),
                (3, shift) if channels == 3 => shift_hue(image, shift),
                _ => (),
            }
        }
    }
}

/// `factor * image + (1 - factor) * other`, clipped.
fn blend(image: &mut [f32], other: f32, factor: f32) {
    let rest = (1.0 - factor) * other;
    image.iter_mut().for_each(|value| *value = (factor * *value + rest).clamp(0.0, 1.0));
}

/// The three planes of an image of three channels.
fn planes(image: &mut [f32]) -> [&mut [f32]; 3] {
    let (red, rest) = image.split_at_mut(image.len() / 3);
    let (green, blue) = rest.split_at_mut(rest.len() / 2);
    [red, green, blue]
}

fn grey(r: f32, g: f32, b: f32) -> f32 {
    GREY[0] * r + GREY[1] * g + GREY[2] * b
}

/// Mean of the grey image, which an image of one channel is itself.
fn mean_grey(image: &[f32], channels: usize) -> f32 {
    let sum = |plane: &[f32]| plane.iter().map(|&value| f64::from(value)).sum::<f64>();
    let pixels = image.len() / channels;
    let sum = match channels {
        3 => image.chunks_exact(pixels).zip(GREY).map(|(plane, share)| f64::from(share) * sum(plane)).sum(),
        _ => sum(image),
    };
    (sum / pixels as f64) as f32
}

fn saturate(image: &mut [f32], factor: f32) {
    let [red, green, blue] = planes(image);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let rest = (1.0 - factor) * grey(*r, *g, *b);
        for value in [r, g, b] {
            *value = (factor * *value + rest).clamp(0.0, 1.0);
        }
    }
}

fn shift_hue(image: &mut [f32], shift: f32) {
    let [red, green, blue] = planes(image);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let [hue, saturation, value] = hsv(*r, *g, *b);
        let hue = hue + shift;
        // `floor` and not `%`, which would leave negative hues negative.
        [*r, *g, *b] = rgb(hue - hue.floor(), saturation, value);
    }
}

/// Hue in [0, 1), saturation and value of a colour.
fn hsv(r: f32, g: f32, b: f32) -> [f32; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = most - least;
    if range == 0.0 {
        return [0.0, 0.0, most];
    }
    let [rc, gc, bc] = [r, g, b].map(|value| (most - value) / range);
    let sixths = if r == most {
        bc - gc
    } else if g == most {
        2.0 + rc - bc
    } else {
        4.0 + gc - rc
    };
    let hue = sixths / 6.0;
    [hue - hue.floor(), range / most, most]
}

/// The colour of a hue in [0, 1].
fn rgb(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    let sixths = hue * 6.0;
    let sector = sixths.floor();
    let part = sixths - sector;
    let low = |share: f32| (value * (1.0 - share)).clamp(0.0, 1.0);
    let (p, q, t) = (low(saturation), low(saturation * part), low(saturation * (1.0 - part)));
    match sector as u32 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Domain;
    use serde_json::Value;

    /// The 8 x 8 image of `tests/pillow/make.py`.
    fn image() -> Vec<f32> {
        let value = |c: usize, y: usize, x: usize| match ((x * x + 7 * y + 31 * c) % 97 < 9, x > y && y % 10 < 3) {
            (true, _) => 0,
            (_, true) => 255,
            _ => (3 * x + 5 * y * (c + 1) + 40 * c) % 256,
        };
        let plane = |c| (0..64).map(move |i| value(c, i / 8, i % 8) as f32 / 255.0);
        (0..3).flat_map(plane).collect()
    }

    #[test]
    fn changes_are_those_of_pillow_and_colorsys() {
        // Pillow rounds to bytes and takes the mean grey as a whole number: 1.5 levels of 255. Hue is
        // colorsys in doubles: 1e-5. A blend with the wrong image is off by tens of levels.
        let file: Value = serde_json::from_str(include_str!("../../tests/pillow/colour.json")).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let factor = case["factor"].as_f64().unwrap() as f32;
            let mut ours = image();
            let tolerance = match case["change"].as_str().unwrap() {
                "brightness" => (blend(&mut ours, 0.0, factor), 1.5 / 255.0).1,
                "contrast" => (blend(&mut ours, mean_grey(&image(), 3), factor), 1.5 / 255.0).1,
                "saturation" => (saturate(&mut ours, factor), 1.5 / 255.0).1,
                _ => (shift_hue(&mut ours, factor), 1e-5).1,
            };
            let theirs: Vec<f32> = serde_json::from_value(case["planar"].clone()).unwrap();
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert!((ours - theirs).abs() <= tolerance, "{case:.40}: {ours} {theirs}");
            }
        }
    }

    #[test]
    fn a_full_circle_comes_back() {
        let mut turned = image();
        shift_hue(&mut turned, 0.5);
        assert!(turned.iter().zip(image()).any(|(a, b)| (a - b).abs() > 0.3));
        shift_hue(&mut turned, -0.5);
        assert!(turned.iter().zip(image()).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn order_and_factors_are_drawn() {
        // Fixed factors, one of which clips, so that only the order differs.
        let mut results = std::collections::BTreeSet::new();
        let fixed = |factor| [factor, factor];
        let jitter =
            ColorJitter { brightness: fixed(1.8), contrast: fixed(0.5), saturation: fixed(0.3), hue: fixed(0.2) };
        for index in 0..400 {
            let mut image = image();
            jitter.run(&mut image, 3, &mut Stream::new(Domain::Transform, 1, 0, index));
            results.insert(image.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        }
        // Some of the 24 orders give the same bits; far more than a fixed order's one remain.
        assert!(results.len() > 8 && results.len() <= 24, "{}", results.len());
    }

    #[test]
    fn no_strength_changes_nothing_and_grey_has_no_colour() {
        let mut draws = Stream::new(Domain::Transform, 0, 0, 0);
        let mut same = image();
        ColorJitter::new(0.0, 0.0, 0.0, 0.0).run(&mut same, 3, &mut draws);
        assert_eq!(same, image());
        let mut plane = vec![0.2, 0.4, 0.9];
        ColorJitter { saturation: [0.0; 2], hue: [0.3; 2], ..ColorJitter::new(0.0, 0.0, 0.0, 0.0) }
            .run(&mut plane, 1, &mut draws);
        assert_eq!(plane, [0.2, 0.4, 0.9]);
    }

    #[test]
    fn impossible_bounds_are_errors() {
        let says = |jitter: ColorJitter, channels| jitter.check(channels).unwrap_err().to_string();
        let hue = says(ColorJitter::new(0.0, 0.0, 0.0, 0.6), 3);
        assert!(hue.starts_with("transform color_jitter: hue -0.6 to 0.6; expected bounds"), "{hue}");
        assert!(says(ColorJitter::new(f32::NAN, 0.0, 0.0, 0.0), 3).contains("brightness"));
        let two = says(ColorJitter::new(0.1, 0.0, 0.0, 0.0), 2);
        assert_eq!(two, "transform color_jitter: 2 channels; expected 1 or 3");
        assert!(ColorJitter::new(2.0, 0.4, 0.4, 0.1).check(1).is_ok());
    }
}
