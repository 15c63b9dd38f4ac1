//! Command-line pieces: parsing with one-line errors, checked numbers, the choice of an estimator.
//!
//! Does not know: which programs use them.

use std::io::{IsTerminal, Write};

use burn_meta::{Estimator, Expansion};
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, Parser, ValueEnum};

use crate::failure::Failure;

/// Reads the command line. `--help` and `--version` print and leave with exit code 0.
///
/// # Errors
///
/// [`Failure::Usage`] for whatever clap rejects.
pub fn parse<A: Parser>() -> Result<A, Failure> {
    A::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => Failure::usage(one_line(&error)),
    })
}

/// What clap's message says before its usage notes, and the tip if there is one.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let cause = text.strip_prefix("error: ").unwrap_or(&text);
    let cause = cause.split("\n\n").next().unwrap_or(cause);
    match error.get(ContextKind::SuggestedArg) {
        Some(similar) => format!("{cause} (did you mean {similar}?)"),
        None => format!("{cause} (--help tells more)"),
    }
}

/// Parser of a number that must be positive and finite.
///
/// # Errors
///
/// A message for clap.
pub fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_string())?;
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err("expected a positive finite number".into()) }
}

/// Parser of a count that must be at least 1. The upper end is far above any use and keeps products of counts in range.
///
/// # Errors
///
/// A message for clap.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1_000_000).contains(&n) => Ok(n),
        _ => Err("expected a whole number from 1 to 1000000".into()),
    }
}

/// Which meta-gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EstimatorName {
    /// The query gradient at the adapted parameters (FOMAML): no Hessian-vector products.
    FirstOrder,
    /// Back-propagation through the last L inner steps (TruncMAML): L products.
    Truncated,
    /// All terms of up to L Hessians of the expanded product (BinomMAML): L (K - L + 1) products, L in sequence.
    Binomial,
    /// Back-propagation through all K inner steps (MAML): K products in sequence.
    Exact,
}

/// Options that choose an estimator.
#[derive(Args, Clone, Copy, Debug)]
pub struct EstimatorArgs {
    /// How the meta-gradient is estimated
    #[arg(long, value_enum, default_value = "binomial", value_name = "NAME")]
    pub estimator: EstimatorName,

    /// Order L of the truncated and binomial estimators, 0 to the number of inner steps K; 0 is first-order, K is exact
    /// [default: 2, or K if that is less]
    #[arg(long, value_name = "L")]
    pub order: Option<usize>,

    /// Expand the binomial estimator with the step size L/K of the inner learning rate, as the code of the paper does;
    /// its equations have the inner learning rate itself, which is the default
    #[arg(long)]
    pub scaled: bool,
}

impl EstimatorArgs {
    /// The estimator for a number of inner steps.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for an order out of range, or an option that the estimator does not have.
    pub fn estimator(&self, steps: usize) -> Result<Estimator, Failure> {
        use EstimatorName::{Binomial, Exact, FirstOrder, Truncated};
        let order = self.order.unwrap_or(steps.min(2));
        if self.scaled && self.estimator != Binomial {
            return Err(Failure::usage("--scaled belongs to --estimator binomial"));
        }
        if self.order.is_some() && matches!(self.estimator, FirstOrder | Exact) {
            return Err(Failure::usage("--order belongs to --estimator truncated and binomial"));
        }
        let expansion = if self.scaled { Expansion::Scaled } else { Expansion::Plain };
        let estimator = match self.estimator {
            FirstOrder => Estimator::FirstOrder,
            Truncated => Estimator::Truncated { order },
            Binomial => Estimator::Binomial { order, expansion },
            Exact => Estimator::Exact,
        };
        estimator.check(steps).map_err(|error| Failure::from(error).at("--order"))?;
        Ok(estimator)
    }
}

/// An estimator in words, for the screen.
pub fn describe(estimator: Estimator, steps: usize) -> String {
    let products = estimator.products(steps);
    let name = match estimator {
        Estimator::Truncated { order } => format!("truncated meta-gradient of order {order}"),
        Estimator::Binomial { order, expansion: Expansion::Plain } => {
            format!("binomial meta-gradient of order {order}")
        }
        Estimator::Binomial { order, expansion: Expansion::Scaled } => {
            format!("binomial meta-gradient of order {order}, scaled")
        }
        other => format!("{} meta-gradient", other.name()),
    };
    format!("{name}, {products} Hessian-vector product(s) a task")
}

/// Where the lines of a program's results go: standard output, or standard error where the JSON document takes its place.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    json_on_stdout: bool,
}

impl Screen {
    /// For a program with this `--json` option.
    pub fn new(json: Option<&std::path::Path>) -> Self {
        Self { json_on_stdout: json == Some(std::path::Path::new("-")) }
    }

    /// A result. A reader that has gone away is no error.
    pub fn result(&self, line: impl std::fmt::Display) {
        if self.json_on_stdout {
            note(line);
        } else {
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}

/// A remark, on standard error.
pub fn note(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether somebody watches standard error.
pub fn watched() -> bool {
    std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_must_make_sense() {
        assert_eq!(positive("0.4"), Ok(0.4));
        assert!(["0", "-1", "nan", "inf", "x", "1e999"].iter().all(|text| positive(text).is_err()));
        assert_eq!(count("5"), Ok(5));
        assert!(["0", "-1", "1.5", "", "99999999999999999999"].iter().all(|text| count(text).is_err()));
    }

    #[test]
    fn the_default_order_fits_the_steps() {
        let args = EstimatorArgs { estimator: EstimatorName::Binomial, order: None, scaled: false };
        assert_eq!(args.estimator(1).unwrap(), Estimator::binomial(1));
        assert_eq!(args.estimator(5).unwrap(), Estimator::binomial(2));
    }

    #[test]
    fn options_an_estimator_lacks_are_refused() {
        let args = EstimatorArgs { estimator: EstimatorName::Binomial, order: Some(9), scaled: false };
        assert!(matches!(args.estimator(5), Err(Failure::Usage(_))));
        let args = EstimatorArgs { estimator: EstimatorName::Exact, order: Some(1), scaled: false };
        assert!(matches!(args.estimator(5), Err(Failure::Usage(_))));
        let args = EstimatorArgs { estimator: EstimatorName::Truncated, order: None, scaled: true };
        assert!(matches!(args.estimator(5), Err(Failure::Usage(_))));
    }
}
