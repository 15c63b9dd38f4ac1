//! What the example programs share: one file per concept.

pub mod arguments;
pub mod characters;
pub mod clock;
pub mod curves;
pub mod curves_plot;
pub mod device;
pub mod document;
pub mod error_curve;
pub mod estimator_list;
pub mod failure;
pub mod files;
pub mod memory;
pub mod noisy_labels;
pub mod plot;
pub mod progress;
pub mod seed;
pub mod separation;
pub mod sinusoids;
pub mod statistics;
