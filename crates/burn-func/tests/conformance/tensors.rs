//! Compositions of tensor operations: layout, indexing, reductions, order, products.
//!
//! Does not know: layers.

use burn::module::{Module, Param};
use burn::tensor::activation::{softmax, softplus};
use burn::tensor::ops::PadMode;
use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor, TensorData, s};

use crate::ladder::Found;
use crate::site::{Site, probe};
use crate::table::{Case, case};

/// Three parameters and no structure.
#[derive(Module, Debug)]
pub struct Free {
    a: Param<Tensor<2>>,
    b: Param<Tensor<2>>,
    c: Param<Tensor<1>>,
}

type F = fn(Tensor<2>, Tensor<2>, Tensor<1>) -> Tensor<1>;

/// A function of `a` and `b`, both `[4, 6]`, and `c`, `[6]`.
fn free(at: &Site, f: F) -> Found {
    let model = Free { a: at.param([4, 6], 3), b: at.param([4, 6], 7), c: at.param([6], 11) };
    at.ladder(model, (), |model, ()| f(model.a.val(), model.b.val(), model.c.val()))
}

fn tensors(name: &'static str, f: F) -> Case {
    case(name, move |at| free(at, f))
}

/// An integer constant of the closure.
fn list<const D: usize>(like: &Tensor<2>, shape: [usize; D], values: &[i64]) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &like.device())
}

/// A mask made in the closure: every third place.
fn thirds(like: &Tensor<2>) -> Tensor<2, Bool> {
    let values: Vec<bool> = (0..24).map(|i| i % 3 == 1).collect();
    Tensor::from_data(TensorData::new(values, [4, 6]), &like.device())
}

pub fn cases() -> Vec<Case> {
    let mut cases = layout();
    cases.extend(indexing());
    cases.extend(reductions());
    cases.extend(elementwise());
    cases.extend(products());
    cases
}

fn layout() -> Vec<Case> {
    vec![
        tensors("transpose, permute, flip", |a, b, _| {
            let wide: Tensor<3> = (a * b.clone()).reshape([2, 2, 6]).permute([2, 0, 1]).flip([0, 2]);
            probe(wide.swap_dims(0, 1).sin() * b.transpose().reshape([2, 6, 2]))
        })
        .short(),
        tensors("slice with steps", |a, b, c| {
            let odd = a.clone().slice(s![.., 1..;2]);
            let back = b.slice(s![..;-1, ..]).slice(s![1..3, 0..5;2]);
            probe(Tensor::cat(vec![odd, back * a.slice(s![0..2, -3..])], 0) * c.slice(s![..3]).unsqueeze())
        })
        .short(),
        tensors("cat, stack, split, chunk", |a, b, _| {
            let stacked: Tensor<3> = Tensor::stack(vec![a.clone(), b.clone() * a.clone()], 1);
            let parts = a.split_with_sizes(vec![1, 2, 3], 1);
            let chunks = b.chunk(2, 0);
            probe(stacked) + probe(parts[2].clone() * chunks[0].clone().reshape([4, 3]).exp()) + probe(parts[1].clone())
        }),
        tensors("axes of size one, out of order", |a, b, c| {
            let y: Tensor<4> = b.reshape([2, 1, 3, 4]);
            let x: Tensor<4> = a.clone().reshape([2, 3, 4, 1]).permute([0, 3, 1, 2]);
            let tall: Tensor<4> = a.clone().reshape([4, 1, 6, 1]).permute([1, 2, 3, 0]);
            let best = a.clone().gather(1, list(&a, [4, 1], &[3, 0, 5, 3]));
            let row = a.clone().gather(0, list(&a, [1, 6], &[0, 2, 1, 3, 3, 0]));
            probe((x.clone() - y.clone()).exp() * x.swap_dims(2, 3).swap_dims(2, 3) + y)
                + probe(tall.sin() * c.clone().reshape([1, 6, 1, 1]) - 0.3)
                + probe(best.sin() * a.clone() + c.unsqueeze::<2>() * row * a)
        })
        .short(),
        tensors("repeat, expand, size one", |a, b, c| {
            let row = c.clone().reshape([1, 6]).expand([4, 6]) * a.clone();
            let column = b.slice(s![.., 0..1]).repeat_dim(1, 6);
            let one = a.slice(s![0..1, 0..1]).expand([4, 6]);
            probe(row.sin() * column + one.exp()) + probe(c.unsqueeze::<2>().repeat(&[2, 3]))
        })
        .short(),
        tensors("broadcast", |a, b, c| {
            let outer = a.clone().slice(s![.., 0..1]) * b.slice(s![0..1, ..]) + c.reshape([1, 6]);
            probe(outer / (a.powi_scalar(2) + 1.0))
        })
        .short(),
        tensors("pad with a constant", |a, b, _| {
            probe(a.pad([(1, 2), (0, 1)], PadMode::Constant(0.5)).sin())
                + probe(b.pad((1, 1, 0, 2), PadMode::Constant(0.0)).exp())
        })
        .short(),
        tensors("pad by reflection and edge", |a, b, _| {
            probe(a.pad([(1, 1), (2, 1)], PadMode::Reflect).sin()) + probe(b.pad([(1, 0), (0, 2)], PadMode::Edge).exp())
        }),
        tensors("roll, squeeze, narrow", |a, b, _| {
            let rolled = a.clone().roll_dim(2, 1) * b.roll(&[1, 3], &[0, 1]);
            let row: Tensor<1> = a.narrow(0, 1, 1).squeeze_dim(0);
            probe(rolled) + probe(row.exp())
        }),
        tensors("tril, triu", |a, b, _| {
            let square = a.matmul(b.transpose());
            probe(square.clone().tril(0).exp()) + probe(square.triu(1).sin())
        }),
        tensors("unfold", |a, b, _| {
            let windows: Tensor<3> = (a * b).unfold(1, 3, 2);
            probe(windows.sin())
        })
        .short(),
    ]
}

