//! Layers of `burn::nn`: convolutions, pooling, normalisation, resampling, embeddings.
//!
//! Does not know: architectures.

use burn::module::Module;
use burn::nn::conv::{
    Conv1dConfig, Conv2dConfig, Conv3dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig, ConvTranspose3dConfig,
    DeformConv2dConfig,
};
use burn::nn::interpolate::{Interpolate1dConfig, Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::{
    AdaptiveAvgPool1dConfig, AdaptiveAvgPool2dConfig, AdaptiveAvgPool3dConfig, AvgPool1dConfig, AvgPool2dConfig,
    MaxPool1dConfig, MaxPool2dConfig,
};
use burn::nn::{
    BatchNormConfig, CosineSimilarityConfig, EmbeddingConfig, Fold4dConfig, GroupNormConfig, InstanceNormConfig,
    LayerNormConfig, LocalResponseNormConfig, PaddingConfig1d, PaddingConfig2d, PaddingConfig3d,
    PairwiseDistanceConfig, PixelShuffleConfig, PixelUnshuffleConfig, PositionalEncodingConfig, RmsNormConfig,
    RotaryEncodingConfig, Unfold4dConfig,
};
use burn::tensor::Tensor;
use burn::tensor::activation::tanh;

use crate::ladder::Found;
use crate::site::{Site, probe};
use crate::table::{CUBE, Case, NEAREST_ONLY, case};

pub fn cases() -> Vec<Case> {
    let mut cases = convolutions();
    cases.extend(transposed());
    cases.extend(pooling());
    cases.extend(resampling());
    cases.extend(one_channel());
    cases.extend(normalisation());
    cases.extend(encodings());
    cases
}

/// Two 2-d convolutions, so that the second sees a tangent in its input too.
fn conv2d(at: &Site, first: Conv2dConfig, second: Conv2dConfig) -> Found {
    let model = at.settled((first.init(&at.device), second.init(&at.device)));
    at.ladder(model, at.data([2, 2, 6, 5], 1), |(a, b), x| probe(b.forward(tanh(a.forward(x)))))
}

fn convolutions() -> Vec<Case> {
    vec![
        case("conv1d", |at| {
            let a = Conv1dConfig::new(2, 4, 3).with_padding(PaddingConfig1d::Same);
            let b = Conv1dConfig::new(4, 3, 2).with_stride(2);
            let model = at.settled((a.init(&at.device), b.init(&at.device)));
            at.ladder(model, at.data([2, 2, 7], 1), |(a, b), x| probe(b.forward(tanh(a.forward(x)))))
        })
        .short(),
        case("conv1d, groups, dilation, asymmetric padding", |at| {
            let a = Conv1dConfig::new(2, 4, 3).with_padding(PaddingConfig1d::Explicit(2, 1)).with_groups(2);
            let b = Conv1dConfig::new(4, 4, 2).with_dilation(3).with_groups(4).with_bias(false);
            let model = at.settled((a.init(&at.device), b.init(&at.device)));
            at.ladder(model, at.data([2, 2, 7], 1), |(a, b), x| probe(b.forward(tanh(a.forward(x)))))
        }),
        case("conv2d", |at| {
            let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
            let first = Conv2dConfig::new([2, 3], [3, 3]).with_padding(padding);
            conv2d(at, first, Conv2dConfig::new([3, 2], [2, 3]))
        })
        .short()
        .threads(),
        case("conv2d, stride", |at| {
            let first = Conv2dConfig::new([2, 3], [3, 3]).with_stride([2, 1]).with_padding(PaddingConfig2d::Same);
            conv2d(at, first, Conv2dConfig::new([3, 2], [2, 2]).with_stride([1, 2]).with_bias(false))
        }),
        case("conv2d, groups and dilation", |at| {
            let padding = PaddingConfig2d::Explicit(2, 2, 1, 1);
            let first = Conv2dConfig::new([2, 4], [3, 2]).with_groups(2).with_dilation([2, 1]).with_padding(padding);
            conv2d(at, first, Conv2dConfig::new([4, 4], [2, 2]).with_groups(4))
        })
        .short(),
        case("conv2d, asymmetric padding, 1x1", |at| {
            let first = Conv2dConfig::new([2, 3], [2, 2]).with_padding(PaddingConfig2d::Explicit(0, 1, 2, 0));
            conv2d(at, first, Conv2dConfig::new([3, 2], [1, 1]))
        }),
        case("conv3d", |at| {
            let a = Conv3dConfig::new([1, 2], [2, 2, 2]).with_padding(PaddingConfig3d::Explicit(1, 0, 1));
            let b = Conv3dConfig::new([2, 2], [2, 2, 1]).with_stride([1, 2, 1]).with_groups(2);
            let model = at.settled((a.init(&at.device), b.init(&at.device)));
            at.ladder(model, at.data([1, 1, 3, 4, 3], 1), |(a, b), x| probe(b.forward(tanh(a.forward(x)))))
        })
        .short(),
        case("conv3d, stride beyond the kernel", |at| {
            let (a, b) = (Conv3dConfig::new([1, 2], [1, 1, 2]), Conv3dConfig::new([2, 2], [2, 1, 2]));
            let model = at.settled((a.init(&at.device), b.with_stride([1, 2, 1]).init(&at.device)));
            at.ladder(model, at.data([1, 1, 3, 4, 3], 1), |(a, b), x| probe(b.forward(tanh(a.forward(x)))))
        })
        .refused_on(CUBE),
    ]
}

/// Offsets that are data: the derivative with respect to them has no tangent rule.
fn deformable(at: &Site) -> Found {
    let (conv, norm) = (DeformConv2dConfig::new([2, 3], [2, 2]), Conv2dConfig::new([2, 2], [1, 1]));
    let model = at.settled((norm.init(&at.device), conv.init(&at.device)));
    let batch =
        (at.data([1, 2, 5, 4], 1), at.data_in([1, 8, 4, 3], 2, 0.1, 0.9), at.data_in([1, 4, 4, 3], 3, 0.2, 1.0));
    at.ladder(model, batch, |(first, conv), (x, offset, mask)| {
        probe(conv.forward(tanh(first.forward(x)), offset, Some(mask)))
    })
}

fn transposed() -> Vec<Case> {
    vec![
        case("conv_transpose1d", |at| {
            let a = ConvTranspose1dConfig::new([2, 4], 3).with_stride(2).with_padding(1).with_padding_out(1);
            let b = ConvTranspose1dConfig::new([4, 2], 2).with_groups(2).with_dilation(2).with_bias(false);
            let model = at.settled((a.init(&at.device), b.init(&at.device)));
            at.ladder(model, at.data([2, 2, 4], 1), |(a, b), x| probe(b.forward(tanh(a.forward(x)))))
        })
        .short(),
        case("conv_transpose2d", |at| {
            let a = ConvTranspose2dConfig::new([2, 2], [2, 3]).with_stride([2, 1]).with_padding([0, 1]);
            let b = ConvTranspose2dConfig::new([2, 2], [2, 2]).with_groups(2).with_padding_out([0, 0]);
            let model = at.settled((a.init(&at.device), b.init(&at.device)));
            at.ladder(model, at.data([1, 2, 3, 3], 1), |(a, b), x| probe(b.forward(tanh(a.forward(x)))))
        })
        .short(),
        case("conv_transpose3d", |at| {
            let a = ConvTranspose3dConfig::new([1, 2], [2, 2, 2]).with_stride([1, 2, 1]);
            let b = ConvTranspose3dConfig::new([2, 1], [1, 2, 2]).with_padding([0, 1, 0]);
            let model = at.settled((a.init(&at.device), b.init(&at.device)));
            at.ladder(model, at.data([1, 1, 2, 2, 3], 1), |(a, b), x| probe(b.forward(tanh(a.forward(x)))))
        }),
        case("conv_transpose3d, stride beyond the kernel", |at| {
            let model =
                at.settled(ConvTranspose3dConfig::new([1, 2], [2, 1, 2]).with_stride([1, 2, 1]).init(&at.device));
            at.ladder(model, at.data([1, 1, 2, 2, 3], 1), |conv, x| probe(tanh(conv.forward(x))))
        })
        .refused_on(CUBE),
    ]
}

/// A 1-d convolution, then `f`, on a sequence of length 9.
fn after_conv1d(name: &'static str, f: fn(Tensor<3>) -> Tensor<3>) -> Case {
    case(name, move |at| {
        let model = at.settled(Conv1dConfig::new(2, 3, 2).init(&at.device));
        at.ladder(model, at.data([2, 2, 10], 1), move |conv, x| probe(f(conv.forward(x)).sin()))
    })
}

/// A 2-d convolution, then `f`, on images of 7x6.
fn after_conv2d<const D: usize>(name: &'static str, f: fn(Tensor<4>) -> Tensor<D>) -> Case {
    case(name, move |at| {
        let model = at.settled(Conv2dConfig::new([2, 4], [2, 2]).init(&at.device));
        at.ladder(model, at.data([2, 2, 8, 7], 1), move |conv, x| probe(f(conv.forward(x)).sin()))
    })
}

fn pooling() -> Vec<Case> {
    vec![
        after_conv1d("max_pool1d", |x| {
            MaxPool1dConfig::new(3).with_stride(2).with_padding(PaddingConfig1d::Explicit(1, 1)).init().forward(x)
        })
        .short(),
        after_conv1d("max_pool1d, dilation", |x| {
            MaxPool1dConfig::new(2).with_dilation(2).with_stride(1).init().forward(x)
        }),
        after_conv2d("max_pool2d", |x| MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init().forward(x)).short(),
        after_conv2d("max_pool2d, overlap, padding, dilation", |x| {
            let pool = MaxPool2dConfig::new([3, 2]).with_strides([1, 2]).with_dilation([1, 2]);
            pool.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init().forward(x)
        }),
        after_conv2d("max_pool2d, ceil", |x| {
            MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).with_ceil_mode(true).init().forward(x)
        }),
        after_conv1d("avg_pool1d", |x| AvgPool1dConfig::new(3).with_stride(2).init().forward(x)).short(),
        after_conv2d("avg_pool2d", |x| AvgPool2dConfig::new([2, 3]).with_strides([2, 1]).init().forward(x)).short(),
        after_conv2d("avg_pool2d, padding not counted", |x| {
            let pool = AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).with_count_include_pad(false);
            pool.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init().forward(x)
        }),
        after_conv1d("adaptive_avg_pool1d", |x| AdaptiveAvgPool1dConfig::new(4).init().forward(x)),
        after_conv2d("adaptive_avg_pool2d", |x| AdaptiveAvgPool2dConfig::new([3, 2]).init().forward(x)).short(),
        case("deform_conv2d", deformable).single(),
        case("adaptive_avg_pool3d", |at| {
            let model = at.settled(Conv3dConfig::new([1, 2], [2, 1, 2]).init(&at.device));
            at.ladder(model, at.data([1, 1, 4, 3, 4], 1), |conv, x| {
                probe(AdaptiveAvgPool3dConfig::new([2, 2, 1]).init().forward(tanh(conv.forward(x))))
            })
        }),
        after_conv2d("global pooling", |x| x.clone().mean_dims(&[2, 3]) * x.max_dims(&[2, 3])),
    ]
}

