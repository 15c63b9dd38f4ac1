//! Estimators by short names, for options that take a list of them: `truncated:2`, `segments:3x1`.
//!
//! Does not know: formulas of the estimators, which program lists them.

use std::str::FromStr;

use burn_meta::Estimator;

/// What the names are, for a program's help.
pub const NAMES: &str = "first-order, exact, reptile, truncated:L, binomial:L, scaled:L (binomial with the inner rate times L/K), \
                         hybrid:LxC, fitted:L, frozen:D, segments:SxD, adaptive:TOLERANCE";

/// An estimator with the name it goes by in tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// As it was asked for.
    pub name: String,
    /// What it stands for.
    pub estimator: Estimator,
}

/// Parser of one name, for clap.
///
/// # Errors
///
/// A message for clap.
pub fn named(text: &str) -> Result<Named, String> {
    let (kind, setting) = text.split_once(':').map_or((text, None), |(kind, setting)| (kind, Some(setting)));
    let estimator = match (kind, setting) {
        ("first-order", None) => Estimator::FirstOrder,
        ("exact", None) => Estimator::Exact,
        ("reptile", None) => Estimator::Reptile,
        ("truncated", Some(order)) => Estimator::truncated(number(order)?),
        ("binomial", Some(order)) => Estimator::binomial(number(order)?),
        ("scaled", Some(order)) => Estimator::binomial_scaled(number(order)?),
        ("fitted", Some(order)) => Estimator::fitted(number(order)?),
        ("frozen", Some(products)) => Estimator::frozen(number(products)?),
        ("segments", Some(pair)) => both(pair).map(|(count, degree)| Estimator::segments(count, degree))?,
        ("hybrid", Some(pair)) => both(pair).map(|(order, window)| Estimator::Hybrid { order, window })?,
        ("adaptive", Some(tolerance)) => Estimator::Adaptive { tolerance: number(tolerance)? },
        _ => return Err(format!("expected one of {NAMES}")),
    };
    Ok(Named { name: text.to_owned(), estimator })
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number that belongs here"))
}

fn both(text: &str) -> Result<(usize, usize), String> {
    let (first, second) = text.split_once('x').ok_or_else(|| format!("`{text}`: expected two numbers, as in 3x1"))?;
    Ok((number(first)?, number(second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_estimators() {
        for (name, estimator) in [
            ("first-order", Estimator::FirstOrder),
            ("truncated:0", Estimator::truncated(0)),
            ("scaled:2", Estimator::binomial_scaled(2)),
            ("frozen:3", Estimator::segments(1, 3)),
            ("segments:3x1", Estimator::segments(3, 1)),
            ("hybrid:1x4", Estimator::Hybrid { order: 1, window: 4 }),
            ("adaptive:1e-3", Estimator::Adaptive { tolerance: 1e-3 }),
        ] {
            assert_eq!(named(name), Ok(Named { name: name.into(), estimator }));
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in
            ["", "exact:1", "truncated", "binomial:-1", "segments:3", "segments:3x", "second-order", "fitted:two"]
        {
            assert!(named(name).is_err(), "{name}");
        }
    }
}
