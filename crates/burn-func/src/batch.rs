//! Batches: any structure of tensors that a closure takes or returns.
//!
//! Does not know: what the tensors mean.

use burn::tensor::{Bool, Int, Tensor};

/// A structure of tensors that can be rebuilt with other tensors in their place.
///
/// Implemented for tensors, tuples, arrays, `Vec`, `Option` and `()`. For a struct of one's own:
///
/// ```
/// use burn_func::{Batch, BatchMapper};
/// use burn::tensor::{Int, Tensor};
///
/// #[derive(Clone)]
/// struct Images {
///     pixels: Tensor<4>,
///     labels: Tensor<1, Int>,
/// }
///
/// impl Batch for Images {
///     fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
///         Self { pixels: self.pixels.map(mapper), labels: self.labels.map(mapper) }
///     }
/// }
/// ```
///
/// Every tensor must pass through the mapper, in an order that depends on the structure alone. What does not (numbers,
/// strings) is frozen into a trace at the value it had then.
pub trait Batch: Clone + Send + Sync {
    /// Rebuilds the structure with every tensor replaced by what the mapper returns for it.
    fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self;
}

/// Replaces the tensors of a [`Batch`], one by one.
pub trait BatchMapper {
    /// A float tensor.
    fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D>;
    /// An integer tensor.
    fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int>;
    /// A boolean tensor.
    fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool>;
    /// A place where the structure itself may vary: the length of a `Vec`, the presence of an `Option`.
    fn structure(&mut self, size: usize) {
        let _ = size;
    }
}

impl<const D: usize> Batch for Tensor<D> {
    fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
        mapper.float(self)
    }
}

impl<const D: usize> Batch for Tensor<D, Int> {
    fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
        mapper.int(self)
    }
}

impl<const D: usize> Batch for Tensor<D, Bool> {
    fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
        mapper.bool(self)
    }
}

impl<T: Batch> Batch for Vec<T> {
    fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
        mapper.structure(self.len());
        self.iter().map(|item| item.map(mapper)).collect()
    }
}

impl<T: Batch> Batch for Option<T> {
    fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
        mapper.structure(usize::from(self.is_some()));
        self.as_ref().map(|item| item.map(mapper))
    }
}

impl Batch for () {
    fn map<M: BatchMapper>(&self, _: &mut M) -> Self {}
}

impl<T: Batch, const N: usize> Batch for [T; N] {
    fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
        std::array::from_fn(|i| Batch::map(&self[i], mapper))
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),*))*) => {$(
        impl<$($name: Batch),*> Batch for ($($name,)*) {
            fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
                ($(self.$index.map(mapper),)*)
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
}

/// What a closure may return: a scalar loss, alone or with further tensors (logits, metrics).
pub trait Output {
    /// The further tensors.
    type Aux: Batch;

    /// Loss and the rest.
    fn into_parts(self) -> (Tensor<1>, Self::Aux);
}

impl Output for Tensor<1> {
    type Aux = ();

    fn into_parts(self) -> (Tensor<1>, ()) {
        (self, ())
    }
}

impl<A: Batch> Output for (Tensor<1>, A) {
    type Aux = A;

    fn into_parts(self) -> (Tensor<1>, A) {
        self
    }
}
