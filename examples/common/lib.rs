//! What the example programs share: one file per concept.

pub mod arguments;
pub mod bounds;
pub mod characters;
pub mod chart;
pub mod clock;
pub mod command;
pub mod comparison;
pub mod curves;
pub mod curves_plot;
pub mod device;
pub mod document;
pub mod error_curve;
pub mod estimator_list;
pub mod failure;
pub mod families;
pub mod files;
pub mod interrupt;
pub mod landscape;
pub mod learn;
pub mod memory;
pub mod monitor;
pub mod noisy_labels;
pub mod panels;
pub mod paper;
pub mod plot;
pub mod presets;
pub mod progress;
pub mod run_directory;
pub mod seed;
pub mod separation;
pub mod settings;
pub mod sinusoids;
pub mod statistics;
pub mod study;
pub mod tolerances;
pub mod unrolling;
pub mod vision;
pub mod waves;
pub mod workers;

#[cfg(doctest)]
mod book;
