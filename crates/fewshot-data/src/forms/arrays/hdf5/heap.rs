//! Where the bytes of variable-length items are: in the global heap, collections of numbered objects.
//!
//! The library that reads HDF5 copies them, which for tieredImageNet is five gigabytes; the place is
//! enough. Layout: "HDF5 File Format Specification Version 3.0", section III.E.
//!
//! Does not know: datasets.

use std::collections::HashMap;
use std::ops::Range;

/// The widths of numbers of a file, and where its addresses count from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub base: u64,
    /// Bytes of an address.
    pub offset: usize,
    /// Bytes of a length.
    pub length: usize,
}

/// Objects found so far, by the address of their collection and their number.
pub(super) struct Heap<'a> {
    bytes: &'a [u8],
    widths: Widths,
    known: HashMap<u64, HashMap<u16, Range<usize>>>,
    /// How many objects may still be met: honest collections do not overlap, so all objects of a file
    /// have room in it.
    left: usize,
}

impl<'a> Heap<'a> {
    pub fn new(bytes: &'a [u8], widths: Widths) -> Self {
        Self { bytes, widths, known: HashMap::new(), left: bytes.len() / 16 }
    }

    /// The bytes of one reference: count of items of one byte, address of the collection, number of the
    /// object. `None` for an empty item.
    pub fn resolve(&mut self, reference: &[u8]) -> Result<Option<Range<usize>>, String> {
        let number = |range: Range<usize>| reference.get(range).and_then(little).ok_or("a damaged reference");
        let offset = self.widths.offset;
        let (count, address) = (number(0..4)?, number(4..4 + offset)?);
        let index = number(4 + offset..8 + offset)?;
        if count == 0 || index == 0 {
            return Ok(None);
        }
        if !self.known.contains_key(&address) {
            let objects = self.collection(address)?;
            self.known.insert(address, objects);
        }
        let object = u16::try_from(index).ok().and_then(|index| self.known.get(&address)?.get(&index));
        let object = object.ok_or_else(|| format!("object {index} of the heap at {address} is not there"))?;
        let end = usize::try_from(count).ok().and_then(|count| object.start.checked_add(count));
        let end = end.filter(|&end| end <= object.end);
        let end = end.ok_or_else(|| format!("{count} bytes in an object of {}", object.len()))?;
        Ok(Some(object.start..end))
    }

    fn collection(&mut self, address: u64) -> Result<HashMap<u16, Range<usize>>, String> {
        let failed = || format!("the heap at {address} is damaged");
        let Widths { base, length, .. } = self.widths;
        let start = base.checked_add(address).and_then(|start| usize::try_from(start).ok()).ok_or_else(failed)?;
        let bytes = self.bytes;
        let number = |at: usize, width: usize| bytes.get(at..at.checked_add(width)?).and_then(little);
        let head = bytes.get(start..).filter(|rest| rest.starts_with(b"GCOL\x01"));
        head.ok_or_else(failed)?;
        let size = number(start + 8, length).and_then(|size| usize::try_from(size).ok());
        let end = size.and_then(|size| start.checked_add(size)).filter(|&end| end <= bytes.len()).ok_or_else(failed)?;
        let mut objects = HashMap::new();
        let mut at = start + 8 + length;
        while at + 8 + length <= end {
            let index = number(at, 2).ok_or_else(failed)? as u16;
            if index == 0 {
                break;
            }
            self.left = self.left.checked_sub(1).ok_or_else(failed)?;
            let size = number(at + 8, length).and_then(|size| usize::try_from(size).ok()).ok_or_else(failed)?;
            let data = at + 8 + length;
            let stop = data.checked_add(size).filter(|&stop| stop <= end).ok_or_else(failed)?;
            objects.insert(index, data..stop);
            at = stop.checked_next_multiple_of(8).map_or(end, |_| data + size.div_ceil(8) * 8);
        }
        Ok(objects)
    }
}

/// A number of up to 8 bytes, least significant first.
fn little(bytes: &[u8]) -> Option<u64> {
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTHS: Widths = Widths { base: 0, offset: 8, length: 8 };

    fn collection(objects: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (index, data) in objects {
            body.extend(index.to_le_bytes());
            body.extend([1, 0, 0, 0, 0, 0]);
            body.extend((data.len() as u64).to_le_bytes());
            body.extend(*data);
            body.resize(body.len().next_multiple_of(8), 0);
        }
        let size = (body.len() + 16) as u64;
        [&b"GCOL\x01\0\0\0"[..], &size.to_le_bytes(), &body].concat()
    }

    fn reference(count: u32, address: u64, index: u32) -> Vec<u8> {
        [&count.to_le_bytes()[..], &address.to_le_bytes(), &index.to_le_bytes()].concat()
    }

    #[test]
    fn objects_are_found_by_number() {
        let bytes = collection(&[(1, b"abc"), (2, b"12345678"), (7, b"xy")]);
        let mut heap = Heap::new(&bytes, WIDTHS);
        let mut find = |count, index| heap.resolve(&reference(count, 0, index)).map(|r| r.map(|r| &bytes[r]));
        assert_eq!(find(3, 1), Ok(Some(&b"abc"[..])));
        assert_eq!(find(8, 2), Ok(Some(&b"12345678"[..])));
        assert_eq!(find(1, 7), Ok(Some(&b"x"[..])));
        assert_eq!(find(0, 9), Ok(None));
        assert!(find(3, 7).is_err() && find(1, 3).is_err() && find(1, 70_000).is_err());
    }

    #[test]
    fn damage_is_an_error() {
        let whole = collection(&[(1, b"abc")]);
        for end in 0..whole.len() {
            assert!(Heap::new(&whole[..end], WIDTHS).resolve(&reference(3, 0, 1)).is_err(), "{end}");
        }
        for address in [1, 8, u64::MAX] {
            assert!(Heap::new(&whole, WIDTHS).resolve(&reference(3, address, 1)).is_err());
        }
        assert!(Heap::new(&whole, WIDTHS).resolve(&reference(3, 0, 1)[..15]).is_err());
    }
}
