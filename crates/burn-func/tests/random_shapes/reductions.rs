//! Reductions, cumulated reductions and orders along random axes.
//!
//! Does not know: other operations.

use burn::tensor::{Tensor, activation as act};

use crate::Family;
use crate::case::{Case, Loss, probe};
use crate::draw::Draw;

pub const FAMILIES: &[Family] = &[
    ("reduction of all", whole),
    ("reduction along an axis", |draw| along(draw, ALONG)),
    ("reduction over axes", several),
    ("cumulated", |draw| along(draw, CUMULATED)),
    ("order", |draw| along(draw, ORDER)),
    ("softmax", |draw| along(draw, SOFTMAX)),
];

/// Name, interval of the argument, the shortest axis for which it is defined.
type Row = (&'static str, f64, f64, usize);

const WHOLE: &[Row] = &[
    ("sum", -1.2, 1.2, 0),
    ("mean", -1.2, 1.2, 1),
    ("prod", 0.6, 1.5, 0),
    ("max", -1.2, 1.2, 1),
    ("min", -1.2, 1.2, 1),
    ("max_abs", -1.2, 1.2, 1),
];

fn whole(draw: &mut Draw) -> Case {
    let (name, low, high, shortest) = draw.pick(WHOLE);
    let rank = draw.between(1, 4);
    let shape = sized(draw, rank, shortest);
    let operand = draw.operand(&shape, low, high);
    Case::new(name, vec![operand], ranked!(rank, whole_loss(name)))
}

/// A shape, with an axis of no length only if that is allowed.
fn sized(draw: &mut Draw, rank: usize, shortest: usize) -> Vec<usize> {
    let longest = [10, 6, 4, 3][rank - 1];
    if shortest == 0 { draw.shape_or_empty(rank, longest) } else { draw.shape(rank, longest) }
}

fn whole_loss<const D: usize>(name: &'static str) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        probe(match name {
            "sum" => x.sum(),
            "mean" => x.mean(),
            "prod" => x.prod(),
            "max" => x.max(),
            "min" => x.min(),
            _ => x.max_abs(),
        })
    })
}

const ALONG: &[Row] = &[
    ("sum_dim", -1.2, 1.2, 0),
    ("mean_dim", -1.2, 1.2, 1),
    ("prod_dim", 0.5, 1.5, 0),
    ("max_dim", -1.2, 1.2, 1),
    ("min_dim", -1.2, 1.2, 1),
    ("max_abs_dim", -1.2, 1.2, 1),
    ("var", -1.2, 1.2, 2),
    ("var_bias", -1.2, 1.2, 1),
    ("var_mean", -1.2, 1.2, 2),
    ("log-sum-exp", -1.2, 1.2, 1),
    ("norm", 0.2, 1.2, 1),
    ("max_dim_with_indices", -1.2, 1.2, 1),
    ("min_dim_with_indices", -1.2, 1.2, 1),
];

const CUMULATED: &[Row] = &[
    ("cumsum", -1.2, 1.2, 0),
    ("cumprod", 0.5, 1.5, 0),
    ("cumprod with signs", -1.2, 1.2, 0),
    ("cummax", -1.2, 1.2, 1),
    ("cummin", -1.2, 1.2, 1),
];

const ORDER: &[Row] = &[
    ("sort", -1.2, 1.2, 1),
    ("sort_descending", -1.2, 1.2, 1),
    ("sort_with_indices", -1.2, 1.2, 1),
    ("topk", -1.2, 1.2, 1),
    ("topk_with_indices", -1.2, 1.2, 1),
    ("median", -1.2, 1.2, 1),
    ("median_with_indices", -1.2, 1.2, 1),
];

const SOFTMAX: &[Row] = &[
    ("softmax", -1.5, 3.0, 1),
    ("softmin", -1.5, 3.0, 1),
    ("log_softmax", -1.5, 3.0, 1),
    ("quiet_softmax", -1.5, 3.0, 1),
    ("glu", -1.5, 1.5, 2),
];

