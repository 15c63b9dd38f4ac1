//! Embeddings and patches.

use burn::tensor::DType;
use burn_ir::{
    EmbeddingBackwardOpIr, EmbeddingOpIr, ModuleOperationIr as M, OperationIr, Unfold4dOpIr, Unfold4dOptionsIr,
};

use super::harness::{Operand, check, check_each};

#[test]
fn embedding() {
    for [batch, length] in [[2, 3], [1, 1], [0, 3]] {
        // Some rows are read twice, some never.
        let indices = Operand::indices(&[batch, length], (0..batch * length).map(|i| (i * 3 % 5) as i64).collect());
        check("forward", &[Operand::wave(&[7, 4], 1), indices.clone()], |e, x| {
            let id = e.value([0].into(), DType::F64).id;
            let op = EmbeddingOpIr::create(x[0].clone(), x[1].clone(), || id);
            let out = op.out.clone();
            vec![e.push(OperationIr::Module(M::Embedding(op)), out)]
        });
        let operands = [Operand::wave(&[7, 4], 1), Operand::wave(&[batch, length, 4], 2), indices];
        check_each("backward", &operands[..], &[1], |e, x| {
            let id = e.value([0].into(), DType::F64).id;
            let op = EmbeddingBackwardOpIr::create(x[0].clone(), x[1].clone(), x[2].clone(), || id);
            let out = op.out.clone();
            vec![e.push(OperationIr::Module(M::EmbeddingBackward(op)), out)]
        });
    }
}

#[test]
fn unfold4d() {
    let options = [
        ([1, 1], [0, 0], [1, 1]), // two paths in Burn: by views, and by a convolution
        ([2, 1], [0, 0], [1, 1]),
        ([2, 1], [1, 2], [1, 2]),
    ];
    for (batch, (stride, padding, dilation)) in [2, 1, 0].into_iter().flat_map(|n| options.map(|o| (n, o))) {
        let options = Unfold4dOptionsIr { stride, padding, dilation };
        check(&format!("{batch} {options:?}"), &[Operand::wave(&[batch, 3, 5, 6], 1)], |e, x| {
            let id = e.value([0].into(), DType::F64).id;
            let op = Unfold4dOpIr::create(x[0].clone(), [2, 3], options.clone(), || id);
            let out = op.out.clone();
            vec![e.push(OperationIr::Module(M::Unfold4d(op)), out)]
        });
    }
}
