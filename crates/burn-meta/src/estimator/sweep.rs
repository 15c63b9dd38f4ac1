//! Back-propagation through the inner steps one after another: exact, or with the curvature of some steps left out.
//!
//! Does not know: expansions.

use std::ops::Range;

use crate::unrolled::Unrolled;
use crate::vector::Vector;

/// The cotangent of the state before the first step, with the curvature of the steps in `curved` alone. `observe` is told the
/// cotangent after each step. One product for each of those steps, in sequence.
pub(super) fn sweep<U: Unrolled>(
    system: &U,
    curved: Range<usize>,
    mut observe: impl FnMut(usize, &U::State),
) -> Result<U::State, U::Error> {
    let steps = system.steps();
    let mut z = end(system);
    for step in (0..steps).rev() {
        observe(step, &z);
        let still = system.still(step, &z);
        z = if curved.contains(&step) { still.axpy(1.0, &system.curved(step, &z)?) } else { still };
        z = with_source(system, step, z);
    }
    Ok(z)
}

/// A cotangent after `from` steps, taken back to the start with all gradients held still.
pub(super) fn still<U: Unrolled>(
    system: &U,
    from: usize,
    mut z: U::State,
    mut observe: impl FnMut(usize, &U::State),
) -> U::State {
    for step in (0..from).rev() {
        observe(step, &z);
        z = with_source(system, step, system.still(step, &z));
    }
    z
}

/// The cotangent after the last step.
///
/// # Panics
///
/// Panics if there is no loss after the last step, which a system always has.
pub(super) fn end<U: Unrolled>(system: &U) -> U::State {
    system.source(system.steps()).expect("a loss after the last step")
}

/// Adds the gradient of the loss after `step` steps, if there is one.
pub(super) fn with_source<U: Unrolled>(system: &U, step: usize, z: U::State) -> U::State {
    match system.source(step) {
        Some(source) => z.axpy(1.0, &source),
        None => z,
    }
}
