//! Functions of one tensor, element by element.
//!
//! Does not know: other operations.

use burn::tensor::Tensor;
use burn::tensor::activation as act;

use crate::Family;
use crate::case::{Case, Loss, probe};
use crate::draw::Draw;

pub const FAMILIES: &[Family] = &[
    ("unary function", |draw| smooth(draw, FUNCTIONS)),
    ("activation", |draw| smooth(draw, ACTIVATIONS)),
    ("step function", |draw| smooth(draw, STEPS)),
    ("triangle", triangle),
];

/// Name, interval of the argument, interval of the attribute.
type Row = (&'static str, f64, f64, f64, f64);

const FUNCTIONS: &[Row] = &[
    ("neg", -1.2, 1.2, 0.0, 1.0),
    ("add_scalar", -1.2, 1.2, -2.0, 2.0),
    ("sub_scalar", -1.2, 1.2, -2.0, 2.0),
    ("mul_scalar", -1.2, 1.2, -2.0, 2.0),
    ("div_scalar", -1.2, 1.2, 0.4, 3.0),
    ("exp", -1.5, 1.2, 0.0, 1.0),
    ("log", 0.3, 2.5, 0.0, 1.0),
    ("log1p", -0.6, 2.0, 0.0, 1.0),
    ("sqrt", 0.3, 2.5, 0.0, 1.0),
    ("recip", 0.4, 2.5, 0.0, 1.0),
    ("square", -1.5, 1.5, 0.0, 1.0),
    ("powf_scalar", 0.3, 2.0, -2.5, 3.5),
    ("powi_scalar 2", -1.2, 1.2, 0.0, 1.0),
    ("powi_scalar 3", -1.2, 1.2, 0.0, 1.0),
    ("powi_scalar 5", -1.2, 1.2, 0.0, 1.0),
    ("powi_scalar -2", 0.4, 2.0, 0.0, 1.0),
    ("erf", -1.5, 1.5, 0.0, 1.0),
    ("sin", -1.5, 3.0, 0.0, 1.0),
    ("cos", -1.5, 3.0, 0.0, 1.0),
    ("tan", -1.1, 1.1, 0.0, 1.0),
    ("asin", -0.8, 0.8, 0.0, 1.0),
    ("acos", -0.8, 0.8, 0.0, 1.0),
    ("atan", -1.5, 3.0, 0.0, 1.0),
    ("sinh", -1.5, 1.5, 0.0, 1.0),
    ("cosh", -1.5, 1.5, 0.0, 1.0),
    ("tanh", -1.5, 2.0, 0.0, 1.0),
    ("asinh", -1.5, 3.0, 0.0, 1.0),
    ("acosh", 1.2, 3.0, 0.0, 1.0),
    ("atanh", -0.8, 0.8, 0.0, 1.0),
    ("deg2rad", -1.2, 1.2, 0.0, 1.0),
];

fn function<const D: usize>(name: &str, x: Tensor<D>, s: f64) -> Tensor<D> {
    match name {
        "neg" => -x,
        "add_scalar" => x + s,
        "sub_scalar" => x - s,
        "mul_scalar" => x * s,
        "div_scalar" => x / s,
        "exp" => x.exp(),
        "log" => x.log(),
        "log1p" => x.log1p(),
        "sqrt" => x.sqrt(),
        "recip" => x.recip(),
        "square" => x.square(),
        "powf_scalar" => x.powf_scalar(s),
        "powi_scalar 2" => x.powi_scalar(2),
        "powi_scalar 3" => x.powi_scalar(3),
        "powi_scalar 5" => x.powi_scalar(5),
        "powi_scalar -2" => x.powi_scalar(-2),
        "erf" => x.erf(),
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tan" => x.tan(),
        "asin" => x.asin(),
        "acos" => x.acos(),
        "atan" => x.atan(),
        "sinh" => x.sinh(),
        "cosh" => x.cosh(),
        "tanh" => x.tanh(),
        "asinh" => x.asinh(),
        "acosh" => x.acosh(),
        "atanh" => x.atanh(),
        "deg2rad" => x.deg2rad(),
        _ => activation(name, x, s),
    }
}

const ACTIVATIONS: &[Row] = &[
    ("relu", -1.5, 1.5, 0.0, 1.0),
    ("leaky_relu", -1.5, 1.5, 0.0, 0.9),
    ("hardtanh", -1.5, 1.5, 0.1, 0.9),
    ("tanhshrink", -1.5, 1.5, 0.0, 1.0),
    ("gelu", -1.5, 1.5, 0.0, 1.0),
    ("gelu_approximate", -1.5, 1.5, 0.0, 1.0),
    ("softplus", -1.5, 1.5, 0.5, 2.0),
    ("sigmoid", -1.5, 1.5, 0.0, 1.0),
    ("hard_sigmoid", -1.5, 1.5, 0.2, 0.8),
    ("log_sigmoid", -1.5, 1.5, 0.0, 1.0),
    ("silu", -1.5, 1.5, 0.0, 1.0),
    ("hard_swish", -1.5, 1.5, 0.0, 1.0),
    ("mish", -1.5, 1.5, 0.0, 1.0),
    ("elu", -1.5, 1.5, 0.3, 2.0),
    ("celu", -1.5, 1.5, 0.3, 2.0),
    ("selu", -1.5, 1.5, 0.0, 1.0),
    ("thresholded_relu", -1.5, 1.5, 0.1, 0.9),
    ("softsign", -1.5, 1.5, 0.0, 1.0),
    ("hard_shrink", -1.5, 1.5, 0.1, 0.9),
    ("soft_shrink", -1.5, 1.5, 0.1, 0.9),
    ("shrink", -1.5, 1.5, 0.1, 0.9),
];

fn activation<const D: usize>(name: &str, x: Tensor<D>, s: f64) -> Tensor<D> {
    match name {
        "relu" => act::relu(x),
        "leaky_relu" => act::leaky_relu(x, s),
        "hardtanh" => act::hardtanh(x, -s, 1.25 * s),
        "tanhshrink" => act::tanhshrink(x),
        "gelu" => act::gelu(x),
        "gelu_approximate" => act::gelu_approximate(x),
        "softplus" => act::softplus(x, s),
        "sigmoid" => act::sigmoid(x),
        "hard_sigmoid" => act::hard_sigmoid(x, s, 0.5),
        "log_sigmoid" => act::log_sigmoid(x),
        "silu" => act::silu(x),
        "hard_swish" => act::hard_swish(x),
        "mish" => act::mish(x),
        "elu" => act::elu(x, s),
        "celu" => act::celu(x, s),
        "selu" => act::selu(x),
        "thresholded_relu" => act::thresholded_relu(x, s),
        "softsign" => act::softsign(x),
        "hard_shrink" => act::hard_shrink(x, s),
        "soft_shrink" => act::soft_shrink(x, s),
        "shrink" => act::shrink(x, s, 0.25 * s),
        _ => step(name, x, s),
    }
}

const STEPS: &[Row] = &[
    ("abs", -1.2, 1.2, 0.0, 1.0),
    ("clamp", -1.2, 1.2, 0.1, 0.9),
    ("clamp_min", -1.2, 1.2, -0.9, 0.9),
    ("clamp_max", -1.2, 1.2, -0.9, 0.9),
    ("remainder_scalar", -1.5, 3.0, 0.4, 2.0),
    ("fmod_scalar", -1.5, 3.0, 0.4, 2.0),
    ("round", -1.5, 3.0, 0.0, 1.0),
    ("floor", -1.5, 3.0, 0.0, 1.0),
    ("ceil", -1.5, 3.0, 0.0, 1.0),
    ("trunc", -1.5, 3.0, 0.0, 1.0),
    ("sign", -1.2, 1.2, 0.0, 1.0),
    ("mask_fill by comparison", -1.2, 1.2, -0.9, 0.9),
    ("mask_where by comparison", -1.2, 1.2, -0.9, 0.9),
];

fn step<const D: usize>(name: &str, x: Tensor<D>, s: f64) -> Tensor<D> {
    match name {
        "abs" => x.abs(),
        "clamp" => x.clamp(-s, 0.75 * s),
        "clamp_min" => x.clamp_min(s),
        "clamp_max" => x.clamp_max(s),
        "remainder_scalar" => x.remainder_scalar(s),
        "fmod_scalar" => x.fmod_scalar(s as f32),
        "round" => x.clone().round() * x,
        "floor" => x.clone().floor() * x,
        "ceil" => x.clone().ceil() * x,
        "trunc" => x.clone().trunc() * x,
        "sign" => x.clone().sign() * x.exp(),
        "mask_fill by comparison" => x.clone().mask_fill(x.greater_scalar(s), s),
        "mask_where by comparison" => x.clone().mask_where(x.clone().lower_scalar(s), x.sin()),
        _ => unreachable!("{name} is in no table"),
    }
}

fn smooth(draw: &mut Draw, table: &'static [Row]) -> Case {
    let (name, low, high, least, most) = draw.pick(table);
    let (rank, s) = (draw.between(1, 4), draw.number(least, most));
    let shape = draw.shape_or_empty(rank, [12, 6, 4, 3][rank - 1]);
    let operand = draw.operand(&shape, low, high);
    // Burn computes these through single precision.
    let single = name.starts_with("hard_s") && name != "hard_shrink";
    Case::new(format!("{name}, {s}"), vec![operand], ranked!(rank, smooth_loss(name, s))).single(single)
}

fn smooth_loss<const D: usize>(name: &'static str, s: f64) -> Loss {
    Box::new(move |args| probe(function(name, args.at::<D>(0), s)))
}

fn triangle(draw: &mut Draw) -> Case {
    let rank = draw.between(2, 4);
    // Burn makes the mask by a reshape, in which zero does not mean zero (burn-tensor, src/tensor/api/numeric.rs).
    let (shape, lower) = (draw.shape(rank, 4), draw.once_in(2));
    let diagonal = draw.between(0, 6) as i64 - 3;
    let name = if lower { "tril" } else { "triu" };
    Case::new(format!("{name}, {diagonal}"), vec![draw.plain(&shape)], ranked!(rank, triangle_loss(lower, diagonal)))
}

fn triangle_loss<const D: usize>(lower: bool, diagonal: i64) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        probe(if lower { x.tril(diagonal) } else { x.triu(diagonal) })
    })
}