fn indexing() -> Vec<Case> {
    vec![
        tensors("select", |a, b, c| {
            let rows = list(&a, [5], &[3, 0, 0, 2, 3]);
            let picked = a.clone().select(0, rows.clone()) * b.select(0, rows);
            probe(picked * c.select(0, list(&a, [6], &[5, 5, 1, 0, 2, 1])).unsqueeze())
        })
        .short(),
        tensors("gather", |a, b, _| {
            let indices = list(&a, [4, 3], &[0, 5, 5, 1, 2, 3, 4, 4, 4, 0, 3, 1]);
            probe(a.gather(1, indices.clone()).exp() * b.sin().gather(1, indices))
        })
        .short(),
        tensors("scatter", |a, b, _| {
            let indices = list(&a, [2, 6], &[0, 3, 1, 1, 2, 0, 0, 3, 2, 1, 3, 0]);
            let values = (b.clone() * a.clone()).slice(s![0..2, ..]);
            probe(a.scatter(0, indices, values, IndexingUpdateOp::Add).sin() * b)
        })
        .short(),
        tensors("select_assign", |a, b, _| {
            let rows = list(&a, [3], &[3, 1, 3]);
            let values = b.clone().slice(s![0..3, ..]).exp();
            probe(a.select_assign(0, rows, values, IndexingUpdateOp::Add).sin() * b)
        })
        .short(),
        tensors("slice_assign, slice_fill", |a, b, _| {
            let part = b.clone().slice(s![1..3, 0..2]) * 2.0;
            let assigned = (a * b.clone()).slice_assign(s![0..2, 3..5], part.exp());
            probe(assigned.sin()) + probe(b.slice_fill(s![.., 2..4], 0.5).exp())
        })
        .short(),
        tensors("slice_assign with steps", |a, b, _| {
            let part = b.clone().slice(s![0..2, 0..3]).exp();
            probe((a * b).slice_assign(s![0..4;2, 1..6;2], part).sin())
        }),
        tensors("gather_nd, scatter_nd", |a, b, _| {
            let at = list(&a, [3, 2], &[0, 1, 3, 5, 2, 2]);
            let picked: Tensor<1> = a.clone().gather_nd(at.clone());
            let back = b.scatter_nd(at, picked.clone().exp(), IndexingUpdateOp::Add);
            probe(back.sin() * a) + probe(picked)
        })
        .short(),
        tensors("mask_where, mask_fill", |a, b, _| {
            let mask = thirds(&a);
            let mixed = (a.clone() * b.clone()).mask_where(mask.clone(), b.exp());
            probe(mixed.sin()) + probe(a.mask_fill(mask, 0.25).exp())
        })
        .short(),
        tensors("mask by comparison", |a, b, _| {
            let larger = a.clone().greater(b.clone());
            probe(a.clone().sin().mask_where(larger, b.clone().exp()) * a.max_pair(b))
        }),
    ]
}

