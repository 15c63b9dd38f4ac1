//! `stop_gradient`: a `detach` that leaves a mark in a trace.
//!
//! Does not know: derivative rules.

use burn::tensor::Tensor;
use burn_autodiff::Autodiff;
use burn_backend::{AutodiffBackend, TensorMetadata};
use burn_dispatch::DispatchDevice;
use burn_dispatch::backends::Capture;
use burn_ir::{CustomOpIr, OperationIr, TensorIr};
use burn_router::{RouterClient, RouterTensor};

const STOP: &str = "burn_func.stop_gradient";

/// The tensor as a constant: no derivative of any order passes through it. Inside and outside of traced closures.
///
/// Burn's own `detach` leaves no trace in a recorded graph; used on something that depends on a parameter it is found and
/// reported by the first linearization.
#[must_use]
pub fn stop_gradient<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let device = tensor.device().without_autodiff();
    if !matches!(device.as_dispatch(), DispatchDevice::Capture(_)) {
        return tensor.detach();
    }
    let tracked = tensor.is_autodiff();
    let inner = match tracked {
        true => tensor.clone().try_into_primitive::<Autodiff<Capture>>().map(Autodiff::<Capture>::inner),
        false => tensor.clone().try_into_primitive::<Capture>(),
    };
    let Ok(inner) = inner else { return tensor.detach() };
    let client = inner.client.clone();
    let (shape, dtype) = (inner.shape(), inner.dtype());
    let out = TensorIr::uninit(client.create_empty_handle(), shape.clone(), dtype);
    client.register_op(OperationIr::Custom(CustomOpIr::new(STOP, &[inner.into_ir()], std::slice::from_ref(&out))));
    let stopped = RouterTensor::new(out.id, shape, dtype, client);
    match tracked {
        true => Tensor::from_primitive::<Autodiff<Capture>>(Autodiff::<Capture>::from_inner(stopped)),
        false => Tensor::from_primitive::<Capture>(stopped),
    }
}

/// Whether an operation is the mark of [`stop_gradient`]: its result is its input.
pub(crate) fn is_stop(op: &OperationIr) -> bool {
    matches!(op, OperationIr::Custom(custom) if custom.id == STOP)
}
