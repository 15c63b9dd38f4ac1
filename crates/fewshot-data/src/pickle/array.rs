//! Arrays in a pickle: their types, items, shapes and bytes.
//!
//! Does not know: opcodes, other objects.

use super::global::Global;
use super::machine::Machine;
use super::value::{Data, Id, Node, RawArray, add};
use crate::Error;
use crate::array::{Dtype, Kind, integer, real};

impl Machine<'_> {
    pub(super) fn reconstruct(&mut self, class: Id) -> Option<Node> {
        let Node::Global(Global::Ndarray) = self.arena.node(class) else {
            return None;
        };
        let dtype = Dtype { kind: Kind::Unsigned, size: 1, big: false };
        let array = RawArray { dtype, dims: 0, rank: 0, fortran: false, data: Data::Unset };
        add(&mut self.arena.arrays, array).map(Node::Array)
    }

    pub(super) fn dtype(&mut self, name: Id) -> Result<Node, Error> {
        let text = self.string(name).unwrap_or_default();
        let dtype = Dtype::parse(text).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            self.fail(format!("array type {text:?}; expected integers, floating-point numbers or strings"))
        })?;
        add(&mut self.arena.dtypes, dtype).map(Node::Dtype).ok_or_else(|| self.full())
    }

    pub(super) fn scalar(&mut self, dtype: Id, data: Id) -> Option<Node> {
        let Dtype { kind, size, big } = self.arena.dtype(dtype)?;
        let bytes = match self.arena.node(data) {
            Node::Bytes(span) => self.slice(span),
            Node::Blob(blob) => self.arena.blobs.get(blob as usize)?,
            _ => return None,
        };
        if bytes.len() != size as usize {
            return None;
        }
        match kind {
            Kind::Bool => Some(Node::Bool(bytes != [0])),
            Kind::Unsigned | Kind::Signed => {
                Some(integer(bytes, big, kind == Kind::Signed).map_or(Node::Huge, Node::Int))
            }
            Kind::Float => real(bytes, big).map(Node::Float),
            Kind::Bytes => Some(self.arena.node(data)),
            // No dataset was seen to have a string in this form.
            Kind::Text | Kind::Object => None,
        }
    }

    /// `_frombuffer(bytes, dtype, shape, order)`, the form of protocol 5.
    pub(super) fn array_from_buffer(
        &mut self,
        data: Id,
        dtype: Id,
        shape: Id,
        order: Id,
    ) -> Result<Option<Node>, Error> {
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

    /// Gives up the values that only served to build the newest array: shape, tuples and bytes.
    /// Without this a list of half a million small arrays takes twice the memory.
    ///
    /// Nothing else can refer to them: they were made after the array and lie above it on the stack,
    /// and no container that is older has grown since. Memo entries of theirs are forgotten, which no
    /// pickler fetches, for all of them are made anew for each array; except what Python keeps one
    /// copy of, such as single bytes, before which this gives way.
    pub(super) fn drop_scaffolding(&mut self, target: Id) {
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

    /// The byte order of a type, which is made without one.
    pub(super) fn build_dtype(&mut self, dtype: u32, order: Id, fields: &[Id]) -> Result<(), Error> {
        let plain = fields.iter().take(3).all(|id| matches!(self.arena.node(*id), Node::None));
        let order = self.string(order).and_then(|order| order.bytes().next()).filter(|_| plain);
        let place = self.arena.dtypes.get_mut(dtype as usize);
        let known = place.zip(order).and_then(|(place, order)| {
            *place = place.ordered(order)?;
            Some(())
        });
        known.ok_or_else(|| self.fail("an array type with fields or of unknown byte order; expected a plain one"))
    }

    /// What an array holds, which is made without anything.
    pub(super) fn build_array(&mut self, array: u32, shape: Id, dtype: Id, fortran: Id, data: Id) -> Result<(), Error> {
        let known = self.arena.dtype(dtype).zip(self.arena.int(fortran));
        let (dtype, fortran) = known.ok_or_else(|| self.fail("an array whose type is not one of numpy's"))?;
        let built = self.raw_array(dtype, shape, fortran != 0, data)?;
        if let Some(place) = self.arena.arrays.get_mut(array as usize) {
            *place = built;
        }
        Ok(())
    }
}
