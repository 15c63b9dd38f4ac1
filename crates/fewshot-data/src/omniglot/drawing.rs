//! From a 1-bit PNG drawing to a small greyscale image with ink 255.
//!
//! Does not know: archives beyond their name, classes.

use std::io::Cursor;
use std::panic;
use std::path::Path;
use std::thread;

use png::{BitDepth, ColorType};

use super::listing::Drawing;
use crate::error::one_line;
use crate::resize::PlaneResizer;
use crate::{Error, Filter};

/// Side of the original drawings.
const SIDE: usize = 105;

/// Decodes and scales all drawings, in order. The first bad drawing in order is the error,
/// whichever thread met it.
pub(super) fn decode_all(
    path: &Path,
    drawings: &[Drawing],
    size: usize,
    threads: usize,
) -> Result<Vec<Vec<u8>>, Error> {
    let share = drawings.len().div_ceil(threads).max(1);
    let mut images = Vec::with_capacity(drawings.len());
    thread::scope(|scope| {
        let start = |part| scope.spawn(move || decode_part(path, part, size));
        let workers: Vec<_> = drawings.chunks(share).map(start).collect();
        for worker in workers {
            let part = worker.join().unwrap_or_else(|fault| panic::resume_unwind(fault));
            images.extend(part?);
        }
        Ok(images)
    })
}

fn decode_part(path: &Path, drawings: &[Drawing], size: usize) -> Result<Vec<Vec<u8>>, Error> {
    let mut resizer = PlaneResizer::default();
    let decode = |drawing| {
        let paper = decode(path, drawing)?;
        let mut image = scale(&mut resizer, &paper, size);
        // Inverted after scaling, as the field's pipelines do: rounding and clipping are theirs.
        image.iter_mut().for_each(|value| *value = 255 - *value);
        Ok(image)
    };
    drawings.iter().map(decode).collect()
}

/// The drawing as 105 x 105 bytes, white paper 255.
fn decode(path: &Path, drawing: &Drawing) -> Result<Vec<u8>, Error> {
    let damaged = |error: png::DecodingError| Error::DamagedEntry {
        path: path.to_owned(),
        entry: drawing.entry.clone(),
        cause: one_line(&error),
    };
    let decoder = png::Decoder::new(Cursor::new(drawing.png.as_slice()));
    let mut reader = decoder.read_info().map_err(damaged)?;
    check_kind(path, drawing, reader.info())?;
    let mut packed = vec![0; reader.output_buffer_size().unwrap_or_default()];
    reader.next_frame(&mut packed).map_err(damaged)?;
    Ok(unpack(&packed))
}

fn check_kind(path: &Path, drawing: &Drawing, info: &png::Info) -> Result<(), Error> {
    let (width, height) = (info.width, info.height);
    let (depth, color) = (info.bit_depth, info.color_type);
    let side = SIDE as u32;
    if (width, height, depth, color) == (side, side, BitDepth::One, ColorType::Grayscale) {
        return Ok(());
    }
    let bits = depth as u8;
    Err(Error::WrongImage {
        path: path.to_owned(),
        entry: drawing.entry.clone(),
        found: format!("a {width} x {height} {color:?} PNG of {bits} bits").replace("1 bits", "1 bit"),
    })
}

/// Rows of whole bytes, the leftmost pixel in the highest bit, to one byte per pixel.
fn unpack(packed: &[u8]) -> Vec<u8> {
    let row = |bits: &[u8]| -> Vec<u8> {
        let pixel = |x: usize| if bits[x / 8] >> (7 - x % 8) & 1 == 1 { 255 } else { 0 };
        (0..SIDE).map(pixel).collect()
    };
    packed.chunks_exact(SIDE.div_ceil(8)).flat_map(row).collect()
}

/// Scales as Pillow's `resize((size, size), LANCZOS)` in mode L: on Omniglot one value in a thousand
/// differs, by two levels of 255 at most.
fn scale(resizer: &mut PlaneResizer, paper: &[u8], size: usize) -> Vec<u8> {
    let mut scaled = vec![0; size * size];
    resizer.resize(paper, [SIDE, SIDE], [size, size], Filter::Lanczos, &mut scaled);
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drawing with an ellipse, stripes and specks, white paper 255.
    fn drawing() -> Vec<u8> {
        let ink = |x: i32, y: i32| {
            let ellipse = (x - 40).pow(2) + (2 * y - 90).pow(2) < 1500;
            let (specks, stripes) = ((x * x + 7 * y) % 97 < 9, x > 70 && y % 10 < 3);
            ellipse || specks || stripes
        };
        let pixel = |i: i32| if ink(i % 105, i / 105) { 0 } else { 255 };
        (0..105 * 105).map(pixel).collect()
    }

    /// `255 - numpy.asarray(image.resize((7, 7), Image.LANCZOS))` of [`drawing`], Pillow 13.0.0.
    const PILLOW: [u8; 49] = [
        24, 16, 11, 9, 43, 103, 97, //
        10, 53, 84, 66, 47, 88, 92, //
        168, 250, 255, 255, 228, 115, 85, //
        183, 255, 255, 255, 236, 113, 91, //
        19, 65, 99, 82, 49, 90, 99, //
        27, 16, 10, 8, 42, 96, 92, //
        23, 26, 26, 20, 45, 97, 103,
    ];

    #[test]
    fn scaling_is_pillows() {
        // Columns before rows differ by up to 5 here (and by 32 on real drawings), the nearest
        // neighbour by far more.
        let scaled = scale(&mut PlaneResizer::default(), &drawing(), 7);
        for (ours, pillow) in scaled.iter().zip(PILLOW) {
            let ours = 255 - ours;
            assert!(ours.abs_diff(pillow) <= 1, "{ours} {pillow}");
        }
        assert_eq!(scaled.len(), 49);
    }

    #[test]
    fn full_size_keeps_the_drawing() {
        assert_eq!(scale(&mut PlaneResizer::default(), &drawing(), 105), drawing());
    }

    #[test]
    fn bits_are_unpacked_from_the_highest() {
        let mut packed = vec![0; 2 * 14];
        packed[0] = 0b1000_0001;
        packed[14] = 0b0100_0000;
        let paper = unpack(&packed);
        assert_eq!(paper.len(), 2 * 105);
        let white: Vec<_> = (0..210).filter(|&i| paper[i] == 255).collect();
        assert_eq!(white, [0, 7, 106]);
    }
}
