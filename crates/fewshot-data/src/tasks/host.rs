//! Numbers of a task before they are on a device.
//!
//! Does not know: what the numbers mean.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::ToDevice;
use crate::Error;

/// Numbers that become a float tensor of `D` dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Floats<const D: usize> {
    values: Vec<f32>,
    shape: [usize; D],
}

impl<const D: usize> Floats<D> {
    /// Numbers of this shape, the last dimension fastest.
    ///
    /// # Errors
    /// [`Error::ValueCount`] where there are not as many numbers as the shape has.
    pub fn new(values: Vec<f32>, shape: [usize; D]) -> Result<Self, Error> {
        let expected = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
        if expected == Some(values.len()) {
            return Ok(Self { values, shape });
        }
        let (what, expected) = ("a tensor".to_owned(), format!("those of shape {shape:?}"));
        Err(Error::ValueCount { what, found: values.len(), expected })
    }

    /// The numbers, the last dimension fastest.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The shape of the tensor.
    pub fn shape(&self) -> [usize; D] {
        self.shape
    }
}

impl<const D: usize> ToDevice for Floats<D> {
    type Tensors = Tensor<D>;

    fn to_device(self, device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.values, self.shape), device)
    }
}

/// Labels, which become an integer tensor of one dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<i64>);

impl Labels {
    /// The labels in order.
    pub fn values(&self) -> &[i64] {
        &self.0
    }
}

impl From<Vec<i64>> for Labels {
    fn from(labels: Vec<i64>) -> Self {
        Self(labels)
    }
}

impl FromIterator<usize> for Labels {
    fn from_iter<I: IntoIterator<Item = usize>>(labels: I) -> Self {
        Self(labels.into_iter().map(|label| label as i64).collect())
    }
}

impl ToDevice for Labels {
    type Tensors = Tensor<1, Int>;

    fn to_device(self, device: &Device) -> Tensor<1, Int> {
        let count = self.0.len();
        Tensor::from_data(TensorData::new(self.0, [count]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_must_fill_their_shape() {
        assert!(Floats::new(vec![0.0; 6], [2, 3]).is_ok());
        let error = Floats::new(vec![0.0; 5], [2, 3]).unwrap_err();
        assert_eq!(error.to_string(), "a tensor: 5 values; expected those of shape [2, 3]");
        assert!(Floats::new(vec![], [usize::MAX, 2]).is_err());
    }
}
