//! Where a case runs: device and precision, with parameters and data made on the host from formulas, so that they are
//! the same numbers everywhere.
//!
//! Does not know: cases, tolerances.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use burn_func::{Params, cast};

use crate::common::{Mlp, probes, wave};

/// A device (with autodiff), a precision, and how far up the ladder a case goes.
#[derive(Clone, Debug)]
pub struct Site {
    pub device: Device,
    pub dtype: DType,
    /// Whether differences are taken: they say something in double precision alone.
    pub differences: bool,
    /// Whether the programs also run on several threads at once.
    pub threads: bool,
    /// Step of the differences.
    pub step: f64,
}

impl Site {
    /// Smooth numbers in (-1, 1).
    pub fn data<const D: usize>(&self, shape: [usize; D], salt: usize) -> Tensor<D> {
        self.data_in(shape, salt, -1.0, 1.0)
    }

    /// Smooth numbers in an interval.
    pub fn data_in<const D: usize>(&self, shape: [usize; D], salt: usize, low: f64, high: f64) -> Tensor<D> {
        let scaled = |i| low + (high - low) * 0.5 * (1.0 + wave(i, salt));
        let values: Vec<f64> = (0..shape.iter().product()).map(scaled).collect();
        let data = TensorData::new(values, shape).convert_dtype(self.dtype);
        Tensor::from_data(data, (&self.device, self.dtype))
    }

    /// Whole numbers below `end`, every one of them if there is room.
    pub fn ints<const D: usize>(&self, shape: [usize; D], end: usize) -> Tensor<D, Int> {
        let values: Vec<i64> = (0..shape.iter().product()).map(|i: usize| ((i * 3 + 1) % end) as i64).collect();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    /// Given whole numbers.
    pub fn list<const D: usize>(&self, shape: [usize; D], values: &[i64]) -> Tensor<D, Int> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &self.device)
    }

    /// A mask, true for about a third of the places and never for the first.
    pub fn mask<const D: usize>(&self, shape: [usize; D]) -> Tensor<D, Bool> {
        let values: Vec<bool> = (0..shape.iter().product()).map(|i: usize| i % 3 == 2).collect();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    /// A parameter of its own.
    pub fn param<const D: usize>(&self, shape: [usize; D], salt: usize) -> Param<Tensor<D>> {
        Param::from_tensor(self.data(shape, salt))
    }

    /// The module in this precision, with parameters from a formula.
    pub fn settled<M: Module>(&self, module: M) -> M {
        let module = cast(&module, self.dtype);
        let mut count = 0;
        let at = Params::from_module(&module).unwrap().from_fn(|spec, i| {
            count += usize::from(i == 0);
            f64::from(u8::from(spec.path.ends_with("gamma"))) + 0.5 * wave(i, count)
        });
        at.into_module(module).unwrap()
    }

    pub fn linear(&self, inputs: usize, outputs: usize) -> Linear {
        LinearConfig::new(inputs, outputs).init(&self.device)
    }

    pub fn mlp(&self, inputs: usize, hidden: usize, outputs: usize) -> Mlp {
        let (a, b) = (self.linear(inputs, hidden), self.linear(hidden, hidden));
        self.settled(Mlp { a, b, c: self.linear(hidden, outputs) })
    }
}

/// A scalar that every element enters in a way of its own.
pub fn probe<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    probes(x).mean()
}
