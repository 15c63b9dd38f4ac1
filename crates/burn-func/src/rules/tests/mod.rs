//! Every rule against central differences, operation by operation, in f64 on Flex.

mod activations;
mod case;
mod convolutions;
mod coverage;
mod elementwise;
mod harness;
mod indexing;
mod kinks;
mod layout;
mod lookups;
mod normalisation;
mod page;
mod pooling;
mod reductions;
mod smoke;
