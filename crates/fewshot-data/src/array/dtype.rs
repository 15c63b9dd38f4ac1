//! The types of the items of arrays, and single items.
//!
//! Does not know: shapes.

use std::fmt;

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

    /// Whether the items are bytes.
    pub fn is_byte(self) -> bool {
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
pub(super) fn float(item: &[u8], big: bool) -> Option<i64> {
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

/// Four bytes for each character.
pub(super) fn utf32(item: &[u8], big: bool) -> Option<String> {
    let character = |four: &[u8]| {
        let code = integer(four, big, false)?;
        char::from_u32(u32::try_from(code).ok()?)
    };
    item.chunks_exact(4).map(character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_numpy_names_them() {
        for (name, shown) in [("u1", "uint8"), ("|b1", "bool"), ("<i8", "int64"), (">f4", "float32"), ("<U3", "U3")] {
            assert_eq!(Dtype::parse(name).unwrap().to_string(), shown);
        }
        for bad in ["", "<", "u3", "S0", "U1073741824", "c8", "M8[ns]", "u-1", "é1", "V5"] {
            assert_eq!(Dtype::parse(bad), None, "{bad}");
        }
    }
}
