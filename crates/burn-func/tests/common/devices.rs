//! The device that tests run on: what `BURN_META_TEST_DEVICE` names, Flex unless it is set.
//!
//! A device that is asked for and not there fails the tests; nothing is skipped.
//!
//! Does not know: what is run on it.

use std::sync::OnceLock;

use burn::module::Module;
#[cfg(any(feature = "vulkan", feature = "wgpu"))]
use burn::tensor::DeviceType;
use burn::tensor::{Bool, DType, Device, Int, Tensor};
use burn_func::{Batch, BatchMapper, cast};

/// Names the device: `flex`, `ndarray`, `vulkan`, `wgpu`, `remote` or `cuda`.
pub const VARIABLE: &str = "BURN_META_TEST_DEVICE";

/// The device asked for, with autodiff. Made once per process, which is said on standard error.
pub fn test_device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let make = || {
        let device = fresh_device();
        eprintln!("tests run on {}: {device:?}", name());
        device
    };
    DEVICE.get_or_init(make).clone()
}

/// The device asked for, with autodiff; a remote one with a server of its own, so that nothing that ends another's
/// session is felt here.
pub fn fresh_device() -> Device {
    named(&name()).autodiff()
}

/// What the device is called by whoever asked for it.
pub fn name() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| "flex".into())
}

#[allow(unreachable_patterns, reason = "how many names have a device depends on the build's features")]
fn named(name: &str) -> Device {
    match name {
        "flex" => Device::flex(),
        #[cfg(feature = "ndarray")]
        "ndarray" => ndarray(),
        #[cfg(feature = "vulkan")]
        "vulkan" => first(DeviceType::Vulkan),
        #[cfg(feature = "wgpu")]
        "wgpu" => first(DeviceType::Wgpu),
        #[cfg(feature = "remote-server")]
        "remote" => remote(),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(0),
        "ndarray" | "vulkan" | "wgpu" | "cuda" => {
            panic!("{VARIABLE}={name} needs the tests built with `--features {name}`")
        }
        "remote" => panic!("{VARIABLE}={name} needs the tests built with `--features remote-server`"),
        _ => panic!("{VARIABLE}={name}: known are flex, ndarray, vulkan, wgpu, remote, cuda"),
    }
}

#[cfg(feature = "ndarray")]
#[allow(deprecated, reason = "Burn deprecates the backend, and programs run on it")]
fn ndarray() -> Device {
    Device::ndarray()
}

/// The first adapter that is listed: the default selection passes over software adapters.
#[cfg(any(feature = "vulkan", feature = "wgpu"))]
fn first(kind: DeviceType) -> Device {
    let first = Device::enumerate(kind).iter().next().cloned();
    first.expect("no adapter: is there a Vulkan driver, and does VK_DRIVER_FILES name its manifest?")
}

/// A server in this process, on a loopback port of the system's choosing, with Flex behind it.
#[cfg(feature = "remote-server")]
fn remote() -> Device {
    use burn::remote::RemoteHost;
    use burn::server::{RemoteServer, WebSocketTransport};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("the port's number");
    std::thread::spawn(move || {
        let served = RemoteServer::new([Device::flex()]).serve(WebSocketTransport::from_listener(listener));
        // Serving ends with an error, or with a signal that was meant for the whole process.
        eprintln!("the server stopped: {served:?}");
        std::process::exit(130);
    });
    let host = RemoteHost::websocket(&format!("ws://{address}"));
    Device::remote_options(&host).init().expect("a session with the server of this process")
}

/// The batch on a device, its floats in single precision.
pub fn on<B: Batch>(device: &Device, batch: &B) -> B {
    batch.map(&mut Move(device.clone()))
}

struct Move(Device);

impl BatchMapper for Move {
    fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        Tensor::from_data(tensor.to_data().convert_dtype(DType::F32), (&self.0, DType::F32))
    }

    fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
        Tensor::from_data(tensor.to_data(), &self.0)
    }

    fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool> {
        Tensor::from_data(tensor.to_data(), &self.0)
    }
}

/// The model in single precision, in training on a device.
pub fn single<M: Module>(device: &Device, model: &M) -> M {
    cast(model, DType::F32).valid().to_device(&device.clone().without_autodiff()).train()
}
