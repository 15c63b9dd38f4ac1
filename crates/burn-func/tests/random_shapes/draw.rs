//! Random choices, the same for the same seed, family and number.
//!
//! Does not know: operations.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::case::Operand;

pub struct Draw(ChaCha8Rng);

impl Draw {
    pub fn new(seed: u64, family: &str, number: u64) -> Self {
        // The name's hash (FNV-1a) is the stream: other families may come and go.
        let stream = family
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut random = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1 << 32).wrapping_add(number));
        random.set_stream(stream);
        Self(random)
    }

    /// A whole number, both ends included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        self.0.random_range(low..=high)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.between(0, end - 1)
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number that single precision holds too: some attributes are kept in it.
    pub fn number(&mut self, low: f64, high: f64) -> f64 {
        (self.0.random_range(low..high) * 64.0).round() / 64.0
    }

    /// Axes of one to `longest`.
    pub fn shape(&mut self, rank: usize, longest: usize) -> Vec<usize> {
        (0..rank).map(|_| if self.once_in(5) { 1 } else { self.between(1, longest) }).collect()
    }

    /// As [`shape`](Self::shape), and once in twelve times with an axis of no length.
    pub fn shape_or_empty(&mut self, rank: usize, longest: usize) -> Vec<usize> {
        let mut shape = self.shape(rank, longest);
        if self.once_in(12) {
            let at = self.below(rank);
            shape[at] = 0;
        }
        shape
    }

    /// Whole numbers below `end`, some of them perhaps twice.
    pub fn indices(&mut self, count: usize, end: usize) -> Vec<i64> {
        (0..count).map(|_| self.below(end) as i64).collect()
    }

    /// The numbers below `n` in a random order.
    pub fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for at in (1..n).rev() {
            let other = self.between(0, at);
            order.swap(at, other);
        }
        order
    }

    /// Axes in ascending order, at least one.
    pub fn some_axes(&mut self, rank: usize) -> Vec<usize> {
        let count = self.between(1, rank);
        let mut axes = self.order(rank)[..count].to_vec();
        axes.sort_unstable();
        axes
    }

    pub fn mask(&mut self, count: usize) -> Vec<bool> {
        (0..count).map(|_| self.once_in(3)).collect()
    }

    /// Numbers in an interval (above -2), no two of them close: where order decides, differences do not reach a tie.
    /// One operand in five carries no derivative.
    pub fn operand(&mut self, shape: &[usize], low: f64, high: f64) -> Operand {
        let n: usize = shape.iter().product();
        let order = self.order(n);
        let place = |draw: &mut Self, rank: usize| (rank as f64 + draw.0.random_range(0.25..0.75)) / n as f64;
        let values = order.into_iter().map(|rank| low + (high - low) * place(self, rank)).collect();
        Operand { shape: shape.to_vec(), values, active: !self.once_in(5) }
    }

    /// Numbers around zero.
    pub fn plain(&mut self, shape: &[usize]) -> Operand {
        self.operand(shape, -1.2, 1.2)
    }
}
