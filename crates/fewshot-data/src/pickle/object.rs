//! What the calls in a pickle mean: arrays, their types and items, and containers. No code is run:
//! every callable is a case of this file.
//!
//! Does not know: opcodes.

use std::sync::Arc;

use super::global::Global;
use super::machine::{Fresh, Machine};
use super::value::{Data, Id, Node, RawArray, add};
use crate::Error;
use crate::array::{Dtype, Kind, integer, real};

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

    fn reconstruct(&mut self, class: Id) -> Option<Node> {
        let Node::Global(Global::Ndarray) = self.arena.node(class) else {
            return None;
        };
        let dtype = Dtype { kind: Kind::Unsigned, size: 1, big: false };
        let array = RawArray { dtype, dims: 0, rank: 0, fortran: false, data: Data::Unset };
        add(&mut self.arena.arrays, array).map(Node::Array)
    }

    fn dtype(&mut self, name: Id) -> Result<Node, Error> {
        let text = self.string(name).unwrap_or_default();
        let dtype = Dtype::parse(text).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            self.fail(format!("array type {text:?}; expected integers, floating-point numbers or strings"))
        })?;
        add(&mut self.arena.dtypes, dtype).map(Node::Dtype).ok_or_else(|| self.full())
    }

    fn scalar(&mut self, dtype: Id, data: Id) -> Option<Node> {
        let Dtype { kind, size, big } = self.arena.dtype(dtype)?;
        let bytes = match self.arena.node(data) {
            Node::Bytes(span) => self.slice(span).to_vec(),
            Node::Blob(blob) => self.arena.blobs.get(blob as usize)?.to_vec(),
            _ => return None,
        };
        if bytes.len() != size as usize {
            return None;
        }
        match kind {
            Kind::Bool => Some(Node::Bool(bytes != [0])),
            Kind::Unsigned | Kind::Signed => {
                Some(integer(&bytes, big, kind == Kind::Signed).map_or(Node::Huge, Node::Int))
            }
            Kind::Float => real(&bytes, big).map(Node::Float),
            Kind::Bytes => Some(self.arena.node(data)),
            // Four bytes a character: of the length of the name, which is short.
            Kind::Text => None,
            Kind::Object => None,
        }
    }

    /// `_codecs.encode(text, "latin1")`: one byte for each character.
    fn encode(&mut self, text: Id, encoding: Id) -> Result<Option<Node>, Error> {
        let Node::Text(span) = self.arena.node(text) else {
            return Ok(None);
        };
        if !matches!(self.string(encoding), Some("latin1" | "latin-1")) {
            return Ok(None);
        }
        let source = self.slice(span);
        if source.is_ascii() {
            return Ok(Some(Node::Bytes(span)));
        }
        if let Some(&blob) = self.decoded.get(&span.start) {
            return Ok(Some(Node::Blob(blob)));
        }
        let bytes =
            latin1(source).ok_or_else(|| self.fail("text that does not stand for bytes; the file is damaged"))?;
        let node = self.blob(bytes);
        if let Some(Node::Blob(blob)) = node {
            self.decoded.insert(span.start, blob);
        }
        Ok(node)
    }

    fn blob(&mut self, bytes: Vec<u8>) -> Option<Node> {
        add(&mut self.arena.blobs, Arc::new(bytes)).map(Node::Blob)
    }

    /// `_frombuffer(bytes, dtype, shape, order)`, the form of protocol 5.
    fn array_from_buffer(&mut self, data: Id, dtype: Id, shape: Id, order: Id) -> Result<Option<Node>, Error> {
        let fortran = match self.string(order) {
            Some("C") => false,
            Some("F") => true,
            _ => return Ok(None),
        };
        let Some(dtype) = self.arena.dtype(dtype) else {
            return Ok(None);
        };
        let array = self.raw_array(dtype, shape, fortran, data)?;
        Ok(add(&mut self.arena.arrays, array).map(Node::Array))
    }

    fn raw_array(&mut self, dtype: Dtype, shape: Id, fortran: bool, data: Id) -> Result<RawArray, Error> {
        if dtype.kind == Kind::Object {
            return Err(self.fail("an array of Python objects; expected numbers or strings"));
        }
        let (data, bytes) = match self.arena.node(data) {
            Node::Bytes(span) => (Data::Span(span), span.len),
            Node::Blob(blob) => (Data::Blob(blob), self.arena.blobs.get(blob as usize).map_or(0, |blob| blob.len())),
            _ => return Err(self.fail("an array whose content is not bytes")),
        };
        let dims = self.arena.sequence(shape).filter(|dims| dims.len() <= 32).map(<[Id]>::to_vec);
        let sizes = dims.and_then(|dims| {
            let size = |&id: &Id| self.arena.int(id).and_then(|d| u64::try_from(d).ok());
            dims.iter().map(size).collect::<Option<Vec<u64>>>()
        });
        let sizes = sizes.ok_or_else(|| self.fail("an array whose shape is not a tuple of sizes"))?;
        let wanted = sizes.iter().try_fold(u64::from(dtype.size), |n, &d| n.checked_mul(d));
        if wanted != Some(bytes as u64) {
            return Err(self.fail(format!("an array of {dtype} of shape {sizes:?} with {bytes} bytes")));
        }
        let start = u32::try_from(self.arena.dims.len()).map_err(|_| self.full())?;
        self.arena.dims.extend_from_slice(&sizes);
        Ok(RawArray { dtype, dims: start, rank: sizes.len() as u8, fortran, data })
    }

    /// BUILD: a state for the value below it.
    pub(super) fn build(&mut self) -> Result<(), Error> {
        let state = self.pop()?;
        let target = self.top()?;
        let items = self.arena.sequence(state).filter(|items| items.len() <= 16).map(<[Id]>::to_vec);
        match (self.arena.node(target), items.as_deref()) {
            (Node::Dtype(dtype), Some([_, order, subtype, names, fields, ..])) => {
                let plain = [subtype, names, fields].iter().all(|id| matches!(self.arena.node(**id), Node::None));
                let order = self.string(*order).and_then(|order| order.bytes().next()).filter(|_| plain);
                let place = self.arena.dtypes.get_mut(dtype as usize);
                let known = place.zip(order).and_then(|(place, order)| {
                    *place = place.ordered(order)?;
                    Some(())
                });
                known.ok_or_else(|| {
                    self.fail("an array type with fields or of unknown byte order; expected a plain one")
                })
            }
            (Node::Array(array), Some([_, shape, dtype, fortran, data])) => {
                let known = self.arena.dtype(*dtype).zip(self.arena.int(*fortran));
                let (dtype, fortran) = known.ok_or_else(|| self.fail("an array whose type is not one of numpy's"))?;
                let built = self.raw_array(dtype, *shape, fortran != 0, *data)?;
                if let Some(place) = self.arena.arrays.get_mut(array as usize) {
                    *place = built;
                }
                self.drop_scaffolding(target);
                Ok(())
            }
            _ => Err(self.fail("a state for something that has none; expected only arrays and plain containers")),
        }
    }

    /// Gives up the values that only served to build the newest array: shape, tuples and bytes.
    /// Without this a list of half a million small arrays takes twice the memory.
    ///
    /// Nothing else can refer to them: they were made after the array and lie above it on the stack,
    /// and no container that is older has grown since. Memo entries of theirs are forgotten, which no
    /// pickler fetches, for all of them are made anew for each array; except what Python keeps one
    /// copy of, such as single bytes, before which this gives way.
    fn drop_scaffolding(&mut self, target: Id) {
        let height = self.stack.len();
        let Some(fresh) = self.fresh.take().filter(|fresh| fresh.id == target && fresh.height == height) else {
            return;
        };
        let first = fresh.id as usize + 1;
        let passing = |node: &Node| match node {
            Node::Bytes(span) | Node::Text(span) => span.len > 1,
            Node::Blob(blob) => self.arena.blobs.get(*blob as usize).is_some_and(|blob| blob.len() > 1),
            Node::Int(_) | Node::Tuple { .. } => true,
            _ => false,
        };
        if self.arena.nodes.get(first..).is_some_and(|nodes| nodes.iter().all(passing)) {
            self.arena.nodes.truncate(first);
            self.arena.items.truncate(fresh.items);
            self.forget(&fresh.puts, first as Id);
        }
    }
}

/// The bytes that a text of characters below 256 stands for.
fn latin1(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() - text.iter().filter(|&&byte| byte >= 0xC2).count());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            0..0x80 => bytes.push(byte),
            0xC2 | 0xC3 => {
                let second = *rest.next().filter(|second| (0x80..0xC0).contains(*second))?;
                bytes.push((byte << 6) | (second & 0x3F));
            }
            _ => return None,
        }
    }
    Some(bytes)
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
