//! Steps on planar bytes: resizing, crops, flips.
//!
//! Does not know: colours, floats, seeds.

use super::{Affine, Fill, Step};
use crate::draw::Stream;
use crate::resize::{PlaneResizer, check_size};
use crate::{Error, Filter};

/// A step fitted to the size of images that it gets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fitted {
    Resize(Filter),
    /// Cut at a fixed place: first row and column.
    Cut([usize; 2]),
    /// Cut at a random place of the padded image.
    RandomCut(usize, Fill),
    Flip(f32),
    Affine(Affine),
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Self::Resize { .. } => "resize",
            Self::ShorterSide { .. } => "shorter_side",
            Self::CenterCrop { .. } => "center_crop",
            Self::RandomCrop { .. } => "random_crop",
            Self::Flip { .. } => "flip",
            Self::Affine(_) => "affine",
        }
    }

    /// The step for images of size `from`, and the size it makes of them.
    pub(super) fn fit(&self, from: [usize; 2]) -> Result<(Fitted, [usize; 2]), Error> {
        let fitted = match *self {
            Self::Resize { size, filter } => (Fitted::Resize(filter), size),
            Self::ShorterSide { side, filter } => {
                check_size([side, side])?;
                let shorter = from[0].min(from[1]);
                // Sides are 2^14 at most, so the product cannot overflow.
                (
                    Fitted::Resize(filter),
                    from.map(|length| if length == shorter { side } else { length * side / shorter }),
                )
            }
            Self::CenterCrop { size } => {
                self.check_crop(size, from)?;
                (Fitted::Cut([middle(from[0] - size[0]), middle(from[1] - size[1])]), size)
            }
            Self::RandomCrop { size, padding, fill } => {
                self.check_padding(padding, fill, from)?;
                self.check_crop(size, from.map(|side| side + 2 * padding))?;
                (Fitted::RandomCut(padding, fill), size)
            }
            Self::Flip { probability } => {
                if !(0.0..=1.0).contains(&probability) {
                    return Err(self.wrong(format!("probability {probability}"), "0 to 1".to_owned()));
                }
                (Fitted::Flip(probability), from)
            }
            Self::Affine(affine) => {
                affine.check()?;
                (Fitted::Affine(affine), from)
            }
        };
        check_size(fitted.1)?;
        Ok(fitted)
    }

    fn check_crop(&self, [height, width]: [usize; 2], from: [usize; 2]) -> Result<(), Error> {
        if height <= from[0] && width <= from[1] {
            return Ok(());
        }
        let found = format!("{height} x {width} of images of {} x {}", from[0], from[1]);
        Err(self.wrong(found, "a size within the image and its padding".to_owned()))
    }

    fn check_padding(&self, padding: usize, fill: Fill, [height, width]: [usize; 2]) -> Result<(), Error> {
        // A mirror image ends where the image does; zeros are bounded so that sides stay small numbers.
        let most = if fill == Fill::Reflect { height.min(width).saturating_sub(1) } else { 1 << 14 };
        if padding <= most {
            return Ok(());
        }
        let found = format!("padding {padding} of images of {height} x {width}");
        Err(self.wrong(found, format!("{most} at most")))
    }

    fn wrong(&self, found: String, expected: String) -> Error {
        Error::Transform { step: self.name(), found, expected }
    }
}

/// Half of it, and where there is a half, the even neighbour: Python's `round`, as torchvision has it.
fn middle(rest: usize) -> usize {
    let half = rest / 2;
    if rest % 2 == 1 { half + half % 2 } else { half }
}

impl Fitted {
    /// Runs the step from planes of size `from` to planes of size `to`. `false`, and nothing is
    /// written, where it leaves the image as it is.
    pub(super) fn run(
        &self,
        (image, from): (&[u8], [usize; 2]),
        (out, to): (&mut Vec<u8>, [usize; 2]),
        resizer: &mut PlaneResizer,
        draws: &mut Stream,
    ) -> bool {
        let cut = match *self {
            Self::Resize(_) => None,
            Self::Cut([y, x]) => Some((y as isize, x as isize, Fill::Zero)),
            Self::RandomCut(padding, fill) => {
                // First the row, then the column, over all places in the padded image.
                let mut place = |side: usize| {
                    let places = from[side] + 2 * padding - to[side] + 1;
                    draws.below(places) as isize - padding as isize
                };
                let (y, x) = (place(0), place(1));
                Some((y, x, fill))
            }
            Self::Flip(probability) if draws.unit() >= probability => return false,
            Self::Flip(_) => None,
            Self::Affine(affine) => {
                affine.run(image, from, out, draws);
                return true;
            }
        };
        let (planes, size) = (image.chunks_exact(from[0] * from[1]), to[0] * to[1]);
        out.resize(planes.len() * size, 0);
        for (plane, out) in planes.zip(out.chunks_exact_mut(size)) {
            match (self, cut) {
                (_, Some((y, x, fill))) => cut_out((plane, from), (out, to), [y, x], fill),
                (Self::Resize(filter), _) => resizer.resize(plane, from, to, *filter, out),
                _ => flip((plane, out), from[1]),
            }
        }
        true
    }
}

