//! The bytes of a pickle, read from the start to the end, every claim of a length checked.
//!
//! Does not know: opcodes, values.

use std::path::Path;

use super::value::{Node, Span};
use crate::Error;

/// A pickle and the place in it.
pub(super) struct Input<'a> {
    pub path: &'a Path,
    bytes: &'a [u8],
    /// The next byte.
    at: usize,
    /// The opcode being carried out, for messages.
    pub op: usize,
}

impl<'a> Input<'a> {
    pub fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { path, bytes, at: 0, op: 0 }
    }

    /// The next opcode.
    pub fn opcode(&mut self) -> Result<u8, Error> {
        self.op = self.at;
        self.byte()
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn slice(&self, span: Span) -> &'a [u8] {
        self.bytes.get(span.start..span.start + span.len).unwrap_or_default()
    }

    pub fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            let left = self.left();
            self.fail(format!(
                "the file ends: {count} more bytes expected, {left} left; it was cut short or is damaged"
            ))
        })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// Bytes behind their count, which is written in so many bytes.
    pub fn span(&mut self, width: usize) -> Result<Span, Error> {
        let mut count = [0; 8];
        count[..width].copy_from_slice(self.take(width)?);
        let len = usize::try_from(u64::from_le_bytes(count)).unwrap_or(usize::MAX);
        let start = self.at;
        self.take(len)?;
        Ok(Span { start, len })
    }

    /// What stands before the next line break.
    pub fn line(&mut self) -> Result<&'a str, Error> {
        const LONGEST: usize = 1000;
        let rest = &self.bytes[self.at..self.bytes.len().min(self.at.saturating_add(LONGEST))];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = end.and_then(|end| std::str::from_utf8(&rest[..end]).ok());
        let line = line.ok_or_else(|| self.fail("no line of text where a name is expected; the file is damaged"))?;
        self.at += line.len() + 1;
        Ok(line)
    }

    /// The number of a memo entry on a line of text.
    pub fn decimal(&mut self) -> Result<usize, Error> {
        let line = self.line()?;
        line.parse().map_err(|_| self.fail(format!("{line:?} is not the number of a memo entry")))
    }

    /// A number of Python behind its count of bytes, which is written in so many bytes.
    pub fn long(&mut self, width: usize) -> Result<Node, Error> {
        let Span { start, len } = self.span(width)?;
        let bytes = self.bytes.get(start..start + len).unwrap_or_default();
        Ok(match len {
            0..=8 => crate::array::integer(bytes, false, true).map_or(Node::Huge, Node::Int),
            _ => Node::Huge,
        })
    }

    /// A number on a line of text.
    pub fn number(&mut self) -> Result<Node, Error> {
        let line = self.line()?;
        let digits = line.strip_suffix('L').unwrap_or(line);
        let unsigned = digits.strip_prefix('-').unwrap_or(digits);
        match (digits, digits.parse::<i64>()) {
            ("00", _) => Ok(Node::Bool(false)),
            ("01", _) => Ok(Node::Bool(true)),
            (_, Ok(value)) => Ok(Node::Int(value)),
            _ if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) => Ok(Node::Huge),
            _ => Err(self.fail(format!("{line:?} is not a number"))),
        }
    }

    /// An error at the opcode.
    pub fn fail(&self, problem: impl Into<String>) -> Error {
        Error::Pickle { path: self.path.to_owned(), offset: self.op, problem: problem.into() }
    }
}
