//! Batches: any structure of tensors that a closure takes or returns.
//!
//! Does not know: what the tensors mean.

use std::hash::{DefaultHasher, Hash, Hasher};

use burn::tensor::{Bool, Int, Tensor};

/// A structure of tensors that can be rebuilt with other tensors in their place.
///
/// Implemented for tensors, tuples, arrays, `Vec`, `Option`, `Box` and `()`, in each other to any depth. A struct of one's
/// own derives it:
///
/// ```
/// use burn_func::Batch;
/// use burn::tensor::{Int, Tensor};
///
/// #[derive(Batch, Clone)]
/// struct Images {
///     pixels: Tensor<4>,
///     labels: Tensor<1, Int>,
///     weights: Option<Tensor<1>>,
///     smoothing: f64,
///     #[batch(skip)]
///     names: Vec<std::path::PathBuf>,
/// }
/// ```
///
/// # What is not a tensor
///
/// Numbers, booleans and strings are constants of a trace: the closure is recorded with the values they have then, and a
/// batch with others is refused ([`Error::Mismatch`](crate::Error::Mismatch)), as one of other shapes is. A field with
/// `#[batch(skip)]` is cloned and not looked at: what the closure reads from it stays as it was when it was traced, and
/// tensors in it cannot be used in the closure. Where the crate goes by another path, say so:
/// `#[batch(crate = "burn_meta::burn_func")]`.
///
/// An enum has no fixed structure, and is refused when it is compiled:
///
/// ```compile_fail
/// #[derive(burn_func::Batch, Clone)]
/// enum Input {
///     Image(burn::tensor::Tensor<4>),
///     Text(burn::tensor::Tensor<2>),
/// }
/// ```
///
/// So is a field that is neither a batch nor skipped:
///
/// ```compile_fail
/// #[derive(burn_func::Batch, Clone)]
/// struct Named {
///     pixels: burn::tensor::Tensor<4>,
///     path: std::path::PathBuf,
/// }
/// ```
///
/// By hand, every tensor must pass through the mapper, in an order that depends on the structure alone, and what decides
/// the structure must be told to [`BatchMapper::structure`].
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
    /// A place where the structure itself may vary, as a number: the length of a `Vec`, the presence of an `Option`, the
    /// variant of an enum, a hash of a constant.
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

impl<T: Batch> Batch for Box<T> {
    fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
        Box::new(Batch::map(&**self, mapper))
    }
}

macro_rules! constants {
    ($($type:ty => $bits:expr;)*) => {$(
        impl Batch for $type {
            fn map<M: BatchMapper>(&self, mapper: &mut M) -> Self {
                let bits: fn(&$type) -> _ = $bits;
                mapper.structure(hash(&bits(self)));
                self.clone()
            }
        }
    )*};
}

constants! {
    bool => |x| *x;
    char => |x| *x;
    u8 => |x| *x;
    u16 => |x| *x;
    u32 => |x| *x;
    u64 => |x| *x;
    usize => |x| *x;
    i8 => |x| *x;
    i16 => |x| *x;
    i32 => |x| *x;
    i64 => |x| *x;
    isize => |x| *x;
    f32 => |x| x.to_bits();
    f64 => |x| x.to_bits();
    String => String::clone;
    &'static str => |x| x.to_string();
}

/// A constant as a place of the structure.
fn hash(constant: &impl Hash) -> usize {
    let mut hasher = DefaultHasher::new();
    constant.hash(&mut hasher);
    hasher.finish() as usize
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
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
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
