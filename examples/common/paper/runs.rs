//! Runs of a grid: each done once, and what became of them.
//!
//! Does not know: how a run is done (`run`), what is made of runs.

use std::path::PathBuf;

use burn_meta::Task;
use burn_meta::models::Cnn4;
use fewshot_data::Split;
use serde_json::Value;

use super::data::{Batch, Images, task};
use super::grid::{Common, Grid, GridArgs};
use super::run::{Outcome, Run, Stage, TEST_SEED};
use crate::device::DeviceName;
use crate::failure::Failure;
use crate::interrupt::stop;

/// The runs of a grid.
pub struct Runs<'a> {
    /// Settings.
    pub grid: &'a Grid,
    stage: Stage<'a>,
    found: Vec<Vec<Vec<Outcome>>>,
}

impl<'a> Runs<'a> {
    /// Loads the data, and does every run that is not finished, seed by seed: what is stopped early can be compared.
    ///
    /// # Errors
    ///
    /// Those of data and trainer. A run that diverges, and all that are left when somebody stops the program, are missing, which
    /// is none.
    pub fn all(args: &GridArgs, grid: &'a Grid) -> Result<Self, Failure> {
        let device = DeviceName::Flex.open()?;
        let images = Images::load(grid.dataset, &args.data, grid.common.image_size)?;
        let summary = images.summary()?;
        let stage = Stage {
            grid,
            images,
            directory: args.output.out.join("runs"),
            device,
            threads: args.output.threads,
            training: !args.training.no_training,
            summary,
        };
        let mut runs = Self { grid, stage, found: Vec::new() };
        runs.check_sizes()?;
        runs.found = runs.do_all()?;
        Ok(runs)
    }

    /// Before hours of training.
    fn check_sizes(&self) -> Result<(), Failure> {
        let Common { train_queries, test_queries, .. } = self.grid.common;
        for column in &self.grid.columns {
            self.stage.images.tasks(Split::Train, *column, train_queries, 0)?;
            self.stage.images.tasks(Split::Test, *column, test_queries, TEST_SEED)?;
        }
        Ok(())
    }

    fn do_all(&self) -> Result<Vec<Vec<Vec<Outcome>>>, Failure> {
        let Grid { columns, estimators, seeds, .. } = self.grid;
        let missing = || Outcome::Missing("not begun".into());
        let mut found = vec![vec![vec![missing(); seeds.len()]; estimators.len()]; columns.len()];
        let all = columns.len() * estimators.len() * seeds.len();
        let mut nth = 0;
        for (at_column, &column) in columns.iter().enumerate() {
            for (at_seed, &seed) in seeds.iter().enumerate() {
                for (at_row, row) in estimators.iter().enumerate() {
                    nth += 1;
                    let run = Run { stage: &self.stage, column, row, seed };
                    let outcome = run.outcome(&format!("run {nth}/{all}"));
                    found[at_column][at_row][at_seed] = outcome.map_err(|failure| failure.at(run.name()))?;
                }
            }
        }
        Ok(found)
    }

    /// What became of the run of a column, an estimator and a seed, by their places in the grid.
    pub fn outcome(&self, column: usize, row: usize, seed: usize) -> &Outcome {
        &self.found[column][row][seed]
    }

    /// Its directory.
    pub fn place(&self, column: usize, row: usize, seed: usize) -> PathBuf {
        let Grid { columns, estimators, seeds, .. } = self.grid;
        Run { stage: &self.stage, column: columns[column], row: &estimators[row], seed: seeds[seed] }.place()
    }

    /// The seeds, by their places, of which a column has a finished run of each of these estimators.
    pub fn seeds_with(&self, column: usize, rows: &[usize]) -> Vec<usize> {
        let done = |seed: &usize| rows.iter().all(|row| matches!(self.outcome(column, *row, *seed), Outcome::Done(_)));
        (0..self.grid.seeds.len()).filter(done).collect()
    }

    /// Accuracies of an estimator in a column by these seeds, and by task.
    pub fn accuracies(&self, column: usize, row: usize, seeds: &[usize]) -> Vec<Vec<f64>> {
        let of = |seed: &usize| match self.outcome(column, row, *seed) {
            Outcome::Done(tested) => Some(tested.accuracies.clone()),
            Outcome::Missing(_) => None,
        };
        seeds.iter().filter_map(of).collect()
    }

    /// The runs that are missing, each with the reason.
    pub fn missing(&self) -> Vec<String> {
        let Grid { columns, estimators, seeds, .. } = self.grid;
        let mut missing = Vec::new();
        for (c, column) in columns.iter().enumerate() {
            for (e, row) in estimators.iter().enumerate() {
                for (s, seed) in seeds.iter().enumerate() {
                    if let Outcome::Missing(reason) = self.outcome(c, e, s) {
                        missing.push(format!(
                            "{}, {}, seed {seed}: {reason}",
                            self.grid.column_name(*column),
                            row.name
                        ));
                    }
                }
            }
        }
        missing
    }

    /// What the classes are.
    pub fn summary(&self) -> &Value {
        &self.stage.summary
    }

    /// The first test tasks of a column, as training has them but for their number of queries.
    ///
    /// # Errors
    ///
    /// Those of the data.
    pub fn study_tasks(&self, column: usize, count: usize) -> Result<Vec<Task<Batch>>, Failure> {
        let tasks = self.stage.images.tasks(
            Split::Test,
            self.grid.columns[column],
            self.grid.common.train_queries,
            TEST_SEED,
        )?;
        let drawn = (0..count as u64).map(|index| task(&tasks, index, &self.stage.device));
        drawn.collect::<Result<_, _>>().map_err(Failure::from)
    }

    /// The network that a run of this seed begins with.
    ///
    /// # Errors
    ///
    /// Those of the network.
    pub fn initial(&self, column: usize, seed: u64) -> Result<Cnn4, Failure> {
        self.stage.network(self.grid.columns[column], seed)
    }

    /// That somebody stopped the program.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`] if so.
    pub fn stopped(&self) -> Result<(), Failure> {
        if stop().is_cancelled() {
            return Err(Failure::failed("stopped; the same command goes on from there"));
        }
        Ok(())
    }
}
