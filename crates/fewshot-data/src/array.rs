//! Arrays as numpy writes them, whatever file they come from: type of the items, shape, and bytes
//! that stay where they are.
//!
//! Does not know: files, formats, classes.

mod dtype;

use std::fmt;
use std::ops::Range;

pub(crate) use dtype::{Dtype, Kind, integer, real};
use dtype::{float, utf32};

use crate::Pixels;
use crate::mapped::SharedBytes;

/// An array whose bytes lie in a file or vector. A clone shares them.
#[derive(Clone)]
pub(crate) struct Array {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Whether the first index runs fastest.
    fortran: bool,
    store: SharedBytes,
    range: Range<usize>,
}

impl Array {
    /// An array over part of a store.
    ///
    /// # Errors
    /// What contradicts what, where the bytes are not as many as type and shape say.
    pub fn new(
        dtype: Dtype,
        shape: &[u64],
        fortran: bool,
        store: SharedBytes,
        range: Range<usize>,
    ) -> Result<Self, String> {
        if dtype.kind == Kind::Object {
            return Err("an array of Python objects; expected numbers or strings".to_owned());
        }
        let bytes = shape.iter().try_fold(u64::from(dtype.size), |n, &d| n.checked_mul(d));
        if bytes != Some(range.len() as u64) {
            return Err(format!("{} bytes for an array of {dtype} of shape {shape:?}", range.len()));
        }
        if (*store).as_ref().get(range.clone()).is_none() {
            return Err(format!("bytes {range:?} lie beyond the end"));
        }
        let dims = shape.iter().map(|&d| usize::try_from(d));
        let shape = dims.collect::<Result<_, _>>().map_err(|_| format!("a shape of {shape:?}"))?;
        Ok(Self { dtype, shape, fortran, store, range })
    }

    /// The bytes.
    pub fn data(&self) -> &[u8] {
        let all: &[u8] = (*self.store).as_ref();
        all.get(self.range.clone()).unwrap_or_default()
    }

    /// Where the bytes are.
    pub fn place(&self) -> (SharedBytes, Range<usize>) {
        (self.store.clone(), self.range.clone())
    }

    /// Type and shape, for messages.
    pub fn describe(&self) -> String {
        format!("{} of shape {:?}", self.dtype, self.shape)
    }

    /// Whether it is one row, such as `[n]` or `[n, 1]`.
    pub fn is_vector(&self) -> bool {
        !self.shape.is_empty() && self.shape.iter().filter(|&&d| d != 1).count() <= 1
    }

    /// Whether it is a vector of bytes, as an image file in an array is.
    pub fn is_byte_vector(&self) -> bool {
        self.dtype.is_byte() && self.is_vector()
    }

    /// How many rows of so many bytes it is, for a matrix of bytes in C order.
    pub fn byte_rows(&self, width: usize) -> Option<usize> {
        match *self.shape.as_slice() {
            [rows, found] if found == width && self.dtype.is_byte() && !(self.fortran && rows > 1) => Some(rows),
            _ => None,
        }
    }

    /// The items of a vector as whole numbers; floating-point numbers must be whole.
    pub fn ints(&self) -> Result<Vec<i64>, String> {
        let Dtype { kind, size, big } = self.dtype;
        let number = matches!(kind, Kind::Bool | Kind::Unsigned | Kind::Signed)
            || (kind == Kind::Float && matches!(size, 4 | 8));
        if !self.is_vector() || !number {
            return Err(format!("{}; expected one whole number for each image", self.describe()));
        }
        let int = |item: &[u8]| {
            let found = match kind {
                Kind::Float => float(item, big).ok_or_else(|| "a number that is not whole".to_owned()),
                _ => integer(item, big, kind == Kind::Signed).ok_or_else(|| "a number beyond 2^63".to_owned()),
            };
            found.map_err(|what| format!("{what} among {}", self.describe()))
        };
        self.data().chunks_exact(size as usize).map(int).collect()
    }

    /// The items of a vector as strings, without the padding.
    pub fn strings(&self) -> Result<Vec<String>, String> {
        if !self.is_vector() || !matches!(self.dtype.kind, Kind::Bytes | Kind::Text) {
            return Err(format!("{}; expected a list of names", self.describe()));
        }
        let string = |item: &[u8]| {
            let text = match self.dtype.kind {
                Kind::Bytes => std::str::from_utf8(item).ok().map(str::to_owned),
                _ => utf32(item, self.dtype.big),
            };
            let text = text.map(|text| text.trim_end_matches('\0').to_owned());
            text.ok_or_else(|| format!("a name that is not text among {}", self.describe()))
        };
        self.data().chunks_exact(self.dtype.size as usize).map(string).collect()
    }

