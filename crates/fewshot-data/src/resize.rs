//! Resizing of 8-bit images as Pillow does it.
//!
//! Pillow filters the rows first and rounds and clips to bytes in between, which matters where
//! black meets white; this resizer filters the columns first. So it gets the transposed image, plane
//! by plane.
//!
//! Does not know: files, classes, which size a dataset wants.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The largest side that images are resized to.
const LARGEST: usize = 1 << 14;

/// How pixels are weighed together, by Pillow's names. All of them widen with the scale, so that
/// every pixel counts when an image shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The mean of the pixels that are covered.
    Box,
    /// A triangle.
    Bilinear,
    /// A cubic with a = -0.5.
    Bicubic,
    /// A windowed sinc of three lobes: what few-shot pipelines use most.
    #[default]
    Lanczos,
}

impl Filter {
    fn kernel(self) -> FilterType {
        match self {
            Self::Box => FilterType::Box,
            Self::Bilinear => FilterType::Bilinear,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Lanczos => FilterType::Lanczos3,
        }
    }
}

/// An image at another size, `[height, width]`, as Pillow's `resize` makes it. The image is planar,
/// `channels * height * width` bytes.
///
/// On images of hard edges three values in a hundred differ from Pillow's, by one level of 255 and
/// seldom two: the weights have fewer bits here. On drawings it is one in a thousand.
///
/// # Errors
/// [`Error::Setting`] for a side that is 0 or beyond 16,384, [`Error::ValueCount`] where the bytes
/// are not of that shape.
///
/// # Cost
/// About 70 microseconds from 105 x 105 to 84 x 84, per channel. For many images of one size use a
/// [`Pipeline`](crate::Pipeline), which keeps its buffers.
///
/// # Example
/// ```
/// use fewshot_data::{Filter, resize};
/// let checks = [0, 255, 255, 0];
/// assert_eq!(resize(&checks, [1, 2, 2], [1, 1], Filter::Box)?, [128]);
/// # Ok::<(), fewshot_data::Error>(())
/// ```
pub fn resize(image: &[u8], shape: [usize; 3], to: [usize; 2], filter: Filter) -> Result<Vec<u8>, Error> {
    let [channels, height, width] = shape;
    check_size(to)?;
    check_size([height, width])?;
    let plane = height * width;
    if channels.checked_mul(plane) != Some(image.len()) {
        let expected = format!("{channels} x {height} x {width}");
        return Err(Error::ValueCount { what: "an image to be resized".to_owned(), found: image.len(), expected });
    }
    let mut resized = vec![0; channels * to[0] * to[1]];
    let mut resizer = PlaneResizer::default();
    for (plane, out) in image.chunks_exact(plane).zip(resized.chunks_exact_mut(to[0] * to[1])) {
        resizer.resize(plane, [height, width], to, filter, out);
    }
    Ok(resized)
}

/// Checks that a size is one that can be resized to and from.
pub(crate) fn check_size(size: [usize; 2]) -> Result<(), Error> {
    if size.iter().all(|side| (1..=LARGEST).contains(side)) {
        return Ok(());
    }
    let [height, width] = size;
    let expected = "1 to 16384 pixels for each side";
    Err(Error::Setting { setting: "image size", found: format!("{height} x {width}"), expected })
}

/// A resizer of single planes that keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct PlaneResizer {
    resizer: Resizer,
    turned: Vec<u8>,
    small: Vec<u8>,
}

impl PlaneResizer {
    /// Resizes a plane of `from` = [height, width] bytes into `out`, of the bytes of `to`. Both sizes
    /// have passed [`check_size`].
    pub(crate) fn resize(&mut self, plane: &[u8], from: [usize; 2], to: [usize; 2], filter: Filter, out: &mut [u8]) {
        if from == to {
            out.copy_from_slice(plane);
            return;
        }
        self.turned.resize(plane.len(), 0);
        transpose(plane, from, &mut self.turned);
        self.small.resize(out.len(), 0);
        // Width and height change places; sizes were checked, so that 32 bits hold them.
        let ([height, width], [to_height, to_width]) = (from.map(|side| side as u32), to.map(|side| side as u32));
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter.kernel()));
        let source = ImageRef::new(height, width, &self.turned, PixelType::U8).expect("a byte for each pixel");
        let target = Image::from_slice_u8(to_height, to_width, &mut self.small, PixelType::U8);
        let mut target = target.expect("a byte for each pixel");
        let resized = self.resizer.resize(&source, &mut target, &options);
        resized.expect("both images have bytes for pixels");
        transpose(&self.small, [to[1], to[0]], out);
    }
}

