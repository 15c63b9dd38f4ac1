//! The expansion of the meta-gradient by how many Hessians a term has, one order after another.
//!
//! Of `E_l^k`, the terms with l Hessians in the cotangent after k steps, `E_0` is what the steps do with their gradients held
//! still, and `E_l^k = A_k' E_l^{k+1} + P' H_k B_k' E_{l-1}^{k+1}`. The K - l + 1 products of an order do not wait for each
//! other. All orders up to L take L K - L (L - 1) / 2 products.
//!
//! Does not know: which orders are wanted, what they are weighted with.

use crate::estimator::sweep::{end, with_source};
use crate::unrolled::Unrolled;
use crate::vector::Vector;

/// The orders of one system, of which the latest is held.
pub(super) struct Orders<'a, U: Unrolled> {
    system: &'a U,
    order: usize,
    /// `E_l^k` for k of 0..=K; none where it is zero.
    terms: Vec<Option<U::State>>,
}

impl<'a, U: Unrolled> Orders<'a, U> {
    /// Order 0.
    pub fn new(system: &'a U) -> Self {
        let steps = system.steps();
        let mut terms = vec![None; steps + 1];
        let mut z = end(system);
        for step in (0..steps).rev() {
            let before = with_source(system, step, system.still(step, &z));
            terms[step + 1] = Some(std::mem::replace(&mut z, before));
        }
        terms[0] = Some(z);
        Self { system, order: 0, terms }
    }

    /// Which order is held.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Its terms in the cotangent after `step` steps, if it has any.
    pub fn after(&self, step: usize) -> Option<&U::State> {
        self.terms[step].as_ref()
    }

    /// Goes on to the next order.
    pub fn advance(&mut self) -> Result<(), U::Error> {
        let steps = self.system.steps();
        let work: Vec<(usize, &U::State)> = (0..steps).filter_map(|k| Some((k, self.terms[k + 1].as_ref()?))).collect();
        let mut products: Vec<Option<U::State>> = vec![None; steps];
        let taken: Vec<usize> = work.iter().map(|&(step, _)| step).collect();
        for (step, product) in taken.into_iter().zip(self.system.curved_each(&work)?) {
            products[step] = Some(product);
        }
        let mut terms = vec![None; steps + 1];
        for step in (0..steps).rev() {
            let still = terms[step + 1].as_ref().map(|z| self.system.still(step, z));
            terms[step] = match (still, products[step].take()) {
                (Some(still), Some(product)) => Some(still.axpy(1.0, &product)),
                (still, product) => still.or(product),
            };
        }
        (self.terms, self.order) = (terms, self.order + 1);
        Ok(())
    }
}

/// `sum_l weights[l] E_l`, and the same after every step for `observe`.
pub(super) fn weighted<U: Unrolled>(
    system: &U,
    weights: &[f64],
    observe: impl FnMut(usize, &U::State),
) -> Result<U::State, U::Error> {
    let mut orders = Orders::new(system);
    let mut sum = Sum::new(system.steps());
    for (order, &weight) in weights.iter().enumerate() {
        if order > 0 {
            orders.advance()?;
        }
        sum.add(weight, &orders);
    }
    Ok(sum.finish(observe))
}

/// A weighted sum of orders, after every step.
pub(super) struct Sum<V>(Vec<Option<V>>);

impl<V: Vector> Sum<V> {
    pub fn new(steps: usize) -> Self {
        Self(vec![None; steps + 1])
    }

    /// Adds the order that is held.
    pub fn add<U: Unrolled<State = V>>(&mut self, weight: f64, orders: &Orders<U>) {
        for (step, sum) in self.0.iter_mut().enumerate() {
            let Some(term) = orders.after(step) else { continue };
            *sum = Some(match sum.take() {
                Some(sum) => sum.axpy(weight, term),
                None if weight == 1.0 => term.clone(),
                None => term.scale(weight),
            });
        }
    }

    /// The cotangent before the first step, as it stands now.
    pub fn start(&self) -> Option<&V> {
        self.0[0].as_ref()
    }

    /// Tells the cotangents after every step, and returns the one before the first.
    ///
    /// # Panics
    ///
    /// Panics if no order was added.
    pub fn finish(mut self, mut observe: impl FnMut(usize, &V)) -> V {
        for step in (1..self.0.len()).rev() {
            if let Some(z) = &self.0[step] {
                observe(step - 1, z);
            }
        }
        self.0.swap_remove(0).expect("order 0 is in the sum")
    }
}
