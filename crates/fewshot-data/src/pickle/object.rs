//! What the calls in a pickle mean: arrays (`array.rs`), bytes, containers. No code is run:
//! every callable is a case of this file.
//!
//! Does not know: opcodes.

use std::sync::Arc;

use super::global::Global;
use super::machine::{Fresh, Machine};
use super::value::{Id, Node, add};
use crate::Error;

impl Machine<'_> {
    /// REDUCE, NEWOBJ and NEWOBJ_EX: a global applied to a tuple.
    pub(super) fn call(&mut self, op: u8) -> Result<(), Error> {
        if op == 0x92 {
            let keywords = self.pop()?;
            if self.arena.entries(keywords).is_none_or(|entries| !entries.is_empty()) {
                return Err(self.fail("a call with keywords; expected only arrays and plain containers"));
            }
        }
        let arguments = self.pop()?;
        let callable = self.pop()?;
        let Node::Global(global) = self.arena.node(callable) else {
            return Err(self.fail("a call of something that is no global"));
        };
        let Some(arguments) = self.arena.sequence(arguments).filter(|all| all.len() <= 8).map(<[Id]>::to_vec) else {
            return Err(self.fail(format!("arguments of {global:?} that are not a short tuple")));
        };
        let node = self.apply(global, &arguments)?;
        let node = node.ok_or_else(|| self.fail(format!("a call of {global:?} with arguments it never has")))?;
        self.push(node)?;
        if let (Global::Reconstruct, Ok(id)) = (global, self.top()) {
            let (height, items) = (self.stack.len(), self.arena.items.len());
            self.fresh = Some(Fresh { id, height, items, puts: Vec::new() });
        }
        Ok(())
    }

    /// The value of a call; `None` for arguments that no dataset has.
    fn apply(&mut self, global: Global, arguments: &[Id]) -> Result<Option<Node>, Error> {
        match (global, arguments) {
            (Global::Reconstruct, [class, ..]) => Ok(self.reconstruct(*class)),
            (Global::FromBuffer, [data, dtype, shape, order, ..]) => {
                self.array_from_buffer(*data, *dtype, *shape, *order)
            }
            (Global::Scalar, [dtype, data]) => Ok(self.scalar(*dtype, *data)),
            (Global::Dtype, [name, ..]) => self.dtype(*name).map(Some),
            (Global::Encode, [text, encoding]) => self.encode(*text, *encoding),
            (Global::Bytearray, [data]) if matches!(self.arena.node(*data), Node::Bytes(_) | Node::Blob(_)) => {
                Ok(Some(self.arena.node(*data)))
            }
            (Global::Bytearray, [text, encoding]) => self.encode(*text, *encoding),
            (Global::Bytes | Global::Bytearray, []) => Ok(self.blob(Vec::new())),
            (Global::Range, bounds) => Ok(self.range(bounds)),
            _ => Ok(self.collection(global, arguments)),
        }
    }

    fn collection(&mut self, global: Global, arguments: &[Id]) -> Option<Node> {
        match (global, arguments) {
            (Global::OrderedDict | Global::Dict, []) => self.arena.list(Vec::new()).map(Node::Dict),
            (Global::OrderedDict, [pairs]) => {
                let Node::List(list) = self.arena.node(*pairs) else {
                    return None;
                };
                // Taken, not copied: a list fetched again and again would multiply the memory.
                let pairs = std::mem::take(self.arena.lists.get_mut(list as usize)?);
                let pair = |&pair: &Id| self.arena.sequence(pair).filter(|pair| pair.len() == 2);
                let entries = pairs.iter().map(pair).collect::<Option<Vec<_>>>()?.concat();
                self.arena.list(entries).map(Node::Dict)
            }
            (Global::DefaultDict, [] | [_]) => self.arena.list(Vec::new()).map(Node::Dict),
            (Global::List, []) => self.arena.list(Vec::new()).map(Node::List),
            (Global::Set | Global::Frozenset, []) => self.arena.list(Vec::new()).map(Node::Set),
            // The same items: a list that was written for a set is used for nothing else.
            (Global::Set | Global::Frozenset, [items]) => match self.arena.node(*items) {
                Node::List(list) => Some(Node::Set(list)),
                _ => None,
            },
            _ => None,
        }
    }

    fn range(&mut self, bounds: &[Id]) -> Option<Node> {
        let bounds = bounds.iter().map(|&id| self.arena.int(id)).collect::<Option<Vec<_>>>()?;
        let range = match *bounds.as_slice() {
            [stop] => [0, stop, 1],
            [start, stop] => [start, stop, 1],
            [start, stop, step] if step != 0 => [start, stop, step],
            _ => return None,
        };
        add(&mut self.arena.ranges, range).map(Node::Range)
    }

    /// `_codecs.encode(text, "latin1")`: one byte for each character.
    fn encode(&mut self, text: Id, encoding: Id) -> Result<Option<Node>, Error> {
        let Node::Text(span) = self.arena.node(text) else {
            return Ok(None);
        };
        if !matches!(self.string(encoding), Some("latin1" | "latin-1")) {
            return Ok(None);
        }
        if let Some(&node) = self.decoded.get(&span.start) {
            return Ok(Some(node));
        }
        let source = self.slice(span);
        let node = match source.is_ascii() {
            true => Some(Node::Bytes(span)),
            false => {
                let bytes = latin1(source);
                self.blob(bytes.ok_or_else(|| self.fail("text that does not stand for bytes; the file is damaged"))?)
            }
        };
        // Fetched from the memo a text may come again and again; short ones cost less than to remember them.
        if let Some(node) = node.filter(|_| span.len > 64) {
            self.decoded.insert(span.start, node);
        }
        Ok(node)
    }

    fn blob(&mut self, bytes: Vec<u8>) -> Option<Node> {
        add(&mut self.arena.blobs, Arc::new(bytes)).map(Node::Blob)
    }

    /// BUILD: a state for the value below it.
    pub(super) fn build(&mut self) -> Result<(), Error> {
        let state = self.pop()?;
        let target = self.top()?;
        let items = self.arena.sequence(state).filter(|items| items.len() <= 16).map(<[Id]>::to_vec);
        match (self.arena.node(target), items.as_deref()) {
            (Node::Dtype(dtype), Some([_, order, fields @ ..])) => self.build_dtype(dtype, *order, fields),
            (Node::Array(array), Some(&[_, shape, dtype, fortran, data])) => {
                self.build_array(array, shape, dtype, fortran, data)?;
                self.drop_scaffolding(target);
                Ok(())
            }
            _ => Err(self.fail("a state for something that has none; expected only arrays and plain containers")),
        }
    }
}

