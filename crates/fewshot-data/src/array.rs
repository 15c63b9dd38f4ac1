//! Arrays as numpy writes them, whatever file they come from: type of the items, shape, and bytes
//! that stay where they are.
//!
//! Does not know: files, formats, classes.

use std::fmt;
use std::ops::Range;

use crate::Pixels;
use crate::mapped::SharedBytes;

/// What the items of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Unsigned,
    Signed,
    Float,
    /// Byte strings padded with zeros.
    Bytes,
    /// Strings of four bytes a character, padded with zeros.
    Text,
    /// Python objects.
    Object,
}

/// The type of the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dtype {
    pub kind: Kind,
    /// Bytes of one item, at least one.
    pub size: u32,
    /// Whether the most significant byte comes first.
    pub big: bool,
}

impl Dtype {
    /// A type as numpy names it, such as `u1`, `|u1`, `<i8` or `>U12`; `None` for any other.
    pub fn parse(text: &str) -> Option<Self> {
        let (order, rest) = match text.as_bytes().first()? {
            b'<' | b'>' | b'|' | b'=' => (text.as_bytes()[0], text.get(1..)?),
            _ => (b'|', text),
        };
        let size: u32 = if rest == "O" { 8 } else { rest.get(1..)?.parse().ok()? };
        let (kind, sizes): (_, &[u32]) = match rest.as_bytes().first()? {
            b'b' => (Kind::Bool, &[1]),
            b'u' => (Kind::Unsigned, &[1, 2, 4, 8]),
            b'i' => (Kind::Signed, &[1, 2, 4, 8]),
            b'f' => (Kind::Float, &[2, 4, 8, 16]),
            b'S' | b'a' => (Kind::Bytes, &[]),
            b'U' => (Kind::Text, &[]),
            b'O' => (Kind::Object, &[]),
            _ => return None,
        };
        let size = if kind == Kind::Text { size.checked_mul(4)? } else { size };
        let known = size > 0 && (sizes.is_empty() || sizes.contains(&size));
        known.then_some(Self { kind, size, big: false })?.ordered(order)
    }

    /// The same type in the byte order that a character stands for.
    pub fn ordered(self, order: u8) -> Option<Self> {
        match order {
            b'>' => Some(Self { big: true, ..self }),
            b'<' | b'|' => Some(Self { big: false, ..self }),
            // Native order: that of the machine which wrote the file, small end first on all likely ones.
            b'=' => Some(Self { big: false, ..self }),
            _ => None,
        }
    }

    fn is_byte(self) -> bool {
        self.kind == Kind::Unsigned && self.size == 1
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (letter, size) = match self.kind {
            Kind::Bool => return f.write_str("bool"),
            Kind::Unsigned => ("uint", self.size * 8),
            Kind::Signed => ("int", self.size * 8),
            Kind::Float => ("float", self.size * 8),
            Kind::Bytes => ("S", self.size),
            Kind::Text => ("U", self.size / 4),
            Kind::Object => return f.write_str("object"),
        };
        write!(f, "{letter}{size}")
    }
}

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

/// An item of up to 8 bytes, if it fits.
pub(crate) fn integer(item: &[u8], big: bool, signed: bool) -> Option<i64> {
    let mut wide = [0u8; 8];
    let n = item.len().min(8);
    for (i, &byte) in item.iter().take(8).enumerate() {
        wide[if big { n - 1 - i } else { i }] = byte;
    }
    let value = u64::from_le_bytes(wide);
    match (n, signed) {
        (0, _) => Some(0),
        (8, true) => Some(value as i64),
        // Shifted up and back down, which repeats the sign.
        (_, true) => Some(((value << (64 - 8 * n)) as i64) >> (64 - 8 * n)),
        (_, false) => i64::try_from(value).ok(),
    }
}

/// A floating-point item of 4 or 8 bytes as a whole number, if it is one.
fn float(item: &[u8], big: bool) -> Option<i64> {
    let value = real(item, big)?;
    // Below 2^53 every whole number has a floating-point number of its own. NaN fails.
    (value.fract() == 0.0 && value.abs() < 9e15).then_some(value as i64)
}

/// A floating-point item of 4 or 8 bytes.
pub(crate) fn real(item: &[u8], big: bool) -> Option<f64> {
    if let Ok(item) = <[u8; 4]>::try_from(item) {
        return Some(f64::from(if big { f32::from_be_bytes(item) } else { f32::from_le_bytes(item) }));
    }
    let item = <[u8; 8]>::try_from(item).ok()?;
    Some(if big { f64::from_be_bytes(item) } else { f64::from_le_bytes(item) })
}

fn utf32(item: &[u8], big: bool) -> Option<String> {
    let character = |four: &[u8]| {
        let code = integer(four, big, false)?;
        char::from_u32(u32::try_from(code).ok()?)
    };
    item.chunks_exact(4).map(character).collect()
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
    fn types_are_read_as_numpy_names_them() {
        for (name, shown) in [("u1", "uint8"), ("|b1", "bool"), ("<i8", "int64"), (">f4", "float32"), ("<U3", "U3")] {
            assert_eq!(Dtype::parse(name).unwrap().to_string(), shown);
        }
        for bad in ["", "<", "u3", "S0", "U1073741824", "c8", "M8[ns]", "u-1", "é1", "V5"] {
            assert_eq!(Dtype::parse(bad), None, "{bad}");
        }
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
