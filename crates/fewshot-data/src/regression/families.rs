//! Sinusoids, lines, either of them, and sums of two harmonics.
//!
//! Does not know: how many points a task has, noise, seeds.

use std::f64::consts::{PI, TAU};

use serde::{Deserialize, Serialize};

use super::{Family, Function};
use crate::{Error, Stream};

/// A wave, `amplitude * sin(frequency * x + phase)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wave {
    /// The largest value.
    pub amplitude: f64,
    /// What the input is multiplied by.
    pub frequency: f64,
    /// What is added to that.
    pub phase: f64,
}

impl Function for Wave {
    fn at(&self, x: f64) -> f64 {
        self.amplitude * libm::sin(self.frequency * x + self.phase)
    }
}

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// How much it rises.
    pub slope: f64,
    /// Its value at 0.
    pub intercept: f64,
}

impl Function for Line {
    fn at(&self, x: f64) -> f64 {
        self.slope * x + self.intercept
    }
}

/// Sines of period 2 pi: `y = amplitude * sin(x - phase)`, all drawn uniformly.
///
/// # Source
/// Finn et al. 2017 (MAML), section 5.1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sinusoid {
    /// Bounds of the amplitude: 0.1 to 5.
    pub amplitude: [f64; 2],
    /// Bounds of the phase, which is subtracted: 0 to pi.
    pub phase: [f64; 2],
    /// Bounds of the inputs: -5 to 5.
    pub x: [f64; 2],
}

impl Default for Sinusoid {
    fn default() -> Self {
        Self { amplitude: [0.1, 5.0], phase: [0.0, PI], x: [-5.0, 5.0] }
    }
}

impl Family for Sinusoid {
    type Function = Wave;

    fn function(&self, draws: &mut Stream) -> Wave {
        let (amplitude, phase) = (within(draws, self.amplitude), within(draws, self.phase));
        Wave { amplitude, frequency: 1.0, phase: -phase }
    }

    fn input(&self, _: &Wave, draws: &mut Stream) -> f64 {
        within(draws, self.x)
    }

    fn check(&self) -> Result<(), Error> {
        check(&[("amplitude", self.amplitude), ("phase", self.phase), ("x", self.x)])
    }
}

/// A sine or a line, each half of the time.
///
/// # Source
/// Finn et al. 2018 (probabilistic MAML).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinusoidOrLine {
    /// The sines, and the inputs of both.
    pub sinusoid: Sinusoid,
    /// Bounds of the slope of lines: -3 to 3.
    pub slope: [f64; 2],
    /// Bounds of the intercept of lines: -3 to 3.
    pub intercept: [f64; 2],
}

impl Default for SinusoidOrLine {
    fn default() -> Self {
        Self { sinusoid: Sinusoid::default(), slope: [-3.0, 3.0], intercept: [-3.0, 3.0] }
    }
}

/// One of [`SinusoidOrLine`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WaveOrLine {
    /// A sine.
    Wave(Wave),
    /// A line.
    Line(Line),
}

impl Function for WaveOrLine {
    fn at(&self, x: f64) -> f64 {
        match self {
            Self::Wave(wave) => wave.at(x),
            Self::Line(line) => line.at(x),
        }
    }
}

impl Family for SinusoidOrLine {
    type Function = WaveOrLine;

    fn function(&self, draws: &mut Stream) -> WaveOrLine {
        match draws.below(2) {
            0 => WaveOrLine::Wave(self.sinusoid.function(draws)),
            _ => WaveOrLine::Line(Line { slope: within(draws, self.slope), intercept: within(draws, self.intercept) }),
        }
    }

    fn input(&self, _: &WaveOrLine, draws: &mut Stream) -> f64 {
        within(draws, self.sinusoid.x)
    }

    fn check(&self) -> Result<(), Error> {
        self.sinusoid.check()?;
        check(&[("slope", self.slope), ("intercept", self.intercept)])
    }
}

/// A wave and its first overtone, known about a place that differs from task to task:
/// `y = a sin(w x + p) + b sin(2 w x + q)`, `w` and the place drawn uniformly, `p` and `q` from 0 to 2 pi,
/// `a` and `b` normally with deviation 1, and `x` normally with deviation 1 about the place.
///
/// # Source
/// Lacoste et al. 2018 (Uncertainty in Multitask Transfer Learning).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Harmonic {
    /// Bounds of the frequency: 5 to 7.
    pub frequency: [f64; 2],
    /// Bounds of the place: -4 to 4.
    pub place: [f64; 2],
}

impl Default for Harmonic {
    fn default() -> Self {
        Self { frequency: [5.0, 7.0], place: [-4.0, 4.0] }
    }
}

/// One of [`Harmonic`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwoWaves {
    /// The wave and its overtone of twice the frequency.
    pub waves: [Wave; 2],
    /// The mean of the inputs.
    pub place: f64,
}

impl Function for TwoWaves {
    fn at(&self, x: f64) -> f64 {
        self.waves[0].at(x) + self.waves[1].at(x)
    }
}

impl Family for Harmonic {
    type Function = TwoWaves;

    fn function(&self, draws: &mut Stream) -> TwoWaves {
        let (place, frequency) = (within(draws, self.place), within(draws, self.frequency));
        let mut wave = |times: f64| {
            let (phase, amplitude) = (draws.uniform(0.0, TAU), draws.normal());
            Wave { amplitude, frequency: times * frequency, phase }
        };
        TwoWaves { waves: [wave(1.0), wave(2.0)], place }
    }

    fn input(&self, function: &TwoWaves, draws: &mut Stream) -> f64 {
        function.place + draws.normal()
    }

    fn check(&self) -> Result<(), Error> {
        check(&[("frequency", self.frequency), ("place", self.place)])
    }
}

fn within(draws: &mut Stream, [low, high]: [f64; 2]) -> f64 {
    draws.uniform(low, high)
}

/// Checks pairs of bounds, which may be equal.
fn check(all: &[(&'static str, [f64; 2])]) -> Result<(), Error> {
    for &(setting, [low, high]) in all {
        // Written so that NaN fails; the distance must be a number, too.
        if !(low <= high && (high - low).is_finite()) {
            let expected = "two numbers, the lower one first";
            return Err(Error::Setting { setting, found: format!("{low} to {high}"), expected });
        }
    }
    Ok(())
}
