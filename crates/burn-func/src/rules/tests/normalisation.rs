//! Normalisations, with every choice of operands that carry a tangent.

use burn::tensor::DType;
use burn_ir::{BatchNormOpIr, LayerNormOpIr, ModuleOperationIr as M, OperationIr, ScalarIr, TensorIr};

use super::harness::{Operand, check_each, wave};
use crate::emit::Emitter;

#[test]
fn batch_norm() {
    for shape in [&[3, 4][..], &[2, 3, 4], &[1, 2, 3, 3], &[0, 2, 3]] {
        let channels = &shape[1..2];
        let variance = Operand::active(channels, |i| 1.0 + 0.5 * wave(i, 4));
        let waves = |shape: &[usize], salt| Operand::wave(shape, salt);
        let operands = [waves(shape, 0), waves(channels, 1), waves(channels, 2), waves(channels, 3), variance];
        check_each(&format!("batch norm {shape:?}"), &operands, &[0, 1, 2, 3, 4], |e, x| {
            let [x, gamma, beta, mean, variance] = [0, 1, 2, 3, 4].map(|at| x[at].clone());
            let id = e.value([0].into(), DType::F64).id;
            let op = BatchNormOpIr::create(x, gamma, beta, mean, variance, ScalarIr::Float(1e-3), || id);
            let out = op.out.clone();
            vec![e.push(OperationIr::Module(M::BatchNorm(op)), out)]
        });
    }
}

#[test]
fn layer_norm() {
    let norm = |e: &mut Emitter, x: &[TensorIr]| {
        let id = e.value([0].into(), DType::F64).id;
        let op = LayerNormOpIr::create(x[0].clone(), x[1].clone(), x.get(2).cloned(), 1e-3, || id);
        let out = op.out.clone();
        vec![e.push(OperationIr::Module(M::LayerNorm(op)), out)]
    };
    for shape in [&[3, 5][..], &[2, 3, 4], &[1, 6], &[0, 4]] {
        let last = &shape[shape.len() - 1..];
        let operands = [Operand::wave(shape, 0), Operand::wave(last, 1), Operand::wave(last, 2)];
        check_each(&format!("layer norm {shape:?}"), &operands, &[0, 1, 2], norm);
        check_each(&format!("layer norm {shape:?} without beta"), &operands[..2], &[0, 1], norm);
    }
}
