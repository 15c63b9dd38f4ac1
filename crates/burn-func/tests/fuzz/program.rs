//! Random programs: drawn as bytes, so that every draw is valid and shrinks to a smaller one, and resolved against the
//! shapes and sizes of the values they compute.
//!
//! Does not know: derivatives.

use std::fmt;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::common::wave;
use crate::op::{ALONG, BINARY, Op, UNARY, V, Window, sliced};

/// An instruction as it is drawn: which operation, which operands (counted from the latest value), two attributes.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub op: u8,
    pub operands: [u8; 3],
    pub p: u8,
    pub q: u8,
}

/// One resolved instruction; its result is the next value.
#[derive(Clone, Debug)]
pub struct Step {
    op: Op,
    args: Vec<usize>,
    shape: [usize; 3],
}

/// Parameters (the first values) and instructions.
#[derive(Clone, Debug)]
pub struct Program {
    pub parameters: Vec<[usize; 3]>,
    pub steps: Vec<Step>,
}

/// Larger values are cut, for the sake of speed.
const LARGEST: usize = 64;
/// A value beyond this is scaled down: differences lose sense where functions of large numbers oscillate.
const HIGHEST: f64 = 4.0;

/// The elements of a parameter.
pub fn parameter(index: usize, shape: [usize; 3], device: &Device) -> V {
    let values: Vec<f64> = (0..shape.iter().product()).map(|i| 0.1 + 1.1 * wave(i, 3 + 5 * index)).collect();
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F64))
}

impl Program {
    /// Resolves draws; those that no operand fits are left out.
    pub fn new(parameters: Vec<[usize; 3]>, draws: &[Draw]) -> Self {
        let device = Device::flex();
        let values = parameters.iter().enumerate().map(|(i, shape)| parameter(i, *shape, &device)).collect();
        let mut build = Build { values, steps: Vec::new() };
        for draw in draws {
            build.draw(draw);
        }
        Self { parameters, steps: build.steps }
    }

    /// The program without a step whose value nothing reads, or some other value of its shape can stand for.
    pub fn without(&self, step: usize) -> Option<Self> {
        let removed = self.parameters.len() + step;
        let shape = |at: usize| {
            self.parameters.get(at).copied().unwrap_or_else(|| self.steps[at - self.parameters.len()].shape)
        };
        let used = self.steps.iter().any(|step| step.args.contains(&removed));
        let other = (0..removed).rev().find(|&at| shape(at) == self.steps[step].shape);
        let other = if used { other? } else { 0 };
        let renamed = |at: usize| match at.cmp(&removed) {
            std::cmp::Ordering::Less => at,
            std::cmp::Ordering::Equal => other,
            std::cmp::Ordering::Greater => at - 1,
        };
        let mut smaller = self.clone();
        smaller.steps.remove(step);
        smaller.steps.iter_mut().flat_map(|step| &mut step.args).for_each(|at| *at = renamed(*at));
        Some(smaller)
    }

    /// A scalar that every value enters which no other value is computed from.
    pub fn run(&self, parameters: Vec<V>) -> Tensor<1> {
        let mut values = parameters;
        for step in &self.steps {
            let args: Vec<V> = step.args.iter().map(|&at| values[at].clone()).collect();
            values.push(step.op.apply(&args));
        }
        let used = |at: &usize| self.steps.iter().any(|step| step.args.contains(at));
        let open = (0..values.len()).filter(|at| !used(at));
        open.map(|at| size(values[at].clone())).reduce(|a, b| a + b).expect("the last value is not used")
    }
}

/// Half the mean square of the distance from fixed numbers.
fn size(x: V) -> Tensor<1> {
    let fixed: Vec<f64> = (0..x.dims().iter().product()).map(|i| wave(i, 40)).collect();
    let fixed = Tensor::from_data(TensorData::new(fixed, x.dims()), (&x.device(), x.dtype()));
    let difference = x - fixed;
    (difference.clone() * difference).mean() * 0.5
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, shape) in self.parameters.iter().enumerate() {
            writeln!(f, "  v{i} {shape:?}: parameter")?;
        }
        for (i, step) in self.steps.iter().enumerate() {
            let args: Vec<String> = step.args.iter().map(|at| format!("v{at}")).collect();
            writeln!(f, "  v{} {:?} = {:?} of {}", self.parameters.len() + i, step.shape, step.op, args.join(", "))?;
        }
        Ok(())
    }
}

struct Build {
    values: Vec<V>,
    steps: Vec<Step>,
}

impl Build {
    fn shape(&self, at: usize) -> [usize; 3] {
        self.values[at].dims()
    }