/// The bytes that a text of characters below 256 stands for, which take one or two bytes of it each.
///
/// Without branches: which characters take two is random in an image, and a gigabyte of them is common.
fn latin1(text: &[u8]) -> Option<Vec<u8>> {
    let is_first = |byte: u8| byte & 0xFE == 0xC2;
    let count = text.iter().filter(|&&byte| !is_first(byte)).count();
    // One more than needed: the first of two bytes is written too, and the second one over it.
    let mut bytes = vec![0; count + 1];
    let (mut at, mut before, mut valid) = (0, 0u8, true);
    for &byte in text {
        let (first, second) = (is_first(byte), is_first(before));
        valid &= (second == (byte & 0xC0 == 0x80)) & ((byte < 0xC0) | first);
        // All ones for a second byte, which takes its two high bits from the first.
        let mask = u8::from(second).wrapping_neg();
        bytes[at] = ((before << 6) & mask) | (byte & (0x3F | !mask));
        at += usize::from(!first);
        before = byte;
    }
    bytes.truncate(count);
    (valid && !is_first(before)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::latin1;

    #[test]
    fn latin1_covers_all_bytes_and_nothing_else() {
        let all: Vec<u8> = (0..=255).collect();
        let text: String = all.iter().map(|&byte| char::from(byte)).collect();
        assert_eq!(latin1(text.as_bytes()), Some(all));
        for bad in ["\u{100}".as_bytes(), &[0xC3], &[0xC2, 0x41], &[0x80], &[0xC1, 0x80]] {
            assert_eq!(latin1(bad), None, "{bad:?}");
        }
    }
}
