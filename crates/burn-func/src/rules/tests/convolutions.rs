//! Linear layers and convolutions over random shapes and options.

use burn::tensor::DType;
use burn_ir::{
    Conv1dBiasBackwardOpIr, Conv1dOpIr, Conv1dOptionsIr, Conv1dWeightBackwardOpIr, Conv1dXBackwardOpIr,
    Conv2dBiasBackwardOpIr, Conv2dOpIr, Conv2dOptionsIr, Conv2dWeightBackwardOpIr, Conv2dXBackwardOpIr,
    Conv3dBiasBackwardOpIr, Conv3dOpIr, Conv3dOptionsIr, Conv3dWeightBackwardOpIr, Conv3dXBackwardOpIr,
    ConvTranspose1dBiasBackwardOpIr, ConvTranspose1dOpIr, ConvTranspose1dOptionsIr, ConvTranspose1dWeightBackwardOpIr,
    ConvTranspose2dBiasBackwardOpIr, ConvTranspose2dOpIr, ConvTranspose2dOptionsIr, ConvTranspose2dWeightBackwardOpIr,
    ConvTranspose3dBiasBackwardOpIr, ConvTranspose3dOpIr, ConvTranspose3dOptionsIr, ConvTranspose3dWeightBackwardOpIr,
    DeformConv2dBackwardOpIr, DeformConv2dOpIr, DeformableConv2dOptionsIr, LinearBiasBackwardOpIr, LinearOpIr,
    LinearWeightBackwardOpIr, LinearXBackwardOpIr, ModuleOperationIr as M, OperationIr, TensorId, TensorIr,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::harness::{Operand, check_each, check_to, choices, held_but};
use crate::emit::Emitter;
use crate::error::Error;
use crate::graph::{Graph, Input, Role};
use crate::linearize::linearize;

const CASES: u64 = 12;

fn id(e: &mut Emitter) -> TensorId {
    e.value([0].into(), DType::F64).id
}

/// Emits one operation, made by its own constructor, which works out the shape of its result.
macro_rules! emit {
    ($e:ident, $variant:ident, $op:ident { $($arg:expr),* }) => {{
        let id = id($e);
        let op = $op::create($($arg.clone(),)* || id);
        let out = op.out.clone();
        vec![$e.push(OperationIr::Module(M::$variant(op.into())), out)]
    }};
}

/// Sizes and options of a convolution in `D` dimensions. A window fits into the padded input.
#[derive(Clone, Debug)]
struct Case<const D: usize> {
    batch: usize,
    channels: [usize; 2],
    groups: usize,
    size: [usize; D],
    kernel: [usize; D],
    stride: [usize; D],
    padding: [(usize, usize); D],
    dilation: [usize; D],
    padding_out: [usize; D],
}

impl<const D: usize> Case<D> {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |from: usize, to: usize| random.random_range(from..=to);
        let groups = draw(1, 2);
        let stride = [(); D].map(|()| draw(1, 2));
        let batch = [2, 1, 0][seed as usize % 3];
        Self {
            batch,
            channels: [groups * draw(1, 2), groups * draw(1, 2)],
            groups,
            size: [(); D].map(|()| draw(if D == 3 { 3 } else { 5 }, 6)),
            kernel: [(); D].map(|()| draw(1, if D == 3 { 2 } else { 3 })),
            stride,
            // The same on both sides for an empty batch: Flex cannot add the empty slices that it makes otherwise.
            padding: [(); D].map(|()| (draw(0, 1), draw(0, 1))).map(|(a, b)| (a, if batch == 0 { a } else { b })),
            dilation: [(); D].map(|()| draw(1, 2)),
            padding_out: stride.map(|stride| draw(0, stride - 1)),
        }
    }

    fn symmetric(&self) -> [usize; D] {
        self.padding.map(|(before, _)| before)
    }

    fn x(&self) -> Operand {
        Operand::wave(&[[self.batch, self.channels[0]].as_slice(), &self.size].concat(), 1)
    }

    fn weight(&self) -> Operand {
        let [input, output] = self.channels;
        Operand::wave(&[[output, input / self.groups].as_slice(), &self.kernel].concat(), 2)
    }

    /// The weight of a transposed convolution.
    fn turned(&self) -> Operand {
        let [input, output] = self.channels;
        Operand::wave(&[[input, output / self.groups].as_slice(), &self.kernel].concat(), 2)
    }

    fn bias(&self) -> Operand {
        Operand::wave(&[self.channels[1]], 3)
    }
}

/// Something like the result of the first operands, to stand for its gradient.
fn grad_of(operands: &[Operand], build: impl Fn(&mut Emitter, &[TensorIr]) -> Vec<TensorIr>) -> Operand {
    let mut e = Emitter::starting_at(0);
    let irs: Vec<TensorIr> = operands.iter().map(|operand| e.value(operand.spec().shape.into(), DType::F64)).collect();
    Operand::wave(&build(&mut e, &irs)[0].shape, 4)
}