    /// The array as images of 8 bits: `[n, height, width]`, `[n, height, width, channels]` or
    /// `[n, channels, height, width]`, with 1 or 3 channels. Returns the pixels, in planar or
    /// interleaved layout, and `[channels, height, width]`.
    pub fn images(&self) -> Result<(Pixels, [usize; 3]), String> {
        const WANTED: &str = "[n, height, width, channels] or [n, channels, height, width] with 1 or 3 channels";
        if !self.dtype.is_byte() {
            return Err(format!("images are {}; expected uint8, 0 to 255", self.describe()));
        }
        if self.fortran && !self.is_vector() {
            return Err(format!("images are {} in Fortran order; expected C order", self.describe()));
        }
        let channels = |d: usize| d == 1 || d == 3;
        let (shape, layout) = match *self.shape.as_slice() {
            [_, h, w] => ([1, h, w], crate::Layout::Planar),
            [_, a, _, b] if channels(a) && channels(b) && a * b != 1 => {
                return Err(format!(
                    "images are {}: either end may be the channels; expected {WANTED}",
                    self.describe()
                ));
            }
            [_, h, w, c] if channels(c) => ([c, h, w], crate::Layout::Interleaved),
            [_, c, h, w] if channels(c) => ([c, h, w], crate::Layout::Planar),
            _ => return Err(format!("images are {}; expected {WANTED}", self.describe())),
        };
        if self.data().is_empty() {
            return Err(format!("images are {}; expected at least one", self.describe()));
        }
        let layout = if shape[0] == 1 { crate::Layout::Planar } else { layout };
        let pixels = Pixels::shared(self.store.clone(), self.range.clone()).map_err(|error| error.to_string())?;
        Ok((pixels.with_layout(layout), shape))
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({})", self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn array(dtype: &str, shape: &[u64], fortran: bool, bytes: Vec<u8>) -> Result<Array, String> {
        let range = 0..bytes.len();
        Array::new(Dtype::parse(dtype).unwrap(), shape, fortran, Arc::new(bytes), range)
    }

    #[test]
    fn whole_numbers_of_every_type_are_read() {
        let read = |dtype, bytes: Vec<u8>, n| array(dtype, &[n], false, bytes).unwrap().ints();
        assert_eq!(read("u1", vec![0, 255], 2).unwrap(), [0, 255]);
        assert_eq!(read("i1", vec![0x80, 1], 2).unwrap(), [-128, 1]);
        assert_eq!(read("<i2", vec![0xFE, 0xFF, 1, 2], 2).unwrap(), [-2, 513]);
        assert_eq!(read(">i4", vec![0xFF, 0xFF, 0xFF, 0xFD], 1).unwrap(), [-3]);
        assert_eq!(read(">u2", vec![1, 2], 1).unwrap(), [258]);
        assert_eq!(read("<i8", (-7i64).to_le_bytes().to_vec(), 1).unwrap(), [-7]);
        assert_eq!(read("<f4", 5f32.to_le_bytes().to_vec(), 1).unwrap(), [5]);
        assert_eq!(read(">f8", (-3f64).to_be_bytes().to_vec(), 1).unwrap(), [-3]);
        assert!(read("<f4", 5.5f32.to_le_bytes().to_vec(), 1).is_err());
        assert!(read("<f4", f32::NAN.to_le_bytes().to_vec(), 1).is_err());
        assert!(read("<u8", u64::MAX.to_le_bytes().to_vec(), 1).is_err());
        assert!(array("u1", &[2, 2], false, vec![0; 4]).unwrap().ints().is_err());
    }

    #[test]
    fn strings_lose_their_padding() {
        let names = array("S3", &[2], false, b"ab\0cde".to_vec()).unwrap();
        assert_eq!(names.strings().unwrap(), ["ab", "cde"]);
        let wide = |big: bool| {
            let bytes =
                "né".chars().flat_map(|c| if big { (c as u32).to_be_bytes() } else { (c as u32).to_le_bytes() });
            bytes.chain([0; 4]).collect::<Vec<_>>()
        };
        assert_eq!(array("<U3", &[1], false, wide(false)).unwrap().strings().unwrap(), ["né"]);
        assert_eq!(array(">U3", &[1], false, wide(true)).unwrap().strings().unwrap(), ["né"]);
        assert!(array(">U3", &[1], false, wide(false)).unwrap().strings().is_err());
    }

    #[test]
    fn shapes_that_do_not_fit_the_bytes_are_errors() {
        assert!(array("u1", &[5], false, vec![0; 4]).is_err());
        assert!(array("u1", &[1 << 63, 2], false, vec![]).is_err());
        assert!(array("O", &[0], false, vec![]).unwrap_err().contains("Python objects"));
    }

    #[test]
    fn only_images_of_bytes_in_c_order_are_images() {
        use crate::Layout::{Interleaved, Planar};
        let images = |shape: &[u64], fortran| {
            let count = shape.iter().product::<u64>() as usize;
            array("u1", shape, fortran, vec![0; count]).unwrap().images().map(|(p, s)| (p.layout(), s))
        };
        assert_eq!(images(&[2, 5, 4, 3], false), Ok((Interleaved, [3, 5, 4])));
        assert_eq!(images(&[2, 3, 5, 4], false), Ok((Planar, [3, 5, 4])));
        assert_eq!(images(&[2, 5, 4], false), Ok((Planar, [1, 5, 4])));
        assert_eq!(images(&[2, 5, 4, 1], false), Ok((Planar, [1, 5, 4])));
        assert!(images(&[2, 5, 4, 3], true).unwrap_err().contains("Fortran"));
        assert!(images(&[2, 3, 4, 3], false).unwrap_err().contains("either end"));
        assert!(images(&[2, 5, 4, 2], false).is_err());
        assert!(images(&[0, 5, 4, 3], false).is_err());
        let floats = array("<f4", &[1, 1, 1], false, vec![0; 4]).unwrap();
        assert_eq!(floats.images().unwrap_err(), "images are float32 of shape [1, 1, 1]; expected uint8, 0 to 255");
    }
}
