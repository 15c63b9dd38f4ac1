//! Batches along their leading axis, that of the examples: its sizes, slices, and putting pieces together again.
//!
//! Does not know: losses, why a batch is cut.

use std::any::Any;
use std::ops::Range;

use burn::tensor::kind::Basic;
use burn::tensor::{Bool, Int, Tensor};
use burn_func::{Batch, BatchMapper};

/// The size of the leading axis of every tensor of a batch, in order.
pub(crate) fn sizes<B: Batch>(batch: &B) -> Vec<usize> {
    let mut sizes = Sizes(Vec::new());
    batch.map(&mut sizes);
    sizes.0
}

/// The examples of a range, of every tensor. What is no tensor stays as it is.
pub(crate) fn slice<B: Batch>(batch: &B, range: Range<usize>) -> B {
    batch.map(&mut Slice(range))
}

/// Pieces put together again, in order. None if there is no piece, or if they differ in more than their leading axis.
pub(crate) fn joined<B: Batch>(pieces: &[B]) -> Option<B> {
    let parts = pieces.iter().map(|piece| {
        let mut tensors = Tensors(Vec::new());
        piece.map(&mut tensors);
        tensors.0.into_iter()
    });
    let mut join = Join { parts: parts.collect(), fits: true };
    let whole = pieces.first()?.map(&mut join);
    let nothing_left = join.parts.iter().all(|part| part.len() == 0);
    (join.fits && nothing_left).then_some(whole)
}

/// A mapper that does the same to tensors of all three kinds, by a method of its own.
macro_rules! every_kind {
    ($mapper:ty, $method:ident) => {
        impl BatchMapper for $mapper {
            fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
                self.$method(tensor)
            }
            fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
                self.$method(tensor)
            }
            fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool> {
                self.$method(tensor)
            }
        }
    };
}
pub(crate) use every_kind;

struct Sizes(Vec<usize>);

impl Sizes {
    fn note<const D: usize, K: Basic>(&mut self, tensor: &Tensor<D, K>) -> Tensor<D, K> {
        self.0.push(tensor.dims()[0]);
        tensor.clone()
    }
}

every_kind!(Sizes, note);

struct Slice(Range<usize>);

impl Slice {
    fn cut<const D: usize, K: Basic>(&mut self, tensor: &Tensor<D, K>) -> Tensor<D, K> {
        tensor.clone().slice_dim(0, self.0.clone())
    }
}

every_kind!(Slice, cut);

/// The tensors of a batch in order, each a `Tensor<D, K>` of its own rank and kind.
struct Tensors(Vec<Box<dyn Any>>);

impl Tensors {
    fn keep<const D: usize, K: Basic + 'static>(&mut self, tensor: &Tensor<D, K>) -> Tensor<D, K> {
        self.0.push(Box::new(tensor.clone()));
        tensor.clone()
    }
}

every_kind!(Tensors, keep);

/// Takes the next tensor of every piece.
struct Join {
    parts: Vec<std::vec::IntoIter<Box<dyn Any>>>,
    fits: bool,
}

impl Join {
    fn next<const D: usize, K: Basic + 'static>(&mut self, first: &Tensor<D, K>) -> Tensor<D, K> {
        let one = |part: &mut std::vec::IntoIter<Box<dyn Any>>| part.next()?.downcast::<Tensor<D, K>>().ok();
        let tensors: Option<Vec<_>> = self.parts.iter_mut().map(|part| one(part).map(|tensor| *tensor)).collect();
        let like_first =
            |tensor: &Tensor<D, K>| tensor.dims()[1..] == first.dims()[1..] && tensor.dtype() == first.dtype();
        match tensors {
            Some(tensors) if tensors.iter().all(like_first) => Tensor::cat(tensors, 0),
            _ => {
                self.fits = false;
                first.clone()
            }
        }
    }
}

every_kind!(Join, next);

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    type Mixed = (Tensor<2>, Vec<Tensor<1, Int>>, Option<Tensor<1, Bool>>, String, f64);

    fn mixed(n: usize) -> Mixed {
        let device = Device::flex();
        let x = Tensor::<1, Int>::arange(0..2 * n as i64, &device).float().reshape([n, 2]);
        let y = Tensor::<1, Int>::arange(10..10 + n as i64, &device);
        let mask = y.clone().greater_elem(12);
        (x, vec![y.clone(), y + 1], Some(mask), "name".into(), 0.5)
    }

    fn read((x, y, mask, name, number): &Mixed) -> (Vec<f32>, Vec<Vec<i64>>, Vec<bool>, String, f64) {
        let ints = y.iter().map(|y| y.to_data().iter::<i64>().collect()).collect();
        let mask = mask.iter().flat_map(|mask| mask.to_data().iter::<bool>().collect::<Vec<_>>()).collect();
        (x.to_data().iter::<f32>().collect(), ints, mask, name.clone(), *number)
    }

    #[test]
    fn slices_hold_the_examples_of_their_range_and_join_to_the_whole() {
        let whole = mixed(7);
        assert_eq!(sizes(&whole), [7; 4]);
        let middle = read(&slice(&whole, 2..4));
        let expected =
            (vec![4., 5., 6., 7.], vec![vec![12, 13], vec![13, 14]], vec![false, true], "name".to_string(), 0.5);
        assert_eq!(middle, expected);
        let pieces = [0..3, 3..5, 5..7].map(|range| slice(&whole, range));
        assert_eq!(read(&joined(&pieces).unwrap()), read(&whole));
    }

    #[test]
    fn pieces_of_other_structures_do_not_join() {
        let (x, ..) = mixed(3);
        let wide = x.clone().reshape([2, 3]);
        assert!(joined(&[x.clone(), wide]).is_none(), "rows of another length");
        assert!(joined(&[vec![x.clone()], vec![x.clone(), x.clone()]]).is_none(), "more tensors in the second");
        assert!(joined(&[vec![x.clone(), x.clone()], vec![x.clone()]]).is_none(), "fewer tensors in the second");
        assert!(joined::<Tensor<2>>(&[]).is_none());
    }
}
