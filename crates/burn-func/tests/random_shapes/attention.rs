//! Attention with its options.
//!
//! Does not know: other operations.

use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;

use crate::Family;
use crate::case::{Case, Loss, probe};
use crate::draw::Draw;

pub const FAMILIES: &[Family] = &[("attention", attend)];

fn attend(draw: &mut Draw) -> Case {
    let [batch, heads, width, out] = [2, 2, 3, 3].map(|most| draw.between(1, most));
    let (queries, keys) = (draw.between(1, 4), draw.between(1, 4));
    let scale = if draw.once_in(2) { Some(draw.number(0.2, 2.0)) } else { None };
    let softcap = if draw.once_in(3) { Some(draw.number(0.5, 4.0)) } else { None };
    let is_causal = draw.once_in(3);
    let options = AttentionModuleOptions { scale, softcap, is_causal };
    let scores = [batch, heads, queries, keys];
    let (masked, bias) = (draw.once_in(3), draw.once_in(3));
    // The first key is left to every query: a row without any has no softmax.
    let mask: Vec<bool> =
        draw.mask(scores.iter().product()).into_iter().enumerate().map(|(i, m)| m && i % keys > 0).collect();
    let mut operands = vec![
        draw.plain(&[batch, heads, queries, width]),
        draw.plain(&[batch, heads, keys, width]),
        draw.plain(&[batch, heads, keys, out]),
    ];
    if bias {
        operands.push(draw.plain(&scores));
    }
    let text = format!("{options:?}, masked {masked}, bias {bias}");
    let loss: Loss = Box::new(move |args| {
        let mask = masked.then(|| args.mask(scores, &mask));
        // Where queries outnumber keys, a causal mask leaves none to the first ones. Burn divides the gradients of such a
        // row by the smallest positive number, which overflows beyond four (burn-backend,
        // src/backend/ops/modules/attention.rs): they are kept smaller.
        probe(attention(args.at(0), args.at(1), args.at(2), mask, bias.then(|| args.at(3)), options) * 0.0625)
    });
    Case::new(text, operands, loss)
}
