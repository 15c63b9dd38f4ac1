//! The experiments of the binomial paper (arXiv 2604.13263): its figures 2 to 5, its table 1 and that of its appendix D.1.
//!
//! * `figure2` to `figure5`, `table1`, `table2`: one each;
//! * what they rest on: `cost` seconds and bytes of a meta-gradient; `grid` settings of many runs, `run` one of them, `runs` all, on
//!   the images of `data`; `logs` and `spread` what is read from them;
//! * `output`, `provenance` what each leaves behind.
//!
//! Does not know: formulas of the estimators, how charts are drawn.

mod cost;
mod data;
mod figure2;
mod figure3;
mod figure4;
mod figure5;
mod grid;
mod logs;
mod output;
mod provenance;
mod run;
mod runs;
mod spread;
mod table1;
mod table2;

use clap::{Parser, Subcommand};

use crate::arguments::Screen;
use crate::failure::Failure;
use cost::Cost;
use grid::GridArgs;

/// The experiments of the binomial paper (arXiv 2604.13263), with this project's estimators beside the paper's
///
/// Each comes in a quick setting, which needs no data and ends within minutes on two cores, and with --full in the paper's. Each
/// leaves Markdown and JSON in --out, and figures as SVG and PNG, with the settings, the seeds and the commit they were made with.
///
/// What trains networks (figure5, table1, table2) keeps them in OUT/runs and shares them. Stopped by Ctrl-C or killed, the same
/// command goes on from the last checkpoint; finished runs are not repeated; more --iterations lengthen them. Other settings
/// want another --out.
#[derive(Parser, Clone, Debug)]
#[command(version, disable_help_subcommand = true, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  paper figure2
      error bounds, in no time
  paper table1
      drawn textures: three runs of each estimator, minutes
  paper table1 --data omniglot-folder --columns 5way1shot,20way1shot --iterations 2000 --out out/omniglot
      Omniglot, from its small sets
  paper table1 --full --dataset mini --data miniImageNet
      the paper's: 20000 meta-iterations for each of its runs
  paper all
      everything in its quick setting";

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Error bounds of the theorems against the order
    Figure2(figure2::Figure2Args),
    /// Error of the meta-gradient on sinusoid regression, along training and against the order
    Figure3(figure3::Figure3Args),
    /// Time, memory and parallel efficiency of every estimator against the order
    Figure4(figure4::Figure4Args),
    /// Meta-training accuracy and loss against meta-iterations
    ///
    /// For every estimator, mean and range over seeds. The runs are those of table1.
    Figure5(GridArgs),
    /// Test accuracy by estimator, and the difference to the exact meta-gradient
    ///
    /// Rows: first-order, truncated, binomial, exact; columns: ways and shots. All runs have as many meta-iterations, and are
    /// tested on the same tasks.
    Table1(GridArgs),
    /// The hybrid of appendix D.1 against its parents: accuracy, error of the meta-gradient, cost
    Table2(GridArgs),
    /// All of them, those without training in their defaults
    All(GridArgs),
    /// Measures the memory of one estimator for figure4, which starts this
    #[command(hide = true)]
    Point {
        /// What to take a meta-gradient of
        settings: String,
        /// Which estimator
        at: usize,
    },
}

/// Runs an experiment.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: Arguments) -> Result<(), Failure> {
    match args.command {
        Command::Figure2(args) => figure2::run(&args),
        Command::Figure3(args) => figure3::run(&args),
        Command::Figure4(args) => figure4::run(&args),
        Command::Figure5(args) => figure5::run(&args),
        Command::Table1(args) => table1::run(&args),
        Command::Table2(args) => table2::run(&args),
        Command::All(args) => all(&args),
        Command::Point { settings, at } => {
            let cost: Cost = serde_json::from_str(&settings).map_err(Failure::usage)?;
            let growth = cost.resident_here(at)?;
            Screen::new(None).result(growth.map_or_else(|| "unknown".to_owned(), |bytes| bytes.to_string()));
            Ok(())
        }
    }
}

fn all(args: &GridArgs) -> Result<(), Failure> {
    if args.output.json.is_some() {
        return Err(Failure::usage("--json belongs to one figure or table; all of them are written into --out"));
    }
    // Before anything is computed.
    args.grid(&grid::TABLE1)?;
    let output = &args.output;
    figure2::run(&figure2::Figure2Args::new(output.clone()))?;
    figure3::run(&figure3::Figure3Args::new(output.clone()))?;
    figure4::run(&figure4::Figure4Args::new(output.clone()))?;
    table1::run(args)?;
    figure5::run(args)?;
    table2::run(args)
}
