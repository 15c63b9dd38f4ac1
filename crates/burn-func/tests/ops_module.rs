//! Burn's layers, each in a closure: Hessian-vector products against differences of the gradient, and the gradient against
//! Burn's own. What Burn's reverse mode puts into a graph is found here, operation by operation.
#![allow(missing_docs)]

mod common;

use burn::module::Module;
use burn::nn::attention::{MhaInput, MultiHeadAttentionConfig};
use burn::nn::conv::*;
use burn::nn::interpolate::{Interpolate1dConfig, Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::*;
use burn::nn::transformer::{TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::*;
use burn::tensor::activation::log_softmax;
use burn::tensor::module::ctc_loss;
use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_func::{Params, hvp};
use common::layers::{check, check_to, energy};
use common::*;

fn conv2d(channels: [usize; 2]) -> Conv2d {
    Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(&device())
}

#[test]
fn convolutions() {
    let d = &device();
    let x = data([2, 4, 9], 1);
    let conv = |config: Conv1dConfig| settled(&(config.init(d), Conv1dConfig::new(4, 2, 2).with_bias(false).init(d)));
    let configs = [
        Conv1dConfig::new(4, 4, 3),
        Conv1dConfig::new(4, 4, 3).with_groups(2).with_stride(2),
        Conv1dConfig::new(4, 4, 2).with_dilation(2).with_padding(PaddingConfig1d::Explicit(2, 1)),
        Conv1dConfig::new(4, 4, 4).with_padding(PaddingConfig1d::Same).with_bias(false),
    ];
    for config in configs {
        check("conv1d", &conv(config), &x, |(a, b), x| energy(b.forward(a.forward(x))));
    }

    let x = data([2, 4, 6, 7], 1);
    let configs = [
        Conv2dConfig::new([4, 4], [3, 2]).with_groups(2).with_stride([2, 1]),
        Conv2dConfig::new([4, 4], [2, 3]).with_dilation([2, 1]).with_padding(PaddingConfig2d::Explicit(1, 2, 0, 1)),
        Conv2dConfig::new([4, 4], [2, 2]).with_padding(PaddingConfig2d::Same).with_groups(4).with_bias(false),
    ];
    for config in configs {
        let model = settled(&(config.init(d), conv2d([4, 2])));
        check("conv2d", &model, &x, |(a, b), x| energy(b.forward(a.forward(x))));
    }

    let x = data([2, 2, 4, 3, 4], 1);
    let configs = [
        Conv3dConfig::new([2, 4], [2, 2, 2]).with_groups(2).with_stride([1, 1, 2]),
        Conv3dConfig::new([2, 4], [2, 1, 2]).with_dilation([2, 1, 1]).with_padding(PaddingConfig3d::Explicit(1, 0, 1)),
    ];
    for config in configs {
        let model = settled(&(config.init(d), Conv3dConfig::new([4, 2], [2, 1, 2]).init(d)));
        check("conv3d", &model, &x, |(a, b), x| energy(b.forward(a.forward(x))));
    }
}

#[test]
fn transposed_convolutions() {
    let d = &device();
    let x = data([2, 4, 5], 1);
    let configs = [
        ConvTranspose1dConfig::new([4, 4], 3).with_groups(2).with_stride(2).with_padding(1).with_padding_out(1),
        ConvTranspose1dConfig::new([4, 4], 2).with_dilation(2).with_bias(false),
    ];
    for config in configs {
        let model = settled(&(config.init(d), ConvTranspose1dConfig::new([4, 2], 2).init(d)));
        check("conv_transpose1d", &model, &x, |(a, b), x| energy(b.forward(a.forward(x))));
    }
    let x = data([2, 4, 3, 4], 1);
    let configs = [
        ConvTranspose2dConfig::new([4, 4], [3, 2]).with_groups(2).with_stride([2, 1]).with_padding([1, 0]),
        ConvTranspose2dConfig::new([4, 4], [2, 2]).with_dilation([1, 2]).with_stride([2, 2]).with_padding_out([1, 0]),
    ];
    for config in configs {
        let model = settled(&(config.init(d), ConvTranspose2dConfig::new([4, 2], [2, 2]).with_bias(false).init(d)));
        check("conv_transpose2d", &model, &x, |(a, b), x| energy(b.forward(a.forward(x))));
    }
    let x = data([1, 2, 2, 3, 2], 1);
    let config = ConvTranspose3dConfig::new([2, 4], [2, 1, 2]).with_groups(2).with_stride([2, 1, 1]);
    let model = settled(&(config.init(d), ConvTranspose3dConfig::new([4, 2], [1, 2, 2]).init(d)));
    check("conv_transpose3d", &model, &x, |(a, b), x| energy(b.forward(a.forward(x))));
}

#[test]
fn deformable_convolution() {
    let config = DeformConv2dConfig::new([2, 3], [2, 2]).with_offset_groups(2);
    let model = settled(&(config.init(&device()), conv2d([3, 2])));
    let batch = (data([2, 2, 4, 4], 1), data([2, 16, 3, 3], 2), data([2, 8, 3, 3], 3));
    // Flex computes the backward pass in single precision. A layer's gradient is of second degree in its parameters, that
    // of two of fifth, so that differences with a step of 0.05 are off by their rounding and no more than 1e-5.
    check_to(1e-4, 0.05, "deform_conv2d", &model, &batch, |(a, b), (x, offset, mask)| {
        energy(b.forward(a.forward(x, offset, Some(mask))))
    });
}

#[test]
fn average_pools() {
    let x = data([2, 2, 7, 6], 1);
    let model = settled(&(conv2d([2, 3]), conv2d([3, 2])));
    for (pad, ceil) in [(true, false), (false, false), (true, true), (false, true)] {
        let pool =
            AvgPool2dConfig::new([3, 2]).with_strides([2, 1]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        let pool = pool.with_count_include_pad(pad).with_ceil_mode(ceil).init();
        let name = format!("avg_pool2d, pad {pad}, ceil {ceil}");
        check(&name, &model, &x, |(a, b), x| energy(b.forward(pool.forward(a.forward(x)))));
        let pool = AvgPool1dConfig::new(3).with_stride(2).with_padding(PaddingConfig1d::Explicit(1, 1));
        let pool = pool.with_count_include_pad(pad).with_ceil_mode(ceil).init();
        let name = format!("avg_pool1d, pad {pad}, ceil {ceil}");
        check(&name, &model, &x, |(a, _), x| energy(pool.forward(a.forward(x).flatten::<3>(2, 3))));
    }
    let pool = AdaptiveAvgPool2dConfig::new([3, 4]).init();
    check("adaptive_avg_pool2d", &model, &x, |(a, b), x| energy(b.forward(pool.forward(a.forward(x)))));
    let pool = AdaptiveAvgPool1dConfig::new(5).init();
    check("adaptive_avg_pool1d", &model, &x, |(a, _), x| energy(pool.forward(a.forward(x).flatten::<3>(2, 3))));
    let pool = AdaptiveAvgPool3dConfig::new([2, 3, 2]).init();
    check("adaptive_avg_pool3d", &model, &x, |(a, _), x| energy(pool.forward(a.forward(x).unsqueeze_dim::<5>(1))));
}

#[test]
fn maximum_pools() {
    let x = data([2, 2, 7, 6], 1);
    let model = settled(&(conv2d([2, 3]), conv2d([3, 2])));
    for (dilation, ceil) in [(1, false), (2, false), (1, true)] {
        let pool =
            MaxPool2dConfig::new([3, 2]).with_strides([2, 1]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        let pool = pool.with_dilation([dilation, 1]).with_ceil_mode(ceil).init();
        let name = format!("max_pool2d, dilation {dilation}, ceil {ceil}");
        check(&name, &model, &x, |(a, b), x| energy(b.forward(pool.forward(a.forward(x)))));
        let pool = MaxPool1dConfig::new(3).with_stride(2).with_padding(PaddingConfig1d::Explicit(1, 1));
        let pool = pool.with_dilation(dilation).with_ceil_mode(ceil).init();
        let name = format!("max_pool1d, dilation {dilation}, ceil {ceil}");
        check(&name, &model, &x, |(a, _), x| energy(pool.forward(a.forward(x).flatten::<3>(2, 3))));
    }
    // Of the input, which carries no gradient: pooled without indices.
    let pool = MaxPool2dConfig::new([2, 2]).init();
    check("max_pool2d of the input", &model, &x, |(a, b), x| energy(b.forward(a.forward(pool.forward(x)))));
}

#[test]
fn interpolation() {
    let x = data([2, 2, 4, 5], 1);
    let model = settled(&(conv2d([2, 3]), conv2d([3, 2])));
    for mode in [InterpolateMode::Nearest, InterpolateMode::Linear, InterpolateMode::Cubic] {
        for (size, align) in [([6, 3], true), ([6, 3], false), ([8, 10], true)] {
            let config = Interpolate2dConfig::new().with_output_size(Some(size)).with_mode(mode.clone());
            let resize = config.with_align_corners(align).init();
            let name = format!("interpolate2d {mode:?} {size:?} {align}");
            check(&name, &model, &x, |(a, b), x| energy(b.forward(resize.forward(a.forward(x)))));
        }
        let resize = Interpolate1dConfig::new().with_output_size(Some(7)).with_mode(mode.clone()).init();
        check("interpolate1d", &model, &x, |(a, _), x| energy(resize.forward(a.forward(x).flatten::<3>(2, 3))));
    }
}

#[test]
fn lookups_and_patches() {
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(vec![0i64, 3, 3, 1, 5, 0], [2, 3]), &device());
    let model = settled(&(EmbeddingConfig::new(6, 4).init(&device()), LinearConfig::new(4, 3).init(&device())));
    check("embedding", &model, &tokens, |(embedding, linear), tokens| {
        energy(linear.forward(embedding.forward(tokens)))
    });

    let model = settled(&conv2d([2, 3]));
    let unfold = Unfold4dConfig::new([2, 2]).with_stride([2, 1]).with_padding([1, 0]).with_dilation([1, 2]).init();
    check("unfold4d", &model, &data([2, 2, 5, 6], 1), |conv, x| energy(unfold.forward(conv.forward(x))));
}

#[test]
fn linear_layers_of_every_rank() {
    let model =
        settled(&(LinearConfig::new(3, 4).init(&device()), LinearConfig::new(4, 2).with_bias(false).init(&device())));
    check("rank 1", &model, &data([3], 1), |(a, b), x| energy(b.forward(a.forward(x))));
    check("rank 2", &model, &data([5, 3], 1), |(a, b), x| energy(b.forward(a.forward(x))));
    check("rank 3", &model, &data([2, 5, 3], 1), |(a, b), x| energy(b.forward(a.forward(x))));
    check("rank 4", &model, &data([2, 1, 5, 3], 1), |(a, b), x| energy(b.forward(a.forward(x))));
}

#[test]
fn normalisation() {
    let d = &device();
    let x = data([3, 4, 5], 1);
    let conv = || Conv1dConfig::new(4, 4, 2).init(d);
    let model = settled(&(conv(), GroupNormConfig::new(2, 4).init(d)));
    check("group norm", &model, &x, |(conv, norm), x| energy(norm.forward(conv.forward(x))));
    let model = settled(&(conv(), GroupNormConfig::new(2, 4).with_affine(false).init(d)));
    check("group norm, plain", &model, &x, |(conv, norm), x| energy(norm.forward(conv.forward(x))));
    let model = settled(&(conv(), InstanceNormConfig::new(4).init(d)));
    check("instance norm", &model, &x, |(conv, norm), x| energy(norm.forward(conv.forward(x))));
    let model = settled(&(conv(), LayerNormConfig::new(4).init(d)));
    check("layer norm", &model, &x, |(conv, norm), x| energy(norm.forward(conv.forward(x))));
    let model = settled(&(conv(), LayerNormConfig::new(4).with_bias(false).init(d)));
    check("layer norm, no bias", &model, &x, |(conv, norm), x| energy(norm.forward(conv.forward(x))));

    let model = settled(&(conv(), BatchNormConfig::new(4).init(d)));
    check("batch norm in training", &model, &x, |(conv, norm), x| energy(norm.forward(conv.forward(x))));
    let model = model.freeze().set_require_grad(true);
    check("batch norm, running statistics", &model, &x, |(conv, norm), x| energy(norm.forward(conv.forward(x))));
    let model = settled(&(LinearConfig::new(3, 4).init(d), BatchNormConfig::new(4).init(d)));
    check("batch norm of features", &model, &data([6, 3], 1), |(l, norm), x| energy(norm.forward(l.forward(x))));
}

#[test]
fn rms_norm() {
    // Burn computes the root mean square in single precision. Compared with the same in double precision, 1e-5 is that
    // rounding.
    let model = settled(&(LinearConfig::new(3, 4).init(&device()), RmsNormConfig::new(4).init(&device())));
    let x = data([5, 3], 1);
    let v = waves(&Params::from_module(&model).unwrap(), 1.0, 100);
    let found = hvp(&model, &x, |(linear, norm), x| energy(norm.forward(linear.forward(x))), &v).unwrap();
    let double = |(linear, norm): &(Linear, RmsNorm), x: Tensor<2>| {
        let x = linear.forward(x);
        let rms = ((x.clone() * x.clone()).mean_dim(1) + norm.epsilon).sqrt();
        energy((x / rms) * norm.gamma.val().unsqueeze())
    };
    let expected = hvp(&model, &x, double, &v).unwrap();
    let error = relative(&found, &expected);
    assert!(error <= 1e-5, "off by {error:.2e}");
}

#[test]
fn attention() {
    let d = &device();
    let x = data([2, 3, 4], 1);
    let model = settled(&MultiHeadAttentionConfig::new(4, 2).with_dropout(0.0).init(d));
    check("attention", &model, &x, |mha, x| energy(mha.forward(MhaInput::self_attn(x)).context));
    let mask: Vec<bool> = (0..18).map(|i| i % 3 > i / 3 % 3).collect();
    let mask = Tensor::<3, Bool>::from_data(TensorData::new(mask, [2, 3, 3]), d);
    check("masked attention", &model, &(x.clone(), mask), |mha, (x, mask)| {
        energy(mha.forward(MhaInput::self_attn(x).mask_attn(mask)).context)
    });
    let model = settled(&MultiHeadAttentionConfig::new(4, 2).with_dropout(0.0).with_quiet_softmax(true).init(d));
    check("quiet attention", &model, &x, |mha, x| energy(mha.forward(MhaInput::self_attn(x)).context));
    let model = settled(&TransformerEncoderConfig::new(4, 6, 2, 1).with_dropout(0.0).init(d));
    check("transformer", &model, &x, |model, x| energy(model.forward(TransformerEncoderInput::new(x))));
}

#[test]
fn activations_with_parameters() {
    let d = &device();
    let x = data([5, 3], 1);
    let model = settled(&(LinearConfig::new(3, 4).init(d), PReluConfig::new().with_num_parameters(4).init(d)));
    check("prelu", &model, &x, |(linear, act), x| energy(act.forward(linear.forward(x))));
    let model = settled(&SwiGluConfig::new(3, 4).with_bias(true).init(d));
    check("swiglu", &model, &x, |model, x| energy(model.forward(x)));
}

#[test]
fn connectionist_temporal_classification() {
    // Taken apart on an autodiff device. Burn's layer reads its targets, which a trace cannot.
    let ints =
        |values: &[i64]| Tensor::<1, Int>::from_data(TensorData::new(values.to_vec(), [values.len()]), &device());
    let batch = (data([5, 2, 3], 1), ints(&[1, 2, 2, 1]).reshape([2, 2]), ints(&[5, 4]), ints(&[2, 1]));
    let model = settled(&LinearConfig::new(3, 4).init(&device()));
    check("ctc", &model, &batch, |linear, (x, targets, lengths, target_lengths)| {
        let scores = log_softmax(linear.forward(x), 2);
        ctc_loss(scores, targets, lengths, target_lengths, 0).sum()
    });
}
