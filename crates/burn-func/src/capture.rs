//! Capture devices: where closures are recorded instead of executed.
//!
//! A process can create 65,536 of them, each takes its default element types once, and each records one closure at a
//! time. So they are kept in a pool, by default types, and a concurrent trace takes another one.
//!
//! Does not know: what is recorded.

use std::sync::{Mutex, PoisonError};

use burn::tensor::{CapturedGraph, Device, DeviceConfig, DeviceSettings};

use crate::error::{Error, Result};

/// Capture devices no trace is using. The limit is the process's, so the pool is too.
static IDLE: Mutex<Vec<(DeviceSettings, Device)>> = Mutex::new(Vec::new());

/// A capture device for the time of one trace.
pub(crate) struct Lease {
    settings: DeviceSettings,
    device: Device,
    fresh: bool,
}

impl Lease {
    /// A capture device whose default types are those of `model`'s device, so that what the closure creates has the type
    /// it would have there.
    pub fn for_model_on(model: &Device) -> Self {
        let settings = model.settings();
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.iter().position(|(of, _)| *of == settings) {
            Some(at) => {
                let (settings, device) = idle.swap_remove(at);
                Self { settings, device, fresh: false }
            }
            None => Self { settings, device: Device::capture(), fresh: true },
        }
    }

    /// Records what `body` does on the device.
    pub fn capture(&mut self, body: impl FnOnce(&Device) -> Result<()>) -> Result<CapturedGraph> {
        let mut outcome = Ok(());
        let captured = self.device.capture_scope(|scope| {
            // A capture device answers questions about types only inside a scope.
            outcome = self.configure().and_then(|()| body(&self.device));
            scope.complete([], [])
        });
        outcome?;
        self.fresh = false;
        captured.map_err(|error| Error::Execution { message: error.to_string() })
    }

    fn configure(&self) -> Result<()> {
        if !self.fresh {
            return Ok(());
        }
        let config = DeviceConfig::default()
            .float_dtype(self.settings.float_dtype)
            .int_dtype(self.settings.int_dtype)
            .bool_dtype(self.settings.bool_dtype);
        self.device.clone().configure(config).map_err(|error| Error::Execution { message: error.to_string() })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.fresh {
            return; // Its types may not be set: never handed out again.
        }
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((self.settings, self.device.clone()));
    }
}
