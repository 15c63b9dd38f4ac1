//! From an image file to pixels of the size and number of channels a dataset has.
//!
//! Does not know: classes, where the bytes came from beyond a name for errors.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};

use crate::dataset::planes;
use crate::error::one_line;
use crate::index::Encoded;
use crate::{Error, Filter, Layout, Limits, resize};

/// A decoder may hold an image in coefficients of two bytes, in three channels, beside the pixels.
const DECODER_BYTES_PER_PIXEL: u64 = 16;

/// What is done to each image before it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Preprocessing {
    /// 1 for greyscale, 3 for colour.
    pub channels: usize,
    /// Height and width to scale to; `None` for the size the images have.
    pub size: Option<[usize; 2]>,
    pub filter: Filter,
}

/// 8-bit pixels, `[channels, height, width]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub pixels: Vec<u8>,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl Encoded {
    /// The bytes of the file.
    ///
    /// # Errors
    /// Those of reading, [`Error::TooLarge`].
    pub fn read(&self, limits: Limits) -> Result<Cow<'_, [u8]>, Error> {
        match self {
            Self::File(path) => read_file(path, limits).map(Cow::Owned),
            Self::Slice(bytes, range) => Ok(Cow::Borrowed((**bytes).as_ref().get(range.clone()).unwrap_or_default())),
            Self::Entry(archive, entry) => match archive.stored(*entry)? {
                Some(range) => Ok(Cow::Borrowed((**archive.bytes()).as_ref().get(range).unwrap_or_default())),
                None => archive.read(*entry, limits).map(Cow::Owned),
            },
        }
    }
}

fn read_file(path: &Path, limits: Limits) -> Result<Vec<u8>, Error> {
    let failed = |cause| Error::reading(path, cause);
    let size = std::fs::metadata(path).map_err(failed)?.len();
    // A file is as long as it says, so this refuses nothing by default but what does not fit at all.
    limits.check(path, "file", size, size)?;
    std::fs::read(path).map_err(failed)
}

impl Picture {
    /// Decodes a PNG or JPEG file to one or three channels, as Pillow does: an alpha channel is dropped, greyscale is
    /// 0.299 red + 0.587 green + 0.114 blue, and an orientation in the EXIF data is not applied. 16 bits are scaled to 8,
    /// also in greyscale, where Pillow cuts off at 255.
    ///
    /// PNG files of 8 bits decode to the same bytes as Pillow's. JPEG leaves rounding to the decoder: greyscale differs by
    /// 1 level of 255 and colour at full resolution by up to 3. Colour at half the resolution, as cameras write it, is
    /// interpolated differently: half a level on average and up to 4 in smooth pictures, up to 30 in black and white noise.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`] from the header alone, [`Error::WebPage`].
    pub fn decode(bytes: &[u8], channels: usize, path: &Path, place: &str, limits: Limits) -> Result<Self, Error> {
        let damaged = |error: image::ImageError| Error::malformed(path, place, one_line(&error));
        if bytes.first() == Some(&b'<') {
            return Err(Error::WebPage { path: path.to_owned() });
        }
        let format = format(bytes).map_err(|problem| Error::malformed(path, place, problem))?;
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let input = bytes.len() as u64;
        let mut bounds = image::Limits::no_limits();
        bounds.max_alloc = Some(limits.for_input(input));
        reader.limits(bounds);
        let decoder = reader.into_decoder().map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        let wanted = (u64::from(width) * u64::from(height)).saturating_mul(DECODER_BYTES_PER_PIXEL);
        limits.check(path, &format!("{place}: an image of {width} x {height}"), wanted, input)?;
        let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        Ok(Self::from_image(image, channels))
    }

    fn from_image(image: DynamicImage, channels: usize) -> Self {
        let (height, width) = (image.height() as usize, image.width() as usize);
        let pixels = match (channels, image) {
            (1, DynamicImage::ImageLuma8(grey)) => grey.into_raw(),
            (1, image) => image.into_rgb8().as_raw().chunks_exact(3).map(luma).collect(),
            (_, image) => planes(image.into_rgb8().as_raw(), 3, Layout::Interleaved),
        };
        Self { pixels, height, width, channels }
    }

    /// An image of an array.
    pub fn from_row(raw: &[u8], shape: [usize; 3], layout: Layout, channels: usize) -> Self {
        let [depth, height, width] = shape;
        let mut pixels = planes(raw, depth, layout);
        match (depth, channels) {
            (3, 1) => pixels = planes_to_luma(&pixels),
            (1, 3) => pixels = pixels.repeat(3),
            _ => {}
        }
        Self { pixels, height, width, channels }
    }

    /// The image at this height and width.
    ///
    /// # Errors
    /// Those of [`resize`].
    pub fn scaled(self, size: [usize; 2], filter: Filter) -> Result<Self, Error> {
        let [height, width] = size;
        if [self.height, self.width] == size {
            return Ok(self);
        }
        let pixels = resize(&self.pixels, [self.channels, self.height, self.width], size, filter)?;
        Ok(Self { pixels, height, width, channels: self.channels })
    }
}

fn planes_to_luma(planes: &[u8]) -> Vec<u8> {
    let plane = planes.len() / 3;
    (0..plane).map(|at| luma(&[planes[at], planes[plane + at], planes[2 * plane + at]])).collect()
}

