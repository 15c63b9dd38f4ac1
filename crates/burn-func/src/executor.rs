//! Runs programs on the device their inputs live on, through Burn's own interpreter of its representation.
//!
//! Does not know: transforms.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::Device;
use burn_backend::BackendTypes;
use burn_dispatch::{BackendTensor, DispatchDevice, DispatchKindConversion, DispatchTensor};
use burn_ir::{BackendIr, HandleKind};
use burn_router::TensorInterpreter;

use crate::error::{Error, Result, panic_message};
use crate::program::Program;
use crate::value::Value;

/// Backends this build can run programs on.
const KNOWN: &str = "flex";

/// Runs a program on values given in the order of its inputs.
///
/// Stateless, so that any number of threads may run the same program: the buffers of a run live as long as the run.
///
/// # Errors
///
/// [`Error::NoExecutor`], and [`Error::Execution`] for a kernel that panicked.
pub fn run(device: &Device, program: &Program, inputs: Vec<Value>) -> Result<Vec<Value>> {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(device) => interpret::<burn_dispatch::backends::Flex>(*device, program, inputs),
        _ => Err(Error::NoExecutor { device: format!("{device:?}"), known: KNOWN }),
    }
}

fn interpret<B: BackendIr>(
    device: <B as BackendTypes>::Device,
    program: &Program,
    inputs: Vec<Value>,
) -> Result<Vec<Value>>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let mut interpreter = TensorInterpreter::<B>::new(device);
    for (input, value) in program.inputs.iter().zip(inputs) {
        interpreter.register_tensor_to_device(input.id, handle::<B>(value)?);
    }
    let body = || {
        for op in &program.ops {
            interpreter.register_op(op.clone());
        }
        program.outputs.iter().map(|out| value::<B>(interpreter.get_tensor(out))).collect()
    };
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| Error::Execution { message: panic_message(panic) })
}

fn handle<B: BackendIr>(value: Value) -> Result<HandleKind<B>>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    match DispatchTensor::try_into_backend(value.into_dispatch()) {
        Ok(BackendTensor::Float(tensor)) => Ok(HandleKind::Float(tensor)),
        Ok(BackendTensor::Int(tensor)) => Ok(HandleKind::Int(tensor)),
        Ok(BackendTensor::Bool(tensor)) => Ok(HandleKind::Bool(tensor)),
        Ok(other) => Err(Error::Execution { message: format!("a {} tensor cannot be an input", other.name()) }),
        Err(message) => Err(Error::Execution { message }),
    }
}

fn value<B: BackendIr>(handle: HandleKind<B>) -> Value
where
    DispatchTensor: DispatchKindConversion<B>,
{
    Value::from_dispatch(DispatchTensor::from_backend(match handle {
        HandleKind::Float(tensor) => BackendTensor::Float(tensor),
        HandleKind::Int(tensor) => BackendTensor::Int(tensor),
        HandleKind::Bool(tensor) => BackendTensor::Bool(tensor),
        HandleKind::Quantized(tensor) => BackendTensor::Quantized(tensor),
    }))
}
