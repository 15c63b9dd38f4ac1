//! Command-line pieces: parsing with one-line errors, checked numbers, the choice of an estimator.
//!
//! Does not know: which programs use them.

use std::io::{IsTerminal, Write};

use burn_meta::{Estimator, Expansion, InnerLoopConfig};
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Reads the command line. `--help` and `--version` print and leave with exit code 0.
///
/// # Errors
///
/// [`Failure::Usage`] for whatever clap rejects.
pub fn parse<A: Parser>() -> Result<A, Failure> {
    A::try_parse().map_err(|error| refused(&error))
}

/// What clap rejects, as a failure of one line; help and version are printed, and end the program.
pub fn refused(error: &clap::Error) -> Failure {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => Failure::usage(one_line(error)),
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EstimatorName {
    /// The query gradient at the adapted parameters (FOMAML): no Hessian-vector products.
    FirstOrder,
    /// Back-propagation through the last L inner steps (TruncMAML): L products.
    Truncated,
    /// All terms of up to L Hessians of the expanded product (BinomMAML): L (K - L + 1) products, L in sequence.
    Binomial,
    /// Binomial over the last C inner steps, the curvature of those before left out: L (C - L + 1) products.
    Hybrid,
    /// Binomial about a fit of the middle step's Hessian, which takes a few products first.
    Fitted,
    /// One Hessian, of the middle step, for all steps: D products.
    Frozen,
    /// The steps in S segments, each with the Hessian of its middle step: up to S D products.
    Segments,
    /// Binomial, order by order until what is left is small.
    Adaptive,
    /// Back-propagation through all K inner steps (MAML): K products in sequence.
    Exact,
    /// Through the minimum of the support loss with the proximal term (iMAML): D products. Needs --proximal.
    Implicit,
    /// The way the inner loop went (Reptile): no products, and no gradient on the query set.
    Reptile,
}

/// Options that choose an estimator.
#[derive(Args, Clone, Copy, Debug)]
pub struct EstimatorArgs {
    /// How the meta-gradient is estimated
    #[arg(long, value_enum, default_value = "binomial", value_name = "NAME")]
    pub estimator: EstimatorName,

    /// Order L of the truncated, binomial, hybrid and fitted estimators, 0 to the number of inner steps K; 0 is first-order,
    /// K is exact [default: 2, or K if that is less]
    #[arg(long, value_name = "L")]
    pub order: Option<usize>,

    /// Expand the binomial estimator with the step size L/K of the inner learning rate, as the code of the paper does;
    /// its equations have the inner learning rate itself, which is the default
    #[arg(long)]
    pub scaled: bool,

    /// Inner steps C, counted from the last, that the hybrid estimator expands [default: all but one, or L if that is more]
    #[arg(long, value_name = "C")]
    pub window: Option<usize>,

    /// Products that the fitted estimator takes for its fit before anything else [default: 4]
    #[arg(long, value_name = "PRODUCTS")]
    pub probe: Option<usize>,

    /// Segments S of the segments estimator; K is exact [default: 2, or K if that is less]
    #[arg(long, value_name = "S")]
    pub segments: Option<usize>,

    /// Products D that the frozen estimator takes, the segments estimator for each segment, or the implicit one at most
    /// [default: 2, 1 and 20]
    #[arg(long, value_name = "D")]
    pub degree: Option<usize>,

    /// Relative error of the meta-gradient that the adaptive estimator is to stay below, by its own estimate [default: 0.01]
    #[arg(long, value_name = "ERROR", value_parser = positive)]
    pub tolerance: Option<f64>,

    /// Strength of a pull towards the start in the inner loop: the gradient of LAMBDA / 2 times the squared distance
    #[arg(long, value_name = "LAMBDA", value_parser = positive)]
    pub proximal: Option<f64>,
}

impl EstimatorArgs {
    /// The estimator for a number of inner steps.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for a setting out of range, or an option that the estimator does not have.
    pub fn estimator(&self, steps: usize) -> Result<Estimator, Failure> {
        use EstimatorName::*;
        self.check_options()?;
        let order = self.order.unwrap_or(steps.min(2));
        let estimator = match self.estimator {
            FirstOrder => Estimator::FirstOrder,
            Truncated => Estimator::truncated(order),
            Binomial if self.scaled => Estimator::binomial_scaled(order),
            Binomial => Estimator::binomial(order),
            Hybrid => Estimator::Hybrid { order, window: self.window.unwrap_or(order.max(steps - 1)) },
            Fitted => match self.probe {
                Some(probe) => Estimator::Fitted { order, probe },
                None => Estimator::fitted(order),
            },
            Frozen => Estimator::frozen(self.degree.unwrap_or(2)),
            Segments => Estimator::segments(self.segments.unwrap_or(steps.min(2)), self.degree.unwrap_or(1)),
            Adaptive => Estimator::Adaptive { tolerance: self.tolerance.unwrap_or(0.01) },
            Exact => Estimator::Exact,
            Implicit => Estimator::implicit(self.degree.unwrap_or(20)),
            Reptile => Estimator::Reptile,
        };
        let name = self.estimator.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        estimator.check(steps).map_err(|error| Failure::from(error).at(format!("--estimator {name}")))?;
        Ok(estimator)
    }

    /// The inner loop with what these options say of it.
    pub fn inner(&self, inner: InnerLoopConfig) -> InnerLoopConfig {
        inner.with_proximal(self.proximal.unwrap_or(0.0))
    }

    /// That no option was given which the estimator does not have.
    fn check_options(&self) -> Result<(), Failure> {
        use EstimatorName::*;
        let options: [(&str, bool, &[EstimatorName], &str); 6] = [
            (
                "order",
                self.order.is_some(),
                &[Truncated, Binomial, Hybrid, Fitted],
                "truncated, binomial, hybrid or fitted",
            ),
            ("scaled", self.scaled, &[Binomial], "binomial"),
            ("window", self.window.is_some(), &[Hybrid], "hybrid"),
            ("probe", self.probe.is_some(), &[Fitted], "fitted"),
            ("segments", self.segments.is_some(), &[Segments], "segments"),
            ("degree", self.degree.is_some(), &[Frozen, Segments, Implicit], "frozen, segments or implicit"),
        ];
        let tolerance = ("tolerance", self.tolerance.is_some(), &[Adaptive][..], "adaptive");
        match options.into_iter().chain([tolerance]).find(|(_, given, of, _)| *given && !of.contains(&self.estimator)) {
            Some((option, _, _, names)) => Err(Failure::usage(format!("--{option} belongs to --estimator {names}"))),
            None => Ok(()),
        }
    }
}

/// An estimator in words, for the screen.
pub fn describe(estimator: Estimator, steps: usize) -> String {
    let products = estimator.products(steps);
    let most = if matches!(estimator, Estimator::Adaptive { .. }) { "at most " } else { "" };
    let name = match estimator {
        Estimator::Truncated { order } => format!("truncated meta-gradient of order {order}"),
        Estimator::Binomial { order, expansion: Expansion::Plain } => {
            format!("binomial meta-gradient of order {order}")
        }
        Estimator::Binomial { order, expansion: Expansion::Scaled } => {
            format!("binomial meta-gradient of order {order}, scaled")
        }
        Estimator::Hybrid { order, window } => {
            format!("binomial meta-gradient of order {order} over the last {window} step(s)")
        }
        Estimator::Fitted { order, .. } => format!("fitted meta-gradient of order {order}"),
        Estimator::Segments { count: 1, degree } => format!("frozen meta-gradient of degree {degree}"),
        Estimator::Segments { count, degree } => format!("meta-gradient of {count} segments of degree {degree}"),
        Estimator::Adaptive { tolerance } => format!("adaptive meta-gradient within {tolerance}"),
        other => format!("{} meta-gradient", other.name()),
    };
    format!("{name}, {most}{products} Hessian-vector product(s) a task")
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
            match writeln!(std::io::stdout(), "{line}") {
                Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
                    note(format!("error: standard output: {cause}"));
                    std::process::exit(1);
                }
                _ => {}
            }
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

    fn options(line: &str) -> EstimatorArgs {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            estimator: EstimatorArgs,
        }
        Line::try_parse_from(std::iter::once("program").chain(line.split_whitespace())).unwrap().estimator
    }

    #[test]
    fn defaults_fit_the_steps() {
        for (line, one, five) in [
            ("", Estimator::binomial(1), Estimator::binomial(2)),
            ("--estimator fitted", Estimator::fitted(1), Estimator::fitted(2)),
            ("--estimator segments", Estimator::segments(1, 1), Estimator::segments(2, 1)),
            ("--estimator frozen", Estimator::frozen(2), Estimator::frozen(2)),
            (
                "--estimator hybrid",
                Estimator::Hybrid { order: 1, window: 1 },
                Estimator::Hybrid { order: 2, window: 4 },
            ),
        ] {
            assert_eq!((options(line).estimator(1).unwrap(), options(line).estimator(5).unwrap()), (one, five));
        }
        let hybrid = options("--estimator hybrid --order 5").estimator(5).unwrap();
        assert_eq!(hybrid, Estimator::Hybrid { order: 5, window: 5 });
    }

    #[test]
    fn every_setting_arrives() {
        for (line, estimator) in [
            ("--estimator hybrid --order 1 --window 3", Estimator::Hybrid { order: 1, window: 3 }),
            ("--estimator fitted --order 3 --probe 7", Estimator::Fitted { order: 3, probe: 7 }),
            ("--estimator segments --segments 3 --degree 2", Estimator::segments(3, 2)),
            ("--estimator frozen --degree 3", Estimator::frozen(3)),
            ("--estimator adaptive --tolerance 1e-5", Estimator::Adaptive { tolerance: 1e-5 }),
            ("--order 3 --scaled", Estimator::binomial_scaled(3)),
        ] {
            assert_eq!(options(line).estimator(5).unwrap(), estimator, "{line}");
        }
    }

    #[test]
    fn options_an_estimator_lacks_are_refused() {
        for line in [
            "--order 9",
            "--estimator exact --order 1",
            "--estimator segments --order 1",
            "--estimator truncated --scaled",
            "--estimator fitted --window 2",
            "--estimator hybrid --probe 2",
            "--estimator frozen --segments 2",
            "--estimator adaptive --degree 2",
            "--tolerance 0.1",
            "--estimator hybrid --window 6",
            "--estimator hybrid --order 3 --window 2",
            "--estimator segments --segments 6",
            "--estimator frozen --degree 0",
            "--estimator fitted --probe 0",
        ] {
            assert!(matches!(options(line).estimator(5), Err(Failure::Usage(_))), "{line}");
        }
    }
}
