//! Every activation of Burn between the layers of a small network, and those with parameters of their own.
//!
//! Does not know: layers of other kinds.

use burn::nn::activation::{
    EluConfig, GLU, HardSwish, HardtanhConfig, Mish, PReluConfig, Relu6, Selu, ShrinkConfig, Softsign, SwiGluConfig,
    Tanhshrink, ThresholdConfig,
};
use burn::tensor::Tensor;
use burn::tensor::activation as act;

use crate::common::mse;
use crate::ladder::Found;
use crate::site::{Site, probe};
use crate::table::{Case, case};

/// A 3-8-8-2 network with `f` between its layers, under squared error.
fn network(at: &Site, f: fn(Tensor<2>) -> Tensor<2>) -> Found {
    let batch = (at.data([5, 3], 1), at.data([5, 2], 2));
    at.ladder(at.mlp(3, 8, 2), batch, |model, (x, y)| {
        mse(model.c.forward(f(model.b.forward(f(model.a.forward(x))))), y)
    })
}

fn activation(name: &'static str, f: fn(Tensor<2>) -> Tensor<2>) -> Case {
    case(name, move |at| network(at, f))
}

pub fn cases() -> Vec<Case> {
    vec![
        activation("relu", act::relu).short(),
        activation("tanh", act::tanh).short().threads(),
        activation("gelu", act::gelu).short(),
        activation("gelu, approximate", act::gelu_approximate),
        activation("sigmoid", act::sigmoid).short(),
        activation("log_sigmoid", act::log_sigmoid).short(),
        activation("silu", act::silu),
        activation("softplus", |x| act::softplus(x, 1.0)).short(),
        activation("softplus, beta 3, threshold 2", |x| act::softplus_with_threshold(x, 3.0, 2.0)),
        activation("mish", |x| Mish::new().forward(x)),
        activation("leaky_relu", |x| act::leaky_relu(x, 0.1)),
        activation("relu6", |x| Relu6::new().forward(x * 4.0)),
        activation("hard_sigmoid", |x| act::hard_sigmoid(x, 0.2, 0.5)).single(),
        activation("hard_swish", |x| HardSwish::new().forward(x * 2.0)).single(),
        activation("hardtanh", |x| HardtanhConfig::new().with_min_val(-0.7).with_max_val(0.6).init().forward(x)),
        activation("elu", |x| EluConfig::new().init().forward(x)),
        activation("celu", |x| act::celu(x, 1.5)),
        activation("selu", |x| Selu::new().forward(x)),
        activation("softsign", |x| Softsign::new().forward(x)),
        activation("tanhshrink", |x| Tanhshrink::new().forward(x * 2.0)),
        activation("shrink", |x| ShrinkConfig::new().with_lambda(0.2).with_bias(0.1).init().forward(x)),
        activation("hard_shrink", |x| act::hard_shrink(x, 0.2)),
        activation("soft_shrink", |x| act::soft_shrink(x, 0.2)),
        activation("threshold", |x| ThresholdConfig::new(0.1, -0.3).init().forward(x)),
        activation("thresholded_relu", |x| act::thresholded_relu(x, 0.3)),
        activation("softmax", |x| act::softmax(x * 2.0, 1)).short(),
        activation("softmin", |x| act::softmin(x * 2.0, 1)),
        activation("quiet_softmax", |x| act::quiet_softmax(x * 2.0, 1)),
        activation("log_softmax", |x| act::log_softmax(x * 2.0, 1)).short(),
        case("prelu", |at| {
            let prelu = PReluConfig::new().with_num_parameters(8).init(&at.device);
            let model = at.settled((at.linear(3, 8), prelu));
            at.ladder(model, at.data([5, 3], 1), |(linear, prelu), x| probe(prelu.forward(linear.forward(x))))
        })
        .short(),
        case("glu", |at| {
            let model = at.settled((at.linear(3, 8), at.linear(4, 2)));
            let batch = (at.data([5, 3], 1), at.data([5, 2], 2));
            at.ladder(model, batch, |(a, b), (x, y)| mse(b.forward(GLU::new(1).forward(a.forward(x))), y))
        }),
        case("swiglu", |at| {
            let model = at.settled(SwiGluConfig::new(3, 4).with_bias(true).init(&at.device));
            at.ladder(model, at.data([5, 3], 1), |model, x| probe(model.forward(x)))
        }),
    ]
}