fn reductions() -> Vec<Case> {
    vec![
        tensors("sums and means", |a, b, c| {
            let rows = (a.clone() * b.clone()).sum_dim(1) * a.clone().mean_dim(0);
            let all: Tensor<3> = (a * c.unsqueeze()).sin().reshape([2, 2, 6]);
            probe(rows) + b.exp().mean() * probe(all.clone().sum_dims(&[0, 2])) + all.exp().mean_dims(&[0, 1]).sum()
        })
        .short(),
        tensors("variance", |a, b, _| {
            let (variance, mean) = a.clone().var_mean(1);
            probe((a - mean) / (variance + 0.1).sqrt()) + probe(b.clone().var_bias(0)) + probe(b.cov(1, 1))
        }),
        tensors("logsumexp", |a, b, _| {
            let top = a.clone().max_dim(1);
            let lse = (a.clone() - top.clone()).exp().sum_dim(1).log() + top;
            probe(lse * b.clone().sum_dim(1)) + probe((b - a).exp().sum_dim(0).log())
        })
        .short(),
        tensors("max_dim, min_dim", |a, b, _| {
            let (top, at) = (a.clone() * b.clone()).max_dim_with_indices(1);
            probe(top.exp() * b.clone().min_dim(1))
                + probe(a.clone().gather(1, at))
                + probe(b.sin().max_dim(0) * a.min_dim(0))
        })
        .short(),
        tensors("max, min, max_abs", |a, b, _| {
            (a.clone() * b.clone()).max().exp() * b.clone().sin().min()
                + a.clone().max_abs()
                + probe(a * b.max_abs_dim(1))
        }),
        tensors("prod", |a, b, _| {
            probe(a.clone().prod_dim(0)) + (b.clone() * 0.5 + 1.2).prod() + probe(b.prod_dim(1) * a.sum_dim(1))
        })
        .short(),
        tensors("cumsum, cumprod", |a, b, _| {
            probe(a.clone().cumsum(0).sin() * b.clone()) + probe((b + 1.5).cumprod(1) * a)
        })
        .short(),
        tensors("cummax, cummin", |a, b, _| probe(a.clone().cummax(1).sin() * b.clone()) + probe(b.cummin(0) * a))
            .short(),
        tensors("sort", |a, b, _| probe((a.clone() * b.clone()).sort(1).exp()) + probe(b.sort_descending(0) * a))
            .short(),
        tensors("sort with indices", |a, b, _| {
            let (sorted, order) = a.clone().sort_with_indices(0);
            probe(sorted.exp() * b.gather(0, order))
        }),
        tensors("topk", |a, b, _| {
            let (top, at) = (a * b.clone()).topk_with_indices(3, 1);
            probe(top.exp() * b.clone().gather(1, at)) + probe(b.topk(2, 0))
        })
        .short(),
        tensors("median", |a, b, _| probe(a.median(1).exp() * b.median(1))),
        tensors("norms", |a, b, c| {
            let two = (a.clone() * a.clone()).sum_dim(1).sqrt();
            let one = b.clone().abs().sum_dim(1);
            let three = b.abs().powf_scalar(3.0).sum_dim(1).powf_scalar(1.0 / 3.0);
            probe(a / two * one + three) + (c.clone() * c).sum().sqrt()
        }),
    ]
}

