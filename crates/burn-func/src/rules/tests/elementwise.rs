//! Functions of one and two variables.

use burn_ir::{BinaryOpIr, ClampOpIr, FloatOperationIr as F, NumericOperationIr as N, ScalarIr, ScalarOpIr, UnaryOpIr};

use super::case::{Case, case, float, id, numeric};
use super::harness::{Operand, wave};

const SHAPES: [&[usize]; 4] = [&[3, 4], &[7], &[2, 1, 3], &[0, 4]];

/// Numbers within `radius` of `centre`.
pub fn around(shape: &[usize], centre: f64, radius: f64, salt: usize) -> Operand {
    Operand::active(shape, move |i| centre + radius * wave(i, salt))
}

/// Numbers of both signs and at least a tenth.
pub fn off_zero(shape: &[usize], salt: usize) -> Operand {
    Operand::active(shape, move |i| wave(i, salt) + 0.1 * wave(i, salt).signum())
}

type Unary = fn(UnaryOpIr) -> F;

fn functions_of_one_variable() -> Vec<Case> {
    let kinds: [(Unary, f64, f64); 18] = [
        (F::Exp, 0.0, 1.0),
        (F::Log, 1.5, 1.0),
        (F::Log1p, 0.5, 1.0),
        (F::Erf, 0.0, 2.0),
        (F::Sqrt, 1.5, 1.0),
        (F::Recip, -1.5, 1.0),
        (F::Sin, 1.0, 2.0),
        (F::Cos, 1.0, 2.0),
        (F::Tan, 0.0, 1.0),
        (F::Sinh, 0.0, 2.0),
        (F::Cosh, 0.0, 2.0),
        (F::Tanh, 0.0, 2.0),
        (F::ArcSin, 0.0, 0.8),
        (F::ArcCos, 0.0, 0.8),
        (F::ArcTan, 0.0, 2.0),
        (F::ArcSinh, 0.0, 2.0),
        (F::ArcCosh, 3.0, 1.5),
        (F::ArcTanh, 0.0, 0.8),
    ];
    let of = |&(kind, centre, radius): &(Unary, f64, f64)| {
        SHAPES.map(|shape| {
            case(format!("unary around {centre}"), vec![around(shape, centre, radius, 3)], move |e, x| {
                let op = kind(UnaryOpIr::create(x[0].clone(), || id(e)));
                float(e, op)
            })
        })
    };
    kinds.iter().flat_map(of).collect()
}

fn numeric_functions() -> Vec<Case> {
    let unary: [fn(UnaryOpIr) -> N; 2] = [N::Abs, N::Neg];
    let scalar: [fn(ScalarOpIr) -> N; 7] = [
        N::AddScalar,
        N::SubScalar,
        N::MulScalar,
        N::DivScalar,
        N::ClampMin,
        N::ClampMax,
        // Bounds below and above every element: all or nothing is cut off.
        |op| N::Clamp(ClampOpIr { tensor: op.lhs, min: ScalarIr::Float(-0.4), max: op.rhs, out: op.out }),
    ];
    let unary = unary.into_iter().flat_map(|kind| {
        SHAPES.map(|shape| {
            case("numeric unary", vec![off_zero(shape, 1)], move |e, x| {
                let op = kind(UnaryOpIr::create(x[0].clone(), || id(e)));
                numeric(e, op)
            })
        })
    });
    let scalar = scalar.into_iter().flat_map(|kind| {
        SHAPES.map(|shape| {
            case("numeric scalar", vec![off_zero(shape, 1)], move |e, x| {
                let op = kind(ScalarOpIr::create(x[0].clone(), ScalarIr::Float(0.31), || id(e)));
                numeric(e, op)
            })
        })
    });
    // Between once and twice the divisor.
    let rem = case("remainder by a number", vec![around(&[3, 4], 1.4, 0.3, 1)], |e, x| {
        let op = ScalarOpIr::create(x[0].clone(), ScalarIr::Float(0.9), || id(e));
        numeric(e, N::RemScalar(op))
    });
    unary.chain(scalar).chain([rem]).collect()
}

fn powers() -> Vec<Case> {
    let real = [-1.5, -1.0, 0.0, 0.5, 1.0, 2.0, 2.5, 3.0].map(|power| {
        case(format!("powf {power}"), vec![around(&[3, 4], 1.5, 1.0, 2)], move |e, x| e.powf_scalar(&x[0], power))
    });
    let whole = [-3, -2, -1, 0, 1, 2, 3, 4].map(|power| {
        case(format!("powi {power}"), vec![off_zero(&[5], 2)], move |e, x| {
            let op = ScalarOpIr::create(x[0].clone(), ScalarIr::Int(power), || id(e));
            numeric(e, N::PowiScalar(op))
        })
    });
    let exponents = Operand::indices(&[1, 4], vec![0, 1, 2, 3]);
    let by_tensor = case("powi by a tensor", vec![off_zero(&[3, 4], 2), exponents], |e, x| {
        let (lhs, rhs) = (x[0].clone(), x[1].clone());
        let out = e.like(&lhs);
        numeric(e, N::Powi(BinaryOpIr { lhs, rhs, out }))
    });
    real.into_iter().chain(whole).chain([by_tensor]).collect()
}

fn functions_of_two_variables() -> Vec<Case> {
    let pairs: [(&[usize], &[usize]); 5] =
        [(&[3, 4], &[3, 4]), (&[3, 4], &[1, 4]), (&[2, 1, 3], &[1, 4, 1]), (&[5], &[1]), (&[0, 4], &[1, 4])];
    let numeric_kinds: [fn(BinaryOpIr) -> N; 5] = [N::Add, N::Sub, N::Mul, N::Div, N::Rem];
    let float_kinds: [fn(BinaryOpIr) -> F; 3] = [F::Powf, F::ArcTan2, F::Hypot];
    // No quotient of these comes near a whole number, where the remainder jumps.
    let operands = |(a, b): (&[usize], &[usize])| vec![around(a, 1.4, 0.3, 1), around(b, 0.75, 0.05, 2)];
    let numeric_cases = numeric_kinds.into_iter().flat_map(|kind| {
        pairs.map(|pair| {
            case("numeric binary", operands(pair), move |e, x| {
                let op = kind(BinaryOpIr::create(x[0].clone(), x[1].clone(), || id(e)));
                numeric(e, op)
            })
        })
    });
    let float_cases = float_kinds.into_iter().flat_map(|kind| {
        pairs.map(|pair| {
            case("float binary", operands(pair), move |e, x| {
                let op = kind(BinaryOpIr::create(x[0].clone(), x[1].clone(), || id(e)));
                float(e, op)
            })
        })
    });
    let twice = case("a tensor with itself", vec![around(&[3], 1.0, 0.5, 1)], |e, x| {
        let quotient = e.div(&x[0], &x[0]);
        let power = e.powf(&x[0], &x[0]);
        e.add(&quotient, &power)
    });
    numeric_cases.chain(float_cases).chain([twice]).collect()
}

pub fn cases() -> Vec<Case> {
    [functions_of_one_variable(), numeric_functions(), powers(), functions_of_two_variables()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_case() {
    cases().iter().for_each(Case::check);
}
