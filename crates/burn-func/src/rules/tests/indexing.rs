//! Selections and updates by index, mask and border.

use burn::tensor::IndexingUpdateOp::{self, Add, Assign, Max, Min, Mul};
use burn_ir::{
    BaseOperationIr as B, FloatOperationIr as F, GatherNdOpIr, GatherOpIr, GridSample2dOpIr, MaskFillOpIr,
    MaskWhereOpIr, NumericOperationIr as N, PadModeIr, PadOpIr, ScalarIr, ScatterNdOpIr, ScatterOpIr, SelectAssignOpIr,
    SelectOpIr,
};

use super::case::{Case, base, case, float, id, numeric};
use super::harness::{Operand, graph};
use crate::linearize::linearize;

fn reads() -> Vec<Case> {
    let gather = [(0, vec![2, 4], vec![0, 2, 1, 2, 1, 1, 0, 0]), (1, vec![3, 2], vec![3, 0, 1, 1, 2, 3])].map(
        |(dim, shape, at)| {
            let operands = vec![Operand::wave(&[3, 4], 1), Operand::indices(&shape, at)];
            case(format!("gather along {dim}"), operands, move |e, x| {
                let op = GatherOpIr::create(x[0].clone(), dim, x[1].clone(), || id(e));
                base(e, B::Gather(op))
            })
        },
    );
    let select = [(0, vec![2, 0, 0]), (1, vec![3, 1, 3, 3, 0]), (1, vec![])].map(|(dim, at)| {
        let operands = vec![Operand::wave(&[3, 4], 1), Operand::indices(&[at.len()], at)];
        case(format!("select along {dim}"), operands, move |e, x| {
            let op = SelectOpIr::create(x[0].clone(), dim, x[1].clone(), || id(e));
            base(e, B::Select(op))
        })
    });
    let operands = vec![Operand::wave(&[3, 4, 2], 1), Operand::indices(&[2, 2], vec![2, 3, 0, 1])];
    let rows = case("gather by pairs", operands, |e, x| {
        let op = GatherNdOpIr::create(x[0].clone(), x[1].clone(), || id(e));
        base(e, B::GatherNd(op))
    });
    gather.into_iter().chain(select).chain([rows]).collect()
}

fn scatter(update: IndexingUpdateOp, at: Vec<i64>) -> Case {
    let operands = vec![Operand::wave(&[3, 4], 1), Operand::indices(&[2, 4], at), Operand::wave(&[2, 4], 2)];
    case(format!("scatter, {update:?}"), operands, move |e, x| {
        let op = ScatterOpIr::create(x[0].clone(), 0, x[1].clone(), x[2].clone(), update, || id(e));
        base(e, B::Scatter(op))
    })
}

fn scatter_nd(update: IndexingUpdateOp, at: Vec<i64>) -> Case {
    let operands = vec![Operand::wave(&[3, 4], 1), Operand::indices(&[2, 1], at), Operand::wave(&[2, 4], 2)];
    case(format!("scatter by rows, {update:?}"), operands, move |e, x| {
        let op = ScatterNdOpIr::create(x[0].clone(), x[1].clone(), x[2].clone(), update, || id(e));
        base(e, B::ScatterNd(op))
    })
}

fn select_assign(update: IndexingUpdateOp, at: Vec<i64>) -> Case {
    let operands = vec![Operand::wave(&[3, 4], 1), Operand::indices(&[2], at), Operand::wave(&[3, 2], 2)];
    case(format!("select and update, {update:?}"), operands, move |e, x| {
        let op = SelectAssignOpIr::create(x[0].clone(), 1, x[1].clone(), x[2].clone(), update, || id(e));
        base(e, B::SelectAssign(op))
    })
}

fn updates() -> Vec<Case> {
    vec![
        scatter(Add, vec![0, 2, 1, 2, 0, 1, 1, 0]), // the first column adds twice to one place
        scatter(Assign, vec![0, 2, 1, 2, 1, 1, 0, 0]),
        scatter_nd(Add, vec![2, 2]),
        scatter_nd(Assign, vec![2, 0]),
        select_assign(Add, vec![3, 3]),
        select_assign(Assign, vec![3, 1]),
    ]
}

