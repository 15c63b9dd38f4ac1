//! Whole models with their losses, as people train them.
//!
//! Does not know: single operations.

use burn::module::{Module, Param};
use burn::nn::attention::{
    CrossAttentionConfig, MhaInput, MultiHeadAttention, MultiHeadAttentionConfig, generate_autoregressive_mask,
};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::interpolate::{Interpolate2dConfig, InterpolateMode};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::transformer::{
    TransformerDecoderConfig, TransformerDecoderInput, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{
    BatchNorm, BatchNormConfig, BiGruConfig, BiLstmConfig, Embedding, EmbeddingConfig, GruConfig, LayerNorm,
    LayerNormConfig, Linear, LstmConfig, PaddingConfig2d, RnnConfig,
};
use burn::tensor::activation::{gelu, log_softmax, relu, sigmoid, silu, softmax, softplus, tanh};
use burn::tensor::{IndexingUpdateOp, Int, Tensor};
use burn_func::stop_gradient;

use crate::common::{Act, Mlp, mse};
use crate::ladder::{Found, Rung, distance};
use crate::site::{Site, probe};
use crate::table::{Case, NEAREST_ONLY, case};

pub fn cases() -> Vec<Case> {
    let mut cases = images();
    cases.extend(recurrent());
    cases.extend(attention());
    cases.extend(generative());
    cases.extend(classical());
    cases.extend(shared());
    cases.extend(scientific());
    cases
}

fn cross_entropy(logits: Tensor<2>, y: Tensor<1, Int>) -> Tensor<1> {
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, y)
}

fn conv3x3(at: &Site, inputs: usize, outputs: usize) -> Conv2d {
    let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
    Conv2dConfig::new([inputs, outputs], [3, 3]).with_padding(padding).init(&at.device)
}

#[derive(Module, Debug)]
struct Residual {
    stem: Conv2d,
    first: Conv2d,
    norm1: BatchNorm,
    second: Conv2d,
    norm2: BatchNorm,
    head: Linear,
}

impl Residual {
    fn new(at: &Site) -> Self {
        let norm = || BatchNormConfig::new(3).init(&at.device);
        at.settled(Self {
            stem: conv3x3(at, 2, 3),
            first: conv3x3(at, 3, 3),
            norm1: norm(),
            second: conv3x3(at, 3, 3),
            norm2: norm(),
            head: at.linear(3, 4),
        })
    }

    fn loss(&self, x: Tensor<4>, y: Tensor<1, Int>) -> Tensor<1> {
        let x = self.stem.forward(x);
        let inner = relu(self.norm1.forward(self.first.forward(x.clone())));
        let x = relu(x + self.norm2.forward(self.second.forward(inner)));
        cross_entropy(self.head.forward(x.mean_dims(&[2, 3]).flatten(1, 3)), y)
    }
}

#[derive(Module, Debug)]
struct UNet {
    down: Conv2d,
    pool: MaxPool2d,
    bottom: Conv2d,
    up: ConvTranspose2d,
    last: Conv2d,
}

impl UNet {
    fn new(at: &Site) -> Self {
        at.settled(Self {
            down: conv3x3(at, 1, 2),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            bottom: conv3x3(at, 2, 3),
            up: ConvTranspose2dConfig::new([3, 2], [2, 2]).with_stride([2, 2]).init(&at.device),
            last: conv3x3(at, 4, 1),
        })
    }
}

