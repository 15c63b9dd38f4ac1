//! Loss and gradient of a closure over a Burn module, as Burn's optimizers take them.
//!
//! `cargo run --release --example func_01_gradients`

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::SgdConfig;
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Tensor};
use burn_func::{Error, value_and_grad};

#[derive(Module, Debug)]
struct Net {
    hidden: Linear,
    output: Linear,
}

impl Net {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.output.forward(tanh(self.hidden.forward(x)))
    }
}

fn main() -> Result<(), Error> {
    // A model lives on an autodiff device, as in Burn training.
    let device = Device::flex().autodiff();
    device.seed(0);
    let mut net =
        Net { hidden: LinearConfig::new(1, 32).init(&device), output: LinearConfig::new(32, 1).init(&device) };

    // A batch is any structure of tensors: here a pair. The closure is ordinary Burn code, and may return more than the
    // loss: what stands beside it (here the predictions) comes back as it is.
    let x = Tensor::<1>::from_floats(std::array::from_fn::<f32, 64, _>(|i| i as f32 / 10.0 - 3.2).as_slice(), &device);
    let x = x.reshape([64, 1]);
    let batch = (x.clone(), x.sin());
    let closure = |net: &Net, (x, y): (Tensor<2>, Tensor<2>)| {
        let prediction = net.forward(x);
        ((prediction.clone() - y).powf_scalar(2.0).mean(), prediction)
    };

    let mut optimizer = SgdConfig::new().init();
    for step in 0..=500 {
        let (loss, grads, prediction) = value_and_grad(&net, &batch, closure)?;
        if step % 100 == 0 {
            println!(
                "step {step:3}: loss {loss:.5}, prediction at 0: {:.3}",
                prediction.slice([32..33, 0..1]).into_scalar::<f32>()
            );
        }
        net = optimizer.step(0.1, net, grads);
    }
    Ok(())
}
