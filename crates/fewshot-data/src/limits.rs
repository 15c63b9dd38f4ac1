//! How much memory a reader may ask for at once.
//!
//! A file of a few bytes can claim to hold an image of 60,000 x 60,000 pixels or an array of
//! terabytes. Readers compare every such claim with a limit before they allocate.
//!
//! Does not know: formats.

use std::path::Path;

use crate::Error;

/// The largest single allocation a reader may make, as a function of the size of its input.
///
/// The default is 64 MiB or 1,100 times the input's bytes, whichever is more: deflate, the
/// compression of zip and PNG, cannot expand by more than 1,032.
///
/// # Example
/// ```
/// # use fewshot_data::Limits;
/// let strict = Limits::default().with_floor(1 << 20).with_factor(100);
/// assert_eq!(strict.for_input(1_000), 1 << 20);
/// assert_eq!(Limits::default().for_input(1_000_000), 1_100_000_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    floor: u64,
    factor: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { floor: 64 << 20, factor: 1_100 }
    }
}

impl Limits {
    /// The same limit for inputs of every size.
    pub(crate) const fn exactly(bytes: u64) -> Self {
        Self { floor: bytes, factor: 0 }
    }

    /// Sets what may always be allocated, in bytes.
    pub fn with_floor(mut self, bytes: u64) -> Self {
        self.floor = bytes;
        self
    }

    /// Sets how many times the bytes of the input may be allocated.
    pub fn with_factor(mut self, factor: u64) -> Self {
        self.factor = factor;
        self
    }

    /// The largest allocation for an input of so many bytes.
    pub fn for_input(self, bytes: u64) -> u64 {
        self.floor.max(bytes.saturating_mul(self.factor))
    }

    /// A claim of `wanted` bytes by an input of `input` bytes, as a size that can be allocated.
    pub(crate) fn check(self, path: &Path, what: &str, wanted: u64, input: u64) -> Result<usize, Error> {
        let limit = self.for_input(input);
        match usize::try_from(wanted) {
            Ok(size) if wanted <= limit => Ok(size),
            _ => Err(Error::TooLarge { path: path.to_owned(), what: what.to_owned(), wanted, limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_over_the_limit_are_errors_that_name_them() {
        let limits = Limits::default().with_floor(100).with_factor(3);
        let check = |wanted, input| limits.check(Path::new("a.npz"), "array images", wanted, input);
        assert_eq!(check(100, 0).unwrap(), 100);
        assert_eq!(check(300, 100).unwrap(), 300);
        let error = check(301, 100).unwrap_err();
        assert_eq!(error.to_string(), "a.npz: array images asks for 301 bytes; expected 300 at most");
        assert!(check(u64::MAX, u64::MAX / 4).is_err());
    }
}
