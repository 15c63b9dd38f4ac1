//! The table.
//!
//! Does not know: what is done with a case.

use crate::ladder::Found;
use crate::site::Site;
use crate::{activations, composed, layers, losses, tensors};

/// Devices of Burn's Cube backend.
pub const CUBE: &[&str] = &["vulkan", "wgpu", "cuda"];
/// Devices whose interpolations have a backward kernel for the nearest neighbour alone.
pub const NEAREST_ONLY: &[&str] = &["ndarray", "vulkan", "wgpu", "cuda"];

/// A model, a batch and a closure, built anew for every device.
pub struct Case {
    pub name: &'static str,
    pub run: Box<dyn Fn(&Site) -> Found + Send + Sync>,
    /// Part of the short table.
    pub short: bool,
    /// Its programs also run on several threads at once.
    pub threads: bool,
    /// Burn computes a part of it in single precision whatever the precision of its inputs.
    pub single: bool,
    /// Devices on which it has to be refused: Burn has no kernel there, or a wrong one.
    pub refused_on: &'static [&'static str],
}

pub fn case(name: &'static str, run: impl Fn(&Site) -> Found + Send + Sync + 'static) -> Case {
    Case { name, run: Box::new(run), short: false, threads: false, single: false, refused_on: &[] }
}

impl Case {
    pub fn short(mut self) -> Self {
        self.short = true;
        self
    }

    pub fn threads(mut self) -> Self {
        self.threads = true;
        self
    }

    pub fn refused_on(mut self, devices: &'static [&'static str]) -> Self {
        self.refused_on = devices;
        self
    }

    pub fn single(mut self) -> Self {
        self.single = true;
        self
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = activations::cases();
    cases.extend(tensors::cases());
    cases.extend(layers::cases());
    cases.extend(losses::cases());
    cases.extend(composed::cases());
    cases
}

#[test]
fn names_are_unique_and_a_third_is_short() {
    let cases = cases();
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len());
    let short = cases.iter().filter(|case| case.short).count();
    assert!(short * 4 >= cases.len() && short * 2 <= cases.len(), "{short} of {}", cases.len());
}
