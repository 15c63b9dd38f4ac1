//! The estimators that are compared with each other, in families of one name.
//!
//! Does not know: how they are compared, formulas.

use burn_meta::Estimator;

/// Estimators of one name, which differ in their order or degree.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its members for a number of inner steps, K, up to an order or degree.
    members: fn(usize, usize) -> Vec<Estimator>,
}

/// A member of a family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contender {
    /// The family's name.
    pub family: &'static str,
    /// The estimator.
    pub estimator: Estimator,
}

/// All families. Truncated, binomial and scaled binomial go from order 0, which is first-order, to order K, which is exact.
/// Truncated, the cheapest, has all its members whatever is asked for.
pub const FAMILIES: [Family; 10] = [
    Family { name: "truncated", members: |steps, _| (0..=steps).map(Estimator::truncated).collect() },
    Family { name: "binomial", members: |_, most| (0..=most).map(Estimator::binomial).collect() },
    Family { name: "binomial, scaled", members: |_, most| (0..=most).map(Estimator::binomial_scaled).collect() },
    Family { name: "hybrid", members: hybrid },
    Family { name: "fitted, probe 1", members: |_, most| fitted(1, most) },
    Family { name: "fitted, probe 4", members: |_, most| fitted(4, most) },
    Family { name: "frozen", members: |steps, most| segments(1, steps, most) },
    Family { name: "segments, 2", members: |steps, most| segments(2, steps, most) },
    Family { name: "segments, 3", members: |steps, most| segments(3, steps, most) },
    Family { name: "segments, 5", members: |steps, most| segments(5, steps, most) },
];

/// All members of all families for `steps` inner steps, up to an order or degree.
pub fn contenders(steps: usize, most: usize) -> Vec<Contender> {
    let members = |family: &Family| (family.members)(steps, most.min(steps));
    let named = |family: &'static Family| {
        members(family).into_iter().map(|estimator| Contender { family: family.name, estimator })
    };
    FAMILIES.iter().flat_map(named).collect()
}

/// The last four fifths of the steps, as the paper's C = 4 of K = 5.
fn hybrid(steps: usize, most: usize) -> Vec<Estimator> {
    let window = (4 * steps).div_ceil(5);
    (1..=most.min(window)).map(|order| Estimator::Hybrid { order, window }).collect()
}

fn fitted(probe: usize, most: usize) -> Vec<Estimator> {
    (1..=most).map(|order| Estimator::Fitted { order, probe }).collect()
}

/// Those that are not exact: a degree that reaches the length of the longest segment takes every step by itself.
fn segments(count: usize, steps: usize, most: usize) -> Vec<Estimator> {
    let longest = steps.div_ceil(count);
    (1..longest.min(most + 1)).map(|degree| Estimator::segments(count, degree)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_hold_for_their_steps() {
        for steps in 1..30 {
            for most in [0, 1, 3, steps, steps + 5] {
                let members = contenders(steps, most);
                for (at, Contender { family, estimator }) in members.iter().enumerate() {
                    estimator.check(steps).unwrap_or_else(|error| panic!("{family}, K = {steps}: {error}"));
                    assert!(!members[..at].iter().any(|other| other.estimator == *estimator), "{estimator:?} twice");
                }
            }
        }
        // Families without an exact member have none that reads every step.
        for Contender { family, estimator } in contenders(7, 7) {
            assert!(!(family.starts_with("segments") || family == "frozen") || estimator.reads(7).len() < 7);
        }
    }
}