/// One channel: kernels that compute with the channels last leave an axis of size one with a stride of its own.
fn one_channel() -> Vec<Case> {
    vec![
        case("one channel: convolution and pooling", |at| {
            let config = Conv2dConfig::new([1, 1], [3, 3]).with_padding(PaddingConfig2d::Same);
            let model = at.settled((config.init(&at.device), at.param([2, 1, 6, 4], 5)));
            // The images as they come from a file, channels last.
            at.ladder(model, at.data([2, 6, 4, 1], 1), |(conv, w), x| {
                let x = conv.forward(x.permute([0, 3, 1, 2]) * w.val());
                let pooled = AvgPool2dConfig::new([2, 1]).with_strides([2, 1]).init().forward(x.clone() - w.val());
                let largest = MaxPool2dConfig::new([1, 2]).with_strides([1, 2]).init().forward(x.clone()) * 0.7;
                probe(x - w.val()) + probe(pooled.exp() - 0.3) + probe(largest.tanh() - 0.1)
            })
        })
        .short(),
        case("one channel: up again", |at| {
            let config = ConvTranspose2dConfig::new([1, 1], [2, 2]).with_stride([2, 2]);
            let model = at.settled((config.init(&at.device), at.param([2, 1, 6, 4], 5)));
            at.ladder(model, at.data([2, 1, 3, 2], 1), |(up, w), x| {
                let wide = interpolated(InterpolateMode::Nearest, [6, 4], false, tanh(x.clone()) * 2.0);
                probe(up.forward(x) * w.val() - wide)
            })
        }),
    ]
}