fn images() -> Vec<Case> {
    vec![
        case("residual block, training", |at| {
            let batch = (at.data([4, 2, 5, 4], 1), at.ints([4], 4));
            at.ladder(Residual::new(at), batch, |model, (x, y)| model.loss(x, y))
        })
        .short(),
        case("residual block, evaluation", |at| {
            let batch = (at.data([4, 2, 5, 4], 1), at.ints([4], 4));
            at.ladder(Residual::new(at).freeze().set_require_grad(true), batch, |model, (x, y)| model.loss(x, y))
        }),
        case("U-Net, transposed convolution", |at| {
            let batch = (at.data([2, 1, 6, 4], 1), at.data([2, 1, 6, 4], 2));
            at.ladder(UNet::new(at), batch, |model, (x, y)| {
                let left = silu(model.down.forward(x));
                let bottom = silu(model.bottom.forward(model.pool.forward(left.clone())));
                let joined = Tensor::cat(vec![left, model.up.forward(bottom)], 1);
                (model.last.forward(joined) - y).powf_scalar(2.0).mean()
            })
        })
        .short(),
        case("U-Net, interpolation", |at| {
            let model = at.settled((conv3x3(at, 1, 2), conv3x3(at, 2, 2), conv3x3(at, 4, 1)));
            let batch = (at.data([1, 1, 6, 4], 1), at.data([1, 1, 6, 4], 2));
            at.ladder(model, batch, |(down, bottom, last), (x, y)| {
                let left = tanh(down.forward(x));
                let pooled = burn::nn::pool::AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
                let inner = tanh(bottom.forward(pooled.forward(left.clone())));
                let grow = Interpolate2dConfig::new().with_mode(InterpolateMode::Linear);
                let right = grow.with_output_size(Some([6, 4])).init().forward(inner);
                (last.forward(Tensor::cat(vec![left, right], 1)) - y).powf_scalar(2.0).mean()
            })
        })
        .refused_on(NEAREST_ONLY),
        case("depthwise separable convolution", |at| {
            let depth = Conv2dConfig::new([3, 3], [3, 3]).with_groups(3).init(&at.device);
            let point = Conv2dConfig::new([3, 4], [1, 1]).init(&at.device);
            let model = at.settled((depth, point));
            at.ladder(model, at.data([2, 3, 5, 4], 1), |(depth, point), x| {
                probe(gelu(point.forward(gelu(depth.forward(x)))))
            })
        }),
        case("squeeze and excitation", |at| {
            let model = at.settled((conv3x3(at, 2, 4), at.linear(4, 2), at.linear(2, 4)));
            at.ladder(model, at.data([2, 2, 4, 4], 1), |(conv, squeeze, excite), x| {
                let x = conv.forward(x);
                let channels: Tensor<2> = x.clone().mean_dims(&[2, 3]).flatten(1, 3);
                let gates = sigmoid(excite.forward(silu(squeeze.forward(channels))));
                probe(x * gates.unsqueeze_dims::<4>(&[2, 3]))
            })
        }),
        case("patches and a mixer", |at| {
            let norm = LayerNormConfig::new(6).init(&at.device);
            let model = at.settled((at.linear(4, 6), norm, at.linear(4, 4), at.linear(6, 6)));
            at.ladder(model, at.data([2, 1, 4, 4], 1), |(embed, norm, tokens, channels), x| {
                let patches: Tensor<3> = x.reshape([2, 2, 2, 2, 2]).permute([0, 1, 3, 2, 4]).reshape([2, 4, 4]);
                let x: Tensor<3> = embed.forward(patches);
                let mixed = tokens.forward(norm.forward(x.clone()).swap_dims(1, 2)).swap_dims(1, 2);
                let x = x + gelu(mixed);
                probe(channels.forward(x.clone()) + x)
            })
        }),
    ]
}

fn recurrent() -> Vec<Case> {
    vec![
        case("LSTM", |at| {
            let model = at.settled((LstmConfig::new(2, 3, true).init(&at.device), at.linear(3, 1)));
            at.ladder(model, at.data([2, 4, 2], 1), |(lstm, head), x| probe(head.forward(lstm.forward(x, None).0)))
        })
        .short()
        .threads(),
        case("bidirectional LSTM", |at| {
            let model = at.settled(BiLstmConfig::new(2, 3, true).init(&at.device));
            at.ladder(model, at.data([2, 3, 2], 1), |lstm, x| {
                let (out, state) = lstm.forward(x, None);
                probe(out) + probe(state.cell)
            })
        }),
        case("GRU", |at| {
            let model = at.settled((GruConfig::new(2, 3, true).init(&at.device), at.linear(3, 1)));
            at.ladder(model, at.data([2, 4, 2], 1), |(gru, head), x| probe(head.forward(gru.forward(x, None))))
        })
        .short(),
        case("bidirectional GRU, reset before", |at| {
            let model = at.settled(BiGruConfig::new(2, 3, true).with_reset_after(false).init(&at.device));
            at.ladder(model, at.data([2, 3, 2], 1), |gru, x| probe(gru.forward(x, None).0))
        }),
        case("recurrent network", |at| {
            let model = at.settled(RnnConfig::new(2, 3, true).init(&at.device));
            at.ladder(model, at.data([2, 4, 2], 1), |rnn, x| probe(rnn.forward(x, None).0))
        }),
        case("language model", |at| {
            let embed = EmbeddingConfig::new(6, 3).init(&at.device);
            let model = at.settled((embed, GruConfig::new(3, 4, true).init(&at.device), at.linear(4, 6)));
            let batch = (at.ints([2, 4], 6), at.ints([8], 6));
            at.ladder(model, batch, |(embed, gru, head), (x, y)| {
                let states = gru.forward(embed.forward(x), None);
                cross_entropy(head.forward(states).reshape([8, 6]), y)
            })
        }),
    ]
}

