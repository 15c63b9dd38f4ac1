//! What the example programs share: one file per concept.

pub mod arguments;
pub mod characters;
pub mod comparison;
pub mod device;
pub mod document;
pub mod error_curve;
pub mod failure;
pub mod families;
pub mod files;
pub mod landscape;
pub mod memory;
pub mod panels;
pub mod plot;
pub mod progress;
pub mod seed;
pub mod sinusoids;
pub mod statistics;
pub mod study;
pub mod tolerances;
pub mod unrolling;
pub mod workers;
