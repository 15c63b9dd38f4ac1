//! Regression tasks that are made up: functions of a family, each known at a few points.
//!
//! Sines, cosines and logarithms are computed in doubles by `libm` and not by the system, so that the
//! numbers are the same everywhere.
//!
//! Does not know: networks, losses, images.

mod families;

use burn::tensor::{Device, Tensor};

use crate::{Error, Floats, Split, Stream, SupportQuery, Tasks, ToDevice};

pub use families::{Harmonic, Line, Sinusoid, SinusoidOrLine, TwoWaves, Wave, WaveOrLine};

/// A family of functions from number to number, and where they are asked for.
pub trait Family: Send + Sync {
    /// One of the functions.
    type Function: Function;

    /// Draws a function.
    fn function(&self, draws: &mut Stream) -> Self::Function;

    /// Draws an input for it.
    fn input(&self, function: &Self::Function, draws: &mut Stream) -> f64;

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`].
    fn check(&self) -> Result<(), Error>;
}

/// A function from number to number.
pub trait Function: Send + Sync {
    /// Its value at `x`, without noise.
    fn at(&self, x: f64) -> f64;
}

/// Sections of a task's stream. Each draw has its own, so that more shots leave queries as they are,
/// noise leaves inputs, and both leave the function.
mod section {
    pub(super) const FUNCTION: u32 = 0;
    pub(super) const INPUTS: [u32; 2] = [1, 2];
    pub(super) const NOISE: [u32; 2] = [3, 4];
}

/// Regression tasks of a family: a pure function of family, sizes, noise, seed, part and index.
///
/// # Trap
/// With one seed for training and test, give the test another [`Split`]: functions are made up, and the
/// same ones would be drawn.
///
/// # Example
/// ```
/// use fewshot_data::{Function, Split, Regression, Sinusoid, Tasks, ToDevice};
/// let tasks = Regression::new(Sinusoid::default(), 10, 10, 42)?; // shot, query, seed
/// let test = tasks.clone().with_split(Split::Test);
/// let task = test.draw(7)?.to_device(&burn::tensor::Device::default());
/// assert_eq!((task.support.x.dims(), task.query.y.dims()), ([10, 1], [10, 1]));
/// let truth = test.function(7); // for a plot
/// assert!(truth.at(0.0).abs() <= 5.0);
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regression<F> {
    family: F,
    shot: usize,
    query: usize,
    noise: f64,
    seed: u64,
    part: Split,
}

impl<F: Family> Regression<F> {
    /// Tasks of `shot` support and `query` query points without noise.
    ///
    /// # Errors
    /// [`Error::Setting`] where shot or query is zero or the family has impossible bounds.
    pub fn new(family: F, shot: usize, query: usize, seed: u64) -> Result<Self, Error> {
        family.check()?;
        for (setting, value) in [("shot", shot), ("query", query)] {
            if value == 0 {
                return Err(Error::Setting { setting, found: "0".to_owned(), expected: "at least 1" });
            }
        }
        Ok(Self { family, shot, query, noise: 0.0, seed, part: Split::default() })
    }

    /// Adds normal noise of this standard deviation to all targets. [`function`](Self::function) is
    /// without it, for a score that does not contain the noise of the queries.
    ///
    /// # Errors
    /// [`Error::Setting`] where it is negative or not a number.
    pub fn with_noise(mut self, deviation: f64) -> Result<Self, Error> {
        if !(deviation >= 0.0 && deviation.is_finite()) {
            let expected = "a standard deviation of at least 0";
            return Err(Error::Setting { setting: "noise", found: deviation.to_string(), expected });
        }
        self.noise = deviation;
        Ok(self)
    }

    /// Sets what the tasks are for.
    pub fn with_split(mut self, part: Split) -> Self {
        self.part = part;
        self
    }

    /// The true function of the task with this index.
    pub fn function(&self, index: u64) -> F::Function {
        self.family.function(&mut self.stream(index, section::FUNCTION))
    }

    fn stream(&self, index: u64, section: u32) -> Stream {
        let mut stream = Stream::for_task(self.seed, self.part, index);
        stream.seek(section);
        stream
    }

    fn points(&self, index: u64, half: usize, count: usize) -> Result<HostPoints, Error> {
        let function = self.function(index);
        let mut inputs = self.stream(index, section::INPUTS[half]);
        let mut noise = self.stream(index, section::NOISE[half]);
        let x: Vec<f64> = (0..count).map(|_| self.family.input(&function, &mut inputs)).collect();
        let y = |&x: &f64| function.at(x) + if self.noise > 0.0 { self.noise * noise.normal() } else { 0.0 };
        let y: Vec<f32> = x.iter().map(y).map(|y| y as f32).collect();
        let x = x.into_iter().map(|x| x as f32).collect();
        Ok(HostPoints { x: Floats::new(x, [count, 1])?, y: Floats::new(y, [count, 1])? })
    }
}

impl<F: Family> Tasks for Regression<F> {
    type Task = SupportQuery<HostPoints>;

    fn draw(&self, index: u64) -> Result<Self::Task, Error> {
        Ok(SupportQuery { support: self.points(index, 0, self.shot)?, query: self.points(index, 1, self.query)? })
    }
}

/// Points of a function before they are on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPoints {
    /// Inputs, `[points, 1]`.
    pub x: Floats<2>,
    /// Targets, `[points, 1]`.
    pub y: Floats<2>,
}

/// Points of a function.
#[derive(Clone, Debug)]
pub struct Points {
    /// Inputs, `[points, 1]`, in the device's default float type.
    pub x: Tensor<2>,
    /// Targets, `[points, 1]`, in the device's default float type.
    pub y: Tensor<2>,
}

impl ToDevice for HostPoints {
    type Tensors = Points;

    fn to_device(self, device: &Device) -> Points {
        Points { x: self.x.to_device(device), y: self.y.to_device(device) }
    }
}

#[cfg(test)]
mod tests;