#[derive(Module, Debug)]
struct Attention {
    embed: Embedding,
    attention: MultiHeadAttention,
    norm: LayerNorm,
    head: Linear,
}

fn attention() -> Vec<Case> {
    vec![
        case("multi-head attention, causal", |at| {
            let model = at.settled(Attention {
                embed: EmbeddingConfig::new(5, 4).init(&at.device),
                attention: MultiHeadAttentionConfig::new(4, 2).with_dropout(0.0).init(&at.device),
                norm: LayerNormConfig::new(4).init(&at.device),
                head: at.linear(4, 5),
            });
            at.ladder(model, (at.ints([2, 4], 5), at.ints([8], 5)), |model, (x, y)| {
                let x = model.embed.forward(x);
                let mask = generate_autoregressive_mask(2, 4, &x.device());
                let context = model.attention.forward(MhaInput::self_attn(x.clone()).mask_attn(mask)).context;
                cross_entropy(model.head.forward(model.norm.forward(x + context)).reshape([8, 5]), y)
            })
        })
        .short()
        .threads(),
        case("multi-head attention, padded", |at| {
            let config = MultiHeadAttentionConfig::new(4, 2).with_dropout(0.0).with_quiet_softmax(true);
            let batch = (at.data([2, 3, 4], 1), at.mask([2, 3]));
            at.ladder(at.settled(config.init(&at.device)), batch, |model, (x, mask)| {
                probe(model.forward(MhaInput::self_attn(x).mask_pad(mask)).context)
            })
        }),
        case("cross attention, grouped", |at| {
            let config = CrossAttentionConfig::new(4, 3, 2, 1, 2).with_dropout(0.0);
            let batch = (at.data([2, 3, 4], 1), at.data([2, 5, 3], 2), at.mask([2, 5]));
            at.ladder(at.settled(config.init(&at.device)), batch, |model, (x, context, mask)| {
                probe(model.forward(x, context, Some(mask)))
            })
        }),
        case("transformer encoder", |at| {
            let config = TransformerEncoderConfig::new(4, 6, 2, 2).with_dropout(0.0);
            at.ladder(at.settled(config.init(&at.device)), at.data([2, 3, 4], 1), |model, x| {
                probe(model.forward(TransformerEncoderInput::new(x)))
            })
        })
        .short(),
        case("transformer encoder, norm first", |at| {
            let config = TransformerEncoderConfig::new(4, 6, 2, 1).with_dropout(0.0).with_norm_first(true);
            let batch = (at.data([2, 3, 4], 1), at.mask([2, 3]));
            at.ladder(at.settled(config.init(&at.device)), batch, |model, (x, mask)| {
                probe(model.forward(TransformerEncoderInput::new(x).mask_pad(mask)))
            })
        }),
        case("transformer decoder", |at| {
            let config = TransformerDecoderConfig::new(4, 6, 2, 1).with_dropout(0.0);
            let batch = (at.data([2, 3, 4], 1), at.data([2, 4, 4], 2));
            at.ladder(at.settled(config.init(&at.device)), batch, |model, (x, memory)| {
                let mask = generate_autoregressive_mask(2, 3, &x.device());
                probe(model.forward(TransformerDecoderInput::new(x, memory).target_mask_attn(mask)))
            })
        }),
        case("two layers of attention by hand", |at| {
            let triple = || (at.linear(4, 4), at.linear(4, 4), at.linear(4, 4));
            let model = at.settled((triple(), triple()));
            at.ladder(model, at.data([2, 3, 4], 1), |(first, second), x| {
                let layer = |(q, k, v): &(Linear, Linear, Linear), x: Tensor<3>| {
                    let scores = q.forward(x.clone()).matmul(k.forward(x.clone()).transpose()) / 2.0;
                    softmax(scores, 2).matmul(v.forward(x.clone())) + x
                };
                probe(layer(second, layer(first, x)))
            })
        }),
        case("linear attention", |at| {
            let model = at.settled((at.linear(4, 4), at.linear(4, 4), at.linear(4, 4)));
            at.ladder(model, at.data([2, 3, 4], 1), |(q, k, v), x| {
                let feature = |x: Tensor<3>| softplus(x, 1.0);
                let (q, k) = (feature(q.forward(x.clone())), feature(k.forward(x.clone())));
                let norm = q.clone().matmul(k.clone().sum_dim(1).transpose());
                probe(q.matmul(k.transpose().matmul(v.forward(x))) / norm)
            })
        }),
    ]
}