fn masks() -> Vec<Case> {
    let mask = |shape: &[usize]| Operand::mask(shape, |i| i % 3 == 1);
    let fill = case("fill", vec![Operand::wave(&[3, 4], 1), mask(&[3, 4])], |e, x| {
        let op = MaskFillOpIr::create(x[0].clone(), x[1].clone(), ScalarIr::Float(5.0), || id(e));
        base(e, B::MaskFill(op))
    });
    let choose = [vec![3, 4], vec![0, 4]].map(|shape| {
        case("where", vec![Operand::wave(&shape, 1), mask(&shape), Operand::wave(&shape, 2)], |e, x| {
            let op = MaskWhereOpIr::create(x[0].clone(), x[1].clone(), x[2].clone(), || id(e));
            base(e, B::MaskWhere(op))
        })
    });
    let operands = vec![Operand::wave(&[3, 4], 1), mask(&[1, 4]), Operand::wave(&[3, 1], 2)];
    let wide = case("where, broadcasting", operands, |e, x| {
        let op = MaskWhereOpIr::create(x[0].clone(), x[1].clone(), x[2].clone(), || id(e));
        base(e, B::MaskWhere(op))
    });
    let wide_fill = case("fill, broadcasting", vec![Operand::wave(&[3, 1], 1), mask(&[1, 4])], |e, x| {
        let op = MaskFillOpIr::create(x[0].clone(), x[1].clone(), ScalarIr::Float(5.0), || id(e));
        base(e, B::MaskFill(op))
    });
    choose.into_iter().chain([fill, wide, wide_fill]).collect()
}

fn borders() -> Vec<Case> {
    [PadModeIr::Constant(ScalarIr::Float(7.0)), PadModeIr::Reflect, PadModeIr::Edge]
        .map(|mode| {
            case(format!("pad, {mode:?}"), vec![Operand::wave(&[3, 4], 1)], move |e, x| {
                let op = PadOpIr::create(x[0].clone(), vec![(2, 1), (0, 3)], mode, || id(e));
                numeric(e, N::Pad(op))
            })
        })
        .into()
}

/// Bilinear sampling with a border of zeros, at points inside and outside of the image.
fn sampling() -> Case {
    let grid = Operand::wave(&[2, 3, 3, 2], 2).held();
    case("grid sample", vec![Operand::wave(&[2, 2, 4, 5], 1), grid], |e, x| {
        let out = e.value([2, 2, 3, 3].into(), x[0].dtype);
        let options = burn::tensor::ops::GridSampleOptions::default().into();
        float(e, F::GridSample2d(GridSample2dOpIr { tensor: x[0].clone(), grid: x[1].clone(), options, out }))
    })
}

pub fn cases() -> Vec<Case> {
    [reads(), updates(), masks(), borders(), vec![sampling()]].into_iter().flatten().collect()
}

#[test]
fn every_case() {
    cases().iter().for_each(Case::check);
}

#[test]
fn other_updates_are_refused_by_name() {
    for update in [Mul, Min, Max] {
        for case in [scatter(update, vec![0; 8]), scatter_nd(update, vec![2, 0]), select_assign(update, vec![3, 1])] {
            let error = case.linearized().unwrap_err().to_string();
            assert!(error.contains("only updates that add or assign are differentiable"), "{error}");
        }
    }
}

#[test]
fn a_moving_grid_is_refused() {
    let operands = [Operand::wave(&[1, 1, 4, 5], 1), Operand::wave(&[1, 3, 3, 2], 2)];
    let (graph, _) = graph(&operands, &|e: &mut crate::emit::Emitter, x: &[burn_ir::TensorIr]| {
        let out = e.value([1, 1, 3, 3].into(), x[0].dtype);
        let options = burn::tensor::ops::GridSampleOptions::default().into();
        let sample = GridSample2dOpIr { tensor: x[0].clone(), grid: x[1].clone(), options, out };
        vec![float(e, F::GridSample2d(sample))]
    });
    let error = linearize(&graph, &graph.outputs).unwrap_err().to_string();
    assert!(error.contains("`Float::GridSample2d`") && error.contains("not in the grid"), "{error}");
}