fn flip((plane, out): (&[u8], &mut [u8]), width: usize) {
    for (row, out) in plane.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        out.iter_mut().zip(row.iter().rev()).for_each(|(out, byte)| *out = *byte);
    }
}

/// The part of `to` whose first pixel is at `at`, which may lie outside the plane.
fn cut_out((plane, from): (&[u8], [usize; 2]), (out, to): (&mut [u8], [usize; 2]), at: [isize; 2], fill: Fill) {
    // What of each row lies within the plane is copied as one piece.
    let first = (-at[1]).clamp(0, to[1] as isize) as usize;
    let last = (from[1] as isize - at[1]).clamp(first as isize, to[1] as isize) as usize;
    for (y, out) in out.chunks_exact_mut(to[1]).enumerate() {
        let Some(y) = within(at[0] + y as isize, from[0], fill) else {
            out.fill(0);
            continue;
        };
        let row = &plane[y * from[1]..][..from[1]];
        if first < last {
            let start = (at[1] + first as isize) as usize;
            out[first..last].copy_from_slice(&row[start..][..last - first]);
        }
        for x in (0..first).chain(last..to[1]) {
            out[x] = within(at[1] + x as isize, from[1], fill).map_or(0, |x| row[x]);
        }
    }
}

/// The position within `0..side` that stands for one that may lie outside; `None` for zero.
pub(super) fn within(at: isize, side: usize, fill: Fill) -> Option<usize> {
    let side = side as isize;
    match fill {
        _ if (0..side).contains(&at) => Some(at as usize),
        Fill::Zero => None,
        // There and back again, and again.
        Fill::Reflect => {
            let period = (2 * side - 2).max(1);
            let at = at.rem_euclid(period);
            Some(at.min(period - at) as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Domain;
    use proptest::prelude::*;

    fn draws(index: u64) -> Stream {
        Stream::new(Domain::Transform, 0, 0, index)
    }

    fn run(step: Step, image: &[u8], from: [usize; 2], index: u64) -> Vec<u8> {
        let (fitted, to) = step.fit(from).unwrap();
        let mut out = Vec::new();
        let changed = fitted.run((image, from), (&mut out, to), &mut PlaneResizer::default(), &mut draws(index));
        if changed { out } else { image.to_vec() }
    }

    #[test]
    fn the_middle_is_cut_out_of_every_plane() {
        let image: Vec<u8> = (0..40).collect();
        let cut = run(Step::CenterCrop { size: [2, 3] }, &image, [4, 5], 0);
        assert_eq!(cut, [6, 7, 8, 11, 12, 13, 26, 27, 28, 31, 32, 33]);
        // torchvision: int(round((h - th) / 2.0)), which rounds halves to even.
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(middle), [0, 0, 1, 2, 2, 2, 4]);
    }

    #[test]
    fn the_shorter_side_rules() {
        let fit = |side, from| Step::ShorterSide { side, filter: Filter::Box }.fit(from).unwrap().1;
        assert_eq!((fit(92, [375, 500]), fit(92, [500, 375])), ([92, 122], [122, 92]));
        assert_eq!((fit(92, [92, 130]), fit(64, [32, 32])), ([92, 130], [64, 64]));
    }

    #[test]
    fn padding_is_zero_or_a_mirror() {
        // As numpy.pad(mode="constant") and "reflect" of [[1, 2, 3], [4, 5, 6]], all of it cut out.
        let plane = [1, 2, 3, 4, 5, 6];
        let crop = |fill| run(Step::RandomCrop { size: [4, 5], padding: 1, fill }, &plane, [2, 3], 0);
        assert_eq!(crop(Fill::Zero), [0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 4, 5, 6, 0, 0, 0, 0, 0, 0]);
        assert_eq!(crop(Fill::Reflect), [5, 4, 5, 6, 5, 2, 1, 2, 3, 2, 5, 4, 5, 6, 5, 2, 1, 2, 3, 2]);
    }

    #[test]
    fn crops_are_at_every_place_equally_often() {
        // 3 x 5 places, 15,000 crops: 1,000 each, within 5 sigma (153). Catches a place that cannot be
        // reached, such as the last one.
        let image: Vec<u8> = (0..4 * 6).map(|i| i + 1).collect();
        let mut counts = [0i32; 25];
        for index in 0..15_000 {
            let step = Step::RandomCrop { size: [4, 4], padding: 1, fill: Fill::Zero };
            let cut = run(step, &image, [4, 6], index);
            // The pixel in the second row and column names the place.
            counts[usize::from(cut[5])] += 1;
        }
        let places: Vec<i32> = counts.into_iter().filter(|&count| count > 0).collect();
        assert!(places.len() == 15 && places.iter().all(|count| (count - 1_000).abs() < 153), "{counts:?}");
    }

    #[test]
    fn a_flip_has_its_probability_and_turns_rows() {
        let flipped = |probability, index| run(Step::Flip { probability }, &[1, 2, 3, 4, 5, 6], [2, 3], index);
        assert!((0..50).all(|i| flipped(1.0, i) == [3, 2, 1, 6, 5, 4] && flipped(0.0, i) == [1, 2, 3, 4, 5, 6]));
        // 5 sigma of 4,000 draws with 0.3 are 145.
        let count = (0..4_000).filter(|&i| flipped(0.3, i)[0] == 3).count();
        assert!(count.abs_diff(1_200) < 145, "{count}");
    }

    proptest! {
        #[test]
        fn cuts_are_parts_of_the_padded_plane(
            (from, padding, to, at) in (1usize..7, 1usize..7).prop_flat_map(|(height, width)| {
                let padding = 0..height.min(width);
                (Just([height, width]), padding)
            }).prop_flat_map(|(from, padding)| {
                let padded = from.map(|side| side + 2 * padding);
                (Just(from), Just(padding), 1..=padded[0], 1..=padded[1])
            }).prop_flat_map(|(from, padding, height, width)| {
                let places = [from[0] + 2 * padding - height, from[1] + 2 * padding - width];
                (Just(from), Just(padding), Just([height, width]), (0..=places[0], 0..=places[1]))
            }),
            mirror: bool,
        ) {
            let plane: Vec<u8> = (1..=(from[0] * from[1]) as u8).collect();
            // One pixel after the other, from positions counted out as a mirror shows them.
            let mirrored = |side: usize| {
                let inside = 0..side;
                let left = (1..=padding).rev();
                let right = (0..padding).map(move |i| side.saturating_sub(2 + i));
                left.chain(inside).chain(right).collect::<Vec<_>>()
            };
            let (rows, columns) = (mirrored(from[0]), mirrored(from[1]));
            let inside = |at: usize, side: usize| (padding..padding + side).contains(&at);
            let pixel = |y: usize, x: usize| {
                let shown = mirror || inside(y, from[0]) && inside(x, from[1]);
                if shown { plane[rows[y] * from[1] + columns[x]] } else { 0 }
            };
            let places = (0..to[0]).flat_map(|y| (0..to[1]).map(move |x| (y, x)));
            let expected: Vec<u8> = places.map(|(y, x)| pixel(at.0 + y, at.1 + x)).collect();
            let fill = if mirror { Fill::Reflect } else { Fill::Zero };
            let first = [at.0, at.1].map(|at| at as isize - padding as isize);
            let mut cut = vec![77; to[0] * to[1]];
            cut_out((&plane, from), (&mut cut, to), first, fill);
            prop_assert_eq!(cut, expected);
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let says = |step: Step| step.fit([32, 30]).unwrap_err().to_string();
        let crop = says(Step::CenterCrop { size: [32, 31] });
        assert_eq!(
            crop,
            "transform center_crop: 32 x 31 of images of 32 x 30; expected a size within the image and its padding"
        );
        let mirror = says(Step::RandomCrop { size: [32, 32], padding: 30, fill: Fill::Reflect });
        assert_eq!(mirror, "transform random_crop: padding 30 of images of 32 x 30; expected 29 at most");
        assert!(
            says(Step::RandomCrop { size: [0, 3], padding: 0, fill: Fill::Zero }).starts_with("image size is 0 x 3")
        );
        let huge = Step::RandomCrop { size: [3, 3], padding: usize::MAX / 2, fill: Fill::Zero };
        assert!(says(huge).contains("expected 16384 at most"));
        assert!(says(Step::Flip { probability: f32::NAN }).contains("probability NaN"));
        assert!(says(Step::ShorterSide { side: 0, filter: Filter::Box }).starts_with("image size is 0 x 0"));
        assert!(says(Step::Resize { size: [9, 99_999], filter: Filter::Box }).contains("9 x 99999"));
    }
}
