//! Estimates of one meta-gradient against the exact one, and what each of them took, as counted.
//!
//! Does not know: networks, where the inner loop comes from, formulas of the estimators.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use burn_meta::{Descent, Estimate, Estimator, Unrolled, Vector};
use serde::Serialize;

use crate::failure::Failure;

/// What an estimate took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Hessian-vector products.
    pub products: usize,
    /// Products in sequence: those that do not wait for each other count as one.
    pub depth: usize,
    /// Inner steps whose Hessians it multiplied with, which must keep their residuals.
    pub reads: usize,
}

/// How an estimate did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// `||estimate - exact|| / ||exact||`.
    pub error: f64,
    /// Cosine of the angle between the two.
    pub cosine: f64,
    /// The order it ended at.
    pub order: usize,
    /// What it took, for one task.
    pub spent: Spent,
    /// Its own estimate of its error, where it has one.
    pub neglected: Option<f64>,
}

/// Estimates of the meta-gradient of a mini-batch of tasks, summed over them, by several estimators.
pub struct Comparison<'a, V> {
    estimators: &'a [Estimator],
    exact: Option<V>,
    sums: Vec<Sum<V>>,
}

struct Sum<V> {
    value: Option<V>,
    order: usize,
    spent: Spent,
    neglected: Option<f64>,
}

impl<'a, V: Vector> Comparison<'a, V> {
    /// No task yet.
    pub fn new(estimators: &'a [Estimator]) -> Self {
        let nothing = Spent { products: 0, depth: 0, reads: 0 };
        let sum = || Sum { value: None, order: 0, spent: nothing, neglected: None };
        Self { estimators, exact: None, sums: estimators.iter().map(|_| sum()).collect() }
    }

    /// Adds a task: its inner loop, which all estimators read.
    ///
    /// # Errors
    ///
    /// Those of its products.
    pub fn add<U: Unrolled<State = V>>(&mut self, system: &U) -> Result<(), U::Error> {
        add_to(&mut self.exact, Estimator::Exact.estimate(system)?.value);
        for (sum, estimator) in self.sums.iter_mut().zip(self.estimators) {
            let (Estimate { value, order, neglected, .. }, spent) = counted(estimator, system)?;
            add_to(&mut sum.value, value);
            (sum.order, sum.spent, sum.neglected) = (order, spent, neglected);
        }
        Ok(())
    }

    /// How each estimator did.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`] if the exact meta-gradient is zero or not finite: no error is relative to it.
    pub fn finish(self) -> Result<Vec<Trial>, Failure> {
        let norm = self.exact.as_ref().map_or(0.0, Vector::norm);
        let exact = self.exact.filter(|_| norm.is_normal());
        let exact = exact.ok_or_else(|| Failure::failed(format!("the exact meta-gradient has norm {norm}")))?;
        let trial = |Sum { value, order, spent, neglected }: Sum<V>| {
            let value = value.unwrap_or_else(|| exact.scale(0.0));
            let error = value.axpy(-1.0, &exact).norm() / norm;
            let cosine = value.dot(&exact) / (norm * value.norm());
            Trial { error, cosine, order, spent, neglected }
        };
        Ok(self.sums.into_iter().map(trial).collect())
    }
}

fn add_to<V: Vector>(sum: &mut Option<V>, value: V) {
    *sum = Some(match sum.take() {
        Some(sum) => sum.axpy(1.0, &value),
        None => value,
    });
}

/// An estimate, and what it took.
///
/// # Errors
///
/// Those of the products.
pub fn counted<U: Unrolled>(estimator: &Estimator, system: &U) -> Result<(Estimate<U::State>, Spent), U::Error> {
    let counted = Counted { system, products: Cell::new(0), depth: Cell::new(0), read: RefCell::default() };
    let estimate = estimator.estimate(&counted)?;
    let reads = counted.read.into_inner().len();
    Ok((estimate, Spent { products: counted.products.get(), depth: counted.depth.get(), reads }))
}

/// An inner loop that counts the products asked of it.
struct Counted<'a, U> {
    system: &'a U,
    products: Cell<usize>,
    depth: Cell<usize>,
    read: RefCell<BTreeSet<usize>>,
}

impl<U> Counted<'_, U> {
    fn count(&self, steps: impl ExactSizeIterator<Item = usize>) {
        self.products.set(self.products.get() + steps.len());
        self.depth.set(self.depth.get() + usize::from(steps.len() > 0));
        self.read.borrow_mut().extend(steps);
    }
}

