//! `fewshot`: look at few-shot datasets and fetch them.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

fn main() {}
