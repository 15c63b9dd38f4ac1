//! The values of a pickle: one arena in which a value is a number, so that neither nesting nor
//! cycles cost any stack, and strings are ranges of the file.
//!
//! Does not know: opcodes.

use std::sync::Arc;

use super::global::Global;
use crate::array::Dtype;

/// A value, by its place in the arena.
pub(crate) type Id = u32;

/// The longest name of anything, in bytes. A pickle of a few bytes can name a text of a megabyte a
/// thousand times over.
pub(super) const LONGEST_NAME: usize = 1000;

/// Part of the pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub len: usize,
}

/// A value. Containers are indices into the arena's tables.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits.
    Huge,
    Float(f64),
    /// UTF-8 text.
    Text(Span),
    /// Bytes, or a string of Python 2.
    Bytes(Span),
    /// Bytes that the pickle holds in another form.
    Blob(u32),
    Tuple {
        start: u32,
        len: u32,
    },
    List(u32),
    /// Keys and values in turn.
    Dict(u32),
    Set(u32),
    Range(u32),
    Global(Global),
    Dtype(u32),
    Array(u32),
}

/// An array of a pickle.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawArray {
    pub dtype: Dtype,
    pub dims: u32,
    pub rank: u8,
    pub fortran: bool,
    pub data: Data,
}

/// Where the bytes of an array are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    /// Not there yet.
    Unset,
    Span(Span),
    Blob(u32),
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Arena {
    pub nodes: Vec<Node>,
    /// Items of tuples.
    pub items: Vec<Id>,
    /// Items of lists, sets and dictionaries, which may grow.
    pub lists: Vec<Vec<Id>>,
    pub ranges: Vec<[i64; 3]>,
    pub dtypes: Vec<Dtype>,
    pub arrays: Vec<RawArray>,
    pub dims: Vec<u64>,
    pub blobs: Vec<Arc<Vec<u8>>>,
}

/// Values that every arena begins with, so that the commonest cost nothing.
const NONE: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;
const ZERO: Id = 3;
const SMALL: i64 = 256;

impl Arena {
    pub fn new() -> Self {
        let mut nodes = vec![Node::None, Node::Bool(false), Node::Bool(true)];
        nodes.extend((0..SMALL).map(Node::Int));
        Self {
            nodes,
            items: Vec::new(),
            lists: Vec::new(),
            ranges: Vec::new(),
            dtypes: Vec::new(),
            arrays: Vec::new(),
            dims: Vec::new(),
            blobs: Vec::new(),
        }
    }

    /// The place of a value; `None` when four thousand million are there.
    pub fn add(&mut self, node: Node) -> Option<Id> {
        match node {
            Node::None => return Some(NONE),
            Node::Bool(value) => return Some(if value { TRUE } else { FALSE }),
            Node::Int(value) if (0..SMALL).contains(&value) => return Some(ZERO + value as u32),
            _ => {}
        }
        let id = u32::try_from(self.nodes.len()).ok().filter(|&id| id < u32::MAX)?;
        self.nodes.push(node);
        Some(id)
    }

    /// The value at a place; nothing for a place that is not there.
    pub fn node(&self, id: Id) -> Node {
        self.nodes.get(id as usize).copied().unwrap_or(Node::None)
    }

    /// A new list with these items.
    pub fn list(&mut self, items: Vec<Id>) -> Option<u32> {
        add(&mut self.lists, items)
    }

    /// A tuple of these items.
    pub fn tuple(&mut self, items: &[Id]) -> Option<Node> {
        let start = u32::try_from(self.items.len()).ok()?;
        let len = u32::try_from(items.len()).ok()?;
        start.checked_add(len)?;
        self.items.extend_from_slice(items);
        Some(Node::Tuple { start, len })
    }

    /// The items of a tuple or list.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple { start, len } => {
                let start = start as usize;
                self.items.get(start..start.checked_add(len as usize)?)
            }
            Node::List(list) => self.lists.get(list as usize).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The keys and values of a dictionary, in turn.
    pub fn entries(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Dict(list) => self.lists.get(list as usize).map(Vec::as_slice),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(value),
            Node::Bool(value) => Some(i64::from(value)),
            _ => None,
        }
    }

    pub fn dtype(&self, id: Id) -> Option<Dtype> {
        match self.node(id) {
            Node::Dtype(dtype) => self.dtypes.get(dtype as usize).copied(),
            _ => None,
        }
    }

    /// Gives back what growing left over.
    pub fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.items.shrink_to_fit();
        self.arrays.shrink_to_fit();
        self.dims.shrink_to_fit();
    }
}

/// Appends to a table and returns the place.
pub(super) fn add<T>(table: &mut Vec<T>, value: T) -> Option<u32> {
    let index = u32::try_from(table.len()).ok()?;
    table.push(value);
    Some(index)
}
