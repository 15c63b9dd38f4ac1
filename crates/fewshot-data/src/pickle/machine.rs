//! The stack machine that pickles are written for: opcodes of protocols 2 to 5.
//!
//! Values, memo and stack hold numbers of values in an arena. Every opcode adds at most one value,
//! so the memory taken is a small multiple of the opcodes read, whatever they claim.
//!
//! Does not know: what calls mean (`object.rs`), what a dataset is.

use std::collections::HashMap;
use std::path::Path;

use super::global::Global;
use super::input::Input;
use super::value::LONGEST_NAME;
use super::value::{Arena, Id, Node, Span};
use crate::Error;

/// A memo entry that was never put, or was given up (see `array.rs`).
const UNSET: Id = Id::MAX;

/// The state of reading one pickle.
pub(super) struct Machine<'a> {
    input: Input<'a>,
    pub(super) stack: Vec<Id>,
    /// Heights of the stack at the marks that are open.
    pub(super) marks: Vec<usize>,
    memo: Vec<Id>,
    pub(super) arena: Arena,
    /// What texts stand for that were turned into bytes, by their place, so that each is turned once.
    pub(super) decoded: HashMap<usize, Node>,
    pub(super) fresh: Option<Fresh>,
}

/// The newest array, as long as everything made after it lies above it on the stack.
#[derive(Debug)]
pub(super) struct Fresh {
    pub id: Id,
    /// Height of the stack with the array on top.
    pub height: usize,
    pub items: usize,
    /// Memo entries put since.
    pub puts: Vec<Id>,
}