/// PNG or JPEG, or in words what it is instead.
fn format(bytes: &[u8]) -> Result<ImageFormat, String> {
    let known = image::guess_format(bytes).ok().filter(|f| matches!(f, ImageFormat::Png | ImageFormat::Jpeg));
    known.ok_or_else(|| {
        let found = bytes.get(..bytes.len().min(8)).unwrap_or_default().escape_ascii();
        format!("begins with \"{found}\"; expected a PNG or JPEG image")
    })
}

/// Height and width as an image file's header has them, or what is wrong with it.
pub(crate) fn dimensions(bytes: &[u8]) -> Result<[usize; 2], String> {
    let reader = ImageReader::with_format(Cursor::new(bytes), format(bytes)?);
    let (width, height) = reader.into_dimensions().map_err(|e| one_line(&e))?;
    Ok([height as usize, width as usize])
}

/// Pillow's greyscale of a colour, in its fixed-point arithmetic.
fn luma(rgb: &[u8]) -> u8 {
    let [r, g, b] = [0, 1, 2].map(|c| rgb.get(c).map_or(0, |&value| u32::from(value)));
    ((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(color: png::ColorType, depth: png::BitDepth, width: u32, height: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    fn decode(bytes: &[u8], channels: usize) -> Result<Picture, Error> {
        Picture::decode(bytes, channels, Path::new("a.zip"), "b.png", Limits::default())
    }

    #[test]
    fn colours_alpha_and_greyscale_become_what_pillow_makes_of_them() {
        // Pillow 13.0.0: Image.new("RGBA", (1, 1), (200, 100, 50, 7)).convert("RGB"), .convert("L").
        let rgba = png(png::ColorType::Rgba, png::BitDepth::Eight, 1, 1, &[200, 100, 50, 7]);
        assert_eq!(decode(&rgba, 3).unwrap().pixels, [200, 100, 50]);
        assert_eq!(decode(&rgba, 1).unwrap().pixels, [124]);
        let bits = png(png::ColorType::Grayscale, png::BitDepth::One, 2, 1, &[0b1000_0000]);
        assert_eq!(decode(&bits, 1).unwrap().pixels, [255, 0]);
        assert_eq!(decode(&bits, 3).unwrap().pixels, [255, 0, 255, 0, 255, 0]);
    }

    #[test]
    fn files_of_every_kind_decode_as_with_pillow() {
        // What `tests/pillow/make.py` wrote, of noise. The tolerances are those of `Picture::decode`, and 8 for colour at
        // half the resolution (6 were seen); colours mixed up, an inverted CMYK or a turned image are off by far more.
        let file: serde_json::Value = serde_json::from_str(include_str!("../tests/pillow/decode.json")).unwrap();
        let bytes = |hex: &serde_json::Value| -> Vec<u8> {
            let digits = hex.as_str().unwrap();
            (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
        };
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 13);
        for case in cases {
            let (encoded, tolerance) = (bytes(&case["file"]), case["tolerance"].as_u64().unwrap());
            for (channels, expected) in [(3, bytes(&case["rgb"])), (1, bytes(&case["grey"]))] {
                let found = decode(&encoded, channels).unwrap();
                assert_eq!(
                    (found.width, found.height, found.pixels.len()),
                    (16, 12, expected.len()),
                    "{}",
                    case["name"]
                );
                let worst = found.pixels.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(255);
                assert!(u64::from(worst) <= tolerance, "{} to {channels} channels: {worst}", case["name"]);
            }
        }
    }

    #[test]
    fn rows_of_every_layout_are_the_same_picture() {
        let shape = [3, 1, 2];
        for (raw, layout) in [
            ([1, 4, 2, 5, 3, 6], Layout::Planar),
            ([1, 2, 3, 4, 5, 6], Layout::Interleaved),
            ([3, 2, 1, 6, 5, 4], Layout::Reversed),
        ] {
            assert_eq!(Picture::from_row(&raw, shape, layout, 3).pixels, [1, 4, 2, 5, 3, 6], "{layout:?}");
            let grey = Picture::from_row(&raw, shape, layout, 1).pixels;
            assert_eq!(grey, [luma(&[1, 2, 3]), luma(&[4, 5, 6])]);
        }
        assert_eq!(Picture::from_row(&[9, 8], [1, 1, 2], Layout::Planar, 3).pixels, [9, 8, 9, 8, 9, 8]);
    }

    #[test]
    fn what_is_no_image_or_claims_too_much_is_an_error() {
        let says = |bytes: &[u8]| decode(bytes, 3).unwrap_err().to_string();
        assert_eq!(says(b"GIF89a.."), "a.zip: b.png: begins with \"GIF89a..\"; expected a PNG or JPEG image");
        assert!(says(b"<html>").contains("a web page"));
        let whole = png(png::ColorType::Grayscale, png::BitDepth::Eight, 8, 8, &[7; 64]);
        assert!(says(&whole[..whole.len() - 16]).starts_with("a.zip: b.png: "));
        // The header claims 60,000 x 60,000; nothing of that size may be allocated to find out.
        let mut huge = Vec::new();
        let mut encoder = png::Encoder::new(&mut huge, 60_000, 60_000);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_chunk(png::chunk::IDAT, &[0; 10]).unwrap();
        assert!(matches!(decode(&huge, 3), Err(Error::TooLarge { .. })), "{}", says(&huge));
    }
}