fn interpolated(mode: InterpolateMode, size: [usize; 2], align: bool, x: Tensor<4>) -> Tensor<4> {
    let config = Interpolate2dConfig::new().with_mode(mode).with_output_size(Some(size)).with_align_corners(align);
    config.init().forward(x)
}

fn resampling() -> Vec<Case> {
    vec![
        after_conv2d("interpolate, nearest", |x| interpolated(InterpolateMode::Nearest, [10, 9], false, x)).short(),
        after_conv2d("interpolate, bilinear", |x| interpolated(InterpolateMode::Linear, [9, 11], true, x))
            .refused_on(NEAREST_ONLY),
        after_conv2d("interpolate, bilinear, corners not aligned", |x| {
            interpolated(InterpolateMode::Linear, [5, 9], false, x)
        })
        .refused_on(NEAREST_ONLY),
        after_conv2d("interpolate, bicubic", |x| interpolated(InterpolateMode::Cubic, [9, 8], true, x))
            .refused_on(NEAREST_ONLY),
        after_conv1d("interpolate1d", |x| {
            Interpolate1dConfig::new().with_mode(InterpolateMode::Linear).with_output_size(Some(13)).init().forward(x)
        })
        .refused_on(NEAREST_ONLY),
        after_conv2d("pixel_shuffle", |x| PixelShuffleConfig::new(2).init().forward(x)),
        after_conv2d("pixel_unshuffle", |x| {
            PixelUnshuffleConfig::new(2).init().forward(x.slice([0..2, 0..4, 0..6, 0..6]))
        }),
        after_conv2d("unfold4d", |x| {
            Unfold4dConfig::new([2, 3]).with_stride([2, 1]).with_padding([1, 0]).init().forward(x)
        }),
        after_conv2d("fold4d", |x| {
            let patches: Tensor<3> = x.slice([0..2, 0..4, 0..6, 0..6]).reshape([2, 12, 12]);
            Fold4dConfig::new([4, 5], [2, 2]).init().forward(patches)
        }),
    ]
}

