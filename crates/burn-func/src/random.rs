//! Random numbers of a closure: drawn on the host from an explicit key, one stream per operation.
//!
//! A recorded closure has no generator of its own. Every random operation in it is an input of the graph, and its values
//! are a function of a [`Key`] and of the operation's place in the recording alone: not of the device, of the thread, or
//! of what was drawn before.
//!
//! Does not know: graphs, which operations there are.

use std::convert::Infallible;

use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use burn_backend::{ElementConversion, bf16, f16};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_core::TryRng;

use crate::error::{Error, Result, Transform};
use crate::quiet::caught;
use crate::transfer::uploaded;
use crate::value::{TensorSpec, Value};

/// What random numbers are a function of.
///
/// A key is a value, not a generator: drawing does not change it, and the same key gives the same numbers. Other numbers
/// come from other keys, which [`fold`](Self::fold) makes from a key and a counter:
///
/// ```
/// use burn_func::Key;
///
/// let run = Key::new(42);
/// let step = |epoch, step| run.fold(epoch).fold(step); // one key for every step of a run
/// assert_eq!(step(0, 7), step(0, 7));
/// assert_ne!(step(0, 7), step(7, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// Where in a key's stream the keys folded from it are taken, in words of 32 bits: half way, where no draw comes.
const FOLDS: u128 = 1 << 67;

impl Key {
    /// The key of a seed.
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(key)
    }

    /// The `n`-th key made from this one. Keys made by different counters, or in another order, differ.
    #[must_use]
    pub fn fold(self, n: u64) -> Self {
        let mut stream = self.stream(n);
        stream.set_word_pos(FOLDS);
        let mut key = [0; 32];
        stream.fill_bytes(&mut key);
        Self(key)
    }

    /// A key from the device's own generator, which `Device::seed` makes repeatable.
    pub(crate) fn from_device(device: &Device) -> Self {
        let options = (&device.clone().without_autodiff(), DType::F32);
        let drawn = Tensor::<1>::random([4], Distribution::Default, options).into_data();
        drawn.iter::<f32>().fold(Self::new(0), |key, number| key.fold(number.to_bits().into()))
    }

    fn stream(self, n: u64) -> ChaCha8Rng {
        let mut stream = ChaCha8Rng::from_seed(self.0);
        stream.set_stream(n);
        stream
    }
}

/// What a random operation of a closure draws.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draw {
    pub spec: TensorSpec,
    pub distribution: Distribution,
    /// Place of the operation among the random ones of its recording.
    pub stream: u64,
}

impl Draw {
    /// Checks that the distribution can be drawn from.
    pub fn check(self, op: impl Fn() -> String) -> Result<Self> {
        let one = Draw { spec: TensorSpec { shape: vec![1], ..self.spec.clone() }, ..self.clone() };
        let problem = match caught(|| one.data(Key::new(0))) {
            Ok(Some(_)) => return Ok(self),
            Ok(None) => format!("a tensor of {:?}", self.spec.dtype),
            Err(message) => message,
        };
        let reason = format!("{:?} cannot be drawn from: {problem}", self.distribution);
        Err(Error::Unsupported { op: op(), transform: Transform::Trace, reason })
    }

    /// The numbers that a key gives, in the type that the device computes in.
    pub fn value(&self, key: Key, dtype: DType, device: &Device) -> Result<Value> {
        match self.data(key) {
            Some(data) => uploaded(data, dtype, device),
            None => Err(Error::Execution { message: format!("no random numbers of {:?}", self.spec.dtype) }),
        }
    }

    /// Drawn by Burn's own host code, so that the distributions are Burn's own. Coins, of which dropout takes one per
    /// element, fall the same without it and several times as fast.
    fn data(&self, key: Key) -> Option<TensorData> {
        let stream = &mut Stream(key.stream(self.stream));
        let shape = self.spec.shape.clone();
        macro_rules! random {
            ($element:ty) => {
                match self.distribution {
                    Distribution::Bernoulli(p) if (0.0..=1.0).contains(&p) => {
                        let sides: [$element; 2] = [0.elem(), 1.elem()];
                        let coins = (0..shape.iter().product()).map(|_| sides[usize::from(stream.coin(p))]);
                        TensorData::new(coins.collect(), shape)
                    }
                    distribution => TensorData::random::<$element, _, _>(shape, distribution, stream),
                }
            };
        }
        Some(match self.spec.dtype {
            DType::F64 => random!(f64),
            DType::F32 | DType::Flex32 => random!(f32),
            DType::F16 => random!(f16),
            DType::BF16 => random!(bf16),
            DType::I64 => random!(i64),
            DType::I32 => random!(i32),
            DType::I16 => random!(i16),
            DType::I8 => random!(i8),
            DType::U64 => random!(u64),
            DType::U32 => random!(u32),
            DType::U16 => random!(u16),
            DType::U8 => random!(u8),
            _ => return None,
        })
    }
}

/// ChaCha behind the generator trait of the version of `rand` that Burn draws with.
struct Stream(ChaCha8Rng);

