//! Pools and interpolation over random shapes and options.

use burn::tensor::DType;
use burn_ir::{
    AdaptiveAvgPool1dBackwardOpIr, AdaptiveAvgPool1dOpIr, AdaptiveAvgPool2dBackwardOpIr, AdaptiveAvgPool2dOpIr,
    AdaptiveAvgPool3dBackwardOpIr, AdaptiveAvgPool3dOpIr, AvgPool1dBackwardOpIr, AvgPool1dOpIr, AvgPool2dBackwardOpIr,
    AvgPool2dOpIr, InterpolateBackwardOpIr, InterpolateModeIr, InterpolateOpIr, InterpolateOptionsIr,
    MaxPool1dWithIndicesBackwardOpIr, MaxPool1dWithIndicesOpIr, MaxPool2dWithIndicesBackwardOpIr,
    MaxPool2dWithIndicesOpIr, ModuleOperationIr as M, OperationIr, TensorId, TensorIr,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::harness::{Operand, check, check_each, wave};
use crate::emit::Emitter;

const CASES: u64 = 24;

fn id(e: &mut Emitter) -> TensorId {
    e.value([0].into(), DType::F64).id
}

fn push(e: &mut Emitter, op: M, out: &TensorIr) -> TensorIr {
    e.push(OperationIr::Module(op), out.clone())
}

/// A gradient like a value.
fn weighted(e: &mut Emitter, like: &TensorIr, grad: &TensorIr) -> TensorIr {
    let flat = e.reshape(grad, vec![1; like.shape.num_dims()].into());
    e.expand(&flat, &like.shape)
}

/// Sizes and options of a pool; windows overlap where the kernel is larger than the stride.
#[derive(Debug)]
struct Case {
    outer: [usize; 2],
    size: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    count_include_pad: bool,
    ceil_mode: bool,
    target: [usize; 3],
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |from: usize, to: usize| random.random_range(from..=to);
        let kernel = [draw(1, 3), draw(1, 3)];
        Self {
            outer: [[2, 1, 0][seed as usize % 3], draw(1, 3)],
            size: [draw(5, 7), draw(5, 7), draw(1, 4)],
            kernel,
            stride: [draw(1, 3), draw(1, 3)],
            padding: kernel.map(|kernel| draw(0, kernel / 2)),
            dilation: [draw(1, 2), draw(1, 2)],
            count_include_pad: draw(0, 1) == 1,
            ceil_mode: draw(0, 1) == 1,
            target: [draw(1, 9), draw(1, 9), draw(1, 5)],
        }
    }

    fn shape(&self, dimensions: usize) -> Vec<usize> {
        [self.outer.as_slice(), &self.size[..dimensions]].concat()
    }

    /// Any numbers.
    fn smooth(&self, dimensions: usize) -> Operand {
        Operand::wave(&self.shape(dimensions), 1)
    }

    /// Numbers that differ by 0.1 or more within a plane of up to 101, so that no step changes a maximum.
    fn distinct(&self, dimensions: usize) -> Operand {
        Operand::active(&self.shape(dimensions), |i| ((i * 37) % 101) as f64 * 0.1)
    }
}

#[test]
fn average_pools() {
    for seed in 0..CASES {
        let case = &Case::new(seed);
        let (k, s, p, pad, ceil) = (case.kernel, case.stride, case.padding, case.count_include_pad, case.ceil_mode);
        let one = |e: &mut Emitter, x: &TensorIr| {
            let id = id(e);
            let op = AvgPool1dOpIr::create(x.clone(), k[0], s[0], p[0], pad, ceil, || id);
            let out = op.out.clone();
            push(e, M::AvgPool1d(op), &out)
        };
        let two = |e: &mut Emitter, x: &TensorIr| {
            let id = id(e);
            let op = AvgPool2dOpIr::create(x.clone(), k, s, p, pad, ceil, || id);
            let out = op.out.clone();
            push(e, M::AvgPool2d(op), &out)
        };
        check(&format!("{case:?}"), &[case.smooth(1)], |e, x| vec![one(e, &x[0])]);
        check(&format!("{case:?}"), &[case.smooth(2)], |e, x| vec![two(e, &x[0])]);
        check_each(&format!("backward {case:?}"), &[case.smooth(1), Operand::wave(&[1], 2)], &[0, 1], |e, x| {
            let y = one(e, &x[0]);
            let g = weighted(e, &y, &x[1]);
            let g = e.mul(&y, &g);
            let id = id(e);
            let op = AvgPool1dBackwardOpIr::create(x[0].clone(), g, k[0], s[0], p[0], pad, ceil, || id);
            let out = op.out.clone();
            vec![push(e, M::AvgPool1dBackward(op), &out)]
        });
        check_each(&format!("backward {case:?}"), &[case.smooth(2), Operand::wave(&[1], 2)], &[0, 1], |e, x| {
            let y = two(e, &x[0]);
            let g = weighted(e, &y, &x[1]);
            let g = e.mul(&y, &g);
            let id = id(e);
            let op = AvgPool2dBackwardOpIr::create(x[0].clone(), g, k, s, p, pad, ceil, || id);
            let out = op.out.clone();
            vec![push(e, M::AvgPool2dBackward(op), &out)]
        });
    }
}