fn generative() -> Vec<Case> {
    vec![
        case("variational autoencoder", |at| {
            let model = at.settled((at.linear(4, 6), at.linear(3, 5), at.linear(5, 4)));
            let batch = (at.data([5, 4], 1), at.data([5, 3], 2)); // the noise comes with the batch
            at.ladder(model, batch, |(encode, decode, out), (x, noise)| {
                let code = encode.forward(x.clone());
                let (mean, log_variance) = (code.clone().slice([0..5, 0..3]), code.slice([0..5, 3..6]));
                let z = mean.clone() + (log_variance.clone() * 0.5).exp() * noise;
                let kl = (log_variance.clone().exp() + mean.clone() * mean - log_variance - 1.0).sum_dim(1) * 0.5;
                mse(out.forward(tanh(decode.forward(z))), x) + kl.mean() * 0.1
            })
        })
        .short(),
        case("contrastive loss", |at| {
            let batch = (at.data([5, 3], 1), at.data([5, 3], 6));
            at.ladder(at.mlp(3, 5, 4), batch, |model, (x, y)| {
                let unit = |x: Tensor<2>| x.clone() / (x.clone() * x).sum_dim(1).sqrt();
                let [x, y] = [x, y].map(|x| unit(model.forward(x, Act::Gelu)));
                let similar = x.matmul(y.transpose()) / 0.5;
                let diagonal = Tensor::<1, Int>::arange(0..5, &similar.device());
                (cross_entropy(similar.clone(), diagonal.clone()) + cross_entropy(similar.transpose(), diagonal)) * 0.5
            })
        })
        .short(),
        case("affine coupling flow", |at| {
            let model = at.settled((at.linear(2, 4), at.linear(4, 4)));
            at.ladder(model, at.data([5, 4], 1), |(a, b), x| {
                let (fixed, moved) = (x.clone().slice([0..5, 0..2]), x.slice([0..5, 2..4]));
                let out = b.forward(tanh(a.forward(fixed.clone())));
                let (scale, shift) = (tanh(out.clone().slice([0..5, 0..2])), out.slice([0..5, 2..4]));
                let z = Tensor::cat(vec![fixed, moved * scale.clone().exp() + shift], 1);
                (z.clone() * z).sum_dim(1).mean() * 0.5 - scale.sum_dim(1).mean()
            })
        }),
        case("denoising diffusion step", |at| {
            let batch = (at.data([5, 3], 1), at.data([5, 3], 2), at.data_in([5, 1], 3, 0.1, 0.9));
            at.ladder(at.mlp(4, 6, 3), batch, |model, (x, noise, t)| {
                let noisy = x * (-t.clone() + 1.0).sqrt() + noise.clone() * t.clone().sqrt();
                mse(model.forward(Tensor::cat(vec![noisy, t], 1), Act::Silu), noise)
            })
        }),
        case("mixture density network", |at| {
            let batch = (at.data([5, 3], 1), at.data([5, 1], 2));
            at.ladder(at.mlp(3, 5, 6), batch, |model, (x, y)| {
                let out = model.forward(x, Act::Tanh);
                let mut parts = out.split(2, 1).into_iter();
                let [weight, mean, raw] = std::array::from_fn(|_| parts.next().unwrap());
                let deviation = softplus(raw, 1.0) + 0.2;
                let z = (y.expand([5, 2]) - mean) / deviation.clone();
                let log_p = log_softmax(weight, 1) - deviation.log() - z.clone() * z * 0.5;
                -log_p.exp().sum_dim(1).log().mean()
            })
        }),
    ]
}