impl<U: Unrolled> Unrolled for Counted<'_, U> {
    type State = U::State;
    type Error = U::Error;

    fn steps(&self) -> usize {
        self.system.steps()
    }

    fn source(&self, step: usize) -> Option<U::State> {
        self.system.source(step)
    }

    fn still(&self, step: usize, z: &U::State) -> U::State {
        self.system.still(step, z)
    }

    fn through(&self, step: usize, z: &U::State) -> U::State {
        self.system.through(step, z)
    }

    fn hessian(&self, step: usize, v: &U::State) -> Result<U::State, U::Error> {
        self.count(std::iter::once(step));
        self.system.hessian(step, v)
    }

    fn curved_each(&self, work: &[(usize, &U::State)]) -> Result<Vec<U::State>, U::Error> {
        self.count(work.iter().map(|(step, _)| *step));
        self.system.curved_each(work)
    }

    fn adapting(&self, v: &U::State) -> Option<U::State> {
        self.system.adapting(v)
    }

    fn descent(&self, step: usize) -> Option<Descent> {
        self.system.descent(step)
    }
}

#[cfg(test)]
mod tests {
    use burn_meta::GradientDescent;

    use super::*;
    use crate::families::{Contender, contenders};

    #[derive(Clone)]
    struct Plane([f64; 2]);

    impl Vector for Plane {
        fn axpy(&self, scale: f64, rhs: &Self) -> Self {
            Plane([0, 1].map(|i| self.0[i] + scale * rhs.0[i]))
        }

        fn scale(&self, scale: f64) -> Self {
            Plane(self.0.map(|x| scale * x))
        }

        fn dot(&self, rhs: &Self) -> f64 {
            self.0.iter().zip(&rhs.0).map(|(a, b)| a * b).sum()
        }
    }

    /// Curvature 2 along the first axis, none along the second.
    fn valley(steps: usize) -> impl Unrolled<State = Plane, Error = ()> {
        GradientDescent::new(steps, 0.25, Plane([3.0, 4.0]), |_, v: &Plane| Ok(Plane([2.0 * v.0[0], 0.0])))
    }

    #[test]
    fn errors_and_angles_by_hand() {
        // One step halves the first element: exact is (1.5, 4), first-order (3, 4).
        let estimators = [Estimator::FirstOrder, Estimator::Exact];
        let mut comparison = Comparison::new(&estimators);
        for _ in 0..3 {
            comparison.add(&valley(1)).unwrap();
        }
        let [first, exact] = comparison.finish().unwrap()[..] else { panic!("two estimators") };
        let norm = 1.5f64.hypot(4.0);
        assert!((first.error - 1.5 / norm).abs() < 1e-14 && (first.cosine - 20.5 / (5.0 * norm)).abs() < 1e-14);
        assert!(exact.error < 1e-14 && (exact.cosine - 1.0).abs() < 1e-14);
        assert_eq!(exact.spent, Spent { products: 1, depth: 1, reads: 1 });
    }

    #[test]
    fn what_was_counted_is_what_the_estimators_promise() {
        for steps in [5, 8] {
            for contender in contenders(steps, steps) {
                let (_, spent) = counted(&contender.estimator, &valley(steps)).unwrap();
                // A probe, or a segment, may end early: there are two dimensions, of which one is flat.
                let Contender { estimator, .. } = contender;
                assert!(spent.products <= estimator.products(steps), "{estimator:?}");
                assert!(spent.reads <= estimator.reads(steps).len() && spent.depth <= spent.products);
                if matches!(estimator, Estimator::Binomial { .. } | Estimator::Hybrid { .. }) {
                    assert_eq!((spent.products, spent.depth), (estimator.products(steps), estimator.order(steps)));
                }
            }
        }
    }

    #[test]
    fn a_meta_gradient_of_zero_has_no_relative_error() {
        let flat = GradientDescent::new(1, 1.0, Plane([0.0, 0.0]), |_, v: &Plane| Ok::<_, ()>(v.clone()));
        let mut comparison = Comparison::new(&[Estimator::Exact]);
        comparison.add(&flat).unwrap();
        assert!(matches!(comparison.finish(), Err(Failure::Failed(_))));
    }
}
