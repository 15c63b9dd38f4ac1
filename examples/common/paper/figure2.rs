//! Figure 2: error bounds against the order.
//!
//! Does not know: errors that were measured (`figure3`).

use clap::Args;
use serde_json::{Map, json};

use super::output::{Output, OutputArgs};
use crate::arguments::{count, positive};
use crate::bounds;
use crate::failure::Failure;

/// Error bounds of Theorems 3.6, 3.8 and 3.10 over the first-order bound, against the order L. Takes no time: quick and full
/// are the same. The paper's constants are not known to us; the defaults are our own.
#[derive(Args, Clone, Debug)]
pub struct Figure2Args {
    #[command(flatten)]
    pub(super) output: OutputArgs,

    /// Inner steps K, up to 100
    #[arg(long, value_name = "K", default_value = "10", value_parser = count)]
    inner_steps: usize,

    /// Inner learning rate times Lipschitz constant, alpha H, 2 or less; several, divided by commas
    #[arg(long, value_name = "X", default_value = "0.1,0.5,1", value_delimiter = ',', value_parser = positive)]
    reach: Vec<f64>,

    /// Least eigenvalue of the strongly convex loss, over H; at most 1
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = positive)]
    least: f64,
}

impl Figure2Args {
    pub(super) fn new(output: OutputArgs) -> Self {
        Self { output, inner_steps: 10, reach: vec![0.1, 0.5, 1.0], least: 0.1 }
    }
}

/// The figure.
pub(super) fn run(args: &Figure2Args) -> Result<(), Failure> {
    let Figure2Args { output, inner_steps: steps, reach, least } = args;
    if *steps > 100 {
        return Err(Failure::usage(format!("--inner-steps {steps}: expected 100 or less")));
    }
    let panels = bounds::panels(*steps, reach, *least)?;
    output.prepare()?;
    let reaches = reach.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    let mut chart = bounds::chart(&panels, *steps, *least);
    chart
        .subtitle
        .insert(0, format!("Theorems 3.6, 3.8 and 3.10; constants chosen here: K = {steps}, alpha H = {reaches}"));
    let tables: Vec<String> = panels.iter().map(bounds::table).collect();
    Output {
        name: "figure2",
        title: "Figure 2: error bounds against the order".into(),
        settings: json!({ "inner_steps": steps, "reach": reach, "least": least }),
        results: json!({ "panels": panels }),
        timing: Map::new(),
        markdown: tables.join("\n"),
        chart: Some(chart),
    }
    .write(output)
}