/// Rows become columns; `size` is that of `image`.
fn transpose(image: &[u8], [height, width]: [usize; 2], out: &mut [u8]) {
    debug_assert_eq!((image.len(), out.len()), (height * width, height * width));
    for (column, row) in out.chunks_exact_mut(height).enumerate() {
        row.iter_mut().zip(image.iter().skip(column).step_by(width)).for_each(|(out, byte)| *out = *byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// What `tests/pillow/make.py` wrote: images made there by a formula that is repeated here, and
    /// what Pillow made of them.
    fn cases() -> Vec<Value> {
        let text = include_str!("../tests/pillow/resize.json");
        let file: Value = serde_json::from_str(text).unwrap();
        file["cases"].as_array().unwrap().clone()
    }

    /// The image of the script: smooth colours with sharp stripes and specks, planar.
    fn image([height, width]: [usize; 2]) -> Vec<u8> {
        let value = |c: usize, y: usize, x: usize| match ((x * x + 7 * y + 31 * c) % 97 < 9, x > y && y % 10 < 3) {
            (true, _) => 0,
            (_, true) => 255,
            _ => (3 * x + 5 * y * (c + 1) + 40 * c) % 256,
        };
        let plane = |c| (0..height * width).map(move |i| value(c, i / width, i % width) as u8);
        (0..3).flat_map(plane).collect()
    }

    #[test]
    fn resizing_is_pillows() {
        // Two levels are the most that weights of fewer bits made of these images, 3 % of the values
        // differ at all. Columns before rows, tried here beside it, are far outside of that.
        let (mut count, mut off, mut swapped) = (0, 0, 0);
        for case in cases() {
            let size = |key: &str| serde_json::from_value::<[usize; 2]>(case[key].clone()).unwrap();
            let (from, to) = (size("from"), size("to"));
            let filter: Filter = serde_json::from_value(case["filter"].clone()).unwrap();
            let pillow: Vec<u8> = serde_json::from_value(case["planar"].clone()).unwrap();
            let ours = resize(&image(from), [3, from[0], from[1]], to, filter).unwrap();
            assert_eq!(ours.len(), pillow.len());
            for (ours, pillow) in ours.iter().zip(&pillow) {
                let difference = ours.abs_diff(*pillow);
                assert!(difference <= 2, "{filter:?} {from:?} {to:?}: {ours} {pillow}");
                (count, off) = (count + 1, off + usize::from(difference > 0));
            }
            let columns_first = columns_first(&image(from)[..from[0] * from[1]], from, to, filter);
            swapped = columns_first.iter().zip(&pillow).map(|(a, b)| a.abs_diff(*b)).fold(swapped, u8::max);
        }
        assert!(count > 5_000 && off * 25 < count, "{off} of {count}");
        assert!(swapped > 10, "{swapped}");
    }

    /// The first plane by the resizer as it is.
    fn columns_first(plane: &[u8], from: [usize; 2], to: [usize; 2], filter: Filter) -> Vec<u8> {
        let (mut turned, mut small) = (vec![0; plane.len()], vec![0; to[0] * to[1]]);
        transpose(plane, from, &mut turned);
        let swap = |[height, width]: [usize; 2]| [width, height];
        PlaneResizer::default().resize(&turned, swap(from), swap(to), filter, &mut small);
        let mut out = vec![0; small.len()];
        transpose(&small, swap(to), &mut out);
        out
    }

    #[test]
    fn the_same_size_is_a_copy() {
        let image = image([9, 4]);
        assert_eq!(resize(&image, [3, 9, 4], [9, 4], Filter::Lanczos).unwrap(), image);
    }

    #[test]
    fn buffers_do_not_carry_over() {
        // Catches pixels of a larger image before in the one after.
        let (large, small) = (image([40, 30]), image([20, 30]));
        let mut resizer = PlaneResizer::default();
        let (mut first, mut again) = (vec![0; 64], vec![0; 64]);
        resizer.resize(&small[..600], [20, 30], [8, 8], Filter::Bicubic, &mut first);
        resizer.resize(&large[..1200], [40, 30], [11, 8], Filter::Bicubic, &mut [0; 88]);
        resizer.resize(&small[..600], [20, 30], [8, 8], Filter::Bicubic, &mut again);
        assert_eq!(first, again);
    }

    #[test]
    fn impossible_sizes_are_errors() {
        let says = |to, bytes| resize(&vec![0; bytes], [1, 2, 2], to, Filter::Box).unwrap_err().to_string();
        assert_eq!(says([0, 3], 4), "image size is 0 x 3; expected 1 to 16384 pixels for each side");
        assert!(says([3, usize::MAX], 4).starts_with("image size is 3 x"));
        assert_eq!(says([3, 3], 5), "an image to be resized: 5 values; expected 1 x 2 x 2");
    }
}
