//! Derivatives of products with a bias: linear layers and convolutions of every kind.
//!
//! Their backwards are linear or bilinear and stand in the table alone.
//!
//! Does not know: which part an operation lands in.

use burn_ir::{DeformConv2dBackwardOpIr, ModuleOperationIr as M, OperationIr, TensorIr};

use super::nonlinear::wrong_row;
use super::normalisation::along;
use crate::error::Result;
use crate::jvp::{Jvp, out, unsupported};

/// `Linear`, `Conv*d`, `ConvTranspose*d`: bilinear in input and weight, plus a bias.
pub fn affine(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    products(jvp, op, &[0, 1])
}

const OFFSET: &str = "its derivative in the offsets is not known here: compute the offsets from the batch alone, or pass \
                      them through `burn_func::stop_gradient`";

/// Linear in each of input, weight and mask, plus a bias. Not in the offsets, which say where the input is read.
pub fn deform_conv2d(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(M::DeformableConv2d(conv)) = op else { return Err(wrong_row(op)) };
    if jvp.tangent(&conv.offset).is_some() {
        return Err(unsupported(op, OFFSET));
    }
    products(jvp, op, if conv.mask.is_some() { &[0, 2, 3] } else { &[0, 2] })
}

/// A product of the operands at `factors`, linear in each of them, plus a bias where there is one. The tangent of the
/// bias rides on the first term: one addition less over the whole result.
fn products(jvp: &mut Jvp, op: &OperationIr, factors: &[usize]) -> Result<()> {
    let mut plain = op.clone();
    let bias = bias_mut(&mut plain)?.take();
    let operands: Vec<TensorIr> = plain.inputs().cloned().collect();
    let mut bias = bias.and_then(|bias| jvp.tangent(&bias));
    let mut terms = Vec::new();
    for &at in factors {
        let Some(tangent) = jvp.tangent(&operands[at]) else { continue };
        let mut operands = operands.clone();
        operands[at] = tangent;
        let form = if bias.is_some() { op } else { &plain };
        operands.extend(bias.take()); // The last operand of every one of them.
        terms.push(jvp.same(form, &operands));
    }
    let out = out(op);
    if let Some(bias) = bias {
        let rank = out.shape.num_dims();
        let axis = if matches!(op, OperationIr::Module(M::Linear(_))) { rank - 1 } else { 1 };
        terms.push(along(&mut jvp.emit, &bias, rank, axis));
    }
    jvp.set_sum(&out, terms);
    Ok(())
}

fn bias_mut(op: &mut OperationIr) -> Result<&mut Option<TensorIr>> {
    let wrong = wrong_row(op);
    let OperationIr::Module(module) = op else { return Err(wrong) };
    Ok(match module {
        M::Linear(op) => &mut op.bias,
        M::Conv1d(op) => &mut op.bias,
        M::Conv2d(op) => &mut op.bias,
        M::Conv3d(op) => &mut op.bias,
        M::ConvTranspose1d(op) => &mut op.bias,
        M::ConvTranspose2d(op) => &mut op.bias,
        M::ConvTranspose3d(op) => &mut op.bias,
        M::DeformableConv2d(op) => &mut op.bias,
        _ => return Err(wrong),
    })
}

/// Five gradients at once, each linear in the gradient of the result and in those of input, weight and mask it depends
/// on: that is all of them except the one it is the gradient of. The gradient of the bias depends on none of the three.
pub fn deform_conv2d_backward(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(M::DeformableConv2dBackward(back)) = op else { return Err(wrong_row(op)) };
    if jvp.tangent(&back.offset).is_some() {
        return Err(unsupported(op, OFFSET));
    }
    let results = gradients(back);
    let mut terms: Vec<Vec<TensorIr>> = vec![Vec::new(); results.len()];
    for factor in Factor::ALL {
        let Some(tangent) = factor.of(back).and_then(|of| jvp.tangent(of)) else { continue };
        let mut term = (**back).clone();
        factor.replace(&mut term, tangent);
        for result in gradients_mut(&mut term).into_iter().flatten() {
            *result = jvp.emit.like(result);
        }
        let found = gradients(&term);
        jvp.emit.ops.push(OperationIr::Module(M::DeformableConv2dBackward(Box::new(term))));
        for (at, (terms, found)) in terms.iter_mut().zip(found).enumerate() {
            terms.extend(found.filter(|_| factor.enters(at)));
        }
    }
    for (result, terms) in results.iter().zip(terms) {
        if let Some(result) = result {
            jvp.set_sum(result, terms);
        }
    }
    Ok(())
}

/// An operand that the gradients of a deformable convolution are linear in.
#[derive(Clone, Copy, PartialEq)]
enum Factor {
    Input,
    Weight,
    Mask,
    Grad,
}

impl Factor {
    const ALL: [Self; 4] = [Self::Input, Self::Weight, Self::Mask, Self::Grad];

    fn of(self, back: &DeformConv2dBackwardOpIr) -> Option<&TensorIr> {
        match self {
            Self::Input => Some(&back.x),
            Self::Weight => Some(&back.weight),
            Self::Mask => back.mask.as_ref(),
            Self::Grad => Some(&back.out_grad),
        }
    }

    fn replace(self, back: &mut DeformConv2dBackwardOpIr, tangent: TensorIr) {
        match self {
            Self::Input => back.x = tangent,
            Self::Weight => back.weight = tangent,
            Self::Mask => back.mask = Some(tangent),
            Self::Grad => back.out_grad = tangent,
        }
    }

    /// Whether the gradient at this position of [`gradients`] depends on it.
    fn enters(self, gradient: usize) -> bool {
        match self {
            Self::Grad => true,
            Self::Input => ![0, 4].contains(&gradient),
            Self::Weight => ![2, 4].contains(&gradient),
            Self::Mask => ![3, 4].contains(&gradient),
        }
    }
}

/// Gradients of input, offsets, weight, mask and bias.
fn gradients(back: &DeformConv2dBackwardOpIr) -> [Option<TensorIr>; 5] {
    let (input, offset, weight) = (&back.input_grad, &back.offset_grad, &back.weight_grad);
    let always = [input, offset, weight].map(|grad| Some(grad.clone()));
    let [input, offset, weight] = always;
    [input, offset, weight, back.mask_grad.clone(), back.bias_grad.clone()]
}

fn gradients_mut(back: &mut DeformConv2dBackwardOpIr) -> [Option<&mut TensorIr>; 5] {
    [
        Some(&mut back.input_grad),
        Some(&mut back.offset_grad),
        Some(&mut back.weight_grad),
        back.mask_grad.as_mut(),
        back.bias_grad.as_mut(),
    ]
}
