//! Activations and their backwards.

use burn_ir::{
    ActivationOperationIr as A, BinaryOpIr, DimOpIr, HardSigmoidOpIr, OperationIr, ScalarIr, ScalarOpIr, UnaryOpIr,
};

use super::case::{Case, case, id, push};
use super::elementwise::off_zero;
use super::harness::Operand;

fn unary() -> Vec<Case> {
    let kinds: [fn(UnaryOpIr) -> A; 4] = [A::Relu, A::Gelu, A::Sigmoid, A::LogSigmoid];
    let shapes: [&[usize]; 3] = [&[3, 4], &[6], &[0, 2]];
    let of = |kind: fn(UnaryOpIr) -> A| {
        shapes.map(|shape| {
            case("activation", vec![off_zero(shape, 1)], move |e, x| {
                let op = kind(UnaryOpIr::create(x[0].clone(), || id(e)));
                push(e, OperationIr::Activation(op))
            })
        })
    };
    kinds.into_iter().flat_map(of).collect()
}

fn backward() -> Vec<Case> {
    let kinds: [fn(BinaryOpIr) -> A; 4] = [A::ReluBackward, A::GeluBackward, A::SigmoidBackward, A::LogSigmoidBackward];
    let of = |kind: fn(BinaryOpIr) -> A| {
        [vec![3, 4], vec![6], vec![0, 2]].map(|shape| {
            case("backward of an activation", vec![off_zero(&shape, 1), Operand::wave(&shape, 2)], move |e, x| {
                let op = kind(BinaryOpIr::create(x[0].clone(), x[1].clone(), || id(e)));
                push(e, OperationIr::Activation(op))
            })
        })
    };
    kinds.into_iter().flat_map(of).collect()
}

fn with_slope() -> Vec<Case> {
    let leaky = case("leaky relu", vec![off_zero(&[3, 4], 1)], |e, x| {
        let op = ScalarOpIr::create(x[0].clone(), ScalarIr::Float(0.03), || id(e));
        push(e, OperationIr::Activation(A::LeakyRelu(op)))
    });
    let slopes: [&[usize]; 3] = [&[2, 3, 4], &[1, 3, 1], &[1, 1, 1]];
    let prelu = slopes.map(|slope| {
        case("prelu", vec![off_zero(&[2, 3, 4], 1), Operand::wave(slope, 2)], |e, x| {
            let op = BinaryOpIr::create(x[0].clone(), x[1].clone(), || id(e));
            push(e, OperationIr::Activation(A::PRelu(op)))
        })
    });
    // The line x / 5 + 1 / 2 is cut off at -2.5 and 2.5, and no element lies near.
    let hard = case("hard sigmoid", vec![Operand::active(&[3, 4], |i| i as f64 - 5.8)], |e, x| {
        let (alpha, beta) = (ScalarIr::Float(0.2), ScalarIr::Float(0.5));
        let op = HardSigmoidOpIr::create(x[0].clone(), alpha, beta, || id(e));
        push(e, OperationIr::Activation(A::HardSigmoid(op)))
    });
    prelu.into_iter().chain([leaky, hard]).collect()
}

fn normalising() -> Vec<Case> {
    let kinds: [fn(DimOpIr) -> A; 3] = [A::Softmax, A::LogSoftmax, A::Softmin];
    let of = |kind: fn(DimOpIr) -> A| {
        [0, 1, 2].map(|axis| {
            case(format!("softmax along {axis}"), vec![Operand::wave(&[2, 3, 4], 1)], move |e, x| {
                let op = kind(DimOpIr::create(x[0].clone(), axis, || id(e)));
                push(e, OperationIr::Activation(op))
            })
        })
    };
    kinds.into_iter().flat_map(of).collect()
}

pub fn cases() -> Vec<Case> {
    [unary(), backward(), with_slope(), normalising()].into_iter().flatten().collect()
}

#[test]
fn every_case() {
    cases().iter().for_each(Case::check);
}
