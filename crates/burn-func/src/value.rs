//! A tensor with its rank erased, so that parameters of every rank sit in one list.
//!
//! Does not know: parameters, graphs, derivatives.

use burn::tensor::{DType, Device, Float, Shape, Tensor, TensorData, kind::Basic};
use burn_backend::TensorMetadata;
use burn_backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn_dispatch::{Dispatch, DispatchTensor};

/// A tensor of any rank and kind on any device, without autodiff. Cloning shares the buffer.
#[derive(Clone, Debug)]
pub struct Value(DispatchTensor);

/// Shape and element type of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorSpec {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its element type.
    pub dtype: DType,
}

impl std::fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "shape {:?} of {:?}", self.shape, self.dtype)
    }
}

impl Value {
    /// Erases the rank of a tensor, and its autodiff association.
    pub fn new<const D: usize, K>(tensor: Tensor<D, K>) -> Self
    where
        K: Basic + burn::tensor::kind::Autodiff,
    {
        Self(tensor.inner().into_dispatch())
    }

    /// The tensor, if its rank is `D`; its kind must be `K`.
    pub(crate) fn tensor<const D: usize, K: Basic>(&self) -> Option<Tensor<D, K>> {
        (self.0.shape().num_dims() == D).then(|| Tensor::from_dispatch(self.0.clone()))
    }

    pub(crate) fn from_dispatch(tensor: DispatchTensor) -> Self {
        Self(tensor)
    }

    pub(crate) fn into_dispatch(self) -> DispatchTensor {
        self.0
    }

    /// Shape and element type.
    pub fn spec(&self) -> TensorSpec {
        TensorSpec { shape: self.0.shape().to_vec(), dtype: self.0.dtype() }
    }

    /// Shape.
    pub fn shape(&self) -> Shape {
        self.0.shape()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.0.dtype()
    }

    /// The device it lives on.
    pub fn device(&self) -> Device {
        Device::new(TensorMetadata::device(&self.0))
    }

    /// Size of the buffer in bytes.
    pub fn bytes(&self) -> usize {
        self.shape().num_elements() * self.dtype().size()
    }

    fn flat(&self) -> Tensor<1, Float> {
        let n = self.shape().num_elements();
        Tensor::from_dispatch(Dispatch::float_reshape(self.0.clone(), Shape::new([n])))
    }

    /// The elements of a float tensor in row-major order, as `f64`. Waits for the device.
    pub fn to_f64(&self) -> Vec<f64> {
        self.flat().into_data().iter::<f64>().collect()
    }

    /// The only element of a tensor that has one. Waits for the device.
    pub(crate) fn scalar(&self) -> f64 {
        self.flat().into_scalar()
    }

    /// `self + rhs`.
    pub fn add(&self, rhs: &Self) -> Self {
        Self(Dispatch::float_add(self.0.clone(), rhs.0.clone()))
    }

    /// `self - rhs`.
    pub fn sub(&self, rhs: &Self) -> Self {
        Self(Dispatch::float_sub(self.0.clone(), rhs.0.clone()))
    }

    /// `scale * self`.
    pub fn scale(&self, scale: f64) -> Self {
        Self(Dispatch::float_mul_scalar(self.0.clone(), scale.into()))
    }

    /// `sum(self * rhs)`, a tensor of one element.
    pub fn dot(&self, rhs: &Self) -> Self {
        Self(Dispatch::float_sum(Dispatch::float_mul(self.0.clone(), rhs.0.clone())))
    }

    /// A float tensor from host values; `values` must fill the shape.
    pub(crate) fn from_host(values: Vec<f64>, spec: &TensorSpec, device: &Device) -> Self {
        let data = TensorData::new(values, spec.shape.clone()).convert_dtype(spec.dtype);
        Self(Dispatch::float_from_data(data, device.as_dispatch()))
    }

    /// A tensor of any kind from data.
    pub(crate) fn from_data(data: TensorData, device: &Device) -> Self {
        let device = device.as_dispatch();
        Self(match data.dtype() {
            dtype if dtype.is_float() => Dispatch::float_from_data(data, device),
            dtype if dtype.is_bool() => Dispatch::bool_from_data(data, device),
            _ => Dispatch::int_from_data(data, device),
        })
    }

    /// `self * rhs`, elementwise.
    pub fn mul(&self, rhs: &Self) -> Self {
        Self(Dispatch::float_mul(self.0.clone(), rhs.0.clone()))
    }

    /// Elementwise square root.
    pub fn sqrt(&self) -> Self {
        Self(Dispatch::float_sqrt(self.0.clone()))
    }

    /// A float tensor in another precision; any other tensor as it is.
    pub(crate) fn float_cast(&self, dtype: DType) -> Self {
        match self.dtype().is_float() {
            true => Self(Dispatch::float_cast(self.0.clone(), dtype.into())),
            false => self.clone(),
        }
    }

    /// The elements of a float tensor in another shape and type.
    pub(crate) fn shaped(&self, spec: &TensorSpec) -> Self {
        Self(Dispatch::float_reshape(self.0.clone(), Shape::from(spec.shape.clone()))).float_cast(spec.dtype)
    }

    /// The elements of a float tensor in row-major order.
    pub(crate) fn flatten(&self) -> Tensor<1> {
        self.flat()
    }

    /// Zeros of the same shape and type.
    pub fn zeros_like(&self) -> Self {
        let device = TensorMetadata::device(&self.0);
        Self(Dispatch::float_zeros(self.shape(), &device, self.dtype().into()))
    }
}