fn elementwise() -> Vec<Case> {
    vec![
        tensors("exp, log, sqrt, log1p, recip", |a, b, _| {
            let y = (a.clone() * b.clone() + 1.5).log() * a.exp();
            probe((b.clone() + 2.0).sqrt() * y + (b.clone() + 1.3).log1p() + (b + 3.0).recip())
        })
        .short(),
        tensors("trigonometry", |a, b, _| probe(a.clone().sin() * b.clone().cos() + (a * 0.5).tan() * b)),
        tensors("inverse trigonometry", |a, b, _| {
            probe((a.clone() * 0.7).asin() * b.clone() + (b.clone() * 0.7).acos() * a.clone() + (a * b).atan())
        })
        .short(),
        tensors("hyperbolic", |a, b, _| {
            probe(a.clone().sinh() * b.clone() + b.clone().cosh() * a.clone().tanh() + (a * b).cosh())
        })
        .short(),
        tensors("inverse hyperbolic", |a, b, _| {
            probe(a.clone().asinh() * b.clone() + (b.clone() + 2.5).acosh() * a.clone() + (a * 0.7).atanh() * b)
        }),
        tensors("atan2, hypot", |a, b, _| probe(a.clone().atan2(b.clone() + 2.0) * b.clone() + a.hypot(b + 1.5)))
            .short(),
        tensors("erf", |a, b, _| probe((a * b.clone() * 2.0).erf() * b)).short(),
        tensors("powf", |a, b, _| {
            probe(
                (a.clone() + 1.5).powf(b.clone())
                    + (b.clone() + 1.5).powf_scalar(2.5) * a.clone()
                    + (b + 2.0).powf_scalar(-1.5) * a,
            )
        })
        .short(),
        tensors("powi", |a, b, _| {
            probe(a.clone().powi_scalar(3) * b.clone() + b.clone().powi_scalar(2) + (a + 2.0).powi_scalar(-2) * b)
        })
        .short(),
        tensors("clamp", |a, b, _| {
            probe(
                a.clone().clamp(-0.52, 0.48) * b.clone()
                    + b.clone().clamp_min(-0.31) * a.clone()
                    + (a * b.clone()).clamp_max(0.21) * b,
            )
        })
        .short(),
        tensors("abs, sign, floor", |a, b, _| {
            probe(
                a.clone().abs() * b.clone() + a.clone().sign() * b.clone().exp() + (a * 3.0).floor() * b.powi_scalar(2),
            )
        }),
        tensors("remainder", |a, b, _| {
            probe((a.clone() * 3.0).remainder_scalar(0.7).exp() * b.clone() + (b.clone() * 2.0).remainder(a + 2.5) * b)
        })
        .short(),
        tensors("steps and indices of values", |a, b, _| {
            let order = a.clone().argsort(1);
            let best = (a.clone().argmax(1) + b.clone().argmin(1)).clamp_max(5);
            let steps = (a.clone() * 3.0).round() + (b.clone() * 3.0).ceil() + (a.clone() * 2.0).trunc();
            let far = (b.clone() * 2.5).int().float().not_equal_scalar(0.0);
            let known = a.clone().is_nan().bool_not().bool_and(b.clone().is_inf().bool_not());
            let picked = b.clone().gather(1, order).mask_fill(far, 0.3).exp() * steps;
            probe(picked.mask_where(known.bool_not(), b.clone())) + probe(a.gather(1, best).sin() * b)
        }),
        tensors("division", |a, b, c| {
            probe(
                a.clone() / (b.clone() + 2.0) * (c.clone() + 1.5).unsqueeze::<2>()
                    - (b / a.exp()) / 4.0 * c.unsqueeze(),
            )
        }),
        tensors("max_pair, min_pair", |a, b, _| {
            probe(a.clone().max_pair(b.clone()).exp() * a.clone().min_pair(b * 0.9 + 0.01))
        }),
    ]
}

fn products() -> Vec<Case> {
    vec![
        tensors("matmul chain", |a, b, c| {
            let square = a.clone().matmul(b.clone().transpose());
            probe(square.clone().matmul(square.tanh()).matmul(a * c.unsqueeze()).matmul(b.transpose()))
        })
        .short(),
        tensors("matmul with broadcast batches", |a, b, _| {
            let many: Tensor<3> = a.clone().reshape([2, 2, 6]);
            let one: Tensor<3> = b.clone().transpose().reshape([1, 6, 4]);
            let four: Tensor<4> = a.reshape([2, 1, 2, 6]);
            let other: Tensor<4> = b.reshape([1, 2, 6, 2]);
            probe(many.matmul(one).sin()) + probe(four.matmul(other).tanh())
        })
        .short(),
        tensors("vectors as matrices", |a, _, c| {
            let column: Tensor<2> = c.clone().reshape([6, 1]);
            let row: Tensor<2> = c.clone().reshape([1, 6]);
            let quadratic = row.clone().matmul(a.clone().transpose()).matmul(a.clone()).matmul(column.clone());
            probe(quadratic) + probe(column.matmul(row).exp()) + c.clone().dot(c.sin()) + probe(a)
        }),
        tensors("cross product", |a, b, _| {
            let left: Tensor<2> = a.reshape([8, 3]);
            let right: Tensor<2> = b.reshape([8, 3]);
            probe(left.clone().cross(right.clone().sin(), 1) * (left + right))
        })
        .short(),
        tensors("bilinear attention by hand", |a, b, c| {
            let weights = softmax(a.clone().matmul(b.clone().transpose()) / 2.0, 1);
            probe(weights.matmul(b * c.unsqueeze()) + softplus(a, 2.0))
        })
        .short(),
        tensors("einsum ijk,jl->ikl by hand", |a, b, _| {
            let left: Tensor<3> = a.reshape([2, 3, 4]);
            let right: Tensor<2> = b.reshape([3, 8]);
            let product = left.permute([0, 2, 1]).reshape([8, 3]).matmul(right);
            probe(product.reshape([2, 4, 8]).tanh())
        }),
        tensors("power iteration", |a, _, c| {
            let square = a.clone().transpose().matmul(a);
            let mut v: Tensor<2> = (c + 2.0).reshape([6, 1]);
            for _ in 0..4 {
                v = square.clone().matmul(v);
                v = v.clone() / (v.clone() * v).sum().sqrt().unsqueeze();
            }
            probe(v.clone().transpose().matmul(square).matmul(v))
        }),
        tensors("a parameter that is not used", |a, _, c| probe(a * c.unsqueeze())),
    ]
}
