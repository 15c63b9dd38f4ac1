//! Readers of the forms that datasets are distributed in, each into the index of `index.rs`.
//!
//! Does not know: decoding, splits that a form does not have.

pub(crate) mod arrays;
