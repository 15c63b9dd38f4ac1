//! Numbers that are checked where they are read, on the command line as in a file.
//!
//! Does not know: which setting they are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::arguments;

/// A whole number from 1 to 1,000,000: far above any use, and products of such counts stay in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "usize")]
pub struct Count(usize);

/// A positive finite number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Positive(f64);

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

impl Count {
    /// The number.
    pub fn get(self) -> usize {
        self.0
    }
}

impl Positive {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Share {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        arguments::count(text).map(Self)
    }
}

impl TryFrom<i64> for Count {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        number.to_string().parse().map_err(|expected| format!("{number}: {expected}"))
    }
}

impl FromStr for Positive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        arguments::positive(text).map(Self)
    }
}

impl TryFrom<f64> for Positive {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        number.to_string().parse().map_err(|expected| format!("{number}: {expected}"))
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if (0.0..=1.0).contains(&number) => Ok(Self(number)),
            _ => Err("expected a number from 0 to 1".to_owned()),
        }
    }
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        number.to_string().parse().map_err(|expected| format!("{number}: {expected}"))
    }
}

impl From<Count> for usize {
    fn from(count: Count) -> usize {
        count.0
    }
}

impl From<Positive> for f64 {
    fn from(number: Positive) -> f64 {
        number.0
    }
}

impl From<Share> for f64 {
    fn from(number: Share) -> f64 {
        number.0
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Positive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_command_line_have_the_same_bounds() {
        for (text, good) in [("1", true), ("1000000", true), ("0", false), ("-3", false), ("1000001", false)] {
            assert_eq!(text.parse::<Count>().is_ok(), good, "{text}");
            assert_eq!(Count::try_from(text.parse::<i64>().unwrap()).is_ok(), good, "{text}");
        }
        for (number, good) in [(1e-3, true), (0.0, false), (-1.0, false), (f64::NAN, false), (f64::INFINITY, false)] {
            assert_eq!(Positive::try_from(number).is_ok(), good, "{number}");
        }
        assert!(Share::try_from(1.0).is_ok() && Share::try_from(1.1).is_err() && "nan".parse::<Share>().is_err());
    }
}