fn along(draw: &mut Draw, table: &'static [Row]) -> Case {
    let (name, low, high, shortest) = draw.pick(table);
    let rank = draw.between(1, 4);
    let (mut shape, dim) = (sized(draw, rank, shortest), draw.below(rank));
    shape[dim] = shape[dim].max(shortest);
    if shape.contains(&0) && name.starts_with("cum") {
        // The backward pass flips, and Flex panics on flipped tensors of no element (burn-flex, src/ops/binary.rs), unless
        // it is the flipped axis that has none.
        shape.iter_mut().for_each(|n| *n = (*n).max(1));
        shape[dim] = 0;
    }
    if name == "glu" {
        shape[dim] = 2 * shape[dim].div_ceil(2);
    }
    let k = draw.between(1, shape[dim].max(1));
    let operand = draw.operand(&shape, low, high);
    Case::new(format!("{name}, axis {dim}, {k}"), vec![operand], ranked!(rank, along_loss(name, dim, k)))
}

fn along_loss<const D: usize>(name: &'static str, dim: usize, k: usize) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        probe(match name {
            "var_mean" => {
                let (variance, mean) = x.var_mean(dim);
                variance * mean.exp()
            }
            "log-sum-exp" => x.exp().sum_dim(dim).log(),
            "norm" => (x.clone() * x).sum_dim(dim).sqrt(),
            "max_dim_with_indices" => {
                let (top, at) = x.clone().max_dim_with_indices(dim);
                top * x.sin().gather(dim, at)
            }
            "min_dim_with_indices" => {
                let (top, at) = x.clone().min_dim_with_indices(dim);
                top * x.sin().gather(dim, at)
            }
            "sort_with_indices" => {
                let (sorted, at) = x.clone().sort_with_indices(dim);
                sorted * x.sin().gather(dim, at)
            }
            "topk_with_indices" => {
                let (top, at) = x.clone().topk_with_indices(k, dim);
                top * x.sin().gather(dim, at)
            }
            "median_with_indices" => {
                let (median, at) = x.clone().median_with_indices(dim);
                median * x.sin().gather(dim, at)
            }
            "topk" => x.topk(k, dim),
            _ => plainly(name, x, dim),
        })
    })
}

fn plainly<const D: usize>(name: &str, x: Tensor<D>, dim: usize) -> Tensor<D> {
    match name {
        "sum_dim" => x.sum_dim(dim),
        "mean_dim" => x.mean_dim(dim),
        "prod_dim" => x.prod_dim(dim),
        "max_dim" => x.max_dim(dim),
        "min_dim" => x.min_dim(dim),
        "max_abs_dim" => x.max_abs_dim(dim),
        "var" => x.var(dim),
        "var_bias" => x.var_bias(dim),
        "cumsum" => x.cumsum(dim),
        "cumprod" | "cumprod with signs" => x.cumprod(dim),
        "cummax" => x.cummax(dim),
        "cummin" => x.cummin(dim),
        "sort" => x.sort(dim),
        "sort_descending" => x.sort_descending(dim),
        "median" => x.median(dim),
        "softmax" => act::softmax(x, dim),
        "softmin" => act::softmin(x, dim),
        "log_softmax" => act::log_softmax(x, dim),
        "quiet_softmax" => act::quiet_softmax(x, dim),
        "glu" => act::glu(x, dim),
        _ => unreachable!("{name} is in no table"),
    }
}

const SEVERAL: &[Row] = &[
    ("sum_dims", -1.2, 1.2, 0),
    ("mean_dims", -1.2, 1.2, 1),
    ("prod_dims", 0.6, 1.5, 0),
    ("max_dims", -1.2, 1.2, 1),
    ("min_dims", -1.2, 1.2, 1),
    ("max_abs_dims", -1.2, 1.2, 1),
];

fn several(draw: &mut Draw) -> Case {
    let (name, low, high, shortest) = draw.pick(SEVERAL);
    let rank = draw.between(1, 4);
    let (shape, dims) = (sized(draw, rank, shortest), draw.some_axes(rank));
    let operand = draw.operand(&shape, low, high);
    Case::new(format!("{name}, axes {dims:?}"), vec![operand], ranked!(rank, several_loss(name, dims)))
}

fn several_loss<const D: usize>(name: &'static str, dims: Vec<usize>) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        probe(match name {
            "sum_dims" => x.sum_dims(&dims),
            "mean_dims" => x.mean_dims(&dims),
            "prod_dims" => x.prod_dims(&dims),
            "max_dims" => x.max_dims(&dims),
            "min_dims" => x.min_dims(&dims),
            _ => x.max_abs_dims(&dims),
        })
    })
}