    fn push(&mut self, op: Op, args: &[usize]) -> usize {
        let operands: Vec<V> = args.iter().map(|&at| self.values[at].clone()).collect();
        let value = op.apply(&operands);
        self.steps.push(Step { op, args: args.to_vec(), shape: value.dims() });
        self.values.push(value);
        self.values.len() - 1
    }

    fn draw(&mut self, draw: &Draw) {
        let latest = self.values.len() - 1;
        let [a, b, c] = draw.operands.map(|back| latest - usize::from(back) % self.values.len());
        let Some((op, args)) = self.choose(draw, a, b, c) else { return };
        let at = self.push(op, &args);
        self.tame(at);
    }

    /// Cuts and scales a value that is too large.
    fn tame(&mut self, at: usize) {
        let mut at = at;
        let mut shape = self.shape(at);
        if shape.iter().product::<usize>() > LARGEST {
            while shape.iter().product::<usize>() > LARGEST {
                let widest = (0..3).max_by_key(|&dim| shape[dim]).expect("three axes");
                shape[widest] = shape[widest].div_ceil(2);
            }
            at = self.push(Op::Slice(shape.map(|n| (0, n as isize, 1))), &[at]);
        }
        let highest: f64 = self.values[at].clone().abs().max().into_scalar();
        if highest > HIGHEST {
            self.push(Op::Scale((2.0 / highest).log2().floor().exp2()), &[at]);
        }
    }

    /// An operation for a draw, with its operands in shape; `None` if there is none.
    fn choose(&mut self, draw: &Draw, a: usize, b: usize, c: usize) -> Option<(Op, Vec<usize>)> {
        let (p, q) = (usize::from(draw.p), usize::from(draw.q));
        let shape = self.shape(a);
        let [n, m, k] = shape;
        let dim = p % 3;
        Some(match draw.op % 40 {
            0..=7 => (Op::Unary(UNARY[p % UNARY.len()]), vec![a]),
            8..=11 => (Op::Binary(BINARY[p % BINARY.len()]), vec![a, self.broadcast(b, shape)]),
            12..=16 => (Op::Along(ALONG[q % ALONG.len()], dim), vec![a]),
            17 => (Op::Reshape([[n * m, 1, k], [1, n, m * k], [k, n, m], [m, n * k, 1]][q % 4]), vec![a]),
            18 => (Op::Permute([[0, 2, 1], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]][q % 5]), vec![a]),
            19 => (Op::Slice(ranges(shape, p, q)), vec![a]),
            20 => (Op::Select(dim, indices(1 + q % 5, shape[dim], p)), vec![a]),
            21 => {
                let mut wanted = shape;
                wanted[dim] = 1 + q % 4;
                (Op::Gather(dim, indices(wanted.iter().product(), shape[dim], p + q), wanted), vec![a])
            }
            22 => (Op::Embedding(indices(1 + q % 5, n * m, p)), vec![a]),
            23 => {
                let mut wanted = shape;
                wanted[dim] = self.shape(b)[dim].min(3);
                (Op::Cat(dim), vec![a, self.resized(b, wanted)])
            }
            24 => {
                let ones = (0..3).filter(|&dim| shape[dim] == 1).collect::<Vec<_>>();
                let mut wanted = shape;
                wanted[*ones.get(p % ones.len().max(1))?] = 2 + q % 2;
                (Op::Expand(wanted), vec![a])
            }
            25 => {
                let mode = (q % 3) as u8;
                let most = |n: usize, by: usize| if mode == 1 { by.min(n - 1) } else { by };
                let pair = |n: usize, x: usize| (most(n, x % 3), most(n, x / 3 % 3));
                (Op::Pad(mode, [pair(m, p), pair(k, q / 3)]), vec![a])
            }
            26 => {
                let size = 1 + q % shape[dim];
                (Op::Unfold(dim, size, 1 + p / 3 % 2), vec![a])
            }
            27 => (Op::SliceAssign(ranges(shape, p, q)), vec![a, b]),
            28 => (Op::Scatter(dim, indices(n * m * k, shape[dim], q)), vec![a, b]),
            29 => (Op::SelectAssign(dim, indices(1 + q % 4, shape[dim], p)), vec![a, b]),
            30 if q % 2 == 0 => (Op::MaskWhere(p), vec![a, b]),
            30 => (Op::MaskFill(p), vec![a]),
            31 | 32 => {
                let [batch, rows, _] = self.shape(b);
                let fits = rows == k && (batch == n || batch == 1 || n == 1);
                let b = if fits { b } else { self.resized(b, [if q % 2 == 0 { n } else { 1 }, k, 1 + p % 3]) };
                (Op::Matmul, vec![a, b])
            }
            33 => match q % 3 {
                0 => (Op::Linear, vec![a, b, c]),
                1 => (Op::Cross, vec![a, b]),
                _ => (Op::LayerNorm, vec![a, b, c]),
            },
            34 => (Op::BatchNorm, vec![a, b, c]),
            35 => match q % 3 {
                0 => (Op::Conv1d(window(m, [k], p, true)?), vec![a, b, c]),
                1 => (Op::Conv2d(window(n, [m, k], p, true)?), vec![a, b]),
                _ => (Op::Conv3d(window(1, [n, m, k], p, true)?), vec![a, b]),
            },
            36 => match q % 3 {
                0 => (Op::ConvTranspose1d(window(m, [k + 2], p, false)?), vec![a, b, c]),
                1 => (Op::ConvTranspose2d(window(n, [m + 2, k + 2], p, false)?), vec![a, b]),
                _ => (Op::ConvTranspose3d(window(1, [n + 2, m + 2, k + 2], p, false)?), vec![a, b]),
            },
            37 => match q % 4 {
                0 => (Op::MaxPool1d(pool(k, p)?), vec![a]),
                1 => (Op::MaxPool2d(pool(m, p)?), vec![a]),
                2 => (Op::AvgPool1d(pool(k, p)?), vec![a]),
                _ => (Op::AvgPool2d(pool(m, p)?), vec![a]),
            },
            38 if q % 2 == 0 => (Op::AdaptiveAvgPool1d(1 + p % k), vec![a]),
            38 => (Op::AdaptiveAvgPool2d(1 + p % m, 1 + p / 4 % k), vec![a]),
            _ => (Op::Interpolate((q % 3) as u8, q % 2 == 0, 1 + p % 5, 1 + p / 5 % 5), vec![a]),
        })
    }

    /// A value that broadcasts against `shape`: the one asked for if it does, or its elements in that shape.
    fn broadcast(&mut self, at: usize, shape: [usize; 3]) -> usize {
        let fits = self.shape(at).iter().zip(shape).all(|(&have, want)| have == want || have == 1 || want == 1);
        if fits { at } else { self.resized(at, shape) }
    }

    fn resized(&mut self, at: usize, shape: [usize; 3]) -> usize {
        if self.shape(at) == shape { at } else { self.push(Op::Resize(shape), &[at]) }
    }
}

