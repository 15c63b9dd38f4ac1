//! Losses of `burn::nn::loss`, on the outputs of a small network.
//!
//! Does not know: other layers.

use burn::nn::loss::{
    BinaryCrossEntropyLossConfig, CosineEmbeddingLossConfig, CrossEntropyLossConfig, GaussianNLLLossConfig,
    HingeEmbeddingLossConfig, HuberLossConfig, KLDivLossConfig, LpLossConfig, MarginRankingLossConfig, MseLoss,
    MultiMarginLossConfig, RNNTLossConfig, Reduction, SmoothL1LossConfig, SoftMarginLoss, TripletMarginLossConfig,
};
use burn::tensor::activation::{log_softmax, sigmoid, softmax, softplus};
use burn::tensor::module::ctc_loss;
use burn::tensor::{Int, Tensor};

use crate::common::{Act, Mlp};
use crate::site::Site;
use crate::table::{Case, case};

fn outputs(model: &Mlp, x: Tensor<2>) -> Tensor<2> {
    model.forward(x, Act::Tanh)
}

/// Outputs `[6, 4]` against float targets in (-1, 1) of the same shape.
fn regression(name: &'static str, loss: fn(Tensor<2>, Tensor<2>) -> Tensor<1>) -> Case {
    case(name, move |at| {
        let batch = (at.data([6, 3], 1), at.data([6, 4], 2));
        at.ladder(at.mlp(3, 5, 4), batch, move |model, (x, y)| loss(outputs(model, x), y))
    })
}

/// Logits `[6, 4]` against six classes.
fn classes(name: &'static str, loss: fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1>) -> Case {
    case(name, move |at| {
        let batch = (at.data([6, 3], 1), at.ints([6], 4));
        at.ladder(at.mlp(3, 5, 4), batch, move |model, (x, y)| loss(outputs(model, x), y))
    })
}

/// Logits `[6, 4]` against labels of 0 and 1.
fn labels(name: &'static str, loss: fn(Tensor<2>, Tensor<2, Int>) -> Tensor<1>) -> Case {
    case(name, move |at| {
        let batch = (at.data([6, 3], 1), at.ints([6, 4], 2));
        at.ladder(at.mlp(3, 5, 4), batch, move |model, (x, y)| loss(outputs(model, x), y))
    })
}

/// Labels of -1 and 1, in the precision of the outputs.
fn signs(at: &Site, n: usize) -> Tensor<1, Int> {
    at.ints([n], 2) * 2 - 1
}

const MEAN: Reduction = Reduction::Mean;

pub fn cases() -> Vec<Case> {
    let mut cases = classification();
    cases.extend(regressions());
    cases.extend(margins());
    cases.extend(sequences());
    cases
}

fn classification() -> Vec<Case> {
    vec![
        classes("cross entropy", |logits, y| CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, y))
            .short(),
        classes("cross entropy, smoothing", |logits, y| {
            CrossEntropyLossConfig::new().with_smoothing(Some(0.1)).init(&logits.device()).forward(logits, y)
        })
        .short(),
        classes("cross entropy, weights and padding", |logits, y| {
            let config = CrossEntropyLossConfig::new().with_weights(Some(vec![1.0, 0.5, 2.0, 1.5]));
            config.with_pad_tokens(Some(vec![3])).init(&logits.device()).forward(logits, y)
        }),
        classes("cross entropy of probabilities", |logits, y| {
            CrossEntropyLossConfig::new().with_logits(false).init(&logits.device()).forward(softmax(logits, 1), y)
        }),
        classes("focal loss", |logits, y| {
            let log_p = log_softmax(logits, 1).gather(1, y.unsqueeze_dim(1));
            -((log_p.clone().exp() * -1.0 + 1.0).powf_scalar(2.0) * log_p).mean()
        }),
        labels("binary cross entropy of logits", |logits, y| {
            BinaryCrossEntropyLossConfig::new().with_logits(true).init(&logits.device()).forward(logits, y)
        })
        .short(),
        labels("binary cross entropy, smoothing and weights", |logits, y| {
            let config = BinaryCrossEntropyLossConfig::new().with_smoothing(Some(0.1));
            let loss = config.with_weights(Some(vec![1.0, 2.0, 0.5, 1.5])).init(&logits.device());
            loss.forward(sigmoid(logits), y)
        }),
        regression("KL divergence", |x, y| {
            KLDivLossConfig::new().init().forward(log_softmax(x, 1), softmax(y, 1), Reduction::BatchMean)
        })
        .short(),
        regression("KL divergence, log target", |x, y| {
            KLDivLossConfig::new().with_log_target(true).init().forward(log_softmax(x, 1), log_softmax(y, 1), MEAN)
        }),
    ]
}