macro_rules! convolution {
    ($test:ident, $case:ident: $d:literal, $weight:ident, $options:expr,
     $forward:ident / $forward_op:ident, $w:ident / $w_op:ident, $b:ident / $b_op:ident
     $(, $x:ident / $x_op:ident)?) => {
        #[test]
        fn $test() {
            for seed in 0..CASES {
                let $case = Case::<$d>::new(seed);
                let options = $options;
                let name = format!("{} {:?}", stringify!($forward), $case);
                let operands = [$case.x(), $case.$weight(), $case.bias()];
                let none: Option<TensorIr> = None;
                let plain = |e: &mut Emitter, x: &[TensorIr]| emit!(e, $forward, $forward_op { x[0], x[1], none, options });
                let biased =
                    |e: &mut Emitter, x: &[TensorIr]| emit!(e, $forward, $forward_op { x[0], x[1], Some(x[2].clone()), options });
                check_each(&name, &operands[..2], &[0, 1], plain);
                check_each(&name, &operands, &[0, 1, 2], biased);
                let grad = grad_of(&operands[..2], plain);
                let backward = [operands[0].clone(), operands[1].clone(), grad.clone()];
                $(check_each(&format!("x of {name}"), &backward, &[1, 2], |e, x| {
                    emit!(e, $x, $x_op { x[0], x[1], x[2], options })
                });)?
                check_each(&format!("weight of {name}"), &backward, &[0, 2], |e, x| {
                    emit!(e, $w, $w_op { x[0], x[1], x[2], options })
                });
                let backward = [operands[0].clone(), operands[2].clone(), grad];
                check_each(&format!("bias of {name}"), &backward, &[2], |e, x| emit!(e, $b, $b_op { x[0], x[1], x[2] }));
            }
        }
    };
}

convolution! {
    conv1d, case: 1, weight,
    Conv1dOptionsIr { stride: case.stride, padding: case.padding, dilation: case.dilation, groups: case.groups },
    Conv1d / Conv1dOpIr, Conv1dWeightBackward / Conv1dWeightBackwardOpIr,
    Conv1dBiasBackward / Conv1dBiasBackwardOpIr, Conv1dXBackward / Conv1dXBackwardOpIr
}

convolution! {
    conv2d, case: 2, weight,
    Conv2dOptionsIr { stride: case.stride, padding: case.padding, dilation: case.dilation, groups: case.groups },
    Conv2d / Conv2dOpIr, Conv2dWeightBackward / Conv2dWeightBackwardOpIr,
    Conv2dBiasBackward / Conv2dBiasBackwardOpIr, Conv2dXBackward / Conv2dXBackwardOpIr
}

convolution! {
    conv3d, case: 3, weight,
    Conv3dOptionsIr { stride: case.stride, padding: case.symmetric(), dilation: case.dilation, groups: case.groups },
    Conv3d / Conv3dOpIr, Conv3dWeightBackward / Conv3dWeightBackwardOpIr,
    Conv3dBiasBackward / Conv3dBiasBackwardOpIr, Conv3dXBackward / Conv3dXBackwardOpIr
}

convolution! {
    conv_transpose1d, case: 1, turned,
    ConvTranspose1dOptionsIr {
        stride: case.stride, padding: case.symmetric(), padding_out: case.padding_out, dilation: case.dilation,
        groups: case.groups,
    },
    ConvTranspose1d / ConvTranspose1dOpIr, ConvTranspose1dWeightBackward / ConvTranspose1dWeightBackwardOpIr,
    ConvTranspose1dBiasBackward / ConvTranspose1dBiasBackwardOpIr
}

convolution! {
    conv_transpose2d, case: 2, turned,
    ConvTranspose2dOptionsIr {
        stride: case.stride, padding: case.symmetric(), padding_out: case.padding_out, dilation: case.dilation,
        groups: case.groups,
    },
    ConvTranspose2d / ConvTranspose2dOpIr, ConvTranspose2dWeightBackward / ConvTranspose2dWeightBackwardOpIr,
    ConvTranspose2dBiasBackward / ConvTranspose2dBiasBackwardOpIr
}

convolution! {
    conv_transpose3d, case: 3, turned,
    ConvTranspose3dOptionsIr {
        stride: case.stride, padding: case.symmetric(), padding_out: case.padding_out, dilation: case.dilation,
        groups: case.groups,
    },
    ConvTranspose3d / ConvTranspose3dOpIr, ConvTranspose3dWeightBackward / ConvTranspose3dWeightBackwardOpIr,
    ConvTranspose3dBiasBackward / ConvTranspose3dBiasBackwardOpIr
}