impl<'a> Machine<'a> {
    pub fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self {
            input: Input::new(path, bytes),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            arena: Arena::new(),
            decoded: HashMap::new(),
            fresh: None,
        }
    }

    /// Runs to the end; returns the values and the one that was pickled.
    pub fn run(mut self) -> Result<(Arena, Id), Error> {
        self.protocol()?;
        loop {
            match self.input.opcode()? {
                b'.' => break,
                op => self.step(op)?,
            }
        }
        let root = self.pop()?;
        self.arena.shrink();
        Ok((self.arena, root))
    }

    fn protocol(&mut self) -> Result<(), Error> {
        match *self.input.take(2)? {
            [0x80, 2..=5] => Ok(()),
            [0x80, version] => Err(self.fail(format!("protocol {version}; expected 2 to 5"))),
            _ => Err(self.fail("no protocol number; expected protocol 2 to 5, not the text protocols 0 and 1")),
        }
    }

    fn step(&mut self, op: u8) -> Result<(), Error> {
        if let Some(node) = self.literal(op)? {
            return self.push(node);
        }
        match op {
            b']' | b'}' | 0x8f | b'l' | b'd' | b't' | 0x85..=0x87 | 0x91 => self.container(op),
            b'a' | b'e' | b's' | b'u' | 0x90 => self.grow(op),
            b'q' | b'r' | b'p' | 0x94 | b'h' | b'j' | b'g' => self.memory(op),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => self.pop_mark().map(|_| ()),
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
                Ok(())
            }
            b'c' | 0x93 => self.global(op),
            b'R' | 0x81 | 0x92 => self.call(op),
            b'b' => self.build(),
            0x80 => self.protocol_again(),
            0x95 => self.frame(),
            _ => Err(self.refused(op)),
        }
    }

    /// The opcodes that push a value of their own.
    fn literal(&mut self, op: u8) -> Result<Option<Node>, Error> {
        Ok(Some(match op {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'J' => Node::Int(i64::from(i32::from_le_bytes(self.input.array()?))),
            b'K' => Node::Int(i64::from(self.input.byte()?)),
            b'M' => Node::Int(i64::from(u16::from_le_bytes(self.input.array()?))),
            // Python 2 writes integers of more than 32 bits as text in every protocol.
            b'I' | b'L' => self.input.number()?,
            0x8a => self.input.long(1)?,
            0x8b => self.input.long(4)?,
            b'G' => Node::Float(f64::from_be_bytes(self.input.array()?)),
            // Whether text is UTF-8 is checked where it is used: most of it is bytes of arrays in disguise.
            0x8c => Node::Text(self.input.span(1)?),
            b'X' => Node::Text(self.input.span(4)?),
            0x8d => Node::Text(self.input.span(8)?),
            b'U' | b'C' => Node::Bytes(self.input.span(1)?),
            b'T' | b'B' => Node::Bytes(self.input.span(4)?),
            0x8e | 0x96 => Node::Bytes(self.input.span(8)?),
            b')' => Node::Tuple { start: 0, len: 0 },
            _ => return Ok(None),
        }))
    }

    fn container(&mut self, op: u8) -> Result<(), Error> {
        let items = match op {
            b']' | b'}' | 0x8f => Vec::new(),
            0x85..=0x87 => self.pop_many(usize::from(op - 0x84))?,
            _ => self.pop_mark()?,
        };
        if op == b'd' && items.len() % 2 == 1 {
            return Err(self.fail("a dictionary key without a value"));
        }
        let node = match op {
            b']' | b'l' => self.arena.list(items).map(Node::List),
            b'}' | b'd' => self.arena.list(items).map(Node::Dict),
            0x8f | 0x91 => self.arena.list(items).map(Node::Set),
            _ => self.arena.tuple(&items),
        };
        let node = node.ok_or_else(|| self.full())?;
        self.push(node)
    }

    /// The opcodes that put items into the container below them.
    fn grow(&mut self, op: u8) -> Result<(), Error> {
        let items = match op {
            b'a' => self.pop_many(1)?,
            b's' => self.pop_many(2)?,
            _ => self.pop_mark()?,
        };
        // From here on an older value may hold a newer one.
        self.fresh = None;
        let target = self.top()?;
        let (list, pairs) = match (self.arena.node(target), op) {
            (Node::List(list), b'a' | b'e') | (Node::Set(list), 0x90) => (list, false),
            (Node::Dict(list), b's' | b'u') => (list, true),
            _ => return Err(self.fail("items put into something that does not hold them")),
        };
        if pairs && items.len() % 2 == 1 {
            return Err(self.fail("a dictionary key without a value"));
        }
        if let Some(list) = self.arena.lists.get_mut(list as usize) {
            list.extend(items);
        }
        Ok(())
    }

    fn memory(&mut self, op: u8) -> Result<(), Error> {
        let index = match op {
            b'q' | b'h' => usize::from(self.input.byte()?),
            b'r' | b'j' => u32::from_le_bytes(self.input.array()?) as usize,
            0x94 => self.memo.len(),
            _ => self.input.decimal()?,
        };
        if matches!(op, b'h' | b'j' | b'g') {
            let id = self.memo.get(index).copied().filter(|&id| id != UNSET);
            let id =
                id.ok_or_else(|| self.fail(format!("memo entry {index} is fetched, but nothing was put there")))?;
            self.stack.push(id);
            return Ok(());
        }
        // Every value has an opcode, so a number beyond the bytes read so far is damage.
        if index > self.input.op {
            return Err(self.fail(format!("memo entry {index} so early in the pickle")));
        }
        let id = self.top()?;
        if index >= self.memo.len() {
            self.memo.resize(index + 1, UNSET);
        }
        self.memo[index] = id;
        if let Some(fresh) = &mut self.fresh {
            fresh.puts.push(index as u32);
        }
        Ok(())
    }

    fn global(&mut self, op: u8) -> Result<(), Error> {
        let (module, name) = match op {
            b'c' => (self.input.line()?, self.input.line()?),
            _ => {
                let names = self.pop_many(2)?;
                match (self.string(names[0]), self.string(names[1])) {
                    (Some(module), Some(name)) => (module, name),
                    _ => return Err(self.fail("a global whose name is not text")),
                }
            }
        };
        let global = Global::lookup(module, name).ok_or_else(|| self.forbidden(module, name))?;
        self.push(Node::Global(global))
    }

    fn forbidden(&self, module: &str, name: &str) -> Error {
        let global: String = format!("{module}.{name}").chars().take(200).collect();
        let global = global.escape_debug().to_string();
        Error::ForbiddenGlobal { path: self.input.path.to_owned(), offset: self.input.op, global }
    }

    fn protocol_again(&mut self) -> Result<(), Error> {
        self.input.byte().map(|_| ())
    }

    /// A frame is a promise that so many bytes follow.
    fn frame(&mut self) -> Result<(), Error> {
        let len = u64::from_le_bytes(self.input.array()?);
        let left = self.input.left();
        if len > left as u64 {
            return Err(self.fail(format!("a frame of {len} bytes, but only {left} are left; the file was cut short")));
        }
        Ok(())
    }

    fn refused(&self, op: u8) -> Error {
        let what = match op {
            0x97 | 0x98 => "a buffer kept outside the pickle (protocol 5), which is not in this file".to_owned(),
            b'P' | b'Q' => "an object kept outside the pickle".to_owned(),
            0x82..=0x84 => "an extension code, which stands for something to import".to_owned(),
            b'i' | b'o' => "an instance of a class; expected only arrays and plain containers".to_owned(),
            b'F' | b'S' | b'V' => {
                format!("opcode {:?} of the text protocols; expected protocol 2 to 5", char::from(op))
            }
            _ => format!("byte 0x{op:02x} where an opcode is expected; the file is damaged"),
        };
        self.fail(what)
    }

    // The stack.

    pub(super) fn push(&mut self, node: Node) -> Result<(), Error> {
        let id = self.arena.add(node).ok_or_else(|| self.full())?;
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Id, Error> {
        Ok(self.pop_many(1)?[0])
    }

    pub(super) fn top(&self) -> Result<Id, Error> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.last().filter(|_| self.stack.len() > floor);
        top.copied().ok_or_else(|| self.fail("the stack is empty; the file is damaged"))
    }

    /// Exactly so many values.
    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Error> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count).filter(|&rest| rest >= floor) {
            Some(rest) => Ok(self.cut(rest)),
            None => Err(self.fail("the stack is empty; the file is damaged")),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Error> {
        let mark = self.marks.pop().ok_or_else(|| self.fail("no mark on the stack; the file is damaged"))?;
        Ok(self.cut(mark.min(self.stack.len())))
    }

    fn cut(&mut self, height: usize) -> Vec<Id> {
        if self.fresh.as_ref().is_some_and(|fresh| height < fresh.height) {
            self.fresh = None;
        }
        self.stack.split_off(height)
    }

    /// Forgets these memo entries where they still hold a value from `first` on.
    pub(super) fn forget(&mut self, puts: &[Id], first: Id) {
        for &index in puts {
            if let Some(entry) = self.memo.get_mut(index as usize).filter(|id| **id >= first) {
                *entry = UNSET;
            }
        }
    }

    // Shorthands.

    /// A name, whether written as text or as a string of Python 2. Longer text is none: one that is
    /// fetched from the memo again and again would be checked for UTF-8 each time.
    pub(super) fn string(&self, id: Id) -> Option<&'a str> {
        match self.arena.node(id) {
            Node::Text(span) | Node::Bytes(span) if span.len <= LONGEST_NAME => {
                std::str::from_utf8(self.slice(span)).ok()
            }
            _ => None,
        }
    }

    pub(super) fn slice(&self, span: Span) -> &'a [u8] {
        self.input.slice(span)
    }

    pub(super) fn fail(&self, problem: impl Into<String>) -> Error {
        self.input.fail(problem)
    }

    pub(super) fn full(&self) -> Error {
        self.fail("more than 4,294,967,294 values")
    }
}