/// Fixed indices below `end`, some of them twice.
fn indices(count: usize, end: usize, salt: usize) -> Vec<i64> {
    (0..count).map(|i| ((i * 7 + i * i + salt) % end) as i64).collect()
}

/// A range of every axis, with steps forward and back.
fn ranges(shape: [usize; 3], p: usize, q: usize) -> [(isize, isize, isize); 3] {
    let ranges = std::array::from_fn(|dim| {
        let n = shape[dim];
        let start = (p >> dim) % n;
        let end = start + 1 + (q >> dim) % (n - start);
        (start as isize, end as isize, [1, 2, -1, 1][(p + q + dim) % 4])
    });
    debug_assert!(sliced(&ranges).iter().all(|&n| n > 0));
    ranges
}

/// A convolution of `channels` whose window fits into every axis of `sizes`.
fn window<const D: usize>(channels: usize, sizes: [usize; D], p: usize, padded: bool) -> Option<Window> {
    let groups = if p.is_multiple_of(3) { channels } else { 1 };
    let (kernel, stride, dilation) = (1 + p % 2 + p / 64 % 2, 1 + p / 4 % 2, 1 + p / 8 % 2);
    let padding = if padded { p / 16 % 2 } else { (p / 16 % 2).min((kernel - 1) * dilation / 2) };
    if sizes.iter().any(|&size| (kernel - 1) * dilation >= size + 2 * if padded { padding } else { 0 }) {
        return None;
    }
    // Burn's gradient of the weights of a grouped 1-d convolution is wrong where the stride leaves a rest of the input.
    let rest = padded && D == 1 && !(sizes[0] + 2 * padding - (kernel - 1) * dilation - 1).is_multiple_of(stride);
    let groups = if rest { 1 } else { groups };
    Some(Window { kernel, stride, padding, dilation, groups, out: 1 + p / 32 % 2 })
}

/// A pooling window that fits into `size`; `groups` says whether padding counts.
fn pool(size: usize, p: usize) -> Option<Window> {
    let kernel = 1 + p % 3;
    let (stride, dilation) = (1 + p / 4 % 2, 1);
    let padding = (p / 16 % 2).min(kernel / 2);
    let fits = kernel <= size + 2 * padding;
    fits.then_some(Window { kernel, stride, padding, dilation, groups: 1 + p / 32 % 2, out: 1 })
}