fn normalisation() -> Vec<Case> {
    vec![
        case("batch_norm, training", |at| {
            let conv = Conv2dConfig::new([2, 3], [2, 2]).init(&at.device);
            let model = at.settled((conv, BatchNormConfig::new(3).init(&at.device)));
            at.ladder(model, at.data([3, 2, 4, 4], 1), |(conv, norm), x| probe(norm.forward(conv.forward(x))))
        })
        .short()
        .threads(),
        case("batch_norm, evaluation", |at| {
            let conv = Conv2dConfig::new([2, 3], [2, 2]).init(&at.device);
            let model = at.settled((conv, BatchNormConfig::new(3).init(&at.device)));
            let model = model.freeze().set_require_grad(true);
            at.ladder(model, at.data([3, 2, 4, 4], 1), |(conv, norm), x| probe(norm.forward(conv.forward(x))))
        })
        .short(),
        case("batch_norm of vectors", |at| {
            let model = at.settled((at.linear(3, 4), BatchNormConfig::new(4).init(&at.device)));
            at.ladder(model, at.data([6, 3], 1), |(linear, norm), x| {
                probe(norm.forward::<3>(linear.forward(x).unsqueeze_dim(2)))
            })
        }),
        case("group_norm", |at| {
            let conv = Conv2dConfig::new([2, 4], [2, 2]).init(&at.device);
            let model = at.settled((conv, GroupNormConfig::new(2, 4).init(&at.device)));
            at.ladder(model, at.data([2, 2, 4, 4], 1), |(conv, norm), x| probe(norm.forward(conv.forward(x))))
        }),
        case("instance_norm", |at| {
            let conv = Conv2dConfig::new([2, 3], [2, 2]).init(&at.device);
            let model = at.settled((conv, InstanceNormConfig::new(3).init(&at.device)));
            at.ladder(model, at.data([2, 2, 4, 4], 1), |(conv, norm), x| probe(norm.forward(conv.forward(x))))
        }),
        case("layer_norm", |at| {
            let model = at.settled((at.linear(3, 6), LayerNormConfig::new(6).init(&at.device)));
            at.ladder(model, at.data([4, 3], 1), |(linear, norm), x| probe(norm.forward(linear.forward(x))))
        })
        .short()
        .threads(),
        case("layer_norm without bias", |at| {
            let model = at.settled((at.linear(3, 6), LayerNormConfig::new(6).with_bias(false).init(&at.device)));
            at.ladder(model, at.data([2, 2, 3], 1), |(linear, norm), x| probe(norm.forward(linear.forward::<3>(x))))
        }),
        case("rms_norm", |at| {
            let model = at.settled((at.linear(3, 6), RmsNormConfig::new(6).init(&at.device)));
            at.ladder(model, at.data([4, 3], 1), |(linear, norm), x| probe(norm.forward(linear.forward(x))))
        })
        .short()
        .single(),
        after_conv2d("local_response_norm", |x| LocalResponseNormConfig::new(3).with_alpha(0.5).init().forward(x)),
    ]
}

