//! The choice of a device among the backends of this build.
//!
//! Does not know: what runs on it.

use std::panic;

use burn::tensor::{DType, Device, Tensor};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceName {
    /// The CPU, in pure Rust.
    Flex,
    /// The CPU, through the `ndarray` crate; needs a build with `--features ndarray`.
    Ndarray,
    /// A GPU through Vulkan; needs a build with `--features vulkan`.
    Vulkan,
    /// A GPU through WebGPU (Metal, DirectX, Vulkan); needs a build with `--features wgpu`.
    Wgpu,
    /// An NVIDIA GPU; needs a build with `--features cuda`.
    Cuda,
}

impl DeviceName {
    /// Opens the device, with automatic differentiation, and tries it.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] if this build lacks the backend, or the machine the device.
    pub fn open(self) -> Result<Device, Failure> {
        let device = caught(|| {
            self.plain().map(|device| {
                let one = Tensor::<1>::ones([1], &device).into_data();
                (device, one)
            })
        });
        match device {
            Ok(Some((device, _))) => Ok(device.autodiff()),
            Ok(None) => Err(Failure::usage(format!(
                "--device {name}: this build lacks that backend; build it with `--features {name}`",
                name = self.name()
            ))),
            Err(cause) => Err(Failure::usage(format!("--device {}: no such device works here: {cause}", self.name()))),
        }
    }

    /// The device without automatic differentiation, if this build has the backend.
    fn plain(self) -> Option<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Some(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated, reason = "Burn deprecates the backend, and programs run on it")]
            Self::Ndarray => Some(Device::ndarray()),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Some(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Some(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Some(Device::cuda(burn::tensor::DeviceIndex::Default)),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Vulkan => "vulkan",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }
}

/// A floating-point precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single: what people train in.
    F32,
    /// Double: the reference for correctness. Most GPUs lack it.
    F64,
}

impl Precision {
    /// Burn's name of it, if the device computes in it.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] if it does not.
    pub fn on(self, device: &Device) -> Result<DType, Failure> {
        let dtype = match self {
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        };
        if device.supports_dtype(dtype) {
            Ok(dtype)
        } else {
            Err(Failure::usage(format!("this device does not compute in {dtype:?}; pass --dtype f32")))
        }
    }
}

/// Runs what may panic, as backends do that find no device, and returns the panic's first line. The panic is reported on
/// standard error too: the hook that does so belongs to the whole process, and is left alone.
fn caught<T>(run: impl FnOnce() -> T + panic::UnwindSafe) -> Result<T, String> {
    panic::catch_unwind(run).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        text.and_then(|text| text.lines().next()).unwrap_or("the backend gave no reason").to_owned()
    })
}
