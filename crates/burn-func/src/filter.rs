//! Which parameters of a module are differentiated, chosen by path.
//!
//! Does not know: modules, values.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::params::ParamSpec;

type Predicate = Arc<dyn Fn(&ParamSpec) -> bool + Send + Sync>;

/// A choice among the trainable parameters of a module, for [`trace_filtered`](crate::trace_filtered) and
/// [`Params::from_module_filtered`](crate::Params::from_module_filtered).
///
/// ```
/// use burn_func::Filter;
///
/// let head = Filter::paths(["head.*"]); // `*` stands for any characters, dots too
/// let biases = Filter::paths(["*.bias"]);
/// let small = Filter::by(|param| param.spec.shape.iter().product::<usize>() < 1000);
/// ```
#[derive(Clone)]
pub struct Filter(Choice);

#[derive(Clone)]
enum Choice {
    Paths(Vec<String>),
    By(Predicate),
}

impl Filter {
    /// Parameters whose path matches one of the patterns. In a pattern `*` stands for any number of characters, dots
    /// among them; everything else stands for itself. A pattern that matches nothing is an error where the filter is used.
    pub fn paths<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self(Choice::Paths(patterns.into_iter().map(Into::into).collect()))
    }

    /// Parameters for which `predicate` holds.
    pub fn by(predicate: impl Fn(&ParamSpec) -> bool + Send + Sync + 'static) -> Self {
        Self(Choice::By(Arc::new(predicate)))
    }

    /// For each parameter, whether it is chosen.
    pub(crate) fn choose(&self, specs: &[ParamSpec]) -> Result<Vec<bool>> {
        let chosen: Vec<bool> = match &self.0 {
            Choice::Paths(patterns) => {
                let unused = |pattern: &&String| !specs.iter().any(|spec| matches(pattern, &spec.path));
                if let Some(pattern) = patterns.iter().find(unused) {
                    return Err(nothing(format!("pattern `{pattern}`"), specs));
                }
                specs.iter().map(|spec| patterns.iter().any(|pattern| matches(pattern, &spec.path))).collect()
            }
            Choice::By(predicate) => specs.iter().map(|spec| predicate(spec)).collect(),
        };
        if chosen.contains(&true) { Ok(chosen) } else { Err(nothing("filter".into(), specs)) }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Choice::Paths(patterns) => f.debug_tuple("Filter::paths").field(patterns).finish(),
            Choice::By(_) => f.write_str("Filter::by(..)"),
        }
    }
}

/// Paths an error lists.
const SHOWN: usize = 8;

fn nothing(filter: String, specs: &[ParamSpec]) -> Error {
    let mut known: Vec<&str> = specs.iter().take(SHOWN).map(|spec| spec.path.as_str()).collect();
    known.extend((specs.len() > SHOWN).then_some(".."));
    Error::NothingChosen { filter, known: known.join(", ") }
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|path| {
            // Shortest first; what the star stands for may be empty, or all there is.
            (0..=path.len()).any(|skip| path.is_char_boundary(skip) && matches(rest, &path[skip..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, path) in [
            ("head.weight", "head.weight"),
            ("head.*", "head.weight"),
            ("head.*", "head.inner.weight"),
            ("*.bias", "blocks.0.conv.bias"),
            ("blocks.*.conv.*", "blocks.12.conv.weight"),
            ("*", "x"),
            ("a*", "a"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [("head.*", "ahead.weight"), ("head", "head.weight"), ("*.bias", "bias"), ("", "x")] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }
}