impl Stream {
    /// True with probability `p`, of 0..=1: 64 random bits, read as a fraction, are below it.
    fn coin(&mut self, p: f64) -> bool {
        let below = (p * 2_f64.powi(64)) as u128;
        u128::from(self.0.next_u64()) < below
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(dst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 20_000;

    fn draw(dtype: DType, distribution: Distribution) -> Draw {
        Draw { spec: TensorSpec { shape: vec![N], dtype }, distribution, stream: 3 }
    }

    fn numbers(draw: &Draw, key: Key) -> Vec<f64> {
        draw.data(key).unwrap().iter::<f64>().collect()
    }

    fn moments(numbers: &[f64]) -> (f64, f64) {
        let mean = numbers.iter().sum::<f64>() / N as f64;
        (mean, (numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / N as f64).sqrt())
    }

    /// Five standard errors of the mean; that of the deviation is at most as large for these distributions.
    fn assert_moments(numbers: &[f64], mean: f64, deviation: f64) {
        let tolerance = 5.0 * deviation / (N as f64).sqrt();
        let found = moments(numbers);
        assert!((found.0 - mean).abs() <= tolerance, "mean {}, expected {mean}", found.0);
        assert!((found.1 - deviation).abs() <= tolerance, "deviation {}, expected {deviation}", found.1);
    }

    #[test]
    fn float_distributions_have_their_bounds_and_moments() {
        let (key, root) = (Key::new(1), 12_f64.sqrt());
        for dtype in [DType::F64, DType::F32] {
            let default = numbers(&draw(dtype, Distribution::Default), key);
            assert!(default.iter().all(|x| (0.0..1.0).contains(x)));
            assert_moments(&default, 0.5, 1.0 / root);
            let uniform = numbers(&draw(dtype, Distribution::Uniform(-2.0, 3.0)), key);
            assert!(uniform.iter().all(|x| (-2.0..3.0).contains(x)));
            assert_moments(&uniform, 0.5, 5.0 / root);
            assert_moments(&numbers(&draw(dtype, Distribution::Normal(1.5, 0.25)), key), 1.5, 0.25);
            let kept = numbers(&draw(dtype, Distribution::Bernoulli(0.8)), key);
            assert!(kept.iter().all(|&x| x == 0.0 || x == 1.0));
            assert_moments(&kept, 0.8, 0.4);
        }
    }

    #[test]
    fn integer_distributions_have_their_ranges() {
        let key = Key::new(2);
        let uniform = numbers(&draw(DType::I64, Distribution::Uniform(-3.0, 4.0)), key);
        let mut seen: Vec<i64> = uniform.iter().map(|&x| x as i64).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [-3, -2, -1, 0, 1, 2, 3]); // the upper bound is excluded
        assert_moments(&uniform, 0.0, 2.0);
        let default = numbers(&draw(DType::I32, Distribution::Default), key); // the whole range of the type
        assert_moments(&default, -0.5, 2_f64.powi(32) / 12_f64.sqrt());
        assert_moments(&numbers(&draw(DType::I32, Distribution::Bernoulli(0.3)), key), 0.3, 0.21_f64.sqrt());
    }

    #[test]
    fn numbers_are_a_function_of_key_and_stream() {
        let draw = draw(DType::F64, Distribution::Default);
        let other = Draw { stream: 4, ..draw.clone() };
        let key = Key::new(7);
        assert_eq!(numbers(&draw, key), numbers(&draw, key));
        let all = [
            numbers(&draw, key),
            numbers(&other, key),
            numbers(&draw, Key::new(8)),
            numbers(&draw, key.fold(3)),
            numbers(&draw, key.fold(4)),
            numbers(&draw, key.fold(3).fold(4)),
            numbers(&draw, key.fold(4).fold(3)),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                let same = a.iter().zip(b).filter(|(a, b)| a == b).count();
                assert_eq!(same, 0);
                let correlation = a.iter().zip(b).map(|(a, b)| 12.0 * (a - 0.5) * (b - 0.5)).sum::<f64>() / N as f64;
                assert!(correlation.abs() <= 5.0 / (N as f64).sqrt(), "{correlation}");
            }
        }
    }

    #[test]
    fn coins_fall_as_burns_do() {
        for p in [0.0, 0.25, 0.9, 1.0] {
            let draw = draw(DType::F32, Distribution::Bernoulli(p));
            let stream = &mut Stream(Key::new(1).stream(draw.stream));
            // Burn takes no random bits for a coin with one side, which cannot be seen here.
            let burns = TensorData::random::<f32, _, _>([N], draw.distribution, stream);
            assert_eq!(draw.data(Key::new(1)).unwrap(), burns, "{p}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_from_is_named() {
        let impossible = [
            (DType::F32, Distribution::Bernoulli(1.5)),
            (DType::F32, Distribution::Uniform(1.0, 1.0)),
            (DType::I64, Distribution::Uniform(0.2, 0.8)),
            (DType::F32, Distribution::Normal(0.0, f64::INFINITY)),
        ];
        for (dtype, distribution) in impossible {
            let problem = draw(dtype, distribution).check(|| "Float::Random".into());
            let named = format!("{distribution:?}");
            match problem {
                Err(Error::Unsupported { op, reason, .. }) => {
                    assert!(op == "Float::Random" && reason.starts_with(&named), "{op}: {reason}");
                }
                other => panic!("{named}: {other:?}"),
            }
        }
    }
}