fn regressions() -> Vec<Case> {
    vec![
        regression("mean squared error", |x, y| MseLoss::new().forward(x, y, MEAN)).short(),
        regression("Huber", |x, y| HuberLossConfig::new(0.4).init().forward(x, y, MEAN)).short(),
        regression("smooth L1", |x, y| {
            SmoothL1LossConfig::new().with_beta(0.5).init().forward_with_reduction(x, y, MEAN)
        }),
        regression("L1", |x, y| (x - y).powi_scalar(3).abs().mean()),
        regression("Lp", |x, y| LpLossConfig::new(3.0).init().forward(x, y, MEAN)),
        regression("log-cosh", |x, y| {
            let z = x - y;
            (softplus(z.clone() * -2.0, 1.0) + z).mean()
        }),
        // Burn's own Poisson loss reads its inputs on the host.
        regression("Poisson", |x, y| {
            let (rate, y) = (softplus(x, 1.0), y + 2.5);
            let stirling = y.clone() * y.clone().log() - y.clone() + (y.clone() * std::f64::consts::TAU).log() * 0.5;
            (rate.clone() - y * (rate + 1e-8).log() + stirling).mean()
        })
        .short(),
        regression("Gaussian, learned variance", |x, y| {
            let (mean, raw) = (x.clone().slice([0..6, 0..2]), x.slice([0..6, 2..4]));
            let variance = softplus(raw, 1.0) + 0.1;
            GaussianNLLLossConfig::new().with_full(true).init().forward(mean, y.slice([0..6, 0..2]), variance, MEAN)
        }),
        regression("quantile", |x, y| {
            let z = y - x;
            ((z.clone() * 0.9).max_pair(z.clone() * -0.1) * (z.powf_scalar(2.0) + 1.0)).mean()
        }),
        regression("cosine distance", |x, y| {
            let dot = (x.clone() * y.clone()).sum_dim(1);
            let norms = (x.clone() * x).sum_dim(1).sqrt() * (y.clone() * y).sum_dim(1).sqrt();
            (-(dot / norms) + 1.0).mean()
        }),
    ]
}

fn margins() -> Vec<Case> {
    vec![
        case("cosine embedding", |at| {
            let batch = (at.data([6, 3], 1), at.data([6, 3], 5), signs(at, 6));
            at.ladder(at.mlp(3, 5, 4), batch, |model, (x, y, sign)| {
                let loss = CosineEmbeddingLossConfig::new().with_margin(-0.5).init();
                loss.forward(outputs(model, x), outputs(model, y), sign)
            })
        })
        .short(),
        case("margin ranking", |at| {
            let batch = (at.data([6, 3], 1), at.data([6, 3], 5), at.data([6, 4], 9).sign());
            at.ladder(at.mlp(3, 5, 4), batch, |model, (x, y, sign)| {
                let loss = MarginRankingLossConfig::new().with_margin(0.3).init();
                loss.forward(outputs(model, x), outputs(model, y), sign, MEAN)
            })
        }),
        regression("hinge embedding", |x, y| {
            HingeEmbeddingLossConfig::new().with_margin(0.5).init().forward(x.powi_scalar(2), y.sign(), MEAN)
        }),
        regression("soft margin", |x, y| SoftMarginLoss::new().forward(x, y.sign(), MEAN)),
        classes("multi margin", |x, y| MultiMarginLossConfig::new().with_p(2).init().forward(x, y, MEAN)),
        case("triplet margin", |at| {
            let batch = (at.data([6, 3], 1), at.data([6, 3], 5), at.data([6, 3], 9));
            at.ladder(at.mlp(3, 5, 4), batch, |model, (anchor, near, far)| {
                let [anchor, near, far] = [anchor, near, far].map(|x| outputs(model, x));
                TripletMarginLossConfig::new().init().forward(anchor, near, far, MEAN)
            })
        }),
    ]
}

fn sequences() -> Vec<Case> {
    vec![
        case("connectionist temporal classification", |at| {
            let targets = at.list([2, 2], &[1, 2, 3, 1]);
            let batch = (at.data([10, 3], 1), targets, at.list([2], &[5, 4]), at.list([2], &[2, 2]));
            at.ladder(at.mlp(3, 5, 4), batch, |model, (x, y, inputs, lengths)| {
                let log_p: Tensor<3> = log_softmax(outputs(model, x).reshape([5, 2, 4]), 2);
                ctc_loss(log_p, y, inputs, lengths, 0).mean() // `CTCLoss` reads its lengths on the host
            })
        }),
        case("recurrent transducer", |at| {
            let targets = at.list([1, 2], &[1, 2]);
            let batch = (at.data([9, 3], 1), targets, at.list([1], &[3]), at.list([1], &[2]));
            at.ladder(at.mlp(3, 5, 4), batch, |model, (x, y, inputs, lengths)| {
                let logits: Tensor<4> = outputs(model, x).reshape([1, 3, 3, 4]);
                RNNTLossConfig::new().init().forward(logits, y, inputs, lengths).mean()
            })
        }),
    ]
}