macro_rules! adaptive {
    ($test:ident, $d:literal, $target:expr, $forward:ident / $forward_op:ident, $back:ident / $back_op:ident) => {
        #[test]
        fn $test() {
            for seed in 0..CASES {
                let case = Case::new(seed);
                let forward = |e: &mut Emitter, x: &TensorIr| {
                    let id = id(e);
                    let op = $forward_op::create(x.clone(), $target(&case), || id);
                    let out = op.out.clone();
                    push(e, M::$forward(op), &out)
                };
                check(&format!("{case:?}"), &[case.smooth($d)], |e, x| vec![forward(e, &x[0])]);
                check_each(
                    &format!("backward {case:?}"),
                    &[case.smooth($d), Operand::wave(&[1], 2)],
                    &[0, 1],
                    |e, x| {
                        let y = forward(e, &x[0]);
                        let g = weighted(e, &y, &x[1]);
                        let g = e.mul(&y, &g);
                        let id = id(e);
                        let op = $back_op::create(x[0].clone(), g, || id);
                        let out = op.out.clone();
                        vec![push(e, M::$back(op), &out)]
                    },
                );
            }
        }
    };
}

adaptive!(
    adaptive_average_pool1d,
    1,
    |case: &Case| case.target[0],
    AdaptiveAvgPool1d / AdaptiveAvgPool1dOpIr,
    AdaptiveAvgPool1dBackward / AdaptiveAvgPool1dBackwardOpIr
);
adaptive!(
    adaptive_average_pool2d,
    2,
    |case: &Case| [case.target[0], case.target[1]],
    AdaptiveAvgPool2d / AdaptiveAvgPool2dOpIr,
    AdaptiveAvgPool2dBackward / AdaptiveAvgPool2dBackwardOpIr
);
adaptive!(
    adaptive_average_pool3d,
    3,
    |case: &Case| case.target,
    AdaptiveAvgPool3d / AdaptiveAvgPool3dOpIr,
    AdaptiveAvgPool3dBackward / AdaptiveAvgPool3dBackwardOpIr
);

#[test]
fn maximum_pools_and_their_backwards() {
    for seed in 0..CASES {
        let case = &Case::new(seed);
        let (k, s, p, d, ceil) = (case.kernel, case.stride, case.padding, case.dilation, case.ceil_mode);
        let name = format!("{case:?}");
        // Both results of one graph: the maxima, and a gradient (a multiple of the maxima) put back to their places.
        check_each(&name, &[case.distinct(1), Operand::wave(&[1], 2)], &[0, 1], |e, x| {
            let op = MaxPool1dWithIndicesOpIr::create(x[0].clone(), k[0], s[0], p[0], d[0], ceil, DType::I64, || id(e));
            let (y, indices) = (op.out.clone(), op.out_indices.clone());
            push(e, M::MaxPool1dWithIndices(op), &y);
            let g = weighted(e, &y, &x[1]);
            let g = e.mul(&y, &g);
            let (x, id) = (x[0].clone(), id(e));
            let op = MaxPool1dWithIndicesBackwardOpIr::create(x, g, indices, k[0], s[0], p[0], d[0], ceil, || id);
            let out = op.out.clone();
            vec![y, push(e, M::MaxPool1dWithIndicesBackward(op), &out)]
        });
        check_each(&name, &[case.distinct(2), Operand::wave(&[1], 2)], &[0, 1], |e, x| {
            let op = MaxPool2dWithIndicesOpIr::create(x[0].clone(), k, s, p, d, ceil, DType::I64, || id(e));
            let (y, indices) = (op.out.clone(), op.out_indices.clone());
            push(e, M::MaxPool2dWithIndices(op), &y);
            let g = weighted(e, &y, &x[1]);
            let g = e.mul(&y, &g);
            let (x, id) = (x[0].clone(), id(e));
            let op = MaxPool2dWithIndicesBackwardOpIr::create(x, g, indices, k, s, p, d, ceil, || id);
            let out = op.out.clone();
            vec![y, push(e, M::MaxPool2dWithIndicesBackward(op), &out)]
        });
    }
}

#[test]
fn interpolation_in_every_mode() {
    use InterpolateModeIr::{Bicubic, Bilinear, Lanczos3, Nearest};
    let modes = [Nearest, Bilinear, Bicubic, Lanczos3];
    for (seed, mode) in (0..12).flat_map(|seed| modes.iter().map(move |mode| (seed, mode))) {
        for align_corners in [false, true] {
            let case = Case::new(seed);
            let size = [case.target[0], case.target[1]];
            let options = InterpolateOptionsIr { mode: mode.clone(), align_corners };
            let name = format!("{options:?} {case:?}");
            let x = Operand::active(&case.shape(2), |i| wave(i, 5));
            check(&name, std::slice::from_ref(&x), |e, x| {
                let id = id(e);
                let op = InterpolateOpIr::create(x[0].clone(), size, options.clone(), || id);
                let out = op.out.clone();
                vec![push(e, M::Interpolate(op), &out)]
            });
            if *mode == Lanczos3 {
                continue; // Its backward has no kernel on Flex.
            }
            let grad = Operand::wave(&[case.outer[0], case.outer[1], size[0], size[1]], 6);
            check_each(&format!("backward {name}"), &[x, grad], &[1], |e, x| {
                let id = id(e);
                let op = InterpolateBackwardOpIr::create(x[0].clone(), x[1].clone(), size, options.clone(), || id);
                let out = op.out.clone();
                vec![push(e, M::InterpolateBackward(op), &out)]
            });
        }
    }
}