fn classical() -> Vec<Case> {
    vec![
        case("logistic regression with a penalty", |at| {
            let batch = (at.data([8, 3], 1), at.data([8, 1], 2).sign());
            at.ladder(at.settled(at.linear(3, 1)), batch, |model, (x, y)| {
                let weight = model.weight.val();
                softplus(-(model.forward(x) * y), 1.0).mean() + (weight.clone() * weight).sum() * 0.05
            })
        })
        .short(),
        case("matrix factorisation", |at| {
            let model = (at.param([4, 2], 1), at.param([5, 2], 2), at.param([4], 3));
            let batch = (at.ints([9], 4), at.ints([9], 5), at.data([9], 4));
            at.ladder(model, batch, |(users, items, bias), (u, i, rating)| {
                let dots = (users.val().select(0, u.clone()) * items.val().select(0, i)).sum_dim(1).squeeze_dim::<1>(1);
                (dots + bias.val().select(0, u) - rating).powf_scalar(2.0).mean()
            })
        })
        .short(),
        case("radial basis functions", |at| {
            let model = (at.param([4, 3], 1), at.param([4, 1], 2), at.param([1], 3));
            let batch = (at.data([6, 3], 4), at.data([6, 1], 5));
            at.ladder(model, batch, |(centres, weights, scale), (x, y)| {
                let x: Tensor<3> = x.unsqueeze_dim(1);
                let distance: Tensor<2> =
                    (x - centres.val().unsqueeze_dim(0)).powf_scalar(2.0).sum_dim(2).squeeze_dim(2);
                mse((distance * scale.val().exp().unsqueeze() * -1.0).exp().matmul(weights.val()), y)
            })
        }),
        case("Poisson regression", |at| {
            let batch = (at.data([7, 3], 1), at.data_in([7, 1], 2, 0.0, 4.0));
            at.ladder(at.settled(at.linear(3, 1)), batch, |model, (x, y)| {
                let rate = model.forward(x);
                (rate.clone().exp() - y * rate).mean()
            })
        }),
        case("mixture of experts", |at| {
            let model = at.settled((at.linear(3, 2), at.mlp(3, 4, 1), at.mlp(3, 4, 1)));
            at.ladder(model, (at.data([5, 3], 1), at.data([5, 1], 2)), |(gate, first, second), (x, y)| {
                let gates = softmax(gate.forward(x.clone()), 1);
                let experts = Tensor::cat(vec![first.forward(x.clone(), Act::Tanh), second.forward(x, Act::Gelu)], 1);
                mse((gates * experts).sum_dim(1), y)
            })
        }),
        case("policy gradient with a baseline", |at| {
            let model = at.settled((at.mlp(3, 4, 3), at.linear(3, 1)));
            let batch = (at.data([6, 3], 1), at.ints([6], 3), at.data([6, 1], 2));
            at.ladder(model, batch, |(policy, value), (x, action, reward)| {
                let log_p = log_softmax(policy.forward(x.clone(), Act::Tanh), 1);
                let chosen = log_p.clone().gather(1, action.unsqueeze_dim(1));
                let entropy = -(log_p.clone().exp() * log_p).sum_dim(1).mean();
                let surprise = reward - value.forward(x);
                (surprise.clone() * surprise.clone()).mean() - (chosen * surprise).mean() - entropy * 0.1
            })
        }),
        case("clipped policy ratio", |at| {
            let batch = (at.data([6, 3], 1), at.ints([6], 3), at.data_in([6, 1], 2, -1.6, -0.6), at.data([6, 1], 3));
            at.ladder(at.mlp(3, 4, 3), batch, |policy, (x, action, old, advantage)| {
                let log_p = log_softmax(policy.forward(x, Act::Tanh), 1).gather(1, action.unsqueeze_dim(1));
                let ratio = (log_p - old).exp();
                let clipped = ratio.clone().clamp(0.8, 1.2) * advantage.clone();
                -(ratio * advantage).min_pair(clipped).mean()
            })
        }),
        case("message passing on a graph", |at| {
            let model = at.settled((at.linear(3, 4), at.linear(4, 4)));
            let batch = (at.data([5, 3], 1), at.list([6], &[0, 1, 2, 3, 4, 0]), at.list([6], &[1, 2, 0, 4, 1, 3]));
            at.ladder(model, batch, |(embed, message), (nodes, from, to)| {
                let mut nodes = tanh(embed.forward(nodes));
                for _ in 0..2 {
                    let sent = message.forward(nodes.clone().select(0, from.clone()));
                    nodes = tanh(nodes.clone().select_assign(0, to.clone(), sent, IndexingUpdateOp::Add));
                }
                probe(nodes)
            })
        }),
        case("neural ranking", |at| {
            at.ladder(at.mlp(3, 5, 1), at.data([6, 3], 1), |model, x| {
                let scores: Tensor<1> = model.forward(x, Act::Tanh).squeeze_dim(1);
                probe(log_softmax(scores.clone().sort_descending(0), 0)) + probe(scores.topk(3, 0).exp())
            })
        }),
    ]
}

