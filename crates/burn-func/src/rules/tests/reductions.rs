//! Sums, means, extremes, products, sorts and running reductions.

use burn::tensor::DType;
use burn_ir::{
    CrossOpIr, DimOpIr, FloatOperationIr as F, MatmulOpIr, NumericOperationIr as N, ReduceDimOpIr,
    ReduceDimWithIndicesOpIr, ReduceDimsOpIr, ReduceOpIr, SortWithIndicesOpIr, TopKWithIndicesOpIr,
};

use super::case::{Case, case, float, id, numeric};
use super::elementwise::off_zero;
use super::harness::Operand;

fn of_everything() -> Vec<Case> {
    let kinds: [fn(ReduceOpIr) -> N; 6] = [N::Sum, N::Mean, N::Prod, N::Max, N::Min, N::MaxAbs];
    let shapes: [&[usize]; 3] = [&[3, 4], &[5], &[2, 1, 3]];
    let of = |kind: fn(ReduceOpIr) -> N| {
        shapes.map(|shape| {
            case("reduction", vec![off_zero(shape, 1)], move |e, x| {
                let op = kind(ReduceOpIr::create(x[0].clone(), || id(e)));
                numeric(e, op)
            })
        })
    };
    let empty = case("sum of nothing", vec![Operand::wave(&[0, 3], 1)], |e, x| e.sum(&x[0]));
    kinds.into_iter().flat_map(of).chain([empty]).collect()
}

fn along_an_axis() -> Vec<Case> {
    let kinds: [fn(ReduceDimOpIr) -> N; 4] = [N::SumDim, N::MeanDim, N::ProdDim, N::MaxAbsDim];
    let of = |kind: fn(ReduceDimOpIr) -> N| {
        [0, 1, 2].map(|axis| {
            case(format!("reduction along {axis}"), vec![off_zero(&[2, 3, 4], 1)], move |e, x| {
                let op = kind(ReduceDimOpIr::create(x[0].clone(), axis, 1, || id(e)));
                numeric(e, op)
            })
        })
    };
    let several = case("sum along two", vec![Operand::wave(&[2, 3, 4], 1)], |e, x| {
        let op = ReduceDimsOpIr::create(x[0].clone(), vec![0, 2], || id(e));
        numeric(e, N::SumDims(op))
    });
    let sum = case("sum of nothing along an axis", vec![Operand::wave(&[0, 3], 1)], |e, x| e.sum_dim(&x[0], 0));
    let product = case("product of nothing", vec![Operand::wave(&[2, 0], 1)], |e, x| e.prod_dim(&x[0], 1));
    kinds.into_iter().flat_map(of).chain([several, sum, product]).collect()
}

fn running() -> Vec<Case> {
    let kinds: [fn(DimOpIr) -> N; 4] = [N::CumSum, N::CumProd, N::CumMax, N::CumMin];
    let of = |kind: fn(DimOpIr) -> N| {
        [(vec![2, 3, 4], 0), (vec![2, 3, 4], 1), (vec![2, 3, 4], 2), (vec![6], 0), (vec![3, 1], 1), (vec![0, 2], 1)]
            .map(|(shape, axis)| {
                case(format!("running along {axis}"), vec![off_zero(&shape, 1)], move |e, x| {
                    let op = kind(DimOpIr::create(x[0].clone(), axis, || id(e)));
                    numeric(e, op)
                })
            })
    };
    kinds.into_iter().flat_map(of).collect()
}

fn with_indices() -> Vec<Case> {
    let operand = || vec![Operand::wave(&[3, 5], 1)];
    let extremes: [fn(ReduceDimWithIndicesOpIr) -> N; 2] = [N::MaxDimWithIndices, N::MinDimWithIndices];
    let extremes = extremes.into_iter().flat_map(|kind| {
        [0, 1].map(|axis| {
            case(format!("extreme along {axis}"), vec![Operand::wave(&[3, 5], 1)], move |e, x| {
                let op = kind(ReduceDimWithIndicesOpIr::create(x[0].clone(), axis, DType::I64, || id(e)));
                numeric(e, op)
            })
        })
    });
    let top = [0, 1].map(|axis| {
        case(format!("two largest along {axis}"), operand(), move |e, x| {
            let op = TopKWithIndicesOpIr::create(x[0].clone(), axis, 2, DType::I64, || id(e));
            numeric(e, N::TopKWithIndices(op))
        })
    });
    let sorted = [(0, false), (0, true), (1, false), (1, true)].map(|(axis, descending)| {
        case(format!("sorted along {axis}"), operand(), move |e, x| {
            let op = SortWithIndicesOpIr::create(x[0].clone(), axis, descending, DType::I64, || id(e));
            numeric(e, N::SortWithIndices(op))
        })
    });
    extremes.chain(top).chain(sorted).collect()
}

fn products() -> Vec<Case> {
    let shapes: [(&[usize], &[usize]); 4] =
        [(&[3, 4], &[4, 2]), (&[2, 3, 4], &[2, 4, 1]), (&[2, 3, 4], &[1, 4, 5]), (&[0, 4], &[4, 2])];
    let matmul = shapes.map(|(a, b)| {
        case("matmul", vec![Operand::wave(a, 1), Operand::wave(b, 2)], |e, x| {
            let op = MatmulOpIr::create(x[0].clone(), x[1].clone(), || id(e));
            float(e, F::Matmul(op))
        })
    });
    let cross = [(vec![4, 3], 1), (vec![3, 4], 0)].map(|(shape, dim)| {
        case("cross", vec![Operand::wave(&shape, 1), Operand::wave(&shape, 2)], move |e, x| {
            let out = e.like(&x[0]);
            float(e, F::Cross(CrossOpIr { lhs: x[0].clone(), rhs: x[1].clone(), out, dim }))
        })
    });
    matmul.into_iter().chain(cross).collect()
}

pub fn cases() -> Vec<Case> {
    [of_everything(), along_an_axis(), running(), with_indices(), products()].into_iter().flatten().collect()
}

#[test]
fn every_case() {
    cases().iter().for_each(Case::check);
}
