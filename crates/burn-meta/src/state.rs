//! What an inner loop takes from step to step, and a cotangent of it.
//!
//! Does not know: rules, losses.

use burn::tensor::Tensor;
use burn_func::Params;

use crate::vector::Vector;

/// The parameters, and what the inner rule remembers beside them.
#[derive(Clone, Debug)]
pub struct State {
    /// All trainable parameters of the module, those that the inner loop leaves alone among them.
    pub params: Params,
    /// The rule's memory: vectors over the adapting parameters, flat.
    pub memory: Vec<Tensor<1>>,
}

impl Vector for State {
    fn axpy(&self, scale: f64, rhs: &Self) -> Self {
        let memory = self.memory.iter().zip(&rhs.memory).map(|(a, b)| a.clone() + b.clone() * scale);
        Self { params: self.params.axpy(scale, &rhs.params), memory: memory.collect() }
    }

    fn scale(&self, scale: f64) -> Self {
        let memory = self.memory.iter().map(|a| a.clone() * scale);
        Self { params: self.params.scale(scale), memory: memory.collect() }
    }

    fn dot(&self, rhs: &Self) -> f64 {
        self.params.dot(&rhs.params) + self.remembered(rhs)
    }

    fn dots(&self, others: &[Self]) -> Vec<f64> {
        let params: Vec<&Params> = others.iter().map(|other| &other.params).collect();
        self.params.dots(&params).into_iter().zip(others).map(|(dot, other)| dot + self.remembered(other)).collect()
    }
}

impl State {
    /// The memory's part of an inner product.
    fn remembered(&self, rhs: &Self) -> f64 {
        let product = |(a, b): (&Tensor<1>, &Tensor<1>)| (a.clone() * b.clone()).sum().into_scalar::<f64>();
        self.memory.iter().zip(&rhs.memory).map(product).sum()
    }
}