#[derive(Module, Debug)]
struct Tied {
    embed: Param<Tensor<2>>,
    project: Param<Tensor<2>>,
    hidden: Linear,
}

fn shared() -> Vec<Case> {
    vec![
        case("weight tying", |at| {
            let weight = at.param([6, 4], 5);
            let model = Tied { embed: weight.clone(), project: weight, hidden: at.settled(at.linear(4, 4)) };
            let batch = (at.ints([5], 6), at.list([5], &[2, 5, 0, 3, 1]));
            at.ladder(model, batch, |model, (x, y)| {
                let hidden = tanh(model.hidden.forward(model.embed.val().select(0, x)));
                cross_entropy(hidden.matmul(model.project.val().transpose()), y)
            })
        })
        .short(),
        case("hypernetwork", |at| {
            let batch = (at.data([1, 2], 1), at.data([5, 3], 2), at.data([5, 2], 3));
            at.ladder(at.mlp(2, 4, 8), batch, |hyper, (task, x, y)| {
                let made = hyper.forward(task, Act::Tanh);
                let weight: Tensor<2> = made.clone().slice([0..1, 0..6]).reshape([3, 2]);
                mse(tanh(x.matmul(weight)) + made.slice([0..1, 6..8]), y)
            })
        }),
        case("a layer used three times", |at| {
            let model = at.settled((at.linear(3, 3), at.linear(3, 1)));
            at.ladder(model, at.data([4, 3], 1), |(layer, head), x| {
                probe(head.forward((0..3).fold(x, |x, _| tanh(layer.forward(x.clone())) + x)))
            })
        }),
        case("distillation with stop_gradient", distillation).short(),
        case("frozen layer", |at| {
            let mlp = at.mlp(3, 4, 2);
            let model = Mlp { b: mlp.b.clone().no_grad(), ..mlp };
            let batch = (at.data([5, 3], 1), at.data([5, 2], 2));
            at.ladder(model, batch, |model, (x, y)| mse(model.forward(x, Act::Gelu), y))
        }),
        case("normalised weights", |at| {
            let model = (at.param([3, 4], 1), at.param([4], 2));
            at.ladder(model, at.data([5, 3], 3), |(direction, length), x| {
                let v = direction.val();
                let unit = v.clone() / (v.clone() * v).sum_dim(0).sqrt();
                probe(x.matmul(unit * length.val().unsqueeze()))
            })
        }),
    ]
}

