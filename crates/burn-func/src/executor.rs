//! Runs programs on the device their inputs live on, through Burn's own interpreter of its representation.
//!
//! Every backend takes the same way: [`interpret`] is generic over what Burn calls a `BackendIr`. What a backend misreads goes
//! to it in another form, see `layout.rs` and `remote.rs`.
//!
//! Does not know: transforms, which element types a device has.

use burn::tensor::{Device, Shape};
use burn_backend::BackendTypes;
#[allow(unused_imports, reason = "a build without any backend runs nothing")]
use burn_dispatch::backends;
use burn_dispatch::{BackendTensor, DispatchDevice, DispatchKindConversion, DispatchTensor};
use burn_ir::{BackendIr, HandleKind, OperationIr};
use burn_router::TensorInterpreter;

use crate::error::{Error, Result};
use crate::layout;
use crate::program::Program;
use crate::quiet::caught;
#[cfg(feature = "remote")]
use crate::remote;
use crate::value::Value;

/// Kinds of device this build can run programs on.
const KNOWN: &[&str] = &[
    #[cfg(feature = "flex")]
    "flex",
    #[cfg(feature = "ndarray")]
    "ndarray",
    #[cfg(feature = "vulkan")]
    "vulkan",
    #[cfg(feature = "wgpu")]
    "wgpu",
    #[cfg(feature = "cuda")]
    "cuda",
    #[cfg(feature = "remote")]
    "remote",
];

/// Runs a program on values given in the order of its inputs.
///
/// Stateless, so that any number of threads may run the same program: the buffers of a run live as long as the run.
/// Devices that queue their work report a failure where a result is read.
///
/// # Errors
///
/// [`Error::NoExecutor`], and [`Error::Execution`] for a kernel that panicked.
#[allow(deprecated, reason = "Burn's NdArray devices are deprecated, and people have them")]
pub fn run(device: &Device, program: &Program, inputs: Vec<Value>) -> Result<Vec<Value>> {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(device) => interpret::<backends::Flex>(*device, program, inputs, Route::plain()),
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(device) => interpret::<backends::NdArray>(*device, program, inputs, Route::plain()),
        #[cfg(any(feature = "vulkan", feature = "wgpu", feature = "cuda"))]
        DispatchDevice::Cube(device) => interpret::<backends::Cube>(device.clone(), program, inputs, Route::settling()),
        #[cfg(feature = "remote")]
        DispatchDevice::Remote(device) => {
            // Whether the server's own device misreads strides is not known here.
            let route = Route { register: remote::register, ..Route::settling() };
            interpret::<backends::Remote>(device.clone(), program, inputs, route)
        }
        _ => Err(no_executor(device)),
    }
}

/// Name of the backend a device belongs to, as Burn spells it: `Flex`, `NdArray`, `Cube`, `Remote`. It stands in the text
/// of the device, whatever this build knows.
pub(crate) fn backend_name(device: &Device) -> String {
    let text = format!("{:?}", device.as_dispatch());
    text.split('(').next().unwrap_or_default().into()
}

fn no_executor(device: &Device) -> Error {
    let reason = match backend_name(device).as_str() {
        "Flex" => "enable the feature `flex`",
        "NdArray" => "enable the feature `ndarray`",
        "Cube" => "enable the feature `vulkan`, `wgpu` or `cuda`",
        "Remote" => "enable the feature `remote`",
        "LibTorch" => "LibTorch does not execute Burn's intermediate representation: use another device",
        "Capture" => "a capture device records and computes nothing: use another device",
        _ => "its backend is not known here",
    };
    Error::NoExecutor { device: format!("{device:?}"), reason, known: KNOWN.join(", ") }
}

/// What `body` returns, or its panic as an error: Burn reports a failing device by panicking.
pub(crate) fn guarded<T>(body: impl FnOnce() -> T) -> Result<T> {
    caught(body).map_err(|message| Error::Execution { message })
}

/// What is done to inputs and operations on their way to a backend.
struct Route<B: BackendIr> {
    enter: fn(HandleKind<B>, &Shape) -> HandleKind<B>,
    register: fn(&mut TensorInterpreter<B>, &OperationIr),
}

#[allow(dead_code, reason = "which of them a build needs depends on its features")]
impl<B: BackendIr> Route<B> {
    /// Nothing.
    fn plain() -> Self {
        Self { enter: |handle, _| handle, register: |interpreter, op| interpreter.register_op(op.clone()) }
    }

    /// Axes of size one get the strides that their shape says, see `layout.rs`.
    fn settling() -> Self {
        Self { enter: layout::settled, register: layout::register }
    }
}

fn interpret<B: BackendIr>(
    device: <B as BackendTypes>::Device,
    program: &Program,
    inputs: Vec<Value>,
    route: Route<B>,
) -> Result<Vec<Value>>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    // The values were cloned on this thread. Where a tensor is bound to the stream of a thread (fusion), that clone is the
    // one blocking step of taking over another thread's tensor; reads of it are free from here on.
    let handles: Vec<HandleKind<B>> = inputs.into_iter().map(handle::<B>).collect::<Result<_>>()?;
    guarded(|| {
        let mut interpreter = TensorInterpreter::<B>::new(device);
        for (input, handle) in program.inputs.iter().zip(handles) {
            interpreter.register_tensor_to_device(input.id, (route.enter)(handle, &input.shape));
        }
        for op in &program.ops {
            (route.register)(&mut interpreter, op);
        }
        program.outputs.iter().map(|out| value::<B>(interpreter.get_tensor(out))).collect()
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use crate::graph::{Graph, Input, Role};
    use burn::tensor::DType;

    #[test]
    fn a_device_that_computes_nothing_is_refused_by_name() {
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([2].into(), DType::F32);
        let y = emit.exp(&x);
        let program = Program::new(&Graph {
            inputs: vec![Input { tensor: x, role: Role::Batch }],
            ops: emit.ops,
            outputs: vec![y],
        });
        match run(&Device::capture(), &program, Vec::new()) {
            Err(Error::NoExecutor { device, reason, known }) => {
                assert!(device.contains("Capture") && reason.contains("records"), "{device}: {reason}");
                assert!(known.contains("flex"), "{known}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn devices_say_which_backend_is_theirs() {
        assert_eq!(
            (backend_name(&Device::flex()), backend_name(&Device::capture())),
            ("Flex".into(), "Capture".into())
        );
    }

    #[test]
    fn a_panic_of_a_kernel_is_an_error() {
        let message = "the kernel ran out of memory";
        let failed = guarded(|| -> () { std::panic::panic_any(message.to_string()) });
        assert!(matches!(&failed, Err(Error::Execution { message: said }) if said.starts_with(message)), "{failed:?}");
    }
}
