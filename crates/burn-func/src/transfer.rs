//! Values on other devices, and in other integer or boolean types.
//!
//! Does not know: graphs, what the values are for.

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn_backend::read_sync;
use burn_dispatch::Dispatch;

use crate::error::{Error, Result};
use crate::executor::{backend_name, guarded};
use crate::legalize::{holds, is_integer, unsupported_type};
use crate::params::Params;
use crate::value::Value;

impl Params {
    /// The same point on another device; its tensors are copied there. Waits for the device they come from.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedType`], naming the parameter, for a float type that the device does not compute in: nothing is
    /// rounded in silence, see [`cast`](crate::cast). [`Error::Execution`] if a device fails.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let device = device.clone().without_autodiff();
        let moved = self.specs().iter().zip(self.values()).map(|(param, value)| {
            let dtype = value.dtype();
            match guarded(|| device.supports_dtype(dtype))? {
                true => moved(value, dtype, &device),
                false => Err(unsupported_type(format!("parameter `{}`", param.path), dtype, &device)),
            }
        });
        Ok(Self::new(self.shared_specs().clone(), moved.collect::<Result<_>>()?))
    }
}

/// An error unless both are the same device.
pub(crate) fn same_device(what: &str, found: &Device, expected: &Device) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
    Err(Error::TwoDevices { what: what.into(), found, expected })
}

/// A copy on a device, in a type of the same kind.
pub(crate) fn moved(value: &Value, dtype: DType, device: &Device) -> Result<Value> {
    if value.device() == *device && value.dtype() == dtype {
        return Ok(value.clone());
    }
    uploaded(data(value)?, dtype, device)
}

/// Data on a device, in a type of the same kind; integers must fit.
pub(crate) fn uploaded(data: TensorData, dtype: DType, device: &Device) -> Result<Value> {
    let from = data.dtype();
    if from == dtype {
        return guarded(|| Value::from_data(data, device));
    }
    if is_integer(dtype)
        && let Some(value) = data.iter::<i64>().find(|&value| !holds(dtype, value.into()))
    {
        let message = format!("the integer {value} does not fit in the device's {dtype:?}");
        return Err(Error::Execution { message });
    }
    let data = data.try_cast(dtype).map_err(|error| Error::Execution { message: error.to_string() })?;
    guarded(|| Value::from_data(data, device))
}

/// The value in another type of the same kind, on its own device. Integers must fit; the elements are not looked at.
pub(crate) fn converted(value: Value, dtype: DType) -> Result<Value> {
    if value.dtype() == dtype {
        return Ok(value);
    }
    let device = value.device();
    if backend_name(&device) == "Remote" {
        // A server runs Burn's interpreter, which has no arm for casts between integer types.
        return uploaded(data(&value)?, dtype, &device);
    }
    guarded(|| {
        let int = device.settings().int_dtype;
        let tensor = value.into_dispatch();
        Value::from_dispatch(match dtype {
            DType::Bool(_) => {
                let number = Dispatch::bool_into_int(tensor, int);
                Dispatch::int_not_equal_elem(number, 0.into(), dtype.into())
            }
            _ => Dispatch::int_cast(tensor, dtype.into()),
        })
    })
}

/// The elements on the host. Waits for the device.
fn data(value: &Value) -> Result<TensorData> {
    let dtype = value.dtype();
    let tensor = value.clone().into_dispatch();
    let read = guarded(|| match dtype {
        DType::Bool(_) => read_sync(Dispatch::bool_into_data(tensor)),
        _ if is_integer(dtype) => read_sync(Dispatch::int_into_data(tensor)),
        _ => read_sync(Dispatch::float_into_data(tensor)),
    })?;
    read.map_err(|error| Error::Execution { message: error.to_string() })
}

/// The only element of a loss. Waits for the device.
pub(crate) fn number(tensor: &Tensor<1>) -> Result<f64> {
    let read = guarded(|| tensor.clone().try_into_scalar::<f64>())?;
    read.map_err(|error| Error::Execution { message: error.to_string() })
}