#[test]
fn linear() {
    for rows in [&[4][..], &[1], &[0], &[2, 3], &[1, 2, 3], &[2, 0]] {
        let name = format!("linear over {rows:?}");
        let shape = |features: usize| [rows, &[features]].concat();
        let (x, w, b, g) = (&shape(3), &[3, 5], &[5], &shape(5));
        let [x, w, b, g] = [x.as_slice(), w, b, g].map(|shape| Operand::wave(shape, shape.len() + shape[0]));
        let none: Option<TensorIr> = None;
        check_each(&name, &[x.clone(), w.clone()], &[0, 1], |e, x| emit!(e, Linear, LinearOpIr { x[0], x[1], none }));
        check_each(
            &name,
            &[x.clone(), w.clone(), b],
            &[0, 1, 2],
            |e, x| emit!(e, Linear, LinearOpIr { x[0], x[1], Some(x[2].clone()) }),
        );
        check_each(
            &name,
            &[w, g.clone()],
            &[0, 1],
            |e, x| emit!(e, LinearXBackward, LinearXBackwardOpIr { x[0], x[1] }),
        );
        check_each(
            &name,
            &[x, g.clone()],
            &[0, 1],
            |e, x| emit!(e, LinearWeightBackward, LinearWeightBackwardOpIr { x[0], x[1] }),
        );
        check_each(&name, &[g], &[0], |e, x| emit!(e, LinearBiasBackward, LinearBiasBackwardOpIr { x[0] }));
    }
}

/// Operands of a deformable convolution: x, offset, weight, mask, bias. Two groups of offsets, two of weights.
fn deformed() -> (Vec<Operand>, DeformableConv2dOptionsIr) {
    let (stride, padding, dilation) = ([1, 2], [1, 0], [1, 2]);
    let options = DeformableConv2dOptionsIr { stride, padding, dilation, weight_groups: 2, offset_groups: 2 };
    // Kernel 3 x 2, result 5 x 2.
    let shapes: [&[usize]; 5] = [&[2, 4, 5, 6], &[2, 24, 5, 2], &[6, 2, 3, 2], &[2, 12, 5, 2], &[6]];
    (shapes.iter().enumerate().map(|(salt, shape)| Operand::wave(shape, salt)).collect(), options)
}

/// With the operands at these positions, in the order of [`deformed`]; mask and bias may be missing.
fn deform(e: &mut Emitter, x: &[TensorIr], mask: Option<usize>, bias: Option<usize>) -> Vec<TensorIr> {
    let (mask, bias) = (mask.map(|at| x[at].clone()), bias.map(|at| x[at].clone()));
    let options = deformed().1;
    emit!(e, DeformableConv2d, DeformConv2dOpIr { x[0], x[1], x[2], mask, bias, options })
}

#[test]
fn deformable_convolution() {
    let (operands, _) = deformed();
    let without = |gone: &[usize]| -> Vec<Operand> {
        (0..5).filter(|at| !gone.contains(at)).map(|at| operands[at].clone()).collect()
    };
    check_each("all", &operands, &[0, 2, 3, 4], |e, x| deform(e, x, Some(3), Some(4)));
    check_each("no bias", &without(&[4]), &[0, 2, 3], |e, x| deform(e, x, Some(3), None));
    check_each("no mask", &without(&[3]), &[0, 2, 3], |e, x| deform(e, x, None, Some(3)));
    check_each("neither", &without(&[3, 4]), &[0, 2], |e, x| deform(e, x, None, None));
}

#[test]
fn deformable_convolution_backward() {
    let (operands, options) = deformed();
    let grad = Operand::wave(&[2, 6, 5, 2], 9);
    let operands = [operands, vec![grad]].concat();
    for (masked, biased) in [(true, true), (true, false), (false, true), (false, false)] {
        let build = |e: &mut Emitter, x: &[TensorIr]| {
            let (mask, bias) = (masked.then(|| x[3].clone()), biased.then(|| x[4].clone()));
            let (x, offset, weight, grad) = (x[0].clone(), x[1].clone(), x[2].clone(), x[5].clone());
            let back = DeformConv2dBackwardOpIr::create(x, offset, weight, mask, bias, grad, options.clone(), || id(e));
            let op = OperationIr::Module(M::DeformableConv2dBackward(Box::new(back)));
            let outs = op.outputs().cloned().collect();
            e.ops.push(op);
            outs
        };
        let free: &[usize] = if masked { &[0, 2, 3, 5] } else { &[0, 2, 5] };
        for chosen in choices(free) {
            // Flex computes this one in single precision whatever it is given. It is a polynomial of fourth degree.
            let name = format!("mask {masked}, bias {biased}, active {chosen:?}");
            check_to(1e-5, 0.5, &name, &held_but(&operands, &chosen), build);
        }
    }
}

#[test]
fn offsets_have_no_derivative() {
    let mut e = Emitter::starting_at(0);
    let operands: Vec<TensorIr> = deformed().0.iter().map(|of| e.value(of.spec().shape.into(), DType::F64)).collect();
    let outputs = deform(&mut e, &operands, Some(3), Some(4));
    let role = |at: usize| if at == 1 { Role::Parameter } else { Role::Batch };
    let inputs = operands.into_iter().enumerate().map(|(at, tensor)| Input { tensor, role: role(at) }).collect();
    let graph = Graph { inputs, ops: e.ops, outputs };
    let error = linearize(&graph, &graph.outputs).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { op, .. } if op == "Module::DeformableConv2d"), "{error}");
    assert!(error.to_string().contains("offsets"), "{error}");
}
