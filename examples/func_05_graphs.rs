//! What was traced: the recorded operations, what they cost, what a linearization keeps in memory, and a picture.
//!
//! `cargo run --release --example func_05_graphs > graph.dot && dot -Tsvg graph.dot -o graph.svg`

use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use burn_func::{Error, Key, Params, Residuals, finite, trace};

type Net = (Linear, Dropout, Linear);

fn main() -> Result<(), Error> {
    let device = Device::flex().autodiff();
    device.seed(0);
    let net: Net =
        (LinearConfig::new(4, 8).init(&device), DropoutConfig::new(0.5).init(), LinearConfig::new(8, 1).init(&device));
    let x = Tensor::<2>::ones([6, 4], &device);
    let loss = |(hidden, dropout, output): &Net, x| {
        output.forward(dropout.forward(hidden.forward(x).tanh())).powf_scalar(2.0).mean()
    };
    let traced = trace(&net, &x, loss)?;

    // Forward and backward pass, in Burn's own intermediate representation. The dropout mask is an input of its own.
    eprintln!("{}\n", traced.graph());
    eprintln!("{}\n", traced.costs()?);

    // A traced closure is a function: with one key it draws one mask, for the loss, its gradient and every product.
    let at = Params::from_module(&net)?;
    for step in 0..3 {
        let keyed = traced.keyed(Key::new(7).fold(step));
        let (first, again) = (finite(&keyed.value(&at, &x)?.0)?, finite(&keyed.value(&at, &x)?.0)?);
        eprintln!("step {step}: loss {first:.6}, again {again:.6}");
        assert_eq!(first, again);
    }

    for policy in [Residuals::Store, Residuals::Budget(200), Residuals::Recompute] {
        let traced = traced.clone().with_residuals(policy);
        let (bytes, operations) = (traced.residual_bytes()?, traced.costs()?.hvp.operations);
        eprintln!("{policy:?}: a linearization keeps {bytes} bytes, a product takes {operations} operations");
    }
    println!("{}", traced.graph().to_dot());
    Ok(())
}
