//! Normalisations of random channel counts, in both modes.
//!
//! Does not know: other operations.

use burn::module::{Param, ParamId};
use burn::nn::{GroupNorm, InstanceNorm, RmsNorm};
use burn::tensor::Tensor;
use burn::tensor::module as nn;

use crate::Family;
use crate::case::{Args, Case, Loss, Operand, probe};
use crate::draw::Draw;

pub const FAMILIES: &[Family] = &[
    ("batch norm in training", training),
    ("batch norm with running statistics", running),
    ("layer norm", layer),
    ("group norm", group),
    ("instance norm", instance),
    ("rms norm", rms),
];

const LONGEST: [usize; 4] = [6, 5, 4, 3];

/// Gains around one, and offsets.
fn affine(draw: &mut Draw, channels: usize) -> [Operand; 2] {
    [draw.operand(&[channels], 0.5, 1.5), draw.operand(&[channels], -0.5, 0.5)]
}

/// A layer's parameter, which is a tensor of the closure.
fn param(args: &Args, at: usize) -> Param<Tensor<1>> {
    Param::initialized(ParamId::new(), args.at(at))
}

/// At least three numbers for every statistic: of two, normalised, there are only the signs, whatever they are.
fn batch_shape(draw: &mut Draw, rank: usize) -> Vec<usize> {
    let mut shape = draw.shape(rank, LONGEST[rank - 1]);
    shape[0] = if rank == 2 { draw.between(3, 6) } else { draw.between(1, 3) };
    if shape[0] * shape[2..].iter().product::<usize>() < 3 {
        shape[0] = 3;
    }
    shape
}

fn training(draw: &mut Draw) -> Case {
    let rank = draw.between(2, 4);
    let shape = batch_shape(draw, rank);
    let [gain, offset] = affine(draw, shape[1]);
    let epsilon = draw.pick(&[1e-5, 0.125]);
    let operands = vec![draw.plain(&shape), gain, offset];
    Case::new(format!("batch_norm_train, {epsilon}"), operands, ranked!(rank, training_loss(epsilon)))
}

fn training_loss<const D: usize>(epsilon: f64) -> Loss {
    Box::new(move |args| probe(nn::batch_norm_train(args.at::<D>(0), args.at(1), args.at(2), epsilon).output))
}

fn running(draw: &mut Draw) -> Case {
    let rank = draw.between(2, 4);
    let shape = draw.shape_or_empty(rank, LONGEST[rank - 1]);
    let [gain, offset] = affine(draw, shape[1]);
    let [variance, mean] = affine(draw, shape[1]);
    let epsilon = draw.pick(&[1e-5, 0.125]);
    let operands = vec![draw.plain(&shape), gain, offset, mean, variance];
    Case::new(format!("batch_norm, {epsilon}"), operands, ranked!(rank, running_loss(epsilon)))
}

fn running_loss<const D: usize>(epsilon: f64) -> Loss {
    Box::new(move |args| {
        probe(nn::batch_norm(args.at::<D>(0), args.at(1), args.at(2), args.at(3), args.at(4), epsilon))
    })
}

fn layer(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let mut shape = draw.shape(rank, LONGEST[rank - 1]);
    shape[rank - 1] = draw.between(1, 6);
    let [gain, offset] = affine(draw, shape[rank - 1]);
    let (bias, epsilon) = (draw.once_in(2), draw.pick(&[1e-5, 0.125]));
    let mut operands = vec![draw.plain(&shape), gain];
    if bias {
        operands.push(offset);
    }
    Case::new(format!("layer_norm, {epsilon}"), operands, ranked!(rank, layer_loss(bias, epsilon)))
}

fn layer_loss<const D: usize>(bias: bool, epsilon: f64) -> Loss {
    Box::new(move |args| probe(nn::layer_norm(args.at::<D>(0), args.at(1), bias.then(|| args.at(2)), epsilon)))
}

/// Burn's group norm, which its instance norm is too, takes the number of elements for the rank and panics unless there
/// are three (burn-nn, src/modules/norm/group.rs).
fn three_elements(shape: &mut [usize]) {
    if shape.iter().product::<usize>() < 3 {
        shape[0] = 3;
    }
}

fn group(draw: &mut Draw) -> Case {
    let (rank, groups, each) = (draw.between(2, 4), draw.between(1, 3), draw.between(1, 3));
    let mut shape = draw.shape(rank, LONGEST[rank - 1]);
    shape[1] = groups * each;
    three_elements(&mut shape);
    let (affine, epsilon) = (draw.once_in(2), draw.pick(&[1e-5, 0.125]));
    let mut operands = vec![draw.plain(&shape)];
    if affine {
        operands.extend(self::affine(draw, shape[1]));
    }
    let text = format!("group norm, {groups} groups, {epsilon}");
    Case::new(text, operands, ranked!(rank, group_loss(groups, affine, epsilon)))
}

fn group_loss<const D: usize>(num_groups: usize, affine: bool, epsilon: f64) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        let (gamma, beta) = (affine.then(|| param(args, 1)), affine.then(|| param(args, 2)));
        let norm = GroupNorm { gamma, beta, num_groups, num_channels: x.dims()[1], epsilon, affine };
        probe(norm.forward(x))
    })
}

fn instance(draw: &mut Draw) -> Case {
    let rank = draw.between(3, 4);
    let mut shape = draw.shape(rank, LONGEST[rank - 1]);
    three_elements(&mut shape);
    let (affine, epsilon) = (draw.once_in(2), draw.pick(&[1e-5, 0.125]));
    let mut operands = vec![draw.plain(&shape)];
    if affine {
        operands.extend(self::affine(draw, shape[1]));
    }
    Case::new(format!("instance norm, {epsilon}"), operands, ranked!(rank, instance_loss(affine, epsilon)))
}

fn instance_loss<const D: usize>(affine: bool, epsilon: f64) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        let (gamma, beta) = (affine.then(|| param(args, 1)), affine.then(|| param(args, 2)));
        probe(InstanceNorm { gamma, beta, num_channels: x.dims()[1], epsilon, affine }.forward(x))
    })
}

/// Burn computes the root mean square in single precision.
fn rms(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let shape = draw.shape(rank, LONGEST[rank - 1]);
    let [gain, _] = affine(draw, shape[rank - 1]);
    let operands = vec![draw.plain(&shape), gain];
    Case::new("rms norm", operands, ranked!(rank, rms_loss())).single(true)
}

fn rms_loss<const D: usize>() -> Loss {
    Box::new(|args| probe(RmsNorm { gamma: param(args, 1), epsilon: 0.125 }.forward(args.at::<D>(0))))
}