fn encodings() -> Vec<Case> {
    vec![
        case("embedding", |at| {
            let model = at.settled((EmbeddingConfig::new(7, 4).init(&at.device), at.linear(4, 3)));
            at.ladder(model, at.ints([2, 5], 6), |(embed, linear), x| probe(linear.forward(tanh(embed.forward(x)))))
        })
        .short(),
        case("positional_encoding", |at| {
            let mut positions = PositionalEncodingConfig::new(4).with_max_sequence_size(8).init(&at.device);
            positions.sinusoids = positions.sinusoids.cast(at.dtype);
            let model = (at.settled(at.linear(3, 4)), positions);
            at.ladder(model, at.data([2, 5, 3], 1), |(linear, positions), x| {
                probe(tanh(positions.forward(linear.forward(x))))
            })
        }),
        case("rotary_encoding", |at| {
            let mut rotary = RotaryEncodingConfig::new(8, 4).init(&at.device);
            rotary.freq_complex = rotary.freq_complex.cast(at.dtype);
            let model = (at.settled((at.linear(3, 4), at.linear(3, 4))), rotary);
            at.ladder(model, at.data([2, 5, 3], 1), |((query, key), rotary), x| {
                let query = rotary.forward(query.forward(x.clone()));
                probe(query.matmul(rotary.forward(key.forward(x)).transpose()))
            })
        })
        .single(),
        case("cosine_similarity, pairwise_distance", |at| {
            let model = at.settled((at.linear(3, 4), at.linear(3, 4)));
            at.ladder(model, at.data([5, 3], 1), |(a, b), x| {
                let (a, b) = (a.forward(x.clone()), b.forward(x));
                let cosine = CosineSimilarityConfig::new().init().forward(a.clone(), b.clone());
                probe(cosine) + probe(PairwiseDistanceConfig::new().init().forward(a, b))
            })
        }),
        case("linear of rank 3 without bias", |at| {
            let linear = burn::nn::LinearConfig::new(3, 4).with_bias(false).init(&at.device);
            at.ladder(at.settled((linear, at.linear(4, 2))), at.data([2, 3, 3], 1), |(a, b), x| {
                probe(b.forward(tanh(a.forward(x))))
            })
        }),
    ]
}