/// The teacher's answer depends on the parameters and is held fixed. Differences of the gradient would move it, so the
/// ladder is climbed with the answer in the batch, and the product must be the same.
fn distillation(at: &Site) -> Found {
    let student = at.mlp(3, 5, 4);
    let x = at.data([6, 3], 1);
    let soften = |model: &Mlp, x: Tensor<2>| softmax(model.forward(x, Act::Relu) / 2.0, 1);
    let loss = |model: &Mlp, x: Tensor<2>, target: Tensor<2>| {
        -(log_softmax(model.forward(x, Act::Tanh) / 2.0, 1) * target).sum_dim(1).mean()
    };
    let target = soften(&student, x.clone()).detach();
    let mut fixed = at.ladder(student.clone(), (x.clone(), target), |model, (x, target)| loss(model, x, target));
    let low = Site { differences: false, ..at.clone() };
    let mut stopped = low.ladder(student, x, |model, x| loss(model, x.clone(), stop_gradient(soften(model, x))));
    let tolerance = if at.differences { 1e-12 } else { 1e-4 };
    for (name, error) in [
        ("stopped gradient", distance(&stopped.grad, &fixed.grad)),
        ("stopped product", distance(&stopped.hvp, &fixed.hvp)),
    ] {
        fixed.rungs.push(Rung { name, error, tolerance });
    }
    fixed.rungs.append(&mut stopped.rungs);
    fixed.problem = fixed.problem.or(stopped.problem);
    fixed
}

fn scientific() -> Vec<Case> {
    vec![
        case("physics-informed loss", |at| {
            // u'' + u = 0 with u a network of one hidden layer, its derivatives in x written out.
            let model = at.settled((at.linear(1, 6), at.linear(6, 1)));
            at.ladder(model, at.data_in([7, 1], 1, 0.0, 3.0), |(inner, outer), x| {
                let slope = inner.weight.val();
                let t = tanh(inner.forward(x));
                let first = -(t.clone() * t.clone()) + 1.0;
                let second = t.clone() * first * -2.0 * (slope.clone() * slope);
                let residual = second.matmul(outer.weight.val()) + outer.forward(t);
                (residual.clone() * residual).mean()
            })
        })
        .short(),
        case("neural differential equation", |at| {
            let batch = (at.data([4, 2], 1), at.data([4, 2], 2));
            at.ladder(at.mlp(2, 4, 2), batch, |model, (start, end)| {
                let step = |x: Tensor<2>| {
                    let half = x.clone() + model.forward(x.clone(), Act::Tanh) * 0.125;
                    x + model.forward(half, Act::Tanh) * 0.25
                };
                mse((0..4).fold(start, |x, _| step(x)), end)
            })
        }),
        case("fixed-point iteration", |at| {
            let model = at.settled((at.linear(3, 3), at.linear(2, 3)));
            at.ladder(model, at.data([4, 2], 1), |(inner, outer), x| {
                let drive = outer.forward(x);
                let z = (0..6).fold(drive.clone(), |z, _| tanh(inner.forward(z) * 0.5 + drive.clone()));
                probe(z)
            })
        }),
        case("Fourier features", |at| {
            let model = at.settled((at.linear(2, 4), at.linear(8, 1)));
            at.ladder(model, (at.data([6, 2], 1), at.data([6, 1], 2)), |(frequency, head), (x, y)| {
                let phase = frequency.forward(x) * 3.0;
                mse(head.forward(Tensor::cat(vec![phase.clone().sin(), phase.cos()], 1)), y)
            })
        }),
        case("energy of a chain", |at| {
            let model = at.param([6, 2], 1);
            at.ladder(model, (), |positions, ()| {
                let p = positions.val() * 1.5;
                let bonds = p.clone().slice([1..6, 0..2]) - p.clone().slice([0..5, 0..2]);
                let length = (bonds.clone() * bonds).sum_dim(1).sqrt();
                let pairs: Tensor<3> = p.clone().unsqueeze_dim::<3>(0) - p.unsqueeze_dim::<3>(1);
                let repulsion = ((pairs.clone() * pairs).sum_dim(2) + 0.3).powf_scalar(-1.5);
                (length - 1.0).powf_scalar(2.0).sum() + repulsion.sum() * 0.05
            })
        }),
    ]
}
